//! `crosstie plan`: what the search makes of described machines, as text and JSON, and what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::support::{Done, Running, Scratch, crosstie, run};
use serde_json::Value;

/// A file of the workspace.
fn file(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../..", path].iter().collect()
}

fn plan(machine: &str, more: &str) -> Done {
    let mut command = crosstie("plan --topo");
    command.arg(file(&format!("topology/{machine}"))).args(more.split_whitespace());
    Running::start(command).finish()
}

fn object(machine: &str, more: &str) -> Value {
    let done = plan(&format!("{machine}.xml"), &format!("{more} --json"));
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    serde_json::from_str(&done.out).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[test]
fn the_text_of_known_machines_is_as_it_was_looked_at() {
    for machine in ["dgx1-v100", "dgx-a100", "dgx-h100"] {
        let done = plan(&format!("{machine}.xml"), "--nodes 2");
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
        assert!(done.out.lines().count() <= 41, "more than a screen:\n{}", done.out);
        let golden = file(&format!("crates/cli/tests/golden/plan-{machine}.txt"));
        if std::env::var_os("CROSSTIE_RENEW").is_some() {
            fs::write(&golden, &done.out).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            done.out == expected,
            "{machine} is\n{}\nand was\n{expected}\nlook at it, then renew with `CROSSTIE_RENEW=1 cargo test -p crosstie-cli --test suite plan_search`",
            done.out
        );
    }
}

#[test]
fn what_wires_take_of_rdma_devices_is_told_for_each_rank() {
    for (pxn, pairs) in [("on", 2), ("off", 16)] {
        let plan = object("dgx-h100", &format!("--nodes 3 --pxn {pxn}"));
        let told = list(&plan["verbs"]);
        assert_eq!(told.len(), 8, "the ranks of the first node, which others are like");
        for (rank, needs) in (0..).zip(told) {
            assert_eq!((&needs["rank"], &needs["queue_pairs"]), (&rank.into(), &pairs.into()));
            // Rings, slots, and with relays the boxes of the other seven.
            let regions = pairs + 1 + if pxn == "on" { 7 } else { 0 };
            assert_eq!(needs["regions"], regions);
            assert!(needs["pinned_bytes"].as_u64().unwrap() > 1 << 20, "{needs}");
        }
        let text = plan_text(pxn);
        assert!(
            text.contains(&format!("ranks 0-7 of a node: {pairs} queue pairs, 1 completion")),
            "{text}"
        );
    }
    assert!(object("dgx-h100", "--nodes 1")["verbs"].is_null(), "one node has no wires");
}

fn plan_text(pxn: &str) -> String {
    plan("dgx-h100.xml", &format!("--nodes 3 --pxn {pxn}")).out
}

#[test]
fn two_dgx_h100_need_8_wires_with_pxn_and_64_without() {
    for (pxn, wires, crossing) in [("on", 8, 0), ("off", 64, 56)] {
        let plan = object("dgx-h100", &format!("--nodes 3 --pxn {pxn}"));
        assert_eq!(list(&plan["wires"]).len(), 3);
        for node in list(&plan["wires"]) {
            assert_eq!(
                (&node["to_each_node"], &node["per_channel"]),
                (&wires.into(), &(2 * wires).into())
            );
        }
        let routes = list(&plan["routes"]);
        assert_eq!(routes.len(), 64);
        assert_eq!(routes.iter().filter(|route| route["crosses_rail"] == true).count(), crossing);
        // A wire is what one NIC's owner has for one receiver.
        let owners = routes.iter().map(|route| {
            let owner = if route["kind"] == "pxn" { &route["relay_gpu"] } else { &route["gpu"] };
            (owner.as_u64().unwrap(), route["remote_gpu"].as_u64().unwrap())
        });
        assert_eq!(owners.collect::<BTreeSet<_>>().len(), wires);
    }
}

#[test]
fn a_relay_owns_the_nic_of_its_receivers_rail() {
    let plan = object("dgx-h100", "--nodes 2 --gpus 0,2,4,6");
    assert_eq!(plan["ranks"], 8);
    let routes = list(&plan["routes"]);
    assert_eq!(routes.len(), 16);
    for route in routes {
        // On this machine GPU and NIC of a number hang below one switch.
        assert_eq!(route["nic"], route["remote_gpu"], "{route}");
        assert_eq!(route["nic"], route["remote_nic"], "{route}");
        let relay =
            if route["gpu"] == route["remote_gpu"] { &Value::Null } else { &route["remote_gpu"] };
        assert_eq!(&route["relay_gpu"], relay, "{route}");
    }
}

#[test]
fn rings_visit_every_gpu_of_every_node_and_stay_on_their_rail() {
    for (machine, nodes, ranks, most) in
        [("dgx1-v100", 2, 16, 48_000), ("dgx-a100", 3, 24, 192_000), ("dgx-h100", 5, 40, 384_000)]
    {
        let plan = object(machine, &format!("--nodes {nodes}"));
        assert_eq!((&plan["ranks"], &plan["schema"]), (&ranks.into(), &1.into()));
        let total: u64 =
            list(&plan["rings"]).iter().map(|ring| ring["bandwidth_mb_s"].as_u64().unwrap()).sum();
        // Each NIC bears its cable, and there is one ring or more through each.
        assert_eq!((&plan["bound_mb_s"], total), (&most.into(), most), "{machine}");
        for ring in list(&plan["rings"]) {
            let ways = list(&ring["nodes"]);
            assert_eq!(ways.len(), nodes);
            for (way, next) in ways.iter().zip(ways.iter().cycle().skip(1)) {
                let gpus: BTreeSet<u64> =
                    list(&way["gpus"]).iter().map(|gpu| gpu.as_u64().unwrap()).collect();
                assert!(gpus.iter().copied().eq(0..8), "{way}");
                assert_eq!(way["nic_out"], next["nic_in"], "{machine}: {ring}");
            }
        }
    }
}

#[test]
fn a_picture_has_a_broken_line_for_each_pair_of_nics_across_rails() {
    for (pxn, crossing) in [("on", 0), ("off", 56)] {
        let done = plan("dgx-h100.xml", &format!("--nodes 3 --pxn {pxn} --format svg"));
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
        assert!(done.out.starts_with("<svg") && done.out.ends_with("</svg>\n"));
        assert_eq!(done.out.matches("class=\"crossing\"").count(), crossing);
        for node in 0..3 {
            assert!(done.out.contains(&format!(">node {node}</text>")));
        }
    }
}

#[test]
fn no_link_carries_more_than_it_can_and_the_nics_are_full() {
    let plan = object("dgx-h100", "--nodes 2");
    let loads = list(&plan["loads"]);
    let mb_s = |load: &Value, name: &str| load[name].as_u64().unwrap();
    assert!(loads.iter().all(|load| mb_s(load, "load_mb_s") <= mb_s(load, "capacity_mb_s")));
    // Into and out of each of 8 NICs, at least.
    let full = loads.iter().filter(|load| load["load_mb_s"] == load["capacity_mb_s"]);
    assert!(full.count() >= 16, "{loads:?}");
}

#[test]
fn messages_are_counted_as_by_hand() {
    let plan = object("dgx-h100", "--nodes 2");
    // 16 ranks to 8 others each; 8 of them to one receiver leave together.
    assert_eq!(
        (&plan["messages"]["all_to_all"], &plan["wire_messages"]["all_to_all"]),
        (&128.into(), &16.into())
    );
    let off = object("dgx-h100", "--nodes 2 --pxn off");
    assert_eq!(off["wire_messages"]["all_to_all"], 128);
    assert_ne!(plan["fingerprint"], off["fingerprint"]);
    assert_eq!(plan["fingerprint"], object("dgx-h100", "--nodes 2 --pxn on")["fingerprint"]);
    let choice = |operation: &str, bytes: u64| {
        let of = |it: &&Value| it["operation"] == operation && it["bytes"] == bytes;
        list(&plan["choices"]).iter().find(of).unwrap().clone()
    };
    // Over GPUs' links nothing was measured, and nothing is carried yet.
    let large = choice("all_reduce", 256 << 20);
    assert_eq!(large["protocol"], Value::Null, "{large}");
    let why = large["reason"].as_str().unwrap();
    assert!(why.starts_with("fastest by the model: ") && why.contains("limited by"), "{why}");
    assert!(large["time_ns"].as_u64() < large["runner_up"]["time_ns"].as_u64(), "{large}");
}

#[test]
fn what_cannot_be_planned_is_refused_by_name() {
    for (machine, more, told) in [
        ("dgx-h100.xml", "--nodes 0", "--nodes 0"),
        ("dgx-h100.xml", "--nodes 4000000000", "give --nodes 512 or less"),
        ("dgx-h100.xml", "--gpus 0,9", "no GPU 9\n  it has 0-7"),
        ("dgx-h100.xml", "--gpus 1,1", "GPU 1 is named twice"),
        ("cpu-4nic.xml", "--gpus 0", "no GPU 0"),
        ("fabric-rail-2.toml", "", "is a fabric, not a machine"),
        ("missing.xml", "", "cannot read"),
    ] {
        let done = plan(machine, more);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{machine} {more}");
        assert!(done.err.contains(told), "{machine} {more}: {}", done.err);
    }
}

#[test]
fn gpus_that_nothing_joins_are_named() {
    let apart = r#"<system version="1">
      <cpu numaid="0" host_hash="0x1" arch="x86_64" vendor="AuthenticAMD" familyid="25" modelid="1">
        <pci busid="0000:03:00.0" class="0x030200" link_speed="32.0 GT/s PCIe" link_width="16"><gpu dev="0" sm="90"/></pci>
      </cpu>
      <cpu numaid="1" host_hash="0x2" arch="x86_64" vendor="AuthenticAMD" familyid="25" modelid="1">
        <pci busid="0000:05:00.0" class="0x030200" link_speed="32.0 GT/s PCIe" link_width="16"><gpu dev="0" sm="90"/></pci>
      </cpu>
    </system>"#;
    let path = std::env::temp_dir().join(format!("crosstie-plan-search-{}", std::process::id()));
    fs::write(&path, apart).unwrap();
    let mut command = crosstie("plan --nodes 1 --topo");
    command.arg(&path);
    let done = Running::start(command).finish();
    fs::remove_file(path).unwrap();
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(
        done.err.contains("no link leads from h0/GPU0 and h1/GPU0 to each other"),
        "{}",
        done.err
    );
}

#[test]
fn a_graph_file_of_ours_is_shown_as_the_plan_that_it_was_written_of() {
    let written = plan("dgx1-v100.xml", "--nodes 2 --format graph");
    assert_eq!((written.code, written.err.as_str()), (Some(0), ""));
    let file = Scratch::new(&written.out);
    let (own, read) = (
        object("dgx1-v100", "--nodes 2"),
        object("dgx1-v100", &format!("--nodes 2 --graph {}", file.path())),
    );
    for key in ["rings", "total_mb_s", "loads", "swap", "routes"] {
        assert_eq!(own[key], read[key], "{key}");
    }
    assert_eq!(read["graph"]["ring_mb_s"], own["rings"][0]["bandwidth_mb_s"]);
    assert_eq!(own["graph"], Value::Null);
    let text = plan("dgx1-v100.xml", &format!("--graph {}", file.path()));
    assert!(text.out.contains("Rings of the graph file"), "{}", text.out);
    let other = plan("hgx-h100-4nic.xml", &format!("--graph {}", file.path()));
    assert_eq!(other.code, Some(0), "the same GPUs and NICs: {}", other.err);
    let other = plan("grace-hopper.xml", &format!("--graph {}", file.path()));
    assert_eq!((other.code, other.out.as_str()), (Some(2), ""));
    assert!(other.err.contains("line ") && other.err.contains("expected one of"), "{}", other.err);
}

fn diff(first: &str, second: &str, more: &str) -> Done {
    let mut command = crosstie("plan diff");
    command.args([first, second]).args(more.split_whitespace());
    Running::start(command).finish()
}

#[test]
fn a_lost_nic_is_told_as_what_changed() {
    let whole = Scratch::new(&plan("dgx-h100.xml", "--json").out);
    let lost = Scratch::new(&plan("dgx-h100.xml", "--lost nic2 --json").out);
    let same = diff(whole.path(), whole.path(), "");
    assert_eq!((same.code, same.err.as_str()), (Some(0), ""));
    assert!(same.out.contains("no difference"), "{}", same.out);
    let done = diff(whole.path(), lost.path(), "");
    assert_eq!((done.code, done.err.as_str()), (Some(1), ""));
    assert!(done.out.lines().count() <= 40, "{}", done.out);
    for told in ["384 GB/s -> 336 GB/s", "no longer on any ring", "2:"] {
        assert!(done.out.contains(told), "{told} is not in\n{}", done.out);
    }
    let object: Value =
        serde_json::from_str(&diff(whole.path(), lost.path(), "--json").out).unwrap();
    assert_eq!((&object["schema"], &object["equal"]), (&1.into(), &false.into()));
    let bound = list(&object["changes"]).iter().find(|change| change["what"] == "bound").unwrap();
    assert_eq!(bound["after"], "336 GB/s");
    let one = Scratch::new(&plan("dgx-h100.xml", "--lost nic2@1 --json").out);
    let done = diff(whole.path(), one.path(), "");
    assert_eq!((done.code, done.err.as_str()), (Some(1), ""));
    assert!(done.out.contains("384 GB/s -> 336 GB/s"), "{}", done.out);
    for format in ["text", "svg"] {
        let shown = plan("dgx-h100.xml", &format!("--lost nic2@1 --format {format}"));
        assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
        assert!(shown.out.contains("of 2 kinds"), "{}", shown.out);
    }
    // The others keep their rails: what goes by them is as it was.
    let lost: Value = serde_json::from_str(&fs::read_to_string(lost.path()).unwrap()).unwrap();
    let nics = |route: &Value| (route["nic"].clone(), route["rail"].clone());
    assert!(list(&lost["routes"]).iter().all(|route| nics(route).0 == nics(route).1), "{lost}");
}

#[test]
fn what_cannot_be_compared_or_lost_is_refused() {
    let whole = Scratch::new(&plan("dgx-h100.xml", "--json").out);
    let machine = file("topology/dgx-h100.xml");
    for (first, second, told) in [
        ("-", "-", "both plans"),
        (whole.path(), machine.to_str().unwrap(), "is not a plan of `crosstie plan --json`"),
        (whole.path(), "/no/such/file", "cannot read /no/such/file"),
    ] {
        let done = diff(first, second, "");
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{first} {second}");
        assert!(done.err.contains(told), "{}", done.err);
    }
    for (more, told) in [
        ("--lost nic9", "the machine has no NIC 9\n  it has 0-7"),
        ("--lost gpu8", "the machine has no GPU 8"),
        ("--lost gpu0@1 --format graph", "nodes are of 2 kinds"),
        ("--lost gpu0@5", "no such node among 2"),
        ("--lost fan1", "expected nic or gpu"),
        ("--lost gpu0,gpu1,gpu2,gpu3,gpu4,gpu5,gpu6,gpu7", "no GPU is left"),
        ("--graph /no/such/file", "--graph /no/such/file"),
    ] {
        let done = plan("dgx-h100.xml", more);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{more}");
        assert!(done.err.contains(told), "{more}: {}", done.err);
    }
}

/// A number that an element gives.
fn attribute(line: &str, name: &str) -> Option<u32> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    rest.split_once('"')?.0.parse().ok()
}

