//! Owns [`Region`]: a piece of memory that an operation may touch until it is complete.

use std::ptr::NonNull;

/// A piece of memory that outlives the operation using it.
///
/// Copyable on purpose: source and destination of an operation may coincide (in place), so this
/// is a raw view, not a borrow. Whoever makes one vouches for it; the plan's verifier has shown
/// that no two accesses of an operation conflict.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a Region is an address; the contract of `from_raw_parts` covers access from the one
// thread that drives the engine at a time.
unsafe impl Send for Region {}

impl Region {
    /// A region over `len` bytes at `start`.
    ///
    /// # Safety
    /// The memory is valid for reads (and for writes, when the region is used as a destination)
    /// until every operation that was given the region, or a part of it, has completed or its
    /// engine has been dropped; meanwhile nobody else writes what the operation reads, nor reads
    /// or writes what it writes.
    pub const unsafe fn from_raw_parts(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len }
    }

    /// A region of no bytes.
    pub const fn empty() -> Self {
        Self { start: NonNull::dangling(), len: 0 }
    }

    /// A region over memory that is never freed, so that it may be used for ever.
    pub fn leak(memory: Box<[u8]>) -> Self {
        let memory = Box::leak(memory);
        Self { start: NonNull::from(&mut *memory).cast(), len: memory.len() }
    }

    /// Its first byte.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Its length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part of `len` bytes at `offset`; `None` when that does not lie inside.
    pub fn part(&self, offset: usize, len: usize) -> Option<Self> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset` is at most `self.len`, so the sum stays in (or one past) the memory
        // that `from_raw_parts` vouched for.
        let start = unsafe { self.start.add(offset) };
        Some(Self { start, len })
    }

    /// Copies `from` into the front of this region; the two coincide or are disjoint.
    ///
    /// Returns `false`, and copies nothing, when `from` is longer than this region.
    #[must_use]
    pub fn copy_from(&self, from: Region) -> bool {
        if from.len > self.len {
            return false;
        }
        // SAFETY: both are valid for `from.len` bytes by `from_raw_parts`; `copy` allows overlap.
        unsafe { std::ptr::copy(from.as_ptr(), self.as_ptr(), from.len) };
        true
    }

    /// A copy of its bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        // SAFETY: valid for reads of `len` bytes by `from_raw_parts`, and not written meanwhile.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }.to_vec()
    }

    /// Copies `bytes` into the front of this region.
    ///
    /// Returns `false`, and copies nothing, when `bytes` is longer than this region.
    #[must_use]
    pub fn fill(&self, bytes: &[u8]) -> bool {
        if bytes.len() > self.len {
            return false;
        }
        // SAFETY: valid for writes of `len` bytes by `from_raw_parts`; `copy` allows overlap.
        unsafe { std::ptr::copy(bytes.as_ptr(), self.as_ptr(), bytes.len()) };
        true
    }
}
