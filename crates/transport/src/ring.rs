//! Owns the ring: slots in memory that two ranks share, in which one sends to the other.
//!
//! # Its memory
//! Whatever one side writes while the other reads has cache lines of its own: the receiver's credit,
//! the receiver's refusal, the sender's farewell, then one line per slot with the sequence word, the
//! call's tag, the length and the message itself if it has at most [`INLINE_BYTES`] (so that a tiny
//! message is one transfer of a cache line), then one area per slot for longer messages. All of it begins as
//! zeroes and takes up memory only where it was touched.
//!
//! A message can also be *lent*: its header says where in the sender's heap it lies, and its slot counts
//! as any other. Or it is to be *pulled*: its header says where in the sender's process it lies. The sender that has left, or has given its operation up, lends nothing any more.
//!
//! The peer may write anything at any time. What is read of it is checked before it is used as a
//! length or a count; the bytes of a message are the engine's to read as plain numbers.

use std::cell::UnsafeCell;
use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::cursor::{ReceiveCursor, SendCursor};
use crate::mapping::Mapping;
use crate::primitive::{AtomicU32, Ordering};
use crate::pull::Offer;
use crate::seam::{Arrival, Limits, TAG_MASK};
use crate::sender_word::{Said, SenderWord};
use crate::{Region, TransportError};

/// Messages of at most so many bytes travel in their slot's header line.
pub(crate) const INLINE_BYTES: usize = 48;

/// Where mapped rings and large areas begin: a page.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Keeps what is inside apart from its neighbours: 128 bytes, because processors fetch lines in pairs.
#[repr(C, align(128))]
struct Apart<T>(T);

#[repr(C)]
struct Control {
    /// Written by the receiver: the number of the last released message.
    released: Apart<AtomicU32>,
    /// Written by the receiver, at most once.
    refusal: Apart<Refusal>,
    /// Written by the sender when it leaves, or takes back what it lent.
    sender: Apart<SenderWord>,
    /// Written by the sender, at most once.
    offer: Apart<Offered>,
    /// Written by the receiver, at most once: whether it pulls what the sender offers.
    pulls: Apart<AtomicU32>,
}

/// Why the receiver takes no more messages.
#[repr(C)]
struct Refusal {
    state: AtomicU32,
    sequence: AtomicU32,
    len: AtomicU64,
    limit: AtomicU64,
}

/// How the receiver can try whether it can read the sender's memory.
#[repr(C)]
struct Offered {
    /// 1 once the rest is there.
    state: AtomicU32,
    pid: AtomicU32,
    address: AtomicU64,
    word: AtomicU64,
}

/// Whether a receiver pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulls {
    /// It has not tried yet.
    Unknown,
    No,
    Yes,
}

/// States of a refusal.
const OPEN: u32 = 0;
const LEFT: u32 = 1;
const TRUNCATED: u32 = 2;

/// In the header's word of the tag, beside it: the message is lent.
const LENT: u32 = 1 << 24;
/// Likewise: the message is to be pulled.
const TO_PULL: u32 = 2 << 24;
const _: () = assert!(TAG_MASK < LENT);

#[repr(C, align(64))]
struct Header {
    sequence: AtomicU32,
    tag: AtomicU32,
    len: AtomicU64,
    inline: UnsafeCell<[u8; INLINE_BYTES]>,
}

const _: () = assert!(size_of::<Header>() == 64);
const _: () = assert!(std::mem::offset_of!(Header, inline) % size_of::<AtomicU64>() == 0);

impl Header {
    /// Where a lent message lies in its sender's heap, or one to be pulled in its sender's memory.
    fn place(&self) -> &AtomicU64 {
        // SAFETY: the inline bytes are aligned for it, as asserted above, and more; in a header whose
        // message is lent they are touched only as this atomic.
        unsafe { &*self.inline.get().cast::<AtomicU64>() }
    }
}

/// Where things lie in a ring of given limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    limits: Limits,
    areas: usize,
    area_bytes: usize,
    ring_bytes: usize,
}

