//! Owns the two clocks of a rank's call under way: how long it waits for others, and how long nothing has moved.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::Calls;

/// A call that takes long, told to the hub, which knows how far the others are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Suspicion {
    /// The call.
    pub sequence: u64,
    /// How long it has been under way, and how long nothing has moved, in milliseconds.
    pub age_ms: u64,
    pub quiet_ms: u64,
    /// Whether the patience with ranks that have not started the call is over.
    pub arrival_over: bool,
    /// Whether the patience with a call that does not move is over; and that patience, in milliseconds.
    pub stall_over: bool,
    pub stall_ms: u64,
    /// Whether it is time to compare the calls, should all have made them: ranks whose calls differ may wait for each
    /// other, or have no message for each other.
    pub doubts: bool,
    /// Whether the call is one of messages between pairs: then `sequence` is that of the last other one.
    #[serde(default)]
    pub in_messages: bool,
}

/// How far an application is, as its monitor last saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pace {
    pub calls: Calls,
    /// Of messages between pairs, in which only some ranks take part.
    pub messages: Calls,
    /// Counts up whenever the call under way moves.
    pub moves: u64,
}

/// How patient a rank is with its calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Patience {
    pub arrival: Duration,
    pub stall: Duration,
    /// After this time late ranks are named in a warning.
    pub warning: Duration,
}

impl Patience {
    /// How often the application is to be looked at, so that no clock is wrong by more than a quarter.
    pub(super) fn look_every(&self) -> Duration {
        self.arrival.min(self.stall).min(self.warning) / 4
    }
}

/// The clocks. They run in steps: the monitor looks at its application now and then, which costs the latter nothing.
pub(super) struct Clock {
    patience: Patience,
    pace: Pace,
    since: Duration,
    moved: Duration,
    /// When the hub is asked next.
    ask: Duration,
    warned: bool,
    compared: bool,
}

impl Clock {
    pub(super) fn new(patience: Patience) -> Clock {
        let zero = Duration::ZERO;
        Clock {
            patience,
            pace: Pace::default(),
            since: zero,
            moved: zero,
            ask: zero,
            warned: false,
            compared: false,
        }
    }

    pub(super) fn calls(&self) -> Calls {
        self.pace.calls
    }

    /// Whether a call of messages is under way.
    pub(super) fn is_in_messages(&self) -> bool {
        self.pace.messages.is_under_way()
    }

    /// How long the application has been in its call or out of one, and how long nothing has moved.
    pub(super) fn elapsed(&self, now: Duration) -> (Duration, Duration) {
        (now.saturating_sub(self.since), now.saturating_sub(self.moved))
    }

    /// Notes how far the application is.
    pub(super) fn note(&mut self, now: Duration, pace: Pace) {
        if (pace.calls, pace.messages) != (self.pace.calls, self.pace.messages) {
            self.since = now;
            self.ask = now;
            (self.warned, self.compared) = (false, false);
        }
        if pace != self.pace {
            self.moved = now;
        }
        self.pace = pace;
    }

    /// The process, or its host, was held up: what its peers sent meanwhile has yet to be looked at.
    pub(super) fn forgive(&mut self, now: Duration) {
        self.moved = now;
    }

    /// What the hub is to be asked now, if anything.
    pub(super) fn suspicion(&mut self, now: Duration) -> Option<Suspicion> {
        let in_messages = self.is_in_messages();
        if !(self.pace.calls.is_under_way() || in_messages) || now < self.ask {
            return None;
        }
        let (age, quiet) = self.elapsed(now);
        // Before the deadline of messages, which names whom a rank waits for: in a circle nobody is to blame.
        let stall = match in_messages {
            true => self.patience.stall.min(self.patience.arrival / 4),
            false => self.patience.stall,
        };
        let stall_over = quiet >= stall;
        // Who takes no part in messages has nothing to arrive at, or to compare.
        let arrival_over = !in_messages && age >= self.patience.arrival;
        let doubts = !in_messages && !self.compared && quiet >= self.doubt();
        let warning_due = !in_messages && self.warning_due(now);
        if !(arrival_over || stall_over || doubts || warning_due) {
            return None;
        }
        let pause = self.patience.look_every().clamp(ASK_EVERY.0, ASK_EVERY.1);
        self.ask = now + if doubts { pause.min(DOUBT) } else { pause };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(Suspicion {
            sequence: self.pace.calls.started,
            age_ms: ms(age),
            quiet_ms: ms(quiet),
            arrival_over,
            stall_over,
            stall_ms: ms(stall),
            doubts,
            in_messages,
        })
    }

