//! Owns the thread that serves one meeting: it lets ranks in, tells all the same end, and answers late-comers.
//!
//! 1. Who proves the secret is a guest; a guest that says who it is has joined.
//! 2. The first of these ends the meeting: all have joined; two of them contradict each other; one of them is gone;
//!    the patience of one is nearly over; the host is dropped.
//! 3. Where ranks can describe their machines, one of each machine is asked before all are told that they have met.
//! 4. From then on every guest, also one still to come, is told the end. The thread lives until the host is dropped,
//!    and then until each guest has been told, but no longer than [`FAREWELL`]; where a rank came to say that it gives
//!    up, until all ranks have been told, but no longer than [`FAREWELL_TO_ALL`].
//! 5. A meeting at a place that the same ranks may use for their next one closes its door before it tells the table,
//!    or that ranks are missing: who comes back must not find the old meeting.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crosstie_net::{
    Bell, Inbox, Listener, NetError, Purpose, Secret, Target, UniqueId, host_name, poll_until,
};
use rustix::event::{PollFd, PollFlags};

use crate::error::BootstrapError;
use crate::meeting::announcer::Announcer;
use crate::meeting::describing::{Describing, Reply};
use crate::meeting::gathering::Gathering;
use crate::meeting::guest::{Guest, Step};
use crate::meeting::message::{Join, Outcome, broken};
use crate::world::Record;

/// How long a dropped host goes on telling its guests the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// The same where a rank gave up before it met the others: those who come later are to learn it as well.
const FAREWELL_TO_ALL: Duration = Duration::from_secs(5);
/// How long a guest may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
const OPENING: &str = "opening a meeting";
/// How many version mismatches are kept to be told.
const MISMATCHES_MAX: usize = 4;
/// When the log first names those who have not come; then after twice as long, and so on.
const FIRST_NOTICE: Duration = Duration::from_secs(5);

/// Serves one meeting in the background, for as long as it is kept; by a thread of its own once somebody comes.
///
/// Dropping it before all have come calls the meeting off: those who wait are told so.
#[derive(Debug)]
pub struct MeetingHost {
    bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
    seat: Arc<Mutex<Seat>>,
}

/// Where a meeting's service waits until it is needed: programs make ids that no rank uses.
#[derive(Default)]
struct Seat {
    waiting: Option<Service>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seat")
    }
}

fn lock(seat: &Mutex<Seat>) -> MutexGuard<'_, Seat> {
    // Nothing that holds it can panic halfway through a change.
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the service, unless it has begun.
fn begin(seat: &Arc<Mutex<Seat>>) -> std::io::Result<()> {
    let mut held = lock(seat);
    if held.waiting.is_none() || held.thread.is_some() {
        return Ok(());
    }
    let of_thread = Arc::clone(seat);
    let serves = move || {
        let service = lock(&of_thread).waiting.take();
        if let Some(service) = service {
            service.run();
        }
    };
    let thread = std::thread::Builder::new().name("crosstie-meeting".to_owned()).spawn(serves)?;
    held.thread = Some(thread);
    Ok(())
}

impl MeetingHost {
    /// Opens a meeting at `listener`, for a world with a new secret. Pass the id on to each of its ranks, and keep the
    /// host until they have met. The first to come says how many there will be.
    pub fn open(listener: &Arc<Listener>) -> Result<(MeetingHost, UniqueId), BootstrapError> {
        let secret = Secret::generate().map_err(BootstrapError::net("making a secret"))?;
        let host = MeetingHost::serve(listener, &secret, Door::Stays)?;
        Ok((host, UniqueId { addresses: listener.addresses(), secret }))
    }

