//! Owns starting the ranks of a world as local processes: the meeting they need, what each is told,
//! and the order in which they end.
//!
//! Whatever happens, no rank outlives the launcher: each dies with it (the kernel sees to that),
//! the first to fail ends the others after a moment to report, and so does a signal.

mod children;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crosstie::Meeting;
use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};

use children::{Children, Event};
pub use children::{Ended, Stream, become_rank};

use crate::exit::Failure;

/// Longer than the ranks take to agree on a verdict (two seconds without one), so that each of
/// them can say what it saw.
const GRACE: Duration = Duration::from_secs(4);
/// From the request to end until there is no more asking.
const TERMINATION: Duration = Duration::from_secs(2);
/// For the last output of ranks that have ended, should a process they left hold on to it.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// A world to start: a program, and how many ranks on how many nodes.
#[derive(Debug)]
pub struct Job {
    /// Ranks, at least one.
    pub ranks: u32,
    /// Nodes to emulate, each of consecutive ranks.
    pub nodes: u32,
    /// The program of every rank, and its arguments.
    pub program: Vec<OsString>,
}

/// Who is told what the ranks write and how they end.
pub trait Sink {
    /// A line of a rank's output, without its end.
    fn line(&mut self, rank: u32, stream: Stream, line: &[u8]) -> Result<(), Failure>;
    /// A rank has ended; `told` when the launcher had told it to.
    fn ended(&mut self, rank: u32, how: Ended, told: bool) -> Result<(), Failure>;
}

/// How a world ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The first rank that failed, before anyone was told to end.
    pub first_failure: Option<(u32, Ended)>,
    /// The signal that ended it from outside, Ctrl-C for one.
    pub signal: Option<u8>,
}

/// Starts the ranks and waits until all have ended.
pub fn launch(job: &Job, sink: &mut dyn Sink) -> Result<Outcome, Failure> {
    let (_meeting, id) = Meeting::open()?;
    let id = id.to_string();
    let per_node = ranks_per_node(job.ranks, job.nodes);
    let (mut children, events) = Children::new([SIGINT, SIGTERM])?;
    for rank in 0..job.ranks {
        let told = [
            ("CROSSTIE_RANK", rank.to_string()),
            ("CROSSTIE_SIZE", job.ranks.to_string()),
            ("CROSSTIE_ID", id.clone()),
            ("CROSSTIE_NODE", node_name(rank, per_node)),
        ];
        children.start(rank, &job.program, &told)?;
    }
    let world = World {
        alive: (0..job.ranks).collect(),
        children,
        outcome: Outcome::default(),
        ending: None,
        told: false,
    };
    world.wait(&events, sink)
}

/// Refuses to emulate more nodes than there are ranks to be on them.
pub fn refuse_empty_nodes(nodes: u32, ranks: u32) -> Result<(), Failure> {
    if nodes <= ranks {
        return Ok(());
    }
    Err(Failure::usage(
        format!("--nodes {nodes} needs at least as many ranks, and there are {ranks}"),
        format!("give --nodes {ranks} or less, or start more ranks"),
    ))
}

/// Ranks of a node where consecutive ranks share one: the last node may have fewer.
pub fn ranks_per_node(ranks: u32, nodes: u32) -> u32 {
    ranks.div_ceil(nodes.max(1)).max(1)
}

/// The name of the emulated node that `rank` is on.
pub fn node_name(rank: u32, per_node: u32) -> String {
    format!("emulated-{}", rank / per_node)
}

struct World {
    children: Children,
    alive: BTreeSet<u32>,
    outcome: Outcome,
    ending: Option<Ending>,
    /// Whether the ranks that are alive have been told to end.
    told: bool,
}

/// The next step against ranks that are still there, and when it is due.
struct Ending {
    signal: Signal,
    due: Instant,
}

impl World {
    fn wait(mut self, events: &Receiver<Event>, sink: &mut dyn Sink) -> Result<Outcome, Failure> {
        let mut last_output = None;
        while !self.alive.is_empty() || self.children.open_streams() > 0 {
            if self.alive.is_empty() && last_output.is_none() {
                last_output = Some(Instant::now() + LAST_OUTPUT);
            }
            let due = self.ending.as_ref().map(|ending| ending.due);
            match next(events, last_output.or(due)) {
                Some(event) => self.handle(event, sink)?,
                None if last_output.is_some() => break,
                None => self.press_on(),
            }
        }
        Ok(self.outcome)
    }

    fn handle(&mut self, event: Event, sink: &mut dyn Sink) -> Result<(), Failure> {
        match event {
            Event::Line { rank, stream, line } => sink.line(rank, stream, &line)?,
            Event::Closed => self.children.stream_closed(),
            Event::Exited { rank } => {
                let how = self.children.reap(rank)?;
                self.alive.remove(&rank);
                if how != Ended::Code(0) && self.ending.is_none() {
                    self.outcome.first_failure = Some((rank, how));
                    self.end(Signal::TERM, GRACE);
                }
                sink.ended(rank, how, self.told)?;
            }
            Event::Signal(number) => self.interrupt(number),
        }
        Ok(())
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
        self.children.signal(&self.alive, signal);
        self.children.signal(&self.alive, Signal::CONT); // a stopped rank acts on nothing before it
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
