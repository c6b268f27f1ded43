//! Owns [`ForkMark`]: how a forked child is told from the process that it came from, without a system
//! call for each question.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::Pid;

const PAGE_BYTES: usize = 4096;

/// A mark that a forked child does not inherit.
///
/// It is a page of its own that the kernel wipes in children (`MADV_WIPEONFORK`, Linux 4.14); where the
/// kernel does not, the process id is asked for each time.
#[derive(Debug)]
pub struct ForkMark {
    page: Option<NonNull<AtomicU32>>,
    process: Pid,
}

// SAFETY: the page is memory of the process, not of a thread, and its word is only touched atomically.
unsafe impl Send for ForkMark {}
// SAFETY: as above.
unsafe impl Sync for ForkMark {}

impl ForkMark {
    /// The mark of this process.
    pub fn new() -> Self {
        Self { page: marked_page(), process: rustix::process::getpid() }
    }

    /// Whether this is another process than the one that made the mark: its forked child. One load.
    #[inline]
    pub fn is_forked(&self) -> bool {
        match self.page {
            // SAFETY: the page is mapped as long as `self` lives, aligned, and larger than the word.
            Some(word) => unsafe { word.as_ref() }.load(Ordering::Relaxed) == 0,
            None => self.process != rustix::process::getpid(),
        }
    }
}

impl Default for ForkMark {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        if let Some(page) = self.page {
            // SAFETY: the page was mapped by `marked_page`, and nobody holds a reference into it. Failure
            // would leave a page mapped, which harms nobody.
            let _ = unsafe { rustix::mm::munmap(page.as_ptr().cast(), PAGE_BYTES) };
        }
    }
}

fn marked_page() -> Option<NonNull<AtomicU32>> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping at an address of the kernel's choice touches no other memory.
    let page = unsafe {
        rustix::mm::mmap_anonymous(ptr::null_mut(), PAGE_BYTES, access, MapFlags::PRIVATE)
    };
    let page = NonNull::new(page.ok()?.cast::<AtomicU32>())?;
    // SAFETY: the advice concerns the page just mapped, whose content no child is to see.
    let wiped =
        unsafe { rustix::mm::madvise(page.as_ptr().cast(), PAGE_BYTES, Advice::LinuxWipeOnFork) };
    if wiped.is_err() {
        // SAFETY: as in `drop`.
        let _ = unsafe { rustix::mm::munmap(page.as_ptr().cast(), PAGE_BYTES) };
        return None;
    }
    // SAFETY: the page is mapped, zeroed, aligned, and nobody else knows it.
    unsafe { page.as_ref() }.store(1, Ordering::Relaxed);
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_knows_that_it_is_one() {
        let mark = ForkMark::new();
        assert!(!mark.is_forked());
        // SAFETY: the child makes no call but `_exit`, after one load.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = i32::from(!mark.is_forked());
            // SAFETY: ends the child without running anything of its parent's.
            unsafe { libc::_exit(code) };
        }
        assert!(child > 0);
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child took itself for its parent");
        assert!(!mark.is_forked());
    }
}
