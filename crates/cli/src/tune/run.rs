//! Owns the measuring: `crosstie bench` once for each world, algorithm and round, and the times that it finds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::{Command, Stdio};

use crosstie::{Algorithm, Collective};
use crosstie_planner::cost::{Entry, Point};
use indicatif::ProgressBar;
use serde::Deserialize;

use super::{Run, World};
use crate::args::TuneArgs;
use crate::bench::progress;
use crate::exit::{Exit, Failure};
use crate::operation::Operation;

/// The best time of each size, ns.
#[derive(Debug, Default)]
pub struct Times(BTreeMap<(World, Collective, Algorithm), BTreeMap<u64, u64>>);

impl Times {
    fn add(&mut self, world: World, collective: Collective, algorithm: Algorithm, point: Point) {
        let times = self.0.entry((world, collective, algorithm)).or_default();
        let best = times.entry(point.bytes).or_insert(point.time_ns);
        *best = point.time_ns.min(*best);
    }

    /// As entries of a table, in order.
    pub fn into_entries(self) -> Vec<Entry> {
        let entry =
            |((world, collective, algorithm), times): ((World, _, _), BTreeMap<u64, u64>)| {
                let points = times.into_iter().map(|(bytes, time_ns)| Point { bytes, time_ns });
                let World { shape, reach } = world;
                Entry { reach, shape, collective, algorithm, points: points.collect() }
            };
        self.0.into_iter().map(entry).collect()
    }
}

/// What of a benchmark's JSON is needed here.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    rows: Vec<Row>,
    error: Option<Told>,
}

#[derive(Deserialize)]
struct Row {
    operation: String,
    bytes: u64,
    out_of_place: Measured,
}

#[derive(Deserialize)]
struct Measured {
    time_us: f64,
    algorithm: Option<String>,
}

#[derive(Deserialize)]
struct Told {
    message: String,
}

/// Measures all, round after round; the exit code of a benchmark that a signal ended.
pub fn measure(args: &TuneArgs, runs: &[Run]) -> Result<Result<Times, Exit>, Failure> {
    let bar = io::stderr().is_terminal().then(progress::bar);
    let of = runs.len() * args.rounds as usize;
    let mut times = Times::default();
    let rounds = (0..args.rounds).flat_map(|_| runs);
    for (done, run) in rounds.enumerate() {
        if let Some(bar) = &bar {
            progress::draw(bar, done, of, &in_words(run));
        }
        let ended = bench(args, run, &mut times);
        if !matches!(ended, Ok(Ok(()))) {
            bar.as_ref().inspect(|bar| bar.finish_and_clear());
        }
        if let Err(exit) = ended? {
            return Ok(Err(exit));
        }
    }
    bar.as_ref().inspect(|bar: &&ProgressBar| bar.finish_and_clear());
    Ok(Ok(times))
}

fn in_words(run: &Run) -> String {
    let World { shape, reach } = run.world;
    format!(
        "{} on {} x {} ranks, {}",
        run.algorithm.name(),
        shape.nodes,
        shape.ranks_per_node,
        reach.name()
    )
}

/// One benchmark, as a command of its own: it starts the ranks, and times the slowest.
fn bench(args: &TuneArgs, run: &Run, times: &mut Times) -> Result<Result<(), Exit>, Failure> {
    let doing = || format!("measure {}", in_words(run));
    let this = std::env::current_exe().map_err(|e| Failure::host("find this program", e))?;
    let output = Command::new(this)
        .args(line(args, run))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::host(doing(), error))?;
    let document: Result<Document, _> = serde_json::from_slice(&output.stdout);
    match (output.status.code(), document) {
        (Some(0), Ok(document)) => note(run, &document, times).map(Ok),
        (Some(code), _) if code > 128 => Ok(Err(Exit::Program(code as u8))),
        // It has said on standard error what it was asked for that cannot be.
        (Some(2), _) => Ok(Err(Exit::Usage)),
        (_, Ok(Document { error: Some(told), .. })) => {
            Err(Failure::host(doing(), io::Error::other(told.message)))
        }
        (_, Ok(_)) => Err(Failure::host(doing(), io::Error::other(output.status.to_string()))),
        (_, Err(error)) => Err(Failure::host(doing(), error.into())),
    }
}

fn line(args: &TuneArgs, run: &Run) -> Vec<OsString> {
    let names: Vec<&str> = run.operations.iter().map(|operation| operation.name).collect();
    let shape = run.world.shape;
    let told = [
        ("--algo", run.algorithm.name().to_owned()),
        ("--ranks", shape.ranks().to_string()),
        ("--nodes", shape.nodes.to_string()),
        ("--transport", run.world.transport().name().to_owned()),
        ("-b", args.min_bytes.to_string()),
        ("-e", args.max_bytes.to_string()),
        ("-f", args.step_factor.to_string()),
        ("--budget-ms", args.budget_ms.to_string()),
        ("--reduction-order", "fast".to_owned()),
    ];
    let flags = told.into_iter().flat_map(|(flag, value)| [OsString::from(flag), value.into()]);
    let words = ["bench".to_owned(), names.join(",")].map(OsString::from);
    words.into_iter().chain(flags).chain(["--out-of-place", "--json"].map(OsString::from)).collect()
}

fn note(run: &Run, document: &Document, times: &mut Times) -> Result<(), Failure> {
    for row in &document.rows {
        let Some(operation) = Operation::named(&row.operation) else { continue };
        if row.out_of_place.algorithm.as_deref().is_some_and(|taken| taken != run.algorithm.name())
        {
            let what =
                format!("{} took another algorithm than {}", row.operation, run.algorithm.name());
            return Err(Failure::host(
                format!("measure {}", in_words(run)),
                io::Error::other(what),
            ));
        }
        // Of less than an element for each rank nothing is left.
        if row.bytes == 0 && operation.carries() {
            continue;
        }
        let time_ns = (row.out_of_place.time_us * 1e3).round().max(1.0) as u64;
        let point = Point { bytes: row.bytes, time_ns };
        times.add(run.world, operation.collective(), run.algorithm, point);
    }
    Ok(())
}
