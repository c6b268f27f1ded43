//! Owns ideal counts: what a call puts on the network if no message could leave with more others than it
//! does, as a function of its messages, the nodes and the rails. A run's counters are held against them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crosstie_ir::{ChannelId, ChunkMap, Plan, Rank};

use crate::{Nodes, Rails};

/// One executed send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The rank that sends.
    pub from: Rank,
    /// The rank that receives.
    pub to: Rank,
    /// The channel of their connection.
    pub channel: ChannelId,
    /// Payload.
    pub bytes: u64,
}

/// Which messages go by the relays that there are for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relayed {
    /// None.
    Never,
    /// Those whose direct way crosses rails.
    Crossing,
    /// All.
    Always,
}

/// How messages travel.
#[derive(Debug, Clone, Copy)]
pub struct Ways<'a> {
    /// Where the ranks are.
    pub nodes: &'a Nodes,
    /// The NICs.
    pub rails: &'a Rails,
    /// Which messages enter the network on their receiver's rail (PXN).
    pub relays: Relayed,
    /// Whether ranks of a node reach each other without the network.
    pub memory: bool,
    /// Messages in one wire message, at most, on wires that several ranks share.
    pub most: u8,
    /// Bytes of the longest piece, which a group of pieces does not exceed either.
    pub piece_bytes: u64,
}

/// What a call puts on the network, all ranks together, if messages leave with as many others as can be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ideal {
    /// Messages.
    pub messages: u64,
    /// What they travel as, at least.
    pub wire_messages: u64,
    /// Payload.
    pub bytes: u64,
    /// Payload by the rail of the NIC that sends it.
    pub rail_bytes: Vec<u64>,
    /// Payload that goes from one rail to another: over the spine.
    pub crossing_bytes: u64,
}

/// What one wire has to carry.
#[derive(Default)]
struct Load {
    pieces: u64,
    bytes: u64,
    by_connection: BTreeMap<(Rank, ChannelId), u64>,
}

impl Ways<'_> {
    /// The rank whose NIC sends what `from` has for `to`; `None` where the network is not needed.
    fn sender(&self, from: Rank, to: Rank) -> Option<Rank> {
        let apart = self.nodes.node_of(from)? != self.nodes.node_of(to)?;
        let crosses = || self.rails.sharing(from, to).is_some_and(|sharing| sharing.crosses);
        match (apart, self.relays) {
            (true, Relayed::Always) => self.rails.carrier(from, to),
            (true, Relayed::Crossing) if crosses() => self.rails.carrier(from, to),
            (true, _) => Some(from),
            (false, _) => (!self.memory && from != to).then_some(from),
        }
    }

    /// The rail on which what `sender` has for `to` enters the network.
    fn rail(&self, sender: Rank, to: Rank) -> Option<u32> {
        let apart = self.nodes.node_of(sender) != self.nodes.node_of(to);
        let carries = self.rails.carrier(sender, to) == Some(sender)
            && self.rails.crossing(sender, to, ChannelId(0)).is_none();
        let relays = apart && self.relays != Relayed::Never;
        self.rails.rail_of(if relays && carries { to } else { sender })
    }

    fn crosses(&self, sender: Rank, to: Rank) -> bool {
        self.nodes.node_of(sender) != self.nodes.node_of(to)
            && self.rail(sender, to) != self.rails.rail_of(to)
    }

    /// Wire messages of a load: of a connection at most one piece is in each, and pieces that are together
    /// do not exceed the longest one.
    fn wire_messages(&self, (sender, to): (Rank, Rank), load: &Load) -> u64 {
        let shared = self.relays != Relayed::Never && self.rails.carried(sender, to).len() > 1;
        let most = if shared { u64::from(self.most.max(1)) } else { load.pieces };
        let longest = load.by_connection.values().max().copied().unwrap_or(0);
        let together = load.pieces.div_ceil(most.max(1));
        together.max(load.bytes.div_ceil(self.piece_bytes.max(1))).max(longest)
    }
}

/// What these messages put on the network.
pub fn ideal(messages: impl IntoIterator<Item = Message>, ways: &Ways<'_>) -> Ideal {
    let mut ideal =
        Ideal { rail_bytes: alloc::vec![0; ways.rails.count() as usize], ..Ideal::default() };
    let mut loads: BTreeMap<(Rank, Rank), Load> = BTreeMap::new();
    for Message { from, to, channel, bytes } in messages {
        let Some(sender) = ways.sender(from, to) else { continue };
        ideal.messages += 1;
        ideal.bytes += bytes;
        if let Some(rail) = ways.rail(sender, to) {
            ideal.rail_bytes[rail as usize] += bytes;
        }
        ideal.crossing_bytes += if ways.crosses(sender, to) { bytes } else { 0 };
        let load = loads.entry((sender, to)).or_default();
        let pieces = bytes.div_ceil(ways.piece_bytes.max(1)).max(1);
        load.pieces += pieces;
        load.bytes += bytes;
        *load.by_connection.entry((from, channel)).or_default() += pieces;
    }
    let wire_messages = loads.iter().map(|(&wire, load)| ways.wire_messages(wire, load));
    ideal.wire_messages = wire_messages.sum();
    ideal
}

