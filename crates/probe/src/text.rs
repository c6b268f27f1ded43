//! Owns how values stand in the kernel's files: numbers, rates, lists, and names with numbers in them.

use crosstie_topo::BusId;

/// A number in hexadecimal, with `0x` or without.
pub fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let good = digits.starts_with(|c: char| c.is_ascii_hexdigit());
    good.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// A number; what is less than 0 means that there is none.
pub fn number(text: &str) -> Option<u32> {
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The number at the beginning of a text, times 1000: of `2.5 GT/s PCIe` 2500. `None` for 0 and for words.
pub fn thousandths(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (whole, decimals) = text.get(..end)?.split_once('.').unwrap_or((text.get(..end)?, ""));
    let decimals = format!("{:0<3}", decimals.get(..decimals.len().min(3))?);
    let value = number(whole)?.checked_mul(1000)?.checked_add(decimals.parse().ok()?)?;
    (value > 0).then_some(value)
}

/// Numbers of a list such as `0-3,8,10-11`; at most 65 536 of them.
pub fn list(text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (number(first), number(last)) else { continue };
        numbers.extend((first..=last).take((1 << 16_usize) - numbers.len()));
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// More CPUs than a kernel numbers (8192): a file that names a later one is not believed.
const MOST_CPUS: u32 = 1 << 16;

/// CPUs as NCCL's mask: hexadecimal words of 32 with commas, highest first.
pub fn mask(cpus: &[u32]) -> String {
    let known = cpus.iter().filter(|&&cpu| cpu < MOST_CPUS);
    let words = known.max().map_or(1, |last| last / 32 + 1);
    let mut mask = vec![0_u32; words as usize];
    for &cpu in cpus {
        if let Some(word) = mask.get_mut(cpu as usize / 32) {
            *word |= 1 << (cpu % 32);
        }
    }
    let words: Vec<String> = mask.iter().rev().map(|word| format!("{word:08x}")).collect();
    words.join(",")
}

/// The PCI addresses on a path, from the root down.
pub fn bus_ids(path: &str) -> Vec<BusId> {
    path.split('/').filter_map(bus_id).collect()
}

/// A name that is a PCI address, in full.
pub fn bus_id(name: &str) -> Option<BusId> {
    (name.matches(':').count() == 2).then(|| name.parse().ok()).flatten()
}

/// Sorts names as people do: `mlx5_10` after `mlx5_9`.
pub fn in_order(name: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, numbered) = rest.split_at(word);
        let digits = numbered.find(|c: char| !c.is_ascii_digit()).unwrap_or(numbered.len());
        let (digits, after) = numbered.split_at(digits);
        parts.push((0, text.to_owned()));
        parts.push((digits.parse().unwrap_or(0), digits.to_owned()));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_kernels_old_and_new_are_read() {
        let rates = ["16.0 GT/s PCIe", "8 GT/s", "2.5 GT/s", "Unknown", "0 GT/s", "", "100 Gb/sec"];
        let read = rates.map(thousandths);
        assert_eq!(read, [Some(16000), Some(8000), Some(2500), None, None, None, Some(100_000)]);
        assert_eq!(thousandths("99999999999 GT/s"), None);
    }

    #[test]
    fn what_is_less_than_nothing_is_nothing() {
        assert_eq!(
            ["-1", "0", "+3", "4294967296", "x"].map(number),
            [None, Some(0), None, None, None]
        );
        assert_eq!(
            ["0x15b3", "ff", "0x", "-1"].map(hexadecimal),
            [Some(0x15b3), Some(255), None, None]
        );
    }

    #[test]
    fn lists_of_cpus_become_masks() {
        assert_eq!(list("0-2,8,10-11\n"), [0, 1, 2, 8, 10, 11]);
        assert!(list("").is_empty());
        assert_eq!(list("0-4294967295").len(), 1 << 16);
        assert_eq!(list("5-3,x,1"), [1]);
        assert_eq!(mask(&[0, 1]), "00000003");
        assert_eq!(mask(&[0, 35]), "00000008,00000001");
        assert_eq!(mask(&[]), "00000000");
        // A number that no CPU has makes no mask of half a gigabyte.
        assert_eq!(mask(&[3, u32::MAX]), "00000008");
    }

    #[test]
    fn names_sort_by_their_numbers() {
        let mut names = ["mlx5_10", "mlx5_9", "eth1", "mlx5_1", "eth", "eth0"];
        names.sort_by_key(|name| in_order(name));
        assert_eq!(names, ["eth", "eth0", "eth1", "mlx5_1", "mlx5_9", "mlx5_10"]);
    }

    #[test]
    fn a_path_tells_the_bridges_above_a_device() {
        let ids = bus_ids("sys/devices/LNXSYSTM:00/pci0009:00/0009:00:01.0/0009:01:00.0/net/eth0");
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["0009:00:01.0", "0009:01:00.0"]);
    }
}
