//! Owns a fabric's cables, one by one: which port is on which leaf and rail, and how ports reach each other.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use serde::Serialize;

use crate::fabric::{By, Cabling, Fabric, FabricError, FabricFault, SCHEMA, SwitchGroup, Uplinks};
use crate::unit::Bandwidth;
use crate::xml::Position;

/// The most nodes, switches, or ports of one of them.
const MOST: u64 = 1 << 16;
/// The most cables; a million take 16 MB.
const MOST_CABLES: u64 = 1 << 20;

/// Every node, switch and cable of a fabric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wiring {
    /// Nodes by name, in the order of the file.
    pub nodes: Vec<String>,
    /// Leaves by name.
    pub leaves: Vec<String>,
    /// Spines by name.
    pub spines: Vec<String>,
    /// Cables from nodes to leaves, by node and port.
    pub cables: Vec<Cable>,
    /// Cables from leaves to spines, by leaf and spine.
    pub uplinks: Vec<Uplink>,
}

/// A cable from a node's port to a leaf; node and leaf are indices of [`Wiring`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cable {
    /// The node.
    pub node: u32,
    /// Its port.
    pub port: u32,
    /// The leaf.
    pub leaf: u32,
    /// The rail, where each port of the node has a leaf of its own.
    pub rail: Option<u32>,
    /// What it carries each way.
    pub bandwidth: Bandwidth,
}

/// The cables from a leaf to a spine, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Uplink {
    /// The leaf.
    pub leaf: u32,
    /// The spine.
    pub spine: u32,
    /// How many cables.
    pub cables: u32,
    /// What they carry together, each way.
    pub bandwidth: Bandwidth,
}

/// What a leaf's nodes send, to what its uplinks carry; shown in lowest terms, `3:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Oversubscription {
    /// What the cables to its nodes carry together.
    pub down: Bandwidth,
    /// What its uplinks carry together; 0 without a spine.
    pub up: Bandwidth,
}

impl fmt::Display for Oversubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut a, mut b) = (self.down.as_bytes_per_s(), self.up.as_bytes_per_s());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let common = a.max(1);
        f.pad(&format!(
            "{}:{}",
            self.down.as_bytes_per_s() / common,
            self.up.as_bytes_per_s() / common
        ))
    }
}

/// How one port reaches another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// By their common leaf, as fast as the slower port.
    Leaf(Bandwidth),
    /// By a spine; as fast as the slower port, or what its leaf's uplinks carry together.
    Spine(Bandwidth),
}

/// How a port of one node reaches a port of another; each is a node and its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Where it begins.
    pub from: (u32, u32),
    /// Where it ends.
    pub to: (u32, u32),
    /// Whether both ports are on one rail; `None` where there are no rails.
    pub same_rail: Option<bool>,
    /// Whether both nodes hang on one group of leaves.
    pub same_group: bool,
    /// `None` where no switch joins them.
    pub reach: Option<Reach>,
}

impl Fabric {
    /// Every cable of the fabric.
    ///
    /// # Errors
    ///
    /// Where its numbers do not fit each other.
    pub fn wiring(&self) -> Result<Wiring, FabricError> {
        self.check().map_err(|fault| FabricError { at: Position::default(), fault })?;
        self.wire().map_err(|fault| FabricError { at: Position::default(), fault })
    }

    fn check(&self) -> Result<(), FabricFault> {
        if self.schema != SCHEMA {
            return Err(FabricFault::Schema { found: self.schema });
        }
        let names = self.nodes.iter().map(|group| &group.name);
        let switches = self.leaves.iter().chain(&self.spines).map(|group| &group.name);
        let mut known = BTreeSet::new();
        if let Some(name) = names.chain(switches).find(|name| !known.insert(*name)) {
            return Err(FabricFault::SameName { name: name.clone() });
        }
        let nodes: u64 = self.nodes.iter().map(|group| u64::from(group.count)).sum();
        let leaves: u64 = self.leaves.iter().map(|group| u64::from(group.count)).sum();
        let spines: u64 = self.spines.iter().map(|group| u64::from(group.count)).sum();
        within("the number of nodes", nodes, MOST)?;
        for (what, count) in [("the number of leaves", leaves), ("the number of spines", spines)] {
            within(what, count.max(1), MOST)?;
        }
        for group in &self.nodes {
            within("ports of a node", group.ports.into(), MOST)?;
        }
        let cables: u64 =
            self.nodes.iter().map(|group| u64::from(group.count) * u64::from(group.ports)).sum();
        within("the number of cables", cables, MOST_CABLES)?;
        let pairs = |uplinks: &Uplinks| {
            let leaves = self
                .leaves
                .iter()
                .find(|group| group.name == uplinks.leaves)
                .map_or(0, |group| group.count);
            let spines = self
                .spines
                .iter()
                .find(|group| group.name == uplinks.spines)
                .map_or(0, |group| group.count);
            u64::from(leaves) * u64::from(spines)
        };
        let uplinks = self.uplinks.iter().map(pairs).sum::<u64>();
        within("the number of pairs of leaf and spine", uplinks.max(1), MOST_CABLES)
    }