/// What elements of a picture cover: left, right, top, bottom.
fn covered(picture: &str) -> Vec<(String, [u32; 4])> {
    let boxed = |line: &str| {
        let of = |name| attribute(line, name);
        let (x, y) = (of("x")?, of("y")?);
        if line.starts_with("<rect class=\"box\"") {
            return Some([x, x + of("width")?, y, y + of("height")?]);
        }
        let text = line.strip_prefix("<text")?.split_once('>')?.1.split_once('<')?.0;
        let size = of("font-size").unwrap_or(11);
        // A letter of the font is 0.6 of its size wide.
        let wide = text.chars().count() as u32 * size * 6 / 10;
        let left = if line.contains("\"middle\"") { x - wide / 2 } else { x };
        Some([left, left + wide, y - size * 3 / 4, y])
    };
    picture.lines().filter_map(|line| Some((line.to_owned(), boxed(line)?))).collect()
}

#[test]
fn nothing_in_a_picture_overlaps() {
    for (machine, more) in [
        ("dgx-h100", "--nodes 2"),
        ("dgx-h100", "--nodes 40"),
        ("dgx-h100", "--lost nic2@1"),
        ("dgx1-v100", "--nodes 3"),
        ("pcie-8gpu", "--nodes 2"),
        ("nvl72", "--nodes 2"),
        ("hgx-h100-4nic", "--nodes 2 --pxn off"),
        ("dgx-a100", "--nodes 1"),
    ] {
        let picture = plan(&format!("{machine}.xml"), &format!("{more} --format svg")).out;
        let all = covered(&picture);
        let is_box = |line: &str| line.starts_with("<rect");
        assert!(all.iter().any(|(line, _)| is_box(line)), "{machine}");
        for (place, (line, [left, right, top, bottom])) in all.iter().enumerate() {
            for (other, [x, to_x, y, to_y]) in &all[..place] {
                // A name stands in its box.
                let apart = right <= x || to_x <= left || bottom <= y || to_y <= top;
                let inside = is_box(other) != is_box(line)
                    && ((x <= left && right <= to_x) || (left <= x && to_x <= right))
                    && ((y <= top && bottom <= to_y) || (top <= y && to_y <= bottom));
                assert!(apart || inside, "{machine} {more}: {line} is on {other}");
            }
        }
    }
}

