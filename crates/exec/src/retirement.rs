//! Owns how long a rank that has left works for others, and the end of a process whose ranks still do: it waits
//! for them.
//!
//! A rank that has left may be needed by others of its node, whose messages it sends on. Its program need
//! not wait for them when it drops the communicator, for they may be waiting for what the program does
//! next; but when the process ends there is nothing else to do.

use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long a rank that has left works for others where the ranks have failed, or nobody oversees it: as long as
/// calls before the failure are left alone.
const HASTY: Duration = Duration::from_secs(1);

/// How many ranks of this process have left and still work, and which process that is.
static AT_WORK: Mutex<(u32, usize)> = Mutex::new((0, 0));
static DONE: Condvar = Condvar::new();
static AT_EXIT: Once = Once::new();

/// Who watches over the ranks while one of them works on after its program has left.
pub trait Oversight: Send + Sync {
    /// Whether the ranks have failed, so that some may never say that they leave.
    fn has_failed(&self) -> bool;

    /// The rank works no longer: called once, before its connections are closed. It may block a while.
    fn over(&self);
}

/// On what terms a rank works on.
pub(crate) struct Terms {
    pub oversight: Box<dyn Oversight>,
    /// How long it does so without anything to send on.
    pub patience: Duration,
}

/// A rank that has left and still works; over when dropped.
pub(crate) struct Retirement {
    terms: Option<Terms>,
    /// How much it has sent on, and since when no more.
    carried: (u64, Instant),
    /// Since when there is no more reason to wait for those who do not leave.
    hastens: Option<Instant>,
}

impl Retirement {
    pub fn begin(terms: Option<Terms>) -> Self {
        AT_EXIT.call_once(|| {
            // SAFETY: the function is of the kind that `atexit` wants, and does not unwind: it neither
            // panics nor calls anything of the caller's. Where it has no room for it the process does not wait.
            let _ = unsafe { libc::atexit(wait_for_all) };
        });
        let mut at_work = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        // A forked child has none of its parent's ranks.
        let others = if at_work.0 == process { at_work.1 } else { 0 };
        *at_work = (process, others + 1);
        Self { terms, carried: (0, Instant::now()), hastens: None }
    }

    /// Whether it has lasted long enough though others have not left; it has sent on so many messages by now.
    pub fn is_long_enough(&mut self, carried: u64) -> bool {
        let now = Instant::now();
        if carried != self.carried.0 {
            self.carried = (carried, now);
        }
        let watched = self.terms.as_ref().filter(|terms| !terms.oversight.has_failed());
        let Some(Terms { patience, .. }) = watched else {
            return now >= *self.hastens.get_or_insert(now) + HASTY;
        };
        now.duration_since(self.carried.1) >= *patience
    }

    /// Says that it is over.
    pub fn end(&self) {
        self.terms.iter().for_each(|terms| terms.oversight.over());
    }
}

impl Drop for Retirement {
    fn drop(&mut self) {
        AT_WORK.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        DONE.notify_all();
    }
}

/// Waits until nobody is at work, which ends by itself; not in a forked child, which has none of the threads.
extern "C" fn wait_for_all() {
    let mut at_work = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
    while at_work.1 > 0 && at_work.0 == std::process::id() {
        at_work = DONE.wait(at_work).unwrap_or_else(PoisonError::into_inner);
    }
}
