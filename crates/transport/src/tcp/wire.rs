//! Owns one wire: a socket shared by all connections to one peer, in both directions.
//!
//! Data of this rank's sending ends goes out beside the grants and offers of its receiving ends.
//! A blocked write never keeps the wire from reading (or two ranks that write to each other would
//! wait for ever), and a wire whose peer has left still gives what had arrived.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::frame::{Refusal, Violation};
use super::inbox::{Ends, Inbox, Read};
use super::outbox::{Outbox, Push};
use super::receiving::{ReceivingEnd, Shape};
use super::sending::SendingEnd;
use crate::TransportError;
use crate::seam::Counters;

/// Batches that one call writes, and bytes that it reads, before other wires get their turn.
const WRITE_TURN_BATCHES: usize = 8;
const READ_TURN_BYTES: usize = 1024 * 1024;

/// One socket, and the ends of the connections on it.
pub(super) struct Wire {
    pub peer: u32,
    /// The rank whose end this is.
    rank: u32,
    socket: TcpStream,
    pub sending: Vec<SendingEnd>,
    pub receiving: Vec<ReceivingEnd>,
    outbox: Outbox,
    inbox: Inbox,
    /// Something may be written that has not been attempted.
    pub dirty: bool,
    /// The socket took no more; epoll says when it does again.
    pub blocked: bool,
    /// Nothing more can be read, and why.
    ended: Option<Ended>,
    /// Nothing more can be written: the peer has left, though what it sent may still be read.
    deaf: Option<Errno>,
}

#[derive(Debug, Clone, Copy)]
enum Ended {
    Closed,
    Failed(Errno),
    Misbehaved(Violation),
}

impl Wire {
    pub fn new(rank: u32, peer: u32, socket: TcpStream, shapes: &[Shape]) -> Self {
        Self {
            peer,
            rank,
            socket,
            sending: shapes.iter().map(|&shape| SendingEnd::new(shape)).collect(),
            receiving: shapes.iter().map(|&shape| ReceivingEnd::new(shape)).collect(),
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            dirty: false,
            blocked: false,
            ended: None,
            deaf: None,
        }
    }

