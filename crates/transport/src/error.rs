//! Owns what can go wrong on a transport, with the numbers that a reader of the error needs.

use std::io;

/// A failure of one rank's endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer's end of a connection is gone: its process ended, or the network says so.
    #[error("the link to rank {peer} ended while {doing}{}", in_own_words(.source))]
    PeerGone {
        /// The rank at the other end.
        peer: u32,
        /// What this end was doing.
        doing: &'static str,
        /// The operating system's reason, if there was one.
        #[source]
        source: Option<io::Error>,
    },
    /// The peer has told why it can have no connection: the fault is at its end.
    #[error("rank {peer} cannot be connected to: {why}")]
    PeerHasNone {
        /// The rank at the other end.
        peer: u32,
        /// Its reason.
        why: String,
    },
    /// The peer sent what the protocol does not allow.
    #[error("rank {peer} broke the protocol: {what}")]
    PeerMisbehaved {
        /// The rank at the other end.
        peer: u32,
        /// What it did.
        what: String,
    },
    /// A message was longer than the receive that it met.
    #[error(
        "message {sequence} from rank {peer} has {len} bytes, but the receive has room for {limit}"
    )]
    Truncated {
        /// The sending rank.
        peer: u32,
        /// The message's number on its connection.
        sequence: u32,
        /// Its length in bytes.
        len: u64,
        /// The room of the receive in bytes.
        limit: u64,
    },
    /// A message was longer than the longest that the connection carries.
    #[error("a message of {len} bytes to rank {peer} is longer than a slot of {limit} bytes")]
    TooLong {
        /// The receiving rank.
        peer: u32,
        /// The message's length in bytes.
        len: u64,
        /// Bytes of the longest message.
        limit: u64,
    },
    /// A peer gave its operation up, and with it the memory that it had lent for it.
    #[error("rank {peer} gave up the operation, and took back what it had lent")]
    Withdrawn {
        /// The rank at the other end.
        peer: u32,
    },
    /// The heap has no room for a block.
    #[error(
        "no room for {bytes} bytes in a heap of {heap_bytes} of which {in_use} are in use; \
         free buffers or make it larger"
    )]
    HeapFull {
        /// Bytes that were asked for.
        bytes: u64,
        /// Bytes of all blocks, in whole pages.
        in_use: u64,
        /// Bytes of the heap.
        heap_bytes: u64,
    },
    /// Setting up did not finish by its deadline.
    #[error("rank {peer} did not connect within {waited_ms} ms")]
    ConnectDeadline {
        /// The rank that did not come.
        peer: u32,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// Setting up was told to stop before all had come.
    #[error("interrupted after {waited_ms} ms of connecting")]
    Interrupted {
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// This host refused a system call that the transport cannot do without.
    #[error("{call} failed")]
    System {
        /// The call, and on what.
        call: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// A link to one rank could not be made.
    #[error("no link to rank {peer}: {source}")]
    Connecting {
        /// The rank that was dialled.
        peer: u32,
        /// Why not.
        source: Box<crosstie_net::NetError>,
    },
    /// Establishing a link to a peer failed.
    #[error(transparent)]
    Net(#[from] crosstie_net::NetError),
}

/// What a device says of it, if it was one; what the operating system says is told as a source alone.
fn in_own_words(source: &Option<io::Error>) -> String {
    let own = source.as_ref().and_then(io::Error::get_ref);
    own.map_or_else(String::new, |own| format!(": {own}"))
}

impl TransportError {
    /// The rank at the other end, where the failure concerns one.
    pub fn peer(&self) -> Option<u32> {
        match self {
            Self::PeerGone { peer, .. }
            | Self::PeerHasNone { peer, .. }
            | Self::PeerMisbehaved { peer, .. }
            | Self::Truncated { peer, .. }
            | Self::Withdrawn { peer }
            | Self::ConnectDeadline { peer, .. }
            | Self::Connecting { peer, .. } => Some(*peer),
            Self::TooLong { .. }
            | Self::HeapFull { .. }
            | Self::Interrupted { .. }
            | Self::System { .. }
            | Self::Net(_) => None,
        }
    }
}