impl Layout {
    /// The layout; `None` for no slots, or more bytes than an address can count.
    pub(crate) fn new(limits: Limits) -> Option<Self> {
        if limits.slots == 0 {
            return None;
        }
        let slots = usize::try_from(limits.slots).ok()?;
        let headers = size_of::<Header>().checked_mul(slots)?;
        let align = if limits.slot_bytes < PAGE_BYTES { size_of::<Header>() } else { PAGE_BYTES };
        let areas = size_of::<Control>().checked_add(headers)?.checked_next_multiple_of(align)?;
        let area_bytes = limits.slot_bytes.checked_next_multiple_of(align)?;
        let ring_bytes = area_bytes.checked_mul(slots)?.checked_add(areas)?;
        let ring_bytes = ring_bytes.checked_next_multiple_of(PAGE_BYTES)?;
        isize::try_from(ring_bytes).ok()?;
        Some(Self { limits, areas, area_bytes, ring_bytes })
    }

    /// Bytes of one ring: whole pages.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }
}

/// The memory of one ring.
#[derive(Debug)]
struct Ring {
    start: NonNull<u8>,
    layout: Layout,
    _memory: Arc<Mapping>,
}

// SAFETY: `start` points into memory that `_memory` keeps, which is tied to no thread.
unsafe impl Send for Ring {}

impl Ring {
    /// The ring at `offset` of `memory`, a multiple of the page size.
    fn new(memory: &Arc<Mapping>, offset: usize, layout: Layout) -> Self {
        assert!(offset.is_multiple_of(PAGE_BYTES), "rings begin at pages");
        assert!(offset + layout.ring_bytes <= memory.len(), "the mapping was sized for its rings");
        // SAFETY: the ring lies inside the mapping, as just seen.
        let start = unsafe { memory.start().add(offset) };
        Self { start, layout, _memory: Arc::clone(memory) }
    }

    fn control(&self) -> &Control {
        // SAFETY: a ring begins at a page with its control lines, of any bytes; they are only ever
        // touched atomically. `_memory` lives as long as `self`.
        unsafe { self.start.cast::<Control>().as_ref() }
    }

    fn header(&self, slot: u32) -> &Header {
        debug_assert!(slot < self.layout.limits.slots);
        // SAFETY: the layout has a header for each slot, at a multiple of its alignment; its words
        // are only ever touched atomically, its inline bytes only through a `Region`.
        unsafe { self.start.add(size_of::<Control>()).cast::<Header>().add(slot as usize).as_ref() }
    }

    /// The memory of a message of `len` bytes in `slot`; `len` is at most the limit.
    fn message(&self, slot: u32, len: usize) -> Region {
        debug_assert!(len <= self.layout.limits.slot_bytes.max(INLINE_BYTES));
        if len <= INLINE_BYTES {
            let inline = NonNull::from(&self.header(slot).inline).cast();
            // SAFETY: the header has so many inline bytes; the counting of slots keeps sender and
            // receiver from using them at once, and the endpoint lives as long as its engine.
            return unsafe { Region::from_raw_parts(inline, len) };
        }
        // SAFETY: the layout has an area of at least `len` bytes for each slot; as above.
        unsafe {
            let area = self.start.add(self.layout.areas + slot as usize * self.layout.area_bytes);
            Region::from_raw_parts(area, len)
        }
    }
}

/// The sending end of a ring.
#[derive(Debug)]
pub(crate) struct SendEnd {
    ring: Ring,
    cursor: SendCursor,
    /// The message that is being written to its slot.
    begun: Option<Begun>,
    /// The last message that was lent and is not known to be back.
    lent: Option<u32>,
    own: u32,
    peer: u32,
}

/// What is known of a message before it is handed over.
#[derive(Debug, Clone, Copy)]
struct Begun {
    len: usize,
    tag: u32,
    from: From,
}

/// Where a message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// In its slot.
    Slot,
    /// At this offset of the sender's heap.
    Heap(u64),
    /// At this address of the sender's process.
    Process(u64),
}

