//! Owns the memory of slots: zeroed once, handed out as regions, given back when dropped.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::medium::{Keys, Place};
use crate::mapping::Mapping;
use crate::{Region, TransportError};

/// Memory that a medium reaches by `keys`: a block of its own, or a part of one.
pub struct Memory {
    whole: Region,
    keys: Keys,
    _owner: Arc<dyn Send + Sync>,
}

/// What memory is taken from.
pub(super) type Source<'a> = &'a mut dyn FnMut(usize) -> Result<Memory, TransportError>;

impl Memory {
    /// So many bytes that no device knows.
    pub fn own(bytes: usize) -> Self {
        let block = Block::new(bytes);
        Self { whole: block.whole(), keys: Keys::NONE, _owner: Arc::new(block) }
    }

    /// A part of `mapping`, which nobody else is given; `None` when it does not lie inside.
    pub(crate) fn part(
        mapping: &Arc<Mapping>,
        keys: Keys,
        offset: usize,
        bytes: usize,
    ) -> Option<Self> {
        let whole = mapping.region().part(offset, bytes)?;
        Some(Self { whole, keys, _owner: Arc::clone(mapping) as _ })
    }
}

/// Zeroed memory. It comes from the kernel as untouched pages, so what is never used costs address space alone.
struct Block {
    start: NonNull<u128>,
    words: usize,
}

// SAFETY: a block is memory tied to no thread; who may touch which part is the business of those who hold it.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// At least so many bytes.
    fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(size_of::<u128>());
        let memory = Box::into_raw(vec![0u128; words].into_boxed_slice());
        Self { start: NonNull::new(memory.cast()).unwrap_or(NonNull::dangling()), words }
    }

    fn whole(&self) -> Region {
        // SAFETY: the allocation is `words` words long and lives as long as the block, which everyone who hands
        // out parts of this keeps; no two of those overlap.
        unsafe { Region::from_raw_parts(self.start.cast(), self.words * size_of::<u128>()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let memory = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.words);
        // SAFETY: this is the pointer and length that `Box::into_raw` gave in `new`, dropped once.
        drop(unsafe { Box::from_raw(memory) });
    }
}

/// Slots of equal length, each aligned to 16 bytes, named by serial numbers that wrap at 2^32.
///
/// Their number is a power of two, so that the wrap leaves the order of slots intact.
pub(super) struct Arena {
    memory: Memory,
    slot_bytes: usize,
    count: usize,
}

impl Arena {
    /// At least `count` slots of `slot_bytes` each.
    pub fn new(
        count: usize,
        slot_bytes: usize,
        source: Source<'_>,
    ) -> Result<Self, TransportError> {
        let memory = source(Self::bytes(count, slot_bytes))?;
        Ok(Self { memory, slot_bytes, count: count.next_power_of_two() })
    }

    /// What such slots take up.
    pub const fn bytes(count: usize, slot_bytes: usize) -> usize {
        count.next_power_of_two() * stride(slot_bytes)
    }

    /// The first `len` bytes of slot `serial` modulo the number of slots; `None` when a slot is
    /// shorter.
    pub fn slot(&self, serial: u32, len: usize) -> Option<Region> {
        if len > self.slot_bytes {
            return None;
        }
        let offset = slot_offset(serial, self.count, self.slot_bytes);
        self.memory.whole.part(offset, len)
    }

    pub fn keys(&self) -> Keys {
        self.memory.keys
    }

    /// Where it begins, for a peer that writes to its slots.
    pub fn place(&self) -> Place {
        Place::of(self.memory.whole, self.memory.keys)
    }
}

/// Where slot `serial` begins, of `count` (a power of two) in an arena.
pub(super) const fn slot_offset(serial: u32, count: usize, slot_bytes: usize) -> usize {
    (serial as usize & (count - 1)) * stride(slot_bytes)
}

const fn stride(slot_bytes: usize) -> usize {
    slot_bytes.next_multiple_of(size_of::<u128>())
}
