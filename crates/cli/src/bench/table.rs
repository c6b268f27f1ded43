//! Owns the table that people read: nccl-tests' columns, widths and closing lines.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use crosstie::Pxn;

use super::progress::Progress;
use super::report::{Counters, Crowd, Header, Measured, PerCall, Report, Sent};
use super::sizes::Row;
use crate::exit::Failure;

/// A loop's mean that exceeds the median of single calls so many times is not what a call takes.
const DISTURBED: f64 = 2.0;

/// Prints row by row.
pub struct Table<W> {
    out: W,
    progress: Progress,
    color: bool,
    wrong: u64,
    busbw_gb_s: Vec<f64>,
    /// Halves of rows whose time is far from the median of single calls.
    disturbed: usize,
    /// The operation whose rows are printed, where there are several.
    group: Option<&'static str>,
    grouped: bool,
    /// Whether messages may go by way of relays.
    relays: bool,
    /// Whether what rows sent between nodes is told beside the ideal.
    tells_network: bool,
    /// What rows sent between nodes.
    network: Vec<String>,
    /// Whether one of them says of wire messages that there were fewer than one call needs.
    joined: bool,
    /// Whether what was sent inside nodes is part of it.
    all_over_tcp: bool,
    rails: usize,
}

impl<W: Write> Table<W> {
    /// Prints to `out`.
    pub fn new(out: W, progress: Progress, color: bool) -> Self {
        Self {
            out,
            progress,
            color,
            wrong: 0,
            busbw_gb_s: Vec::new(),
            disturbed: 0,
            group: None,
            grouped: false,
            relays: false,
            tells_network: false,
            network: Vec::new(),
            joined: false,
            all_over_tcp: false,
            rails: 0,
        }
    }

    fn print(&mut self, style: Style, text: &str) -> Result<(), Failure> {
        let style = if self.color { style } else { Style::new() };
        let out = &mut self.out;
        let written = self
            .progress
            .aside(|| writeln!(out, "{style}{text}{style:#}").and_then(|()| out.flush()));
        written.map_err(|e: io::Error| Failure::host("write the table", e))
    }
}

impl<W: Write> Report for Table<W> {
    fn begin(&mut self, header: &Header) -> Result<(), Failure> {
        for line in head(header) {
            self.print(Style::new().dimmed(), &line)?;
        }
        self.grouped = header.operation.contains(',');
        self.relays = header.pxn != Pxn::Off;
        self.tells_network = header.tells_network;
        self.all_over_tcp = header.transport == "tcp";
        self.progress.begin(header.rows);
        Ok(())
    }

    fn row(
        &mut self,
        row: &Row,
        out: &Measured,
        in_place: Option<&Measured>,
    ) -> Result<(), Failure> {
        let wrong = out.wrong + in_place.map_or(0, |in_place| in_place.wrong);
        self.wrong += wrong;
        let halves = || [Some(out), in_place].into_iter().flatten();
        self.busbw_gb_s.extend(halves().map(|it| it.busbw_gb_s));
        self.disturbed += halves().filter(|it| it.time_us > DISTURBED * it.p50_us).count();
        if self.grouped && self.group != Some(row.operation.name) {
            self.group = Some(row.operation.name);
            self.print(Style::new().bold(), &format!("# {}", row.operation.name))?;
        }
        let style = if wrong > 0 { AnsiColor::Red.on_default().bold() } else { Style::new() };
        self.print(style, &line(row, out, in_place))?;
        if self.tells_network {
            self.network.push(on_the_network(row, out));
            self.joined |= out.network.has_joined_others(out.ideal.as_ref());
            self.rails = out.network.rail_bytes.len();
        }
        self.progress.advance(row);
        Ok(())
    }

    fn end(&mut self, sent: &Sent) -> Result<(), Failure> {
        self.progress.end();
        let dim = Style::new().dimmed();
        let (verdict, style) = match self.wrong {
            0 => ("OK", AnsiColor::Green.on_default()),
            _ => ("FAILED", AnsiColor::Red.on_default().bold()),
        };
        self.print(style, &format!("# Out of bounds values : {} {verdict}", self.wrong))?;
        let mean = self.busbw_gb_s.iter().sum::<f64>() / self.busbw_gb_s.len().max(1) as f64;
        self.print(Style::new(), &format!("# Avg bus bandwidth    : {mean:.4} GB/s"))?;
        if self.disturbed > 0 {
            let text = format!(
                "# {} time(s) above are more than {DISTURBED} times the median of single calls (p50_us in \
                 --json): something else took the cores",
                self.disturbed
            );
            self.print(Style::new(), &text)?;
        }
        for (name, counters) in &sent.transports {
            self.print(dim, &moved(name, counters))?;
        }
        if self.tells_network {
            for line in self.shares(sent) {
                self.print(dim, &line)?;
            }
        }
        Ok(())
    }
}

