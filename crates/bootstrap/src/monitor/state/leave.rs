//! Owns a rank's leave in order: whom it tells, whom it waits for, and how the news is passed on.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::message::Message;
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

    /// Tells everyone who left since the last time, in one message each.
    pub(super) fn pass_on(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        for peer in self.links.keys().copied().filter(|_| !fresh.is_empty()) {
            let news = fresh.iter().filter(|((rank, _), source)| *source != peer && *rank != peer);
            let left: Vec<(u32, u64)> = news.map(|(entry, _)| *entry).collect();
            if !left.is_empty() && self.is_present(peer) {
                self.actions.push_back(Action::Send(peer, Message::News { left, verdict: None }));
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
