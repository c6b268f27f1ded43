//! Owns what arrives on a wire: reads bytes, takes wire messages apart, lands payloads.
//!
//! Headers and short payloads pass through a buffer; a long payload is read from the socket
//! straight into its landing place. Reading never waits for anything but bytes: every payload has
//! a place (or is dropped) from the moment its header is known, because nothing enters a wire
//! without permission.

use std::io::IoSliceMut;
use std::os::fd::AsFd;

use rustix::io::{Errno, readv};

use super::frame::{
    GRANT_BYTES, GrantRecord, HEADER_BYTES, Kind, MEMBER_BYTES, MOST_HEAD_BYTES, MOST_RECORDS,
    Member, REFUSAL_BYTES, Refusal, STANDING_BYTES, Standing, Violation, WireHeader,
};
use super::out_end::OutEnd;
use super::receiving::ReceivingEnd;
use crate::Region;

const BUFFER_BYTES: usize = 64 * 1024;
/// What is read beside a long payload, or where one is expected: enough for the next headers,
/// little enough that hardly any of a long payload is copied.
const HEADERS_AHEAD_BYTES: usize = 2 * MOST_HEAD_BYTES;

/// The reading half of a wire.
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    group: Option<Group>,
}

/// A data group whose payloads are arriving.
#[derive(Clone, Copy)]
struct Group {
    members: [Member; MOST_RECORDS],
    count: usize,
    /// The member at hand, where it goes, and how much of it is there.
    current: usize,
    place: Option<Region>,
    filled: usize,
}

/// The connections of a wire, as its reading half sees them.
pub(super) struct Ends<'a> {
    pub sending: &'a mut [OutEnd],
    pub receiving: &'a mut [ReceivingEnd],
    /// Set when something can be written that could not be before.
    pub woken: &'a mut bool,
}

/// What one read from the socket brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Some bytes; `full` when as many as there was room for, so that more may be waiting.
    Bytes { count: usize, full: bool },
    /// Nothing at present.
    Nothing,
    /// The peer has closed its end.
    Closed,
}

