//! Receives are opened early in every plan, and never too early.

use core::num::NonZero;

use crosstie_ir::{
    Collective, ConnId, Instr, Lowering, Options, Plan, Rank, from_json, lower, open_early,
    to_json, verify,
};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};

const SLOTS: u32 = 8;

/// Every collective by every algorithm that suits it, on one to three nodes.
fn plans(ranks: u32, mut each: impl FnMut(&str, &Plan, bool)) {
    for nodes in 1..=ranks.min(3) {
        let nodes = Nodes::new((0..ranks).map(|r| r % nodes).collect()).expect("ranks");
        for collective in Collective::ALL.map(|c| c.with_root(Rank(ranks - 1))) {
            for &algorithm in Algorithm::of(collective) {
                if !algorithm.suits(collective, &nodes) {
                    continue;
                }
                for (channels, in_place) in [(1, false), (2, true)] {
                    let channels = NonZero::new(channels).expect("channels");
                    let nodes = &nodes;
                    let request = PlanRequest { collective, algorithm, nodes, channels, in_place };
                    each(algorithm.name(), &plan_world(&request), in_place);
                }
            }
        }
    }
}

fn grants(plan: &Plan) -> usize {
    plan.blocks.iter().flat_map(|block| &block.instrs).filter(|instr| instr.is_grant()).count()
}

#[test]
fn every_plan_whose_receives_are_opened_early_is_as_right_as_before() {
    let mut opened = 0;
    for ranks in 2..=5 {
        plans(ranks, |name, plan, in_place| {
            for slices in [1, 2] {
                let plan = lower(plan, &Lowering { slices });
                let options = Options::copy(SLOTS);
                let options = if in_place { options.in_place() } else { options };
                let Ok(before) = verify(&plan, &options) else { return };
                let mut before = before;
                before.in_place_safe = true;
                for ahead in [1, 2, 7] {
                    let early = open_early(&plan, ahead, in_place, &|_| true);
                    let mut after = verify(&early, &options).unwrap_or_else(|why| {
                        panic!("{name} of {ranks}, {ahead} ahead: {why}\n{}", to_json(&early))
                    });
                    // Opened for calls that are not in place.
                    after.in_place_safe = true;
                    assert_eq!(after, before, "{name} of {ranks} ranks");
                    opened += grants(&early);
                    let text = to_json(&early);
                    assert!(from_json(text.as_bytes()).expect("a plan") == early);
                }
                assert!(
                    open_early(&plan, 1, in_place, &|_| false) == plan,
                    "nothing goes over a network"
                );
                assert!(open_early(&plan, 0, in_place, &|_| true) == plan);
            }
        });
    }
    assert!(opened > 1000, "only {opened} receives are opened early");
}

#[test]
fn a_slice_is_opened_as_the_whole_plan_is() {
    plans(4, |name, plan, in_place| {
        let early = open_early(plan, 2, in_place, &|_| true);
        for rank in 0..4 {
            let slice = open_early(&plan.slice(Rank(rank)), 2, in_place, &|_| true);
            assert!(slice == early.slice(Rank(rank)), "{name}, rank {rank}");
        }
    });
}

#[test]
fn an_exchange_opens_the_next_window_while_it_waits_for_this_one() {
    let nodes = Nodes::new(vec![0, 1]).expect("ranks");
    let (collective, algorithm) = (Collective::AllToAll, Algorithm::Direct);
    let channels = NonZero::<u16>::MIN;
    let plan = plan_world(&PlanRequest {
        collective,
        algorithm,
        nodes: &nodes,
        channels,
        in_place: false,
    });
    let early = open_early(&plan, 1, false, &|ConnId(_)| true);
    for block in &early.blocks {
        if block.instrs.iter().any(|instr| instr.recv_port().is_some()) {
            let [grant, receive] = &block.instrs[..] else { panic!("{:?}", block.instrs) };
            assert!(grant.is_grant() && grant.is_ahead() && receive.is_granted());
            assert_eq!(grant.granted_port().and_then(|g| g.recv_port()), receive.recv_port());
        }
    }
    assert!(early.blocks.iter().flat_map(|b| &b.instrs).any(Instr::is_ahead));
}
