//! Owns the links that others dialled to one part this process plays, until that part accepts them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::NetError;
use crate::hello::Purpose;
use crate::link::Link;
use crate::listener::Subscription;

/// How many version mismatches an inbox remembers: one names the culprit, more say the same.
const FAULTS_MAX: usize = 8;

/// A link that another process dialled.
#[derive(Debug)]
pub struct Incoming {
    /// The rank that dials, if it knows its rank.
    pub from: Option<u32>,
    /// A number whose meaning is the purpose's own: a wire, a channel.
    pub label: u64,
    /// The dialler's host, as it named itself.
    pub peer_host: String,
    /// The link.
    pub link: Link,
}

type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Arrivals {
    links: VecDeque<(Purpose, Incoming)>,
    faults: VecDeque<NetError>,
    wake: Option<Wake>,
    closed: bool,
}

/// What the listener's thread and the inbox share.
#[derive(Default)]
pub(crate) struct Queue {
    arrivals: Mutex<Arrivals>,
    came: Condvar,
}

impl Queue {
    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        // Nothing that holds this lock can panic halfway through a change.
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deliver(&self, purpose: Purpose, incoming: Incoming) {
        self.change(|arrivals| arrivals.links.push_back((purpose, incoming)));
    }

    pub(crate) fn report(&self, fault: NetError) {
        self.change(|arrivals| {
            arrivals.faults.push_back(fault);
            arrivals.faults.truncate(FAULTS_MAX);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Arrivals)) {
        let mut arrivals = self.arrivals();
        if arrivals.closed {
            return;
        }
        change(&mut arrivals);
        let wake = arrivals.wake.clone();
        drop(arrivals);
        self.came.notify_all();
        if let Some(wake) = wake {
            wake();
        }
    }
}

impl Arrivals {
    fn take(&mut self, purpose: Purpose) -> Option<Incoming> {
        let at = self.links.iter().position(|(of, _)| *of == purpose)?;
        self.links.remove(at).map(|(_, incoming)| incoming)
    }
}

/// The links dialled to one target of one world. Dropping it ends the subscription and closes links not accepted.
pub struct Inbox {
    pub(crate) queue: Arc<Queue>,
    pub(crate) subscription: Subscription,
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

    /// Has `wake` called, on the listener's thread, after each arrival from now on. It must neither block nor drop
    /// the listener.
    pub fn on_arrival(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.queue.arrivals().wake = Some(Arc::new(wake));
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut arrivals = self.queue.arrivals();
        *arrivals = Arrivals { closed: true, ..Arrivals::default() };
    }
}
