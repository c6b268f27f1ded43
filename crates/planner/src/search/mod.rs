//! Finds the rings and trees of a cluster: for each channel the order of each node's GPUs, the NICs by which
//! it enters and leaves, the relay where it needs one, and the bandwidth that all links bear.
//!
//! ```text
//!   node 0 (even)                     node 1 (odd)                      node 2
//!   nic0 → g0 g7 … g1 → nic1  ══════  nic1 → g1 … g7 g0 → nic0  ══════  nic0 → …     channel 0
//!   nic1 → g1 … g7 g0 → nic0  ══════  nic0 → g0 g7 … g1 → nic1  ══════  nic1 → …     channel 1
//! ```
//!
//! What NCCL finds by descending a table of speeds (`src/graph/search.cc`) is here a packing problem with a
//! bound: the module `model` has the links and which of them each leg loads, `bound` says what no rings can
//! exceed (least cuts), `pack` places rings, `node` tries counts and speeds from the bound downwards, and
//! `cluster` joins nodes rail by rail. A node that differs is given the rails of the weakest.
//!
//! Everything is an integer (MB/s, 10⁶ bytes), and nothing depends on clock, chance or hash order: the same
//! value on every rank. Loads add up in each direction apart. NCCL's surcharges are not in it: ⅛ of a NIC's
//! traffic on the reverse link before sm 80, 6/5 through Intel's root complex.

mod bound;
mod cluster;
mod layout;
mod loads;
mod model;
mod node;
mod pack;
mod trees;

use alloc::vec::Vec;

use crosstie_topo::{Rails, Topology, VertexId};
use serde::Serialize;

pub use cluster::rings;
pub use loads::{Fullest, Load, loads};
pub(crate) use loads::{NodeLinks, Traffic};
pub use model::device;

/// A kind of node: its machine, and which of its devices ranks play.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// The machine.
    pub topology: &'a Topology,
    /// By local rank: its GPU, or, on a machine without GPUs, the port whose NUMA node it works on.
    pub members: Vec<VertexId>,
    /// Which port is on which rail.
    pub rails: Rails,
}

impl<'a> Node<'a> {
    /// A machine all of whose GPUs have a rank each, or, where it has none, all of whose ports on rails do.
    pub fn whole(topology: &'a Topology) -> Self {
        let rails = Rails::of(topology);
        let on_rails = || rails.iter().flat_map(|(_, ports)| ports.iter().copied());
        let members = match topology.gpus() {
            [] => on_rails().collect(),
            gpus => gpus.to_vec(),
        };
        Self { topology, members, rails }
    }

    /// The same with ranks on the GPUs of these numbers alone, in this order; numbers as [`Stretch::gpus`] has
    /// them. One that no GPU has is left out.
    #[must_use]
    pub fn with_gpus(self, devices: &[u32]) -> Self {
        let gpus = self.topology.gpus();
        let numbered = |device: u32| {
            let is = |&&gpu: &&VertexId| model::device(self.topology, gpu) == Some(device);
            gpus.iter().find(is).copied()
        };
        let members = devices.iter().filter_map(|&device| numbered(device)).collect();
        Self { members, ..self }
    }
}

/// The rings and trees of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rings {
    /// One for each channel. All have one bandwidth.
    pub rings: Vec<Ring>,
    /// Two for each channel, each for half of its data.
    pub trees: Vec<Tree>,
    /// What the rings together cannot exceed, MB/s; `None` where no link limits them.
    pub bound_mb_s: Option<u64>,
    /// The links that make that bound.
    pub cut: Option<Cut>,
    /// How the search ended.
    pub ended: Ended,
    /// How rings change rails from node to node.
    pub swap: Swap,
    /// Where rails are crossed, and why.
    pub crossings: Vec<Crossing>,
}

/// The links of a node that no rings can load with more than the bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The kind of node.
    pub kind: u32,
    /// Why all rings load them.
    pub why: CutWhy,
    /// The links, each in one direction.
    #[serde(skip)]
    pub links: Vec<CutLink>,
}

/// A link of a cut, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutLink {
    /// Where it begins.
    pub from: VertexId,
    /// Where it ends.
    pub to: VertexId,
    /// What it carries, MB/s.
    pub capacity_mb_s: u64,
}

/// Why rings cannot exceed what the links of a cut carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CutWhy {
    /// They part GPUs from each other, or from the network, and each ring passes them.
    Apart,
    /// They part GPUs from each other, and each ring passes them in one direction or the other.
    BothWays,
    /// They are all that brings data to GPUs, or takes them, and each ring comes to each.
    Through,
    /// They lead to one GPU, and each ring comes to it from another GPU than it goes to.
    Neighbours,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ended {
    /// It met the bound.
    Bound,
    /// It tried all numbers and speeds of the rings that it looks for.
    Exhausted,
    /// For some it ran out of steps.
    Budget,
    /// Nobody searched: a graph file says which rings there are.
    Told,
}

/// How rings change rails from node to node, where their way out of a node is another NIC than their way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Swap {
    /// They do not: each leaves by the rail that it came in by.
    None,
    /// Channels 2k and 2k + 1 come in by each other's rails at every other node. The number of nodes is even,
    /// so each is on its own again at the end.
    Pairs,
    /// The number of nodes is odd: from this node on, the last but two, each channel takes the rail of the
    /// next channel, twice, and the last node leads it back to its own.
    Turning {
        /// The first of the three nodes.
        from: u32,
    },
    /// The number of nodes is odd and there are too few rails to turn: at this node, the last, rings leave by
    /// the rail that they came in by, which costs a relay, or the way to a NIC that is far.
    Closing {
        /// The node.
        at: u32,
    },
    /// The number of nodes is odd and there are too few rails to turn: each pair of channels closes on a node of its
    /// own, pair p on node p modulo the number of nodes, so that no node bears it for all.
    Staggered {
        /// On how many nodes some pair closes.
        nodes: u32,
    },
}

