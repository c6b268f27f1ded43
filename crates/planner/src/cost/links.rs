//! Owns how fast the links of a world are: one line for each class of hop, with where its numbers come from.

use alloc::collections::{BTreeMap, BTreeSet};

use crosstie_topo::{Bandwidth, GpuModel, LinkKind, Topology, VertexId};

use super::Pattern;
use crate::search::{Fullest, Node, Rings};

/// What carries a message from rank to rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HopClass {
    /// Memory that processes of a host share.
    SharedMemory,
    /// TCP.
    Tcp,
    /// NVLink of a Volta GPU, or older.
    NvLinkVolta,
    /// NVLink of an Ampere GPU.
    NvLinkAmpere,
    /// NVLink of a Hopper GPU.
    NvLinkHopper,
    /// NVLink of a Blackwell GPU.
    NvLinkBlackwell,
    /// PCIe between GPUs.
    Pcie,
    /// InfiniBand or RoCE: topologies do not tell which.
    Rdma,
}

impl HopClass {
    /// The name that people and JSON see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SharedMemory => "shared memory",
            Self::Tcp => "TCP",
            Self::NvLinkVolta | Self::NvLinkAmpere | Self::NvLinkHopper | Self::NvLinkBlackwell => {
                "NVLink"
            }
            Self::Pcie => "PCIe",
            Self::Rdma => "RDMA",
        }
    }

    /// The NVLink of a GPU of this compute capability, as topologies write it (90 is 9.0).
    pub const fn nvlink(sm: u32) -> Self {
        match sm {
            0..80 => Self::NvLinkVolta,
            80..90 => Self::NvLinkAmpere,
            90..100 => Self::NvLinkHopper,
            _ => Self::NvLinkBlackwell,
        }
    }

    /// Whether this library's own transports carry messages over it today.
    pub const fn is_carried(self) -> bool {
        matches!(self, Self::SharedMemory | Self::Tcp)
    }

    /// Its line of the table.
    pub const fn hop(self) -> Hop {
        let mut at = 0;
        while at < HOPS.len() {
            if HOPS[at].class as u8 == self as u8 {
                return HOPS[at];
            }
            at += 1;
        }
        HOPS[0]
    }
}

/// Where numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This library was measured, by this command.
    Measured(&'static str),
    /// Published; where.
    Public(&'static str),
}

/// What a message costs on hops of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The class.
    pub class: HopClass,
    /// From the sender's call to the receiver's end of waiting, of a message of no length.
    pub latency_ns: u64,
    /// The longest message that waits for no grant (eager); 0 where none needs one.
    pub eager_bytes: u64,
    /// What a longer one waits for its grant (rendezvous).
    pub grant_ns: u64,
    /// How long a rank is busy with each message that it sends or receives.
    pub message_ns: u64,
    /// What a call takes longer for each wire message between two nodes, all of their ranks together: 0 where messages
    /// have no wires.
    pub wire_message_ns: u64,
    /// Bytes of the longest group of messages that leave as one wire message.
    pub group_bytes: u64,
    /// At what rate messages reach a relay, where that is not the payload below.
    pub relay_mb_s: Option<u64>,
    /// Payload of one rank or NIC, each direction.
    pub mb_s: u64,
    /// Where these come from.
    pub source: Source,
}

const fn measured(
    class: HopClass,
    [latency_ns, eager_bytes, grant_ns, message_ns, mb_s]: [u64; 5],
    command: &'static str,
) -> Hop {
    Hop {
        class,
        latency_ns,
        eager_bytes,
        grant_ns,
        message_ns,
        wire_message_ns: 0,
        group_bytes: u64::MAX,
        relay_mb_s: None,
        mb_s,
        source: Source::Measured(command),
    }
}

const fn public(class: HopClass, [latency_ns, mb_s]: [u64; 2], source: &'static str) -> Hop {
    Hop {
        class,
        latency_ns,
        eager_bytes: u64::MAX,
        grant_ns: 0,
        message_ns: 0,
        wire_message_ns: 0,
        group_bytes: MESSAGE_BYTES,
        relay_mb_s: None,
        mb_s,
        source: Source::Public(source),
    }
}

