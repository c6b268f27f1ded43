//! Owns the ports of the leaves by name, where cables can be cut and joined.

use std::fmt;
use std::str::FromStr;

use crate::description::Description;
use crate::error::LabError;

/// A port of a leaf, and so the cable that hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// To the NIC of `node` on `rail`, whose node sees that it has no carrier when this is down.
    Nic {
        /// The node's number.
        node: u32,
        /// The rail's.
        rail: u32,
    },
    /// To the spine: when this is down, no node sees anything.
    Uplink {
        /// The rail's number.
        rail: u32,
    },
}

impl Port {
    /// Refuses a port that such a cluster does not have.
    pub fn check(self, cluster: &Description) -> Result<(), LabError> {
        let there = match self {
            Self::Nic { node, rail } => node < cluster.nodes && rail < cluster.rails,
            Self::Uplink { rail } => rail < cluster.rails && cluster.oversubscription.is_some(),
        };
        let (nodes, rails) = (cluster.nodes, cluster.rails);
        let no_spine = if cluster.oversubscription.is_none() { ", and no spine" } else { "" };
        let wrong = || {
            let there = format!("{nodes} nodes and {rails} rails{no_spine}");
            LabError::Description(format!("no port {self}: there are {there}, counted from 0"))
        };
        there.then_some(()).ok_or_else(wrong)
    }
}

/// The name of its device.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nic { node, rail } => write!(f, "n{node}r{rail}"),
            Self::Uplink { rail } => write!(f, "up{rail}"),
        }
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nic = || {
            let (node, rail) = text.strip_prefix('n')?.split_once('r')?;
            Some(Self::Nic { node: node.parse().ok()?, rail: rail.parse().ok()? })
        };
        let uplink = || Some(Self::Uplink { rail: text.strip_prefix("up")?.parse().ok()? });
        let expected = "expected n0r1 (the port of node 0 on rail 1) or up1 (the uplink of rail 1)";
        nic().or_else(uplink).ok_or_else(|| expected.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::Rate;

    #[test]
    fn a_port_goes_by_its_devices_name_and_must_be_there() {
        for name in ["n0r1", "n1r0", "up1"] {
            assert_eq!(name.parse::<Port>().unwrap().to_string(), name);
        }
        for name in ["", "n0", "eth0", "up", "n0r-1", "r0n1"] {
            assert!(name.parse::<Port>().is_err(), "{name}");
        }
        let cluster = Description {
            nodes: 2,
            ranks_per_node: 2,
            rails: 2,
            rate: Rate(None),
            oversubscription: None,
            mtu: 1500,
        };
        assert!(Port::Nic { node: 1, rail: 1 }.check(&cluster).is_ok());
        for wrong in [Port::Nic { node: 2, rail: 0 }, Port::Uplink { rail: 0 }] {
            let said = wrong.check(&cluster).unwrap_err().to_string();
            assert!(said.contains(&wrong.to_string()) && said.contains("no spine"), "{said}");
        }
    }
}
