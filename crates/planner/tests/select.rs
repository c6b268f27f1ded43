//! What is chosen suits, is the same for all ranks, and obeys what was asked for.

use crosstie_ir::{Collective, Rank};
use crosstie_planner::{Algorithm, Nodes, Reach, ReductionOrder, Selection};

const AUTO: Selection =
    Selection { reach: Reach::Memory, forced: None, order: ReductionOrder::Fast };

fn worlds() -> impl Iterator<Item = Nodes> {
    let one = (1..=20u32).map(|ranks| vec![0; ranks as usize]);
    let equal = (1..=5u32).map(|nodes| (0..nodes * 3).map(|rank| rank % nodes).collect());
    let unequal = [vec![0, 0, 1], vec![7, 3, 7, 7]];
    one.chain(equal).chain(unequal).map(|node_of| Nodes::new(node_of).expect("a rank"))
}

fn selections() -> impl Iterator<Item = Selection> {
    let forced = core::iter::once(None).chain(Algorithm::ALL.map(Some));
    forced.flat_map(|forced| {
        [Reach::Memory, Reach::Nodes, Reach::Network].into_iter().flat_map(move |reach| {
            [ReductionOrder::Fast, ReductionOrder::Canonical].map(|order| Selection {
                reach,
                forced,
                order,
            })
        })
    })
}

#[test]
fn what_is_chosen_suits_the_call_and_the_nodes() {
    for nodes in worlds() {
        for selection in selections() {
            for collective in Collective::ALL.map(|c| c.with_root(Rank(nodes.ranks() - 1))) {
                for bytes in [0, 1, 1 << 12, 1 << 16, 1 << 20, u64::MAX] {
                    let chosen = selection.algorithm(collective, &nodes, bytes);
                    assert!(chosen.suits(collective, &nodes), "{chosen:?} {collective:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_forced_is_taken_where_it_suits_and_the_canonical_order_before_all() {
    let nodes = Nodes::new(vec![0, 0, 1, 1]).expect("ranks");
    for &algorithm in Algorithm::of(Collective::AllReduce) {
        let forced = Selection { forced: Some(algorithm), ..AUTO };
        assert_eq!(forced.algorithm(Collective::AllReduce, &nodes, 1 << 20), algorithm);
        let exchange = forced.algorithm(Collective::AllToAll, &nodes, 1 << 20);
        let hierarchical = algorithm == Algorithm::Hierarchical;
        assert_eq!(exchange, if hierarchical { algorithm } else { Algorithm::Direct });
        let canonical = Selection { order: ReductionOrder::Canonical, ..forced };
        for collective in Collective::ALL.into_iter().filter(|c| c.reduces()) {
            let chosen = canonical.algorithm(collective, &nodes, 8);
            assert_eq!(chosen, Algorithm::Canonical, "{collective:?}");
        }
    }
}

#[test]
fn tiny_buffers_take_few_steps_and_large_ones_few_bytes() {
    let nodes = Nodes::new(vec![0; 8]).expect("ranks");
    let of = |bytes| AUTO.algorithm(Collective::AllReduce, &nodes, bytes);
    assert_eq!(of(8), Algorithm::Flat);
    assert_eq!(of(64 << 20), Algorithm::Ring);
    let across = Nodes::new(vec![0, 0, 1, 1]).expect("ranks");
    let of = |bytes| {
        let selection = Selection { reach: Reach::Nodes, ..AUTO };
        selection.algorithm(Collective::AllReduce, &across, bytes)
    };
    assert_eq!([of(8), of(64 << 20)], [Algorithm::Hierarchical; 2]);
}