/// Messages longer than this travel as several, where nobody says otherwise.
pub const MESSAGE_BYTES: u64 = 128 << 10;

/// What was measured, on 2 cores of an AMD EPYC server, TCP over loopback: times of the built-in table.
const COMMAND: &str = "crosstie tune --budget-ms 4 --rounds 5";

/// The constants. Columns of what was measured: latency, the longest eager message, what a grant adds, what a
/// message occupies its rank, MB/s. Of what is public: latency of a hop (protocol Simple) and MB/s of all of
/// a GPU's links, or of a NIC.
const HOPS: &[Hop] = &[
    // 2 ranks: all_reduce flat 8 B 337 ns, ring 456; ring 2 MiB 129 us. To relays: all_to_all of 8 to 32 KiB on 2 nodes
    // of 4 and of 8 ranks, `bench all_to_all --nodes 2 --ranks 8 --pxn auto --relay-below unlimited -b 64K -e 256K -i 64K`,
    // takes 0.56 to 0.8 ns longer for each byte relayed.
    Hop {
        relay_mb_s: Some(1_750),
        ..measured(HopClass::SharedMemory, [130, u64::MAX, 0, 90, 16_000], COMMAND)
    },
    // 2 ranks: all_reduce flat 8 B 8.7 us, ring 15.7; flat 32 KiB 33 us; direct 2 MiB 437 us. Of wire messages: all_to_all
    // of 64 B to 8 KiB on 2 nodes of 4 and of 8 ranks, direct and by relays (`benches/rails`), takes 3.6 to 5.8 us longer
    // for each. So relays pay below 24 KiB with 4 ranks to a node, and below 40 with 8. Medians in us, by relays and
    // direct: 4 ranks, 8 KiB 266 and 478, 16 KiB 526 and 438, 24 KiB 554 and 507, 32 KiB 735 and 528; 8 ranks, 16 KiB 1594
    // and 2262, 32 KiB 2752 and 4079, 48 KiB 3636 and 4936.
    Hop {
        wire_message_ns: 4_700,
        group_bytes: MESSAGE_BYTES,
        ..measured(HopClass::Tcp, [7_000, EAGER_BYTES, 17_000, 800, 4_800], COMMAND)
    },
    public(
        HopClass::NvLinkVolta,
        [3_400, 120_000],
        "NCCL src/graph/tuning.cc, hwLatencies; src/graph/topo.h, 6 links of 20 GB/s",
    ),
    public(
        HopClass::NvLinkAmpere,
        [3_400, 240_000],
        "NCCL src/graph/tuning.cc, hwLatencies; src/graph/topo.h, 12 links of 20 GB/s",
    ),
    public(
        HopClass::NvLinkHopper,
        [3_400, 370_800],
        "NCCL src/graph/tuning.cc, hwLatencies; src/graph/topo.h, 18 links of 20.6 GB/s",
    ),
    public(
        HopClass::NvLinkBlackwell,
        [3_400, 721_800],
        "NCCL src/graph/tuning.cc, hwLatencies; src/graph/topo.h, 18 links of 40.1 GB/s",
    ),
    public(
        HopClass::Pcie,
        [5_700, 12_000],
        "NCCL src/graph/tuning.cc, hwLatencies; src/graph/topo.h, 16 lanes of generation 3",
    ),
    Hop {
        message_ns: 1_000,
        wire_message_ns: 1_000,
        ..public(
            HopClass::Rdma,
            [14_000, 25_000],
            "NCCL src/graph/tuning.cc, hwLatencies, NET, and 1 us for each step of a proxy; 200 Gb/s unless the topology says",
        )
    },
];

/// The longest message that TCP sends without a grant: its standing slots have that many bytes.
pub const EAGER_BYTES: u64 = 4096;

/// The shortest value that a sender lends to a rank that shares its memory.
pub const LENT_BYTES: u64 = 4096;

