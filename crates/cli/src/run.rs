//! Owns `crosstie run`: local ranks of any program, and whose output is whose.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use crate::args::{RunArgs, When};
use crate::exit::{Exit, Failure};
use crate::launch::{
    Ended, Job, Outcome, Place, Sink, Stream, Why, launch, ranges, refuse_empty_nodes,
};

/// Runs the command.
pub fn run(args: RunArgs) -> Result<Exit, Failure> {
    let RunArgs { ranks, nodes, color, program } = args;
    let ranks = ranks.ok_or_else(|| {
        Failure::usage("how many ranks to start is not said", "give -n N (--help has examples)")
    })?;
    let nodes = nodes.unwrap_or(1);
    refuse_empty_nodes(nodes, ranks)?;
    refuse_what_cannot_run(program.first().map_or(OsStr::new(""), |name| name))?;
    start(&Job::emulated(ranks, nodes, program)?, color)
}

/// Runs it in a lab, where each rank has its place.
pub fn run_in_lab(args: RunArgs, places: Vec<Place>) -> Result<Exit, Failure> {
    refuse_what_cannot_run(args.program.first().map_or(OsStr::new(""), |name| name))?;
    start(&Job::at(places, args.program), args.color)
}

fn start(job: &Job, color: When) -> Result<Exit, Failure> {
    let outcome = launch(job, &mut Prefixed::new(job.places().len(), color))?;
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
    Err(Failure::usage(format!("there is no program {}", name.display()), remedy))
}

/// Writes each line with the rank that it comes from.
struct Prefixed {
    width: usize,
    output_color: bool,
    error_color: bool,
}

impl Prefixed {
    fn new(ranks: usize, color: When) -> Self {
        Self {
            width: (ranks - 1).to_string().len(),
            output_color: crate::color(color, io::stdout().is_terminal()),
            error_color: crate::color(color, io::stderr().is_terminal()),
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
        let prefix = self.prefix(rank, self.error_color);
        // Nothing stands in the way when nobody reads it.
        let _ = match (why, how) {
            (Why::After(first), _) => {
                writeln!(io::stderr(), "{prefix}was ended: rank {first} failed first")
            }
            (Why::Own, Ended::Code(0)) | (Why::Signal, _) => Ok(()),
            (Why::Own, _) => writeln!(io::stderr(), "{prefix}{how}"),
        };
        Ok(())
    }

    fn ended_before_others(&mut self, ranks: &BTreeSet<u32>) -> Result<(), Failure> {
        let ranks = ranges(ranks);
        let _ = writeln!(io::stderr(), "[{ranks}] ended (exit code 0) while others still run");
        Ok(())
    }
}
