//! Owns which parts of a heap are free: spans, first fit, joined with their neighbours.

use std::collections::BTreeMap;

/// The free spans of a range of bytes, by offset; no two of them touch.
#[derive(Debug)]
pub(super) struct Spans(BTreeMap<usize, usize>);

impl Spans {
    /// All of `0..len` is free.
    pub(super) fn new(len: usize) -> Self {
        Self((len > 0).then_some((0, len)).into_iter().collect())
    }

    /// Takes `len` bytes, above zero, from the first span that has so many; where they begin.
    pub(super) fn take(&mut self, len: usize) -> Option<usize> {
        let (&offset, &span) = self.0.iter().find(|&(_, &span)| span >= len)?;
        self.0.remove(&offset);
        if span > len {
            self.0.insert(offset + len, span - len);
        }
        Some(offset)
    }

    /// Gives back what was taken.
    pub(super) fn give(&mut self, offset: usize, len: usize) {
        let (mut start, mut end) = (offset, offset + len);
        if let Some((&before, &span)) = self.0.range(..offset).next_back()
            && before + span == offset
        {
            self.0.remove(&before);
            start = before;
        }
        if let Some(span) = self.0.remove(&end) {
            end += span;
        }
        self.0.insert(start, end - start);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_taken_and_given_nothing_overlaps_and_nothing_is_lost(
            steps in proptest::collection::vec((1..400usize, any::<bool>()), 1..200),
        ) {
            const LEN: usize = 4000;
            let mut spans = Spans::new(LEN);
            let mut taken: Vec<(usize, usize)> = Vec::new();
            for (len, give) in steps {
                if give && !taken.is_empty() {
                    let (offset, len) = taken.swap_remove(len % taken.len());
                    spans.give(offset, len);
                } else if let Some(offset) = spans.take(len) {
                    let apart = |&(o, l): &(usize, usize)| offset + len <= o || o + l <= offset;
                    prop_assert!(taken.iter().all(apart) && offset + len <= LEN);
                    taken.push((offset, len));
                }
                let (used, free): (usize, usize) =
                    (taken.iter().map(|t| t.1).sum(), spans.0.values().sum());
                prop_assert_eq!(used + free, LEN);
            }
            taken.into_iter().for_each(|(offset, len)| spans.give(offset, len));
            prop_assert_eq!(spans.take(LEN), Some(0), "all spans have joined again");
        }
    }
}
