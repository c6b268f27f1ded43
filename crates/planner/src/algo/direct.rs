//! Owns the direct algorithms of reduce_scatter, all_gather, and all_reduce made of the two: each
//! pair of ranks directly.
//!
//! One block per rank sends to all others, another receives from all others, both in round order:
//! first the rank next on the ring. With n ranks, a chunk being a n-th of the longer buffer:
//!
//! | collective | steps | chunks sent by each rank | slots needed |
//! |---|---|---|---|
//! | reduce_scatter | 1 | n − 1 | 1 |
//! | all_gather | 1 | n − 1 | 1 |
//! | all_reduce | 2 | 2 (n − 1) | 1 |
//!
//! The bytes are those of a ring, in far fewer steps, so these are for small buffers; in large ones
//! partial sums go through memory at each of the n − 1 contributions, where a ring's travel.
//!
//! The owner of a chunk reduces its own part with that of the rank before it, then the one before
//! that, once around; all ranks get what it made, so they agree in every bit.

use alloc::vec::Vec;

use crosstie_ir::{After, BlockId, Chunk, ConnId, Instr, PlanBuilder};

use super::Seat;

/// A seat's two blocks, and its connections by distance: place k − 1 is k ranks away.
struct Ends {
    send: BlockId,
    recv: BlockId,
    to: Vec<ConnId>,
    from: Vec<ConnId>,
}

impl Ends {
    fn new(seat: &Seat<'_>, builder: &mut PlanBuilder) -> Self {
        let distances = 1..seat.ranks();
        let to = distances.clone().map(|k| seat.nodes.ring_at(seat.position, k));
        let from = distances.map(|k| seat.nodes.ring_at(seat.position, seat.ranks() - k));
        Self {
            send: builder.block(seat.rank),
            recv: builder.block(seat.rank),
            to: to.map(|peer| builder.connection(seat.rank, peer, seat.channel)).collect(),
            from: from.map(|peer| builder.connection(peer, seat.rank, seat.channel)).collect(),
        }
    }

    /// Sends everyone's chunk to its owner, and reduces what comes for the own one into `sum`.
    /// Returns the step at which that is complete.
    fn reduce(&self, seat: &Seat<'_>, sum: Chunk, builder: &mut PlanBuilder) -> Option<After> {
        for (&to, k) in self.to.iter().zip(1..) {
            let theirs = Chunk::input(seat.chunk(seat.ranks() - k));
            seat.push(builder, self.send, Instr::send(theirs, to));
        }
        let mut src = Chunk::input(seat.chunk(0));
        let mut complete = None;
        for (&from, left) in self.from.iter().zip((0..self.from.len()).rev()) {
            let instr = Instr::recv_reduce_copy(from, src, sum);
            let instr = if left == 0 { instr.finishing() } else { instr };
            complete = Some(seat.push(builder, self.recv, instr));
            src = sum;
        }
        complete
    }

    /// Sends the own chunk of the output to everyone, and receives everyone's. `first` sends it to
    /// the first of them, and sees to it that it is complete.
    fn gather(&self, seat: &Seat<'_>, first: Instr, builder: &mut PlanBuilder) {
        seat.push(builder, self.send, first);
        let own = Chunk::output(seat.chunk(0));
        for &to in self.to.iter().skip(1) {
            seat.push(builder, self.send, Instr::send(own, to));
        }
        for (&from, back) in self.from.iter().zip(1..) {
            let instr = Instr::recv(from, Chunk::output(seat.chunk(back)));
            seat.push(builder, self.recv, instr);
        }
    }
}

/// Rank r ends with the reduction of everyone's chunk r.
pub(crate) fn reduce_scatter(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    let ends = Ends::new(seat, builder);
    if ends.reduce(seat, Chunk::output(0), builder).is_none() {
        seat.keep(builder);
    }
}

/// Every rank ends with everyone's input.
pub(crate) fn all_gather(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    let ends = Ends::new(seat, builder);
    let Some(&next) = ends.to.first() else { return seat.keep(builder) };
    let first = Instr::copy_send(Chunk::input(0), Chunk::output(seat.chunk(0)), next);
    ends.gather(seat, first, builder);
}

/// Every rank ends with the reduction of everyone's input.
pub(crate) fn all_reduce(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    let ends = Ends::new(seat, builder);
    let own = Chunk::output(seat.chunk(0));
    let complete = ends.reduce(seat, own, builder);
    match (ends.to.first(), complete) {
        (Some(&next), Some(complete)) => {
            ends.gather(seat, Instr::send(own, next).after(complete), builder);
        }
        _ => seat.keep(builder),
    }
}
