//! Owns how a communicator stands: what it, its calls under way and its abort handles share, and the way
//! from what one rank saw to the verdict that all ranks share.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crosstie_bootstrap::{CallMark, Cause, Monitor, Report, Verdict, Wait, WaitOn};
use crosstie_exec::{ExecError, Oversight, Waiting, WaitingFor, Watch};
use crosstie_transport::{Doorbell, ForkMark, TransportError};

use crate::Error;
use crate::call_name::CallName;
use crate::error::Failure;
use crate::ways::Ways;

/// How a communicator stands with its peers.
pub(crate) struct Standing {
    pub rank: u32,
    /// `None` in a world of one rank.
    pub monitor: Option<Monitor>,
    doorbell: Arc<Doorbell>,
    ways: Arc<Ways>,
    fork: ForkMark,
    /// Whether a call failed or somebody aborted: all that a call looks at before it begins.
    has_failed: AtomicBool,
    aborted: OnceLock<Report>,
    seen: OnceLock<Seen>,
    failure: OnceLock<Failure>,
    completed: AtomicU64,
    /// The number of the last of them that has one.
    last: AtomicU64,
}

/// The first failure that this rank saw itself.
#[derive(Debug)]
struct Seen {
    call: CallName,
    report: Report,
    /// What it saw, with all that its call waited for.
    local: String,
}

