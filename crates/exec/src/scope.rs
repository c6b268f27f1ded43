//! Owns the scope in which operations run on borrowed memory: it does not end before they do.

use std::marker::PhantomData;
use std::sync::Arc;

use crosstie_transport::Region;

use crate::buffers::Area;
use crate::queue::{Core, Submission};
use crate::{Buffers, Engine, ExecError, Ticket};

/// Where operations on memory that is borrowed for `'scope` are submitted.
///
/// `'scope` can be any lifetime that ends after the scope, so what is borrowed for it lies outside,
/// and stays borrowed until the scope has waited for its operations.
pub struct Scope<'scope, 'env: 'scope> {
    core: Arc<Core>,
    place: (u32, u32),
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Waits for all operations of an engine, also when it is dropped by a panic.
struct Settles<'a>(&'a Core);

impl Drop for Settles<'_> {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// Opens scopes on an engine, also while the engine itself is borrowed by what a scope's body does.
pub struct Scopes {
    core: Arc<Core>,
    place: (u32, u32),
}

impl Engine {
    /// What opens scopes on this engine.
    pub fn scopes(&self) -> Scopes {
        Scopes { core: Arc::clone(&self.core), place: (self.rank.0, self.ranks) }
    }
}

impl Scopes {
    /// Runs `body`, which may submit operations on borrowed memory, and waits for them.
    pub fn scope<'env, R>(&self, body: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> R) -> R {
        let settles = Settles(&self.core);
        let (scope, env) = (PhantomData, PhantomData);
        let core = Arc::clone(&self.core);
        let result = body(Scope { core, place: self.place, scope, env });
        drop(settles);
        result
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Queues an operation on borrowed memory. Of a group of messages, the only one that is received
    /// is its result.
    ///
    /// # Errors
    /// [`ExecError::Binding`]; [`ExecError::Transport`] when the background thread cannot start.
    pub fn submit(
        &self,
        what: Submission,
        mut buffers: Buffers<'scope>,
    ) -> Result<ScopedTicket<'scope>, ExecError> {
        let (rank, ranks) = self.place;
        let in_place = buffers.in_place();
        let regions = buffers.regions(&what.program.plan, &what.map, (rank, ranks))?;
        // In place, one of the two is the whole buffer, and the other a part of it.
        let result =
            match regions {
                (Area::Whole(input), Area::Whole(output)) => {
                    if in_place && input.len() > output.len() { input } else { output }
                }
                (_, Area::Each(ref messages)) => match &messages[..] {
                    [only] => only.memory,
                    _ => Region::empty(),
                },
                _ => Region::empty(),
            };
        // The buffers are borrowed for 'scope, and the scope ends after the operation does.
        let done = self.core.submit(what, regions, None)?;
        Ok(ScopedTicket { ticket: Ticket::new(&self.core, done), result, memory: PhantomData })
    }
}

/// An operation on memory that is borrowed for `'scope`, which comes back when it is over.
pub struct ScopedTicket<'scope> {
    ticket: Ticket,
    result: Region,
    memory: PhantomData<&'scope mut [u8]>,
}

impl<'scope> ScopedTicket<'scope> {
    /// Whether the operation is over. One load.
    pub fn is_over(&self) -> bool {
        self.ticket.is_over()
    }

    /// The same, whose result is nobody's concern.
    #[must_use]
    pub fn without_result(mut self) -> Self {
        self.result = Region::empty();
        self
    }

    /// Waits for the operation's end, and gives the memory of its result back, of the whole buffer
    /// where it ran in place.
    ///
    /// # Errors
    /// What ended the operation early.
    pub fn wait(self) -> Result<&'scope mut [u8], ExecError> {
        self.ticket.wait();
        if let Some((result, _)) = self.ticket.take() {
            result?;
        }
        // SAFETY: the buffer was borrowed exclusively for 'scope and moved into `submit`, so no other
        // reference to it is left. The operation is over, so the engine does not touch it any more; and
        // as this ticket is consumed, nobody else is given it.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.result.as_ptr(), self.result.len()) })
    }
}
