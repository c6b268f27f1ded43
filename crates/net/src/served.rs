//! Owns who in this process serves what behind its listening port: what the listener, its thread and its inboxes share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::hello::{Outcome, Target};
use crate::queue::Queue;
use crate::secret::{Secret, WorldId};
use crate::strangers::{Fault, Strangers};
use crate::wait::Bell;

/// What the listener, its thread and its inboxes share.
pub(crate) struct Shared {
    pub(crate) served: Mutex<BTreeMap<(WorldId, Target), Served>>,
    pub(crate) strangers: Mutex<Strangers>,
    /// Ends the thread's sleep when `stop` was set.
    pub(crate) bell: Bell,
    pub(crate) stop: AtomicBool,
    /// Whether this listener serves one world only ([`ListenOptions::bind`]).
    pub(crate) one_world: bool,
    pub(crate) host: String,
}

/// One part that this process plays.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) secret: Secret,
    pub(crate) queue: Arc<Queue>,
}

impl Shared {
    /// Who serves `target` of `world` here, or the answer for one who dials it in vain.
    pub(crate) fn find(&self, world: WorldId, target: Target) -> Result<Served, Outcome> {
        let served = lock(&self.served);
        if let Some(part) = served.get(&(world, target)) {
            return Ok(part.clone());
        }
        let mut of_world = served.range((world, Target::Meeting)..=(world, Target::Rank(u32::MAX)));
        Err(match of_world.next() {
            Some(_) => Outcome::NoSuchTarget,
            None if self.one_world && !served.is_empty() => Outcome::WrongSecret,
            None => Outcome::NoSuchWorld,
        })
    }

    pub(crate) fn count(&self, address: SocketAddr, fault: Fault) {
        tracing::debug!(%address, ?fault, "turned a stranger away");
        lock(&self.strangers).count(address, fault);
    }
}

/// Nothing that holds one of these locks can panic halfway through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
