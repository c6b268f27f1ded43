//! Owns the judgement of messages between pairs that do not move: ranks that wait for each other in a circle. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::super::clock::Suspicion;
use super::super::message::{Cause, Report};
use super::super::statement::Statement;
use super::{Finding, failure};

/// How many ranks of a circle say where they are.
const PLACES: usize = 8;

/// A rank's messages have not moved for long. That alone is no failure, for its peers may be busy elsewhere; but where
/// it leads, from each rank to one that it waits for, back to a rank that was met before, nobody on that way can go on.
pub(super) fn judge(
    suspicion: &Suspicion,
    by: u32,
    statements: &BTreeMap<u32, Statement>,
) -> Finding {
    let circle = find(by, suspicion.stall_ms, statements);
    let Some(circle) = circle.filter(|circle| has_messages(circle, statements)) else {
        return Finding::Patience { late: Vec::new() };
    };
    let of = |rank: &u32| statements.get(rank);
    let quiet_ms = circle.iter().filter_map(of).map(|its| its.quiet_ms).min().unwrap_or(0);
    let way: Vec<String> = circle.iter().chain(circle.first()).map(u32::to_string).collect();
    let mut detail = format!(
        "ranks {} wait for each other, and nothing has moved for {:.1} s",
        way.join(" → "),
        quiet_ms as f64 / 1e3
    );
    for rank in circle.iter().take(PLACES) {
        if let Some(its) = of(rank) {
            detail += &format!("; rank {rank} is {}", its.place());
        }
    }
    let sequence = suspicion.sequence + 1;
    let (culprit, cause, in_group) = (None, Cause::Deadlock, true);
    failure(Report { culprit, cause, detail, sequence, in_group, ..Report::default() }, 0)
}

/// Whether a rank of the circle waits in messages: a circle of collectives is the stall of a call.
fn has_messages(circle: &[u32], statements: &BTreeMap<u32, Statement>) -> bool {
    circle.iter().filter_map(|rank| statements.get(rank)).any(|its| its.in_messages)
}

/// The ranks that this one waits for, by way of all that its call needs to go on; none where it moves, is in no call,
/// or has not answered for itself.
fn waits_for(statement: &Statement, stall_ms: u64) -> BTreeSet<u32> {
    let stands = (statement.in_messages || statement.is_in_call())
        && statement.testified
        && statement.quiet_ms >= stall_ms;
    let waits = statement.waits.iter().filter(|_| stands);
    waits.filter_map(|wait| wait.on.peer()).collect()
}

/// The first circle on the ways that begin at `start`, from its lowest rank on.
fn find(start: u32, stall_ms: u64, statements: &BTreeMap<u32, Statement>) -> Option<Vec<u32>> {
    let next = |rank: u32| {
        let its = statements.get(&rank);
        its.map(|its| waits_for(its, stall_ms)).unwrap_or_default().into_iter()
    };
    let (mut way, mut seen) = (vec![(start, next(start))], BTreeSet::from([start]));
    while let Some((_, ahead)) = way.last_mut() {
        let Some(rank) = ahead.next() else {
            way.pop();
            continue;
        };
        if let Some(at) = way.iter().position(|(before, _)| *before == rank) {
            let mut circle: Vec<u32> = way[at..].iter().map(|(rank, _)| *rank).collect();
            let lowest = (0..circle.len()).min_by_key(|&at| circle[at]).unwrap_or(0);
            circle.rotate_left(lowest);
            return Some(circle);
        }
        if seen.insert(rank) {
            way.push((rank, next(rank)));
        }
    }
    None
}
