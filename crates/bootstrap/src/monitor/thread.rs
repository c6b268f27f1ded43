//! Owns the monitor's thread: feeds its state machine with links, messages and time, and does what it says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_net::{Bell, Dial, Inbox, Link, NetError, Purpose, Secret, Target, dial, poll_until};
use rustix::event::{PollFd, PollFlags};

use super::message::{Cause, Message, Report};
use super::shared::{Request, Shared};
use super::state::{Action, Event, State};
use crate::World;

/// How long the next hub may take to answer: then the one after it is tried.
const DIAL_LIMIT: Duration = Duration::from_secs(1);
/// How long the last messages of an ending thread may take to be handed to the kernel.
const FLUSH_LIMIT: Duration = Duration::from_millis(100);
/// How many messages of one link are taken in before the others have their turn.
const TURN: usize = 64;

pub(super) struct Watch {
    rank: u32,
    addresses: Vec<Vec<SocketAddr>>,
    secret: Secret,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    state: State,
    links: BTreeMap<u32, Link>,
    start: Instant,
    silence: Duration,
    wake: Box<dyn Fn() + Send>,
    over: bool,
}

impl Watch {
    pub(super) fn new(
        world: &World,
        inbox: Arc<Inbox>,
        shared: Arc<Shared>,
        state: State,
        silence: Duration,
        wake: Box<dyn Fn() + Send>,
    ) -> Watch {
        Watch {
            rank: world.rank,
            addresses: world.records.iter().map(|record| record.addresses.clone()).collect(),
            secret: world.secret.clone(),
            inbox,
            shared,
            state,
            links: BTreeMap::new(),
            start: Instant::now(),
            silence,
            wake,
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

    fn feed(&mut self, event: Event) {
        self.state.handle(self.start.elapsed(), event);
    }

    /// Watches until this rank leaves.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        self.inbox.on_arrival(Purpose::Monitor, move || shared.bell.ring());
        while !self.over {
            self.shared.bell.quiet();
            self.state.note_calls(self.shared.calls());
            self.take_requests();
            self.take_arrivals();
            self.take_messages();
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
                Request::Leave(sequence) => self.feed(Event::Leaving(sequence)),
                Request::Stop => self.over = true,
            }
        }
    }

    fn take_arrivals(&mut self) {
        while let Some(incoming) = self.inbox.try_accept(Purpose::Monitor) {
            match incoming.from {
                Some(peer) if peer > self.rank && self.addresses_of(peer).is_some() => {
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
                        tracing::debug!(peer, %error, "the monitor's link ended");
                        self.links.remove(&peer);
                        self.feed(Event::Ended(peer));
                        break;
                    }
                }
            }
        }
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
                Action::Close(peer) => {
                    self.links.remove(&peer).map(|mut link| link.flush());
                }
                Action::Fail(report) => {
                    self.shared.keep(&report);
                    (self.wake)();
                }
                Action::Decide(verdict) => {
                    self.shared.decide(verdict);
                    (self.wake)();
                }
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

    fn dial(&mut self, peer: u32) {
        let addresses = self.addresses_of(peer).unwrap_or_default().to_vec();
        let deadline = Instant::now() + DIAL_LIMIT;
        let target = Target::Rank(peer);
        let to = Dial::new(&addresses, &self.secret, target, Purpose::Monitor, deadline);
        match dial(&Dial { from: Some(self.rank), retry: false, ..to }) {
            Ok(link) => self.link(peer, link),
            Err(error) => {
                tracing::debug!(peer, %error, "the next monitor cannot be reached");
                self.feed(Event::Unreachable(peer));
            }
        }
    }

    fn addresses_of(&self, peer: u32) -> Option<&[SocketAddr]> {
        self.addresses.get(usize::try_from(peer).ok()?).map(Vec::as_slice)
    }

    fn sleep(&mut self) -> std::io::Result<()> {
        let until = self.start + self.state.next_tick();
        let bell: &Bell = &self.shared.bell;
        let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
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
        let (culprit, sequence) = (Some(self.rank), self.shared.calls().started);
        self.feed(Event::Reported(Report { culprit, cause: Cause::Aborted, detail, sequence }));
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
