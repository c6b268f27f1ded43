//! Relays that end, cables that are cut, networks that join no rails: what every rank says, and that nothing is left.

use std::time::{Duration, Instant};

use crate::support::lab::{Mark, NOBODY, no_lab};
use crate::support::{Done, Running, crosstie, run};
use rustix::process::{Signal, kill_process};

/// All four ranks of two nodes at once, as one line of reasons begins.
const ALL: &str = "[ranks 0-3] ";

/// A benchmark on 2 nodes of 2 ranks that goes on until something happens to it.
fn endless(fabric: &str, flags: &str, settings: &[(&str, &str)], mark: &Mark) -> Running {
    let line = "-b 48K -e 1M -i 48 --budget-ms 20";
    let line = format!("lab --ranks-per-node 2 {fabric} -- bench all_to_all {line} {flags}");
    let mut command = mark.on(crosstie(&line));
    command.envs(settings.iter().copied());
    Running::start(command)
}

/// Every rank gives this reason, which the stall clock alone would not have found.
fn assert_all_say(done: &Done, code: &str, words: &[&str]) {
    assert_eq!(done.code, Some(3), "{}", done.err);
    let mut lines = done.err.lines();
    let reason = lines.find_map(|line| line.strip_prefix(ALL)).unwrap_or_default();
    assert!(reason.starts_with(code), "{}", done.err);
    for word in words {
        assert!(reason.contains(word), "{word}: {}", done.err);
    }
}

#[test]
fn ranks_that_a_rail_only_network_does_not_join_are_named_at_once_and_relays_join_them() {
    if no_lab() {
        return;
    }
    let lab = "lab --ranks-per-node 2 --no-spine -- bench all_to_all -b 1K -e 1K -n 2";
    let began = Instant::now();
    let done = run(&format!("{lab} --pxn off"));
    // Not the two minutes that ranks have to connect.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let rails = ["(rail 0)", "(rail 1)", "on host node0 and rank", "on host node1"];
    assert_all_say(&done, "CT-054: there is no way between rank", &rails);
    assert_all_say(&done, "CT-054", &["No route to host", "CROSSTIE_PXN=on", "10.77."]);
    assert!(done.err.contains("to blame: the network"), "{}", done.err);
    let done = run(&format!("{lab} --pxn on"));
    assert_eq!(done.code, Some(0), "{}", done.err);
}

/// Has something happen to rank 1, by way of which the ranks of node 0 send to rail 1.
fn end_of_relay(signal: Signal, settings: &[(&str, &str)], what: &str) {
    if no_lab() {
        return;
    }
    let mark = Mark::new("relay");
    let mut bench = endless("", "--pxn on", settings, &mark);
    bench.wait_for_a_row();
    kill_process(mark.ranks()[&1], signal).unwrap();
    let done = bench.finish();
    assert_eq!(done.code, Some(3), "{}", done.err);
    let named = format!("rank 1 on host node0 (relay of rail 1) {what}");
    let reason = done.err.lines().find(|line| line.contains(&named)).unwrap_or_default();
    assert!(reason.starts_with("[ranks 0, 2-3] "), "{}", done.err);
    assert_eq!(mark.processes(), NOBODY);
}

#[test]
fn a_relay_that_is_killed_is_named_with_its_rail_by_all_others() {
    end_of_relay(Signal::KILL, &[], "died");
}

#[test]
#[ignore = "slow: waits for a silence"]
fn a_relay_that_is_stopped_is_named_with_its_rail_by_all_others() {
    end_of_relay(Signal::STOP, &[("CROSSTIE_SILENCE", "3s")], "has gone silent");
}

/// Cuts the cable at `port` amid calls; what all ranks are to say, and what one of them.
fn cut(port: &str, flags: &str, words: &[&str], clue: &str) {
    if no_lab() {
        return;
    }
    let cut_after = |ms: u32| {
        let mark = Mark::new("cut");
        let down = format!("--down {port}@{ms}ms");
        let done = endless(&down, &format!("{flags} --stall 5s"), &[], &mark).finish();
        assert_eq!(mark.processes(), NOBODY);
        // On a busy machine the ranks may not have come to their calls yet.
        done.out.lines().any(|line| !line.starts_with('#')).then_some(done)
    };
    let done = [1500, 4000, 12_000].into_iter().find_map(cut_after).expect("a row in time");
    // With this code, and not with that of the stall clock: it was earlier.
    assert_all_say(&done, "CT-071: the link between rank", words);
    assert_all_say(&done, "CT-071", &["was cut, and both live", "on host node0", "on host node1"]);
    assert!(done.err.contains("to blame: the network"), "{}", done.err);
    assert_all_say(&done, "CT-071", &[clue]);
    let guesses = done.err.contains("a spine, an uplink");
    assert!(!(guesses && clue.contains("no carrier")), "{}", done.err);
}

