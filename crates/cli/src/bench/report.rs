//! Owns what a benchmark tells: the values, and the seam between measuring and printing them.

use std::collections::BTreeMap;

use crosstie::{Algorithm, Communicator, Ideal, Protocol, Pxn};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sizes::{self, Row};
use super::speeds::Speeds;
use crate::args::BenchArgs;
use crate::exit::Failure;
use crate::lab_facts::LabFacts;

/// Where rank 0 tells its findings, as they come.
pub trait Report {
    /// The world is there; rows follow.
    fn begin(&mut self, header: &Header) -> Result<(), Failure>;
    /// One row, out of place and, where that can be, in place.
    fn row(
        &mut self,
        row: &Row,
        out: &Measured,
        in_place: Option<&Measured>,
    ) -> Result<(), Failure>;
    /// All rows are done.
    fn end(&mut self, sent: &Sent) -> Result<(), Failure>;
}

/// What is measured, and on what.
#[derive(Debug, Clone)]
pub struct Header {
    /// The operation's name; several are joined by commas.
    pub operation: String,
    /// Ranks of the world.
    pub ranks: u32,
    /// Nodes that they are on.
    pub nodes: u32,
    /// Transports that connect them, joined by `+`.
    pub transport: String,
    /// More ranks than cores on this host, where there are.
    pub crowd: Option<Crowd>,
    /// What sizes were rounded down to multiples of, if any were: one for each size of element.
    pub rounded_to: Vec<u64>,
    /// What memory is sent and received: `shared` or `private`.
    pub buffers: &'static str,
    /// The algorithm that was asked for, or `auto`.
    pub algorithm: &'static str,
    /// The protocol that was asked for, or `auto`.
    pub protocol: &'static str,
    /// How long blocks are: a skew's name or a file, where an operation has such as differ.
    pub blocks: Option<String>,
    /// Rank 0's host.
    pub host: String,
    /// Cores that its process may use.
    pub cores: usize,
    /// Whether the nodes are emulated, and as many as they are without having been asked for.
    pub nodes_by_default: bool,
    /// Milliseconds for the timed loops of a size, where calls are not fixed.
    pub budget_ms: u32,
    /// The machine that each node is, where a file described it.
    pub machine: Option<String>,
    /// Where the nodes' machines are known from, and what they are.
    pub topology: Option<String>,
    /// How many rails there are.
    pub rails: u32,
    /// How that is known.
    pub rails_origin: &'static str,
    /// Whether messages may go by way of relays.
    pub pxn: Pxn,
    /// The lab that the ranks are in, if they are in one.
    pub lab: Option<LabFacts>,
    /// Whether it is told what each size sent between nodes: where somebody asks for ways between them.
    pub tells_network: bool,
    /// What ceilings are predicted from, where they can be.
    pub speeds: Option<Speeds>,
    /// The same in words.
    pub ceiling: Option<String>,
    /// The world's plan, where it is to be told for scripts.
    pub plan: Option<Value>,
    /// Rows to come.
    pub rows: usize,
    /// Calls before the clock starts.
    pub warmup_iters: u32,
    /// Timed calls, where the user fixed them.
    pub iters: Option<u32>,
}

/// Ranks that share cores.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// Ranks on this host.
    pub ranks: u32,
    /// Cores that this process may use.
    pub cores: usize,
}

impl Header {
    /// What these arguments measure on this communicator.
    pub fn new(args: &BenchArgs, comm: &Communicator, rows: &[Row], ranks_here: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let one_host = (0..comm.size()).all(|rank| comm.host(rank) == comm.host(0));
        let forced = args.settings.forced();
        let ragged = args.operations.0.iter().any(|operation| operation.is_ragged());
        let crowded = ranks_here as usize > cores;
        let mut transports: Vec<_> = comm.counters().iter().map(|c| c.transport).collect();
        transports.sort_unstable();
        let names: Vec<&str> = args.operations.0.iter().map(|operation| operation.name).collect();
        Self {
            operation: names.join(","),
            ranks: comm.size(),
            nodes: comm.nodes(),
            transport: if transports.is_empty() { "none".into() } else { transports.join("+") },
            crowd: crowded.then_some(Crowd { ranks: ranks_here, cores }),
            rounded_to: sizes::rounded_to(args, comm.size()),
            buffers: args.buffers.name(),
            algorithm: forced.map_or("auto", Algorithm::name),
            protocol: args.settings.proto.unwrap_or(Protocol::Auto).name(),
            blocks: ragged.then(|| args.matrix.name()),
            host: comm.host(comm.rank()).to_owned(),
            cores,
            nodes_by_default: args.events && args.nodes.is_none() && one_host && comm.nodes() > 1,
            budget_ms: args.budget_ms,
            machine: comm.machine().map(ToString::to_string),
            pxn: comm.pxn(),
            topology: comm.topology().map(ToString::to_string),
            rails: comm.rails(),
            rails_origin: comm.rails_origin(),
            tells_network: comm.nodes() > 1 && (comm.has_relays() || asks_for_ways(args)),
            lab: args.lab.clone(),
            speeds: None,
            ceiling: None,
            plan: None,
            rows: rows.len(),
            warmup_iters: args.warmup_iters,
            iters: args.iters,
        }
    }
}

