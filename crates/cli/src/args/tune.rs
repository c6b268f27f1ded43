//! Owns the arguments of `crosstie tune`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Choice, OPERATIONS, When, factor, in_a_folder};
use crate::operation::Operation;

const TUNE_HELP: &str = "\
Measures each algorithm of each operation in worlds of local ranks, tells which is the
fastest for which sizes, and writes a table by which ranks choose:
  CROSSTIE_TUNE_FILE=FILE   (or --tune-file FILE of bench; rank 0's is the one that counts)
Without a table they go by one that is built in, and beyond that by a model.

Between two sizes of a table lies a line. Of the worlds in it the one counts that is
nearest in nodes and ranks per node, with the same transports; its times are scaled by
what the model makes of the difference. Times are those of `crosstie bench` out of
place, the best of all rounds: what disturbs only slows. Run it where nothing else runs.

Examples:
  crosstie tune --out tune.json                        2, 4 and 8 ranks on 1 and 2 nodes
  crosstie tune -n 8 --nodes 2 --operations all_reduce
  CROSSTIE_TUNE_FILE=tune.json crosstie bench all_reduce

Exit code: 0 good, 2 usage, 3 or 4 what a benchmark ended with, 130 Ctrl-C.";

/// Arguments of `crosstie tune`.
#[derive(Debug, Args)]
#[command(after_help = TUNE_HELP)]
pub struct TuneArgs {
    /// Ranks of the worlds to measure
    #[arg(short = 'n', long, value_name = "LIST", value_delimiter = ',', default_value = "2,4,8")]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub ranks: Vec<u32>,

    /// Nodes that are emulated, each of as many ranks: a world for each number that divides the ranks
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub nodes: Vec<u32>,

    /// How bytes travel in these worlds: auto (shared memory inside a node, ibverbs or TCP between), tcp (one node)
    #[arg(
        long,
        value_enum,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "auto,tcp"
    )]
    pub transport: Vec<TunedTransport>,

    /// The operations to measure, of those that have several algorithms [default: all of these]
    #[arg(long, value_name = "LIST", value_parser = OPERATIONS, hide_possible_values = true)]
    pub operations: Option<Choice<&'static Operation>>,

    /// The smallest size
    #[arg(short = 'b', long, value_name = "SIZE", value_parser = crosstie::parse_bytes, default_value = "8")]
    pub min_bytes: u64,

    /// The largest size
    #[arg(short = 'e', long, value_name = "SIZE", value_parser = crosstie::parse_bytes, default_value = "4M")]
    pub max_bytes: u64,

    /// Each size is the one before times this
    #[arg(short = 'f', long, value_name = "FACTOR", value_parser = factor, default_value = "8")]
    pub step_factor: u64,

    /// Milliseconds for one loop of timed calls; a size takes about four of them in each round
    #[arg(long, value_name = "MS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600_000))]
    pub budget_ms: u32,

    /// How often all is measured; the best time counts
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// The day to note in the table [default: today, UTC]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = date)]
    pub date: Option<String>,

    /// The table to write; without it, it is only told what is the fastest
    #[arg(long, value_name = "FILE", value_parser = in_a_folder)]
    pub out: Option<PathBuf>,

    /// Whether to colour the text
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
}

/// Which transports to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TunedTransport {
    /// Shared memory inside a node, ibverbs or TCP between nodes
    Auto,
    /// TCP between any two ranks
    Tcp,
}

impl TunedTransport {
    /// As `crosstie bench` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcp => "tcp",
        }
    }
}

/// A day that the calendar has.
fn date(text: &str) -> Result<String, String> {
    let form = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    match (number(0, 4), number(5, 7), number(8, 10)) {
        (Some(year), Some(month), Some(day)) if form && (1..=days(year, month)).contains(&day) => {
            Ok(text.to_owned())
        }
        _ => Err("expected a day of the calendar: 2026-01-31".to_owned()),
    }
}

/// How many days a month has; none, if there is no such month.
fn days(year: u32, month: u32) -> u32 {
    let leaps = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leaps),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn a_date_is_a_day_of_the_calendar() {
        for text in ["2026-01-31", "2024-02-29", "2000-02-29", "2026-12-31"] {
            assert_eq!(date(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "today",
            "2026-1-31",
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2026-01-00",
            "+026-01-01",
            "2026/01/01",
            "2026-01-311",
        ] {
            assert!(date(text).is_err(), "{text}");
        }
    }
}
