//! Owns a rank's leave in order: whom it tells, whom it waits for, and how the news is passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::message::{Cause, Message, Report};
use super::{Action, Farewell, GRACE, GRACE_HERE, LEAVE_LIMIT, Parting, State, Tags};

impl State {
    pub(super) fn leave(&mut self, now: Duration, sequence: u64, calls: Tags) {
        self.begins_to_leave(self.rank);
        self.farewell = Some(Farewell {
            sequence,
            calls: calls.clone(),
            since: now,
            told: BTreeSet::new(),
            released: BTreeSet::new(),
            settled: false,
            done: false,
        });
        self.recalled(now, &calls);
    }

    /// The program of `rank` has left, says `source`; the rank works on.
    pub(super) fn has_retired(&mut self, rank: u32, sequence: u64, source: u32) {
        if self.is_in_world(rank) && !self.retired.contains_key(&rank) {
            self.retired.insert(rank, sequence);
            self.fresh_retired.push(((rank, sequence), source));
        }
    }

    /// The last calls of those whose programs have left.
    pub(super) fn last_calls(&self) -> BTreeMap<u32, u64> {
        self.retired.iter().chain(&self.left).map(|(rank, last)| (*rank, *last)).collect()
    }

    /// The last call of `rank`, if its program has left in order, and that is why others wait for it in vain: what
    /// is blamed on it is that `cause`. A rank that retired and fell silent, or died, has failed as any other.
    pub(super) fn left_after(&self, rank: u32, cause: Cause) -> Option<u64> {
        let is_there = cause != Cause::Silent && !self.gone.contains(&rank);
        let retired = self.retired.get(&rank).filter(|_| is_there);
        self.left.get(&rank).or(retired).copied()
    }

    pub(super) fn released(&mut self, peer: u32) {
        let is_hub = peer == self.hub;
        if let Some(farewell) = &mut self.farewell {
            farewell.released.insert(peer);
            farewell.settled |= is_hub;
        }
    }

    /// How long the leave of this rank, or of one that waits for this hub, waits for those who have not left.
    fn grace(&self) -> Duration {
        let own = self.farewell.is_none().then_some(self.rank);
        let has_begun = |rank: u32| {
            let process = usize::try_from(rank).ok().and_then(|at| self.processes.get(at));
            process.is_none_or(|process| self.begun.contains(process))
        };
        let all_have = own.into_iter().chain(self.others()).all(has_begun);
        if all_have { GRACE_HERE } else { GRACE }
    }

    /// The process of this rank has begun to leave.
    pub(super) fn begins_to_leave(&mut self, rank: u32) {
        let process = usize::try_from(rank).ok().and_then(|at| self.processes.get(at));
        self.begun.extend(process);
    }

    // Those who leave before this rank.

    /// A peer takes its leave.
    pub(super) fn parted(&mut self, now: Duration, peer: u32, sequence: u64, calls: Tags) {
        self.has_left(peer, sequence, peer);
        self.partings.insert(peer, Parting { since: now, waits: true, calls, is_compared: false });
        self.actions.push_back(Action::Recall);
        self.elect(now);
        self.accused_left(now, peer);
        // Until it is let go it answers.
        self.try_seal(now);
    }

    /// Compares the last calls of those who have left with this rank's own: calls that sent each other nothing, as
    /// those of two roots of a broadcast, may have differed, and all have come back as if they had not.
    pub(super) fn recalled(&mut self, now: Duration, own: &[(u64, u32)]) {
        let own: BTreeMap<u64, u32> = own.iter().copied().collect();
        let last = own.last_key_value().map_or(0, |(sequence, _)| *sequence);
        let mut differing = None;
        for (peer, parting) in &mut self.partings {
            let differs =
                |(sequence, tag): &&(u64, u32)| own.get(sequence).is_some_and(|own| own != tag);
            let first = parting.calls.iter().find(differs).map(|(sequence, _)| (*sequence, *peer));
            differing = first.into_iter().chain(differing).min();
            parting.calls.retain(|(sequence, _)| *sequence > last);
            parting.is_compared = true;
        }
        if let Some((sequence, peer)) = differing {
            let detail = format!(
                "call #{sequence} of rank {peer}, which leaves, is another than that of rank {}",
                self.rank
            );
            let (culprit, cause) = (Some(peer), Cause::Protocol);
            let report = Report { culprit, cause, detail, sequence, ..Report::default() };
            self.learn(now, report, self.rank);
        }
        self.release(now);
    }

    pub(super) fn look_at_partings(&mut self, now: Duration) {
        if self.partings.values().any(|parting| !parting.calls.is_empty()) {
            self.actions.push_back(Action::Recall);
        }
        self.release(now);
    }

