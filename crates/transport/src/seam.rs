//! The seam between engine and transports: what a rank's end of all its connections over one
//! transport can do.
//!
//! # Why this shape
//! An [`Endpoint`] owns *all* connections of a rank over one transport, because connections share
//! wires: one socket carries many of them, one read serves many of them. The engine names a
//! connection by the small index that [`Endpoint::sender`] or [`Endpoint::receiver`] gave for it,
//! once, when a plan is bound. Everything else is hot: no allocation, no lock, no log line, and
//! no system call but TCP's own and the doorbell of a sleeper. "Not yet" is `None`, never an error.
//!
//! # The order of calls
//! Sending, per message: [`begin_send`](Endpoint::begin_send) until it gives a [`SendSpace`];
//! for [`SendSpace::Slot`] fill it, then [`commit`](Endpoint::commit), and the message is gone;
//! for [`SendSpace::Direct`] call [`send_from`](Endpoint::send_from) with memory that holds the
//! message, and leave that memory alone until [`sent`](Endpoint::sent) is true.
//!
//! A value that lies where its receiver may find it until the operation ends is *lent*, if the
//! transport can: [`begin_lend`](Endpoint::begin_lend) instead of `begin_send`; for [`SendSpace::Lent`] see
//! to it that the value is there, then commit. The receiver reads it in place. What was lent is back when
//! [`borrower`](Endpoint::borrower) names nobody; an operation is not over before.
//!
//! Before the first message of a call, [`begin_call`](Endpoint::begin_call) says what call it is; every
//! message carries that with it, so that its receiver can tell a message of another call, whatever
//! its length.
//!
//! Receiving, per message: [`post`](Endpoint::post) a [`Grant`], [`poll`](Endpoint::poll) until it
//! gives an [`Arrival`], use its bytes, [`release`](Endpoint::release) it. Up to
//! [`most_posted`](Endpoint::most_posted) receives of a connection may be posted ahead.
//!
//! [`progress`](Endpoint::progress) moves bytes for all connections at once and wakes the peers for
//! whom something was published; the engine calls it between polls, before it sleeps, and after the
//! last commit and release of a call. Messages of one connection arrive in the order they were sent.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::{Heap, Region, TransportError};

/// The bits of a call's tag that travel; the others are zero.
pub const TAG_MASK: u32 = 0x00ff_ffff;

/// One sending end, by index into its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender(pub u32);

/// One receiving end, by index into its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver(pub u32);

/// The bounds that plans are bound to; equal on both ends of every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages that may be under way on a connection before the sender must wait.
    pub slots: u32,
    /// Bytes of the longest message.
    pub slot_bytes: usize,
}

impl Limits {
    /// Bytes of the slots of so many receiving ends.
    pub const fn slot_memory(&self, receivers: usize) -> u64 {
        (self.slots as u64).saturating_mul(self.slot_bytes as u64).saturating_mul(receivers as u64)
    }
}

/// Where the value of a message goes.
#[derive(Debug, Clone, Copy)]
pub enum SendSpace {
    /// Into this memory, of exactly the message's length; then [`Endpoint::commit`].
    Slot(Region),
    /// The message leaves from the sender's own memory: [`Endpoint::send_from`].
    Direct,
    /// The message is read where it lies, in the memory that [`Endpoint::begin_lend`] was given: write
    /// it there, then [`Endpoint::commit`], and leave it alone until it is back.
    Lent,
}

/// How long a message must and may be to be lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LendLimits {
    /// Bytes of the shortest: below it a copy is cheaper.
    pub at_least: usize,
    /// Bytes of the longest; it may be longer than a slot.
    pub at_most: usize,
}

/// A receive that has been reached, or soon will be: it makes room for one message.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// The connection it belongs to.
    pub receiver: Receiver,
    /// The length that the plan expects, in bytes; a longer message is an error.
    pub limit: usize,
    /// Memory of `limit` bytes into which the message may be placed as it arrives; `None` when
    /// the receiver wants to read it from a slot (to reduce it, say).
    pub place: Option<Region>,
}

/// A message that is complete.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its bytes, the receiver's until released: in the granted place, in a slot, or lent.
    pub bytes: Region,
    /// Whether `bytes` is the granted place, so that nothing needs to be copied.
    pub placed: bool,
    /// Whether `bytes` is the sender's own memory: it may be read, but not written, and counts only
    /// if it was [`intact`](Endpoint::intact) after reading.
    pub lent: bool,
    /// The tag of the call in which its sender began it, 24 bits; 0 before the sender's first call.
    pub tag: u32,
}

