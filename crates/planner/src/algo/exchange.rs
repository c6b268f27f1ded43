//! Owns the exchange algorithms: all_to_all, each pair of ranks directly.
//!
//! In round k, of n − 1, a rank sends to the rank k places after it on the ring and receives from
//! the one k places before it, so that each round is a permutation and the near rounds stay on the
//! node. Rounds are the order of posting, never a wait: each peer and direction has a block of its
//! own, and all of them run at once.
//!
//! Steps: 1. Chunks sent by each rank: n − 1, each once. Slots needed: 1. In place, n − 1 chunks of
//! scratch: each window's chunk for a peer is first copied there and sent from there, and what the
//! peer sends is received once the copy is done.

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
    let keep = builder.block(own);
    builder.push(keep, Instr::copy(Chunk::input(own.0), Chunk::output(own.0)));
    let rounds = rounds(nodes, position, builder);
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
