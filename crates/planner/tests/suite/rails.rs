//! Rails and carriers follow the nodes alone, on any assignment of ranks, and carry every connection once.

use std::num::NonZero;

use crosstie_ir::{ChannelId, Rank};
use crosstie_planner::search::{CrossingWhy, Node};
use crosstie_planner::{MachinesError, Nodes, RailCrossing, Rails, Route, route};
use crosstie_topo::{PathKind, Topology};
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

/// Two ranks share four NICs of their node; on the other node one rank has all four.
#[test]
fn nics_that_are_named_are_dealt_out_over_the_ranks_of_a_node() {
    let (nodes, unnamed) = rails(&[0, 0, 1], Some(4));
    let named = unnamed.clone().of_named_nics();
    let of = |rails: &Rails| [0, 1, 2].map(|rank| rails.nics_of(Rank(rank)));
    assert_eq!(of(&unnamed), [vec![0], vec![1], vec![0]]);
    assert_eq!(of(&named), [vec![0, 2], vec![1, 3], vec![0, 1, 2, 3]]);
    let way = |src, dst| route(Rank(src), Rank(dst), ChannelId(0), &nodes, Some(&named));
    assert_eq!(named.crossing(Rank(2), Rank(1), ChannelId(0)), None, "it has a NIC there");
    assert_eq!([way(2, 1), way(1, 2)], [Some(Route::Network), Some(Route::Relayed(Rank(0)))]);
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

/// A machine of `topology/`.
fn machine(name: &str) -> Topology {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    Topology::read_bytes(&std::fs::read(folder.join(name)).expect("a file")).expect("a topology")
}

fn machines() -> Vec<Topology> {
    ["dgx-h100.xml", "hgx-h100-4nic.xml", "aws-p5.xml", "dgx1-v100.xml"].map(machine).into()
}

#[test]
fn a_subset_of_gpus_keeps_to_rails_and_crosses_none_that_its_node_has_a_nic_on() {
    let machines = machines();
    let whole = || Node::whole(&machines[0]);
    let nodes = Nodes::new(vec![0, 0, 1, 1]).expect("ranks");
    // GPUs 0 and 2, and GPUs 2 and 3, of machines with a NIC for each GPU.
    let kinds = [whole().with_gpus(&[0, 2]), whole().with_gpus(&[2, 3])];
    let rails = Rails::of_machines(&nodes, &kinds, &[0, 1]).expect("rails");
    let way = |src, dst| route(Rank(src), Rank(dst), ChannelId(0), &nodes, Some(&rails));
    assert_eq!([way(0, 2), way(1, 2)], [Some(Route::Relayed(Rank(1))), Some(Route::Network)]);
    // Nobody of node 0 is on rail 3, but NIC 3 is there: the first rank of its socket sends by it.
    assert_eq!(rails.carrier(Rank(1), Rank(3)), Some(Rank(0)));
    assert_eq!(rails.crossing(Rank(1), Rank(3), ChannelId(0)), None);
    // Where the machine has no such NIC, the rail is crossed.
    let kinds = [Node::whole(&machines[1]).with_gpus(&[0, 4]), whole().with_gpus(&[2, 7])];
    let rails = Rails::of_machines(&nodes, &kinds, &[0, 1]).expect("rails");
    let crossing = rails.crossing(Rank(0), Rank(3), ChannelId(0));
    let why = CrossingWhy::NoNic;
    assert_eq!(crossing, Some(RailCrossing { from: 0, to: 7, why }));
    assert_eq!(rails.crossing(Rank(3), Rank(0), ChannelId(0)), None);
}

/// Of all ways between two nodes of a machine, with all of its ranks: how many have relays, how many cross rails, and
/// why those do.
fn ways_of(file: &str) -> (usize, usize, Option<CrossingWhy>) {
    let topology = machine(file);
    let kind = Node::whole(&topology);
    let each = kind.members.len() as u32;
    let nodes = Nodes::new((0..2 * each).map(|rank| rank / each).collect()).expect("ranks");
    let rails = Rails::of_machines(&nodes, &[kind], &[0, 0]).expect("rails");
    let pairs = (0..each).flat_map(|src| (each..2 * each).map(move |dst| (Rank(src), Rank(dst))));
    let (mut relayed, mut crossed, mut why) = (0, 0, None);
    for (src, dst) in pairs {
        let way = route(src, dst, ChannelId(0), &nodes, Some(&rails));
        relayed += usize::from(matches!(way, Some(Route::Relayed(_))));
        let crossing = rails.crossing(src, dst, ChannelId(0));
        crossed += usize::from(crossing.is_some());
        why = why.or(crossing.map(|crossing| crossing.why));
    }
    (relayed, crossed, why)
}

#[test]
fn gpus_relay_where_nvlink_joins_them_and_cross_rails_where_it_does_not() {
    assert_eq!(ways_of("dgx-h100.xml"), (56, 0, None));
    // Cards that only PCIe joins: four of eight for each of two NICs.
    let (relayed, crossed, why) = ways_of("pcie-8gpu.xml");
    assert_eq!((relayed, why), (0, Some(CrossingWhy::NotJoined)));
    assert!(crossed > 0);
    // Without GPUs all share the memory of the node.
    assert_eq!(ways_of("cpu-4nic.xml"), (12, 0, None));
    // A cube of NVLinks joins each GPU to both NICs of its own side, and to one of the other's.
    assert_eq!(ways_of("dgx1-v100.xml").1, 8 * 2);
}

#[test]
fn a_rail_has_an_owner_on_each_host_of_a_rack() {
    let rack = machine("nvl72.xml");
    let kind = Node::whole(&rack);
    let nodes = Nodes::new((0..144).map(|rank| rank / 72).collect()).expect("ranks");
    let rails = Rails::of_machines(&nodes, &[kind], &[0, 0]).expect("rails");
    for src in (0..72).map(Rank) {
        let carrier = rails.carrier(src, Rank(143)).expect("ranks");
        assert_eq!(carrier.0 / 4, src.0 / 4, "rank {src:?} has a relay on its own host");
        assert_eq!(rails.carried(carrier, Rank(143)).len(), 4);
    }
}

#[test]
fn a_gpu_with_several_nics_takes_them_in_turn_by_channel() {
    let machines = machines();
    let nodes = Nodes::new(vec![0, 0, 1, 1]).expect("ranks");
    let kinds = [Node::whole(&machines[2]).with_gpus(&[0, 4])];
    let rails = Rails::of_machines(&nodes, &kinds, &[0, 0]).expect("rails");
    let rail = |rank, channel| rails.rail_on(Rank(rank), ChannelId(channel)).expect("a rail");
    let on = |rank| (0..8).map(move |channel| rail(rank, channel));
    let mut of_first: Vec<u32> = on(0).collect();
    assert_eq!(of_first[..4], of_first[4..]);
    of_first.sort_unstable();
    of_first.dedup();
    assert_eq!(of_first.len(), 4);
    assert!(on(1).all(|rail| !of_first.contains(&rail)));
}

#[test]
fn machines_that_do_not_fit_the_world_are_refused() {
    let machines = machines();
    let nodes = Nodes::new(vec![0, 0, 1]).expect("ranks");
    let one = [Node::whole(&machines[0]).with_gpus(&[5])];
    let refused = Rails::of_machines(&nodes, &one, &[0, 0]).err();
    assert_eq!(refused, Some(MachinesError::Members { node: 0, ranks: 2, members: 1 }));
    let whole = [Node::whole(&machines[0])];
    let refused = Rails::of_machines(&nodes, &whole, &[0]).err();
    assert_eq!(refused, Some(MachinesError::NoKind { node: 1, kinds: 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_gpus_of_any_machines_have_ways_that_keep_to_the_receivers_rail(
        kinds in proptest::collection::vec((0usize..4, 1u32..256), 1..5),
        channel in 0u16..9,
    ) {
        let machines = machines();
        let kinds: Vec<Node<'_>> = kinds
            .into_iter()
            .map(|(machine, mask)| {
                let gpus: Vec<u32> = (0..8).filter(|gpu| mask >> gpu & 1 == 1).collect();
                Node::whole(&machines[machine]).with_gpus(&gpus)
            })
            .collect();
        let per_node = |(node, kind): (u32, &Node<'_>)| vec![node; kind.members.len()];
        let nodes = Nodes::new((0..).zip(&kinds).flat_map(per_node).collect()).expect("ranks");
        let kind_of: Vec<u32> = (0..kinds.len() as u32).collect();
        let rails = Rails::of_machines(&nodes, &kinds, &kind_of).expect("rails");
        let channel = ChannelId(channel);
        for (src, dst) in (0..nodes.ranks()).flat_map(|a| (0..nodes.ranks()).map(move |b| (Rank(a), Rank(b)))) {
            let (from, to) = (nodes.node_of(src).expect("a rank"), nodes.node_of(dst).expect("a rank"));
            let way = route(src, dst, channel, &nodes, Some(&rails));
            let rail = rails.rail_on(dst, channel).expect("a rail");
            if from == to {
                prop_assert_eq!(way, (src != dst).then_some(Route::Local));
                prop_assert_eq!(rails.crossing(src, dst, channel), None);
                continue;
            }
            let kind = &kinds[from as usize];
            let has_nic = kind.rails.iter().any(|(other, _)| other == rail);
            let crossing = rails.crossing(src, dst, channel);
            let first = rails.node_of(src)[0].0;
            let joined = |a: Rank, b: Rank| {
                let [a, b] = [a, b].map(|rank| kind.members[(rank.0 - first) as usize]);
                kind.topology.paths_from(a).to(b).is_some_and(|path| path.kind <= PathKind::Nvl)
            };
            match crossing.map(|crossing| crossing.why) {
                Some(CrossingWhy::NoNic) => prop_assert!(!has_nic),
                Some(_) => prop_assert!(has_nic && way == Some(Route::Network)),
                None => prop_assert!(has_nic),
            }
            if let Some(Route::Relayed(relay)) = way {
                prop_assert_eq!(nodes.node_of(relay), Some(from));
                prop_assert!(joined(src, relay));
                prop_assert_eq!(rails.carrier_on(relay, dst, channel), Some(relay), "its own too");
            }
            prop_assert!(way.is_some());
        }
    }
}
