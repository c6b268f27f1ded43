//! Monitors over real links, between threads and processes: who fails is named by all, who leaves in order is not.
#![cfg(test)]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crosstie_bootstrap::{
    Application, CallMark, Cause, Monitor, MonitorOptions, Record, Report, Signature, Verdict,
    Wait, WaitOn, World,
};
use crosstie_net::{Inbox, ListenOptions, Listener, Secret, Target};
use crosstie_testkit::proxy::Proxy;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};

/// Within what all ranks must have named a dead one.
const PROMPT: Duration = Duration::from_secs(1);
const PATIENT: MonitorOptions = options(Duration::from_secs(1), Duration::from_secs(10));
const STRICT: MonitorOptions = options(Duration::from_millis(100), Duration::from_millis(800));

const fn options(heartbeat: Duration, silence: Duration) -> MonitorOptions {
    let minute = Duration::from_secs(60);
    MonitorOptions { heartbeat, silence, arrival: minute, stall: minute, warning: minute }
}

fn application(wake: impl Fn() + Send + 'static) -> Application {
    let describe = |mark: &CallMark| Signature {
        sequence: mark.sequence,
        operation: format!("operation {}", mark.kind),
        data_type: "f32".to_owned(),
        reduction: None,
        count: Some(mark.count),
        root: None,
        tag: mark.tag,
        site: mark.site.to_string(),
    };
    Application { wake: Box::new(wake), describe, ailment: Box::new(|| None) }
}

#[track_caller]
fn mark(sequence: u64) -> CallMark {
    let site = std::panic::Location::caller();
    CallMark { sequence, tag: 1, kind: 7, count: 9, site }
}

/// A rank before its monitor starts.
struct Seat {
    record: Record,
    inbox: Arc<Inbox>,
}

fn seat(rank: u32, secret: &Secret) -> Seat {
    let listener = Arc::new(Listener::open(&ListenOptions::default()).unwrap());
    let inbox = Arc::new(listener.subscribe(secret, Target::Rank(rank)).unwrap());
    Seat { record: Record::of_this_process(rank, listener.addresses()), inbox }
}

fn world(rank: u32, records: &[Record], secret: &Secret) -> World {
    let size = u32::try_from(records.len()).unwrap();
    let (secret, records, phases) = (secret.clone(), records.to_vec(), Vec::new());
    World { rank, size, secret, records, kinds: Arc::default(), phases }
}

fn start(seat: &Seat, records: &[Record], secret: &Secret, options: MonitorOptions) -> Monitor {
    let (world, inbox) = (world(seat.record.rank, records, secret), Arc::clone(&seat.inbox));
    let deadline = Instant::now() + Duration::from_secs(10);
    Monitor::start(&world, inbox, options, application(|| {}), deadline).unwrap()
}

/// The monitors of `size` ranks, all in this process.
fn monitors(size: u32, options: MonitorOptions) -> Vec<Monitor> {
    let secret = Secret::generate().unwrap();
    let seats: Vec<Seat> = (0..size).map(|rank| seat(rank, &secret)).collect();
    let records: Vec<Record> = seats.iter().map(|seat| seat.record.clone()).collect();
    seats.iter().map(|seat| start(seat, &records, &secret, options)).collect()
}

/// All ranks' verdicts, which must be one and the same, shared one.
fn one_verdict(monitors: &[Monitor], limit: Duration) -> Verdict {
    let deadline = Instant::now() + limit;
    let verdicts: Vec<Verdict> = (monitors.iter())
        .map(|monitor| monitor.verdict(deadline.saturating_duration_since(Instant::now())))
        .collect();
    let first = verdicts[0].clone();
    assert!(!first.provisional, "{first:?}");
    assert!(verdicts.iter().all(|verdict| *verdict == first), "{verdicts:#?}");
    assert!(monitors.iter().all(Monitor::failed));
    first
}

fn report(cause: Cause, culprit: Option<u32>, sequence: u64) -> Report {
    let detail = "as the test has it".to_owned();
    Report { culprit, cause, detail, sequence, in_group: false, ..Report::default() }
}

