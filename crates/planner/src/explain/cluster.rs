//! Owns what the nodes of a cluster send each other, on the links that lead from GPUs to NICs.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crosstie_ir::ChannelId;

use super::routes::World;
use crate::cost::Exchange;
use crate::search::{NodeLinks, Side};

/// Ways by end: each goes between a rank and a NIC, both by number, as often as is told.
pub(super) type Ways = BTreeMap<(u32, u32), u64>;

pub(super) struct Cluster<'a> {
    pub world: World<'a>,
    /// By kind.
    pub links: Vec<NodeLinks>,
    pub kind_of: &'a [u32],
}

/// What a node of a kind has to do with the others where each rank has as much for each of theirs, on all channels.
#[derive(Clone, Default)]
pub(super) struct Crossing {
    /// From ranks or their relays to NICs.
    pub out: Ways,
    /// From NICs to ranks.
    pub back: Ways,
    /// From ranks to relays.
    pub handed: Ways,
}

impl Cluster<'_> {
    /// What a rank carries, and a node, where each rank keeps to its own NICs, each on its channels: the least of all.
    pub fn own(&self) -> Option<(u64, u64)> {
        let (mut rank_mb_s, mut node_mb_s) = (None, None);
        for place in 0..self.world.sample.nodes.len() {
            let links = &self.links[self.world.kind(place)];
            let mut of_node = Ways::new();
            for rank in self.world.sample.ranks(place) {
                let mut of_rank = Ways::new();
                for channel in self.channels() {
                    let way = self.world.own((place, rank), channel)?;
                    *of_rank.entry(way).or_default() += 1;
                    *of_node.entry(way).or_default() += 1;
                }
                rank_mb_s = least(rank_mb_s, links.to_nics(&of_rank, Side::Out)?);
            }
            node_mb_s = least(node_mb_s, links.to_nics(&of_node, Side::Out)?);
        }
        rank_mb_s.zip(node_mb_s)
    }

    /// By kind; `None` where some rank has no NIC.
    pub fn crossing(&self) -> Option<Vec<Crossing>> {
        let mut crossing = alloc::vec![Crossing::default(); self.links.len()];
        for pair in self.world.sample.pairs() {
            let [from, to] = [pair.0, pair.1].map(|place| self.world.kind(place));
            // What each has of such pairs.
            let (receivers, senders) = (self.others(from, to), self.others(to, from));
            for way in self.channels().flat_map(|channel| self.world.ways(pair, channel)) {
                let out = (way.relay.unwrap_or(way.gpu), way.nic?);
                *crossing[from].out.entry(out).or_default() += receivers;
                *crossing[to].back.entry((way.remote_gpu, way.remote_nic?)).or_default() += senders;
                if let Some(relay) = way.relay {
                    *crossing[from].handed.entry((way.gpu, relay)).or_default() += receivers;
                }
            }
        }
        Some(crossing)
    }

    /// What the nodes' ways carry where each rank has as much for each rank of other nodes.
    pub fn exchange(&self, crossing: &[Crossing]) -> Option<Exchange> {
        let (mut wires, mut together) = (BTreeMap::<(usize, u32), u64>::new(), 1);
        for pair in self.world.sample.pairs() {
            let [from, to] = [pair.0, pair.1].map(|place| self.world.kind(place));
            let (receivers, senders) = (self.others(from, to), self.others(to, from));
            for ((sender, receiver), ranks) in self.shared(pair) {
                *wires.entry((from, sender)).or_default() += receivers;
                *wires.entry((to, receiver)).or_default() += senders;
                together = together.max(ranks);
            }
        }
        let (mut mb_s, mut relayed) = (None, 0);
        for (links, Crossing { out, back, handed }) in self.links.iter().zip(crossing) {
            for (side, ways) in [(Side::Out, out), (Side::In, back)] {
                if !ways.is_empty() {
                    mb_s = least(mb_s, links.to_nics(ways, side)?);
                }
            }
            let mut by_rank = [BTreeMap::<u32, u64>::new(), BTreeMap::new()];
            for (&(from, relay), &chunks) in handed {
                *by_rank[0].entry(from).or_default() += chunks;
                *by_rank[1].entry(relay).or_default() += chunks;
            }
            let most = by_rank.iter().flat_map(BTreeMap::values).max().copied().unwrap_or(0);
            relayed = relayed.max(most.div_ceil(u64::from(self.world.rails.channels().max(1))));
        }
        Some(Exchange { mb_s: mb_s?, wires: wires.into_values().max()?, together, relayed })
    }

    /// The wires from a node to another on a channel, by the devices at their ends: how many ranks send on each.
    fn shared(&self, pair: (usize, usize)) -> BTreeMap<(u32, u32), u64> {
        let mut shared = BTreeMap::new();
        for way in self.world.ways(pair, ChannelId(0)) {
            *shared.entry((way.relay.unwrap_or(way.gpu), way.remote_gpu)).or_default() += 1;
        }
        shared
    }

    pub fn channels(&self) -> impl Iterator<Item = ChannelId> + use<> {
        (0..self.world.rails.channels()).map(ChannelId)
    }

    /// With how many nodes of a kind a node of another, or of the same, has to do.
    fn others(&self, node: usize, of: usize) -> u64 {
        let count = self.kind_of.iter().filter(|&&kind| kind as usize == of).count() as u64;
        count - u64::from(node == of)
    }
}

fn least(one: Option<u64>, other: u64) -> Option<u64> {
    Some(one.map_or(other, |one| one.min(other)))
}
