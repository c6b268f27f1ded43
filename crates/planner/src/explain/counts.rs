//! Owns the counts of a plan: wires between nodes, what operations put on them ideally, and the algorithm of
//! each at each size.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZero;

use crosstie_ir::{ChunkMap, Collective, Layout, Rank};

use super::refused::Refused;
use super::routes::Sample;
use crate::cost::{HopClass, Links, Network, RelayPays, Shared, Sharing, TOGETHER, Tune};
use crate::search::{Node, Rings};
use crate::{
    Algorithm, Basis, Choice, Nodes, PlanRequest, Rails, Reach, ReductionOrder, Relayed, Selection,
    Ways, ideal, messages, plan_world, wires,
};

/// Bytes of a block in the calls whose messages are counted: each is one piece.
pub const BLOCK: u64 = 1 << 10;
/// Bytes of the longest piece.
const PIECE: u64 = 128 << 10;
/// Plans of larger worlds have millions of messages.
pub const MOST_RANKS_COUNTED: u32 = 512;
const ROOT: Rank = Rank(0);
/// The operations that are counted.
pub const OPERATIONS: [Collective; 6] = [
    Collective::AllReduce,
    Collective::AllGather,
    Collective::ReduceScatter,
    Collective::AllToAll,
    Collective::Broadcast { root: ROOT },
    Collective::Reduce { root: ROOT },
];
/// The sizes at which algorithms are told: of the whole buffer, or of one block.
pub const SIZES: [u64; 8] =
    [8, 1 << 10, 8 << 10, 64 << 10, 512 << 10, 4 << 20, 32 << 20, 256 << 20];

/// What one call of an operation puts on the network.
pub struct Sent {
    /// The operation's name.
    pub operation: &'static str,
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// Messages between nodes.
    pub messages: u64,
    /// What they leave as, at least.
    pub wire_messages: u64,
}

/// What an operation is carried out by at a size.
pub struct Chosen {
    /// The operation's name.
    pub operation: &'static str,
    /// Of the whole buffer, or of one block.
    pub bytes: u64,
    /// The algorithm, and why.
    pub choice: Choice,
}

/// What a world needs.
pub struct Counts {
    /// Wires from a node to each other node, on each channel; where nodes differ, the most.
    pub wires: u64,
    /// The same without relays.
    pub wires_direct: u64,
    /// By node: its wires to all others together, on each channel.
    pub wires_of: Vec<u64>,
    /// What operations send; empty of worlds too large to count.
    pub sent: Vec<Sent>,
    /// How they are carried out.
    pub chosen: Vec<Chosen>,
    /// The file whose table decided that, if one was told.
    pub tune_file: Option<String>,
    /// What decides.
    selection: Selection,
}

impl Counts {
    /// How an operation is carried out at any size: of the whole buffer, or of one block.
    pub fn at(&self, operation: Collective, bytes: u64) -> Chosen {
        chosen(&self.selection, operation, bytes)
    }

    /// The names of the links that messages take, inside nodes and between them.
    pub fn over(&self) -> Vec<&'static str> {
        self.selection.hops().into_iter().map(HopClass::name).collect()
    }

    /// Up to which length a relay pays between a pair whose ways differ so.
    pub fn relay_pays(&self, sharing: Sharing) -> RelayPays {
        RelayPays::of(sharing, self.selection.links())
    }

    /// The links that messages take.
    pub fn links(&self) -> &Links {
        self.selection.links()
    }

    /// Whether such links are those that tables are measured over.
    pub fn are_measured(&self) -> bool {
        self.selection.hops().into_iter().all(HopClass::is_carried)
    }

    /// The counts of a world whose node i is of kind `kinds[kind_of[i]]`, whose algorithms `selection` chooses, by a
    /// table of that file, if one was told.
    pub(super) fn of(
        kinds: &[Node<'_>],
        kind_of: &[u32],
        world: &Nodes,
        pxn: bool,
        (selection, tune_file): (Selection, Option<String>),
    ) -> Result<Self, Refused> {
        let sample = Sample::of(kinds, kind_of)?;
        let rails = Rails::of_machines(&sample.world, kinds, &sample.kind_of)?;
        let (relayed, direct) = (sample.wires(&rails, pxn), sample.wires(&rails, false));
        let most = |wires: &BTreeMap<(u32, u32), u64>| wires.values().max().copied().unwrap_or(0);
        let sent = match world.ranks() {
            ..=MOST_RANKS_COUNTED => {
                let rails = Rails::of_machines(world, kinds, kind_of)?;
                let ways = ways(world, &rails, pxn);
                OPERATIONS.iter().map(|&operation| sent(operation, &selection, &ways)).collect()
            }
            _ => Vec::new(),
        };
        let at = |operation| {
            let selection = &selection;
            SIZES.iter().map(move |&bytes| chosen(selection, operation, bytes))
        };
        Ok(Self {
            wires: most(&relayed),
            wires_direct: most(&direct),
            wires_of: (0..)
                .zip(kind_of)
                .map(|(node, _)| wires_of(node, kind_of, &relayed))
                .collect(),
            sent,
            chosen: OPERATIONS.into_iter().flat_map(at).collect(),
            tune_file,
            selection,
        })
    }
}

