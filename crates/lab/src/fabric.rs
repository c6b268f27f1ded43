//! Owns what fabric files and labs have in common: the cluster that a file describes, where a lab can be it,
//! and the file that describes a lab.

use crosstie_topo::fabric::{Fabric, Wiring};

use crate::description::{Description, Rate};
use crate::error::LabError;

/// What a fabric's file does not say of a lab, or a lab shall have otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Played {
    /// Ranks on each node; `None` for one for each port.
    pub ranks_per_node: Option<u32>,
    /// What a NIC carries in place of what the file says; uplinks keep their proportion to it.
    pub rate: Option<Rate>,
    /// Bytes of the longest packet.
    pub mtu: u32,
}

/// A faster fabric must be told how much slower it is to be: all of it shares this machine's processors. A choice,
/// not a measurement.
const FASTEST: u64 = 10_000_000_000;
/// What labs are, for those that are refused.
const SHAPE: &str = "a lab has one leaf for each port of a node, with all nodes on it, and either no uplinks or equal \
                     ones to the same spines";

impl Description {
    /// The lab that is a fabric.
    ///
    /// # Errors
    /// [`LabError::Description`] for a fabric of a shape or size that no lab has, or too fast, with what a
    /// lab can be.
    pub fn of_fabric(fabric: &Fabric, played: Played) -> Result<Self, LabError> {
        let refused =
            |what: String| LabError::Description(format!("fabric {:?}: {what}", fabric.name));
        let wiring = fabric.wiring().map_err(|error| refused(error.to_string()))?;
        let (nodes, rails) = (wiring.nodes.len() as u32, rails(&wiring).map_err(refused)?);
        let bits = rate(&wiring).map_err(refused)?;
        let rate = match played.rate {
            Some(rate) => rate,
            None if bits > FASTEST => {
                let (file, fastest) = (Rate(Some(bits)), Rate(Some(FASTEST)));
                return Err(refused(format!(
                    "its NICs carry {file}, and a lab plays {fastest} at most: give --rate, and uplinks keep \
                     their proportion"
                )));
            }
            None => Rate(Some(bits)),
        };
        let description = Self {
            nodes,
            ranks_per_node: played.ranks_per_node.unwrap_or(rails),
            rails,
            rate,
            oversubscription: oversubscription(&wiring, bits).map_err(refused)?,
            mtu: played.mtu,
        };
        description.check().map(|()| description)
    }

    /// The fabric that this lab is; [`Description::of_fabric`] makes the same of it, but for what a file does
    /// not say.
    ///
    /// # Errors
    /// [`LabError::Description`] where a rate is no whole number of Mb/s, or none.
    pub fn to_fabric(&self) -> Result<Fabric, LabError> {
        const MBIT: u64 = 1_000_000;
        let whole = |what: &str, rate: Rate| {
            let mbit = rate.0.filter(|bits| bits % MBIT == 0 && *bits > 0).map(|bits| bits / MBIT);
            let wrong = || format!("{what} of {rate}: a fabric file has whole numbers of Mb/s");
            mbit.ok_or_else(|| LabError::Description(wrong()))
        };
        let mbit = whole("NICs", self.rate)?;
        let spines = u32::from(self.oversubscription.is_some());
        let mut fabric = Fabric::rail_optimised(self.nodes, self.rails, mbit, spines, 1);
        let (nodes, ranks, rails) = (self.nodes, self.ranks_per_node, self.rails);
        fabric.name = format!("lab of {nodes} nodes, {rails} rails");
        fabric.provenance = Some(format!(
            "crosstie lab --nodes {nodes} --ranks-per-node {ranks} --rails {rails} --print-fabric"
        ));
        for uplinks in &mut fabric.uplinks {
            let exact = self.rate.0.zip(self.oversubscription).is_some_and(|(rate, times)| {
                (rate * u64::from(nodes)).is_multiple_of(u64::from(times))
            });
            uplinks.mbit = whole("uplinks", if exact { self.uplink() } else { Rate(None) })?;
            uplinks.oversubscription = self.oversubscription.map(|times| format!("{times}:1"));
        }
        Ok(fabric)
    }
}

/// How many rails there are: as many as each node has ports, each with all nodes on a leaf of its own.
fn rails(wiring: &Wiring) -> Result<u32, String> {
    let of = |node: u32| wiring.cables.iter().filter(move |cable| cable.node == node);
    let leaves: Vec<(u32, u32)> = of(0).map(|cable| (cable.port, cable.leaf)).collect();
    for node in 0..wiring.nodes.len() as u32 {
        if !of(node).map(|cable| (cable.port, cable.leaf)).eq(leaves.iter().copied()) {
            let (first, other) = (&wiring.nodes[0], &wiring.nodes[node as usize]);
            return Err(format!("{other} is not on the same leaves as {first}; {SHAPE}"));
        }
    }
    match of(0).find(|cable| cable.rail.is_none()) {
        Some(cable) => Err(format!(
            "several ports of a node are on {}; {SHAPE}",
            wiring.leaves[cable.leaf as usize]
        )),
        None if leaves.is_empty() => Err(format!("no node has a cable; {SHAPE}")),
        None => Ok(leaves.len() as u32),
    }
}

/// What each NIC carries, bit/s.
fn rate(wiring: &Wiring) -> Result<u64, String> {
    let mut rates = wiring.cables.iter().map(|cable| cable.bandwidth);
    let first = rates.next().unwrap_or_default();
    match rates.find(|rate| *rate != first) {
        Some(other) => {
            Err(format!("some NICs carry {first}, others {other}; those of a lab are alike"))
        }
        None => Ok(first.as_bytes_per_s().saturating_mul(8)),
    }
}