impl<W> Table<W> {
    /// What calls sent over the network beside what they would ideally, and who sent it.
    fn shares(&mut self, sent: &Sent) -> Vec<String> {
        let mut rails = sent.by_rail(self.rails);
        // Of rails that nothing was sent by there may be thousands.
        let used = rails.iter().rposition(|(bytes, _)| *bytes > 0);
        rails.truncate(used.map_or(1, |last| last + 1));
        let total = rails.iter().map(|(bytes, _)| bytes).sum::<u64>().max(1);
        let share = |bytes: u64| format!("{:.1}", 100.0 * bytes as f64 / total as f64);
        let [all, relayed] = [
            rails.iter().map(|(bytes, _)| share(*bytes)).collect::<Vec<_>>().join(" "),
            rails.iter().map(|(_, relayed)| share(*relayed)).collect::<Vec<_>>().join(" "),
        ];
        let relayed =
            if self.relays { format!("; by way of relays: {relayed}") } else { String::new() };
        let inside = if self.all_over_tcp { ", inside nodes too" } else { "" };
        let mut lines = vec![
            format!("# over the network in one call{inside}, out of place; in brackets the ideal:"),
            format!(
                "# {:>18} {:>13} {:>12} {:>18} {:>22} {:>26}",
                "operation",
                "size (B)",
                "messages",
                "wire messages",
                "bytes",
                "bytes from rail to rail"
            ),
        ];
        lines.append(&mut self.network);
        if self.joined {
            let why = "# * fewer than one call alone can do with: some held what came after it too";
            lines.push(why.to_owned());
        }
        lines.push(format!("# wires {} ({})", sent.wires(), sent.ideal_wires));
        let of = match sent.nics.iter().any(|nic| nic.nics > 1) {
            true => "the first rail of who sent them",
            false => "rail",
        };
        lines.push(format!("# of all bytes, in % by {of}: {all}{relayed}"));
        lines
    }
}

fn on_the_network(row: &Row, out: &Measured) -> String {
    let PerCall { messages, wire_messages, bytes, crossing_bytes, .. } = &out.network;
    let beside = |sent: f64, decimals: usize, ideal: fn(&PerCall) -> f64| {
        let ideal = out.ideal.as_ref().map_or("-".to_owned(), |it| format!("{:.0}", ideal(it)));
        format!("{sent:.decimals$} ({ideal})")
    };
    let joined = if out.network.has_joined_others(out.ideal.as_ref()) { "*" } else { "" };
    format!(
        "# {:>18} {:>13} {:>12} {:>18} {:>22} {:>26}",
        row.operation.name,
        row.bytes,
        beside(*messages, 0, |ideal| ideal.messages),
        beside(*wire_messages, 1, |ideal| ideal.wire_messages) + joined,
        beside(*bytes, 0, |ideal| ideal.bytes),
        beside(*crossing_bytes, 0, |ideal| ideal.crossing_bytes)
    )
}

fn head(header: &Header) -> Vec<String> {
    let plural = |n: u32, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let iters = header.iters.map_or("auto".to_owned(), |iters| iters.to_string());
    let columns = |first: [&str; 5], half: [&str; 4], [last, algo]: [&str; 2]| {
        let [size, count, kind, op, root] = first;
        let [time, algbw, busbw, wrong] = half;
        let half = format!("  {time:>7}  {algbw:>6}  {busbw:>6} {wrong:>6}");
        let line = format!(
            "# {size:>10}  {count:>12}  {kind:>8}  {op:>6}  {root:>6}{half}{half}  {last:>5}  {last:>5}  {algo}"
        );
        line.trim_end().to_owned()
    };
    let mut lines = vec![
        format!(
            "# crosstie {}: {} on {} of {}, over {}",
            env!("CARGO_PKG_VERSION"),
            header.operation,
            plural(header.ranks, "rank"),
            plural(header.nodes, "node"),
            header.transport
        ),
        format!(
            "# warmup iters: {}  iters: {iters}  {} buffers  every byte checked",
            header.warmup_iters, header.buffers
        ),
    ];
    let blocks = header.blocks.as_ref().map(|blocks| format!("  blocks: {blocks}"));
    lines.push(format!(
        "# algorithm: {}  protocol: {}{}",
        header.algorithm,
        header.protocol,
        blocks.unwrap_or_default()
    ));
    if let Some(lab) = &header.lab {
        lines.push(format!("# lab: {lab}"));
    }
    if header.nodes > 1 {
        let pxn = header.tells_network.then(|| format!("pxn: {}  ", header.pxn.name()));
        let (pxn, origin) = (pxn.unwrap_or_default(), header.rails_origin);
        lines.push(format!("# {pxn}rails: {}, {origin}", header.rails));
    }
    if let Some(machine) = &header.machine {
        lines.push(format!("# each node plays {machine}"));
    } else if let Some(topology) = &header.topology {
        lines.push(format!("# machines {topology}"));
    }
    if header.nodes_by_default {
        lines.push(format!(
            "# nodes are emulated, {} by default, with a network between them (--nodes 1: shared memory alone)",
            header.nodes
        ));
    }
    if let Some(Crowd { ranks, cores }) = header.crowd {
        let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
        lines.push(format!("# {ranks} ranks share {cores}: times include waiting for a core"));
    }
    if let Some(ceiling) = &header.ceiling {
        lines.push(format!("# ceil% (estimate): {ceiling}"));
    }
    if !header.rounded_to.is_empty() {
        let units: Vec<String> = header.rounded_to.iter().map(u64::to_string).collect();
        let by_type = if units.len() > 1 { ", by type" } else { "" };
        let units = units.join(", ");
        lines.push(format!("# sizes are rounded down to multiples of {units} bytes{by_type}"));
    }
    lines.extend([
        "#".to_owned(),
        format!("# {:>69}{:>34}{:>17}", "out-of-place", "in-place", "out     in"),
        columns(
            ["size", "count", "type", "redop", "root"],
            ["time", "algbw", "busbw", "#wrong"],
            ["ceil%", "algo"],
        ),
        columns(["(B)", "(elements)", "", "", ""], ["(us)", "(GB/s)", "(GB/s)", ""], ["", ""]),
    ]);
    lines
}