#[test]
fn a_dead_rank_is_named_by_all_within_a_second() {
    for victim in [0, 1, 4] {
        let mut monitors = monitors(5, PATIENT);
        drop(monitors.remove(victim));
        let verdict = one_verdict(&monitors, PROMPT);
        assert_eq!(verdict.culprit, Some(victim as u32));
        assert_eq!(verdict.culprit_host, crosstie_net::host_name());
        assert_eq!(verdict.cause, Cause::Died);
    }
}

#[test]
fn a_rank_that_makes_no_link_is_given_up_after_its_silence() {
    let secret = Secret::generate().unwrap();
    let [first, second] = [0, 1].map(|rank| seat(rank, &secret));
    let records = [first.record.clone(), second.record.clone()];
    let monitor = start(&first, &records, &secret, STRICT);
    let verdict = monitor.verdict(STRICT.silence + PROMPT);
    assert_eq!((verdict.culprit, verdict.cause), (Some(1), Cause::Silent), "{verdict:?}");
}

#[test]
fn a_rank_whose_process_ends_between_the_meeting_and_its_link_is_named_at_once() {
    for victim in 0..3 {
        let secret = Secret::generate().unwrap();
        let mut seats: Vec<Seat> = (0..3).map(|rank| seat(rank, &secret)).collect();
        let records: Vec<Record> = seats.iter().map(|seat| seat.record.clone()).collect();
        seats.remove(victim);
        let monitors: Vec<Monitor> =
            seats.iter().map(|seat| start(seat, &records, &secret, PATIENT)).collect();
        let verdict = one_verdict(&monitors, PROMPT);
        assert_eq!((verdict.culprit, verdict.cause), (Some(victim as u32), Cause::Died));
        assert!(verdict.detail.contains("gone"), "{verdict:?}");
    }
}

#[test]
fn two_hubs_that_die_at_once_leave_one_verdict() {
    let mut monitors = monitors(5, PATIENT);
    std::thread::scope(|scope| monitors.drain(..2).for_each(|hub| _ = scope.spawn(|| drop(hub))));
    let verdict = one_verdict(&monitors, 2 * PROMPT);
    assert!(verdict.culprit.unwrap() < 2 && verdict.cause == Cause::Died, "{verdict:?}");
}

#[test]
fn a_report_reaches_all_ranks_as_one_verdict() {
    let calls = Arc::new(AtomicU32::new(0));
    let secret = Secret::generate().unwrap();
    let seats: Vec<Seat> = (0..4).map(|rank| seat(rank, &secret)).collect();
    let records: Vec<Record> = seats.iter().map(|seat| seat.record.clone()).collect();
    let monitors: Vec<Monitor> = (seats.iter())
        .map(|seat| {
            let (world, calls) = (world(seat.record.rank, &records, &secret), Arc::clone(&calls));
            let wake = application(move || _ = calls.fetch_add(1, Ordering::Relaxed));
            let deadline = Instant::now() + Duration::from_secs(10);
            Monitor::start(&world, Arc::clone(&seat.inbox), PATIENT, wake, deadline).unwrap()
        })
        .collect();
    assert!(!monitors.iter().any(Monitor::failed));
    monitors[2].report(report(Cause::Protocol, Some(1), 7));
    let verdict = one_verdict(&monitors, PROMPT);
    assert_eq!((verdict.culprit, verdict.reporter, verdict.sequence), (Some(1), 2, 7));
    monitors[3].report(report(Cause::Aborted, None, 9));
    assert_eq!(one_verdict(&monitors, PROMPT), verdict);
    assert!(calls.load(Ordering::Relaxed) >= 4, "every rank's doorbell rang");
}

#[test]
fn reports_at_once_still_give_one_verdict() {
    let monitors = monitors(4, PATIENT);
    std::thread::scope(|scope| {
        for (rank, monitor) in (0..).zip(&monitors) {
            scope.spawn(move || monitor.report(report(Cause::Protocol, Some(rank), 1)));
        }
    });
    one_verdict(&monitors, PROMPT);
}

