//! Owns starting the ranks of a world as local processes: the meeting they need, what each is told,
//! and the order in which they end.
//!
//! Whatever happens, no rank outlives the launcher: each dies with it (the kernel sees to that),
//! the first to fail ends the others after a moment to report, unless they may go on, and so does a
//! signal.

mod agreed;
mod children;
mod job;
mod played;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};

pub use agreed::{Reasons, named};
use children::{Children, Event};
pub use children::{Ended, Stream, become_rank};
pub use job::{Job, Place, node_name, refuse_empty_nodes};
pub use played::{MOST_RANKS, played};

use crate::exit::Failure;

/// Longer than the ranks take to agree on a verdict (two seconds without one), so that each of
/// them can say what it saw.
const GRACE: Duration = Duration::from_secs(4);
/// From the request to end until there is no more asking.
const TERMINATION: Duration = Duration::from_secs(2);
/// For the last output of a rank that has ended, should a process it left hold on to it.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// From the first failure on, a rank that ends in a worse way is the more likely cause: the peers
/// of a rank that panics or is killed can be gone before it is.
const FIRST_FAILURES: Duration = Duration::from_millis(200);
/// The ranks of a world that ends in order end within less.
const IN_ORDER: Duration = Duration::from_secs(1);

/// Who is told what the ranks write and how they end.
pub trait Sink {
    /// A line of a rank's output, without its end.
    fn line(&mut self, rank: u32, stream: Stream, line: &[u8]) -> Result<(), Failure>;
    /// A rank has ended, and all that it wrote has been passed on.
    fn ended(&mut self, rank: u32, how: Ended, why: Why) -> Result<(), Failure>;
    /// These ranks have ended with exit code 0, and a moment later others still `run`, or have failed.
    fn ended_before_others(&mut self, ranks: &BTreeSet<u32>, run: bool) -> Result<(), Failure>;
    /// When what it holds back is to be told, if it holds anything back.
    fn due(&self) -> Option<Instant> {
        None
    }
    /// Tells what it holds back.
    fn tell(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Who ended a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The rank itself, or somebody else.
    Own,
    /// The launcher, because this rank failed first, and how.
    After(u32, Ended),
    /// The launcher, because a signal said so.
    Signal,
}

/// How a world ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The rank that failed first, as far as can be told, before anyone was told to end.
    pub first_failure: Option<(u32, Ended)>,
    /// The signal that ended it from outside, Ctrl-C for one.
    pub signal: Option<u8>,
}

/// Starts the ranks and waits until all have ended.
pub fn launch(job: &Job, sink: &mut dyn Sink) -> Result<Outcome, Failure> {
    let (mut children, events) = Children::new([SIGINT, SIGTERM])?;
    for (rank, place) in (0..).zip(job.places()) {
        children.start(rank, job.program(), place)?;
    }
    let world = World {
        alive: (0..).zip(job.places()).map(|(rank, _)| rank).collect(),
        children,
        outcome: Outcome::default(),
        failed_at: None,
        ending: None,
        told: false,
        unsaid: BTreeMap::new(),
        early: None,
        keeps_going: job.keeps_going(),
    };
    world.wait(&events, sink)
}

/// What is said of ranks that have ended with exit code 0 while others `run`, or before they failed.
pub fn ended_early(run: bool) -> &'static str {
    match run {
        true => "ended (exit code 0) while others still run",
        false => "ended (exit code 0) before others failed",
    }
}