fn line(row: &Row, out: &Measured, in_place: Option<&Measured>) -> String {
    // nccl-tests' own words where an operation has no reduction or root.
    let op = match row.op.map_or("none", crosstie::ReduceOp::name) {
        "premulsum" => "mulsum",
        name => name,
    };
    let root = row.root.map_or(-1, i64::from);
    let ceiling = |measured: Option<&Measured>| {
        let percent = measured.and_then(|measured| measured.ceil_percent);
        percent.map_or("-".to_owned(), |percent| format!("{percent:.1}"))
    };
    format!(
        "{:>12}  {:>12}  {:>8}  {op:>6}  {root:>6}{}{}  {:>5}  {:>5}  {}",
        row.bytes,
        row.count(),
        row.type_name(),
        half(out),
        in_place.map_or_else(|| format!("  {:>7}  {:>6}  {:>6}  {:>5}", "-", "-", "-", "-"), half),
        ceiling(Some(out)),
        ceiling(in_place),
        out.algorithm.unwrap_or("-")
    )
}

fn half(measured: &Measured) -> String {
    let Measured { time_us, algbw_gb_s, busbw_gb_s, wrong, .. } = measured;
    // Seven places, with as many decimals as fit: nccl-tests' format.
    let decimals = match time_us {
        time if *time < 10_000.0 => 2,
        time if *time < 100_000.0 => 1,
        _ => 0,
    };
    format!("  {time_us:>7.decimals$}  {algbw_gb_s:>6.2}  {busbw_gb_s:>6.2}  {wrong:>5}")
}

fn moved(name: &str, counters: &Counters) -> String {
    let group = counters.mean_group.map(|mean| format!(" ({mean:.2} messages in each)"));
    let mut line = format!(
        "# {name:<8} sent {} messages as {} wire messages{}, {} bytes",
        counters.messages,
        counters.wire_messages,
        group.unwrap_or_default(),
        counters.bytes
    );
    if counters.relayed > 0 {
        let flushes = counters.flushes.iter().map(|(why, count)| format!("{why} {count}"));
        let flushes = flushes.collect::<Vec<_>>().join(", ");
        line += &format!(
            "\n# {name:<8} relayed {} messages, {} bytes; wires left {flushes} times",
            counters.relayed, counters.relayed_bytes
        );
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Nic;

    fn told(counted: f64, nics: &[(u64, u64)], rails: usize) -> Vec<String> {
        let ideal = PerCall { wire_messages: 4.0, ..PerCall::default() };
        let network = PerCall { wire_messages: counted, ..PerCall::default() };
        let mut table = Table::new(Vec::new(), Progress::Silent, false);
        table.joined = network.has_joined_others(Some(&ideal));
        table.rails = rails;
        let nic =
            |&(rail, bytes)| Nic { rank: 0, rail, nics: 1, wires: 1, bytes, relayed_bytes: 0 };
        let nics = nics.iter().map(nic).collect();
        table.shares(&Sent { transports: Default::default(), nics, ideal_wires: 1 })
    }

    #[test]
    fn rails_that_carried_nothing_are_not_told_to_the_last() {
        let of_4096 = told(4.0, &[(0, 3), (2, 1)], 4096);
        assert_eq!(of_4096.last().unwrap(), "# of all bytes, in % by rail: 75.0 0.0 25.0");
        let none = told(4.0, &[], 4096);
        assert_eq!(none.last().unwrap(), "# of all bytes, in % by rail: 0.0");
    }

    #[test]
    fn fewer_wire_messages_than_a_call_can_do_with_are_explained() {
        let explains = |counted| told(counted, &[], 1).iter().any(|line| line.starts_with("# * "));
        assert!(explains(1.0) && explains(3.8));
        assert!(!explains(4.0) && !explains(3.98) && !explains(5.0));
    }
}
