//! Owns the cases whose blocks differ in length: all_gather_v, reduce_scatter_v, all_to_all_v.
//!
//! What must come of them follows from the form with equal blocks: each block is the beginning of the
//! one there, as long as its count says.

use crosstie::{Buffers, Collective, Communicator, Error, Operation};
use crosstie_ir::exact::{self, Exact};

use super::{Case, Memory};

/// How long the blocks of one call are, in elements: nothing, half, or all of the equal form's.
#[derive(Clone, Copy)]
pub struct Lengths {
    most: usize,
    call: usize,
    ranks: usize,
}

impl Lengths {
    /// Of the `call`th call of a case.
    pub fn of_call(case: &Case, call: u64) -> Self {
        Self { most: case.exact().count, call: call as usize, ranks: case.ranks as usize }
    }

    /// What `rank` sends to each, and receives from each.
    pub fn of_pairs(self, rank: usize) -> [Vec<usize>; 2] {
        let of_all = |between: &dyn Fn(usize) -> usize| (0..self.ranks).map(between).collect();
        [of_all(&|peer| self.between(rank, peer)), of_all(&|peer| self.between(peer, rank))]
    }

    /// Of rank `rank`'s block.
    fn of(self, rank: usize) -> usize {
        self.most * ((rank + self.call) % 3) / 2
    }

    fn of_all(self) -> Vec<usize> {
        (0..self.ranks).map(|rank| self.of(rank)).collect()
    }

    /// Of what `sender` sends to `receiver`.
    fn between(self, sender: usize, receiver: usize) -> usize {
        self.of(sender + 2 * receiver)
    }
}

pub fn check(
    case: &Case,
    comm: &mut Communicator,
    memory: &mut Memory,
    call: u64,
) -> Result<(), Error> {
    let (rank, equal) = (comm.rank() as usize, case.exact());
    let lengths = Lengths::of_call(case, call);
    let (all, own) = (lengths.of_all(), vec![lengths.of(rank)]);
    let [sent, received] = lengths.of_pairs(rank);
    let operation = Operation::new(case.collective, case.data_type);
    let (operation, inputs, outputs) = match case.collective {
        Collective::AllGather => (operation.with_counts(&all), &own, &all),
        Collective::ReduceScatter => (operation.with_counts(&all), &all, &own),
        _ => (operation.with_pairs(&sent, &received), &sent, &received),
    };
    let operation = case.op.map_or(operation, |op| operation.reducing(op));

    let known = Exact::new(equal, call);
    let input = cut(&equal, &whole_input(&known, rank), inputs);
    let expected = cut(&equal, &whole_result(&known, rank), outputs);
    let [send, recv] = memory.of(case.kind);
    let result = if case.in_place {
        // The rank's own block of the longer side is its shorter side.
        let start = all[..rank].iter().sum::<usize>() * case.data_type.size();
        let longer = input.len().max(expected.len()).max(bytes(&equal, &all));
        let buffer = &mut recv[..longer];
        let (from, to) = match case.collective {
            Collective::AllGather => (start, 0),
            _ => (0, start),
        };
        spoil(&mut buffer[to..to + expected.len()], &expected);
        buffer[from..from + input.len()].copy_from_slice(&input);
        comm.perform(operation, Buffers::InPlace(buffer))?;
        &buffer[to..to + expected.len()]
    } else {
        let (send, recv) = (&mut send[..input.len()], &mut recv[..expected.len()]);
        send.copy_from_slice(&input);
        spoil(recv, &expected);
        comm.perform(operation, Buffers::OutOfPlace { send, recv })?;
        recv
    };
    assert!(*result == *expected, "rank {rank}: wrong elements of {case:?} in blocks of {all:?}");
    Ok(())
}

pub fn whole_input(known: &Exact, rank: usize) -> Vec<u8> {
    let mut input = vec![0; known.case().input_bytes()];
    known.fill_input(rank as u32, &mut input);
    input
}

pub fn whole_result(known: &Exact, rank: usize) -> Vec<u8> {
    let mut result = vec![0; known.case().output_bytes()];
    known.spoil(rank as u32, &mut result); // which is the right result, each bit the other way
    result.iter_mut().for_each(|byte| *byte = !*byte);
    result
}

/// The beginnings of the equal blocks of `whole`, as many elements of each as `lengths` says.
pub fn cut(equal: &exact::Case, whole: &[u8], lengths: &[usize]) -> Vec<u8> {
    let size = equal.dtype.size();
    let blocks = (0..lengths.len()).map(|block| &whole[block * equal.count * size..]);
    blocks.zip(lengths).flat_map(|(block, length)| &block[..length * size]).copied().collect()
}

fn bytes(equal: &exact::Case, lengths: &[usize]) -> usize {
    lengths.iter().sum::<usize>() * equal.dtype.size()
}

/// Fills the place of the result with what that is not, in every byte of it.
pub fn spoil(place: &mut [u8], expected: &[u8]) {
    for (byte, right) in place.iter_mut().zip(expected) {
        *byte = !right;
    }
}
