//! Owns what is told of a table: for each world and operation, which algorithm is the fastest for which sizes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crosstie_planner::cost::{Entry, Tune};

/// The text: a line for each operation in each world.
pub fn text(table: &Tune, color: bool) -> String {
    let (bold, plain) = if color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let mut text = String::new();
    let worlds: BTreeSet<_> =
        table.entries.iter().map(|entry| (entry.reach, entry.shape)).collect();
    for (reach, shape) in worlds {
        let (nodes, ranks) = (shape.nodes, shape.ranks());
        let s = if nodes == 1 { "" } else { "s" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{bold}{ranks} ranks on {nodes} node{s}{plain} ({})", reach.name());
        let here =
            table.entries.iter().filter(|entry| (entry.reach, entry.shape) == (reach, shape));
        let here: Vec<&Entry> = here.collect();
        let operations: BTreeSet<_> = here.iter().map(|entry| entry.collective).collect();
        for collective in operations {
            let rivals: Vec<&Entry> =
                here.iter().filter(|entry| entry.collective == collective).copied().collect();
            let _ = writeln!(text, "  {:<15} {}", collective.name(), winners(&rivals).join(", "));
        }
    }
    text
}

/// Who wins from which size on, with the time at that size: `8 flat 12.1 us`.
fn winners(rivals: &[&Entry]) -> Vec<String> {
    let sizes: BTreeSet<u64> =
        rivals.iter().flat_map(|entry| &entry.points).map(|point| point.bytes).collect();
    let time = |entry: &Entry, bytes: u64| {
        entry.points.iter().find(|point| point.bytes == bytes).map(|point| point.time_ns)
    };
    let mut told = Vec::new();
    let mut last = None;
    for bytes in sizes {
        let timed = rivals.iter().filter_map(|entry| Some((time(entry, bytes)?, entry.algorithm)));
        let Some((time_ns, algorithm)) = timed.min() else { continue };
        if last != Some(algorithm) {
            told.push(format!("{bytes} {} ({:.1} us)", algorithm.name(), time_ns as f64 / 1e3));
        }
        last = Some(algorithm);
    }
    told
}
