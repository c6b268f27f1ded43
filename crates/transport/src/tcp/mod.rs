//! The TCP transport: one full-duplex socket for each pair of ranks, shared by their connections.
//!
//! Short messages travel eagerly into standing slots; longer ones wait for their receive's grant
//! and land where it says, sent from the sender's own memory in pieces of at most 128 KiB, with
//! the connections of a wire taking turns. Nothing enters a wire before its receiver permitted
//! it, so a receive that never comes blocks its own connection alone.
//!
//! Where the ranks of a node share wires, a rank hands its pieces to the one that owns the wire (`feeder`),
//! which takes them in (`service`), lets them wait for each other (`holding`) and sends them (`carried`).
//!
//! `frame` is the form of bytes, `sending` and `receiving` are the two ends of a connection,
//! `outbox` and `inbox` the two halves of a `wire`; all input and output happens in
//! [`TcpEndpoint::progress`](crate::seam::Endpoint::progress).

mod carried;
mod connect;
mod endpoint;
mod feeder;
mod frame;
mod held;
mod holding;
mod inbox;
mod memory;
mod out_end;
mod outbox;
mod path;
mod receiving;
mod sending;
mod service;
mod wire;

pub use connect::{TcpOptions, TcpPeer};
pub use endpoint::{EAGER_BYTES, Relays, Stream, TcpEndpoint};
pub(crate) use frame::MOST_GRANTS;
pub use frame::PIECE_BYTES;
#[doc(hidden)]
pub use held::Held;
pub use holding::{Aggregation, Flush};
pub use path::Path;