/// The messages of a plan of the whole world, in a call of these sizes.
pub fn messages<'a>(plan: &'a Plan, map: &'a ChunkMap) -> impl Iterator<Item = Message> + 'a {
    plan.blocks.iter().flat_map(move |block| {
        (0..map.windows_of(block)).flat_map(move |window| {
            block.instrs.iter().filter_map(move |instr| {
                let connection = plan.connections.get(instr.send_port()?.0 as usize)?;
                let chunk = instr.src_port().or(instr.dst_port());
                let bytes = chunk.map_or(0, |chunk| {
                    let slice = (instr.slice(), instr.slices());
                    let range = map.range(chunk.space, chunk.index, slice, window);
                    range.end - range.start
                });
                Some(Message {
                    from: connection.src,
                    to: connection.dst,
                    channel: connection.channel,
                    bytes,
                })
            })
        })
    })
}

/// The wires that the world needs if each rank may send to each, as (rank that sends, rank at its other end).
pub fn wires(ways: &Ways<'_>) -> BTreeSet<(Rank, Rank)> {
    let ranks = || (0..ways.nodes.ranks()).map(Rank);
    let pairs = ranks().flat_map(|from| ranks().map(move |to| (from, to)));
    pairs.filter_map(|(from, to)| Some((ways.sender(from, to)?, to))).collect()
}

#[cfg(test)]
mod tests {
    use core::num::NonZero;

    use crosstie_ir::{Collective, Layout};

    use super::*;
    use crate::{Algorithm, PlanRequest, plan_world};

    const KIB: u64 = 1 << 10;

    fn nodes(nodes: u32, each: u32) -> Nodes {
        Nodes::new((0..nodes * each).map(|rank| rank / each).collect()).unwrap()
    }

    fn of(nodes: &Nodes, relays: bool, most: u8, block: u64) -> (Ideal, usize) {
        let rails = Rails::new(nodes, None);
        let piece_bytes = 128 * KIB;
        let relays = if relays { Relayed::Always } else { Relayed::Never };
        let ways = Ways { nodes, rails: &rails, relays, memory: true, most, piece_bytes };
        let request = PlanRequest {
            collective: Collective::AllToAll,
            algorithm: Algorithm::Direct,
            nodes,
            channels: NonZero::<u16>::MIN,
            in_place: false,
        };
        let plan = plan_world(&request);
        let map = ChunkMap::new(Layout::Blocks { stride: block }, 1, block, piece_bytes);
        (ideal(messages(&plan, &map), &ways), wires(&ways).len())
    }

    #[test]
    fn an_exchange_over_relays_needs_one_wire_message_for_each_receiver_and_eight_senders() {
        // Each of 2 x 4 ranks sends to 4 on the other node, by 4 NICs.
        let (relayed, wires) = of(&nodes(2, 4), true, 8, KIB);
        assert_eq!((relayed.messages, relayed.wire_messages, wires), (32, 8, 8));
        assert_eq!((relayed.bytes, relayed.crossing_bytes), (32 * KIB, 0));
        assert_eq!(relayed.rail_bytes, [8 * KIB; 4]);
        let (alone, _) = of(&nodes(2, 4), true, 1, KIB);
        assert_eq!((alone.messages, alone.wire_messages), (32, 32));
        let (direct, wires) = of(&nodes(2, 4), false, 8, KIB);
        assert_eq!((direct.messages, direct.wire_messages, wires), (32, 32, 32));
        assert_eq!((direct.crossing_bytes, direct.rail_bytes), (24 * KIB, [8 * KIB; 4].into()));
        // A receiver hears from 8 ranks of each other node, at once.
        let (larger, wires) = of(&nodes(3, 8), true, 8, KIB);
        assert_eq!((larger.messages, larger.wire_messages, wires), (384, 48, 48));
    }

    #[test]
    fn long_messages_leave_in_pieces_that_fill_wire_messages() {
        // 4 messages of 64 KiB to each receiver are 2 of 128; each of 300 KiB is in 3 pieces, 1200 KiB in 10.
        assert_eq!(of(&nodes(2, 4), true, 8, 64 * KIB).0.wire_messages, 16);
        let (long, _) = of(&nodes(2, 4), true, 8, 300 * KIB);
        assert_eq!((long.messages, long.wire_messages), (96, 80));
        assert_eq!(of(&nodes(2, 4), false, 8, 300 * KIB).0.wire_messages, 96);
    }

    #[test]
    fn what_stays_on_a_node_needs_no_network_unless_there_is_no_memory() {
        let (one, wires) = of(&nodes(1, 4), true, 8, KIB);
        assert_eq!((one.messages, one.wire_messages, wires), (0, 0, 0));
        let nodes = nodes(2, 2);
        let rails = Rails::new(&nodes, None);
        let ways = Ways {
            nodes: &nodes,
            rails: &rails,
            relays: Relayed::Never,
            memory: false,
            most: 8,
            piece_bytes: KIB,
        };
        let inside = Message { from: Rank(0), to: Rank(1), channel: ChannelId(0), bytes: 0 };
        let counted = ideal([inside], &ways);
        assert_eq!((counted.messages, counted.wire_messages, counted.bytes), (1, 1, 0));
        assert_eq!(super::wires(&ways).len(), 12);
    }
}
