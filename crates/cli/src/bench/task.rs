//! Owns one rank's part of a row: where in its buffers what it sends and receives lies, the call, and
//! inputs whose results are known.

use std::ops::Range;

use crosstie::{Buffers, Collective, Communicator, DataType, Error, ReduceOp};
use crosstie_ir::exact::{Case, Exact};

use super::buffer::Buffer;
use super::sizes::{Counts, Row};
use crate::operation::Kind;

/// Out of place or in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What is sent and what is received lie in two buffers.
    Out,
    /// They lie in one.
    In,
}

/// What one rank does in a row.
#[derive(Debug)]
pub struct Task {
    collective: Collective,
    dtype: DataType,
    op: Option<ReduceOp>,
    rank: u32,
    case: Case,
    counts: Ragged,
    shapes: [Shape; 2],
}

/// Elements of blocks that differ.
#[derive(Debug)]
enum Ragged {
    No,
    Blocks(Vec<usize>),
    Pairs {
        send: Vec<usize>,
        recv: Vec<usize>,
    },
    /// To one rank, and as much from another.
    Neighbours {
        to: u32,
        from: u32,
    },
}

/// Bytes of buffers, and what of them is input and result.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    /// Of the buffer that is sent; in place there is none.
    send: usize,
    /// Of the buffer that is received, or of the only one.
    receive: usize,
    /// What this rank sends, in the one or the other.
    input: Range<usize>,
    /// What it gets.
    result: Range<usize>,
}

impl Task {
    /// The part of `rank` in a world of so many.
    pub fn new(row: &Row, rank: u32, ranks: u32) -> Self {
        let case = row.case(ranks);
        let counts = match row.counts.as_deref() {
            None if row.operation.kind == Kind::SendRecv => {
                Ragged::Neighbours { to: (rank + 1) % ranks, from: (rank + ranks - 1) % ranks }
            }
            None => Ragged::No,
            Some(Counts::Blocks(blocks)) => Ragged::Blocks(blocks.clone()),
            Some(Counts::Pairs(matrix)) => {
                Ragged::Pairs { send: matrix.sent(rank), recv: matrix.received(rank) }
            }
        };
        let shapes = [Place::Out, Place::In].map(|place| shape(&case, &counts, rank, place));
        let (collective, dtype, op) = (row.collective(), row.dtype, row.op);
        Self { collective, dtype, op, rank, case, counts, shapes }
    }

    fn shape(&self, place: Place) -> &Shape {
        &self.shapes[usize::from(place == Place::In)]
    }

    /// Makes the call.
    pub fn call(
        &self,
        comm: &mut Communicator,
        place: Place,
        send: &mut Buffer,
        receive: &mut Buffer,
    ) -> Result<(), Error> {
        let shape = self.shape(place);
        let recv = receive.first(shape.receive);
        if let Ragged::Neighbours { to, from } = self.counts {
            return comm.send_recv(send.first(shape.send), to, recv, from);
        }
        let buffers = match place {
            Place::In => Buffers::InPlace(recv),
            Place::Out => Buffers::OutOfPlace { send: send.first(shape.send), recv },
        };
        let mut call = crosstie::Operation::new(self.collective, self.dtype);
        if let Some(op) = self.op {
            call = call.reducing(op);
        }
        call = match &self.counts {
            Ragged::No | Ragged::Neighbours { .. } => call,
            Ragged::Blocks(blocks) => call.with_counts(blocks),
            Ragged::Pairs { send, recv } => call.with_pairs(send, recv),
        };
        comm.perform(call, buffers)
    }

    /// Makes one call on inputs of its own and counts this rank's wrong elements; `corrupt` flips a
    /// bit of the result before.
    pub fn check(
        &self,
        comm: &mut Communicator,
        place: Place,
        [send, receive]: [&mut Buffer; 2],
        iteration: u64,
        corrupt: bool,
    ) -> Result<u64, Error> {
        let Shape { input, result, receive: length, .. } = self.shape(place).clone();
        let known = Known::new(self, iteration);
        known.spoil(self, &mut receive.first(length)[result.clone()]);
        match place {
            Place::Out => known.fill(self, send.first(input.len())),
            Place::In => known.fill(self, &mut receive.first(length)[input]),
        }
        self.call(comm, place, send, receive)?;
        let result = &mut receive.first(length)[result];
        if let Some(first) = result.first_mut().filter(|_| corrupt) {
            *first ^= 1;
        }
        Ok(known.wrong(self, result))
    }
}

fn shape(case: &Case, counts: &Ragged, rank: u32, place: Place) -> Shape {
    let bytes = |counts: &[usize]| counts.iter().sum::<usize>() * case.dtype.size();
    let (send, receive, own) = match counts {
        Ragged::No | Ragged::Neighbours { .. } => return equal_shape(case, rank, place),
        Ragged::Pairs { send, recv } => (bytes(send), bytes(recv), 0..0),
        Ragged::Blocks(blocks) => {
            let start = bytes(&blocks[..rank as usize]);
            let own = start..start + bytes(&blocks[rank as usize..=rank as usize]);
            let all = bytes(blocks);
            match case.collective {
                Collective::AllGather => (own.len(), all, own),
                _ => (all, own.len(), own),
            }
        }
    };
    match place {
        Place::Out => Shape { send, receive, input: 0..send, result: 0..receive },
        Place::In if send < receive => Shape { send: 0, receive, input: own, result: 0..receive },
        Place::In => Shape { send: 0, receive: send, input: 0..send, result: own },
    }
}

