//! Owns what leaves on a wire: grants, offers and refusals first, then groups of pieces, in one batch.
//!
//! A batch is what one write attempts. It is built only when the link has taken the batch before it
//! entirely, so nothing is ever queued here: what cannot go yet stays in its connection's own
//! cells, and a grant waits behind no data but that of the batch under way. Where a link only says later that a
//! batch has left, its pieces are remembered until then.

use std::collections::VecDeque;
use std::iter;

use super::batch::{BATCH_HEAD_BYTES, Batch, MOST_SEGMENTS, Payload, Segment};
use super::frame::{
    HEADER_BYTES, Kind, MEMBER_BYTES, MOST_HEAD_BYTES, MOST_RECORDS, PIECE_BYTES, WireHeader,
};
use super::out_end::OutEnd;
use super::receiving::ReceivingEnd;
use super::sending::{Piece, Written};
use crate::seam::Counters;

/// Payload bytes at which a batch is closed: two long pieces, so that connections still take
/// turns often.
const BATCH_PAYLOAD_BYTES: usize = 2 * PIECE_BYTES;

/// The batch that is being written, and those that are on their way.
pub(super) struct Outbox {
    batch: Batch,
    pieces: Vec<Written>,
    /// The pieces of batches that the link has taken, oldest first, and how many each has.
    posted: VecDeque<Written>,
    posted_batches: VecDeque<usize>,
    /// Number of the next wire message.
    counter: u32,
    /// The connection whose turn it is.
    turn: usize,
    /// The peer has not been told yet where all standing slots are.
    homes_due: bool,
}

/// How many data groups go into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Groups {
    /// As many as have room.
    All,
    /// One, of at most so many members.
    One { most: usize },
    /// None, for nothing is ready.
    None,
    /// None, for what is ready waits for more.
    Held,
}

impl Outbox {
    pub fn new(homes_due: bool) -> Self {
        Self {
            batch: Batch::new(),
            pieces: Vec::with_capacity(MOST_SEGMENTS),
            posted: VecDeque::new(),
            posted_batches: VecDeque::new(),
            counter: 0,
            turn: 0,
            homes_due,
        }
    }

    /// As if `passed` wire messages had passed.
    pub fn number_from(&mut self, passed: u32) {
        self.counter = passed;
    }

    /// Whether no batch is being written.
    pub fn is_empty(&self) -> bool {
        self.batch.segments.is_empty()
    }

    /// Batches that the link has taken and not sent yet.
    pub fn posted(&self) -> usize {
        self.posted_batches.len()
    }

