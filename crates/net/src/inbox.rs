//! Owns the links that others dialled to one part this process plays, until that part accepts them.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::error::NetError;
use crate::hello::{Purpose, Target};
use crate::listener::Listener;
use crate::queue::{Arrivals, Incoming, Queue};
use crate::secret::{Secret, WorldId};
use crate::served::{Served, lock};
use crate::strangers::Strangers;

/// The links dialled to one target of one world. Dropping it ends the subscription and closes links not accepted.
pub struct Inbox {
    queue: Arc<Queue>,
    subscription: Subscription,
}

impl Inbox {
    /// The next link for `purpose`; links for other purposes stay queued.
    ///
    /// An error at the deadline, and [`NetError::Version`] when somebody of this world speaks another version.
    pub fn accept(&self, purpose: Purpose, deadline: Instant) -> Result<Incoming, NetError> {
        let started = Instant::now();
        let mut arrivals = self.queue.arrivals();
        loop {
            if let Some(incoming) = arrivals.take(purpose) {
                return Ok(incoming);
            }
            if let Some(fault) = arrivals.faults.pop_front() {
                return Err(fault);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(arrivals);
                let strangers = self.subscription.strangers().to_string();
                let waited = started.elapsed();
                return Err(NetError::NobodyCame { purpose: purpose.name(), waited, strangers });
            }
            (arrivals, _) = (self.queue.came.wait_timeout(arrivals, left))
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next link for `purpose` that has come already.
    pub fn try_accept(&self, purpose: Purpose) -> Option<Incoming> {
        self.queue.arrivals().take(purpose)
    }

    /// Has `wake` called after each arrival for `purpose` from now on, in place of what was asked before. It runs on
    /// the listener's thread, and must neither block nor drop the listener.
    pub fn on_arrival(&self, purpose: Purpose, wake: impl Fn() + Send + Sync + 'static) {
        let mut arrivals = self.queue.arrivals();
        arrivals.wakes.retain(|(of, _)| *of != purpose);
        arrivals.wakes.push((purpose, Arc::new(wake)));
    }

    /// Ends all links for `purpose` that were not accepted, and from now on each as soon as it is made.
    pub fn refuse(&self, purpose: Purpose) {
        let mut arrivals = self.queue.arrivals();
        arrivals.links.retain(|(of, _)| *of != purpose);
        arrivals.wakes.retain(|(of, _)| *of != purpose);
        arrivals.refused.push(purpose);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut arrivals = self.queue.arrivals();
        *arrivals = Arrivals { closed: true, ..Arrivals::default() };
    }
}

impl Listener {
    /// Serves `target` of the world of `secret` until the inbox is dropped.
    pub fn subscribe(self: &Arc<Self>, secret: &Secret, target: Target) -> Result<Inbox, NetError> {
        let key = (secret.world_id(), target);
        let queue = Arc::<Queue>::default();
        let mut served = lock(&self.shared.served);
        if served.contains_key(&key) {
            return Err(NetError::AlreadyServed { target: target.to_string(), world: key.0.0 });
        }
        served.insert(key, Served { secret: secret.clone(), queue: Arc::clone(&queue) });
        Ok(Inbox { queue, subscription: Subscription { listener: Arc::clone(self), key } })
    }
}

/// Keeps the listener open, and one part served.
struct Subscription {
    listener: Arc<Listener>,
    key: (WorldId, Target),
}

impl Subscription {
    fn strangers(&self) -> Strangers {
        self.listener.strangers()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.listener.shared.served).remove(&self.key);
    }
}
