//! Owns the scope in which operations run on borrowed memory: it does not end before they do.

use std::marker::PhantomData;
use std::sync::Arc;

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

impl Engine {
    /// Runs `body`, which may submit operations on borrowed memory, and waits for them.
    pub fn scope<'env, R>(
        &'env self,
        body: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> R,
    ) -> R {
        let settles = Settles(&self.core);
        let (scope, env) = (PhantomData, PhantomData);
        let place = (self.rank.0, self.ranks);
        let result = body(Scope { core: Arc::clone(&self.core), place, scope, env });
        drop(settles);
        result
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Queues an operation on borrowed memory.
    ///
    /// # Errors
    /// [`ExecError::Binding`]; [`ExecError::Transport`] when the background thread cannot start.
    pub fn submit(
        &self,
        what: Submission,
        mut buffers: Buffers<'scope>,
    ) -> Result<Ticket, ExecError> {
        let (rank, ranks) = self.place;
        let regions = buffers.regions(what.program.plan.collective, rank, ranks)?;
        // The buffers are borrowed for 'scope, and the scope ends after the operation does.
        let done = self.core.submit(what, regions, None)?;
        Ok(Ticket::new(&self.core, done))
    }
}
