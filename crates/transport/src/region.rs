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

    /// As [`copy_from`](Self::copy_from), past the caches: for memory that nobody reads before much
    /// else went through them. The two are disjoint.
    #[must_use]
    pub fn stream_from(&self, from: Region) -> bool {
        if from.len > self.len {
            return false;
        }
        // SAFETY: both are valid for `from.len` bytes by `from_raw_parts`.
        unsafe { stream(from.as_ptr(), self.as_ptr(), from.len) };
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

/// Bytes of a cache line: what one step of a streaming copy writes.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Copies with stores that bypass the caches and own no line for it (which would read it first).
///
/// # Safety
/// As for [`std::ptr::copy`].
#[cfg(target_arch = "x86_64")]
unsafe fn stream(from: *const u8, to: *mut u8, len: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    let head = to.align_offset(LINE_BYTES).min(len);
    let lines = (len - head) / LINE_BYTES;
    // SAFETY: all that is read and written lies in the `len` bytes that the caller vouches for; the
    // stores are aligned, for they begin at a line. SSE2 is a part of x86-64. The fence orders them before
    // any store that tells others of them.
    unsafe {
        std::ptr::copy(from, to, head);
        for line in 0..lines {
            let at = head + line * LINE_BYTES;
            let (from, to) = (from.add(at).cast::<__m128i>(), to.add(at).cast::<__m128i>());
            let words = [0, 1, 2, 3].map(|i| _mm_loadu_si128(from.add(i)));
            for (i, word) in words.into_iter().enumerate() {
                _mm_stream_si128(to.add(i), word);
            }
        }
        _mm_sfence();
        let done = head + lines * LINE_BYTES;
        std::ptr::copy(from.add(done), to.add(done), len - done);
    }
}

/// # Safety
/// As for [`std::ptr::copy`].
#[cfg(not(target_arch = "x86_64"))]
unsafe fn stream(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: as for the caller.
    unsafe { std::ptr::copy(from, to, len) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_copies_what_copying_copies_at_every_alignment() {
        let from = Region::leak((0..1000u32).map(|i| (i * 7) as u8).collect());
        for len in (0..130).chain([500, 640, 777]) {
            for (skip, shift) in [(0, 0), (1, 3), (17, 63), (64, 1)] {
                let to = Region::leak(vec![0; 1000].into());
                let part = from.part(skip, len).unwrap();
                assert!(to.part(shift, len + 1).unwrap().stream_from(part));
                let mut expected = vec![0; 1000];
                expected[shift..shift + len].copy_from_slice(&part.to_vec());
                assert!(to.to_vec() == expected, "{len} bytes from {skip} to {shift}");
            }
        }
        let short = Region::leak(vec![0; 9].into());
        assert!(!short.stream_from(from.part(0, 10).unwrap()));
    }
}
