//! Owns what a monitor's thread and the application's threads share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crosstie_net::{Bell, NetError};

use super::clock::Pace;
use super::ledger::{CallMark, Ledger};
use super::message::{Report, Verdict};
use super::statement::Wait;

/// What the application asks of the thread.
#[derive(Debug)]
pub(super) enum Request {
    Report(Report),
    /// Nobody listens where this rank did.
    Dead(u32),
    /// Some ranks were looked for.
    Probed,
    /// Look at these paths from now on.
    Watch(Lookout),
    Retire(u64),
    Leave(u64),
    /// End without a word.
    Stop,
}

/// What the thread looks at now and then besides its own links.
pub(super) struct Lookout {
    /// How often.
    pub every: Duration,
    /// When next.
    pub next: Instant,
    pub look: Look,
}

/// Looks at the paths to other ranks; says which one leads there no more.
pub type Look = Box<dyn FnMut(Instant) -> Option<DeadPath> + Send>;

/// A path on which nothing comes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadPath {
    /// The rank at its other end.
    pub peer: u32,
    /// What this rank knows of it.
    pub detail: String,
    /// What may be wrong, unless somebody knows better.
    pub guess: String,
}

impl std::fmt::Debug for Lookout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lookout every {:?}", self.every)
    }
}

/// What is known of failures and leaves.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) report: Option<Report>,
    /// What will most likely be the verdict.
    pub(super) proposal: Option<Verdict>,
    pub(super) verdict: Option<Verdict>,
    pub(super) left: BTreeMap<u32, u64>,
    /// The thread has ended: nothing more will be known.
    pub(super) ended: bool,
}

pub(super) struct Shared {
    /// Wakes the thread.
    pub(super) bell: Bell,
    requests: Mutex<VecDeque<Request>>,
    known: Mutex<Known>,
    learnt: Condvar,
    /// The first call that cannot complete because of a failure, [`NO_FAILURE`] as long as there is none. It says no
    /// more than `known`, but without a lock: whoever sees it goes on to take that lock.
    failed_from: AtomicU64,
    /// Whether the application is asked what its call waits for, and what it said.
    asked: AtomicBool,
    waits: Mutex<Option<(Vec<Wait>, u64)>>,
    pub(super) ledger: Ledger,
}

const NO_FAILURE: u64 = u64::MAX;

impl Shared {
    pub(super) fn new() -> Result<Shared, NetError> {
        Ok(Shared {
            bell: Bell::new()?,
            requests: Mutex::default(),
            known: Mutex::default(),
            learnt: Condvar::new(),
            failed_from: AtomicU64::new(NO_FAILURE),
            asked: AtomicBool::new(false),
            waits: Mutex::default(),
            ledger: Ledger::new(),
        })
    }

    pub(super) fn failed(&self) -> bool {
        self.failed_from.load(Ordering::Relaxed) != NO_FAILURE
    }

    pub(super) fn interrupts(&self, sequence: u64) -> bool {
        let from = self.failed_from.load(Ordering::Relaxed);
        from != NO_FAILURE && sequence >= from
    }

    /// Ends all calls from this one on.
    pub(super) fn fail_from(&self, sequence: u64) {
        self.failed_from.fetch_min(sequence, Ordering::Release);
    }

    pub(super) fn call_started(&self, mark: CallMark) {
        self.ledger.started(mark);
    }

    /// Whether a call is under way, be it one of messages.
    pub(super) fn is_in_call(&self) -> bool {
        self.ledger.calls().is_under_way() || self.ledger.messages().is_under_way()
    }

    pub(super) fn pace(&self) -> Pace {
        // In this order: a call that starts meanwhile has not moved.
        let moves = self.ledger.moves();
        Pace { calls: self.ledger.calls(), messages: self.ledger.messages(), moves }
    }

    /// Asks the application what its call waits for; its doorbell is to ring.
    pub(super) fn ask(&self) {
        *lock(&self.waits) = None;
        self.asked.store(true, Ordering::Release);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn testify(&self, waits: Vec<Wait>, more: u64) {
        *lock(&self.waits) = Some((waits, more));
        self.asked.store(false, Ordering::Release);
        self.bell.ring();
    }

    pub(super) fn take_testimony(&self) -> Option<(Vec<Wait>, u64)> {
        lock(&self.waits).take()
    }

    pub(super) fn ask_no_longer(&self) {
        self.asked.store(false, Ordering::Release);
    }

    pub(super) fn request(&self, request: Request) {
        lock(&self.requests).push_back(request);
        self.bell.ring();
    }

    pub(super) fn next_request(&self) -> Option<Request> {
        lock(&self.requests).pop_front()
    }

    /// Keeps a report if it is the first.
    pub(super) fn keep(&self, report: &Report) {
        self.learn(|known| {
            known.report = known.report.take().or_else(|| Some(report.clone()));
            self.fail_from(0);
        });
    }

    pub(super) fn propose(&self, verdict: Verdict) {
        self.learn(|known| {
            self.fail_from(verdict.first_failed);
            known.proposal = Some(verdict);
        });
    }

    pub(super) fn decide(&self, verdict: Verdict) {
        self.learn(|known| {
            self.fail_from(verdict.first_failed);
            known.verdict = Some(verdict);
        });
    }

    pub(super) fn learn(&self, change: impl FnOnce(&mut Known)) {
        change(&mut lock(&self.known));
        self.learnt.notify_all();
    }

    pub(super) fn has_left(&self, rank: u32) -> Option<u64> {
        lock(&self.known).left.get(&rank).copied()
    }

    /// What is known when the verdict comes, none can come any more, or the deadline passes.
    pub(super) fn await_verdict(&self, deadline: Instant) -> Known {
        let mut known = lock(&self.known);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if known.verdict.is_some() || known.ended || left.is_zero() {
                return known.clone();
            }
            (known, _) =
                self.learnt.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Nothing that holds one of these locks can panic halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
