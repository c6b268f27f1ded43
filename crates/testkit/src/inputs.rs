//! Owns inputs whose results are known in closed form: exact in every type, in any order of
//! reduction, for up to 64 ranks.
//!
//! Elements are small whole numbers: 0 to 3 where they are reduced, so that a sum over 64 ranks
//! stays below the 256 up to which bfloat16 holds every whole number; 0 to 255 where they are only
//! moved. `count` is always the number of elements that one rank contributes to one rank's result
//! (all_reduce: of the whole buffer), and `iteration` tells one call's data from the next one's.

use crosstie_ir::{Collective, DataType, ReduceOp};
use half::bf16;

use crate::random::mix;

/// Ranks up to which sums are exact.
pub const MOST_RANKS: u32 = 64;

const REDUCED_VALUES: u32 = 4;

/// One call whose result is known.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The operation.
    pub collective: Collective,
    /// The element type.
    pub dtype: DataType,
    /// How elements are combined, where they are.
    pub op: ReduceOp,
    /// Ranks of the world, at most [`MOST_RANKS`] where elements are combined.
    pub ranks: u32,
    /// Elements that one rank contributes to one rank's result.
    pub count: u64,
    /// Which call of several it is.
    pub iteration: u64,
}

impl Case {
    /// The input buffer of `rank`.
    pub fn input(&self, rank: u32) -> Vec<u8> {
        let blocks = match self.collective {
            Collective::ReduceScatter | Collective::AllToAll => u64::from(self.ranks),
            _ => 1,
        };
        self.encode((0..blocks * self.count).map(|element| self.value(rank, element)))
    }

    /// The output buffer that `rank` must end with.
    pub fn output(&self, rank: u32) -> Vec<u8> {
        let (ranks, count) = (self.ranks, self.count);
        let own = u64::from(rank) * count;
        match self.collective {
            Collective::ReduceScatter => self.encode((own..own + count).map(|e| self.reduced(e))),
            Collective::AllGather => self
                .encode((0..ranks).flat_map(|from| (0..count).map(move |e| self.value(from, e)))),
            Collective::AllToAll => self.encode(
                (0..ranks).flat_map(|from| (own..own + count).map(move |e| self.value(from, e))),
            ),
            _ => self.encode((0..count).map(|e| self.reduced(e))),
        }
    }

    /// What `rank` contributes as element `element` of its input.
    fn value(&self, rank: u32, element: u64) -> u32 {
        if self.collective.reduces() {
            (rank + self.offset(element)) % REDUCED_VALUES
        } else {
            (mix(mix(self.iteration) ^ mix(element ^ u64::from(rank) << 48)) & 0xff) as u32
        }
    }

    fn offset(&self, element: u64) -> u32 {
        (mix(self.iteration ^ element << 8) % u64::from(REDUCED_VALUES)) as u32
    }

    /// The reduction of element `element` over all ranks: their values are consecutive modulo 4.
    fn reduced(&self, element: u64) -> u32 {
        let offset = self.offset(element);
        let (cycles, rest) = (self.ranks / REDUCED_VALUES, self.ranks % REDUCED_VALUES);
        let odd_ones = (0..rest).map(|rank| (rank + offset) % REDUCED_VALUES);
        match self.op {
            ReduceOp::Sum => cycles * 6 + odd_ones.sum::<u32>(),
            ReduceOp::Min if cycles > 0 => 0,
            ReduceOp::Max if cycles > 0 => REDUCED_VALUES - 1,
            ReduceOp::Min => odd_ones.min().unwrap_or(0),
            _ => odd_ones.max().unwrap_or(0),
        }
    }

    fn encode(&self, values: impl Iterator<Item = u32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.for_each(|value| push(&mut bytes, self.dtype, value));
        bytes
    }
}

fn push(bytes: &mut Vec<u8>, dtype: DataType, value: u32) {
    match dtype {
        DataType::I32 => bytes.extend_from_slice(&value.to_le_bytes()),
        DataType::I64 => bytes.extend_from_slice(&u64::from(value).to_le_bytes()),
        DataType::F32 => bytes.extend_from_slice(&(value as f32).to_le_bytes()),
        DataType::F64 => bytes.extend_from_slice(&f64::from(value).to_le_bytes()),
        DataType::Bf16 => bytes.extend_from_slice(&bf16::from_f32(value as f32).to_le_bytes()),
        DataType::U8 => bytes.push(value as u8),
        other => unreachable!("exact inputs of {other} are not defined"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_the_reduction_of_all_inputs() {
        for ranks in 1..=MOST_RANKS {
            for op in ReduceOp::ALL {
                let (collective, dtype) = (Collective::AllReduce, DataType::U8);
                let case = Case { collective, dtype, op, ranks, count: 40, iteration: 3 };
                let inputs = (0..ranks).map(|rank| case.input(rank));
                let combine = |a: u8, b: u8| match op {
                    ReduceOp::Sum => a + b,
                    ReduceOp::Min => a.min(b),
                    _ => a.max(b),
                };
                let reduce = |a: Vec<u8>, b: Vec<u8>| {
                    a.into_iter().zip(b).map(|(a, b)| combine(a, b)).collect()
                };
                assert_eq!(inputs.reduce(reduce), Some(case.output(0)), "{ranks} ranks, {op}");
            }
        }
    }

    #[test]
    fn sums_of_sixty_four_ranks_are_exact_in_bfloat16() {
        for sum in 0..=MOST_RANKS * (REDUCED_VALUES - 1) {
            assert_eq!(bf16::from_f32(sum as f32).to_f32(), sum as f32);
        }
    }

    #[test]
    fn what_all_to_all_moves_comes_from_the_senders_block() {
        let (collective, dtype, op) = (Collective::AllToAll, DataType::I32, ReduceOp::Sum);
        let case = Case { collective, dtype, op, ranks: 3, count: 5, iteration: 0 };
        let bytes = 5 * dtype.size();
        for (to, from) in (0..3).flat_map(|to| (0..3).map(move |from| (to, from))) {
            let (input, output) = (case.input(from as u32), case.output(to as u32));
            assert_eq!(output[from * bytes..][..bytes], input[to * bytes..][..bytes]);
        }
    }
}
