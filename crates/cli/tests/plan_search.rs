//! `crosstie plan`: what the search makes of described machines, as text and JSON, and what is refused.
#![cfg(test)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use support::{Done, Running, crosstie};

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
        assert!(done.out.lines().count() <= 40, "more than a screen:\n{}", done.out);
        let golden = file(&format!("crates/cli/tests/golden/plan-{machine}.txt"));
        if std::env::var_os("CROSSTIE_RENEW").is_some() {
            fs::write(&golden, &done.out).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            done.out == expected,
            "{machine} is\n{}\nand was\n{expected}\nlook at it, then renew with `CROSSTIE_RENEW=1 cargo test -p crosstie-cli --test plan_search`",
            done.out
        );
    }
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
    assert_eq!(choice("all_reduce", 8)["algorithm"], "hierarchical");
    assert!(choice("all_reduce", 8)["reason"].as_str().unwrap().contains("measured"));
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
