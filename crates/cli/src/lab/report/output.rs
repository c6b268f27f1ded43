//! Owns how a report looks: as a table, as JSON, and as a picture.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crosstie_lab::{Description, Traffic};
use crosstie_planner::explain::bytes;
use serde::Serialize;

use super::Line;
use crate::bench::{Nic, PerCall};
use crate::exit::Failure;
use crate::lab_facts::LabFacts;

/// Prints what comes before the lines; `settings` are those of the environment that ranks take over.
pub fn begin(
    out: &mut impl Write,
    lab: &Description,
    rounds: u32,
    settings: &[String],
) -> io::Result<()> {
    writeln!(out, "# crosstie {} lab report: {}", env!("CARGO_PKG_VERSION"), LabFacts::of(lab))?;
    writeln!(
        out,
        "# each time is the median of at least {rounds} warm calls, on the slowest rank"
    )?;
    if !settings.is_empty() {
        writeln!(out, "# as the environment says: {}", settings.join(" "))?;
    }
    writeln!(
        out,
        "#{:>11} {:>9} {:>9} {:>10} {:>8} {:>10} {:>9} {:>7} {:>14} {:>9} {:>9} {:>9} {:>8}",
        "operation",
        "per peer",
        "way",
        "time (ms)",
        "busbw",
        "limit (ms)",
        "of limit",
        "#wrong",
        "wire (ideal)",
        "engine",
        "relayed",
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
    let relayed = measured.nics.iter().map(|nic| nic.relayed_bytes).sum();
    let [engine, relayed, nics, up] =
        [measured.engine.bytes, relayed, measured.counted.sent_bytes(), up].map(megabytes);
    let ideal = measured.ideal.as_ref().map_or("-".to_owned(), |it| it.wire_messages.to_string());
    let joined = measured.network.has_joined_others(measured.ideal.as_ref());
    let joined = if joined { "*" } else { "" };
    let wire = format!("{:.1} ({ideal}){joined}", measured.network.wire_messages);
    writeln!(
        out,
        " {:>11} {:>9} {:>9} {:>10.3} {:>8.4} {limit:>10} {share:>9} {:>7} {wire:>14} {engine:>9} {relayed:>9} {nics:>9} {up:>8}",
        task.operation_name(),
        bytes(task.bytes_per_peer),
        task.variant.name,
        measured.time_us / 1e3,
        measured.busbw_gb_s,
        measured.wrong,
    )?;
    out.flush()
}

/// The limit as a share of the time, where there is a limit.
pub fn share(line: &Line) -> Option<f64> {
    Some(line.limit_us? / line.measured.time_us)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    lab: LabFacts,
    rounds: u32,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    operation: String,
    way: &'static str,
    bytes_per_peer: u64,
    bytes: u64,
    /// Timed calls of which `time_us` is the median.
    rounds: u32,
    time_us: f64,
    busbw_gb_s: f64,
    limit_us: Option<f64>,
    share_of_limit: Option<f64>,
    wrong: u64,
    /// Of all ranks, between nodes.
    per_call: &'a PerCall,
    /// The same, ideally.
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
            rounds: task.rounds,
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
        lab: LabFacts::of(lab),
        rounds,
        rows: lines.iter().map(Row::from).collect(),
    };
    let text = serde_json::to_vec_pretty(&document).map_err(io::Error::from);
    let written = text.and_then(|text| fs::write(path, [&text[..], b"\n"].concat()));
    written.map_err(|e| Failure::host(format!("write {}", crate::file::shown(path)), e))
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_written_as_they_are_read() {
        assert_eq!([64, 1024, 3 << 20, 1500].map(bytes), ["64", "1K", "3M", "1500"]);
    }
}
