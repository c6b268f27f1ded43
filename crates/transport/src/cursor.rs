//! Owns the counting of a ring's slots: which one is next, whether it is full, whether it is free.
//!
//! # The protocol
//! One thread sends, one receives. Slots are used in turn; messages are numbered from 1, modulo 2³².
//!
//! 1. The sender fills slot `n` only while fewer than all slots are unreleased, and then writes the
//!    message's number to the slot's sequence word (release). It never waits for the receiver to
//!    look: the number alone says that the slot is full.
//! 2. The receiver owns the slot once its sequence word holds the awaited number (acquire). An older
//!    number there differs by the number of slots, so it is never taken for the awaited one.
//! 3. The receiver gives slots back in order by writing the number of the last released message
//!    (release). The sender reads that word (acquire) only when the credits it knows are spent.
//!
//! 4. What a message only points to is the receiver's as long as its slot is: the sender touches it again
//!    once the released number has reached the message's.
//!
//! Both words are written by one side each; neither side needs a fence or an atomic read-modify-write.

use crate::primitive::{AtomicU32, Ordering};

/// What the peer's word says cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImpossibleCredit {
    /// Messages that were under way, as this end counts.
    pub(crate) sent: u32,
    /// Messages that the peer says it released.
    pub(crate) released: u32,
}

/// A place in the ring: the next message's number, and its slot.
#[derive(Debug, Clone, Copy)]
struct Place {
    slots: u32,
    number: u32,
    slot: u32,
}

impl Place {
    fn new(slots: u32) -> Self {
        Self { slots, number: 1, slot: 0 }
    }

    #[inline]
    fn advance(&mut self) {
        self.number = self.number.wrapping_add(1);
        self.slot += 1;
        if self.slot == self.slots {
            self.slot = 0;
        }
    }
}

/// The sender's side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendCursor {
    next: Place,
    /// The last released message that this side knows of.
    released: u32,
}

impl SendCursor {
    pub(crate) fn new(slots: u32) -> Self {
        Self { next: Place::new(slots), released: 0 }
    }

    /// As if `passed` messages had come and gone before the first.
    pub(crate) fn number_from(&mut self, passed: u32) {
        (self.next.number, self.released) = (passed.wrapping_add(1), passed);
    }

    /// The slot of the next message.
    #[inline]
    pub(crate) fn slot(&self) -> u32 {
        self.next.slot
    }

    /// Whether the next slot is free (rule 1).
    #[inline]
    pub(crate) fn has_room(&mut self, released: &AtomicU32) -> Result<bool, ImpossibleCredit> {
        let sent = self.next.number.wrapping_sub(1);
        if sent.wrapping_sub(self.released) < self.next.slots {
            return Ok(true);
        }
        let released = released.load(Ordering::Acquire);
        let unreleased = sent.wrapping_sub(released);
        if unreleased > self.next.slots {
            return Err(ImpossibleCredit { sent, released });
        }
        self.released = released;
        Ok(unreleased < self.next.slots)
    }

    /// The number of the next message.
    #[inline]
    pub(crate) fn number(&self) -> u32 {
        self.next.number
    }

    /// Whether message `number`, one of the last that were sent, was given back (rule 3).
    #[inline]
    pub(crate) fn is_back(&mut self, number: u32, released: &AtomicU32) -> bool {
        let sent = self.next.number.wrapping_sub(1);
        let after = sent.wrapping_sub(number);
        if sent.wrapping_sub(self.released) <= after {
            return true;
        }
        let released = released.load(Ordering::Acquire);
        // An impossible credit is told of by the next `has_room`.
        if sent.wrapping_sub(released) > self.next.slots {
            return false;
        }
        self.released = released;
        sent.wrapping_sub(released) <= after
    }

    /// Hands the filled slot to the receiver.
    #[inline]
    pub(crate) fn publish(&mut self, sequence: &AtomicU32) {
        sequence.store(self.next.number, Ordering::Release);
        self.next.advance();
    }
}

/// The receiver's side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceiveCursor {
    next: Place,
}

impl ReceiveCursor {
    pub(crate) fn new(slots: u32) -> Self {
        Self { next: Place::new(slots) }
    }

    /// As if `passed` messages had come and gone before the first.
    pub(crate) fn number_from(&mut self, passed: u32) {
        self.next.number = passed.wrapping_add(1);
    }

    /// The slot of the awaited message.
    #[inline]
    pub(crate) fn slot(&self) -> u32 {
        self.next.slot
    }

    /// How many messages came before the awaited one.
    #[inline]
    pub(crate) fn sequence(&self) -> u32 {
        self.next.number.wrapping_sub(1)
    }

    /// Whether the awaited message is in its slot (rule 2).
    #[inline]
    pub(crate) fn is_full(&self, sequence: &AtomicU32) -> bool {
        sequence.load(Ordering::Acquire) == self.next.number
    }

    /// Gives the slot back (rule 3).
    #[inline]
    pub(crate) fn release(&mut self, released: &AtomicU32) {
        released.store(self.next.number, Ordering::Release);
        self.next.advance();
    }
}

#[cfg(test)]
#[cfg(loom)]
mod model;

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_their_end_without_a_message_lost_or_doubled() {
        for slots in [1, 2, 3, 7] {
            let (mut send, mut receive) = (SendCursor::new(slots), ReceiveCursor::new(slots));
            let nearly = u32::MAX - 2 * slots;
            (send.next.number, send.released) = (nearly, nearly - 1);
            receive.next.number = nearly;
            let released = AtomicU32::new(nearly - 1);
            // As a ring that was in use leaves them: the numbers one turn before.
            let sequences: Vec<AtomicU32> =
                (0..slots).map(|slot| AtomicU32::new(nearly - slots + slot)).collect();
            for _ in 0..6 * slots {
                while send.has_room(&released).unwrap() {
                    send.publish(&sequences[send.slot() as usize]);
                }
                for _ in 0..slots {
                    assert!(receive.is_full(&sequences[receive.slot() as usize]));
                    receive.release(&released);
                }
                assert!(!receive.is_full(&sequences[receive.slot() as usize]));
            }
        }
    }

    #[test]
    fn a_message_is_back_when_it_was_released_also_past_the_end_of_the_numbers() {
        for start in [0, u32::MAX - 3] {
            let mut send = SendCursor::new(4);
            (send.next.number, send.released) = (start.wrapping_add(1), start);
            let sequence = AtomicU32::new(0);
            (0..4).for_each(|_| send.publish(&sequence));
            for released in 0..=4u32 {
                let word = AtomicU32::new(start.wrapping_add(released));
                for message in 1..=4u32 {
                    let back = send.is_back(start.wrapping_add(message), &word);
                    assert_eq!(back, message <= released, "{message} of {released}");
                }
            }
            let impossible = AtomicU32::new(start.wrapping_add(9));
            (send.next.number, send.released) = (start.wrapping_add(5), start);
            assert!(!send.is_back(start.wrapping_add(1), &impossible));
        }
    }

    #[test]
    fn a_credit_for_a_message_never_sent_is_an_error() {
        let mut send = SendCursor::new(1);
        let sequence = AtomicU32::new(0);
        send.publish(&sequence);
        let error = send.has_room(&AtomicU32::new(9)).unwrap_err();
        assert_eq!(error, ImpossibleCredit { sent: 1, released: 9 });
    }
}
