//! Owns [`Mapping`]: memory that processes share, sealed so that no peer can pull it away.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::Region;

/// A memfd or a part of one, mapped for reading and writing (or, of a peer's heap, for reading alone).
///
/// The memory may change at any time, as peers write it: here it is only ever reached through
/// atomics and raw pointers. A slot's bytes are the exception: by the counting of slots they are
/// one side's alone, and the engine reduces them as plain numbers. That trusts the ranks of one
/// user on one host to keep to the count; the worst that one can do is to spoil a result.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is memory of the process, not of a thread; all access goes through atomics or
// through raw pointers whose users keep their own rules.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New zeroed memory of `len` bytes, and the descriptor by which others can map it.
    ///
    /// Pages take up memory only once they are touched. `name` shows in `/proc/PID/maps`.
    pub(crate) fn create(name: &str, len: usize) -> io::Result<(Self, OwnedFd)> {
        let memory = Self::memory(name, len)?;
        Ok((Self::whole(&memory, len)?, memory))
    }

    /// As [`create`](Self::create), but not mapped yet.
    pub(crate) fn memory(name: &str, len: usize) -> io::Result<OwnedFd> {
        let memory =
            rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&memory, len as u64)?;
        rustix::fs::fcntl_add_seals(&memory, SEALS)?;
        Ok(memory)
    }

    /// All `len` bytes of memory that this process made.
    pub(crate) fn whole(memory: impl AsFd, len: usize) -> io::Result<Self> {
        Self::map(memory, 0, len, ACCESS)
    }

    /// The memory of `len` bytes behind a descriptor that a peer sent.
    ///
    /// Refused unless its size is `len` and sealed: a peer that shrank it later would kill this
    /// process with SIGBUS.
    pub(crate) fn open(memory: impl AsFd, len: usize) -> io::Result<Self> {
        Self::open_part(memory, len, 0, len)
    }

    /// As [`open`](Self::open), but maps only `part` bytes at `offset`, a multiple of the page size.
    pub(crate) fn open_part(
        memory: impl AsFd,
        len: usize,
        offset: usize,
        part: usize,
    ) -> io::Result<Self> {
        let size = Self::sealed_len(&memory)?;
        if size != len {
            let what = format!("shared memory has {size} bytes, but should have {len}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if offset.checked_add(part).is_none_or(|end| end > len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Self::map(memory, offset, part, ACCESS)
    }

    /// How many bytes are behind a descriptor that a peer sent, and will stay there.
    pub(crate) fn sealed_len(memory: impl AsFd) -> io::Result<usize> {
        let seals = rustix::fs::fcntl_get_seals(&memory)?;
        if !seals.contains(SEALS) {
            let what = format!("shared memory has seals {seals:?}, but needs {SEALS:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let size = rustix::fs::fstat(&memory)?.st_size;
        usize::try_from(size).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// `len` bytes at `offset`, a multiple of the page size, of memory whose sealed length the caller
    /// has asked for: to be read only, a write to them ends the process.
    pub(crate) fn read_only(memory: impl AsFd, offset: usize, len: usize) -> io::Result<Self> {
        Self::map(memory, offset, len, ProtFlags::READ)
    }

    /// New zeroed memory of `len` bytes for threads of this process alone.
    ///
    /// Of the shared kind, so that it takes up memory by small pages as memfds do.
    pub(crate) fn anonymous(len: usize) -> io::Result<Self> {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ACCESS, flags)? };
        Self::of(start, len)
    }

    fn map(memory: impl AsFd, offset: usize, len: usize, access: ProtFlags) -> io::Result<Self> {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, access, flags, memory, offset as u64)?
        };
        Self::of(start, len)
    }

    fn of(start: *mut c_void, len: usize) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of it, for one who keeps the mapping as long as anyone uses that.
    pub(crate) fn region(&self) -> Region {
        // SAFETY: the range is mapped as long as this value lives; who touches which part of it, and when, is agreed
        // on by those who are given it.
        unsafe { Region::from_raw_parts(self.start, self.len) }
    }

    /// Its first byte; the start of a page.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// No shrinking and no growing, and no more seals: a peer could otherwise forbid our writes.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` got; all who use it borrow or own this value. A
        // failure would mean that it is unmapped already, which nobody else does.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_see_the_same_memory() {
        let (ours, memory) = Mapping::create("crosstie-test", 4096).unwrap();
        let theirs = Mapping::open(&memory, 4096).unwrap();
        // SAFETY: byte 5 lies in both mappings, which nobody else uses.
        unsafe {
            ours.start().add(5).write_volatile(77);
            assert_eq!(theirs.start().add(5).read_volatile(), 77);
        }
    }

    #[test]
    fn memory_that_a_peer_could_shrink_is_refused() {
        let memory = rustix::fs::memfd_create("crosstie-test", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memory, 4096).unwrap();
        let refusal = Mapping::open(&memory, 4096).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn memory_of_another_size_is_refused() {
        let (_ours, memory) = Mapping::create("crosstie-test", 4096).unwrap();
        let refusal = Mapping::open(&memory, 8192).unwrap_err();
        assert!(refusal.to_string().contains("4096"), "{refusal}");
    }

    #[test]
    fn a_descriptor_that_is_no_memory_is_refused() {
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        assert!(Mapping::open(&event, 4096).is_err());
    }

    #[test]
    fn sealed_memory_cannot_be_shrunk() {
        let (_ours, memory) = Mapping::create("crosstie-test", 4096).unwrap();
        assert_eq!(rustix::fs::ftruncate(&memory, 0), Err(rustix::io::Errno::PERM));
    }
}
