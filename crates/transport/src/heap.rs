//! Owns the heap: memory of one rank that its local peers can read, so that messages in it can be
//! lent to them instead of copied.
//!
//! A heap is one sparse memfd, about as large as the host's memory. It is mapped when the first
//! block is asked for, takes up memory only where it was touched, and gives a freed block's pages
//! back to the host at once. So a world that never allocates pays for a descriptor, and a block is
//! always zeroed: its pages are fresh.
//!
//! Peers map it read-only and piece by piece, as they are lent something (see `peer`). A peer *could*
//! map it for writing: a seal against that (`F_SEAL_FUTURE_WRITE`) also forbids giving pages back. It is a
//! rank of the same user and the same world, trusted as with slots.

mod blocks;
mod peer;
mod registered;
mod spans;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::mm::Advice;
use rustix::process::Pid;

pub use self::blocks::Allocation;
use self::blocks::Blocks;
pub(crate) use self::peer::{NotThere, PeerHeap};
pub use self::registered::Registered;
use crate::mapping::Mapping;
use crate::ring::PAGE_BYTES;
use crate::{Region, TransportError};

/// A rank's heap; clones are the same one.
#[derive(Debug, Clone)]
pub struct Heap(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By which peers map it; `None` where no process but this one does.
    memory: Option<OwnedFd>,
    len: usize,
    /// Empty until the first block is asked for.
    mapped: OnceLock<Mapping>,
    blocks: Mutex<Blocks>,
    in_use: AtomicUsize,
    /// Allocations that have ended so far.
    ended: AtomicU64,
    /// Memory of the caller that is the heap's for the time being: by address, its length and offset.
    registered: Mutex<BTreeMap<usize, (usize, u64)>>,
    /// How many those are: most heaps have none, and no message of theirs takes the lock.
    registrations: AtomicUsize,
    /// The process whose blocks these are: the copy of a block in a forked child frees nothing.
    process: Pid,
}

impl Heap {
    /// A heap of `bytes`, rounded up to pages, that peers on this host can be lent.
    ///
    /// # Errors
    /// [`TransportError::System`] when the host gives no memfd of that size.
    pub fn shared(bytes: usize) -> Result<Self, TransportError> {
        let len = whole_pages(bytes).ok_or_else(|| refused(bytes, io::ErrorKind::InvalidInput))?;
        let memory = Mapping::memory("crosstie-heap", len).map_err(|e| refused(bytes, e))?;
        Ok(Self::of(Some(memory), len))
    }

    /// A heap of `bytes`, rounded up to pages, for threads of this process.
    pub fn private(bytes: usize) -> Self {
        Self::of(None, whole_pages(bytes).unwrap_or(0))
    }

    /// As many bytes as this host has memory, to within which nothing that fits is refused.
    pub fn default_bytes() -> usize {
        let info = rustix::system::sysinfo();
        let bytes = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
        usize::try_from(bytes).unwrap_or(usize::MAX).min(isize::MAX as usize / 2)
    }

    fn of(memory: Option<OwnedFd>, len: usize) -> Self {
        Self(Arc::new(Inner {
            memory,
            len,
            mapped: OnceLock::new(),
            blocks: Mutex::new(Blocks::new(len)),
            in_use: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            registered: Mutex::default(),
            registrations: AtomicUsize::new(0),
            process: rustix::process::getpid(),
        }))
    }

    /// A zeroed block of `bytes`, at the start of a page.
    ///
    /// # Errors
    /// [`TransportError::HeapFull`]; [`TransportError::System`] when the heap cannot be mapped.
    pub fn alloc(&self, bytes: usize) -> Result<HeapBlock, TransportError> {
        if bytes == 0 {
            return Ok(HeapBlock { heap: self.clone(), start: None, len: 0 });
        }
        let full = || TransportError::HeapFull {
            bytes: bytes as u64,
            in_use: self.in_use() as u64,
            heap_bytes: self.0.len as u64,
        };
        let pages = whole_pages(bytes).filter(|&pages| pages <= self.0.len).ok_or_else(full)?;
        let mut blocks = self.blocks();
        let mapping = self.mapping()?;
        let offset = blocks.take(pages).ok_or_else(full)?;
        self.0.in_use.fetch_add(pages, Ordering::Relaxed);
        // SAFETY: the span lies inside the heap, which is mapped whole.
        let start = unsafe { mapping.start().add(offset) };
        Ok(HeapBlock { heap: self.clone(), start: Some(start), len: bytes })
    }

