//! Owns reaching another process: races its addresses, tries again while it may not be up yet, and says why not.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::sockopt;
use snow::TransportState;

use crate::error::NetError;
use crate::flight::{Flight, send_flight};
use crate::handshake::{CONFIRMATION_BYTES, Opening, PROOF_BYTES};
use crate::hello::{ANSWER_BYTES, Answer, Hello, Outcome, Purpose, Target};
use crate::interfaces::host_name;
use crate::link::Link;
use crate::listener::stream_socket;
use crate::secret::Secret;
use crate::version::Version;
use crate::wait::{Interrupted, poll_until};

/// How long an address has before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(50);
/// How long one attempt may take: what a listener grants a handshake.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The first and the longest pause between two rounds over the addresses.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// How long the kernel may say that no route leads to any address before that counts: routes may be about to come.
const NO_ROUTE: Duration = Duration::from_secs(1);

/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Whom to reach, as whom, and how long to try.
#[derive(Clone, Debug)]
pub struct Dial<'a> {
    /// The peer's candidate addresses, best first.
    pub addresses: &'a [SocketAddr],
    /// The world's secret.
    pub secret: &'a Secret,
    /// Whom the link is for.
    pub target: Target,
    /// What it is for.
    pub purpose: Purpose,
    /// The rank that dials, if it knows its rank.
    pub from: Option<u32>,
    /// A number whose meaning is the purpose's own: a wire, a channel.
    pub label: u64,
    /// When to give up.
    pub deadline: Instant,
    /// The local address to dial from: its interface carries the link.
    pub source: Option<IpAddr>,
    /// Whether to try again until the deadline when nobody answers or serves the target: the peer may not be up yet.
    /// Without it, one round over the addresses decides.
    pub retry: bool,
    /// Where the peer is known to listen: how long the network may swallow what is sent to all of its addresses, or
    /// have no route there, before that ends the tries. Without it, only the deadline does.
    pub patience: Option<Duration>,
}

impl<'a> Dial<'a> {
    /// Dials from any address, without a rank, with label 0, again and again until the deadline.
    pub fn new(
        addresses: &'a [SocketAddr],
        secret: &'a Secret,
        target: Target,
        purpose: Purpose,
        deadline: Instant,
    ) -> Dial<'a> {
        let (from, label, source, retry, patience) = (None, 0, None, true, None);
        Dial { addresses, secret, target, purpose, from, label, deadline, source, retry, patience }
    }
}

/// Reaches a listener that serves the target; the first address on which both ends proved the secret wins.
///
/// Returns before the deadline with an error that no waiting mends: another protocol version, another secret.
pub fn dial(dial: &Dial<'_>) -> Result<Link, NetError> {
    dial_unless(dial, &|| false)
}

/// As [`dial`], but gives up within about 50 ms once `interrupted` says so: with [`NetError::Interrupted`].
pub fn dial_unless(dial: &Dial<'_>, interrupted: Interrupted<'_>) -> Result<Link, NetError> {
    let started = Instant::now();
    let (mut pause, longest) = PAUSE;
    loop {
        let failures = match Round::new(dial, interrupted).run()? {
            Ok(link) => return Ok(link),
            Err(failures) => failures,
        };
        let over = Instant::now() + pause >= dial.deadline;
        match verdict(failures, dial, started.elapsed(), over || !dial.retry) {
            Some(error) => return Err(error),
            None => rest(pause, started, interrupted)?,
        }
        pause = (pause * 2).min(longest);
    }
}

