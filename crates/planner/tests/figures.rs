//! The figures in each algorithm's header, against what the verifier derives from its plans.

use core::num::NonZero;

use crosstie_ir::{Collective, Lowering, Options, Plan, Reject, Report, WaitFor, lower, verify};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};

const SLICES: u16 = 3;
const LARGEST_SLICED: u32 = 32;
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

fn proved(plan: &Plan, in_place: bool) -> Report {
    let options = Options::copy(SLOTS);
    let options = if in_place { options.in_place() } else { options };
    let what = |reject| format!("{} of {} ranks: {reject}", plan.collective.name(), plan.ranks);
    verify(plan, &options).map_err(what).expect("a planner's plan is right")
}

/// What a header promises for n ranks.
struct Promise {
    steps: u32,
    chunks_sent: u64,
    min_slots: u32,
    scratch_chunks: u32,
}

fn promise(collective: Collective, algorithm: Algorithm, n: u32, in_place: bool) -> Promise {
    let others = n - 1;
    let direct = |steps: u32, rounds: u32| Promise {
        steps,
        chunks_sent: u64::from(rounds * others),
        min_slots: others.min(1),
        scratch_chunks: 0,
    };
    let ring = |steps: u32, fused: bool| Promise {
        steps,
        chunks_sent: steps.into(),
        min_slots: if n == 1 { 0 } else { 1 + u32::from(fused) },
        scratch_chunks: 0,
    };
    match collective {
        Collective::AllReduce if algorithm == Algorithm::Direct => direct(2 * others.min(1), 2),
        Collective::ReduceScatter | Collective::AllGather if algorithm == Algorithm::Direct => {
            direct(others.min(1), 1)
        }
        Collective::ReduceScatter | Collective::AllGather => ring(others, n > 2),
        Collective::AllReduce => ring(2 * others, n > 1),
        Collective::AllToAll => Promise {
            steps: others.min(1),
            chunks_sent: others.into(),
            min_slots: others.min(1),
            scratch_chunks: if in_place { others } else { 0 },
        },
    }
}

/// Checks a plan of `channels` channels, lowered to `lowered` slices.
fn check(plan: &Plan, algorithm: Algorithm, in_place: bool, channels: u16, lowered: u16) {
    let slices = channels * lowered;
    let name = plan.collective.name();
    let what = format!("{algorithm:?} {name} of {}, in place: {in_place}", plan.ranks);
    let promise = promise(plan.collective, algorithm, plan.ranks, in_place);
    let report = proved(plan, in_place);
    assert_eq!(report.steps, promise.steps, "steps of {what}");
    assert_eq!(report.scratch_chunks, promise.scratch_chunks, "scratch of {what}");
    assert_eq!(report.slices, slices);
    for traffic in report.sent.iter().chain(&report.received) {
        let chunks = promise.chunks_sent * u64::from(slices);
        assert_eq!(traffic.slices, chunks, "slices of {what}");
    }
    assert!(report.bits_agree, "{what}");
    let reuses_input = plan.collective == Collective::AllToAll && !in_place && plan.ranks > 1;
    assert_eq!(report.in_place_safe, !reuses_input, "{what}");
    let is_ring =
        plan.collective != Collective::AllToAll && plan.ranks > 1 && algorithm == Algorithm::Ring;
    let more = if is_ring { u32::from(lowered) - 1 } else { 0 };
    assert_eq!(report.min_slots, promise.min_slots + more, "slots of {what}");
}

fn forms() -> impl Iterator<Item = (Algorithm, bool)> {
    Algorithm::ALL.into_iter().flat_map(|algorithm| [(algorithm, false), (algorithm, true)])
}

#[test]
fn headers_tell_the_truth_at_every_size() {
    for ranks in rank_counts() {
        let [nodes, ..] = assignments(ranks).map(|node_of| Nodes::new(node_of).unwrap());
        for collective in Collective::ALL {
            for (algorithm, in_place) in forms() {
                let (nodes, channels) = (&nodes, NonZero::<u16>::MIN);
                let request = PlanRequest { collective, algorithm, nodes, channels, in_place };
                let plan = plan_world(&request);
                check(&plan, algorithm, in_place, 1, 1);
                // Slices multiply what there is to verify; large worlds bring nothing new to them.
                if ranks <= LARGEST_SLICED {
                    let sliced = lower(&plan, &Lowering { slices: SLICES });
                    check(&sliced, algorithm, in_place, 1, SLICES);
                }
            }
        }
    }
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
    let Reject::Deadlock { slots: 1, waits } = &reject else { panic!("{reject}") };
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
        proved(&plan, false);
    }
}

#[test]
fn channels_and_nodes_change_no_figure() {
    for ranks in 1..=9 {
        for node_of in assignments(ranks) {
            let nodes = Nodes::new(node_of).unwrap();
            for collective in Collective::ALL {
                let channels = NonZero::new(2).unwrap();
                for algorithm in Algorithm::ALL {
                    let (nodes, in_place) = (&nodes, false);
                    let request = PlanRequest { collective, algorithm, nodes, channels, in_place };
                    let plan = plan_world(&request);
                    let channels = if collective == Collective::AllToAll { 1 } else { 2 };
                    check(&plan, algorithm, false, channels, 1);
                    let sliced = lower(&plan, &Lowering { slices: SLICES });
                    check(&sliced, algorithm, false, channels, SLICES);
                }
            }
        }
    }
}
