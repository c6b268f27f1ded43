//! Owns [`Work`]: an asynchronous call under way, to be waited for or polled as a future.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crosstie_exec::{Owned, Ticket};

use crate::Error;
use crate::call_name::CallName;
use crate::owned::buffer::Returned;
use crate::standing::Standing;

/// An asynchronous call under way, whose buffers come back from [`wait`](Self::wait), or from awaiting
/// it.
///
/// It can be sent to another thread and be waited for there, before or after the communicator is gone.
/// Dropping it does not end the call: the call goes on as the other ranks expect, its buffers are freed
/// when it is over, and its failure shows at the communicator's next call.
#[must_use = "the buffers come back from `wait`"]
pub struct Work<B> {
    pending: Pending,
    buffers: PhantomData<fn() -> B>,
}

/// A submitted call that was not waited for yet.
pub(crate) struct Pending {
    ticket: Ticket,
    standing: Arc<Standing>,
    call: CallName,
}

impl Pending {
    pub fn new(ticket: Ticket, standing: &Arc<Standing>, call: CallName) -> Self {
        Self { ticket, standing: Arc::clone(standing), call }
    }

    pub fn is_done(&self) -> bool {
        self.ticket.is_over()
    }

    /// Waits for its end, and says what came of it.
    pub fn finish(&self) -> Result<Option<Owned>, Error> {
        self.ticket.wait();
        match self.ticket.take() {
            Some((Ok(()), memory)) => Ok(memory),
            Some((Err(seen), _)) => Err(self.standing.fail(self.call, &seen)),
            None => Err(Error::Argument {
                operation: self.call.name,
                what: "this work has given its result before".to_owned(),
            }),
        }
    }
}

impl<B: Returned> Work<B> {
    pub(crate) fn new(pending: Pending) -> Self {
        Self { pending, buffers: PhantomData }
    }

    /// Whether the call is over, well or badly; then [`wait`](Self::wait) returns at once.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let own = vec![comm.rank()];
    /// let work = comm.owned().broadcast(own, 0)?;
    /// while !work.is_done() {
    ///     std::hint::spin_loop(); // Or something better to do.
    /// }
    /// assert_eq!(work.wait()?, [0]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn is_done(&self) -> bool {
        self.pending.is_done()
    }

    /// Waits for the end of the call, driving it in this thread if nobody else does, and returns its
    /// buffers. Calls made before it on the same communicator end first.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let own = vec![comm.rank()];
    /// let work = comm.owned().broadcast(own, 0)?;
    /// // In another thread, say.
    /// let waits = std::thread::spawn(move || work.wait());
    /// assert_eq!(waits.join().unwrap()?, [0]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`] when a peer failed or the deadline passed; [`Error::AlreadyFailed`] when a call
    /// before it failed. The buffers are gone then.
    pub fn wait(self) -> Result<B, Error> {
        self.finish()
    }

    fn finish(&self) -> Result<B, Error> {
        let returned = B::from_owned(self.pending.finish()?);
        returned.ok_or_else(|| Error::Argument {
            operation: self.pending.call.name,
            what: "its buffers are of another kind than those that moved into it".to_owned(),
        })
    }
}

impl<B: Returned> Future for Work<B> {
    type Output = Result<B, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.pending.ticket.poll(context.waker()) {
            Poll::Ready(self.finish())
        } else {
            Poll::Pending
        }
    }
}

impl<B> fmt::Debug for Work<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({}, done: {})", self.pending.call, self.pending.is_done())
    }
}
