//! Owns the ring: slots in memory that two ranks share, in which one sends to the other.
//!
//! # Its memory
//! Whatever one side writes while the other reads has cache lines of its own: the receiver's credit,
//! the receiver's refusal, the sender's farewell, then one line per slot with the sequence word, the
//! call's tag, the length and the message itself if it has at most [`INLINE_BYTES`] (so that a tiny
//! message is one transfer of a cache line), then one area per slot for longer messages. All of it begins as
//! zeroes and takes up memory only where it was touched.
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
use crate::seam::{Arrival, Limits};
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
    /// Written by the sender, at most once: 1 when it has left.
    sender_left: Apart<AtomicU32>,
}

/// Why the receiver takes no more messages.
#[repr(C)]
struct Refusal {
    state: AtomicU32,
    sequence: AtomicU32,
    len: AtomicU64,
    limit: AtomicU64,
}

const OPEN: u32 = 0;
const LEFT: u32 = 1;
const TRUNCATED: u32 = 2;

#[repr(C, align(64))]
struct Header {
    sequence: AtomicU32,
    tag: AtomicU32,
    len: AtomicU64,
    inline: UnsafeCell<[u8; INLINE_BYTES]>,
}

const _: () = assert!(size_of::<Header>() == 64);

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
    /// Ring number `index` of those that lie one after the other in `memory`.
    fn new(memory: &Arc<Mapping>, index: usize, layout: Layout) -> Self {
        let offset = index * layout.ring_bytes;
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
    own: u32,
    peer: u32,
}

/// What is known of a message before it is handed over.
#[derive(Debug, Clone, Copy)]
struct Begun {
    len: usize,
    tag: u32,
}

impl SendEnd {
    /// The end of rank `own` in ring `index` of `memory`, which leads to rank `peer`.
    pub(crate) fn new(
        memory: &Arc<Mapping>,
        index: usize,
        layout: Layout,
        own: u32,
        peer: u32,
    ) -> Self {
        let cursor = SendCursor::new(layout.limits.slots);
        Self { ring: Ring::new(memory, index, layout), cursor, begun: None, own, peer }
    }

    /// The slot for a message of `len` bytes of the call `tag`, if one is free.
    #[inline]
    pub(crate) fn begin(&mut self, len: usize, tag: u32) -> Result<Option<Region>, TransportError> {
        let control = self.ring.control();
        if control.refusal.0.state.load(Ordering::Acquire) != OPEN {
            return Err(self.refused());
        }
        if len > self.ring.layout.limits.slot_bytes {
            return Err(self.too_long(len));
        }
        match self.cursor.has_room(&control.released.0) {
            Ok(true) => {
                self.begun = Some(Begun { len, tag });
                Ok(Some(self.ring.message(self.cursor.slot(), len)))
            }
            Ok(false) => Ok(None),
            Err(credit) => Err(misbehaved(
                self.peer,
                format!("it released message {} of {}", credit.released, credit.sent),
            )),
        }
    }

    /// The slot that `begin` gave last.
    pub(crate) fn begun(&self) -> Option<Region> {
        self.begun.map(|begun| self.ring.message(self.cursor.slot(), begun.len))
    }

    /// Hands the begun message over; its length, or `None` if none was begun.
    #[inline]
    pub(crate) fn commit(&mut self) -> Option<usize> {
        let Begun { len, tag } = self.begun.take()?;
        let header = self.ring.header(self.cursor.slot());
        header.len.store(len as u64, Ordering::Relaxed);
        header.tag.store(tag, Ordering::Relaxed);
        self.cursor.publish(&header.sequence);
        Some(len)
    }

    /// Tells the receiver that no further message will come.
    pub(crate) fn leave(&self) {
        self.ring.control().sender_left.0.store(1, Ordering::Release);
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// A receive of at most so many bytes is posted.
    Posted {
        limit: usize,
    },
    /// The message is the engine's.
    Arrived {
        len: usize,
        tag: u32,
    },
}

impl ReceiveEnd {
    /// The end of ring `index` of `memory`, which comes from rank `peer`.
    pub(crate) fn new(memory: &Arc<Mapping>, index: usize, layout: Layout, peer: u32) -> Self {
        let cursor = ReceiveCursor::new(layout.limits.slots);
        Self { ring: Ring::new(memory, index, layout), cursor, stage: Stage::Idle, peer }
    }

    /// Posts a receive of at most `limit` bytes.
    #[inline]
    pub(crate) fn post(&mut self, limit: usize) {
        debug_assert_eq!(self.stage, Stage::Idle, "one receive at a time");
        self.stage = Stage::Posted { limit };
    }

    /// The message of the posted receive, in its slot.
    #[inline]
    pub(crate) fn poll(&mut self) -> Result<Option<Arrival>, TransportError> {
        let limit = match self.stage {
            Stage::Idle => return Ok(None),
            Stage::Arrived { len, tag } => return Ok(Some(self.arrival(len, tag))),
            Stage::Posted { limit } => limit,
        };
        let header = self.ring.header(self.cursor.slot());
        if !self.cursor.is_full(&header.sequence) {
            let left = self.ring.control().sender_left.0.load(Ordering::Acquire) != 0;
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
        if len > limit || len > self.ring.layout.limits.slot_bytes {
            return Err(self.wrong_length(len, limit));
        }
        let tag = header.tag.load(Ordering::Relaxed);
        self.stage = Stage::Arrived { len, tag };
        Ok(Some(self.arrival(len, tag)))
    }

    #[inline]
    fn arrival(&self, len: usize, tag: u32) -> Arrival {
        let bytes = self.ring.message(self.cursor.slot(), len);
        Arrival { bytes, placed: false, tag }
    }

    /// Gives the arrived message's slot back; its length, or `None` if none has arrived.
    #[inline]
    pub(crate) fn release(&mut self) -> Option<usize> {
        let Stage::Arrived { len, .. } = self.stage else { return None };
        self.stage = Stage::Idle;
        self.cursor.release(&self.ring.control().released.0);
        Some(len)
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
