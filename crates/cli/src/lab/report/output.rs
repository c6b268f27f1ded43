//! Owns how a report looks: as a table, as JSON, and as a picture.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use crosstie_lab::{Description, Traffic};
use serde::Serialize;

use super::Line;
use super::variant::VARIANTS;
use crate::args::ReportedOperation;
use crate::bench::operation::Operation;
use crate::bench::{Nic, PerCall};
use crate::exit::Failure;
use crate::lab::traffic;
use crate::picture::{self, Picture, Point};

/// Prints what comes before the lines.
pub fn begin(out: &mut impl Write, lab: &Description, rounds: u32) -> io::Result<()> {
    writeln!(out, "# crosstie {} lab report: {}", env!("CARGO_PKG_VERSION"), in_words(lab))?;
    writeln!(out, "# each time is the median of {rounds} warm calls, on the slowest rank")?;
    writeln!(
        out,
        "#{:>11} {:>9} {:>9} {:>10} {:>8} {:>10} {:>9} {:>7} {:>10} {:>10} {:>10} {:>8}",
        "operation",
        "per peer",
        "way",
        "time (ms)",
        "busbw",
        "limit (ms)",
        "of limit",
        "#wrong",
        "wire/call",
        "engine",
        "NICs",
        "uplinks"
    )?;
    out.flush()
}

/// Prints one line, as soon as it is there.
pub fn line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    let Line { task, measured, limit_us, .. } = line;
    let limit = limit_us.map_or("-".to_owned(), |limit_us| format!("{:.3}", limit_us / 1e3));
    let share = share(line).map_or("-".to_owned(), |share| format!("{share:.3}"));
    let up = measured.counted.uplinks.iter().map(|uplink| uplink.sent_bytes).sum();
    let [engine, nics, up] =
        [measured.engine.bytes, measured.counted.sent_bytes(), up].map(megabytes);
    writeln!(
        out,
        " {:>11} {:>9} {:>9} {:>10.3} {:>8.4} {limit:>10} {share:>9} {:>7} {:>10.1} {engine:>10} {nics:>10} {up:>8}",
        task.operation_name(),
        bytes(task.bytes_per_peer),
        task.variant.name,
        measured.time_us / 1e3,
        measured.busbw_gb_s,
        measured.wrong,
        measured.network.wire_messages,
    )?;
    out.flush()
}

fn share(line: &Line) -> Option<f64> {
    Some(line.limit_us? / line.measured.time_us)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}

fn in_words(lab: &Description) -> String {
    format!(
        "{} nodes x {} ranks, {} rails, {}, MTU {}",
        lab.nodes,
        lab.ranks_per_node,
        lab.rails,
        traffic::rates(lab),
        lab.mtu
    )
}

/// Bytes as sizes are written on the command line: `64K`.
pub fn bytes(number: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let unit = units.iter().find(|(power, _)| number > 0 && number.trailing_zeros() >= *power);
    unit.map_or_else(|| number.to_string(), |(power, unit)| format!("{}{unit}", number >> power))
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    lab: Lab,
    rounds: u32,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Lab {
    nodes: u32,
    ranks_per_node: u32,
    rails: u32,
    rate_bits_per_second: Option<u64>,
    oversubscription: Option<u32>,
    mtu: u32,
}

#[derive(Serialize)]
struct Row<'a> {
    operation: String,
    way: &'static str,
    bytes_per_peer: u64,
    bytes: u64,
    time_us: f64,
    busbw_gb_s: f64,
    limit_us: Option<f64>,
    share_of_limit: Option<f64>,
    wrong: u64,
    /// Of all ranks, between nodes.
    per_call: &'a PerCall,
    /// That at best.
    ideal: Option<&'a PerCall>,
    engine: Engine<'a>,
    devices: Devices,
    contradictions: &'a [String],
}

/// What the ranks say they sent between nodes, in the whole run.
#[derive(Serialize)]
struct Engine<'a> {
    messages: u64,
    wire_messages: u64,
    bytes: u64,
    /// By rank: which NIC it sends from, what left there, and what of it it relayed.
    nics: &'a [Nic],
}

/// Bytes that devices counted in the whole run.
#[derive(Serialize)]
struct Devices {
    /// By node and rail.
    nics_sent: Vec<Vec<u64>>,
    nics_received: Vec<Vec<u64>>,
    /// By rail, to and from the spine.
    uplinks_up: Vec<u64>,
    uplinks_down: Vec<u64>,
}

