//! What is chosen suits, is the same for all ranks, and obeys what was asked for.

use crosstie_ir::{Collective, Rank};
use crosstie_planner::cost::{Entry, Links, Point, Provenance, Shape, Tune};
use crosstie_planner::{Algorithm, Basis, ChoiceWhy, Nodes, Reach, ReductionOrder, Selection};

fn basis(reach: Reach, built_in: &Tune) -> Basis<'_> {
    let links = if reach == Reach::Network { Links::NETWORK } else { Links::HOST };
    let (forced, order) = (None, ReductionOrder::Fast);
    Basis { reach, links, forced, order, relays: false, told: None, built_in: Some(built_in) }
}

fn worlds() -> impl Iterator<Item = Nodes> {
    let one = (1..=20u32).map(|ranks| vec![0; ranks as usize]);
    let equal = (1..=5u32).map(|nodes| (0..nodes * 3).map(|rank| rank % nodes).collect());
    let unequal = [vec![0, 0, 1], vec![7, 3, 7, 7]];
    one.chain(equal).chain(unequal).map(|node_of| Nodes::new(node_of).expect("a rank"))
}

fn bases(built_in: &Tune) -> impl Iterator<Item = Basis<'_>> {
    let forced = core::iter::once(None).chain(Algorithm::ALL.map(Some));
    forced.flat_map(move |forced| {
        [Reach::Memory, Reach::Nodes, Reach::Network].into_iter().flat_map(move |reach| {
            [ReductionOrder::Fast, ReductionOrder::Canonical].into_iter().flat_map(move |order| {
                let all = Basis { forced, order, ..basis(reach, built_in) };
                [all, Basis { built_in: None, ..all }, Basis { relays: true, ..all }]
            })
        })
    })
}

