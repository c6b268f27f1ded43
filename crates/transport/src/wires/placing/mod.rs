//! Media that place payloads: a device writes to memory of the peer that the peer has named, and then tells it.
//!
//! ibverbs is one; a device of this kind is a [`Device`] with a [`Pair`] for each wire, which both only have to write
//! and to say what has ended. What a wire message is, who may send what, and who owns which memory when is the
//! engine's business, the same one that carries wires over sockets.
//!
//! # How a wire message travels
//! Each end of a wire has a *ring* of [`RING_SLOTS`] slots in registered memory, into which the other end writes the
//! heads of its wire messages in turn. A wire message is one *chain*: a write for each payload, straight to the place
//! that its receiver named, and a write of the head, which tells the peer the head's slot by its immediate number. So
//! a group of 8 members is 9 writes, of which the last alone is signalled: one call, one completion on either side.
//! Payloads of up to 64 bytes are not worth a write: they lie behind their head, and their receiver copies them.
//!
//! 1. A chain's writes reach the peer's memory in order, and the chains of a pair likewise: a reliable connection
//!    keeps the order. So who is told of a head finds that head, all payloads that it tells of, and all earlier ones.
//!    No size, mask or generation need travel beside the head; it says all that the engine wants to know.
//! 2. A head is written to the slot behind the one before it, and only to one that the peer has emptied. The peer
//!    says how many it has emptied, in 16 bits of every head that it sends (where sockets have flags, which are zero).
//! 3. Who has emptied half of the ring and said nothing says it in a head of its own kind, without records. One slot
//!    is kept for that: a ring is full for anything else when one slot is free. So two ends that have both filled each
//!    other's ring can both still say what they emptied, and whoever receives such a head has half a ring free.
//! 4. An emptied slot's receive is posted again before the peer hears that it is empty. So a chain always finds a
//!    receive, and no more than [`RING_SLOTS`] are needed.
//! 5. What is being sent is read by the device until the chain's completion: payloads, and the sender's own copy of
//!    the head, which lies in a ring like the peer's. The engine gives memory back when it is told of that.
//! 6. Completions bear the number of their pair. A pair that takes the place of another has another number, so a late
//!    completion of the old one concerns nobody.
//!
//! Receivers name places in their grants; a message without a grant goes to a standing slot, and where those begin is
//! the first thing that a wire carries. Places are in memory that Crosstie allocated, or its caller registered: a
//! message from elsewhere is copied aside before it is sent, and one to elsewhere is received in a slot. All of the
//! former is one block, whose length is known before it is allocated.

mod device;
mod link;
mod medium;

pub use device::{Completion, Device, Lasting, Pair, Write};
pub use link::{RING_SLOTS, Ring, RingMemory, SEND_DEPTH};
pub use medium::{Placing, PlacingEndpoint};