#[test]
fn a_missed_deadline_is_blamed_on_the_rank_that_is_behind() {
    let monitors = monitors(4, PATIENT);
    for (rank, monitor) in monitors.iter().enumerate() {
        monitor.call_started(mark(if rank == 3 { 41 } else { 42 }));
    }
    monitors[1].report(report(Cause::Deadline, Some(2), 42));
    let verdict = one_verdict(&monitors, PROMPT);
    assert_eq!((verdict.culprit, verdict.cause), (Some(3), Cause::Deadline));
    assert!(verdict.detail.contains("rank 3 has not started call 42"), "{}", verdict.detail);
}

#[test]
fn different_calls_are_named_with_both_places() {
    let monitors = monitors(3, PATIENT);
    for (rank, monitor) in monitors.iter().enumerate() {
        monitor.call_started(mark(1));
        monitor.call_finished(1);
        let count = if rank == 1 { 10 } else { 9 };
        monitor.call_started(CallMark { count, ..mark(2) });
        if rank == 2 {
            // It has what it called for, and went on.
            monitor.call_finished(2);
            monitor.call_started(mark(3));
            monitor.testify(Vec::new());
        }
    }
    monitors[0].report(report(Cause::Protocol, Some(2), 2));
    let verdict = one_verdict(&monitors, PROMPT);
    assert_eq!((verdict.culprit, verdict.cause), (Some(1), Cause::Protocol));
    assert_eq!(verdict.first_failed, 2);
    let conflict = verdict.conflict.unwrap();
    assert_eq!((conflict.usual.1.count, conflict.odd.1.count), (Some(9), Some(10)));
    assert!(conflict.odd.1.site.contains("monitor.rs:"), "{conflict:?}");
}

/// A call under way on every rank, in which nothing moves; `waits` as rank 1 says.
fn stalled(options: MonitorOptions, late: Option<usize>) -> Vec<Monitor> {
    let monitors = monitors(3, options);
    for (rank, monitor) in monitors.iter().enumerate() {
        monitor.call_started(mark(1));
        monitor.call_finished(1);
        if late != Some(rank) {
            monitor.call_started(mark(2));
        }
    }
    monitors
}

/// Answers as engines do, until there is a failure.
fn answer(monitors: &[Monitor], limit: Duration) {
    let deadline = Instant::now() + limit;
    while !monitors.iter().all(Monitor::failed) && Instant::now() < deadline {
        for (rank, monitor) in (0..).zip(monitors) {
            if monitor.asks() {
                let (peer, channel, slot) = ((rank + 1) % 3, 0, 3);
                let on = WaitOn::Message { peer, channel, slot };
                monitor.testify(vec![Wait { block: 0, step: 5 - rank, window: 0, on }]);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_call_in_which_nothing_moves_fails_with_the_first_missing_step() {
    let monitors = stalled(MonitorOptions { stall: SHORT, ..STRICT }, None);
    let began = Instant::now();
    answer(&monitors, PROMPT);
    let verdict = one_verdict(&monitors, PROMPT);
    assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
    assert_eq!((verdict.culprit, verdict.cause), (Some(0), Cause::Stalled));
    assert!(
        verdict.detail.contains(
            "rank 2, block 0 step 3 window 0 waits for a message from rank 0 (channel 0, slot 3)"
        ),
        "{}",
        verdict.detail
    );
    assert_eq!(verdict.statements.len(), 3);
    assert!(verdict.statements.values().all(|statement| statement.waits.len() == 1));
}

#[test]
fn a_call_that_moves_on_one_rank_does_not_fail() {
    let monitors = stalled(MonitorOptions { stall: SHORT, ..STRICT }, None);
    let began = Instant::now();
    while began.elapsed() < 4 * SHORT {
        monitors[1].call_moved();
        answer(&monitors, SHORT / 10);
    }
    assert!(!monitors.iter().any(Monitor::failed), "{:?}", monitors[0].verdict(Duration::ZERO));
}

#[test]
fn a_rank_that_is_late_has_the_time_of_the_arrival_clock() {
    let options = MonitorOptions { stall: SHORT, arrival: 4 * SHORT, ..STRICT };
    let monitors = stalled(options, Some(1));
    let began = Instant::now();
    answer(&monitors, 8 * SHORT);
    let verdict = one_verdict(&monitors, PROMPT);
    assert!(began.elapsed() >= 3 * SHORT, "{:?}", began.elapsed());
    assert_eq!((verdict.culprit, verdict.cause), (Some(1), Cause::Deadline));
    assert!(
        verdict.detail.contains("its last was 1 (operation 7 #1 of 9 f32"),
        "{}",
        verdict.detail
    );
}

#[test]
fn ranks_leave_in_any_order_without_an_error() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
        let mut monitors: Vec<Option<Monitor>> =
            monitors(4, PATIENT).into_iter().map(Some).collect();
        for (gone, rank) in order.into_iter().enumerate() {
            let started = Instant::now();
            monitors[rank].take().unwrap().leave(10 + rank as u64);
            assert!(started.elapsed() < PROMPT, "rank {rank} took {:?}", started.elapsed());
            for monitor in monitors.iter().flatten() {
                let deadline = Instant::now() + PROMPT;
                while monitor.has_left(rank as u32) != Some(10 + rank as u64) {
                    assert!(Instant::now() < deadline, "{gone} of {order:?} left unnoticed");
                    std::thread::sleep(Duration::from_millis(1));
                }
                assert!(!monitor.failed(), "{:?}", monitor.verdict(Duration::ZERO));
            }
        }
    }
}

#[test]
fn all_ranks_leave_at_once_without_an_error_and_quickly() {
    for _ in 0..5 {
        let monitors = monitors(8, PATIENT);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for monitor in monitors {
                scope.spawn(move || {
                    assert!(!monitor.failed());
                    monitor.leave(1);
                });
            }
        });
        assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
    }
}

