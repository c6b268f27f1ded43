//! Owns the checks of what is shown: each device once, nothing over anything else, and texts that users of
//! other tools know.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crosstie_topo::render::{Matrix, brief, dot, headline, json, legend, svg, tree, tree_by_kind};
use crosstie_topo::{PathKind, Paths, Topology};
use roxmltree::{Document, Node};

/// The project's machines, and those of the folder that `CROSSTIE_TOPOLOGIES` names.
fn machines() -> Vec<(String, Topology)> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    let theirs = std::env::var_os("CROSSTIE_TOPOLOGIES").map(PathBuf::from);
    let folders = [Some(ours), theirs.clone(), theirs.map(|folder| folder.join("completed"))];
    let listed = folders.into_iter().flatten().filter_map(|folder| fs::read_dir(folder).ok());
    let paths = listed.flatten().map(|entry| entry.expect("a readable folder").path());
    let xml = paths.filter(|path| path.extension().is_some_and(|end| end == "xml"));
    let read = |path: PathBuf| {
        let topology = Topology::read(&fs::read_to_string(&path).expect("a readable file"));
        Some((path.display().to_string(), topology.ok()?))
    };
    let mut machines: Vec<_> = xml.filter_map(read).collect();
    let odd = Topology::read(include_str!("../files/odd.xml")).expect("a topology");
    machines.push(("odd".into(), odd));
    assert!(machines.len() >= 14, "{}", machines.len());
    machines
}

fn machine(name: &str) -> Topology {
    let mut machines = machines().into_iter();
    machines.find(|(path, _)| path.ends_with(name) && !path.contains("completed")).expect(name).1
}

/// Left, top, right, bottom.
type Area = [f64; 4];

fn number(node: &Node, name: &str) -> f64 {
    node.attribute(name).and_then(|text| text.parse().ok()).expect(name)
}

fn area_of_text(node: &Node) -> Area {
    let (x, y) = (number(node, "x"), number(node, "y"));
    let width = 6.0 * node.text().unwrap_or_default().chars().count() as f64;
    let left = if node.attribute("text-anchor") == Some("middle") { x - width / 2.0 } else { x };
    [left, y - 9.0, left + width, y + 2.0]
}

fn area_of_box(node: &Node) -> Area {
    let (x, y) = (number(node, "x"), number(node, "y"));
    [x, y, x + number(node, "width"), y + number(node, "height")]
}

fn overlap(a: &Area, b: &Area) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

fn none_overlap(name: &str, what: &str, areas: &[(String, Area)]) {
    let mut sorted: Vec<_> = areas.iter().collect();
    sorted.sort_by(|a, b| a.1[0].total_cmp(&b.1[0]));
    for (number, a) in sorted.iter().enumerate() {
        for b in sorted[number + 1..].iter().take_while(|b| b.1[0] < a.1[2]) {
            assert!(!overlap(&a.1, &b.1), "{name}: {what} {:?} and {:?} overlap", a, b);
        }
    }
}

#[test]
fn a_picture_has_each_device_once_and_no_label_over_another() {
    for (name, topology) in machines() {
        let text = svg(&topology);
        let picture = Document::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        let elements: Vec<Node> = picture.descendants().filter(Node::is_element).collect();
        for id in elements.iter().filter_map(|node| node.attribute("id")) {
            *ids.entry(id).or_default() += 1;
        }
        assert_eq!(ids.len(), topology.vertices().len(), "{name}");
        assert!(ids.values().all(|&times| times == 1), "{name}: {ids:?}");
        for (class, count) in [
            ("gpu", topology.gpus().len()),
            ("port", topology.ports().len()),
            ("cpu", topology.cpus().len()),
        ] {
            let of_class = elements.iter().filter(|node| node.attribute("class") == Some(class));
            assert_eq!(of_class.count(), count, "{name}: {class}");
        }
        let named = |node: &Node| node.text().unwrap_or_default().to_owned();
        let texts: Vec<_> = elements
            .iter()
            .filter(|node| node.has_tag_name("text"))
            .map(|node| (named(node), area_of_text(node)))
            .collect();
        none_overlap(&name, "labels", &texts);
        let groups = elements.iter().filter(|node| node.has_tag_name("g"));
        let boxes: Vec<_> = groups
            .map(|group| {
                let frame = group.children().find(|node| node.has_tag_name("rect")).expect("a box");
                let frame = area_of_box(&frame);
                for text in group.children().filter(|node| node.has_tag_name("text")) {
                    let text_area = area_of_text(&text);
                    assert!(
                        text_area[0] >= frame[0] && text_area[2] <= frame[2],
                        "{name}: {:?} leaves its box",
                        text.text()
                    );
                }
                (group.attribute("id").expect("an id").to_owned(), frame)
            })
            .collect();
        none_overlap(&name, "boxes", &boxes);
        let root = picture.root_element();
        let whole = [0.0, 0.0, number(&root, "width"), number(&root, "height")];
        let inside = |area: &Area| {
            area[0] >= 0.0 && area[1] >= 0.0 && area[2] <= whole[2] && area[3] <= whole[3]
        };
        for (what, area) in texts.iter().chain(&boxes) {
            assert!(inside(area), "{name}: {what} leaves the picture: {area:?} of {whole:?}");
        }
    }
}

