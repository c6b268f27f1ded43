//! Owns the check of the project's own descriptions of machines: what their paths are, worked out by hand
//! from the data sheets and the rules, and that lint finds in them what it should.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crosstie_topo::{
    Bandwidth, LinkKind, PathKind, Paths, Rails, Rule, Severity, Topology, VertexId, VertexKind,
    lint,
};

fn read(name: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology").join(name);
    let text = fs::read_to_string(&path).expect(name);
    Topology::read(&text).expect(name)
}

/// Every row a GPU; every column a GPU, then a port: the kind of the path by which it sends.
fn kinds(topology: &Topology) -> Vec<String> {
    let paths = Paths::of(topology).expect("few enough");
    let row = |&gpu: &VertexId| {
        let gpus = topology.gpus().iter().map(|&to| paths.between(gpu, to));
        let ports = topology.ports().iter().map(|&to| paths.send(gpu, to));
        let names = gpus.chain(ports).map(|path| path.map_or("DIS", |path| path.kind.name()));
        names.collect::<Vec<_>>().join(" ")
    };
    topology.gpus().iter().map(row).collect()
}

/// Kind and bandwidth, MB/s, of the best path between the GPUs, or ports, of such labels.
fn between(topology: &Topology, from: &str, to: &str) -> (PathKind, u64) {
    let paths = Paths::of(topology).expect("few enough");
    let find = |name: &str| {
        let named = |id: &&VertexId| topology.label(**id).to_string() == name;
        paths.ends().iter().find(named).copied().expect(name)
    };
    let (from, to) = (find(from), find(to));
    let path = match topology.port(to) {
        Some(_) => paths.send(from, to),
        None => paths.between(from, to),
    };
    let path = path.expect("a path");
    (path.kind, path.bandwidth.as_bytes_per_s() / 1_000_000)
}

#[test]
fn every_description_is_read_tells_its_provenance_and_lint_finds_what_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name.ends_with(".xml"));
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        let topology = read(&name);
        let text = topology.document().to_string();
        assert!(text.contains("Provenance: "), "{name}");
        assert_eq!(Topology::read(&text).unwrap().document(), topology.document(), "{name}");
        let found: Vec<_> =
            lint(&topology).into_iter().map(|finding| (finding.severity, finding.rule)).collect();
        let expected = match name.as_str() {
            // Its A100 hang on processors of the third generation of PCIe: a note.
            "aws-p4d.xml" => vec![(Severity::Note, Rule::LinkBelowDevice)],
            _ => vec![],
        };
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn azure_nd_v4_is_as_worked_out_by_hand() {
    let topology = read("azure-nd-v4.xml");
    let own = |first: usize| {
        let ports = (0..8).map(|port| if port / 2 == first { "PIX" } else { "PXN" });
        ports.collect::<Vec<_>>().join(" ")
    };
    for (gpu, row) in kinds(&topology).iter().enumerate() {
        let gpus = (0..8).map(|other| if other == gpu { "LOC" } else { "NVL" });
        let expected = format!("{} {}", gpus.collect::<Vec<_>>().join(" "), own(gpu / 2));
        assert_eq!(*row, expected, "GPU{gpu}");
    }
    // 12 NVLinks of 20 GB/s; 16 lanes of the fourth generation; 200 Gb/s are 25 GB/s, more than the bus.
    assert_eq!(between(&topology, "GPU0", "GPU7"), (PathKind::Nvl, 240_000));
    assert_eq!(between(&topology, "GPU0", "mlx5_ib0"), (PathKind::Pix, 24_000));
    assert_eq!(between(&topology, "GPU0", "mlx5_ib7"), (PathKind::Pxn, 24_000));
    // Ports do not relay: what they receive for a GPU of another NUMA node passes the sockets, 16 GB/s.
    assert_eq!(between(&topology, "mlx5_ib7", "GPU0"), (PathKind::Sys, 16_000));
    assert_eq!(between(&topology, "mlx5_ib0", "mlx5_ib1"), (PathKind::Pix, 24_000));
    assert_eq!(between(&topology, "CPU1", "GPU0"), (PathKind::Phb, 24_000));
}

