//! Owns the vector clocks: of which instructions it is known that they have completed.

use alloc::vec::Vec;

/// One execution of an instruction: the `number`-th of its block, over all windows, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) block: u32,
    pub(super) number: u64,
}

/// For each block that something is known of, how many of its executions have completed. Sparse,
/// in order of block: in an exchange a block knows of one or two others among thousands.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Vec<(u32, u64)>);

impl Clock {
    /// Whether `moment` has completed.
    pub(super) fn knows(&self, moment: Moment) -> bool {
        match self.0.binary_search_by_key(&moment.block, |&(block, _)| block) {
            Ok(at) => self.0[at].1 > moment.number,
            Err(_) => false,
        }
    }

    /// Learns that `moment` has completed.
    pub(super) fn learn(&mut self, moment: Moment) {
        let completed = moment.number + 1;
        match self.0.binary_search_by_key(&moment.block, |&(block, _)| block) {
            Ok(at) => self.0[at].1 = self.0[at].1.max(completed),
            Err(at) => self.0.insert(at, (moment.block, completed)),
        }
    }

    /// Learns all that `other` knows.
    pub(super) fn join(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        let mut at = 0;
        for &(block, completed) in &other.0 {
            while self.0.get(at).is_some_and(|&(known, _)| known < block) {
                at += 1;
            }
            match self.0.get_mut(at) {
                Some(known) if known.0 == block => known.1 = known.1.max(completed),
                _ => self.0.insert(at, (block, completed)),
            }
        }
    }
}