#[test]
fn a_file_of_another_kind_is_told_with_what_takes_it() {
    let plan_file = Scratch::new(&plan("dgx-h100.xml", "--json").out);
    let capture = Scratch::new("# A machine\n/nvml\n  refused = no\n");
    let fabric = file("topology/fabric-rail-2.toml");
    let machine = file("topology/dgx-h100.xml");
    let (fabric, machine) = (fabric.to_str().unwrap(), machine.to_str().unwrap());
    for (line, file, told) in [
        ("plan --topo", plan_file.path(), "`crosstie plan diff A B`"),
        ("topo", plan_file.path(), "`crosstie plan diff A B`"),
        ("plan --topo", "/no/such/file", "--topo takes an NCCL topology file"),
        ("plan --topo", fabric, "is a fabric, not a machine"),
        ("bench all_reduce --topo", fabric, "is a fabric, not an NCCL topology file"),
        ("bench all_reduce --topo", capture.path(), "line 3: the capture has no `end` line"),
        ("lab --fabric", machine, "is an NCCL topology file, not a fabric"),
        ("lab --fabric", capture.path(), "is a captured machine"),
    ] {
        let mut command = crosstie(line);
        command.arg(file);
        if line.starts_with("lab") {
            command.args(["--", "bench", "all_reduce"]);
        }
        let done = Running::start(command).finish();
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{line}: {}", done.err);
        assert!(done.err.contains(told), "{line} {file}: {}", done.err);
    }
}

