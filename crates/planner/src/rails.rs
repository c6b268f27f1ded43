//! Owns the rails of a cluster: which NIC is whose, and from which rank a connection enters the network.
//!
//! Each rank is on one rail: where no topology says which, on that of its place on the node (its *local
//! rank*) modulo the number of rails. The NIC of a rail is owned by the first rank of a node that is on
//! it. With PXN a connection enters the network on its receiver's rail: its *carrier* is the rank of the
//! sender's node that owns that rail's NIC, so all ranks of a node share one wire to a receiver.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZero;

use crosstie_ir::Rank;

use crate::Nodes;

/// The rails of a world, and the way over them: a pure function of the nodes and of each rank's rail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rails {
    count: u32,
    /// By rank: the index of its node.
    places: Vec<u32>,
    /// The ranks of each node, in order.
    members: Vec<Vec<Rank>>,
    /// By rank.
    rail_of: Vec<u32>,
    /// By index of node and rail: the owner of the NIC, where there is one.
    owners: BTreeMap<(u32, u32), Rank>,
}

impl Rails {
    /// `count` rails, a rank's own by its local rank; by default one for each rank of the largest node.
    pub fn new(nodes: &Nodes, count: Option<NonZero<u32>>) -> Self {
        let (places, members) = places(nodes);
        let largest = members.iter().map(Vec::len).max().unwrap_or(1) as u32;
        let count = count.map_or(largest.max(1), NonZero::get);
        let mut rail_of = alloc::vec![0; places.len()];
        for here in &members {
            for (&Rank(rank), local) in here.iter().zip(0..) {
                rail_of[rank as usize] = local % count;
            }
        }
        Self::with(count, places, members, rail_of)
    }

    /// The rails of a cluster whose rank r is on rail `rail_of[r]`, of `count`; ranks of a node may share
    /// one, and of some a node may have none. A rank without an entry is on rail 0, and there are as many
    /// rails as some rank is on.
    pub fn told(nodes: &Nodes, count: u32, rail_of: &[u32]) -> Self {
        let (places, members) = places(nodes);
        let rail = |rank: usize| rail_of.get(rank).copied().unwrap_or(0);
        let rail_of: Vec<u32> = (0..places.len()).map(rail).collect();
        let used = rail_of.iter().map(|rail| rail.saturating_add(1)).max().unwrap_or(1);
        Self::with(count.max(used), places, members, rail_of)
    }

    fn with(count: u32, places: Vec<u32>, members: Vec<Vec<Rank>>, rail_of: Vec<u32>) -> Self {
        let mut owners = BTreeMap::new();
        for ((&node, &rail), rank) in places.iter().zip(&rail_of).zip(0..) {
            owners.entry((node, rail)).or_insert(Rank(rank));
        }
        Self { count, places, members, rail_of, owners }
    }

    /// How many rails there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The rail of `rank`; `None` when there is no such rank.
    pub fn rail_of(&self, rank: Rank) -> Option<u32> {
        self.rail_of.get(rank.0 as usize).copied()
    }

    /// The rail whose NIC `rank` owns, if it owns one: then it is its own rail.
    pub fn owned_by(&self, rank: Rank) -> Option<u32> {
        let (&node, rail) = (self.places.get(rank.0 as usize)?, self.rail_of(rank)?);
        (self.owners.get(&(node, rail)) == Some(&rank)).then_some(rail)
    }

    /// The ranks of the node of `rank`, in order; none when there is no such rank.
    pub fn node_of(&self, rank: Rank) -> &[Rank] {
        let place = self.places.get(rank.0 as usize);
        place.map_or(&[], |&node| &self.members[node as usize])
    }

    /// The rank from which the connections from `src` to `dst`, a rank of another node, enter the network
    /// with PXN: the owner of the NIC of `dst`'s rail on `src`'s node, and `src` itself where no rank of
    /// that node owns it.
    pub fn carrier(&self, src: Rank, dst: Rank) -> Option<Rank> {
        let rail = self.rail_of(dst)?;
        let &node = self.places.get(src.0 as usize)?;
        Some(self.owners.get(&(node, rail)).copied().unwrap_or(src))
    }

    /// The ranks whose connections to `dst` enter the network from `carrier`, in order. Empty inside a node.
    pub fn carried(&self, carrier: Rank, dst: Rank) -> Vec<Rank> {
        let here = self.node_of(carrier);
        if here.contains(&dst) {
            return Vec::new();
        }
        let through = |&src: &Rank| self.carrier(src, dst) == Some(carrier);
        here.iter().copied().filter(through).collect()
    }
}

/// By rank the index of its node, and the ranks of each node.
fn places(nodes: &Nodes) -> (Vec<u32>, Vec<Vec<Rank>>) {
    let mut index: BTreeMap<u32, u32> = BTreeMap::new();
    let mut members: Vec<Vec<Rank>> = Vec::new();
    let mut places = Vec::with_capacity(nodes.assignment().len());
    for (&node, rank) in nodes.assignment().iter().zip(0..) {
        let next = members.len() as u32;
        let node = *index.entry(node).or_insert(next);
        if node == next {
            members.push(Vec::new());
        }
        places.push(node);
        members[node as usize].push(Rank(rank));
    }
    (places, members)
}
