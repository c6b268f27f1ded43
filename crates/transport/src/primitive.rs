//! The one door through which this crate gets atomics and fences, so that loom can stand in.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, Ordering};

/// The full fences of this crate, by the rule that needs each (see `owner`): a fence with a name
/// can be left out under loom, which shows that the model fails without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// Between publishing and reading the peer's owner word.
    Publish,
    /// Between writing "asleep" and looking for work once more.
    Sleep,
}

/// A sequentially consistent fence.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn fence(_: Fence) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// A sequentially consistent fence, unless the test leaves it out.
#[cfg(loom)]
pub(crate) fn fence(which: Fence) {
    if LEFT_OUT.get() != Some(which) {
        loom::sync::atomic::fence(Ordering::SeqCst);
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
