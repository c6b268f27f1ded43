//! Owns registration: a vector whose pages are replaced, where they lie, by pages of the heap, so that peers can
//! be lent what is in it as if it had been allocated there.
//!
//! Only whole pages can be replaced, so the ends of a vector stay as they are and are copied to peers. The
//! vector moves into its registration: so nobody frees or moves its memory while the heap takes it for its
//! own, not even who forgets the registration. When that ends, private pages with the same contents take the
//! place of the heap's.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use rustix::mm::{MapFlags, ProtFlags};

use super::{Heap, HeapBlock};
use crate::ring::PAGE_BYTES;
use crate::{Region, TransportError};

/// A vector that peers can be lent; from [`Heap::register`]. It derefs to its elements.
#[derive(Debug)]
pub struct Registered<T: Copy> {
    elements: Vec<T>,
    /// `None` where the vector has no whole page, or no process but this one is lent anything.
    pages: Option<Pages>,
}

/// Pages of a vector that are the heap's for the time being.
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    block: ManuallyDrop<HeapBlock>,
}

// SAFETY: the pages are those of the vector beside them, and go where it goes.
unsafe impl Send for Pages {}
// SAFETY: a shared registration gives out shared slices only.
unsafe impl Sync for Pages {}

impl Heap {
    /// Makes the memory of `elements` such that peers are lent it where it lies. They keep their values and
    /// address.
    ///
    /// # Errors
    /// With the elements, as they were: [`TransportError::HeapFull`]; [`TransportError::System`] when the host
    /// refuses to map.
    pub fn register<T: Copy>(
        &self,
        mut elements: Vec<T>,
    ) -> Result<Registered<T>, (TransportError, Vec<T>)> {
        let whole = whole_pages_in(&elements);
        if whole.is_empty() || self.0.memory.is_none() {
            return Ok(Registered { elements, pages: None });
        }
        let block = match self.alloc(whole.len()) {
            Ok(block) => ManuallyDrop::new(block),
            Err(error) => return Err((error, elements)),
        };
        let first = NonNull::from(&mut elements[..]).cast::<u8>();
        // SAFETY: the whole pages lie inside the vector's elements.
        let start = unsafe { first.add(whole.start - first.addr().get()) };
        let mut pages = Pages { start, block };
        match pages.replace() {
            Ok(()) => {
                self.note(&pages);
                Ok(Registered { elements, pages: Some(pages) })
            }
            Err(source) => {
                let call = "replacing pages by those of the heap".to_owned();
                Err((TransportError::System { call, source }, pages.end(elements)))
            }
        }
    }

    fn note(&self, pages: &Pages) {
        let Some(offset) = self.offset_of(pages.in_heap()) else { return };
        let mut registered = self.registered();
        registered.insert(pages.start.addr().get(), (pages.block.len(), offset));
        self.count_registered(registered.len());
    }

    fn forget(&self, start: NonNull<u8>) {
        let mut registered = self.registered();
        registered.remove(&start.addr().get());
        self.count_registered(registered.len());
        self.0.ended.fetch_add(1, Ordering::Release);
    }

    /// Where in the heap `region` lies, if registered pages hold all of it.
    #[cold]
    pub(super) fn offset_of_registered(&self, region: Region) -> Option<u64> {
        let (inside, (_, offset)) = self.registered_around(region)?;
        Some(offset + inside as u64)
    }

    /// The registered pages that hold all of `region`, with their offset in the heap, and where in them it begins.
    pub(super) fn registered_around(&self, region: Region) -> Option<(usize, (Region, u64))> {
        let at = region.as_ptr().addr();
        let registered = self.registered();
        let (start, (len, offset)) = registered.range(..=at).next_back()?;
        let inside = at - start;
        if inside.checked_add(region.len())? > *len {
            return None;
        }
        // SAFETY: the pages are there as long as they are registered, and begin before the region, which lies in them.
        let pages = unsafe {
            let start = NonNull::new(region.as_ptr().sub(inside))?;
            Region::from_raw_parts(start, *len)
        };
        Some((inside, (pages, *offset)))
    }
}

impl Pages {
    /// Where they lie in the heap.
    fn in_heap(&self) -> Region {
        let bytes = self.block.as_slice();
        // SAFETY: the block lives; nobody reads or writes through this region, whose place alone counts.
        unsafe { Region::from_raw_parts(NonNull::from(bytes).cast(), bytes.len()) }
    }

