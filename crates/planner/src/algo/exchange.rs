//! Owns the exchange algorithms: all_to_all, and groups of sends and receives, each pair of ranks
//! directly.
//!
//! In round k, of n − 1, a rank sends to the rank k places after it on the ring and receives from
//! the one k places before it, so that each round is a permutation and the near rounds stay on the
//! node. Rounds are the order of posting, never a wait: each peer and direction has a block of its
//! own, and all of them run at once.
//!
//! Steps: 1. Chunks sent by each rank: n − 1, each once. Slots needed: 1. In place, n − 1 chunks of
//! scratch: each window's chunk for a peer is first copied there and sent from there, and what the
//! peer sends is received once the copy is done.
//!
//! A group of sends and receives has the same form, with a block for each peer and direction that it
//! names; messages to one peer go in the order in which they were asked for. What a rank sends to
//! itself is copied.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crosstie_ir::{BlockId, ChannelId, Chunk, Instr, PlanBuilder, Rank};

use crate::Nodes;

/// Exchanges use one connection for each pair and direction.
const CHANNEL: ChannelId = ChannelId(0);

/// The blocks of one round.
struct Round {
    to: Rank,
    from: Rank,
    send: BlockId,
    recv: BlockId,
}

/// Emits the blocks of the rank at `position` of the ring.
pub(crate) fn all_to_all(nodes: &Nodes, position: u32, in_place: bool, builder: &mut PlanBuilder) {
    let own = nodes.ring_at(position, 0);
    let rounds = rounds(nodes, position, builder);
    // Behind the sends, for which others wait: with `crosstie bench all_to_all --ranks 2 --transport shm`
    // 5–11 % faster than before them; on 8 ranks no difference.
    let keep = builder.block(own);
    builder.push(keep, Instr::copy(Chunk::input(own.0), Chunk::output(own.0)));
    let mut copied = BTreeMap::new();
    for (round, place) in rounds.iter().zip(0..) {
        let to = builder.connection(own, round.to, CHANNEL);
        let (mut source, saved) = (Chunk::input(round.to.0), Chunk::scratch(place));
        if in_place {
            copied.insert(round.to, builder.push(round.send, Instr::copy(source, saved)));
            source = saved;
        }
        builder.push(round.send, Instr::send(source, to));
    }
    for round in &rounds {
        let from = builder.connection(round.from, own, CHANNEL);
        let recv = Instr::recv(from, Chunk::output(round.from.0));
        let recv = copied.get(&round.from).map_or(recv, |&copy| recv.after(copy));
        builder.push(round.recv, recv);
    }
}

/// The rounds in order, their blocks made in that order.
fn rounds(nodes: &Nodes, position: u32, builder: &mut PlanBuilder) -> Vec<Round> {
    let (ranks, own) = (nodes.ranks(), nodes.ring_at(position, 0));
    let round = |k: u32| Round {
        to: nodes.ring_at(position, k),
        from: nodes.ring_at(position, ranks - k),
        send: builder.block(own),
        recv: builder.block(own),
    };
    (1..ranks).map(round).collect()
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
    for ahead in 1..nodes.ranks() {
        let peer = nodes.ring_at(position, ahead);
        if let Some(chunks) = sends.get(&peer) {
            let (block, to) = (builder.block(own), builder.connection(own, peer, CHANNEL));
            for &chunk in chunks {
                builder.push(block, Instr::send(Chunk::input(chunk), to));
            }
        }
        let peer = nodes.ring_at(position, nodes.ranks() - ahead);
        if let Some(chunks) = recvs.get(&peer) {
            let (block, from) = (builder.block(own), builder.connection(peer, own, CHANNEL));
            for &chunk in chunks {
                builder.push(block, Instr::recv(from, Chunk::output(chunk)));
            }
        }
    }
}
