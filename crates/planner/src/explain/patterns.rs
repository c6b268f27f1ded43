//! Owns what each pattern of messages puts on the links of a node: its ranks' ways to each other and to the network
//! share links, and the fullest decides.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use super::cluster::{Cluster, Crossing};
use super::routes::Way;
use crate::cost::{Pattern, Shared};
use crate::search::{Fullest, NodeLinks, Side, Traffic};

/// By pattern: the fullest link of any kind of node.
pub(super) fn shared(cluster: &Cluster<'_>, crossing: &[Crossing]) -> Shared {
    let mut shared = Shared::default();
    let ranks = |kind: &u32| u64::from(cluster.links[*kind as usize].ranks());
    let all = cluster.kind_of.iter().map(ranks).sum();
    let sizes: Vec<u64> = cluster.kind_of.iter().map(ranks).collect();
    let are_alike = sizes.iter().all(|&size| size == sizes[0]);
    for (kind, links) in cluster.links.iter().enumerate() {
        let channels = (cluster.channels().count() as u64).max(1);
        let ways = [Side::Out, Side::In].map(|side| ways(cluster, kind, side));
        let nodes = cluster.kind_of.len() as u64;
        let node = One { links, channels, ways, nodes, all, are_alike };
        let crossing = crossing.get(kind);
        for (pattern, most) in Pattern::ALL.into_iter().zip(&mut shared) {
            *most = most.or(node.fullest(pattern, crossing));
        }
    }
    shared
}

/// The ways between a node of a kind and the first that it has to do with, by the places of both ends in their nodes: of
/// what it sends, or receives.
fn ways(cluster: &Cluster<'_>, kind: usize, side: Side) -> Ways {
    let world = &cluster.world;
    let is = |&(from, to): &(usize, usize)| {
        world.kind(if side == Side::Out { from } else { to }) == kind
    };
    let Some(pair) = world.sample.pairs().into_iter().find(is) else { return Ways::new() };
    let [senders, receivers] = [pair.0, pair.1].map(|place| world.sample.ranks(place).count());
    let mut ways = Ways::new();
    for channel in cluster.channels() {
        // Each sender's to all receivers, one sender after the other.
        for (at, way) in world.ways(pair, channel).into_iter().enumerate() {
            let ends = [at / receivers.max(1) % senders.max(1), at % receivers.max(1)];
            ways.entry(ends.map(|end| end as u32)).or_default().push(way);
        }
    }
    ways
}

/// By sender and receiver, as places in their nodes: the way on each channel.
type Ways = BTreeMap<[u32; 2], Vec<Way>>;

/// One node of a kind among the others. A chunk is cut among the channels.
struct One<'a> {
    links: &'a NodeLinks,
    channels: u64,
    /// Out and in: the ways to and from another node.
    ways: [Ways; 2],
    /// How many nodes there are.
    nodes: u64,
    /// How many ranks all nodes have.
    all: u64,
    /// Whether all nodes have as many ranks.
    are_alike: bool,
}