    /// The heap's mapping, made now if this is the first use. The caller holds the lock on `blocks`.
    fn mapping(&self) -> Result<&Mapping, TransportError> {
        if let Some(mapping) = self.0.mapped.get() {
            return Ok(mapping);
        }
        let mapping = match &self.0.memory {
            Some(memory) => Mapping::whole(memory, self.0.len),
            None => Mapping::anonymous(self.0.len),
        };
        let mapping = mapping.map_err(|source| refused(self.0.len, source))?;
        Ok(self.0.mapped.get_or_init(|| mapping))
    }

    /// Bytes that all blocks may have together.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether it has no room for any block.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Bytes of the blocks that are allocated at present, in whole pages.
    pub fn in_use(&self) -> usize {
        self.0.in_use.load(Ordering::Relaxed)
    }

    /// The descriptor by which peers map it.
    pub(crate) fn memory(&self) -> Option<BorrowedFd<'_>> {
        self.0.memory.as_ref().map(AsFd::as_fd)
    }

    /// Where in the heap `region` lies, if it does as a whole.
    #[inline]
    pub(crate) fn offset_of(&self, region: Region) -> Option<u64> {
        let start = self.0.mapped.get()?.start().as_ptr().addr();
        let offset = region.as_ptr().addr().wrapping_sub(start);
        if offset <= self.0.len && region.len() <= self.0.len - offset {
            return Some(offset as u64);
        }
        if self.0.registrations.load(Ordering::Acquire) > 0 {
            return self.offset_of_registered(region);
        }
        None
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.0.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registered(&self) -> MutexGuard<'_, BTreeMap<usize, (usize, u64)>> {
        self.0.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_registered(&self, registrations: usize) {
        self.0.registrations.store(registrations, Ordering::Release);
    }

    /// Gives a block's pages back to the host, and its span to others.
    fn free(&self, start: NonNull<u8>, len: usize) {
        if self.0.process != rustix::process::getpid() {
            return;
        }
        let (Some(mapping), Some(pages)) = (self.0.mapped.get(), whole_pages(len)) else { return };
        let offset = start.as_ptr().addr() - mapping.start().as_ptr().addr();
        let advice = Advice::LinuxRemove;
        // SAFETY: the pages are the block's, which nobody uses any more; they read as zeroes next.
        let removed = unsafe { rustix::mm::madvise(start.as_ptr().cast(), pages, advice) };
        if removed.is_err() {
            // SAFETY: as above. A host that takes no pages back still must find zeroes in them.
            unsafe { start.as_ptr().write_bytes(0, pages) };
        }
        let mut blocks = self.blocks();
        blocks.give(offset, pages);
        self.0.ended.fetch_add(1, Ordering::Release);
        self.0.in_use.fetch_sub(pages, Ordering::Relaxed);
    }
}

/// A piece of a [`Heap`], freed on drop. It keeps the heap alive.
#[derive(Debug)]
pub struct HeapBlock {
    heap: Heap,
    /// `None` for no bytes.
    start: Option<NonNull<u8>>,
    len: usize,
}

// SAFETY: a block owns its bytes, as a boxed slice does; the heap's own state is behind a lock.
unsafe impl Send for HeapBlock {}
// SAFETY: as above; a shared block is only read.
unsafe impl Sync for HeapBlock {}

impl HeapBlock {
    /// Its length in bytes, as asked for.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its bytes; the first is at the start of a page.
    pub const fn as_slice(&self) -> &[u8] {
        match self.start {
            // SAFETY: the block owns so many bytes, mapped as long as its heap lives; peers only read
            // them (see the head of this module), and nothing else in this process knows them.
            Some(start) => unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) },
            None => &[],
        }
    }

    /// A region over a block that is never freed, so that it may be used for ever, as by
    /// [`Region::leak`].
    pub fn leak(self) -> Region {
        let block = std::mem::ManuallyDrop::new(self);
        match block.start {
            // SAFETY: neither the block nor its heap, of which it is a part, is ever dropped.
            Some(start) => unsafe { Region::from_raw_parts(start, block.len) },
            None => Region::empty(),
        }
    }

    /// Its bytes, to be written.
    pub const fn as_mut_slice(&mut self) -> &mut [u8] {
        match self.start {
            // SAFETY: as above, and the borrow is exclusive.
            Some(start) => unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len) },
            None => &mut [],
        }
    }
}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            self.heap.free(start, self.len);
        }
    }
}

fn whole_pages(bytes: usize) -> Option<usize> {
    let pages = bytes.checked_next_multiple_of(PAGE_BYTES)?;
    isize::try_from(pages).ok().map(|_| pages)
}

#[cold]
fn refused(bytes: usize, source: impl Into<io::Error>) -> TransportError {
    TransportError::System { call: format!("a heap of {bytes} bytes"), source: source.into() }
}

#[cfg(test)]
mod tests;
