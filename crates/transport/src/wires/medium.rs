//! Owns what a medium must offer to carry wires, and the words that medium and engine share.
//!
//! # Why this shape
//! A [`Medium`] serves all wires of an endpoint; each of them has a [`Link`]. The engine decides what leaves and
//! in which order, and what may arrive; a link only carries it. There are two kinds:
//!
//! - A *stream* ([`tcp`](crate::tcp)) takes one batch at a time, in parts if need be. Its reader takes bytes apart
//!   as they come, and reads payloads into the places that the receiving ends name.
//! - A *placing* medium ([`placing`](super::placing)) writes each payload straight to its place in the receiver's
//!   memory, and then the head that tells of it. So grants must name places ([`Link::places`]), payloads must lie in
//!   memory that the medium reaches, and that memory is free only once the medium says so.
//!
//! The engine is compiled for each medium: what one does not need costs it nothing.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::batch::Batch;
use super::ends::Ends;
use super::frame::Violation;
use super::memory::Memory;
use super::placing::Lasting;
use crate::{Region, TransportError};

/// By what a medium knows a piece of memory: what it hands to its device to read there, and what a peer hands to
/// its own to write there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keys {
    /// For this side.
    pub local: u32,
    /// For peers.
    pub remote: u32,
}

impl Keys {
    /// Of memory that needs none.
    pub const NONE: Self = Self { local: 0, remote: 0 };
}

/// Where a peer's memory begins that a payload is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// As the peer knows it.
    pub address: u64,
    /// The peer's [`Keys::remote`].
    pub key: u32,
}

impl Place {
    /// On a medium whose receivers place payloads themselves.
    pub const NONE: Self = Self { address: 0, key: 0 };

    /// That of `region`, for a peer.
    pub(crate) fn of(region: Region, keys: Keys) -> Self {
        Self { address: region.as_ptr().addr() as u64, key: keys.remote }
    }

    /// The place `offset` bytes behind this one.
    pub const fn behind(self, offset: u64) -> Self {
        Self { address: self.address.wrapping_add(offset), key: self.key }
    }
}

/// What epoll, or whatever the medium has, is to watch for at a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    Readable,
    /// Also that it takes more: it was full, or whoever sleeps must come back soon.
    ReadableAndWritable,
    /// Nothing: the wire has ended, and would be ready for ever.
    Off,
}

/// How an attempt to send a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It has left entirely, and its memory is free.
    Done,
    /// It is on its way; [`Link::take_sent`] will count it.
    Posted,
    /// The link takes no more at present.
    Blocked {
        /// Whether some of it has left.
        moved: bool,
    },
}

/// Why nothing more comes over a link.
#[derive(Debug, Clone)]
pub enum Ended<E> {
    /// The peer has closed its end.
    Closed,
    Failed(E),
    Misbehaved(Violation),
}

impl<E> From<Violation> for Ended<E> {
    fn from(violation: Violation) -> Self {
        Self::Misbehaved(violation)
    }
}

/// What carries all wires of an endpoint.
pub trait Medium: Send {
    type Link: Link;

    /// The transport's name.
    fn name(&self) -> &'static str;

    /// Where some of its links place payloads and others do not, the names of the two.
    fn names(&self) -> Option<[&'static str; 2]> {
        None
    }

    /// Whether it is to be told what its [`wake_fd`](Self::wake_fd) must tell of ([`watch`](Self::watch)).
    const WATCHES: bool;

    /// Whether its [`wake_fd`](Self::wake_fd) can end a sleep because a link takes more.
    const WATCHES_ROOM: bool;

    /// Rounds in which nothing moved before a message without a grant is copied aside. Fewer than
    /// an engine yields before it sleeps, so that a receiver a little behind costs no copy.
    const PATIENCE_ROUNDS: u32;

    /// For so many more bytes [`memory`](Self::memory) will be asked for a wire: before the first of them is. Cold.
    fn reserve(&mut self, _link: &Self::Link, _bytes: usize) {}

    /// Zeroed memory for slots of a wire, that it reaches. Cold.
    fn memory(&mut self, link: &mut Self::Link, bytes: usize) -> Result<Memory, TransportError>;

    /// Has a wire reach memory that was not the medium's own, for as long as it lives. Cold.
    fn register(
        &mut self,
        link: &mut Self::Link,
        memory: impl Fn() -> Lasting,
    ) -> Result<Keys, TransportError>;

    /// The keys of `region` on a wire that places payloads, if it reaches all of it. Others need none.
    fn keys_of(&self, link: &mut Self::Link, region: Region) -> Option<Keys>;

    /// From now on `link` is the one of wire `index`. Cold.
    fn add(&mut self, index: usize, link: &mut Self::Link) -> Result<(), TransportError>;

    /// Says at which wires something may have happened since it was asked last, and what.
    fn poll(
        &mut self,
        each: impl FnMut(usize, <Self::Link as Link>::Event),
    ) -> Result<(), TransportError>;

    /// Has `wake_fd` tell what is `wanted` of a wire from now on.
    fn watch(
        &mut self,
        _index: usize,
        _link: &mut Self::Link,
        _wanted: Watch,
    ) -> Result<(), TransportError> {
        Ok(())
    }

    /// Has `wake_fd` tell of all that happens from now on, though what happened before need not be told.
    fn arm(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    /// Readable when [`poll`](Self::poll) has something to tell.
    fn wake_fd(&self) -> BorrowedFd<'_>;
}

/// A medium's end of one wire. Dropped, it touches no memory any more, nor does its peer in this process.
pub trait Link: Send {
    type Error: Clone + Send + Into<io::Error>;
    type Event;

    /// Whether payloads are placed by their sender.
    fn places(&self) -> bool;

    /// How long a message waits for others that are likely to leave with it, but may never come: about what a wire
    /// message costs.
    fn likely(&self) -> Duration;

    /// Takes note of what [`Medium::poll`] told; whether something may have arrived.
    fn note(&mut self, event: Self::Event) -> bool;

    /// Whether a link that took no more may take more now.
    fn has_room(&self) -> bool;

    /// Sends as much of the batch as goes without waiting.
    fn push(&mut self, batch: &mut Batch) -> Result<Push, Self::Error>;

    /// Batches that were [`Push::Posted`] and have left since this was asked last: their memory is free.
    fn take_sent(&mut self) -> usize;

    /// Passes what has arrived on to `ends`; whether anything has.
    fn receive(&mut self, ends: &mut Ends<'_>) -> Result<bool, Ended<Self::Error>>;

    /// Whether a wire message is partly here.
    fn is_amid(&self) -> bool;

    /// Whether everything sent is at the peer's host, or never will be.
    fn is_acknowledged(&self) -> io::Result<bool>;

    /// Sends nothing more: from now on it touches no memory that was to be sent.
    fn fall_silent(&mut self);

    /// Its rank's operation has failed: from now on neither this end nor the peer's touches memory that was to be sent,
    /// or that was granted. The peer is not told: it would take this rank for the culprit, and learns from its monitor
    /// who is.
    fn withdraw(&mut self);
}
