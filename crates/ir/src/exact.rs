//! Owns inputs whose results are known: values that every reduction combines exactly, in any order,
//! so that a single wrong bit shows; for benchmarks that check themselves, and for tests.

use core::ops::Range;

use half::{bf16, f16};

use crate::{Collective, DataType, F8E4M3, F8E5M2, Rank, ReduceOp};

/// Bytes made and compared at a time: small enough for the stack, a multiple of every element.
const PIECE: usize = 4096;

/// Values that the byte under an element can have.
const BASES: usize = 256;

/// What one call is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The operation.
    pub collective: Collective,
    /// The type of an element.
    pub dtype: DataType,
    /// How elements are combined; without meaning where they are only moved.
    pub op: ReduceOp,
    /// Ranks of the world, at most [`crate::MAX_RANKS`].
    pub ranks: u32,
    /// Elements of the whole buffer for all_reduce, of one rank's part for the other operations.
    pub count: usize,
}

impl Case {
    /// Bytes that a rank sends, if it sends: in rooted operations perhaps only the root does
    /// ([`Collective::has_input`]).
    pub const fn input_bytes(&self) -> usize {
        match self.collective {
            Collective::ReduceScatter | Collective::AllToAll | Collective::Scatter { .. } => {
                self.all_parts_bytes()
            }
            _ => self.part_bytes(),
        }
    }

    /// Bytes that a rank receives, if it receives ([`Collective::has_output`]).
    pub const fn output_bytes(&self) -> usize {
        match self.collective {
            Collective::AllGather | Collective::AllToAll | Collective::Gather { .. } => {
                self.all_parts_bytes()
            }
            _ => self.part_bytes(),
        }
    }

    /// [`input_bytes`](Self::input_bytes) of `rank`: none where it has no input.
    pub const fn input_bytes_of(&self, rank: u32) -> usize {
        if self.collective.has_input(Rank(rank)) { self.input_bytes() } else { 0 }
    }

    /// [`output_bytes`](Self::output_bytes) of `rank`: none where it has no output.
    pub const fn output_bytes_of(&self, rank: u32) -> usize {
        if self.collective.has_output(Rank(rank)) { self.output_bytes() } else { 0 }
    }

    /// Bytes of the one buffer of a call in place, on the ranks that have both sides.
    pub const fn in_place_bytes(&self) -> usize {
        let (input, output) = (self.input_bytes(), self.output_bytes());
        if input > output { input } else { output }
    }

    /// [`in_place_bytes`](Self::in_place_bytes) of `rank`: those of its one side, where it lacks
    /// the other.
    pub const fn in_place_bytes_of(&self, rank: u32) -> usize {
        let (input, output) = (self.input_bytes_of(rank), self.output_bytes_of(rank));
        if input > output { input } else { output }
    }

    /// Where in that buffer `rank`'s input lies.
    pub const fn input_in_place(&self, rank: u32) -> Range<usize> {
        match self.collective {
            Collective::AllGather => self.own_part(rank),
            Collective::Gather { root } if root.0 == rank => self.own_part(rank),
            _ => 0..self.input_bytes_of(rank),
        }
    }

    /// Where in that buffer `rank`'s result lies.
    pub const fn output_in_place(&self, rank: u32) -> Range<usize> {
        match self.collective {
            Collective::ReduceScatter => self.own_part(rank),
            Collective::Scatter { root } if root.0 == rank => self.own_part(rank),
            _ => 0..self.output_bytes_of(rank),
        }
    }

    const fn own_part(&self, rank: u32) -> Range<usize> {
        let start = rank as usize * self.part_bytes();
        start..start + self.part_bytes()
    }

    const fn part_bytes(&self) -> usize {
        self.count * self.dtype.size()
    }

    const fn all_parts_bytes(&self) -> usize {
        self.ranks as usize * self.part_bytes()
    }
}