#[test]
fn what_is_chosen_suits_the_call_and_the_nodes() {
    let built_in = Tune::built_in();
    for nodes in worlds() {
        for basis in bases(&built_in) {
            let selection = Selection::new(&nodes, &basis);
            for collective in Collective::ALL.map(|c| c.with_root(Rank(nodes.ranks() - 1))) {
                for bytes in [0, 1, 1 << 12, 1 << 16, 1 << 20, u64::MAX] {
                    let chosen = selection.algorithm(collective, bytes);
                    assert!(chosen.suits(collective, &nodes), "{chosen:?} {collective:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_forced_is_taken_where_it_suits_and_the_canonical_order_before_all() {
    let built_in = Tune::built_in();
    let nodes = Nodes::new(vec![0, 0, 1, 1]).expect("ranks");
    for algorithm in Algorithm::ALL {
        let forced = Basis { forced: Some(algorithm), ..basis(Reach::Memory, &built_in) };
        let selection = Selection::new(&nodes, &forced);
        if algorithm.suits(Collective::AllReduce, &nodes) {
            assert_eq!(selection.algorithm(Collective::AllReduce, 1 << 20), algorithm);
        }
        let exchange = selection.algorithm(Collective::AllToAll, 1 << 20);
        let hierarchical = algorithm == Algorithm::Hierarchical;
        assert_eq!(exchange, if hierarchical { algorithm } else { Algorithm::Direct });
        let canonical = Basis { order: ReductionOrder::Canonical, ..forced };
        let selection = Selection::new(&nodes, &canonical);
        for collective in Collective::ALL.into_iter().filter(|c| c.reduces()) {
            let choice = selection.choice(collective, 8);
            assert_eq!(
                (choice.algorithm, choice.why),
                (Algorithm::Canonical, ChoiceWhy::Canonical),
                "{collective:?}"
            );
        }
    }
}

#[test]
fn tiny_buffers_take_few_steps_and_large_ones_few_bytes() {
    let built_in = Tune::built_in();
    let nodes = Nodes::new(vec![0; 8]).expect("ranks");
    let modelled = Basis { built_in: None, ..basis(Reach::Memory, &built_in) };
    for basis in [basis(Reach::Memory, &built_in), modelled] {
        let selection = Selection::new(&nodes, &basis);
        let of = |bytes| selection.algorithm(Collective::AllReduce, bytes);
        assert_eq!(of(8), Algorithm::Flat);
        assert_ne!(of(64 << 20), Algorithm::Flat);
    }
    let across = Nodes::new(vec![0, 0, 0, 0, 1, 1, 1, 1]).expect("ranks");
    let selection = Selection::new(&across, &basis(Reach::Nodes, &built_in));
    let tiny = selection.algorithm(Collective::AllReduce, 8);
    assert!(matches!(tiny, Algorithm::Tree | Algorithm::Hierarchical), "{tiny:?}");
}

#[test]
fn where_messages_may_pass_relays_a_form_that_needs_none_is_taken() {
    let (built_in, nodes) = (Tune::built_in(), Nodes::new(vec![0, 0, 1, 1]).expect("ranks"));
    let relayed = Basis { relays: true, ..basis(Reach::Nodes, &built_in) };
    let selection = Selection::new(&nodes, &relayed);
    let choice = selection.choice(Collective::AllReduce, 8);
    assert_eq!((choice.algorithm, choice.why), (Algorithm::Hierarchical, ChoiceWhy::NoRelay));
    assert_eq!(
        selection.algorithm(Collective::AllToAll, 8),
        Algorithm::Direct,
        "what relays are for"
    );
}

/// In the table the ring takes 10 ns and the tree 1000 up to 1 MiB, from there on it is the other way round.
fn upside_down(shape: Shape) -> Tune {
    let entry = |algorithm, times: [u64; 2]| Entry {
        reach: Reach::Memory,
        shape,
        collective: Collective::AllReduce,
        algorithm,
        points: vec![
            Point { bytes: 8, time_ns: times[0] },
            Point { bytes: 1 << 20, time_ns: times[0] },
            Point { bytes: 2 << 20, time_ns: times[1] },
        ],
    };
    let entries = vec![entry(Algorithm::Ring, [10, 5000]), entry(Algorithm::Tree, [1000, 2000])];
    Tune { provenance: Provenance::default(), entries }
}

#[test]
fn a_table_that_says_the_reverse_changes_the_choice_and_says_so() {
    let (built_in, nodes) = (Tune::built_in(), Nodes::new(vec![0; 4]).expect("ranks"));
    let table = upside_down(Shape::of(&nodes));
    let told = Basis { told: Some(&table), ..basis(Reach::Memory, &built_in) };
    let selection = Selection::new(&nodes, &told);
    let tiny = selection.choice(Collective::AllReduce, 8);
    assert_eq!((tiny.algorithm, tiny.time_ns), (Algorithm::Ring, 10));
    assert_eq!(tiny.runner_up, Some((Algorithm::Tree, 1000)));
    assert_eq!(tiny.why, ChoiceWhy::Tuned(Shape::of(&nodes)));
    let large = selection.choice(Collective::AllReduce, 2 << 20);
    assert_eq!((large.algorithm, large.time_ns), (Algorithm::Tree, 2000));
    // What it does not cover is left to the others.
    let gather = selection.choice(Collective::AllGather, 8);
    assert!(!matches!(gather.why, ChoiceWhy::Tuned(_)), "{gather:?}");
    let modelled = Selection::new(&nodes, &Basis { told: None, built_in: None, ..told });
    assert_eq!(modelled.choice(Collective::AllReduce, 8).why, ChoiceWhy::Model);
}

#[test]
fn of_the_shapes_in_a_table_the_nearest_counts() {
    let near = Shape { nodes: 1, ranks_per_node: 8 };
    let far = Shape { nodes: 1, ranks_per_node: 2 };
    let mut table = upside_down(near);
    table.entries.extend(upside_down(far).entries);
    let (built_in, nodes) = (Tune::built_in(), Nodes::new(vec![0; 12]).expect("ranks"));
    let told = Basis { told: Some(&table), ..basis(Reach::Memory, &built_in) };
    let choice = Selection::new(&nodes, &told).choice(Collective::AllReduce, 8);
    assert_eq!(choice.why, ChoiceWhy::Tuned(near));
    assert!(choice.time_ns > 10, "more ranks take longer: {choice:?}");
    let between = Nodes::new(vec![0; 4]).expect("ranks");
    let choice = Selection::new(&between, &told).choice(Collective::AllReduce, 8);
    assert_eq!(choice.why, ChoiceWhy::Tuned(far), "of equal distances that with fewer ranks");
}
