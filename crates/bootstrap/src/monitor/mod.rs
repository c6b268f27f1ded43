//! Owns a rank's watch over the others: heartbeats, orderly leave, and one verdict when something fails.
//!
//! One thread a rank sleeps on its links and wakes to decide: [`state`] says what, [`thread`] does it. It never
//! touches data, and answers for a rank whose application is elsewhere.

mod clock;
mod judge;
mod ledger;
mod message;
mod shared;
mod signature;
mod state;
mod statement;
mod thread;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crosstie_net::{Dial, Inbox, Link, NetError, Purpose, Target, dial, is_deserted};

use crate::{BootstrapError, Record, World};
use clock::Patience;
pub use ledger::CallMark;
pub use message::{Cause, LinkEnd, Report, Verdict};
pub use shared::{DeadPath, Look};
use shared::{Lookout, Request, Shared};
pub use signature::{Conflict, Signature};
use state::{State, Times};
pub use statement::{Statement, Wait, WaitOn};
use thread::Watch;

/// Puts a call into words.
pub type Describe = fn(&CallMark) -> Signature;

/// What ails the NIC of this rank, if anything does.
pub type Ailment = Box<dyn Fn() -> Option<String> + Send>;

/// The longest detail of a report, in bytes: it travels to all ranks.
const DETAIL_MAX: usize = 4096;

/// How many waits of a rank travel to all.
const WAITS_MAX: usize = 64;

/// How closely the ranks watch each other, and how patient this one is. All ranks of a world need the same
/// `heartbeat` and `silence`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MonitorOptions {
    /// How often a monitor says that it lives; at least four times within `silence`, whatever is asked.
    pub heartbeat: Duration,
    /// How long a rank may say nothing until it counts as stopped or unreachable.
    pub silence: Duration,
    /// How long a call of this rank waits for ranks that have not made it.
    pub arrival: Duration,
    /// How long a call that all have made may move nothing, on any rank.
    pub stall: Duration,
    /// After how long in a call the ranks that have not made it are named in a warning.
    pub warning: Duration,
}

impl Default for MonitorOptions {
    fn default() -> MonitorOptions {
        MonitorOptions {
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(10),
            arrival: Duration::from_secs(1800),
            stall: Duration::from_secs(30),
            warning: Duration::from_secs(30),
        }
    }
}

/// The application that a monitor watches over.
pub struct Application {
    /// Called on the monitor's thread when the application should look at the monitor: something failed, the verdict
    /// is there, or it is asked where it stands.
    pub wake: Box<dyn Fn() + Send>,
    /// Puts its calls into words.
    pub describe: Describe,
    /// Called on the monitor's thread when others ask about a path that leads to this rank no more.
    pub ailment: Ailment,
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Application")
    }
}

/// This rank's monitor. Dropped without [`Monitor::leave`], it looks to the others as if the rank had died.
pub struct Monitor {
    rank: u32,
    hosts: Vec<String>,
    shared: Arc<Shared>,
    /// `None` once it was told to end.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The process that started the thread: a forked child has no part in it.
    pid: u32,
}

