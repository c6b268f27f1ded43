//! Owns how the ranks of a host meet: all come to the lowest one's abstract Unix socket, give it their
//! descriptors, and get everyone else's.
//!
//! The socket is named by a hash that only the world's members can compute; both sides check that
//! the other process belongs to the same user, and the comer proves the secret by a token. Strangers
//! are dropped and delay nobody, for the leader never waits for one of them alone.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use crosstie_net::{Interrupted, poll_until};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

use super::message::{Answer, Hello, RANKS_PER_ANSWER, Terms, by_rank, receive, send};
use super::{Node, Shared, ShmOptions, system};
use crate::TransportError;

/// How long to wait before trying again what only time can change.
const PAUSE: Duration = Duration::from_millis(2);

/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// How long after its deadline a rank waits for the leader to name who did not come.
const GRACE: Duration = Duration::from_millis(500);

/// Connections that have not said hello yet, beyond one per rank; the oldest is dropped first.
const STRANGERS: usize = 64;

type Exchanged = BTreeMap<u32, Shared<OwnedFd>>;

/// Gives `own` to all other ranks of the host; theirs, by rank.
pub(super) fn exchange(
    options: &ShmOptions,
    node: &Node,
    own: Shared<BorrowedFd<'_>>,
    interrupted: Interrupted<'_>,
) -> Result<Exchanged, TransportError> {
    if node.ranks.len() == 1 {
        return Ok(Exchanged::new());
    }
    let meeting = Meeting::new(options, node, interrupted);
    if node.rank == node.leader() { meeting.lead(own) } else { meeting.come(own) }
}

struct Meeting<'a> {
    node: &'a Node,
    place: String,
    hello: Hello,
    began: Instant,
    deadline: Instant,
    interrupted: Interrupted<'a>,
}

impl<'a> Meeting<'a> {
    fn new(options: &ShmOptions, node: &'a Node, interrupted: Interrupted<'a>) -> Self {
        let name = options.secret.derive(&format!("shared memory, leader {}", node.leader()));
        let terms = Terms {
            ranks: node.ranks.len() as u32,
            channels: u32::from(options.channels),
            slots: options.limits.slots,
            slot_bytes: options.limits.slot_bytes as u64,
        };
        let token = name.derive("token").world_id().0;
        Self {
            node,
            place: format!("crosstie-shm-{:016x}", name.world_id().0),
            hello: Hello { token, rank: node.rank, terms },
            began: Instant::now(),
            deadline: options.deadline,
            interrupted,
        }
    }

    fn address(&self) -> Result<SocketAddrUnix, TransportError> {
        SocketAddrUnix::new_abstract_name(self.place.as_bytes())
            .map_err(|source| system("naming the socket of a host's ranks", source.into()))
    }

    fn waited_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn verdict_deadline(&self) -> Instant {
        self.deadline.checked_add(GRACE).unwrap_or(self.deadline)
    }

    /// Why this rank waits for `peer` no longer.
    fn missing(&self, peer: u32) -> TransportError {
        let waited_ms = self.waited_ms();
        if (self.interrupted)() {
            return TransportError::Interrupted { waited_ms };
        }
        TransportError::ConnectDeadline { peer, waited_ms }
    }

