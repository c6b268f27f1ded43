//! Owns the JSON form of tune tables: one object with its schema's name and version.
//!
//! ```json
//! {"schema": "crosstie.tune", "version": 1,
//!  "provenance": {"cpu": "AMD EPYC", "cores": 2, "date": "2026-01-31", "version": "0.1.0", "command": "crosstie tune"},
//!  "entries": [
//!   {"transport": "shm", "nodes": 1, "ranks_per_node": 2, "collective": "all_reduce", "algorithm": "ring",
//!    "points": [[8, 1100], [65536, 21000]]}]}
//! ```
//!
//! A transport is `shm` (all ranks share memory), `shm+tcp` (those of a node do) or `tcp`. A point is
//! `[bytes, ns]`: bytes of the larger of what a rank sends and receives, and what a call takes on the slowest
//! rank. Points ascend by bytes.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crosstie_ir::schema::{Schema, SchemaError, quoted};
use crosstie_ir::{Collective, MAX_RANKS};
use serde::{Deserialize, Serialize};

use super::tune::{Entry, Point, Provenance, Shape, Tune};
use crate::{Algorithm, Reach};

const SCHEMA: Schema = Schema { name: "crosstie.tune", version: 1, of: "a tune table" };
/// Longer texts are refused unread.
const MOST_BYTES: usize = 1 << 20;
const MOST_ENTRIES: usize = 4096;
const MOST_POINTS: usize = 256;
/// The longest time of a point: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Why a text is no tune table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// It is too long.
    #[error("{bytes} bytes, and a tune table has {MOST_BYTES} at most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is no JSON, not of the form of a tune table, or of another schema or version.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// What a place holds cannot be.
    #[error("{place}: {found}; expected {expected}")]
    Value {
        /// Where, as `entries[2].points[3]`.
        place: String,
        /// What is there.
        found: String,
        /// What could be.
        expected: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    version: u32,
    provenance: ProvenanceForm,
    entries: Vec<EntryForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvenanceForm {
    cpu: String,
    cores: u32,
    date: String,
    version: String,
    command: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryForm {
    transport: String,
    nodes: u32,
    ranks_per_node: u32,
    collective: String,
    algorithm: String,
    points: Vec<(u64, u64)>,
}

impl Tune {
    /// The table that a text holds.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn from_json(text: &[u8]) -> Result<Self, TuneError> {
        if text.len() > MOST_BYTES {
            return Err(TuneError::TooLong { bytes: text.len() });
        }
        let document: Document = SCHEMA.read(text)?;
        if document.entries.len() > MOST_ENTRIES {
            let found = format!("{} entries", document.entries.len());
            return Err(wrong("entries".into(), found, "4096 at most"));
        }
        let ProvenanceForm { cpu, cores, date, version, command } = document.provenance;
        let provenance = Provenance { cpu, cores, date, version, command };
        let mut known = BTreeSet::new();
        let mut entries = Vec::with_capacity(document.entries.len());
        for (at, form) in document.entries.into_iter().enumerate() {
            let entry = entry(at, form)?;
            let key = (entry.reach, entry.shape, entry.collective.code(), entry.algorithm);
            if !known.insert(key) {
                let found = "the same world, collective and algorithm as an entry before".into();
                return Err(wrong(format!("entries[{at}]"), found, "each once"));
            }
            entries.push(entry);
        }
        Ok(Self { provenance, entries })
    }

    /// The text of the table: equal tables have equal texts. Each entry has a line.
    pub fn to_json(&self) -> String {
        let text = |value: &str| serde_json::to_string(value).unwrap_or_default();
        let Provenance { cpu, cores, date, version, command } = &self.provenance;
        let entries: Vec<String> = self.entries.iter().map(line).collect();
        format!(
            "{{\n \"schema\": \"{}\",\n \"version\": {},\n \"provenance\": {{\n  \"cpu\": {},\n  \
             \"cores\": {cores},\n  \"date\": {},\n  \"version\": {},\n  \"command\": {}\n }},\n \"entries\": \
             [\n  {}\n ]\n}}\n",
            SCHEMA.name,
            SCHEMA.version,
            text(cpu),
            text(date),
            text(version),
            text(command),
            entries.join(",\n  "),
        )
    }
}

fn line(entry: &Entry) -> String {
    let points: Vec<String> =
        entry.points.iter().map(|point| format!("[{},{}]", point.bytes, point.time_ns)).collect();
    format!(
        "{{\"transport\":\"{}\",\"nodes\":{},\"ranks_per_node\":{},\"collective\":\"{}\",\"algorithm\":\"{}\",\
         \"points\":[{}]}}",
        entry.reach.name(),
        entry.shape.nodes,
        entry.shape.ranks_per_node,
        entry.collective.name(),
        entry.algorithm.name(),
        points.join(","),
    )
}

fn entry(at: usize, form: EntryForm) -> Result<Entry, TuneError> {
    let place = |field: &str| format!("entries[{at}].{field}");
    let reach = Reach::named(&form.transport)
        .ok_or_else(|| wrong(place("transport"), quoted(&form.transport), "shm, shm+tcp or tcp"))?;
    let shape = Shape { nodes: form.nodes, ranks_per_node: form.ranks_per_node };
    if shape.nodes == 0 || shape.ranks_per_node == 0 || shape.ranks() > u64::from(MAX_RANKS) {
        let found = format!("{} nodes of {} ranks", shape.nodes, shape.ranks_per_node);
        return Err(wrong(
            place("nodes"),
            found,
            "at least one rank, and no more than a world can have",
        ));
    }
    if reach == Reach::Memory && shape.nodes > 1 {
        let found = format!("shm on {} nodes", shape.nodes);
        return Err(wrong(place("transport"), found, "shm+tcp or tcp, for nodes share no memory"));
    }
    let collective = Collective::ALL.into_iter().find(|one| one.name() == form.collective);
    let collective = collective.ok_or_else(|| {
        wrong(place("collective"), quoted(&form.collective), "the name of a collective")
    })?;
    let algorithm = Algorithm::named(&form.algorithm)
        .filter(|algorithm| Algorithm::of(collective).contains(algorithm))
        .ok_or_else(|| {
            wrong(place("algorithm"), quoted(&form.algorithm), "an algorithm of that collective")
        })?;
    let points = points(at, &form.points)?;
    if collective != Collective::Barrier && points.iter().any(|point| point.bytes == 0) {
        let place = format!("entries[{at}].points[0]");
        return Err(wrong(place, "0 bytes".to_string(), "a size above zero, but of a barrier"));
    }
    Ok(Entry { reach, shape, collective, algorithm, points })
}

fn points(at: usize, points: &[(u64, u64)]) -> Result<Vec<Point>, TuneError> {
    let place = |point: usize| format!("entries[{at}].points[{point}]");
    if points.is_empty() || points.len() > MOST_POINTS {
        let found = format!("{} points", points.len());
        return Err(wrong(format!("entries[{at}].points"), found, "1 to 256"));
    }
    for (index, pair) in points.windows(2).enumerate() {
        if pair[0].0 >= pair[1].0 {
            let found = format!("{} bytes after {}", pair[1].0, pair[0].0);
            return Err(wrong(place(index + 1), found, "points that ascend by bytes"));
        }
    }
    if let Some(index) = points.iter().position(|&(_, time_ns)| time_ns == 0) {
        return Err(wrong(place(index), "0 ns".to_string(), "a time above zero"));
    }
    if let Some(index) = points.iter().position(|&(_, time_ns)| time_ns > LONGEST_NS) {
        let found = format!("{} ns", points[index].1);
        return Err(wrong(place(index), found, "an hour at most"));
    }
    Ok(points.iter().map(|&(bytes, time_ns)| Point { bytes, time_ns }).collect())
}

fn wrong(place: String, found: String, expected: &'static str) -> TuneError {
    TuneError::Value { place, found, expected }
}
