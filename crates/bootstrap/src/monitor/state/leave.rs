//! Owns a rank's leave in order: whom it tells, whom it waits for, and how the news is passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::message::{Cause, Message};
use super::{Action, Farewell, GRACE, LEAVE_LIMIT, State};

impl State {
    pub(super) fn leave(&mut self, now: Duration, sequence: u64) {
        self.farewell = Some(Farewell {
            sequence,
            since: now,
            told: BTreeSet::new(),
            released: BTreeSet::new(),
            settled: false,
            done: false,
        });
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

    /// Goes on with this rank's leave, if it leaves.
    pub(super) fn say_farewell(&mut self, now: Duration) {
        let Some(farewell) = self.farewell.as_ref().filter(|farewell| !farewell.done) else {
            return;
        };
        let late = now >= farewell.since + LEAVE_LIMIT;
        let in_grace = self.is_hub() && now < farewell.since.max(self.hub_since) + GRACE;
        let all_released = self.others().all(|rank| farewell.released.contains(&rank));
        // After a failure nobody needs a hub, but those whose links are on their way may still need the verdict.
        let is_awaited = |rank: u32| !self.links.contains_key(&rank);
        let awaited = self.is_hub() && self.owes_verdict && self.others().any(is_awaited);
        let failed = self.sealed().is_some() && !awaited;
        let done = late || farewell.settled || all_released || failed;
        if in_grace && !done {
            return;
        }
        let Some(farewell) = &mut self.farewell else { return };
        farewell.done = done;
        let untold: Vec<u32> =
            self.links.keys().copied().filter(|peer| farewell.told.insert(*peer)).collect();
        let leave = Message::Leave { sequence: farewell.sequence };
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

    /// When this rank's leave may go on.
    pub(super) fn next_of_farewell(&self) -> Option<Duration> {
        self.farewell.as_ref().filter(|farewell| !farewell.done).map(|farewell| {
            let grace = farewell.since.max(self.hub_since) + GRACE;
            let end = farewell.since + LEAVE_LIMIT;
            if self.is_hub() && grace > self.last_tick { grace.min(end) } else { end }
        })
    }
}
