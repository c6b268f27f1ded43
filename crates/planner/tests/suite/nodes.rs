//! Rings, routes and the inputs fingerprint follow the assignment of ranks to nodes, whatever it is.

use crosstie_ir::{ChannelId, Rank};
use crosstie_planner::{Nodes, NodesError, Route, inputs_fingerprint, route};

fn nodes(node_of: &[u32]) -> Nodes {
    Nodes::new(node_of.to_vec()).expect("at least one rank")
}

#[test]
fn routes_follow_the_nodes_of_any_assignment() {
    let nodes = nodes(&[5, 2, 5, 5, 2]);
    let way = |src, dst| route(Rank(src), Rank(dst), ChannelId(0), &nodes, None);
    assert_eq!(way(0, 3), Some(Route::Local));
    assert_eq!(way(0, 1), Some(Route::Network));
    assert_eq!(way(1, 4), Some(Route::Local));
    assert_eq!(way(2, 2), None);
    assert_eq!(way(0, 5), None);
}

#[test]
fn rings_go_node_by_node_in_order_of_rank() {
    let ring: Vec<u32> = nodes(&[9, 1, 9, 4, 1]).ring().iter().map(|rank| rank.0).collect();
    assert_eq!(ring, [0, 2, 1, 4, 3]);
}

#[test]
fn a_ring_that_does_not_pass_each_rank_once_is_refused() {
    let ring = |order: &[u32]| order.iter().copied().map(Rank).collect::<Vec<_>>();
    let with = |order: &[u32]| nodes(&[0, 0, 1]).with_rings(&[ring(&[2, 0, 1]), ring(order)]);
    for order in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[0, 1, 2, 0]] {
        assert_eq!(with(order), Err(NodesError::Order { number: 1 }), "{order:?}");
    }
    let nodes = with(&[1, 2, 0]).expect("two rings");
    assert_eq!(nodes.rings().map(<[Rank]>::to_vec).collect::<Vec<_>>()[1], ring(&[1, 2, 0]));
}

#[test]
fn worlds_that_no_plan_can_name_are_refused() {
    assert_eq!(Nodes::new(Vec::new()), Err(NodesError::NoRanks));
    let ranks = Nodes::MAX_RANKS + 1;
    assert_eq!(Nodes::new(vec![0; ranks]), Err(NodesError::TooManyRanks { ranks }));
}

#[test]
fn whatever_plans_are_made_from_shows_in_the_fingerprint() {
    let world = nodes(&[0, 0, 1, 1]);
    let settings = [("channels", "2"), ("slices", "4")];
    let fingerprint = inputs_fingerprint(&world, settings);
    let reordered = [("slices", "4"), ("channels", "2")];
    assert_eq!(inputs_fingerprint(&world, reordered), fingerprint);
    let others = [
        inputs_fingerprint(&nodes(&[0, 1, 0, 1]), settings),
        inputs_fingerprint(&nodes(&[0, 0, 1]), settings),
        inputs_fingerprint(&world, [("channels", "2")]),
        inputs_fingerprint(&world, [("channels", "24"), ("slices", "")]),
        inputs_fingerprint(&world, [("channels", "24"), ("slice", "s")]),
    ];
    assert!(others.iter().all(|other| *other != fingerprint));
    let rings = world.with_rings(&[[3, 1, 2, 0].map(Rank).to_vec()]).expect("a ring");
    assert_ne!(inputs_fingerprint(&rings, settings), fingerprint);
}

#[test]
fn nodes_of_equal_size_know_it() {
    for (node_of, expected) in [
        (vec![0], Some(1)),
        (vec![4, 4, 9, 9], Some(2)),
        (vec![0, 1, 2, 0, 1, 2], Some(2)),
        (vec![0, 0, 1], None),
    ] {
        assert_eq!(Nodes::new(node_of).unwrap().per_node(), expected);
    }
}
