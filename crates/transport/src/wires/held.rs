//! Owns [`Held`]: what an endpoint has not given back yet, which is nothing when no message is under way.

use std::ops::AddAssign;

/// For tests: what is under way at one endpoint (invariant I10 of the protocol: in an idle communicator every
/// slot is free).
#[doc(hidden)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Slots of relay boxes that this rank has filled and not got back.
    pub slots: usize,
    /// Pieces of other ranks that wait here, or are being written.
    pub carried: usize,
    /// Messages that have not left, and pieces of the caller's memory that are being written.
    pub sending: usize,
    /// Receives not released, and messages that have arrived, or begun to, and were not released.
    pub receiving: usize,
    /// Wire messages that are partly written, or partly read.
    pub wire_messages: usize,
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Self) {
        self.slots += other.slots;
        self.carried += other.carried;
        self.sending += other.sending;
        self.receiving += other.receiving;
        self.wire_messages += other.wire_messages;
    }
}