#[test]
fn what_is_asked_of_an_operation_is_told_alone() {
    let more = "--op all_reduce,all_to_all --size 64K,1M";
    let done = plan("dgx-h100.xml", more);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let told = |line: &&str| line.starts_with("  all_reduce") || line.starts_with("  all_to_all");
    assert_eq!(done.out.lines().filter(told).count(), 4, "{}", done.out);
    assert!(!done.out.contains("Rings") && !done.out.contains("broadcast"), "{}", done.out);
    let object = object("dgx-h100", more);
    assert_eq!((&object["schema"], &object["rings"]), (&1.into(), &Value::Null));
    let sizes = list(&object["choices"]).iter().map(|choice| choice["bytes"].as_u64().unwrap());
    assert!(sizes.eq([65536, 1 << 20, 65536, 1 << 20]), "{object}");
    let all = plan("dgx-h100.xml", "--op reduce").out;
    assert_eq!(all.lines().filter(|line| line.starts_with("  reduce ")).count(), 8, "{all}");
    let done = plan("dgx-h100.xml", "--op dance");
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("all_reduce"), "{}", done.err);
}

#[test]
fn no_exchange_is_predicted_to_take_less_than_its_fullest_nic_does() {
    let time = |machine: &str, more: &str, size: &str| {
        let plan = object(machine, &format!("--nodes 2 --op all_to_all --size {size} {more}"));
        plan["choices"][0]["time_ns"].as_u64().unwrap()
    };
    // Each GPU has 8 blocks for the other node, and its NIC, or its four, carry 48 GB/s.
    let floor = 8 * (256 << 20) / 48;
    let (h100, p5) = (time("dgx-h100", "", "256M"), time("aws-p5", "", "256M"));
    for time in [h100, p5] {
        assert!((floor..floor + floor / 100).contains(&time), "{time}");
    }
    assert!(time("dgx-h100", "--lost nic0", "256M") > h100 * 8 / 7);
    assert!(time("dgx-h100", "", "8") < time("dgx-h100", "--pxn off", "8"), "they leave together");
    let p5 = plan("aws-p5.xml", "--nodes 2").out;
    assert!(p5.contains("on other channels by a GPU's other NICs"), "{p5}");
}

