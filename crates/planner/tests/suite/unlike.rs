//! Plans of nodes that differ: by their GPUs, or by a NIC that one of them lacks.

use std::num::NonZero;

use crosstie_ir::{Collective, Options, Rank, verify};
use crosstie_planner::explain::{Look, Scheme};
use crosstie_planner::search::{Node, Rings, Swap, rings};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, aligned_rails, plan_world};
use crosstie_topo::Topology;
use serde_json::Value;

fn text(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    std::fs::read_to_string(folder.join(name)).expect("a file")
}

/// The machine without the port of this name.
fn without(name: &str, port: &str) -> Topology {
    let port = format!("name=\"{port}\"");
    let text = text(name);
    let left: Vec<&str> = text.lines().filter(|line| !line.contains(&port)).collect();
    assert_eq!(left.len() + 1, text.lines().count(), "one line holds the port");
    Topology::read(&left.join("\n")).expect("a topology")
}

fn machine(name: &str) -> Topology {
    Topology::read(&text(name)).expect("a topology")
}

fn routes(plan: &Value) -> &Vec<Value> {
    plan["routes"].as_array().expect("routes")
}

#[test]
fn nodes_with_other_gpus_have_a_plan_and_its_routes_name_their_nodes() {
    let dgx = machine("dgx-h100.xml");
    let kinds = [Node::whole(&dgx), Node::whole(&dgx).with_gpus(&[0, 2, 4, 6])];
    let scheme = Scheme::of(&kinds, &[0, 1, 0], true).expect("a plan");
    assert_eq!((scheme.nodes, scheme.ranks()), (3, 20));
    let plan = scheme.json();
    let of = |node: u32, remote: u32| {
        let all = routes(&plan).iter();
        all.filter(|way| way["node"] == node && way["remote_node"] == remote).count()
    };
    assert_eq!(
        [of(0, 1), of(0, 2), of(1, 0)],
        [32, 64, 32],
        "a pair of nodes for each pair of kinds"
    );
    assert!(routes(&plan).iter().all(|way| way["crosses_rail"] == false));
    let wires: Vec<&Value> = plan["wires"].as_array().expect("wires").iter().collect();
    let per_channel: Vec<&Value> = wires.iter().map(|wires| &wires["per_channel"]).collect();
    assert_eq!(per_channel, [4 + 8, 8 + 8, 8 + 4]);
    let told = scheme.text(Look { color: false, full: true });
    assert!(told.contains("  node 1: 4 ranks of 8 GPUs"), "{told}");
    assert!(told.contains(" from node 1 to one like node 0"), "{told}");
}

#[test]
fn a_node_that_lacks_a_nic_crosses_that_rail_alone() {
    let whole = machine("dgx-h100.xml");
    let lacking = without("dgx-h100.xml", "mlx5_3");
    let rails = aligned_rails([&whole, &lacking]);
    let kind = |topology, rails: &crosstie_topo::Rails| Node {
        rails: rails.clone(),
        ..Node::whole(topology)
    };
    let kinds = [kind(&whole, &rails[0]), kind(&lacking, &rails[1])];
    let plan = Scheme::of(&kinds, &[0, 1], true).expect("a plan").json();
    let across: Vec<&Value> =
        routes(&plan).iter().filter(|way| way["crosses_rail"] == true).collect();
    assert_eq!(across.len(), 8);
    for way in across {
        assert_eq!((&way["node"], &way["crosses_why"]), (&1.into(), &"no_nic".into()));
    }
}

#[test]
fn a_gpu_that_has_lost_its_nic_takes_no_neighbours_rail_over() {
    let machines =
        [("dgx-h100.xml", "mlx5_0"), ("dgx-h100.xml", "mlx5_4"), ("hgx-h100-4nic.xml", "mlx5_1")];
    for (file, lost) in machines {
        let machine = without(file, lost);
        let plan = Scheme::of(&[Node::whole(&machine)], &[0, 0], true).expect("a plan").json();
        let near: u64 = if file.starts_with("hgx") { 2 } else { 1 };
        for way in routes(&plan) {
            let sender = way["relay_gpu"].as_u64().or(way["gpu"].as_u64()).expect("a GPU");
            assert_eq!(way["nic"].as_u64(), Some(sender / near), "{file}: {way}");
            assert_eq!(way["crosses_rail"], false, "{file}: {way}");
        }
    }
}

#[test]
fn rings_that_close_on_an_odd_number_of_nodes_share_that_out_over_the_nodes() {
    for (file, both) in [("pcie-8gpu.xml", 20_000), ("cpu-4nic.xml", 32_000)] {
        let topology = machine(file);
        let whole = Node::whole(&topology);
        for nodes in [3, 5, 7, 9, 33] {
            let found = rings(std::slice::from_ref(&whole), &vec![0; nodes]).expect("rings");
            // Each node closes one pair of so many beside those that pass it: of 32 channels at most.
            let pairs = if nodes > 16 { 16 } else { nodes as u64 };
            let most = both * pairs / (pairs + 1);
            let total = found.total_mb_s();
            assert!((most - 2 * pairs..=most).contains(&total), "{file} on {nodes}: {total}");
            assert!(matches!(found.swap, Swap::Staggered { .. }), "{file} on {nodes}");
            assert_eq!(found.crossings, [], "{file} on {nodes}");
            joined(&found);
        }
    }
}