/// What else the ranks of a node are likely to send in this call, as far as this rank knows: whether a
/// message may wait for others that leave on the same wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Nothing is known.
    #[default]
    Nothing,
    /// Each rank probably sends to each: a rank's group of messages has many peers.
    Perhaps,
    /// Each rank sends to each.
    All,
}

/// Why wires that several ranks share were flushed, as often as each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flushes {
    /// A wire message was full: as many messages as it may hold, or 128 KiB.
    pub full: u64,
    /// All that was expected was there.
    pub complete: u64,
    /// Nothing else was expected.
    pub alone: u64,
    /// What was expected did not come in time.
    pub aged: u64,
    /// A sender had no more slots.
    pub pressed: u64,
}

impl Flushes {
    /// Each reason's name, and how often it was the reason.
    pub const fn by_name(&self) -> [(&'static str, u64); 5] {
        [
            ("full", self.full),
            ("complete", self.complete),
            ("alone", self.alone),
            ("aged", self.aged),
            ("pressed", self.pressed),
        ]
    }
}

/// A wire on which this rank sends, from its own NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WireCounters {
    /// The rank at its other end.
    pub peer: u32,
    /// Payload bytes that left on it: this rank's own, and those that it carried for others.
    pub bytes: u64,
}

/// What an endpoint has moved since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages sent.
    pub messages: u64,
    /// What they travelled as: groups of messages under one header, or pieces of one.
    pub wire_messages: u64,
    /// Payload bytes sent.
    pub bytes: u64,
    /// Messages of other ranks of the node that this one sent on.
    pub carried: u64,
    /// Their payload bytes.
    pub carried_bytes: u64,
    /// Why wire messages left, on wires that several ranks share.
    pub flushes: Flushes,
    /// Pieces and offers that came once more, and were dropped.
    pub repeats: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        let Flushes { full, complete, alone, aged, pressed } = other.flushes;
        self.messages += other.messages;
        self.wire_messages += other.wire_messages;
        self.bytes += other.bytes;
        self.carried += other.carried;
        self.carried_bytes += other.carried_bytes;
        self.flushes.full += full;
        self.flushes.complete += complete;
        self.flushes.alone += alone;
        self.flushes.aged += aged;
        self.flushes.pressed += pressed;
        self.repeats += other.repeats;
    }
}

/// A rank's end of all its connections over one transport.
pub trait Endpoint: Send {
    /// The transport's name, as in `--transport` and in counters: `shm`, `tcp`, `loopback`.
    fn name(&self) -> &'static str;

    /// What plans over this endpoint may assume.
    fn limits(&self) -> Limits;

    /// The sending end of the connection to `peer` on `channel`, if this endpoint has it. Cold.
    ///
    /// Where messages to `peer` go by way of a relay, and may also go past it, the channels of the latter
    /// have numbers behind those of the former.
    fn sender(&self, peer: u32, channel: u16) -> Option<Sender>;

    /// The receiving end of the connection from `peer` on `channel`, if this endpoint has it. Cold.
    fn receiver(&self, peer: u32, channel: u16) -> Option<Receiver>;

    /// Marks the messages that are begun from now on, on all connections, with the `tag` of their
    /// call (its lowest 24 bits). A message keeps the tag it was begun with, however late it leaves.
    fn begin_call(&mut self, tag: u32);

    /// What else may leave this node in the call that has begun; [`Expect::Nothing`] by default.
    fn expect(&mut self, what: Expect) {
        _ = what;
    }

    /// How soon [`progress`](Self::progress) must be called again though nothing happens; until then
    /// whoever drives may yield, but not sleep.
    fn due(&self) -> Option<Duration> {
        None
    }

    /// Whether it works for other ranks of the node, so that [`progress`](Self::progress) has work also
    /// while no operation is under way.
    fn serves(&self) -> bool {
        false
    }

    /// Whether no other rank of the node needs it any more: those that it works for have left.
    fn relieved(&self) -> bool {
        true
    }

    /// Room for the next message of `len` bytes; `None` while there is none.
    ///
    /// # Errors
    /// [`TransportError::PeerGone`] when no room can come any more; [`TransportError::TooLong`];
    /// [`TransportError::Truncated`] when the peer's receive had no room for an earlier message.
    fn begin_send(
        &mut self,
        sender: Sender,
        len: usize,
    ) -> Result<Option<SendSpace>, TransportError>;

