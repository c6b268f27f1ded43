//! Owns [`Pages`]: memory of this process that devices write.

use std::io;
use std::ptr::{self, NonNull};

use crosstie_transport::Region;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::VerbsError;

/// What lengths are multiples of: a page, or (where the kernel's are larger, and rounds up itself) a part of one.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Zeroed whole pages. They are only ever reached by raw pointers, for a device may write them at any time.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: memory of the process, not of a thread; who reaches it keeps his own rules.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// At least `bytes` of them.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn new(bytes: usize) -> Result<Self, VerbsError> {
        let refused = |source| {
            let device = "this host".to_owned();
            VerbsError::Refused { call: "mapping memory", device, source }
        };
        let len = bytes.max(1).checked_next_multiple_of(PAGE_BYTES);
        let len = len.ok_or_else(|| refused(io::ErrorKind::InvalidInput.into()))?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) };
        let start = start.map_err(|e| refused(e.into()))?;
        let start =
            NonNull::new(start.cast()).ok_or_else(|| refused(io::ErrorKind::OutOfMemory.into()))?;
        let pages = Self { start, len };
        // A child of this process gets none of them: else whoever writes a page first after a fork, parent or
        // child, gets a copy that the device does not know.
        // SAFETY: the range was just mapped.
        let kept =
            unsafe { rustix::mm::madvise(start.as_ptr().cast(), len, Advice::LinuxDontFork) };
        kept.map_err(|e| refused(e.into()))?;
        Ok(pages)
    }

    /// All of it.
    pub fn region(&self) -> Region {
        // SAFETY: mapped as long as this value lives; who uses the region sees to that, as to who writes what.
        unsafe { Region::from_raw_parts(self.start, self.len) }
    }

    /// Bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Never: the smallest is one page.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nobody uses it any more. In a forked child there is nothing
        // at that place that this process knows of, as it maps nothing there.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
