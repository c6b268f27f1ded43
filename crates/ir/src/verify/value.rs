//! Owns symbolic values: what a chunk or message holds, as a tree of reductions over inputs, each
//! tree interned once.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::collective::Demand;
use crate::plan::{Rank, Space};
use crate::reject::Fault;

/// An interned value: equal numbers are equal bits, for operations that commute bit by bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValueId(u32);

impl ValueId {
    /// Of an instruction that makes no value.
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// One slice of one chunk of one rank's memory, in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) rank: Rank,
    pub(super) space: Space,
    pub(super) index: u32,
    pub(super) slice: u16,
    /// The window; 0 for scratch, which all windows share.
    pub(super) window: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// What a place held before the plan first wrote to it: an input, or nothing in particular.
    Initial(Place),
    /// A reduction; the smaller operand first, as the order makes no difference to the bits.
    Reduced(ValueId, ValueId),
    /// A reduction to which the end of its operation was done.
    Finished(ValueId),
}

/// All values of a run.
#[derive(Debug, Default)]
pub(super) struct Values {
    ids: BTreeMap<Value, ValueId>,
    values: Vec<Value>,
}

/// What an output chunk must hold: a collective's demand, for one slice and window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub(super) demand: Demand,
    pub(super) slice: u16,
    pub(super) window: u64,
}

impl Values {
    fn intern(&mut self, value: Value) -> ValueId {
        *self.ids.entry(value).or_insert_with(|| {
            self.values.push(value);
            ValueId(self.values.len() as u32 - 1)
        })
    }

    pub(super) fn initial(&mut self, place: Place) -> ValueId {
        self.intern(Value::Initial(place))
    }

    pub(super) fn reduced(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.intern(Value::Reduced(a.min(b), a.max(b)))
    }

    pub(super) fn finished(&mut self, value: ValueId) -> ValueId {
        self.intern(Value::Finished(value))
    }

    /// Whether `value` is what a place held before the plan first wrote to it.
    pub(super) fn is_initial(&self, ValueId(value): ValueId) -> bool {
        matches!(self.values[value as usize], Value::Initial(_))
    }

    /// Checks that `value` is made of exactly what is wanted, each contribution once.
    ///
    /// Stops at the first contribution too many, so a value that doubles itself step by step costs
    /// no more than the ranks of the world.
    pub(super) fn check(&self, value: ValueId, wanted: Wanted, ranks: u32) -> Result<(), Fault> {
        let mut seen = BTreeSet::new();
        let reduces = matches!(wanted.demand, Demand::Reduced { .. });
        let (value, is_finished) = match self.values[value.0 as usize] {
            Value::Finished(complete) if reduces => (complete, true),
            _ => (value, !reduces),
        };
        let mut rest = alloc::vec![value];
        while let Some(ValueId(next)) = rest.pop() {
            match self.values[next as usize] {
                Value::Finished(_) => return Err(Fault::Unfinished),
                Value::Reduced(a, b) => rest.extend([a, b]),
                Value::Initial(place) if place.space != Space::Input => {
                    return Err(Fault::Undefined);
                }
                Value::Initial(_) if wanted.demand == Demand::Unspecified => {}
                Value::Initial(place) => {
                    let Place { rank, index, .. } = place;
                    if !wanted.includes(place) {
                        return Err(Fault::Foreign { rank, index });
                    }
                    if !seen.insert(rank) {
                        return Err(Fault::Repeated { rank, index });
                    }
                }
            }
        }
        match wanted.demand {
            Demand::Reduced { index } => match (0..ranks).map(Rank).find(|r| !seen.contains(r)) {
                Some(rank) => Err(Fault::Missing { rank, index }),
                None if !is_finished => Err(Fault::Unfinished),
                None => Ok(()),
            },
            Demand::Copied { .. } | Demand::Unspecified => Ok(()),
        }
    }
}

impl Wanted {
    fn includes(&self, place: Place) -> bool {
        let belongs = match self.demand {
            Demand::Reduced { index } => place.index == index,
            Demand::Copied { rank, index } => (place.rank, place.index) == (rank, index),
            Demand::Unspecified => true,
        };
        belongs && (place.slice, place.window) == (self.slice, self.window)
    }
}
