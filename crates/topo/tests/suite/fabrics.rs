//! Owns the checks of fabrics, of clusters, and of what is made from two descriptions.

use std::fs;
use std::path::{Path, PathBuf};

use crosstie_topo::fabric::{self, Fabric, FabricFault, Reach};
use crosstie_topo::xml::{Document, Element, Item};
use crosstie_topo::{
    Bandwidth, BusMap, Cluster, Difference, PathKind, Paths, Rails, RemapError, Topology, diff,
    lint_nodes, remap,
};
use proptest::prelude::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).expect(name)
}

fn machine(name: &str) -> Topology {
    Topology::read(&text(name)).expect(name)
}

#[test]
fn every_fabric_is_read_reads_back_equal_and_names_machines_that_fit() {
    let mut files = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".toml") {
            continue;
        }
        files += 1;
        let fabric = Fabric::read(&text(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(Fabric::read(&fabric.to_toml().unwrap()).unwrap(), fabric, "{name}");
        assert!(fabric.provenance.is_some(), "{name}");
        for group in &fabric.nodes {
            let node = machine(group.topology.as_deref().unwrap());
            assert_eq!(node.ports().len(), group.ports as usize, "{name}");
        }
    }
    assert!(files >= 5, "{files}");
}

#[test]
fn what_is_odd_in_a_fabric_is_told() {
    let whole = Fabric::rail_optimised(4, 2, 100_000, 2, 1);
    let found = |change: &dyn Fn(&mut Fabric)| {
        let mut fabric = whole.clone();
        change(&mut fabric);
        let findings = fabric::lint(&fabric, &fabric.wiring().unwrap());
        let told =
            findings.iter().map(|finding| format!("{}: {}", finding.severity, finding.evidence));
        told.collect::<Vec<_>>()
    };
    assert_eq!(found(&|_| {}), [""; 0]);
    // Other nodes, on leaves of their own or on the first ones.
    let more = |fabric: &mut Fabric, leaves: &str, ports, mbit| {
        let (mut nodes, mut cables) = (fabric.nodes[0].clone(), fabric.cables[0].clone());
        (nodes.name, nodes.ports) = ("late".into(), ports);
        (cables.nodes, cables.leaves, cables.mbit) = ("late".into(), leaves.into(), mbit);
        fabric.nodes.push(nodes);
        fabric.cables.push(cables);
    };
    let other = |fabric: &mut Fabric| {
        let mut leaves = fabric.leaves[0].clone();
        leaves.name = "other".into();
        fabric.leaves.push(leaves);
        more(fabric, "other", 2, 100_000);
    };
    assert_eq!(
        found(&other),
        [
            "error: nothing joins late0, late1, late2, late3 to node0",
            "warning: other0, other1 have no uplink, the other leaves have",
        ]
    );
    let slow = found(&|fabric| more(fabric, "leaf", 2, 50_000));
    let evidence = "warning: rail 0 has 4 cables of 6.25 GB/s (first late0), 4 cables of 12.5 GB/s (first node0); so it is on 1 other rail";
    assert_eq!(slow, [evidence]);
    let none = found(&|fabric| fabric.uplinks.clear());
    assert!(none.len() == 1 && none[0].starts_with("note: no leaf has an uplink"), "{none:?}");
    let bare = found(&|fabric| {
        more(fabric, "leaf", 2, 100_000);
        fabric.cables.pop();
    });
    assert!(bare[1].contains("8 ports of late0, late1, late2, late3 have no cable"), "{bare:?}");
}

const CABLE: Bandwidth = Bandwidth::mbit_per_s(400_000);

