//! Owns new numbers for the connections and blocks of a plan that is cut or joined.

use alloc::collections::BTreeMap;

/// Old numbers to new ones. A number that has no new one becomes the first unused, so that a
/// reference that was dangling stays so.
pub(crate) struct Renumber(BTreeMap<u32, u32>);

impl Renumber {
    /// Each key becomes its value.
    pub(crate) fn of(numbers: BTreeMap<u32, u32>) -> Self {
        Self(numbers)
    }

    /// The k-th of `old` becomes k.
    pub(crate) fn new(old: impl Iterator<Item = u32>) -> Self {
        Self(old.zip(0..).collect())
    }

    pub(crate) fn apply(&self, old: u32) -> u32 {
        self.0.get(&old).copied().unwrap_or(self.0.len() as u32)
    }
}
