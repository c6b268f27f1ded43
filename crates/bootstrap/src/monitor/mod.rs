//! Owns a rank's watch over the others: heartbeats, orderly leave, and one verdict when something fails.
//!
//! One thread a rank sleeps on its links and wakes to decide: [`state`] says what, [`thread`] does it. It never
//! touches data, and answers for a rank whose application is elsewhere.

mod message;
mod shared;
mod state;
mod thread;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crosstie_net::{Dial, Inbox, Purpose, Target, dial};

use crate::{BootstrapError, World};
pub use message::{Cause, Report, Verdict};
use shared::{Request, Shared};
use state::State;
use thread::Watch;

/// The longest detail of a report, in bytes: it travels to all ranks.
const DETAIL_MAX: usize = 4096;

/// How closely the ranks watch each other. All ranks of a world need the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MonitorOptions {
    /// How often a monitor says that it lives; at least four times within `silence`, whatever is asked.
    pub heartbeat: Duration,
    /// How long a rank may say nothing until it counts as stopped or unreachable.
    pub silence: Duration,
}

impl Default for MonitorOptions {
    fn default() -> MonitorOptions {
        MonitorOptions { heartbeat: Duration::from_secs(1), silence: Duration::from_secs(10) }
    }
}

/// This rank's monitor. Dropped without [`Monitor::leave`], it looks to the others as if the rank had died.
pub struct Monitor {
    rank: u32,
    hosts: Vec<String>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The process that started the thread: a forked child has no part in it.
    pid: u32,
}

impl Monitor {
    /// Starts to watch, and to be watched. `inbox` is the one of this rank; the monitor takes its links for
    /// [`Purpose::Monitor`]. After something fails, `wake` is called on the monitor's thread: once when this rank
    /// first learns of it, and once when the verdict is there.
    ///
    /// Rank 0 returns at once; the others when they have reached it, or with an error at the deadline. Ranks that
    /// have made no link to rank 0 by then are reported as silent. All have just met: so the deadline is no later than
    /// the silence after which any rank is given up.
    pub fn start(
        world: &World,
        inbox: Arc<Inbox>,
        options: MonitorOptions,
        wake: Box<dyn Fn() + Send>,
        deadline: Instant,
    ) -> Result<Monitor, BootstrapError> {
        let hosts: Vec<String> = world.records.iter().map(|record| record.host.clone()).collect();
        let heartbeat = options.heartbeat.min(options.silence / 4);
        let start = Instant::now();
        let given_up = start.checked_add(options.silence).unwrap_or(deadline);
        let deadline = deadline.min(given_up);
        let links_due = deadline.saturating_duration_since(start);
        let state = State::new(world.rank, hosts.clone(), heartbeat, options.silence, links_due);
        let shared = Arc::new(Shared::new().map_err(net("starting the monitor"))?);
        let mut watch = Watch::new(world, inbox, Arc::clone(&shared), state, options.silence, wake);
        if let Some(root) = world.records.first().filter(|_| world.rank > 0) {
            let target = Target::Rank(0);
            let to = Dial::new(&root.addresses, &world.secret, target, Purpose::Monitor, deadline);
            let link = dial(&Dial { from: Some(world.rank), ..to });
            watch.link(0, link.map_err(net("reaching the monitor of rank 0"))?);
        }
        let thread = std::thread::Builder::new()
            .name("crosstie-monitor".to_owned())
            .spawn(move || watch.run())
            .map_err(|source| BootstrapError::System {
                call: "starting a thread".to_owned(),
                source,
            })?;
        let (rank, pid) = (world.rank, std::process::id());
        Ok(Monitor { rank, hosts, shared, thread: Some(thread), pid })
    }

    /// Whether this rank knows of a failure: one load, cheap enough for every poll of an engine.
    pub fn failed(&self) -> bool {
        self.shared.failed()
    }

    /// Notes that the application has started the call with this sequence number; numbers only grow.
    pub fn call_started(&self, sequence: u64) {
        self.shared.call_started(sequence);
    }

    /// Notes that the call with this sequence number is complete.
    pub fn call_finished(&self, sequence: u64) {
        self.shared.call_finished(sequence);
    }

    /// Tells all ranks that something failed here; returns at once. Only the first report that a rank learns counts.
    pub fn report(&self, mut report: Report) {
        let fits = (0..=DETAIL_MAX).rev().find(|&end| report.detail.is_char_boundary(end));
        report.detail.truncate(fits.unwrap_or(0));
        self.shared.keep(&report);
        self.shared.request(Request::Report(report));
    }

    /// The verdict that all ranks share, waiting for it up to `limit`. When none comes it is this rank's own view,
    /// marked provisional: the first report that it learnt; without any, a verdict of [`Cause::Unknown`].
    pub fn verdict(&self, limit: Duration) -> Verdict {
        let known = self.shared.await_verdict(Instant::now() + limit);
        if let Some(verdict) = known.verdict {
            return verdict;
        }
        let report = known.report.unwrap_or_else(|| Report {
            culprit: None,
            cause: Cause::Unknown,
            detail: "no failure is known".to_owned(),
            sequence: self.shared.calls().started,
        });
        let host = report.culprit.and_then(|rank| self.hosts.get(usize::try_from(rank).ok()?));
        Verdict::provisional(report, self.rank, host.cloned().unwrap_or_default())
    }

    /// The sequence number of the last call of `rank`, if it left in order.
    pub fn has_left(&self, rank: u32) -> Option<u64> {
        self.shared.has_left(rank)
    }

    /// Leaves in order: tells the others that the call with this number was the last, and ends the thread. It takes
    /// about a round trip, for the lowest rank up to 0.2 s while others stay; and never more than about 2 s.
    pub fn leave(mut self, last_sequence: u64) {
        self.end(Request::Leave(last_sequence));
    }

    fn end(&mut self, request: Request) {
        let Some(thread) = self.thread.take() else { return };
        if self.pid == std::process::id() {
            self.shared.request(request);
            // A panic of that thread has been printed; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.end(Request::Stop);
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Monitor of rank {}", self.rank)
    }
}

fn net(doing: &str) -> impl FnOnce(crosstie_net::NetError) -> BootstrapError {
    let doing = doing.to_owned();
    move |source| BootstrapError::Net { doing, source }
}
