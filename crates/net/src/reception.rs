//! Owns the thread behind a listening port: it takes strangers in, and makes links of them or turns them away.
//!
//! Every stranger is a small state machine over a non-blocking socket, with one deadline for its whole handshake;
//! there is room for a bounded number, and the oldest makes room for the newest. So whatever strangers do or fail
//! to do, the thread only ever sleeps in `poll`, and nobody waits for anybody.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use crate::error::NetError;
use crate::flight::{Flight, send_flight};
use crate::handshake::{CONFIRMATION_BYTES, OPENING_BYTES, Reply};
use crate::hello::{Answer, BadHello, HELLO_BYTES, Hello, Outcome, may_be_hello};
use crate::link::Link;
use crate::queue::{Incoming, Queue};
use crate::served::{Served, Shared};
use crate::strangers::Fault;
use crate::version::Version;
use crate::wait::poll_until;

/// How long a stranger has for its handshake: two flights, and time for a few lost packets to be sent again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many strangers may be in their handshake: well below the usual limit of 1024 descriptors a process.
const ROOM: usize = 512;
/// How long to leave the port alone when no descriptor is left and no stranger can give one up.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Reception {
    socket: TcpListener,
    /// Oldest first, and so by deadline.
    strangers: VecDeque<Stranger>,
    paused_until: Option<Instant>,
    shared: Arc<Shared>,
}

struct Stranger {
    stream: TcpStream,
    address: SocketAddr,
    deadline: Instant,
    state: State,
}

/// What a stranger has to do next.
enum State {
    /// Send its first flight.
    Open(Flight<OPENING_BYTES>),
    /// Send its second flight.
    Confirm(Flight<CONFIRMATION_BYTES>, Box<Admitted>),
    /// Read our refusal and close. Were we to close first, unread bytes of its would destroy the refusal on its way.
    Leave,
}

/// A stranger that held the secret, or plays back somebody who did.
struct Admitted {
    hello: Hello,
    reply: Reply,
    queue: Arc<Queue>,
}

/// Which sockets had something to tell after a sleep.
struct Ready {
    accept: bool,
    strangers: Vec<bool>,
}

impl Reception {
    pub(crate) fn new(socket: TcpListener, shared: Arc<Shared>) -> Reception {
        Reception { socket, strangers: VecDeque::new(), paused_until: None, shared }
    }