    fn wire(&self) -> Result<Wiring, FabricFault> {
        let name = |name: &str, count| (0..count).map(|n| format!("{name}{n}")).collect::<Vec<_>>();
        let switches = |groups: &[SwitchGroup]| {
            groups.iter().flat_map(|group| name(&group.name, group.count)).collect()
        };
        let mut wiring = Wiring {
            nodes: self.nodes.iter().flat_map(|group| name(&group.name, group.count)).collect(),
            leaves: switches(&self.leaves),
            spines: switches(&self.spines),
            cables: Vec::new(),
            uplinks: Vec::new(),
        };
        for cabling in &self.cables {
            self.lay(cabling, &mut wiring)?;
        }
        for uplinks in &self.uplinks {
            self.lay_up(uplinks, &mut wiring)?;
        }
        wiring.cables.sort_unstable();
        let twice = wiring
            .cables
            .windows(2)
            .find(|pair| (pair[0].node, pair[0].port) == (pair[1].node, pair[1].port));
        if let Some(pair) = twice {
            let node = wiring.nodes[pair[0].node as usize].clone();
            return Err(FabricFault::TwoCables { node, port: pair[0].port });
        }
        wiring.uplinks.sort_unstable();
        wiring.mark_rails();
        self.check_ports(&wiring)?;
        self.check_oversubscription(&wiring)?;
        Ok(wiring)
    }

    fn lay(&self, cabling: &Cabling, wiring: &mut Wiring) -> Result<(), FabricFault> {
        let &Cabling { ref nodes, ref leaves, by, nodes_per_group: per_group, mbit } = cabling;
        within("nodes_per_group", per_group.into(), MOST)?;
        within("mbit", mbit, u64::MAX / 125_000)?;
        let group = self.nodes.iter().find(|group| group.name == *nodes);
        let group =
            group.ok_or_else(|| FabricFault::Unknown { what: "nodes", name: nodes.clone() })?;
        let first = span(self.nodes.iter().map(|group| (&group.name, group.count)), nodes);
        let to = span(self.leaves.iter().map(|group| (&group.name, group.count)), leaves);
        let (Some(first), Some(to)) = (first, to) else {
            return Err(FabricFault::Unknown { what: "leaves", name: leaves.clone() });
        };
        let each = match by {
            By::Rail => group.ports,
            By::Node => 1,
        };
        let needed = u64::from(group.count.div_ceil(per_group)) * u64::from(each);
        let count = to.end - to.start;
        if needed > count.into() {
            let (nodes, ports, name) = (group.count, group.ports, leaves.clone());
            return Err(FabricFault::Leaves { nodes, ports, per_group, needed, name, count });
        }
        for node in 0..group.count {
            for port in 0..group.ports {
                let nth = if by == By::Rail { port } else { 0 };
                let leaf = to.start + node / per_group * each + nth;
                let bandwidth = Bandwidth::mbit_per_s(mbit);
                wiring.cables.push(Cable {
                    node: first.start + node,
                    port,
                    leaf,
                    rail: None,
                    bandwidth,
                });
            }
        }
        Ok(())
    }

    fn lay_up(&self, uplinks: &Uplinks, wiring: &mut Wiring) -> Result<(), FabricFault> {
        within("cables", uplinks.cables.into(), MOST)?;
        within("mbit", uplinks.mbit, u64::MAX / 125_000)?;
        let named = |what, groups: &[SwitchGroup], name: &String| {
            let groups = groups.iter().map(|group| (&group.name, group.count));
            span(groups, name).ok_or_else(|| FabricFault::Unknown { what, name: name.clone() })
        };
        let leaves = named("leaves", &self.leaves, &uplinks.leaves)?;
        let spines = named("spines", &self.spines, &uplinks.spines)?;
        let bandwidth = Bandwidth::mbit_per_s(uplinks.mbit) * uplinks.cables;
        for leaf in leaves {
            for spine in spines.clone() {
                wiring.uplinks.push(Uplink { leaf, spine, cables: uplinks.cables, bandwidth });
            }
        }
        Ok(())
    }