#[test]
fn aws_p4d_is_as_worked_out_by_hand() {
    let topology = read("aws-p4d.xml");
    for (gpu, row) in kinds(&topology).iter().enumerate() {
        let ports = (0..4).map(|port| if port == gpu / 2 { "PIX" } else { "PXN" });
        assert!(row.ends_with(&ports.collect::<Vec<_>>().join(" ")), "GPU{gpu}: {row}");
    }
    // 16 lanes of the third generation, and 100 Gb/s, which is a little more.
    assert_eq!(between(&topology, "GPU1", "rdmap16s27"), (PathKind::Pix, 12_000));
    assert_eq!(between(&topology, "GPU1", "rdmap160s27"), (PathKind::Pxn, 12_000));
    assert_eq!(between(&topology, "GPU0", "GPU1"), (PathKind::Nvl, 240_000));
    // Skylake's link between sockets.
    assert_eq!(between(&topology, "rdmap16s27", "GPU7"), (PathKind::Sys, 10_000));
    assert_eq!(between(&topology, "rdmap16s27", "GPU2"), (PathKind::Phb, 12_000));
}

#[test]
fn a_dgx_1_joins_its_far_corners_by_way_of_one_gpu() {
    let topology = read("dgx1-v100.xml");
    assert_eq!(
        kinds(&topology),
        [
            "LOC NVL NVL NVL NVL NVB NVB NVB PIX PXN PXN SYS",
            "NVL LOC NVL NVL NVB NVL NVB NVB PIX PXN SYS SYS",
            "NVL NVL LOC NVL NVB NVB NVL NVB PXN PIX SYS PXN",
            "NVL NVL NVL LOC NVB NVB NVB NVL PXN PIX SYS SYS",
            "NVL NVB NVB NVB LOC NVL NVL NVL PXN SYS PIX PXN",
            "NVB NVL NVB NVB NVL LOC NVL NVL SYS SYS PIX PXN",
            "NVB NVB NVL NVB NVL NVL LOC NVL SYS PXN PXN PIX",
            "NVB NVB NVB NVL NVL NVL NVL LOC SYS SYS PXN PIX",
        ]
    );
    assert_eq!(between(&topology, "GPU0", "GPU1"), (PathKind::Nvl, 20_000));
    assert_eq!(between(&topology, "GPU0", "GPU4"), (PathKind::Nvl, 40_000));
    // By GPU4: two links, then two; by GPU1 it would be one, then one.
    assert_eq!(between(&topology, "GPU0", "GPU7"), (PathKind::Nvb, 40_000));
    let tree = topology.paths_from(topology.gpus()[0]);
    let hops = tree.hops(topology.gpus()[7]);
    assert_eq!(hops.len(), 2);
    assert!(
        hops.iter()
            .all(|hop| hop.link == LinkKind::Nvl && hop.bandwidth == Bandwidth::mb_per_s(40_000))
    );
    assert!(hops.iter().any(|hop| hop.to == topology.gpus()[3] || hop.to == topology.gpus()[4]));
    // Only a GPU with a rank does it; where there is none, PCI.
    let gpus = topology.gpus();
    let by = |joins: &[VertexId]| {
        let tree = topology.paths_joined_by(gpus[0], |gpu| joins.contains(&gpu));
        tree.to(gpus[7]).map(|path| (path.kind, tree.hops(gpus[7])[0].to))
    };
    assert_eq!(by(&gpus[4..]), Some((PathKind::Nvb, gpus[4])));
    assert_eq!(by(&gpus[3..4]), Some((PathKind::Nvb, gpus[3])));
    assert_eq!(by(&[]).map(|(kind, _)| kind), Some(PathKind::Sys));
}

