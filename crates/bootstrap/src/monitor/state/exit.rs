//! Owns what becomes of a rank whose process has ended, as its host's kernel says: a death, unless it has left.
//!
//! Its links tell the same, but for a forked child that holds their sockets: then they stand, and nobody answers. Whoever
//! watches the process may learn later than its end that the rank had left in order, which the hub knows first: so the hub
//! is told, and waits for a moment for a leave that may be on its way. Of the hub itself the watcher knows as much; and as
//! the others still have their links to that one, it dials each of them, to tell it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::message::{Cause, Message};
use super::{Action, State};

/// How long a leave may be on its way when its process has ended; and how often the hub is told. TCP sends again what was
/// lost after 0.2 s, and then after 0.4 and 0.8 s more.
pub(super) const LEAVE_ON_ITS_WAY: Duration = Duration::from_millis(1500);

/// What is known of processes that have ended.
#[derive(Default)]
pub(super) struct Exits {
    /// Their ranks, with the time of the next look.
    due: BTreeMap<u32, Duration>,
    /// A hub among them, of which all are told to whom there is a link.
    hub: Option<u32>,
}

impl Exits {
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.values().min().copied()
    }
}

impl State {
    /// This rank's host says so.
    pub(super) fn saw_exit(&mut self, now: Duration, rank: u32) {
        self.exited(now, rank);
        if self.hub != rank || !self.is_present(rank) || self.farewell.is_some() {
            return;
        }
        self.exits.hub = Some(rank);
        let others: Vec<u32> = self.others().filter(|other| *other != rank).collect();
        for other in others {
            match self.links.contains_key(&other) {
                true => self.send(other, Message::Exited(rank)),
                false => self.actions.push_back(Action::Alert(other)),
            }
        }
    }

    /// For one to whom there is a link now.
    pub(super) fn alert(&mut self, peer: u32) {
        if let Some(hub) = self.exits.hub {
            self.send(peer, Message::Exited(hub));
        }
    }

    /// Somebody says so.
    pub(super) fn exited(&mut self, now: Duration, rank: u32) {
        let is_known = self.exits.due.contains_key(&rank);
        if is_known || !self.is_in_world(rank) || !self.is_present(rank) {
            return;
        }
        self.exits.due.insert(rank, now + LEAVE_ON_ITS_WAY);
        self.tell_of_exit(rank);
    }

    fn tell_of_exit(&mut self, rank: u32) {
        if !self.is_hub() && self.hub != rank && self.links.contains_key(&self.hub) {
            self.send(self.hub, Message::Exited(rank));
        }
    }

    pub(super) fn look_at_exits(&mut self, now: Duration) {
        if self.farewell.is_some() || self.sealed().is_some() {
            self.exits.due.clear();
        }
        let due = self.exits.due.iter().filter(|(_, due)| now >= **due);
        let due: Vec<u32> = due.map(|(rank, _)| *rank).collect();
        for rank in due {
            self.exits.due.remove(&rank);
            if !self.is_present(rank) {
                continue;
            }
            if self.is_hub() || self.hub == rank {
                let detail = format!(
                    "the process of rank {rank} has ended, though others, as a forked child, may hold its sockets"
                );
                self.lost(now, rank, Cause::Died, detail);
            } else {
                self.exits.due.insert(rank, now + LEAVE_ON_ITS_WAY);
                self.tell_of_exit(rank);
            }
        }
    }
}