    fn check_ports(&self, wiring: &Wiring) -> Result<(), FabricFault> {
        let mut leaves = alloc::vec![0_u64; wiring.leaves.len()];
        let mut spines = alloc::vec![0_u64; wiring.spines.len()];
        wiring.cables.iter().for_each(|cable| leaves[cable.leaf as usize] += 1);
        for uplink in &wiring.uplinks {
            leaves[uplink.leaf as usize] += u64::from(uplink.cables);
            spines[uplink.spine as usize] += u64::from(uplink.cables);
        }
        let of = |groups: &[SwitchGroup]| {
            groups
                .iter()
                .flat_map(|group| (0..group.count).map(|_| group.ports))
                .collect::<Vec<_>>()
        };
        let all = leaves.into_iter().zip(of(&self.leaves)).zip(&wiring.leaves);
        let all = all.chain(spines.into_iter().zip(of(&self.spines)).zip(&wiring.spines));
        for ((cables, ports), name) in all {
            if let Some(ports) = ports.filter(|&ports| cables > ports.into()) {
                return Err(FabricFault::Ports { name: name.clone(), cables, ports });
            }
        }
        Ok(())
    }

    fn check_oversubscription(&self, wiring: &Wiring) -> Result<(), FabricFault> {
        for uplinks in &self.uplinks {
            let Some(said) = &uplinks.oversubscription else { continue };
            let leaves =
                span(self.leaves.iter().map(|group| (&group.name, group.count)), &uplinks.leaves);
            // The fullest leaf: the last ones may have fewer nodes.
            let each =
                leaves.into_iter().flatten().filter_map(|leaf| wiring.oversubscription(leaf));
            let found = each.max_by_key(|found| found.down);
            if let Some(found) = found.filter(|found| found.to_string() != *said) {
                let (name, said) = (uplinks.leaves.clone(), said.clone());
                return Err(FabricFault::Oversubscription { name, said, found });
            }
        }
        Ok(())
    }
}

/// The numbers of a group's members among those of all groups.
fn span<'a>(groups: impl Iterator<Item = (&'a String, u32)>, name: &str) -> Option<Range<u32>> {
    let mut first = 0;
    for (known, count) in groups {
        if known == name {
            return Some(first..first + count);
        }
        first += count;
    }
    None
}

fn within(what: &'static str, value: u64, limit: u64) -> Result<(), FabricFault> {
    (1..=limit).contains(&value).then_some(()).ok_or(FabricFault::Number { what, value, limit })
}

impl Wiring {
    /// A port's rail is its leaf's number among the leaves of its node, where no two ports share one.
    fn mark_rails(&mut self) {
        for cables in self.cables.chunk_by_mut(|a, b| a.node == b.node) {
            let leaves: BTreeMap<u32, u32> = {
                let distinct: BTreeSet<u32> = cables.iter().map(|cable| cable.leaf).collect();
                distinct.into_iter().zip(0..).collect()
            };
            if leaves.len() == cables.len() {
                cables.iter_mut().for_each(|cable| cable.rail = leaves.get(&cable.leaf).copied());
            }
        }
    }

    /// The cable of a port.
    pub fn cable(&self, node: u32, port: u32) -> Option<&Cable> {
        let place =
            self.cables.binary_search_by_key(&(node, port), |cable| (cable.node, cable.port));
        place.ok().and_then(|place| self.cables.get(place))
    }

    /// The rail of a port; `None` of one that shares its leaf with others of its node.
    pub fn rail(&self, node: u32, port: u32) -> Option<u32> {
        self.cable(node, port)?.rail
    }

    /// The uplinks of a leaf.
    pub fn uplinks_of(&self, leaf: u32) -> &[Uplink] {
        let first = self.uplinks.partition_point(|uplink| uplink.leaf < leaf);
        let end = self.uplinks.partition_point(|uplink| uplink.leaf <= leaf);
        &self.uplinks[first..end]
    }

    /// How much more the nodes of a leaf could send than its uplinks carry.
    pub fn oversubscription(&self, leaf: u32) -> Option<Oversubscription> {
        self.leaves.get(leaf as usize)?;
        let sum = |sum: Bandwidth, more| sum.plus(more);
        let down =
            self.cables.iter().filter(|cable| cable.leaf == leaf).map(|cable| cable.bandwidth);
        let up = self.uplinks_of(leaf).iter().map(|uplink| uplink.bandwidth);
        Some(Oversubscription {
            down: down.fold(Bandwidth::default(), sum),
            up: up.fold(Bandwidth::default(), sum),
        })
    }

    /// How a port of one node reaches a port of another; `None` where no switch joins them.
    pub fn reach(&self, from: (u32, u32), to: (u32, u32)) -> Option<Reach> {
        let (a, b) = (self.cable(from.0, from.1)?, self.cable(to.0, to.1)?);
        let slower = a.bandwidth.min(b.bandwidth);
        if a.leaf == b.leaf {
            return Some(Reach::Leaf(slower));
        }
        let through =
            |leaf| self.uplinks_of(leaf).iter().map(|uplink| (uplink.spine, uplink.bandwidth));
        let there: BTreeMap<u32, Bandwidth> = through(b.leaf).collect();
        let common = through(a.leaf).filter_map(|(spine, up)| Some(up.min(*there.get(&spine)?)));
        let all = common.reduce(Bandwidth::plus)?;
        Some(Reach::Spine(slower.min(all)))
    }
}
