//! Owns the arguments of `crosstie lab` and of the hidden step inside it.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use crosstie_lab::{Description, Played, Port, Rate};

use crate::exit::Failure;
use crate::kind::Kind;

const LAB_HELP: &str = "\
COMMAND is bench or run, as it would stand after `crosstie`. It gets the lab's
ranks, RANKS_PER_NODE on each node; each runs in the network of its node, where
eth0, eth1 ... are the node's NICs, and the node's name is its host name. The
NIC of node I on rail J has the address 10.77.J.(I+1). NICs of a rail reach each
other through the rail's own switch (a leaf). From rail to rail all goes by way
of the spine; with --no-spine there is no way.
  rank        node = rank / RANKS_PER_NODE
  own NIC     rail = (rank mod RANKS_PER_NODE) mod RAILS
  uplink      NODES * RATE / OVERSUBSCRIPTION, from each leaf to the spine
Ranks of one node use its shared memory, which is not limited.

With --fabric it is the fabric of a file (topology/*.toml), if that is of this
shape: a leaf for each port of a node, with all nodes on it (253 at most, 64
leaves), and equal uplinks or none. Speeds of real fabrics cannot be played here:
give --rate, and NICs carry that, while uplinks keep their proportion to them.
--print-fabric prints such a file of the cluster that the other flags describe.

Whatever ends it, kill -9 included, nothing is left: processes, networks and
mounts belong to namespaces of this command alone. Labs can run side by side.
It needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN) and the package iproute2.

Examples:
  crosstie lab -- bench all_to_all -b 64K -e 4M     2 nodes x 4 ranks, 4 rails
  crosstie lab --nodes 3 --ranks-per-node 8 --rate 100mbit -- bench all_to_all
  crosstie lab --counters -- bench all_reduce -b 1M -e 1M    which NIC carried what
  crosstie lab --rate none -- bench all_to_all -e 8K         as fast as it goes
  crosstie lab --down n0r1@2s -- bench all_to_all -n 100000  a rail that fails
  crosstie lab --no-spine -- run -- ./train                  any program's ranks
  crosstie lab --fabric topology/fabric-rail-2.toml --rate 100mbit -- bench all_to_all
  crosstie lab --nodes 3 --print-fabric > mine.toml
  crosstie lab report --json report.json --svg report.svg    against the limit
  crosstie lab --ranks-per-node 1 -- run -- ip route show table all

Exit code: that of COMMAND; 2 usage, 4 the environment (no root, no iproute2,
a kernel without veth, bridge or tbf), 130 Ctrl-C, 143 SIGTERM.";

/// Arguments of `crosstie lab`.
#[derive(Debug, Args)]
#[command(after_help = LAB_HELP, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
pub struct LabArgs {
    /// A lab's own command, in place of COMMAND.
    #[command(subcommand)]
    pub own: Option<LabCommand>,

    /// What cluster.
    #[command(flatten)]
    pub fabric: FabricArgs,

    /// When COMMAND has ended, tell on standard error what each NIC, leaf port and uplink carried
    #[arg(long)]
    pub counters: bool,

    /// Cut a cable while COMMAND runs, at a time after its start: n0r1@2s (of node 0 on rail 1, which the
    /// node sees) or up1@500ms (the uplink of rail 1, which no node sees); several: repeat it
    #[arg(long, value_name = "PORT@TIME", value_parser = change)]
    pub down: Vec<Change>,

    /// Join such a cable again
    #[arg(long, value_name = "PORT@TIME", value_parser = change)]
    pub up: Vec<Change>,

    /// Print the fabric file of this cluster, and build nothing
    #[arg(long)]
    pub print_fabric: bool,

    /// `bench …` or `run -- PROGRAM`
    #[arg(value_name = "COMMAND", last = true, required_unless_present = "print_fabric")]
    pub command: Vec<OsString>,
}

/// When something happens to a cable.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// To which.
    pub port: Port,
    /// After the command's start.
    pub after: Duration,
}

fn change(text: &str) -> Result<Change, String> {
    let (port, after) = text.split_once('@').ok_or("expected PORT@TIME, as n0r1@2s")?;
    Ok(Change { port: port.parse()?, after: crosstie::parse_duration(after)? })
}

impl LabArgs {
    /// The cluster, whichever command it is for.
    pub fn description(&self) -> Result<Description, Failure> {
        match &self.own {
            Some(LabCommand::Report(report)) => report.fabric.description(),
            None => self.fabric.description(),
        }
    }
}

/// What a lab can do besides running another command.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Measure all_to_all and all_reduce over sizes, against the limit of the cluster's cables
    Report(ReportArgs),
}

const REPORT_HELP: &str = "\
For each size and each way in which messages can travel, it runs the benchmark
in a fresh world on the same cluster: the median of ROUNDS warm calls or more,
each the slowest rank's. The columns:
  way       direct: each rank by its own NIC, over the spine where the receiver's
            is on another rail (left out where there is no spine); pxn-alone: by
            way of the rank on the receiver's rail, each message alone; pxn: the
            same, several together; auto: as the library chooses, which a lab
            tells that relays are worth it at any length where uplinks carry less
            than the NICs (CROSSTIE_RELAY_BELOW=unlimited, unless it is set)
  per peer  bytes from each rank to each other in all_to_all; the buffers of
            all_reduce are as long as those of all_to_all
  time      median of one call; busbw as in `crosstie bench`
  limit     the least time in which the NICs and uplinks can carry the bytes
            that this way gives them, headers not counted (they take 4 % at an
            MTU of 1500); all_reduce: if each node sends 2 (N-1)/N of a buffer,
            over all of its NICs
  of limit  limit / time
  #wrong    elements with a wrong value, on all ranks
  wire      wire messages between nodes in one call, of all ranks, in the mean,
            and in brackets the ideal: as few as one call can do with; * marks fewer,
            where some held what came after the call too
  engine    MB that the ranks say they sent over the network in the whole run;
            relayed: those of them that another rank sent on (by NIC in --json)
  NICs      MB that all NICs say they sent; uplinks: MB up to the spine

Above the limit (of limit > 1) are sizes that the token buckets let through at
once, up to 80 KiB at each NIC.

It fails if a result is wrong. It also fails if the devices contradict the
ranks: from 256 KiB a peer on by more than 5 %, in sum, at any NIC that sends
(which may send 15 % more, where it must send again), and for all_to_all at any
NIC that receives, and any uplink; below that, where headers weigh more, if one
carried traffic that should have had none, or none where it should. 256 KB on a
device are taken for control traffic: the fewer bytes all_to_all has, the more
calls it makes (up to 1000), so that what crosses the spine would be more.

Of the environment it refuses what it chooses itself for each way, or would not
expect of the devices: CROSSTIE_PXN, _AGGREGATE, _RAILS, _NICS, _INTERFACE,
_TRANSPORT and _TOPO_FILE. Others, as CROSSTIE_FLUSH, hold, and are told.

Examples:
  crosstie lab report                             2 nodes x 4 ranks, some minutes
  crosstie lab report --sizes 1M,4M --operations all_to_all --json report.json
  crosstie lab report --nodes 3 --ranks-per-node 8 --rate 100mbit --svg report.svg

Exit code: 0 good, 1 a wrong result or traffic that went elsewhere, 2 usage,
3 a peer or a deadline, 4 the environment, 130 Ctrl-C.";

/// Arguments of `crosstie lab report`.
#[derive(Debug, Clone, Args)]
#[command(after_help = REPORT_HELP)]
pub struct ReportArgs {
    /// What cluster.
    #[command(flatten)]
    pub fabric: FabricArgs,

    /// Bytes from each rank to each other: multiples of 4
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', value_parser = per_peer)]
    #[arg(default_value = "64,1K,8K,64K,256K,1M,4M")]
    pub sizes: Vec<u64>,

    /// What to measure
    #[arg(long, value_name = "OPERATION,...", value_delimiter = ',', value_enum)]
    #[arg(default_value = "all_to_all,all_reduce")]
    pub operations: Vec<ReportedOperation>,

    /// Timed calls of each, at least
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,

    /// Also write everything into a file, as JSON
    #[arg(long, value_name = "FILE", value_parser = super::in_a_folder)]
    pub json: Option<PathBuf>,

    /// After the lines, print a table in Markdown for each operation
    #[arg(long)]
    pub markdown: bool,

    /// Also draw time and bus bandwidth over size, with the limits; several operations are drawn into
    /// FILE-OPERATION.svg each
    #[arg(long, value_name = "FILE.svg", value_parser = super::svg)]
    pub svg: Option<PathBuf>,
}

/// What a report measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ReportedOperation {
    /// Each rank has something for each
    AllToAll,
    /// The sum of all, for all
    AllReduce,
}

fn per_peer(text: &str) -> Result<u64, String> {
    let bytes = crosstie::parse_bytes(text)?;
    let fits = bytes > 0 && bytes % 4 == 0;
    fits.then_some(bytes).ok_or_else(|| "write a multiple of 4, above 0".to_owned())
}

/// The cluster that a lab is to be.
#[derive(Debug, Clone, Args)]
pub struct FabricArgs {
    /// The fabric of this file in place of --nodes, --rails and --oversubscription
    #[arg(long, value_name = "FILE.toml")]
    #[arg(conflicts_with_all = ["nodes", "rails", "oversubscription", "no_spine"])]
    pub fabric: Option<PathBuf>,

    /// Nodes, each a network namespace
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub nodes: u32,

    /// Ranks on each node [default: 4; with --fabric one for each port]
    #[arg(long, value_name = "G")]
    pub ranks_per_node: Option<u32>,

    /// Rails: NICs of each node, each with a leaf of its own [default: one for each rank of a node]
    #[arg(long, value_name = "R")]
    pub rails: Option<u32>,

    /// What a NIC carries each way: 200mbit, 1gbit, from 100kbit to 1000gbit; none for no limit [default:
    /// 200mbit; with --fabric what the file says, 10gbit at most]
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,

    /// How many times less an uplink to the spine carries than all NICs of its leaf together
    #[arg(long, value_name = "K", default_value_t = 4)]
    pub oversubscription: u32,

    /// Build no spine: rails are separate networks
    #[arg(long, conflicts_with = "oversubscription")]
    pub no_spine: bool,

    /// The longest packet
    #[arg(long, value_name = "BYTES", default_value_t = 1500)]
    pub mtu: u32,
}

impl FabricArgs {
    /// The cluster in the lab's own words.
    pub fn description(&self) -> Result<Description, Failure> {
        if let Some(file) = &self.fabric {
            let bad = |error: &dyn Display| {
                let remedy = "`crosstie lab --help` tells what it reads; --print-fabric prints one";
                Failure::usage(format!("--fabric {}: {error}", crate::file::shown(file)), remedy)
            };
            let bytes = crate::file::read(file).map_err(|e| bad(&e))?;
            let kind = Kind::of(&bytes);
            // What begins with nothing that is known may still be meant for one.
            if !matches!(kind, Kind::Fabric | Kind::Topology) || bytes.starts_with(b"<") {
                return Err(kind.refusal("--fabric", file, "a fabric"));
            }
            let (fabric, _) = crate::fabric::read(file, &bytes).map_err(|e| bad(&e))?;
            let Self { ranks_per_node, rate, mtu, .. } = *self;
            let played = Played { ranks_per_node, rate, mtu };
            return Ok(Description::of_fabric(&fabric, played)?);
        }
        let ranks_per_node = self.ranks_per_node.unwrap_or(RANKS_PER_NODE);
        Ok(Description {
            nodes: self.nodes,
            ranks_per_node,
            rails: self.rails.unwrap_or(ranks_per_node),
            rate: self.rate.unwrap_or(RATE),
            oversubscription: (!self.no_spine).then_some(self.oversubscription),
            mtu: self.mtu,
        })
    }
}

const RANKS_PER_NODE: u32 = 4;
const RATE: Rate = Rate(Some(200_000_000));

/// Arguments of the hidden step that a lab's first process takes.
#[derive(Debug, Args)]
pub struct LabInsideArgs {
    /// The process id of the command that waits outside
    pub parent: u32,
    /// That command's arguments
    #[arg(last = true, required = true)]
    pub line: Vec<OsString>,
}
