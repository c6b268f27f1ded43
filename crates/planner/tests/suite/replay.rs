//! Plans carried out on bytes by the reference semantics give what each collective is defined to
//! give, whatever the sizes, windows, slices, and whether in place.

use core::num::NonZero;

use crosstie_ir::{
    ChunkMap, Collective, DataType, Layout, Lowering, Plan, Rank, ReduceOp, Reject, Space, lower,
    replay,
};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};

/// Elements of one rank's part; windows and slices that divide them, and that do not.
const PART_COUNTS: [u64; 4] = [0, 1, 5, 24];

fn world(
    collective: Collective,
    algorithm: Algorithm,
    nodes: &Nodes,
    channels: u16,
    in_place: bool,
) -> Plan {
    let channels = NonZero::new(channels).expect("a channel");
    plan_world(&PlanRequest { collective, algorithm, nodes, channels, in_place })
}

fn map(plan: &Plan, part: u64, window: u64) -> ChunkMap {
    if !plan.collective.is_whole() {
        return ChunkMap::new(Layout::Blocks { stride: part }, 4, part, window);
    }
    // Two elements more than the parts make, so that chunks differ in length.
    let count = if part == 0 { 0 } else { part * u64::from(plan.ranks) + 2 };
    let layout = Layout::Split { chunks: plan.parts };
    ChunkMap::new(layout, 4, count, window * u64::from(plan.parts))
}

fn inputs(plan: &Plan, map: &ChunkMap) -> Vec<Vec<i32>> {
    let input = |rank: u32| {
        let bytes = map.buffer_bytes(Space::Input, plan.input_chunks(Rank(rank)));
        (0..bytes as i32 / 4).map(|at| rank as i32 * 1_000_003 + at * 17).collect()
    };
    (0..plan.ranks).map(input).collect()
}

/// What the collective is defined to give, written without plans.
fn expected(collective: Collective, inputs: &[Vec<i32>]) -> Vec<Vec<i32>> {
    let ranks = inputs.len();
    let len = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let part = len / ranks;
    let sums = || -> Vec<i32> {
        let sum = |at: usize| inputs.iter().map(|input| input[at]).fold(0, i32::wrapping_add);
        (0..len).map(sum).collect()
    };
    let root = collective.root().map_or(0, |root| root.0 as usize);
    let only_root = |rank: usize, output: Vec<i32>| if rank == root { output } else { vec![] };
    let output = |rank: usize| match collective {
        Collective::AllReduce | Collective::Barrier => sums(),
        Collective::ReduceScatter => sums()[rank * part..][..part].to_vec(),
        Collective::AllGather => inputs.concat(),
        Collective::AllToAll => {
            inputs.iter().flat_map(|input| &input[rank * part..][..part]).copied().collect()
        }
        Collective::Broadcast { .. } => inputs[root].clone(),
        Collective::Scatter { .. } => inputs[root][rank * part..][..part].to_vec(),
        Collective::Reduce { .. } => only_root(rank, sums()),
        Collective::Gather { .. } => only_root(rank, inputs.concat()),
        Collective::SendRecv => unreachable!("a group has no definition of its own"),
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
    for (ranks, root) in [(1, 0), (2, 1), (3, 1), (5, 0), (8, 6)] {
        let nodes = Nodes::new((0..ranks).map(|rank| rank % 2).collect()).expect("a rank");
        for collective in Collective::ALL.map(|collective| collective.with_root(Rank(root))) {
            let algorithms = Algorithm::of(collective).iter();
            for &algorithm in algorithms.filter(|a| a.suits(collective, &nodes)) {
                for (in_place, channels) in [(false, 1), (false, 3), (true, 1), (true, 3)] {
                    let plan = world(collective, algorithm, &nodes, channels, in_place);
                    let lowered = lower(&plan, &Lowering { slices: 2 });
                    for part in PART_COUNTS {
                        for window in [part.max(1), 3] {
                            let map = map(&plan, part, window);
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
    let nodes = Nodes::new(vec![0, 0]).expect("a rank");
    let plan = world(Collective::AllReduce, Algorithm::Ring, &nodes, 1, false);
    let map = map(&plan, 4, 4);
    let run = |inputs| replay(&plan, &map, DataType::I32, ReduceOp::Sum, inputs, false);
    let missing = run(vec![vec![0; 40]]);
    assert_eq!(missing, Err(Reject::Inputs { expected: 2, actual: 1 }));
    let short = run(vec![vec![0; 40], vec![0; 39]]);
    assert!(matches!(short, Err(Reject::InputBytes { expected: 40, actual: 39, .. })), "{short:?}");
}
