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
        let (mut at, mut news) = (0, 0);
        for &(block, completed) in &other.0 {
            while self.0.get(at).is_some_and(|&(known, _)| known < block) {
                at += 1;
            }
            match self.0.get_mut(at) {
                Some(known) if known.0 == block => known.1 = known.1.max(completed),
                _ => news += 1,
            }
        }
        self.make_room(other, news);
    }

    /// Takes in the `news` blocks that only `other` knows of, from the end on, so that each entry moves once.
    fn make_room(&mut self, other: &Self, mut news: usize) {
        let mut known = self.0.len();
        self.0.resize(known + news, (0, 0));
        for &(block, completed) in other.0.iter().rev() {
            if news == 0 {
                return;
            }
            while known > 0 && self.0[known - 1].0 > block {
                known -= 1;
                self.0[known + news] = self.0[known];
            }
            if known == 0 || self.0[known - 1].0 != block {
                news -= 1;
                self.0[known + news] = (block, completed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::Clock;

    proptest! {
        #[test]
        fn a_join_knows_what_either_knew(
            one in prop::collection::btree_map(0..40_u32, 1..9_u64, 0..30),
            other in prop::collection::btree_map(0..40_u32, 1..9_u64, 0..30),
        ) {
            let clock = |of: &BTreeMap<u32, u64>| Clock(of.iter().map(|(&block, &done)| (block, done)).collect());
            let mut joined = clock(&one);
            joined.join(&clock(&other));
            let mut both = one;
            for (block, done) in other {
                let known = both.entry(block).or_insert(0);
                *known = done.max(*known);
            }
            prop_assert_eq!(joined.0, both.into_iter().collect::<Vec<_>>());
        }
    }
}