#[test]
fn rails_have_a_leaf_each_and_meet_at_the_spine() {
    let wiring = Fabric::read(&text("fabric-rail-128.toml")).unwrap().wiring().unwrap();
    assert_eq!((wiring.nodes.len(), wiring.cables.len()), (128, 1024));
    assert_eq!(wiring.rail(0, 5), Some(5));
    assert_eq!(wiring.rail(127, 5), Some(5), "the fourth group has leaves 24 to 31");
    assert_eq!(wiring.leaves[wiring.cable(127, 5).unwrap().leaf as usize], "leaf29");
    assert_eq!(wiring.reach((0, 5), (31, 5)), Some(Reach::Leaf(CABLE)));
    assert_eq!(wiring.reach((0, 5), (32, 5)), Some(Reach::Spine(CABLE)));
    assert_eq!(wiring.reach((0, 5), (0, 6)), Some(Reach::Spine(CABLE)));
    assert_eq!(wiring.oversubscription(0).unwrap().to_string(), "1:1");
}

#[test]
fn a_nodes_ports_have_the_rails_that_its_cables_give_them() {
    let wiring = Fabric::read(&text("fabric-rail-128.toml")).unwrap().wiring().unwrap();
    let node = machine("dgx-h100.xml");
    let rails = Rails::of_fabric(&node, &wiring, 40).unwrap();
    let of_ports: Vec<_> = node.ports().iter().map(|&port| rails.rail_of(port)).collect();
    assert_eq!(of_ports, (0..8).map(Some).collect::<Vec<_>>());
    let tree = Fabric::read(&text("fabric-fat-tree-32.toml")).unwrap().wiring().unwrap();
    assert_eq!(Rails::of_fabric(&node, &tree, 0), None);
}

#[test]
fn nodes_whose_rails_differ_are_found() {
    let good = text("hgx-h100-4nic.xml");
    let slow = good.replacen("dev=\"3\" speed=\"400000\"", "dev=\"3\" speed=\"200000\"", 1);
    let [good, slow] = [good, slow].map(|text| Topology::read(&text).unwrap());
    assert_eq!(lint_nodes(&[("a", &good), ("b", &good)]), []);
    let told = |nodes: &[(&str, &Topology)]| {
        lint_nodes(nodes).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let found = told(&[("a", &good), ("b", &slow)]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("on rail 3 node b has 25 GB/s, node a 50 GB/s"), "{found:?}");
    let found = told(&[("a", &good), ("h", &machine("dgx-h100.xml"))]);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].contains("node a has no port on rail 4"), "{found:?}");
}

#[test]
fn without_a_spine_no_rail_reaches_another() {
    let wiring = Fabric::read(&text("fabric-rail-only-32.toml")).unwrap().wiring().unwrap();
    assert_eq!(wiring.reach((0, 1), (31, 1)), Some(Reach::Leaf(CABLE)));
    assert_eq!(wiring.reach((0, 1), (31, 2)), None);
    assert_eq!(wiring.oversubscription(0).unwrap().to_string(), "1:0");
}

#[test]
fn ports_of_a_node_on_one_leaf_have_no_rails() {
    let wiring = Fabric::read(&text("fabric-fat-tree-32.toml")).unwrap().wiring().unwrap();
    assert_eq!(wiring.rail(0, 0), None);
    assert_eq!(wiring.reach((0, 0), (3, 7)), Some(Reach::Leaf(CABLE)));
    assert_eq!(wiring.reach((0, 0), (4, 0)), Some(Reach::Spine(CABLE)));
}

