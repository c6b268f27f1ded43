//! Owns where the words, notes, cells and pieces of a relay box lie in shared memory.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::words::{SLOTS, SlotWords};
use crate::Region;
use crate::mapping::Mapping;
use crate::wires::placing::Lasting;
use crate::wires::{MOST_GRANTS, PIECE_BYTES};

const PAGE_BYTES: usize = 4096;

/// What all ranks of a world agree on about their relay boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoxShape {
    /// Ranks of the world: each may be a receiver.
    pub ranks: u32,
    /// Connections between each pair of ranks.
    pub channels: u16,
}

impl BoxShape {
    fn cells(self) -> usize {
        self.ranks as usize * usize::from(self.channels)
    }

    fn pieces_at(self) -> usize {
        let heads = size_of::<SlotWords>() + SLOTS * size_of::<Note>();
        (heads + self.cells() * size_of::<Cell>()).next_multiple_of(PAGE_BYTES)
    }

    /// Bytes of one box, in whole pages. A page takes up memory once it was touched.
    pub fn box_bytes(self) -> usize {
        self.pieces_at() + SLOTS * PIECE_BYTES
    }
}

/// What lies beside a piece: for whom it is, and how it is to be sent.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Note {
    /// The rank that receives it.
    pub dst: u32,
    pub channel: u32,
    /// How many pieces its relay may expect, as `Hint::encode` writes it.
    pub hint: u32,
    /// As on the wire.
    pub member: [u8; 24],
}

/// What the receiver of a connection says, as its relay writes it.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Cell {
    /// Limit and number of each message that is permitted, by number modulo their number; 0: none yet.
    pub grants: [AtomicU64; MOST_GRANTS],
    /// The serial of the standing offer, beside a bit that tells it from none.
    pub standing: AtomicU64,
    /// Whether one of the following holds.
    pub end: AtomicU64,
    /// Of a refusal: the message's number, its length, and the room for it.
    pub refused: [AtomicU64; 3],
}

/// The memory of one box.
#[derive(Debug, Clone)]
pub(crate) struct RelayBox {
    start: NonNull<u8>,
    shape: BoxShape,
    _memory: Arc<Mapping>,
}

// SAFETY: `start` points into memory that `_memory` keeps, which is tied to no thread.
unsafe impl Send for RelayBox {}

impl RelayBox {
    /// The box at `offset`, a multiple of the page size, of `memory`; `None` when it does not lie inside.
    pub fn new(memory: &Arc<Mapping>, offset: usize, shape: BoxShape) -> Option<Self> {
        let end = offset.checked_add(shape.box_bytes())?;
        if end > memory.len() || !offset.is_multiple_of(PAGE_BYTES) {
            return None;
        }
        // SAFETY: the box lies inside the mapping, as just seen.
        let start = unsafe { memory.start().add(offset) };
        Some(Self { start, shape, _memory: Arc::clone(memory) })
    }

    pub fn shape(&self) -> BoxShape {
        self.shape
    }

    /// All of it, for a medium that is to reach its pieces.
    pub fn lasting(&self) -> Lasting {
        // SAFETY: the box lies in the mapping that `_memory` keeps, and only raw pointers go there. The device's peers
        // are told of no place in it.
        unsafe {
            let whole = Region::from_raw_parts(self.start, self.shape.box_bytes());
            Lasting::new(whole, Box::new(Arc::clone(&self._memory)))
        }
    }

    pub fn words(&self) -> &SlotWords {
        // SAFETY: a box begins at a page with its words, of any bytes; they are only ever touched
        // atomically. `_memory` lives as long as `self`.
        unsafe { self.start.cast::<SlotWords>().as_ref() }
    }

    fn note_at(&self, slot: u32) -> *mut Note {
        debug_assert!((slot as usize) < SLOTS, "a box has no such slot");
        // SAFETY: the layout has a note for each slot behind the words, which end at a line.
        unsafe { self.start.add(size_of::<SlotWords>()).cast::<Note>().add(slot as usize).as_ptr() }
    }

    /// Reads the note of a slot that is this side's.
    pub fn note(&self, slot: u32) -> Note {
        // SAFETY: in the mapping; any bytes are a note. By the words' rules the other side leaves it alone;
        // volatile, for one that breaks them is another process.
        unsafe { self.note_at(slot).read_volatile() }
    }

    /// Writes the note of a slot that is this side's.
    pub fn set_note(&self, slot: u32, note: Note) {
        // SAFETY: as for `note`.
        unsafe { self.note_at(slot).write_volatile(note) };
    }

    /// The cell of a receiver and channel; `None` when there are none such.
    pub fn cell(&self, dst: u32, channel: u32) -> Option<&Cell> {
        if dst >= self.shape.ranks || channel >= u32::from(self.shape.channels) {
            return None;
        }
        let index = dst as usize * usize::from(self.shape.channels) + channel as usize;
        let cells = size_of::<SlotWords>() + SLOTS * size_of::<Note>();
        // SAFETY: the layout has so many cells behind the notes, at two lines each, of any bytes, which are
        // only ever touched atomically. `_memory` lives as long as `self`.
        Some(unsafe { self.start.add(cells).cast::<Cell>().add(index).as_ref() })
    }

    /// The first `len` bytes of a slot; `None` when it has fewer.
    pub fn piece(&self, slot: u32, len: usize) -> Option<Region> {
        if len > PIECE_BYTES || slot as usize >= SLOTS {
            return None;
        }
        // SAFETY: the layout has so many bytes for each slot. By the words' rules only one side touches
        // them at a time, and endpoints keep the box as long as they use them.
        unsafe {
            let start = self.start.add(self.shape.pieces_at() + slot as usize * PIECE_BYTES);
            Some(Region::from_raw_parts(start, len))
        }
    }
}

const _: () = assert!(size_of::<SlotWords>().is_multiple_of(64) && size_of::<Note>() == 64);
const _: () = assert!(size_of::<Cell>() == 128);