impl SendEnd {
    /// The end of rank `own` in the ring at `offset` of `memory`, which leads to rank `peer`.
    pub(crate) fn new(
        memory: &Arc<Mapping>,
        offset: usize,
        layout: Layout,
        own: u32,
        peer: u32,
    ) -> Self {
        let cursor = SendCursor::new(layout.limits.slots);
        Self { ring: Ring::new(memory, offset, layout), cursor, begun: None, lent: None, own, peer }
    }

    /// Leaves the ring, before its first message, as one that `passed` messages have passed.
    pub(crate) fn number_from(&mut self, passed: u32) {
        self.cursor.number_from(passed);
        let slots = self.ring.layout.limits.slots;
        for slot in 0..slots {
            let last = passed.wrapping_add(1).wrapping_add(slot).wrapping_sub(slots);
            self.ring.header(slot).sequence.store(last, Ordering::Release);
        }
        self.ring.control().released.0.store(passed, Ordering::Release);
    }

    /// The slot for a message of `len` bytes of the call `tag`, if one is free.
    #[inline]
    pub(crate) fn begin(&mut self, len: usize, tag: u32) -> Result<Option<Region>, TransportError> {
        self.check_open()?;
        if len > self.ring.layout.limits.slot_bytes {
            return Err(self.too_long(len));
        }
        if !self.has_room()? {
            return Ok(None);
        }
        self.begun = Some(Begun { len, tag, from: From::Slot });
        Ok(Some(self.ring.message(self.cursor.slot(), len)))
    }

    /// Begins to lend the `len` bytes that lie at `from`; `false` while no slot is free.
    #[inline]
    pub(crate) fn begin_lend(
        &mut self,
        from: From,
        len: usize,
        tag: u32,
    ) -> Result<bool, TransportError> {
        self.check_open()?;
        let room = self.has_room()?;
        if room {
            self.begun = Some(Begun { len, tag, from });
        }
        Ok(room)
    }

    #[inline]
    fn check_open(&self) -> Result<(), TransportError> {
        match self.ring.control().refusal.0.state.load(Ordering::Acquire) {
            OPEN => Ok(()),
            _ => Err(self.refused()),
        }
    }

    #[inline]
    fn has_room(&mut self) -> Result<bool, TransportError> {
        self.cursor.has_room(&self.ring.control().released.0).map_err(|credit| {
            let what = format!("it released message {} of {}", credit.released, credit.sent);
            misbehaved(self.peer, what)
        })
    }

    /// The slot that `begin` gave last.
    pub(crate) fn begun(&self) -> Option<Region> {
        let begun = self.begun.filter(|begun| begun.from == From::Slot)?;
        Some(self.ring.message(self.cursor.slot(), begun.len))
    }

    /// Hands the begun message over; its length, or `None` if none was begun.
    #[inline]
    pub(crate) fn commit(&mut self) -> Option<usize> {
        let Begun { len, tag, from } = self.begun.take()?;
        let header = self.ring.header(self.cursor.slot());
        header.len.store(len as u64, Ordering::Relaxed);
        let (place, kind) = match from {
            From::Slot => (None, 0),
            From::Heap(offset) => (Some(offset), LENT),
            From::Process(address) => (Some(address), TO_PULL),
        };
        header.tag.store(tag | kind, Ordering::Relaxed);
        if let Some(place) = place {
            header.place().store(place, Ordering::Relaxed);
            self.lent = Some(self.cursor.number());
        }
        self.cursor.publish(&header.sequence);
        Some(len)
    }

    /// Whether the receiver still has something that it was lent. One that refuses all messages reads
    /// none.
    #[inline]
    pub(crate) fn lends(&mut self) -> bool {
        let Some(number) = self.lent else { return false };
        let control = self.ring.control();
        let back = self.cursor.is_back(number, &control.released.0)
            || control.refusal.0.state.load(Ordering::Acquire) != OPEN;
        if back {
            self.lent = None;
        }
        !back
    }

    /// Whether a message was lent of which this end does not know yet that it is back.
    #[inline]
    pub(crate) fn has_lent(&self) -> bool {
        self.lent.is_some()
    }