/// How many times less an uplink carries than the NICs of its leaf, whose rate is `bits`; `None` without a
/// spine.
fn oversubscription(wiring: &Wiring, bits: u64) -> Result<Option<u32>, String> {
    let used = wiring.cables.iter().filter(|cable| cable.node == 0).map(|cable| cable.leaf);
    let up = |leaf| wiring.uplinks_of(leaf).iter().map(|up| (up.spine, up.bandwidth));
    let leaves: Vec<u32> = used.collect();
    let first: Vec<_> = leaves.first().into_iter().flat_map(|&leaf| up(leaf)).collect();
    if let Some(&other) = leaves.iter().find(|&&leaf| !up(leaf).eq(first.iter().copied())) {
        let other = &wiring.leaves[other as usize];
        return Err(format!("the uplinks of {other} are not as those of other leaves; {SHAPE}"));
    }
    if first.is_empty() {
        return Ok(None);
    }
    let down = bits.saturating_mul(wiring.nodes.len() as u64);
    let up = first.iter().fold(0_u64, |sum, (_, bandwidth)| {
        sum.saturating_add(bandwidth.as_bytes_per_s().saturating_mul(8))
    });
    match u32::try_from(down / up) {
        // Uplinks that carry more than all NICs of their leaf are as good as those that carry the same.
        _ if up >= down => Ok(Some(1)),
        Ok(times) if down.is_multiple_of(up) => Ok(Some(times)),
        _ => {
            let leaf = leaves.first().and_then(|&leaf| wiring.oversubscription(leaf));
            let found = leaf.map_or_else(String::new, |found| found.to_string());
            Err(format!(
                "its uplinks are oversubscribed {found}; a lab's are N:1, N a whole number"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYED: Played = Played { ranks_per_node: None, rate: None, mtu: 1500 };

    fn file(name: &str) -> Fabric {
        let path = format!("{}/../../topology/{name}", env!("CARGO_MANIFEST_DIR"));
        Fabric::read(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn a_lab_is_the_same_after_it_was_a_file() {
        let mbit = |mbit: u64| Rate(Some(mbit * 1_000_000));
        for (nodes, rails, rate, oversubscription) in [
            (2, 4, mbit(200), Some(4)),
            (3, 8, mbit(100), Some(1)),
            (5, 1, mbit(50), None),
            (1, 2, mbit(7), Some(7)),
        ] {
            let lab = Description {
                nodes,
                ranks_per_node: rails,
                rails,
                rate,
                oversubscription,
                mtu: 1500,
            };
            let text = lab.to_fabric().unwrap().to_toml().unwrap();
            assert_eq!(
                Description::of_fabric(&Fabric::read(&text).unwrap(), PLAYED).unwrap(),
                lab,
                "{text}"
            );
            let played = Played { ranks_per_node: Some(3), ..PLAYED };
            let other = Description { ranks_per_node: 3, ..lab.clone() };
            let again = Description::of_fabric(&other.to_fabric().unwrap(), played).unwrap();
            assert_eq!(again, other);
        }
        let lab = Description::of_fabric(
            &file("fabric-rail-2.toml"),
            Played { rate: Some(Rate(None)), ..PLAYED },
        );
        assert!(lab.unwrap().to_fabric().unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn fast_fabrics_are_played_slowly_and_in_proportion() {
        let slow = Played { rate: Some(Rate(Some(100_000_000))), ..PLAYED };
        let lab = Description::of_fabric(&file("fabric-rail-2.toml"), slow).unwrap();
        assert_eq!((lab.nodes, lab.rails, lab.ranks_per_node), (2, 8, 8));
        assert_eq!((lab.oversubscription, lab.uplink().to_string().as_str()), (Some(1), "200mbit"));
        let fast = Description::of_fabric(&file("fabric-rail-2.toml"), PLAYED).unwrap_err();
        assert!(
            fast.to_string().contains("400gbit") && fast.to_string().contains("--rate"),
            "{fast}"
        );
        let apart = Description::of_fabric(&file("fabric-rail-only-32.toml"), slow).unwrap();
        assert_eq!((apart.nodes, apart.oversubscription), (32, None));
    }

    #[test]
    fn fabrics_that_no_lab_is_are_refused_with_what_a_lab_can_be() {
        let slow = Played { rate: Some(Rate(Some(100_000_000))), ..PLAYED };
        let lab = Description {
            nodes: 2,
            ranks_per_node: 2,
            rails: 2,
            rate: Rate(Some(4_000_000)),
            oversubscription: Some(1),
            mtu: 1500,
        };
        let odd = |change: fn(&mut Fabric)| {
            let mut fabric = lab.to_fabric().unwrap();
            change(&mut fabric);
            fabric
        };
        let uneven = odd(|fabric| {
            fabric.uplinks[0].mbit = 3;
            fabric.uplinks[0].oversubscription = None;
        });
        let groups = odd(|fabric| {
            fabric.cables[0].nodes_per_group = 1;
            fabric.leaves[0].count = 4;
            fabric.uplinks[0].oversubscription = None;
        });
        for (fabric, why) in [
            (file("fabric-fat-tree-32.toml"), "leaf for each port"),
            (file("fabric-rail-128.toml"), "leaf for each port"),
            (uneven, "8:3"),
            (groups, "not on the same leaves as node0"),
        ] {
            let said = Description::of_fabric(&fabric, slow).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        let large = Fabric::rail_optimised(300, 1, 100, 0, 0);
        let said = Description::of_fabric(&large, slow).unwrap_err().to_string();
        assert!(said.contains("300 nodes: give 1 to 253"), "{said}");
    }
}
