//! `crosstie plan`: what is right is told, what is wrong with its place, and what is neither is refused.

use crate::support::{Done, Running, Scratch, crosstie};
use crosstie_testkit::msccl;
use serde_json::Value;

fn verify(text: &str, json: bool) -> Done {
    let file = Scratch::new(text);
    let mut command = crosstie("plan verify");
    command.arg(file.path()).args(json.then_some("--json"));
    Running::start(command).finish()
}

#[test]
fn a_right_program_is_told_to_be_right() {
    let done = verify(&msccl::ring_all_reduce(4), false);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.out.contains("right: all_reduce of 4 ranks, for calls in place alone\n"),
        "{}",
        done.out
    );
    // 2(n - 1) messages around a ring, of a quarter each.
    assert!(done.out.contains("at most 6 messages, 6 parts"), "{}", done.out);
    let object: Value =
        serde_json::from_str(&verify(&msccl::ring_all_reduce(4), true).out).unwrap();
    assert_eq!((&object["right"], &object["steps"]), (&true.into(), &6.into()), "{object}");
}

#[test]
fn a_wrong_program_is_told_with_its_place() {
    let sends = msccl::direct_all_to_all(2, 1).replace("type=\"s\"", "type=\"?\"");
    let waiting = sends.replace("type=\"r\"", "type=\"s\"").replace("type=\"?\"", "type=\"r\"");
    let done = verify(&waiting, false);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.out.contains("wrong: deadlock"), "{}", done.out);
    let pairs = msccl::pairs_all_reduce(4, 1);
    let early = pairs.replace("depid=\"1\" deps=\"1\"", "depid=\"2\" deps=\"1\"");
    let done = verify(&early, false);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.out.contains("race") && done.out.contains("tb 3, step"), "{}", done.out);
    let object: Value = serde_json::from_str(&verify(&early, true).out).unwrap();
    assert!(object["places"][0]["line"].as_u64() > Some(1), "{object}");
}

#[test]
fn what_is_no_plan_is_a_mistake_of_usage() {
    let texts = ["<system/>", "none", "{\"schema\": 1", ""];
    for text in texts {
        let done = verify(text, false);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{done:?}");
        assert!(done.err.contains("MSCCL"), "{}", done.err);
    }
}

#[test]
fn why_there_is_no_answer_is_told_as_json_where_that_is_asked_for() {
    for line in ["plan --topo /nowhere.x --json", "plan verify /nowhere.x --json"] {
        let done = Running::start(crosstie(line)).finish();
        assert_eq!(done.code, Some(2), "{done:?}");
        let object: Value = serde_json::from_str(&done.out).expect("an object");
        let message = object["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("/nowhere.x") && done.err.contains(message), "{done:?}");
    }
}

#[test]
fn what_plan_prints_is_told_to_be_no_plan_that_can_be_proved() {
    let done = verify("{\"schema\": 1, \"rings\": [], \"routes\": []}", false);
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

#[test]
fn a_program_that_fills_more_slots_than_there_are_is_told_to_be_wrong() {
    let done = verify(&msccl::direct_all_to_all(2, 20), false);
    assert_eq!(done.code, Some(1), "{done:?}");
    for told in ["wrong: 20 slots a connection are needed, and there are 8", "gpu 0, tb 1, step 0"]
    {
        assert!(done.out.contains(told), "{}", done.out);
    }
}

#[test]
fn what_a_program_says_of_its_calls_is_told_with_file_line_and_column() {
    let text = msccl::ring_all_reduce(2).replace("proto=\"Simple\"", "proto=\"Nonsense\"");
    let done = verify(&text, false);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.err.contains(": line 1, column 19: proto=\"Nonsense\""), "{}", done.err);
}

#[test]
fn a_programs_name_commands_no_terminal() {
    let text = msccl::ring_all_reduce(2).replace("name=\"ring\"", "name=\"\u{9b}31mX\"");
    let done = verify(&text, false);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("\\u{9b}31mX"), "{}", done.out);
}
