//! Owns the links between processes: one listening port, handshake, authentication, framing, versions, and the
//! choice of interface.
//!
//! A process opens one [`Listener`], and subscribes to it for each part it plays in a world. Another process
//! [`dial`]s it; both prove that they hold the world's [`Secret`] (Noise NNpsk0), and have a [`Link`]: framed,
//! encrypted messages, each call with a deadline. A link can become a plain stream for data.
#![forbid(unsafe_code)]

mod error;
#[expect(dead_code, reason = "the listener and the dialler that speak it come next")]
mod hello;
mod secret;
mod unique_id;

pub use error::NetError;
pub use hello::{Purpose, Target, Version};
pub use secret::{Secret, WorldId};
pub use unique_id::UniqueId;
