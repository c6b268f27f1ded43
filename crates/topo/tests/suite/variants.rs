//! Owns the check that what NCCL and RCCL write, or put up with, is read: each variant is one that their
//! readers take (`src/graph/xml.cc`, `topo.cc`), with what it must mean.

use crosstie_topo::xml::Document;
use crosstie_topo::{GpuModel, LinkKind, PathKind, Paths, Rule, Severity, Topology, lint};

fn read(body: &str) -> Topology {
    let text = format!(
        "<system version=\"1\"><cpu numaid=\"0\" arch=\"x86_64\" vendor=\"AuthenticAMD\">{body}</cpu></system>"
    );
    let topology = Topology::read(&text).expect(&text);
    let again = Document::read(&topology.document().to_string()).expect("what was written");
    assert_eq!(*topology.document(), again, "{text}");
    topology
}

fn gpu(bus: &str, attributes: &str, inner: &str) -> String {
    format!(
        "<pci busid=\"{bus}\" class=\"0x030200\" link_speed=\"16.0 GT/s PCIe\" link_width=\"16\"><gpu {attributes}>{inner}</gpu></pci>"
    )
}

fn rules(topology: &Topology) -> Vec<Rule> {
    lint(topology).into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_nic_without_a_net_is_a_card_without_ports() {
    let topology = read(
        "<pci busid=\"0000:01:00.0\" class=\"0x020700\"><nic/></pci><pci busid=\"0000:02:00.0\" class=\"0x020700\"><nic><gin dev=\"0\"/></nic></pci>",
    );
    assert_eq!((topology.ports().len(), topology.vertices().len()), (0, 3));
    assert!(rules(&topology).contains(&Rule::NoNic));
}

#[test]
fn what_a_run_writes_of_a_net_is_read() {
    let topology = read(
        "<pci busid=\"0000:01:00.0\" class=\"0x020000\" vendor=\"0x15b3\" device=\"0x1021\" subsystem_vendor=\"0x15b3\" subsystem_device=\"0x0041\" link_speed=\"32.0 GT/s PCIe\" link_width=\"16\">
         <nic><net name=\"mlx5_0\" dev=\"0\" latency=\"0.000000\" speed=\"400000\" port=\"1\" guid=\"0xa088c20300e3b8c0\" maxconn=\"131072\" gdr=\"1\" coll=\"1\" keep=\"1\" rail=\"-1\" plane=\"-1\"/>
         <gin dev=\"0\" keep=\"1\"/><rma dev=\"0\"/></nic></pci>
         <nic><net name=\"eth0\" dev=\"-1\" speed=\"-1\" port=\"0\" guid=\"0\" gdr=\"-1\" coll=\"0\"/></nic>",
    );
    let [first, second] = [0, 1].map(|n| topology.port(topology.ports()[n]).unwrap());
    assert_eq!(first.guid, Some(0xa088_c203_00e3_b8c0));
    assert_eq!((first.port, first.gdr, first.coll, first.rail), (Some(1), true, true, None));
    assert_eq!((second.dev, second.mbit, second.port), (1, None, Some(0)));
}

#[test]
fn gpus_of_a_subset_have_links_to_those_that_are_not_there() {
    let link = |to: &str, class: &str| format!("<nvlink target=\"{to}\" count=\"2\" {class}/>");
    let there = link("0000:02:00.0", "tclass=\"0x030200\"");
    let hidden =
        link("0000:0a:00.0", "tclass=\"0x030200\"") + &link("0000:0b:00.0", "tclass=\"0x030000\"");
    let down = "<nvlink target=\"0000:02:00.0\" count=\"0\" tclass=\"0x030200\"/>";
    let topology = read(
        &(gpu(
            "0000:01:00.0",
            "dev=\"0\" sm=\"70\" rank=\"0\" gdr=\"1\"",
            &(there + &hidden + down),
        ) + &gpu(
            "0000:02:00.0",
            "dev=\"1\" sm=\"70\"",
            &link("0000:01:00.0", "tclass=\"0x030200\""),
        )),
    );
    let [a, b] = [0, 1].map(|n| topology.gpus()[n]);
    assert_eq!(topology.link(a, b, LinkKind::Nvl).map(|link| link.count), Some(2));
    let found = lint(&topology);
    let nowhere = found.iter().find(|finding| finding.rule == Rule::LinkToNowhere).unwrap();
    assert_eq!(nowhere.severity, Severity::Note);
    assert_eq!(
        nowhere.evidence,
        "GPU0 has 4 NVLinks to GPUs that are not described (0000:0a:00.0, 0000:0b:00.0), which are left out"
    );
}

#[test]
fn far_ends_by_any_class_that_is_no_gpu_or_processor_are_switches() {
    for class in
        ["tclass=\"0x068000\"", "tclass=\"068000\"", "tclass=\"\"", "", "tclass=\"0x060400\""]
    {
        for target in ["ffff:ff:ff.0", "fffffff:ffff:ff", "0000:c5:00.0", ""] {
            let link = format!("<nvlink target=\"{target}\" count=\"12\" {class}/>");
            let topology = read(
                &(gpu("0000:01:00.0", "dev=\"0\" sm=\"80\"", &link)
                    + &gpu("0000:02:00.0", "dev=\"1\" sm=\"80\"", &link)),
            );
            let paths = Paths::of(&topology).unwrap();
            let path = paths.between(topology.gpus()[0], topology.gpus()[1]).unwrap();
            assert_eq!(
                (path.kind, path.bandwidth.to_string().as_str()),
                (PathKind::Nvl, "240 GB/s")
            );
        }
    }
    let link = "<nvlink target=\"0004:00:00.0\" count=\"3\" tclass=\"0x068001\"/>";
    let topology = read(&gpu("0000:01:00.0", "dev=\"0\" sm=\"70\"", link));
    let [gpu, cpu] = [topology.gpus()[0], topology.cpus()[0]];
    assert_eq!(topology.link(gpu, cpu, LinkKind::Nvl).map(|link| link.count), Some(3));
}

#[test]
fn chips_joined_to_processors_are_read_beside_nvlinks() {
    let inner =
        "<c2c bw=\"45000\" count=\"5\"/><nvlink target=\"s\" count=\"18\" tclass=\"0x068000\"/>";
    let topology = read(&gpu("0008:01:00.0", "dev=\"0\" sm=\"100\" mlopart=\"0\"", inner));
    let [gpu, cpu] = [topology.gpus()[0], topology.cpus()[0]];
    let paths = Paths::of(&topology).unwrap();
    assert_eq!(paths.between(gpu, cpu).map(|path| path.kind), Some(PathKind::C2c));
}

#[test]
fn amd_gpus_are_told_by_gcn_in_each_of_its_forms() {
    let rates = [
        ("908", "24 GB/s"),
        ("gfx90a", "36 GB/s"),
        ("gfx90a:sramecc+:xnack-", "36 GB/s"),
        ("gfx942", "48 GB/s"),
    ];
    for (gcn, rate) in rates {
        let attributes = |dev: u32| {
            format!("dev=\"{dev}\" sm=\"90\" gcn=\"{gcn}\" arch=\"38911\" rank=\"-1\" gdr=\"1\"")
        };
        let link = |to: &str| format!("<xgmi target=\"{to}\" count=\"1\" tclass=\"0x038000\"/>");
        let topology = read(
            &(gpu("0000:c1:00.0", &attributes(0), &link("0000:c6:00.0"))
                + &gpu("0000:c6:00.0", &attributes(1), &link("0000:c1:00.0"))),
        );
        assert_eq!(
            topology.gpu(topology.gpus()[0]).unwrap().model,
            GpuModel::Amd { gcn: gcn.into() }
        );
        let paths = Paths::of(&topology).unwrap();
        let path = paths.between(topology.gpus()[0], topology.gpus()[1]).unwrap();
        assert_eq!(
            (path.kind, path.bandwidth.to_string().as_str()),
            (PathKind::Nvl, rate),
            "{gcn}"
        );
    }
}

#[test]
fn hosts_are_told_apart_by_their_hash_only() {
    let cpu = |host: &str, numa: i32, bus: &str| {
        format!(
            "<cpu host_hash=\"{host}\" numaid=\"{numa}\" affinity=\"00000000,0000ffff\" arch=\"arm64\">{}</cpu>",
            gpu(
                bus,
                "dev=\"0\" sm=\"100\"",
                "<nvlink target=\"s\" count=\"18\" tclass=\"0x068000\"/>"
            )
        )
    };
    let text = format!(
        "<system version=\"1\" name=\"rack\">{}{}{}</system>",
        cpu("0x1a2b3c4d5e6f7081", 0, "0008:01:00.0"),
        cpu("0x1a2b3c4d5e6f7081", 1, "0009:01:00.0"),
        cpu("0xffffffffffffffff", 0, "0008:01:00.0")
    );
    let topology = Topology::read(&text).unwrap();
    assert_eq!((topology.hosts().len(), topology.gpus().len()), (2, 3));
    let paths = Paths::of(&topology).unwrap();
    let far = paths.between(topology.gpus()[0], topology.gpus()[2]).unwrap();
    assert_eq!(far.kind, PathKind::Nvl);
}

#[test]
fn links_of_pci_in_each_form_that_kernels_write() {
    let link = |attributes: &str| {
        let topology =
            read(&format!("<pci busid=\"0000:01:00.0\" class=\"0x060400\" {attributes}/>"));
        let switch = topology.ids().nth(1).unwrap();
        topology.pci(switch).map(|pci| (pci.mega_transfers, pci.lanes)).unwrap()
    };
    assert_eq!(link("link_speed=\"16 GT/s\" link_width=\"16\""), (Some(16_000), Some(16)));
    assert_eq!(link("link_speed=\"2.5 GT/s PCIe\" link_width=\"x8\""), (Some(2_500), Some(8)));
    assert_eq!(link("link_speed=\"64.0 GT/s PCIe\" link_width=\"4\""), (Some(64_000), Some(4)));
    for unknown in ["Unknown speed", "Unknown", "", "0", "256 GT/s"] {
        assert_eq!(link(&format!("link_speed=\"{unknown}\" link_width=\"0\"")), (None, None));
    }
    for unknown in ["63", "255", "-1", ""] {
        assert_eq!(link(&format!("link_width=\"{unknown}\"")), (None, None), "{unknown}");
    }
    for id in ["00000000:1b:00.0", "1b:00.0", "0000:1B:00.0", "10000:1b:00.0", " 0000:1b:00.0 "] {
        let topology = read(&format!("<pci busid=\"{id}\" class=\"0x060400\"/>"));
        assert_eq!(topology.vertices().len(), 2, "{id}");
    }
}

/// NCCL's reader is written by hand and looks for no more than it needs.
#[test]
fn text_that_is_not_quite_xml_is_read_as_nccl_reads_it() {
    let cases = [
        "\u{feff}<?xml version='1.0'?>\r\n<system version='1'>\r\n\t<cpu numaid='0'/>\r\n</system>\r\n",
        "<!-- ---- a line of dashes ---- -->\n<system version=\"1\"><cpu numaid=\"0\"/></system>",
        "<system version=\"1\"><cpu numaid=\"0\" name=\"A & B < C\"/></system>",
        "<system version=\"1\"><cpu numaid=\"0\"/></system>\n\0\0\n",
        "\n\n  <system version=\"1\">\n<cpu numaid=\"0\"></cpu></system>",
        "<system version=\"1\"><cpu numaid=\"0\"arch=\"x86_64\"/></system>",
        "<system version = \"1\" ><cpu numaid= \"0\" /></system >",
    ];
    for text in cases {
        let topology = Topology::read(text).unwrap_or_else(|e| panic!("{e}\n{text:?}"));
        assert_eq!(topology.cpus().len(), 1, "{text:?}");
        let written = topology.document().to_string();
        assert_eq!(Document::read(&written).unwrap(), *topology.document(), "{written}");
    }
}
