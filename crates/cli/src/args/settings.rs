//! Owns the flags of `crosstie bench` that are settings of the library, each by the name of its variable.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use crosstie::{Algorithm, Detect, Flush, Protocol, Pxn, ReductionOrder, Settings};

use super::words::{self, Words};

/// What the library is told; what is not said here it finds by itself.
#[derive(Debug, Clone, Args)]
pub struct SettingFlags {
    /// The algorithm to take wherever it suits: ring, direct, flat, tree, hierarchical, canonical,
    /// pat [default: auto, the fastest for each size]
    #[arg(long, value_name = "NAME", value_parser = ALGORITHMS, help_heading = "World")]
    #[arg(hide_possible_values = true)]
    pub algo: Option<Forced>,

    /// How messages pass inside a node: copy (by way of slots), lend (wherever a value lies in shared
    /// buffers, however short) [default: auto, lent where that is faster]
    #[arg(long, value_name = "NAME", value_parser = PROTOCOLS, help_heading = "World")]
    #[arg(hide_possible_values = true)]
    pub proto: Option<Protocol>,

    /// Measured times by which algorithms are chosen, as `crosstie tune` writes them [default: what is built in]
    #[arg(long, value_name = "FILE", help_heading = "World")]
    pub tune_file: Option<PathBuf>,

    /// Bytes of the longest message [default: 128K; 512K where all go over the network]
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "World")]
    pub slot_bytes: Option<usize>,

    /// In what order values are reduced: fast, or canonical, the same bits on any nodes, transports and algorithms [default: fast]
    #[arg(long, value_name = "fast|canonical", help_heading = "World")]
    pub reduction_order: Option<ReductionOrder>,

    /// Bytes that each rank may allocate: slots, scratch memory and shared buffers [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = crosstie::parse_bytes, help_heading = "World")]
    pub memory_limit: Option<u64>,

    /// Bytes that the shared buffers of each rank may have [default: as many as the host has memory]
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "World")]
    pub heap_bytes: Option<usize>,

    /// Each node is the machine that this NCCL topology file describes, or that was captured: rank r plays GPU r mod k of its k
    /// GPUs on node r div k (its NICs where it has no GPUs), and its rail is that of the GPU's nearest NIC; of a
    /// file of several hosts (topology/nvl72.xml) node n plays host n, and --nodes divides their number
    #[arg(long, value_name = "FILE.xml", help_heading = BETWEEN, conflicts_with = "rails")]
    pub topo: Option<PathBuf>,

    /// Whether each node's machine is found out when ranks meet: on, off, or the folder of another machine's files,
    /// which --capture of crosstie topo tells [default: on]
    #[arg(long, value_name = "on|off|DIR", help_heading = BETWEEN)]
    pub detect: Option<Detect>,

    /// Rails (NICs) of each node [default: one for each address of CROSSTIE_NICS, without those for each NIC that
    /// the nodes have, if that is several, else for each rank of the largest node]
    #[arg(long, value_name = "N", help_heading = BETWEEN)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub rails: Option<u32>,

    /// Whether messages go by way of the rank whose NIC is on the receiver's rail: on, off, auto (blocks
    /// below --relay-below, in operations that gain by it) [default: off]
    #[arg(long, value_name = "on|off|auto", help_heading = BETWEEN)]
    pub pxn: Option<Pxn>,

    /// With --pxn auto, bytes of a block from which on it goes past relays; unlimited: none does [default: as many
    /// as relays pay for by the cost model; none that would cross rails does]
    #[arg(long, value_name = "SIZE|unlimited", value_parser = RELAY_BELOW, help_heading = BETWEEN)]
    #[arg(hide_possible_values = true)]
    pub relay_below: Option<u64>,

    /// Messages of a node's ranks that may leave as one wire message, where they share a wire; 1: each
    /// alone [default: 8]
    #[arg(long, value_name = "1..8", help_heading = BETWEEN)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=8))]
    pub aggregate: Option<u8>,

    /// Receives of a connection over a network that a rank opens before it needs them [default: 0]
    #[arg(long, value_name = "0..7", help_heading = BETWEEN)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=7))]
    pub open_ahead: Option<u8>,

    /// How long a message waits for others that may leave with it: auto, full (for all that are
    /// expected), or a time: 5us, or 5000 (nanoseconds), 10ms at most [default: auto]
    #[arg(long, value_name = "auto|full|TIME", help_heading = BETWEEN)]
    pub flush: Option<Flush>,

    /// How long a call waits for ranks that have not made it: 30s, 500ms, 2m [default: 30m]
    #[arg(long, value_name = "TIME", value_parser = crosstie::parse_duration, help_heading = "Deadlines")]
    pub timeout: Option<Duration>,

    /// How long a call that all ranks have made may move nothing; half as long, and a path between two ranks
    /// that gives no answer is taken for cut [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = crosstie::parse_duration, help_heading = "Deadlines")]
    pub stall: Option<Duration>,

    /// Deadline for all ranks to meet and connect [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = crosstie::parse_duration, help_heading = "Deadlines")]
    pub init_timeout: Option<Duration>,

    /// Time between the signs of life that the ranks exchange [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = crosstie::parse_duration, help_heading = "Deadlines")]
    pub heartbeat: Option<Duration>,

    /// A rank that shows no sign of life for this long is gone [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = crosstie::parse_duration, help_heading = "Deadlines")]
    pub silence: Option<Duration>,
}

