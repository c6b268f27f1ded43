//! Owns which blocks a heap has, each with a serial, so that whoever makes use of a block's pages can tell it from a
//! later one at its place.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Heap;
use super::spans::Spans;
use crate::Region;

/// Memory of a heap for as long as it is one block, or the registered pages of one vector.
#[derive(Debug, Clone, Copy)]
pub struct Allocation {
    /// Never given twice in one process.
    pub serial: u64,
    /// Where it lies.
    pub region: Region,
}

/// Serials of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The blocks of a heap by offset, and what is free between them.
#[derive(Debug)]
pub(super) struct Blocks {
    free: Spans,
    /// By offset: bytes and serial.
    taken: BTreeMap<usize, (usize, u64)>,
}

impl Blocks {
    pub(super) fn new(len: usize) -> Self {
        Self { free: Spans::new(len), taken: BTreeMap::new() }
    }

    /// Takes `len` bytes, above zero; where they begin.
    pub(super) fn take(&mut self, len: usize) -> Option<usize> {
        let offset = self.free.take(len)?;
        self.taken.insert(offset, (len, NEXT.fetch_add(1, Ordering::Relaxed)));
        Some(offset)
    }

    /// Gives back what was taken.
    pub(super) fn give(&mut self, offset: usize, len: usize) {
        self.taken.remove(&offset);
        self.free.give(offset, len);
    }

    /// The block that holds all of so many bytes at an offset: where it begins, its length, its serial.
    fn around(&self, offset: usize, len: usize) -> Option<(usize, usize, u64)> {
        let (&start, &(bytes, serial)) = self.taken.range(..=offset).next_back()?;
        ((offset - start).checked_add(len)? <= bytes).then_some((start, bytes, serial))
    }
}

impl Heap {
    /// The allocation that holds all of `region`, if one does.
    pub fn allocation_of(&self, region: Region) -> Option<Allocation> {
        let offset = usize::try_from(self.offset_of(region)?).ok()?;
        let (start, bytes, serial) = self.blocks().around(offset, region.len())?;
        if let Some((_, (pages, _))) = self.registered_around(region) {
            return Some(Allocation { serial, region: pages });
        }
        // SAFETY: the block begins so many bytes before the region, which lies in it, and is mapped as a whole.
        let region = unsafe {
            let first = std::ptr::NonNull::new(region.as_ptr().sub(offset - start))?;
            Region::from_raw_parts(first, bytes)
        };
        Some(Allocation { serial, region })
    }

    /// How many allocations have ended so far: who has heard of none more since knows that what was there is.
    pub fn ended(&self) -> u64 {
        self.0.ended.load(Ordering::Acquire)
    }
}