#[test]
fn a_death_after_the_hub_left_in_order_is_named() {
    let mut monitors = monitors(4, PATIENT);
    monitors.remove(0).leave(3);
    drop(monitors.remove(2));
    let verdict = one_verdict(&monitors, PROMPT);
    assert_eq!((verdict.culprit, verdict.cause), (Some(3), Cause::Died));
}

#[test]
fn a_world_of_one_has_nobody_to_tell() {
    let monitor = monitors(1, PATIENT).remove(0);
    assert_eq!(monitor.verdict(Duration::ZERO).cause, Cause::Unknown);
    monitor.report(report(Cause::Aborted, None, 1));
    assert!(monitor.failed());
    assert!(!monitor.verdict(PROMPT).provisional);
    monitor.leave(1);
}

/// The monitors of `size` ranks of which the last reaches rank 0 by way of the proxy.
fn with_proxy(size: u32, options: MonitorOptions) -> (Vec<Monitor>, Proxy) {
    let secret = Secret::generate().unwrap();
    let seats: Vec<Seat> = (0..size).map(|rank| seat(rank, &secret)).collect();
    let records: Vec<Record> = seats.iter().map(|seat| seat.record.clone()).collect();
    let proxy = Proxy::before(*records[0].addresses.last().unwrap());
    let start_one = |seat: &Seat| {
        let mut records = records.clone();
        if seat.record.rank + 1 == size {
            records[0].addresses = vec![proxy.address()];
        }
        start(seat, &records, &secret, options)
    };
    let monitors: Vec<Monitor> = seats.iter().map(start_one).collect();
    assert_eq!(proxy.connections(), 1);
    // Some heartbeats, so that all links stand.
    std::thread::sleep(3 * options.heartbeat);
    (monitors, proxy)
}

