//! Owns `crosstie run`: local ranks of any program, and whose output is whose.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use crate::args::{RunArgs, When};
use crate::exit::{Exit, Failure};
use crate::launch::{
    Ended, Job, Outcome, Place, Reasons, Sink, Stream, Why, ended_early, launch, played, ranges,
    refuse_empty_nodes,
};

/// Runs the command.
pub fn run(args: RunArgs) -> Result<Exit, Failure> {
    let RunArgs { ranks, nodes, topo, keep_going, color, program } = args;
    let (ranks, nodes) = match (&topo, ranks) {
        (Some(file), _) => played(file, ranks, nodes, 1)?,
        (None, Some(ranks)) => (ranks, nodes.unwrap_or(1)),
        (None, None) => {
            let remedy = "give -n N (--help has examples)";
            return Err(Failure::usage("how many ranks to start is not said", remedy));
        }
    };
    refuse_empty_nodes(nodes, ranks)?;
    refuse_what_cannot_run(program.first().map_or(OsStr::new(""), |name| name))?;
    let mut job = Job::emulated(ranks, nodes, program)?.keep_going(keep_going);
    if let Some(file) = topo {
        job = job.telling("CROSSTIE_TOPO_FILE", &utf8(&file)?);
    }
    start(&job, color)
}

/// Runs it in a lab, where each rank has its place.
pub fn run_in_lab(args: RunArgs, places: Vec<Place>) -> Result<Exit, Failure> {
    refuse_what_cannot_run(args.program.first().map_or(OsStr::new(""), |name| name))?;
    start(&Job::at(places, args.program).keep_going(args.keep_going), args.color)
}

/// What programs find wherever they change to.
fn utf8(file: &Path) -> Result<String, Failure> {
    let path = file.canonicalize().map_err(|e| Failure::host("find the file of --topo", e))?;
    path.into_os_string().into_string().map_err(|path| {
        let what = format!("--topo: the path {} is not UTF-8", crate::file::shown(path));
        Failure::usage(what, "give the file another name")
    })
}

fn start(job: &Job, color: When) -> Result<Exit, Failure> {
    crate::config::warn_of_what_is_in_vain();
    let mut sink = Prefixed::new(job.places().len(), color, job.keeps_going());
    let outcome = launch(job, &mut sink)?;
    Ok(exit(&outcome))
}

fn exit(outcome: &Outcome) -> Exit {
    match (outcome.signal, outcome.first_failure) {
        (Some(number), _) | (None, Some((_, Ended::Signal(number)))) => Exit::Signal(number),
        (None, Some((_, Ended::Code(code)))) => Exit::Program(code),
        (None, None) => Exit::Good,
    }
}

/// Says once, and before there are ranks, what each of them would say.
fn refuse_what_cannot_run(name: &OsStr) -> Result<(), Failure> {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    let is_path = name.as_encoded_bytes().contains(&b'/');
    let searched = env::var_os("PATH").unwrap_or_default();
    let found = match is_path {
        true => runs(Path::new(name)),
        false => env::split_paths(&searched).any(|folder| runs(&folder.join(name))),
    };
    if found {
        return Ok(());
    }
    let remedy = if is_path {
        "give the path of an executable file"
    } else {
        "give the path of an executable file (./NAME for one in this folder), or a name on PATH"
    };
    let what = match is_path && Path::new(name).exists() {
        true if Path::new(name).is_dir() => format!("{} is a folder", crate::file::shown(name)),
        true => format!("{} is not executable", crate::file::shown(name)),
        false => format!("there is no program {}", crate::file::shown(name)),
    };
    Err(Failure::usage(what, remedy))
}

/// Whether a line is the first of an error's report: it has the error's code, `CT-060: `.
fn begins_report(line: &str) -> bool {
    let code = line.split_once("CT-").and_then(|(_, rest)| rest.split_once(": "));
    code.is_some_and(|(code, _)| code.len() == 3 && code.bytes().all(|it| it.is_ascii_digit()))
}

/// From the first line of a report on, so long may others report the same, to be told of once.
const MERGE: Duration = Duration::from_millis(400);

/// Writes each line with the rank that it comes from; what ranks report alike of their failure, once.
struct Prefixed {
    width: usize,
    output_color: bool,
    error_color: bool,
    /// Whether nothing is held back, because who reports a failure may go on and write more.
    at_once: bool,
    /// What ranks report, as far as they have come.
    reports: BTreeMap<u32, String>,
    /// How ranks have ended that reported, or at the same time as they did.
    ends: Reasons,
    due: Option<Instant>,
}

