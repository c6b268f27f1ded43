//! Loom check of the ring's counting: no slot is written and read at once, none is lost.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::{ReceiveCursor, SendCursor};
use crate::primitive::AtomicU32;

struct Slots {
    sequences: Vec<AtomicU32>,
    payloads: Vec<UnsafeCell<u32>>,
    released: AtomicU32,
}

fn messages_through(slots: u32, messages: u32) {
    loom::model(move || {
        let ring = Arc::new(Slots {
            sequences: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            payloads: (0..slots).map(|_| UnsafeCell::new(0)).collect(),
            released: AtomicU32::new(0),
        });
        let far = Arc::clone(&ring);
        let sender = thread::spawn(move || {
            let mut send = SendCursor::new(slots);
            for message in 1..=messages {
                while !send.has_room(&far.released).unwrap() {
                    thread::yield_now();
                }
                let slot = send.slot() as usize;
                // SAFETY: the sender owns a slot that has room; loom fails if not.
                far.payloads[slot].with_mut(|payload| unsafe { *payload = message });
                send.publish(&far.sequences[slot]);
            }
        });
        let mut receive = ReceiveCursor::new(slots);
        for message in 1..=messages {
            let slot = receive.slot() as usize;
            while !receive.is_full(&ring.sequences[slot]) {
                thread::yield_now();
            }
            // SAFETY: the receiver owns a full slot; loom fails if not.
            ring.payloads[slot].with(|payload| assert_eq!(unsafe { *payload }, message));
            receive.release(&ring.released);
        }
        sender.join().unwrap();
    });
}

/// The sender lends the same memory again and again, and overwrites it in between.
#[test]
fn what_is_lent_is_never_shared() {
    loom::model(|| {
        let ring = Arc::new(Slots {
            sequences: (0..2).map(|_| AtomicU32::new(0)).collect(),
            payloads: vec![UnsafeCell::new(0)],
            released: AtomicU32::new(0),
        });
        let far = Arc::clone(&ring);
        let sender = thread::spawn(move || {
            let mut send = SendCursor::new(2);
            for message in 1..=3 {
                // SAFETY: what was lent before is back; loom fails if not.
                far.payloads[0].with_mut(|payload| unsafe { *payload = message });
                assert!(send.has_room(&far.released).unwrap());
                let number = send.number();
                send.publish(&far.sequences[send.slot() as usize]);
                while !send.is_back(number, &far.released) {
                    thread::yield_now();
                }
            }
        });
        let mut receive = ReceiveCursor::new(2);
        for message in 1..=3 {
            while !receive.is_full(&ring.sequences[receive.slot() as usize]) {
                thread::yield_now();
            }
            // SAFETY: the receiver has what it was lent; loom fails if not.
            ring.payloads[0].with(|payload| assert_eq!(unsafe { *payload }, message));
            receive.release(&ring.released);
        }
        sender.join().unwrap();
    });
}

#[test]
fn one_slot_is_never_shared() {
    messages_through(1, 3);
}

#[test]
fn two_slots_are_never_shared() {
    messages_through(2, 4);
}
