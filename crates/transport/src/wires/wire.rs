//! Owns one wire: a link shared by all connections to one peer, in both directions.
//!
//! Data of this rank's sending ends goes out beside the grants and offers of its receiving ends.
//! A blocked write never keeps the wire from reading (or two ranks that write to each other would
//! wait for ever), and a wire whose peer has left still gives what had arrived.

use std::io;
use std::time::{Duration, Instant};

use super::carried::CarriedEnd;
use super::ends::Ends;
use super::frame::Refusal;
use super::held::Held;
use super::holding::Holding;
use super::medium::{Ended, Link, Push};
use super::out_end::OutEnd;
use super::outbox::{Groups, Outbox};
use super::receiving::ReceivingEnd;
use super::sending::SendingEnd;
use crate::TransportError;
use crate::seam::{Counters, Expect, WireCounters};

/// Batches that one call writes before other wires get their turn.
const WRITE_TURN_BATCHES: usize = 8;

/// One link, and the ends of the connections on it.
pub(super) struct Wire<L: Link> {
    /// Before the ends, so that it ends before their memory does.
    pub link: L,
    pub peer: u32,
    /// Those of each rank of this node that sends on it, one after the other.
    sending: Vec<OutEnd>,
    /// Those ranks, in order.
    sources: Vec<u32>,
    /// Those of each rank of the peer's node that sends on it, one after the other.
    pub receiving: Vec<ReceivingEnd>,
    /// Where several ranks send on it: when it sends.
    holding: Option<Holding>,
    outbox: Outbox,
    /// Payload bytes that left, or are about to.
    sent_bytes: u64,
    /// Something may be written that has not been attempted.
    pub dirty: bool,
    /// The link took no more, and has not said that it does again.
    pub blocked: bool,
    /// Nothing more can be read, and why.
    ended: Option<Ended<L::Error>>,
    /// Nothing more can be written: the peer has left, though what it sent may still be read.
    deaf: Option<L::Error>,
}

