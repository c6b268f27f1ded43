//! Owns when a wire that several ranks share sends what it has: at once, or together with what is about to
//! come.
//!
//! A wire message costs microseconds whatever it holds, so a relay waits for messages of which it knows: a
//! sender says with its data how many messages its node will send on the wire in this operation. It never
//! waits longer than a bound, and never where nothing is expected (rules G1–G3 of the protocol).
//!
//! Ranks are never all in the same operation. A rank that is ahead waits for the others' messages of *its*
//! operation, which they send once they have all of the one before; so the last message of the one before
//! must not wait for those who have sent theirs. What is expected is counted for each operation, by its tag.

use std::time::{Duration, Instant};

use super::frame::{MOST_RECORDS, PIECE_BYTES};
use super::out_end::OutEnd;
use crate::seam::{Expect, Flushes};

/// How messages that share a wire are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregation {
    /// Messages in one wire message, 1 to 8 at most; 1: none are put together.
    pub most: u8,
    /// How long a message waits for others.
    pub flush: Flush,
}

impl Default for Aggregation {
    fn default() -> Self {
        Self { most: MOST_RECORDS as u8, flush: Flush::Auto }
    }
}

/// How long a message waits for others that may leave with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// For those that were named, 1 ms at most; for those that are likely, as long as the wire's link says.
    Auto,
    /// For all that were named or are likely, 10 ms at most.
    Full,
    /// So long, whether others were named or not.
    After(Duration),
}

/// The receiver needs all that were named to end its operation, so waiting for them costs little. A bound that
/// passes before each rank had its turn of the cores, or before each has what the network brings it last, costs
/// more: who leaves alone makes its receiver early, and so the next groups are torn, too.
///
/// Measured by turns with 100 µs and with 1 ms, `crosstie bench all_to_all --nodes 2 --pxn on`, medians of 5.
/// `--ranks 16`, 64 KiB to each peer: 1288 and 796 µs, 27.2 and 16.0 wire messages; 1 KiB: 352 and 262 µs, 25.9
/// and 16.0. `--ranks 8`, 16 KiB: 218 and 181 µs, 8.7 and 8.0. `crosstie lab` of 2 nodes of 4, 4 KiB: 690 µs
/// each, 16.5 and 8.0 wire messages.
const NAMED: Duration = Duration::from_millis(1);
/// Not for ever: where there are more wires than slots, ranks could fill those of different wires.
const PATIENT: Duration = Duration::from_millis(10);

/// What a sender says of the messages that leave its node on the same wire in this operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hint {
    pub expect: Expect,
    /// Messages, its own among them.
    pub messages: u16,
}

impl Hint {
    pub const NOTHING: Self = Self { expect: Expect::Nothing, messages: 0 };

    pub fn encode(self) -> u32 {
        let expect = match self.expect {
            Expect::Nothing => return 0,
            Expect::Perhaps => 1,
            Expect::All => 2,
        };
        expect << 16 | u32::from(self.messages)
    }

    pub fn decode(word: u32) -> Self {
        let expect = match word >> 16 {
            1 => Expect::Perhaps,
            2 => Expect::All,
            _ => return Self::NOTHING,
        };
        Self { expect, messages: word as u16 }
    }
}

/// What a wire waits for.
pub(super) struct Holding {
    aggregation: Aggregation,
    /// How long a message waits for those that are likely.
    likely: Duration,
    /// Ranks that share the wire.
    sources: u16,
    /// Pieces that one of them can have here; with so many it waits for this wire.
    quota: usize,
    /// Messages of the last few operations that have left: (tag, how many).
    left: [(u32, u16); OPERATIONS],
    /// Since when a piece has been ready.
    since: Option<Instant>,
    /// When what is held must go.
    until: Option<Instant>,
}

/// Operations that a wire tells apart: the present one, those of ranks ahead and behind, and one more.
const OPERATIONS: usize = 4;

/// What is known of the messages of one operation.
#[derive(Clone, Copy)]
struct Share {
    tag: u32,
    ready: usize,
    expected: usize,
}

/// Why a group was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Full,
    Complete,
    Alone,
    Aged,
    Pressed,
}

impl Why {
    pub fn count(self, flushes: &mut Flushes) {
        *match self {
            Self::Full => &mut flushes.full,
            Self::Complete => &mut flushes.complete,
            Self::Alone => &mut flushes.alone,
            Self::Aged => &mut flushes.aged,
            Self::Pressed => &mut flushes.pressed,
        } += 1;
    }
}

impl Holding {
    fn new(aggregation: Aggregation, (sources, likely): (usize, Duration), quota: u32) -> Self {
        let most = aggregation.most.clamp(1, MOST_RECORDS as u8);
        Self {
            aggregation: Aggregation { most, ..aggregation },
            likely,
            sources: sources.try_into().unwrap_or(u16::MAX),
            quota: quota as usize,
            left: [(0, 0); OPERATIONS],
            since: None,
            until: None,
        }
    }

