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
    wakes: Vec<(Purpose, Wake)>,
    refused: Vec<Purpose>,
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
        self.change(Some(purpose), |arrivals| {
            if !arrivals.refused.contains(&purpose) {
                arrivals.links.push_back((purpose, incoming));
            }
        });
    }

    pub(crate) fn report(&self, fault: NetError) {
        self.change(None, |arrivals| {
            arrivals.faults.push_back(fault);
            arrivals.faults.truncate(FAULTS_MAX);
        });
    }

    /// Makes a change, and wakes those whom it concerns: all, or those who wait for `purpose`.
    fn change(&self, purpose: Option<Purpose>, change: impl FnOnce(&mut Arrivals)) {
        let mut arrivals = self.arrivals();
        if arrivals.closed {
            return;
        }
        change(&mut arrivals);
        let concerned = |of: &Purpose| purpose.is_none_or(|purpose| purpose == *of);
        let wakes = arrivals.wakes.iter().filter(|(of, _)| concerned(of));
        let wakes: Vec<Wake> = wakes.map(|(_, wake)| Arc::clone(wake)).collect();
        drop(arrivals);
        self.came.notify_all();
        wakes.iter().for_each(|wake| wake());
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
