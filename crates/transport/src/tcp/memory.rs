//! Owns the memory of slots: zeroed once, handed out as regions, given back when dropped.

use std::ptr::{self, NonNull};

use crate::Region;

/// Slots of equal length, each aligned to 16 bytes, named by serial numbers that wrap at 2^32.
///
/// Their number is a power of two, so that the wrap leaves the order of slots intact.
/// The memory comes from the kernel as untouched zero pages, so a slot that is never used costs
/// address space alone.
pub(super) struct Arena {
    whole: Region,
    words: usize,
    stride: usize,
    slot_bytes: usize,
    count: usize,
}

impl Arena {
    /// At least `count` slots of `slot_bytes` each.
    pub fn new(count: usize, slot_bytes: usize) -> Self {
        let count = count.next_power_of_two();
        let stride = slot_bytes.next_multiple_of(size_of::<u128>());
        let words = count * stride / size_of::<u128>();
        let memory = Box::into_raw(vec![0u128; words].into_boxed_slice());
        let start = NonNull::new(memory.cast::<u8>()).unwrap_or(NonNull::dangling());
        // SAFETY: the allocation is `words` words long and lives until `drop`; the owner of the
        // arena gives out no two overlapping slots at a time, and drops it after every use.
        let whole = unsafe { Region::from_raw_parts(start, words * size_of::<u128>()) };
        Self { whole, words, stride, slot_bytes, count }
    }

    /// The first `len` bytes of slot `serial` modulo the number of slots; `None` when a slot is
    /// shorter.
    pub fn slot(&self, serial: u32, len: usize) -> Option<Region> {
        if len > self.slot_bytes {
            return None;
        }
        self.whole.part((serial as usize & (self.count - 1)) * self.stride, len)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let memory = ptr::slice_from_raw_parts_mut(self.whole.as_ptr().cast::<u128>(), self.words);
        // SAFETY: this is the pointer and length that `Box::into_raw` gave in `new`, dropped once.
        drop(unsafe { Box::from_raw(memory) });
    }
}
