//! Owns the counting of what a rank's wires take of a device, before any of them is made.

use crosstie_transport::seam::Limits;
use crosstie_transport::wires::end_memory_of;
use crosstie_transport::wires::placing::{RING_SLOTS, RingMemory, SEND_DEPTH};

use crate::{Needs, Wire};

/// What it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Wires.
    pub wires: usize,
    /// Those of them on which the rank sends for itself.
    pub sending: usize,
    /// Ranks that send to it, on each wire.
    pub receiving: usize,
    /// Boxes from which it sends for others of its node, and bytes of each.
    pub boxes: (usize, usize),
    /// Connections each way between two ranks.
    pub channels: u16,
    /// The longest message, and slots.
    pub limits: Limits,
}

impl Load {
    /// That of a rank without wires.
    pub const fn none(channels: u16, limits: Limits) -> Self {
        Self { wires: 0, sending: 0, receiving: 0, boxes: (0, 0), channels, limits }
    }

    /// One more wire of `rank`, on which the ranks `outgoing` send, and at its other end `incoming`; if any of them is
    /// another, `rank` empties `boxes`.
    #[must_use]
    pub fn and(
        mut self,
        rank: u32,
        (outgoing, incoming): (&[u32], &[u32]),
        boxes: (usize, usize),
    ) -> Self {
        self.wires += 1;
        self.sending += usize::from(outgoing.contains(&rank));
        self.receiving += incoming.len();
        if outgoing.iter().any(|&source| source != rank) {
            self.boxes = boxes;
        }
        self
    }

    /// What the wires take if all of them go over one device, with so many queue pairs each.
    pub fn needs(&self, queue_pairs: u8) -> Needs {
        let wire = Wire {
            queue_pairs: queue_pairs.max(1).into(),
            send: SEND_DEPTH as u32,
            receive: RING_SLOTS as u32,
            bytes: in_pages(RingMemory::BYTES),
        };
        let ends = end_memory_of((self.sending, self.receiving), self.channels, self.limits);
        let (boxes, box_bytes) = self.boxes;
        let boxed = (boxes as u64).saturating_mul(in_pages(box_bytes));
        // All slots are one region.
        let (regions, bytes) = (boxes as u64 + 1, in_pages(ends.max(1)).saturating_add(boxed));
        Needs::of_wires(self.wires as u64, &wire, regions, bytes)
    }
}

/// Whole pages are pinned.
fn in_pages(bytes: usize) -> u64 {
    // SAFETY: the call only returns a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    bytes.next_multiple_of(usize::try_from(page).unwrap_or(4096).max(1)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { slots: 2, slot_bytes: 64 << 10 };

    #[test]
    fn slots_and_the_boxes_of_whom_a_rank_sends_for_are_counted() {
        let none = Load::none(2, LIMITS);
        let direct = none.and(0, (&[0], &[4]), (3, 1 << 20)).needs(1);
        assert_eq!((direct.queue_pairs, direct.regions), (1, 2), "a ring, and all slots");
        let ends = end_memory_of((1, 1), 2, LIMITS);
        assert!(ends > 4 * (64 << 10), "both ends of two channels have slots");
        let ring = in_pages(RingMemory::BYTES);
        assert_eq!(direct.pinned_bytes, ring + in_pages(ends));
        let shared = none.and(0, (&[0, 1, 2, 3], &[4, 5, 6, 7]), (3, 1 << 20)).needs(1);
        assert_eq!((shared.queue_pairs, shared.regions), (1, 5), "and three boxes");
        let ends = end_memory_of((1, 4), 2, LIMITS);
        let four = none.and(0, (&[0], &[4]), (3, 1 << 20)).needs(4);
        assert_eq!((four.queue_pairs, four.pinned_bytes), (4, direct.pinned_bytes));
        assert_eq!(shared.pinned_bytes, ring + in_pages(ends) + (3 << 20));
    }
}