impl Monitor {
    /// Starts to watch, and to be watched. `inbox` is the one of this rank; the monitor takes its links for
    /// [`Purpose::Monitor`].
    ///
    /// Rank 0 returns at once; the others when they have reached it or found its process gone, or with an error at the
    /// deadline. Ranks that have made no link to rank 0 by then are reported as silent, those whose processes are gone
    /// as dead at once. All have just met: so the deadline is no later than the silence after which any rank is given
    /// up.
    pub fn start(
        world: &World,
        inbox: Arc<Inbox>,
        options: MonitorOptions,
        application: Application,
        deadline: Instant,
    ) -> Result<Monitor, BootstrapError> {
        let hosts: Vec<String> = world.records.iter().map(|record| record.host.clone()).collect();
        let MonitorOptions { silence, arrival, stall, warning, .. } = options;
        let heartbeat = options.heartbeat.min(silence / 4);
        let start = Instant::now();
        let given_up = start.checked_add(silence).unwrap_or(deadline);
        let deadline = deadline.min(given_up);
        let links_due = deadline.saturating_duration_since(start);
        let patience = Patience { arrival, stall, warning };
        let times = Times { heartbeat, silence, links_due, patience };
        let state = State::new(world.rank, hosts.clone(), processes(world), times);
        let shared = Arc::new(Shared::new().map_err(net("starting the monitor"))?);
        let mut watch = Watch::new(world, inbox, Arc::clone(&shared), state, silence, application);
        if world.rank > 0 {
            match reach_root(world, deadline).map_err(net("reaching the monitor of rank 0"))? {
                Some(link) => watch.link(0, link),
                None => watch.found_dead(0),
            }
        }
        let guard = Guard(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("crosstie-monitor".to_owned())
            .spawn(move || {
                let _guard = guard;
                watch.run();
            })
            .map_err(|source| BootstrapError::System {
                call: "starting a thread".to_owned(),
                source,
            })?;
        let (rank, pid) = (world.rank, std::process::id());
        Ok(Monitor { rank, hosts, shared, thread: Mutex::new(Some(thread)), pid })
    }

    /// Whether this rank knows of a failure: one load, cheap enough for every poll of an engine.
    pub fn failed(&self) -> bool {
        self.shared.failed()
    }

    /// Whether a failure ends the call with this number: those before it that can complete are left alone for a
    /// second. One load.
    pub fn interrupts(&self, sequence: u64) -> bool {
        self.shared.interrupts(sequence)
    }

    /// Notes that the application has started this call; numbers only grow. A few stores.
    pub fn call_started(&self, mark: CallMark) {
        self.shared.call_started(mark);
    }

    /// Notes that the application has started a call of messages between pairs, whose number is given here. A few
    /// stores.
    pub fn messages_started(&self, mark: CallMark) {
        self.shared.ledger.messages_started(mark);
    }

    /// Notes that this call is complete.
    pub fn messages_finished(&self) {
        self.shared.ledger.messages_finished();
    }

    /// Notes that the call under way has moved something. One store.
    pub fn call_moved(&self) {
        self.shared.ledger.moved();
    }

    /// Notes that the call with this sequence number is complete.
    pub fn call_finished(&self, sequence: u64) {
        self.shared.ledger.finished(sequence);
    }

    /// The number of the call under way, if one is.
    pub fn call_under_way(&self) -> Option<u64> {
        let calls = self.shared.ledger.calls();
        (calls.started > calls.finished).then_some(calls.started)
    }

    /// Whether the others ask what this rank's call waits for: [`testify`](Self::testify). One load.
    pub fn asks(&self) -> bool {
        self.shared.is_asked()
    }

    /// Says what the unfinished blocks of the call under way wait for. Long lists are cut.
    pub fn testify(&self, mut waits: Vec<Wait>) {
        let more = waits.len().saturating_sub(WAITS_MAX) as u64;
        waits.truncate(WAITS_MAX);
        self.shared.testify(waits, more);
    }

    /// Has `look` called every so often from now on, on the monitor's thread: it says whether the path to a rank has
    /// gone silent on which this rank waits for an answer. Whether that rank is, too, is then found out: if not, their
    /// link counts as cut.
    pub fn watch(&self, every: Duration, look: Look) {
        self.shared.request(Request::Watch(Lookout { every, next: Instant::now() + every, look }));
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
        if let Some(proposal) = known.proposal {
            return Verdict { provisional: true, ..proposal };
        }
        let report = known.report.unwrap_or_else(|| Report {
            detail: "no failure is known".to_owned(),
            sequence: self.shared.ledger.calls().started,
            ..Report::default()
        });
        let host = report.culprit.and_then(|rank| self.hosts.get(usize::try_from(rank).ok()?));
        Verdict::provisional(report, self.rank, host.cloned().unwrap_or_default())
    }

    /// The sequence number of the last call of `rank`, if it left in order.
    pub fn has_left(&self, rank: u32) -> Option<u64> {
        self.shared.has_left(rank)
    }

    /// Says that this rank's program has left, after the call with this number, and watches on, and is watched, until
    /// it [leaves](Self::leave): for a rank that works on for others. Returns at once.
    pub fn retire(&self, last_sequence: u64) {
        self.shared.request(Request::Retire(last_sequence));
    }

    /// Leaves in order: tells the others that the call with this number was the last, and ends the thread. It takes
    /// about a round trip, for the lowest rank up to 0.2 s while others stay in other processes; and never more than
    /// about 2 s.
    pub fn leave(&self, last_sequence: u64) {
        self.end(Request::Leave(last_sequence));
    }

    fn end(&self, request: Request) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
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

/// Ends the application's calls if the monitor's thread ends in a panic: without a monitor they might hang.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail_from(0);
            self.0.learn(|known| known.ended = true);
        }
    }
}

/// By rank, the process that it is in, as the lowest of its ranks: those have its number and listen where it does.
fn processes(world: &World) -> Vec<u32> {
    let mut known = BTreeMap::new();
    let process = |record: &Record| {
        *known.entry((record.pid, record.addresses.clone())).or_insert(record.rank)
    };
    world.records.iter().map(process).collect()
}

/// A link to rank 0's monitor, which may still be on its way there; `None` when its process is gone.
fn reach_root(world: &World, deadline: Instant) -> Result<Option<Link>, NetError> {
    let Some(root) = world.records.first() else { return Ok(None) };
    let to = Dial::new(&root.addresses, &world.secret, Target::Rank(0), Purpose::Monitor, deadline);
    let to = Dial { from: Some(world.rank), retry: false, ..to };
    let mut pause = Duration::from_millis(2);
    loop {
        let error = match dial(&to) {
            Ok(link) => return Ok(Some(link)),
            Err(error) => error,
        };
        if let NetError::Unreachable { .. } = error
            && is_deserted(&root.addresses, deadline)
        {
            return Ok(None);
        }
        let is_final = matches!(error, NetError::Version { .. } | NetError::WrongSecret { .. });
        if is_final || Instant::now() + pause >= deadline {
            return Err(error);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn net(doing: &str) -> impl FnOnce(crosstie_net::NetError) -> BootstrapError {
    let doing = doing.to_owned();
    move |source| BootstrapError::Net { doing, source }
}
