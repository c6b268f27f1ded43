//! Owns the flat algorithm of all_reduce and barrier: everyone sends all it has to everyone, and
//! reduces what comes in rank order.
//!
//! One block per rank sends, another receives. With n ranks, a chunk being the whole buffer:
//!
//! | collective | steps | chunks sent by each rank | slots needed | scratch |
//! |---|---|---|---|---|
//! | all_reduce, barrier | 1 | n − 1 | 1 | 1 chunk from three ranks on |
//!
//! The fewest steps that there can be, and n/2 times the bytes of a ring: for tiny buffers. All
//! ranks reduce in the order of their numbers, so they agree in every bit. What was reduced so far
//! lies in scratch, since in place the output is the input that is still to be read; for the same
//! reason what is sent is copied, and the output is written when all has been sent.

use crosstie_ir::{After, BlockId, Chunk, Instr, PlanBuilder, Rank};

use super::Seat;

const INPUT: Chunk = Chunk::input(0);
const OUTPUT: Chunk = Chunk::output(0);
const SUM: Chunk = Chunk::scratch(0);

/// Every rank ends with the reduction of everyone's input.
pub(crate) fn all_reduce(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    let Some(sent) = send_to_all(seat, builder) else { return seat.keep(builder) };
    let recv = builder.block(seat.rank);
    let own = seat.rank.0;
    let last_peer = if own + 1 == seat.ranks() { own - 1 } else { seat.ranks() - 1 };
    // The first two ranks bring their own input in with the first message; to those after them it
    // comes when all before have been reduced.
    let joins_first = own <= 1;
    let mut held = joins_first.then_some(INPUT);
    for peer in (0..seat.ranks()).filter(|&peer| peer != own) {
        let from = builder.connection(Rank(peer), seat.rank, seat.channel);
        let is_complete = peer == last_peer && (joins_first || peer > own);
        let dst = if is_complete { OUTPUT } else { SUM };
        let instr = Instr::new(Some(from), held, Some(dst), None);
        let instr = if is_complete { instr.finishing().after(sent) } else { instr };
        seat.push(builder, recv, instr);
        held = Some(SUM);
        if !joins_first && peer + 1 == own {
            add_own(seat, recv, sent, builder);
        }
    }
}

/// Adds the own input to the sum; the last rank has then added all.
fn add_own(seat: &Seat<'_>, recv: BlockId, sent: After, builder: &mut PlanBuilder) {
    let add = Instr::reduce(INPUT, SUM);
    if seat.rank.0 + 1 < seat.ranks() {
        seat.push(builder, recv, add);
        return;
    }
    seat.push(builder, recv, add.finishing());
    seat.push(builder, recv, Instr::copy(SUM, OUTPUT).after(sent));
}

/// Sends the input to everyone, the next on the ring first; the step with which that is done.
fn send_to_all(seat: &Seat<'_>, builder: &mut PlanBuilder) -> Option<After> {
    if seat.ranks() == 1 {
        return None;
    }
    let block = builder.block(seat.rank);
    let mut sent = None;
    for ahead in 1..seat.ranks() {
        let to = seat.to(ahead, builder);
        sent = Some(seat.push(builder, block, Instr::send(INPUT, to).copied()));
    }
    sent
}
