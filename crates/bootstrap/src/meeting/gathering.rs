//! Owns the decision who has come to a meeting, whether all have, and what is wrong with them: values in, values
//! out, no links and no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{BootstrapError, Claimant, SettingsGroup};
use crate::world::Record;

/// Largest world that a meeting serves: a report of failure numbers ranks with 24 bits, and tables travel whole.
pub(crate) const RANKS_MAX: u32 = 1 << 20;
/// What parts a line of [`Record::settings`] from what it says beside the value, which makes no difference.
pub const REMARK: &str = "  # ";
/// How many differing settings are named for one group.
const DIFFERING_MAX: usize = 8;

/// Who has come so far. The first to come says how many there will be.
#[derive(Default)]
pub(crate) struct Gathering {
    size: Option<(u32, Claimant)>,
    /// Those who meet again, and who says so.
    of: Option<(Vec<u32>, Claimant)>,
    came: BTreeMap<u32, Record>,
}

impl Gathering {
    /// Takes in a rank that says the world has `size` ranks. The error, if any, is everyone's.
    pub(crate) fn join(&mut self, size: u32, record: Record) -> Result<(), BootstrapError> {
        let claimant = record.claimant();
        if size > RANKS_MAX || record.rank >= size {
            let what = format!("rank {} of {size}; {RANKS_MAX} ranks are possible", record.rank);
            return Err(BootstrapError::Protocol { host: record.host, what });
        }
        let (first_size, first) = self.size.get_or_insert((size, claimant.clone()));
        if size != *first_size {
            return Err(BootstrapError::SizeDiffers {
                first: first.clone(),
                first_size: *first_size,
                second: claimant,
                second_size: size,
            });
        }
        if let Some(first) = self.came.get(&record.rank) {
            let (rank, first) = (record.rank, first.claimant());
            return Err(BootstrapError::Duplicate { rank, first, second: claimant });
        }
        self.came.insert(record.rank, record);
        Ok(())
    }

    /// Takes in of whom, by their numbers in the world that they leave, a rank says that they meet.
    pub(crate) fn agree(&mut self, of: &[u32], record: &Record) -> Result<(), BootstrapError> {
        let rank = of.get(record.rank as usize).copied().unwrap_or(record.rank);
        let second = Claimant { rank, ..record.claimant() };
        let (known, first) = self.of.get_or_insert_with(|| (of.to_vec(), second.clone()));
        if known[..] == *of {
            return Ok(());
        }
        let (first, first_of, second_of) = (first.clone(), known.clone(), of.to_vec());
        Err(BootstrapError::ListsDiffer { first, first_of, second, second_of })
    }

    /// Whether all have come.
    pub(crate) fn complete(&self) -> bool {
        self.size.as_ref().is_some_and(|(size, _)| self.came.len() == *size as usize)
    }

    /// What to tell everyone once all have come: the table by rank, or where they disagree.
    pub(crate) fn table(&self) -> Result<Vec<Record>, BootstrapError> {
        let mut groups: BTreeMap<u64, Vec<&Record>> = BTreeMap::new();
        for record in self.came.values() {
            groups.entry(record.fingerprint).or_default().push(record);
        }
        if groups.len() > 1 {
            return Err(disagreement(groups.into_values().collect()));
        }
        let bare = |record: &Record| Record { settings: String::new(), ..record.clone() };
        Ok(self.came.values().map(bare).collect())
    }

    /// Who has not come, for those who waited.
    pub(crate) fn missing(&self, waited: Duration, strangers: String) -> BootstrapError {
        let size = self.size.as_ref().map_or(0, |(size, _)| *size);
        let ranks = (0..size).filter(|rank| !self.came.contains_key(rank)).collect();
        BootstrapError::Missing { ranks, size, waited, strangers }
    }

    /// The end of a rank that had come.
    pub(crate) fn died(&self, rank: u32) -> BootstrapError {
        match self.came.get(&rank) {
            Some(record) => BootstrapError::Died { who: record.claimant() },
            None => BootstrapError::Protocol {
                host: "?".to_owned(),
                what: format!("rank {rank} ended that had never come"),
            },
        }
    }

    /// A rank that had come was given up.
    pub(crate) fn withdrawn(&self, rank: u32, why: String) -> BootstrapError {
        match self.came.get(&rank) {
            Some(record) => BootstrapError::Withdrawn { who: record.claimant(), why },
            None => self.died(rank),
        }
    }

    /// What to tell one who comes when all are there.
    pub(crate) fn too_late(&self, record: &Record) -> BootstrapError {
        let size = self.size.as_ref().map_or(0, |(size, _)| *size);
        BootstrapError::Complete { who: record.claimant(), size }
    }
}

impl Record {
    pub(crate) fn claimant(&self) -> Claimant {
        Claimant { rank: self.rank, host: self.host.clone(), pid: self.pid }
    }
}

