//! Plans carried out on bytes by the reference semantics give what each collective is defined to
//! give, whatever the sizes, windows, slices, and whether in place.

use core::num::NonZero;

use crosstie_ir::{
    ChunkMap, Collective, DataType, Layout, Lowering, Plan, ReduceOp, Reject, lower, replay,
};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};

/// Elements of one rank's part; windows and slices that divide them, and that do not.
const PART_COUNTS: [u64; 4] = [0, 1, 5, 24];

fn world(
    collective: Collective,
    algorithm: Algorithm,
    ranks: u32,
    channels: u16,
    in_place: bool,
) -> Plan {
    let nodes = Nodes::new((0..ranks).map(|rank| rank % 2).collect()).expect("a rank");
    let channels = NonZero::new(channels).expect("a channel");
    plan_world(&PlanRequest { collective, algorithm, nodes: &nodes, channels, in_place })
}

fn map(collective: Collective, ranks: u32, part: u64, window: u64) -> ChunkMap {
    match collective {
        // Two elements more than the parts make, so that chunks differ in length.
        Collective::AllReduce => {
            let count = if part == 0 { 0 } else { part * u64::from(ranks) + 2 };
            ChunkMap::new(Layout::Split { chunks: ranks }, 4, count, window * u64::from(ranks))
        }
        _ => ChunkMap::new(Layout::Blocks { stride: part }, 4, part, window),
    }
}

fn inputs(plan: &Plan, map: &ChunkMap) -> Vec<Vec<i32>> {
    let elements = map.buffer_bytes(plan.collective.input_chunks(plan.ranks)) as i32 / 4;
    let input = |rank: i32| (0..elements).map(|at| rank * 1_000_003 + at * 17).collect();
    (0..plan.ranks as i32).map(input).collect()
}

/// What the collective is defined to give, written without plans.
fn expected(collective: Collective, inputs: &[Vec<i32>]) -> Vec<Vec<i32>> {
    let ranks = inputs.len();
    let part = inputs[0].len() / ranks;
    let sum = |at: usize| inputs.iter().map(|input| input[at]).fold(0, i32::wrapping_add);
    let sums: Vec<i32> = (0..inputs[0].len()).map(sum).collect();
    let output = |rank: usize| match collective {
        Collective::AllReduce => sums.clone(),
        Collective::ReduceScatter => sums[rank * part..][..part].to_vec(),
        Collective::AllGather => inputs.concat(),
        Collective::AllToAll => {
            inputs.iter().flat_map(|input| &input[rank * part..][..part]).copied().collect()
        }
    };
    (0..ranks).map(output).collect()
}

fn to_bytes(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn check(plan: &Plan, map: &ChunkMap, in_place: bool) {
    let inputs = inputs(plan, map);
    let bytes = inputs.iter().map(|input| to_bytes(input)).collect();
    let outputs = replay(plan, map, DataType::I32, ReduceOp::Sum, bytes, in_place);
    let outputs = outputs.expect("a right plan and whole inputs");
    let expected: Vec<Vec<u8>> =
        expected(plan.collective, &inputs).iter().map(|output| to_bytes(output)).collect();
    assert_eq!(outputs, expected, "{:?} {} {map:?} {in_place}", plan.collective, plan.ranks);
}

#[test]
fn plans_compute_what_their_collective_means() {
    for algorithm in Algorithm::ALL {
        for collective in Collective::ALL {
            for ranks in [1, 2, 3, 5, 8] {
                for (in_place, channels) in [(false, 1), (false, 3), (true, 1), (true, 3)] {
                    let plan = world(collective, algorithm, ranks, channels, in_place);
                    let lowered = lower(&plan, &Lowering { slices: 2 });
                    for part in PART_COUNTS {
                        for window in [part.max(1), 3] {
                            let map = map(collective, ranks, part, window);
                            check(&plan, &map, in_place);
                            check(&lowered, &map, in_place);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn inputs_that_are_missing_or_short_are_refused() {
    let plan = world(Collective::AllReduce, Algorithm::Ring, 2, 1, false);
    let map = map(Collective::AllReduce, 2, 4, 4);
    let run = |inputs| replay(&plan, &map, DataType::I32, ReduceOp::Sum, inputs, false);
    let missing = run(vec![vec![0; 40]]);
    assert_eq!(missing, Err(Reject::Inputs { expected: 2, actual: 1 }));
    let short = run(vec![vec![0; 40], vec![0; 39]]);
    assert!(matches!(short, Err(Reject::InputBytes { expected: 40, actual: 39, .. })), "{short:?}");
}