impl Sample {
    /// The wires from a node of one kind to one of another.
    fn wires(&self, rails: &Rails, relays: bool) -> BTreeMap<(u32, u32), u64> {
        let all = wires(&ways(&self.world, rails, relays));
        let node = |rank: Rank| self.world.node_of(rank);
        let count = |(from, to): (usize, usize)| {
            let ends = (Some(self.nodes[from]), Some(self.nodes[to]));
            let count = all.iter().filter(|&&(a, b)| (node(a), node(b)) == ends).count() as u64;
            ((self.kind_of[from], self.kind_of[to]), count)
        };
        self.pairs().into_iter().map(count).collect()
    }
}

fn wires_of(node: usize, kind_of: &[u32], wires: &BTreeMap<(u32, u32), u64>) -> u64 {
    let others = kind_of.iter().enumerate().filter(|&(other, _)| other != node);
    let wires = others.map(|(_, &to)| wires.get(&(kind_of[node], to)).copied().unwrap_or(0));
    wires.sum()
}

fn chosen(selection: &Selection, operation: Collective, bytes: u64) -> Chosen {
    Chosen { operation: operation.name(), bytes, choice: selection.choice(operation, bytes) }
}

/// The choices on these nodes over the links of a machine; a table that is told comes first.
pub(super) fn selection(
    (machine, rings, (shared, network)): (&Node<'_>, &Rings, (Option<Shared>, Option<Network>)),
    world: &Nodes,
    pxn: bool,
    told: Option<&Tune>,
) -> Selection {
    let links = Links::of_machine(machine, rings, shared, network);
    let built_in = links.are_carried().then(Tune::built_in);
    let reach = if world.count() < 2 { Reach::Memory } else { Reach::Nodes };
    let (forced, order, built_in) = (None, ReductionOrder::Fast, built_in.as_ref());
    // Rings and trees of GPUs' own links keep to their rails.
    let relays = pxn && links.are_carried();
    Selection::new(world, &Basis { reach, links, forced, order, relays, told, built_in })
}

fn ways<'a>(nodes: &'a Nodes, rails: &'a Rails, relays: bool) -> Ways<'a> {
    let relays = if relays { Relayed::Always } else { Relayed::Never };
    Ways { nodes, rails, relays, memory: true, most: TOGETHER, piece_bytes: PIECE }
}

/// One call with blocks of [`BLOCK`] bytes, or a whole buffer of one for each rank.
fn sent(collective: Collective, selection: &Selection, ways: &Ways<'_>) -> Sent {
    let ranks = ways.nodes.ranks();
    let whole = if collective.is_whole() { BLOCK * u64::from(ranks) } else { BLOCK };
    let algorithm = selection.algorithm(collective, whole);
    let plan = plan_world(&PlanRequest {
        collective,
        algorithm,
        nodes: ways.nodes,
        channels: NonZero::<u16>::MIN,
        in_place: false,
    });
    let chunks = algorithm.parts(collective, ranks);
    let map = match collective.is_whole() {
        true => ChunkMap::new(Layout::Split { chunks }, 1, whole, PIECE * u64::from(chunks)),
        false => ChunkMap::new(Layout::Blocks { stride: whole }, 1, whole, PIECE),
    };
    let counted = ideal(messages(&plan, &map), ways);
    let (messages, wire_messages) = (counted.messages, counted.wire_messages);
    Sent { operation: collective.name(), algorithm, messages, wire_messages }
}