/// The inputs of all ranks for one call, and what must come of them.
///
/// What is only moved is pseudo-random, every bit of it. What is reduced are small whole numbers
/// that follow from a pseudo-random byte per element, the same on every rank, and from the rank:
/// the result then depends on that byte alone, and all 256 results are found once. To make or to
/// check 128 MiB takes 20 ms (8-byte types) to 70 ms (u8) on one core of a Xeon server.
#[derive(Debug)]
pub struct Exact {
    case: Case,
    seed: u64,
    /// The reduced element for each byte; `None` where elements are only moved.
    reduced: Option<[u64; BASES]>,
}

impl Exact {
    /// The inputs of call number `iteration`; another number gives others, so that no earlier
    /// call's result can pass for this one's.
    pub fn new(case: Case, iteration: u64) -> Self {
        let results = |values: Values| table(|base| values.reduced(case.ranks, base));
        let reduced = case.collective.reduces().then(|| results(Values::new(&case)));
        Self { case, seed: mix(iteration), reduced }
    }

    /// The call that these are for.
    pub const fn case(&self) -> &Case {
        &self.case
    }

    /// Fills what `rank` sends: [`Case::input_bytes_of`].
    pub fn fill_input(&self, rank: u32, input: &mut [u8]) {
        if self.reduced.is_none() {
            return random(self.stream(rank), 0, input);
        }
        let values = Values::new(&self.case);
        let elements = table(|base| values.element(rank, base));
        for (index, piece) in input.chunks_mut(PIECE).enumerate() {
            self.look_up(&elements, index * PIECE, piece);
        }
    }

    /// Fills a place for `rank`'s result with what that is not, in every byte of it, so that a byte
    /// never written shows.
    pub fn spoil(&self, rank: u32, output: &mut [u8]) {
        for (index, piece) in output.chunks_mut(PIECE).enumerate() {
            self.result(rank, index * PIECE, piece);
            piece.iter_mut().for_each(|byte| *byte = !*byte);
        }
    }

    /// How many elements of `rank`'s result are wrong, missing or too many.
    pub fn wrong(&self, rank: u32, output: &[u8]) -> u64 {
        let element = self.case.dtype.size();
        let expected_bytes = self.case.output_bytes_of(rank);
        let unpaired = expected_bytes.abs_diff(output.len()).div_ceil(element);
        let mut wrong = unpaired as u64;
        let mut right = [0; PIECE];
        let output = &output[..output.len().min(expected_bytes)];
        for (index, piece) in output.chunks(PIECE).enumerate() {
            let right = &mut right[..piece.len()];
            self.result(rank, index * PIECE, right);
            if right != piece {
                let pairs = right.chunks(element).zip(piece.chunks(element));
                wrong += pairs.filter(|(right, found)| right != found).count() as u64;
            }
        }
        wrong
    }

    /// The bytes of `rank`'s right result from `start` on, at most a piece.
    fn result(&self, rank: u32, start: usize, out: &mut [u8]) {
        let own = self.case.own_part(rank);
        match (&self.reduced, self.case.collective) {
            (Some(reduced), Collective::ReduceScatter) => {
                self.look_up(reduced, own.start + start, out);
            }
            (Some(reduced), _) => self.look_up(reduced, start, out),
            (None, Collective::AllToAll) => self.gathered(own.start, start, out),
            (None, Collective::Broadcast { root }) => random(self.stream(root.0), start, out),
            (None, Collective::Scatter { root }) => {
                random(self.stream(root.0), own.start + start, out);
            }
            (None, _) => self.gathered(0, start, out),
        }
    }

    /// The bytes from `start` on of the parts that lie at `part_start` of every rank's input.
    fn gathered(&self, part_start: usize, start: usize, out: &mut [u8]) {
        let part = self.case.part_bytes();
        let (mut at, mut rest) = (start, out);
        while !rest.is_empty() {
            let (sender, within) = (at / part, at % part);
            let (piece, tail) = rest.split_at_mut((part - within).min(rest.len()));
            random(self.stream(sender as u32), part_start + within, piece);
            at += piece.len();
            rest = tail;
        }
    }