#[test]
fn each_gpu_of_a_dgx_h100_has_a_nic_and_relays_to_it_for_the_others() {
    let topology = read("dgx-h100.xml");
    let paths = Paths::of(&topology).unwrap();
    for (rail, (&gpu, &port)) in topology.gpus().iter().zip(topology.ports()).enumerate() {
        assert_eq!(paths.own_gpu(port), Some(gpu));
        assert_eq!(paths.own_port(&topology, gpu, 5), Some(port));
        for &other in topology.gpus().iter().filter(|&&other| other != gpu) {
            assert_eq!(paths.relayed(other, port).unwrap().relay, gpu);
        }
        assert_eq!(Rails::of(&topology).rail_of(port), Some(rail as u32));
    }
    assert_eq!(between(&topology, "GPU0", "mlx5_0"), (PathKind::Pix, 48_000));
    assert_eq!(between(&topology, "GPU0", "GPU1"), (PathKind::Nvl, 18 * 20_600));
    assert_eq!(between(&topology, "mlx5_0", "GPU1"), (PathKind::Phb, 48_000));
    assert_eq!(between(&topology, "mlx5_0", "GPU7"), (PathKind::Sys, 22_000));
}

#[test]
fn two_gpus_share_a_nic_and_one_of_them_is_its_own() {
    let topology = read("hgx-h100-4nic.xml");
    let paths = Paths::of(&topology).unwrap();
    for (port, pair) in topology.ports().iter().zip(topology.gpus().chunks(2)) {
        assert_eq!(paths.nearest(*port, topology.gpus()), pair);
        assert_eq!(paths.own_gpu(*port), Some(pair[0]));
        assert_eq!(paths.relayed(pair[1], *port), None, "its own way is as good");
    }
}

#[test]
fn four_nics_of_a_gpu_are_dealt_out_to_channels() {
    let topology = read("aws-p5.xml");
    let paths = Paths::of(&topology).unwrap();
    let mut dealt: Vec<_> = (0..4)
        .filter_map(|channel| paths.own_port(&topology, topology.gpus()[2], channel))
        .collect();
    dealt.sort_unstable();
    assert_eq!(dealt, topology.ports()[8..12]);
    assert_eq!(Rails::of(&topology).len(), 32);
}

#[test]
fn dgx_2_and_dgx_a100_know_near_switches_from_far_ones() {
    let topology = read("dgx2-v100.xml");
    assert_eq!(between(&topology, "GPU0", "mlx5_0"), (PathKind::Pix, 12_000));
    assert_eq!(between(&topology, "mlx5_0", "GPU2"), (PathKind::Pxb, 12_000));
    assert_eq!(between(&topology, "mlx5_0", "GPU4"), (PathKind::Phb, 12_000));
    assert_eq!(between(&topology, "GPU0", "GPU15"), (PathKind::Nvl, 120_000));
    let topology = read("dgx-a100.xml");
    assert_eq!(between(&topology, "GPU0", "mlx5_1"), (PathKind::Pix, 24_000));
    assert_eq!(between(&topology, "mlx5_0", "GPU2"), (PathKind::Sys, 16_000));
}

#[test]
fn without_nvlink_nobody_relays() {
    let topology = read("pcie-8gpu.xml");
    assert_eq!(
        kinds(&topology),
        [
            "LOC PIX PHB PHB SYS SYS SYS SYS PIX SYS",
            "PIX LOC PHB PHB SYS SYS SYS SYS PIX SYS",
            "PHB PHB LOC PIX SYS SYS SYS SYS PHB SYS",
            "PHB PHB PIX LOC SYS SYS SYS SYS PHB SYS",
            "SYS SYS SYS SYS LOC PIX PHB PHB SYS PIX",
            "SYS SYS SYS SYS PIX LOC PHB PHB SYS PIX",
            "SYS SYS SYS SYS PHB PHB LOC PIX SYS PHB",
            "SYS SYS SYS SYS PHB PHB PIX LOC SYS PHB",
        ]
    );
}

