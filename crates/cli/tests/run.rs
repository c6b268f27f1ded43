//! `crosstie run`: any program's ranks, their output, and how they end.
#![cfg(test)]

mod support;

use std::process::Command;

use rustix::process::Signal;
use support::{Running, all_gone, crosstie};

fn shell(flags: &str, script: &str) -> Command {
    let mut command = crosstie(&format!("run {flags} -- sh -c"));
    command.arg(script);
    command
}

#[test]
fn each_line_carries_its_rank_and_each_rank_knows_itself() {
    let script = "echo $CROSSTIE_RANK of $CROSSTIE_SIZE on $CROSSTIE_NODE; echo warned >&2";
    let done = Running::start(shell("-n 3 --nodes 2", script)).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    let expected =
        ["[0] 0 of 3 on emulated-0", "[1] 1 of 3 on emulated-0", "[2] 2 of 3 on emulated-1"];
    assert_eq!(lines, expected);
    assert_eq!(done.err.matches("] warned").count(), 3);
}

#[test]
fn the_first_failure_ends_the_rest_and_gives_the_exit_code() {
    let script = "[ $CROSSTIE_RANK = 1 ] && exit 7; sleep 600";
    let done = Running::start(shell("-n 3", script)).finish();
    assert_eq!(done.code, Some(7), "{}", done.err);
    assert!(done.err.contains("[1] ended with exit code 7"), "{}", done.err);
}

#[test]
fn a_program_killed_by_a_signal_is_reported_as_by_a_shell() {
    let done = Running::start(shell("-n 1", "kill -SEGV $$")).finish();
    assert_eq!(done.code, Some(128 + 11), "{}", done.err);
    assert!(done.err.contains("signal 11 (SIGSEGV)"), "{}", done.err);
}

#[test]
fn what_a_rank_leaves_in_the_background_ends_with_it() {
    let mut run = Running::start(shell("-n 1", "sleep 600 & echo $!; wait"));
    let pid = run.first_line();
    let sleeper =
        pid.trim_start_matches("[0] ").trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    run.signal(Signal::INT);
    assert_eq!(run.finish().code, Some(130));
    assert!(all_gone(&[sleeper.unwrap()]));
}

#[test]
fn ranks_of_this_library_find_each_other() {
    let crosstie_itself = env!("CARGO_BIN_EXE_crosstie");
    let mut command = crosstie("run -n 3 --nodes 2 --");
    command.arg(crosstie_itself).args(["bench", "all_to_all", "-e", "1K", "-n", "2"]);
    let done = Running::start(command).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(done.out.matches("all_to_all on 3 ranks of 2 nodes").count(), 1, "{}", done.out);
    assert!(done.out.lines().all(|line| line.starts_with("[0]")), "{}", done.out);
}