/// Whether the flags say anything about ways between nodes.
fn asks_for_ways(args: &BenchArgs) -> bool {
    args.lab.is_some() || args.settings.pxn.is_some() || args.settings.rails.is_some()
}

/// One half of a row.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Mean over a loop of calls on the slowest rank, in the median of some loops.
    pub time_us: f64,
    /// Median of single calls on the slowest rank.
    pub p50_us: f64,
    /// 99th percentile of the same.
    pub p99_us: f64,
    /// Size over time.
    pub algbw_gb_s: f64,
    /// The same, scaled to what each rank's link must carry.
    pub busbw_gb_s: f64,
    /// The time predicted to be the least possible, in percent of the time measured; none where
    /// none can be predicted.
    pub ceil_percent: Option<f64>,
    /// Elements with a wrong value, on all ranks.
    pub wrong: u64,
    /// What all ranks sent over the network in one call.
    pub network: PerCall,
    /// What that would be if messages left with as many others as can be; none where it is not known.
    pub ideal: Option<PerCall>,
    /// The algorithm that the calls took; none for messages between pairs.
    pub algorithm: Option<&'static str>,
}

/// What one call sends over TCP, from all ranks: the mean over a loop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PerCall {
    /// Messages that connections sent.
    pub messages: f64,
    /// What they travelled as.
    pub wire_messages: f64,
    /// Payload.
    pub bytes: f64,
    /// Payload from a NIC of one rail to one of another, over the spine.
    pub crossing_bytes: f64,
    /// Payload by the rail of the NIC that sent it.
    pub rail_bytes: Vec<f64>,
}

impl PerCall {
    /// Out of its numbers, in the order of the fields.
    pub fn of(numbers: &[f64]) -> Self {
        let number = |place: usize| numbers.get(place).copied().unwrap_or(0.0);
        Self {
            messages: number(0),
            wire_messages: number(1),
            bytes: number(2),
            crossing_bytes: number(3),
            rail_bytes: numbers.get(4..).unwrap_or_default().to_vec(),
        }
    }
}

impl PerCall {
    /// Whether fewer wire messages were counted than this call alone can do with: some held what comes after it too,
    /// of the next call or of the call that ranks meet in before they count.
    pub fn has_joined_others(&self, ideal: Option<&Self>) -> bool {
        const ROUNDING: f64 = 0.05;
        ideal.is_some_and(|ideal| self.wire_messages + ROUNDING < ideal.wire_messages)
    }
}

impl From<Ideal> for PerCall {
    fn from(ideal: Ideal) -> Self {
        let Ideal { messages, wire_messages, bytes, rail_bytes, crossing_bytes, .. } = ideal;
        let [messages, wire_messages, bytes, crossing_bytes] =
            [messages, wire_messages, bytes, crossing_bytes].map(|number| number as f64);
        let rail_bytes = rail_bytes.into_iter().map(|bytes| bytes as f64).collect();
        Self { messages, wire_messages, bytes, crossing_bytes, rail_bytes }
    }
}

/// What all ranks have sent in the whole run.
#[derive(Debug, Default)]
pub struct Sent {
    /// By transport.
    pub transports: BTreeMap<&'static str, Counters>,
    /// By NIC, in the order of the ranks that own them; none where nothing goes over the network.
    pub nics: Vec<Nic>,
    /// The wires between nodes that the world needs, ideally.
    pub ideal_wires: u64,
}

impl Sent {
    /// Wires that ranks send on.
    pub fn wires(&self) -> u64 {
        self.nics.iter().map(|nic| nic.wires).sum()
    }

    /// Of the NICs of each of so many rails: payload, and of it what went by way of relays.
    pub fn by_rail(&self, rails: usize) -> Vec<(u64, u64)> {
        let mut all = vec![(0, 0); rails];
        for nic in &self.nics {
            if let Some((bytes, relayed)) = all.get_mut(nic.rail as usize) {
                *bytes += nic.bytes;
                *relayed += nic.relayed_bytes;
            }
        }
        all
    }
}

/// What has travelled over one transport, from all ranks.
#[derive(Debug, Clone, Serialize)]
pub struct Counters {
    /// Messages that connections sent.
    pub messages: u64,
    /// What they travelled as.
    pub wire_messages: u64,
    /// Messages in one wire message; none where nothing was sent.
    pub mean_group: Option<f64>,
    /// Payload.
    pub bytes: u64,
    /// Messages that another rank of the sender's node sent on, on the receiver's rail.
    pub relayed: u64,
    /// Their payload.
    pub relayed_bytes: u64,
    /// Why wire messages left, on wires that the ranks of a node share.
    pub flushes: BTreeMap<&'static str, u64>,
}

/// What a rank has sent from its NIC, or from all of its NICs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Nic {
    /// The rank.
    pub rank: u32,
    /// The rail that its NIC is on, or the first of them is.
    pub rail: u64,
    /// NICs that it sends by over ibverbs, if it does.
    pub nics: u64,
    /// Wires that it sends on.
    pub wires: u64,
    /// Payload that left on them.
    pub bytes: u64,
    /// Of that, what other ranks of the node sent, by way of this one.
    pub relayed_bytes: u64,
}
