//! Owns what this rank does for the others of its node: it takes their pieces out of their boxes, and has
//! them sent on the wires that it owns.

use super::medium::Link;
use super::wire::Wire;
use crate::relay::RelayEnd;

/// The boxes that feed this rank's wires.
#[derive(Default)]
pub(super) struct Service {
    intakes: Vec<Intake>,
    /// By receiver: the wire to it.
    wires: Vec<Option<u32>>,
}

struct Intake {
    rank: u32,
    end: RelayEnd,
}

impl Service {
    /// Boxes of `(rank, end)`, for wires to these ranks, in the order of the wires.
    pub fn new(boxes: Vec<(u32, RelayEnd)>, peers: &[u32]) -> Self {
        let receivers = peers.iter().max().map_or(0, |&most| most as usize + 1);
        let mut wires = vec![None; receivers];
        for (&peer, wire) in peers.iter().zip(0..) {
            wires[peer as usize] = Some(wire);
        }
        let intakes = boxes.into_iter().map(|(rank, end)| Intake { rank, end }).collect();
        Self { intakes, wires }
    }

    /// Whether it has work that the application does not know of.
    pub fn exists(&self) -> bool {
        !self.intakes.is_empty()
    }

    /// Takes out what has been put; whether there was anything.
    pub fn take_in<L: Link>(&mut self, wires: &mut [Wire<L>]) -> bool {
        let mut moved = false;
        for intake in &mut self.intakes {
            while let Some((slot, note)) = intake.end.next() {
                moved = true;
                let wire = self.wires.get(note.dst as usize).copied().flatten();
                let wire = wire.and_then(|wire| wires.get_mut(wire as usize));
                let carried = wire.and_then(|wire| wire.carried(intake.rank, note.channel));
                match carried {
                    Some(end) => end.push(slot, &note),
                    None => intake.end.back().free(slot),
                }
            }
        }
        moved
    }

    /// Whether nothing more will come from anyone.
    pub fn is_over(&self) -> bool {
        self.intakes.iter().all(|intake| intake.end.is_over())
    }
}
