//! The figures in each algorithm's header, against what the verifier derives from its plans.

use core::num::NonZero;

use crosstie_ir::{
    ChunkMap, Class, Collective, Connection, DataType, Layout, Lowering, Options, Plan, Rank,
    ReduceOp, Reject, Report, WaitFor, lower, replay, verify,
};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};

const SLICES: u16 = 3;
const LARGEST_SLICED: u32 = 17;
const LARGEST_SLICED_TWICE: u32 = 9;
/// Enough for any plan here: what it needs is asserted, not this.
const SLOTS: u32 = 16;

fn rank_counts() -> impl Iterator<Item = u32> {
    (1..=17).chain([32, 64, 128])
}

/// One node; nodes of four, the last one smaller; every other rank on the other node.
fn assignments(ranks: u32) -> [Vec<u32>; 3] {
    [
        vec![0; ranks as usize],
        (0..ranks).map(|r| r / 4).collect(),
        (0..ranks).map(|r| r % 2).collect(),
    ]
}

fn proved(plan: &Plan, in_place: bool, class: Class) -> Report {
    let options = Options { class, in_place, ..Options::copy(SLOTS) };
    let what = |reject| format!("{:?} of {} ranks: {reject}", plan.collective, plan.ranks);
    verify(plan, &options).map_err(what).expect("a planner's plan is right")
}

/// What a header promises for a world.
struct Promise {
    steps: Option<u32>,
    /// Chunks sent by all ranks together.
    chunks_sent: u64,
    min_slots: Option<u32>,
    scratch_chunks: u32,
}

fn promise(collective: Collective, algorithm: Algorithm, nodes: &Nodes, in_place: bool) -> Promise {
    let n = nodes.ranks();
    let others = n - 1;
    let flat = |steps: u32, by_all: u32| Promise {
        steps: Some(if n == 1 { 0 } else { steps }),
        chunks_sent: by_all.into(),
        min_slots: Some(others.min(1)),
        scratch_chunks: 0,
    };
    let ring = |steps: u32, fused: bool| Promise {
        steps: Some(steps),
        chunks_sent: u64::from(steps * n),
        min_slots: Some(if n == 1 { 0 } else { 1 + u32::from(fused) }),
        scratch_chunks: 0,
    };
    let depth = 1 + others.max(1).ilog2();
    let scratch = |scratch_chunks, promise| Promise { scratch_chunks, ..promise };
    match (algorithm, collective) {
        (Algorithm::Direct, Collective::AllReduce) => flat(2, 2 * n * others),
        (Algorithm::Direct, Collective::ReduceScatter | Collective::AllGather) => {
            flat(1, n * others)
        }
        (Algorithm::Direct, Collective::AllToAll) => {
            scratch(if in_place { others } else { 0 }, flat(1, n * others))
        }
        (Algorithm::Direct, _) => flat(1, others),
        (Algorithm::Ring, Collective::AllReduce) => ring(2 * others, n > 1),
        (Algorithm::Ring, _) => ring(others, n > 2),
        (Algorithm::Flat, _) => scratch(u32::from(n > 2), flat(1, n * others)),
        (Algorithm::Tree, Collective::Broadcast { .. }) => flat(depth, 2 * others),
        (Algorithm::Tree, Collective::Reduce { .. }) => scratch(0, flat(depth, 2 * others)),
        (Algorithm::Tree, Collective::Barrier) => flat(2 * depth, 2 * others),
        (Algorithm::Tree, _) => flat(2 * depth, 4 * others),
        (Algorithm::Hierarchical, _) => hierarchical(collective, nodes, in_place),
        (Algorithm::Pat, _) => flat(n.ilog2(), n * others),
        (Algorithm::Canonical, Collective::AllReduce) => {
            Promise { steps: None, min_slots: None, ..scratch(0, flat(0, 2 * n * others)) }
        }
        (Algorithm::Canonical, Collective::ReduceScatter) => {
            Promise { steps: None, min_slots: None, ..scratch(0, flat(0, n * others)) }
        }
        (Algorithm::Canonical, _) => Promise { steps: None, ..scratch(0, flat(0, others)) },
        (_, _) => unreachable!("an algorithm without a header"),
    }
}

