//! The plan that a world of real processes runs is the one that `crosstie plan` shows for its machines.

use crate::support::Running;
use crate::support::crosstie;
use serde_json::Value;

/// What a command prints about a machine of `topology/`.
fn printed(line: &str, machine: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology");
    let done = Running::start(crosstie(&format!("{line} --topo {folder}/{machine}"))).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
    done.out
}

#[test]
fn a_world_runs_the_plan_that_is_shown_offline() {
    for machine in ["dgx1-v100.xml", "dgx-a100.xml", "dgx-h100.xml"] {
        for pxn in ["on", "off"] {
            let offline = printed(&format!("plan --nodes 2 --pxn {pxn}"), machine);
            assert!(offline.contains("fingerprint "), "{offline}");
            let line =
                format!("bench all_reduce --nodes 2 --pxn {pxn} -b 1K -e 1K -n 1 -w 0 --show-plan");
            let run = printed(&line, machine);
            // A described machine's links choose other algorithms than the transports that play them.
            let (links, _) = offline.split_once("\nAlgorithms").expect("a list of algorithms");
            assert!(run.starts_with(links), "{machine}:\n{run}\nis not\n{links}");
            assert!(!run.starts_with(&offline), "{machine}: whose algorithms are these?\n{run}");
        }
    }
    let unknown =
        Running::start(crosstie("bench barrier --ranks 2 -n 1 -w 0 --show-plan")).finish();
    assert!(
        unknown.out.starts_with("No plan of rings and routes: which device"),
        "{}",
        unknown.out
    );
}

#[test]
fn a_plan_is_told_in_full_where_that_is_asked_for_and_to_scripts_in_their_object() {
    let line = "bench barrier --nodes 2 -n 1 -w 0 --show-plan";
    let [brief, full] =
        ["", "--full"].map(|more| printed(&format!("{line} {more}"), "dgx1-v100.xml"));
    assert!(full.lines().count() > brief.lines().count() + 40, "{full}");
    let object: Value =
        serde_json::from_str(&printed(&format!("{line} --json"), "dgx1-v100.xml")).unwrap();
    let offline: Value =
        serde_json::from_str(&printed("plan --nodes 2 --pxn off --json", "dgx1-v100.xml")).unwrap();
    for part in ["schema", "fingerprint", "rings", "trees", "routes"] {
        assert_eq!(object["plan"][part], offline[part], "{part}");
    }
    let unknown = Running::start(crosstie(&format!("{line} --ranks 2 --json"))).finish();
    let unknown: Value = serde_json::from_str(&unknown.out).unwrap();
    let why = unknown["plan"]["error"]["message"].as_str().unwrap();
    assert!(why.contains("which device"), "{why}");
    let alone = Running::start(crosstie("bench barrier --full")).finish();
    assert_eq!((alone.code, alone.out.as_str()), (Some(2), ""));
}

#[test]
fn a_captured_machine_is_played_as_it_is_planned_for() {
    let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/../probe/tests/trees/dgx-a100.tree");
    let object = |line: &str| -> Value {
        let done = Running::start(crosstie(&format!("{line} --topo {tree}"))).finish();
        assert_eq!(done.code, Some(0), "{}", done.err);
        serde_json::from_str(&done.out).unwrap()
    };
    let planned = object("plan --nodes 2 --pxn off --json");
    let played = object("bench barrier --nodes 2 -n 1 -w 0 --show-plan --json");
    assert_eq!(played["ranks"], planned["ranks"]);
    assert_eq!(played["plan"]["fingerprint"], planned["fingerprint"]);
}