#[test]
fn what_a_description_leaves_open_is_told_before_what_rests_on_it() {
    let machine = "<system version=\"1\"><cpu numaid=\"0\" arch=\"x86_64\" vendor=\"AuthenticAMD\" \
        familyid=\"25\" modelid=\"1\"><pci busid=\"0000:01:00.0\" class=\"0x060400\" \
        link_speed=\"16.0 GT/s PCIe\" link_width=\"16\"><pci busid=\"0000:03:00.0\" class=\"0x030200\" \
        link_speed=\"16.0 GT/s PCIe\" link_width=\"16\"/><pci busid=\"0000:04:00.0\" class=\"0x030200\" \
        link_speed=\"16.0 GT/s PCIe\" link_width=\"16\"/></pci></cpu></system>";
    let file = Scratch::new(machine);
    let shown = |more: &str| {
        let mut command = crosstie("plan --nodes 1 --topo");
        command.arg(file.path()).args(more.split_whitespace());
        Running::start(command).finish().out
    };
    let text = shown("");
    assert!(text.contains("left open: ") && text.contains("NVLinks are unknown"), "{text}");
    assert!(text.contains("of what is described no rings are better"), "{text}");
    let object: Value = serde_json::from_str(&shown("--json")).unwrap();
    assert_eq!(object["warnings"][0]["rule"], "not-described", "{object}");
    assert!(!plan("dgx-h100.xml", "").out.contains("left open"));
}