fn equal_shape(case: &Case, rank: u32, place: Place) -> Shape {
    match place {
        Place::Out => {
            let (send, receive) = (case.input_bytes_of(rank), case.output_bytes_of(rank));
            Shape { send, receive, input: 0..send, result: 0..receive }
        }
        Place::In => Shape {
            send: 0,
            receive: case.in_place_bytes_of(rank),
            input: case.input_in_place(rank),
            result: case.output_in_place(rank),
        },
    }
}

/// Inputs of one call and what must come of them.
enum Known {
    /// Of a collective of equal blocks.
    Exact(Exact),
    /// Of a reduction of the whole buffer, of which a rank gets a block.
    Block(Exact),
    /// Pseudo-random bytes that are only moved.
    Moved {
        /// Another for each call, so that no earlier call's result can pass for this one's.
        seed: u64,
    },
}

impl Known {
    fn new(task: &Task, iteration: u64) -> Self {
        match (&task.counts, task.collective) {
            (Ragged::No, _) => Self::Exact(Exact::new(task.case, iteration)),
            (Ragged::Blocks(blocks), Collective::ReduceScatter) => {
                let (collective, count) = (Collective::AllReduce, blocks.iter().sum());
                Self::Block(Exact::new(Case { collective, count, ..task.case }, iteration))
            }
            _ => Self::Moved { seed: mix(iteration) },
        }
    }

    /// What this rank sends.
    fn fill(&self, task: &Task, input: &mut [u8]) {
        match (self, &task.counts) {
            (Self::Exact(exact) | Self::Block(exact), _) => exact.fill_input(task.rank, input),
            (Self::Moved { seed }, Ragged::Pairs { send, .. }) => {
                let to = |to: usize| stream(*seed, task.rank, to as u32);
                fill_blocks(send, task.dtype, input, to);
            }
            (Self::Moved { seed }, _) => stream(*seed, task.rank, 0).fill(input),
        }
    }

    /// What this rank must get, where the blocks differ.
    fn expected(&self, task: &Task, length: usize) -> Vec<u8> {
        let mut expected = vec![0; length];
        match (self, &task.counts) {
            (Self::Exact(_), _) | (_, Ragged::No) => {}
            (Self::Block(exact), Ragged::Blocks(blocks)) => {
                let before: usize = blocks[..task.rank as usize].iter().sum();
                let start = before * task.dtype.size();
                let mut whole = vec![0; exact.case().output_bytes()];
                exact.spoil(task.rank, &mut whole); // the complement of the result
                whole.iter_mut().for_each(|byte| *byte = !*byte);
                expected.copy_from_slice(&whole[start..start + length]);
            }
            (Self::Moved { seed }, Ragged::Pairs { recv, .. }) => {
                let from = |from: usize| stream(*seed, from as u32, task.rank);
                fill_blocks(recv, task.dtype, &mut expected, from);
            }
            (Self::Moved { seed }, Ragged::Neighbours { from, .. }) => {
                stream(*seed, *from, 0).fill(&mut expected);
            }
            (Self::Moved { seed }, Ragged::Blocks(blocks)) => {
                let from = |from: usize| stream(*seed, from as u32, 0);
                fill_blocks(blocks, task.dtype, &mut expected, from);
            }
            (Self::Block(_), _) => {}
        }
        expected
    }

    /// Fills the place of the result with what it must not be, in every byte.
    fn spoil(&self, task: &Task, result: &mut [u8]) {
        match self {
            Self::Exact(exact) => exact.spoil(task.rank, result),
            _ => {
                let expected = self.expected(task, result.len());
                result.iter_mut().zip(expected).for_each(|(place, byte)| *place = !byte);
            }
        }
    }

    fn wrong(&self, task: &Task, result: &[u8]) -> u64 {
        match self {
            Self::Exact(exact) => exact.wrong(task.rank, result),
            _ => {
                let expected = self.expected(task, result.len());
                let size = task.dtype.size();
                let pairs = expected.chunks(size).zip(result.chunks(size));
                pairs.filter(|(right, found)| right != found).count() as u64
            }
        }
    }
}

/// Pseudo-random bytes.
struct Stream(u64);

/// What `from` sends to `to` in one call.
fn stream(seed: u64, from: u32, to: u32) -> Stream {
    Stream(mix(seed ^ (u64::from(from) << 32 | u64::from(to))))
}

impl Stream {
    fn fill(&self, bytes: &mut [u8]) {
        for (index, word) in bytes.chunks_mut(8).enumerate() {
            let random = mix(self.0.wrapping_add(index as u64)).to_le_bytes();
            word.copy_from_slice(&random[..word.len()]);
        }
    }
}

fn fill_blocks(counts: &[usize], dtype: DataType, bytes: &mut [u8], of: impl Fn(usize) -> Stream) {
    let mut rest = bytes;
    for (index, elements) in counts.iter().enumerate() {
        let (block, after) = rest.split_at_mut(elements * dtype.size());
        of(index).fill(block);
        rest = after;
    }
}

/// A step of SplitMix64: 64 bits that depend on every bit of `value`.
const fn mix(value: u64) -> u64 {
    let word = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
