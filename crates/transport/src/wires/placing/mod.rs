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
//! # What is kept for a wire that fails, and what is not
//! A pair that fails ends its wire today, and with it the world. To send the rest by another pair, whoever sends needs
//! what the peer may not have, and whoever receives must take no harm from what it gets twice. Of that there is:
//!
//! - The key of every byte is (connection, sequence, offset), in the head's records: a count of a wire's own would not
//!   do, for it means something else on the next pair. The receiving end knows the next of each, so it can tell a
//!   repeat from what it waits for; today it calls a repeat a violation, and would have to drop it instead.
//! - Memory is kept: a standing slot until its chain has ended *and* the peer has emptied it, a message in its caller's
//!   memory or aside until the last of its chains has ended, a head in the own ring until its chain has ended and the
//!   peer has emptied its slot. A chain has ended when the peer's device has acknowledged all of it; so it is in the
//!   peer's memory, and the peer finds it told of once it has emptied its completion queue, which it does before it
//!   ends a pair. So what has ended need not be sent again.
//! - Heads of chains that have not ended tell in order which pieces those were, short ones with their bytes.
//!
//! And of that there is not, so a reroute would have to keep it: where the long payloads of such a chain lie and were
//! to go (up to eight writes for each of [`RING_SLOTS`] chains, which the link hands to the pair and forgets), and the
//! grant of a message whose last piece is among them, which is forgotten as that piece is put. Places need not be named
//! anew where the new pair is of the same device and domain, for a key is a domain's; else the peer names them again,
//! with the next sequence and offset of each connection (`RESUME`), before anything is sent. What the peer had said it
//! emptied is counted from zero on the new ring.
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