    /// Tries until it succeeds or fails for good; `None` at the deadline and when interrupted.
    fn until<T>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut() -> rustix::io::Result<T>,
    ) -> rustix::io::Result<Option<T>> {
        loop {
            match attempt() {
                Ok(done) => return Ok(Some(done)),
                // The peer does not listen yet, has no place in its queue, or this user has as many
                // descriptors in flight as the kernel lets it: all pass.
                Err(Errno::CONNREFUSED | Errno::AGAIN | Errno::TOOMANYREFS | Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline || (self.interrupted)() {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Waits until one of `fds` can be read; `false` at the deadline and when interrupted.
    fn readable(&self, fds: &[BorrowedFd<'_>], deadline: Instant) -> io::Result<bool> {
        let mut fds: Vec<_> =
            fds.iter().map(|&fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // The deadline counts also where strangers keep a socket readable.
        while Instant::now() < deadline && !(self.interrupted)() {
            let look = deadline.min(Instant::now() + LOOK);
            if poll_until(&mut fds, Some(look))? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Coming to the leader.
impl Meeting<'_> {
    fn come(&self, own: Shared<BorrowedFd<'_>>) -> Result<Exchanged, TransportError> {
        let socket = self.reach()?;
        let leader = self.node.leader();
        self.until(self.deadline, || send(&socket, &self.hello.encode(), &own))
            .map_err(|source| self.lost(source.into()))?
            .ok_or_else(|| self.missing(leader))?;
        let mut all = Exchanged::new();
        loop {
            if !self
                .readable(&[socket.as_fd()], self.verdict_deadline())
                .map_err(|source| system("waiting for the host's leader", source))?
            {
                return Err(self.missing(leader));
            }
            let (bytes, fds) = receive(&socket).map_err(|source| self.lost(source))?;
            if bytes.is_empty() {
                return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
            }
            if self.take_answer(&bytes, fds, &mut all)? {
                break;
            }
        }
        if self.node.others().eq(all.keys().copied()) {
            return Ok(all);
        }
        Err(self.misbehaved(format!("it sent the memory of ranks {:?}", all.keys())))
    }

    /// Connects to the leader, who may not have come yet.
    fn reach(&self) -> Result<OwnedFd, TransportError> {
        let leader = self.node.leader();
        let address = self.address()?;
        let connect = || {
            let socket = new_socket()?;
            rustix::net::connect(&socket, &address).map(|()| socket)
        };
        let socket = self
            .until(self.deadline, connect)
            .map_err(|source| system("connecting to the host's leader", source.into()))?
            .ok_or_else(|| self.missing(leader))?;
        match stranger(&socket) {
            Ok(None) => Ok(socket),
            Ok(Some(uid)) => {
                Err(self.misbehaved(format!("its socket belongs to a process of user {uid}")))
            }
            Err(source) => Err(system("asking who listens as the host's leader", source)),
        }
    }

    /// Takes in one answer; whether it was the last.
    fn take_answer(
        &self,
        bytes: &[u8],
        fds: Vec<OwnedFd>,
        all: &mut Exchanged,
    ) -> Result<bool, TransportError> {
        match Answer::decode(bytes) {
            Some(Answer::Missing { rank, waited_ms }) => {
                Err(TransportError::ConnectDeadline { peer: rank, waited_ms })
            }
            Some(Answer::Differs { rank, what }) => {
                Err(TransportError::PeerMisbehaved { peer: rank, what })
            }
            Some(Answer::Interrupted) => {
                Err(TransportError::Interrupted { waited_ms: self.waited_ms() })
            }
            Some(Answer::Ranks { ranks, more }) => {
                let shared = by_rank(fds, ranks.len())
                    .ok_or_else(|| self.misbehaved("its descriptors are incomplete".to_owned()))?;
                all.extend(ranks.into_iter().zip(shared));
                Ok(!more)
            }
            None => Err(self.misbehaved("its answer makes no sense".to_owned())),
        }
    }

    fn misbehaved(&self, what: String) -> TransportError {
        TransportError::PeerMisbehaved { peer: self.node.leader(), what }
    }

    fn lost(&self, source: io::Error) -> TransportError {
        let doing = "exchanging shared memory with the lowest rank of this host";
        TransportError::PeerGone { peer: self.node.leader(), doing, source: Some(source) }
    }
}

/// A rank that has come to the leader.
struct Member {
    socket: OwnedFd,
    shared: Shared<OwnedFd>,
}

/// Leading.
impl Meeting<'_> {
    fn lead(&self, own: Shared<BorrowedFd<'_>>) -> Result<Exchanged, TransportError> {
        let mut members = BTreeMap::new();
        if let Err(error) = self.gather(&mut members) {
            self.refuse(&members, &error);
            return Err(error);
        }
        for (&rank, member) in &members {
            let others = members.iter().filter(|&(&other, _)| other != rank);
            let others = others.map(|(&other, m)| (other, m.shared.each_ref().map(AsFd::as_fd)));
            let all = std::iter::once((self.node.rank, own)).chain(others).collect::<Vec<_>>();
            self.answer(rank, member, &all)?;
        }
        Ok(members.into_iter().map(|(rank, member)| (rank, member.shared)).collect())
    }

    /// Waits until all others have come.
    fn gather(&self, members: &mut BTreeMap<u32, Member>) -> Result<(), TransportError> {
        let listener = self.listen()?;
        let mut pending: Vec<OwnedFd> = Vec::new();
        while members.len() + 1 < self.node.ranks.len() {
            let fds: Vec<_> = [&listener].into_iter().chain(&pending).map(AsFd::as_fd).collect();
            let came = self.readable(&fds, self.deadline);
            if !came.map_err(|e| system("waiting for local ranks", e))? {
                let missing = self.node.others().find(|rank| !members.contains_key(rank));
                return missing.map_or(Ok(()), |rank| Err(self.missing(rank)));
            }
            self.accept(&listener, &mut pending)?;
            let excess = pending.len().saturating_sub(self.node.ranks.len() + STRANGERS);
            pending.drain(..excess);
            for socket in std::mem::take(&mut pending) {
                match receive(&socket) {
                    Ok((bytes, fds)) => self.welcome(socket, &bytes, fds, members)?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => pending.push(socket),
                    Err(error) => {
                        tracing::warn!(%error, "dropped a stranger at the local meeting")
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes in all who have come. A host that has no descriptor left for them is an error: their
    /// sockets would stay readable for ever.
    fn accept(&self, listener: &OwnedFd, pending: &mut Vec<OwnedFd>) -> Result<(), TransportError> {
        loop {
            match accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(socket) if matches!(stranger(&socket), Ok(None)) => pending.push(socket),
                Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(system("accepting a local rank", error.into())),
            }
        }
    }

    fn listen(&self) -> Result<OwnedFd, TransportError> {
        let refused = |source: Errno| {
            system(&format!("listening at the abstract socket {}", self.place), source.into())
        };
        let address = self.address()?;
        let listener = new_socket().map_err(refused)?;
        bind(&listener, &address).map_err(refused)?;
        let backlog = i32::try_from(self.node.ranks.len() + STRANGERS).unwrap_or(i32::MAX);
        listen(&listener, backlog).map_err(refused)?;
        Ok(listener)
    }

    /// Takes in a rank that said hello; drops who is none.
    fn welcome(
        &self,
        socket: OwnedFd,
        bytes: &[u8],
        fds: Vec<OwnedFd>,
        members: &mut BTreeMap<u32, Member>,
    ) -> Result<(), TransportError> {
        let hello = Hello::decode(bytes).filter(|hello| hello.token == self.hello.token);
        let (Some(hello), Some(shared)) = (hello, by_rank(fds, 1).and_then(|mut all| all.pop()))
        else {
            tracing::warn!("dropped a stranger at the local meeting");
            return Ok(());
        };
        if let Some(what) = self.objection(&hello, members) {
            let answer = Answer::Differs { rank: hello.rank, what: what.clone() };
            // Who cannot be told sees the socket end.
            let _ = send(&socket, &answer.encode(), &[]);
            return Err(TransportError::PeerMisbehaved { peer: hello.rank, what });
        }
        members.insert(hello.rank, Member { socket, shared });
        Ok(())
    }

    /// Why a rank that knows the secret cannot be taken in.
    fn objection(&self, hello: &Hello, members: &BTreeMap<u32, Member>) -> Option<String> {
        let (rank, theirs, ours) = (hello.rank, hello.terms, self.hello.terms);
        if !self.node.others().any(|other| other == rank) {
            return Some(format!("it is not one of this host's ranks {:?}", self.node.ranks));
        }
        if members.contains_key(&rank) {
            return Some("two processes say that they are this rank".to_owned());
        }
        let leader = self.node.rank;
        (theirs != ours)
            .then(|| format!("it shares memory as {theirs:?}, but rank {leader} as {ours:?}"))
    }

    /// Gives one member what the others gave.
    fn answer(
        &self,
        rank: u32,
        member: &Member,
        all: &[(u32, Shared<BorrowedFd<'_>>)],
    ) -> Result<(), TransportError> {
        let messages = all.chunks(RANKS_PER_ANSWER);
        let last = messages.len() - 1;
        for (i, part) in messages.enumerate() {
            let ranks = part.iter().map(|&(rank, _)| rank).collect();
            let bytes = Answer::Ranks { ranks, more: i < last }.encode();
            let fds: Vec<_> = part.iter().flat_map(|&(_, shared)| shared).collect();
            self.until(self.verdict_deadline(), || send(&member.socket, &bytes, &fds))
                .map_err(|source| TransportError::PeerGone {
                    peer: rank,
                    doing: "exchanging shared memory",
                    source: Some(source.into()),
                })?
                .ok_or_else(|| self.missing(rank))?;
        }
        Ok(())
    }

    /// Tells those who have come why there will be no shared memory.
    fn refuse(&self, members: &BTreeMap<u32, Member>, error: &TransportError) {
        let answer = match error {
            TransportError::ConnectDeadline { peer, waited_ms } => {
                Answer::Missing { rank: *peer, waited_ms: *waited_ms }
            }
            TransportError::PeerMisbehaved { peer, what } => {
                Answer::Differs { rank: *peer, what: what.clone() }
            }
            TransportError::Interrupted { .. } => Answer::Interrupted,
            other => Answer::Differs { rank: self.node.rank, what: other.to_string() },
        };
        for member in members.values() {
            // Who cannot be told sees the socket end.
            let _ = send(&member.socket, &answer.encode(), &[]);
        }
    }
}

/// A socket that keeps messages apart and never blocks.
fn new_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// The user of the process at the other end, if it is not this one's.
fn stranger(socket: &OwnedFd) -> io::Result<Option<u32>> {
    let uid = rustix::net::sockopt::socket_peercred(socket)?.uid;
    Ok((uid != rustix::process::geteuid()).then_some(uid.as_raw()))
}
