//! Owns [`ScopedWork`]: a call under way in a scope.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crosstie_exec::ScopedTicket;

use crate::call_name::CallName;
use crate::standing::Standing;
use crate::{Element, Error};

/// A call under way in a [`Scope`](super::Scope), whose result comes back from [`wait`](Self::wait).
///
/// Dropping it does not end the call: the scope waits for it.
#[must_use = "its failure shows at the scope's end, but its result only by `wait` before"]
pub struct ScopedWork<'scope, T> {
    pub(super) ticket: ScopedTicket<'scope>,
    pub(super) standing: Arc<Standing>,
    pub(super) call: CallName,
    pub(super) elements: PhantomData<&'scope mut [T]>,
}

impl<'scope, T: Element> ScopedWork<'scope, T> {
    /// Whether the call is over, well or badly; then [`wait`](Self::wait) returns at once.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut buffer = [comm.rank()];
    /// comm.scope(|s| {
    ///     let work = s.broadcast(&mut buffer, 0)?;
    ///     while !work.is_done() {
    ///         std::hint::spin_loop(); // Or something better to do.
    ///     }
    ///     assert_eq!(work.wait()?, [0]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn is_done(&self) -> bool {
        self.ticket.is_over()
    }

    /// Waits for the end of the call, driving it in this thread if nobody else does, and gives its
    /// result back: the receive buffer, or the one buffer of a call in place. Empty where this rank
    /// receives nothing.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let (mut first, mut second) = ([comm.rank()], [comm.rank()]);
    /// comm.scope(|s| {
    ///     let one = s.broadcast(&mut first, 0)?;
    ///     let other = s.broadcast(&mut second, 1)?;
    ///     // In any order.
    ///     assert_eq!(other.wait()?, [1]);
    ///     assert_eq!(one.wait()?, [0]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`] when a peer failed or the deadline passed; [`Error::AlreadyFailed`] when a call
    /// before it failed.
    pub fn wait(self) -> Result<&'scope mut [T], Error> {
        let bytes = self.ticket.wait().map_err(|seen| self.standing.fail(self.call, &seen))?;
        // These bytes were a slice of T when they were submitted; only an empty one cannot be cast.
        Ok(bytemuck::try_cast_slice_mut(bytes).unwrap_or_default())
    }
}

impl<T> fmt::Debug for ScopedWork<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopedWork({}, done: {})", self.call, self.ticket.is_over())
    }
}