/// Names each group of equal fingerprints by the lines in which it differs from the next one.
fn disagreement(mut groups: Vec<Vec<&Record>>) -> BootstrapError {
    groups.sort_by_key(|group| group.first().map(|record| record.rank));
    let describe = |at: usize, group: &Vec<&Record>| {
        let first = *group.first()?;
        let other = *groups.get(if at == 0 { 1 } else { 0 })?.first()?;
        Some(SettingsGroup {
            ranks: group.iter().map(|record| record.rank).collect(),
            host: first.host.clone(),
            fingerprint: first.fingerprint,
            differing: lines_only_in(&first.settings, &other.settings),
        })
    };
    let groups = groups.iter().enumerate().filter_map(|(at, group)| describe(at, group)).collect();
    BootstrapError::Disagreement { groups }
}

fn lines_only_in(these: &str, others: &str) -> Vec<String> {
    let value = |line: &'_ str| line.split(REMARK).next().map(str::to_owned);
    let unlike =
        these.lines().filter(|line| !others.lines().any(|other| value(other) == value(line)));
    unlike.take(DIFFERING_MAX).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(rank: u32) -> Record {
        Record {
            host: format!("h{rank}"),
            pid: 100 + rank % 100,
            ..Record::of_this_process(rank, vec![])
        }
    }

    fn gathered(ranks: impl IntoIterator<Item = Record>, size: u32) -> Gathering {
        let mut gathering = Gathering::default();
        for record in ranks {
            gathering.join(size, record).unwrap();
        }
        gathering
    }

    #[test]
    fn a_duplicate_names_both_processes() {
        let mut gathering = gathered([record(0), record(2)], 4);
        let twin = Record { host: "elsewhere".into(), pid: 9, ..record(2) };
        let text = gathering.join(4, twin).unwrap_err().to_string();
        assert!(
            text.contains("h2") && text.contains("elsewhere") && text.contains("102"),
            "{text}"
        );
    }

    #[test]
    fn differing_sizes_name_both_processes() {
        let mut gathering = gathered([record(0)], 4);
        let text = gathering.join(5, record(4)).unwrap_err().to_string();
        assert!(text.contains("h0") && text.contains("h4") && text.contains('5'), "{text}");
    }

    #[test]
    fn lists_that_differ_name_both_processes_and_both_lists() {
        let mut gathering = Gathering::default();
        gathering.agree(&[0, 2], &record(0)).unwrap();
        gathering.agree(&[0, 2], &record(1)).unwrap();
        let text = gathering.agree(&[0, 1], &record(1)).unwrap_err().to_string();
        assert!(text.contains("rank 0 (host h0") && text.contains("[0, 2]"), "{text}");
        assert!(text.contains("rank 1 (host h1") && text.contains("[0, 1]"), "{text}");
    }

    #[test]
    fn impossible_worlds_are_refused_before_anything_is_counted() {
        for (rank, size) in [(3, 3), (0, 0), (0, u32::MAX), (u32::MAX, u32::MAX)] {
            let mut gathering = Gathering::default();
            let refused = gathering.join(size, record(rank));
            assert!(matches!(refused, Err(BootstrapError::Protocol { .. })), "{rank} of {size}");
        }
    }

    #[test]
    fn a_disagreement_names_ranks_and_settings() {
        let with = |rank, fingerprint, slots: u32| Record {
            fingerprint,
            settings: format!("same = 1{REMARK}by rank {rank}\nslots = {slots}{REMARK}its own"),
            ..record(rank)
        };
        let gathering = gathered([with(2, 7, 4), with(0, 9, 8), with(1, 7, 4)], 3);
        let text = gathering.table().unwrap_err().to_string();
        assert!(text.contains("rank 0 (host h0): slots = 8  # its own"), "{text}");
        assert!(text.contains("ranks 1, 2 (host h1): slots = 4"), "{text}");
        assert!(!text.contains("same = 1"), "{text}");
    }

    #[test]
    fn a_disagreement_without_a_differing_setting_shows_fingerprints() {
        let odd = Record { fingerprint: 5, ..record(1) };
        let text = gathered([record(0), odd], 2).table().unwrap_err().to_string();
        assert!(text.contains("fingerprint 0000000000000005"), "{text}");
    }

    proptest! {
        #[test]
        fn in_any_order_all_are_needed_and_the_absent_are_named(
            order in Just((0..9u32).collect::<Vec<_>>()).prop_shuffle(),
            cut in 0..9usize,
        ) {
            let mut gathering = Gathering::default();
            for &rank in &order[..cut] {
                gathering.join(9, record(rank)).unwrap();
                prop_assert!(!gathering.complete());
            }
            if let BootstrapError::Missing { ranks, .. } = gathering.missing(Duration::ZERO, String::new()) {
                let mut absent = if cut == 0 { vec![] } else { order[cut..].to_vec() };
                absent.sort_unstable();
                prop_assert_eq!(ranks, absent);
            }
            for &rank in &order[cut..] {
                gathering.join(9, record(rank)).unwrap();
            }
            prop_assert!(gathering.complete());
            let ranks: Vec<u32> = gathering.table().unwrap().iter().map(|record| record.rank).collect();
            prop_assert_eq!(ranks, (0..9).collect::<Vec<_>>());
        }
    }
}
