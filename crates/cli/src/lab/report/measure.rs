//! Owns one measurement of a report: a world of its own on the cluster, what it tells, and what the devices
//! counted meanwhile.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;

use clap::ValueEnum;
use crosstie_lab::{Cluster, Counters};
use serde::Deserialize;

use super::variant::Variant;
use crate::args::{Command, ReportedOperation};
use crate::bench::{self, Nic, PerCall};
use crate::exit::{Exit, Failure};
use crate::lab::{parse, world::World};
use crate::lab_facts::LabFacts;
use crate::operation::Operation;

/// What is to be measured.
#[derive(Clone, Copy)]
pub struct Task {
    pub operation: ReportedOperation,
    pub variant: &'static Variant,
    /// From each rank to each other, in all_to_all.
    pub bytes_per_peer: u64,
    /// Timed calls.
    pub rounds: u32,
}

/// What was measured.
pub struct Measurement {
    /// Of one rank's buffer.
    pub bytes: u64,
    /// The median of a call on the slowest rank.
    pub time_us: f64,
    pub busbw_gb_s: f64,
    /// Elements with a wrong value, on all ranks.
    pub wrong: u64,
    /// What all ranks say they sent between nodes in one call, in the mean.
    pub network: PerCall,
    /// What that would be ideally.
    pub ideal: Option<PerCall>,
    /// What all ranks sent between nodes in the whole run.
    pub engine: Sent,
    /// The same, by rank.
    pub nics: Vec<Nic>,
    /// What the devices counted in the whole run.
    pub counted: Counters,
}

/// A transport's counters, as `bench --json` has them.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Sent {
    pub messages: u64,
    pub wire_messages: u64,
    pub bytes: u64,
}

/// What this needs of the document that `bench --json` prints.
#[derive(Deserialize)]
struct Document {
    rows: Vec<Row>,
    counters: BTreeMap<String, Sent>,
    nics: Vec<Nic>,
}

#[derive(Deserialize)]
struct Row {
    bytes: u64,
    out_of_place: Half,
}

#[derive(Deserialize)]
struct Half {
    p50_us: f64,
    wrong: u64,
    network: PerCall,
    ideal: Option<PerCall>,
}

impl Task {
    /// The operation's name.
    pub fn operation_name(&self) -> String {
        self.operation.to_possible_value().map_or(String::new(), |it| it.get_name().to_owned())
    }

    /// Its arguments. One call is checked and `rounds` are timed in a loop before the single calls whose
    /// median counts, so these find warm connections.
    fn line(&self, ranks: u32) -> Vec<OsString> {
        let bytes = (self.bytes_per_peer * u64::from(ranks)).to_string();
        let (operation, rounds) = (self.operation_name(), self.rounds.to_string());
        let fixed = ["bench", &operation, "-b", &bytes, "-e", &bytes, "-n", &rounds, "-w", "0"];
        let all = fixed.into_iter().chain(["--out-of-place", "--json"]);
        all.chain(self.variant.flags.iter().copied()).map(OsString::from).collect()
    }

    /// Measures it in world `number` of the cluster; `Err` with how it ended where it did not come to a
    /// result.
    pub fn measure(
        &self,
        cluster: &Cluster,
        number: u16,
    ) -> Result<Result<Measurement, Exit>, Failure> {
        let ranks = cluster.description().ranks();
        let line = self.line(ranks);
        let Command::Bench(args) = parse(&line)? else { return Err(super::super::not_by_hand()) };
        let places = World::new(cluster, number).places()?;
        let facts = LabFacts::of(cluster.description());
        let before = cluster.counters()?;
        let mut text = Vec::new();
        let exit = bench::run_in_lab(&args, &line, (&facts, places), &mut text)?;
        let counted = cluster.counters()?.since(&before);
        if !matches!(exit.code(), 0 | 1) {
            return Ok(Err(exit));
        }
        let document: Document = serde_json::from_slice(&text)
            .map_err(|e| Failure::host("read the result of a world", io::Error::from(e)))?;
        Ok(self.picked(document, counted, ranks).ok_or(exit))
    }

    /// What a report shows of it.
    fn picked(&self, document: Document, counted: Counters, ranks: u32) -> Option<Measurement> {
        let row = document.rows.into_iter().next()?;
        let time_us = row.out_of_place.p50_us;
        let factor = Operation::named(&self.operation_name())?.bus_factor(ranks);
        Some(Measurement {
            bytes: row.bytes,
            time_us,
            busbw_gb_s: row.bytes as f64 * factor / (time_us * 1e3),
            wrong: row.out_of_place.wrong,
            network: row.out_of_place.network,
            ideal: row.out_of_place.ideal,
            engine: document.counters.get("tcp").copied().unwrap_or_default(),
            nics: document.nics,
            counted,
        })
    }
}
