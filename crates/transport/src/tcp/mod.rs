//! The TCP transport: one full-duplex socket for each pair of ranks, shared by their connections.
//!
//! What travels on it is the business of [`wires`](crate::wires); here are `connect`, which makes the sockets,
//! `socket`, which carries wires on them, `inbox`, which takes apart what is read, and `path`, which looks at them
//! from outside.

mod connect;
mod endpoint;
mod inbox;
mod path;
mod socket;

#[doc(hidden)]
pub use crate::wires::Held;
pub use crate::wires::{Aggregation, EAGER_BYTES, Flush, PIECE_BYTES, Relays};
pub use connect::{TcpOptions, TcpPeer, connect_links};
pub use endpoint::{Stream, TcpEndpoint};
pub use path::Path;
pub(crate) use socket::{Socket, Sockets};