    /// Serves the meeting of the world of `secret`.
    pub(crate) fn serve(
        listener: &Arc<Listener>,
        secret: &Secret,
        door: Door,
    ) -> Result<MeetingHost, BootstrapError> {
        let bell = Arc::new(Bell::new().map_err(BootstrapError::net(OPENING))?);
        let stop = Arc::new(AtomicBool::new(false));
        let inbox = listener.subscribe(secret, Target::Meeting);
        let inbox = inbox.map_err(BootstrapError::net(OPENING))?;
        let is_awaited = matches!(door, Door::Announced(_));
        let seat = Arc::<Mutex<Seat>>::default();
        let (rings, begins) = (Arc::clone(&bell), Arc::clone(&seat));
        inbox.on_arrival(Purpose::Meeting, move || {
            if let Err(error) = begin(&begins) {
                tracing::error!(%error, "a meeting has no thread, and lets nobody in");
            }
            rings.ring();
        });
        let service = Service {
            listener: Arc::clone(listener),
            inbox: Some(inbox),
            door,
            bell: Arc::clone(&bell),
            stop: Arc::clone(&stop),
            gathering: Gathering::default(),
            describing: None,
            guests: Vec::new(),
            first_came: None,
            next_notice: FIRST_NOTICE,
            told: None,
            seen: BTreeSet::new(),
            told_to: None,
            mismatches: Vec::new(),
            leaves_by: None,
        };
        lock(&seat).waiting = Some(service);
        let host = MeetingHost { bell, stop, seat };
        if is_awaited {
            begin(&host.seat).map_err(BootstrapError::system("starting a thread"))?;
        }
        Ok(host)
    }
}

