//! Owns the count of those who dialled a listener and were turned away.

use std::fmt;
use std::net::SocketAddr;

use crate::version::Version;

/// How many were turned away, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Strangers {
    /// Dialled a world that was not served here at that time, or did not prove its secret.
    pub wrong_secret: u64,
    /// Speak another protocol version.
    pub wrong_version: u64,
    /// Sent something else than a hello, or ended in the middle of one.
    pub garbage: u64,
    /// Did not finish their hello in time, or had to make room for others.
    pub silent: u64,
    /// The last one, and what it did.
    pub last: Option<(SocketAddr, Fault)>,
}

/// Why one was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It dialled a world that is not served here, or did not prove its secret.
    WrongSecret,
    /// It speaks this protocol version.
    WrongVersion(Version),
    /// It sent something else than a hello, or ended in the middle of one.
    Garbage,
    /// It did not finish its hello in time, or had to make room for others.
    Silent,
}

impl Strangers {
    /// How many were turned away for any reason.
    pub fn total(&self) -> u64 {
        self.wrong_secret + self.wrong_version + self.garbage + self.silent
    }

    pub(crate) fn count(&mut self, address: SocketAddr, fault: Fault) {
        match fault {
            Fault::WrongSecret => self.wrong_secret += 1,
            Fault::WrongVersion(_) => self.wrong_version += 1,
            Fault::Garbage => self.garbage += 1,
            Fault::Silent => self.silent += 1,
        }
        self.last = Some((address, fault));
    }
}

impl fmt::Display for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((address, fault)) = &self.last else {
            return f.write_str("no stranger was turned away");
        };
        let total = self.total();
        match total {
            1 => write!(f, "1 stranger was turned away, at {address}: it ")?,
            // One who dials again and again counts each time.
            _ => write!(f, "strangers were turned away {total} times, the last at {address}: it ")?,
        }
        match fault {
            Fault::WrongSecret => f.write_str("holds another secret or dialled too early"),
            Fault::WrongVersion(version) => write!(f, "speaks protocol version {version}"),
            Fault::Garbage => f.write_str("sent something else than a hello"),
            Fault::Silent => f.write_str("did not finish its hello in time"),
        }
    }
}
