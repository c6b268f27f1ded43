//! Owns what a benchmark tells of the lab that it ran in.

use std::fmt;
use std::io;

use crosstie_lab::{Description, Rate};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// A lab's cluster, as ranks are told of it and as JSON has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabFacts {
    nodes: u32,
    ranks_per_node: u32,
    rails: u32,
    /// What a NIC carries each way; none where there is no limit.
    rate_bits_per_second: Option<u64>,
    /// How many times less an uplink carries than all NICs of its leaf; none where there is no spine.
    oversubscription: Option<u32>,
    mtu: u32,
}

impl LabFacts {
    /// Of a cluster.
    pub fn of(lab: &Description) -> Self {
        let &Description { nodes, ranks_per_node, rails, rate: Rate(rate), oversubscription, mtu } =
            lab;
        Self { nodes, ranks_per_node, rails, rate_bits_per_second: rate, oversubscription, mtu }
    }

    /// As ranks are told.
    pub fn to_json(&self) -> Result<String, Failure> {
        serde_json::to_string(self)
            .map_err(|e| Failure::host("tell the ranks of the lab", io::Error::from(e)))
    }

    /// What ranks were told.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    fn description(&self) -> Description {
        let &Self { nodes, ranks_per_node, rails, rate_bits_per_second, oversubscription, mtu } =
            self;
        let rate = Rate(rate_bits_per_second);
        Description { nodes, ranks_per_node, rails, rate, oversubscription, mtu }
    }
}

impl fmt::Display for LabFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lab = self.description();
        let Description { nodes, ranks_per_node, rails, mtu, .. } = lab;
        let rates = rates(&lab);
        write!(f, "{nodes} nodes x {ranks_per_node} ranks, {rails} rails, {rates}, MTU {mtu}")
    }
}

/// What limits there are, in words.
pub fn rates(lab: &Description) -> String {
    match lab.oversubscription {
        Some(_) => format!("NICs {}, uplinks {}", lab.rate, lab.uplink()),
        None => format!("NICs {}, no spine", lab.rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_hear_of_the_lab_what_it_is() {
        let lab = Description {
            nodes: 3,
            ranks_per_node: 2,
            rails: 2,
            rate: Rate(Some(100_000_000)),
            oversubscription: Some(2),
            mtu: 9000,
        };
        let facts = LabFacts::of(&lab);
        assert_eq!(LabFacts::from_json(&facts.to_json().unwrap()), Ok(facts.clone()));
        assert_eq!(facts.description(), lab);
        let words = "3 nodes x 2 ranks, 2 rails, NICs 100mbit, uplinks 150mbit, MTU 9000";
        assert_eq!(facts.to_string(), words);
    }
}
