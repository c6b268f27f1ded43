//! Owns registration: the caller's memory, whose pages are replaced where they lie by pages of the heap, so that
//! peers can be lent what is in it as if it had been allocated there.
//!
//! Only whole pages can be replaced, so the ends of a buffer stay as they are and are copied to peers. The
//! caller's slice is borrowed meanwhile: nobody frees or moves it. When the registration ends, private pages
//! with the same contents take the place of the heap's.
//!
//! Only private anonymous memory is replaced, as allocators give it. A mapped file, or memory that is shared
//! already, would lose what it is shared with.

use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

use super::{Heap, HeapBlock};
use crate::ring::PAGE_BYTES;
use crate::{Region, TransportError};

/// Memory of the caller that peers can be lent; from [`Heap::register`].
#[derive(Debug)]
pub struct Registered<'a> {
    bytes: &'a mut [u8],
    /// `None` where the buffer has no whole page, or no process but this one is lent anything.
    pages: Option<Pages>,
}

/// Pages of the caller that are the heap's for the time being.
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    block: ManuallyDrop<HeapBlock>,
}

// SAFETY: the pages are those of the exclusive borrow beside them, and go where it goes.
unsafe impl Send for Pages {}
// SAFETY: a shared registration gives out shared slices only.
unsafe impl Sync for Pages {}

impl Heap {
    /// Makes `bytes` memory that peers are lent where it lies. They keep their contents and address.
    ///
    /// # Errors
    /// [`TransportError::HeapFull`]; [`TransportError::NotRegistrable`] for memory that is not private;
    /// [`TransportError::System`] when the host refuses to map.
    pub fn register<'a>(&self, bytes: &'a mut [u8]) -> Result<Registered<'a>, TransportError> {
        let whole = whole_pages_in(bytes);
        if whole.is_empty() || self.0.memory.is_none() {
            return Ok(Registered { bytes, pages: None });
        }
        check_private(&whole)?;
        let block = self.alloc(whole.len())?;
        let first = whole.start - bytes.as_ptr().addr();
        let inner = &mut bytes[first..first + whole.len()];
        let start = NonNull::from(&mut *inner).cast::<u8>();
        let mut pages = Pages { start, block: ManuallyDrop::new(block) };
        pages.block.as_mut_slice().copy_from_slice(inner);
        if let Err(source) = pages.replace() {
            pages.give_back();
            return Err(system("replacing pages by those of the heap", source));
        }
        self.note(&pages);
        Ok(Registered { bytes, pages: Some(pages) })
    }

    fn note(&self, pages: &Pages) {
        let Some(offset) = self.offset_of(pages.in_heap()) else { return };
        let mut registered = self.registered();
        registered.insert(pages.start.as_ptr().addr(), (pages.block.len(), offset));
        self.count_registered(registered.len());
    }

    fn forget(&self, start: NonNull<u8>) {
        let mut registered = self.registered();
        registered.remove(&start.as_ptr().addr());
        self.count_registered(registered.len());
    }

    /// Where in the heap `region` lies, if registered pages hold all of it.
    #[cold]
    pub(super) fn offset_of_registered(&self, region: Region) -> Option<u64> {
        let at = region.as_ptr().addr();
        let registered = self.registered();
        let (start, (len, offset)) = registered.range(..=at).next_back()?;
        let inside = at - start;
        (inside.checked_add(region.len())? <= *len).then_some(offset + inside as u64)
    }
}

impl Pages {
    /// Where they lie in the heap.
    fn in_heap(&self) -> Region {
        let bytes = self.block.as_slice();
        // SAFETY: the block lives; nobody reads or writes through this region, whose place alone counts.
        unsafe { Region::from_raw_parts(NonNull::from(bytes).cast(), bytes.len()) }
    }