#[test]
fn devices_that_no_number_tells_apart_are_refused() {
    let machine = fs::read_to_string(file("topology/dgx-h100.xml")).unwrap();
    let twice = Scratch::new(&machine.replace("dev=\"1\" speed", "dev=\"0\" speed"));
    let done = run(&format!("plan --topo {} --nodes 2", twice.path()));
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(done.err.contains("2 ports have the number dev=\"0\""), "{}", done.err);
    // A card that only PCI tells of.
    let bare = machine.lines().filter(|line| !line.contains("mlx5_0\""));
    let bare = Scratch::new(&bare.collect::<Vec<_>>().join("\n"));
    let done = run(&format!("plan --topo {} --nodes 2 --lost nic0", bare.path()));
    assert_eq!(done.code, Some(2), "{}{}", done.out, done.err);
}

#[test]
fn the_head_tells_which_gpus_have_ranks_and_counts_no_card_that_is_lost() {
    let some = plan("dgx-h100.xml", "--gpus 0,2,4,6 --op all_reduce --size 8").out;
    assert!(some.contains("ranks on GPUs 0 2 4 6\n8 ranks, PXN on, fingerprint"), "{some}");
    let lost = plan("dgx-h100.xml", "--lost nic2").out;
    assert!(lost.contains(", 7 NICs of 400 Gb/s on 7 rails"), "{lost}");
    let done = plan("dgx-h100.xml", "--size 0");
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{}", done.err);
    let rack = plan("nvl72.xml", "").out;
    assert!(rack.contains("one node is all 18 hosts"), "{rack}");
}