    /// As if `passed` messages of every kind had passed on each of its connections.
    pub fn number_from(&mut self, passed: u32) {
        self.sending.iter_mut().for_each(|end| end.number_from(passed));
        self.receiving.iter_mut().for_each(|end| end.number_from(passed));
        self.outbox.number_from(passed);
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether nothing more can be read.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Writes what is ready, as far as the socket takes it; whether anything left.
    pub fn flush(&mut self, counters: &mut Counters) -> bool {
        if self.deaf.is_some() || self.ended.is_some() {
            self.fall_silent(None);
            return false;
        }
        let mut moved = false;
        for _ in 0..WRITE_TURN_BATCHES {
            let (sending, receiving) = (&mut self.sending, &mut self.receiving);
            if self.outbox.is_empty() && !self.outbox.build(sending, receiving, counters) {
                self.dirty = false;
                return moved;
            }
            match self.outbox.push(&self.socket) {
                Ok(Push::Done) => {
                    self.outbox.finish(&mut self.sending);
                    moved = true;
                }
                Ok(Push::Blocked { moved: some }) => {
                    self.blocked = true;
                    return moved | some;
                }
                Err(error) => {
                    self.fall_silent(Some(error));
                    return true;
                }
            }
        }
        moved
    }

    /// Reads what has arrived; whether anything changed.
    pub fn receive(&mut self) -> bool {
        let mut budget = READ_TURN_BYTES;
        let mut moved = false;
        while self.ended.is_none() && budget > 0 {
            let long = self.receiving.iter().any(ReceivingEnd::expects_pieces);
            match self.inbox.read(&self.socket, long) {
                Ok(Read::Bytes { count, full }) => {
                    moved = true;
                    budget = budget.saturating_sub(count);
                    self.take_apart();
                    if !full {
                        break;
                    }
                }
                Ok(Read::Nothing) => break,
                Ok(Read::Closed) => self.end(Ended::Closed),
                Err(error) => self.end(Ended::Failed(error)),
            }
        }
        moved | self.ended.is_some()
    }

    fn take_apart(&mut self) {
        let mut ends = Ends {
            sending: &mut self.sending,
            receiving: &mut self.receiving,
            woken: &mut self.dirty,
        };
        if let Err(violation) = self.inbox.parse(&mut ends) {
            self.end(Ended::Misbehaved(violation));
        }
    }

    #[cold]
    fn end(&mut self, why: Ended) {
        self.ended = Some(why);
        self.fall_silent(None);
    }

    /// Gives up everything that was to be written, and with it every hold on memory.
    #[cold]
    fn fall_silent(&mut self, error: Option<Errno>) {
        self.deaf = self.deaf.or(error);
        self.outbox.clear();
        self.sending.iter_mut().for_each(SendingEnd::abandon);
        self.dirty = false;
        self.blocked = false;
    }

    /// Whether a message waits for its grant, and could be set aside.
    pub fn is_late(&self) -> bool {
        self.deaf.is_none() && self.sending.iter().any(SendingEnd::is_late)
    }

    /// Copies one late message aside, if there is one.
    pub fn set_aside(&mut self) -> bool {
        let Some(late) = self.sending.iter_mut().find(|end| end.is_late()) else { return false };
        late.set_aside();
        self.dirty = true;
        true
    }

    /// Whether nothing waits in this process to be written.
    pub fn is_flushed(&self) -> bool {
        let queued = self.dirty || self.sending.iter().any(SendingEnd::has_queued);
        self.ended.is_some() || self.deaf.is_some() || self.outbox.is_empty() && !queued
    }

    /// Whether the peer's host has acknowledged every byte, or never will.
    pub fn is_acknowledged(&self) -> io::Result<bool> {
        if self.ended.is_some() || self.deaf.is_some() {
            return Ok(true);
        }
        // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes one int.
        let unacknowledged = unsafe {
            type Outq = rustix::ioctl::Getter<{ linux_outq() }, std::ffi::c_int>;
            rustix::ioctl::ioctl(&self.socket, Outq::new())
        }?;
        Ok(unacknowledged == 0)
    }

    /// Whether a message can still be handed to this wire.
    pub fn check_writable(&self) -> Result<(), TransportError> {
        if self.ended.is_none() && self.deaf.is_none() {
            Ok(())
        } else {
            Err(self.error("sending"))
        }
    }

    /// Whether a message can still come over this wire.
    pub fn check_readable(&self) -> Result<(), TransportError> {
        if self.ended.is_none() { Ok(()) } else { Err(self.error("receiving")) }
    }

    #[cold]
    fn error(&self, doing: &'static str) -> TransportError {
        let peer = self.peer;
        let source = match self.ended {
            Some(Ended::Misbehaved(violation)) => {
                return TransportError::PeerMisbehaved { peer, what: violation.to_string() };
            }
            Some(Ended::Failed(error)) => Some(error),
            Some(Ended::Closed) | None => self.deaf,
        };
        TransportError::PeerGone { peer, doing, source: source.map(io::Error::from) }
    }

    /// The error of a message from `peer` to this rank that did not fit.
    #[cold]
    pub fn truncated(&self, refusal: Refusal) -> TransportError {
        truncated(self.peer, refusal)
    }

    /// The error of a message from this rank that did not fit.
    #[cold]
    pub fn truncated_own(&self, refusal: Refusal) -> TransportError {
        truncated(self.rank, refusal)
    }
}

fn truncated(peer: u32, refusal: Refusal) -> TransportError {
    let Refusal { seq, len, limit, .. } = refusal;
    TransportError::Truncated { peer, sequence: seq, len, limit }
}

/// SIOCOUTQ, which is TIOCOUTQ.
const fn linux_outq() -> rustix::ioctl::Opcode {
    0x5411
}
