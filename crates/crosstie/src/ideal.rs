//! Owns the ideal counts of a communicator's calls: what each would put on the network if messages left with as
//! many others as can be, as it was set up.

use crosstie_ir::{ChannelId, Collective, DataType, Plan, Rank};
use crosstie_planner::{Ideal, Message, Nodes, Rails, Relayed, Ways, ideal, messages, wires};
use crosstie_transport::tcp::PIECE_BYTES;

use crate::{Communicator, Transport, select};

/// The world, as ideal counts depend on it.
struct World<'a> {
    nodes: &'a Nodes,
    rails: Rails,
    memory: bool,
    most: u8,
}

impl World<'_> {
    fn ways(&self, relays: Relayed) -> Ways<'_> {
        let Self { nodes, rails, memory, most } = self;
        let piece_bytes = PIECE_BYTES as u64;
        Ways { nodes, rails, relays, memory: *memory, most: *most, piece_bytes }
    }
}

impl Communicator {
    /// What a call puts on the network, all ranks together, if messages leave with as many others as can be:
    /// what [`counters`](Self::counters) of a run are held against. `count` is in elements: of the buffer
    /// where it is whole, as in all_reduce, else of one rank's block. Nothing for
    /// [`Collective::SendRecv`], whose messages are its callers': [`ideal_exchange`](Self::ideal_exchange).
    ///
    /// ```
    /// # use crosstie::{Collective, DataType, Pxn, Settings, Threads, Transport};
    /// let settings = Settings::default().transport(Transport::Auto).pxn(Pxn::On);
    /// Threads::new(8).nodes(2).settings(settings).run(|comm| {
    ///     let ideal = comm.ideal(Collective::AllToAll, DataType::U8, 1024);
    ///     assert_eq!((ideal.messages, ideal.wire_messages, ideal.bytes), (32, 8, 32 << 10));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn ideal(&self, collective: Collective, data_type: DataType, count: u64) -> Ideal {
        let algorithm = self.algorithm(collective, data_type, count);
        let part = |rank| select::plan(collective, algorithm, false, &self.nodes, rank);
        let parts: Vec<Plan> = (0..self.size()).map(part).collect();
        let Ok(plan) = Plan::merge(&parts) else { return Ideal::default() };
        let parts = algorithm.parts(collective, self.size());
        let map = select::chunk_map(collective, data_type, count, parts, self.slot_bytes);
        let block = select::message_bytes(collective, data_type, count, self.size());
        let past = self.goes_past_relays(collective, algorithm, Some(block));
        let relays = if past { self.settings.rails.relayed_past() } else { Relayed::Always };
        ideal(messages(&plan, &map), &self.ideal_world().ways(self.if_any(relays)))
    }

    /// As [`ideal`](Self::ideal), for messages between pairs: (sender, receiver, bytes).
    pub fn ideal_exchange(&self, blocks: impl IntoIterator<Item = (u32, u32, u64)>) -> Ideal {
        let longest = self.slot_bytes.max(1) as u64;
        let cut = |(from, to, bytes): (u32, u32, u64)| {
            (0..bytes.div_ceil(longest).max(1)).map(move |place| Message {
                from: Rank(from),
                to: Rank(to),
                channel: ChannelId(0),
                bytes: longest.min(bytes - place * longest),
            })
        };
        let ways = self.if_any(Relayed::Always);
        ideal(blocks.into_iter().flat_map(cut), &self.ideal_world().ways(ways))
    }

    /// The wires that the ranks of all nodes need to send each other, ideally.
    pub fn ideal_wires(&self) -> u64 {
        let world = self.ideal_world();
        let mut all = wires(&world.ways(self.if_any(Relayed::Always)));
        if self.settings.has_relays() && self.settings.rails.has_ways_past() {
            all.extend(wires(&world.ways(self.settings.rails.relayed_past())));
        }
        all.len() as u64
    }

    fn if_any(&self, relays: Relayed) -> Relayed {
        if self.settings.has_relays() { relays } else { Relayed::Never }
    }

    fn ideal_world(&self) -> World<'_> {
        World {
            nodes: &self.nodes,
            rails: self.settings.rails.of(&self.nodes),
            memory: self.settings.transport != Transport::Tcp,
            most: self.settings.rails.most,
        }
    }
}
