//! Wires: what transports between hosts have in common. One link for each pair of ranks, shared by their connections.
//!
//! Short messages travel eagerly into standing slots; longer ones wait for their receive's grant
//! and land where it says, sent from the sender's own memory in pieces of at most 128 KiB, with
//! the connections of a wire taking turns. Nothing enters a wire before its receiver permitted
//! it, so a receive that never comes blocks its own connection alone.
//!
//! Where the ranks of a node share wires, a rank hands its pieces to the one that owns the wire (`feeder`),
//! which takes them in (`service`), lets them wait for each other (`holding`) and sends them (`carried`).
//!
//! `frame` is the form of bytes, `sending` and `receiving` are the two ends of a connection, `outbox` and `ends` the
//! two halves of a `wire`; all input and output happens in
//! [`WireEndpoint::progress`](crate::seam::Endpoint::progress). What carries the wires is a `medium`: sockets
//! ([`tcp`](crate::tcp)), a device that writes to the peer's memory ([`placing`]), or both ([`mixed`]).

mod batch;
mod carried;
mod endpoint;
mod ends;
mod feeder;
mod frame;
mod held;
mod holding;
mod medium;
mod memory;
pub mod mixed;
mod out_end;
mod outbox;
pub mod placing;
mod receiving;
mod sending;
mod service;
mod wire;

pub(crate) use batch::{Batch, MOST_SEGMENTS, Payload, Segment};
pub(crate) use endpoint::system;
pub use endpoint::{EAGER_BYTES, Joint, Relays, WireEndpoint, end_memory_of};
pub(crate) use ends::{Ends, Group};
pub use frame::PIECE_BYTES;
pub(crate) use frame::{MOST_GRANTS, MOST_HEAD_BYTES, Member, Violation};
#[doc(hidden)]
pub use held::Held;
pub use holding::{Aggregation, Flush};
pub(crate) use medium::{Ended, Link, Medium, Push, Watch};
pub use medium::{Keys, Place};
pub(crate) use memory::Memory;
