//! `crosstie doctor` on this host: its shape, its exit codes, what settings change.

use crate::support::{Done, Running, crosstie, run};
use serde_json::Value;

fn with(line: &str, name: &str, value: &str) -> Done {
    let mut command = crosstie(line);
    command.env(name, value);
    Running::start(command).finish()
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// The findings of a check.
fn of<'a>(told: &'a Value, check: &str) -> Vec<&'a Value> {
    let all = told["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["check"] == check).collect()
}

#[test]
fn this_host_is_judged_whatever_it_is() {
    let done = run("doctor --ranks 2 --json");
    let told = json(&done);
    let fails = told["verdict"] == "would_fail";
    assert_eq!(done.code, Some(if fails { 4 } else { 0 }), "{done:?}");
    assert_eq!(
        (&told["schema"], &told["ranks"], &told["ranks_here"]),
        (&1.into(), &2.into(), &2.into())
    );
    for finding in told["findings"].as_array().unwrap() {
        let verdict = finding["verdict"].as_str().unwrap();
        assert!(["good", "warning", "would_fail"].contains(&verdict), "{finding}");
        assert!(finding["found"].is_string() && finding["group"].is_string(), "{finding}");
        assert_eq!(verdict != "good", finding["remedy"].is_string(), "{finding}");
    }
    for check in ["open files", "memory", "node", "ports", "encryption", "cores"] {
        assert_eq!(of(&told, check).len(), 1, "{check}");
    }
}

#[test]
fn the_text_has_groups_and_no_colours_in_a_pipe() {
    let done = run("doctor --ranks 2");
    for group in ["limits", "shared memory", "network", "verbs", "GPUs", "clocks", "launcher"] {
        assert!(done.out.contains(&format!("\n\n{group}\n  ")), "{group}: {}", done.out);
    }
    assert!(!done.out.contains('\x1b') && done.err.is_empty(), "{done:?}");
    assert!(run("doctor --color always").out.contains('\x1b'));
}

#[test]
fn what_would_fail_ends_with_4_and_what_cannot_be_asked_with_2() {
    let missing = with("doctor --ranks 2", "CROSSTIE_INTERFACE", "nowhere9");
    assert_eq!(missing.code, Some(4), "{missing:?}");
    assert!(missing.out.contains("would fail") && missing.out.contains("nowhere9"), "{missing:?}");
    let wrong = with("doctor --ranks 2 --json", "CROSSTIE_TIMEOUT", "soon");
    assert_eq!(wrong.code, Some(4), "{wrong:?}");
    assert!(
        of(&json(&wrong), "settings")[0]["found"].as_str().unwrap().contains("CROSSTIE_TIMEOUT")
    );
    let rails = run("doctor --rails 4000 --json");
    assert_eq!(rails.code, Some(4));
    assert_eq!(of(&json(&rails), "rails")[0]["verdict"], "would_fail");
    assert_eq!(run("doctor --ranks 2 --nodes 3").code, Some(2));
    assert_eq!(run("doctor --ranks 0").code, Some(2));
}

#[test]
fn a_launchers_world_is_the_default() {
    let mut command = crosstie("doctor --json");
    for (name, value) in [("RANK", "0"), ("SIZE", "6")] {
        command.env(format!("CROSSTIE_{name}"), value);
    }
    command.env("CROSSTIE_ROOT", "127.0.0.1:1").env("CROSSTIE_SECRET", "x".repeat(64));
    let done = Running::start(command).finish();
    assert_eq!(json(&done)["ranks"], 6, "{done:?}");
}

#[test]
fn a_port_that_is_taken_is_not_counted_as_free() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = with("doctor --ranks 1 --json", "CROSSTIE_PORTS", &port);
    let told = json(&done);
    assert_eq!(of(&told, "ports")[0]["verdict"], "would_fail", "{told}");
    drop(taken);
}

#[test]
fn files_that_no_rank_could_use_are_no_good() {
    for name in ["CROSSTIE_TOPO_FILE", "CROSSTIE_TUNE_FILE"] {
        for file in ["/nonexistent/file", "/dev/zero", "Cargo.toml"] {
            let done = with("doctor --ranks 2", name, file);
            assert_eq!(done.code, Some(4), "{name}={file}: {done:?}");
            assert!(done.out.contains(&format!("{name}={file}: ")), "{done:?}");
        }
    }
}