/// How a message travels over this library's transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Carriage {
    /// Copied into a slot by the sender and out of it by the receiver.
    Copy,
    /// Read where it lies, if that is memory of `alloc` or registered; else copied.
    Lend,
    /// Sent at once, into a slot that stands ready.
    Eager,
    /// Sent when its receiver has granted a place.
    Rendezvous,
}

impl Carriage {
    /// Of a message of so many bytes over such a hop; `None` where this library carries nothing yet.
    pub const fn of(hop: &Hop, bytes: u64) -> Option<Self> {
        match hop.class {
            HopClass::SharedMemory if bytes < LENT_BYTES => Some(Self::Copy),
            HopClass::SharedMemory => Some(Self::Lend),
            HopClass::Tcp if bytes <= hop.eager_bytes => Some(Self::Eager),
            HopClass::Tcp => Some(Self::Rendezvous),
            _ => None,
        }
    }

    /// The name that people and JSON see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Lend => "lend",
            Self::Eager => "eager",
            Self::Rendezvous => "rendezvous",
        }
    }
}

/// What the ways of a cluster to the network carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// What a rank's own NICs carry, bounded by what joins its GPU to them; of all ranks the least.
    pub rank_mb_s: u64,
    /// What those of a node do together.
    pub node_mb_s: u64,
    /// What is on them where each rank has as much for each of other nodes.
    pub exchange: Exchange,
}

/// By pattern, in the order of [`Pattern::ALL`]: which link of a node is the fullest.
pub type Shared = [Fullest; Pattern::ALL.len()];

/// An exchange of each rank with each rank of other nodes, by the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// What a node sends, MB/s, when the fullest of the links to its NICs is full.
    pub mb_s: u64,
    /// Wires at which the busiest rank sends or receives.
    pub wires: u64,
    /// Ranks that share a wire, by a relay; 1 where none do.
    pub together: u64,
    /// Chunks that the busiest rank hands to relays, or is handed as one, whatever is more.
    pub relayed: u64,
}

impl Exchange {
    /// Wire messages of the busiest rank, of chunks of so many bytes: of each sender at most one piece is in each, and
    /// what is together does not exceed the longest piece.
    pub(super) fn messages(&self, chunk: u128, piece_bytes: u64) -> u128 {
        let (piece, together) = (u128::from(piece_bytes.max(1)), u128::from(self.together));
        let pieces = chunk.div_ceil(piece).max(1);
        let full = (together * pieces).div_ceil(u128::from(TOGETHER));
        let long = together.saturating_mul(chunk).div_ceil(piece);
        u128::from(self.wires) * full.max(long).max(pieces)
    }
}

/// Messages that leave together at most.
pub const TOGETHER: u8 = 8;

/// The links of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Links {
    /// Between ranks of a node.
    pub inside: Hop,
    /// Between nodes.
    pub between: Hop,
    /// What ranks leave each other of the links that they share, where these are known.
    pub shared: Option<Shared>,
    /// What the NICs of a node carry together, each rank by its own; `None` where ranks do not share any.
    pub node_mb_s: Option<u64>,
    /// What exchanges of each rank with each make of the routes, where these are known.
    pub exchange: Option<Exchange>,
    /// What a node's memory bears for all of its ranks, where they share it.
    pub memory_mb_s: Option<u64>,
    /// What the rings that were found for the machine carry together.
    pub rings_mb_s: Option<u64>,
    /// What its trees carry together.
    pub trees_mb_s: Option<u64>,
    /// Ranks of a node by which these leave it, each with a share of the messages.
    pub gates: u64,
    /// Bytes of the longest message.
    pub message_bytes: u64,
}

/// Memory of the host on which [`HopClass::SharedMemory`] was measured: all_reduce by ring of 256 KiB on 8 ranks, which
/// send 3.7 MB together, takes 161 us there.
const HOST_MEMORY_MB_S: u64 = 23_000;

