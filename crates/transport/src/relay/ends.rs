//! Owns the two ends of a relay box: the source's, which fills slots and reads cells, and the relay's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::layout::{Cell, Note, RelayBox};
use super::words::{ALL, SLOTS};
use crate::Region;
use crate::doorbell::Doorbell;
use crate::wires::MOST_GRANTS;
use crate::wires::placing::Lasting;

/// What the source hears of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Told {
    /// As in the cell: a number, below a limit; 0: none yet.
    pub grants: [u64; MOST_GRANTS],
    /// The serial of the standing offer.
    pub standing: Option<u32>,
    /// (number, length, limit) of a message that did not fit.
    pub refused: Option<(u32, u64, u64)>,
    /// The wire has ended.
    pub ended: bool,
}

const REFUSED: u64 = 1;
const ENDED: u64 = 2;
/// Beside a serial: tells it from none.
const OFFERED: u64 = 1 << 32;

impl Cell {
    fn read(&self) -> Told {
        let grants = self.grants.each_ref().map(|grant| grant.load(Ordering::Relaxed));
        let standing = self.standing.load(Ordering::Relaxed);
        let end = self.end.load(Ordering::Acquire);
        let [seq, len, limit] = self.refused.each_ref().map(|word| word.load(Ordering::Relaxed));
        Told {
            grants,
            standing: (standing & OFFERED != 0).then_some(standing as u32),
            refused: (end & REFUSED != 0).then_some((seq as u32, len, limit)),
            ended: end & ENDED != 0,
        }
    }
}

/// The source's end.
#[derive(Debug)]
pub(crate) struct FeedEnd {
    memory: RelayBox,
    bell: Arc<Doorbell>,
    /// Slots that this side has, as bits.
    free: u32,
    put: u32,
    told: u32,
    /// Something was put for which the relay was not rung.
    unrung: bool,
}

impl FeedEnd {
    pub fn new(memory: RelayBox, bell: Arc<Doorbell>) -> Self {
        Self { memory, bell, free: ALL, put: 0, told: 0, unrung: false }
    }

    /// The slots that came back, as bits.
    pub fn take_back(&mut self) -> u32 {
        let back = self.memory.words().take_freed();
        debug_assert_eq!(back & self.free, 0, "I2: a slot came back that had not been put");
        let back = back & !self.free;
        self.free |= back;
        back
    }

    /// A slot that this side has.
    pub fn free_slot(&self) -> Option<u32> {
        (self.free != 0).then(|| self.free.trailing_zeros())
    }

    /// How many slots this side does not have.
    pub fn away(&self) -> usize {
        SLOTS - self.free.count_ones() as usize
    }

    /// Fills `slot`, which this side has, and puts it.
    pub fn put(&mut self, slot: u32, payload: Region, note: Note) {
        debug_assert_ne!(
            self.free & 1 << slot,
            0,
            "I2: a slot is filled that this side does not have"
        );
        let place = self.memory.piece(slot, payload.len());
        let copied = place.is_some_and(|place| place.copy_from(payload));
        debug_assert!(copied, "a piece is longer than a slot");
        self.memory.set_note(slot, note);
        self.free &= !(1 << slot);
        self.memory.words().put(self.put, slot);
        self.put = self.put.wrapping_add(1);
        self.unrung = true;
    }

    /// Rings the relay, if something was put since.
    pub fn ring(&mut self) {
        if std::mem::take(&mut self.unrung) {
            self.bell.published_work();
        }
    }

    /// Has the relay ring when it gives something back.
    pub fn wait(&self) {
        self.memory.words().wait();
    }

    /// Whether a cell has changed since this was asked.
    pub fn has_news(&mut self) -> bool {
        let told = self.memory.words().told();
        std::mem::replace(&mut self.told, told) != told
    }

    /// What the receiver of a connection has said so far.
    pub fn told(&self, dst: u32, channel: u32) -> Told {
        self.memory.cell(dst, channel).map_or_else(Told::default, Cell::read)
    }

