//! Owns the judgement: what the ranks said of themselves in, who is to blame out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::Suspicion;
use super::ledger::Calls;
use super::message::{Cause, Report};
use super::signature::{Conflict, Signature};
use super::statement::{Statement, Wait, WaitOn};

mod circle;

/// What is judged, and by whom it was brought.
#[derive(Clone, Debug)]
pub(super) enum Matter {
    /// An application failed.
    Report(Report),
    /// A call takes long.
    Suspicion(Suspicion),
}

/// All that is known when the time to answer is over.
#[derive(Default)]
pub(super) struct Evidence {
    pub statements: BTreeMap<u32, Statement>,
    /// How far each rank is, the hub among them: by its statement, else by its last heartbeat.
    pub calls: BTreeMap<u32, Calls>,
    /// Who left in order, with its last call.
    pub left: BTreeMap<u32, u64>,
    /// Whose monitors did not answer.
    pub silent: BTreeSet<u32>,
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum Finding {
    /// This ends the communicator, from the call `first_failed` on.
    Failure { report: Report, first_failed: u64, conflict: Option<Box<Conflict>> },
    /// Nothing yet: these ranks, with their last calls, have not started the call that takes long.
    Patience { late: Vec<(u32, u64)> },
}

pub(super) fn judge(matter: &Matter, by: u32, evidence: &Evidence) -> Finding {
    if let Some(conflict) = conflict(&evidence.statements) {
        return differing(matter, conflict);
    }
    match matter {
        Matter::Report(report) if report.in_group => {
            let report = unanswered(report.clone(), evidence);
            failure(with_both_messages(report, by, &evidence.statements), 0)
        }
        Matter::Report(report) if report.cause == Cause::Deadline => {
            let report = report.clone();
            late(report.clone(), evidence).unwrap_or_else(|| failure(report, 0))
        }
        Matter::Report(report) => {
            failure(with_both_calls(report.clone(), by, &evidence.statements), 0)
        }
        Matter::Suspicion(suspicion) if suspicion.in_messages => {
            circle::judge(suspicion, by, &evidence.statements)
        }
        Matter::Suspicion(suspicion) => suspected(*suspicion, by, evidence),
    }
}

fn failure(report: Report, first_failed: u64) -> Finding {
    Finding::Failure { report, first_failed, conflict: None }
}

fn differing(matter: &Matter, conflict: Conflict) -> Finding {
    let (culprit, cause) = (Some(conflict.odd.0), Cause::Protocol);
    let first_failed = conflict.odd.1.sequence;
    let sequence = match matter {
        Matter::Report(report) => report.sequence,
        Matter::Suspicion(suspicion) => suspicion.sequence,
    };
    let in_group = false;
    let report = Report {
        culprit,
        cause,
        detail: conflict.to_string(),
        sequence,
        in_group,
        ..Report::default()
    };
    Finding::Failure { report, first_failed, conflict: Some(Box::new(conflict)) }
}

/// The first calls of equal number that differ. The odd one is of the smaller group; of two equal groups, of the one
/// without the lowest rank.
fn conflict(statements: &BTreeMap<u32, Statement>) -> Option<Conflict> {
    let mut by_sequence: BTreeMap<u64, Vec<(u32, &Signature)>> = BTreeMap::new();
    for (rank, statement) in statements {
        for call in &statement.recent {
            by_sequence.entry(call.sequence).or_default().push((*rank, call));
        }
    }
    by_sequence.into_values().find_map(|calls| {
        let mut groups: Vec<Vec<(u32, &Signature)>> = Vec::new();
        for (rank, call) in calls {
            match groups.iter_mut().find(|group| group[0].1.agrees_with(call)) {
                Some(group) => group.push((rank, call)),
                None => groups.push(vec![(rank, call)]),
            }
        }
        // Stable: of equally large groups the one with the lowest rank stays first.
        groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
        let (usual, odd) = (groups.first()?[0], groups[1..].last()?[0]);
        Some(Conflict { usual: (usual.0, usual.1.clone()), odd: (odd.0, odd.1.clone()) })
    })
}

/// A group waits for its own peers alone, so its report is right about whom; but he may not be able to.
fn unanswered(mut report: Report, evidence: &Evidence) -> Report {
    let silent = report.culprit.filter(|rank| evidence.silent.contains(rank));
    if let (Some(rank), Cause::Deadline) = (silent, report.cause) {
        report.cause = Cause::Silent;
        report.detail += &format!("; the monitor of rank {rank} does not answer");
    }
    report
}

/// Of a message that is not the one received: what its sender sent last, for the receiver to compare.
fn with_both_messages(
    mut report: Report,
    by: u32,
    statements: &BTreeMap<u32, Statement>,
) -> Report {
    let sender = report.culprit.filter(|_| report.cause == Cause::Protocol);
    let Some((sender, its)) = sender.and_then(|rank| Some((rank, statements.get(&rank)?))) else {
        return report;
    };
    if let Some(call) = statements.get(&by).and_then(|statement| statement.messages.last()) {
        report.detail += &format!("; rank {by} made {call}");
    }
    // Only groups, and messages to the reporter: the last may be another than the one in question.
    let to = format!(" to rank {by}");
    let meets = |call: &&Signature| call.operation == "group" || call.operation.contains(&to);
    let calls: Vec<String> = { its.messages.iter().rev() }
        .filter(meets)
        .take(MESSAGES_NAMED)
        .map(Signature::to_string)
        .collect();
    if !calls.is_empty() {
        report.detail += &format!("; rank {sender} made last {}", calls.join(", before that "));
    }
    report
}

/// How many calls are named of a rank whose message is not the one received.
const MESSAGES_NAMED: usize = 3;

/// Of calls that differ in what only two ranks can compare, as counts of an all_to_all_v: both.
fn with_both_calls(mut report: Report, by: u32, statements: &BTreeMap<u32, Statement>) -> Report {
    let culprit = report.culprit.filter(|_| report.cause == Cause::Protocol);
    for rank in culprit.into_iter().chain(culprit.map(|_| by)) {
        let calls = statements.get(&rank).into_iter().flat_map(|statement| &statement.recent);
        if let Some(call) = { calls }.find(|call| call.sequence == report.sequence) {
            report.detail += &format!("; rank {rank} made {call}");
        }
    }
    report
}

/// The rank that is furthest behind the reporter's call, or does not answer.
fn late(mut report: Report, evidence: &Evidence) -> Option<Finding> {
    let Evidence { calls, left, silent, statements } = evidence;
    let started = calls.iter().map(|(rank, calls)| (*rank, calls.started));
    let left = left.iter().map(|(rank, last)| (*rank, *last));
    let behind = started
        .chain(left)
        .filter(|(_, started)| *started < report.sequence)
        .min_by_key(|(rank, started)| (*started, !silent.contains(rank), *rank));
    let blamed = behind.map(|(rank, _)| rank).or(silent.first().copied())?;
    if let Some((rank, started)) = behind {
        let call = report.sequence;
        report.detail +=
            &format!("; rank {rank} has not started call {call}: its last was {started}");
        if let Some(last) = statements.get(&rank).and_then(|statement| statement.recent.last()) {
            report.detail += &format!(" ({last})");
        }
    }
    report.culprit = Some(blamed);
    if silent.contains(&blamed) {
        report.cause = Cause::Silent;
        report.detail += &format!("; the monitor of rank {blamed} does not answer");
    }
    let sequence = report.sequence;
    Some(failure(report, sequence))
}

fn suspected(suspicion: Suspicion, by: u32, evidence: &Evidence) -> Finding {
    let Evidence { statements, calls, left, silent } = evidence;
    let Suspicion { sequence, age_ms, stall_ms, arrival_over, stall_over, .. } = suspicion;
    let patience = |late: Vec<(u32, u64)>| Finding::Patience { late };
    let Some(own) = statements.get(&by) else { return patience(Vec::new()) };
    if own.started != sequence || !own.is_in_call() {
        return patience(Vec::new());
    }
    let seconds = |ms: u64| ms as f64 / 1e3;
    let call = own.recent.last().map_or_else(|| format!("call #{sequence}"), Signature::to_string);
    let waited = format!("rank {by} has been in {call} for {:.1} s", seconds(age_ms));
    let of = |cause| Report {
        culprit: None,
        cause,
        detail: waited.clone(),
        sequence,
        in_group: false,
        ..Report::default()
    };
    let behind = |(rank, calls): (&u32, &Calls)| {
        (calls.started < sequence).then_some((*rank, calls.started))
    };
    let behind: Vec<(u32, u64)> = calls.iter().filter_map(behind).collect();
    let gone = left.iter().filter(|(_, last)| **last < sequence).min_by_key(|(_, last)| **last);
    if let Some((rank, last)) = gone {
        let mut report = Report { culprit: Some(*rank), ..of(Cause::Died) };
        report.detail += &format!("; rank {rank} left in order after its call {last}");
        return failure(report, last + 1);
    }
    if arrival_over && let Some(finding) = late(of(Cause::Deadline), evidence) {
        return finding;
    }
    if !behind.is_empty() || !stall_over {
        return patience(behind);
    }
    if !silent.is_empty() {
        return late(of(Cause::Deadline), evidence).unwrap_or(patience(Vec::new()));
    }
    let moves = |statement: &Statement| statement.is_in_call() && statement.quiet_ms < stall_ms;
    if statements.values().any(moves) {
        return patience(Vec::new());
    }
    stalled(of(Cause::Stalled), own.quiet_ms, statements)
}

/// All are there and nothing moves: names the first missing step.
fn stalled(mut report: Report, quiet_ms: u64, statements: &BTreeMap<u32, Statement>) -> Finding {
    report.detail += &format!(", and nothing has moved for {:.1} s", quiet_ms as f64 / 1e3);
    let in_call = || statements.iter().filter(|(_, statement)| statement.is_in_call());
    let first = in_call().map(|(_, statement)| statement.started).min().unwrap_or(0);
    let mute = in_call().find(|(_, statement)| !statement.testified);
    if let Some((rank, _)) = mute {
        report.culprit = Some(*rank);
        report.detail +=
            &format!("; the thread that drives the call of rank {rank} does not answer");
    } else if let Some((rank, wait)) = first_missing_step(statements) {
        report.culprit = wait.on.peer();
        report.detail += &format!("; the first missing step: rank {rank}, {wait}");
    }
    failure(report, first)
}

/// The wait of the earliest call, window and step: all others may be waiting only because of it. A message that does
/// not come counts before room that does not come, for room comes of messages taken.
pub(super) fn first_missing_step(statements: &BTreeMap<u32, Statement>) -> Option<(u32, Wait)> {
    let in_call = statements.iter().filter(|(_, statement)| statement.is_in_call());
    let waits = in_call.flat_map(|(rank, statement)| {
        statement.waits.iter().map(move |wait| (statement.started, *rank, *wait))
    });
    let first = waits.filter(|(_, _, wait)| wait.on.peer().is_some()).min_by_key(
        |(sequence, rank, wait)| {
            let is_room = matches!(wait.on, WaitOn::Room { .. });
            (*sequence, wait.window, is_room, wait.step, *rank, wait.block)
        },
    );
    first.map(|(_, rank, wait)| (rank, wait))
}

#[cfg(test)]
mod tests;