const BETWEEN: &str = "Between nodes";

impl SettingFlags {
    /// `settings` with what these flags say.
    pub fn applied_to(&self, mut settings: Settings) -> Settings {
        settings = told(settings, self.forced(), Settings::algorithm);
        settings = told(settings, self.proto, Settings::protocol);
        settings = told(settings, self.tune_file.clone(), Settings::tune_file);
        settings = told(settings, self.slot_bytes, Settings::slot_bytes);
        settings = told(settings, self.reduction_order, Settings::reduction_order);
        settings = told(settings, self.memory_limit, Settings::memory_limit);
        settings = told(settings, self.heap_bytes, Settings::heap_bytes);
        settings = told(settings, self.topo.clone(), Settings::topo_file);
        settings = told(settings, self.detect.clone(), Settings::detect);
        settings = told(settings, self.rails, Settings::rails);
        settings = told(settings, self.pxn, Settings::pxn);
        settings = told(settings, self.relay_below, Settings::relay_below);
        settings = told(settings, self.aggregate, Settings::aggregate);
        settings = told(settings, self.open_ahead, Settings::open_ahead);
        settings = told(settings, self.flush, Settings::flush);
        settings = told(settings, self.timeout, Settings::timeout);
        settings = told(settings, self.stall, Settings::stall);
        settings = told(settings, self.init_timeout, Settings::init_timeout);
        settings = told(settings, self.heartbeat, Settings::heartbeat);
        told(settings, self.silence, Settings::silence)
    }

    /// The algorithm that is forced, if one is.
    pub fn forced(&self) -> Option<Algorithm> {
        self.algo.and_then(|Forced(algorithm)| algorithm)
    }
}

fn told<T>(settings: Settings, value: Option<T>, with: fn(Settings, T) -> Settings) -> Settings {
    match value {
        Some(value) => with(settings, value),
        None => settings,
    }
}

/// An algorithm that is forced, if any is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forced(pub Option<Algorithm>);

const ALGORITHMS: Words<Forced> =
    Words::new(algorithm, || words::with(Algorithm::ALL.map(Algorithm::name), "auto"));
const PROTOCOLS: Words<Protocol> =
    Words::new(str::parse, || Protocol::ALL.map(Protocol::name).into());
const RELAY_BELOW: Words<u64> = Words::new(bound, || vec![UNLIMITED]);
const UNLIMITED: &str = "unlimited";

fn algorithm(text: &str) -> Result<Forced, String> {
    match text {
        "auto" => Ok(Forced(None)),
        name => Algorithm::named(name).map(|algorithm| Forced(Some(algorithm))).ok_or_else(|| {
            format!("expected auto, {}", Algorithm::ALL.map(Algorithm::name).join(", "))
        }),
    }
}

fn bound(text: &str) -> Result<u64, String> {
    match text {
        UNLIMITED => Ok(u64::MAX),
        bytes => crosstie::parse_bytes(bytes).map_err(|what| format!("{what}; or {UNLIMITED}")),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    let bytes = crosstie::parse_bytes(text)?;
    usize::try_from(bytes).map_err(|_| format!("{bytes} bytes are more than addresses can count"))
}
