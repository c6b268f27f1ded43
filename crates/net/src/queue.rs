//! Owns what has come for one part that this process plays: the links and faults that the listening thread leaves, and
//! whom it wakes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::NetError;
use crate::hello::Purpose;
use crate::link::Link;

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

pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(crate) struct Arrivals {
    pub(crate) links: VecDeque<(Purpose, Incoming)>,
    pub(crate) faults: VecDeque<NetError>,
    pub(crate) wakes: Vec<(Purpose, Wake)>,
    pub(crate) refused: Vec<Purpose>,
    pub(crate) closed: bool,
}

/// What the listener's thread and the inbox share.
#[derive(Default)]
pub(crate) struct Queue {
    arrivals: Mutex<Arrivals>,
    pub(crate) came: Condvar,
}

impl Queue {
    pub(crate) fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
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
    pub(crate) fn take(&mut self, purpose: Purpose) -> Option<Incoming> {
        let at = self.links.iter().position(|(of, _)| *of == purpose)?;
        self.links.remove(at).map(|(_, incoming)| incoming)
    }
}
