//! Owns what leaves on a wire: grants, offers and refusals first, then groups of pieces, in one
//! vectored write.
//!
//! A batch is what one write attempts. It is built only when the batch before it has left
//! entirely, so nothing is ever queued here: what cannot go yet stays in its connection's own
//! cells, and a grant waits behind no data but that of the batch under way.

use std::io::IoSlice;
use std::iter;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::frame::{
    HEADER_BYTES, Kind, MEMBER_BYTES, MOST_HEAD_BYTES, MOST_RECORDS, Member, PIECE_BYTES,
    WireHeader,
};
use super::out_end::OutEnd;
use super::receiving::ReceivingEnd;
use super::sending::{Piece, Written};
use crate::Region;
use crate::seam::Counters;

/// Bytes of headers and records in a batch.
const BATCH_HEAD_BYTES: usize = 4096;
/// Payload bytes at which a batch is closed: two long pieces, so that connections still take
/// turns often.
const BATCH_PAYLOAD_BYTES: usize = 2 * PIECE_BYTES;
/// Parts of a vectored write.
const MOST_SEGMENTS: usize = 64;

/// The batch that is being written.
pub(super) struct Outbox {
    heads: Vec<u8>,
    segments: Vec<Segment>,
    /// The first segment that has not left, and how much of it has.
    next_segment: usize,
    segment_sent: usize,
    payload_bytes: usize,
    pieces: Vec<Written>,
    /// Number of the next wire message.
    counter: u32,
    /// The connection whose turn it is.
    turn: usize,
}

#[derive(Clone, Copy)]
enum Segment {
    /// Part of `heads`.
    Head {
        start: usize,
        end: usize,
    },
    Payload(Region),
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

/// How an attempt to write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    /// The batch has left entirely.
    Done,
    /// The socket takes no more at present.
    Blocked {
        /// Whether some bytes have left.
        moved: bool,
    },
}

impl Outbox {
    pub fn new() -> Self {
        Self {
            heads: Vec::with_capacity(BATCH_HEAD_BYTES),
            segments: Vec::with_capacity(MOST_SEGMENTS),
            next_segment: 0,
            segment_sent: 0,
            payload_bytes: 0,
            pieces: Vec::with_capacity(MOST_SEGMENTS),
            counter: 0,
            turn: 0,
        }
    }

    /// As if `passed` wire messages had passed.
    pub fn number_from(&mut self, passed: u32) {
        self.counter = passed;
    }

