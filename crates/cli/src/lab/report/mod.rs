//! Owns `crosstie lab report`: every way of travelling measured over sizes on one cluster, held against the
//! cables' limit, with what the devices counted beside what the ranks say.

mod markdown;
mod measure;
mod output;
mod picture;
mod surroundings;
mod variant;
mod verdict;

use std::io::{self, Write};

use crosstie_lab::{Cluster, Description};
use crosstie_planner::explain::bytes;

use crate::args::{ReportArgs, ReportedOperation};
use crate::exit::{Exit, Failure};
use measure::{Measurement, Task};
pub use surroundings::refuse_bending;
use variant::VARIANTS;

/// A line of the report.
pub struct Line {
    pub task: Task,
    pub measured: Measurement,
    /// The least time of a call, where there is a limit.
    pub limit_us: Option<f64>,
    /// Where devices and ranks disagree.
    pub contradictions: Vec<String>,
}

/// Runs the command, in the lab that stands.
pub fn run(args: &ReportArgs, cluster: &Cluster) -> Result<Exit, Failure> {
    let lab = cluster.description();
    let mut out = io::stdout();
    let told = |result: io::Result<()>| result.map_err(|e| Failure::host("print the report", e));
    let environment = crosstie_launch::environment(std::env::vars_os());
    let taken_over = surroundings::taken_over(&environment);
    told(output::begin(&mut out, lab, args.rounds, &taken_over))?;
    let mut lines = Vec::new();
    let (operations, sizes) = (distinct(&args.operations), distinct(&args.sizes));
    for (number, task) in (0..).zip(tasks(&operations, &sizes, args.rounds, lab)) {
        let measured = match task.measure(cluster, number)? {
            Ok(measured) => measured,
            Err(exit) => return Ok(exit), // the benchmark has said why
        };
        let limit_us = verdict::limit_us(&task, lab, &measured);
        let contradictions = verdict::contradictions(&task, lab, &measured);
        let line = Line { task, measured, limit_us, contradictions };
        told(output::line(&mut out, &line))?;
        lines.push(line);
    }
    if let Some(path) = &args.json {
        output::json(path, lab, args.rounds, &lines)?;
    }
    if let Some(path) = &args.svg {
        picture::save(path, lab, &operations, &lines)?;
    }
    if args.markdown {
        told(markdown::print(&mut out, lab, &operations, &lines))?;
    }
    Ok(conclude(&lines))
}

/// Each of them once, in their order.
fn distinct<T: PartialEq + Copy>(all: &[T]) -> Vec<T> {
    let mut found = Vec::new();
    for &one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

/// Ways next to each other, so that a ratio is of times that are close.
fn tasks<'a>(
    operations: &'a [ReportedOperation],
    sizes: &'a [u64],
    least_rounds: u32,
    lab: &'a Description,
) -> impl Iterator<Item = Task> + 'a {
    operations.iter().flat_map(move |&operation| {
        sizes.iter().flat_map(move |&bytes_per_peer| {
            let possible = VARIANTS.iter().filter(|variant| variant.is_possible(lab));
            let rounds = verdict::rounds(operation, lab, bytes_per_peer, least_rounds);
            possible.map(move |variant| Task { operation, variant, bytes_per_peer, rounds })
        })
    })
}

/// Says on standard error what is wrong, if anything is.
fn conclude(lines: &[Line]) -> Exit {
    let mut error = io::stderr().lock();
    let mut exit = Exit::Good;
    for Line { task, measured, contradictions, .. } in lines {
        let (name, size) = (task.operation_name(), bytes(task.bytes_per_peer));
        let wrong = (measured.wrong > 0).then(|| format!("{} elements are wrong", measured.wrong));
        for what in wrong.iter().chain(contradictions) {
            exit = Exit::WrongResult;
            // Nothing stands in the way when nobody reads it.
            let _ =
                writeln!(error, "crosstie: {name}, {size} a peer, {}: {what}", task.variant.name);
        }
    }
    exit
}