/// However soon the others are ready, and see that a rank which could not connect has ended its links with them.
#[test]
fn a_rail_cut_before_the_first_call_is_named_with_its_nic_and_is_no_cut_inside_a_node() {
    if no_lab() {
        return;
    }
    for (port, pxn) in [("n1r1", "on"), ("n0r1", "auto"), ("n1r1", "off"), ("n0r1", "off")] {
        let bench = format!("bench all_to_all -b 64K -e 64K -n 40 --stall 6s --pxn {pxn}");
        let done = run(&format!("lab --ranks-per-node 2 --down {port}@1ms -- {bench}"));
        let ends = ["on host node0 and rank", "on host node1", "eth1 of rank ", "no carrier: its"];
        assert_all_say(&done, "CT-054: there is no way between rank", &ends);
        assert!(!done.err.contains("a spine, an uplink"), "{}", done.err);
    }
}

#[test]
fn a_rail_that_goes_down_amid_calls_is_named_by_all_ranks() {
    // Whoever reports it, the verdict has it from the rank that has the NIC.
    cut(
        "n0r1",
        "--pxn off",
        &["rank 1 at 10.77.1.1 (rail 1)"],
        "eth1 of rank 1 (10.77.1.1) has no carrier",
    );
}

/// Rank 0 is there, with the monitors' links of all others.
#[test]
#[ignore = "slow: waits for a path to give no answer"]
fn the_rail_of_the_monitors_themselves_is_named_by_all_ranks() {
    cut(
        "n0r0",
        "--pxn off",
        &["rank 0 at 10.77.0.1 (rail 0)"],
        "eth0 of rank 0 (10.77.0.1) has no carrier",
    );
}

#[test]
#[ignore = "slow: waits for a path to give no answer"]
fn a_rail_between_relays_is_named_with_both_by_all_ranks() {
    let ends = ["rank 1 at 10.77.1.1 (relay of rail 1)", "rank 3 at 10.77.1.2 (relay of rail 1)"];
    cut("n1r1", "--pxn on", &ends, "eth1 of rank 3 (10.77.1.2) has no carrier");
}

#[test]
#[ignore = "slow: waits for a path to give no answer"]
fn an_uplink_that_goes_down_unseen_is_found_by_what_crosses_it() {
    cut("up1", "--pxn off", &["(rail 0)", "(rail 1)", "is up and has a carrier"], "with --pxn on");
}

#[test]
fn an_uplink_that_goes_down_harms_nobody_where_nothing_crosses_it() {
    if no_lab() {
        return;
    }
    // What crosses would never arrive, and end the run.
    let mut command = crosstie(
        "lab --ranks-per-node 2 --down up0@300ms --down up1@300ms -- \
         bench all_to_all -b 64K -e 64K --pxn on --budget-ms 600",
    );
    command.env("CROSSTIE_STALL", "5s");
    let done = Running::start(command).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("the cable at up1 is cut"), "{}", done.err);
}

/// Nothing of a dead path is kept: no socket that tries on, no shared memory.
#[test]
#[ignore = "slow: waits for the kernel to give sockets up"]
fn a_dead_path_leaves_no_socket_and_no_shared_memory() {
    if no_lab() {
        return;
    }
    let bench = "bench all_to_all -b 64K -e 64K -n 1000000 -w 1 --pxn off";
    let script = format!(
        "{} {bench} >/dev/null; echo ended with $?; \
         for i in $(seq 150); do \
           open=$(cat /proc/net/tcp /proc/net/tcp6 | grep -c ':.* 0[1-489B] '); \
           [ $open = 0 ] && break; sleep 0.1; \
         done; echo $open sockets, $(ls /dev/shm | wc -l) files",
        env!("CARGO_BIN_EXE_crosstie")
    );
    let mut command =
        crosstie("lab --ranks-per-node 2 --down n0r1@1500ms -- run --keep-going -- sh -c");
    command.arg(script).env("CROSSTIE_STALL", "3s");
    let done = Running::start(command).finish();
    let count = |what: &str| done.out.lines().filter(|line| line.ends_with(what)).count();
    assert_eq!(count("ended with 3"), 4, "{}{}", done.out, done.err);
    assert_eq!(count("0 sockets, 0 files"), 4, "{}{}", done.out, done.err);
}