impl<L: Link> Wire<L> {
    /// `sending` has as many ends for each of `sources`, one after the other.
    pub fn new(
        peer: u32,
        link: L,
        (sources, sending): (Vec<u32>, Vec<OutEnd>),
        receiving: Vec<ReceivingEnd>,
        holding: Option<Holding>,
    ) -> Self {
        let places = link.places();
        Self {
            link,
            peer,
            sending,
            sources,
            receiving,
            holding,
            outbox: Outbox::new(places),
            sent_bytes: 0,
            // The peer does not know yet where standing slots are.
            dirty: places,
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

    /// One of this rank's own connections, and [`dirty`](Self::dirty).
    pub fn own(&mut self, conn: usize) -> Option<(&mut SendingEnd, &mut bool)> {
        Some((self.sending.get_mut(conn)?.own()?, &mut self.dirty))
    }

    /// A connection of another rank of this node, for a piece that is ready now.
    pub fn carried(&mut self, source: u32, channel: u32) -> Option<&mut CarriedEnd> {
        let channels = self.sending.len() / self.sources.len().max(1);
        let place = self.sources.binary_search(&source).ok()?;
        if channel as usize >= channels {
            return None;
        }
        self.dirty = true;
        match self.sending.get_mut(place * channels + channel as usize)? {
            OutEnd::Carried(end) => Some(end),
            OutEnd::Own(_) => None,
        }
    }

    /// How long what waits for others may still wait.
    pub fn due(&self) -> Option<Duration> {
        self.holding.as_ref().filter(|_| !self.blocked)?.due()
    }

    /// Whether payloads are placed by their sender.
    #[inline]
    pub fn places(&self) -> bool {
        self.link.places()
    }

    /// What has left on it, where this rank sends on it.
    pub fn counters(&self) -> Option<WireCounters> {
        let counters = WireCounters { peer: self.peer, bytes: self.sent_bytes };
        (!self.sources.is_empty()).then_some(counters)
    }

    /// What came once more on it, and was dropped.
    pub fn repeats(&self) -> u64 {
        self.sending.iter().map(OutEnd::repeats).sum::<u64>()
            + self.receiving.iter().map(ReceivingEnd::repeats).sum::<u64>()
    }

    /// Whether nothing more can be read.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Writes what is ready, as far as the link takes it; whether anything left.
    pub fn flush(&mut self, expect: Expect, counters: &mut Counters) -> bool {
        if self.deaf.is_some() || self.ended.is_some() {
            self.fall_silent(None);
            return false;
        }
        let mut moved = false;
        for _ in 0..WRITE_TURN_BATCHES {
            if self.outbox.is_empty() && !self.build(expect, counters) {
                // What waits for others is looked at again.
                self.dirty = self.holding.as_ref().is_some_and(Holding::is_waiting);
                return moved;
            }
            match self.link.push(self.outbox.batch()) {
                Ok(Push::Done) => {
                    self.outbox.finish(&mut self.sending);
                    moved = true;
                }
                Ok(Push::Posted) => {
                    self.outbox.post();
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

    /// Builds a batch of what may go; `false` when that is nothing.
    fn build(&mut self, expect: Expect, counters: &mut Counters) -> bool {
        let (sending, receiving) = (&mut self.sending, &mut self.receiving);
        let groups = match &mut self.holding {
            None => Groups::All,
            Some(holding) => match holding.closes(sending, expect) {
                None if holding.is_waiting() => Groups::Held,
                None => Groups::None,
                Some(why) => {
                    why.count(&mut counters.flushes);
                    Groups::One { most: holding.most() }
                }
            },
        };
        let built = self.outbox.build(sending, receiving, groups, counters);
        self.sent_bytes += self.outbox.payload_bytes() as u64;
        if let (Groups::One { .. }, Some(holding)) = (groups, &mut self.holding) {
            self.outbox.tags().for_each(|tag| holding.count(tag));
        }
        built
    }

    /// Takes note of what happened at its link; whether anything changed.
    pub fn take_note(&mut self, event: L::Event) -> bool {
        let may_read = self.link.note(event);
        let mut moved = self.finish_sent();
        if may_read {
            moved |= self.receive();
        }
        if self.blocked && self.link.has_room() {
            self.blocked = false;
            self.dirty = true;
        }
        moved
    }

    /// Gives back the memory of batches that have left; whether there are any.
    fn finish_sent(&mut self) -> bool {
        let sent = self.link.take_sent();
        (0..sent).for_each(|_| self.outbox.finish_posted(&mut self.sending));
        sent > 0
    }

    /// Reads what has arrived; whether anything changed.
    fn receive(&mut self) -> bool {
        if self.ended.is_some() {
            return true;
        }
        let mut ends = Ends {
            sending: &mut self.sending,
            receiving: &mut self.receiving,
            woken: &mut self.dirty,
        };
        match self.link.receive(&mut ends) {
            Ok(moved) => moved,
            Err(why) => {
                self.end(why);
                true
            }
        }
    }

    #[cold]
    fn end(&mut self, why: Ended<L::Error>) {
        self.ended = Some(why);
        self.fall_silent(None);
    }

    /// Gives up everything that was to be written, and with it every hold on memory.
    #[cold]
    fn fall_silent(&mut self, error: Option<L::Error>) {
        self.deaf = self.deaf.take().or(error);
        self.link.fall_silent();
        self.give_up();
    }

    /// The operation has failed: nothing of it is sent or received any more.
    #[cold]
    pub fn withdraw(&mut self) {
        self.link.withdraw();
        self.give_up();
    }

    fn give_up(&mut self) {
        self.outbox.clear();
        self.sending.iter_mut().for_each(OutEnd::abandon);
        self.dirty = false;
        self.blocked = false;
    }

    /// Whether memory that was lent is still needed.
    pub fn borrows(&self) -> bool {
        self.sending.iter().any(OutEnd::borrows)
    }

    /// Whether a message that needs a grant has not left entirely.
    pub fn has_long(&self) -> bool {
        self.sending.iter().any(OutEnd::has_long)
    }

    /// Whether a message waits for its grant.
    pub fn lacks_grant(&self) -> bool {
        self.sending.iter().any(OutEnd::lacks_grant)
    }

    /// Whether a message waits for its grant, and could be set aside.
    pub fn is_late(&self) -> bool {
        self.deaf.is_none() && self.sending.iter().any(OutEnd::is_late)
    }

    /// Copies one late message aside, if there is one.
    pub fn set_aside(&mut self, now: Instant) -> bool {
        let Some(late) = self.sending.iter_mut().find(|end| end.is_late()) else { return false };
        late.set_aside(now);
        true
    }

    /// Has receivers told of messages that have waited long; whether there are any.
    pub fn remind(&mut self, now: Instant) -> bool {
        let due = self.sending.iter_mut().fold(false, |due, end| due | end.remind(now));
        self.dirty |= due;
        due
    }

    /// Whether nothing of this rank waits in this process to be written, nor what it carries for others of
    /// the call `tag`.
    ///
    /// What is held for ranks that are ahead is not waited for: it may wait for this rank's next call. Nor
    /// is what they send to a receiver that has stopped reading.
    pub fn is_flushed(&self, tag: u32) -> bool {
        if self.ended.is_some() || self.deaf.is_some() {
            return true;
        }
        let is_waiting = self.holding.as_ref().is_some_and(Holding::is_waiting);
        let waits = |end: &OutEnd| match end {
            OutEnd::Own(end) => end.has_queued(),
            OutEnd::Carried(end) => end.ready() && end.next_tag() == tag && !self.blocked,
        };
        let left = self.outbox.is_empty() || self.blocked && self.outbox.is_carried();
        left && (!self.dirty || is_waiting) && !self.sending.iter().any(waits)
    }

    /// What is under way on it. A wire that has ended keeps what arrived for its receivers.
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        self.sending.iter().for_each(|end| held += end.held());
        held.receiving = self.receiving.iter().map(ReceivingEnd::held).sum();
        let amid = self.link.is_amid() && !self.has_ended();
        let writing = usize::from(!self.outbox.is_empty()) + self.outbox.posted();
        held.wire_messages = writing + usize::from(amid);
        held
    }

    /// Whether nothing at all waits in this process to be written.
    pub fn is_empty(&self) -> bool {
        let queued = self.dirty || self.sending.iter().any(OutEnd::has_queued);
        self.ended.is_some() || self.deaf.is_some() || self.outbox.is_empty() && !queued
    }

    /// Whether the peer's host has acknowledged every byte, or never will.
    pub fn is_acknowledged(&self) -> io::Result<bool> {
        if self.ended.is_some() || self.deaf.is_some() {
            return Ok(true);
        }
        self.link.is_acknowledged()
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
        let source = match &self.ended {
            Some(Ended::Misbehaved(violation)) => {
                return TransportError::PeerMisbehaved { peer, what: violation.to_string() };
            }
            Some(Ended::Failed(error)) => Some(error),
            Some(Ended::Closed) | None => self.deaf.as_ref(),
        };
        TransportError::PeerGone { peer, doing, source: source.cloned().map(Into::into) }
    }
}

/// The error of a message from `peer` that did not fit.
#[cold]
pub(super) fn truncated(peer: u32, refusal: Refusal) -> TransportError {
    let Refusal { seq, len, limit, .. } = refusal;
    TransportError::Truncated { peer, sequence: seq, len, limit }
}
