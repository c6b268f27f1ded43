//! Owns [`Ring`]: a wire's link over a pair. It counts slots of both rings, and chains on their way.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::device::{Completion, Device, Lasting, Pair, Write};
use super::medium::memory_for_devices;
use crate::mapping::Mapping;
use crate::wires::frame::{HEADER_BYTES, MOST_HEAD_BYTES, MOST_RECORDS, Violation};
use crate::wires::{Batch, Ended, Ends, Keys, Link, Payload, Place, Push, Segment};
use crate::{Region, TransportError};

/// Heads that an end may have sent and not heard to be emptied; a power of two, so that slots stay in turn when
/// numbers wrap.
pub const RING_SLOTS: usize = 64;
/// Writes of a pair that may be posted and not ended.
pub const SEND_DEPTH: usize = RING_SLOTS * (MOST_RECORDS + 1);

/// Payloads of up to so many bytes lie behind their head's records, in the order of the members.
const SHORT_BYTES: usize = 64;
/// From one slot to the next: whole cache lines, for a head with eight short payloads.
pub(super) const SLOT_BYTES: usize =
    (MOST_HEAD_BYTES + MOST_RECORDS * SHORT_BYTES).next_multiple_of(64);
/// Bytes of a ring.
const RING_BYTES: usize = RING_SLOTS * SLOT_BYTES;
/// Where a head says how many the sender has emptied.
const EMPTIED_AT: usize = 6;
/// Where a head says what it is, and the kind that has no records: it only says how many were emptied.
const KIND_AT: usize = 2;
const EMPTIED_ONLY: u8 = 0;

/// The memory of a wire's rings at this end: where the peer's heads arrive, and where own ones lie as they leave.
pub struct RingMemory {
    mapping: Arc<Mapping>,
    keys: Keys,
}

impl RingMemory {
    /// Registers it with `device`. Cold.
    ///
    /// # Errors
    /// As [`Device::register`].
    pub fn new(device: &mut impl Device) -> Result<Self, TransportError> {
        let mapping = memory_for_devices(2 * RING_BYTES)?;
        // SAFETY: the mapping keeps its memory. Only raw pointers go to it; the peer writes where heads arrive, which
        // are copied before they are looked at.
        let lasting = unsafe { Lasting::new(mapping.region(), Box::new(Arc::clone(&mapping))) };
        Ok(Self { keys: device.register(lasting)?, mapping })
    }

    /// Bytes that it registers.
    pub const BYTES: usize = 2 * RING_BYTES;

    /// Where the peer is to write its heads, which it must be told.
    pub fn place(&self) -> Place {
        Place::of(self.mapping.region(), self.keys)
    }

    /// The link over `pair`, whose peer has its ring at `peer`. The peer may send once this has returned.
    ///
    /// # Errors
    /// The pair's.
    pub fn link<P: Pair>(self, mut pair: P, peer: Place) -> Result<Ring<P>, P::Error> {
        pair.post_receives(RING_SLOTS)?;
        Ok(Ring {
            pair,
            memory: self,
            peer,
            posted: 0,
            emptied: 0,
            ended: 0,
            chains: VecDeque::with_capacity(RING_SLOTS),
            sent_batches: 0,
            arrived: VecDeque::with_capacity(RING_SLOTS),
            taken: 0,
            told: 0,
            over: None,
        })
    }

    /// A slot for a head that arrives, or one for a head that leaves.
    fn slot(&self, number: u32, leaves: bool) -> Region {
        let ring = if leaves { RING_BYTES } else { 0 };
        let offset = ring + number as usize % RING_SLOTS * SLOT_BYTES;
        self.mapping.region().part(offset, SLOT_BYTES).unwrap_or(Region::empty())
    }
}