    /// As [`begin_send`](Self::begin_send) for the message that lies, or will be written, in `value`; lends
    /// it where the receiver can reach that memory and gains by it.
    ///
    /// # Errors
    /// As [`begin_send`](Self::begin_send).
    fn begin_lend(
        &mut self,
        sender: Sender,
        value: Region,
    ) -> Result<Option<SendSpace>, TransportError> {
        self.begin_send(sender, value.len())
    }

    /// How many ranks it reaches that share this host's memory and caches.
    fn neighbours(&self) -> usize {
        0
    }

    /// The heap whose blocks can be lent; `None` where nothing is.
    fn heap(&self) -> Option<&Heap> {
        None
    }

    /// How long a lent message must and may be; `None` where nothing is lent.
    fn lends(&self) -> Option<LendLimits> {
        None
    }

    /// Lends values of `bytes` and more, where it otherwise lends those that it pays for; `usize::MAX`: none.
    fn lend_from(&mut self, bytes: usize) {
        _ = bytes;
    }

    /// A peer that has not given back everything that it was lent; `None` when all of it is back.
    fn borrower(&mut self) -> Option<u32> {
        None
    }

    /// Tells the peers that the operation has failed here, so that what was lent for it may change
    /// at any time: those who have not read it by then must not use it.
    fn withdraw(&mut self) {}

    /// Sends what was written to the slot that [`begin_send`](Self::begin_send) gave last, or what
    /// [`begin_lend`](Self::begin_lend) lent.
    ///
    /// # Errors
    /// [`TransportError::PeerGone`].
    fn commit(&mut self, sender: Sender) -> Result<(), TransportError>;

    /// Sends `value`, which stays untouched until [`sent`](Self::sent) is true.
    ///
    /// # Errors
    /// [`TransportError::PeerGone`].
    fn send_from(&mut self, sender: Sender, value: Region) -> Result<(), TransportError>;

    /// Whether memory given to [`send_from`](Self::send_from) is the caller's again.
    fn sent(&mut self, sender: Sender) -> bool;

    /// Receives of one connection that may be posted and not released at a time, at most 8; 1 where a
    /// receive gains nothing by being posted early.
    fn most_posted(&self) -> usize {
        1
    }

    /// Posts up to 8 receives, in the order in which their messages will come on each connection; of one
    /// connection, at most [`most_posted`](Self::most_posted) that are not released.
    ///
    /// # Errors
    /// [`TransportError::PeerGone`].
    fn post(&mut self, grants: &[Grant]) -> Result<(), TransportError>;

