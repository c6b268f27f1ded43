//! Owns the owner word: who drives a rank's engine, and whether its peers must ring to wake it.
//!
//! # The protocol
//! A rank has one word, in memory that its local peers can read. Only its holder's process writes it.
//!
//! 1. The word is 0 (asleep: nobody drives, a thread waits at the doorbell), 1 (the application
//!    drives), 2 (the background thread drives) or 3 (away: the application is between calls); 4: rule 6.
//!    It begins as 3.
//! 2. Whoever wants to drive takes the word by compare-and-swap from 0, 3 or 4 to its own number.
//!    A failed attempt is no error: somebody drives. Taking acquires what the last driver
//!    released, so all state of the engine is the driver's alone.
//! 3. A peer that has published something (a message, a credit) passes a full fence and reads the
//!    word. It rings the doorbell if the word is 0, and only then.
//! 4. A driver that wants to sleep writes 0, passes a full fence, and looks once more. Only if it
//!    finds nothing it waits at the doorbell; then it drains the doorbell, takes the word again
//!    (rule 2) and looks.
//! 5. A driver that returns to its application writes 3. It need not look again: what arrives from
//!    now on rings nobody and is found by the next call, which looks before it sleeps.
//! 6. A rank that works for others (a relay) has a background thread that must hear of that work. A peer
//!    that has published relay work rings also if the word is 3 (rule 3 otherwise). The application's
//!    driver writes 4 (*just left*) instead of 3, for which nobody rings: mostly the next call follows at
//!    once. The background thread looks at the word now and then; of 4 it takes the engine, and what it
//!    writes when it finds no work is 3, after which it passes a full fence and looks once more.
//!
//! Rules 3 and 4 are Dekker's: each side writes, then reads what the other wrote. Without *both*
//! fences the two reads may both see the past: the peer sees a driver, the driver sees no work, and
//! the wake-up is lost. The loom tests check this, and that leaving out either fence fails them.

use crate::primitive::{AtomicU32, Fence, Ordering, fence};

/// Who drives a rank's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Driver {
    /// The thread of a blocking call.
    Application = 1,
    /// The background thread.
    Background = 2,
}

const ASLEEP: u32 = 0;
const AWAY: u32 = 3;
const JUST_LEFT: u32 = 4;

/// Rule 3's fence: once for all that was published so far, to any number of peers.
#[inline]
pub(crate) fn publish_fence() {
    fence(Fence::Publish);
}

/// The word itself. Bytes of any value are a valid word, as peers' memory requires.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct OwnerWord(AtomicU32);

impl OwnerWord {
    /// A word that says "away".
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(AWAY))
    }

    /// Says "away" in memory that no peer knows yet.
    #[cfg(not(loom))]
    pub(crate) fn init(&self) {
        self.0.store(AWAY, Ordering::Relaxed);
    }

    /// Rule 3, after the fence: calls `ring` if the owner sleeps.
    #[inline]
    pub(crate) fn ring_if_asleep(&self, ring: impl FnOnce()) {
        if self.0.load(Ordering::Relaxed) == ASLEEP {
            ring();
        }
    }

    /// Rule 6, after the fence: calls `ring` if the owner sleeps or is away.
    #[inline]
    pub(crate) fn ring_for_work(&self, ring: impl FnOnce()) {
        if matches!(self.0.load(Ordering::Relaxed), ASLEEP | AWAY) {
            ring();
        }
    }

    /// Rule 6: says "away" as one who looks once more, for relay work.
    pub(crate) fn go_away(&self) {
        self.0.store(AWAY, Ordering::Release);
        fence(Fence::Sleep);
    }

    /// Rule 6: says "just left".
    #[inline]
    pub(crate) fn just_leave(&self) {
        self.0.store(JUST_LEFT, Ordering::Release);
    }

    /// Whether nobody drives and the application is between calls.
    pub(crate) fn is_left(&self) -> bool {
        matches!(self.0.load(Ordering::Relaxed), AWAY | JUST_LEFT)
    }

    /// Whether it is "away", and not "just left".
    pub(crate) fn is_away(&self) -> bool {
        self.0.load(Ordering::Relaxed) == AWAY
    }

    /// Rule 2: whether `driver` drives from now on.
    #[inline]
    pub(crate) fn take(&self, driver: Driver) -> bool {
        // The guess "away" is right for every call that finds nobody asleep.
        let mut idle = AWAY;
        loop {
            let taken =
                self.0.compare_exchange(idle, driver as u32, Ordering::Acquire, Ordering::Relaxed);
            match taken {
                Ok(_) => return true,
                Err(seen @ (ASLEEP | AWAY | JUST_LEFT)) => idle = seen,
                Err(_) => return false,
            }
        }
    }

    /// Rule 4: says "asleep". The caller looks for work next, and waits only if there is none.
    #[inline]
    pub(crate) fn fall_asleep(&self) {
        self.0.store(ASLEEP, Ordering::Release);
        fence(Fence::Sleep);
    }

    /// Rule 5.
    #[inline]
    pub(crate) fn leave(&self) {
        self.0.store(AWAY, Ordering::Release);
    }
}

#[cfg(test)]
#[cfg(loom)]
pub(crate) mod model;
