//! The one door through which this crate gets atomics and fences, so that loom can stand in.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, Ordering};

/// The fences of this crate, by the rule that needs each (see `owner` and `sender_word`): a fence with a name
/// can be left out under loom, which shows that the model fails without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// Between publishing and reading the peer's owner word.
    Publish,
    /// Between writing "asleep" and looking for work once more.
    Sleep,
    /// Between saying that what was lent may change, and changing it.
    Withdraw,
    /// Between reading what was lent, and looking whether it still was.
    Read,
}

impl Fence {
    const fn ordering(self) -> Ordering {
        match self {
            Self::Publish | Self::Sleep | Self::Withdraw => Ordering::SeqCst,
            Self::Read => Ordering::Acquire,
        }
    }
}

/// A fence, sequentially consistent or as its rule needs it.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn fence(which: Fence) {
    std::sync::atomic::fence(which.ordering());
}

/// A fence, unless the test leaves it out.
#[cfg(loom)]
pub(crate) fn fence(which: Fence) {
    if LEFT_OUT.get() != Some(which) {
        loom::sync::atomic::fence(which.ordering());
    }
}

#[cfg(loom)]
thread_local! {
    // Loom runs all threads of a model on the thread that called it, so this is one per model.
    static LEFT_OUT: std::cell::Cell<Option<Fence>> = const { std::cell::Cell::new(None) };
}

/// Leaves out one fence in all models that this thread checks from now on.
#[cfg(all(loom, test))]
pub(crate) fn leave_out(which: Option<Fence>) {
    LEFT_OUT.set(which);
}