#[test]
fn a_tree_tells_each_device_on_a_line_of_its_own() {
    assert_eq!(
        tree(&machine("topology/grace-hopper.xml")),
        "\
CPU0
├─ GPU0: 0009:01:00.0, GH200, PCIe 12 GB/s (assumed), sm 90; 10 C2C links to CPU0 (450 GB/s)
└─ NIC0: 0002:01:00.0, ConnectX-7, PCIe 48 GB/s
   └─ mlx5_0: 400 Gb/s, rail 0
"
    );
    for (name, topology) in machines() {
        let several = if topology.hosts().len() > 1 { topology.hosts().len() } else { 0 };
        assert_eq!(tree(&topology).lines().count(), topology.vertices().len() + several, "{name}");
    }
    let empty = Topology::read("<system version=\"1\"/>").unwrap();
    assert_eq!(tree(&empty), "nothing is described\n");
}

#[test]
fn a_matrix_reads_as_that_of_nvidia_smi() {
    let topology = machine("topology/pcie-8gpu.xml");
    let matrix = Matrix::of(&topology, &Paths::of(&topology).unwrap());
    let text = matrix.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "        GPU0  GPU1  GPU2  GPU3  GPU4  GPU5  GPU6  GPU7  mlx5_0  mlx5_1  NUMA  rail"
    );
    assert_eq!(
        lines[1],
        "GPU0    X     PIX   PHB   PHB   SYS   SYS   SYS   SYS   PIX     SYS     0"
    );
    assert_eq!(
        lines[10],
        "mlx5_1  SYS   SYS   SYS   SYS   PIX   PIX   PHB   PHB   SYS     X       1     1"
    );
    let topology = machine("topology/dgx1-v100.xml");
    let matrix = Matrix::of(&topology, &Paths::of(&topology).unwrap());
    let row: Vec<_> = matrix.rows()[0].iter().map(|cell| cell.text.as_str()).collect();
    assert_eq!(
        row,
        ["X", "NV1", "NV1", "NV2", "NV2", "NVB", "NVB", "NVB", "PIX", "PXN", "PXN", "SYS"]
    );
    assert_eq!(matrix.kinds()[..3], [PathKind::Loc, PathKind::Nvl, PathKind::Nvb]);
    assert!(legend(&matrix.kinds()).contains("NV#  # NVLinks"));
    let topology = machine("topology/dgx-h100.xml");
    let matrix = Matrix::of(&topology, &Paths::of(&topology).unwrap());
    assert_eq!(matrix.rows()[0][7].text, "NV18");
}

