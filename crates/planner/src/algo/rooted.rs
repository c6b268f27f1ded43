//! Owns the direct algorithms of the rooted collectives: the root and each other rank, without
//! anyone between.
//!
//! With n ranks, a chunk being one rank's part (gather, scatter) or the whole buffer:
//!
//! | collective | steps | chunks sent by the root | by each other rank | slots needed |
//! |---|---|---|---|---|
//! | broadcast | 1 | n − 1 | | 1 |
//! | reduce | 1 | | 1 | 1 |
//! | gather | 1 | | 1 | 1 |
//! | scatter | 1 | n − 1 | | 1 |
//!
//! Nothing is sent twice, but all of it passes through the root. Gather and scatter have a block
//! for each peer, so that a slow one holds up nobody else.

use crosstie_ir::{Chunk, ConnId, Instr, PlanBuilder, Rank};

use super::Seat;

const WHOLE: u32 = 0;

/// The ranks other than this seat's, in ring order.
fn others(seat: &Seat<'_>) -> impl Iterator<Item = Rank> {
    (1..seat.ranks()).map(|ahead| seat.nodes.ring_at(seat.position, ahead))
}

fn to(seat: &Seat<'_>, peer: Rank, builder: &mut PlanBuilder) -> ConnId {
    builder.connection(seat.rank, peer, seat.channel)
}

fn from(seat: &Seat<'_>, peer: Rank, builder: &mut PlanBuilder) -> ConnId {
    builder.connection(peer, seat.rank, seat.channel)
}

/// Every rank ends with the input of `root`.
pub(crate) fn broadcast(seat: &Seat<'_>, root: Rank, builder: &mut PlanBuilder) {
    let block = builder.block(seat.rank);
    let output = Chunk::output(WHOLE);
    if seat.rank != root {
        let from = from(seat, root, builder);
        seat.push(builder, block, Instr::recv(from, output));
        return;
    }
    seat.push(builder, block, Instr::copy(Chunk::input(WHOLE), output));
    for peer in others(seat) {
        let to = to(seat, peer, builder);
        seat.push(builder, block, Instr::send(output, to));
    }
}

/// `root` ends with the reduction of everyone's input.
pub(crate) fn reduce(seat: &Seat<'_>, root: Rank, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let block = builder.block(seat.rank);
    if seat.rank != root {
        let to = to(seat, root, builder);
        seat.push(builder, block, Instr::send(Chunk::input(WHOLE), to));
        return;
    }
    let mut held = Chunk::input(WHOLE);
    let mut left = seat.ranks() - 1;
    for peer in others(seat) {
        left -= 1;
        let from = from(seat, peer, builder);
        let instr = Instr::recv_reduce_copy(from, held, Chunk::output(WHOLE));
        seat.push(builder, block, if left == 0 { instr.finishing() } else { instr });
        held = Chunk::output(WHOLE);
    }
}

/// `root` ends with everyone's input.
pub(crate) fn gather(seat: &Seat<'_>, root: Rank, builder: &mut PlanBuilder) {
    let block = builder.block(seat.rank);
    if seat.rank != root {
        let to = to(seat, root, builder);
        seat.push(builder, block, Instr::send(Chunk::input(0), to));
        return;
    }
    seat.push(builder, block, Instr::copy(Chunk::input(0), Chunk::output(root.0)));
    for peer in others(seat) {
        let (block, from) = (builder.block(seat.rank), from(seat, peer, builder));
        seat.push(builder, block, Instr::recv(from, Chunk::output(peer.0)));
    }
}

/// Rank r ends with part r of the input of `root`.
pub(crate) fn scatter(seat: &Seat<'_>, root: Rank, builder: &mut PlanBuilder) {
    let block = builder.block(seat.rank);
    if seat.rank != root {
        let from = from(seat, root, builder);
        seat.push(builder, block, Instr::recv(from, Chunk::output(0)));
        return;
    }
    seat.push(builder, block, Instr::copy(Chunk::input(root.0), Chunk::output(0)));
    for peer in others(seat) {
        let (block, to) = (builder.block(seat.rank), to(seat, peer, builder));
        seat.push(builder, block, Instr::send(Chunk::input(peer.0), to));
    }
}