/// A wire's link over a pair.
pub struct Ring<P: Pair> {
    /// Before the memory, so that it ends first.
    pair: P,
    memory: RingMemory,
    /// The peer's ring.
    peer: Place,
    /// Heads sent; those of them that the peer is known to have emptied, and those whose chains have ended.
    posted: u32,
    emptied: u32,
    ended: u32,
    /// The chains that have not ended, oldest first: whether a batch ends with it.
    chains: VecDeque<bool>,
    /// Batches that have ended and were not told of.
    sent_batches: usize,
    /// The slots of heads that are here and were not taken, in order.
    arrived: VecDeque<u32>,
    /// Heads taken, and those of them of which the peer has heard.
    taken: u32,
    told: u32,
    /// Why nothing more comes, once all that is here was taken.
    over: Option<Ended<P::Error>>,
}

impl<P: Pair> Ring<P> {
    pub(super) fn number(&self) -> u32 {
        self.pair.number()
    }

    /// Whether a head can be sent, if so many slots are to be kept.
    fn has_slot(&self, kept: u32) -> bool {
        let slots = RING_SLOTS as u32;
        self.posted.wrapping_sub(self.emptied) < slots - kept
            && self.posted.wrapping_sub(self.ended) < slots
    }

    /// Sends a head behind its payloads, of which the short ones go with it; there is a slot for it.
    fn post(
        &mut self,
        head: &[u8],
        shorts: &[Region],
        writes: &[Write],
        ends_batch: bool,
    ) -> Result<(), P::Error> {
        let number = self.posted % RING_SLOTS as u32;
        let slot = self.memory.slot(number, true);
        let emptied = (self.taken as u16).to_le_bytes();
        let mut fits = slot.fill(head)
            && slot.part(EMPTIED_AT, emptied.len()).is_some_and(|part| part.fill(&emptied));
        let mut len = head.len();
        for short in shorts {
            fits &= slot.part(len, short.len()).is_some_and(|part| part.copy_from(*short));
            len += short.len();
        }
        debug_assert!(fits, "a head with its short payloads is longer than a slot");
        let from = slot.part(0, len).unwrap_or(Region::empty());
        let to = self.peer.behind(number as u64 * SLOT_BYTES as u64);
        let last = Write { from, key: self.memory.keys.local, to };
        self.pair.post(writes, &last, number)?;
        self.posted = self.posted.wrapping_add(1);
        self.told = self.taken;
        self.chains.push_back(ends_batch);
        Ok(())
    }

    /// Whether the peer is to hear how many heads were emptied, whatever else there is to say.
    fn owes(&self) -> bool {
        self.taken.wrapping_sub(self.told) >= RING_SLOTS as u32 / 2
    }

    /// Rule 3: says how many heads were emptied, if that is due and possible. Tried again when something has arrived
    /// or ended, which is what can have made it possible.
    fn tell_emptied(&mut self) -> Result<(), P::Error> {
        if !self.owes() || !self.has_slot(0) {
            return Ok(());
        }
        let mut head = [0; HEADER_BYTES];
        head[KIND_AT] = EMPTIED_ONLY;
        self.post(&head, &[], &[], false)
    }

    /// Takes the head in `slot`, and what it tells of.
    fn take(&mut self, slot: u32, ends: &mut Ends<'_>) -> Result<(), Violation> {
        if slot != self.taken % RING_SLOTS as u32 {
            return Err(Violation::Slot { slot, expected: self.taken % RING_SLOTS as u32 });
        }
        let mut head = [0; MOST_HEAD_BYTES];
        // SAFETY: the slot is this long, and this end's until the peer hears that it is empty; a peer that breaks
        // that changes bytes, which are checked in this copy alone.
        unsafe {
            let from = self.memory.slot(slot, false).as_ptr();
            std::ptr::copy_nonoverlapping(from, head.as_mut_ptr(), MOST_HEAD_BYTES);
        }
        self.taken = self.taken.wrapping_add(1);
        self.hear_emptied(u16::from_le_bytes([head[EMPTIED_AT], head[EMPTIED_AT + 1]]))?;
        head[EMPTIED_AT..EMPTIED_AT + 2].fill(0);
        if head[KIND_AT] == EMPTIED_ONLY {
            return Ok(());
        }
        let Some(head) = ends.take_head(&head)? else { return Ok(()) };
        let mut at = head.bytes;
        for member in head.group.iter().flat_map(|group| group.members()) {
            let (place, len) = (ends.accept(member)?, member.len as usize);
            if len <= SHORT_BYTES {
                let payload = self.memory.slot(slot, false).part(at, len);
                let landed =
                    place.zip(payload).is_none_or(|(place, payload)| place.copy_from(payload));
                debug_assert!(landed, "a place is as long as its payload");
                at += len;
            }
            ends.landed(member);
        }
        Ok(())
    }