    /// Lets the receiver try whether it can read this process's memory.
    pub(crate) fn offer(&self, offer: Offer) {
        let offered = &self.ring.control().offer.0;
        offered.pid.store(offer.pid, Ordering::Relaxed);
        offered.address.store(offer.address, Ordering::Relaxed);
        offered.word.store(offer.word, Ordering::Relaxed);
        offered.state.store(1, Ordering::Release);
    }

    /// Whether the receiver pulls, as far as it has said.
    pub(crate) fn pulls(&self) -> Pulls {
        match self.ring.control().pulls.0.load(Ordering::Acquire) {
            0 => Pulls::Unknown,
            1 => Pulls::Yes,
            _ => Pulls::No,
        }
    }

    /// Tells the receiver that what it has been lent may change from now on.
    pub(crate) fn withdraw(&mut self) {
        if self.lends() {
            self.ring.control().sender.0.withdraw();
        }
    }

    /// Tells the receiver that no further message will come.
    pub(crate) fn leave(&self) {
        self.ring.control().sender.0.leave();
    }

    #[cold]
    fn refused(&self) -> TransportError {
        let refusal = &self.ring.control().refusal.0;
        if refusal.state.load(Ordering::Acquire) == TRUNCATED {
            return TransportError::Truncated {
                peer: self.own,
                sequence: refusal.sequence.load(Ordering::Relaxed),
                len: refusal.len.load(Ordering::Relaxed),
                limit: refusal.limit.load(Ordering::Relaxed),
            };
        }
        TransportError::PeerGone { peer: self.peer, doing: "sending to it", source: None }
    }

    #[cold]
    fn too_long(&self, len: usize) -> TransportError {
        TransportError::TooLong {
            peer: self.peer,
            len: len as u64,
            limit: self.ring.layout.limits.slot_bytes as u64,
        }
    }
}

/// The receiving end of a ring.
#[derive(Debug)]
pub(crate) struct ReceiveEnd {
    ring: Ring,
    cursor: ReceiveCursor,
    stage: Stage,
    peer: u32,
    /// Where messages are pulled to that no place was granted for, and lent ones moved to that have to be
    /// overwritten; in words as wide as the widest alignment that a slot has. Empty until the first.
    spare: Vec<u128>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Idle,
    /// A receive of at most so many bytes is posted.
    Posted {
        limit: usize,
        place: Option<Region>,
    },
    /// The message is the engine's, its slot too.
    Arrived(Arrival),
    /// The message is the engine's, in memory of this end: its slot is free.
    Kept(Arrival),
}

/// A message that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found {
    /// It has arrived.
    Here(Arrival),
    /// It lies elsewhere, by the peer's word.
    Away(Away),
}

/// A message that lies elsewhere than in its slot, all of it by the peer's word but for the length, which
/// is at most the receive's: lent, to be found and then [`ReceiveEnd::arrive`]d; or to be pulled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Away {
    pub(crate) from: From,
    pub(crate) len: usize,
    pub(crate) tag: u32,
    /// Where the receive wants it.
    pub(crate) place: Option<Region>,
}

impl ReceiveEnd {
    /// The end of the ring at `offset` of `memory`, which comes from rank `peer`.
    pub(crate) fn new(memory: &Arc<Mapping>, offset: usize, layout: Layout, peer: u32) -> Self {
        let cursor = ReceiveCursor::new(layout.limits.slots);
        let (ring, stage) = (Ring::new(memory, offset, layout), Stage::Idle);
        Self { ring, cursor, stage, peer, spare: Vec::new() }
    }

    /// As the sender's [`number_from`](SendEnd::number_from).
    pub(crate) fn number_from(&mut self, passed: u32) {
        self.cursor.number_from(passed);
    }

    /// Posts a receive of at most `limit` bytes, which may be put into `place`.
    #[inline]
    pub(crate) fn post(&mut self, limit: usize, place: Option<Region>) {
        debug_assert!(matches!(self.stage, Stage::Idle), "one receive at a time");
        self.stage = Stage::Posted { limit, place };
    }

