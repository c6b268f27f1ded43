//! Owns the benchmark of a world that this command starts by itself: as processes, or for loopback
//! as threads.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;

use crosstie::Threads;
use crosstie_topo::{Severity, lint};
use indicatif::ProgressBar;

use super::{effect, progress, rank, refuse_impossible_nodes, refuse_too_large, report, settings};
use crate::args::{BenchArgs, TransportArg};
use crate::events::{self, Event};
use crate::exit::{Exit, Failure, Summary};
use crate::json::print_failure;
use crate::launch::{
    Ended, Job, Outcome, Reasons, Sink, Stream, Why, ended_early, launch, named, played,
};
use crate::topo::machine::Machine;

const DEFAULT_RANKS: u32 = 8;
/// Two, so that both shared memory and TCP carry bytes.
const DEFAULT_NODES: u32 = 2;
/// Different lines that ranks may write to standard error before we stop telling equal ones apart.
const REMEMBERED_LINES: usize = 1000;

/// Starts the ranks and runs the benchmark on them.
pub fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let default_nodes = match args.transport {
        TransportArg::Auto | TransportArg::Tcp | TransportArg::Verbs => DEFAULT_NODES,
        TransportArg::Shm | TransportArg::Loopback => 1,
    };
    let (ranks, nodes) = match &args.settings.topo {
        Some(file) => {
            let size = played(file, args.ranks, args.nodes, default_nodes)?;
            warn_of_errors(file);
            size
        }
        None => {
            let ranks = args.ranks.unwrap_or(DEFAULT_RANKS);
            (ranks, args.nodes.unwrap_or(default_nodes.min(ranks)))
        }
    };
    refuse_impossible_nodes(args, ranks)?;
    refuse_too_large(args, ranks)?;
    effect::warn_of_none(args, Some(nodes));
    if args.transport == TransportArg::Loopback {
        return threads(args, ranks, nodes);
    }
    let line: Vec<OsString> = std::env::args_os().skip(1).collect();
    let job = |program| Job::emulated(ranks, nodes, program);
    processes(args, &line, job, Box::new(io::stdout()))
}

/// Says that a description contradicts itself: what is measured then is of a machine that is not there.
fn warn_of_errors(file: &Path) {
    let machine = Machine::of_file(file);
    let findings = machine.map(|machine| lint(&machine.topology)).unwrap_or_default();
    let count = findings.iter().filter(|found| found.severity == Severity::Error).count();
    if count > 0 {
        let s = if count == 1 { "" } else { "s" };
        // Nobody reads it: the results are whole.
        let _ = writeln!(
            io::stderr(),
            "crosstie: {count} error{s} by `crosstie topo lint {}`",
            crate::file::shown(file)
        );
    }
}

/// One thread for each rank: nothing but memory between them.
fn threads(args: &BenchArgs, ranks: u32, nodes: u32) -> Result<Exit, Failure> {
    let report = Mutex::new(Some(report(args, true)));
    let world = Threads::new(ranks).nodes(nodes).settings(settings(args));
    let exits = world.run(|comm| {
        let mut report = match comm.rank() {
            0 => report.lock().ok().and_then(|mut report| report.take()),
            _ => None,
        };
        let report = report.as_mut().map(|report| report.as_mut() as &mut dyn super::Report);
        Ok(rank::run(args, comm, ranks, report))
    })?;
    let exits: Vec<Exit> = exits.into_iter().collect::<Result<_, _>>()?;
    Ok(exits.into_iter().max_by_key(|exit| exit.code()).unwrap_or(Exit::Good))
}

/// One process for each rank: this program with the command line that `args` were read from, told who it
/// is by the environment. What rank 0 prints goes to `out`.
pub fn processes(
    args: &BenchArgs,
    line: &[OsString],
    job: impl FnOnce(Vec<OsString>) -> Result<Job, Failure>,
    out: Box<dyn Write + '_>,
) -> Result<Exit, Failure> {
    let this = std::env::current_exe().map_err(|e| Failure::host("find this program", e))?;
    let color =
        if crate::args::color(args.color, io::stdout().is_terminal()) { "always" } else { "never" };
    let program: Vec<OsString> = [this.into_os_string()]
        .into_iter()
        .chain(line.iter().cloned())
        .chain(["--events", "--color", color].map(OsString::from))
        .collect();
    let bar = io::stderr().is_terminal().then(progress::bar);
    let mut listener = Listener {
        out,
        bar,
        failures: Reasons::default(),
        seen: BTreeSet::new(),
        summaries: Vec::new(),
        printed: false,
        judged: false,
    };
    let outcome = launch(&job(program)?, &mut listener)?;
    listener.conclude(&outcome);
    if let Some(summary) = listener.summary(&outcome).filter(|_| args.json) {
        print_failure(&mut listener.out, &summary)?;
    }
    Ok(exit(&outcome))
}