impl Inbox {
    pub fn new() -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { buffer, start: 0, end: 0, group: None }
    }

    /// Whether a wire message is partly here.
    pub fn is_amid(&self) -> bool {
        self.group.is_some() || self.start < self.end
    }

    /// Reads once. `long` tells that granted payloads are expected.
    pub fn read(&mut self, socket: impl AsFd, long: bool) -> Result<Read, Errno> {
        self.compact();
        let rest = self.group.and_then(|g| g.place?.part(g.filled, g.rest()));
        let place: &mut [u8] = match rest {
            // SAFETY: the receiving end gave this memory for this payload: a slot of its own, or
            // the granted place, which nobody else touches until the message is released.
            Some(rest) => unsafe { std::slice::from_raw_parts_mut(rest.as_ptr(), rest.len()) },
            None => &mut [],
        };
        let spare = &mut self.buffer[self.end..];
        let ahead = if long || !place.is_empty() { HEADERS_AHEAD_BYTES } else { BUFFER_BYTES };
        let ahead = ahead.min(spare.len());
        let placed = place.len();
        let mut slices = [IoSliceMut::new(place), IoSliceMut::new(&mut spare[..ahead])];
        let first = usize::from(placed == 0);
        let count = match readv(socket, &mut slices[first..]) {
            Ok(0) => return Ok(Read::Closed),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Read::Nothing),
            Err(error) => return Err(error),
        };
        if let Some(group) = &mut self.group {
            group.filled += count.min(placed);
        }
        self.end += count.saturating_sub(placed);
        Ok(Read::Bytes { count, full: count == placed + ahead })
    }

    /// Parsing leaves less than one head unread, so this moves little and makes much room.
    fn compact(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }

    /// Takes apart what has been read.
    pub fn parse(&mut self, ends: &mut Ends<'_>) -> Result<(), Violation> {
        loop {
            if self.group.is_some() {
                if !self.land(ends)? {
                    return Ok(());
                }
            } else if !self.next_wire_message(ends)? {
                return Ok(());
            }
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Begins the next wire message; `false` while its header and records are not all here.
    fn next_wire_message(&mut self, ends: &mut Ends<'_>) -> Result<bool, Violation> {
        let Some((header, rest)) = self.unread().split_first_chunk::<HEADER_BYTES>() else {
            return Ok(false);
        };
        let header = WireHeader::decode(header)?;
        let Some(records) = rest.get(..header.records_bytes()) else { return Ok(false) };
        let consumed = HEADER_BYTES + records.len();
        match header.kind {
            Kind::Data => {
                self.group = Some(Group::decode(&header, records, ends)?);
            }
            Kind::Grant => each::<GRANT_BYTES>(records, |r| ends.grant(GrantRecord::decode(r)))?,
            Kind::Standing => each::<STANDING_BYTES>(records, |r| ends.offer(Standing::decode(r)))?,
            Kind::Refusal => each::<REFUSAL_BYTES>(records, |r| ends.refuse(Refusal::decode(r)))?,
        }
        self.start += consumed;
        Ok(true)
    }

    /// Lands what is here of the group's payloads; `false` when more must be read.
    fn land(&mut self, ends: &mut Ends<'_>) -> Result<bool, Violation> {
        let Some(mut group) = self.group else { return Ok(true) };
        let here = self.unread().len().min(group.rest());
        let bytes = &self.buffer[self.start..self.start + here];
        if let Some(place) = group.place.and_then(|place| place.part(group.filled, here)) {
            // SAFETY: as in `read`: the place is this payload's; the buffer is this inbox's own,
            // so the two do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), here) };
        }
        self.start += here;
        group.filled += here;
        let complete = group.rest() == 0;
        self.group = if complete { group.after_current(ends)? } else { Some(group) };
        Ok(complete)
    }
}

impl Group {
    fn decode(header: &WireHeader, records: &[u8], ends: &mut Ends<'_>) -> Result<Self, Violation> {
        let mut members = [Member::NONE; MOST_RECORDS];
        let (chunks, _) = records.as_chunks::<MEMBER_BYTES>();
        let mut total = 0;
        for (member, record) in members.iter_mut().zip(chunks) {
            *member = Member::decode(record)?;
            total += u64::from(member.len);
        }
        if total != u64::from(header.payload_bytes) {
            return Err(Violation::PayloadBytes { header: header.payload_bytes, members: total });
        }
        let mut group = Self { members, count: chunks.len(), current: 0, place: None, filled: 0 };
        group.place = ends.accept(group.member())?;
        Ok(group)
    }

    fn member(&self) -> &Member {
        &self.members[self.current]
    }

    /// Bytes of the member at hand that are still to come.
    fn rest(&self) -> usize {
        self.member().len as usize - self.filled
    }

    /// The group with its next member at hand, now that the present one has landed.
    fn after_current(mut self, ends: &mut Ends<'_>) -> Result<Option<Self>, Violation> {
        ends.landed(self.member());
        self.current += 1;
        if self.current >= self.count {
            return Ok(None);
        }
        self.filled = 0;
        self.place = ends.accept(self.member())?;
        Ok(Some(self))
    }
}

impl Ends<'_> {
    fn receiving(&mut self, conn: u32) -> Result<&mut ReceivingEnd, Violation> {
        let connections = self.receiving.len() as u32;
        self.receiving.get_mut(conn as usize).ok_or(Violation::Connection { conn, connections })
    }

    fn sending(&mut self, conn: u32) -> Result<&mut OutEnd, Violation> {
        let connections = self.sending.len() as u32;
        self.sending.get_mut(conn as usize).ok_or(Violation::Connection { conn, connections })
    }

    fn accept(&mut self, member: &Member) -> Result<Option<Region>, Violation> {
        self.receiving(member.conn)?.accept(member)
    }

    fn landed(&mut self, member: &Member) {
        if let Ok(end) = self.receiving(member.conn) {
            end.landed(member);
        }
    }

    fn grant(&mut self, grant: GrantRecord) -> Result<(), Violation> {
        let present = self.sending(grant.conn)?.granted(grant)?;
        *self.woken |= present;
        Ok(())
    }

    fn offer(&mut self, standing: Standing) -> Result<(), Violation> {
        self.sending(standing.conn)?.offered(standing)
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), Violation> {
        self.sending(refusal.conn)?.fail(refusal);
        Ok(())
    }
}

fn each<const N: usize>(
    records: &[u8],
    mut take: impl FnMut(&[u8; N]) -> Result<(), Violation>,
) -> Result<(), Violation> {
    records.as_chunks::<N>().0.iter().try_for_each(&mut take)
}
