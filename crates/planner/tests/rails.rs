//! Rails and carriers follow the nodes alone, on any assignment of ranks, and carry every connection once.

use std::num::NonZero;

use crosstie_ir::{ChannelId, Rank};
use crosstie_planner::{Nodes, Rails, Route, route};
use proptest::prelude::*;

fn rails(node_of: &[u32], count: Option<u32>) -> (Nodes, Rails) {
    let nodes = Nodes::new(node_of.to_vec()).expect("at least one rank");
    let rails = Rails::new(&nodes, count.and_then(NonZero::new));
    (nodes, rails)
}

#[test]
fn two_nodes_of_four_share_one_wire_for_each_receiver() {
    let (nodes, rails) = rails(&[0, 0, 0, 0, 1, 1, 1, 1], None);
    assert_eq!(rails.count(), 4);
    let way = |src, dst| route(Rank(src), Rank(dst), ChannelId(0), &nodes, Some(&rails));
    assert_eq!(way(0, 5), Some(Route::Relayed(Rank(1))));
    assert_eq!(way(1, 5), Some(Route::Network));
    assert_eq!(way(6, 3), Some(Route::Relayed(Rank(7))));
    assert_eq!(way(0, 3), Some(Route::Local));
    let all: Vec<Rank> = (0..4).map(Rank).collect();
    assert_eq!(rails.carried(Rank(1), Rank(5)), all);
    assert_eq!(rails.carried(Rank(0), Rank(5)), []);
}

#[test]
fn fewer_rails_than_ranks_are_shared_and_a_nic_without_an_owner_is_not_used() {
    let (nodes, shared) = rails(&[0, 0, 0, 0, 1, 1, 1, 1], Some(2));
    let way = |src, dst| route(Rank(src), Rank(dst), ChannelId(0), &nodes, Some(&shared));
    assert_eq!([way(0, 6), way(2, 6)], [Some(Route::Network), Some(Route::Relayed(Rank(0)))]);
    let (nodes, small) = rails(&[0, 1, 1, 1], None);
    let way = |src, dst| route(Rank(src), Rank(dst), ChannelId(0), &nodes, Some(&small));
    assert_eq!([way(0, 3), way(3, 0)], [Some(Route::Network), Some(Route::Relayed(Rank(1)))]);
}

#[test]
fn rails_that_are_told_are_shared_and_owned_by_the_first_rank_of_a_node_on_them() {
    let nodes = Nodes::new(vec![0, 1, 0, 1, 0, 1]).expect("ranks");
    // Ranks 0 and 2 share rail 0; node 1 has none on rail 2.
    let rails = Rails::told(&nodes, 3, &[0, 1, 0, 0, 2, 1]);
    assert_eq!((rails.count(), Rails::told(&nodes, 1, &[0, 4]).count()), (3, 5));
    let owned: Vec<_> = (0..6).map(|rank| rails.owned_by(Rank(rank))).collect();
    assert_eq!(owned, [Some(0), Some(1), None, Some(0), Some(2), None]);
    let way = |src, dst| route(Rank(src), Rank(dst), ChannelId(0), &nodes, Some(&rails));
    assert_eq!(way(2, 3), Some(Route::Relayed(Rank(0))));
    assert_eq!(way(5, 2), Some(Route::Relayed(Rank(3))));
    assert_eq!([way(1, 4), way(2, 1)], [Some(Route::Network); 2], "nobody owns that NIC");
}

proptest! {
    #[test]
    fn every_connection_between_nodes_has_one_carrier_on_its_senders_node(
        node_of in proptest::collection::vec(0u32..4, 1..20),
        count in proptest::option::of(1u32..9),
        told in proptest::option::of(proptest::collection::vec(0u32..5, 20)),
    ) {
        let (nodes, rails) = rails(&node_of, count);
        let rails = told.map_or(rails, |told| Rails::told(&nodes, 1, &told));
        let ranks = || (0..node_of.len() as u32).map(Rank);
        for dst in ranks() {
            let mut seen = Vec::new();
            for carrier in ranks() {
                let carried = rails.carried(carrier, dst);
                prop_assert!(carried.is_sorted());
                // Who carries for others carries its own.
                prop_assert!(carried.is_empty() || carried.contains(&carrier));
                seen.extend(carried);
            }
            seen.sort_unstable();
            let others = ranks().filter(|&src| nodes.node_of(src) != nodes.node_of(dst));
            prop_assert_eq!(seen, others.collect::<Vec<_>>());
            for src in ranks().filter(|&src| nodes.node_of(src) != nodes.node_of(dst)) {
                let carrier = rails.carrier(src, dst).expect("both ranks exist");
                prop_assert_eq!(nodes.node_of(carrier), nodes.node_of(src));
                if carrier != src {
                    prop_assert_eq!(rails.rail_of(carrier), rails.rail_of(dst));
                }
            }
        }
    }
}
