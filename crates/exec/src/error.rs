//! Owns what can end an operation early, with enough to say who was waiting for whom.

use std::fmt;
use std::time::Duration;

use crosstie_transport::TransportError;

use crate::ReduceError;

/// An operation that did not complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// A transport failed under the operation.
    #[error("{source}{}", Waiting::list(waiting))]
    Transport {
        /// What failed.
        source: Box<TransportError>,
        /// Where this rank's blocks stood.
        waiting: Vec<Waiting>,
    },
    /// Nothing of the operation moved for as long as it may stand still.
    #[error("nothing has moved for {:.3} s{}", limit.as_secs_f64(), Waiting::list(waiting))]
    Deadline {
        /// How long it may stand still.
        limit: Duration,
        /// Where this rank's blocks stood.
        waiting: Vec<Waiting>,
    },
    /// Another part of this process ended the operation: a peer failed, or the caller aborted.
    #[error("interrupted{}", Waiting::list(waiting))]
    Interrupted {
        /// Where this rank's blocks stood.
        waiting: Vec<Waiting>,
    },
    /// A message belonged to another call than this rank's, whatever its length.
    #[error(
        "rank {peer} made another call than this rank: operation, type, reduction, count or order \
         differ (tag {received:06x}, here {own:06x})"
    )]
    CallMismatch {
        /// The sending rank.
        peer: u32,
        /// The tag of its call.
        received: u32,
        /// The tag of this rank's call.
        own: u32,
    },
    /// A message of the same call had another length than this rank gives it: a fault of this
    /// library, or different calls whose tags happen to be equal (one pair in 16 million).
    #[error(
        "rank {peer} sent {received} bytes where this rank's call expects {expected}, \
         though their calls look alike"
    )]
    LengthMismatch {
        /// The sending rank.
        peer: u32,
        /// Bytes that came.
        received: usize,
        /// Bytes that this rank's call expects.
        expected: usize,
    },
    /// What came to a rank is not the message of a group that it receives there.
    #[error(
        "rank {peer} sent a message of {received} bytes{} where one of {expected} is received: \
         length, type or order of the messages differ, or it made another call",
        if *may_be_more { " or more" } else { "" }
    )]
    MessageMismatch {
        /// The sending rank.
        peer: u32,
        /// Bytes that came.
        received: usize,
        /// Whether more may follow, for these are as many as travel at once.
        may_be_more: bool,
        /// Bytes that are received.
        expected: u64,
    },
    /// The plan uses a connection that was never established.
    #[error("the plan needs a connection with rank {peer} on channel {channel}, and there is none")]
    NoConnection {
        /// The rank at the other end.
        peer: u32,
        /// Its channel.
        channel: u16,
    },
    /// The plan or its binding does not fit the buffers; a fault of this library.
    #[error("the plan does not fit its buffers: {what}")]
    Binding {
        /// What does not fit.
        what: &'static str,
    },
    /// A reduction does not fit its memory; a fault of this library.
    #[error(transparent)]
    Reduce(#[from] ReduceError),
    /// Driving the operation ended in a panic; a fault of this library.
    #[error("this library panicked in the operation; what it printed tells where")]
    Panicked,
    /// An earlier operation failed, so the state of the connections is unknown.
    #[error("an earlier operation on this communicator failed")]
    Poisoned,
}

impl ExecError {
    /// The engine adds where the blocks stood, where it knows.
    #[cold]
    pub(crate) fn transport(source: TransportError) -> Self {
        Self::Transport { source: Box::new(source), waiting: Vec::new() }
    }

    /// The peer that this rank was waiting for, as far as it can tell.
    pub fn peer(&self) -> Option<u32> {
        match self {
            Self::CallMismatch { peer, .. }
            | Self::LengthMismatch { peer, .. }
            | Self::MessageMismatch { peer, .. }
            | Self::NoConnection { peer, .. } => Some(*peer),
            Self::Transport { source, .. } => source.peer(),
            Self::Deadline { waiting, .. } | Self::Interrupted { waiting } => {
                waiting.iter().find_map(|w| w.on.peer())
            }
            Self::Binding { .. } | Self::Reduce(_) | Self::Panicked | Self::Poisoned => None,
        }
    }
}

/// What one block was waiting for when its operation ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The block, by its index in this rank's plan.
    pub block: u32,
    /// The step it had reached.
    pub step: u32,
    /// The window it was in.
    pub window: u64,
    /// What it needs to go on.
    pub on: WaitingFor,
}

/// What a block needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitingFor {
    /// A message from a peer.
    Message {
        /// The sending rank.
        peer: u32,
        /// The connection's channel.
        channel: u16,
        /// How many messages of the operation came before it on the connection.
        slot: u64,
    },
    /// A peer to make room for a message, or to take one.
    Room {
        /// The receiving rank.
        peer: u32,
        /// The connection's channel.
        channel: u16,
        /// How many messages of the operation went before it on the connection.
        slot: u64,
    },
    /// A step of another block of this rank.
    Step {
        /// That block.
        block: u32,
        /// That step.
        step: u32,
    },
}

impl WaitingFor {
    /// The peer concerned, if it is one.
    pub fn peer(&self) -> Option<u32> {
        match self {
            Self::Message { peer, .. } | Self::Room { peer, .. } => Some(*peer),
            Self::Step { .. } => None,
        }
    }
}

impl Waiting {
    /// How many blocks an error text names before it counts the rest.
    const NAMED: usize = 4;

    fn list(waiting: &[Self]) -> String {
        let mut text = String::new();
        for (i, w) in waiting.iter().take(Self::NAMED).enumerate() {
            text += if i == 0 { "; " } else { ", " };
            text += &w.to_string();
        }
        if waiting.len() > Self::NAMED {
            text += &format!(" and {} more", waiting.len() - Self::NAMED);
        }
        text
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} step {} ", self.block, self.step)?;
        match self.on {
            WaitingFor::Message { peer, channel, slot } => {
                write!(f, "waits for a message from rank {peer} (channel {channel}, slot {slot})")
            }
            WaitingFor::Room { peer, channel, slot } => {
                write!(
                    f,
                    "waits for rank {peer} to take a message (channel {channel}, slot {slot})"
                )
            }
            WaitingFor::Step { block, step } => write!(f, "waits for block {block} step {step}"),
        }
    }
}
