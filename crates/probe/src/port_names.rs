//! Owns [`PortNames`]: which ports of RDMA devices are meant by name.

use std::fmt;
use std::str::FromStr;

use crate::Facts;

/// Ports of RDMA devices by name, as `NCCL_IB_HCA` writes them: `mlx5_0,mlx5_1:1`. Names are beginnings, after `=` whole
/// ones; after `^` all others are meant; a number is that of a port.
///
/// ```
/// use crosstie_probe::PortNames;
///
/// let named: PortNames = "^=mlx5_0:1,mlx5_2".parse().unwrap();
/// assert!(!named.has("mlx5_0", 1) && named.has("mlx5_0", 2) && named.has("mlx5_20", 1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortNames {
    excludes: bool,
    is_exact: bool,
    names: Vec<(String, Option<u32>)>,
}

impl PortNames {
    /// Whether this port is meant.
    pub fn has(&self, device: &str, port: u32) -> bool {
        let is_named = |(name, number): &(String, Option<u32>)| {
            let same = if self.is_exact { device == name } else { device.starts_with(name) };
            same && number.is_none_or(|number| number == port)
        };
        self.names.iter().any(is_named) != self.excludes
    }
}

impl FromStr for PortNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (excludes, rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        let (is_exact, rest) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
        let names = rest.split(',').map(str::trim).filter(|part| !part.is_empty());
        let names = names.map(named).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(format!("no device is named; {EXPECTED}"));
        }
        Ok(Self { excludes, is_exact, names })
    }
}

const EXPECTED: &str = "expected devices or `device:port`, as `mlx5_0,mlx5_1:1`";

fn named(part: &str) -> Result<(String, Option<u32>), String> {
    let Some((name, port)) = part.split_once(':') else { return Ok((part.to_owned(), None)) };
    match port.parse() {
        Ok(port) if port > 0 && !name.is_empty() => Ok((name.to_owned(), Some(port))),
        _ => Err(format!("`{part}`: {EXPECTED}")),
    }
}

impl fmt::Display for PortNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let marks = [(self.excludes, "^"), (self.is_exact, "=")];
        marks.iter().filter(|(is, _)| *is).try_for_each(|(_, mark)| f.write_str(mark))?;
        for (place, (name, port)) in self.names.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{name}")?;
            port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
        }
        Ok(())
    }
}

impl Facts {
    /// Without the ports of RDMA devices that are not meant, and devices that have no other.
    #[must_use]
    pub fn with_ports(mut self, named: &PortNames) -> Self {
        for device in self.rdma.iter_mut().flatten() {
            device.ports.retain(|port| named.has(&device.name, port.number));
        }
        self.rdma.iter_mut().for_each(|all| all.retain(|device| !device.ports.is_empty()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: [(&str, u32); 5] =
        [("mlx5_0", 1), ("mlx5_0", 2), ("mlx5_1", 1), ("mlx5_10", 1), ("irdma0", 1)];

    fn meant(text: &str) -> Vec<String> {
        let named: PortNames = text.parse().unwrap();
        assert_eq!(named.to_string(), text, "it is written as it is read");
        let meant = PRESENT.iter().filter(|(device, port)| named.has(device, *port));
        meant.map(|(device, port)| format!("{device}:{port}")).collect()
    }

    #[test]
    fn names_are_nccls_in_all_their_forms() {
        let all_mlx = ["mlx5_0:1", "mlx5_0:2", "mlx5_1:1", "mlx5_10:1"];
        assert_eq!(meant("mlx5"), all_mlx);
        assert_eq!(meant("mlx5_1"), ["mlx5_1:1", "mlx5_10:1"], "a beginning");
        assert_eq!(meant("=mlx5_1"), ["mlx5_1:1"], "a whole name");
        assert_eq!(meant("mlx5_0:2,irdma"), ["mlx5_0:2", "irdma0:1"]);
        assert_eq!(meant("^mlx5_1"), ["mlx5_0:1", "mlx5_0:2", "irdma0:1"], "all others");
        assert_eq!(meant("^=mlx5_1,mlx5_0:2"), ["mlx5_0:1", "mlx5_10:1", "irdma0:1"]);
        assert!(meant("rxe").is_empty());
    }

    #[test]
    fn what_names_no_port_is_refused_with_what_would() {
        for text in ["", "^", "=", ",", "mlx5_0:", "mlx5_0:0", ":1", "mlx5_0:one", "mlx5_0:1:2"] {
            let refusal = text.parse::<PortNames>().unwrap_err();
            assert!(refusal.contains("mlx5_0,mlx5_1:1"), "{text}: {refusal}");
        }
    }
}
