//! Owns [`Ring`]: a wire's link over one pair or several, its lanes. It counts slots of both rings, and chains on their
//! way.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::device::{Completion, Device, Lasting, Pair, Write};
use super::medium::memory_for_devices;
use super::strands::{self, MOST_STRANDS, Strands, TOLD_BYTES};
use crate::mapping::Mapping;
use crate::wires::frame::{HEADER_BYTES, MOST_HEAD_BYTES, MOST_RECORDS, Violation};
use crate::wires::{Batch, Ended, Ends, Keys, Link, Payload, Place, Push, Segment};
use crate::{Region, TransportError};

/// Heads that an end may have sent and not heard to be emptied; a power of two, so that slots stay in turn when
/// numbers wrap.
pub const RING_SLOTS: usize = 64;
/// Writes of a pair that may be posted and not ended.
pub const SEND_DEPTH: usize = RING_SLOTS * (MOST_RECORDS + 1);

/// Pairs that a wire can have, at most: its lanes.
pub const MOST_LANES: usize = 8;
/// The part of an immediate number that is the slot; behind it, in that of a head, a bit for each other lane that its
/// payloads are on.
const SLOT_BITS: u32 = 16;

/// Receives that are posted again together: each time is a call to the device.
const RECEIVES_AT_ONCE: usize = RING_SLOTS / 4;

