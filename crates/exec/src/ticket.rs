//! Owns the handle of an operation that was submitted: whether it is over, and what came of it.

use std::sync::Arc;
use std::task::Waker;

use crate::ExecError;
use crate::memory::Owned;
use crate::queue::{Completion, Core};

/// A submitted operation. Dropping it does not end the operation.
pub struct Ticket {
    core: Arc<Core>,
    done: Arc<Completion>,
}

impl Ticket {
    pub(crate) fn new(core: &Arc<Core>, done: Arc<Completion>) -> Self {
        Self { core: Arc::clone(core), done }
    }

    /// Whether the operation is over. One load.
    pub fn is_over(&self) -> bool {
        self.done.is_over()
    }

    /// Waits for its end in this thread, which drives the engine if nobody else does.
    pub fn wait(&self) {
        self.core.wait(&self.done);
    }

    /// Whether the operation is over; else `waker` is woken when it is, once.
    pub fn poll(&self, waker: &Waker) -> bool {
        self.done.poll(waker)
    }

    /// What came of it, and the memory that it owned; `None` before its end, and the second time.
    pub fn take(&self) -> Option<(Result<(), ExecError>, Option<Owned>)> {
        let (result, memory) = self.done.take();
        result.map(|result| (result, memory))
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}
