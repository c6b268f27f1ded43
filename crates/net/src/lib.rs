//! Owns the links between processes: one listening port, handshake, authentication, framing, versions, and the
//! choice of interface.
//!
//! A process opens one [`Listener`], and subscribes to it for each part it plays in a world. Another process
//! [`dial()`]s it; both prove that they hold the world's [`Secret`] (Noise NNpsk0), and have a [`Link`]: framed,
//! encrypted messages, each call with a deadline. A link can become a plain stream for data.
#![forbid(unsafe_code)]

mod descriptors;
mod dial;
mod error;
mod flight;
mod handshake;
mod hello;
mod inbox;
mod interfaces;
mod link;
mod listener;
mod probe;
mod queue;
mod reception;
mod secret;
mod served;
mod strangers;
mod unique_id;
mod version;
mod wait;

pub use descriptors::{Descriptors, Reserved};
pub use dial::{Dial, dial, dial_unless};
pub use error::NetError;
pub use hello::{Purpose, Target};
pub use inbox::Inbox;
pub use interfaces::{
    Address, Interface, address_of, all_addresses, host_name, interface_at, offered,
};
pub use link::Link;
pub use listener::{ListenOptions, Listener};
pub use probe::is_deserted;
pub use queue::Incoming;
pub use secret::{Secret, WorldId};
pub use strangers::{Fault, Strangers};
pub use unique_id::UniqueId;
pub use version::Version;
pub use wait::{Bell, Interrupted, poll_until};