#[test]
fn json_tells_all_and_dot_draws_all() {
    for (name, topology) in machines() {
        let value: serde_json::Value =
            serde_json::from_str(&json(&topology)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(value["schema"], 1);
        let length = |key: &str| value[key].as_array().expect(key).len();
        assert_eq!(length("vertices"), topology.vertices().len(), "{name}");
        assert!(length("links") >= topology.links().len(), "{name}");
        let ends = topology.gpus().len() + topology.ports().len();
        assert!(length("paths") <= ends * ends.saturating_sub(1), "{name}");
        let drawn = dot(&topology);
        assert_eq!(drawn.matches("[shape=").count(), topology.vertices().len(), "{name}");
        assert!(drawn.starts_with("graph topology {") && drawn.ends_with("}\n"), "{name}");
    }
    let value: serde_json::Value =
        serde_json::from_str(&json(&machine("topology/aws-p4d.xml"))).unwrap();
    assert_eq!(value["findings"][0]["rule"], "link-below-device");
    assert_eq!(value["findings"][0]["about"][0], "gpu0");
    let paths = value["paths"].as_array().unwrap();
    let relayed =
        paths.iter().find(|path| path["from"] == "gpu7" && path["to"] == "port0").unwrap();
    assert_eq!((&relayed["kind"], &relayed["relay"]), (&"PXN".into(), &"gpu0".into()));
    assert_eq!(relayed["bandwidth"], 12_000_000_000_u64);
}

#[test]
fn a_headline_tells_what_a_machine_is() {
    let told = ["dgx-h100", "nvl72", "cpu-4nic", "dgx1-v100"]
        .map(|name| headline(&machine(&format!("topology/{name}.xml"))));
    assert_eq!(
        told,
        [
            "8 GPUs (H100) on NVSwitch, 8 NICs of 400 Gb/s on 8 rails, 2 NUMA nodes",
            "18 hosts, 72 GPUs (GB200) on NVSwitch, 72 NICs of 400 Gb/s on 4 rails, 36 NUMA nodes",
            "no GPU, 4 NICs of 200 Gb/s on 4 rails, 2 NUMA nodes",
            "8 GPUs (V100) joined directly, 4 NICs of 100 Gb/s on 4 rails, 2 NUMA nodes",
        ]
    );
    assert_eq!(
        headline(&Topology::read("<system version=\"1\"/>").unwrap()),
        "no GPU, no NIC, 0 NUMA nodes"
    );
}

#[test]
fn a_rack_is_told_in_few_lines_that_a_terminal_holds() {
    let rack = machine("topology/nvl72.xml");
    let tree = tree_by_kind(&rack);
    assert!(tree.starts_with("host 0 (0x1), and hosts 1 to 17, alike\nCPU0"), "{tree}");
    assert_eq!(tree.lines().filter(|line| line.contains("GPU0:")).count(), 1, "{tree}");
    let told = brief(&rack, &Paths::of(&rack).unwrap());
    assert!(
        tree.lines().chain(told.lines()).all(|line| line.chars().count() <= 130),
        "{tree}{told}"
    );
    assert!(tree.lines().count() + told.lines().count() < 60, "{told}");
    for line in [
        "Within host 0 (the other 17 alike):",
        "72 GPUs (h0/GPU0 … h17/GPU3) reach each",
        "    71 GPUs   NV18  721.8 GB/s",
        "     2 ports  P2C   48 GB/s        (h0/GPU0 to h0/mlx5_0, h0/mlx5_1)",
        "     2 ports  PXN   48 GB/s        (h0/GPU0 to h0/mlx5_4, h0/mlx5_5)",
        "    68 ports  no path",
    ] {
        assert!(told.lines().any(|it| it == line), "{line} is not in\n{told}");
    }
}

#[test]
fn a_row_unlike_the_others_is_told_apart() {
    let text = machine("topology/dgx-h100.xml").document().to_string();
    let worse = Topology::read(&text.replacen("count=\"18\"", "count=\"17\"", 1)).unwrap();
    let told = brief(&worse, &Paths::of(&worse).unwrap());
    assert!(told.contains("1 GPU (GPU0) reaches"), "{told}");
    assert!(told.contains("7 GPUs (GPU1 … GPU7) reach each"), "{told}");
}

#[test]
fn a_wide_machine_goes_on_in_rows_and_a_rack_stands_in_a_grid() {
    for name in ["dgx2-v100", "aws-p5", "nvl72", "dgx-h100"] {
        let text = svg(&machine(&format!("topology/{name}.xml")));
        let picture = Document::parse(&text).unwrap();
        let root = picture.root_element();
        let (width, height) = (number(&root, "width"), number(&root, "height"));
        assert!(
            width <= 2400.0 && (0.8..6.0).contains(&(width / height)),
            "{name}: {width} x {height}"
        );
    }
}

#[test]
fn a_picture_marks_what_is_assumed_uneven_or_without_bound() {
    let text = machine("topology/dgx1-v100.xml").document().to_string();
    let even = svg(&Topology::read(&text).unwrap());
    assert!(!even.contains("uneven") && !even.contains("(assumed)"), "{even}");
    let count = text.find("count=\"2\"").expect("a pair of NVLinks");
    let uneven = format!("{}count=\"1\"{}", &text[..count], &text[count + 9..]);
    let uneven = svg(&Topology::read(&uneven).unwrap());
    assert!(uneven.contains("uneven NVLink, the slower way 20 GB/s"), "{uneven}");
    let untold = text.replace("link_width=\"16\"", "link_width=\"0\"");
    let untold = svg(&Topology::read(&untold).unwrap());
    assert!(untold.contains("PCIe 12 GB/s (assumed)"), "{untold}");
    let odd = svg(&machine("odd"));
    let unbounded = odd.lines().filter(|line| line.contains("stroke-dasharray=\"4 3\""));
    assert!(unbounded.count() > 0 || !odd.contains("without bound"), "{odd}");
}

#[test]
fn rails_beyond_the_eighth_have_colours_of_their_own() {
    let text = svg(&machine("topology/aws-p5.xml"));
    let picture = Document::parse(&text).unwrap();
    let ports = picture.descendants().filter(|node| node.attribute("class") == Some("port"));
    let edges = ports.filter_map(|port| {
        port.children()
            .find(|node| node.has_tag_name("rect"))?
            .attribute("stroke")
            .map(str::to_owned)
    });
    let distinct: std::collections::BTreeSet<_> = edges.collect();
    assert_eq!(distinct.len(), 32);
}
