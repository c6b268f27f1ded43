//! Owns the arguments of `crosstie lab` and of the hidden step inside it.

use std::ffi::OsString;

use clap::Args;
use crosstie_lab::{Description, Rate};

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

Whatever ends it, kill -9 included, nothing is left: processes, networks and
mounts belong to namespaces of this command alone. Labs can run side by side.
It needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN) and the package iproute2.

Examples:
  crosstie lab -- bench all_to_all -b 64K -e 4M     2 nodes x 4 ranks, 4 rails
  crosstie lab --nodes 3 --ranks-per-node 8 --rate 100mbit -- bench all_to_all
  crosstie lab --counters -- bench all_reduce -b 1M -e 1M    which NIC carried what
  crosstie lab --rate none -- bench all_to_all -e 8K         as fast as it goes
  crosstie lab --no-spine -- run -- ./train                  any program's ranks
  crosstie lab --ranks-per-node 1 -- run -- ip route show table all

Exit code: that of COMMAND; 2 usage, 4 the environment (no root, no iproute2,
a kernel without veth, bridge or tbf), 130 Ctrl-C, 143 SIGTERM.";

/// Arguments of `crosstie lab`.
#[derive(Debug, Args)]
#[command(after_help = LAB_HELP)]
pub struct LabArgs {
    /// What cluster.
    #[command(flatten)]
    pub fabric: FabricArgs,

    /// When COMMAND has ended, tell on standard error what each NIC, leaf port and uplink carried
    #[arg(long)]
    pub counters: bool,

    /// `bench …` or `run -- PROGRAM`
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub command: Vec<OsString>,
}

/// The cluster that a lab is to be.
#[derive(Debug, Clone, Args)]
pub struct FabricArgs {
    /// Nodes, each a network namespace
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub nodes: u32,

    /// Ranks on each node
    #[arg(long, value_name = "G", default_value_t = 4)]
    pub ranks_per_node: u32,

    /// Rails: NICs of each node, each with a leaf of its own [default: one for each rank of a node]
    #[arg(long, value_name = "R")]
    pub rails: Option<u32>,

    /// What a NIC carries each way: 200mbit, 1gbit, 500kbit; none for no limit
    #[arg(long, value_name = "RATE", default_value = "200mbit")]
    pub rate: Rate,

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
    pub fn description(&self) -> Description {
        Description {
            nodes: self.nodes,
            ranks_per_node: self.ranks_per_node,
            rails: self.rails.unwrap_or(self.ranks_per_node),
            rate: self.rate,
            oversubscription: (!self.no_spine).then_some(self.oversubscription),
            mtu: self.mtu,
        }
    }
}

/// Arguments of the hidden step that a lab's first process takes.
#[derive(Debug, Args)]
pub struct LabInsideArgs {
    /// The process id of the command that waits outside
    pub parent: u32,
    /// That command's arguments
    #[arg(last = true, required = true)]
    pub line: Vec<OsString>,
}
