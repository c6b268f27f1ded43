//! Owns a report's tables in Markdown, as a README has them: a line for each size, the ways beside each other.

use std::io::{self, Write};

use crosstie_lab::Description;
use crosstie_planner::explain::bytes;

use super::Line;
use super::output::share;
use super::variant::VARIANTS;
use crate::args::ReportedOperation;
use crate::lab_facts::LabFacts;

/// From this much on a share of the limit says something: shorter bursts fit into the token buckets.
const SHARES_FROM: u64 = 64 << 10;

/// Prints a table for each operation.
pub fn print(
    out: &mut impl Write,
    lab: &Description,
    operations: &[ReportedOperation],
    lines: &[Line],
) -> io::Result<()> {
    for &operation in operations {
        let own: Vec<&Line> = lines.iter().filter(|it| it.task.operation == operation).collect();
        if let Some(first) = own.first() {
            table(out, lab, &first.task.operation_name(), &own)?;
        }
    }
    out.flush()
}

fn table(
    out: &mut impl Write,
    lab: &Description,
    operation: &str,
    lines: &[&Line],
) -> io::Result<()> {
    let present = |name: &str| lines.iter().any(|line| line.task.variant.name == name);
    let ways: Vec<&str> =
        VARIANTS.iter().map(|variant| variant.name).filter(|name| present(name)).collect();
    writeln!(out, "\n{operation}, {}: ms, and share of the limit\n", LabFacts::of(lab))?;
    let rest = "direct / pxn | auto / fastest | wire messages: pxn (ideal) | on the uplinks, MB: direct, pxn";
    writeln!(out, "| bytes to each peer | {} | {rest} |", ways.join(" | "))?;
    writeln!(out, "|---|{}---|---|---|---|", "---|".repeat(ways.len()))?;
    let mut sizes: Vec<u64> = lines.iter().map(|line| line.task.bytes_per_peer).collect();
    sizes.dedup();
    for size in sizes {
        let at = |way: &str| {
            let is =
                |line: &&&Line| line.task.bytes_per_peer == size && line.task.variant.name == way;
            lines.iter().find(is).copied()
        };
        let times: Vec<String> =
            ways.iter().map(|way| at(way).map_or("-".to_owned(), time)).collect();
        let us = |way: &str| at(way).map(|line| line.measured.time_us);
        let fixed = ways.iter().filter(|way| **way != "auto").filter_map(|way| us(way));
        let fastest = fixed.fold(f64::INFINITY, f64::min);
        let gain = ratio(us("direct"), us("pxn"));
        let loss = ratio(us("auto"), Some(fastest));
        let wire = at("pxn").map_or("-".to_owned(), wire_messages);
        let up = ["direct", "pxn"].map(|way| at(way).map_or("-".to_owned(), uplinks)).join(", ");
        writeln!(
            out,
            "| {} | {} | {gain} | {loss} | {wire} | {up} |",
            bytes(size),
            times.join(" | ")
        )?;
    }
    Ok(())
}

fn time(line: &Line) -> String {
    let ms = line.measured.time_us / 1e3;
    let decimals = if ms < 10.0 { 2 } else { 1 };
    let share = share(line).filter(|_| line.task.bytes_per_peer >= SHARES_FROM);
    share.map_or(format!("{ms:.decimals$}"), |share| format!("{ms:.decimals$}, {share:.2}"))
}

fn ratio(above: Option<f64>, below: Option<f64>) -> String {
    above.zip(below).map_or("-".to_owned(), |(above, below)| format!("{:.2}", above / below))
}

fn wire_messages(line: &Line) -> String {
    let sent = line.measured.network.wire_messages;
    let ideal =
        line.measured.ideal.as_ref().map_or("-".to_owned(), |it| it.wire_messages.to_string());
    format!("{sent:.1} ({ideal})")
}

fn uplinks(line: &Line) -> String {
    let bytes: u64 = line.measured.counted.uplinks.iter().map(|uplink| uplink.sent_bytes).sum();
    format!("{:.1}", bytes as f64 / 1e6)
}