/// A plan for a machine whose description comes by standard input.
fn plan_of_stdin(text: &str, more: &str) -> Done {
    let file = Scratch::new(text);
    let mut command = crosstie("plan --topo -");
    command.args(more.split_whitespace()).stdin(fs::File::open(file.path()).unwrap());
    Running::start(command).finish()
}

#[test]
fn gpus_are_named_by_ranges_and_a_machine_comes_by_standard_input() {
    let listed = object("dgx-h100", "--gpus 0,1,2,3,6");
    assert_eq!(object("dgx-h100", "--gpus 0-3,6"), listed);
    let text = fs::read_to_string(file("topology/dgx-h100.xml")).unwrap();
    let done = plan_of_stdin(&text, "--gpus 0-3,6 --json");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert_eq!(serde_json::from_str::<Value>(&done.out).unwrap(), listed);
    let twice = plan_of_stdin(&text, "--graph -");
    assert_eq!(twice.code, Some(2), "{twice:?}");
    assert!(twice.err.contains("standard input is named twice"), "{}", twice.err);
    let bad = plan("dgx-h100.xml", "--gpus 3-1");
    assert_eq!((bad.code, bad.out.as_str()), (Some(2), ""));
    assert!(bad.err.contains("ends before it begins"), "{}", bad.err);
}

#[test]
fn pxn_is_told_as_bench_takes_it() {
    let [auto, on, off] =
        ["auto", "on", "off"].map(|pxn| object("dgx-h100", &format!("--pxn {pxn}")));
    assert_eq!(auto["routes"], on["routes"]);
    assert_ne!(off["routes"], on["routes"]);
    // Ways past relays take queue pairs of their own.
    let is_told = |line: &&str| !line.starts_with("Over ibverbs");
    let text = |pxn| plan("dgx-h100.xml", &format!("--pxn {pxn}")).out;
    let [auto, on] = ["auto", "on"].map(|pxn| -> String {
        text(pxn).lines().filter(is_told).flat_map(|line| [line, "\n"]).collect()
    });
    let (all, more) = auto.split_at(on.len());
    assert!(all == on && more.contains("PXN auto: messages longer than relays pay for"), "{auto}");
}

