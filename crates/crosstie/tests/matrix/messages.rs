//! Owns the cases of sends and receives: what all_to_all moves, as one group of messages.
//!
//! Each rank asks in an order of its own, in groups within the group.

use crosstie::{Communicator, Error};
use crosstie_ir::exact::Exact;

use super::ragged::{Lengths, cut, spoil, whole_input, whole_result};
use super::{Case, Memory};

pub fn check(
    case: &Case,
    comm: &mut Communicator,
    memory: &mut Memory,
    call: u64,
) -> Result<(), Error> {
    let (rank, ranks) = (comm.rank() as usize, case.ranks as usize);
    let equal = case.exact();
    let [sent, received] = match case.ragged {
        true => Lengths::of_call(case, call).of_pairs(rank),
        false => [vec![equal.count; ranks], vec![equal.count; ranks]],
    };

    let known = Exact::new(equal, call);
    let input = cut(&equal, &whole_input(&known, rank), &sent);
    let expected = cut(&equal, &whole_result(&known, rank), &received);
    let [send, recv] = memory.of(case.kind);
    let (send, recv) = (&mut send[..input.len()], &mut recv[..expected.len()]);
    send.copy_from_slice(&input);
    spoil(recv, &expected);

    let size = equal.dtype.size();
    let mut sends = blocks(&*send, &sent, size, |all, at| all.split_at(at));
    let mut recvs = blocks(&mut *recv, &received, size, <[u8]>::split_at_mut);
    sends.rotate_left((rank * 3 + call as usize) % ranks);
    recvs.rotate_left((rank + call as usize) % ranks);
    comm.group(|g| {
        g.group(|g| recvs.drain(..ranks / 2).for_each(|(peer, block)| g.recv(block, peer)));
        sends.into_iter().for_each(|(peer, block)| g.send(block, peer));
        g.group(|g| recvs.drain(..).for_each(|(peer, block)| g.recv(block, peer)));
    })?;
    assert!(*recv == *expected, "rank {rank}: wrong elements of {case:?}");
    Ok(())
}

/// The blocks of a buffer by rank, cut off it with `split`.
fn blocks<B: Default>(
    buffer: B,
    lengths: &[usize],
    size: usize,
    split: impl Fn(B, usize) -> (B, B),
) -> Vec<(u32, B)> {
    let mut rest = buffer;
    (0..)
        .zip(lengths)
        .map(|(peer, length)| {
            let (block, after) = split(std::mem::take(&mut rest), length * size);
            rest = after;
            (peer, block)
        })
        .collect()
}
