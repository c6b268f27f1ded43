//! Owns the word of a ring by which its sender says that it has left, or that what it lent may change.
//!
//! # The protocol
//! Memory that is lent is read in place, by another process. The operation that lent it may fail, and then its
//! memory goes back to an application that writes it, whether the receiver has read it or not.
//!
//! 1. Only the sender writes the word: when it withdraws what it lent, and when it leaves.
//! 2. It withdraws, and passes a full fence, before anyone may change what it lent.
//! 3. The receiver reads what it was lent, passes a fence (acquire), and reads the word. If that still says
//!    "open", nothing that it read was written after rule 2; else it uses nothing of it.
//!
//! Without *both* fences the receiver may read what was written later, and a word from before it.

use crate::primitive::{AtomicU32, Fence, Ordering, fence};

/// What the sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing: messages may come, and what was lent is as it was.
    Open,
    /// No further message will come.
    Left,
    /// What was lent may change.
    Withdrawn,
}

const OPEN: u32 = 0;
const LEFT: u32 = 1;
const WITHDRAWN: u32 = 3;

/// The word itself. Bytes of any value are a valid word, as peers' memory requires.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct SenderWord(AtomicU32);

impl SenderWord {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(OPEN))
    }

    /// Rule 2, before [`withdrawn_fence`].
    pub(crate) fn withdraw(&self) {
        self.0.store(WITHDRAWN, Ordering::Release);
    }

    /// No further message will come.
    pub(crate) fn leave(&self) {
        self.0.store(LEFT, Ordering::Release);
    }

    /// Whether no further message will come; those that came are there by now.
    pub(crate) fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire) == LEFT
    }

    /// Rule 3: what the sender said, at the latest when what was read before had been written.
    #[inline]
    pub(crate) fn after_reading(&self) -> Said {
        fence(Fence::Read);
        match self.0.load(Ordering::Relaxed) {
            OPEN => Said::Open,
            LEFT => Said::Left,
            _ => Said::Withdrawn,
        }
    }
}

/// Rule 2's fence: once for all that was withdrawn.
pub(crate) fn withdrawn_fence() {
    fence(Fence::Withdraw);
}

#[cfg(test)]
#[cfg(loom)]
mod model;