fn exit(outcome: &Outcome) -> Exit {
    match (outcome.signal, outcome.first_failure) {
        (Some(number), _) => Exit::Signal(number),
        (None, None) => Exit::Good,
        (None, Some((_, Ended::Signal(_)))) => Exit::Peer,
        (None, Some((_, Ended::Code(code)))) => Exit::Program(code),
    }
}

/// Passes on what the ranks say, the same thing once: they mostly share one verdict.
struct Listener<'a> {
    out: Box<dyn Write + 'a>,
    bar: Option<ProgressBar>,
    /// What was said about the end, by whom.
    failures: Reasons,
    seen: BTreeSet<Vec<u8>>,
    /// The same for machines, in the order in which it came.
    summaries: Vec<(u32, Summary)>,
    /// Whether there was any output.
    printed: bool,
    /// Whether a rank has come to the end, and found a result wrong or too slow.
    judged: bool,
}

impl Listener<'_> {
    fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn event(&mut self, rank: u32, event: Event) {
        match (event, &self.bar) {
            (Event::Progress { done, of, text }, Some(bar)) => progress::draw(bar, done, of, &text),
            (Event::Progress { .. }, None) => {}
            (Event::Failure { text, summary }, _) => {
                self.failures.add(rank, &text);
                self.summaries.push((rank, summary));
            }
        }
    }

    fn warning(&mut self, rank: u32, line: &[u8]) -> io::Result<()> {
        if self.seen.len() < REMEMBERED_LINES && !self.seen.insert(line.to_vec()) {
            return Ok(());
        }
        self.aside(|| {
            let mut error = io::stderr().lock();
            write!(error, "[rank {rank}] ")?;
            error.write_all(line)?;
            error.write_all(b"\n")
        })
    }

    /// What to tell machines of a benchmark that failed without a result: in the words of the rank
    /// that failed first, or if it said none, of the first that did.
    fn summary(&self, outcome: &Outcome) -> Option<Summary> {
        let (first, how) = outcome.first_failure?;
        if self.printed || outcome.signal.is_some() {
            return None;
        }
        let said = self.summaries.iter().find(|(rank, _)| *rank == first);
        let said = said.or(self.summaries.first()).map(|(rank, summary)| Summary {
            rank: summary.rank.or(Some(*rank)),
            ..summary.clone()
        });
        Some(said.unwrap_or_else(|| Summary {
            code: None,
            message: format!("rank {first} {how}"),
            rank: None,
            culprit: Some(first),
        }))
    }

    /// Every rank has ended: prints each reason once, with the ranks that gave it.
    fn conclude(&mut self, outcome: &Outcome) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if outcome.signal.is_some() {
            return; // the ranks ended because they were told to
        }
        let _ = self.failures.print(&mut io::stderr().lock());
    }
}

impl Sink for Listener<'_> {
    fn line(&mut self, rank: u32, stream: Stream, line: &[u8]) -> Result<(), Failure> {
        if let Some(event) = events::parse(line).filter(|_| stream == Stream::Error) {
            self.event(rank, event);
            return Ok(());
        }
        if stream == Stream::Error {
            return self.warning(rank, line).map_err(|e| Failure::host("write a warning", e));
        }
        self.printed = true;
        let output = &mut self.out;
        let mut print = || {
            output.write_all(line)?;
            output.write_all(b"\n")?;
            output.flush()
        };
        let written = match &self.bar {
            Some(bar) => progress::beside(bar, print),
            None => print(),
        };
        written.map_err(|e| Failure::host("write the result", e))
    }

    fn ended(&mut self, rank: u32, how: Ended, why: Why) -> Result<(), Failure> {
        self.judged |= how == Ended::Code(Exit::WrongResult.code());
        let spoke = self.failures.has(rank);
        match (why, how) {
            (Why::After(..) | Why::Signal, _) if spoke => {}
            (Why::After(first, of), _) => {
                let cause = format!("rank {first} failed first (it {of})");
                let text = format!("this rank gave no sign and was ended: {cause}");
                self.failures.add(rank, &text);
            }
            (Why::Own, Ended::Signal(_)) => self.failures.add(rank, &format!("this rank {how}")),
            (Why::Own, Ended::Code(_)) | (Why::Signal, _) => {}
        }
        Ok(())
    }

    fn ended_before_others(&mut self, ranks: &BTreeSet<u32>, run: bool) -> Result<(), Failure> {
        if self.judged {
            return Ok(()); // all have come to the end, and only rank 0 judges
        }
        let text = format!("[{}] {}", named(ranks), ended_early(run));
        let _ = self.aside(|| writeln!(io::stderr(), "{text}"));
        Ok(())
    }
}
