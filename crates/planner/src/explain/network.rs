//! Owns what a cluster's ways to the network carry, by the links that they share: NICs, and what joins GPUs to
//! them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crosstie_ir::ChannelId;
use crosstie_topo::Paths;

use super::routes::{Sample, World};
use super::scheme::Refused;
use crate::Rails;
use crate::cost::{Exchange, Network};
use crate::search::{Node, Side, ToNics};

/// Ways by end: each goes between a rank and a NIC, both by number, as often as is told.
type Ways = BTreeMap<(u32, u32), u64>;

/// What the ways of a cluster carry; `None` of one node.
pub(super) fn network(
    kinds: &[Node<'_>],
    kind_of: &[u32],
    paths: &[&Paths],
    pxn: bool,
) -> Result<Option<Network>, Refused> {
    let sample = Sample::of(kinds, kind_of)?;
    let rails = Rails::of_machines(&sample.world, kinds, &sample.kind_of)?;
    let world = World { kinds, paths, sample: &sample, rails: &rails, pxn };
    let to_nics = kinds.iter().map(ToNics::of).collect::<Result<Vec<_>, _>>()?;
    let cluster = Cluster { world, to_nics, kind_of };
    Ok(cluster.own().zip(cluster.exchange()).map(|((rank_mb_s, node_mb_s), exchange)| Network {
        rank_mb_s,
        node_mb_s,
        exchange,
    }))
}

struct Cluster<'a> {
    world: World<'a>,
    /// By kind.
    to_nics: Vec<ToNics>,
    kind_of: &'a [u32],
}

impl Cluster<'_> {
    /// What a rank carries, and a node, where each rank keeps to its own NICs, each on its channels: the least of all.
    fn own(&self) -> Option<(u64, u64)> {
        let (mut rank_mb_s, mut node_mb_s) = (None, None);
        for place in 0..self.world.sample.nodes.len() {
            let to_nics = &self.to_nics[self.world.kind(place)];
            let mut of_node = Ways::new();
            for rank in self.world.sample.ranks(place) {
                let mut of_rank = Ways::new();
                for channel in self.channels() {
                    let way = self.world.own((place, rank), channel)?;
                    *of_rank.entry(way).or_default() += 1;
                    *of_node.entry(way).or_default() += 1;
                }
                rank_mb_s = least(rank_mb_s, to_nics.carried(&of_rank, Side::Out)?);
            }
            node_mb_s = least(node_mb_s, to_nics.carried(&of_node, Side::Out)?);
        }
        rank_mb_s.zip(node_mb_s)
    }

    /// What the nodes' ways carry where each rank has as much for each rank of other nodes.
    fn exchange(&self) -> Option<Exchange> {
        let kinds = self.to_nics.len();
        let mut ways = [Side::Out, Side::In].map(|side| (side, alloc::vec![Ways::new(); kinds]));
        let (mut wires, mut together) = (BTreeMap::<(usize, u32), u64>::new(), 1);
        let mut handed = [BTreeMap::<(usize, u32), u64>::new(), BTreeMap::new()];
        for pair in self.world.sample.pairs() {
            let [from, to] = [pair.0, pair.1].map(|place| self.world.kind(place));
            // What each has of such pairs.
            let (receivers, senders) = (self.others(from, to), self.others(to, from));
            for channel in self.channels() {
                for way in self.world.ways(pair, channel) {
                    let out = (way.relay.unwrap_or(way.gpu), way.nic?);
                    *ways[0].1[from].entry(out).or_default() += receivers;
                    *ways[1].1[to].entry((way.remote_gpu, way.remote_nic?)).or_default() += senders;
                }
            }
            for way in self.world.ways(pair, ChannelId(0)) {
                let Some(relay) = way.relay else { continue };
                *handed[0].entry((from, way.gpu)).or_default() += receivers;
                *handed[1].entry((from, relay)).or_default() += receivers;
            }
            for ((sender, receiver), ranks) in self.shared(pair) {
                *wires.entry((from, sender)).or_default() += receivers;
                *wires.entry((to, receiver)).or_default() += senders;
                together = together.max(ranks);
            }
        }
        let mut mb_s = None;
        for (side, by_kind) in &ways {
            for (kind, ways) in by_kind.iter().enumerate().filter(|(_, ways)| !ways.is_empty()) {
                mb_s = least(mb_s, self.to_nics[kind].carried(ways, *side)?);
            }
        }
        let relayed = handed.iter().flat_map(BTreeMap::values).max().copied().unwrap_or(0);
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

    fn channels(&self) -> impl Iterator<Item = ChannelId> + use<> {
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
