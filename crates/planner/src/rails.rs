//! Owns the rails of a cluster: which NIC is whose, and from which rank a connection enters the network.
//!
//! Until a topology says otherwise, rail `i` of a node is its NIC `i`, owned by the rank whose place on the
//! node (its *local rank*) is `i`; a rank's own rail is its local rank modulo the number of rails. With PXN
//! a connection enters the network on its receiver's rail: its *carrier* is the rank of the sender's node
//! that owns that rail's NIC, so all ranks of a node share one wire to a receiver.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZero;

use crosstie_ir::Rank;

use crate::Nodes;

/// The rails of a world, and the way over them: a pure function of the nodes and of their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rails {
    count: u32,
    /// By rank: (index of its node, local rank).
    places: Vec<(u32, u32)>,
    /// The ranks of each node, in order.
    members: Vec<Vec<Rank>>,
}

impl Rails {
    /// `count` rails; by default one for each rank of the largest node.
    pub fn new(nodes: &Nodes, count: Option<NonZero<u32>>) -> Self {
        let mut index: BTreeMap<u32, u32> = BTreeMap::new();
        let mut members: Vec<Vec<Rank>> = Vec::new();
        let mut places = Vec::with_capacity(nodes.assignment().len());
        for (&node, rank) in nodes.assignment().iter().zip(0..) {
            let next = members.len() as u32;
            let node = *index.entry(node).or_insert(next);
            if node == next {
                members.push(Vec::new());
            }
            let here = &mut members[node as usize];
            places.push((node, here.len() as u32));
            here.push(Rank(rank));
        }
        let largest = members.iter().map(Vec::len).max().unwrap_or(1) as u32;
        Self { count: count.map_or(largest.max(1), NonZero::get), places, members }
    }

    /// How many rails there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The place of `rank` on its node; `None` when there is no such rank.
    pub fn local_rank(&self, rank: Rank) -> Option<u32> {
        self.places.get(rank.0 as usize).map(|&(_, local)| local)
    }

    /// The rail of `rank`; `None` when there is no such rank.
    pub fn rail_of(&self, rank: Rank) -> Option<u32> {
        self.local_rank(rank).map(|local| local % self.count)
    }

    /// The ranks of the node of `rank`, in order; none when there is no such rank.
    pub fn node_of(&self, rank: Rank) -> &[Rank] {
        let place = self.places.get(rank.0 as usize);
        place.map_or(&[], |&(node, _)| &self.members[node as usize])
    }

    /// The rank from which the connections from `src` to `dst`, a rank of another node, enter the network
    /// with PXN: the owner of the NIC of `dst`'s rail on `src`'s node, and `src` itself where that node
    /// has too few ranks to own it.
    pub fn carrier(&self, src: Rank, dst: Rank) -> Option<Rank> {
        let rail = self.rail_of(dst)?;
        self.local_rank(src)?;
        Some(self.node_of(src).get(rail as usize).copied().unwrap_or(src))
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
