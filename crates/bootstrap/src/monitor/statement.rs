//! Owns what each rank says when something is judged: how far it is, its last calls, and what it waits for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ledger::Calls;
use super::signature::Signature;

/// What one rank says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Statement {
    /// The number of the last call that it started.
    pub started: u64,
    /// The number of the last call that it finished.
    pub finished: u64,
    /// Its last calls in order; the last of them is under way if `started` is greater than `finished`.
    pub recent: Vec<Signature>,
    /// Its last calls of messages between pairs, in order: those have no number, for only some ranks take part.
    #[serde(default)]
    pub messages: Vec<Signature>,
    /// Whether the last of those is under way.
    #[serde(default)]
    pub in_messages: bool,
    /// How long it has been in its call, or out of one, in milliseconds.
    pub since_ms: u64,
    /// How long its call has moved nothing, in milliseconds.
    pub quiet_ms: u64,
    /// Whether the application answered for itself: whoever drives a call does, unless it is busy with it.
    pub testified: bool,
    /// What the unfinished blocks of its call wait for.
    pub waits: Vec<Wait>,
    /// How many more blocks wait than are listed.
    pub more_waits: u64,
}

impl Statement {
    pub(super) fn calls(&self) -> Calls {
        Calls { started: self.started, finished: self.finished }
    }

    /// Whether a call that has a number is under way.
    pub fn is_in_call(&self) -> bool {
        self.started > self.finished
    }

    /// The call of messages under way, if one is.
    pub fn in_messages(&self) -> Option<&Signature> {
        self.messages.last().filter(|_| self.in_messages)
    }

    /// Where it is, in a few words.
    pub(super) fn place(&self) -> String {
        let last = self.recent.last();
        match (self.in_messages(), self.is_in_call(), last) {
            (Some(call), ..) => format!("in {call}"),
            (None, true, Some(call)) => format!("in {call}"),
            (None, true, None) => format!("in call #{}", self.started),
            (None, false, Some(call)) => format!("in no call; its last was {call}"),
            (None, false, None) => "in no call; it has made none".to_owned(),
        }
    }
}

/// What one block of a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wait {
    /// The block, by its index in the rank's plan.
    pub block: u32,
    /// The step that it has reached.
    pub step: u32,
    /// The window that it is in.
    pub window: u64,
    /// What it needs to go on.
    pub on: WaitOn,
}

/// What a block needs to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WaitOn {
    /// A message from `peer`.
    Message {
        /// The sending rank.
        peer: u32,
        /// The connection's channel.
        channel: u16,
        /// How many messages of the call came before it on the connection.
        slot: u64,
    },
    /// Room for a message to `peer`, or the end of one's sending.
    Room {
        /// The receiving rank.
        peer: u32,
        /// The connection's channel.
        channel: u16,
        /// How many messages of the call went before it on the connection.
        slot: u64,
    },
    /// A step of another block of the same rank.
    Step {
        /// That block.
        block: u32,
        /// That step.
        step: u32,
    },
}

impl WaitOn {
    /// The rank at the other end, if there is one.
    pub fn peer(&self) -> Option<u32> {
        match self {
            WaitOn::Message { peer, .. } | WaitOn::Room { peer, .. } => Some(*peer),
            WaitOn::Step { .. } => None,
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} step {} window {} waits for ", self.block, self.step, self.window)?;
        let (channel, slot) = match self.on {
            WaitOn::Message { peer, channel, slot } => {
                write!(f, "a message from rank {peer}")?;
                (channel, slot)
            }
            WaitOn::Room { peer, channel, slot } => {
                write!(f, "rank {peer} to take a message")?;
                (channel, slot)
            }
            WaitOn::Step { block, step } => return write!(f, "block {block} step {step}"),
        };
        write!(f, " (channel {channel}, slot {slot})")
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| ms as f64 / 1e3;
        write!(f, "{}; {:.1} s", self.place(), seconds(self.since_ms))?;
        if self.is_in_call() || self.in_messages {
            write!(f, ", nothing moved for {:.1} s", seconds(self.quiet_ms))?;
        }
        self.waits.iter().try_for_each(|wait| write!(f, "\n    {wait}"))?;
        match self.more_waits {
            0 => Ok(()),
            more => write!(f, "\n    and {more} more"),
        }
    }
}
