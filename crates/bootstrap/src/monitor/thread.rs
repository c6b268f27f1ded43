//! Owns the monitor's thread: feeds its state machine with links, messages and time, and does what it says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_net::{
    Bell, Dial, Inbox, Link, NetError, Purpose, Secret, Target, dial, is_deserted, poll_until,
};
use rustix::event::{PollFd, PollFlags};

use super::ledger::CallMark;
use super::message::{Cause, Message, Report};
use super::shared::{DeadPath, Lookout, Request, Shared};
use super::signature::Signature;
use super::state::{Action, Event, State, Tags, Testimony, Unreached};
use super::statement::Wait;
use super::{Ailment, Application, Describe};
use crate::World;
use crate::process::{ProcessMark, Watched};

/// How long a hub that is dialled may take to answer: then the one after it is tried.
const DIAL_LIMIT: Duration = Duration::from_secs(1);
/// How long one may take to which a link has ended: this thread does nothing else meanwhile, and says nothing to the
/// others, whose silence is at least four times as long.
const DIAL_AGAIN_LIMIT: Duration = Duration::from_millis(2500);
/// How long one may take that is to be told of the hub's end: there are others to tell.
const ALERT_LIMIT: Duration = Duration::from_millis(200);
/// How long the last messages of an ending thread may take to be handed to the kernel.
const FLUSH_LIMIT: Duration = Duration::from_millis(100);
/// How long the application may take to say what its call waits for: an engine that drives it looks up within a
/// millisecond, or is woken; one that copies or reduces a large chunk takes a while longer.
const TESTIMONY_LIMIT: Duration = Duration::from_millis(200);
/// How many late ranks a warning names.
const WARNED_OF: usize = 4;
/// How long a rank without a link may take to answer when looked for.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// How many messages of one link are taken in before the others have their turn.
const TURN: usize = 64;

pub(super) struct Watch {
    rank: u32,
    addresses: Vec<Vec<SocketAddr>>,
    hosts: Vec<String>,
    secret: Secret,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    state: State,
    links: BTreeMap<u32, Link>,
    start: Instant,
    silence: Duration,
    wake: Box<dyn Fn() + Send>,
    describe: Describe,
    ailment: Ailment,
    /// Until when the application's statement is waited for.
    testimony_due: Option<Instant>,
    /// Whether ranks are being looked for.
    probing: bool,
    /// A process of this host that this rank watches, and its ranks.
    neighbour: Option<(Watched, Vec<u32>)>,
    lookout: Option<Lookout>,
    over: bool,
}

impl Watch {
    pub(super) fn new(
        world: &World,
        inbox: Arc<Inbox>,
        shared: Arc<Shared>,
        state: State,
        silence: Duration,
        Application { wake, describe, ailment }: Application,
    ) -> Watch {
        Watch {
            rank: world.rank,
            addresses: world.records.iter().map(|record| record.addresses.clone()).collect(),
            hosts: world.records.iter().map(|record| record.host.clone()).collect(),
            secret: world.secret.clone(),
            inbox,
            shared,
            state,
            links: BTreeMap::new(),
            start: Instant::now(),
            silence,
            wake,
            describe,
            ailment,
            testimony_due: None,
            probing: false,
            neighbour: neighbour(world),
            lookout: None,
            over: false,
        }
    }

    /// Adds a link to `peer`.
    pub(super) fn link(&mut self, peer: u32, link: Link) {
        // Without this limit the heartbeat finds the same, later.
        if let Err(error) = link.set_user_timeout(self.silence) {
            tracing::debug!(peer, %error, "the monitor's link has no time limit");
        }
        self.links.insert(peer, link);
        self.feed(Event::Linked(peer));
    }

    /// Takes note that nobody listens any more where `peer` did.
    pub(super) fn found_dead(&mut self, peer: u32) {
        self.feed(Event::Dead(peer));
    }

    fn feed(&mut self, event: Event) {
        self.state.handle(self.start.elapsed(), event);
    }

