//! Owns the inputs of a checked call and the one right result: values that every reduction
//! combines exactly, in any order, so that a single wrong bit shows.

use crosstie::{Collective, DataType, ReduceOp};

use super::sizes::Row;

/// Bytes generated and compared at a time; a multiple of every element.
const BLOCK: usize = 4096;

/// The inputs of all ranks for one checked call, and what must come of them.
///
/// What is only moved is pseudo-random, every bit of it. What is reduced are small whole numbers:
/// element i of rank r is `(hash(i) + r) mod m`, where m is a power of two so small that the sum
/// over all ranks is exact in the type. The result then depends on `hash(i) mod m` alone, and m
/// results are computed once.
pub struct Exact {
    row: Row,
    ranks: u32,
    salt: u64,
    reduced: Option<Reduced>,
}

struct Reduced {
    modulus: u64,
    contributing: u32,
    inputs: Vec<[u8; 8]>,
    results: Vec<[u8; 8]>,
}

impl Exact {
    /// The inputs of one call; another salt gives others, so that no earlier result can pass.
    pub fn new(row: Row, ranks: u32, salt: u64) -> Self {
        let reduced = row.op.map(|op| Reduced::new(row.dtype, op, ranks));
        Self { row, ranks, salt: hash(0, salt), reduced }
    }

    /// Fills what `rank` sends.
    pub fn fill_send(&self, rank: u32, send: &mut [u8]) {
        for (index, block) in send.chunks_mut(BLOCK).enumerate() {
            self.input(rank, index * BLOCK, block);
        }
    }

    /// Fills a place for results with what no result is, so that a byte never written shows.
    pub fn spoil(&self, rank: u32, receive: &mut [u8]) {
        for (index, block) in receive.chunks_mut(BLOCK).enumerate() {
            self.result(rank, index * BLOCK, block);
            block.iter_mut().for_each(|byte| *byte = !*byte);
        }
    }

    /// How many elements of `rank`'s result are wrong.
    pub fn wrong(&self, rank: u32, receive: &[u8]) -> u64 {
        let element = self.row.dtype.size();
        let mut right = [0; BLOCK];
        let mut wrong = 0;
        for (index, block) in receive.chunks(BLOCK).enumerate() {
            let right = &mut right[..block.len()];
            self.result(rank, index * BLOCK, right);
            if right != block {
                let pairs = right.chunks(element).zip(block.chunks(element));
                wrong += pairs.filter(|(right, found)| right != found).count() as u64;
            }
        }
        wrong
    }

    /// The bytes of `rank`'s input from `start` on.
    fn input(&self, rank: u32, start: usize, out: &mut [u8]) {
        match &self.reduced {
            Some(reduced) => reduced.input(rank, self.salt, start, self.row.dtype.size(), out),
            None => moved(rank, self.salt, start, out),
        }
    }

    /// The bytes of `rank`'s right result from `start` on.
    fn result(&self, rank: u32, start: usize, out: &mut [u8]) {
        let part = self.row.part_bytes;
        match (&self.reduced, self.row.collective) {
            (Some(reduced), collective) => {
                let scattered = collective == Collective::ReduceScatter;
                let offset = if scattered { rank as usize * part } else { 0 };
                reduced.result(self.salt, offset + start, self.row.dtype.size(), out);
            }
            (None, collective) => {
                let theirs =
                    if collective == Collective::AllToAll { rank as usize * part } else { 0 };
                let mut at = start;
                let mut rest = out;
                while !rest.is_empty() {
                    let (sender, within) = (at / part, at % part);
                    let (piece, tail) = rest.split_at_mut((part - within).min(rest.len()));
                    debug_assert!(sender < self.ranks as usize);
                    moved(sender as u32, self.salt, theirs + within, piece);
                    at += piece.len();
                    rest = tail;
                }
            }
        }
    }
}

impl Reduced {
    fn new(dtype: DataType, op: ReduceOp, ranks: u32) -> Self {
        // The largest whole number below which the type holds all of them; u8 and the other whole
        // types wrap, which is as exact.
        let limit: u64 = match dtype {
            DataType::Bf16 => 1 << 8,
            DataType::F32 => 1 << 24,
            _ => 1 << 31,
        };
        let most = (limit / u64::from(ranks) + 1).clamp(2, 256);
        let modulus = 1 << most.ilog2();
        let contributing = ranks.min(limit as u32);
        let inputs: Vec<u64> = (0..modulus).collect();
        let combine = |base: u64| {
            let values = (0..ranks).map(|rank| value(base, rank, modulus, contributing));
            match op {
                ReduceOp::Min => values.min().unwrap_or(0),
                ReduceOp::Max => values.max().unwrap_or(0),
                _ => values.sum(),
            }
        };
        Self {
            modulus,
            contributing,
            results: inputs.iter().map(|&base| encode(dtype, combine(base))).collect(),
            inputs: inputs.into_iter().map(|value| encode(dtype, value)).collect(),
        }
    }

    fn input(&self, rank: u32, salt: u64, start: usize, element: usize, out: &mut [u8]) {
        for (index, place) in out.chunks_mut(element).enumerate() {
            let base = hash(salt, (start / element + index) as u64);
            let value = value(base, rank, self.modulus, self.contributing);
            place.copy_from_slice(&self.inputs[value as usize][..element]);
        }
    }

    fn result(&self, salt: u64, start: usize, element: usize, out: &mut [u8]) {
        for (index, place) in out.chunks_mut(element).enumerate() {
            let base = hash(salt, (start / element + index) as u64) % self.modulus;
            place.copy_from_slice(&self.results[base as usize][..element]);
        }
    }
}