/// Ranks in words: `0-3, 6`.
pub fn ranges(ranks: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &rank in ranks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => runs.push((rank, rank)),
        }
    }
    let words = runs.into_iter().map(|(first, last)| match first == last {
        true => format!("{first}"),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// How likely it is that such an end is the cause of others: a rank whose peer failed ends with
/// exit code 3, or by its program's own choice, or panics for it; but nobody kills it for that.
fn weight(how: Ended) -> u8 {
    match how {
        Ended::Signal(_) => 3,
        Ended::Code(101) => 2,
        Ended::Code(3) => 0,
        Ended::Code(_) => 1,
    }
}

struct World {
    children: Children,
    alive: BTreeSet<u32>,
    outcome: Outcome,
    /// When the first failure came.
    failed_at: Option<Instant>,
    ending: Option<Ending>,
    /// Whether the ranks that are alive have been told to end.
    told: bool,
    /// Ranks that have ended, whose last output is still to come.
    unsaid: BTreeMap<u32, Unsaid>,
    /// Ranks that have ended in order while others run, and when that becomes worth a word.
    early: Option<(BTreeSet<u32>, Instant)>,
    /// Whether a failure ends nobody else.
    keeps_going: bool,
}

/// The end of a rank, and how long to wait for its last output before telling of it.
struct Unsaid {
    how: Ended,
    why: Why,
    due: Instant,
}

/// The next step against ranks that are still there, and when it is due.
struct Ending {
    signal: Signal,
    due: Instant,
}

impl World {
    fn wait(mut self, events: &Receiver<Event>, sink: &mut dyn Sink) -> Result<Outcome, Failure> {
        while !self.alive.is_empty() || !self.unsaid.is_empty() {
            let due = [self.due(), sink.due()].into_iter().flatten().min();
            if let Some(event) = next(events, due) {
                self.handle(event, sink)?;
            }
            let now = Instant::now();
            if sink.due().is_some_and(|due| due <= now) {
                sink.tell()?;
            }
            self.say_ends(now, sink)?;
            self.say_early_ends(now, sink)?;
            if self.ending.as_ref().is_some_and(|ending| ending.due <= now) {
                self.press_on();
            }
        }
        if let Some((ranks, due)) = &self.early
            && self.led_to_a_failure(*due)
        {
            sink.ended_before_others(ranks, false)?;
        }
        sink.tell()?;
        Ok(self.outcome)
    }

    /// When something is to be done even if nothing happens.
    fn due(&self) -> Option<Instant> {
        let ending = self.ending.as_ref().map(|ending| ending.due);
        let unsaid = self.unsaid.values().map(|unsaid| unsaid.due).min();
        let early = self.early.as_ref().map(|(_, due)| *due);
        [ending, unsaid, early].into_iter().flatten().min()
    }

    fn handle(&mut self, event: Event, sink: &mut dyn Sink) -> Result<(), Failure> {
        match event {
            Event::Line { rank, stream, line } => sink.line(rank, stream, &line)?,
            Event::Closed { rank } => self.children.stream_closed(rank),
            Event::Exited { rank } => {
                let how = self.children.reap(rank)?;
                self.alive.remove(&rank);
                let why = match (self.told, self.outcome.signal, self.outcome.first_failure) {
                    (false, ..) => Why::Own,
                    (true, None, Some((first, how))) => Why::After(first, how),
                    (true, ..) => Why::Signal,
                };
                if why == Why::Own && how != Ended::Code(0) {
                    self.failed(rank, how);
                }
                let due = Instant::now() + LAST_OUTPUT;
                self.unsaid.insert(rank, Unsaid { how, why, due });
            }
            Event::Signal(number) => self.interrupt(number),
        }
        Ok(())
    }

    /// The first failure ends the others, after a moment to report.
    fn failed(&mut self, rank: u32, how: Ended) {
        let now = Instant::now();
        match self.outcome.first_failure {
            None => {
                self.outcome.first_failure = Some((rank, how));
                self.failed_at = Some(now);
                if !self.keeps_going {
                    self.end(Signal::TERM, GRACE);
                }
            }
            Some((_, first)) => {
                let together = self.failed_at.is_some_and(|at| now < at + FIRST_FAILURES);
                if together && weight(how) > weight(first) {
                    self.outcome.first_failure = Some((rank, how));
                }
            }
        }
    }

    /// Tells of the ranks that have ended, once they have said all.
    fn say_ends(&mut self, now: Instant, sink: &mut dyn Sink) -> Result<(), Failure> {
        let silent = |(&rank, unsaid): (&u32, &Unsaid)| {
            (unsaid.due <= now || !self.children.has_open_streams(rank)).then_some(rank)
        };
        let silent: Vec<u32> = self.unsaid.iter().filter_map(silent).collect();
        for rank in silent {
            let Some(Unsaid { how, why, .. }) = self.unsaid.remove(&rank) else { continue };
            sink.ended(rank, how, why)?;
            if how == Ended::Code(0) && why == Why::Own {
                self.early.get_or_insert((BTreeSet::new(), now + IN_ORDER)).0.insert(rank);
            }
        }
        Ok(())
    }

    /// Tells of ranks that others may wait for in vain, or that have left before others failed.
    fn say_early_ends(&mut self, now: Instant, sink: &mut dyn Sink) -> Result<(), Failure> {
        let Some((ranks, due)) = self.early.take_if(|(_, due)| *due <= now) else { return Ok(()) };
        let in_vain = self.ending.is_none() && !self.alive.is_empty();
        match in_vain || self.led_to_a_failure(due) {
            true => sink.ended_before_others(&ranks, in_vain),
            false => Ok(()),
        }
    }

    /// Whether ranks that have ended in order, which is told of when `due`, did so before others failed.
    fn led_to_a_failure(&self, due: Instant) -> bool {
        let before = |failed_at| due < failed_at + FIRST_FAILURES + IN_ORDER;
        self.outcome.signal.is_none() && self.failed_at.is_some_and(before)
    }

    /// Passes a signal on at once; when it comes again, nobody is asked any more.
    fn interrupt(&mut self, number: i32) {
        let again = self.outcome.signal.is_some();
        self.outcome.signal = u8::try_from(number).ok();
        let forwarded = if number == SIGINT { Signal::INT } else { Signal::TERM };
        self.tell(if again { Signal::KILL } else { forwarded });
        self.end(Signal::KILL, TERMINATION);
    }

    fn tell(&mut self, signal: Signal) {
        self.told = true;
        // All at once, or some would live to blame those that were told before them.
        self.children.signal(&self.alive, Signal::STOP);
        self.children.signal(&self.alive, signal);
        self.children.signal(&self.alive, Signal::CONT);
    }

    fn end(&mut self, signal: Signal, after: Duration) {
        self.ending = Some(Ending { signal, due: Instant::now() + after });
    }

    /// The moment is over: asks the rest to end, and the next time does not ask.
    fn press_on(&mut self) {
        if let Some(ending) = self.ending.take() {
            self.tell(ending.signal);
            self.end(Signal::KILL, TERMINATION);
        }
    }
}

/// The next event, or `None` when `due` has come.
fn next(events: &Receiver<Event>, due: Option<Instant>) -> Option<Event> {
    let Some(due) = due else { return events.recv().ok() };
    events.recv_timeout(due.saturating_duration_since(Instant::now())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_named_in_ranges() {
        assert_eq!(ranges(&BTreeSet::from([4])), "4");
        assert_eq!(ranges(&BTreeSet::from([0, 1, 2, 5, 7, 8])), "0-2, 5, 7-8");
    }
}