    /// What is to be written.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Drops everything under way.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.pieces.clear();
        self.posted.clear();
        self.posted_batches.clear();
    }

    /// Builds a batch from what the ends have ready; `false` when that is nothing.
    pub fn build(
        &mut self,
        sending: &mut [OutEnd],
        receiving: &mut [ReceivingEnd],
        groups: Groups,
        counters: &mut Counters,
    ) -> bool {
        if self.homes_due {
            self.records(Kind::Home, receiving, |end| end.take_home().map(|h| h.encode()));
            self.homes_due = !self.has_room();
        }
        if receiving.iter().any(ReceivingEnd::has_word) {
            self.words(receiving, groups);
        }
        let ready = |ends: &[OutEnd]| ends.iter().any(OutEnd::ready);
        match groups {
            Groups::All => {
                while self.has_room()
                    && ready(sending)
                    && self.group(sending, MOST_RECORDS, counters)
                {}
            }
            Groups::One { most } => {
                self.group(sending, most, counters);
            }
            Groups::None | Groups::Held => {}
        }
        !self.is_empty()
    }

    /// Adds what receiving ends have to say.
    fn words(&mut self, receiving: &mut [ReceivingEnd], groups: Groups) {
        self.records(Kind::Refusal, receiving, |end| end.take_refusal().map(|r| r.encode()));
        self.records(Kind::Grant, receiving, |end| end.take_grant().map(|g| g.encode()));
        // Offers mostly travel beside data; what is held back leaves soon, and they with it.
        if groups != Groups::Held {
            self.records(Kind::Standing, receiving, |end| end.take_standing().map(|s| s.encode()));
        }
    }

    fn has_room(&self) -> bool {
        self.batch.heads.len() + MOST_HEAD_BYTES <= BATCH_HEAD_BYTES
            && self.batch.segments.len() + 1 + MOST_RECORDS <= MOST_SEGMENTS
            && self.batch.payload_bytes < BATCH_PAYLOAD_BYTES
    }

    /// Adds wire messages of one kind of record. An end beyond the room keeps its record.
    fn records<const N: usize>(
        &mut self,
        kind: Kind,
        receiving: &mut [ReceivingEnd],
        mut take: impl FnMut(&mut ReceivingEnd) -> Option<[u8; N]>,
    ) {
        let mut ends = receiving.iter_mut().peekable();
        // An end may have several.
        let mut next = || loop {
            if let Some(record) = take(ends.peek_mut()?) {
                return Some(record);
            }
            ends.next();
        };
        while self.has_room() {
            let Some(first) = next() else { return };
            let start = self.open_head();
            let mut count = 0;
            for record in iter::once(first).chain(iter::from_fn(&mut next)).take(MOST_RECORDS) {
                self.batch.heads.extend_from_slice(&record);
                count += 1;
            }
            self.close_head(start, kind, count, 0);
            self.batch.segments.push(Segment::Head { start, end: self.batch.heads.len() });
        }
    }

    /// Room for a header, behind which its records follow; where it is.
    fn open_head(&mut self) -> usize {
        let start = self.batch.heads.len();
        self.batch.heads.extend_from_slice(&[0; HEADER_BYTES]);
        start
    }

    /// Writes the header, now that its records are known.
    fn close_head(&mut self, start: usize, kind: Kind, count: usize, payload: usize) {
        let (count, payload_bytes) = (count as u8, payload as u32);
        let header = WireHeader { kind, count, payload_bytes, counter: self.counter };
        self.counter = self.counter.wrapping_add(1);
        self.batch.heads[start..start + HEADER_BYTES].copy_from_slice(&header.encode());
    }

    /// Adds one data group: at most one piece of each connection, in turn, closed before it
    /// would exceed 128 KiB unless one piece fills it.
    fn group(&mut self, sending: &mut [OutEnd], most: usize, counters: &mut Counters) -> bool {
        let mut count = 0;
        let mut payload = 0;
        let start = self.open_head();
        let at_head = self.batch.segments.len();
        self.batch.segments.push(Segment::Head { start, end: start });
        let connections = sending.len();
        for _ in 0..connections {
            if count == most || payload >= PIECE_BYTES {
                break;
            }
            let end = &mut sending[self.turn];
            if count > 0 && payload + end.next_len() > PIECE_BYTES {
                break;
            }
            self.turn = (self.turn + 1) % connections;
            let Some(Piece { member, payload: bytes, written }) = end.next_piece() else {
                continue;
            };
            self.batch.heads.extend_from_slice(&member.encode());
            count += 1;
            payload += bytes.bytes.len();
            self.add(bytes, written, counters);
        }
        if count == 0 {
            self.batch.segments.truncate(at_head);
            self.batch.heads.truncate(start);
            return false;
        }
        debug_assert_eq!(
            self.batch.heads.len() - start,
            HEADER_BYTES + count * MEMBER_BYTES,
            "a group's records follow its header"
        );
        self.close_head(start, Kind::Data, count, payload);
        self.batch.segments[at_head] = Segment::Head { start, end: self.batch.heads.len() };
        self.batch.payload_bytes += payload;
        counters.wire_messages += 1;
        true
    }

    fn add(&mut self, payload: Payload, written: Written, counters: &mut Counters) {
        if !payload.bytes.is_empty() {
            self.batch.segments.push(Segment::Payload(payload));
        }
        self.pieces.push(written);
        let (all_bytes, messages) = match written.carried {
            true => (&mut counters.carried_bytes, &mut counters.carried),
            false => (&mut counters.bytes, &mut counters.messages),
        };
        *all_bytes += payload.bytes.len() as u64;
        *messages += u64::from(written.message_done);
    }

    /// Whether all data of the batch is other ranks'.
    pub fn is_carried(&self) -> bool {
        self.pieces.iter().all(|piece| piece.carried)
    }

    /// Payload bytes of the batch.
    pub fn payload_bytes(&self) -> usize {
        self.batch.payload_bytes
    }

    /// The tags of the messages that end in the batch.
    pub fn tags(&self) -> impl Iterator<Item = u32> {
        self.pieces.iter().filter(|piece| piece.message_done).map(|piece| piece.tag)
    }

    /// The link has taken the batch, and will say when it has left.
    pub fn post(&mut self) {
        self.posted_batches.push_back(self.pieces.len());
        self.posted.extend(self.pieces.drain(..));
        self.batch.clear();
    }

    /// The oldest batch that the link has taken has left.
    pub fn finish_posted(&mut self, sending: &mut [OutEnd]) {
        let count = self.posted_batches.pop_front().unwrap_or(0);
        self.posted.drain(..count).for_each(|piece| tell(sending, piece));
    }

    /// The batch has left; it is gone afterwards.
    pub fn finish(&mut self, sending: &mut [OutEnd]) {
        self.pieces.drain(..).for_each(|piece| tell(sending, piece));
        self.batch.clear();
    }
}

/// Tells the end of a piece that it has left.
fn tell(sending: &mut [OutEnd], piece: Written) {
    if let Some(end) = sending.get_mut(piece.conn as usize) {
        end.written(piece);
    }
}
