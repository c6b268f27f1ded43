//! A rank's own plan is its slice of the world's, and the slices make the world's again.

use core::num::NonZero;

use crosstie_ir::{Collective, Plan, Rank, fingerprint};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan, plan_world};

fn assignments() -> Vec<Vec<u32>> {
    let mut all: Vec<Vec<u32>> = (1..=9).map(|n| vec![0; n]).collect();
    all.push(vec![0, 0, 0, 0, 1, 1, 1, 1]);
    all.push(vec![0, 1, 0, 1, 0, 1]);
    all.push(vec![7, 7, 3, 7, 3, 9, 9]);
    all
}

#[test]
fn a_rank_plans_its_slice_of_the_world() {
    for node_of in assignments() {
        let nodes = Nodes::new(node_of.clone()).unwrap();
        let root = Rank(nodes.ranks() / 2);
        for collective in Collective::ALL.map(|collective| collective.with_root(root)) {
            for (&algorithm, (channels, in_place)) in
                Algorithm::of(collective).iter().zip([(1, false), (3, true)].into_iter().cycle())
            {
                let channels = NonZero::new(channels).unwrap();
                let request =
                    PlanRequest { collective, algorithm, nodes: &nodes, channels, in_place };
                check_slices(&request);
            }
        }
    }
}

fn check_slices(request: &PlanRequest<'_>) {
    let world = plan_world(request);
    let own: Vec<Plan> = (0..request.nodes.ranks()).map(|rank| plan(request, Rank(rank))).collect();
    for (rank, own) in (0..).zip(&own) {
        let slice = world.slice(Rank(rank));
        assert_eq!(&slice, own, "rank {rank} of {request:?}");
        assert_eq!(fingerprint(&slice), fingerprint(own));
    }
    assert_eq!(Plan::merge(&own).expect("slices of one plan"), world);
}

#[test]
fn a_ring_crosses_between_nodes_once_per_node() {
    for node_of in assignments() {
        let nodes = Nodes::new(node_of).unwrap();
        let ring = nodes.ring();
        let after = ring.iter().cycle().skip(1);
        let crossing = |(a, b): &(&Rank, &Rank)| nodes.node_of(**a) != nodes.node_of(**b);
        let crossings = ring.iter().zip(after).filter(crossing).count() as u32;
        assert_eq!(crossings, if nodes.count() == 1 { 0 } else { nodes.count() });
    }
}
