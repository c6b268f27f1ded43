//! Owns how much memory the caches of this host hold, and from which size on a call goes past them.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// Where the kernel describes processors.
const CPUS: &str = "/sys/devices/system/cpu";

/// Taken where the kernel does not tell.
const USUAL_BYTES: usize = 32 << 20;

/// From how many bytes of its own buffers on a call's results are written past the caches, where `ranks`
/// ranks of this host do the same: one and a half times what the last caches hold, in all.
///
/// Measured with `benches/buffers.rs` on 2 cores with 32 MiB of L3, shared buffers, streamed against
/// copied, in ms: all_to_all on 2 ranks, 8 MiB in and 8 out (32 MiB in all) 0.61 : 0.42, twice that
/// 1.42 : 1.99, four times 3.14 : 5.11; on 8 ranks 2 MiB in and out (32 MiB in all) 0.30 : 0.25, twice that
/// 0.61 : 0.83. Below the cache's size streaming costs up to three times a copy.
pub(crate) fn streams_from(ranks: usize) -> usize {
    static CACHES: OnceLock<usize> = OnceLock::new();
    let caches = *CACHES.get_or_init(|| last_caches(Path::new(CPUS)).unwrap_or(USUAL_BYTES));
    caches.saturating_add(caches / 2) / ranks.max(1)
}

/// Bytes of all last-level caches together; `None` where the kernel tells of none.
fn last_caches(cpus: &Path) -> Option<usize> {
    let cache = |cpu: usize| {
        let cpu = cpus.join(format!("cpu{cpu}/cache"));
        (0..=4).rev().map(|i| cpu.join(format!("index{i}"))).find(|cache| cache.exists())
    };
    let mut total: usize = 0;
    for (cpu, cache) in (0..).map_while(|cpu| Some((cpu, cache(cpu)?))) {
        let read = |name| fs::read_to_string(cache.join(name)).ok();
        // A cache that several processors share is counted with the first of them.
        let first = read("shared_cpu_list").and_then(|list| first_of(&list));
        if first.is_none_or(|first| first == cpu) {
            total = total.saturating_add(parse_size(&read("size")?)?);
        }
    }
    (total > 0).then_some(total)
}

/// The first processor of a list such as `3-5,9`.
fn first_of(list: &str) -> Option<usize> {
    list.split(['-', ',']).next()?.trim().parse().ok()
}

/// A size as the kernel writes it: `32768K`.
fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_size("32768K\n"), Some(32 << 20));
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("much"), None);
        assert_eq!([first_of("3-5,9\n"), first_of("7\n"), first_of("")], [Some(3), Some(7), None]);
    }

    #[test]
    fn caches_that_processors_share_are_counted_once() {
        let folder = std::env::temp_dir().join(format!("crosstie-caches-{}", std::process::id()));
        for (cpu, shared) in [(0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")] {
            for (index, size) in [(0, "32K"), (3, "16384K")] {
                let cache = folder.join(format!("cpu{cpu}/cache/index{index}"));
                fs::create_dir_all(&cache).unwrap();
                fs::write(cache.join("size"), size).unwrap();
                fs::write(cache.join("shared_cpu_list"), shared).unwrap();
            }
        }
        assert_eq!(last_caches(&folder), Some(32 << 20));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(last_caches(&folder), None);
    }

    #[test]
    fn more_ranks_share_the_caches() {
        assert!(streams_from(1) >= 1 << 20);
        assert_eq!(streams_from(8), streams_from(1) / 8);
        assert_eq!(streams_from(0), streams_from(1));
    }
}
