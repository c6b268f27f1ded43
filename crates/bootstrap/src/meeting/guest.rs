//! Owns one link of a meeting's host: what its guest said, and what it was told.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crosstie_net::{Incoming, Link};
use rustix::event::{PollFd, PollFlags};

use crate::meeting::describing::Question;

/// A guest is told the end this part of its patience, but at most [`AHEAD_MAX`], before it leaves of itself.
const AHEAD_PART: u32 = 10;
const AHEAD_MAX: Duration = Duration::from_millis(500);

/// The clock's type cannot hold any patience; nobody waits for a year.
const PATIENCE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) struct Guest {
    pub(crate) link: Link,
    /// The rank it says it is; none before it has said so.
    pub(crate) rank: Option<u32>,
    /// When it must have said who it is, or, having done so, when it must be told the end.
    pub(crate) limit: Instant,
    told: bool,
    /// What it was asked last.
    asked: Option<Question>,
}

/// What a guest's link has come to.
pub(crate) enum Step {
    Waits,
    Says(Vec<u8>),
    Ended,
}

impl Guest {
    pub(crate) fn new(incoming: Incoming, limit: Instant) -> Guest {
        Guest { link: incoming.link, rank: None, limit, told: false, asked: None }
    }

    /// It has said who it is, and how long it waits.
    pub(crate) fn joined(&mut self, rank: u32, patience: Duration) {
        self.rank = Some(rank);
        let patience = patience.saturating_sub((patience / AHEAD_PART).min(AHEAD_MAX));
        self.limit = Instant::now() + patience.min(PATIENCE_MAX);
    }

    /// Sends what waits, and reads what came.
    pub(crate) fn advance(&mut self) -> Step {
        if self.link.has_backlog() && self.link.flush().is_err() {
            return Step::Ended;
        }
        match self.link.try_recv() {
            Ok(Some(bytes)) => Step::Says(bytes),
            Ok(None) => Step::Waits,
            Err(_) => Step::Ended,
        }
    }

    /// Tells it the end, once. A link that fails here is found ended when it is read next.
    pub(crate) fn tell(&mut self, bytes: &[u8]) {
        if !self.told {
            self.told = true;
            let _ = self.link.queue(bytes).and_then(|()| self.link.flush());
        }
    }

    /// Asks it a question, once. A link that fails here is found ended when it is read next.
    pub(crate) fn ask(&mut self, question: Question, bytes: &[u8]) {
        if self.asked != Some(question) {
            self.asked = Some(question);
            let _ = self.link.queue(bytes).and_then(|()| self.link.flush());
        }
    }

    /// Whether it is told the end.
    pub(crate) fn told(&self) -> bool {
        self.told
    }

    /// Whether the kernel has all that it was to be told.
    pub(crate) fn was_told(&self) -> bool {
        self.told && !self.link.has_backlog()
    }

    pub(crate) fn interest(&self) -> PollFd<'_> {
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, self.link.has_backlog());
        PollFd::from_borrowed_fd(self.link.as_fd(), flags)
    }
}
