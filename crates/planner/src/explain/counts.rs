//! Owns the counts of a plan: wires between nodes, what operations put on them ideally, and the algorithm of
//! each at each size.

use alloc::vec::Vec;
use core::num::NonZero;

use crosstie_ir::{ChunkMap, Collective, Layout, Rank};

use crate::search::Node;
use crate::{
    Algorithm, Choice, MachinesError, Nodes, PlanRequest, Rails, Reach, ReductionOrder, Selection,
    Ways, ideal, messages, plan_world, wires,
};

/// Bytes of a block in the calls whose messages are counted: each is one piece.
pub const BLOCK: u64 = 1 << 10;
/// Bytes of the longest piece.
const PIECE: u64 = 128 << 10;
/// Messages that leave together at most.
const TOGETHER: u8 = 8;
/// Plans of larger worlds have millions of messages.
pub const MOST_RANKS_COUNTED: u32 = 512;
const ROOT: Rank = Rank(0);
/// The operations that are counted.
const OPERATIONS: [Collective; 6] = [
    Collective::AllReduce,
    Collective::AllGather,
    Collective::ReduceScatter,
    Collective::AllToAll,
    Collective::Broadcast { root: ROOT },
    Collective::Reduce { root: ROOT },
];
/// The sizes at which algorithms are told: of the whole buffer, or of one block.
const SIZES: [u64; 8] = [8, 1 << 10, 8 << 10, 64 << 10, 512 << 10, 4 << 20, 32 << 20, 256 << 20];

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
    /// Wires from a node to each other node, on each channel.
    pub wires: u64,
    /// The same without relays.
    pub wires_direct: u64,
    /// What operations send; empty of worlds too large to count.
    pub sent: Vec<Sent>,
    /// How they are carried out.
    pub chosen: Vec<Chosen>,
}

impl Counts {
    /// The counts of a world of nodes of one kind.
    pub fn of(node: &Node<'_>, world: &Nodes, pxn: bool) -> Result<Self, MachinesError> {
        let each = node.members.len() as u32;
        let kinds = core::slice::from_ref(node);
        let between_two = |relays| -> Result<u64, MachinesError> {
            let two = Nodes::new((0..2 * each).map(|rank| rank / each).collect());
            let Ok(two) = two else { return Ok(0) };
            let rails = Rails::of_machines(&two, kinds, &[0, 0])?;
            // All wires go between the two, half of them either way.
            Ok(wires(&ways(&two, &rails, relays)).len() as u64 / 2)
        };
        let alone = world.count() < 2;
        let wires = if alone { 0 } else { between_two(pxn)? };
        let wires_direct = if alone { 0 } else { between_two(false)? };
        let reach = if alone { Reach::Memory } else { Reach::Nodes };
        let selection = Selection { reach, forced: None, order: ReductionOrder::Fast };
        let sent = match world.ranks() {
            ..=MOST_RANKS_COUNTED => {
                let rails =
                    Rails::of_machines(world, kinds, &alloc::vec![0; world.count() as usize])?;
                let ways = ways(world, &rails, pxn);
                OPERATIONS.iter().map(|&operation| sent(operation, &selection, &ways)).collect()
            }
            _ => Vec::new(),
        };
        let at = |operation: Collective| {
            SIZES.iter().map(move |&bytes| Chosen {
                operation: operation.name(),
                bytes,
                choice: selection.choice(operation, world, bytes),
            })
        };
        Ok(Self {
            wires,
            wires_direct,
            sent,
            chosen: OPERATIONS.into_iter().flat_map(at).collect(),
        })
    }
}

fn ways<'a>(nodes: &'a Nodes, rails: &'a Rails, relays: bool) -> Ways<'a> {
    Ways { nodes, rails, relays, memory: true, most: TOGETHER, piece_bytes: PIECE }
}

/// One call with blocks of [`BLOCK`] bytes, or a whole buffer of one for each rank.
fn sent(collective: Collective, selection: &Selection, ways: &Ways<'_>) -> Sent {
    let ranks = ways.nodes.ranks();
    let whole = if collective.is_whole() { BLOCK * u64::from(ranks) } else { BLOCK };
    let algorithm = selection.algorithm(collective, ways.nodes, whole);
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
