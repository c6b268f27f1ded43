//! Owns the order in which ranks of this process meet at one address: as they were asked for, one at a time. So those
//! who fail, and those who try again, leave no trace, and the host of a meeting has one to serve.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crosstie::Cancel;

use crate::errors::lock;
use crate::types::IdBytes;

/// An address, and as which rank of how many one meets there.
type Place = (IdBytes, u32, u32);

static QUEUES: Mutex<BTreeMap<Place, VecDeque<u64>>> = Mutex::new(BTreeMap::new());
static NUMBERS: Mutex<u64> = Mutex::new(0);
static MOVED: Condvar = Condvar::new();

/// A place in the queue, until it is dropped.
pub struct Turn {
    place: Place,
    number: u64,
}

impl Turn {
    /// The last place of the queue.
    pub fn take(place: Place) -> Self {
        let mut numbers = lock(&NUMBERS);
        *numbers += 1;
        lock(&QUEUES).entry(place).or_default().push_back(*numbers);
        Self { place, number: *numbers }
    }

    /// Waits for those before to meet, or to fail; or until this one is cancelled.
    pub fn wait(&self, cancel: &Cancel) {
        let mut queues = lock(&QUEUES);
        let is_first = |queues: &BTreeMap<Place, VecDeque<u64>>| {
            queues.get(&self.place).and_then(|queue| queue.front()) == Some(&self.number)
        };
        while !is_first(&queues) && !cancel.is_cancelled() {
            let waited = MOVED.wait_timeout(queues, LOOK);
            (queues, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// How often whoever waits looks whether it is cancelled.
const LOOK: Duration = Duration::from_millis(50);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = lock(&QUEUES);
        if let Some(queue) = queues.get_mut(&self.place) {
            queue.retain(|&number| number != self.number);
            if queue.is_empty() {
                queues.remove(&self.place);
            }
        }
        MOVED.notify_all();
    }
}
