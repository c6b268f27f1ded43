//! Owns the machine-readable form of a benchmark: one object, schema 1.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use super::progress::Progress;
use super::report::{Counters, Header, Measured, Nic, Report, Sent};
use super::sizes::Row;
use super::speeds::Speeds;
use crate::exit::Failure;
use crate::json::print;
use crate::lab_facts::LabFacts;

/// Collects everything and prints it at the end, so that a failed benchmark prints no half object.
pub struct Json<W> {
    out: W,
    progress: Progress,
    header: Option<Header>,
    rows: Vec<JsonRow>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    version: &'static str,
    host: &'a str,
    cores: usize,
    operation: &'a str,
    ranks: u32,
    nodes: u32,
    transport: &'a str,
    machine: Option<&'a str>,
    topology: Option<&'a str>,
    buffers: &'a str,
    algorithm: &'a str,
    protocol: &'a str,
    pxn: &'a str,
    rails: u32,
    rails_origin: &'a str,
    lab: Option<&'a LabFacts>,
    matrix: Option<&'a str>,
    warmup_iters: u32,
    iters: Option<u32>,
    budget_ms: u32,
    /// As `crosstie plan --json` prints it; why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Value>,
    ceiling: Option<&'a str>,
    speeds: Option<&'a Speeds>,
    rows: &'a [JsonRow],
    counters: &'a BTreeMap<&'static str, Counters>,
    nics: &'a [Nic],
    wires: Wires,
}

/// Wires that ranks send on, of all nodes.
#[derive(Serialize)]
struct Wires {
    count: u64,
    /// As many as the world needs.
    ideal: u64,
}

impl Wires {
    fn of(sent: &Sent) -> Self {
        Self { count: sent.wires(), ideal: sent.ideal_wires }
    }
}

#[derive(Serialize)]
struct JsonRow {
    operation: &'static str,
    bytes: usize,
    count: usize,
    r#type: &'static str,
    op: Option<&'static str>,
    root: Option<u32>,
    out_of_place: Measured,
    in_place: Option<Measured>,
}

impl<W: Write> Json<W> {
    /// Prints to `out`.
    pub fn new(out: W, progress: Progress) -> Self {
        Self { out, progress, header: None, rows: Vec::new() }
    }
}

impl<W: Write> Report for Json<W> {
    fn begin(&mut self, header: &Header) -> Result<(), Failure> {
        self.progress.begin(header.rows);
        self.header = Some(header.clone());
        Ok(())
    }

    fn row(
        &mut self,
        row: &Row,
        out: &Measured,
        in_place: Option<&Measured>,
    ) -> Result<(), Failure> {
        self.rows.push(JsonRow {
            operation: row.operation.name,
            bytes: row.bytes,
            count: row.count(),
            r#type: row.type_name(),
            op: row.op.map(crosstie::ReduceOp::name),
            root: row.root,
            out_of_place: out.clone(),
            in_place: in_place.cloned(),
        });
        self.progress.advance(row);
        Ok(())
    }

    fn end(&mut self, sent: &Sent) -> Result<(), Failure> {
        self.progress.end();
        let Some(header) = &self.header else { return Ok(()) };
        let document = Document {
            schema: 1,
            version: env!("CARGO_PKG_VERSION"),
            host: &header.host,
            cores: header.cores,
            operation: &header.operation,
            ranks: header.ranks,
            nodes: header.nodes,
            transport: &header.transport,
            machine: header.machine.as_deref(),
            topology: header.topology.as_deref(),
            buffers: header.buffers,
            algorithm: header.algorithm,
            protocol: header.protocol,
            pxn: header.pxn.name(),
            rails: header.rails,
            rails_origin: header.rails_origin,
            lab: header.lab.as_ref(),
            matrix: header.blocks.as_deref(),
            warmup_iters: header.warmup_iters,
            iters: header.iters,
            budget_ms: header.budget_ms,
            plan: header.plan.as_ref(),
            ceiling: header.ceiling.as_deref(),
            speeds: header.speeds.as_ref(),
            rows: &self.rows,
            counters: &sent.transports,
            nics: &sent.nics,
            wires: Wires::of(sent),
        };
        print(&mut self.out, &document)
    }
}