fn hierarchical(collective: Collective, nodes: &Nodes, in_place: bool) -> Promise {
    let (n, count) = (nodes.ranks(), nodes.count());
    let chunks = |steps, chunks_sent: u32, scratch_chunks| Promise {
        steps: Some(steps),
        chunks_sent: chunks_sent.into(),
        min_slots: Some(1),
        scratch_chunks,
    };
    let m = nodes.per_node().unwrap_or(0);
    let alone = u32::from(m == 1);
    let each = (count - 1) + count * m.saturating_sub(1);
    match collective {
        Collective::AllReduce => chunks(4 - 2 * alone, 2 * n * each, 0),
        Collective::ReduceScatter => chunks(2 - alone, n * each, if m > 2 { count - 1 } else { 0 }),
        Collective::AllGather => chunks(2 - alone, n * each, 0),
        Collective::AllToAll => {
            let saved = if in_place { n - 1 } else { 0 };
            let scratch = (count - 1) * (m - 1) + saved;
            chunks(2 - alone, n * ((count - 1) * m + count * (m - 1)), scratch)
        }
        _ => {
            let root = nodes.node_of(collective.root().expect("a rooted collective"));
            let elsewhere = (0..n).filter(|&rank| nodes.node_of(Rank(rank)) != root).count() as u32;
            chunks(if elsewhere == count - 1 { 1 } else { 2 }, n - 1, 0)
        }
    }
}

/// Whether a plan needs scratch for partial sums depends on who has how many to add up: an upper
/// bound is promised.
fn check_scratch(report: &Report, promise: &Promise, algorithm: Algorithm, plan: &Plan) {
    let (sums, ranks) = (report.scratch_chunks, plan.ranks);
    let limit = match (algorithm, plan.collective) {
        (Algorithm::Tree, Collective::Reduce { .. }) => 2,
        (Algorithm::Hierarchical, Collective::Reduce { .. }) => 1,
        (Algorithm::Canonical, Collective::Reduce { .. }) => 1,
        (Algorithm::Canonical, _) | (Algorithm::Pat, Collective::ReduceScatter) => ranks,
        _ => return assert_eq!(sums, promise.scratch_chunks, "{algorithm:?} {plan:?}"),
    };
    assert!(sums <= limit, "scratch of {algorithm:?} {:?}: {sums}", plan.collective);
}

/// Checks a plan of `channels` channels, lowered to `lowered` slices.
fn check(
    plan: &Plan,
    algorithm: Algorithm,
    nodes: &Nodes,
    in_place: bool,
    channels: u16,
    lowered: u16,
) {
    let slices = channels * lowered;
    let what = format!(
        "{algorithm:?} {:?} on {:?}, in place: {in_place}",
        plan.collective,
        nodes.assignment()
    );
    let promise = promise(plan.collective, algorithm, nodes, in_place);
    let report = proved(plan, in_place, Class::Copy);
    proved(plan, in_place, Class::Lend);
    if let Some(steps) = promise.steps {
        assert_eq!(report.steps, steps, "steps of {what}");
    }
    check_scratch(&report, &promise, algorithm, plan);
    assert_eq!(report.slices, slices);
    let sent: u64 = report.sent.iter().map(|traffic| traffic.slices).sum();
    assert_eq!(sent, promise.chunks_sent * u64::from(slices), "slices of {what}");
    assert!(report.bits_agree, "{what}");
    let reuses_input = plan.collective == Collective::AllToAll && !in_place && plan.ranks > 1;
    assert_eq!(report.in_place_safe, !reuses_input, "{what}");
    let is_ring = algorithm == Algorithm::Ring && plan.ranks > 1;
    let more = if is_ring { u32::from(lowered) - 1 } else { 0 };
    if let Some(min_slots) = promise.min_slots
        && lowered == 1
    {
        assert_eq!(report.min_slots, min_slots + more, "slots of {what}");
    }
}