#[test]
fn a_grace_hopper_reaches_its_nic_chip_to_chip() {
    let topology = read("grace-hopper.xml");
    assert_eq!(between(&topology, "GPU0", "CPU0"), (PathKind::C2c, 450_000));
    assert_eq!(between(&topology, "GPU0", "mlx5_0"), (PathKind::P2c, 48_000));
}

#[test]
fn nics_of_a_node_without_gpus_have_paths_and_rails() {
    let topology = read("cpu-4nic.xml");
    assert_eq!(between(&topology, "mlx5_0", "mlx5_1"), (PathKind::Phb, 25_000));
    assert_eq!(between(&topology, "mlx5_0", "mlx5_2"), (PathKind::Sys, 16_000));
    assert_eq!(Rails::of(&topology).len(), 4);
}

#[test]
fn rails_are_those_of_the_cards_that_carry_the_most_together() {
    let card = |bus: &str, device: &str, mbit: u32| {
        format!(
            "<pci busid=\"{bus}\" class=\"0x020000\" vendor=\"0x15b3\" device=\"{device}\" link_speed=\"32.0 GT/s PCIe\" link_width=\"16\">
             <nic><net name=\"n{bus}\" speed=\"{mbit}\" port=\"1\"/></nic></pci>"
        )
    };
    let cards = [
        card("0000:01:00.0", "0x1521", 1_000),
        card("0000:01:00.1", "0x1521", 1_000),
        card("0000:02:00.0", "0x1021", 400_000),
    ];
    let text = format!(
        "<system version=\"1\"><cpu numaid=\"0\" arch=\"x86_64\">{}</cpu></system>",
        cards.join("")
    );
    let topology = Topology::read(&text).unwrap();
    let rails = Rails::of(&topology);
    let names: Vec<String> = rails
        .iter()
        .flat_map(|(_, ports)| ports.iter().map(|&port| topology.label(port).to_string()))
        .collect();
    assert_eq!((names, rails.beside().len()), (vec!["n0000:02:00.0".to_owned()], 2));
}

#[test]
fn a_rack_is_one_nvlink_domain_of_many_hosts() {
    let topology = read("nvl72.xml");
    assert_eq!(
        (topology.hosts().len(), topology.gpus().len(), topology.ports().len()),
        (18, 72, 72)
    );
    let (a, b) = ("h0/GPU0", "h17/GPU3");
    assert_eq!(between(&topology, a, b), (PathKind::Nvl, 18 * 40_100));
    assert_eq!(between(&topology, a, "h0/mlx5_0"), (PathKind::P2c, 48_000));
    // GPUs on the other Grace reach it over NVLink and its own GPU.
    assert_eq!(between(&topology, "h0/GPU2", "h0/mlx5_0"), (PathKind::Pxn, 48_000));
    let paths = Paths::of(&topology).unwrap();
    let far = topology.ports()[71];
    assert_eq!(paths.send(topology.gpus()[0], far), None, "nobody sends by another host's NIC");
    let rails = Rails::of(&topology);
    assert_eq!(rails.len(), 4);
    assert!(rails.iter().all(|(_, ports)| ports.len() == 18));
}

