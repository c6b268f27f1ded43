//! Owns what the application notes of each call on its way, and the monitor reads later: no lock, no allocation.
//!
//! An entry is written by the thread that calls and read by the monitor's. Its `sequence` is 0 while it is written, so
//! whoever reads the same number before and after has what belongs to it; whoever does not goes without.

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;
use serde::{Deserialize, Serialize};

/// How far a rank's application is: the sequence numbers of the last call that it started, and finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Calls {
    pub started: u64,
    pub finished: u64,
}

impl Calls {
    pub(super) fn is_under_way(self) -> bool {
        self.started > self.finished
    }
}

/// How many calls are remembered: ranks compare those that all of them remember.
pub(super) const REMEMBERED: usize = 16;

/// How many calls of messages between pairs are remembered.
pub(super) const MESSAGES_REMEMBERED: usize = 8;

/// A call as its caller notes it: a few words, put into words for people only when something fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallMark {
    /// Its number on the communicator; numbers count from 1. Calls of messages between pairs count apart from the
    /// others, each rank for itself.
    pub sequence: u64,
    /// A hash of all that must be alike on all ranks.
    pub tag: u32,
    /// Operation, type, reduction and root, in whatever form the caller can put into words.
    pub kind: u64,
    /// Number of elements.
    pub count: u64,
    /// Where in the program it was made.
    pub site: &'static Location<'static>,
}

#[derive(Default)]
struct Entry {
    sequence: AtomicU64,
    tag: AtomicU64,
    kind: AtomicU64,
    count: AtomicU64,
    site: AtomicCell<Option<&'static Location<'static>>>,
}

/// The last calls of one rank, and how far it is.
pub(super) struct Ledger {
    entries: [CachePadded<Entry>; REMEMBERED],
    started: AtomicU64,
    finished: AtomicU64,
    /// The same of calls of messages between pairs, in which only some ranks take part.
    messages: [CachePadded<Entry>; MESSAGES_REMEMBERED],
    messages_started: AtomicU64,
    messages_finished: AtomicU64,
    /// Counts up whenever the call under way moved something.
    moves: AtomicU64,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        let zero = || AtomicU64::new(0);
        Ledger {
            entries: Default::default(),
            started: zero(),
            finished: zero(),
            messages: Default::default(),
            messages_started: zero(),
            messages_finished: zero(),
            moves: zero(),
        }
    }

    pub(super) fn started(&self, mark: CallMark) {
        entry(&self.entries, mark.sequence).write(mark);
        self.started.store(mark.sequence, Ordering::Release);
    }

    /// A call of messages has started; it gets its number here.
    pub(super) fn messages_started(&self, mark: CallMark) {
        // One thread at a time drives the calls, so this need not be a read-modify-write.
        let sequence = self.messages_started.load(Ordering::Relaxed) + 1;
        entry(&self.messages, sequence).write(CallMark { sequence, ..mark });
        self.messages_started.store(sequence, Ordering::Release);
    }

    /// The call of messages that started last is over.
    pub(super) fn messages_finished(&self) {
        let started = self.messages_started.load(Ordering::Relaxed);
        self.messages_finished.store(started, Ordering::Release);
    }

    pub(super) fn finished(&self, sequence: u64) {
        self.finished.store(sequence, Ordering::Release);
    }

    pub(super) fn moved(&self) {
        // One thread at a time drives the calls, so this need not be a read-modify-write.
        self.moves.store(self.moves.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    pub(super) fn calls(&self) -> Calls {
        // In this order a call that ends meanwhile looks as if it were under way, never the other way round.
        let finished = self.finished.load(Ordering::Acquire);
        Calls { started: self.started.load(Ordering::Acquire), finished }
    }

    /// The same of calls of messages.
    pub(super) fn messages(&self) -> Calls {
        let finished = self.messages_finished.load(Ordering::Acquire);
        Calls { started: self.messages_started.load(Ordering::Acquire), finished }
    }

    /// The calls remembered up to `last`, in order.
    pub(super) fn recent(&self, last: u64) -> Vec<CallMark> {
        recent(&self.entries, last)
    }

    /// The calls of messages remembered, in order.
    pub(super) fn recent_messages(&self) -> Vec<CallMark> {
        recent(&self.messages, self.messages().started)
    }
}

fn entry(entries: &[CachePadded<Entry>], sequence: u64) -> &Entry {
    &entries[(sequence % entries.len() as u64) as usize]
}

fn recent(entries: &[CachePadded<Entry>], last: u64) -> Vec<CallMark> {
    let first = last.saturating_sub(entries.len() as u64 - 1).max(1);
    (first..=last).filter_map(|sequence| entry(entries, sequence).read(sequence)).collect()
}

impl Entry {
    fn write(&self, mark: CallMark) {
        self.sequence.store(0, Ordering::Relaxed);
        self.tag.store(u64::from(mark.tag), Ordering::Release);
        self.kind.store(mark.kind, Ordering::Release);
        self.count.store(mark.count, Ordering::Release);
        self.site.store(Some(mark.site));
        self.sequence.store(mark.sequence, Ordering::Release);
    }

    fn read(&self, sequence: u64) -> Option<CallMark> {
        let before = self.sequence.load(Ordering::Acquire);
        let tag = self.tag.load(Ordering::Acquire) as u32;
        let kind = self.kind.load(Ordering::Acquire);
        let count = self.count.load(Ordering::Acquire);
        let site = self.site.load()?;
        let after = self.sequence.load(Ordering::Acquire);
        let whole = before == sequence && after == sequence;
        whole.then_some(CallMark { sequence, tag, kind, count, site })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u64) -> CallMark {
        let tag = sequence as u32 * 3;
        let site = Location::caller();
        CallMark { sequence, tag, kind: sequence * 5, count: sequence * 7, site }
    }

    #[test]
    fn the_last_calls_are_remembered_in_order() {
        let ledger = Ledger::new();
        assert!(ledger.recent(0).is_empty());
        (1..=3).for_each(|sequence| ledger.started(mark(sequence)));
        assert_eq!(ledger.recent(3).iter().map(|m| m.sequence).collect::<Vec<_>>(), [1, 2, 3]);
        (4..=100).for_each(|sequence| ledger.started(mark(sequence)));
        let recent = ledger.recent(100);
        assert_eq!(recent.len(), REMEMBERED);
        assert_eq!((recent[0], recent[15]), (mark(85), mark(100)));
        assert_eq!(ledger.calls(), Calls { started: 100, finished: 0 });
    }

    #[test]
    fn numbers_near_their_end_are_remembered_too() {
        let ledger = Ledger::new();
        (u64::MAX - 20..=u64::MAX)
            .for_each(|sequence| ledger.started(CallMark { sequence, ..mark(1) }));
        assert_eq!(ledger.recent(u64::MAX).len(), REMEMBERED);
    }

    /// No entry is ever a mixture of two calls.
    #[test]
    fn what_is_read_amid_writes_belongs_together() {
        let ledger = Ledger::new();
        std::thread::scope(|scope| {
            scope.spawn(|| (1..200_000).for_each(|sequence| ledger.started(mark(sequence))));
            while ledger.calls().started < 199_999 {
                for seen in ledger.recent(ledger.calls().started) {
                    let expected = mark(seen.sequence);
                    assert_eq!(
                        (seen.tag, seen.kind, seen.count),
                        (expected.tag, expected.kind, expected.count)
                    );
                }
            }
        });
    }
}
