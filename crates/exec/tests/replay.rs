//! The engine's bits are those of the plan's reference semantics, whatever the size, type,
//! operation and slicing.

#![cfg(test)]

mod common;

use std::sync::Arc;

use common::{LIMIT, LIMITS, whole_plan, world};
use crosstie_exec::{Buffers, Call, Reducer};
use crosstie_ir::{
    ChunkMap, Collective, DataType, Layout, Lowering, Rank, ReduceOp, lower, replay,
};
use crosstie_planner::Algorithm;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Case {
    ranks: u32,
    collective: Collective,
    algorithm: Algorithm,
    data_type: DataType,
    op: ReduceOp,
    count: u64,
    slices: u16,
    in_place: bool,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let what = (1u32..=6, 0..4usize, 0..DataType::ALL.len(), 0..ReduceOp::ALL.len());
    let how = (prop_oneof![0u64..20, 0u64..3000], 1u16..=4, 0..4u8, any::<u64>());
    (what, how).prop_map(|((ranks, collective, data_type, op), (count, slices, form, seed))| Case {
        ranks,
        collective: Collective::ALL[collective],
        algorithm: Algorithm::ALL[usize::from(form >> 1)],
        data_type: DataType::ALL[data_type],
        op: ReduceOp::ALL[op],
        count,
        slices,
        in_place: form & 1 == 1,
        seed,
    })
}

impl Case {
    fn map(&self) -> ChunkMap {
        let size = self.data_type.size();
        let message = (LIMITS.slot_bytes / size) as u64;
        match self.collective {
            Collective::AllReduce => {
                let layout = Layout::Split { chunks: self.ranks };
                ChunkMap::new(layout, size, self.count, message * u64::from(self.ranks))
            }
            _ => ChunkMap::new(Layout::Blocks { stride: self.count }, size, self.count, message),
        }
    }

    /// Arbitrary bits: not-a-numbers, infinities and subnormals among them.
    fn inputs(&self, map: &ChunkMap) -> Vec<Vec<u8>> {
        let bytes = map.buffer_bytes(self.collective.input_chunks(self.ranks)) as usize;
        let mut state = self.seed | 1;
        let mut byte = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        (0..self.ranks).map(|_| (0..bytes).map(|_| byte()).collect()).collect()
    }
}

fn run(case: &Case) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let map = case.map();
    let plan = whole_plan(case.collective, case.algorithm, case.in_place, case.ranks);
    let plan = lower(&plan, &Lowering { slices: case.slices });
    let inputs = case.inputs(&map);
    let expected =
        replay(&plan, &map, case.data_type, case.op, inputs.clone(), case.in_place).unwrap();
    let (plan, inputs, expected_len) = (Arc::new(plan), &inputs, expected[0].len());
    let got = world(case.ranks, |rank, mut engine| {
        let program = engine.resolve(plan.slice(Rank(rank))).unwrap();
        let input = &inputs[rank as usize];
        let block = expected_len
            / if case.collective == Collective::AllReduce { 1 } else { case.ranks as usize };
        let mut buffer = vec![0; input.len().max(expected_len)];
        let own = match case.collective {
            Collective::AllGather => rank as usize * block..rank as usize * block + input.len(),
            _ => 0..input.len(),
        };
        buffer[own].copy_from_slice(input);
        let mut recv = vec![0; expected_len];
        let buffers = if case.in_place {
            Buffers::InPlace(&mut buffer)
        } else {
            Buffers::OutOfPlace { send: input, recv: &mut recv }
        };
        let reducer = Reducer::select(case.data_type, case.op, case.ranks).ok();
        engine
            .run(Call { program: &program, map, reducer, buffers, limit: LIMIT, tag: 1 }, &|| false)
            .unwrap();
        if !case.in_place {
            return recv;
        }
        let start = if case.collective == Collective::ReduceScatter {
            rank as usize * expected_len
        } else {
            0
        };
        buffer[start..start + expected_len].to_vec()
    });
    (got, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_engines_bits_are_those_of_the_replay(case in case()) {
        let (got, expected) = run(&case);
        prop_assert_eq!(got, expected);
    }
}