    /// What makes it for the wires of a rank, each of so many sources, which wait so long for those that are likely.
    pub fn for_wires(
        aggregation: Aggregation,
        quota: u32,
    ) -> impl Fn((usize, Duration)) -> Self + Copy {
        move |wire| Self::new(aggregation, wire, quota)
    }

    /// Messages in one wire message, at most.
    pub fn most(&self) -> usize {
        usize::from(self.aggregation.most)
    }

    /// What this rank's own messages say of the others.
    pub fn hint(&self, expect: Expect) -> Hint {
        Hint { expect, messages: self.sources }
    }

    /// How long what is held may still wait.
    pub fn due(&self) -> Option<Duration> {
        self.since?;
        let until = self.until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Whether something is held.
    pub fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// Whether what is ready is to go, and why; nothing may be.
    pub fn closes(&mut self, ends: &[OutEnd], own: Expect) -> Option<Why> {
        let mut stays = false;
        let why = self.reason(ends, own, &mut stays);
        if why.is_some() {
            // What stays behind has waited already: it does not begin to wait anew (I11).
            self.since = self.since.filter(|_| stays);
            self.until = None;
        }
        why
    }

    /// `stays` tells whether one group has no room for all that is ready.
    fn reason(&mut self, ends: &[OutEnd], own: Expect, stays: &mut bool) -> Option<Why> {
        let (mut ready, mut bytes, mut bound, mut pressed) = (0, 0, Duration::ZERO, false);
        let mut shares = Shares::default();
        for end in ends.iter().filter(|end| end.ready()) {
            // The receiver may wait to hear of a message: that goes at once.
            if end.is_notice() {
                return Some(Why::Alone);
            }
            ready += 1;
            bytes += end.next_len();
            let hint = match end {
                OutEnd::Own(_) => self.hint(own),
                OutEnd::Carried(end) => {
                    pressed |= end.waiting() >= self.quota;
                    end.hint()
                }
            };
            let (messages, longest) = self.wait_for(hint);
            shares.add(end.next_tag(), messages);
            bound = bound.max(longest);
        }
        *stays = ready > self.most() || bytes > PIECE_BYTES;
        let is_complete = |share: &Share| {
            let left = self.left.iter().find(|(tag, _)| *tag == share.tag).map_or(0, |left| left.1);
            share.ready + usize::from(left) % share.expected.max(1) >= share.expected
        };
        match () {
            () if ready == 0 => {
                (self.since, self.until) = (None, None);
                None
            }
            () if ready >= self.most() || bytes >= PIECE_BYTES => Some(Why::Full),
            () if shares.all().iter().all(|share| share.expected <= 1) => Some(Why::Alone),
            () if shares.all().iter().any(is_complete) => Some(Why::Complete),
            () if pressed => Some(Why::Pressed),
            () => {
                let now = Instant::now();
                let since = *self.since.get_or_insert(now);
                // A bound beyond the clock's range is none.
                self.until = since.checked_add(bound);
                self.until.is_some_and(|until| now >= until).then_some(Why::Aged)
            }
        }
    }

    /// Counts a message that has left.
    pub fn count(&mut self, tag: u32) {
        if let Some(left) = self.left.iter_mut().find(|(of, _)| *of == tag) {
            left.1 = left.1.wrapping_add(1);
            return;
        }
        self.left.rotate_right(1);
        self.left[0] = (tag, 1);
    }

    /// For how many messages, and how long, one with this hint waits.
    fn wait_for(&self, hint: Hint) -> (usize, Duration) {
        let messages = usize::from(hint.messages);
        match (self.aggregation.flush, hint.expect) {
            (Flush::After(bound), _) => (usize::from(self.sources), bound),
            (_, Expect::Nothing) => (0, Duration::ZERO),
            (Flush::Full, _) => (messages, PATIENT),
            (Flush::Auto, Expect::Perhaps) => (messages, self.likely),
            (Flush::Auto, Expect::All) => (messages, NAMED),
        }
    }
}

/// What is ready, by operation.
struct Shares {
    shares: [Share; OPERATIONS],
    count: usize,
}

impl Default for Shares {
    fn default() -> Self {
        Self { shares: [Share { tag: 0, ready: 0, expected: 0 }; OPERATIONS], count: 0 }
    }
}

impl Shares {
    /// Counts a message; one of an operation beyond those that are told apart as one of the last.
    fn add(&mut self, tag: u32, expected: usize) {
        let known = self.all().iter().position(|share| share.tag == tag);
        let place = known.unwrap_or(self.count.min(OPERATIONS - 1));
        if place == self.count {
            self.shares[place] = Share { tag, ready: 0, expected: 0 };
            self.count += 1;
        }
        let share = &mut self.shares[place];
        share.ready += 1;
        share.expected = share.expected.max(expected);
    }

    fn all(&self) -> &[Share] {
        &self.shares[..self.count]
    }
}
