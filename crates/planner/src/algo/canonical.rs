//! Owns the canonical algorithms: all_reduce, reduce_scatter and reduce in an order that depends on
//! the number of ranks alone.
//!
//! Every chunk is reduced over the same balanced tree of rank numbers: a range of ranks is the sum of
//! its first half (the longer one, where they differ) and its second. Each sum is made by a rank of
//! its range: by the chunk's owner where it belongs to it, else by the lowest. So topology and
//! transport decide who makes a sum, and never what it is. With n ranks, a chunk being a n-th of the
//! longer buffer (reduce: all of it):
//!
//! | collective | chunks sent by all ranks | scratch |
//! |---|---|---|
//! | reduce_scatter | n (n − 1) | n chunks |
//! | all_reduce | 2 n (n − 1) | n chunks |
//! | reduce | n − 1 | 1 chunk |
//!
//! A rank works on one chunk after the other, so steps grow with the ranks. What is reduced in
//! all_reduce goes from its owner to everyone, over a channel of its own.

use core::ops::Range;

use crosstie_ir::{After, BlockId, ChannelId, Chunk, Instr, PlanBuilder, Rank};

use super::Seat;

/// The channel of what is reduced already.
const RESULTS: ChannelId = ChannelId(1);

/// The rank that makes the sum of `range` for the owner of a chunk.
fn maker(range: &Range<u32>, owner: u32) -> u32 {
    if range.contains(&owner) { owner } else { range.start }
}

fn halves(range: &Range<u32>) -> [Range<u32>; 2] {
    let middle = range.start + (range.end - range.start).div_ceil(2);
    [range.start..middle, middle..range.end]
}

/// One rank's part in the reduction of one chunk.
struct Sum<'a> {
    seat: &'a Seat<'a>,
    block: BlockId,
    /// The chunk of the input.
    chunk: u32,
    owner: u32,
    /// Where the owner leaves the result.
    result: Chunk,
}

impl Sum<'_> {
    /// Makes the sum of `range`, as far as this rank takes part; where it lies if it is this rank's.
    /// The step that made it, where one did.
    fn of(&self, range: &Range<u32>, builder: &mut PlanBuilder) -> (Chunk, Option<After>) {
        let own = self.seat.rank.0;
        let partial = Chunk::scratch(self.chunk);
        if range.len() == 1 {
            return (Chunk::input(self.chunk), None);
        }
        let parts = halves(range);
        let [first, second] = &parts;
        let mine = if first.contains(&own) { first } else { second };
        let (held, _) = self.of(mine, builder);
        let [mine, theirs] =
            [mine, if mine == first { second } else { first }].map(|part| maker(part, self.owner));
        if mine != own {
            return (partial, None);
        }
        let (rank, peer) = (self.seat.rank, Rank(theirs));
        if maker(range, self.owner) != own {
            let to = builder.connection(rank, peer, ChannelId(0));
            self.seat.push(builder, self.block, Instr::send(held, to));
            return (partial, None);
        }
        let from = builder.connection(peer, rank, ChannelId(0));
        let whole = range.len() == self.seat.ranks() as usize;
        let sum = if whole { self.result } else { partial };
        let instr = Instr::recv_reduce_copy(from, held, sum);
        let instr = if whole { instr.finishing() } else { instr };
        (sum, Some(self.seat.push(builder, self.block, instr)))
    }
}

/// Reduces the chunk of every owner, one after the other; the step that completes the own one.
fn reduce_all(seat: &Seat<'_>, result: Chunk, builder: &mut PlanBuilder) -> Option<After> {
    let block = builder.block(seat.rank);
    let mut complete = None;
    for owner in 0..seat.ranks() {
        let sum = Sum { seat, block, chunk: owner, owner, result };
        let (_, made) = sum.of(&(0..seat.ranks()), builder);
        if owner == seat.rank.0 {
            complete = made;
        }
    }
    complete
}

/// Rank r ends with the reduction of everyone's chunk r.
pub(crate) fn reduce_scatter(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    reduce_all(seat, Chunk::output(0), builder);
}

/// `root` ends with the reduction of everyone's input.
pub(crate) fn reduce(seat: &Seat<'_>, root: Rank, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let block = builder.block(seat.rank);
    let sum = Sum { seat, block, chunk: 0, owner: root.0, result: Chunk::output(0) };
    sum.of(&(0..seat.ranks()), builder);
}

/// Every rank ends with the reduction of everyone's input.
pub(crate) fn all_reduce(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    let own = Chunk::output(seat.rank.0);
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let Some(complete) = reduce_all(seat, own, builder) else { return };
    let (send, recv) = (builder.block(seat.rank), builder.block(seat.rank));
    for ahead in 1..seat.ranks() {
        let peer = seat.nodes.ring_at(seat.position, ahead);
        let to = builder.connection(seat.rank, peer, RESULTS);
        let instr = Instr::send(own, to);
        seat.push(builder, send, if ahead == 1 { instr.after(complete) } else { instr });
    }
    for back in 1..seat.ranks() {
        let peer = seat.nodes.ring_at(seat.position, seat.ranks() - back);
        let from = builder.connection(peer, seat.rank, RESULTS);
        seat.push(builder, recv, Instr::recv(from, Chunk::output(peer.0)));
    }
}
