//! How bytes travel between ranks: connections, wires, slots, grants and credits.
//!
//! [`seam`] is what every transport offers; [`loopback`], [`shm`] and [`tcp`] are the transports;
//! [`wires`] is what those between hosts have in common.
//! A rank has one [`seam::Endpoint`] per transport it uses, and the engine drives them all.
#![cfg_attr(
    loom,
    expect(dead_code, reason = "only the words are compiled, not those who use them")
)]

mod cursor;
#[cfg(not(loom))]
pub mod doorbell;
mod error;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod heap;
pub mod invariants;
#[cfg(not(loom))]
mod local;
#[cfg(not(loom))]
pub mod loopback;
#[cfg(not(loom))]
mod mapping;
mod owner;
mod primitive;
#[cfg(not(loom))]
mod pull;
mod region;
mod relay;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
pub mod seam;
mod sender_word;
#[cfg(not(loom))]
pub mod shm;
#[cfg(not(loom))]
pub mod tcp;
#[cfg(not(loom))]
pub mod wires;

#[cfg(not(loom))]
pub use doorbell::Doorbell;
pub use error::TransportError;
#[cfg(not(loom))]
pub use fork::ForkMark;
#[cfg(not(loom))]
pub use heap::{Allocation, Heap, HeapBlock, Registered};
#[cfg(not(loom))]
pub use local::{LocalEndpoint, SHORTEST_LENT};
pub use owner::Driver;
pub use region::Region;
#[cfg(not(loom))]
pub use relay::{BoxShape, RelayPeer};
