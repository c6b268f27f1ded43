//! Owns the comma-separated form of a benchmark: a header, then a line for each row and place.

use std::io::Write;

use super::progress::Progress;
use super::report::{Header, Measured, PerCall, Report, Sent};
use super::sizes::Row;
use crate::exit::Failure;

const COLUMNS: &str = "operation,ranks,nodes,transport,bytes,count,type,redop,root,place,time_us,p50_us,p99_us,\
                       algbw_gb_s,busbw_gb_s,ceil_percent,wrong,\
                       buffers,algorithm,protocol,matrix,\
                       taken,pxn,rails,messages,wire_messages,ideal_wire_messages,network_bytes,crossing_bytes,\
                       rail_bytes";

/// Prints line by line. No value holds a comma or a quote.
pub struct Csv<W> {
    out: W,
    progress: Progress,
    /// Ranks, nodes and transports: the same in every line.
    world: String,
    /// What was asked for, the same in every line.
    choices: String,
    /// PXN and rails, the same in every line.
    ways: String,
}

impl<W: Write> Csv<W> {
    /// Prints to `out`.
    pub fn new(out: W, progress: Progress) -> Self {
        Self { out, progress, world: String::new(), choices: String::new(), ways: String::new() }
    }

    fn print(&mut self, line: &str) -> Result<(), Failure> {
        let out = &mut self.out;
        let written = self.progress.aside(|| writeln!(out, "{line}").and_then(|()| out.flush()));
        written.map_err(|e| Failure::host("write the values", e))
    }
}

impl<W: Write> Report for Csv<W> {
    fn begin(&mut self, header: &Header) -> Result<(), Failure> {
        self.world = format!("{},{},{}", header.ranks, header.nodes, header.transport);
        let matrix = header.blocks.as_deref().unwrap_or("").replace([',', '"'], "_");
        self.choices =
            format!("{},{},{},{matrix}", header.buffers, header.algorithm, header.protocol);
        self.ways = format!("{},{}", header.pxn.name(), header.rails);
        self.print(COLUMNS)?;
        self.progress.begin(header.rows);
        Ok(())
    }

    fn row(
        &mut self,
        row: &Row,
        out: &Measured,
        in_place: Option<&Measured>,
    ) -> Result<(), Failure> {
        let places = [("out", Some(out)), ("in", in_place)].into_iter();
        for (place, measured) in places.filter_map(|(place, it)| Some((place, it?))) {
            let Measured { time_us, p50_us, p99_us, algbw_gb_s, busbw_gb_s, wrong, .. } = measured;
            let ceiling = measured.ceil_percent.map(|it| it.to_string()).unwrap_or_default();
            let line = format!(
                "{},{},{},{},{},{},{},{place},{time_us},{p50_us},{p99_us},{algbw_gb_s},{busbw_gb_s},{ceiling},{wrong},{},{},{},{}",
                row.operation.name,
                self.world,
                row.bytes,
                row.count(),
                row.type_name(),
                row.op.map_or("", crosstie::ReduceOp::name),
                row.root.map_or(String::new(), |root| root.to_string()),
                self.choices,
                measured.algorithm.unwrap_or(""),
                self.ways,
                on_the_network(measured),
            );
            self.print(&line)?;
        }
        self.progress.advance(row);
        Ok(())
    }

    fn end(&mut self, _: &Sent) -> Result<(), Failure> {
        self.progress.end();
        Ok(())
    }
}

/// What one call sent between nodes; by rail, with semicolons between.
fn on_the_network(measured: &Measured) -> String {
    let PerCall { messages, wire_messages, bytes, crossing_bytes, rail_bytes } = &measured.network;
    let ideal = measured.ideal.as_ref().map_or(String::new(), |it| it.wire_messages.to_string());
    let rails: Vec<String> = rail_bytes.iter().map(f64::to_string).collect();
    format!("{messages},{wire_messages},{ideal},{bytes},{crossing_bytes},{}", rails.join(";"))
}
