//! Loom checks of a relay box's words on the production source, beside the owner word of its source.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::{SLOTS, SlotWords};
use crate::owner::model::{Bell, must_fail};
use crate::owner::{Driver, OwnerWord, publish_fence};
use crate::primitive::{AtomicU32, Fence, Ordering, leave_out};

struct Box {
    words: SlotWords,
    slots: [UnsafeCell<u32>; SLOTS],
    /// What the receiver of a connection says.
    cell: AtomicU32,
}

/// A source, and the boxes of as many relays.
struct Shared {
    boxes: Vec<Box>,
    word: OwnerWord,
    bell: Bell,
}

impl Shared {
    fn new(boxes: usize) -> Arc<Self> {
        let new = |_| Box {
            words: SlotWords::new(),
            slots: std::array::from_fn(|_| UnsafeCell::new(0)),
            cell: AtomicU32::new(0),
        };
        let boxes = (0..boxes).map(new).collect();
        Arc::new(Self { boxes, word: OwnerWord::new(), bell: Bell::new() })
    }

    /// By a relay, after it gave something back: as `Back` does it.
    fn ring_a_waiter(&self, of: usize) {
        publish_fence();
        if self.boxes[of].words.take_waiter() {
            self.published();
        }
    }

    fn published(&self) {
        publish_fence();
        self.word.ring_if_asleep(|| self.bell.ring());
    }

    /// By the source: sleeps until `done`, and waits for slots of those boxes of which `waits` says so.
    fn sleep_until(&self, waits: impl Fn(usize) -> bool, mut done: impl FnMut() -> bool) {
        assert!(self.word.take(Driver::Application));
        while !done() {
            let waiting = (0..self.boxes.len()).filter(|&of| waits(of));
            waiting.for_each(|of| self.boxes[of].words.wait());
            self.word.fall_asleep();
            if !done() {
                self.bell.wait();
            }
            assert!(self.word.take(Driver::Application));
        }
        self.word.leave();
    }
}

impl Box {
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
}

#[test]
fn pieces_arrive_in_the_order_in_which_they_were_put_and_slots_come_back_whole() {
    loom::model(|| {
        let shared = Shared::new(1);
        let source = Arc::clone(&shared);
        let source = thread::spawn(move || {
            let source = &source.boxes[0];
            // Out of the slots' order; the second fills one anew as soon as it is back.
            source.put(0, 5, 10);
            let again = source.words.take_freed();
            source.put(1, if again == 1 << 5 { 5 } else { 2 }, 11);
        });
        let mut taken = Vec::new();
        while taken.len() < 2 {
            match shared.boxes[0].take(taken.len() as u32) {
                Some(value) => taken.push(value),
                None => thread::yield_now(),
            }
        }
        assert_eq!(taken, [10, 11]);
        source.join().unwrap();
    });
}

/// A credit that comes back rings whoever waits for it (rule F5). Each source has a pool of its own with each
/// relay, so one waits for several pools rather than several for one: whichever gives first must ring.
fn a_source_waits_for_the_slots_of(relays: usize, waits: fn(usize) -> bool) {
    loom::model(move || {
        let shared = Shared::new(relays);
        let relay = |of: usize| {
            let shared = Arc::clone(&shared);
            shared.boxes[of].put(0, 3, 7);
            thread::spawn(move || {
                assert_eq!(shared.boxes[of].take(0), Some(7));
                shared.ring_a_waiter(of);
            })
        };
        let threads: Vec<_> = (0..relays).map(relay).collect();
        // The only slots that it had: all must come back.
        let mut back = 0;
        shared.sleep_until(waits, || {
            back += shared.boxes.iter().map(|b| b.words.take_freed().count_ones()).sum::<u32>();
            back == relays as u32
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_source_that_waits_for_a_slot_is_rung() {
    a_source_waits_for_the_slots_of(1, |_| true);
}

#[test]
fn each_relay_rings_a_source_that_waits_for_several() {
    a_source_waits_for_the_slots_of(2, |_| true);
}

#[test]
#[ignore = "fails on purpose; run by `each_rule_is_needed`"]
fn where_only_one_relay_knows_that_it_is_waited_for() {
    a_source_waits_for_the_slots_of(2, |of| of == 0);
}

#[test]
#[ignore = "fails on purpose; run by `each_rule_is_needed`"]
fn slots_without_the_relays_fence() {
    leave_out(Some(Fence::Publish));
    a_source_waits_for_the_slots_of(1, |_| true);
}

#[test]
#[ignore = "fails on purpose; run by `each_rule_is_needed`"]
fn slots_without_the_sources_fence() {
    leave_out(Some(Fence::Sleep));
    a_source_waits_for_the_slots_of(1, |_| true);
}

/// A source that sleeps for permission hears of each, and reads what it heard of.
#[test]
fn what_a_cell_says_is_heard_and_is_there() {
    loom::model(|| {
        let shared = Shared::new(1);
        let relay = Arc::clone(&shared);
        let relay = thread::spawn(move || {
            for grant in 1..=2 {
                relay.boxes[0].cell.store(grant, Ordering::Relaxed);
                relay.boxes[0].words.tell();
                relay.published();
            }
        });
        let mut told = 0;
        shared.sleep_until(
            |_| false,
            || {
                told = shared.boxes[0].words.told();
                let cell = shared.boxes[0].cell.load(Ordering::Relaxed);
                assert!(cell >= told, "an older grant was read than was told of");
                told == 2
            },
        );
        relay.join().unwrap();
    });
}

#[test]
fn each_rule_is_needed() {
    for test in [
        "where_only_one_relay_knows_that_it_is_waited_for",
        "slots_without_the_relays_fence",
        "slots_without_the_sources_fence",
    ] {
        must_fail(&format!("relay::words::model::{test}"), "deadlock");
    }
}
