//! Owns the exchange algorithms: all_to_all, and groups of sends and receives, each pair of ranks
//! directly; and the rounds in which they post.
//!
//! Rounds go node by node: for each distance between nodes, from 0 on, and each distance d between places on
//! a node, a rank sends to the node so far after its own and receives from the one so far before it, the
//! rank d places further on or back. Each round is a permutation, in which all ranks of a node send to one
//! node and receive from one. So a NIC hears from one other NIC in a round, however many of its node's
//! ranks share it, all rails are in use at once, and what a node has for one receiver is posted in rounds
//! that follow each other, to leave together. Where nodes differ in size, the largest counts the places, and
//! a rank idles where nobody has the place.
//!
//! Rounds are the order of posting, never a wait: each peer and direction has a block of its own, and all of
//! them run at once.
//!
//! Steps: 1. Chunks sent by each rank: n − 1, each once. Slots needed: 1. In place, n − 1 chunks of
//! scratch: each window's chunk for a peer is first copied there and sent from there, and what the
//! peer sends is received once the copy is done.
//!
//! A group of sends and receives has the same form, with a block for each peer and direction that it
//! names; messages to one peer go in the order in which they were asked for. What a rank sends to
//! itself is copied.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crosstie_ir::{BlockId, ChannelId, Chunk, Instr, PlanBuilder, Rank};

use crate::Nodes;

/// Exchanges use one connection for each pair and direction.
const CHANNEL: ChannelId = ChannelId(0);

/// A rank's node, counted along the ring, and its place there.
#[derive(Clone, Copy)]
struct Place {
    node: u32,
    local: u32,
}

/// Nodes along the ring, as one rank sees them.
struct View<'a> {
    nodes: &'a Nodes,
    /// Where on the ring each node begins.
    starts: Vec<u32>,
    /// Ranks of the largest node.
    most: u32,
    own: Place,
}

/// A round: the distance between nodes, and between places on a node.
type Round = (u32, u32);

impl<'a> View<'a> {
    fn new(nodes: &'a Nodes, position: u32) -> Self {
        let mut starts: Vec<u32> = Vec::with_capacity(nodes.count() as usize);
        let mut before = None;
        for (&rank, at) in nodes.ring().iter().zip(0..) {
            let node = nodes.node_of(rank);
            if node != before {
                starts.push(at);
            }
            before = node;
        }
        let ends = starts.iter().skip(1).copied().chain([nodes.ranks()]);
        let most = starts.iter().zip(ends).map(|(&start, end)| end - start).max().unwrap_or(1);
        let own = place(&starts, position);
        Self { nodes, starts, most, own }
    }

    fn place(&self, rank: Rank) -> Option<Place> {
        Some(place(&self.starts, self.nodes.ring_position(rank)?))
    }

    /// The round in which `from` sends to `to`.
    fn round(&self, from: Place, to: Place) -> Round {
        let ahead = |from: u32, to: u32, count: u32| (to + count - from) % count;
        let nodes = self.starts.len() as u32;
        (ahead(from.node, to.node, nodes), ahead(from.local, to.local, self.most))
    }

    /// The rank's peers by the round in which it sends to them, and in which it receives from them.
    fn rounds(&self, peers: impl Iterator<Item = Rank>) -> BTreeMap<Round, [Option<Rank>; 2]> {
        let mut rounds: BTreeMap<Round, [Option<Rank>; 2]> = BTreeMap::new();
        for peer in peers {
            let Some(place) = self.place(peer) else { continue };
            rounds.entry(self.round(self.own, place)).or_default()[0] = Some(peer);
            rounds.entry(self.round(place, self.own)).or_default()[1] = Some(peer);
        }
        rounds
    }
}

/// The place of a ring position, where nodes begin at `starts`.
fn place(starts: &[u32], position: u32) -> Place {
    let node = starts.partition_point(|&start| start <= position).saturating_sub(1);
    Place { node: node as u32, local: position - starts[node] }
}

