//! Owns [`Protocol`]: how messages pass between ranks that share memory.

use std::str::FromStr;

use super::Value;

/// How a message passes to a rank that shares memory with its sender.
///
/// It is the sender's choice, so ranks may differ; results are the same to the bit. Over the network there
/// is but one way, whatever is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// Lent where that was measured to be faster: values of 4 KiB and more that lie in memory of
    /// [`Communicator::alloc`](crate::Communicator::alloc).
    #[default]
    Auto,
    /// Copied into a slot by the sender and out of it by the receiver, always.
    Copy,
    /// Lent wherever it can be, however short: the receiver reads it where it lies.
    Lend,
}

impl Protocol {
    /// Every protocol, in the order of help texts.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Copy, Self::Lend];

    /// The name that settings and the command line use.
    ///
    /// ```
    /// use crosstie::Protocol;
    ///
    /// assert_eq!("lend".parse(), Ok(Protocol::Lend));
    /// assert_eq!(Protocol::Lend.name(), "lend");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Copy => "copy",
            Self::Lend => "lend",
        }
    }

    /// From how many bytes on values are lent, where it is not left to the transport.
    pub(crate) const fn lend_from(self) -> Option<usize> {
        match self {
            Self::Auto => None,
            Self::Copy => Some(usize::MAX),
            Self::Lend => Some(1),
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|protocol| protocol.name() == text);
        named.ok_or_else(|| "expected auto, copy or lend".to_owned())
    }
}

impl Value for Protocol {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}
