//! Owns what arrives on a wire: reads bytes, takes wire messages apart, lands payloads.
//!
//! Headers and short payloads pass through a buffer; a long payload is read from the socket
//! straight into its landing place. Reading never waits for anything but bytes: every payload has
//! a place (or is dropped) from the moment its header is known, because nothing enters a wire
//! without permission.

use std::io::IoSliceMut;
use std::os::fd::AsFd;

use rustix::io::{Errno, readv};

use crate::Region;
use crate::wires::{Ends, Group, MOST_HEAD_BYTES, Member, Violation};

const BUFFER_BYTES: usize = 64 * 1024;
/// What is read beside a long payload, or where one is expected: enough for the next headers,
/// little enough that hardly any of a long payload is copied.
const HEADERS_AHEAD_BYTES: usize = 2 * MOST_HEAD_BYTES;

/// The reading half of a wire.
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    group: Option<Landing>,
}

/// A data group whose payloads are arriving.
struct Landing {
    group: Group,
    /// The member at hand, where it goes, and how much of it is there.
    current: usize,
    place: Option<Region>,
    filled: usize,
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
        let rest = self.group.as_ref().and_then(|g| g.place?.part(g.filled, g.rest()));
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
        let Some(head) = ends.take_head(self.unread())? else { return Ok(false) };
        self.start += head.bytes;
        if let Some(group) = head.group {
            self.group = Some(Landing::begin(group, ends)?);
        }
        Ok(true)
    }

    /// Lands what is here of the group's payloads; `false` when more must be read.
    fn land(&mut self, ends: &mut Ends<'_>) -> Result<bool, Violation> {
        let Some(group) = &mut self.group else { return Ok(true) };
        let here = (self.end - self.start).min(group.rest());
        let bytes = &self.buffer[self.start..self.start + here];
        if let Some(place) = group.place.and_then(|place| place.part(group.filled, here)) {
            // SAFETY: as in `read`: the place is this payload's; the buffer is this inbox's own,
            // so the two do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), here) };
        }
        self.start += here;
        group.filled += here;
        let complete = group.rest() == 0;
        if complete && !group.move_on(ends)? {
            self.group = None;
        }
        Ok(complete)
    }
}

impl Landing {
    fn begin(group: Group, ends: &mut Ends<'_>) -> Result<Self, Violation> {
        let mut landing = Self { group, current: 0, place: None, filled: 0 };
        landing.place = ends.accept(landing.member())?;
        Ok(landing)
    }

    fn member(&self) -> &Member {
        &self.group.members()[self.current]
    }

    /// Bytes of the member at hand that are still to come.
    fn rest(&self) -> usize {
        self.member().len as usize - self.filled
    }

    /// Has its next member at hand, now that the present one has landed; `false` where that was the last.
    fn move_on(&mut self, ends: &mut Ends<'_>) -> Result<bool, Violation> {
        ends.landed(self.member());
        self.current += 1;
        if self.current >= self.group.members().len() {
            return Ok(false);
        }
        self.filled = 0;
        self.place = ends.accept(self.member())?;
        Ok(true)
    }
}
