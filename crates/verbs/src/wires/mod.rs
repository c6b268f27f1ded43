//! Wires over queue pairs: a device as the transports' engine wants it, and how ranks come to be connected.
//!
//! What a wire message is, and who may send what, is [`crosstie_transport::wires`]'s business; here are only the
//! device's writes, completions and events. Each wire keeps the authenticated link over which its ends met: when
//! a process ends, its link does, which a queue pair alone would not tell before something is sent to it.

mod device;
mod handshake;
mod load;
mod meeting;
mod nic;
mod outage;
mod talk;

pub use device::{PairError, VerbsDevice, VerbsPair};
pub use load::Load;
pub use meeting::{
    Connected, Nics, Over, VerbsEndpoint, VerbsOptions, connect, connect_where_possible,
    from_streams,
};
pub use nic::{Nic, Permits, Wish};
