//! Owns the ways in which a work request ends.

use std::fmt;

use crate::sys;

/// How a work request ended. Devices may have more ways than are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// It did what it was asked for.
    pub const SUCCESS: Self = Self(sys::IBV_WC_SUCCESS);
    /// It was thrown away, for the queue pair had failed before.
    pub const FLUSHED: Self = Self(sys::IBV_WC_WR_FLUSH_ERR);
    /// Nobody answered, however often it was repeated.
    pub const RETRY_EXCEEDED: Self = Self(12);
    /// The peer had no receive posted, however often it was asked.
    pub const RECEIVER_NOT_READY: Self = Self(13);

    /// Names and remedies, by number.
    const KNOWN: [(&str, &str); 24] = [
        ("success", ""),
        ("local length error", OURS),
        ("local queue pair operation error", OURS),
        ("local end-to-end context operation error", OURS),
        ("local protection error", OURS),
        ("flushed after an earlier error", "look for the first error"),
        ("memory window bind error", OURS),
        ("bad response", "check both ends' firmware"),
        ("local access error", OURS),
        ("remote invalid request", OURS),
        ("remote access error", "the peer took its memory back: look for its error"),
        ("remote operation error", "look for the peer's error"),
        ("retries exceeded", "the peer or the network is gone"),
        ("receiver not ready", OURS),
        ("local RDD violation", OURS),
        ("remote invalid RD request", OURS),
        ("remote aborted", "look for the peer's error"),
        ("invalid end-to-end context number", OURS),
        ("invalid end-to-end context state", OURS),
        ("fatal error", "the device broke down: see the kernel's log"),
        ("response timeout", "the peer or the network is gone"),
        ("general error", "see the kernel's log"),
        ("tag matching error", OURS),
        ("tag matching rendezvous incomplete", OURS),
    ];

    fn known(self) -> Option<&'static (&'static str, &'static str)> {
        Self::KNOWN.get(self.0 as usize)
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        self.known().map_or("see the device's manual", |(_, remedy)| remedy)
    }
}

/// Of what only an error of this library can bring about.
const OURS: &str = "report it: it is an error of this library";

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "status {}", self.0),
        }
    }
}
