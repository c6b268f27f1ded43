//! Owns [`OutEnd`]: a connection's sending end on a wire, be it this rank's own or one that it carries.

use std::time::Instant;

use super::carried::CarriedEnd;
use super::frame::{GrantRecord, Home, Refusal, Standing, Violation};
use super::held::Held;
use super::sending::{Piece, SendingEnd, Written};

pub(super) enum OutEnd {
    Own(Box<SendingEnd>),
    Carried(Box<CarriedEnd>),
}

impl OutEnd {
    pub fn own(&mut self) -> Option<&mut SendingEnd> {
        match self {
            Self::Own(end) => Some(end),
            Self::Carried(_) => None,
        }
    }

    /// As if `passed` messages of every kind had passed.
    pub fn number_from(&mut self, passed: u32) {
        match self {
            Self::Own(end) => end.number_from(passed),
            Self::Carried(end) => end.number_from(passed),
        }
    }

    /// Whether memory that was lent is still needed.
    pub fn borrows(&self) -> bool {
        match self {
            Self::Own(end) => end.borrows(),
            Self::Carried(_) => false,
        }
    }

    pub fn ready(&self) -> bool {
        match self {
            Self::Own(end) => end.ready(),
            Self::Carried(end) => end.ready(),
        }
    }

    pub fn next_len(&self) -> usize {
        match self {
            Self::Own(end) => end.next_len(),
            Self::Carried(end) => end.next_len(),
        }
    }

    /// Whether the next piece only tells of a message.
    pub fn is_notice(&self) -> bool {
        match self {
            Self::Own(end) => end.is_notice(),
            Self::Carried(end) => end.is_notice(),
        }
    }

    /// The tag of the next piece's call.
    pub fn next_tag(&self) -> u32 {
        match self {
            Self::Own(end) => end.next_tag(),
            Self::Carried(end) => end.next_tag(),
        }
    }

    pub fn next_piece(&mut self) -> Option<Piece> {
        match self {
            Self::Own(end) => end.next_piece(),
            Self::Carried(end) => end.next_piece(),
        }
    }

    pub fn written(&mut self, piece: Written) {
        match self {
            Self::Own(end) => end.written(piece),
            Self::Carried(end) => end.written(),
        }
    }

    /// Whether something can go now that could not before.
    pub fn granted(&mut self, grant: GrantRecord) -> Result<bool, Violation> {
        match self {
            Self::Own(end) => end.granted(grant),
            Self::Carried(end) => {
                end.granted(grant);
                Ok(false)
            }
        }
    }

    pub fn offered(&mut self, standing: Standing) -> Result<(), Violation> {
        match self {
            Self::Own(end) => end.offered(standing),
            Self::Carried(end) => {
                end.offered(standing);
                Ok(())
            }
        }
    }

    /// Learns where the receiver's standing slots are.
    pub fn settle(&mut self, home: Home) -> Result<(), Violation> {
        match self {
            Self::Own(end) => end.settle(home),
            Self::Carried(end) => end.settle(home),
        }
    }

    /// What came once more, and was dropped.
    pub fn repeats(&self) -> u64 {
        match self {
            Self::Own(end) => end.repeats(),
            Self::Carried(end) => end.repeats(),
        }
    }

    #[cold]
    pub fn fail(&mut self, refusal: Refusal) {
        match self {
            Self::Own(end) => end.fail(refusal),
            Self::Carried(end) => end.fail(refusal),
        }
    }

    #[cold]
    pub fn abandon(&mut self) {
        match self {
            Self::Own(end) => end.abandon(),
            Self::Carried(end) => end.abandon(),
        }
    }

    pub fn has_queued(&self) -> bool {
        match self {
            Self::Own(end) => end.has_queued(),
            Self::Carried(end) => end.has_queued(),
        }
    }

    pub fn held(&self) -> Held {
        match self {
            Self::Own(end) => Held { sending: end.held(), ..Held::default() },
            Self::Carried(end) => Held { carried: end.held(), ..Held::default() },
        }
    }

    /// Whether a message of this rank that needs a grant has not left entirely.
    pub fn has_long(&self) -> bool {
        matches!(self, Self::Own(end) if end.has_long())
    }

    /// Whether a message of this rank waits for its grant.
    pub fn lacks_grant(&self) -> bool {
        matches!(self, Self::Own(end) if end.is_notice())
    }

    pub fn is_late(&self) -> bool {
        matches!(self, Self::Own(end) if end.is_late())
    }

    pub fn set_aside(&mut self, now: Instant) {
        if let Self::Own(end) = self {
            end.set_aside(now);
        }
    }

    /// Whether the receiver is to be told now that a message waits.
    pub fn remind(&mut self, now: Instant) -> bool {
        match self {
            Self::Own(end) => end.remind(now),
            Self::Carried(_) => false,
        }
    }
}