impl Rings {
    /// What all rings carry together, MB/s.
    pub fn total_mb_s(&self) -> u64 {
        self.rings.iter().map(|ring| ring.bandwidth_mb_s).sum()
    }

    /// The same, ended by the bound where they meet it.
    fn seen(self) -> Self {
        let ended = if self.reach_bound() { Ended::Bound } else { self.ended };
        Self { ended, ..self }
    }

    /// Whether they reach the bound, but for what is left because each carries whole MB/s.
    pub fn reach_bound(&self) -> bool {
        let (total, rings) = (self.total_mb_s(), self.rings.len() as u64);
        self.bound_mb_s.is_some_and(|bound| bound == total || bound.saturating_sub(total) < rings)
    }
}

/// One channel's ring: through the nodes in order, and back to the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ring {
    /// Its channel.
    pub channel: u32,
    /// What it carries, MB/s.
    pub bandwidth_mb_s: u64,
    /// Its way through each node.
    pub nodes: Vec<Stretch>,
}

/// A ring's way through one node. Devices have the numbers of the node's file; where that has several hosts,
/// their places among all of its GPUs, or ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// The node.
    pub node: u32,
    /// The GPUs, in order (of a node without GPUs: the ports that its ranks play).
    pub gpus: Vec<u32>,
    /// The same as local ranks: places among the node's members.
    pub local_ranks: Vec<u32>,
    /// The NIC by which it comes in.
    pub nic_in: Option<u32>,
    /// The NIC by which it goes out.
    pub nic_out: Option<u32>,
    /// The GPU that would pass it from the NIC to the first: always none, for relays stand on the sender's node.
    pub relay_in: Option<u32>,
    /// The GPU that passes it from the last to the NIC.
    pub relay_out: Option<u32>,
    /// Why it needs that relay.
    pub relay_why: Option<RelayWhy>,
}

/// Why a ring passes a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RelayWhy {
    /// The ring leaves by the NIC that it came in by, and its last GPU is not near that NIC.
    OwnNic,
    /// Rings swap their rails on every other node, and the number of nodes is odd: here they swap back.
    OddNodes,
    /// The rails that the weakest node has leave this one no GPU that is near.
    OthersRails,
}

/// A place where a ring crosses from one rail to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Crossing {
    /// The ring's channel.
    pub channel: u32,
    /// The node that lacks the rail.
    pub node: u32,
    /// Whether the ring comes in there, or goes out.
    pub side: Side,
    /// The rail that it should be on.
    pub rail: u32,
    /// The rail of the NIC that it takes instead; `None` of a NIC on no rail.
    pub instead: Option<u32>,
    /// Why.
    pub why: CrossingWhy,
}

/// A side of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Where rings come in.
    In,
    /// Where they go out.
    Out,
}

/// Why rails are crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CrossingWhy {
    /// The node has no NIC on that rail.
    NoNic,
    /// It has one, but NVLink joins the sender to no GPU whose NIC that is.
    NotJoined,
    /// Nobody searched: a graph file says so.
    Told,
    /// PXN is off: each sends by its own NIC.
    PxnOff,
}

/// One of the two trees of a channel, over nodes; inside each node a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// Its channel.
    pub channel: u32,
    /// Which of the channel's two it is: who has children in one has none in the other.
    pub half: u32,
    /// What it carries, MB/s, with reduction upwards and broadcast downwards at once.
    pub bandwidth_mb_s: u64,
    /// The branches, by node.
    pub nodes: Vec<Branch>,
}

/// A node's place in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// The node.
    pub node: u32,
    /// The node above; the root has none.
    pub parent: Option<u32>,
    /// The nodes below.
    pub children: Vec<u32>,
    /// The chain of GPUs; the first talks to the other nodes.
    pub gpus: Vec<u32>,
    /// The same as local ranks.
    pub local_ranks: Vec<u32>,
    /// The NIC by which all that goes.
    pub nic: Option<u32>,
}

/// Why there are no rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// There are no nodes.
    #[error("no node was given: name at least one")]
    NoNodes,
    /// A node is of a kind that was not given.
    #[error("node {node} is of kind {kind}, of {kinds}: give its kind")]
    NoKind {
        /// The node.
        node: u32,
        /// The kind that it names.
        kind: u32,
        /// How many were given.
        kinds: u32,
    },
    /// A node has no ranks.
    #[error("nodes of kind {kind} have no rank on a GPU or port: leave them out")]
    NoRanks {
        /// The kind.
        kind: u32,
    },
    /// A node's devices are too many.
    #[error(
        "nodes of kind {kind} have {ends} GPUs and ports, at most {most} are planned for: describe one machine or rack at a time"
    )]
    TooLarge {
        /// The kind.
        kind: u32,
        /// Its GPUs and ports.
        ends: usize,
        /// The most.
        most: usize,
    },
    /// Nothing leads from each rank to each other.
    #[error("nothing joins all ranks of nodes of kind {kind}: describe the links between them")]
    Apart {
        /// The kind.
        kind: u32,
    },
    /// A node has no NIC that its ranks reach.
    #[error(
        "ranks of nodes of kind {kind} reach no NIC: describe its NICs, or plan that node alone"
    )]
    NoNic {
        /// The kind.
        kind: u32,
    },
}