    /// Serves the port until the listener says stop.
    pub(crate) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            match self.sleep() {
                Ok(ready) => {
                    self.advance(&ready.strangers);
                    if ready.accept {
                        self.accept_all();
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the listening thread cannot sleep");
                    return;
                }
            }
            self.drop_late();
        }
    }

    fn sleep(&mut self) -> io::Result<Ready> {
        self.paused_until = self.paused_until.filter(|until| *until > Instant::now());
        let first_deadline = self.strangers.front().map(|stranger| stranger.deadline);
        let deadline = self.paused_until.into_iter().chain(first_deadline).min();
        let accept = if self.paused_until.is_none() { PollFlags::IN } else { PollFlags::empty() };
        let mut fds =
            vec![PollFd::new(&self.shared.bell, PollFlags::IN), PollFd::new(&self.socket, accept)];
        let streams = self.strangers.iter().map(|stranger| stranger.stream.as_fd());
        fds.extend(streams.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        poll_until(&mut fds, deadline)?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty()).skip(1);
        Ok(Ready { accept: ready.next().unwrap_or(false), strangers: ready.collect() })
    }

    fn accept_all(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            match acceptfrom_with(&self.socket, flags) {
                Ok((fd, address)) => {
                    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
                    if let Some(address) = address {
                        self.take_in(TcpStream::from(fd), canonical(address));
                    }
                }
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    if !self.drop_oldest() {
                        self.paused_until = Some(Instant::now() + PAUSE);
                    }
                    return;
                }
                // That one gave up before we came to it.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                // None is left; or an error of the network, which concerns one connection only.
                Err(_) => return,
            }
        }
    }

    fn take_in(&mut self, stream: TcpStream, address: SocketAddr) {
        if self.strangers.len() >= ROOM {
            self.drop_oldest();
        }
        let state = State::Open(Flight::new());
        let deadline = Instant::now() + PATIENCE;
        self.strangers.push_back(Stranger { stream, address, deadline, state });
    }

    fn drop_late(&mut self) {
        let now = Instant::now();
        while self.strangers.front().is_some_and(|stranger| stranger.deadline <= now) {
            self.drop_oldest();
        }
    }

    /// False when there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.strangers.pop_front() else { return false };
        if !matches!(oldest.state, State::Leave) {
            self.shared.count(oldest.address, Fault::Silent);
        }
        true
    }

    /// Lets every stranger go on whose socket is ready.
    fn advance(&mut self, ready: &[bool]) {
        let strangers = std::mem::take(&mut self.strangers);
        self.strangers = (strangers.into_iter().zip(ready))
            .filter_map(
                |(stranger, ready)| if *ready { self.step(stranger) } else { Some(stranger) },
            )
            .collect();
    }

    /// The stranger, unless it became a link or is gone.
    fn step(&self, stranger: Stranger) -> Option<Stranger> {
        let Stranger { stream, address, deadline, state } = stranger;
        let state = match state {
            State::Open(flight) => self.open(&stream, address, flight)?,
            State::Confirm(mut flight, admitted) => {
                // A dialler that races several of our addresses drops all but one here: no fault.
                flight.receive(&stream).ok()?;
                if flight.is_whole() {
                    self.hand_on(stream, address, *admitted, &flight.bytes);
                    return None;
                }
                State::Confirm(flight, admitted)
            }
            State::Leave => match (&stream).read(&mut [0; 512]) {
                Ok(read) if read > 0 => State::Leave,
                Err(error) if error.kind() == ErrorKind::WouldBlock => State::Leave,
                _ => return None,
            },
        };
        Some(Stranger { stream, address, deadline, state })
    }

    fn open(
        &self,
        stream: &TcpStream,
        address: SocketAddr,
        mut flight: Flight<OPENING_BYTES>,
    ) -> Option<State> {
        let received = flight.receive(stream);
        if received.is_err() || !may_be_hello(&flight.bytes[..flight.filled.min(8)]) {
            self.shared.count(address, Fault::Garbage);
            return None;
        }
        let Some(head) = flight.bytes[..flight.filled].first_chunk::<HELLO_BYTES>() else {
            return Some(State::Open(flight));
        };
        match Hello::decode(head) {
            // Another version's first flight may be shorter than ours: its hello is all we need.
            Err(bad) => self.refuse_bad(stream, address, bad),
            Ok(_) if !flight.is_whole() => Some(State::Open(flight)),
            Ok(hello) => self.judge(stream, address, hello, &flight.bytes),
        }
    }

    fn refuse_bad(&self, stream: &TcpStream, address: SocketAddr, bad: BadHello) -> Option<State> {
        let BadHello::Version { theirs, host, world, target } = bad else {
            self.shared.count(address, Fault::Garbage);
            return None;
        };
        self.shared.count(address, Fault::WrongVersion(theirs));
        if let Some(Ok(served)) = target.map(|target| self.shared.find(world, target)) {
            served.queue.report(NetError::Version {
                ours: Version::OURS,
                our_host: self.shared.host.clone(),
                theirs,
                their_host: host,
            });
        }
        self.refuse(stream, Outcome::WrongVersion)
    }

    /// Answers a whole first flight.
    fn judge(
        &self,
        stream: &TcpStream,
        address: SocketAddr,
        hello: Hello,
        opening: &[u8; OPENING_BYTES],
    ) -> Option<State> {
        let Served { secret, queue } = match self.shared.find(hello.world, hello.target) {
            Ok(served) => served,
            Err(outcome) => {
                if outcome != Outcome::NoSuchTarget {
                    self.shared.count(address, Fault::WrongSecret);
                }
                return self.refuse(stream, outcome);
            }
        };
        match Reply::new(&secret, opening, &self.answer(Outcome::Welcome)) {
            Ok(Some(reply)) => {
                send_flight(stream, &reply.bytes).ok()?;
                let admitted = Admitted { hello, reply, queue };
                Some(State::Confirm(Flight::new(), Box::new(admitted)))
            }
            Ok(None) => {
                self.shared.count(address, Fault::WrongSecret);
                self.refuse(stream, Outcome::WrongSecret)
            }
            Err(error) => {
                tracing::error!(%error, "cannot answer a dialler");
                None
            }
        }
    }

    fn refuse(&self, stream: &TcpStream, outcome: Outcome) -> Option<State> {
        send_flight(stream, &self.answer(outcome).encode()).ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        Some(State::Leave)
    }

    fn answer(&self, outcome: Outcome) -> Answer {
        Answer { version: Version::OURS, outcome, host: self.shared.host.clone() }
    }

    fn hand_on(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        admitted: Admitted,
        confirmation: &[u8; CONFIRMATION_BYTES],
    ) {
        let Admitted { hello, reply, queue } = admitted;
        let Some(noise) = reply.finish(confirmation) else {
            return self.shared.count(address, Fault::WrongSecret);
        };
        let Hello { purpose, from, label, host, .. } = hello;
        match Link::new(stream, noise, host.clone(), address) {
            Ok(link) => queue.deliver(purpose, Incoming { from, label, peer_host: host, link }),
            Err(error) => tracing::debug!(%error, "a link ended as it began"),
        }
    }
}

/// An IPv4 peer of a socket for both families, as the IPv4 address that people know.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(_) => SocketAddr::new(address.ip().to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    }
}