/// Each channel comes into a node by the NIC that it left the one before it by.
fn joined(found: &Rings) {
    for ring in &found.rings {
        for (from, to) in ring.nodes.iter().zip(ring.nodes.iter().cycle().skip(1)) {
            assert_eq!(from.nic_out, to.nic_in, "channel {} to node {}", ring.channel, to.node);
        }
    }
}

#[test]
fn a_nic_more_makes_no_rings_worse() {
    for file in ["cpu-4nic.xml", "pcie-8gpu.xml", "dgx1-v100.xml", "aws-p4d.xml"] {
        let topology = machine(file);
        let whole = Node::whole(&topology);
        for nodes in [&[0, 0][..], &[0, 0, 0]] {
            let all = rings(std::slice::from_ref(&whole), nodes).expect("rings").total_mb_s();
            for (rail, _) in whole.rails.iter() {
                let fewer = Node { rails: whole.rails.clone().without(rail), ..whole.clone() };
                let fewer = rings(&[fewer], nodes).map_or(0, |found| found.total_mb_s());
                assert!(all >= fewer, "{file}: {all} MB/s, and {fewer} without rail {rail}");
            }
        }
    }
}

#[test]
fn like_nodes_have_one_plan_however_their_kind_is_given() {
    let dgx = machine("dgx-a100.xml");
    let of = |pxn| Scheme::of(&[Node::whole(&dgx)], &[0, 0], pxn).expect("a plan");
    assert_eq!(of(true).fingerprint, of(true).fingerprint);
    assert_ne!(of(true).fingerprint, of(false).fingerprint);
    let some = Scheme::of(&[Node::whole(&dgx).with_gpus(&[0, 1])], &[0, 0], true).expect("a plan");
    assert_ne!(of(true).fingerprint, some.fingerprint);
    assert!(routes(&of(true).json())[0].get("node").is_none());
}

/// The orders of a search's rings, as ranks that are numbered node by node.
fn orders(scheme: &Scheme<'_>) -> Vec<Vec<Rank>> {
    let sizes: Vec<u32> = (0..scheme.nodes)
        .map(|node| scheme.kind(node).map_or(0, |it| it.members.len() as u32))
        .collect();
    let first = |node: u32| sizes[..node as usize].iter().sum::<u32>();
    let order = |ring: &crosstie_planner::search::Ring| {
        let ranks = ring.nodes.iter().flat_map(|way| {
            way.local_ranks.iter().map(move |&local| Rank(first(way.node) + local))
        });
        ranks.collect()
    };
    scheme.rings.rings.iter().map(order).collect()
}

#[test]
fn plans_in_the_order_of_searched_rings_are_proved_on_as_many_channels() {
    for (file, kind_of) in [
        ("dgx1-v100.xml", vec![0, 0]),
        ("dgx-a100.xml", vec![0, 0, 0]),
        ("hgx-h100-4nic.xml", vec![0, 1]),
    ] {
        let topology = machine(file);
        let kinds = [Node::whole(&topology), Node::whole(&topology).with_gpus(&[1, 4, 6])];
        let used = &kinds[..=*kind_of.iter().max().expect("a kind") as usize];
        let scheme = Scheme::of(used, &kind_of, true).expect("a plan");
        let sizes = (0..scheme.nodes)
            .flat_map(|node| vec![node; scheme.kind(node).map_or(0, |kind| kind.members.len())]);
        let nodes = Nodes::new(sizes.collect()).expect("ranks");
        let nodes = nodes.with_rings(&orders(&scheme)).expect("orders");
        let count = nodes.rings().len() as u16;
        for channels in [1, count] {
            for collective in
                [Collective::AllReduce, Collective::AllGather, Collective::ReduceScatter]
            {
                let channels = NonZero::new(channels).expect("a ring");
                let algorithm = Algorithm::Ring;
                let plan = plan_world(&PlanRequest {
                    collective,
                    algorithm,
                    nodes: &nodes,
                    channels,
                    in_place: false,
                });
                // Each channel goes its own ring's way.
                for (channel, order) in (0..channels.get()).zip(nodes.rings()) {
                    let next = plan.connections.iter().filter(|it| it.channel.0 == channel);
                    assert!(next.clone().count() == order.len());
                    for link in next {
                        let at = order.iter().position(|&rank| rank == link.src).expect("a rank");
                        assert_eq!(order[(at + 1) % order.len()], link.dst);
                    }
                }
                verify(&plan, &Options::copy(2)).expect("a proof");
            }
        }
    }
}
