//! `crosstie plan`: what is right is told, what is wrong with its place, and what is neither is refused.
#![cfg(test)]

mod support;

use std::fs;

use crosstie_testkit::msccl;
use serde_json::Value;
use support::{Done, Running, crosstie};

fn verify(name: &str, text: &str, json: bool) -> Done {
    let name = format!("crosstie-plan-test-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).unwrap();
    let mut command = crosstie("plan verify");
    command.arg(&path).args(json.then_some("--json"));
    let done = Running::start(command).finish();
    fs::remove_file(path).unwrap();
    done
}

#[test]
fn a_right_program_is_told_to_be_right() {
    let done = verify("right", &msccl::ring_all_reduce(4), false);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.out.contains("right: all_reduce of 4 ranks, for calls in place alone\n"),
        "{}",
        done.out
    );
    // 2(n - 1) messages around a ring, of a quarter each.
    assert!(done.out.contains("at most 6 messages, 6 parts"), "{}", done.out);
    let object: Value =
        serde_json::from_str(&verify("json", &msccl::ring_all_reduce(4), true).out).unwrap();
    assert_eq!((&object["right"], &object["steps"]), (&true.into(), &6.into()), "{object}");
}

#[test]
fn a_wrong_program_is_told_with_its_place() {
    let sends = msccl::direct_all_to_all(2, 1).replace("type=\"s\"", "type=\"?\"");
    let waiting = sends.replace("type=\"r\"", "type=\"s\"").replace("type=\"?\"", "type=\"r\"");
    let done = verify("deadlock", &waiting, false);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.out.contains("wrong: deadlock"), "{}", done.out);
    let pairs = msccl::pairs_all_reduce(4, 1);
    let early = pairs.replace("depid=\"1\" deps=\"1\"", "depid=\"2\" deps=\"1\"");
    let done = verify("race", &early, false);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.out.contains("race") && done.out.contains("tb 3, step"), "{}", done.out);
    let object: Value = serde_json::from_str(&verify("race-json", &early, true).out).unwrap();
    assert!(object["places"][0]["line"].as_u64() > Some(1), "{object}");
}

#[test]
fn what_is_no_plan_is_a_mistake_of_usage() {
    let texts = ["<system/>", "none", "{\"schema\": 1", ""];
    for (text, name) in texts.iter().zip(["other", "text", "cut", "empty"]) {
        let done = verify(name, text, false);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{done:?}");
        assert!(done.err.contains("MSCCL"), "{}", done.err);
    }
}

#[test]
fn what_plan_prints_is_told_to_be_no_plan_that_can_be_proved() {
    let done = verify("explained", "{\"schema\": 1, \"rings\": [], \"routes\": []}", false);
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{done:?}");
    for told in ["as `crosstie plan --json` prints it", "schema crosstie.plan", "plan diff"] {
        assert!(done.err.contains(told), "{}", done.err);
    }
}

#[test]
fn the_program_that_the_readme_names_is_right() {
    let mut command = crosstie("plan verify");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/ring_all_reduce.xml"));
    let done = Running::start(command).finish();
    assert_eq!(done.code, Some(0), "{done:?}");
}