#[test]
fn a_fabric_that_cannot_be_is_refused_with_its_numbers() {
    let good = text("fabric-rail-32.toml");
    let cases = [
        ("count = 32", "count = ", "line "),
        ("by = \"rail\"", "by = \"ring\"", "unknown variant `ring`"),
        ("ports = 8", "ports = 8\ncolour = 1", "unknown field `colour`"),
        ("schema = 1", "schema = 2", "schema 2; this library reads schema 1"),
        (
            "count = 32",
            "count = 33",
            "33 of 8 ports, 32 to a group, take 16 leaves; \"leaf\" has 8",
        ),
        ("count = 32", "count = 99999999", "the number of nodes is 99999999; give 1 to 65536"),
        ("count = 32", "count = -1", "line 11, column "),
        ("nodes_per_group = 32", "nodes_per_group = 0", "nodes_per_group is 0"),
        ("leaves = \"leaf\"\nby", "leaves = \"laef\"\nby", "no leaves are called \"laef\""),
        ("spines = \"spine\"", "spines = \"leaf\"", "no spines are called \"leaf\""),
        ("name = \"spine\"", "name = \"leaf\"", "two groups are called \"leaf\""),
        ("cables = 8", "cables = 9", "leaf0 has 68 cables and 64 ports"),
        ("cables = 8", "cables = 4", "oversubscription of leaf is said to be 1:1, and is 2:1"),
        (
            "[[uplinks]]",
            "[[cables]]\nnodes = \"node\"\nleaves = \"leaf\"\nby = \"rail\"\nnodes_per_group = 32\nmbit = 1\n\n[[uplinks]]",
            "port 0 of node0 has two cables",
        ),
    ];
    for (old, new, expected) in cases {
        let text = good.replacen(old, new, 1);
        assert_ne!(text, good, "{old}");
        let told = Fabric::read(&text).map(drop).unwrap_err().to_string();
        assert!(told.contains(expected), "{new}: {told}");
    }
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(matches!(Fabric::read(&deep).unwrap_err().fault, FabricFault::Syntax { .. }));
}

#[test]
fn a_fabric_of_a_lab_is_made_from_its_numbers() {
    let lab = Fabric::rail_optimised(2, 8, 200, 1, 1);
    assert_eq!(Fabric::read(&lab.to_toml().unwrap()).unwrap(), lab);
    assert_eq!(lab.wiring().unwrap().oversubscription(3).unwrap().to_string(), "2:1");
    assert!(Fabric::rail_optimised(2, 8, 200, 0, 0).wiring().unwrap().uplinks.is_empty());
}

/// The same element with all that it holds in another order, and a remark.
fn shuffled(element: &Element, seed: u64) -> Element {
    let mut element = element.clone();
    let mut state = seed | 1;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for last in (1..element.items.len()).rev() {
        element.items.swap(last, random(last + 1));
    }
    for last in (1..element.attributes.len()).rev() {
        element.attributes.swap(last, random(last + 1));
    }
    for item in &mut element.items {
        if let Item::Element(inner) = item {
            *inner = shuffled(inner, seed.wrapping_mul(31));
        }
    }
    element.items.push(Item::Comment(format!("found by {seed}")));
    element
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_the_order_of_discovery_a_cluster_is_one_value(seed in any::<u64>()) {
        let files = ["dgx1-v100.xml", "azure-nd-v4.xml", "dgx1-v100.xml"].map(machine);
        let again = files.each_ref().map(|file| {
            let document = Document::new(shuffled(&file.document().root, seed));
            Topology::from_document(document).expect("the same machine")
        });
        let cluster = |files: &[Topology; 3], order: [usize; 3]| {
            Cluster::new(order.map(|node| (format!("node{node}"), &files[node])), Some(Fabric::rail_optimised(3, 8, 1, 1, 1)))
        };
        let (a, b) = (cluster(&files, [0, 1, 2]), cluster(&again, [2, 0, 1]));
        prop_assert_eq!(&a, &b);
        prop_assert_eq!(a.fingerprint(), b.fingerprint());
        prop_assert_eq!(a.kinds().len(), 2);
        prop_assert_eq!(files[0].fingerprint(), again[0].fingerprint());
        prop_assert_ne!(files[0].fingerprint(), files[1].fingerprint());
        prop_assert_eq!(diff(&files[1], &again[1]).expect("small"), vec![]);
    }
}

#[test]
fn a_fingerprint_tells_every_part_of_the_machine_and_nothing_of_the_run() {
    let text = text("azure-nd-v4.xml");
    let print = |text: &str| Topology::read(text).unwrap().fingerprint();
    assert_eq!(print(&text), print(&text.replace("gdr=\"1\">", "gdr=\"1\" rank=\"7\">")));
    assert_ne!(print(&text), print(&text.replacen("200000", "100000", 1)));
    assert_ne!(print(&text), print(&text.replacen("count=\"12\"", "count=\"11\"", 1)));
    assert_eq!(print(&text).to_string().len(), 16);
    let (one, fabric) = (machine("dgx-h100.xml"), Fabric::rail_optimised(1, 8, 1, 1, 1));
    let cluster =
        |name: &str, fabric| Cluster::new([(name.to_owned(), &one)], fabric).fingerprint();
    assert_ne!(cluster("a", None), cluster("b", None));
    assert_ne!(cluster("a", None), cluster("a", Some(fabric)));
}