#[test]
fn a_link_that_is_cut_is_made_anew_and_serves_on() {
    let (monitors, proxy) = with_proxy(3, STRICT);
    for _ in 0..3 {
        assert_eq!(proxy.cut(), 1);
        let deadline = Instant::now() + PROMPT;
        while proxy.connections() == 0 {
            assert!(Instant::now() < deadline, "nobody dials again");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    std::thread::sleep(STRICT.silence + STRICT.heartbeat);
    assert!(!monitors.iter().any(Monitor::failed), "{:?}", monitors[0].verdict(Duration::ZERO));
    monitors[2].report(report(Cause::Protocol, Some(1), 7));
    let verdict = one_verdict(&monitors, PROMPT);
    assert_eq!((verdict.culprit, verdict.reporter), (Some(1), 2));
}

#[test]
fn a_link_that_is_made_anew_late_within_the_silence_blames_nobody() {
    let slow = options(Duration::from_millis(250), Duration::from_secs(3));
    let (monitors, proxy) = with_proxy(2, slow);
    proxy.go_down();
    std::thread::sleep(Duration::from_millis(1700));
    proxy.come_up();
    std::thread::sleep(slow.silence);
    assert!(!monitors.iter().any(Monitor::failed), "{:?}", monitors[0].verdict(Duration::ZERO));
}

#[test]
fn a_link_that_stays_cut_is_blamed_on_the_network_between_its_ends() {
    for size in 2..5 {
        let (monitors, proxy) = with_proxy(size, STRICT);
        proxy.go_down();
        let verdicts: Vec<Verdict> = match size {
            // These two cannot tell each other, but see the same.
            2 => monitors.iter().map(|monitor| monitor.verdict(3 * PROMPT)).collect(),
            _ => vec![one_verdict(&monitors, 3 * PROMPT)],
        };
        for verdict in verdicts {
            assert!(!verdict.provisional, "{verdict:?}");
            assert_eq!((verdict.culprit, verdict.cause), (None, Cause::Cut), "{verdict:?}");
            let ends = verdict.ends.as_ref().unwrap();
            assert_eq!([ends[0].rank, ends[1].rank], [0, size - 1], "{verdict:?}");
        }
    }
}

#[test]
fn a_rank_whose_links_of_data_were_cut_is_not_taken_for_dead() {
    let monitors = monitors(4, PATIENT);
    monitors[1].report(report(Cause::Died, Some(3), 7));
    monitors[3].report(report(Cause::Died, Some(1), 7));
    let verdict = one_verdict(&monitors, PROMPT);
    assert_eq!((verdict.culprit, verdict.cause), (None, Cause::Cut));
    let ends = verdict.ends.unwrap();
    assert_eq!([ends[0].rank, ends[1].rank], [1, 3]);
}

/// A rank in a process of its own, which is ended with this value.
struct Process(Child);

impl Process {
    /// Starts it; the rank says where it can be reached.
    fn spawn(rank: u32, passphrase: &str) -> (Process, Record) {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(["--exact", "a_rank_in_a_process_of_its_own", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{rank} {passphrase}").unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let record = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("record: ")?.1.to_owned()))
            .unwrap();
        (Process(child), serde_json::from_str(&record).unwrap())
    }

    fn tell_world(&mut self, records: &[Record]) {
        let line = serde_json::to_string(records).unwrap();
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn kill(&self) {
        kill_process(Pid::from_child(&self.0), Signal::KILL).unwrap();
    }

    /// Stops it; returns when none of its threads runs any more.
    fn stop(&self) {
        kill_process(Pid::from_child(&self.0), Signal::STOP).unwrap();
        let is_stopped = |task: &std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.contains("State:\tT")
        };
        let tasks = format!("/proc/{}/task", self.0.id());
        let deadline = Instant::now() + Duration::from_secs(5);
        while !std::fs::read_dir(&tasks).unwrap().flatten().all(|task| is_stopped(&task)) {
            assert!(Instant::now() < deadline, "the process does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What [`Process::spawn`] runs: a rank that watches until its standard input ends.
#[test]
#[ignore = "a part of other tests, which start it"]
fn a_rank_in_a_process_of_its_own() {
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let (rank, passphrase) = first.split_once(' ').unwrap();
    let secret = Secret::from_passphrase(passphrase);
    let seat = seat(rank.parse().unwrap(), &secret);
    println!("\nrecord: {}", serde_json::to_string(&seat.record).unwrap());
    let records: Vec<Record> = serde_json::from_str(&lines.next().unwrap()).unwrap();
    let _monitor = start(&seat, &records, &secret, STRICT);
    lines.for_each(drop);
}

/// The monitors of 4 ranks of which `alone` has a process of its own.
fn with_process(
    alone: usize,
    passphrase: &str,
    options: MonitorOptions,
) -> (Vec<Monitor>, Process) {
    let secret = Secret::from_passphrase(passphrase);
    let (mut process, record) = Process::spawn(alone as u32, passphrase);
    let mut seats: Vec<Option<Seat>> =
        (0..4).map(|rank| (rank != alone as u32).then(|| seat(rank, &secret))).collect();
    let records: Vec<Record> = (seats.iter())
        .map(|seat| seat.as_ref().map_or(&record, |seat| &seat.record).clone())
        .collect();
    process.tell_world(&records);
    let starts = seats.iter_mut().flatten();
    let monitors: Vec<Monitor> =
        starts.map(|seat| start(seat, &records, &secret, options)).collect();
    // Some heartbeats, so that all links stand.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!monitors.iter().any(Monitor::failed), "{:?}", monitors[0].verdict(Duration::ZERO));
    (monitors, process)
}

#[test]
fn a_killed_process_is_named_by_all_within_a_second() {
    for victim in [0, 2] {
        let (monitors, process) = with_process(victim, "killed", STRICT);
        process.kill();
        let verdict = one_verdict(&monitors, PROMPT);
        assert_eq!((verdict.culprit, verdict.cause), (Some(victim as u32), Cause::Died));
    }
}

/// What a forked child of a process holds of it: its sockets.
fn held_by_a_child(process: &Process) -> Vec<OwnedFd> {
    let of = pidfd_open(Pid::from_child(&process.0), PidfdFlags::empty()).unwrap();
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.0.id())).unwrap().flatten();
    let sockets = files.filter(|file| {
        std::fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    });
    let numbers = sockets.map(|file| file.file_name().to_string_lossy().parse().unwrap());
    numbers.map(|number| pidfd_getfd(&of, number, PidfdGetfdFlags::empty()).unwrap()).collect()
}

#[test]
fn a_killed_process_whose_child_holds_its_sockets_is_dead_and_not_silent() {
    for victim in [0, 2] {
        let (monitors, process) = with_process(victim, "killed with a child", PATIENT);
        let held = held_by_a_child(&process);
        assert!(held.len() >= 2, "a listener and a link: {held:?}");
        process.kill();
        let verdict = one_verdict(&monitors, 3 * PROMPT);
        let named = (verdict.culprit, verdict.cause);
        assert_eq!(named, (Some(victim as u32), Cause::Died), "{verdict:?}");
        drop(held);
    }
}

#[test]
fn a_stopped_process_is_named_by_all_after_its_silence() {
    for victim in [0, 2] {
        let (monitors, process) = with_process(victim, "stopped", STRICT);
        let started = Instant::now();
        process.stop();
        let verdict = one_verdict(&monitors, STRICT.silence + 2 * PROMPT);
        assert_eq!((verdict.culprit, verdict.cause), (Some(victim as u32), Cause::Silent));
        assert!(started.elapsed() >= STRICT.silence / 2, "named too early");
    }
}

#[test]
fn a_stopped_process_is_blamed_for_a_missed_deadline_before_its_silence() {
    let (monitors, process) = with_process(3, "stopped in a call", STRICT);
    process.stop();
    monitors[1].report(report(Cause::Deadline, Some(2), 0));
    let verdict = one_verdict(&monitors, PROMPT);
    assert_eq!((verdict.culprit, verdict.cause), (Some(3), Cause::Silent));
}

#[test]
fn without_a_hub_to_answer_the_own_report_is_provisional() {
    let (monitors, process) = with_process(0, "no hub", STRICT);
    process.stop();
    monitors[0].report(report(Cause::Protocol, Some(2), 5));
    let verdict = monitors[0].verdict(Duration::from_millis(100));
    assert!(verdict.provisional, "{verdict:?}");
    assert_eq!((verdict.culprit, verdict.reporter, verdict.sequence), (Some(2), 1, 5));
}
