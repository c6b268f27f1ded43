//! Owns what a cluster is to be: its nodes, rails and rates, and the addresses that follow.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::error::LabError;

/// A cluster: `nodes` with one NIC on each of `rails`, and `ranks_per_node` ranks on each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Nodes, 1 to 253: one byte of an address, without 0, 254 (the spine) and 255.
    pub nodes: u32,
    /// Ranks that a world has on each node, at least 1.
    pub ranks_per_node: u32,
    /// NICs of a node, each on a rail of its own: 1 to 64.
    pub rails: u32,
    /// What a NIC carries each way.
    pub rate: Rate,
    /// How many times less an uplink carries than all NICs of its rail together; `None` for no spine, so
    /// that nothing passes from rail to rail.
    pub oversubscription: Option<u32>,
    /// Bytes of the longest packet of every device.
    pub mtu: u32,
}

/// Most ranks of a world in a lab, as of every world that a command starts.
const MOST_RANKS: u32 = 4096;

impl Description {
    /// Refuses what cannot be built, with the numbers.
    pub fn check(&self) -> Result<(), LabError> {
        let within = |what: &str, value: u32, least: u32, most: u32| {
            let fits = (least..=most).contains(&value);
            let wrong = || LabError::Description(format!("{value} {what}: give {least} to {most}"));
            fits.then_some(()).ok_or_else(wrong)
        };
        within("nodes", self.nodes, 1, 253)?;
        within("ranks on each node", self.ranks_per_node, 1, MOST_RANKS / self.nodes)?;
        within("rails (by default one for each rank of a node)", self.rails, 1, 64)?;
        within("bytes of MTU", self.mtu, 576, 65_535)?;
        within("as oversubscription", self.oversubscription.unwrap_or(1), 1, 1000)
    }

    /// Ranks of a world that fills the cluster.
    pub fn ranks(&self) -> u32 {
        self.nodes * self.ranks_per_node
    }

    /// The node that `rank` is on: consecutive ranks share one.
    pub fn node_of(&self, rank: u32) -> u32 {
        rank / self.ranks_per_node
    }

    /// The rail of `rank`'s own NIC: its number on its node, modulo the rails.
    pub fn rail_of(&self, rank: u32) -> u32 {
        rank % self.ranks_per_node % self.rails
    }

    /// The address of the NIC of `node` on `rail`.
    pub fn address(&self, node: u32, rail: u32) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, byte(rail), byte(node + 1))
    }

    /// The spine's address on `rail`: what nodes have as their gateway to the other rails.
    pub fn gateway(&self, rail: u32) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, byte(rail), 254)
    }

    /// The addresses of the NICs of `node`, in the order of the rails.
    pub fn nics(&self, node: u32) -> Vec<Ipv4Addr> {
        (0..self.rails).map(|rail| self.address(node, rail)).collect()
    }

    /// A NIC's name on its node. All are of one length, so that none is the beginning of another.
    pub fn nic_name(&self, rail: u32) -> String {
        let width = (self.rails - 1).to_string().len();
        format!("eth{rail:0width$}")
    }

    /// The name of a node, which is its host name too.
    pub fn node_name(&self, node: u32) -> String {
        format!("node{node}")
    }

    /// What the uplink of a rail carries each way, if there are a spine and limits.
    pub fn uplink(&self) -> Rate {
        let rate = self.rate.0.zip(self.oversubscription);
        Rate(rate.map(|(rate, times)| rate * u64::from(self.nodes) / u64::from(times)))
    }
}

/// A byte of an address: [`Description::check`] keeps the numbers below 256.
fn byte(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Bits per second; `None` for as many as the machine moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub Option<u64>);

const UNITS: [(&str, u64); 3] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1000)];
/// Slower than any link, and time enough for a token bucket to be right.
const SLOWEST: u64 = 100_000;
/// A terabit: beyond, the numbers would say nothing.
const FASTEST: u64 = 1_000_000_000_000;

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        if text == "none" {
            return Ok(Self(None));
        }
        let parsed = UNITS.iter().find_map(|(unit, times)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(*times)
        });
        let rate = parsed.filter(|rate| (SLOWEST..=FASTEST).contains(rate));
        rate.map(|rate| Self(Some(rate))).ok_or_else(|| {
            "expected a number with kbit, mbit or gbit, from 100kbit to 1000gbit, or none"
                .to_owned()
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rate) = self.0 else { return f.write_str("none") };
        let whole = UNITS.iter().find(|(_, times)| rate % times == 0);
        match whole {
            Some((unit, times)) => write!(f, "{}{unit}", rate / times),
            None => write!(f, "{rate}bit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Description {
        Description {
            nodes: 2,
            ranks_per_node: 4,
            rails: 4,
            rate: Rate(Some(200_000_000)),
            oversubscription: Some(4),
            mtu: 1500,
        }
    }

    #[test]
    fn a_rank_is_on_the_rail_of_its_number_on_its_node() {
        let two_rails = Description { rails: 2, ..cluster() };
        let places = |rank| (two_rails.node_of(rank), two_rails.rail_of(rank));
        assert_eq!(
            [0, 1, 2, 3, 4, 7].map(places),
            [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 1)]
        );
        assert_eq!(
            two_rails.nics(1).iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.77.0.2", "10.77.1.2"]
        );
    }

    #[test]
    fn an_uplink_carries_what_its_rails_nics_do_divided_by_the_oversubscription() {
        assert_eq!(cluster().uplink().to_string(), "100mbit");
        assert_eq!(Description { oversubscription: None, ..cluster() }.uplink(), Rate(None));
        assert_eq!(Description { rate: Rate(None), ..cluster() }.uplink(), Rate(None));
    }

    #[test]
    fn no_nic_has_a_name_that_begins_another() {
        let many = Description { rails: 12, ..cluster() };
        assert_eq!((many.nic_name(1), many.nic_name(11)), ("eth01".into(), "eth11".into()));
        assert_eq!(cluster().nic_name(3), "eth3");
    }

    #[test]
    fn clusters_that_cannot_be_are_refused_with_the_numbers() {
        assert!(cluster().check().is_ok());
        for (wrong, number) in [
            (Description { nodes: 254, ranks_per_node: 1, ..cluster() }, "254"),
            (Description { nodes: 0, ..cluster() }, "0 nodes"),
            (Description { ranks_per_node: 0, rails: 0, ..cluster() }, "0 ranks on each node"),
            (Description { rails: 65, ..cluster() }, "65"),
            (Description { ranks_per_node: 3000, ..cluster() }, "3000"),
            (Description { mtu: 100, ..cluster() }, "100"),
        ] {
            let said = wrong.check().unwrap_err().to_string();
            assert!(said.contains(number), "{said}");
        }
    }

    #[test]
    fn rates_are_read_and_written_in_the_units_of_tc() {
        for text in ["200mbit", "1gbit", "1500kbit", "none"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
            assert_eq!(text.to_uppercase().parse(), text.parse::<Rate>(), "in any case");
        }
        for text in ["", "200", "200MB", "0mbit", "-1mbit", "1.5gbit", "99999999gbit", "gbit"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
