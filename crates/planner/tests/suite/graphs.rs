//! NCCL's graph files: what is written reads back equal, what is read fits the machine or is refused with the
//! place, and hostile text costs little.

use std::fs;
use std::path::Path;

use crosstie_planner::graph::{
    Channel, CrossNic, Device, Graph, GraphError, GraphFault, GraphFile, Pattern, Place, Unfit,
};
use crosstie_planner::search::{Node, Swap, rings};
use crosstie_topo::{PathKind, Topology};
use proptest::prelude::*;

fn machine(name: &str) -> Topology {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    Topology::read(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn a_plan_written_as_a_graph_file_reads_back_as_the_same_rings_and_trees() {
    for name in ["dgx1-v100.xml", "dgx-h100.xml", "pcie-8gpu.xml", "hgx-h100-4nic.xml", "nvl72.xml"]
    {
        let machine = machine(name);
        let node = Node::whole(&machine);
        for nodes in [1, 2, 3, 4, 5] {
            let Ok(found) = rings(std::slice::from_ref(&node), &vec![0; nodes]) else { continue };
            let file = GraphFile::of(&found, &node).unwrap();
            let read = GraphFile::read(file.to_string().as_bytes()).unwrap();
            assert_eq!(read, file, "{name}");
            let on = file.on(&node, nodes as u32, true, found.bound_mb_s).unwrap();
            let ways = |rings: &crosstie_planner::search::Rings| -> Vec<_> {
                let all = rings.rings.iter().flat_map(|ring| &ring.nodes);
                all.map(|way| (way.gpus.clone(), way.nic_in, way.nic_out)).collect()
            };
            assert_eq!(on.rings.trees, found.trees, "{name} on {nodes} nodes");
            // Rings that turn on an odd number of nodes have no form there.
            if !matches!(found.swap, Swap::None | Swap::Pairs) {
                continue;
            }
            assert_eq!(ways(&on.rings), ways(&found), "{name} on {nodes} nodes");
            // Links bear at least what the search says that they do.
            assert!(on.rings.total_mb_s() >= found.total_mb_s(), "{name} on {nodes} nodes");
            assert!(on.rings.crossings.is_empty(), "{name} on {nodes} nodes");
        }
    }
}

#[test]
fn rings_that_swap_in_pairs_say_so_to_nccl() {
    let machine = machine("dgx-h100.xml");
    let node = Node::whole(&machine);
    let found = rings(std::slice::from_ref(&node), &[0, 0]).unwrap();
    assert_eq!(found.swap, Swap::Pairs);
    let file = GraphFile::of(&found, &node).unwrap();
    // Rings that turn on an odd number of nodes have no form there: NCCL is given pairs.
    let odd = rings(std::slice::from_ref(&node), &[0, 0, 0]).unwrap();
    assert!(matches!(odd.swap, Swap::Turning { .. }));
    let odd = GraphFile::of(&odd, &node).unwrap();
    assert_eq!(odd.graphs[0], file.graphs[0]);
    let on = odd.on(&node, 3, true, None).unwrap();
    assert_eq!(on.rings.crossings.len(), 8, "each ring crosses once, at the last node");
    let [ring, tree] = &file.graphs[..] else { panic!("{file}") };
    assert_eq!((ring.id, ring.pattern, ring.cross_nic), (0, Pattern::Ring, CrossNic::Pairs));
    assert_eq!((tree.id, tree.pattern, tree.cross_nic), (1, Pattern::Tree, CrossNic::No));
    assert_eq!((ring.type_intra, ring.type_inter), (PathKind::Nvl, PathKind::Pix));
    assert_eq!(ring.speed_inter_mb_s, 48_000);
    for pair in ring.channels.chunks(2) {
        let nets = |channel: &Channel| channel.nets.map(|nets| nets.map(|net| net.dev)).unwrap();
        let [into, out] = nets(&pair[0]);
        assert_eq!(nets(&pair[1]), [out, into]);
    }
}

/// A file of two GPUs' rings on a machine of one NIC.
const SMALL: &str = r#"<graphs version="1">
  <graph id="0" pattern="4" crossnic="0" nchannels="1" speedintra="12" speedinter="12" latencyinter="0" typeintra="PIX" typeinter="PIX" samechannels="1">
    <channel>
      <net dev="0"/>
      <gpu dev="0"/>
      <gpu dev="1"/>
      <net dev="0"/>
    </channel>
  </graph>
</graphs>"#;

fn refused(text: &str) -> GraphError {
    GraphFile::read(text.as_bytes()).expect_err(text)
}

#[test]
fn what_is_wrong_is_told_with_line_column_and_what_was_expected() {
    assert!(GraphFile::read(SMALL.as_bytes()).is_ok());
    for (from, to, line, told) in [
        (
            "<graphs version=\"1\">",
            "<graphs version=\"2\">",
            1,
            "version=\"2\" of <graphs>, expected 1",
        ),
        ("<graphs version=\"1\">", "<graphs>", 1, "<graphs> has no version"),
        ("pattern=\"4\"", "pattern=\"9\"", 2, "pattern=\"9\" of <graph>, expected 1 balanced tree"),
        ("nchannels=\"1\"", "nchannels=\"3\"", 2, "nchannels says otherwise: 1, expected 3"),
        ("speedintra=\"12\"", "speedintra=\"-1\"", 2, "speedintra=\"-1\" of <graph>"),
        ("speedintra=\"12\"", "speedintra=\"nan\"", 2, "speedintra=\"nan\" of <graph>"),
        ("typeintra=\"PIX\"", "typeintra=\"NET\"", 2, "typeintra=\"NET\" of <graph>"),
        ("<gpu dev=\"1\"/>", "<gpu/>", 6, "<gpu> has no dev"),
        ("<gpu dev=\"1\"/>", "<gpu dev=\"x\"/>", 6, "dev=\"x\" of <gpu>"),
        (
            "<gpu dev=\"1\"/>",
            "<cpu dev=\"1\"/>",
            6,
            "<cpu> inside <channel>, expected <net> or <gpu>",
        ),
        ("<gpu dev=\"1\"/>", "<net dev=\"0\"/>", 3, "a channel with 3 <net>"),
    ] {
        let error = refused(&SMALL.replacen(from, to, 1));
        assert_eq!(error.at.line, line, "{error}");
        assert!(error.at.column > 0 && error.to_string().contains(told), "{error}");
    }
    assert!(matches!(refused("<system/>").fault, GraphFault::Root { .. }));
    assert!(matches!(refused("{}").fault, GraphFault::Xml(_)));
    let twice = SMALL.replace("</graphs>", &SMALL[SMALL.find("<graph ").unwrap()..]);
    assert!(matches!(refused(&twice).fault, GraphFault::Twice { id: 0 }), "{twice}");
}

#[test]
fn a_file_of_another_machine_is_refused_by_device() {
    let machine = machine("dgx-h100.xml");
    let eight: String = (0..8).map(|gpu| format!("<gpu dev=\"{gpu}\"/>\n")).collect();
    let good = SMALL.replace("<gpu dev=\"0\"/>\n      <gpu dev=\"1\"/>\n", &eight);
    let on = |text: &str| {
        let file = GraphFile::read(text.as_bytes()).unwrap();
        file.on(&Node::whole(&machine), 2, true, None)
    };
    assert!(on(&good).is_ok());
    for (from, to, line, told) in [
        ("<gpu dev=\"7\"/>", "<gpu dev=\"0x11\"/>", 12, "GPU 17, expected one of 0 1 2 3 4 5 6 7"),
        ("<net dev=\"0\"/>", "<net dev=\"8\"/>", 4, "NIC 8, expected one of 0 1 2 3 4 5 6 7"),
        (
            "<gpu dev=\"7\"/>",
            "",
            3,
            "GPUs of a channel, which passes each that has a rank once: 7, expected 8",
        ),
        ("<gpu dev=\"7\"/>", "<gpu dev=\"0\"/>", 12, "GPU 0 a second time"),
    ] {
        let Err(Unfit::Graph(error)) = on(&good.replacen(from, to, 1)) else { panic!("{to}") };
        assert_eq!(error.at.line, line, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    let Err(Unfit::Graph(error)) = on(&good.replace("<net dev=\"0\"/>", "")) else { panic!() };
    assert!(error.to_string().contains("expected two for 2 nodes"), "{error}");
}

fn device() -> impl Strategy<Value = Device> {
    (any::<u8>(), any::<u32>(), any::<Option<u32>>()).prop_map(|(host, dev, rank)| Device {
        host,
        dev,
        rank,
        at: Place::default(),
    })
}

fn channel() -> impl Strategy<Value = Channel> {
    let nets = prop::option::of([device(), device()]);
    (nets, prop::collection::vec(device(), 1..2)).prop_map(|(nets, gpus)| Channel {
        nets,
        gpus,
        at: Place::default(),
    })
}

fn graph(id: u32) -> impl Strategy<Value = Graph> {
    let pattern = prop::sample::select(vec![
        Pattern::BalancedTree,
        Pattern::SplitTree,
        Pattern::Tree,
        Pattern::Ring,
        Pattern::Nvls,
        Pattern::CollnetDirect,
    ]);
    let cross = prop::sample::select(vec![CrossNic::No, CrossNic::Any, CrossNic::Pairs]);
    let kind = || prop::sample::select(PathKind::ALL[..10].to_vec());
    let speed = || 0..1_000_000_000u64;
    let channels = prop::collection::vec(channel(), 0..5);
    (pattern, cross, [speed(), speed(), speed()], [kind(), kind()], any::<bool>(), channels)
        .prop_map(move |(pattern, cross_nic, speeds, kinds, same_channels, channels)| Graph {
            id,
            pattern,
            cross_nic,
            speed_intra_mb_s: speeds[0],
            speed_inter_mb_s: speeds[1],
            latency_inter_ns: speeds[2],
            type_intra: kinds[0],
            type_inter: kinds[1],
            same_channels,
            channels,
            at: Place::default(),
        })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_equal(graphs in (graph(0), graph(1), graph(3))) {
        let file = GraphFile { graphs: vec![graphs.0, graphs.1, graphs.2] };
        prop_assert_eq!(GraphFile::read(file.to_string().as_bytes()), Ok(file));
    }

    #[test]
    fn a_damaged_file_is_read_or_refused_with_its_place(
        place in 0..SMALL.len(), byte in any::<u8>(), cut in 0..SMALL.len(),
    ) {
        let mut bytes = SMALL.as_bytes().to_vec();
        bytes[place] = byte;
        for bytes in [&bytes[..], &bytes[..cut]] {
            if let Err(error) = GraphFile::read(bytes) {
                prop_assert!(error.at.line > 0, "{}", error);
            }
        }
    }
}

#[test]
fn a_graph_of_a_gpu_that_is_alone_on_its_node_keeps_its_speed() {
    let machine = machine("grace-hopper.xml");
    let node = Node::whole(&machine);
    let found = rings(std::slice::from_ref(&node), &[0]).unwrap();
    let file = GraphFile::of(&found, &node).unwrap();
    let on = file.on(&node, 1, true, found.bound_mb_s).unwrap();
    assert_eq!(on.rings.total_mb_s(), found.total_mb_s());
    assert!(on.rings.total_mb_s() > 0);
}

#[test]
fn rings_of_a_graph_load_the_nics_that_are_on_no_rail_too() {
    let machine = machine("hgx-h100-4nic.xml");
    let node = Node::whole(&machine);
    let found = rings(std::slice::from_ref(&node), &[0, 0]).unwrap();
    let file = GraphFile::of(&found, &node).unwrap();
    let lost = Node { rails: node.rails.clone().without(0), ..node.clone() };
    let on = |node: &Node<'_>| file.on(node, 2, true, None).unwrap().rings.total_mb_s();
    assert_eq!(on(&lost), on(&node), "the NIC carries what it carries, on a rail or on none");
}