impl Links {
    /// Of ranks that share memory inside their nodes, with a NIC each and TCP between nodes.
    pub const HOST: Self = Self {
        inside: HopClass::SharedMemory.hop(),
        between: HopClass::Tcp.hop(),
        shared: None,
        node_mb_s: None,
        exchange: None,
        memory_mb_s: Some(HOST_MEMORY_MB_S),
        rings_mb_s: None,
        trees_mb_s: None,
        gates: 1,
        message_bytes: MESSAGE_BYTES,
    };

    /// Of ranks that have but the network, inside their nodes too.
    pub const NETWORK: Self = Self { inside: HopClass::Tcp.hop(), ..Self::HOST };

    /// Of nodes that are such a machine: of its GPUs' links and what ranks leave each other of them, of its ways to the
    /// network where there are other nodes, and of the rings and trees that were found. Ranks without GPUs share their
    /// host's memory.
    pub fn of_machine(
        node: &Node<'_>,
        rings: &Rings,
        shared: Option<Shared>,
        network: Option<Network>,
    ) -> Self {
        let topology = node.topology;
        let Some(gpu) =
            node.members.first().and_then(|&member| Some((member, topology.gpu(member)?)))
        else {
            return Self::HOST;
        };
        let nvlink = links_mb_s(topology, gpu.0, LinkKind::Nvl);
        let inside = match (nvlink, &gpu.1.model) {
            (0, _) => Hop {
                mb_s: links_mb_s(topology, gpu.0, LinkKind::Pci).max(1),
                ..HopClass::Pcie.hop()
            },
            (mb_s, GpuModel::Nvidia { sm }) => Hop { mb_s, ..HopClass::nvlink(*sm).hop() },
            (mb_s, _) => Hop { mb_s, ..HopClass::NvLinkVolta.hop() },
        };
        let between = HopClass::Rdma.hop();
        let between = network.map_or(between, |it| Hop { mb_s: it.rank_mb_s.max(1), ..between });
        let trees_mb_s = rings.trees.iter().map(|tree| tree.bandwidth_mb_s).sum::<u64>();
        Self {
            inside,
            between,
            shared,
            node_mb_s: network.map(|network| network.node_mb_s),
            exchange: network.map(|network| network.exchange),
            memory_mb_s: None,
            rings_mb_s: Some(rings.total_mb_s()).filter(|&mb_s| mb_s > 0),
            trees_mb_s: Some(trees_mb_s).filter(|&mb_s| mb_s > 0),
            gates: gates(rings),
            ..Self::HOST
        }
    }

    /// Whether they are those that the built-in table was measured over.
    pub const fn are_carried(&self) -> bool {
        self.inside.class.is_carried() && self.between.class.is_carried()
    }
}

/// By how many of a node's GPUs rings leave it, of the node with the fewest.
fn gates(rings: &Rings) -> u64 {
    let mut gates = BTreeMap::<u32, BTreeSet<u32>>::new();
    for stretch in rings.rings.iter().flat_map(|ring| &ring.nodes) {
        let gate = stretch.relay_out.or(stretch.gpus.last().copied());
        gates.entry(stretch.node).or_default().extend(gate);
    }
    gates.values().map(|of_node| of_node.len() as u64).min().unwrap_or(1).max(1)
}

/// What all links of a kind carry from a device.
fn links_mb_s(topology: &Topology, from: VertexId, kind: LinkKind) -> u64 {
    let links = topology.links_of(from).iter().filter(|link| link.kind == kind);
    links.map(|link| mb_s(link.bandwidth)).fold(0, u64::saturating_add)
}

const fn mb_s(bandwidth: Bandwidth) -> u64 {
    bandwidth.as_bytes_per_s() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_line_with_a_source() {
        for (at, hop) in HOPS.iter().enumerate() {
            assert_eq!(hop.class as usize, at, "in the order of the classes");
            assert_eq!(hop.class.hop(), *hop);
            assert!(hop.mb_s > 0 && hop.latency_ns > 0);
            let (Source::Measured(text) | Source::Public(text)) = hop.source;
            assert!(!text.is_empty());
        }
        assert_eq!(HopClass::Rdma as usize + 1, HOPS.len());
    }
}