impl One<'_> {
    fn fullest(&self, pattern: Pattern, crossing: Option<&Crossing>) -> Fullest {
        let (nodes, m) = (self.nodes, u64::from(self.links.ranks()));
        let fullest = match pattern {
            Pattern::Everyone => self.everyone(crossing),
            Pattern::Hierarchical => self.with_likes(nodes - 1),
            Pattern::Gathered => self.with_likes((nodes - 1) * m),
            Pattern::Pat => self.pat(),
            Pattern::Root => self.of_root(0..self.links.ranks()),
            // The first rank of a node is the root's partner there.
            Pattern::Leader => self.of_root(0..1),
        };
        Fullest { mb_s: fullest.mb_s.saturating_mul(self.channels), ..fullest }
    }

    fn everyone(&self, crossing: Option<&Crossing>) -> Fullest {
        let mut traffic = self.pairs(1);
        if let Some(Crossing { out, back, handed }) = crossing {
            for (&(from, to), &chunks) in handed {
                traffic.pass(from, to, chunks);
            }
            for (side, ways) in [(Side::Out, out), (Side::In, back)] {
                for (&way, &chunks) in ways {
                    traffic.pass_nic(way, side, chunks);
                }
            }
        }
        traffic.fullest()
    }

    /// So many chunks from each rank to its likes.
    fn with_likes(&self, chunks: u64) -> Fullest {
        let mut traffic = self.pairs(self.nodes);
        for rank in 0..self.links.ranks() {
            self.cross(&mut traffic, [rank, rank], Side::Out, chunks);
            self.cross(&mut traffic, [rank, rank], Side::In, chunks);
        }
        traffic.fullest()
    }

    /// As all_gather sends, and, the other way, reduce_scatter.
    fn pat(&self) -> Fullest {
        let mut both = [self.links.traffic(), self.links.traffic()];
        for distance in (0..self.all.next_power_of_two().ilog2()).map(|bit| 1 << bit) {
            let chunks = (self.all - distance).div_ceil(2 * distance);
            for rank in 0..self.links.ranks() {
                if let Some(to) = self.ahead(rank, distance) {
                    both[0].hop(rank, to, chunks * self.channels);
                    both[1].hop(to, rank, chunks * self.channels);
                    continue;
                }
                let like = self.like(rank, distance);
                self.cross(&mut both[0], [rank, like], Side::Out, chunks);
                self.cross(&mut both[0], [rank, like], Side::In, chunks);
                self.cross(&mut both[1], [like, rank], Side::Out, chunks);
                self.cross(&mut both[1], [like, rank], Side::In, chunks);
            }
        }
        both[0].fullest().or(both[1].fullest())
    }

    /// The local rank that is so far ahead of another, if it is on the same node.
    fn ahead(&self, rank: u32, distance: u64) -> Option<u32> {
        let (rank, m) = (u64::from(rank), u64::from(self.links.ranks()));
        let to = match () {
            () if self.nodes == 1 => (rank + distance) % m,
            () if self.are_alike && m.is_power_of_two() && distance < m => (rank + distance) % m,
            () if self.are_alike && m.is_power_of_two() => return None,
            // Once around all nodes.
            () if rank + distance >= self.all => rank + distance - self.all,
            () => rank + distance,
        };
        u32::try_from(to).ok().filter(|_| to < m)
    }

    /// The place in its node of the rank so far ahead.
    fn like(&self, rank: u32, distance: u64) -> u32 {
        let m = u64::from(self.links.ranks()).max(1);
        ((u64::from(rank) + distance) % m) as u32
    }

    /// One chunk from a root to each other of its node, and as many to these of each other node, or all that to it: of
    /// the root that has the worst place.
    fn of_root(&self, elsewhere: Range<u32>) -> Fullest {
        let ranks = 0..self.links.ranks();
        let roots = ranks.clone().flat_map(|root| [(root, Side::Out), (root, Side::In)]);
        let fullest = roots.map(|(root, side)| {
            let ends = |other| if side == Side::Out { [root, other] } else { [other, root] };
            let mut traffic = self.links.traffic();
            for [from, to] in ranks.clone().filter(|&other| other != root).map(ends) {
                traffic.hop(from, to, self.channels);
            }
            for ends in elsewhere.clone().map(ends) {
                self.cross(&mut traffic, ends, side, self.nodes - 1);
            }
            traffic.fullest()
        });
        fullest.fold(Fullest::default(), Fullest::or)
    }

    /// So many chunks from each rank to each other.
    fn pairs(&self, chunks: u64) -> Traffic<'_> {
        let mut traffic = self.links.traffic();
        let ranks = 0..self.links.ranks();
        for (from, to) in ranks.clone().flat_map(|from| ranks.clone().map(move |to| (from, to))) {
            if from != to {
                traffic.hop(from, to, chunks * self.channels);
            }
        }
        traffic
    }

    /// So many chunks from a rank of this node to one of another, or the other way round. A NIC that a rank does not
    /// reach has none.
    fn cross(&self, traffic: &mut Traffic<'_>, ends: [u32; 2], side: Side, chunks: u64) {
        let [out, back] = &self.ways;
        let ways = if side == Side::Out { out.get(&ends) } else { back.get(&ends) };
        for way in ways.into_iter().flatten() {
            let (rank, nic) = match side {
                Side::Out => (way.relay.unwrap_or(way.gpu), way.nic),
                Side::In => (way.remote_gpu, way.remote_nic),
            };
            if let (Side::Out, Some(relay)) = (side, way.relay) {
                traffic.pass(way.gpu, relay, chunks);
            }
            nic.and_then(|nic| traffic.pass_nic((rank, nic), side, chunks));
        }
    }
}
