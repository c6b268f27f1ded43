//! Owns the end of a process whose ranks still work for others: it waits for them.
//!
//! A rank that has left may be needed by others of its node, whose messages it sends on. Its program need
//! not wait for them when it drops the communicator, for they may be waiting for what the program does
//! next; but when the process ends there is nothing else to do.

use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long a rank that has left works for those who have not, before it gives them up.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);
/// The same, where the ranks have failed: as long as calls before the failure are left alone.
pub(crate) const HASTY: Duration = Duration::from_secs(1);

/// How many ranks of this process have left and still work, and which process that is.
static AT_WORK: Mutex<(u32, usize)> = Mutex::new((0, 0));
static DONE: Condvar = Condvar::new();
static AT_EXIT: Once = Once::new();

/// A rank that has left and still works; over when dropped.
pub(crate) struct Retirement(());

impl Retirement {
    pub fn begin() -> Self {
        AT_EXIT.call_once(|| {
            // SAFETY: the function is of the kind that `atexit` wants, and does not unwind: it neither
            // panics nor calls anything of the caller's. Where it has no room for it the process does not wait.
            let _ = unsafe { libc::atexit(wait_for_all) };
        });
        let mut at_work = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
        *at_work = (std::process::id(), at_work.1 + 1);
        Self(())
    }
}

impl Drop for Retirement {
    fn drop(&mut self) {
        AT_WORK.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        DONE.notify_all();
    }
}

/// Waits until nobody is at work; not in a forked child, which has none of the threads.
extern "C" fn wait_for_all() {
    let until = Instant::now() + LONGEST;
    let mut at_work = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
    while at_work.1 > 0 && at_work.0 == std::process::id() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        at_work = DONE.wait_timeout(at_work, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}