    /// Whether no batch is under way.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Drops the batch under way.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.segments.clear();
        self.pieces.clear();
        self.next_segment = 0;
        self.segment_sent = 0;
        self.payload_bytes = 0;
    }

    /// Builds a batch from what the ends have ready; `false` when that is nothing.
    pub fn build(
        &mut self,
        sending: &mut [OutEnd],
        receiving: &mut [ReceivingEnd],
        groups: Groups,
        counters: &mut Counters,
    ) -> bool {
        self.records(Kind::Refusal, receiving, |end| end.take_refusal().map(|r| r.encode()));
        self.records(Kind::Grant, receiving, |end| end.take_grant().map(|g| g.encode()));
        // Offers mostly travel beside data; what is held back leaves soon, and they with it.
        if groups != Groups::Held {
            self.records(Kind::Standing, receiving, |end| end.take_standing().map(|s| s.encode()));
        }
        match groups {
            Groups::All => while self.has_room() && self.group(sending, MOST_RECORDS, counters) {},
            Groups::One { most } => {
                self.group(sending, most, counters);
            }
            Groups::None | Groups::Held => {}
        }
        !self.is_empty()
    }

    fn has_room(&self) -> bool {
        self.heads.len() + MOST_HEAD_BYTES <= BATCH_HEAD_BYTES
            && self.segments.len() + 1 + MOST_RECORDS <= MOST_SEGMENTS
            && self.payload_bytes < BATCH_PAYLOAD_BYTES
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
            let mut records = [[0; N]; MOST_RECORDS];
            let mut count = 0;
            for record in iter::from_fn(&mut next).take(MOST_RECORDS) {
                records[count] = record;
                count += 1;
            }
            if count == 0 {
                return;
            }
            let start = self.head(kind, count, 0);
            records[..count].iter().for_each(|record| self.heads.extend_from_slice(record));
            self.segments.push(Segment::Head { start, end: self.heads.len() });
        }
    }

    fn head(&mut self, kind: Kind, count: usize, payload: usize) -> usize {
        let start = self.heads.len();
        let header = WireHeader {
            kind,
            count: count as u8,
            payload_bytes: payload as u32,
            counter: self.counter,
        };
        self.counter = self.counter.wrapping_add(1);
        self.heads.extend_from_slice(&header.encode());
        start
    }

    /// Adds one data group: at most one piece of each connection, in turn, closed before it
    /// would exceed 128 KiB unless one piece fills it.
    fn group(&mut self, sending: &mut [OutEnd], most: usize, counters: &mut Counters) -> bool {
        let mut members = [Member::NONE; MOST_RECORDS];
        let mut count = 0;
        let mut payload = 0;
        let start = self.head(Kind::Data, 0, 0);
        let at_head = self.segments.len();
        self.segments.push(Segment::Head { start, end: start });
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
            members[count] = member;
            count += 1;
            payload += bytes.len();
            self.add(bytes, written, counters);
        }
        if count == 0 {
            self.segments.truncate(at_head);
            self.heads.truncate(start);
            self.counter = self.counter.wrapping_sub(1);
            return false;
        }
        self.close_group(start, at_head, &members[..count], payload);
        counters.wire_messages += 1;
        true
    }

    fn add(&mut self, bytes: Region, written: Written, counters: &mut Counters) {
        if !bytes.is_empty() {
            self.segments.push(Segment::Payload(bytes));
        }
        self.pieces.push(written);
        let (all_bytes, messages) = match written.carried {
            true => (&mut counters.carried_bytes, &mut counters.carried),
            false => (&mut counters.bytes, &mut counters.messages),
        };
        *all_bytes += bytes.len() as u64;
        *messages += u64::from(written.message_done);
    }

    /// Writes the header, now that the members are known, and the members behind it.
    fn close_group(&mut self, start: usize, at_head: usize, members: &[Member], payload: usize) {
        self.heads.truncate(start);
        self.counter = self.counter.wrapping_sub(1);
        self.head(Kind::Data, members.len(), payload);
        members.iter().for_each(|member| self.heads.extend_from_slice(&member.encode()));
        debug_assert_eq!(
            self.heads.len() - start,
            HEADER_BYTES + members.len() * MEMBER_BYTES,
            "a group's records follow its header"
        );
        self.segments[at_head] = Segment::Head { start, end: self.heads.len() };
        self.payload_bytes += payload;
    }

    /// Whether all data of the batch is other ranks'.
    pub fn is_carried(&self) -> bool {
        self.pieces.iter().all(|piece| piece.carried)
    }

    /// Payload bytes of the batch.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// The tags of the messages that end in the batch.
    pub fn tags(&self) -> impl Iterator<Item = u32> {
        self.pieces.iter().filter(|piece| piece.message_done).map(|piece| piece.tag)
    }

    /// Writes as much of the batch as the socket takes.
    pub fn push(&mut self, socket: impl AsFd) -> Result<Push, Errno> {
        let mut moved = false;
        while self.next_segment < self.segments.len() {
            match self.write_once(&socket) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(Push::Blocked { moved }),
                Ok(sent) => {
                    moved = true;
                    self.advance(sent);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Push::Done)
    }

    fn write_once(&self, socket: &impl AsFd) -> Result<usize, Errno> {
        let mut slices = [IoSlice::new(&[]); MOST_SEGMENTS];
        let mut count = 0;
        let mut skip = self.segment_sent;
        for (slice, segment) in slices.iter_mut().zip(&self.segments[self.next_segment..]) {
            let bytes = match *segment {
                Segment::Head { start, end } => &self.heads[start..end],
                // SAFETY: the region is a standing slot, an aside slot, memory lent by `send_from`, or
                // a slot of a relay box; its end keeps all four unchanged and alive until
                // `written` is told of this piece, which happens after the batch has left.
                Segment::Payload(r) => unsafe { std::slice::from_raw_parts(r.as_ptr(), r.len()) },
            };
            *slice = IoSlice::new(&bytes[skip..]);
            skip = 0;
            count += 1;
        }
        // A peer's end must be an error here, not a signal that kills the process.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(socket, &slices[..count], &mut SendAncillaryBuffer::default(), flags)
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(segment) = self.segments.get(self.next_segment) {
            let len = match *segment {
                Segment::Head { start, end } => end - start,
                Segment::Payload(region) => region.len(),
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

    /// The pieces of the batch that has left, oldest first; the batch is gone afterwards.
    pub fn finish(&mut self, sending: &mut [OutEnd]) {
        for piece in &self.pieces {
            if let Some(end) = sending.get_mut(piece.conn as usize) {
                end.written(*piece);
            }
        }
        self.clear();
    }
}