/// One host of GPUs, each with two NICs, on as many switches, or a rack.
fn large(hosts: u32, gpus: u32) -> String {
    let mut text = String::from("<system version=\"1\">");
    for host in 0..hosts {
        text += &format!("<cpu host_hash=\"{host:x}\" numaid=\"0\" arch=\"arm64\">");
        for gpu in 0..gpus {
            text += &format!(
                "<pci busid=\"{gpu:x}:00:00.0\" class=\"0x060400\" link_speed=\"32 GT/s\" link_width=\"16\">
                 <pci busid=\"{gpu:x}:01:00.0\" class=\"0x030200\" link_speed=\"32 GT/s\" link_width=\"16\">
                 <gpu dev=\"{gpu}\" sm=\"100\"><nvlink target=\"s\" count=\"18\" tclass=\"0x068000\"/></gpu></pci>
                 <pci busid=\"{gpu:x}:02:00.0\" class=\"0x020000\" link_speed=\"32 GT/s\" link_width=\"16\"><nic><net dev=\"{}\" speed=\"400000\"/></nic></pci>
                 <pci busid=\"{gpu:x}:03:00.0\" class=\"0x020000\" link_speed=\"32 GT/s\" link_width=\"16\"><nic><net dev=\"{}\" speed=\"400000\"/></nic></pci></pci>",
                2 * gpu,
                2 * gpu + 1
            );
        }
        text += "</cpu>";
    }
    text + "</system>"
}

#[test]
fn large_machines_are_read_and_all_their_paths_found_soon() {
    let rack = read("nvl72.xml").document().to_string();
    let cases = [
        ("72 GPUs", rack, 72, 72),
        ("16 GPUs, 32 NICs", large(1, 16), 16, 32),
        ("576 GPUs", large(144, 4), 576, 1152),
    ];
    for (name, text, gpus, ports) in cases {
        let begin = Instant::now();
        let topology = Topology::read(&text).unwrap();
        let paths = Paths::of(&topology).unwrap();
        let took = begin.elapsed();
        println!("{name}: {took:?}");
        assert_eq!((topology.gpus().len(), topology.ports().len()), (gpus, ports));
        let far = paths.between(topology.gpus()[0], topology.gpus()[gpus - 1]).unwrap();
        assert_eq!(far.kind, PathKind::Nvl);
        // Seconds, not milliseconds: on a loaded machine, without optimisation.
        assert!(took.as_secs() < 20, "{name} took {took:?}");
    }
}

/// The rules of lint, each on a description that breaks it.
fn found(body: &str) -> Vec<(Severity, Rule, String)> {
    let text =
        format!("<system version=\"1\"><cpu numaid=\"0\" arch=\"arm64\">{body}</cpu></system>");
    let topology = Topology::read(&text).expect(&text);
    lint(&topology)
        .into_iter()
        .map(|found| (found.severity, found.rule, found.to_string()))
        .collect()
}

fn gpu(dev: u32, extra: &str) -> String {
    format!(
        "<pci busid=\"0:{:x}:0.0\" class=\"0x030200\" link_speed=\"32 GT/s\" link_width=\"16\"><gpu dev=\"{dev}\" sm=\"90\">{extra}</gpu></pci>",
        dev + 1
    )
}

fn nic(dev: u32, mbit: u32) -> String {
    format!(
        "<pci busid=\"0:{:x}:0.0\" class=\"0x020000\" vendor=\"0x15b3\" device=\"0x1021\" link_speed=\"32 GT/s\" link_width=\"16\"><nic><net dev=\"{dev}\" speed=\"{mbit}\"/></nic></pci>",
        dev + 0x80
    )
}