/// Every collective with every algorithm that suits it, rooted ones around a few roots.
fn forms(nodes: &Nodes) -> Vec<(Collective, Algorithm)> {
    let last = nodes.ranks() - 1;
    let mut roots = vec![0, last / 2, last];
    roots.dedup();
    let mut forms = Vec::new();
    for collective in Collective::ALL {
        let roots = if collective.root().is_some() { &roots[..] } else { &[0] };
        for &root in roots {
            let collective = collective.with_root(Rank(root));
            let all = Algorithm::of(collective).iter();
            let suited = all.filter(|algorithm| algorithm.suits(collective, nodes));
            forms.extend(suited.map(|&algorithm| (collective, algorithm)));
        }
    }
    forms
}

fn planned(
    collective: Collective,
    algorithm: Algorithm,
    nodes: &Nodes,
    channels: u16,
    in_place: bool,
) -> Plan {
    let channels = NonZero::new(channels).expect("a channel");
    plan_world(&PlanRequest { collective, algorithm, nodes, channels, in_place })
}

#[test]
fn headers_tell_the_truth_at_every_size() {
    for ranks in rank_counts() {
        // Nodes of four too: only there are the hierarchical forms.
        for node_of in &assignments(ranks)[..if ranks <= LARGEST_SLICED { 2 } else { 1 }] {
            let nodes = Nodes::new(node_of.clone()).unwrap();
            for (collective, algorithm) in forms(&nodes) {
                for in_place in [false, true] {
                    let plan = planned(collective, algorithm, &nodes, 1, in_place);
                    check(&plan, algorithm, &nodes, in_place, 1, 1);
                    // Slices multiply what there is to verify; large worlds bring nothing new.
                    if ranks <= LARGEST_SLICED_TWICE {
                        let sliced = lower(&plan, &Lowering { slices: SLICES });
                        check(&sliced, algorithm, &nodes, in_place, 1, SLICES);
                    }
                }
            }
        }
    }
}

#[test]
fn the_canonical_order_is_the_same_on_any_nodes() {
    for ranks in 1..=9 {
        for collective in [Collective::AllReduce, Collective::ReduceScatter] {
            let sums = assignments(ranks).map(|node_of| {
                let nodes = Nodes::new(node_of).unwrap();
                let plan = planned(collective, Algorithm::Canonical, &nodes, 1, false);
                bits(&plan)
            });
            assert_eq!(sums[0], sums[1], "{collective:?} of {ranks}");
            assert_eq!(sums[0], sums[2], "{collective:?} of {ranks}");
        }
    }
}

#[test]
fn the_canonical_order_is_the_same_for_every_reducing_collective() {
    for ranks in 2..=9 {
        let nodes = Nodes::new(vec![0; ranks]).unwrap();
        let all = bits(&planned(Collective::AllReduce, Algorithm::Canonical, &nodes, 1, false));
        for root in 0..ranks as u32 {
            let collective = Collective::Reduce { root: Rank(root) };
            let one = bits(&planned(collective, Algorithm::Canonical, &nodes, 1, false));
            assert_eq!(one[root as usize], all[0], "{ranks} {root}");
        }
    }
}

/// Every rank's result of reducing f32 numbers whose sums depend on the order.
fn bits(plan: &Plan) -> Vec<Vec<u8>> {
    const COUNT: u64 = 45;
    let ranks = plan.ranks as u64;
    let whole = plan.collective.is_whole();
    let map = if whole {
        ChunkMap::new(Layout::Split { chunks: plan.parts }, 4, COUNT, COUNT)
    } else {
        ChunkMap::new(Layout::Blocks { stride: COUNT }, 4, COUNT, COUNT)
    };
    let elements = if whole { COUNT } else { COUNT * ranks };
    let value = |rank: u64, at: u64| {
        let mixed = (rank * 2_654_435_761 + at * 40_503 + 12_345) % 1_000_003;
        (mixed as f32 - 500_000.0) * 1.1f32.powi((at % 60) as i32)
    };
    let input = |rank| (0..elements).flat_map(|at| value(rank, at).to_le_bytes()).collect();
    let inputs = (0..ranks).map(input).collect();
    replay(plan, &map, DataType::F32, ReduceOp::Sum, inputs, false)
        .expect("a right plan and whole inputs")
}

