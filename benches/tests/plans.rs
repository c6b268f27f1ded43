//! Rings that are planned for whole machines, for parts of them and for clusters, held against a check of
//! loads that shares no code with the search.

use std::path::PathBuf;

use crosstie_benches::loads;
use crosstie_planner::search::{CrossingWhy, Node, RelayWhy, Rings, SearchError, Swap, rings};
use crosstie_topo::{Rails, Topology, VertexId};
use proptest::prelude::*;

fn read(name: &str) -> Topology {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../topology").join(name);
    Topology::read_bytes(&std::fs::read(file).expect("readable")).expect("a topology")
}

/// The numbers of a node's members, as the plan names them.
fn numbers(node: &Node<'_>) -> Vec<u32> {
    let topology = node.topology;
    let all = if topology.gpus().is_empty() { topology.ports() } else { topology.gpus() };
    let number = |member: &VertexId| {
        if topology.hosts().len() > 1 {
            return all.iter().position(|id| id == member).expect("a member") as u32;
        }
        topology
            .gpu(*member)
            .map_or_else(|| topology.port(*member).expect("a port").dev, |gpu| gpu.dev)
    };
    node.members.iter().map(number).collect()
}

/// Plans, and requires that no link carries more than it can.
fn planned(kinds: &[Node<'_>], nodes: &[u32]) -> Rings {
    let plan = rings(kinds, nodes).expect("a plan");
    let kind = |&kind: &u32| &kinds[kind as usize];
    let machines: Vec<_> =
        nodes.iter().map(|node| (kind(node).topology, numbers(kind(node)))).collect();
    let faults = loads::faults(&serde_json::to_value(&plan).expect("JSON"), &machines);
    assert_eq!(faults, Vec::<String>::new(), "{plan:?}");
    plan
}

fn share(plan: &Rings) -> u64 {
    100 * plan.total_mb_s() / plan.bound_mb_s.expect("links limit it")
}

/// Every machine of `topology/` that is described.
const MACHINES: [&str; 13] = [
    "aws-p4d",
    "aws-p5",
    "azure-nd-v4",
    "azure-nd-v5",
    "cpu-4nic",
    "dgx-a100",
    "dgx-h100",
    "dgx1-v100",
    "dgx2-v100",
    "grace-hopper",
    "hgx-h100-4nic",
    "nvl72",
    "pcie-8gpu",
];

fn machine(name: &str) -> Topology {
    read(&format!("{name}.xml"))
}

fn relays(plan: &Rings) -> Vec<(u32, Option<RelayWhy>)> {
    let stretches = plan.rings.iter().flat_map(|ring| &ring.nodes);
    stretches.filter(|at| at.relay_out.is_some()).map(|at| (at.node, at.relay_why)).collect()
}

#[test]
fn every_machine_is_used_to_its_bound_alone_and_in_pairs_and_never_beyond_a_link() {
    for name in MACHINES {
        let topology = machine(name);
        let kinds = [Node::whole(&topology)];
        for nodes in 1..=5 {
            let plan = planned(&kinds, &vec![0; nodes]);
            // Rings that swap rails close on an odd number of nodes, each pair on another one.
            let odd = nodes as u64;
            let least = if odd.is_multiple_of(2) || odd == 1 {
                98
            } else {
                (100 * odd).div_ceil(odd + 1) - 1
            };
            let share = plan.bound_mb_s.map(|_| share(&plan));
            assert!(share.is_none_or(|share| share >= least), "{name}, {nodes} nodes: {share:?} %");
            assert_eq!(plan.crossings, [], "{name}, {nodes} nodes");
        }
    }
}

#[test]
fn any_gpus_of_a_hybrid_cube_mesh_get_rings_close_to_the_bound() {
    let topology = machine("dgx1-v100");
    for mask in 1u32..256 {
        let devices: Vec<u32> = (0..8).filter(|gpu| mask >> gpu & 1 == 1).collect();
        let kinds = [Node::whole(&topology).with_gpus(&devices)];
        for nodes in [&[0][..], &[0, 0], &[0, 0, 0]] {
            let plan = planned(&kinds, nodes);
            if devices.len() > 1 && nodes.len() < 3 {
                assert!(share(&plan) >= 86, "{devices:?}: {} %", share(&plan));
            }
        }
    }
}

#[test]
fn each_gpu_with_a_nic_of_its_own_swaps_rails_and_needs_no_relay_from_three_rails_on() {
    let topology = machine("dgx-h100");
    for nodes in 2..7 {
        let plan = planned(&[Node::whole(&topology)], &vec![0; nodes]);
        assert_eq!((plan.total_mb_s(), relays(&plan)), (384_000, vec![]), "{nodes} nodes");
    }
    // Of two rails a ring that swapped is on the wrong one after an odd number of nodes: the last closes it.
    let two = [Node::whole(&topology).with_gpus(&[0, 4])];
    let even = planned(&two, &[0, 0, 0, 0]);
    assert_eq!((relays(&even), even.swap), (vec![], Swap::Pairs));
    let odd = planned(&two, &[0, 0, 0]);
    let closing = vec![(2, Some(RelayWhy::OddNodes)); 2];
    assert_eq!((relays(&odd), odd.swap), (closing, Swap::Closing { at: 2 }));
}

#[test]
fn one_gpu_for_each_node_enters_and_leaves_by_its_own_nic() {
    let topology = machine("dgx-h100");
    let plan = planned(&[Node::whole(&topology).with_gpus(&[5])], &[0, 0, 0]);
    let stretches: Vec<_> = plan.rings.iter().flat_map(|ring| &ring.nodes).collect();
    assert!(stretches.iter().all(|at| (at.nic_in, at.nic_out) == (Some(5), Some(5))), "{plan:?}");
    assert_eq!((plan.total_mb_s(), relays(&plan)), (48_000, vec![]));
}

#[test]
fn nodes_that_differ_follow_the_rails_of_the_weakest() {
    let (large, small) = (machine("dgx-h100"), machine("hgx-h100-4nic"));
    let kinds = [
        Node::whole(&large),
        Node::whole(&large).with_gpus(&[0, 1, 2, 4, 5, 7]),
        Node::whole(&small),
    ];
    // No GPU of kind 1 is near rail 3: three GPUs' PCI links (48 GB/s each) and what passes between sockets
    // (22 GB/s) bring in what comes by four NICs of 48 GB/s.
    let mixed: [(&[u32], u64); 3] =
        [(&[0, 1], 288_000), (&[0, 2], 192_000), (&[2, 1, 0, 1, 2], 128_000)];
    for (nodes, total) in mixed {
        let plan = planned(&kinds, nodes);
        assert_eq!(plan.crossings, [], "{nodes:?}");
        assert!(plan.total_mb_s() >= total, "{nodes:?}: {}", plan.total_mb_s());
    }
}

/// The rails that ports have by their numbers, but for those named.
fn rails_but(topology: &Topology, missing: &[u32]) -> Rails {
    let rail = |port| topology.port(port).map(|port| port.dev).filter(|dev| !missing.contains(dev));
    Rails::explicit(topology, rail).expect("ports")
}

#[test]
fn a_node_that_lacks_a_nic_takes_its_rail_from_all() {
    let topology = machine("dgx-h100");
    let whole = Node { rails: rails_but(&topology, &[]), ..Node::whole(&topology) };
    let lacking = Node { rails: rails_but(&topology, &[3]), ..Node::whole(&topology) };
    let plan = planned(&[whole, lacking], &[0, 1, 0, 0]);
    assert_eq!(plan.crossings, []);
    assert!(plan.total_mb_s() >= 48_000 * 7 * 98 / 100, "{}", plan.total_mb_s());
    let nics =
        plan.rings.iter().flat_map(|ring| &ring.nodes).flat_map(|at| [at.nic_in, at.nic_out]);
    assert!(nics.flatten().all(|nic| nic != 3));
}

#[test]
fn rails_are_crossed_only_where_nodes_have_none_in_common_and_the_plan_says_so() {
    let topology = machine("dgx-h100");
    let on = |devices: [u32; 2]| {
        let others: Vec<u32> = (0..8).filter(|device| !devices.contains(device)).collect();
        Node { rails: rails_but(&topology, &others), ..Node::whole(&topology) }.with_gpus(&devices)
    };
    let plan = planned(&[on([0, 1]), on([4, 5])], &[0, 1]);
    assert!(!plan.crossings.is_empty());
    for crossing in &plan.crossings {
        assert_eq!((crossing.node, crossing.why), (1, CrossingWhy::NoNic));
        assert!([0, 1].contains(&crossing.rail), "{crossing:?}");
        assert!(crossing.instead.is_some_and(|rail| [4, 5].contains(&rail)), "{crossing:?}");
    }
    assert_eq!(planned(&[on([0, 1]), on([1, 0])], &[0, 1]).crossings, []);
}

/// Two pairs of GPUs with NVLink, each pair and a NIC on a socket of its own.
fn islands() -> Topology {
    let pci = |bus: u32, class: &str, inner: String| {
        format!(
            r#"<pci busid="0000:{bus:02x}:00.0" class="{class}" link_speed="16.0 GT/s PCIe" link_width="16">{inner}</pci>"#
        )
    };
    let gpu = |dev: u32, peer: u32| {
        let link =
            format!(r#"<nvlink target="0000:{peer:02x}:00.0" count="4" tclass="0x030200"/>"#);
        format!(r#"<gpu dev="{dev}" sm="80">{link}</gpu>"#)
    };
    let socket = |numa: u32| {
        let (first, second) = (16 * numa + 1, 16 * numa + 2);
        let nic = format!(r#"<nic><net name="mlx5_{numa}" dev="{numa}" speed="100000"/></nic>"#);
        let devices = [
            pci(first, "0x030200", gpu(2 * numa, second)),
            pci(second, "0x030200", gpu(2 * numa + 1, first)),
            pci(16 * numa + 3, "0x020000", nic),
        ];
        let cpu = r#"arch="x86_64" vendor="AuthenticAMD" familyid="25" modelid="1""#;
        format!(r#"<cpu numaid="{numa}" {cpu}>{}</cpu>"#, devices.concat())
    };
    let text = format!(r#"<system version="1">{}{}</system>"#, socket(0), socket(1));
    Topology::read(&text).expect("a topology")
}

#[test]
fn rings_stay_on_an_nvlink_island_until_it_is_done() {
    let topology = islands();
    for nodes in [&[0][..], &[0, 0]] {
        let plan = planned(&[Node::whole(&topology)], nodes);
        assert!(share(&plan) >= 98, "{plan:?}");
        for stretch in plan.rings.iter().flat_map(|ring| &ring.nodes) {
            let mut order = stretch.gpus.clone();
            if nodes.len() == 1 && order[0] / 2 != order[1] / 2 {
                order.rotate_left(1);
            }
            assert!(order[0] / 2 == order[1] / 2 && order[2] / 2 == order[3] / 2, "{order:?}");
        }
    }
}

/// A machine of one or two sockets, each with PCI switches that hold GPUs and NICs; NVLinks between any GPUs.
fn any_machine() -> impl Strategy<Value = Topology> {
    let switch = (1usize..4, 0usize..3);
    let switches = proptest::collection::vec(switch, 1..4);
    let links = proptest::collection::vec((0usize..12, 0usize..12, 1u32..4), 0..16);
    (switches, links, any::<bool>(), prop::sample::select(vec![70, 80, 90])).prop_map(described)
}

/// By switch its GPUs and NICs; NVLinks, by their ends; whether there are two sockets; compute capability.
type Parts = (Vec<(usize, usize)>, Vec<(usize, usize, u32)>, bool, u32);

fn described((switches, links, two_sockets, sm): Parts) -> Topology {
    let all: usize = switches.iter().map(|(gpus, _)| gpus).sum();
    let mut counts = std::collections::BTreeMap::new();
    for (a, b, count) in links {
        let (a, b) = (a % all, b % all);
        if a != b {
            counts.insert((a, b), count);
            counts.insert((b, a), count);
        }
    }
    let pci = r#"link_speed="16.0 GT/s PCIe" link_width="16""#;
    let mut sockets = [String::new(), String::new()];
    let (mut gpu, mut nic) = (0, 0);
    for (at, (gpus, nics)) in switches.into_iter().enumerate() {
        let mut inner = String::new();
        for _ in 0..gpus {
            let links =
                counts.iter().filter(|((from, _), _)| *from == gpu).map(|((_, to), count)| {
                    format!(
                        r#"<nvlink target="0000:{:02x}:00.0" count="{count}" tclass="0x030200"/>"#,
                        0x40 + to
                    )
                });
            let links: String = links.collect();
            let bus = 0x40 + gpu;
            inner += &format!(
                r#"<pci busid="0000:{bus:02x}:00.0" class="0x030200" {pci}><gpu dev="{gpu}" sm="{sm}">{links}</gpu></pci>"#
            );
            gpu += 1;
        }
        for _ in 0..nics {
            let bus = 0x80 + nic;
            inner += &format!(
                r#"<pci busid="0000:{bus:02x}:00.0" class="0x020000" {pci}><nic><net name="n{nic}" dev="{nic}" speed="200000"/></nic></pci>"#
            );
            nic += 1;
        }
        let socket = if two_sockets { at % 2 } else { 0 };
        sockets[socket] += &format!(
            r#"<pci busid="0000:{:02x}:00.0" class="0x060400" {pci}>{inner}</pci>"#,
            1 + at
        );
    }
    let cpu = r#"arch="x86_64" vendor="GenuineIntel" familyid="6" modelid="143""#;
    let sockets =
        [0, 1].map(|numa| format!(r#"<cpu numaid="{numa}" {cpu}>{}</cpu>"#, sockets[numa]));
    Topology::read(&format!(r#"<system version="1">{}</system>"#, sockets.concat()))
        .expect("a topology")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn any_machine_gets_rings_and_trees_that_its_links_bear(
        topology in any_machine(),
        nodes in 1usize..6,
    ) {
        let kinds = [Node::whole(&topology)];
        if nodes > 1 && topology.ports().is_empty() {
            prop_assert_eq!(rings(&kinds, &vec![0; nodes]), Err(SearchError::NoNic { kind: 0 }));
            return Ok(());
        }
        let plan = planned(&kinds, &vec![0; nodes]);
        prop_assert!(plan.total_mb_s() > 0);
        prop_assert!(plan.bound_mb_s.is_none_or(|bound| plan.total_mb_s() <= bound), "{:?}", plan);
    }
}

#[test]
fn the_check_of_loads_sees_what_is_wrong() {
    let topology = machine("dgx-h100");
    let kinds = [Node::whole(&topology)];
    let plan = serde_json::to_value(rings(&kinds, &[0, 0]).expect("a plan")).expect("JSON");
    let machines = [(&topology, (0..8).collect()), (&topology, (0..8).collect())];
    assert_eq!(loads::faults(&plan, &machines), Vec::<String>::new());
    let spoilt = |pointer: &str, value: serde_json::Value| {
        let mut plan = plan.clone();
        *plan.pointer_mut(pointer).expect("such a field") = value;
        loads::faults(&plan, &machines).len()
    };
    assert!(spoilt("/rings/3/bandwidth_mb_s", 48_001.into()) > 0, "a link beyond its capacity");
    assert!(spoilt("/rings/0/nodes/1/nic_in", 6.into()) > 0, "another rail");
    assert!(spoilt("/rings/0/nodes/0/gpus/3", 0.into()) > 0, "a GPU left out");
    assert!(spoilt("/trees/0/bandwidth_mb_s", 48_000.into()) > 0, "a tree beyond its NIC");
    assert!(spoilt("/trees/1/nodes/1/parent", serde_json::Value::Null) > 0, "two roots");
}

#[test]
fn what_cannot_be_planned_is_told() {
    let topology = machine("dgx-h100");
    let node = Node::whole(&topology);
    assert_eq!(rings(&[], &[]), Err(SearchError::NoNodes));
    let unknown = SearchError::NoKind { node: 1, kind: 1, kinds: 1 };
    assert_eq!(rings(std::slice::from_ref(&node), &[0, 1]), Err(unknown));
    let nobody = node.clone().with_gpus(&[]);
    assert_eq!(rings(&[nobody], &[0]), Err(SearchError::NoRanks { kind: 0 }));
    let pcie = Topology::read(
        r#"<system version="1"><cpu numaid="0"><pci busid="0000:01:00.0" class="0x030200"><gpu dev="0" sm="80"/></pci></cpu></system>"#,
    );
    let alone = pcie.expect("a topology");
    assert_eq!(rings(&[Node::whole(&alone)], &[0, 0]), Err(SearchError::NoNic { kind: 0 }));
}