#[test]
fn each_rule_finds_its_fault_with_evidence_and_remedy() {
    let below = |old: &str, new: &str| {
        gpu(0, "").replace("class", "vendor=\"0x10de\" device=\"0x2330\" class").replace(old, new)
            + &nic(0, 400_000)
    };
    let link = |to: u32, count: u32| {
        format!("<nvlink target=\"0:{:x}:0.0\" count=\"{count}\" tclass=\"0x030200\"/>", to + 1)
    };
    let switch = |count: u32| format!("<nvlink target=\"x\" count=\"{count}\"/>");
    let cases = [
        (gpu(0, "") + &nic(0, 400_000), vec![], ""),
        (gpu(0, ""), vec![Rule::NoNic], "1 GPU and no NIC: the machine is on 0 rails"),
        (
            gpu(0, "") + &nic(0, 0),
            vec![Rule::SpeedUnknown],
            "NET0 tells no speed, and counts as 1.25 GB/s",
        ),
        (
            below("32 GT/s", ""),
            vec![Rule::SpeedUnknown],
            "GPU0 (0000:01:00.0) has no link_speed, and counts as 12 GB/s",
        ),
        (
            below("32 GT/s", "16 GT/s"),
            vec![Rule::LinkBelowDevice],
            "16 lanes at 16 GT/s and could have 16 at 32 GT/s: 24 GB/s of 48 GB/s",
        ),
        (
            below("width=\"16\"", "width=\"4\""),
            vec![Rule::LinkBelowDevice],
            "has 4 lanes at 32 GT/s",
        ),
        (below("32 GT/s", "Unknown"), vec![Rule::SpeedUnknown], "link_speed \"Unknown\""),
        (
            (0..4).map(|n| gpu(n, "")).collect::<String>() + &nic(0, 400_000),
            vec![Rule::FlatTree],
            "4 GPUs and 1 NIC hang below",
        ),
        (
            gpu(0, "") + &gpu(1, "").replace("0:2:0.0", "0:1:0.0") + &nic(0, 400_000),
            vec![Rule::DuplicateBusId],
            "GPU0, GPU1 have one bus id, 0000:01:00.0",
        ),
        (
            gpu(0, "") + &gpu(1, "").replace("dev=\"1\"", "dev=\"0\"") + &nic(0, 400_000),
            vec![Rule::DuplicateNumber],
            "2 GPUs have the number dev=\"0\"",
        ),
        (
            nic(0, 400_000) + &nic(1, 200_000),
            vec![Rule::RailSpeeds],
            "NET1 carries 25 GB/s, the others 50 GB/s",
        ),
        (
            nic(0, 400_000).replace("<net", "<net rail=\"3\"")
                + &nic(1, 200_000).replace("<net", "<net rail=\"3\""),
            vec![Rule::RailSpeeds],
            "on rail 3 NET1 carries 25 GB/s",
        ),
        (
            gpu(0, &link(1, 2)) + &gpu(1, &link(0, 1)) + &nic(0, 400_000),
            vec![Rule::AsymmetricNvlink],
            "GPU0 counts 2 NVLinks to GPU1, which counts 1 back",
        ),
        (
            gpu(0, &link(1, 2)) + &gpu(1, "") + &nic(0, 400_000),
            vec![Rule::AsymmetricNvlink],
            "counts 0 back",
        ),
        (
            gpu(0, &switch(18)) + &gpu(1, &switch(17)) + &nic(0, 400_000),
            vec![Rule::AsymmetricNvlink],
            "GPU1 has 17 NVLinks, others of the same model 18",
        ),
        (
            gpu(0, &link(1, 2)) + &gpu(1, &link(0, 2)) + &gpu(2, "") + &nic(0, 400_000),
            vec![Rule::FlatTree, Rule::AsymmetricNvlink],
            "GPU2 has 0 NVLinks, others of the same model 2",
        ),
        (
            nic(0, 400_000) + &nic(1, 400_000).replace("width=\"16\"", "width=\"8\""),
            vec![Rule::LinkBelowDevice],
            "NIC1 (0000:81:00.0) has 8 lanes at 32 GT/s and could have 16 at 32 GT/s",
        ),
        (
            nic(0, 400_000).replace("width=\"16\"", "width=\"8\""),
            vec![Rule::PortAboveLink],
            "NIC0 (0000:80:00.0) has a port of 400 Gb/s on 8 lanes at 32 GT/s: 252 Gb/s at most",
        ),
        (
            nic(0, 200_000).replace("width=\"16\"", "width=\"17\""),
            vec![Rule::LinkWidth],
            "NIC0 (0000:80:00.0) has 17 lanes, which no PCIe link has",
        ),
        (
            nic(0, 400_000).replace("width=\"16\"", "width=\"255\""),
            vec![Rule::SpeedUnknown],
            "has link_width 255, and counts as 48 GB/s",
        ),
        (String::new(), vec![Rule::NoNic], "0 GPUs and no NIC: the machine is on 0 rails"),
        (
            gpu(0, &link(5, 2)) + &nic(0, 400_000),
            vec![Rule::LinkToNowhere],
            "GPU0 has 2 NVLinks to GPUs that are not described (0:6:0.0), which are left out",
        ),
        (
            gpu(0, &link(0, 12)) + &nic(0, 400_000),
            vec![Rule::SelfLink],
            "GPU0 has an NVLink to itself",
        ),
        (
            nic(0, 400_000) + "<pci busid=\"0:9:0.0\" link_speed=\"8 GT/s\" link_width=\"16\"/>",
            vec![Rule::UnknownDevice],
            "whether DEV0 (0000:09:00.0) is a GPU",
        ),
        (
            nic(0, 400_000) + "</cpu><cpu numaid=\"-1\">",
            vec![Rule::NumaUnknown],
            "CPU?1 has NUMA number -1",
        ),
        (
            format!("{}{}</cpu><cpu numaid=\"1\">{}", gpu(0, ""), nic(0, 400_000), gpu(1, "")),
            vec![Rule::GpuWithoutNic],
            "GPU1 reaches every NIC by way of another NUMA node",
        ),
        (
            format!("{}</cpu><cpu host_hash=\"b\" numaid=\"0\">{}", gpu(0, ""), gpu(0, "")),
            vec![Rule::Unreachable, Rule::Unreachable, Rule::NoNic],
            "nothing leads from h0/GPU0 to h1/GPU0",
        ),
        (
            gpu(0, "").replace("<gpu dev=\"0\" sm=\"90\"></gpu>", "") + &nic(0, 400_000),
            vec![Rule::NotDescribed],
            "no <gpu> element",
        ),
    ];
    for (body, rules, evidence) in cases {
        let found = found(&body);
        assert_eq!(
            found.iter().map(|found| found.1).collect::<Vec<_>>(),
            rules,
            "{body}\n{found:?}"
        );
        let told: String = found.iter().map(|found| found.2.as_str()).collect();
        assert!(told.contains(evidence), "{told}\nlacks {evidence}");
        assert!(rules.is_empty() || told.contains("]; "), "no remedy: {told}");
    }
}