impl<'a> From<&'a Line> for Row<'a> {
    fn from(line: &'a Line) -> Self {
        let Line { task, measured, limit_us, contradictions } = line;
        let counted = &measured.counted;
        let nics = |of: fn(&Traffic) -> u64| {
            counted.nics.iter().map(|node| node.iter().map(of).collect()).collect()
        };
        let uplinks = |of: fn(&Traffic) -> u64| counted.uplinks.iter().map(of).collect();
        let engine = measured.engine;
        Row {
            operation: task.operation_name(),
            way: task.variant.name,
            bytes_per_peer: task.bytes_per_peer,
            bytes: measured.bytes,
            time_us: measured.time_us,
            busbw_gb_s: measured.busbw_gb_s,
            limit_us: *limit_us,
            share_of_limit: share(line),
            wrong: measured.wrong,
            per_call: &measured.network,
            ideal: measured.ideal.as_ref(),
            engine: Engine {
                messages: engine.messages,
                wire_messages: engine.wire_messages,
                bytes: engine.bytes,
                nics: &measured.nics,
            },
            devices: Devices {
                nics_sent: nics(|nic| nic.sent_bytes),
                nics_received: nics(|nic| nic.received_bytes),
                uplinks_up: uplinks(|uplink| uplink.sent_bytes),
                uplinks_down: uplinks(|uplink| uplink.received_bytes),
            },
            contradictions,
        }
    }
}

/// Writes everything into a file.
pub fn json(path: &Path, lab: &Description, rounds: u32, lines: &[Line]) -> Result<(), Failure> {
    let document = Document {
        schema: 1,
        lab: Lab {
            nodes: lab.nodes,
            ranks_per_node: lab.ranks_per_node,
            rails: lab.rails,
            rate_bits_per_second: lab.rate.0,
            oversubscription: lab.oversubscription,
            mtu: lab.mtu,
        },
        rounds,
        rows: lines.iter().map(Row::from).collect(),
    };
    let text = serde_json::to_vec_pretty(&document).map_err(io::Error::from);
    let written = text.and_then(|text| fs::write(path, [&text[..], b"\n"].concat()));
    written.map_err(|e| Failure::host(format!("write {}", path.display()), e))
}

/// A line for each operation and way, and the limit of each, dashed.
pub fn picture(lab: &Description, lines: &[Line]) -> Picture {
    let mut drawn = Vec::new();
    for (place, &operation) in ReportedOperation::value_variants().iter().enumerate() {
        for (index, variant) in VARIANTS.iter().enumerate() {
            let own = |line: &&Line| {
                line.task.operation == operation && line.task.variant.name == variant.name
            };
            let own: Vec<&Line> = lines.iter().filter(own).collect();
            let Some(first) = own.first() else { continue };
            let name = format!("{} {}", first.task.operation_name(), variant.name);
            let color = place * VARIANTS.len() + index;
            let measured = own.iter().map(|line| Point {
                bytes: line.measured.bytes as f64,
                time_us: line.measured.time_us,
                busbw_gb_s: line.measured.busbw_gb_s,
            });
            let limit = own.iter().filter_map(|line| at_limit(line, lab));
            let limit: Vec<Point> = limit.collect();
            drawn.push(picture::Line {
                points: measured.collect(),
                label: name.clone(),
                color,
                solid: true,
            });
            if !limit.is_empty() {
                let label = format!("{name}: limit");
                drawn.push(picture::Line { points: limit, label, color, solid: false });
            }
        }
    }
    let title = format!("crosstie lab report: {}", in_words(lab));
    Picture { title, timed: "median", lines: drawn }
}

/// What the measurement would be if the limit were reached.
fn at_limit(line: &Line, lab: &Description) -> Option<Point> {
    let (bytes, time_us) = (line.measured.bytes as f64, line.limit_us?);
    let factor = Operation::named(&line.task.operation_name())?.bus_factor(lab.ranks());
    Some(Point { bytes, time_us, busbw_gb_s: bytes * factor / (time_us * 1e3) })
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_written_as_they_are_read() {
        assert_eq!([64, 1024, 3 << 20, 1500].map(bytes), ["64", "1K", "3M", "1500"]);
    }
}