    /// Watches until this rank leaves.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        self.inbox.on_arrival(Purpose::Monitor, move || shared.bell.ring());
        while !self.over {
            self.shared.bell.quiet();
            self.state.note_pace(self.start.elapsed(), self.shared.pace());
            self.take_requests();
            self.take_testimony();
            self.take_arrivals();
            self.take_messages();
            self.take_exit();
            self.look_out();
            // Only now, with all that was sent heard, may anybody be called silent.
            self.feed(Event::Tick);
            self.act();
            if !self.over
                && let Err(source) = self.sleep()
            {
                self.give_up(&source);
            }
        }
        self.end();
    }

    fn take_requests(&mut self) {
        while let Some(request) = self.shared.next_request() {
            match request {
                Request::Report(report) => self.feed(Event::Reported(report)),
                Request::Dead(peer) => self.feed(Event::Dead(peer)),
                Request::Probed => self.probing = false,
                Request::Watch(lookout) => self.lookout = Some(lookout),
                Request::Retire(sequence) => self.feed(Event::Retiring(sequence)),
                Request::Leave(sequence) => {
                    let calls = self.tags();
                    self.feed(Event::Leaving(sequence, calls));
                }
                Request::Stop => self.over = true,
            }
        }
    }

    fn take_arrivals(&mut self) {
        while let Some(incoming) = self.inbox.try_accept(Purpose::Monitor) {
            match incoming.from {
                Some(peer) if peer != self.rank && self.addresses_of(peer).is_some() => {
                    self.link(peer, incoming.link);
                }
                from => {
                    tracing::warn!(?from, link = ?incoming.link, "a monitor's link from nobody")
                }
            }
        }
    }

    fn take_messages(&mut self) {
        let peers: Vec<u32> = self.links.keys().copied().collect();
        for peer in peers {
            for _ in 0..TURN {
                match self.next_message(peer) {
                    Ok(Some(message)) => self.feed(Event::Heard(peer, message)),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(rank = self.rank, peer, %error, "the monitor's link ended");
                        self.links.remove(&peer);
                        self.feed(Event::Ended(peer));
                        break;
                    }
                }
            }
        }
    }

    /// Takes note that the neighbour's process has ended; after its last words, which are here by then.
    fn take_exit(&mut self) {
        let Some((watched, _)) = &self.neighbour else { return };
        let mut ended = [PollFd::new(watched, PollFlags::IN)];
        if !matches!(poll_until(&mut ended, Some(Instant::now())), Ok(1..)) {
            return;
        }
        let ranks = self.neighbour.take().map(|(_, ranks)| ranks).unwrap_or_default();
        self.take_messages();
        ranks.into_iter().for_each(|rank| self.feed(Event::Exited(rank)));
    }

    /// Looks at the paths of the data, if it is time, until something has failed.
    fn look_out(&mut self) {
        let now = Instant::now();
        let Some(lookout) = self.lookout.as_mut().filter(|lookout| now >= lookout.next) else {
            return;
        };
        lookout.next = now + lookout.every;
        let silent = (lookout.look)(now).filter(|path| self.shared.has_left(path.peer).is_none());
        if silent.is_some() || self.shared.failed() {
            self.lookout = None;
        }
        let Some(DeadPath { peer, detail, guess }) = silent else { return };
        let calls = self.shared.ledger.calls();
        let in_group = !calls.is_under_way() || self.shared.ledger.messages().is_under_way();
        let sequence = calls.started + u64::from(!calls.is_under_way());
        let (culprit, cause, lacks) = (Some(peer), Cause::Silent, Vec::new());
        let report = Report { culprit, cause, detail, sequence, in_group, lacks, guess };
        self.feed(Event::Reported(report));
    }

    fn next_message(&mut self, peer: u32) -> Result<Option<Message>, NetError> {
        let Some(link) = self.links.get_mut(&peer) else { return Ok(None) };
        let Some(bytes) = link.try_recv()? else { return Ok(None) };
        let (host, address) = (link.peer_host().to_owned(), link.peer_addr());
        let message = Message::decode(&bytes).map_err(|error| {
            let what = format!("its monitor sent no message that we know: {error}");
            NetError::Protocol { host, address, what }
        })?;
        Ok(Some(message))
    }

    /// Does all that the state machine asks for.
    fn act(&mut self) {
        while let Some(action) = self.state.action(self.start.elapsed()) {
            match action {
                Action::Send(peer, message) => self.send(peer, &message),
                Action::Dial(peer) => self.dial(peer),
                Action::Alert(peer) => self.alert(peer),
                Action::Close(peer) => {
                    self.links.remove(&peer).map(|mut link| link.flush());
                }
                Action::Fail(report) => {
                    self.shared.keep(&report);
                    (self.wake)();
                }
                Action::Propose(verdict) => {
                    self.shared.propose(verdict);
                    (self.wake)();
                }
                Action::Decide(verdict) => {
                    self.shared.decide(verdict);
                    (self.wake)();
                }
                Action::SpareNone => {
                    self.shared.fail_from(0);
                    (self.wake)();
                }
                Action::Recall => {
                    let calls = self.tags();
                    self.feed(Event::Recalled(calls));
                }
                Action::Testify => self.testify(),
                Action::Examine(asker) => {
                    let ailment = (self.ailment)();
                    self.feed(Event::Examined(asker, ailment));
                }
                Action::Probe(peers) => self.probe(&peers),
                Action::Warn { sequence, waited, late } => self.warn(sequence, waited, &late),
                Action::Left(rank, sequence) => {
                    self.shared.learn(|known| _ = known.left.insert(rank, sequence));
                }
                Action::Done => self.over = true,
            }
        }
    }

    /// Errors of sending are no news: when the link has ended, so does receiving, after all that came before.
    fn send(&mut self, peer: u32, message: &Message) {
        if let Some(link) = self.links.get_mut(&peer)
            && let Err(error) = link.queue(&message.encode()).and_then(|()| link.flush())
        {
            tracing::debug!(peer, %error, "a monitor's message was not sent");
        }
    }

    fn reach(&self, peer: u32, deadline: Instant) -> Result<Link, NetError> {
        let addresses = self.addresses_of(peer).unwrap_or_default();
        let target = Target::Rank(peer);
        let to = Dial::new(addresses, &self.secret, target, Purpose::Monitor, deadline);
        dial(&Dial { from: Some(self.rank), retry: false, ..to })
    }

    fn alert(&mut self, peer: u32) {
        match self.reach(peer, Instant::now() + ALERT_LIMIT) {
            Ok(link) => self.link(peer, link),
            Err(error) => tracing::debug!(rank = self.rank, peer, %error, "not alerted"),
        }
    }

    fn dial(&mut self, peer: u32) {
        let addresses = self.addresses_of(peer).unwrap_or_default().to_vec();
        let limit = if self.state.doubts(peer) { DIAL_AGAIN_LIMIT } else { DIAL_LIMIT };
        let deadline = Instant::now() + limit.min(self.silence / 4);
        match self.reach(peer, deadline) {
            Ok(link) => self.link(peer, link),
            Err(error) => {
                tracing::debug!(rank = self.rank, peer, %error, "a monitor cannot be reached");
                let why = match error {
                    NetError::NoSuchTarget { .. } | NetError::NoSuchWorld { .. } => Unreached::Gone,
                    _ if Instant::now() >= deadline => Unreached::Late,
                    NetError::Unreachable { .. } if is_deserted(&addresses, deadline) => {
                        Unreached::Gone
                    }
                    _ => Unreached::TurnedAway,
                };
                self.feed(Event::Unreachable { peer, why });
            }
        }
    }

    /// Has the application say what its call waits for; who is in no call has nothing to say.
    fn testify(&mut self) {
        if self.testimony_due.is_some() {
            return;
        }
        if !self.shared.is_in_call() || self.shared.failed() {
            return self.testified(None);
        }
        self.testimony_due = Some(Instant::now() + TESTIMONY_LIMIT);
        self.shared.ask();
        (self.wake)();
    }

    fn take_testimony(&mut self) {
        let Some(due) = self.testimony_due else { return };
        let over = Instant::now() >= due || !self.shared.is_in_call();
        match self.shared.take_testimony() {
            None if over => self.testified(None),
            Some(waits) => self.testified(Some(waits)),
            None => {}
        }
    }

    fn testified(&mut self, answer: Option<(Vec<Wait>, u64)>) {
        self.testimony_due = None;
        self.shared.ask_no_longer();
        // Once more, so that the statement and the calls in it are of one time.
        let pace = self.shared.pace();
        self.state.note_pace(self.start.elapsed(), pace);
        let (recent, testified) = (self.recent(), answer.is_some());
        let (waits, more_waits) = answer.unwrap_or_default();
        let messages = self.shared.ledger.recent_messages();
        let messages = messages.iter().map(|mark| (self.describe)(mark)).collect();
        let testimony = Testimony { recent, messages, testified, waits, more_waits };
        self.feed(Event::Testified(testimony));
    }

    fn recent(&self) -> Vec<Signature> {
        self.marks().iter().map(|mark| (self.describe)(mark)).collect()
    }

    fn tags(&self) -> Tags {
        self.marks().iter().map(|mark| (mark.sequence, mark.tag)).collect()
    }

    /// The last calls of the application.
    fn marks(&self) -> Vec<CallMark> {
        let ledger = &self.shared.ledger;
        ledger.recent(ledger.calls().started)
    }

    /// Looks in the background whether those without a link still live: a host that does not answer takes its time.
    fn probe(&mut self, peers: &[u32]) {
        if std::mem::replace(&mut self.probing, true) {
            return;
        }
        let peers: Vec<(u32, Vec<SocketAddr>)> = (peers.iter())
            .filter_map(|&peer| Some((peer, self.addresses_of(peer)?.to_vec())))
            .collect();
        let shared = Arc::clone(&self.shared);
        let looks =
            std::thread::Builder::new().name("crosstie-probe".to_owned()).spawn(move || {
                for (peer, addresses) in peers {
                    if is_deserted(&addresses, Instant::now() + PROBE_LIMIT) {
                        shared.request(Request::Dead(peer));
                    }
                }
                shared.request(Request::Probed);
            });
        // Without a thread the silence finds the same, later; the next probe may have one.
        self.probing = looks.is_ok();
    }

    fn warn(&self, sequence: u64, waited: Duration, late: &[(u32, u64)]) {
        let marks = self.shared.ledger.recent(sequence);
        let own = marks.iter().find(|mark| mark.sequence == sequence);
        let call = own
            .map_or_else(|| format!("call #{sequence}"), |mark| (self.describe)(mark).to_string());
        for (peer, last) in late.iter().take(WARNED_OF) {
            let host = self.hosts.get(*peer as usize).map_or("?", String::as_str);
            tracing::warn!(
                "rank {} has waited {:.0} s in {call} for rank {peer} on host {host}, whose last call was #{last}",
                self.rank,
                waited.as_secs_f64(),
            );
        }
        if let Some(more @ 1..) = late.len().checked_sub(WARNED_OF) {
            tracing::warn!("and for {more} more ranks");
        }
    }

    fn addresses_of(&self, peer: u32) -> Option<&[SocketAddr]> {
        self.addresses.get(usize::try_from(peer).ok()?).map(Vec::as_slice)
    }

    fn sleep(&mut self) -> std::io::Result<()> {
        let tick = self.start + self.state.next_tick();
        let looks = self.lookout.as_ref().map(|lookout| lookout.next);
        let until = self.testimony_due.into_iter().chain(looks).fold(tick, Instant::min);
        let bell: &Bell = &self.shared.bell;
        let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
        fds.extend(self.neighbour.iter().map(|(watched, _)| PollFd::new(watched, PollFlags::IN)));
        fds.extend(self.links.values().map(|link| {
            let out = if link.has_backlog() { PollFlags::OUT } else { PollFlags::empty() };
            PollFd::from_borrowed_fd(link.as_fd(), PollFlags::IN | out)
        }));
        poll_until(&mut fds, Some(until))?;
        drop(fds);
        for link in self.links.values_mut().filter(|link| link.has_backlog()) {
            // Its end shows when it is next read.
            let _ = link.flush();
        }
        Ok(())
    }

    /// This host refuses to let us wait: without a monitor a rank would hang where it should fail.
    fn give_up(&mut self, source: &std::io::Error) {
        tracing::error!(%source, "the monitor cannot sleep on its links");
        let detail = format!("the monitor of rank {} failed: {source}", self.rank);
        let (culprit, sequence) = (Some(self.rank), self.shared.ledger.calls().started);
        let (cause, in_group) = (Cause::Aborted, false);
        let report = Report { culprit, cause, detail, sequence, in_group, ..Report::default() };
        self.feed(Event::Reported(report));
        self.act();
        self.over = true;
    }

    /// Hands the last words to the kernel, which delivers them after we are gone.
    fn end(mut self) {
        self.inbox.refuse(Purpose::Monitor);
        let deadline = Instant::now() + FLUSH_LIMIT;
        for link in self.links.values_mut() {
            while matches!(link.flush(), Ok(false)) {
                let mut writable = [PollFd::from_borrowed_fd(link.as_fd(), PollFlags::OUT)];
                if !matches!(poll_until(&mut writable, Some(deadline)), Ok(1..)) {
                    break;
                }
            }
        }
        self.shared.learn(|known| known.ended = true);
    }
}

/// The process of this host whose end this rank is to notice, and its ranks. Each process watches the next, by its lowest
/// rank: so one file is enough for each, and of any that end one at least is noticed.
fn neighbour(world: &World) -> Option<(Watched, Vec<u32>)> {
    let own = world.records.get(usize::try_from(world.rank).ok()?)?;
    let space = own.process?.space;
    // By their lowest ranks.
    let mut processes: Vec<((u32, ProcessMark), Vec<u32>)> = Vec::new();
    for record in &world.records {
        let Some(mark) = record.process.filter(|mark| mark.space == space) else { continue };
        let process = (record.pid, mark);
        match processes.iter_mut().find(|(known, _)| *known == process) {
            Some((_, ranks)) => ranks.push(record.rank),
            None => processes.push((process, vec![record.rank])),
        }
    }
    let at = processes.iter().position(|(_, ranks)| ranks.first() == Some(&world.rank))?;
    let next = (at + 1) % processes.len();
    let ((pid, mark), ranks) = processes.into_iter().nth(next).filter(|_| next != at)?;
    Some((Watched::open(pid, mark)?, ranks))
}