#[test]
fn a_difference_is_told_with_the_paths_that_it_changes() {
    let text = text("hgx-h100-4nic.xml");
    let first = Topology::read(&text).unwrap();
    let slower = text.replacen(
        "name=\"mlx5_3\" dev=\"3\" speed=\"400000\"",
        "name=\"mlx5_3\" dev=\"3\" speed=\"200000\"",
        1,
    );
    let found = diff(&first, &Topology::read(&slower).unwrap()).unwrap();
    let told: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(told[0].ends_with("/ nic / net mlx5_3 1: speed \"400000\" -> \"200000\""), "{told:?}");
    assert!(
        told.contains(&"~ path GPU6 to mlx5_3: PIX 48 GB/s -> PIX 25 GB/s".to_owned()),
        "{told:?}"
    );
    assert!(found[1..].iter().all(|found| matches!(found, Difference::Path { .. })));

    let without = text.replacen("<gpu dev=\"7\"", "<other dev=\"7\"", 1).replacen(
        "</gpu>\n      </pci>\n      <pci busid=\"0000:bc",
        "</other>\n      </pci>\n      <pci busid=\"0000:bc",
        1,
    );
    let found = diff(&first, &Topology::read(&without).unwrap()).unwrap();
    assert!(
        found.iter().any(
            |found| matches!(found, Difference::OnlyFirst { element, .. } if element.ends_with("/ gpu"))
        ),
        "{found:?}"
    );
    assert!(found.iter().any(|found| matches!(found, Difference::OnlySecond { .. })), "{found:?}");
}

#[test]
fn a_hosts_description_fits_the_virtual_machine_that_has_a_part_of_it() {
    let host = machine("dgx1-v100.xml");
    // GPUs 0 and 4, which two NVLinks join, the NIC of the first; one guest's id is that of a switch.
    let map = "0000:10:01.0 = 0001:00:00.0 # GPU 0\n\n0000:30:01.0,0000:0f:00.0\n0000:10:08.0 0101:00:00.0\n";
    let remapped = remap(host.document(), &BusMap::read(map).unwrap()).unwrap();
    let guest = Topology::from_document(remapped.document).unwrap();
    assert_eq!((guest.gpus().len(), guest.ports().len()), (2, 1));
    let paths = Paths::of(&guest).unwrap();
    let path = paths.between(guest.gpus()[0], guest.gpus()[1]).unwrap();
    assert_eq!((path.kind, path.bandwidth), (PathKind::Nvl, Bandwidth::mb_per_s(40_000)));
    let near = paths.between(guest.gpus()[0], guest.ports()[0]).unwrap();
    assert_eq!(near.kind, PathKind::Pix, "the switch is kept, whatever its bus id");
    let addresses: Vec<_> =
        guest.ids().filter_map(|id| guest.pci(id)).map(|pci| pci.bus_id.to_string()).collect();
    assert_eq!(addresses.iter().filter(|id| *id == "0000:0f:00.0").count(), 1, "{addresses:?}");
    assert!(addresses.contains(&"ffff:ff:00.0".to_owned()), "{addresses:?}");
    // Six GPUs, three NICs, and the six NVLinks of the two to GPUs that are gone.
    assert_eq!(remapped.dropped.len(), 6 + 3 + 6, "{:?}", remapped.dropped);
}

