//! How bytes travel between ranks: connections, wires, slots, grants and credits.
//!
//! [`seam`] is what every transport offers; [`loopback`], [`shm`] and [`tcp`] are the transports.
//! A rank has one [`seam::Endpoint`] per transport it uses, and the engine drives them all.

mod error;
pub mod owner;
mod primitive;
mod region;
pub mod seam;

pub use error::TransportError;
pub use region::Region;