#[test]
fn a_changed_part_of_a_route_is_told_by_its_pair() {
    let mut plan = object("dgx-h100", "");
    let whole = Scratch::new(&plan.to_string());
    for route in plan["routes"].as_array_mut().unwrap() {
        route["remote_rail"] = 9.into();
    }
    let other = Scratch::new(&plan.to_string());
    let done = diff(whole.path(), other.path(), "");
    assert_eq!(done.code, Some(1), "{done:?}");
    for told in ["0 to 0: remote_rail 0 -> remote_rail 9", "61 more of route"] {
        assert!(done.out.contains(told), "{told} is not in\n{}", done.out);
    }
    plan["loads"][1]["load_mb_s"] = 7.into();
    let third = Scratch::new(&plan.to_string());
    let done = diff(other.path(), third.path(), "");
    assert!(
        done.out.contains("loads[1].load_mb_s: ") && done.out.contains(" -> 7"),
        "{}",
        done.out
    );
}

#[test]
fn a_hostile_plan_is_refused_by_its_place_and_commands_no_terminal() {
    let plan = object("dgx-h100", "");
    let whole = Scratch::new(&plan.to_string());
    let mut negative = plan.clone();
    negative["nodes"] = (-1).into();
    let negative = Scratch::new(&negative.to_string());
    let done = diff(whole.path(), negative.path(), "");
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(done.err.contains(".nodes: -1, expected a whole number, 1 or more"), "{}", done.err);
    let mut hostile = plan;
    hostile["choices"][0]["algorithm"] = "\u{1b}]0;owned\u{7}".into();
    hostile["swap"] = "\u{9b}2J".into();
    hostile["messages"]["\u{1b}[31m"] = 1.into();
    let hostile = Scratch::new(&hostile.to_string());
    let done = diff(whole.path(), hostile.path(), "--full");
    assert_eq!(done.code, Some(1));
    assert!(done.out.contains("\\u{1b}]0;owned\\u{7}"), "{}", done.out);
    assert!(!done.out.chars().any(|c| c.is_control() && c != '\n'), "{:?}", done.out);
}

#[test]
fn names_of_files_command_no_terminal() {
    let name = "no\u{1b}[31m\u{9b}2Jsuch";
    for line in [
        "plan --topo",
        "plan verify",
        "plan diff x",
        "plan --graph",
        "topo",
        "topo lint",
        "bench all_reduce --topo",
        "run --topo",
        "plan --gpus",
        "plan",
    ] {
        let mut command = crosstie(line);
        command.arg(name).args((line == "run --topo").then_some("true"));
        let done = Running::start(command).finish();
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{line}: {done:?}");
        assert!(!done.err.chars().any(|c| c.is_control() && c != '\n'), "{line}: {:?}", done.err);
    }
}

#[test]
fn times_that_changed_most_are_told_first_and_few_of_them() {
    let whole = Scratch::new(&plan("dgx1-v100.xml", "--json").out);
    let lost = Scratch::new(&plan("dgx1-v100.xml", "--lost nic2 --json").out);
    let text = diff(whole.path(), lost.path(), "").out;
    let told: Vec<&str> = text.lines().filter(|line| line.starts_with("choice")).collect();
    assert!(told.len() == 8 && text.contains("more of choice: --full"), "{text}");
    let percent = |line: &&str| -> f64 {
        let (_, note) = line.rsplit_once('(').unwrap();
        note.trim_end_matches(" %)").parse().unwrap()
    };
    let way = |text: &str| text.split(' ').next().unwrap().to_owned();
    let is_other = |line: &&str| {
        let (before, after) = line.rsplit_once(" -> ").unwrap();
        way(before.rsplit_once(": ").unwrap().1) != way(after)
    };
    let (others, times): (Vec<&str>, Vec<&str>) = told.iter().copied().partition(is_other);
    assert_eq!(told[..others.len()], others, "{text}");
    assert!(times.is_sorted_by(|one, other| percent(one) >= percent(other)), "{text}");
}

#[test]
fn a_machine_that_is_named_without_an_option_is_told_which_one() {
    let done = run("plan topology/dgx-h100.xml");
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(done.err.contains("crosstie plan --topo topology/dgx-h100.xml"), "{}", done.err);
}