impl Prefixed {
    fn new(ranks: usize, color: When, at_once: bool) -> Self {
        Self {
            width: (ranks - 1).to_string().len(),
            output_color: crate::args::color(color, io::stdout().is_terminal()),
            error_color: crate::args::color(color, io::stderr().is_terminal()),
            at_once,
            reports: BTreeMap::new(),
            ends: Reasons::default(),
            due: None,
        }
    }

    /// Whether a line is part of a report of an error, and if so keeps it for a moment.
    fn keep(&mut self, rank: u32, line: &[u8]) -> bool {
        let Ok(line) = std::str::from_utf8(line) else { return false };
        if !self.at_once && begins_report(line) && !self.reports.contains_key(&rank) {
            self.reports.insert(rank, line.to_owned());
            self.due.get_or_insert_with(|| Instant::now() + MERGE);
            return true;
        }
        let Some(report) = self.reports.get_mut(&rank).filter(|_| line.starts_with("  ")) else {
            return false;
        };
        *report += &format!("\n{line}");
        true
    }

    /// This rank goes on to write: what it reported comes first.
    fn release(&mut self, rank: u32) -> io::Result<()> {
        let Some(report) = self.reports.remove(&rank) else { return Ok(()) };
        let mut alone = Reasons::default();
        alone.add(rank, &report);
        alone.print_lines(&mut io::stderr().lock(), |ranks| self.prefix_of_all(ranks))
    }

    /// What is before a line that several ranks wrote.
    fn prefix_of_all(&self, ranks: &BTreeSet<u32>) -> String {
        match (ranks.first(), ranks.len()) {
            (Some(&rank), 1) => self.prefix(rank, self.error_color),
            _ => format!("[{}] ", ranges(ranks)),
        }
    }

    fn prefix(&self, rank: u32, color: bool) -> String {
        const COLORS: [AnsiColor; 6] = [
            AnsiColor::Cyan,
            AnsiColor::Green,
            AnsiColor::Yellow,
            AnsiColor::Magenta,
            AnsiColor::Blue,
            AnsiColor::Red,
        ];
        let style = match color {
            true => COLORS[rank as usize % COLORS.len()].on_default(),
            false => Style::new(),
        };
        format!("{style}[{rank:>width$}]{style:#} ", width = self.width)
    }
}

impl Sink for Prefixed {
    fn line(&mut self, rank: u32, stream: Stream, line: &[u8]) -> Result<(), Failure> {
        if stream == Stream::Error && self.keep(rank, line) {
            return Ok(());
        }
        if stream == Stream::Error {
            self.release(rank).map_err(|e| Failure::host("pass on a rank's output", e))?;
        }
        let (mut to, color): (Box<dyn Write>, bool) = match stream {
            Stream::Output => (Box::new(io::stdout().lock()), self.output_color),
            Stream::Error => (Box::new(io::stderr().lock()), self.error_color),
        };
        let written = to
            .write_all(self.prefix(rank, color).as_bytes())
            .and_then(|()| to.write_all(line))
            .and_then(|()| to.write_all(b"\n"))
            .and_then(|()| to.flush());
        written.map_err(|e| Failure::host("pass on a rank's output", e))
    }

    fn ended(&mut self, rank: u32, how: Ended, why: Why) -> Result<(), Failure> {
        let text = match (why, how) {
            (Why::After(first, of), _) => {
                format!("was ended: rank {first} failed first (it {of})")
            }
            (Why::Own, Ended::Code(0)) | (Why::Signal, _) => return Ok(()),
            (Why::Own, _) => how.to_string(),
        };
        self.ends.add(rank, &text);
        self.due.get_or_insert_with(|| Instant::now() + MERGE);
        if self.at_once { self.tell() } else { Ok(()) }
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn tell(&mut self) -> Result<(), Failure> {
        self.due = None;
        let mut reports = Reasons::default();
        for (rank, report) in std::mem::take(&mut self.reports) {
            reports.add(rank, &report);
        }
        let mut error = io::stderr().lock();
        for reasons in [reports, std::mem::take(&mut self.ends)] {
            // Nothing stands in the way when nobody reads it.
            let _ = reasons.print_lines(&mut error, |ranks| self.prefix_of_all(ranks));
        }
        Ok(())
    }

    fn ended_before_others(&mut self, ranks: &BTreeSet<u32>, run: bool) -> Result<(), Failure> {
        self.tell()?;
        let _ = writeln!(io::stderr(), "[{}] {}", ranges(ranks), ended_early(run));
        Ok(())
    }
}