    /// Puts the heap's pages at the caller's address.
    fn replace(&self) -> io::Result<()> {
        let heap = &self.block.heap;
        let (Some(memory), Some(offset)) = (heap.memory(), heap.offset_of(self.in_heap())) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: the range is whole private pages of a slice that is exclusively borrowed, and what
        // takes their place has the same bytes: no value changes, and no other memory is touched.
        unsafe {
            rustix::mm::mmap(
                self.start.as_ptr().cast(),
                self.block.len(),
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
                memory,
                offset,
            )?;
        }
        Ok(())
    }

    /// Puts private pages with the same bytes back.
    fn restore(&mut self) -> io::Result<()> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        let (start, len) = (self.start.as_ptr(), self.block.len());
        // SAFETY: the range is the one that `replace` mapped, of a slice that is still borrowed; its
        // bytes are in the block too, and are copied back before anyone reads them.
        unsafe {
            rustix::mm::mmap_anonymous(start.cast(), len, access, flags)?;
            std::ptr::copy_nonoverlapping(self.block.as_slice().as_ptr(), start, len);
        }
        Ok(())
    }

    fn give_back(mut self) {
        // SAFETY: `self` is consumed, so the block is not used again.
        unsafe { ManuallyDrop::drop(&mut self.block) };
    }
}

impl Registered<'_> {
    /// The caller's bytes.
    pub const fn as_slice(&self) -> &[u8] {
        self.bytes
    }

    /// The caller's bytes, to be written.
    pub const fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// How many of them peers are lent where they lie: those on whole pages.
    pub fn lendable_bytes(&self) -> usize {
        self.pages.as_ref().map_or(0, |pages| pages.block.len())
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let Some(mut pages) = self.pages.take() else { return };
        let heap = pages.block.heap.clone();
        heap.forget(pages.start);
        match pages.restore() {
            Ok(()) => pages.give_back(),
            // The caller's memory stays what it is, so its block is never given to another.
            Err(error) => tracing::warn!(%error, "registered memory stays shared"),
        }
    }
}

/// The addresses of the whole pages in `bytes`.
fn whole_pages_in(bytes: &[u8]) -> Range<usize> {
    let range = bytes.as_ptr_range();
    let start = range.start.addr().next_multiple_of(PAGE_BYTES);
    let end = range.end.addr() / PAGE_BYTES * PAGE_BYTES;
    start..end.max(start)
}

/// Refuses memory that is not private and anonymous from end to end, by what the kernel says of it.
fn check_private(range: &Range<usize>) -> Result<(), TransportError> {
    let maps = fs::read_to_string("/proc/self/maps")
        .map_err(|source| system("reading /proc/self/maps", source))?;
    let mut reached = range.start;
    for line in maps.lines() {
        let Some(area) = Area::parse(line) else { continue };
        if area.range.end <= reached || area.range.start >= range.end {
            continue;
        }
        if !area.is_private_anonymous() {
            let what = line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
            return Err(TransportError::NotRegistrable { what });
        }
        reached = area.range.end;
    }
    if reached >= range.end {
        return Ok(());
    }
    Err(TransportError::NotRegistrable { what: "not mapped".to_owned() })
}

/// A line of `/proc/self/maps`: `start-end access offset device inode name`.
struct Area<'l> {
    range: Range<usize>,
    access: &'l str,
    inode: &'l str,
    name: &'l str,
}

impl<'l> Area<'l> {
    fn parse(line: &'l str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let (access, inode) = (words.next()?, words.nth(2)?);
        let name = words.next().unwrap_or_default();
        Some(Self { range: address(start)?..address(end)?, access, inode, name })
    }

    /// Of the stack, too, pages must stay what they are: the kernel lets it grow.
    fn is_private_anonymous(&self) -> bool {
        self.access.starts_with("rw")
            && self.access.ends_with('p')
            && self.inode == "0"
            && self.name != "[stack]"
    }
}

#[cold]
fn system(call: &str, source: io::Error) -> TransportError {
    TransportError::System { call: call.to_owned(), source }
}