impl Drop for MeetingHost {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
        let Seat { waiting, thread } = {
            let mut seat = lock(&self.seat);
            // A service whose thread has started is that one's to take.
            let waiting = if seat.thread.is_none() { seat.waiting.take() } else { None };
            Seat { waiting, thread: seat.thread.take() }
        };
        drop(waiting);
        if let Some(thread) = thread {
            // A panic of that thread has been printed; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

/// How ranks find a meeting, and so what becomes of its door when all have met.
pub(crate) enum Door {
    /// By a unique id, which is good for one world: the door stays open, so that late-comers are told.
    Stays,
    /// At an address for which all hold the secret: the door is closed.
    Closes,
    /// By an id that this announcer tells: the announcer is closed.
    Announced(Announcer),
}

/// The end of a meeting.
enum End {
    /// All have met: the encoded table.
    Table(Vec<u8>),
    /// The encoded error.
    Failed(Vec<u8>),
}

struct Service {
    listener: Arc<Listener>,
    /// None when the door is closed.
    inbox: Option<Inbox>,
    door: Door,
    bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
    gathering: Gathering,
    /// What ranks are asked of their machines, once all have come.
    describing: Option<Describing>,
    guests: Vec<Guest>,
    /// When the first rank joined.
    first_came: Option<Instant>,
    /// How long the first to come will have waited when the ranks still missing are named in the log.
    next_notice: Duration,
    told: Option<End>,
    /// Those who have come, in whatever state the meeting was.
    seen: BTreeSet<u32>,
    /// How many there will be, where those who have yet to come are waited for, to be told the end.
    told_to: Option<u32>,
    /// Version mismatches, for the error that names who did not come.
    mismatches: Vec<String>,
    /// When to leave whether or not all guests were told; set when the host is dropped.
    leaves_by: Option<Instant>,
}

impl Service {
    fn run(mut self) {
        loop {
            self.bell.quiet();
            self.let_in();
            if let Door::Announced(announcer) = &self.door {
                announcer.answer();
            }
            self.attend();
            self.look_at_the_clock();
            if self.leaves() {
                return;
            }
            if self.sleep().is_err() {
                // poll fails only for want of memory: the guests see their links end.
                return;
            }
        }
    }

    /// Takes in the links that came, and notes versions that did not fit.
    fn let_in(&mut self) {
        while let Some(inbox) = &self.inbox {
            match inbox.accept(Purpose::Meeting, Instant::now()) {
                Ok(incoming) => {
                    self.guests.push(Guest::new(incoming, Instant::now() + INTRODUCTION))
                }
                Err(NetError::NobodyCame { .. }) => return,
                Err(mismatch) => {
                    let text = mismatch.to_string();
                    let known = self.mismatches.contains(&text);
                    // Who only claims to speak another version has proved nothing, so the meeting goes on.
                    if !known && self.mismatches.len() < MISMATCHES_MAX {
                        self.mismatches.push(text);
                    }
                }
            }
        }
    }

    /// Hears and answers every guest.
    fn attend(&mut self) {
        for mut guest in std::mem::take(&mut self.guests) {
            let keep = match guest.advance() {
                Step::Waits => true,
                Step::Says(bytes) => self.hear(&mut guest, &bytes),
                Step::Ended => {
                    // One that came too late was told so, and may go.
                    if let (Some(rank), None, false) = (guest.rank, &self.told, guest.told()) {
                        self.end(Err(self.gathering.died(rank)));
                    }
                    false
                }
            };
            if keep {
                self.guests.push(guest);
            }
        }
        self.ask();
        let Some(told) = &self.told else { return };
        let (End::Table(bytes) | End::Failed(bytes)) = told;
        self.guests
            .iter_mut()
            .filter(|guest| guest.rank.is_some())
            .for_each(|guest| guest.tell(bytes));
    }

    /// A guest says who it is. False drops it.
    fn hear(&mut self, guest: &mut Guest, bytes: &[u8]) -> bool {
        let host = guest.link.peer_host().to_owned();
        let speaks = self.told.is_none() && self.describing.is_some() && !guest.told();
        if let Some(rank) = guest.rank {
            match Reply::decode(bytes, &host) {
                Ok(Reply::Withdraw { why }) => {
                    self.fail_once(self.gathering.withdrawn(rank, why));
                    return false;
                }
                Ok(reply) if speaks => self.described(rank, reply, &host),
                Err(error) if speaks => self.fail_once(error),
                _ => self.fail_once(broken(&host, "it joined twice on one link".to_owned())),
            }
            return true;
        }
        let join = match Join::decode(bytes, &host) {
            Ok(join) => join,
            Err(error) => {
                self.fail_once(error);
                return false;
            }
        };
        guest.joined(join.record.rank, join.patience);
        self.seen.insert(join.record.rank);
        match (&self.told, &self.describing) {
            (Some(End::Table(_)), _) | (None, Some(_)) => {
                let error = self.gathering.too_late(&join.record);
                if let Ok(bytes) = Outcome::Failed(error).encode(&host) {
                    guest.tell(&bytes);
                }
            }
            (Some(End::Failed(_)), _) => {}
            (None, None) => self.admit(join),
        }
        true
    }

    fn admit(&mut self, join: Join) {
        self.first_came.get_or_insert_with(Instant::now);
        let agrees = self.gathering.agree(&join.of, &join.record);
        let (who, size) = (join.record.claimant(), join.size);
        match agrees.and_then(|()| self.gathering.join(size, join.record)) {
            Err(error) => self.end(Err(error)),
            Ok(()) if join.gives_up.is_some() => {
                self.told_to = Some(size);
                let why = join.gives_up.unwrap_or_default();
                self.end(Err(BootstrapError::GaveUp { who, why }));
            }
            Ok(()) if self.gathering.complete() => self.met(),
            Ok(()) => {}
        }
    }

    /// All have come: those who speak for their machines are asked before they are told.
    fn met(&mut self) {
        match self.gathering.table() {
            Err(error) => self.end(Err(error)),
            Ok(records) => {
                let describing = Describing::of(&records);
                if describing.complete() {
                    return self.end(Ok((records, Vec::new())));
                }
                self.describing = Some(describing);
            }
        }
    }

    /// Asks those who speak for their machines, each question once.
    fn ask(&mut self) {
        let Some(describing) = &self.describing else { return };
        for (rank, question) in describing.asked() {
            let mut guests = self.guests.iter_mut();
            let guest = guests.find(|guest| guest.rank == Some(rank) && !guest.told());
            if let (Some(guest), Ok(bytes)) = (guest, Outcome::Describe(question).encode("")) {
                guest.ask(question, &bytes);
            }
        }
    }

    fn described(&mut self, rank: u32, reply: Reply, host: &str) {
        let Some(mut describing) = self.describing.take() else { return };
        if let Err(what) = describing.hear(rank, reply) {
            return self.fail_once(broken(host, what));
        }
        if !describing.complete() {
            self.describing = Some(describing);
            return;
        }
        let concluded = self.gathering.table().map(|mut records| {
            let kinds = describing.conclude(&mut records);
            (records, kinds)
        });
        self.end(concluded);
    }

    fn fail_once(&mut self, error: BootstrapError) {
        if self.told.is_none() {
            self.end(Err(error));
        }
    }

    fn end(&mut self, outcome: Result<(Vec<Record>, Vec<String>), BootstrapError>) {
        let met = outcome.is_ok();
        // Those who were told that some are missing come back for another try, and must find the next meeting.
        let is_tried_again = matches!(
            outcome,
            Err(BootstrapError::Missing { .. }
                | BootstrapError::Died { .. }
                | BootstrapError::Withdrawn { .. })
        );
        match self.door {
            Door::Closes if met || is_tried_again => self.inbox = None,
            Door::Announced(_) if self.told_to.is_none() => self.door = Door::Stays,
            Door::Closes | Door::Stays | Door::Announced(_) => {}
        }
        let table = |(records, kinds)| Outcome::Table { records, kinds };
        let outcome = outcome.map_or_else(Outcome::Failed, table);
        // Neither a table nor what `Gathering` finds out can fail to encode.
        let bytes = outcome.encode(&host_name()).unwrap_or_default();
        self.told = Some(if met { End::Table(bytes) } else { End::Failed(bytes) });
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        let told = self.told.is_some();
        self.guests.retain(|guest| guest.rank.is_some() || now < guest.limit);
        let impatient = self.guests.iter().any(|guest| now >= guest.limit);
        if impatient && !told {
            self.end(Err(self.missing(now)));
        } else if !told && self.notice_due().is_some_and(|due| now >= due) {
            self.next_notice *= 2;
            tracing::warn!("still waiting: {}", self.missing(now));
        }
        if self.leaves_by.is_none() && self.stop.load(Ordering::Acquire) {
            let lasts = if self.told_to.is_some() { FAREWELL_TO_ALL } else { FAREWELL };
            self.leaves_by = Some(now + lasts);
            let reason = format!("the process on {} that served it has stopped", host_name());
            self.fail_once(BootstrapError::CalledOff { reason });
        }
        if !told && self.told.is_some() {
            self.attend();
        }
    }

    fn missing(&self, now: Instant) -> BootstrapError {
        let waited = self.first_came.map_or(Duration::ZERO, |came| now - came);
        let mut strangers = self.listener.strangers().to_string();
        for mismatch in &self.mismatches {
            strangers = format!("{strangers}; {mismatch}");
        }
        self.gathering.missing(waited, strangers)
    }

    fn notice_due(&self) -> Option<Instant> {
        self.first_came.filter(|_| self.told.is_none()).map(|came| came + self.next_notice)
    }

    fn leaves(&self) -> bool {
        let waiting = self.guests.iter().any(|guest| guest.rank.is_some() && !guest.was_told());
        let to_come = self.told_to.is_some_and(|size| self.seen.len() < size as usize);
        let is_done = !waiting && !to_come;
        self.leaves_by.is_some_and(|limit| is_done || Instant::now() >= limit)
    }

    fn sleep(&self) -> std::io::Result<usize> {
        let mut fds = vec![PollFd::new(&*self.bell, PollFlags::IN)];
        if let Door::Announced(announcer) = &self.door {
            fds.push(PollFd::new(announcer, PollFlags::IN));
        }
        fds.extend(self.guests.iter().map(Guest::interest));
        // After the end only a guest's introduction and the farewell have limits.
        let limits = self.guests.iter().filter(|guest| self.told.is_none() || guest.rank.is_none());
        let limits = limits.map(|guest| guest.limit).chain(self.leaves_by).chain(self.notice_due());
        poll_until(&mut fds, limits.min())
    }
}
