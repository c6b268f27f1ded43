//! Owns what the ranks of a host say to each other when they meet: messages with descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{DESCRIPTORS, Shared};

/// Ranks that one answer describes: Linux passes at most 253 descriptors with a message. In tests
/// two, so that small worlds need several answers.
pub(super) const RANKS_PER_ANSWER: usize = if cfg!(test) { 2 } else { 63 };

const MOST_DESCRIPTORS: usize = DESCRIPTORS * RANKS_PER_ANSWER;
const MESSAGE_BYTES: usize = 1024;
const REASON_BYTES: usize = 512;
const _: () =
    assert!(8 + 4 * RANKS_PER_ANSWER <= MESSAGE_BYTES && 8 + REASON_BYTES <= MESSAGE_BYTES);

const HELLO: u32 = u32::from_le_bytes(*b"CTs2");
const RANKS: u32 = u32::from_le_bytes(*b"CTr2");
const MISSING: u32 = u32::from_le_bytes(*b"CTm2");
const DIFFERS: u32 = u32::from_le_bytes(*b"CTd2");
const STOPPED: u32 = u32::from_le_bytes(*b"CTi2");

/// What a rank says when it comes to the leader; its descriptors come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    /// Proof that it knows the world's secret.
    pub(super) token: u64,
    pub(super) rank: u32,
    pub(super) terms: Terms,
}

/// What all ranks of a host must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) ranks: u32,
    pub(super) channels: u32,
    pub(super) slots: u32,
    pub(super) slot_bytes: u64,
}

/// What the leader answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Some of the ranks, whose descriptors come along in this order; `more` will follow.
    Ranks { ranks: Vec<u32>, more: bool },
    /// A rank did not come.
    Missing { rank: u32, waited_ms: u64 },
    /// A rank came with other terms, or came twice.
    Differs { rank: u32, what: String },
    /// The leader was told to stop waiting.
    Interrupted,
}

impl Hello {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = HELLO.to_le_bytes().to_vec();
        bytes.extend(self.token.to_le_bytes());
        for word in [self.rank, self.terms.ranks, self.terms.channels, self.terms.slots] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.terms.slot_bytes.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = Words(bytes);
        (words.u32()? == HELLO).then_some(())?;
        let (token, rank) = (words.u64()?, words.u32()?);
        let (ranks, channels, slots) = (words.u32()?, words.u32()?, words.u32()?);
        let terms = Terms { ranks, channels, slots, slot_bytes: words.u64()? };
        words.0.is_empty().then_some(Self { token, rank, terms })
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Ranks { ranks, more } => {
                bytes.extend(RANKS.to_le_bytes());
                bytes.extend(u32::from(*more).to_le_bytes());
                ranks.iter().for_each(|rank| bytes.extend(rank.to_le_bytes()));
            }
            Self::Missing { rank, waited_ms } => {
                bytes.extend(MISSING.to_le_bytes());
                bytes.extend(rank.to_le_bytes());
                bytes.extend(waited_ms.to_le_bytes());
            }
            Self::Differs { rank, what } => {
                bytes.extend(DIFFERS.to_le_bytes());
                bytes.extend(rank.to_le_bytes());
                bytes.extend(what.bytes().take(REASON_BYTES));
            }
            Self::Interrupted => bytes.extend(STOPPED.to_le_bytes()),
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = Words(bytes);
        match words.u32()? {
            RANKS => {
                let more = words.u32()? != 0;
                let mut ranks = Vec::new();
                while let Some(rank) = words.u32() {
                    ranks.push(rank);
                }
                words.0.is_empty().then_some(Self::Ranks { ranks, more })
            }
            MISSING => Some(Self::Missing { rank: words.u32()?, waited_ms: words.u64()? }),
            DIFFERS => {
                let rank = words.u32()?;
                let what = String::from_utf8_lossy(words.0).into_owned();
                Some(Self::Differs { rank, what })
            }
            STOPPED => Some(Self::Interrupted),
            _ => None,
        }
    }
}

/// The little-endian integers at the front of what is left.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*word))
    }

    fn u64(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }
}

/// Sends one message with descriptors, without blocking.
pub(super) fn send(to: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(rustix::io::Errno::TOOBIG);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(to, &[IoSlice::new(bytes)], &mut control, flags).map(|_| ())
}

/// Receives one message with its descriptors, without blocking; empty at the end of the stream.
pub(super) fn receive(from: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MESSAGE_BYTES];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    // Descriptors go missing when this process may not open as many.
    if got.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) {
        let what = "the message came in part; is the limit on open files (ulimit -n) too low?";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    bytes.truncate(got.bytes);
    Ok((bytes, fds))
}

/// The descriptors of one rank after the other; `None` when their number is wrong.
pub(super) fn by_rank(fds: Vec<OwnedFd>, ranks: usize) -> Option<Vec<Shared<OwnedFd>>> {
    if fds.len() != DESCRIPTORS * ranks {
        return None;
    }
    let mut fds = fds.into_iter();
    (0..ranks).map(|_| Some([fds.next()?, fds.next()?, fds.next()?, fds.next()?])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO_OF_3: Hello = Hello {
        token: 0x0123_4567_89ab_cdef,
        rank: 3,
        terms: Terms { ranks: 8, channels: 2, slots: 4, slot_bytes: 1 << 40 },
    };

    #[test]
    fn what_was_said_is_what_is_heard() {
        assert_eq!(Hello::decode(&HELLO_OF_3.encode()), Some(HELLO_OF_3));
        let answers = [
            Answer::Ranks { ranks: (0..RANKS_PER_ANSWER as u32).collect(), more: true },
            Answer::Ranks { ranks: vec![], more: false },
            Answer::Missing { rank: 7, waited_ms: 30_000 },
            Answer::Differs { rank: 2, what: "it has 3 slots".to_owned() },
            Answer::Interrupted,
        ];
        for answer in answers {
            let bytes = answer.encode();
            assert!(bytes.len() <= MESSAGE_BYTES);
            assert_eq!(Answer::decode(&bytes), Some(answer));
        }
    }

    #[test]
    fn garbage_of_every_length_is_refused_without_panic() {
        let hello = HELLO_OF_3.encode();
        for len in 0..hello.len() {
            assert_eq!(Hello::decode(&hello[..len]), None);
            let _ = Answer::decode(&hello[..len]);
        }
        assert_eq!(Hello::decode(&[hello, vec![0]].concat()), None);
        assert_eq!(Answer::decode(&RANKS.to_le_bytes()), None);
    }
}
