//! Owns the counting of a relay box's slots: which are full, in which order, and which are free again.
//!
//! # The protocol
//! One rank, the *source*, fills slots; one, the relay, empties them. Slots are taken and given back in any
//! order; at most [`SLOTS`] are with the relay.
//!
//! 1. The source fills a slot that it has, writes its index to place `n` of `order`, modulo the number of
//!    slots, and then `n + 1` to `put` (release). Place `n` was read before, for at most [`SLOTS`] are with
//!    the relay.
//! 2. The relay owns the slots of all places below `put` (acquire), oldest first: so pieces of a connection
//!    stay in order.
//! 3. The relay gives a slot back by setting its bit in `freed` (release); the source takes all bits at
//!    once (acquire), and has those slots again.
//! 4. Who finds no free slot, or no permission, sets `waits`, and looks once more after it has said that it
//!    sleeps. The relay reads `waits` after what it gave back and a full fence, and rings only if it is set.

use crate::primitive::{AtomicU32, Ordering};

/// Slots of one box. A power of two, so that places stay in turn when numbers wrap; at most 32, for they
/// are bits of a word.
pub(crate) const SLOTS: usize = 16;

/// What the source writes.
#[derive(Debug)]
#[repr(C, align(64))]
struct FromSource {
    put: AtomicU32,
    waits: AtomicU32,
    /// The source puts nothing more.
    leaves: AtomicU32,
    order: [AtomicU32; SLOTS],
}

/// What the relay writes (and the source takes).
#[derive(Debug)]
#[repr(C, align(64))]
struct FromRelay {
    freed: AtomicU32,
    /// How often a cell has changed.
    told: AtomicU32,
}

/// The words of one box. Bytes of any value are valid words, as peers' memory requires.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SlotWords {
    source: FromSource,
    relay: FromRelay,
}

/// All slots, as the source has them at the beginning.
pub(crate) const ALL: u32 = (1u64 << SLOTS).wrapping_sub(1) as u32;

impl SlotWords {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        let word = || AtomicU32::new(0);
        let order = std::array::from_fn(|_| word());
        let source = FromSource { put: word(), waits: word(), leaves: word(), order };
        Self { source, relay: FromRelay { freed: word(), told: word() } }
    }

    /// Rule 1, by the source: `slot`, which it has filled, is the `n`th that it puts.
    #[inline]
    pub(crate) fn put(&self, n: u32, slot: u32) {
        self.source.order[n as usize % SLOTS].store(slot, Ordering::Relaxed);
        self.source.put.store(n.wrapping_add(1), Ordering::Release);
    }

    /// Rule 2, by the relay, which has taken `n` so far: the next full slot.
    #[inline]
    pub(crate) fn next(&self, n: u32) -> Option<u32> {
        if self.source.put.load(Ordering::Acquire) == n {
            return None;
        }
        // Whatever the other process wrote there, it stays an index.
        Some(self.source.order[n as usize % SLOTS].load(Ordering::Relaxed) % SLOTS as u32)
    }

    /// Rule 3, by the relay.
    #[inline]
    pub(crate) fn free(&self, slot: u32) {
        self.relay.freed.fetch_or(1 << slot, Ordering::Release);
    }

    /// Rule 3, by the source: the slots that are free again, as bits.
    #[inline]
    pub(crate) fn take_freed(&self) -> u32 {
        if self.relay.freed.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.relay.freed.swap(0, Ordering::Acquire) & ALL
    }

    /// By the relay, after it has written a cell.
    #[inline]
    pub(crate) fn tell(&self) {
        self.relay.told.fetch_add(1, Ordering::Release);
    }

    /// By the source: changes whenever a cell has changed.
    #[inline]
    pub(crate) fn told(&self) -> u32 {
        self.relay.told.load(Ordering::Acquire)
    }

    /// Rule 4, by the source.
    #[inline]
    pub(crate) fn wait(&self) {
        self.source.waits.store(1, Ordering::Relaxed);
    }

    /// Rule 4, by the relay after the fence: whether the source waits for what was given back.
    #[inline]
    pub(crate) fn take_waiter(&self) -> bool {
        self.source.waits.load(Ordering::Relaxed) != 0
            && self.source.waits.swap(0, Ordering::Relaxed) != 0
    }

    /// By the source: it puts nothing more.
    pub(crate) fn leave(&self) {
        self.source.leaves.store(1, Ordering::Release);
    }

    /// By the relay: whether nothing more will be put.
    pub(crate) fn has_left(&self) -> bool {
        self.source.leaves.load(Ordering::Acquire) != 0
    }
}

#[cfg(test)]
#[cfg(loom)]
mod model;
