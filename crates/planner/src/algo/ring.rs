//! Owns the ring algorithms: reduce_scatter, all_gather, and all_reduce made of the two.
//!
//! Ranks sit on a ring that visits node by node. One block per rank and channel receives from the
//! rank before it and sends to the rank after it; channel c carries slice c of every chunk. With n
//! ranks, a chunk being a n-th of the longer buffer:
//!
//! | collective | steps | chunks sent by each rank | slots needed |
//! |---|---|---|---|
//! | reduce_scatter | n − 1 | n − 1 | 2; with two ranks 1 |
//! | all_gather | n − 1 | n − 1 | 2; with two ranks 1 |
//! | all_reduce | 2 (n − 1) | 2 (n − 1) | 2 |
//!
//! Lowered to s slices, a ring needs s − 1 slots more: each rank begins by sending s messages.
//!
//! That many bytes is the least possible for any algorithm; the steps are not, so rings are for
//! large buffers. Receiving, reducing and sending are one instruction, so a partial sum is written
//! to no memory of its own; that is why it needs a second slot: a rank holds the message that it
//! works on while it waits for room to send the result.
//!
//! The sum for rank r's chunk starts at the rank after r and goes once around, so its order, and
//! with it every bit of the result, depends on the ring alone.

use core::iter::once;

use crosstie_ir::{Chunk, ConnId, Instr, PlanBuilder};

use super::Seat;

/// The connections of a seat: from the rank before, to the rank after.
#[derive(Clone, Copy)]
struct Links {
    prev: ConnId,
    next: ConnId,
}

impl Seat<'_> {
    fn links(&self, builder: &mut PlanBuilder) -> Links {
        let before = self.nodes.ring_at(self.position, self.ranks() - 1);
        let after = self.nodes.ring_at(self.position, 1);
        Links {
            prev: builder.connection(before, self.rank, self.channel),
            next: builder.connection(self.rank, after, self.channel),
        }
    }

    /// Every other rank's chunk on its way to its owner: all that comes before the own one.
    fn reduce_others(&self, Links { prev, next }: Links) -> impl Iterator<Item = Instr> {
        let first = Instr::send(Chunk::input(self.chunk(1)), next);
        let passed = (2..self.ranks())
            .map(move |back| Instr::recv_reduce_send(prev, Chunk::input(self.chunk(back)), next));
        once(first).chain(passed)
    }

    /// Every other rank's result on its way around: all that comes after the own one.
    fn gather_others(&self, Links { prev, next }: Links) -> impl Iterator<Item = Instr> {
        let farthest = self.ranks() - 1;
        let passed = (1..farthest)
            .map(move |back| Instr::recv_copy_send(prev, Chunk::output(self.chunk(back)), next));
        passed.chain(once(Instr::recv(prev, Chunk::output(self.chunk(farthest)))))
    }
}

/// Emits the block of a seat.
fn emit(seat: &Seat<'_>, builder: &mut PlanBuilder, instrs: impl IntoIterator<Item = Instr>) {
    let block = builder.block(seat.rank);
    for instr in instrs {
        seat.push(builder, block, instr);
    }
}

/// Rank r ends with the reduction of everyone's chunk r.
pub(crate) fn reduce_scatter(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let links = seat.links(builder);
    let own = Instr::recv_reduce_copy(links.prev, Chunk::input(seat.chunk(0)), Chunk::output(0));
    let own = own.finishing();
    emit(seat, builder, seat.reduce_others(links).chain(once(own)));
}

/// Every rank ends with everyone's input.
pub(crate) fn all_gather(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let links = seat.links(builder);
    let own = Instr::copy_send(Chunk::input(0), Chunk::output(seat.chunk(0)), links.next);
    emit(seat, builder, once(own).chain(seat.gather_others(links)));
}

/// Every rank ends with the reduction of everyone's input: reduce_scatter and all_gather, joined
/// where the own chunk is complete.
pub(crate) fn all_reduce(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let links @ Links { prev, next } = seat.links(builder);
    let own = seat.chunk(0);
    let own = Instr::recv_reduce_copy_send(prev, Chunk::input(own), Chunk::output(own), next);
    let own = own.finishing();
    let instrs = seat.reduce_others(links).chain(once(own)).chain(seat.gather_others(links));
    emit(seat, builder, instrs);
}