    /// Elements from byte `start` of all there are, each as the table has it; at most a piece.
    fn look_up(&self, elements: &[u64; BASES], start: usize, out: &mut [u8]) {
        let size = self.case.dtype.size();
        let mut bases = [0; PIECE];
        let bases = &mut bases[..out.len() / size];
        random(self.seed, start / size, bases);
        match size {
            1 => place::<1>(elements, bases, out),
            2 => place::<2>(elements, bases, out),
            4 => place::<4>(elements, bases, out),
            _ => place::<8>(elements, bases, out),
        }
    }

    /// The pseudo-random bytes that `sender` sends where nothing is reduced.
    const fn stream(&self, sender: u32) -> u64 {
        mix(self.seed ^ sender as u64)
    }
}

/// Which small whole number a rank contributes. Summed or compared: 0 to `below` − 1 in turn, then
/// 0 until the period is over. Multiplied: odd numbers in turn where integers wrap, so that no
/// product is 0; else 2 once in a period and 1 otherwise, half of them negative.
///
/// Every rank contributes other than what changes nothing to some elements: but in sums of 8-bit
/// floats, which have so few whole numbers, only the first 2048 ranks do.
struct Values {
    dtype: DataType,
    op: ReduceOp,
    below: u64,
    period: u64,
}

impl Values {
    /// As large, up to a byte, as leaves every result exact in the type, in whatever order it comes
    /// about. Integers wrap, and minima and maxima do not grow.
    fn new(case: &Case) -> Self {
        let Case { dtype, op, .. } = *case;
        let ranks = u64::from(case.ranks.max(1));
        let integer = dtype.integer_range().is_some();
        let (limit, most) = match op {
            ReduceOp::Product if integer => (u64::MAX, BASES as u64),
            ReduceOp::Product => (doublings(dtype), 2),
            ReduceOp::Min | ReduceOp::Max => (u64::MAX, whole_numbers(dtype)),
            ReduceOp::Sum | ReduceOp::PreMulSum(_) if integer => (u64::MAX, BASES as u64),
            ReduceOp::Sum | ReduceOp::PreMulSum(_) | ReduceOp::Average => {
                let limit = whole_numbers(dtype);
                (limit, limit / ranks + 1)
            }
        };
        let below = 1 << most.clamp(2, BASES as u64).ilog2();
        let period = ranks.div_ceil(limit).next_power_of_two().max(below);
        Self { dtype, op, below, period }
    }

    /// What `rank` contributes.
    const fn of(&self, rank: u32, base: u8) -> i64 {
        let turn = (base as u64 + rank as u64) % self.period;
        let turn = if turn < self.below { turn as i64 } else { 0 };
        match self.op {
            ReduceOp::Product if self.dtype.integer_range().is_some() => 2 * turn + 1,
            ReduceOp::Product if (base as u64 / 2 + rank as u64).is_multiple_of(2) => 1 + turn,
            ReduceOp::Product => -1 - turn,
            _ => turn,
        }
    }

    /// What `rank` contributes, as an element.
    fn element(&self, rank: u32, base: u8) -> u64 {
        match self.dtype.integer_range() {
            Some(_) => self.of(rank, base) as u64,
            None => encoded(self.dtype, self.of(rank, base) as f64),
        }
    }