#[test]
fn a_fused_ring_with_one_slot_deadlocks_with_everyone_waiting_for_a_slot() {
    let nodes = Nodes::new(vec![0; 4]).unwrap();
    let plan = plan_world(&PlanRequest {
        collective: Collective::AllReduce,
        algorithm: Algorithm::Ring,
        nodes: &nodes,
        channels: NonZero::<u16>::MIN,
        in_place: false,
    });
    let reject = verify(&plan, &Options::copy(1)).unwrap_err();
    let Reject::Slots { needed: 2, there: 1, waits } = &reject else { panic!("{reject}") };
    assert_eq!(waits.len(), 4);
    for wait in waits {
        assert_eq!(wait.event.site.step, 1, "each has sent once: {reject}");
        assert!(matches!(wait.wait_for, WaitFor::Slot(_)), "{reject}");
    }
}

#[test]
fn the_in_place_exchange_is_right_out_of_place_too() {
    for ranks in 1..=9 {
        let nodes = Nodes::new(vec![0; ranks]).unwrap();
        let plan = plan_world(&PlanRequest {
            collective: Collective::AllToAll,
            algorithm: Algorithm::Direct,
            nodes: &nodes,
            channels: NonZero::<u16>::MIN,
            in_place: true,
        });
        proved(&plan, false, Class::Copy);
    }
}

#[test]
fn channels_and_nodes_change_no_figure() {
    for ranks in 1..=9 {
        for node_of in assignments(ranks) {
            let nodes = Nodes::new(node_of).unwrap();
            for (collective, algorithm) in forms(&nodes) {
                let plan = planned(collective, algorithm, &nodes, 2, false);
                let channels = plan.blocks.iter().flat_map(|block| &block.instrs);
                let channels = channels.map(|instr| instr.slices()).max().unwrap_or(1);
                let cut = matches!(
                    collective,
                    Collective::AllReduce | Collective::AllGather | Collective::ReduceScatter
                );
                let whole = matches!(algorithm, Algorithm::Flat | Algorithm::Canonical);
                assert_eq!(channels, if cut && !whole { 2 } else { 1 }, "{collective:?}");
                check(&plan, algorithm, &nodes, false, channels, 1);
            }
        }
    }
}

/// Where nodes are equal, algorithms that know of them send between counterparts alone, so on one rail, and
/// no more than their headers say.
#[test]
fn between_nodes_chunks_go_to_counterparts_alone() {
    for (count, each) in [(2, 2), (2, 4), (3, 4), (4, 1), (5, 2), (4, 8)] {
        let ranks = count * each;
        let apart =
            [(0..ranks).map(|r| r / each).collect(), (0..ranks).map(|r| r % count).collect()];
        for (nodes, in_place) in apart.into_iter().zip([false, true]) {
            let nodes = Nodes::new(nodes).unwrap();
            let others = u64::from(count - 1);
            for (collective, algorithm, chunks) in [
                (Collective::AllReduce, Algorithm::Hierarchical, 2 * others),
                (Collective::ReduceScatter, Algorithm::Hierarchical, others),
                (Collective::AllGather, Algorithm::Hierarchical, others),
                (Collective::AllToAll, Algorithm::Hierarchical, others * u64::from(each)),
                (Collective::ReduceScatter, Algorithm::Pat, others),
                (Collective::AllGather, Algorithm::Pat, others),
            ] {
                let plan = planned(collective, algorithm, &nodes, 1, in_place);
                let between = between_nodes(&plan, &nodes, in_place);
                assert_eq!(between, vec![chunks; ranks as usize], "{algorithm:?} {collective:?}");
            }
        }
    }
}

/// By rank the chunks that it sends to other nodes, where to counterparts alone.
fn between_nodes(plan: &Plan, nodes: &Nodes, in_place: bool) -> Vec<u64> {
    let place = |rank| {
        let on_node = |other: &&Rank| nodes.node_of(**other) == nodes.node_of(rank);
        nodes.ring().iter().filter(on_node).position(|&other| other == rank)
    };
    let mut sent = vec![0; plan.ranks as usize];
    let report = proved(plan, in_place, Class::Lend);
    for (connection, traffic) in plan.connections.iter().zip(&report.connections) {
        let Connection { src, dst, .. } = *connection;
        if nodes.node_of(src) != nodes.node_of(dst) {
            assert_eq!(place(src), place(dst), "{src} to {dst}");
            sent[src.0 as usize] += traffic.slices;
        }
    }
    sent
}
