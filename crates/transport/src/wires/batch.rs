//! Owns [`Batch`]: wire messages that leave together, head by head with their payloads, and how far they have.

use super::medium::Place;
use crate::Region;

/// Bytes of headers and records in a batch.
pub(super) const BATCH_HEAD_BYTES: usize = 4096;
/// Parts of a batch: heads and payloads.
pub const MOST_SEGMENTS: usize = 64;

/// Wire messages on their way out.
pub struct Batch {
    pub(super) heads: Vec<u8>,
    pub(super) segments: Vec<Segment>,
    pub(super) payload_bytes: usize,
    /// The first segment that has not left, and how much of it has.
    next_segment: usize,
    segment_sent: usize,
}

/// A part of a batch.
#[derive(Clone, Copy)]
pub enum Segment {
    /// The head of a wire message: its header and records, a part of the batch's.
    Head { start: usize, end: usize },
    /// A payload, of the wire message whose head is the last before it.
    Payload(Payload),
}

/// The bytes of one member.
#[derive(Clone, Copy)]
pub struct Payload {
    pub bytes: Region,
    /// The local key of the memory that they lie in.
    pub key: u32,
    /// Where they go, if the sender places them.
    pub to: Place,
}

impl Segment {
    /// The payload that it is, if it is one.
    pub const fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Payload(payload) => Some(payload),
            Self::Head { .. } => None,
        }
    }
}

impl Payload {
    pub const fn none() -> Self {
        Self { bytes: Region::empty(), key: 0, to: Place::NONE }
    }
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            heads: Vec::with_capacity(BATCH_HEAD_BYTES),
            segments: Vec::with_capacity(MOST_SEGMENTS),
            payload_bytes: 0,
            next_segment: 0,
            segment_sent: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.segments.clear();
        self.payload_bytes = 0;
        self.next_segment = 0;
        self.segment_sent = 0;
    }

    /// The parts that have not left, of the first of which [`sent_of_first`](Self::sent_of_first) has.
    pub fn unsent(&self) -> &[Segment] {
        self.segments.get(self.next_segment..).unwrap_or_default()
    }

    /// The bytes of a head.
    pub fn head(&self, start: usize, end: usize) -> &[u8] {
        &self.heads[start..end]
    }

    /// How much of the first unsent part has left.
    pub fn sent_of_first(&self) -> usize {
        self.segment_sent
    }

    /// So many bytes more have left.
    pub fn advance(&mut self, mut sent: usize) {
        while let Some(segment) = self.segments.get(self.next_segment) {
            let len = match *segment {
                Segment::Head { start, end } => end - start,
                Segment::Payload(payload) => payload.bytes.len(),
            };
            let left = len - self.segment_sent;
            if sent < left {
                self.segment_sent += sent;
                return;
            }
            sent -= left;
            self.segment_sent = 0;
            self.next_segment += 1;
        }
    }

    /// The oldest wire message that has not left: its head, and its payloads.
    pub fn next_message(&self) -> Option<(&[u8], &[Segment])> {
        let (first, rest) = self.unsent().split_first()?;
        let Segment::Head { start, end } = *first else { return None };
        let payloads = rest.iter().take_while(|part| matches!(part, Segment::Payload(_))).count();
        Some((&self.heads[start..end], &rest[..payloads]))
    }

    /// A wire message with so many payloads has left.
    pub fn message_left(&mut self, payloads: usize) {
        self.next_segment += 1 + payloads;
    }
}
