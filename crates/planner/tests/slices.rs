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
        for collective in Collective::ALL {
            for (algorithm, channels, in_place) in [
                (Algorithm::Ring, 1, false),
                (Algorithm::Ring, 3, true),
                (Algorithm::Direct, 1, true),
                (Algorithm::Direct, 3, false),
            ] {
                let channels = NonZero::new(channels).unwrap();
                let request =
                    PlanRequest { collective, algorithm, nodes: &nodes, channels, in_place };
                let world = plan_world(&request);
                let own: Vec<Plan> =
                    (0..nodes.ranks()).map(|rank| plan(&request, Rank(rank))).collect();
                for (rank, own) in (0..).zip(&own) {
                    let slice = world.slice(Rank(rank));
                    assert_eq!(&slice, own, "{collective:?} rank {rank} of {node_of:?}");
                    assert_eq!(fingerprint(&slice), fingerprint(own));
                }
                assert_eq!(Plan::merge(&own).unwrap(), world);
            }
        }
    }
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