    /// Puts the heap's pages, with the same bytes, at the vector's address.
    fn replace(&mut self) -> io::Result<()> {
        let heap = &self.block.heap;
        let (Some(memory), Some(offset)) = (heap.memory(), heap.offset_of(self.in_heap())) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
        let (start, len) = (self.start.as_ptr(), self.block.len());
        let in_heap = self.in_heap().as_ptr();
        // SAFETY: the range is whole pages of a vector that this module owns, and what takes their
        // place has the same bytes: no value changes, and no other memory is touched.
        unsafe {
            std::ptr::copy_nonoverlapping(start, in_heap, len);
            rustix::mm::mmap(start.cast(), len, ACCESS, flags, memory, offset)?;
        }
        Ok(())
    }

    /// Puts private pages with the same bytes back.
    fn restore(&self) -> io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        let (start, len) = (self.start.as_ptr(), self.block.len());
        // SAFETY: the range is the one that `replace` mapped, or tried to, of a vector that this module
        // owns; its bytes are in the block too, and are copied back before anyone reads them.
        unsafe {
            rustix::mm::mmap_anonymous(start.cast(), len, ACCESS, flags)?;
            std::ptr::copy_nonoverlapping(self.block.as_slice().as_ptr(), start, len);
        }
        Ok(())
    }

    /// The elements in private memory: at their address, or elsewhere where the host maps nothing there.
    fn end<T: Copy>(mut self, elements: Vec<T>) -> Vec<T> {
        match self.restore() {
            Ok(()) => {
                // SAFETY: `self` is consumed, so the block is not used again.
                unsafe { ManuallyDrop::drop(&mut self.block) };
                elements
            }
            Err(error) => {
                tracing::warn!(%error, "registered memory is given up, and its contents moved");
                self.moved(elements)
            }
        }
    }

    /// A copy of the elements, whose own memory may have a hole where the pages were: it is never freed.
    #[cold]
    fn moved<T: Copy>(&self, elements: Vec<T>) -> Vec<T> {
        let elements = ManuallyDrop::new(elements);
        let from = elements.as_ptr().cast::<u8>();
        let bytes = size_of_val(&elements[..]);
        let before = self.start.addr().get() - from.addr();
        let behind = before + self.block.len();
        let mut copy = Vec::<T>::with_capacity(elements.len());
        let to = copy.as_mut_ptr().cast::<u8>();
        // SAFETY: the three parts make up all bytes of the elements: what lies before and behind the
        // pages is still there, and the block has what they held. The copy has room for as much.
        unsafe {
            std::ptr::copy_nonoverlapping(from, to, before);
            let block = self.block.as_slice();
            std::ptr::copy_nonoverlapping(block.as_ptr(), to.add(before), block.len());
            std::ptr::copy_nonoverlapping(from.add(behind), to.add(behind), bytes - behind);
            copy.set_len(elements.len());
        }
        copy
    }
}

impl<T: Copy> Registered<T> {
    /// How many bytes of it peers are lent where they lie: those on whole pages.
    pub fn lendable_bytes(&self) -> usize {
        self.pages.as_ref().map_or(0, |pages| pages.block.len())
    }

    /// The vector, in private memory again.
    pub fn into_vec(mut self) -> Vec<T> {
        self.end()
    }

    fn end(&mut self) -> Vec<T> {
        let elements = std::mem::take(&mut self.elements);
        let Some(pages) = self.pages.take() else { return elements };
        pages.block.heap.forget(pages.start);
        pages.end(elements)
    }
}

impl<T: Copy> Deref for Registered<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T: Copy> DerefMut for Registered<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements
    }
}

impl<T: Copy> Drop for Registered<T> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The addresses of the whole pages in `elements`.
fn whole_pages_in<T>(elements: &[T]) -> Range<usize> {
    let range = elements.as_ptr_range();
    let start = range.start.addr().next_multiple_of(PAGE_BYTES);
    let end = range.end.addr() / PAGE_BYTES * PAGE_BYTES;
    start..end.max(start)
}

const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

#[cfg(test)]
mod tests {
    use super::*;

    /// As when the host maps nothing at the pages' address, not even what was there.
    #[test]
    fn elements_are_whole_where_their_own_memory_cannot_be_restored() {
        let heap = Heap::shared(1 << 20).unwrap();
        let before: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
        let mut registered = heap.register(before.clone()).unwrap();
        let pages = registered.pages.take().unwrap();
        let elements = std::mem::take(&mut registered.elements);
        assert_eq!(pages.moved(elements), before);
    }
}