    /// The peer has emptied so many heads since the beginning, modulo 2^16.
    fn hear_emptied(&mut self, all: u16) -> Result<(), Violation> {
        let newly = u32::from(all.wrapping_sub(self.emptied as u16));
        let unknown = self.posted.wrapping_sub(self.emptied);
        if newly > unknown {
            return Err(Violation::Emptied { newly, sent: unknown });
        }
        self.emptied = self.emptied.wrapping_add(newly);
        Ok(())
    }
}

impl<P: Pair> Link for Ring<P> {
    type Error = P::Error;
    type Event = Completion<P::Error>;

    fn places(&self) -> bool {
        true
    }

    fn likely(&self) -> Duration {
        Duration::from_micros(3)
    }

    fn note(&mut self, event: Completion<P::Error>) -> bool {
        match event {
            Completion::Sent => {
                self.ended = self.ended.wrapping_add(1);
                self.sent_batches += usize::from(self.chains.pop_front() == Some(true));
                self.owes()
            }
            Completion::Arrived(slot) => {
                self.arrived.push_back(slot);
                true
            }
            Completion::Failed(error) => {
                self.over.get_or_insert(Ended::Failed(error));
                true
            }
            Completion::Left => {
                self.over.get_or_insert(Ended::Closed);
                true
            }
        }
    }

    fn has_room(&self) -> bool {
        self.has_slot(1)
    }

    fn push(&mut self, batch: &mut Batch) -> Result<Push, P::Error> {
        let mut moved = false;
        loop {
            let nothing = Write { from: Region::empty(), key: 0, to: Place::NONE };
            let (mut writes, mut long) = ([nothing; MOST_RECORDS], 0);
            let (mut shorts, mut short) = ([Region::empty(); MOST_RECORDS], 0);
            let Some((head, payloads)) = batch.next_message() else { return Ok(Push::Posted) };
            if !self.has_room() {
                return Ok(Push::Blocked { moved });
            }
            for payload in payloads {
                let Segment::Payload(Payload { bytes, key, to }) = *payload else { continue };
                if bytes.len() <= SHORT_BYTES {
                    shorts[short] = bytes;
                    short += 1;
                } else {
                    writes[long] = Write { from: bytes, key, to };
                    long += 1;
                }
            }
            let is_last = batch.unsent().len() == 1 + payloads.len();
            self.post(head, &shorts[..short], &writes[..long], is_last)?;
            batch.message_left(short + long);
            moved = true;
        }
    }

    fn take_sent(&mut self) -> usize {
        std::mem::take(&mut self.sent_batches)
    }

    fn receive(&mut self, ends: &mut Ends<'_>) -> Result<bool, Ended<P::Error>> {
        let mut count = 0;
        while let Some(slot) = self.arrived.pop_front() {
            self.take(slot, ends)?;
            count += 1;
        }
        if let Some(why) = self.over.take() {
            return Err(why);
        }
        self.pair.post_receives(count).map_err(Ended::Failed)?;
        self.tell_emptied().map_err(Ended::Failed)?;
        Ok(count > 0)
    }

    fn is_amid(&self) -> bool {
        !self.arrived.is_empty()
    }

    fn is_acknowledged(&self) -> io::Result<bool> {
        Ok(self.chains.is_empty())
    }

    fn fall_silent(&mut self) {
        self.pair.fail();
        self.chains.clear();
        self.sent_batches = 0;
    }
}
