//! Judgements by hand: who is blamed for what the ranks say.

use super::*;

fn call(sequence: u64, operation: &str, count: u64) -> Signature {
    Signature {
        sequence,
        operation: operation.to_owned(),
        data_type: "f32".to_owned(),
        reduction: None,
        count: Some(count),
        root: None,
        tag: count as u32,
        site: format!("{operation}.rs:{sequence}:1"),
    }
}

/// In the last of these calls, or out of it.
fn statement(recent: &[Signature], is_in_call: bool) -> Statement {
    let started = recent.last().map_or(0, |call| call.sequence);
    Statement {
        started,
        finished: started - u64::from(is_in_call),
        recent: recent.to_vec(),
        since_ms: 40_000,
        quiet_ms: 31_000,
        testified: true,
        ..Statement::default()
    }
}

fn message_from(peer: u32, window: u64, step: u32) -> Wait {
    Wait { block: 0, step, window, on: WaitOn::Message { peer, channel: 0, slot: 7 } }
}

fn evidence(statements: impl IntoIterator<Item = Statement>) -> Evidence {
    let statements: BTreeMap<u32, Statement> = (0..).zip(statements).collect();
    let calls = statements.iter().map(|(rank, statement)| (*rank, statement.calls())).collect();
    Evidence { statements, calls, ..Evidence::default() }
}

const STALL: Suspicion = Suspicion {
    sequence: 2,
    age_ms: 40_000,
    quiet_ms: 31_000,
    arrival_over: false,
    stall_over: true,
    stall_ms: 30_000,
    doubts: false,
    in_messages: false,
};

fn failed(finding: Finding) -> (Report, u64, Option<Box<Conflict>>) {
    match finding {
        Finding::Failure { report, first_failed, conflict } => (report, first_failed, conflict),
        Finding::Patience { late } => panic!("patience, late {late:?}"),
    }
}

fn late(finding: Finding) -> Vec<(u32, u64)> {
    match finding {
        Finding::Patience { late } => late,
        failure => panic!("{failure:?}"),
    }
}

/// In a receive from `peer`, or in no call.
fn receiving(peer: Option<u32>) -> Statement {
    let call = Signature { count: Some(4), ..call(0, "recv", 4) };
    let waits = peer.map(|peer| message_from(peer, 0, 0)).into_iter().collect();
    let in_messages = peer.is_some();
    Statement { messages: vec![call], in_messages, waits, ..statement(&[], false) }
}

const MESSAGES: Suspicion = Suspicion { sequence: 0, in_messages: true, ..STALL };

#[test]
fn ranks_that_wait_for_each_other_in_a_circle_are_all_named() {
    let all = evidence([3, 0, 1, 2].map(|peer| receiving(Some(peer))));
    for by in 0..4 {
        let (report, ..) = failed(judge(&Matter::Suspicion(MESSAGES), by, &all));
        assert_eq!((report.culprit, report.cause), (None, Cause::Deadlock));
        let words = "ranks 0 → 3 → 2 → 1 → 0 wait for each other, and nothing has moved for 31.0 s";
        assert!(report.detail.starts_with(words), "{}", report.detail);
        assert!(report.detail.contains("; rank 2 is in recv of 4 f32, called at recv.rs:0:1"));
    }
    // A rank that waits for one of them is no part of it.
    let tail = evidence([receiving(Some(1)), receiving(Some(2)), receiving(Some(1))]);
    let (report, ..) = failed(judge(&Matter::Suspicion(MESSAGES), 0, &tail));
    assert!(report.detail.starts_with("ranks 1 → 2 → 1 wait"), "{}", report.detail);
}

#[test]
fn messages_whose_sender_is_elsewhere_or_moves_are_waited_for() {
    let wait_on = |evidence| late(judge(&Matter::Suspicion(MESSAGES), 0, &evidence));
    assert!(wait_on(evidence([Some(1), Some(2), None].map(receiving))).is_empty());
    let moving = Statement { quiet_ms: 20_000, ..receiving(Some(0)) };
    assert!(wait_on(evidence([receiving(Some(1)), moving])).is_empty());
    let mute = Statement { testified: false, ..receiving(Some(0)) };
    assert!(wait_on(evidence([receiving(Some(1)), mute])).is_empty());
}

#[test]
fn a_collective_that_waits_for_a_receive_that_waits_for_it_is_a_circle() {
    let calls = [call(1, "all_reduce", 8)];
    let collective = Statement { waits: vec![message_from(1, 0, 0)], ..statement(&calls, true) };
    let both = evidence([collective.clone(), receiving(Some(0))]);
    let (report, ..) = failed(judge(&Matter::Suspicion(MESSAGES), 1, &both));
    assert_eq!(report.cause, Cause::Deadlock);
    assert!(report.detail.contains("rank 0 is in all_reduce #1"), "{}", report.detail);
}

/// Who has made fewer collectives need not be who a group waits for.
#[test]
fn a_group_that_waits_in_vain_blames_the_peer_that_it_waits_for() {
    let calls = [call(1, "all_reduce", 8), call(2, "all_gather", 8)];
    let mut evidence = evidence([
        statement(&calls, false),
        statement(&calls[..1], false),
        statement(&calls, false),
    ]);
    let (culprit, cause, detail) = (Some(2), Cause::Deadline, "waits for rank 2".to_owned());
    let matter = Matter::Report(Report {
        culprit,
        cause,
        detail,
        sequence: 3,
        in_group: true,
        ..Report::default()
    });
    let (report, ..) = failed(judge(&matter, 0, &evidence));
    assert_eq!((report.culprit, report.cause), (Some(2), Cause::Deadline));
    assert_eq!(report.detail, "waits for rank 2");
    evidence.silent.insert(2);
    let (report, ..) = failed(judge(&matter, 0, &evidence));
    assert_eq!((report.culprit, report.cause), (Some(2), Cause::Silent));
}