    /// The message of the posted receive: in its slot, or lent.
    #[inline]
    pub(crate) fn poll(&mut self) -> Result<Option<Found>, TransportError> {
        let limit = match self.stage {
            Stage::Idle => return Ok(None),
            Stage::Arrived(arrival) | Stage::Kept(arrival) => {
                return Ok(Some(Found::Here(arrival)));
            }
            Stage::Posted { limit, .. } => limit,
        };
        let header = self.ring.header(self.cursor.slot());
        if !self.cursor.is_full(&header.sequence) {
            let left = self.ring.control().sender.0.has_left();
            // What it sent before it left is there by now.
            if !left {
                return Ok(None);
            }
            if !self.cursor.is_full(&header.sequence) {
                return Err(self.sender_gone());
            }
        }
        let len = header.len.load(Ordering::Relaxed);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let tag = header.tag.load(Ordering::Relaxed);
        if tag & !TAG_MASK != 0 {
            return self.find_away(len, tag).map(Some);
        }
        if len > limit || len > self.ring.layout.limits.slot_bytes {
            return Err(self.wrong_length(len, limit));
        }
        let bytes = self.ring.message(self.cursor.slot(), len);
        let arrival = Arrival { bytes, placed: false, lent: false, tag: tag & TAG_MASK };
        self.stage = Stage::Arrived(arrival);
        Ok(Some(Found::Here(arrival)))
    }

    fn find_away(&self, len: usize, tag: u32) -> Result<Found, TransportError> {
        let Stage::Posted { limit, place } = self.stage else { return Err(self.sender_gone()) };
        if len > limit {
            return Err(self.truncated(len, limit));
        }
        let at = self.ring.header(self.cursor.slot()).place().load(Ordering::Relaxed);
        let from = match tag & !TAG_MASK {
            LENT => From::Heap(at),
            TO_PULL => From::Process(at),
            kind => {
                return Err(misbehaved(self.peer, format!("it sent a message of kind {kind:x}")));
            }
        };
        self.intact()?;
        let place = place.and_then(|place| place.part(0, len));
        Ok(Found::Away(Away { from, len, tag: tag & TAG_MASK, place }))
    }

    /// The lent message that `poll` found lies at `bytes`.
    pub(crate) fn arrive(&mut self, bytes: Region, tag: u32) -> Arrival {
        let arrival = Arrival { bytes, placed: false, lent: true, tag };
        self.stage = Stage::Arrived(arrival);
        arrival
    }

    /// The memory for a message of `len` bytes that is pulled: the place that the receive wants, or
    /// this end's own.
    pub(crate) fn room_to_pull(&mut self, away: &Away) -> Region {
        away.place.unwrap_or_else(|| self.spare(away.len))
    }

    /// The message that was pulled lies in `bytes` now: its slot is free.
    pub(crate) fn pulled(&mut self, away: &Away, bytes: Region) -> Result<Arrival, TransportError> {
        self.intact()?;
        self.cursor.release(&self.ring.control().released.0);
        let arrival = Arrival { bytes, placed: away.place.is_some(), lent: false, tag: away.tag };
        self.stage = Stage::Kept(arrival);
        Ok(arrival)
    }

    /// The error of a peer that says it lent what it has not.
    #[cold]
    pub(crate) fn nothing_there(&self, away: &Away, heap_bytes: usize) -> TransportError {
        let what = match away.from {
            From::Heap(offset) => format!("{offset} of its heap of {heap_bytes} bytes"),
            From::Slot | From::Process(_) => "an address where it has none".to_owned(),
        };
        misbehaved(self.peer, format!("it lent {} bytes at {what}", away.len))
    }

    /// What the sender lets this end try, once it is there.
    pub(crate) fn offered(&self) -> Option<Offer> {
        let offered = &self.ring.control().offer.0;
        (offered.state.load(Ordering::Acquire) != 0).then(|| Offer {
            pid: offered.pid.load(Ordering::Relaxed),
            address: offered.address.load(Ordering::Relaxed),
            word: offered.word.load(Ordering::Relaxed),
        })
    }