    /// Lets those go whose leave has waited for long enough, or for whom nobody is left to wait.
    fn release(&mut self, now: Duration) {
        let is_judged = self.sealed().is_some();
        if (self.is_judging() || self.report.is_some()) && !is_judged {
            return;
        }
        let all_leave = self.farewell.is_some() && self.others().next().is_none();
        let hands_over = self.farewell.as_ref().is_some_and(|farewell| !farewell.told.is_empty());
        let grace = self.grace();
        // A hub of before has waited for long enough.
        let own = self.rank;
        self.let_go(|rank, parting| {
            let is_over = rank < own || now >= parting.since + grace;
            parting.is_compared && (is_over || all_leave || hands_over || is_judged)
        });
    }

    fn let_go(&mut self, goes: impl Fn(u32, &Parting) -> bool) {
        let mut gone = Vec::new();
        self.partings.retain(|rank, parting| {
            if parting.waits && goes(*rank, parting) {
                parting.waits = false;
                gone.push(*rank);
            }
            parting.waits || !parting.calls.is_empty()
        });
        for rank in gone {
            self.send(rank, Message::Released);
            if rank < self.rank {
                // A hub that hands over waits for us to let go. Others let go themselves.
                self.links.remove(&rank);
                self.actions.push_back(Action::Close(rank));
            }
        }
    }

    /// Whether something is found out that may end in a verdict.
    fn is_judging(&self) -> bool {
        self.inquiry.is_some() || self.sealing.is_some()
    }

    // This rank's own leave.

    /// Goes on with this rank's leave, if it leaves.
    pub(super) fn say_farewell(&mut self, now: Duration) {
        let Some(farewell) = self.farewell.as_ref().filter(|farewell| !farewell.done) else {
            return;
        };
        let late = now >= farewell.since + LEAVE_LIMIT;
        let grace = farewell.since.max(self.hub_since) + self.grace();
        let in_grace = self.is_hub() && now < grace;
        let all_released = self.others().all(|rank| farewell.released.contains(&rank));
        // After a failure nobody needs a hub, but those whose links are on their way may still need the verdict.
        let is_awaited = |rank: u32| !self.links.contains_key(&rank);
        let awaited = self.is_hub() && self.owes_verdict && self.others().any(is_awaited);
        let failed = self.sealed().is_some() && !awaited;
        let released = farewell.settled || all_released;
        let done = late || (released && !self.is_judging()) || failed;
        if (in_grace || self.is_judging()) && !done {
            return;
        }
        // Before they hear of this rank's leave: who has left must not succeed it.
        self.let_go(|_, _| true);
        let Some(farewell) = &mut self.farewell else { return };
        farewell.done = done;
        let untold: Vec<u32> =
            self.links.keys().copied().filter(|peer| farewell.told.insert(*peer)).collect();
        let leave = Message::Leave { sequence: farewell.sequence, calls: farewell.calls.clone() };
        untold.into_iter().for_each(|peer| self.send(peer, leave.clone()));
        if done {
            self.actions.push_back(Action::Done);
        }
    }

    /// Tells everyone who left or retired since the last time, in one message each.
    pub(super) fn pass_on(&mut self) {
        let fresh = [std::mem::take(&mut self.fresh), std::mem::take(&mut self.fresh_retired)];
        if fresh.iter().all(Vec::is_empty) {
            return;
        }
        for &peer in self.links.keys() {
            let is_news =
                |((rank, _), source): &&((u32, u64), u32)| *source != peer && *rank != peer;
            let [left, retired]: [Vec<(u32, u64)>; 2] = [&fresh[0], &fresh[1]]
                .map(|all| all.iter().filter(is_news).map(|(entry, _)| *entry).collect());
            if self.is_present(peer) && !(left.is_empty() && retired.is_empty()) {
                let news = Message::News { left, retired, verdict: None };
                self.actions.push_back(Action::Send(peer, news));
            }
        }
    }

    /// When this rank's leave may go on, or that of another.
    pub(super) fn next_of_leave(&self) -> impl Iterator<Item = Duration> {
        let own = self.farewell.as_ref().filter(|farewell| !farewell.done).map(|farewell| {
            let grace = farewell.since.max(self.hub_since) + self.grace();
            let end = farewell.since + LEAVE_LIMIT;
            if self.is_hub() && grace > self.last_tick { grace.min(end) } else { end }
        });
        let waiting = self.partings.values().filter(|parting| parting.waits);
        let first = waiting.map(|parting| parting.since).min().map(|since| since + self.grace());
        let look = self.last_tick + LOOK_AT_PARTINGS;
        own.into_iter().chain(first.map(|first| first.min(look)))
    }
}

/// How often the calls of those who wait to leave are compared with those that this rank has made since.
const LOOK_AT_PARTINGS: Duration = Duration::from_millis(20);
