//! Owns the version of the protocol between processes, and which versions understand each other.

use std::fmt;

/// A protocol version. Ends with equal `major` understand each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Raised when old and new releases cannot talk.
    pub major: u16,
    /// Raised when something is added that an old release may ignore.
    pub minor: u16,
}

impl Version {
    /// What this release speaks.
    pub const OURS: Version = Version { major: 1, minor: 0 };

    /// Whether this release can talk to one that speaks `self`.
    pub(crate) fn suits_ours(self) -> bool {
        self.major == Self::OURS.major
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
