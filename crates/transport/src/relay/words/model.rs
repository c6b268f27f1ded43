//! Loom checks of a relay box's words on the production source.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::{SLOTS, SlotWords};
use crate::owner::publish_fence;
use crate::primitive::{AtomicU32, Fence, Ordering, fence};

struct Shared {
    words: SlotWords,
    slots: [UnsafeCell<u32>; SLOTS],
    /// What stands for the source's owner word (1: it sleeps) and for its bell.
    asleep: AtomicU32,
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            words: SlotWords::new(),
            slots: std::array::from_fn(|_| UnsafeCell::new(0)),
            asleep: AtomicU32::new(0),
            rung: Mutex::new(false),
            bell: Condvar::new(),
        })
    }

    /// Fills `slot` as the `n`th.
    fn put(&self, n: u32, slot: u32, value: u32) {
        // SAFETY: the source has this slot; loom fails if not.
        self.slots[slot as usize].with_mut(|place| unsafe { *place = value });
        self.words.put(n, slot);
    }

    /// The content of the next full slot, which is free again.
    fn take(&self, n: u32) -> Option<u32> {
        let slot = self.words.next(n)?;
        // SAFETY: the relay has this slot; loom fails if not.
        let value = self.slots[slot as usize].with(|place| unsafe { *place });
        self.words.free(slot);
        Some(value)
    }

    fn ring_a_waiter(&self) {
        publish_fence();
        if self.words.take_waiter() && self.asleep.load(Ordering::Relaxed) == 1 {
            *self.rung.lock().unwrap() = true;
            self.bell.notify_all();
        }
    }
}

#[test]
fn pieces_arrive_in_the_order_in_which_they_were_put_and_slots_come_back_whole() {
    loom::model(|| {
        let shared = Shared::new();
        let source = Arc::clone(&shared);
        let source = thread::spawn(move || {
            // Out of the slots' order; the second fills one anew as soon as it is back.
            source.put(0, 5, 10);
            let again = source.words.take_freed();
            source.put(1, if again == 1 << 5 { 5 } else { 2 }, 11);
        });
        let mut taken = Vec::new();
        while taken.len() < 2 {
            match shared.take(taken.len() as u32) {
                Some(value) => taken.push(value),
                None => thread::yield_now(),
            }
        }
        assert_eq!(taken, [10, 11]);
        source.join().unwrap();
    });
}

#[test]
fn a_source_that_waits_for_a_slot_is_rung() {
    loom::model(|| {
        let shared = Shared::new();
        let relay = Arc::clone(&shared);
        shared.put(0, 3, 7);
        let relay = thread::spawn(move || {
            assert_eq!(relay.take(0), Some(7));
            relay.ring_a_waiter();
        });
        // With a single slot: it must come back.
        let mut freed = shared.words.take_freed();
        while freed == 0 {
            shared.words.wait();
            shared.asleep.store(1, Ordering::Release);
            fence(Fence::Sleep);
            freed = shared.words.take_freed();
            if freed == 0 {
                let mut rung = shared.rung.lock().unwrap();
                while !*rung {
                    rung = shared.bell.wait(rung).unwrap();
                }
                *rung = false;
            }
            shared.asleep.store(0, Ordering::Relaxed);
        }
        assert_eq!(freed, 1 << 3);
        relay.join().unwrap();
    });
}