    /// What must come of all ranks' contributions, as an element. The operation's factor is a whole
    /// number for integers and a power of two for floats.
    fn reduced(&self, ranks: u32, base: u8) -> u64 {
        let all = (0..ranks).map(|rank| self.of(rank, base));
        let integer = self.dtype.integer_range().is_some();
        let exact = match self.op {
            ReduceOp::Product if integer => return all.fold(1, i64::wrapping_mul) as u64,
            ReduceOp::Product => all.map(|value| value as f64).product(),
            ReduceOp::Max => all.max().unwrap_or(0) as f64,
            ReduceOp::Min => all.min().unwrap_or(0) as f64,
            ReduceOp::Sum | ReduceOp::Average => all.sum::<i64>() as f64,
            ReduceOp::PreMulSum(factor) if integer => {
                let factor = factor.bits(self.dtype).unwrap_or(0); // a misfit is refused elsewhere
                return (all.sum::<i64>() as u64).wrapping_mul(factor);
            }
            ReduceOp::PreMulSum(factor) => all.sum::<i64>() as f64 * factor.to_f64(),
        };
        match (self.op, self.dtype) {
            (ReduceOp::Average, DataType::F64) => encoded(self.dtype, exact / f64::from(ranks)),
            (ReduceOp::Average, _) if integer => (exact as i64 / i64::from(ranks)) as u64,
            (ReduceOp::Average, dtype) => encoded(dtype, f64::from(exact as f32 / ranks as f32)),
            _ if integer => exact as i64 as u64,
            (_, dtype) => encoded(dtype, exact),
        }
    }
}

/// Up to where a type holds every whole number, or so far that it makes no difference.
fn whole_numbers(dtype: DataType) -> u64 {
    match dtype {
        DataType::F8E5M2 => 1 << 3,
        DataType::F8E4M3 => 1 << 4,
        DataType::Bf16 => 1 << 8,
        DataType::F16 => 1 << 11,
        DataType::F32 => 1 << 24,
        _ => dtype.integer_range().map_or(1 << 53, |(_, greatest)| greatest.min(1 << 53) as u64),
    }
}

/// How often a 1 of a float type can be doubled.
const fn doublings(dtype: DataType) -> u64 {
    match dtype {
        DataType::F8E4M3 => 8,
        DataType::F8E5M2 | DataType::F16 => 15,
        DataType::Bf16 | DataType::F32 => 127,
        _ => 1023,
    }
}

fn table(element: impl Fn(u8) -> u64) -> [u64; BASES] {
    core::array::from_fn(|base| element(base as u8))
}

/// A number that a float type has, or the nearest, as an element: its bytes are the first of the
/// word's, in little-endian order. (So are an integer's, without any help.)
fn encoded(dtype: DataType, value: f64) -> u64 {
    let narrow = value as f32;
    match dtype {
        DataType::F8E4M3 => u64::from(F8E4M3::from_f32(narrow).to_bits()),
        DataType::F8E5M2 => u64::from(F8E5M2::from_f32(narrow).to_bits()),
        DataType::F16 => u64::from(f16::from_f32(narrow).to_bits()),
        DataType::Bf16 => u64::from(bf16::from_f32(narrow).to_bits()),
        DataType::F32 => u64::from(narrow.to_bits()),
        _ => value.to_bits(),
    }
}

fn place<const N: usize>(elements: &[u64; BASES], bases: &[u8], out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut::<N>();
    for (place, &base) in out.iter_mut().zip(bases) {
        place.copy_from_slice(&elements[usize::from(base)].to_le_bytes()[..N]);
    }
}

/// The bytes of a pseudo-random stream from `start` on.
fn random(stream: u64, start: usize, out: &mut [u8]) {
    let word = |index: usize| mix(stream.wrapping_add(index as u64)).to_le_bytes();
    let before = start.next_multiple_of(8) - start;
    let (head, rest) = out.split_at_mut(before.min(out.len()));
    head.copy_from_slice(&word(start / 8)[start % 8..][..head.len()]);
    let (words, tail) = rest.as_chunks_mut::<8>();
    let mut index = start.div_ceil(8);
    for place in words {
        *place = word(index);
        index += 1;
    }
    tail.copy_from_slice(&word(index)[..tail.len()]);
}

/// A step of SplitMix64: 64 bits that depend on every bit of `value`.
const fn mix(value: u64) -> u64 {
    let word = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