#[test]
fn a_map_that_does_not_fit_is_refused() {
    let told = |map: &str| BusMap::read(map).map(drop).unwrap_err().to_string();
    assert!(told("0:1:0.0=0:2:0.0\nnonsense").contains("line 2 of the map is \"nonsense\""));
    assert!(told("0:1:0.0=0:2:0.0\n0:3:0.0=0:2:0.0").contains("has 0000:02:00.0 a second time"));
    let map = BusMap::read("0:1:0.0=0:2:0.0").unwrap();
    let refused = remap(machine("dgx-h100.xml").document(), &map).unwrap_err();
    assert!(matches!(refused, RemapError::Unknown { .. }), "{refused}");
}

#[test]
fn a_fabric_is_told_in_text_and_drawn_with_each_switch_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    for (name, lines) in [
        (
            "fabric-rail-2.toml",
            [
                "nodes      2 (node0 … node1), 8 ports each, each dgx-h100.xml",
                "reach      node to node, one rail: by their leaf, 50 GB/s",
            ],
        ),
        (
            "fabric-rail-128.toml",
            [
                "reach      node to node, another rail: by a spine, 50 GB/s at best",
                "reach      node to node, one rail: in one group by their leaf, 50 GB/s; else by a spine, 50 GB/s at best",
            ],
        ),
        (
            "fabric-rail-only-32.toml",
            [
                "reach      node to node, another rail: not at all, but by another GPU of the node (PXN)",
                "uplinks    none: what is on different leaves does not reach each other",
            ],
        ),
        (
            "fabric-fat-tree-32.toml",
            [
                "reach      node to node: in one group by their leaf, 50 GB/s; else by a spine, 50 GB/s at best",
                "nodes      32 (node0 … node31), 8 ports each, each dgx-h100.xml",
            ],
        ),
    ] {
        let fabric = Fabric::read(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
        let wiring = fabric.wiring().unwrap();
        let told = fabric::text(&fabric, &wiring);
        for line in lines {
            assert!(told.lines().any(|it| it == line), "{name}: {line} is not in\n{told}");
        }
        let text = fabric::svg(&fabric, &wiring);
        let picture = roxmltree::Document::parse(&text).unwrap();
        let ids: Vec<_> = picture.descendants().filter_map(|node| node.attribute("id")).collect();
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{name}");
        assert!(ids.contains(&"leaf0") && ids.contains(&"node1"), "{name}: {ids:?}");
    }
}

#[test]
fn a_picture_of_a_fabric_cuts_no_cable_off() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    for (name, label, cables, texts) in [
        (
            "fabric-rail-128.toml",
            "32 nodes × 8 NICs: node0–node31, leaves leaf0–leaf7",
            32 * 8 + 16 + 8,
            ["rail 7", "32 nodes × 8 NICs, 256 uplinks"],
        ),
        (
            "fabric-fat-tree-32.toml",
            "4 nodes × 8 NICs: node0–node3, leaf leaf0",
            4 + 8,
            [
                "node to leaf: 256 cables of 400 Gb/s, ×8 between a node and a leaf",
                "leaf to spine: ×4 of 400 Gb/s between each two, oversubscription 1:1",
            ],
        ),
    ] {
        let fabric = Fabric::read(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
        let text = fabric::svg(&fabric, &fabric.wiring().unwrap());
        let picture = roxmltree::Document::parse(&text).unwrap();
        let with = |attribute: &str, value: &str| {
            let all = picture.descendants();
            all.filter(|node| node.attribute(attribute) == Some(value)).count()
        };
        let all = picture.descendants().filter(|node| node.has_tag_name("path"));
        let drawn = all.filter(|node| node.attribute("d").unwrap_or("").contains('L')).count();
        assert_eq!(drawn, cables, "{name}: each node that is drawn has all its cables");
        let first: Vec<_> = picture.descendants().filter_map(|node| node.text()).collect();
        // All lines of a tier are alike here: the legend tells their numbers.
        assert!(!first.iter().any(|text| text.starts_with('×')), "{name}: {first:?}");
        for part in texts.iter().chain([&label]) {
            assert!(first.contains(part), "{name}: {part} is not in {first:?}");
        }
        assert_eq!(with("class", "group"), if name.contains("128") { 4 } else { 8 }, "{name}");
    }
}