/// Sleeps for `pause`, unless interrupted.
fn rest(pause: Duration, started: Instant, interrupted: Interrupted<'_>) -> Result<(), NetError> {
    let until = Instant::now() + pause;
    loop {
        if interrupted() {
            return Err(NetError::Interrupted { waited: started.elapsed() });
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// Why an address was of no use.
enum Failure {
    /// No route leads there.
    NoRoute(Errno),
    /// Nothing came back.
    NoAnswer,
    /// Nobody answered there as one of ours.
    Network(String),
    /// The process there turned us away.
    Refused { outcome: Outcome, version: Version, host: String },
}

type Failures = Vec<(SocketAddr, Failure)>;

/// The error that a round's failures amount to; `None` when another round may help.
fn verdict(failures: Failures, dial: &Dial<'_>, waited: Duration, last: bool) -> Option<NetError> {
    let all_local = dial.addresses.iter().all(|address| address.ip().is_loopback());
    // A foreign host's loopback addresses lead to our own host, and so to anybody: what they say is not the peer's word.
    let counts = |address: &SocketAddr| all_local || !address.ip().is_loopback();
    let of = |wanted: Outcome| {
        failures.iter().find_map(|(address, failure)| match failure {
            Failure::Refused { outcome, version, host }
                if *outcome == wanted && counts(address) =>
            {
                Some((*address, *version, host.clone()))
            }
            _ => None,
        })
    };
    if let Some((_, theirs, their_host)) = of(Outcome::WrongVersion) {
        let (ours, our_host) = (Version::OURS, host_name());
        return Some(NetError::Version { ours, our_host, theirs, their_host });
    }
    if let Some((address, _, host)) = of(Outcome::WrongSecret) {
        return Some(NetError::WrongSecret { host, address });
    }
    if let Some(patience) = dial.patience
        && is_cut_off(failures.iter().filter(|(address, _)| counts(address)), waited, patience)
    {
        return Some(NetError::NoWay { attempts: describe(&failures), waited });
    }
    if !last {
        return None;
    }
    if let Some((address, _, host)) = of(Outcome::NoSuchTarget) {
        let target = dial.target.to_string();
        return Some(NetError::NoSuchTarget { target, host, address, waited });
    }
    if let Some((address, _, host)) = of(Outcome::NoSuchWorld) {
        return Some(NetError::NoSuchWorld { host, address, waited });
    }
    Some(NetError::Unreachable { attempts: describe(&failures), waited })
}

/// Whether the network itself keeps every address from us, and has for long enough.
fn is_cut_off<'a>(
    mut failures: impl Iterator<Item = &'a (SocketAddr, Failure)> + Clone,
    waited: Duration,
    patience: Duration,
) -> bool {
    let is = |failure: &Failure, silent: bool| match failure {
        Failure::NoRoute(_) => true,
        Failure::NoAnswer => silent,
        Failure::Network(_) | Failure::Refused { .. } => false,
    };
    let all = |silent| failures.clone().all(|(_, failure)| is(failure, silent));
    let limit = if all(false) { NO_ROUTE.min(patience) } else { patience };
    let is_cut_off = all(true) && waited >= limit;
    is_cut_off && failures.next().is_some()
}

fn describe(failures: &Failures) -> String {
    let mut text = String::new();
    for (address, failure) in failures {
        let separator = if text.is_empty() { "" } else { "; " };
        let reason = match failure {
            Failure::NoRoute(errno) => errno.to_string(),
            Failure::NoAnswer => "no answer".to_owned(),
            Failure::Network(reason) => reason.clone(),
            Failure::Refused { host, .. } => format!("another process answers, on {host}"),
        };
        let _ = write!(text, "{separator}{address}: {reason}");
    }
    if text.is_empty() { "the peer has no address".to_owned() } else { text }
}

/// One attempt at one address.
struct Attempt {
    stream: TcpStream,
    address: SocketAddr,
    opening: Box<Opening>,
    deadline: Instant,
    state: State,
}

enum State {
    Connecting,
    Answer(Flight<ANSWER_BYTES>),
    /// The answer is kept as it came, too: the proof covers its bytes.
    Proof(Flight<PROOF_BYTES>, [u8; ANSWER_BYTES], Answer),
}

/// What an attempt has come to.
enum Step {
    Going(Attempt),
    Link(Link),
    Failed(SocketAddr, Failure),
}

/// One race over all addresses.
struct Round<'a> {
    dial: &'a Dial<'a>,
    interrupted: Interrupted<'a>,
    began: Instant,
    waiting: std::slice::Iter<'a, SocketAddr>,
    /// When the next address joins the race.
    next_start: Instant,
    running: Vec<Attempt>,
    failures: Failures,
}

impl<'a> Round<'a> {
    fn new(dial: &'a Dial<'a>, interrupted: Interrupted<'a>) -> Round<'a> {
        Round {
            dial,
            interrupted,
            began: Instant::now(),
            waiting: dial.addresses.iter(),
            next_start: Instant::now(),
            running: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Result<Link, Failures>, NetError> {
        loop {
            self.start_due()?;
            if self.running.is_empty() && self.waiting.as_slice().is_empty() {
                return Ok(Err(self.failures));
            }
            let ready = self.sleep()?;
            if (self.interrupted)() {
                return Err(NetError::Interrupted { waited: self.began.elapsed() });
            }
            let now = Instant::now();
            for (attempt, ready) in std::mem::take(&mut self.running).into_iter().zip(ready) {
                let step = match attempt {
                    attempt if ready => attempt.advance(),
                    attempt if attempt.deadline <= now => attempt.late(),
                    attempt => Step::Going(attempt),
                };
                match step {
                    Step::Going(attempt) => self.running.push(attempt),
                    Step::Link(link) => return Ok(Ok(link)),
                    Step::Failed(address, failure) => self.failed(address, failure),
                }
            }
        }
    }

    /// Starts the addresses whose turn has come: one each [`STAGGER`], or as soon as none is running.
    fn start_due(&mut self) -> Result<(), NetError> {
        while self.running.is_empty() || self.next_start <= Instant::now() {
            let Some(&address) = self.waiting.next() else { break };
            match start(self.dial, address)? {
                Ok(attempt) => {
                    self.running.push(attempt);
                    self.next_start = Instant::now() + STAGGER;
                }
                Err(failure) => self.failed(address, failure),
            }
        }
        Ok(())
    }

    fn failed(&mut self, address: SocketAddr, failure: Failure) {
        self.failures.push((address, failure));
        self.next_start = Instant::now();
    }

    fn sleep(&self) -> Result<Vec<bool>, NetError> {
        let joins = (!self.waiting.as_slice().is_empty()).then_some(self.next_start);
        let look = Instant::now() + LOOK;
        let deadlines = self.running.iter().map(|attempt| attempt.deadline);
        let deadline = deadlines.chain(joins).fold(look, Instant::min);
        let mut fds: Vec<PollFd<'_>> = self
            .running
            .iter()
            .map(|attempt| match attempt.state {
                State::Connecting => PollFd::new(&attempt.stream, PollFlags::OUT),
                _ => PollFd::new(&attempt.stream, PollFlags::IN),
            })
            .collect();
        poll_until(&mut fds, Some(deadline))
            .map_err(|source| NetError::System { call: "poll".to_owned(), source })?;
        Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
    }
}

fn start(dial: &Dial<'_>, address: SocketAddr) -> Result<Result<Attempt, Failure>, NetError> {
    let hello = Hello {
        version: Version::OURS,
        world: dial.secret.world_id(),
        target: dial.target,
        purpose: dial.purpose,
        from: dial.from,
        label: dial.label,
        host: host_name(),
    };
    let opening = Box::new(Opening::new(dial.secret, &hello)?);
    let longest = dial.patience.map_or(ATTEMPT, |patience| patience.min(ATTEMPT));
    let deadline = dial.deadline.min(Instant::now() + longest);
    let state = State::Connecting;
    let connecting = connect(address, dial.source);
    Ok(connecting.map(|stream| Attempt { stream, address, opening, deadline, state }))
}

fn connect(address: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, Failure> {
    let socket = stream_socket(address.ip()).map_err(of_network)?;
    if let Some(source) = source {
        if source.is_ipv4() != address.is_ipv4() {
            let reason = format!("of another family than our address {source}");
            return Err(Failure::Network(reason));
        }
        let bound = rustix::net::bind(&socket, &SocketAddr::new(source, 0));
        let refused = |errno| Failure::Network(format!("cannot dial from {source}: {errno}"));
        bound.map_err(refused)?;
    }
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(of_network(errno)),
    }
}

/// Why a connection was not made, as the kernel says.
fn of_network(errno: Errno) -> Failure {
    match errno {
        Errno::HOSTUNREACH | Errno::NETUNREACH => Failure::NoRoute(errno),
        Errno::TIMEDOUT => Failure::NoAnswer,
        errno => Failure::Network(errno.to_string()),
    }
}

impl Attempt {
    fn late(self) -> Step {
        let failure = match self.state {
            State::Connecting => Failure::NoAnswer,
            _ => Failure::Network("connected, but its handshake did not finish in time".to_owned()),
        };
        Step::Failed(self.address, failure)
    }

    fn advance(self) -> Step {
        let Attempt { stream, address, opening, deadline, state } = self;
        let step = match state {
            State::Connecting => connected(&stream, &opening),
            State::Answer(flight) => answered(&stream, flight),
            State::Proof(mut flight, head, answer) => match flight.receive(&stream) {
                Ok(()) if flight.is_whole() => {
                    let keys = opening.finish(&head, &flight.bytes);
                    return proved(stream, address, keys, answer);
                }
                Ok(()) => Ok(State::Proof(flight, head, answer)),
                Err(error) => Err(Failure::Network(format!("it hung up: {error}"))),
            },
        };
        match step {
            Ok(state) => Step::Going(Attempt { stream, address, opening, deadline, state }),
            Err(failure) => Step::Failed(address, failure),
        }
    }
}

/// The connection is made, or failed: sends the first flight.
fn connected(stream: &TcpStream, opening: &Opening) -> Result<State, Failure> {
    let network = |reason: String| Failure::Network(reason);
    match sockopt::socket_error(stream) {
        Ok(Ok(())) => {}
        Ok(Err(errno)) | Err(errno) => return Err(of_network(errno)),
    }
    // Dialling a free port of this host can meet itself: the kernel may choose that very port to dial from.
    let (own, peer) = (stream.local_addr(), stream.peer_addr());
    if own.is_ok() && own.ok() == peer.ok() {
        return Err(network("nobody listens there".to_owned()));
    }
    send_flight(stream, &opening.bytes).map_err(|error| network(error.to_string()))?;
    Ok(State::Answer(Flight::new()))
}

fn answered(stream: &TcpStream, mut flight: Flight<ANSWER_BYTES>) -> Result<State, Failure> {
    flight
        .receive(stream)
        .map_err(|error| Failure::Network(format!("it hung up on our hello: {error}")))?;
    if !flight.is_whole() {
        return Ok(State::Answer(flight));
    }
    let answer = Answer::decode(&flight.bytes)
        .ok_or_else(|| Failure::Network("a program that is not crosstie answers".to_owned()))?;
    match answer.outcome {
        Outcome::Welcome => Ok(State::Proof(Flight::new(), flight.bytes, answer)),
        outcome => {
            let Answer { version, host, .. } = answer;
            Err(Failure::Refused { outcome, version, host })
        }
    }
}

/// The listener proved the secret, if there are keys: sends our proof, and has the link.
fn proved(
    stream: TcpStream,
    address: SocketAddr,
    keys: Option<(TransportState, [u8; CONFIRMATION_BYTES])>,
    answer: Answer,
) -> Step {
    let Some((noise, confirmation)) = keys else {
        let Answer { version, host, .. } = answer;
        let outcome = Outcome::WrongSecret;
        return Step::Failed(address, Failure::Refused { outcome, version, host });
    };
    let sent = send_flight(&stream, &confirmation).map_err(|error| error.to_string());
    let link = sent.and_then(|()| {
        Link::new(stream, noise, answer.host, address).map_err(|error| error.to_string())
    });
    match link {
        Ok(link) => Step::Link(link),
        Err(reason) => Step::Failed(address, Failure::Network(reason)),
    }
}