#[test]
fn the_first_calls_that_differ_are_named_with_both_places() {
    let usual = [call(1, "all_reduce", 8), call(2, "all_gather", 8), call(3, "all_reduce", 8)];
    let odd = [call(1, "all_reduce", 8), call(2, "all_gather", 9), call(3, "broadcast", 8)];
    let evidence =
        evidence([statement(&usual, true), statement(&odd, false), statement(&usual[..2], true)]);
    let (culprit, cause, detail) = (Some(0), Cause::Protocol, String::new());
    let report =
        Report { culprit, cause, detail, sequence: 3, in_group: false, ..Report::default() };
    let (report, first_failed, conflict) = failed(judge(&Matter::Report(report), 1, &evidence));
    let conflict = conflict.unwrap();
    assert_eq!((conflict.usual.0, conflict.odd.0), (0, 1));
    assert_eq!((report.culprit, report.sequence, first_failed), (Some(1), 3, 2));
    for part in ["all_gather #2 of 8 f32", "all_gather #2 of 9 f32", "all_gather.rs:2:1"] {
        assert!(report.detail.contains(part), "{}", report.detail);
    }
}

#[test]
fn of_two_equal_groups_the_one_without_the_lowest_rank_is_odd() {
    let evidence =
        evidence([statement(&[call(1, "a", 8)], true), statement(&[call(1, "b", 8)], true)]);
    let (report, ..) = failed(judge(&Matter::Suspicion(STALL), 0, &evidence));
    assert_eq!((report.culprit, report.cause), (Some(1), Cause::Protocol));
}

#[test]
fn a_rank_that_has_not_made_the_call_is_given_time_then_blamed() {
    let calls = [call(1, "all_reduce", 8), call(2, "all_gather", 8)];
    let evidence =
        evidence([statement(&calls, true), statement(&calls[..1], false), statement(&calls, true)]);
    assert_eq!(late(judge(&Matter::Suspicion(STALL), 2, &evidence)), [(1, 1)]);
    let over = Suspicion { arrival_over: true, ..STALL };
    let (report, first_failed, _) = failed(judge(&Matter::Suspicion(over), 2, &evidence));
    assert_eq!((report.culprit, report.cause, first_failed), (Some(1), Cause::Deadline, 2));
    assert!(report.detail.contains("all_reduce.rs:1:1"), "{}", report.detail);
    assert!(report.detail.contains("all_gather.rs:2:1"), "{}", report.detail);
}

#[test]
fn the_first_missing_step_is_of_the_lowest_window_and_step() {
    let calls = [call(2, "all_reduce", 8)];
    let waiting = |waits: &[Wait]| Statement { waits: waits.to_vec(), ..statement(&calls, true) };
    let evidence = evidence([
        waiting(&[message_from(2, 4, 3)]),
        waiting(&[message_from(0, 4, 4)]),
        waiting(&[message_from(0, 5, 0), message_from(1, 4, 2)]),
    ]);
    let (report, first_failed, _) = failed(judge(&Matter::Suspicion(STALL), 0, &evidence));
    assert_eq!((report.culprit, report.cause, first_failed), (Some(1), Cause::Stalled, 2));
    let step =
        "rank 2, block 0 step 2 window 4 waits for a message from rank 1 (channel 0, slot 7)";
    assert!(report.detail.contains(step), "{}", report.detail);
}

#[test]
fn a_rank_whose_thread_does_not_answer_is_blamed_for_a_stall() {
    let calls = [call(2, "all_reduce", 8)];
    let waiting = Statement { waits: vec![message_from(1, 0, 0)], ..statement(&calls, true) };
    let mute = Statement { testified: false, ..statement(&calls, true) };
    let evidence = evidence([waiting.clone(), waiting, mute]);
    let (report, ..) = failed(judge(&Matter::Suspicion(STALL), 0, &evidence));
    assert_eq!((report.culprit, report.cause), (Some(2), Cause::Stalled));
}

#[test]
fn a_call_that_moves_on_any_rank_is_not_stalled() {
    let calls = [call(2, "all_reduce", 8)];
    let moving = Statement { quiet_ms: 29_000, ..statement(&calls, true) };
    let evidence = evidence([statement(&calls, true), statement(&calls, true), moving]);
    assert!(late(judge(&Matter::Suspicion(STALL), 0, &evidence)).is_empty());
}

#[test]
fn a_suspicion_of_a_call_that_is_over_comes_to_nothing() {
    let calls = [call(2, "all_reduce", 8)];
    let evidence = evidence([statement(&calls, false), statement(&calls, true)]);
    assert!(late(judge(&Matter::Suspicion(STALL), 0, &evidence)).is_empty());
}

#[test]
fn a_rank_that_left_before_the_call_is_blamed_without_patience() {
    let calls = [call(1, "all_reduce", 8), call(2, "all_gather", 8)];
    let mut evidence = evidence([statement(&calls, true), statement(&calls[..1], false)]);
    evidence.left.insert(2, 1);
    let (report, first_failed, _) = failed(judge(&Matter::Suspicion(STALL), 0, &evidence));
    assert_eq!((report.culprit, first_failed), (Some(2), 2));
}
