//! Owns what a monitor's thread and the application's threads share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crosstie_net::{Bell, NetError};

use super::message::{Calls, Report, Verdict};

/// What the application asks of the thread.
#[derive(Debug)]
pub(super) enum Request {
    Report(Report),
    Leave(u64),
    /// End without a word.
    Stop,
}

/// What is known of failures and leaves.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) report: Option<Report>,
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
    /// Says no more than `known`, but without a lock: whoever sees it goes on to take that lock.
    failed: AtomicBool,
    started: AtomicU64,
    finished: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Result<Shared, NetError> {
        Ok(Shared {
            bell: Bell::new()?,
            requests: Mutex::default(),
            known: Mutex::default(),
            learnt: Condvar::new(),
            failed: AtomicBool::new(false),
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        })
    }

    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn call_started(&self, sequence: u64) {
        self.started.store(sequence, Ordering::Relaxed);
    }

    pub(super) fn call_finished(&self, sequence: u64) {
        self.finished.store(sequence, Ordering::Relaxed);
    }

    pub(super) fn calls(&self) -> Calls {
        Calls {
            started: self.started.load(Ordering::Relaxed),
            finished: self.finished.load(Ordering::Relaxed),
        }
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
            self.failed.store(true, Ordering::Release);
        });
    }

    pub(super) fn decide(&self, verdict: Verdict) {
        self.learn(|known| {
            known.verdict = Some(verdict);
            self.failed.store(true, Ordering::Release);
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