#[test]
fn the_worst_findings_come_first() {
    let twice = gpu(0, "") + &gpu(0, "").replace("32 GT/s", "");
    let severities: Vec<_> = found(&twice).into_iter().map(|found| found.0).collect();
    assert!(
        severities.is_sorted_by(|a, b| a >= b) && severities[0] == Severity::Error,
        "{severities:?}"
    );
}

#[test]
fn functions_are_one_card_behind_a_switch_or_by_equal_ids_and_strangers_on_the_root_complex() {
    let cards = |text: &str| {
        let text = format!("<system version=\"1\"><cpu numaid=\"0\">{text}</cpu></system>");
        let topology = Topology::read(&text).unwrap();
        let is_card = |vertex: &&crosstie_topo::Vertex| matches!(vertex.kind, VertexKind::Nic(_));
        let cards = topology.vertices().iter().filter(is_card).count();
        assert_eq!(topology.ports().len(), 2, "{text}");
        cards
    };
    let function = |function: u32, device: &str| {
        format!(
            "<pci busid=\"0:0:14.{function}\" class=\"0x020000\" vendor=\"0x8086\" device=\"{device}\"><nic><net/></nic></pci>"
        )
    };
    let (equal, strange) =
        (function(0, "0x1") + &function(1, "0x1"), function(0, "0x1") + &function(3, "0x2"));
    let behind_switch =
        |text: &str| format!("<pci busid=\"0:1:0.0\" class=\"0x060400\">{text}</pci>");
    assert_eq!([cards(&equal), cards(&strange), cards(&behind_switch(&strange))], [1, 2, 1]);
}

