//! Owns what can go wrong on a link between processes, with the numbers that a reader of the error needs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::version::Version;

/// A failure of a link, or of setting one up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// This host refused a system call.
    #[error("{call} failed: {source}")]
    System {
        /// The call, and on what.
        call: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// This process may not open as many files as the ranks in it need.
    #[error(
        "{ranks} ranks in one process need about {needed} open files, with those that it has, and it may open {limit}: \
         raise ulimit -n, or start more processes"
    )]
    Descriptors {
        /// Ranks of this process.
        ranks: u32,
        /// Open files that they need, with those that the process has.
        needed: u64,
        /// Open files that it may have.
        limit: u64,
    },
    /// No port of the given range is free.
    #[error(
        "no free port in {first}..={last}: widen the range, or end the program that holds the ports"
    )]
    NoPort {
        /// Lowest port that was tried.
        first: u16,
        /// Highest port that was tried.
        last: u16,
    },
    /// No network interface is up whose name begins as asked.
    #[error("{}", no_interface(wanted, present))]
    NoInterface {
        /// The name, or its beginning.
        wanted: String,
        /// The interfaces that have an address, separated by blanks.
        present: String,
    },
    /// A deadline passed.
    #[error("{doing} with {host} at {address} did not finish within {waited:?}")]
    Deadline {
        /// What this end was doing.
        doing: &'static str,
        /// The peer's host, or `?` where it has not said.
        host: String,
        /// The peer's address.
        address: SocketAddr,
        /// How long was waited.
        waited: Duration,
    },
    /// Nothing came to an inbox in time.
    #[error("nobody dialled for {purpose} within {waited:?}; {strangers}")]
    NobodyCame {
        /// What the expected link was for.
        purpose: &'static str,
        /// How long was waited.
        waited: Duration,
        /// What the listener says of those it turned away.
        strangers: String,
    },
    /// The peer's end is gone: its process ended or closed the link, or the network says so.
    #[error("the link to {host} at {address} ended while {doing}{}", reason(.source))]
    Ended {
        /// What this end was doing.
        doing: &'static str,
        /// The peer's host, or `?` where it has not said.
        host: String,
        /// The peer's address.
        address: SocketAddr,
        /// The operating system's reason; none when the peer closed the link.
        source: Option<io::Error>,
    },
    /// The two ends speak different protocol versions.
    #[error(
        "protocol version {ours} here on {our_host}, but {theirs} on {their_host}: \
         install the same release of crosstie on both"
    )]
    Version {
        /// The version that this process speaks.
        ours: Version,
        /// This host.
        our_host: String,
        /// The version that the peer speaks.
        theirs: Version,
        /// The peer's host.
        their_host: String,
    },
    /// The peer does not hold the same secret.
    #[error(
        "{host} at {address} holds another secret: give every rank the same unique id \
         or CROSSTIE_SECRET"
    )]
    WrongSecret {
        /// The peer's host.
        host: String,
        /// Its address.
        address: SocketAddr,
    },
    /// The process that listens there does not serve this world; it may not have opened it yet, or the secret differs.
    #[error(
        "{host} at {address} listens, but after {waited:?} still serves no such world: \
         its rank has not started there, or its secret differs from ours"
    )]
    NoSuchWorld {
        /// The peer's host.
        host: String,
        /// Its address.
        address: SocketAddr,
        /// How long was asked.
        waited: Duration,
    },
    /// The process that listens there serves this world, but not the rank or meeting that was dialled.
    #[error("{host} at {address} serves this world, but after {waited:?} still not {target}")]
    NoSuchTarget {
        /// What was dialled.
        target: String,
        /// The peer's host.
        host: String,
        /// Its address.
        address: SocketAddr,
        /// How long was asked.
        waited: Duration,
    },
    /// No address of the peer could be reached.
    #[error("no address answered within {waited:?}: {attempts}")]
    Unreachable {
        /// Each address with the reason why it was of no use.
        attempts: String,
        /// How long was tried.
        waited: Duration,
    },
    /// The peer listens, but the network keeps each of its addresses from us: it has no route there, or swallows what
    /// is sent.
    #[error("the network leads to none of its addresses, after {waited:.1?}: {attempts}")]
    NoWay {
        /// Each address with the reason why it was of no use.
        attempts: String,
        /// How long was tried.
        waited: Duration,
    },
    /// Whoever waited for a link was told to stop.
    #[error("interrupted after {waited:?}")]
    Interrupted {
        /// How long was waited.
        waited: Duration,
    },
    /// The peer sent what the protocol does not allow.
    #[error("{host} at {address} broke the protocol: {what}")]
    Protocol {
        /// The peer's host, or `?` where it has not said.
        host: String,
        /// The peer's address.
        address: SocketAddr,
        /// What it did.
        what: String,
    },
    /// A message is longer than a link carries.
    #[error("a message of {len} bytes is longer than the {limit} bytes that a link carries")]
    TooLong {
        /// Its length in bytes.
        len: u64,
        /// The longest possible, in bytes.
        limit: u64,
    },
    /// The peer does not read: too much waits to be sent to it.
    #[error("{host} at {address} reads nothing: {waiting} bytes wait to be sent to it")]
    Backlog {
        /// The peer's host.
        host: String,
        /// Its address.
        address: SocketAddr,
        /// Bytes that wait.
        waiting: u64,
    },
    /// A text or byte string is no unique id.
    #[error("not a unique id: {what}; pass on exactly what the first rank printed")]
    BadUniqueId {
        /// What is wrong with it.
        what: String,
    },
    /// This process already serves that target of that world.
    #[error("this process already serves {target} of world {world:016x}")]
    AlreadyServed {
        /// The target.
        target: String,
        /// The world's public name.
        world: u64,
    },
    /// A cryptographic step failed that depends on nothing a peer sent.
    #[error("the cryptographic library refused to work: {0}")]
    Crypto(snow::Error),
}

fn reason(source: &Option<io::Error>) -> String {
    source.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
}

fn no_interface(wanted: &str, present: &str) -> String {
    let named = if wanted.is_empty() { String::new() } else { format!(" named `{wanted}`") };
    let present = if present.is_empty() { "none" } else { present };
    format!("no interface{named} is up with an address; there are: {present}")
}

impl NetError {
    pub(crate) fn system(call: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> NetError {
        let call = call.into();
        move |errno| NetError::System { call, source: errno.into() }
    }
}
