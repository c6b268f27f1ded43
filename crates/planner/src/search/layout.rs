//! Owns what each node of a cluster does for each channel: the way of its ring, the rails that it keeps to, the order of
//! its trees.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::model::Model;
use super::node::{Found, Way};
use super::{Crossing, CrossingWhy, RelayWhy, Side, Stretch, Swap};

/// The rails by which one channel comes into a node and goes out.
pub(super) type Rails = (Option<u32>, Option<u32>);

/// Ways through nodes of one kind, one for each channel.
pub(super) struct Ways {
    pub found: Found,
    /// What they should keep to.
    pub rails: Vec<Rails>,
    pub why: RelayWhy,
}

/// What each node does for each channel.
pub(super) struct Layout {
    pub ways: Vec<Ways>,
    /// By node: which of the ways are its, and the channels that take the way of the other of their pair, as bits.
    pub nodes: Vec<(usize, u32)>,
    /// By node: the ways by which its trees go, which never swap.
    pub trees: Vec<usize>,
    pub swap: Swap,
}

impl Layout {
    pub fn of_one(found: Found) -> Self {
        let rails = alloc::vec![(None, None); found.ways.len()];
        let ways = alloc::vec![Ways { found, rails, why: RelayWhy::OwnNic }];
        Self { ways, nodes: alloc::vec![(0, 0)], trees: alloc::vec![0], swap: Swap::None }
    }

    pub fn channels(&self) -> u32 {
        self.ways.first().map_or(0, |ways| ways.rails.len() as u32)
    }

    pub fn speed(&self) -> u64 {
        let speeds = self.nodes.iter().map(|&(ways, _)| self.ways[ways].found.speed);
        speeds.min().unwrap_or(0)
    }

    /// Whether some packing of faster rings ran out of steps.
    pub fn gave_up(&self) -> bool {
        self.ways.iter().any(|ways| ways.found.gave_up)
    }

    pub fn total(&self) -> u64 {
        self.speed() * u64::from(self.channels())
    }

    /// How many rings pass relays, over all nodes.
    pub fn relays(&self) -> usize {
        let relayed = |way: &&Way| way.nics.is_some_and(|(_, _, relay)| relay.is_some());
        let of = |ways: &Ways| ways.found.ways.iter().filter(relayed).count();
        self.nodes.iter().map(|&(ways, _)| of(&self.ways[ways])).sum()
    }

    /// The faster comes first, then the one with fewer relays, then the one with fewer channels.
    pub fn rank(&self) -> (Reverse<u64>, usize, u32) {
        (Reverse(self.total()), self.relays(), self.channels())
    }

    /// A channel's way through a node, the rails that it should keep to, and why it would need a relay.
    pub fn way(&self, node: u32, channel: u32) -> (&Way, Rails, RelayWhy) {
        let (ways, swapped) = self.nodes[node as usize];
        let (ways, channel) = (&self.ways[ways], (channel ^ (swapped >> channel & 1)) as usize);
        (&ways.found.ways[channel], ways.rails[channel], ways.why)
    }

    /// The way whose order and first NIC a channel's trees have in a node.
    pub fn tree_way(&self, node: u32, channel: u32) -> &Way {
        &self.ways[self.trees[node as usize]].found.ways[channel as usize]
    }

    pub fn stretches(&self, models: &[Model], nodes: &[u32], channel: u32) -> Vec<Stretch> {
        let nodes = (0..).zip(nodes);
        nodes.map(|(node, &kind)| self.stretch(&models[kind as usize], node, channel)).collect()
    }

    pub fn stretch(&self, model: &Model, node: u32, channel: u32) -> Stretch {
        let (way, _, why) = self.way(node, channel);
        let relay = way.nics.and_then(|(_, _, relay)| relay);
        let gpu = |&seat: &u32| model.seats[seat as usize].device;
        let nic = |port: u32| model.ports[port as usize].device;
        Stretch {
            node,
            gpus: way.seats.iter().map(gpu).collect(),
            local_ranks: way.seats.clone(),
            nic_in: way.nics.map(|(port, _, _)| nic(port)),
            nic_out: way.nics.map(|(_, port, _)| nic(port)),
            relay_in: None,
            relay_out: relay.as_ref().map(gpu),
            relay_why: relay.map(|_| why),
        }
    }

    pub fn crossings(&self, models: &[Model], nodes: &[u32]) -> Vec<Crossing> {
        let mut crossings = Vec::new();
        for channel in 0..self.channels() {
            for (node, &kind) in (0..).zip(nodes) {
                let (way, rails, _) = self.way(node, channel);
                let Some((from, to, _)) = way.nics else { continue };
                for (side, rail, port) in [(Side::In, rails.0, from), (Side::Out, rails.1, to)] {
                    let instead = models[kind as usize].ports[port as usize].rail;
                    if let Some(rail) = rail.filter(|_| instead != rail) {
                        let why = CrossingWhy::NoNic;
                        crossings.push(Crossing { channel, node, side, rail, instead, why });
                    }
                }
            }
        }
        crossings
    }
}