impl Standing {
    pub fn new(
        rank: u32,
        monitor: Option<Monitor>,
        doorbell: Arc<Doorbell>,
        ways: Arc<Ways>,
    ) -> Self {
        Self {
            rank,
            monitor,
            doorbell,
            ways,
            fork: ForkMark::new(),
            has_failed: AtomicBool::new(false),
            aborted: OnceLock::new(),
            seen: OnceLock::new(),
            failure: OnceLock::new(),
            completed: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Whether calls can be made: two loads.
    ///
    /// # Errors
    /// [`Error::AlreadyFailed`]; [`Error::Forked`].
    #[inline]
    pub fn check(&self) -> Result<(), Error> {
        if self.has_failed.load(Ordering::Acquire) || self.fork.is_forked() {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Refuses a call that a failure ends of which only the monitor knows: one that waits for nobody, as a short
    /// send, would else return as if all were well. One load.
    ///
    /// # Errors
    /// [`Error::Failed`].
    #[inline]
    pub fn check_call(&self, call: CallName) -> Result<(), Error> {
        match &self.monitor {
            Some(monitor) if monitor.interrupts(call.sequence) => {
                Err(self.fail(call, &ExecError::Interrupted { waiting: Vec::new() }))
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn refusal(&self) -> Error {
        if self.fork.is_forked() {
            return Error::Forked { rank: self.rank };
        }
        Error::AlreadyFailed { first: Box::new(self.failure().clone()) }
    }

    /// Whether a call has failed, or somebody aborted.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Whether this process is a forked child of the one that connected.
    pub fn is_forked(&self) -> bool {
        self.fork.is_forked()
    }

    /// Calls that were completed.
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// The error of `call`, which ended as `seen` says: the verdict that all ranks share, if it was this
    /// call that failed, and not one before it.
    #[cold]
    pub fn fail(&self, call: CallName, seen: &ExecError) -> Error {
        self.note(call, seen);
        let failure = self.failure();
        if matches!(seen, ExecError::Poisoned) {
            return Error::AlreadyFailed { first: Box::new(failure.clone()) };
        }
        Error::Failed(Box::new(failure.clone()))
    }

    /// The failure that has ended calls, if one has, as an error of its own.
    pub fn failed(&self) -> Option<Error> {
        self.has_failed().then(|| Error::Failed(Box::new(self.failure().clone())))
    }

    /// The same, also of a failure that only the monitor knows of.
    pub fn failed_anywhere(&self) -> Option<Error> {
        let is_known = self.has_failed() || self.monitor.as_ref().is_some_and(Monitor::failed);
        is_known.then(|| Error::Failed(Box::new(self.failure().clone())))
    }

    /// Keeps what this rank saw, if it is the first, and tells the others.
    #[cold]
    fn note(&self, call: CallName, seen: &ExecError) {
        let cause = match seen {
            ExecError::Deadline { .. } => Cause::Deadline,
            ExecError::Transport { source, .. }
                if matches!(**source, TransportError::PeerGone { .. }) =>
            {
                Cause::Died
            }
            _ => Cause::Protocol,
        };
        let (culprit, in_group) = (seen.peer(), call.is_group());
        let mut local = in_words(call, seen);
        // Of a link that ended the others need to know no step of a call.
        let mut detail = match seen {
            ExecError::Transport { source, .. } if cause == Cause::Died => source.to_string(),
            _ => local.clone(),
        };
        if let Some(site) = call.site {
            let place = format!("; this was {} of rank {} at {site}", call.name, self.rank);
            [&mut detail, &mut local].into_iter().for_each(|text| *text += &place);
        }
        let lacks = match (seen, culprit) {
            (ExecError::Transport { waiting, .. }, Some(relay)) => self.lacks(waiting, relay),
            _ => Vec::new(),
        };
        for clause in self.of_the_way(culprit.filter(|_| cause == Cause::Died), &lacks) {
            [&mut detail, &mut local].into_iter().for_each(|text| *text += &format!("; {clause}"));
        }
        let sequence = call.sequence;
        let report =
            Report { culprit, cause, detail, sequence, in_group, lacks, ..Report::default() };
        let is_first = self.seen.set(Seen { call, report: report.clone(), local }).is_ok();
        self.has_failed.store(true, Ordering::Release);
        let is_own = !matches!(seen, ExecError::Interrupted { .. } | ExecError::Poisoned);
        if let (true, true, Some(monitor)) = (is_first, is_own, &self.monitor) {
            monitor.report(report);
        }
    }

    /// What is to be said of the way to a rank that seems gone, and from those whose messages are missing.
    fn of_the_way(&self, gone: Option<u32>, lacks: &[u32]) -> impl Iterator<Item = String> {
        let to = gone.and_then(|peer| self.ways.relay_to(peer));
        let from = lacks.first().and_then(|sender| self.ways.relay_from(*sender));
        let ailment = gone.and_then(|peer| self.ways.ailment_towards(peer));
        [to, from, ailment].into_iter().flatten()
    }

    /// Whose messages a call waits for that were to come by way of `relay`.
    fn lacks(&self, waiting: &[Waiting], relay: u32) -> Vec<u32> {
        let senders = waiting.iter().filter_map(|waiting| match waiting.on {
            WaitingFor::Message { peer, .. } => Some(peer),
            _ => None,
        });
        senders
            .filter(|sender| self.ways.relay_between(*sender, self.rank) == Some(relay))
            .collect()
    }

    /// The verdict; waited for, up to two seconds, by the first who asks.
    fn failure(&self) -> &Failure {
        self.failure.get_or_init(|| {
            let _span = tracing::info_span!("failure", rank = self.rank).entered();
            let seen = self.seen.get();
            let report = self.aborted.get().or(seen.map(|seen| &seen.report)).cloned();
            let local = seen.map_or_else(String::new, |seen| seen.local.clone());
            let verdict = match (&self.monitor, report) {
                (Some(monitor), _) => monitor.verdict(VERDICT_LIMIT),
                (None, report) => {
                    let report = report.unwrap_or_else(unknown);
                    Verdict::provisional(report, self.rank, crosstie_net::host_name())
                }
            };
            let mut failure = Failure::new(verdict, &self.ways, seen.map(|seen| &seen.call), local);
            if seen.is_none() {
                failure = failure.outside_calls(self.last.load(Ordering::Relaxed));
            }
            tracing::info!("{failure}");
            failure
        })
    }

    /// Ends the calls under way, here and on all other ranks, and refuses all that come.
    pub fn abort(&self, why: &str) {
        let (culprit, cause) = (Some(self.rank), Cause::Aborted);
        let under_way = self.monitor.as_ref().and_then(Monitor::call_under_way);
        let next = self.last.load(Ordering::Relaxed) + 1;
        let (sequence, in_group) = under_way.map_or((next, true), |call| (call, false));
        let detail = why.to_owned();
        let report = Report { culprit, cause, detail, sequence, in_group, ..Report::default() };
        if self.aborted.set(report.clone()).is_err() {
            return;
        }
        if let Some(monitor) = &self.monitor {
            monitor.report(report);
        }
        self.has_failed.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    /// Tells the others that this rank's program has left, while it works on: see [`Monitor::retire`].
    pub fn retire(&self, last_sequence: u64) {
        if let Some(monitor) = &self.monitor {
            monitor.retire(last_sequence);
        }
    }

    /// Leaves in order, or as one that has given up: see [`Monitor::leave`].
    pub fn leave(&self, last_sequence: u64) {
        if let Some(monitor) = &self.monitor {
            monitor.leave(last_sequence);
        }
    }

    /// The same; calls that have come back as if all were well, and were not alike on all ranks, are found out as all
    /// leave.
    ///
    /// # Errors
    /// [`Error::Failed`], where they are.
    pub fn leave_comparing(&self, last_sequence: u64) -> Result<(), Error> {
        // Whose call has failed has been told.
        let knew = self.has_failed();
        self.leave(last_sequence);
        let found = self.monitor.as_ref().filter(|monitor| !knew && monitor.failed());
        match found.map(|monitor| monitor.verdict(Duration::ZERO).cause) {
            Some(Cause::Protocol) => Err(Error::Failed(Box::new(self.failure().clone()))),
            _ => Ok(()),
        }
    }
}

/// A rank whose program has left, after the call `last`, and which works on for others of its node.
pub(crate) struct OnDuty {
    pub standing: Arc<Standing>,
    pub last: u64,
}

impl Oversight for OnDuty {
    fn has_failed(&self) -> bool {
        self.standing.has_failed() || self.standing.monitor.as_ref().is_some_and(Monitor::failed)
    }

    fn over(&self) {
        self.standing.leave(self.last);
    }
}

/// What this rank saw of its call; where two ranks' counts for one block differ, which.
fn in_words(call: CallName, seen: &ExecError) -> String {
    match seen {
        ExecError::LengthMismatch { peer, received, expected } if call.name == "all_to_all_v" => {
            format!(
                "rank {peer} sent {received} bytes to this rank, which by its receive counts expects {expected} of \
                 it: what one rank sends to another must be what that one receives from it"
            )
        }
        _ => seen.to_string(),
    }
}

#[cold]
fn unknown() -> Report {
    let detail = "no failure is known".to_owned();
    Report { detail, ..Report::default() }
}

/// Ties one call to its communicator's standing, in whatever thread drives it.
pub(crate) struct Watched<S> {
    pub standing: S,
    pub call: CallName,
    /// How the monitor notes it.
    pub mark: CallMark,
}

impl<S: Deref<Target = Standing>> Watch for Watched<S> {
    fn began(&self) {
        match &self.standing.monitor {
            Some(monitor) if self.call.is_group() => monitor.messages_started(self.mark),
            Some(monitor) => monitor.call_started(self.mark),
            None => {}
        }
    }

    fn interrupted(&self) -> bool {
        let interrupts = |monitor: &Monitor| monitor.interrupts(self.call.sequence);
        self.standing.monitor.as_ref().is_some_and(interrupts)
            || self.standing.aborted.get().is_some()
    }

    fn moved(&self) {
        if let Some(monitor) = &self.standing.monitor {
            monitor.call_moved();
        }
    }

    fn asks(&self) -> bool {
        self.standing.monitor.as_ref().is_some_and(Monitor::asks)
    }

    #[cold]
    fn tell(&self, waiting: Vec<Waiting>) {
        if let Some(monitor) = &self.standing.monitor {
            monitor.testify(waiting.into_iter().map(wait).collect());
        }
    }

    fn ended(&self, result: &Result<(), ExecError>) {
        match result {
            Ok(()) => {
                // One thread at a time drives the calls, so this need not be a read-modify-write.
                let completed = self.standing.completed();
                self.standing.completed.store(completed + 1, Ordering::Relaxed);
                let sequence = self.mark.sequence;
                if !self.call.is_group() {
                    self.standing.last.store(sequence, Ordering::Relaxed);
                }
                match &self.standing.monitor {
                    Some(monitor) if self.call.is_group() => monitor.messages_finished(),
                    Some(monitor) => monitor.call_finished(sequence),
                    None => {}
                }
            }
            Err(ExecError::Poisoned) => {}
            Err(seen) => self.standing.note(self.call, seen),
        }
    }
}

/// The same, as monitors tell it each other.
fn wait(waiting: Waiting) -> Wait {
    let Waiting { block, step, window, on } = waiting;
    let on = match on {
        WaitingFor::Message { peer, channel, slot } => WaitOn::Message { peer, channel, slot },
        WaitingFor::Room { peer, channel, slot } => WaitOn::Room { peer, channel, slot },
        WaitingFor::Step { block, step } => WaitOn::Step { block, step },
        _ => WaitOn::Step { block, step },
    };
    Wait { block, step, window, on }
}

/// How long a rank waits for the verdict before it judges alone (design: two seconds).
pub(crate) const VERDICT_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use crosstie_bootstrap::Monitor;

    use crate::{Communicator, Error, Threads};

    fn knows_of_a_failure(comm: &Communicator) -> bool {
        comm.standing.monitor.as_ref().is_some_and(Monitor::failed)
    }

    /// A short send, the root of a broadcast, and the same for later: none of them waits for anybody.
    #[test]
    fn a_call_that_waits_for_nobody_fails_once_the_monitor_knows_of_a_failure() {
        type Made = fn(&mut Communicator) -> Result<(), Error>;
        let calls: [Made; 4] = [
            |comm| comm.send(&[1_u8], 1),
            |comm| comm.broadcast(&mut [1_u8], 0),
            |comm| comm.owned().send(vec![1_u8], 1).map(drop),
            |comm| comm.owned().broadcast(vec![1_u8], 0).map(drop),
        ];
        for (number, call) in calls.into_iter().enumerate() {
            let ended = Threads::new(3).run_each(|mut comm| {
                if comm.rank() == 2 {
                    comm.abort_handle().abort("as the test has it");
                }
                let began = Instant::now();
                while !knows_of_a_failure(&comm) && began.elapsed() < Duration::from_secs(10) {
                    sleep(Duration::from_millis(1));
                }
                if comm.rank() == 0 { call(&mut comm) } else { Ok(()) }
            });
            let error = ended[0].as_ref().expect_err("rank 2 has aborted");
            assert_eq!(error.code().to_string(), "CT-064", "{number}: {}", error.report());
            assert_eq!(error.failure().and_then(|failure| failure.culprit), Some(2));
        }
    }
}
