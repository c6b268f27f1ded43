//! What goes wrong in worlds of processes has a name, an exit code and an end, and leaves nothing.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Done, Running, all_gone, crosstie, free_port};
use rustix::process::{Signal, kill_process};

/// A benchmark that goes on until something happens to it: twenty thousand rows, one of them done.
fn endless(flags: &str) -> Running {
    let line = format!("bench all_to_all -b 48K -e 1M -i 48 --budget-ms 20 {flags}");
    let mut bench = Running::start(crosstie(&line));
    bench.wait_for_a_row();
    bench
}

#[test]
fn a_killed_rank_is_named_by_every_other_at_once() {
    let bench = endless("");
    let ranks = bench.ranks();
    assert_eq!(ranks.len(), 8);
    let killed = Instant::now();
    kill_process(ranks[&5], Signal::KILL).unwrap();
    let done = bench.finish();
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    assert_eq!(done.code, Some(3), "{}", done.err);
    assert!(
        done.err.contains("[rank 5] this rank was killed by signal 9 (SIGKILL)"),
        "{}",
        done.err
    );
    assert_eq!(reporters(&done.err, "rank 5"), 7, "{}", done.err);
    assert!(all_gone(ranks.values()));
}

/// How many ranks' reasons speak of `culprit`: counts the ranks in the brackets before them.
fn reporters(err: &str, culprit: &str) -> u32 {
    let reasons = err.lines().filter_map(|line| line.strip_prefix("[rank")?.split_once("] "));
    let naming = reasons.filter(|(_, reason)| reason.contains(culprit));
    naming.map(|(ranks, _)| ranks.trim_start_matches('s').split(',').map(count).sum::<u32>()).sum()
}

fn count(range: &str) -> u32 {
    let number = |text: &str| text.trim().parse::<u32>().unwrap();
    range.split_once('-').map_or(1, |(first, last)| number(last) - number(first) + 1)
}

#[test]
fn a_failed_benchmark_is_one_object_of_json() {
    let line = "bench all_to_all -b 48K -e 1M -i 48 --ranks 3 --json";
    let bench = Running::start(crosstie(line));
    thread::sleep(Duration::from_secs(3)); // long enough to meet, on two busy cores
    kill_process(bench.ranks()[&2], Signal::KILL).unwrap();
    let done = bench.finish();
    let object: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&object["schema"], &object["error"]["culprit"]), (&1.into(), &2.into()));
    assert_eq!(object["error"]["code"], "CT-060", "{object}");
    assert!(object["error"]["message"].as_str().unwrap().contains("rank 2"), "{object}");
    let refused = Running::start(crosstie("bench all_reduce -b 7 --json")).finish();
    let object: serde_json::Value = serde_json::from_str(&refused.out).unwrap();
    assert!(object["error"]["message"].as_str().unwrap().contains("-b 7"), "{object}");
}

#[test]
fn a_stopped_rank_is_named_by_its_silence() {
    let bench = endless("--ranks 4 --heartbeat 200ms --silence 2s");
    let ranks = bench.ranks();
    kill_process(ranks[&2], Signal::STOP).unwrap();
    let done = bench.finish();
    assert_eq!(done.code, Some(3), "{}", done.err);
    assert_eq!(reporters(&done.err, "rank 2"), 3, "{}", done.err);
    assert!(all_gone(ranks.values()));
}

#[test]
fn a_stopped_rank_is_named_at_the_deadline_of_the_call() {
    let bench = endless("--ranks 3 --timeout 2s");
    let ranks = bench.ranks();
    kill_process(ranks[&1], Signal::STOP).unwrap();
    let done = bench.finish();
    assert_eq!(done.code, Some(3), "{}", done.err);
    assert_eq!(reporters(&done.err, "rank 1"), 2, "{}", done.err);
    assert!(all_gone(ranks.values()));
}

#[test]
fn ctrl_c_ends_all_ranks_without_a_word() {
    let bench = endless("");
    let ranks = bench.ranks();
    bench.signal(Signal::INT);
    let done = bench.finish();
    assert_eq!((done.code, done.err.as_str()), (Some(130), ""));
    assert!(all_gone(ranks.values()));
}

#[test]
fn ranks_do_not_outlive_a_launcher_that_was_killed() {
    let bench = endless("");
    let ranks = bench.ranks();
    bench.signal(Signal::KILL);
    assert_eq!(bench.finish().code, None);
    assert!(all_gone(ranks.values()));
}

/// One rank of a world that is started by hand.
fn rank(rank: u32, size: u32, port: u16, secret: &str, flags: &str) -> Command {
    let mut command = crosstie(&format!("bench all_reduce -e 4K -n 3 {flags}"));
    command.env("CROSSTIE_RANK", rank.to_string()).env("CROSSTIE_SIZE", size.to_string());
    command.env("CROSSTIE_ROOT", format!("127.0.0.1:{port}")).env("CROSSTIE_SECRET", secret);
    command
}

const SECRET: &str = "6f2e4d5c3b2a19087f6e5d4c3b2a19086f2e4d5c3b2a19087f6e5d4c3b2a1908";
const OTHER_SECRET: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

#[test]
fn a_world_started_by_hand_meets_at_its_root() {
    let port = free_port();
    let ranks = [0, 1, 2].map(|number| Running::start(rank(number, 3, port, SECRET, "")));
    let [first, second, third] = ranks.map(Running::finish);
    assert_eq!((first.code, second.code, third.code), (Some(0), Some(0), Some(0)), "{first:?}");
    assert!(first.out.contains("all_reduce on 3 ranks") && second.out.is_empty());
}

#[test]
fn a_rank_that_never_comes_is_named_at_the_deadline() {
    let port = free_port();
    let began = Instant::now();
    let ranks = [0, 1].map(|n| Running::start(rank(n, 3, port, SECRET, "--init-timeout 2s")));
    for Done { code, err, .. } in ranks.map(Running::finish) {
        assert_eq!(code, Some(3), "{err}");
        assert!(err.contains("rank 2") || err.contains("[2]"), "{err}");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn a_wrong_secret_is_refused_and_its_rank_reported_missing() {
    let port = free_port();
    let right = Running::start(rank(0, 2, port, SECRET, "--init-timeout 3s"));
    let wrong = Running::start(rank(1, 2, port, OTHER_SECRET, "--init-timeout 3s"));
    let (right, wrong) = (right.finish(), wrong.finish());
    assert!(wrong.code != Some(0) && wrong.err.contains("secret"), "{wrong:?}");
    assert_eq!(right.code, Some(3), "{right:?}");
    assert!(right.err.contains('1'), "{right:?}");
}

#[test]
fn strangers_on_the_port_delay_nobody() {
    let port = free_port();
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut idle = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                if let Ok(mut stranger) = TcpStream::connect(("127.0.0.1", port)) {
                    let _ = stranger.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
                    idle.push(stranger);
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let ranks = [0, 1, 2].map(|n| Running::start(rank(n, 3, port, SECRET, "")));
        let done = ranks.map(Running::finish);
        stop.store(true, Ordering::Relaxed);
        assert!(done.iter().all(|done| done.code == Some(0)), "{done:?}");
    });
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