/// Payloads of up to so many bytes lie behind their head's records, in the order of the members.
const SHORT_BYTES: usize = 64;
/// From one slot to the next: whole cache lines, for a head with eight short payloads.
pub const SLOT_BYTES: usize = (MOST_HEAD_BYTES + MOST_RECORDS * SHORT_BYTES).next_multiple_of(64);
/// Bytes of a ring.
const RING_BYTES: usize = RING_SLOTS * SLOT_BYTES;
/// Where a head says how many the sender has emptied.
const EMPTIED_AT: usize = 6;
/// Where a head says what it is, and the kind that has no records: it only says how many were emptied.
const KIND_AT: usize = 2;
const EMPTIED_ONLY: u8 = 0;
/// The kind that tells keys ([`strands`](super::strands)); how many records it has, and most in one.
const KEYS: u8 = 6;
const COUNT_AT: usize = 3;
const MOST_TOLD: usize = (MOST_HEAD_BYTES - HEADER_BYTES) / TOLD_BYTES;

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

    /// The link over `lanes`, one pair or several (up to [`MOST_LANES`], as many as at the peer), whose peer has its ring
    /// at `peer`. The peer may send once this has returned.
    ///
    /// # Errors
    /// The pairs'.
    pub fn link<P: Pair>(
        self,
        lanes: impl IntoIterator<Item = P>,
        peer: Place,
    ) -> Result<Ring<P>, P::Error> {
        self.link_on(&[0], lanes.into_iter().map(|lane| (lane, 0)), peer)
    }

    /// The same over lanes on several of the rank's devices: `devices` says which these are, the one that has this memory
    /// first, and each lane comes with its place there. The first lane is on the first device; devices are as many, and
    /// in the same order, at the peer (up to [`MOST_STRANDS`]).
    ///
    /// # Errors
    /// The pairs'.
    pub fn link_on<P: Pair>(
        self,
        devices: &[usize],
        lanes: impl IntoIterator<Item = (P, u8)>,
        peer: Place,
    ) -> Result<Ring<P>, P::Error> {
        let devices = &devices[..devices.len().min(MOST_STRANDS)];
        let (lanes, of_lane): (Vec<P>, Vec<u8>) = lanes.into_iter().take(MOST_LANES).unzip();
        let (device, others) = match devices {
            [] => (0, &[][..]),
            [first, others @ ..] => (*first, others),
        };
        let new = |pair| Lane { pair, under_way: VecDeque::with_capacity(RING_SLOTS), used: 0 };
        let mut lanes: Vec<Lane<P>> = lanes.into_iter().map(new).collect();
        lanes.iter_mut().try_for_each(|lane| lane.pair.post_receives(RING_SLOTS))?;
        Ok(Ring {
            lanes,
            device,
            others: others.into(),
            strands: (!others.is_empty()).then(|| Box::new(Strands::new(of_lane))),
            turn: 0,
            here: [0; RING_SLOTS],
            left: 0,
            memory: self,
            peer,
            posted: 0,
            emptied: 0,
            ended: 0,
            chains: VecDeque::with_capacity(RING_SLOTS),
            sent_batches: 0,
            arrived: VecDeque::with_capacity(RING_SLOTS),
            taken: 0,
            emptied_here: 0,
            told: 0,
            over: None,
            is_silent: false,
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
    /// Before the memory, so that they end first. Heads go on the first.
    lanes: Vec<Lane<P>>,
    /// Which of the rank's devices has its first lane, and which others have some.
    device: usize,
    others: Box<[usize]>,
    strands: Option<Box<Strands>>,
    /// The lane whose turn it is to carry a payload.
    turn: usize,
    /// By slot: the lanes on which all payloads of its head have arrived.
    here: [u8; RING_SLOTS],
    /// The lanes of which the peer has left.
    left: u8,
    memory: RingMemory,
    /// The peer's ring.
    peer: Place,
    /// Heads sent; those of them that the peer is known to have emptied, and those whose chains have ended.
    posted: u32,
    emptied: u32,
    ended: u32,
    /// Messages that have not ended, oldest first.
    chains: VecDeque<Message>,
    /// Batches that have ended and were not told of.
    sent_batches: usize,
    /// The slots of heads that are here and were not taken, in order, each with the other lanes of its payloads.
    arrived: VecDeque<(u32, u8)>,
    /// Heads taken, those of them whose receives were posted again, and those of which the peer has heard.
    taken: u32,
    emptied_here: u32,
    told: u32,
    /// Why nothing more comes, once all that is here was taken.
    over: Option<Ended<P::Error>>,
    /// Its pairs were ended here: nothing is posted any more.
    is_silent: bool,
}

/// One pair of a wire.
struct Lane<P> {
    pair: P,
    /// The messages that its chains belong to which have not ended, by number of their heads.
    under_way: VecDeque<u32>,
    /// Receives that were used up and not posted again.
    used: usize,
}

/// A wire message on its way.
struct Message {
    /// Chains that have not ended.
    chains: u8,
    /// Whether a batch ends with it.
    ends_batch: bool,
}

impl<P: Pair> Ring<P> {
    /// Those of its lanes, in order, each with the device that it is on.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (usize, u32)> {
        let device = |lane| {
            let strand = self.strands.as_ref().map_or(0, |strands| strands.of_lane(lane));
            let other = strand.checked_sub(1).and_then(|other| self.others.get(other));
            other.copied().unwrap_or(self.device)
        };
        self.lanes.iter().enumerate().map(move |(lane, it)| (device(lane), it.pair.number()))
    }

    /// The device of its first lane: its keys are the wire's.
    #[inline]
    pub(super) fn device(&self) -> usize {
        self.device
    }

    /// The devices of the others that are on others.
    #[inline]
    pub(super) fn others(&self) -> &[usize] {
        &self.others
    }

    /// By what its devices know memory of this end, the first's first.
    pub(super) fn learn(&mut self, first: Keys, others: impl Iterator<Item = Keys>, lasts: bool) {
        if let Some(strands) = &mut self.strands {
            strands.learn(first, others, lasts);
        }
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
        payloads: &[Segment],
        ends_batch: bool,
    ) -> Result<(), P::Error> {
        let number = self.posted % RING_SLOTS as u32;
        let slot = self.memory.slot(number, true);
        let emptied = (self.emptied_here as u16).to_le_bytes();
        let mut fits = slot.fill(head)
            && slot.part(EMPTIED_AT, emptied.len()).is_some_and(|part| part.fill(&emptied));
        let (mut len, mut has_long) = (head.len(), false);
        for payload in payloads.iter().filter_map(Segment::payload) {
            let bytes = payload.bytes;
            if bytes.len() > SHORT_BYTES {
                has_long = true;
                continue;
            }
            fits &= slot.part(len, bytes.len()).is_some_and(|part| part.copy_from(bytes));
            len += bytes.len();
        }
        debug_assert!(fits, "a head with its short payloads is longer than a slot");
        let from = slot.part(0, len).unwrap_or(Region::empty());
        let to = self.peer.behind(number as u64 * SLOT_BYTES as u64);
        let last = Write { from, key: self.memory.keys.local, to };
        let chains = match has_long {
            true => self.post_behind(payloads, &last, number)?,
            false => {
                self.lanes[0].post(&[], &last, number, self.posted)?;
                1
            }
        };
        self.posted = self.posted.wrapping_add(1);
        self.told = self.emptied_here;
        self.chains.push_back(Message { chains, ends_batch });
        Ok(())
    }

    /// Posts the long ones of a head's payloads, and behind them the head; how many chains that takes.
    fn post_behind(
        &mut self,
        payloads: &[Segment],
        last: &Write,
        slot: u32,
    ) -> Result<u8, P::Error> {
        let mut writes = [Write { from: Region::empty(), key: 0, to: Place::NONE }; MOST_RECORDS];
        let mut count = 0;
        let long = |payload: &&Payload| payload.bytes.len() > SHORT_BYTES;
        let long = payloads.iter().filter_map(Segment::payload).filter(long);
        for (write, &Payload { bytes, key, to }) in writes.iter_mut().zip(long) {
            *write = Write { from: bytes, key, to };
            count += 1;
        }
        if self.lanes.len() > 1 {
            return self.post_on_lanes(&mut writes[..count], last, slot);
        }
        self.lanes[0].post(&writes[..count], last, slot, self.posted)?;
        Ok(1)
    }

    /// Deals payloads out to the lanes in turn, each of which tells the peer when its own have arrived; how many chains
    /// that takes.
    fn post_on_lanes(
        &mut self,
        writes: &mut [Write],
        last: &Write,
        slot: u32,
    ) -> Result<u8, P::Error> {
        let (count, first) = (self.lanes.len(), self.turn);
        self.turn = (self.turn + writes.len()) % count;
        let lanes = self.deal(writes, first);
        let empty = last.from.part(0, 0).unwrap_or(Region::empty());
        let (mut others, mut chains) = (0u8, 1);
        for number in (0..count).rev() {
            let of_first = self.strands.as_ref().is_none_or(|strands| strands.is_first(number));
            // Another device knows no memory by the first's keys; it needs none to write nothing.
            let nothing = match of_first {
                true => Write { from: empty, ..*last },
                false => Write { from: empty, key: 0, to: Place::NONE },
            };
            let mut own = [nothing; MOST_RECORDS];
            let mut len = 0;
            for (write, &lane) in writes.iter().zip(&lanes) {
                if usize::from(lane) == number {
                    own[len] = *write;
                    len += 1;
                }
            }
            let lane = &mut self.lanes[number];
            if number == 0 {
                let immediate = slot | u32::from(others) << SLOT_BITS;
                lane.post(&own[..len], last, immediate, self.posted)?;
            } else if len > 0 {
                others |= 1 << number;
                chains += 1;
                lane.post(&own[..len], &nothing, slot, self.posted)?;
            }
        }
        Ok(chains)
    }

    /// By payload the lane that carries it, in turn from `first` on, with the keys of that lane's device; the first lane
    /// where they are not known.
    fn deal(&self, writes: &mut [Write], first: usize) -> [u8; MOST_RECORDS] {
        let mut lanes = [0; MOST_RECORDS];
        for (place, (write, lane)) in writes.iter_mut().zip(&mut lanes).enumerate() {
            let turn = (first + place) % self.lanes.len();
            *lane = turn as u8;
            if let Some(strands) = &self.strands {
                match strands.keys_on(turn, (write.key, write.to.key)) {
                    Some((from, to)) => (write.key, write.to.key) = (from, to),
                    None => *lane = 0,
                }
            }
        }
        lanes
    }

    /// Tells the peer by what its devices know memory that it does not know yet, as far as there are slots; whether all
    /// was told. It leaves before what names such memory.
    #[cold]
    fn tell_keys(&mut self) -> Result<bool, P::Error> {
        loop {
            let has_slot = self.has_slot(1);
            let Some(strands) = self.strands.as_mut().filter(|it| it.owes()) else {
                return Ok(true);
            };
            if !has_slot {
                return Ok(false);
            }
            let mut head = [0; MOST_HEAD_BYTES];
            let mut count = 0;
            for record in head[HEADER_BYTES..].chunks_exact_mut(TOLD_BYTES) {
                let Some(told) = strands.take_untold() else { break };
                record.copy_from_slice(&strands::encode(told));
                count += 1;
            }
            (head[KIND_AT], head[COUNT_AT]) = (KEYS, count as u8);
            self.post(&head[..HEADER_BYTES + count * TOLD_BYTES], &[], false)?;
        }
    }

    /// Takes note of keys that the peer tells.
    #[cold]
    fn hear_keys(&mut self, head: &[u8; MOST_HEAD_BYTES]) -> Result<(), Violation> {
        let Some(strands) = &mut self.strands else { return Err(Violation::Kind(KEYS)) };
        let count = usize::from(head[COUNT_AT]).min(MOST_TOLD);
        let records = head[HEADER_BYTES..].chunks_exact(TOLD_BYTES).take(count);
        records.filter_map(strands::decode).for_each(|told| strands.hear(told));
        Ok(())
    }

    /// Whether the peer is to hear how many heads were emptied, whatever else there is to say.
    fn owes(&self) -> bool {
        self.taken.wrapping_sub(self.told) >= RING_SLOTS as u32 / 2
    }

    /// Rule 4: posts the receives again that were used up. All heads taken are emptied then.
    fn renew_receives(&mut self) -> Result<(), P::Error> {
        for lane in &mut self.lanes {
            lane.pair.post_receives(std::mem::take(&mut lane.used))?;
        }
        self.emptied_here = self.taken;
        Ok(())
    }

    /// Rule 3: says how many heads were emptied, if that is due and possible. Tried again when something has arrived
    /// or ended, which is what can have made it possible.
    fn tell_emptied(&mut self) -> Result<(), P::Error> {
        if !self.owes() || !self.has_slot(0) {
            return Ok(());
        }
        let mut head = [0; HEADER_BYTES];
        head[KIND_AT] = EMPTIED_ONLY;
        self.post(&head, &[], false)
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
        match head[KIND_AT] {
            EMPTIED_ONLY => return Ok(()),
            KEYS => return self.hear_keys(&head),
            _ => {}
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

impl<P: Pair> Ring<P> {
    /// Ends its pairs: the device reads and writes nothing for them any more.
    fn cease(&mut self, end: impl Fn(&mut P)) {
        self.lanes.iter_mut().for_each(|lane| end(&mut lane.pair));
        self.is_silent = true;
        self.chains.clear();
        self.sent_batches = 0;
    }
}

impl<P: Pair> Lane<P> {
    fn post(
        &mut self,
        writes: &[Write],
        last: &Write,
        immediate: u32,
        message: u32,
    ) -> Result<(), P::Error> {
        self.pair.post(writes, last, immediate)?;
        self.under_way.push_back(message);
        Ok(())
    }
}

impl<P: Pair> Ring<P> {
    /// A lane's oldest chain has ended.
    fn note_sent(&mut self, lane: usize) {
        let Some(message) = self.lanes[lane].under_way.pop_front() else { return };
        let place = message.wrapping_sub(self.ended) as usize;
        if let Some(message) = self.chains.get_mut(place) {
            message.chains = message.chains.saturating_sub(1);
        }
        while let Some(&Message { chains: 0, ends_batch }) = self.chains.front() {
            self.chains.pop_front();
            self.ended = self.ended.wrapping_add(1);
            self.sent_batches += usize::from(ends_batch);
        }
    }

    /// A lane's chain is here.
    fn note_arrived(&mut self, lane: usize, immediate: u32) {
        let (slot, others) = (immediate & ((1 << SLOT_BITS) - 1), immediate >> SLOT_BITS);
        self.lanes[lane].used += 1;
        // Those besides the first.
        let known = (1u32 << self.lanes.len()) - 2;
        match (lane, self.here.get_mut(slot as usize)) {
            (0, _) if others & !known == 0 && self.arrived.len() < RING_SLOTS => {
                self.arrived.push_back((slot, others as u8))
            }
            (1.., Some(here)) if others == 0 && *here & (1 << lane) == 0 => *here |= 1 << lane,
            _ => {
                let expected = self.taken % RING_SLOTS as u32;
                let violation = Violation::Slot { slot: immediate, expected };
                self.over.get_or_insert(Ended::Misbehaved(violation));
            }
        }
    }

    /// The oldest head that is here, if all that it tells of is (rule 7).
    fn next_whole(&mut self) -> Option<u32> {
        let &(slot, others) = self.arrived.front()?;
        let here = self.here.get_mut(slot as usize);
        if let Some(here) = here {
            if *here & others != others {
                return None;
            }
            *here &= !others;
        }
        self.arrived.pop_front();
        Some(slot)
    }
}

impl<P: Pair> Link for Ring<P> {
    type Error = P::Error;
    /// At which lane.
    type Event = (u8, Completion<P::Error>);

    fn places(&self) -> bool {
        true
    }

    fn likely(&self) -> Duration {
        Duration::from_micros(3)
    }

    fn note(&mut self, (lane, event): (u8, Completion<P::Error>)) -> bool {
        match event {
            Completion::Sent => {
                self.note_sent(usize::from(lane));
                self.owes()
            }
            Completion::Arrived(immediate) => {
                self.note_arrived(usize::from(lane), immediate);
                true
            }
            Completion::Failed(error) => {
                self.over.get_or_insert(Ended::Failed(error));
                true
            }
            Completion::Left => {
                // On another lane there may be more.
                self.left |= 1 << lane;
                if self.left.count_ones() as usize == self.lanes.len() {
                    self.over.get_or_insert(Ended::Closed);
                }
                true
            }
        }
    }

    fn has_room(&self) -> bool {
        self.has_slot(1)
    }

    fn push(&mut self, batch: &mut Batch) -> Result<Push, P::Error> {
        let mut moved = false;
        if self.strands.is_some() && !self.tell_keys()? {
            return Ok(Push::Blocked { moved });
        }
        loop {
            let Some((head, payloads)) = batch.next_message() else { return Ok(Push::Posted) };
            if !self.has_room() {
                return Ok(Push::Blocked { moved });
            }
            let count = payloads.len();
            let is_last = batch.unsent().len() == 1 + count;
            self.post(head, payloads, is_last)?;
            batch.message_left(count);
            moved = true;
        }
    }

    fn take_sent(&mut self) -> usize {
        std::mem::take(&mut self.sent_batches)
    }

    fn receive(&mut self, ends: &mut Ends<'_>) -> Result<bool, Ended<P::Error>> {
        let mut any = false;
        while let Some(slot) = self.next_whole() {
            self.take(slot, ends)?;
            any = true;
        }
        if let Some(why) = self.over.take() {
            return Err(why);
        }
        if self.is_silent {
            return Ok(any);
        }
        if self.owes() || self.lanes.iter().any(|lane| lane.used >= RECEIVES_AT_ONCE) {
            self.renew_receives().map_err(Ended::Failed)?;
            self.tell_emptied().map_err(Ended::Failed)?;
        }
        Ok(any)
    }

    fn is_amid(&self) -> bool {
        !self.arrived.is_empty()
    }

    fn is_acknowledged(&self) -> io::Result<bool> {
        Ok(self.chains.is_empty())
    }

    fn fall_silent(&mut self) {
        self.cease(P::fail);
    }

    fn withdraw(&mut self) {
        self.cease(P::let_go);
    }
}
