//! Captured machines: what is captured is what was read, nothing private is in it, and no text breaks it.
#![cfg(test)]

mod support;

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use crosstie_probe::{Captured, Facts, Gpus, Tree, assemble};
use support::{Folder, all, captured, facts};

/// For the driver of GPUs that this host may have to answer.
const DRIVER: Duration = Duration::from_secs(30);

#[test]
fn a_capture_of_a_capture_gives_the_same_facts() {
    for name in all() {
        let folder = Folder::new();
        let first = captured(&name);
        first.write_below(folder.path()).unwrap();
        let tree = || Tree::at(folder.path()).unwrap();
        let text = Captured::of(tree(), &Gpus::in_tree(&tree())).to_string();
        let again = Folder::new();
        let second: Captured = text.parse().unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
        assert_eq!(second.to_string(), text, "{name}");
        second.write_below(again.path()).unwrap();
        let (mut was, mut is) = (facts(&name), Facts::of_capture(&Tree::at(again.path()).unwrap()));
        hide(&mut was);
        hide(&mut is);
        // A test's interface has its address as its name.
        let text =
            |facts: &Facts| format!("{facts:?}").replace("enx00e04c680001", "enx00e04c000001");
        assert_eq!(text(&is), text(&was), "{name}");
    }
}

/// What captures do not tell as it is.
fn hide(facts: &mut Facts) {
    for device in facts.rdma.iter_mut().flatten() {
        device.node_guid = None;
        device.system_guid = None;
        let gids = device.ports.iter_mut().flat_map(|port| &mut port.gids);
        gids.for_each(|gid| gid.address = Ipv6Addr::UNSPECIFIED);
    }
}

#[test]
fn a_capture_keeps_vendors_and_hides_what_names_one_machine() {
    let folder = Folder::new();
    captured("dgx-a100").write_below(folder.path()).unwrap();
    let text = Captured::of(Tree::at(folder.path()).unwrap(), &Gpus::default()).to_string();
    assert!(!text.contains("b859:9f03:0010:0a00"), "a GUID");
    assert!(!text.contains("ba59:9fff:fe00"), "an address made of a hardware address");
    let again = Folder::new();
    text.parse::<Captured>().unwrap().write_below(again.path()).unwrap();
    let read = Facts::of_capture(&Tree::at(again.path()).unwrap()).rdma.unwrap();
    let was = facts("dgx-a100").rdma.unwrap();
    assert_eq!(read.len(), was.len());
    for (one, its) in read.iter().zip(&was) {
        assert_eq!(one.system_guid.unwrap() >> 40, 0x00b8_599f, "{}: the vendor's part", one.name);
        assert_ne!(one.system_guid, its.system_guid);
        for (other, others) in read.iter().zip(&was) {
            let same = its.system_guid == others.system_guid;
            assert_eq!(one.system_guid == other.system_guid, same, "{} {}", one.name, other.name);
        }
    }
    let folder = Folder::new();
    captured("vmbus").write_below(folder.path()).unwrap();
    let text = Captured::of(Tree::at(folder.path()).unwrap(), &Gpus::default()).to_string();
    assert!(!text.contains("000d3a00-0001"), "{text}");
    let masked = "VMBUS:00/00000000-0000-0000-0000-00000000000";
    assert!(text.contains(masked), "{text}");
}

#[test]
fn this_host_can_be_read_and_captured() {
    let text = Captured::of(Tree::at("/").unwrap(), &Gpus::of_this_host(DRIVER)).to_string();
    let folder = Folder::new();
    text.parse::<Captured>().unwrap().write_below(folder.path()).unwrap();
    let elsewhere = assemble(&Facts::of_capture(&Tree::at(folder.path()).unwrap()));
    let here = assemble(&Facts::of_this_host(DRIVER));
    // Interfaces of other tests may come and go in the meantime; processors do not.
    let cpus = |machine: &crosstie_probe::Machine| {
        let cpus = machine.document.root.named("cpu");
        cpus.map(|cpu| cpu.attributes.clone()).collect::<Vec<_>>()
    };
    assert_eq!(cpus(&elsewhere), cpus(&here));
}

#[test]
fn a_machine_with_hundreds_of_devices_is_read_in_no_time() {
    let folder = Folder::new();
    captured("dgx-a100").write_below(folder.path()).unwrap();
    let tree = Tree::at(folder.path()).unwrap();
    let read = || {
        let began = Instant::now();
        assemble(&Facts::of_capture(&tree));
        began.elapsed()
    };
    // 50 ms are promised; the best of several, for others use these cores too.
    let best = (0..20).map(|_| read()).min().unwrap();
    assert!(best < Duration::from_millis(50), "{best:?}");
}

#[test]
fn a_text_that_is_no_machine_is_refused_by_line() {
    let refused = |text: &str| text.parse::<Captured>().unwrap_err().to_string();
    assert_eq!(
        refused("# yes\nno\n"),
        "line 2: expected a directory (/...), or two blanks and what it holds"
    );
    assert_eq!(refused("  x = 1\n"), "line 1: expected a directory (/...) before what it holds");
    let form = "line 2: expected NAME = TEXT, NAME |, NAME -> TARGET or NAME !";
    for line in ["  x", "  x 1", "  x !!", "  x =1"] {
        assert_eq!(refused(&format!("/a\n{line}\n")), form, "{line}");
    }
    assert_eq!(refused("/a\n  x = 1\n  x = 2\n"), "line 3: this stands here twice");
}

#[test]
fn a_capture_that_was_cut_short_is_no_machine() {
    let whole = captured("dgx-a100").to_string();
    assert_eq!(whole.parse::<Captured>().unwrap(), captured("dgx-a100"));
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for kept in (0..lines.len()).step_by(97).chain([lines.len() - 1]) {
        let error = lines[..kept].concat().parse::<Captured>().unwrap_err();
        assert_eq!(error.line, kept);
        assert!(error.what.contains("capture again"), "{kept}: {error}");
    }
    let twice = format!("{whole}{whole}").parse::<Captured>().unwrap_err();
    assert!(twice.what.contains("after the end"), "{twice}");
}

#[test]
fn no_machine_leads_out_of_its_folder() {
    for text in ["/../x\n", "/a/../../x\n", "/a\n  .. = 1\n", "/a//b\n", "/\n", "//\n"] {
        let error = text.parse::<Captured>().unwrap_err().to_string();
        assert!(error.contains("names without . and .."), "{text}: {error}");
    }
    for target in ["/etc", "../../etc", "x/../../../etc"] {
        let error = format!("/a\n  x -> {target}\n").parse::<Captured>().unwrap_err();
        assert_eq!(error.what, "expected a link that stays inside");
    }
    // One link by way of another: nothing is written there, and nothing read.
    let folder = Folder::new();
    let inside = folder.path().join("machine");
    let text = "/sys/class\n  deep -> ../..\n  net -> deep/..\n/sys/class/net/x\n  mtu = 1\nend\n";
    assert!(text.parse::<Captured>().unwrap().write_below(&inside).is_err());
    let text = "/sys/class\n  deep -> ../..\n  net -> deep/..\nend\n";
    text.parse::<Captured>().unwrap().write_below(&inside.join("second")).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let facts = Facts::of_capture(&Tree::at(inside.join("second")).unwrap());
    assert_eq!(facts.interfaces, []);
}