    /// The message of the oldest posted receive, once it is complete.
    ///
    /// # Errors
    /// [`TransportError::PeerGone`] when the peer is gone and the message cannot come any more;
    /// [`TransportError::Truncated`]; [`TransportError::PeerMisbehaved`].
    fn poll(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError>;

    /// Whether a lent message was still lent when it was read: to be called after reading it, before
    /// anything that was made of it is passed on.
    ///
    /// # Errors
    /// [`TransportError::Withdrawn`].
    fn intact(&mut self, receiver: Receiver) -> Result<(), TransportError> {
        let _ = receiver;
        Ok(())
    }

    /// The lent message that has arrived, moved to memory of this endpoint, where it may be
    /// overwritten; its sender gets its own memory back.
    ///
    /// # Errors
    /// As [`poll`](Self::poll) and [`intact`](Self::intact).
    fn take_over(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        self.poll(receiver)
    }

    /// Gives the arrived message's memory back.
    fn release(&mut self, receiver: Receiver);

    /// Moves bytes for all connections without blocking; whether anything moved. Also wakes sleeping
    /// peers, so a round of the engine ends with it.
    ///
    /// # Errors
    /// Only failures that concern no single connection; a lost peer shows on its connections.
    fn progress(&mut self) -> Result<bool, TransportError>;

    /// Whether every message handed over can reach its receiver without a further call of
    /// [`progress`](Self::progress). An operation is not over before that: its last messages
    /// would wait here until the next one. Where memory is shared, only a sleeping receiver waits.
    fn flushed(&self) -> bool {
        true
    }

    /// Whether nothing changes for those who poll its connections, or wait for room, but by a call of
    /// [`progress`](Self::progress) that says so.
    fn tells(&self) -> bool {
        false
    }

    /// Whether an operation that needs no message any more may end without a further call of
    /// [`progress`](Self::progress): it is [`flushed`](Self::flushed), nothing is lent, nobody sleeps who must be woken, and
    /// no other rank waits for what this one does for it.
    fn settled(&self) -> bool {
        false
    }

    /// A descriptor that is readable when [`progress`](Self::progress) has work, if peers of this
    /// transport do not ring the doorbell.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Has [`wake_fd`](Self::wake_fd) tell of all that happens from now on. Who is about to sleep on it calls this
    /// and then [`progress`](Self::progress) once more: what happened before need not be told.
    ///
    /// # Errors
    /// As [`progress`](Self::progress).
    fn arm(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    /// Whether everything sent has left this process, so that it may end without losing a byte.
    ///
    /// # Errors
    /// [`TransportError::System`].
    fn drained(&mut self) -> Result<bool, TransportError>;

    /// What has been moved so far.
    fn counters(&self) -> Counters;

    /// The same by medium, where some of its wires lead over another than the rest: each with its name. Cold.
    fn counters_by_medium(&self) -> Vec<(&'static str, Counters)> {
        Vec::from([(self.name(), self.counters())])
    }

    /// The wires on which this rank sends, and what has left on each; none where there are none. Cold.
    fn wires(&self) -> Vec<WireCounters> {
        Vec::new()
    }

    /// Bytes of the slots that this rank's ends of connections can come to use.
    fn slot_memory(&self) -> u64;
}

impl<E: Endpoint + ?Sized> Endpoint for Box<E> {
    fn name(&self) -> &'static str {
        (**self).name()
    }
    fn limits(&self) -> Limits {
        (**self).limits()
    }
    fn sender(&self, peer: u32, channel: u16) -> Option<Sender> {
        (**self).sender(peer, channel)
    }
    fn receiver(&self, peer: u32, channel: u16) -> Option<Receiver> {
        (**self).receiver(peer, channel)
    }
    fn begin_call(&mut self, tag: u32) {
        (**self).begin_call(tag);
    }
    fn expect(&mut self, what: Expect) {
        (**self).expect(what);
    }
    fn due(&self) -> Option<Duration> {
        (**self).due()
    }
    fn serves(&self) -> bool {
        (**self).serves()
    }
    fn relieved(&self) -> bool {
        (**self).relieved()
    }
    fn begin_send(
        &mut self,
        sender: Sender,
        len: usize,
    ) -> Result<Option<SendSpace>, TransportError> {
        (**self).begin_send(sender, len)
    }
    fn begin_lend(
        &mut self,
        sender: Sender,
        value: Region,
    ) -> Result<Option<SendSpace>, TransportError> {
        (**self).begin_lend(sender, value)
    }
    fn neighbours(&self) -> usize {
        (**self).neighbours()
    }
    fn heap(&self) -> Option<&Heap> {
        (**self).heap()
    }
    fn lends(&self) -> Option<LendLimits> {
        (**self).lends()
    }
    fn lend_from(&mut self, bytes: usize) {
        (**self).lend_from(bytes);
    }
    fn borrower(&mut self) -> Option<u32> {
        (**self).borrower()
    }
    fn withdraw(&mut self) {
        (**self).withdraw();
    }
    fn commit(&mut self, sender: Sender) -> Result<(), TransportError> {
        (**self).commit(sender)
    }
    fn send_from(&mut self, sender: Sender, value: Region) -> Result<(), TransportError> {
        (**self).send_from(sender, value)
    }
    fn sent(&mut self, sender: Sender) -> bool {
        (**self).sent(sender)
    }
    fn most_posted(&self) -> usize {
        (**self).most_posted()
    }
    fn post(&mut self, grants: &[Grant]) -> Result<(), TransportError> {
        (**self).post(grants)
    }
    fn poll(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        (**self).poll(receiver)
    }
    fn intact(&mut self, receiver: Receiver) -> Result<(), TransportError> {
        (**self).intact(receiver)
    }
    fn take_over(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        (**self).take_over(receiver)
    }
    fn release(&mut self, receiver: Receiver) {
        (**self).release(receiver)
    }
    fn progress(&mut self) -> Result<bool, TransportError> {
        (**self).progress()
    }
    fn flushed(&self) -> bool {
        (**self).flushed()
    }
    fn tells(&self) -> bool {
        (**self).tells()
    }
    fn settled(&self) -> bool {
        (**self).settled()
    }
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        (**self).wake_fd()
    }
    fn arm(&mut self) -> Result<(), TransportError> {
        (**self).arm()
    }
    fn drained(&mut self) -> Result<bool, TransportError> {
        (**self).drained()
    }
    fn counters(&self) -> Counters {
        (**self).counters()
    }
    fn counters_by_medium(&self) -> Vec<(&'static str, Counters)> {
        (**self).counters_by_medium()
    }
    fn wires(&self) -> Vec<WireCounters> {
        (**self).wires()
    }
    fn slot_memory(&self) -> u64 {
        (**self).slot_memory()
    }
}