    /// Tells the sender whether this end pulls.
    pub(crate) fn answer(&self, pulls: bool) {
        self.ring.control().pulls.0.store(if pulls { 1 } else { 2 }, Ordering::Release);
    }

    /// Memory of this end for `len` bytes, until the message in it is released.
    fn spare(&mut self, len: usize) -> Region {
        let words = len.div_ceil(size_of::<u128>());
        if self.spare.len() < words {
            self.spare.resize(words, 0);
        }
        let start = NonNull::from(&mut self.spare[..]).cast();
        // SAFETY: the vector has so many bytes and stays as it is until the message is released, for
        // the next can be posted only then; the endpoint lives as long as its engine.
        unsafe { Region::from_raw_parts(start, len) }
    }

    /// Whether what the sender lent was still lent when it was read until now.
    #[inline]
    pub(crate) fn intact(&self) -> Result<(), TransportError> {
        match self.ring.control().sender.0.after_reading() {
            Said::Open => Ok(()),
            Said::Left => Err(self.sender_gone()),
            Said::Withdrawn => Err(TransportError::Withdrawn { peer: self.peer }),
        }
    }

    /// Moves the lent message that has arrived to memory of this end, and gives it back; its length, or
    /// `None` if none was lent.
    pub(crate) fn take_over(&mut self) -> Result<Option<usize>, TransportError> {
        let Stage::Arrived(arrival @ Arrival { lent: true, .. }) = self.stage else {
            return Ok(None);
        };
        let len = arrival.bytes.len();
        let bytes = self.spare(len);
        let copied = bytes.copy_from(arrival.bytes);
        debug_assert!(copied, "it was made long enough");
        self.intact()?;
        self.cursor.release(&self.ring.control().released.0);
        self.stage = Stage::Kept(Arrival { bytes, lent: false, ..arrival });
        Ok(Some(len))
    }

    /// Gives the arrived message's slot back; its length, or `None` if no slot is given back now.
    #[inline]
    pub(crate) fn release(&mut self) -> Option<usize> {
        match self.stage {
            Stage::Arrived(arrival) => {
                self.stage = Stage::Idle;
                self.cursor.release(&self.ring.control().released.0);
                Some(arrival.bytes.len())
            }
            Stage::Kept(_) => {
                self.stage = Stage::Idle;
                None
            }
            Stage::Idle | Stage::Posted { .. } => None,
        }
    }

    /// Tells the sender that nobody reads any more.
    pub(crate) fn leave(&self) {
        let state = &self.ring.control().refusal.0.state;
        // A truncated message says more; only this side writes the word.
        if state.load(Ordering::Relaxed) == OPEN {
            state.store(LEFT, Ordering::Release);
        }
    }

    #[cold]
    fn sender_gone(&self) -> TransportError {
        TransportError::PeerGone { peer: self.peer, doing: "receiving from it", source: None }
    }

    /// The error of a message that fits not; the sender hears of it with its next message.
    #[cold]
    fn wrong_length(&self, len: usize, limit: usize) -> TransportError {
        let slot_bytes = self.ring.layout.limits.slot_bytes;
        if len > slot_bytes {
            let what = format!("it sent a message of {len} bytes in a slot of {slot_bytes}");
            return misbehaved(self.peer, what);
        }
        self.truncated(len, limit)
    }

    #[cold]
    fn truncated(&self, len: usize, limit: usize) -> TransportError {
        let (sequence, len, limit) = (self.cursor.sequence(), len as u64, limit as u64);
        let refusal = &self.ring.control().refusal.0;
        refusal.sequence.store(sequence, Ordering::Relaxed);
        refusal.len.store(len, Ordering::Relaxed);
        refusal.limit.store(limit, Ordering::Relaxed);
        refusal.state.store(TRUNCATED, Ordering::Release);
        TransportError::Truncated { peer: self.peer, sequence, len, limit }
    }
}

#[cold]
fn misbehaved(peer: u32, what: String) -> TransportError {
    TransportError::PeerMisbehaved { peer, what }
}

#[cfg(test)]
mod tests;