    /// After how long without a move the calls are compared, once.
    fn doubt(&self) -> Duration {
        DOUBT.min(self.patience.stall)
    }

    /// The calls of all ranks have been compared, or cannot be told apart.
    pub(super) fn compared(&mut self, sequence: u64) {
        self.compared |= sequence == self.pace.calls.started;
    }

    /// When a suspicion may become due, if a call is under way.
    pub(super) fn next(&self) -> Option<Duration> {
        let Patience { arrival, stall, warning } = self.patience;
        if self.is_in_messages() {
            return Some((self.moved + stall).max(self.ask));
        }
        let is_in_call = self.pace.calls.started > self.pace.calls.finished;
        let warning = if self.warned { arrival } else { warning };
        let stall = if self.compared { stall } else { self.doubt() };
        let due = (self.since + arrival.min(warning)).min(self.moved + stall);
        is_in_call.then_some(due.max(self.ask))
    }

    fn warning_due(&self, now: Duration) -> bool {
        !self.warned && self.elapsed(now).0 >= self.patience.warning
    }

    /// Whether the application should be warned now that others are late for the call `sequence`; once a call.
    pub(super) fn warns(&mut self, now: Duration, sequence: u64) -> bool {
        let due = sequence == self.pace.calls.started && self.warning_due(now);
        self.warned |= due;
        due
    }
}

/// Long for a call that moves nothing, short for people who wait to be told of a mistake.
const DOUBT: Duration = Duration::from_secs(1);

/// How soon the hub is asked again, at least and at most.
const ASK_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const PATIENCE: Patience = Patience { arrival: s(1800), stall: s(30), warning: s(30) };

    fn pace(started: u64, finished: u64, moves: u64) -> Pace {
        Pace { calls: Calls { started, finished }, moves, ..Pace::default() }
    }

    /// The first suspicion of a call that moves as `moves` says, looked at each second.
    fn first(seconds: u64, moves: impl Fn(u64) -> u64) -> Option<(u64, Suspicion)> {
        let mut clock = Clock::new(PATIENCE);
        (1..seconds).find_map(|now| {
            clock.note(s(now), pace(5, 4, moves(now)));
            // A warning is no suspicion of a stall, nor is a comparison.
            clock.warned = true;
            clock.compared = true;
            clock.suspicion(s(now)).map(|suspicion| (now, suspicion))
        })
    }

    #[test]
    fn a_call_that_moves_now_and_then_meets_no_stall_clock() {
        let (when, suspicion) = first(4000, |now| now / 25).unwrap();
        assert!(when > 1800 && suspicion.arrival_over && !suspicion.stall_over, "{suspicion:?}");
    }

    #[test]
    fn a_call_that_does_not_move_is_suspected_after_its_patience() {
        let (when, suspicion) = first(100, |_| 0).unwrap();
        assert_eq!(when, 31);
        assert!(suspicion.stall_over && !suspicion.arrival_over);
    }

    #[test]
    fn messages_that_do_not_move_meet_the_stall_clock_alone() {
        let mut clock = Clock::new(PATIENCE);
        let messages = Calls { started: 3, finished: 2 };
        clock.note(s(5), Pace { messages, ..pace(4, 4, 9) });
        assert_eq!((clock.suspicion(s(34)), clock.next()), (None, Some(s(35))));
        let suspicion = clock.suspicion(s(35)).unwrap();
        assert!(suspicion.in_messages && suspicion.stall_over && !suspicion.doubts);
        assert!(!clock.suspicion(s(4000)).unwrap().arrival_over);
    }

    #[test]
    fn no_call_no_clock() {
        let mut clock = Clock::new(PATIENCE);
        clock.note(s(1), pace(4, 4, 9));
        assert_eq!((clock.suspicion(s(4000)), clock.next()), (None, None));
    }

    #[test]
    fn late_ranks_are_warned_of_once_a_call() {
        let mut clock = Clock::new(PATIENCE);
        clock.note(s(0), pace(1, 0, 0));
        assert!(!clock.warns(s(29), 1));
        assert!(
            clock.suspicion(s(30)).is_some() && clock.warns(s(30), 1) && !clock.warns(s(40), 1)
        );
        clock.note(s(50), pace(2, 1, 0));
        assert!(!clock.warns(s(60), 2) && !clock.warns(s(80), 1) && clock.warns(s(80), 2));
    }
}
