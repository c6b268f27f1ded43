//! The engine's bits are those of the plan's reference semantics, whatever the size, type,
//! operation and slicing.

use std::sync::Arc;

use crate::common::{LIMIT, LIMITS, nodes, whole_plan, world};
use crosstie_exec::{Buffers, Call, Reducer};
use crosstie_ir::{
    ChunkMap, Collective, DataType, Layout, Lowering, Plan, Rank, ReduceOp, Space, exact, lower,
    replay,
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
    let what =
        (1u32..=6, any::<prop::sample::Index>(), 0..DataType::ALL.len(), 0..ReduceOp::ALL.len());
    let how = (prop_oneof![0u64..20, 0u64..3000], 1u16..=4, any::<(u8, u8)>(), any::<u64>());
    (what, how).prop_map(|((ranks, collective, data_type, op), how)| {
        let (count, slices, (algorithm, form), seed) = how;
        let root = Rank(u32::from(form >> 1) % ranks);
        let collective = collective.get(&Collective::ALL).with_root(root);
        let nodes = nodes(ranks);
        let algorithms = Algorithm::of(collective).iter();
        let suited: Vec<_> = algorithms.filter(|a| a.suits(collective, &nodes)).collect();
        Case {
            ranks,
            collective,
            algorithm: *suited[usize::from(algorithm) % suited.len()],
            data_type: DataType::ALL[data_type],
            op: ReduceOp::ALL[op],
            count,
            slices,
            in_place: form & 1 == 1,
            seed,
        }
    })
}

impl Case {
    fn map(&self, plan: &Plan) -> ChunkMap {
        let size = self.data_type.size();
        let message = (LIMITS.slot_bytes / size) as u64;
        if self.collective.is_whole() {
            let layout = Layout::Split { chunks: plan.parts };
            ChunkMap::new(layout, size, self.count, message * u64::from(plan.parts))
        } else {
            ChunkMap::new(Layout::Blocks { stride: self.count }, size, self.count, message)
        }
    }

    /// Arbitrary bits: not-a-numbers, infinities and subnormals among them.
    fn inputs(&self, plan: &Plan, map: &ChunkMap) -> Vec<Vec<u8>> {
        let mut state = self.seed | 1;
        let mut byte = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        let bytes = |rank| map.buffer_bytes(Space::Input, plan.input_chunks(Rank(rank))) as usize;
        (0..self.ranks).map(|rank| (0..bytes(rank)).map(|_| byte()).collect()).collect()
    }

    /// The same call as `exact` knows it: where in one buffer both sides of it lie.
    fn sides(&self) -> exact::Case {
        let Self { collective, data_type: dtype, op, ranks, .. } = *self;
        exact::Case { collective, dtype, op, ranks, count: self.count as usize }
    }
}

fn run(case: &Case) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let plan = whole_plan(case.collective, case.algorithm, case.in_place, case.ranks);
    let map = case.map(&plan);
    let plan = lower(&plan, &Lowering { slices: case.slices });
    let inputs = case.inputs(&plan, &map);
    let expected =
        replay(&plan, &map, case.data_type, case.op, inputs.clone(), case.in_place).unwrap();
    let (plan, inputs, expected_of) = (Arc::new(plan), &inputs, &expected);
    let got = world(case.ranks, |rank, mut engine| {
        let program = engine.resolve(plan.slice(Rank(rank))).unwrap();
        let (input, sides) = (&inputs[rank as usize], case.sides());
        let mut buffer = vec![0; sides.in_place_bytes_of(rank)];
        buffer[sides.input_in_place(rank)].copy_from_slice(input);
        let mut recv = vec![0; expected_of[rank as usize].len()];
        let buffers = if case.in_place {
            Buffers::InPlace(&mut buffer)
        } else {
            Buffers::OutOfPlace { send: input, recv: &mut recv }
        };
        let combines = case.collective.reduces() || case.collective == Collective::Barrier;
        let reducer = Reducer::select(case.data_type, case.op, case.ranks).ok();
        let reducer = reducer.filter(|_| combines);
        let map = map.clone();
        engine
            .run(Call { program: &program, map, reducer, buffers, limit: LIMIT, tag: 1 }, &|| false)
            .unwrap();
        if case.in_place { buffer[sides.output_in_place(rank)].to_vec() } else { recv }
    });
    (got, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_engines_bits_are_those_of_the_replay(case in case()) {
        let (got, expected) = run(&case);
        prop_assert_eq!(got, expected);
    }
}