/// A rank's element, from the hash of its index; ranks beyond what the type can add give zero.
fn value(base: u64, rank: u32, modulus: u64, contributing: u32) -> u64 {
    if rank < contributing { base.wrapping_add(u64::from(rank)) % modulus } else { 0 }
}

/// A small whole number as an element's bytes.
fn encode(dtype: DataType, value: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    match dtype {
        DataType::F64 => bytes = (value as f64).to_le_bytes(),
        DataType::F32 => bytes[..4].copy_from_slice(&(value as f32).to_le_bytes()),
        DataType::Bf16 => bytes[..2].copy_from_slice(&(value as f32).to_le_bytes()[2..]),
        _ => bytes = value.to_le_bytes(),
    }
    bytes
}

/// Bytes that are only moved: pseudo-random words of the sender, from byte `start` on.
fn moved(sender: u32, salt: u64, start: usize, out: &mut [u8]) {
    let salt = salt ^ (u64::from(sender) << 32);
    let mut at = start;
    let mut rest = out;
    while !rest.is_empty() {
        let word = hash(salt, (at / 8) as u64).to_le_bytes();
        let word = &word[at % 8..];
        let (piece, tail) = rest.split_at_mut(word.len().min(rest.len()));
        piece.copy_from_slice(&word[..piece.len()]);
        at += piece.len();
        rest = tail;
    }
}

/// A mixed 64-bit word (the finaliser of splitmix64).
fn hash(salt: u64, index: u64) -> u64 {
    let mut word = (salt.wrapping_add(index)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(collective: Collective, dtype: DataType, op: Option<ReduceOp>, part: usize) -> Row {
        let ranks = if collective == Collective::AllReduce { 1 } else { 3 };
        Row { collective, dtype, op, bytes: part * ranks, part_bytes: part }
    }

    fn send(exact: &Exact, rank: u32, bytes: usize) -> Vec<u8> {
        let mut send = vec![0; bytes];
        exact.fill_send(rank, &mut send);
        send
    }

    #[test]
    fn all_to_all_expects_part_r_of_each_input() {
        let part = 4099; // no multiple of a block or a word
        let row = row(Collective::AllToAll, DataType::U8, None, part);
        let exact = Exact::new(row, 3, 7);
        let inputs = [0, 1, 2].map(|rank| send(&exact, rank, row.bytes));
        for rank in 0..3 {
            let mine = rank as usize * part..(rank as usize + 1) * part;
            let mut result: Vec<u8> =
                inputs.iter().flat_map(|i| i[mine.clone()].to_vec()).collect();
            assert_eq!(exact.wrong(rank, &result), 0);
            result[part + 5] ^= 1;
            assert_eq!(exact.wrong(rank, &result), 1);
        }
    }

    #[test]
    fn all_gather_expects_the_inputs_in_rank_order() {
        let row = row(Collective::AllGather, DataType::I64, None, 1000);
        let exact = Exact::new(row, 3, 9);
        let result: Vec<u8> = [0, 1, 2].iter().flat_map(|&rank| send(&exact, rank, 1000)).collect();
        assert_eq!(exact.wrong(1, &result), 0);
    }

    #[test]
    fn sums_in_floats_and_bytes_are_exact_for_many_ranks() {
        for ranks in [1, 2, 7, 64, 300] {
            let row = row(Collective::AllReduce, DataType::Bf16, Some(ReduceOp::Sum), 64);
            let exact = Exact::new(row, ranks, 1);
            let mut sums = [0f32; 32];
            for rank in 0..ranks {
                for (sum, bytes) in sums.iter_mut().zip(send(&exact, rank, 64).chunks(2)) {
                    *sum += f32::from_le_bytes([0, 0, bytes[0], bytes[1]]);
                }
            }
            let exact_in_bf16 = |sum: &f32| sum.to_bits() & 0xffff == 0;
            assert!(sums.iter().all(exact_in_bf16), "{ranks} ranks");
            let result: Vec<u8> = sums.iter().flat_map(|s| s.to_le_bytes()[2..].to_vec()).collect();
            assert_eq!(exact.wrong(0, &result), 0, "{ranks} ranks");
        }
        let row = row(Collective::ReduceScatter, DataType::U8, Some(ReduceOp::Sum), 100);
        let exact = Exact::new(row, 3, 2);
        let inputs = [0, 1, 2].map(|rank| send(&exact, rank, row.bytes));
        let sum = |i: usize| inputs.iter().fold(0u8, |sum, input| sum.wrapping_add(input[200 + i]));
        assert_eq!(exact.wrong(2, &(0..100).map(sum).collect::<Vec<_>>()), 0);
    }

    #[test]
    fn a_spoilt_result_is_wrong_in_every_element() {
        for (collective, op) in
            [(Collective::AllToAll, None), (Collective::AllReduce, Some(ReduceOp::Max))]
        {
            for dtype in DataType::ALL {
                let row = row(collective, dtype, op, 8 * 1024);
                let exact = Exact::new(row, 3, 3);
                let mut result = vec![0; row.bytes];
                exact.spoil(0, &mut result);
                assert_eq!(exact.wrong(0, &result), (row.bytes / dtype.size()) as u64, "{dtype}");
            }
        }
    }

    #[test]
    fn another_salt_gives_other_inputs() {
        let row = row(Collective::AllReduce, DataType::F32, Some(ReduceOp::Sum), 4096);
        assert_ne!(send(&Exact::new(row, 3, 1), 0, 4096), send(&Exact::new(row, 3, 2), 0, 4096));
    }
}