    /// Nothing more will be put.
    pub fn leave(&self) {
        self.memory.words().leave();
        self.bell.published_work();
    }
}

/// The relay's end: what was put.
#[derive(Debug)]
pub(crate) struct RelayEnd {
    back: Arc<Back>,
    taken: u32,
}

/// The relay's end: what goes back. Shared by the connections that the box feeds.
#[derive(Debug)]
pub(crate) struct Back {
    memory: RelayBox,
    bell: Arc<Doorbell>,
}

// SAFETY: a box is shared memory, of which this side touches words and cells atomically, and slots only
// while they are its own; that it is given them is counted by the one `RelayEnd` that there is.
unsafe impl Sync for Back {}

impl RelayEnd {
    pub fn new(memory: RelayBox, bell: Arc<Doorbell>) -> Self {
        Self { back: Arc::new(Back { memory, bell }), taken: 0 }
    }

    pub fn back(&self) -> &Arc<Back> {
        &self.back
    }

    /// All of the box, for a medium that is to reach its pieces.
    pub fn lasting(&self) -> Lasting {
        self.back.memory.lasting()
    }

    /// The next full slot, with its note.
    pub fn next(&mut self) -> Option<(u32, Note)> {
        let slot = self.back.memory.words().next(self.taken)?;
        self.taken = self.taken.wrapping_add(1);
        Some((slot, self.back.memory.note(slot)))
    }

    /// Whether nothing more will come, and nothing is left.
    pub fn is_over(&self) -> bool {
        let words = self.back.memory.words();
        words.has_left() && words.next(self.taken).is_none()
    }
}

impl Back {
    pub fn piece(&self, slot: u32, len: usize) -> Option<Region> {
        self.memory.piece(slot, len)
    }

    /// Most slots that the source keeps full for one wire, of `wires` that it feeds here (rule F4): a few
    /// receivers that have stopped reading leave slots for the others.
    pub fn quota(wires: usize) -> u32 {
        (SLOTS / wires.clamp(1, SLOTS)).max(2) as u32
    }

    /// Gives a slot back; rings the source if it waits for one.
    pub fn free(&self, slot: u32) {
        self.memory.words().free(slot);
        self.ring_a_waiter();
    }

    fn ring_a_waiter(&self) {
        crate::owner::publish_fence();
        if self.memory.words().take_waiter() {
            self.bell.published();
        }
    }

    /// Passes on that message `seq` may have `limit` bytes. A grant of no byte is none.
    pub fn grant(&self, dst: u32, channel: u32, seq: u32, limit: u64) {
        let Some(cell) = self.memory.cell(dst, channel) else { return };
        let limit = limit.min(u64::from(u32::MAX));
        let grant = &cell.grants[seq as usize % MOST_GRANTS];
        grant.store(limit << 32 | u64::from(seq), Ordering::Relaxed);
        self.memory.words().tell();
        self.bell.published();
    }

    /// Passes a standing offer on.
    pub fn offer(&self, dst: u32, channel: u32, serial: u32) {
        let Some(cell) = self.memory.cell(dst, channel) else { return };
        cell.standing.store(OFFERED | u64::from(serial), Ordering::Relaxed);
        self.memory.words().tell();
        self.ring_a_waiter();
    }

    /// Passes a refusal on.
    #[cold]
    pub fn refuse(&self, dst: u32, channel: u32, (seq, len, limit): (u32, u64, u64)) {
        let Some(cell) = self.memory.cell(dst, channel) else { return };
        let words = [u64::from(seq), len, limit];
        cell.refused.iter().zip(words).for_each(|(at, word)| at.store(word, Ordering::Relaxed));
        cell.end.fetch_or(REFUSED, Ordering::Release);
        self.memory.words().tell();
        self.bell.published();
    }

    /// Tells that nothing goes over the wire any more.
    #[cold]
    pub fn end(&self, dst: u32, channel: u32) {
        let Some(cell) = self.memory.cell(dst, channel) else { return };
        cell.end.fetch_or(ENDED, Ordering::Release);
        self.memory.words().tell();
        self.bell.published();
    }
}
