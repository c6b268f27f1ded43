//! Owns `crosstie tune`: which worlds are measured, the table that comes of it, and what is told.

mod report;
mod run;
mod written;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crosstie::Algorithm;
use crosstie_launch::{Explicit, Launcher, identify};
use crosstie_planner::cost::{Provenance, Shape, Tune};
use crosstie_planner::{Nodes, Reach};

use crate::args::{TuneArgs, TunedTransport};
use crate::bench::sizes;
use crate::exit::{Exit, Failure};
use crate::operation::{self, Kind, Operation};

/// A world to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    shape: Shape,
    reach: Reach,
}

impl World {
    fn nodes(&self) -> Option<Nodes> {
        let ranks = u32::try_from(self.shape.ranks()).ok()?;
        Nodes::new((0..ranks).map(|rank| rank / self.shape.ranks_per_node).collect()).ok()
    }

    fn transport(&self) -> TunedTransport {
        if self.reach == Reach::Network { TunedTransport::Tcp } else { TunedTransport::Auto }
    }
}

/// One benchmark: of the operations that have an algorithm, in a world.
struct Run {
    world: World,
    algorithm: Algorithm,
    operations: Vec<&'static Operation>,
}

/// Runs the command.
pub fn run(args: &TuneArgs) -> Result<Exit, Failure> {
    refuse_launchers()?;
    sizes::refuse_reversed(args.min_bytes, args.max_bytes)?;
    let operations = operations(args)?;
    let worlds = worlds(args)?;
    let file = args.out.as_deref().map(target).transpose()?;
    let runs = runs(&worlds, &operations);
    let times = match run::measure(args, &runs)? {
        Ok(times) => times,
        Err(exit) => return Ok(exit),
    };
    let table = Tune { provenance: provenance(args), entries: times.into_entries() };
    if let Some(file) = &file {
        written::replace(file, table.to_json().as_bytes())
            .map_err(|error| Failure::host(format!("write {}", crate::file::shown(file)), error))?;
    }
    let color = crate::args::color(args.color, io::stdout().is_terminal());
    let mut out = io::stdout().lock();
    let told = out.write_all(report::text(&table, color).as_bytes()).and_then(|()| out.flush());
    told.map_err(|error| Failure::host("write the result", error))?;
    Ok(Exit::Good)
}

/// The file to write, which is looked at before minutes are spent on what goes into it.
fn target(file: &Path) -> Result<PathBuf, Failure> {
    written::target(file).map_err(|error| {
        Failure::usage(
            format!("--out {}: {error}", crate::file::shown(file)),
            "name a file to write",
        )
    })
}

fn refuse_launchers() -> Result<(), Failure> {
    let environment = crosstie_launch::environment(std::env::vars_os());
    let identity = identify(&Explicit::default(), &environment).map_err(crosstie::Error::from)?;
    match identity.launcher {
        Launcher::Alone => Ok(()),
        launcher => Err(Failure::usage(
            format!("tune starts its ranks itself, but {} has started it as one", launcher.name()),
            "start it alone, on one host",
        )),
    }
}

/// Those that were asked for, if each can be measured; else all that leave a choice.
fn operations(args: &TuneArgs) -> Result<Vec<&'static Operation>, Failure> {
    let has_a_choice = |operation: &Operation| {
        let plain = matches!(operation.kind, Kind::Collective(_));
        plain
            && Algorithm::of(operation.collective()).iter().filter(|&&one| competes(one)).count()
                > 1
    };
    let Some(asked) = &args.operations else {
        return Ok(operation::ALL.iter().filter(|operation| has_a_choice(operation)).collect());
    };
    match asked.0.iter().find(|operation| !has_a_choice(operation)) {
        Some(other) => Err(Failure::usage(
            format!("--operations: {} has no algorithms to choose from", other.name),
            "leave it out",
        )),
        None => Ok(asked.0.clone()),
    }
}

/// The canonical order is taken when it is asked for, however long it takes.
fn competes(algorithm: Algorithm) -> bool {
    algorithm != Algorithm::Canonical
}

fn worlds(args: &TuneArgs) -> Result<Vec<World>, Failure> {
    let mut worlds = Vec::new();
    for &transport in &args.transport {
        let nodes = match transport {
            TunedTransport::Auto => &args.nodes[..],
            TunedTransport::Tcp => &[1],
        };
        for (&ranks, &nodes) in
            args.ranks.iter().flat_map(|ranks| nodes.iter().map(move |nodes| (ranks, nodes)))
        {
            if !ranks.is_multiple_of(nodes) {
                continue;
            }
            let reach = match (transport, nodes) {
                (TunedTransport::Tcp, _) => Reach::Network,
                (TunedTransport::Auto, 1) => Reach::Memory,
                (TunedTransport::Auto, _) => Reach::Nodes,
            };
            worlds.push(World { shape: Shape { nodes, ranks_per_node: ranks / nodes }, reach });
        }
    }
    worlds.sort_unstable();
    worlds.dedup();
    if worlds.is_empty() {
        return Err(Failure::usage(
            "no number of --nodes divides one of the ranks",
            "give nodes of equal size: -n 8 --nodes 2",
        ));
    }
    Ok(worlds)
}

/// In each world, each algorithm with the operations that it suits.
fn runs(worlds: &[World], operations: &[&'static Operation]) -> Vec<Run> {
    let mut runs = Vec::new();
    for &world in worlds {
        let Some(nodes) = world.nodes() else { continue };
        for algorithm in Algorithm::ALL.into_iter().filter(|&one| competes(one)) {
            let suits = |operation: &&&Operation| algorithm.suits(operation.collective(), &nodes);
            let operations: Vec<&Operation> = operations.iter().filter(suits).copied().collect();
            if !operations.is_empty() {
                runs.push(Run { world, algorithm, operations });
            }
        }
    }
    runs
}

fn provenance(args: &TuneArgs) -> Provenance {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let command: Vec<String> = ["crosstie".to_owned()].into_iter().chain(words).collect();
    Provenance {
        cpu: cpu().unwrap_or_else(|| "unknown".to_owned()),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        date: args.date.clone().unwrap_or_else(today),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: command.join(" "),
    }
}

/// The processors' model, as the kernel has it.
fn cpu() -> Option<String> {
    let text = crate::file::read_text("/proc/cpuinfo".as_ref()).ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The day, in UTC.
fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date of a day since 1970-01-01, by years that begin in March, of which 400 have 146097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// The times of a file that [`run`] wrote, or why there are none.
pub fn read_table(file: &Path) -> Result<Tune, String> {
    let text = crate::file::read(file).map_err(|error| error.to_string())?;
    Tune::from_json(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_513, (2026, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(day), date, "{day}");
        }
    }
}
