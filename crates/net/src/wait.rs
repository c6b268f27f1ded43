//! Owns sleeping: until a descriptor is ready, a deadline passes, or another thread rings.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::error::NetError;

/// Says whether whoever waits should stop waiting; looked at every now and then.
pub type Interrupted<'a> = &'a (dyn Fn() -> bool + Sync);

/// Sleeps until one of `fds` is ready (its `revents` tell) or `deadline` passes; `None` waits without end.
/// Returns how many are ready: 0 when the deadline passed. An interrupted sleep goes on.
pub fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A limit too long for the kernel's type is as good as none.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready?),
        }
    }
}

/// Sleeps until `fd` is ready for `flags` (true), or `deadline` passes (false).
pub(crate) fn ready_by(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    deadline: Instant,
) -> Result<bool, NetError> {
    poll_until(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(deadline))
        .map(|ready| ready > 0)
        .map_err(|source| NetError::System { call: "poll".to_owned(), source })
}

/// Wakes a thread that sleeps in [`poll_until`]: an eventfd. A ring before the sleep is not lost.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A bell that nobody has rung.
    pub fn new() -> Result<Bell, NetError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Bell(eventfd(0, flags).map_err(NetError::system("eventfd"))?))
    }

    /// Wakes the sleeper, or ends its next sleep at once.
    pub fn ring(&self) {
        // The one possible failure is a counter at its maximum, which wakes as well.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Forgets all rings so far. Call it after waking and before looking for work, so that no ring is lost.
    pub fn quiet(&self) {
        // It fails only when nobody has rung.
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `later - earlier`, in milliseconds for a socket option; at least 1, for 0 means the default there.
pub(crate) fn option_ms(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1)
}
