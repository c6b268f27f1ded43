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
//!    receive, and no more than [`RING_SLOTS`] are needed. That is done for a quarter of the ring at once, so of so many
//!    that are empty the peer does not hear yet.
//! 5. What is being sent is read by the device until the chain's completion: payloads, and the sender's own copy of
//!    the head, which lies in a ring like the peer's. The engine gives memory back when it is told of that.
//! 6. Completions bear the number of their pair. A pair that takes the place of another has another number, so a late
//!    completion of the old one concerns nobody.
//!
//! # Several pairs for one wire
//! Networks that spread flows over equal ways look at numbers that differ by pair, so a wire may have up to
//! [`MOST_LANES`] of them: its *lanes*. Payloads are dealt out to them in turn. Between lanes nothing keeps the order: a
//! head on one can be here before payloads on another, though these were posted first. So:
//!
//! 7. All heads go on the first lane, and are taken in its order. Each other lane that has payloads of a head ends its
//!    chain with an empty write that tells the peer the head's slot; the head's own immediate number says which lanes
//!    these are, a bit for each. A head is taken once it is here and each of those lanes has told its slot: by rule 1,
//!    for each lane alone, all its payloads are there then.
//! 8. A slot is written again only when the peer has said that it was emptied, which it says after rule 7 held for the
//!    head in it. So no lane tells a slot of a later head before all have told it of the one before: a bit for each
//!    slot and lane is enough.
//! 9. A head uses at most one receive of each lane, so rule 4 holds for each of them; and a lane has no more chains, and
//!    no more writes, than if it were the only one.
//! 10. A message has ended when all its chains have, and messages end in the order of their heads: then rule 5 gives its
//!     memory back.
//! 11. A peer has left when it has on all lanes, for one may still have what another lacks. A lane that fails fails the
//!     wire.
//!
//! # Several devices for one wire
//! A rank that has several NICs has a device for each, and a wire may have lanes on up to [`MOST_STRANDS`] of them: its
//! *strands*. The ends pair theirs, so a lane leads from one device to one. Everything above the lanes names memory by
//! the keys of the first strand's device, which are the wire's. To that come:
//!
//! 12. Memory that a wire names is known to each of its devices, or it is copied. Slots are a block for each set of
//!     devices, so that a device pins no others; callers' buffers are registered as they are first used.
//! 13. Before a place is named whose keys the peer lacks, a head of its own kind tells by what the other devices know its
//!     memory: on the first lane, so that it is here before whatever names the place (rule 1). A key that a device gives
//!     anew is told anew.
//! 14. A payload leaves on a lane only with that lane's keys, of both ends. Where one is not known it leaves on the first
//!     strand. So an end may forget what it was told; it keeps the last, and what lasts as long as the wire.
//! 15. A device that fails fails the wires that have a strand on it, by its own name.
//!
//! # What is kept for a wire that fails, and what is not
//! A pair that fails ends its wire today, and with it the world. To send the rest by another pair, whoever sends needs
//! what the peer may not have, and whoever receives must take no harm from what it gets twice. Of that there is:
//!
//! - The key of every byte is (connection, sequence, offset), in the head's records: a count of a wire's own would not
//!   do, for it means something else on the next pair. The receiving end knows the next of each, so it can tell a
//!   repeat from what it waits for.
//! - A repeat is dropped where heads are read, and counted; what skips a number or an offset is a violation. A piece is
//!   a repeat if its message is complete, or if all of it lies in what is here of the message that is arriving; an
//!   offer of standing slots, if a later one is known; a grant, if its message has gone, or a later one is known in its
//!   cell. A refusal, and where standing slots begin, may be said twice. Nothing else is told, and slots of a ring are
//!   counted anew on a new pair.
//! - What a device writes, it has written before any head is read. So a chain may be begun anew as long as its head was
//!   not taken: its payloads go to the same places, which are still the message's. A chain whose head was taken may be
//!   repeated for its short payloads, and for those in standing slots, which are not used again before the chain has
//!   ended; but not for pieces in granted memory, for that is the caller's again once the last piece was taken. So
//!   pieces must not be sent again before the peer has said which is the next that it waits for (`RESUME`, below).
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
mod strands;

pub use device::{Completion, Device, Lasting, Pair, Write};
pub use link::{MOST_LANES, RING_SLOTS, Ring, RingMemory, SEND_DEPTH, SLOT_BYTES};
pub use medium::{Placing, PlacingEndpoint};
pub use strands::MOST_STRANDS;