#[test]
fn processors_of_one_host_with_one_number_are_an_error() {
    let cpu = |host: &str, numa: i32, bus: u32| {
        format!(
            "<cpu host_hash=\"{host}\" numaid=\"{numa}\" arch=\"x86_64\" vendor=\"GenuineIntel\"><pci busid=\"0:{bus}:0.0\" class=\"0x030200\"/></cpu>"
        )
    };
    let twice = |cpus: [String; 2]| {
        let text = format!("<system version=\"1\">{}</system>", cpus.concat());
        let found = lint(&Topology::read(&text).unwrap());
        let told = found.iter().find(|finding| finding.rule == Rule::DuplicateNumber);
        told.map(|told| (told.severity, told.evidence.clone()))
    };
    let said = "2 <cpu>s of one host have numaid=\"3\"".to_owned();
    assert_eq!(twice([cpu("a", 3, 1), cpu("a", 3, 2)]), Some((Severity::Error, said)));
    assert_eq!(twice([cpu("a", 3, 1), cpu("b", 3, 2)]), None);
    assert_eq!(twice([cpu("a", 3, 1), cpu("a", 4, 2)]), None);
}

#[test]
fn what_nccl_would_not_read_is_told() {
    let machine = |value: usize, attributes: usize, cpus: usize| {
        let more: String = (1..attributes).map(|n| format!(" a{n}=\"\"")).collect();
        let cpus: String = (0..cpus).map(|n| format!("<cpu numaid=\"{n}\"/>")).collect();
        let text =
            format!("<system version=\"1\"{more}><x y=\"{}\"/>{cpus}</system>", "v".repeat(value));
        let found = lint(&Topology::read(&text).unwrap());
        let told = found.into_iter().filter(|finding| finding.rule == Rule::BeyondNccl);
        told.map(|told| format!("{}: {}", told.severity, told.evidence)).collect::<Vec<_>>()
    };
    assert_eq!(machine(255, 16, 639), [""; 0]);
    assert!(machine(256, 1, 1)[0].contains("has 256 bytes; NCCL reads 255"));
    assert_eq!(machine(1, 17, 1), ["warning: system has 17 attributes; NCCL reads 16"]);
    assert_eq!(machine(1, 1, 640), ["warning: system has 641 elements inside; NCCL reads 640"]);
}

#[test]
fn a_switch_that_is_slower_or_emptier_than_its_like_is_found() {
    let text = read("dgx-h100.xml").document().to_string();
    let told = |text: &str| {
        let topology = Topology::read(text).unwrap();
        let found = lint(&topology).into_iter();
        found.map(|found| (found.rule, found.evidence)).collect::<Vec<_>>()
    };
    let uplink =
        "busid=\"0000:16:00.0\" class=\"0x060400\" link_speed=\"32.0 GT/s PCIe\" link_width=\"16\"";
    assert!(text.contains(uplink), "{text}");
    let slower = uplink.replace("32.0", "16.0").replace("\"16\"", "\"8\"");
    let found = told(&text.replace(uplink, &slower));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, Rule::UplinkBelowDevices);
    let evidence = "SW0 (0000:16:00.0) has an uplink of 12 GB/s (8 lanes at 16 GT/s), and below it GPU0 of 48 GB/s, 96 GB/s in all; SW7, with as many devices below it, has 48 GB/s";
    assert_eq!(found[0].1, evidence);

    let gpu = text.find("<gpu dev=\"7\"").expect("GPU7");
    let begin = text[..gpu].rfind("<pci ").expect("its place on PCI");
    let end = begin + text[begin..].find("</pci>").expect("its end") + "</pci>".len();
    let found = told(&(text[..begin].to_owned() + &text[end..]));
    let evidence = "SW7 has 0 GPUs and 1 NIC below it; 7 other switches have 1 GPU and 1 NIC each";
    assert_eq!(found, [(Rule::Unpaired, evidence.to_owned())]);
}
