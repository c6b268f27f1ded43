//! Owns NCCL's graph files as values: the order of a node's GPUs and the NICs of each channel, as
//! `NCCL_GRAPH_DUMP_FILE` writes and `NCCL_GRAPH_FILE` reads them.
//!
//! ```xml
//! <graphs version="1">
//!   <graph id="0" pattern="4" crossnic="2" nchannels="8" speedintra="48" speedinter="48" …>
//!     <channel> <net dev="0"/> <gpu dev="0"/> <gpu dev="7"/> … <net dev="0x1"/> </channel>
//! ```
//!
//! A file is of one node; all nodes read equal ones. It says of a channel in what order it passes the GPUs, by
//! which NIC it comes in, and by which it goes out. Devices are written as `%#lx` writes them, which releases
//! that read decimal numbers take too: from 10 on with `0x`. Of a rack, the bits from 56 on count the host.
//! A GPU's `rank`, which some releases write, is that of one node's process alone: it is kept, and written by
//! nobody here, for NCCL would take it on all nodes.

mod error;
mod fit;
mod made;
mod read;
mod write;

use alloc::vec::Vec;

use crosstie_topo::PathKind;
use crosstie_topo::xml::Position;

use crate::search::{Branch, Tree};

pub use error::{GraphError, GraphFault, Unwritable};
pub use fit::{Imported, TreesTold, Unfit};

/// All that a search found for one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphFile {
    /// At most one of each id.
    pub graphs: Vec<Graph>,
}

/// What a search found for one algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Which algorithm: 0 ring, 1 tree, 2 and 4 CollNet, 3 NVLS.
    pub id: u32,
    /// How channels use the network.
    pub pattern: Pattern,
    /// Whether they change rails.
    pub cross_nic: CrossNic,
    /// What a channel takes of each link inside the node, MB/s.
    pub speed_intra_mb_s: u64,
    /// What it takes of each NIC, MB/s.
    pub speed_inter_mb_s: u64,
    /// What the network adds to a message's time, ns.
    pub latency_inter_ns: u64,
    /// The worst path between GPUs.
    pub type_intra: PathKind,
    /// The worst path between GPU and NIC.
    pub type_inter: PathKind,
    /// Whether all channels are one.
    pub same_channels: bool,
    /// The channels.
    pub channels: Vec<Channel>,
    /// Where it stood.
    pub at: Place,
}

/// A channel's way through the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The NICs by which it comes in and goes out; none on a node alone.
    pub nets: Option<[Device; 2]>,
    /// The GPUs in order; of NVLS the first alone.
    pub gpus: Vec<Device>,
    /// Where it stood.
    pub at: Place,
}

/// A GPU or a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The host, in the order of the topology file; 0 but for racks.
    pub host: u8,
    /// Its number there.
    pub dev: u32,
    /// The rank that plays a GPU, where the file says so.
    pub rank: Option<u32>,
    /// Where it stood.
    pub at: Place,
}

/// How a channel uses the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pattern {
    /// A tree whose first GPU has the parent and one child, the second the other child.
    BalancedTree,
    /// A tree whose first GPU has the parent, the second the children.
    SplitTree,
    /// A tree all of whose traffic is the first GPU's.
    Tree,
    /// In by the first GPU, out by the last.
    Ring,
    /// Multicast by the NVSwitches.
    Nvls,
    /// Reduction in the network.
    CollnetDirect,
}

impl Pattern {
    const ALL: [(u64, Self); 6] = [
        (1, Self::BalancedTree),
        (2, Self::SplitTree),
        (3, Self::Tree),
        (4, Self::Ring),
        (5, Self::Nvls),
        (6, Self::CollnetDirect),
    ];
}

/// Whether rings change rails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossNic {
    /// Each leaves by the rail that it came in by.
    No,
    /// They leave by any; NCCL passes over such graphs where `NCCL_CROSS_NIC` is 0.
    Any,
    /// Channels 2k and 2k + 1 come in by each other's rails, and odd nodes swap the two.
    Pairs,
}

impl CrossNic {
    const ALL: [(u64, Self); 3] = [(0, Self::No), (1, Self::Any), (2, Self::Pairs)];
}

/// Where something stood in its file, for errors. Equality of graphs does not look at it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place(pub Position);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// How many streams, of half of a channel's data each, the busiest node's NIC carries each way for a channel's two
/// trees; on one node, whose trees are chains, those that a link of the chain carries.
fn streams(trees: &[Tree]) -> u64 {
    let of = |node: usize| {
        let branches = trees.iter().take(2).filter_map(|tree| tree.nodes.get(node));
        let each = |branch: &Branch| branch.children.len() + usize::from(branch.parent.is_some());
        branches.map(each).sum::<usize>()
    };
    let nodes = trees.first().map_or(0, |tree| tree.nodes.len());
    (0..nodes).map(of).max().map_or(2, |most| most.max(2)) as u64
}

/// The id of rings, and that of trees.
const RING: u32 = 0;
const TREE: u32 = 1;
/// The id of NVLS, which names only the first GPU of a channel.
const NVLS: u32 = 3;
/// Channels that NCCL has room for (`MAXCHANNELS`).
const MOST_CHANNELS: usize = 64;
/// Elements that NCCL reads of a graph file (`NCCL_GRAPH_XML_MAX_NODES`).
const MOST_ELEMENTS: usize = 4096;
/// Above these bits of a device's number stands its host.
const HOST_SHIFT: u32 = 56;