/// Emits the blocks of the rank at `position` of the ring.
pub(crate) fn all_to_all(nodes: &Nodes, position: u32, in_place: bool, builder: &mut PlanBuilder) {
    let own = nodes.ring_at(position, 0);
    let others = nodes.ring().iter().copied().filter(|&rank| rank != own);
    // Blocks in the order of rounds, those of a round's send and receive one after the other.
    let mut block = |peer: Option<Rank>| Some((peer?, builder.block(own)));
    let rounds = View::new(nodes, position).rounds(others).into_values();
    let rounds: Vec<[Option<(Rank, BlockId)>; 2]> =
        rounds.map(|peers| peers.map(&mut block)).collect();
    // Behind the sends, for which others wait: with `crosstie bench all_to_all --ranks 2 --transport shm`
    // 5–11 % faster than before them; on 8 ranks no difference.
    let keep = builder.block(own);
    builder.push(keep, Instr::copy(Chunk::input(own.0), Chunk::output(own.0)));
    let mut copied = BTreeMap::new();
    for ((peer, block), place) in rounds.iter().filter_map(|[send, _]| *send).zip(0..) {
        let to = builder.connection(own, peer, CHANNEL);
        let (mut source, saved) = (Chunk::input(peer.0), Chunk::scratch(place));
        if in_place {
            copied.insert(peer, builder.push(block, Instr::copy(source, saved)));
            source = saved;
        }
        builder.push(block, Instr::send(source, to));
    }
    for (peer, block) in rounds.iter().filter_map(|[_, recv]| *recv) {
        let from = builder.connection(peer, own, CHANNEL);
        let recv = Instr::recv(from, Chunk::output(peer.0));
        let recv = copied.get(&peer).map_or(recv, |&copy| recv.after(copy));
        builder.push(block, recv);
    }
}

/// The messages of one rank's group, by peer, in the order in which the program asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Messages<'a> {
    /// To whom: input chunk i is message i.
    pub sends: &'a [Rank],
    /// From whom: output chunk i is message i.
    pub recvs: &'a [Rank],
}

/// Emits the blocks of the rank at `position` of the ring. Of what it sends to itself, and receives
/// from itself, the k-th is the k-th.
pub(crate) fn group(
    nodes: &Nodes,
    position: u32,
    messages: &Messages<'_>,
    builder: &mut PlanBuilder,
) {
    let own = nodes.ring_at(position, 0);
    let of = |peers: &[Rank]| {
        let mut by_peer: BTreeMap<Rank, Vec<u32>> = BTreeMap::new();
        for (&peer, chunk) in peers.iter().zip(0..) {
            by_peer.entry(peer).or_default().push(chunk);
        }
        by_peer
    };
    let (mut sends, mut recvs) = (of(messages.sends), of(messages.recvs));
    let to_self = sends.remove(&own).unwrap_or_default();
    for (from, to) in to_self.into_iter().zip(recvs.remove(&own).unwrap_or_default()) {
        let keep = builder.block(own);
        builder.push(keep, Instr::copy(Chunk::input(from), Chunk::output(to)));
    }
    let peers: BTreeSet<Rank> = sends.keys().chain(recvs.keys()).copied().collect();
    for [to, from] in View::new(nodes, position).rounds(peers.into_iter()).into_values() {
        if let Some((peer, chunks)) = to.and_then(|peer| sends.remove_entry(&peer)) {
            let (block, to) = (builder.block(own), builder.connection(own, peer, CHANNEL));
            for chunk in chunks {
                builder.push(block, Instr::send(Chunk::input(chunk), to));
            }
        }
        if let Some((peer, chunks)) = from.and_then(|peer| recvs.remove_entry(&peer)) {
            let (block, from) = (builder.block(own), builder.connection(peer, own, CHANNEL));
            for chunk in chunks {
                builder.push(block, Instr::recv(from, Chunk::output(chunk)));
            }
        }
    }
}
