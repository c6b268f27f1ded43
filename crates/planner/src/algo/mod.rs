//! Owns the algorithms: each emits one rank's blocks of one collective.

pub(crate) mod canonical;
pub(crate) mod direct;
pub(crate) mod exchange;
pub(crate) mod flat;
pub(crate) mod hierarchical;
pub(crate) mod pat;
pub(crate) mod relayed;
pub(crate) mod ring;
pub(crate) mod rooted;
pub(crate) mod tree;

use crosstie_ir::{After, BlockId, ChannelId, Chunk, ConnId, Demand, Instr, PlanBuilder, Rank};

use crate::Nodes;

/// One rank's place on the ring of one channel.
pub(crate) struct Seat<'a> {
    pub nodes: &'a Nodes,
    pub rank: Rank,
    pub position: u32,
    pub channel: ChannelId,
    pub channels: u16,
}

impl Seat<'_> {
    fn ranks(&self) -> u32 {
        self.nodes.ranks()
    }

    /// The chunk that belongs to the rank `back` places before this one.
    fn chunk(&self, back: u32) -> u32 {
        self.nodes.ring_at(self.position, self.ranks() - back % self.ranks()).0
    }

    /// Adds an instruction on this channel's slice of its chunks.
    fn push(&self, builder: &mut PlanBuilder, block: BlockId, instr: Instr) -> After {
        builder.push(block, instr.sliced(self.channel.0, self.channels))
    }

    /// Copies the own input to its place in the output: all that a world of one rank does.
    fn keep(&self, builder: &mut PlanBuilder) {
        let block = builder.block(self.rank);
        let copy = Instr::copy(Chunk::input(0), Chunk::output(0));
        let demand = builder.collective().demand(self.rank, 0);
        let reduced = matches!(demand, Demand::Reduced { .. });
        let copy = if reduced { copy.finishing() } else { copy };
        self.push(builder, block, copy);
    }

    /// The connection to the rank `ahead` places further on the ring.
    fn to(&self, ahead: u32, builder: &mut PlanBuilder) -> ConnId {
        let peer = self.nodes.ring_at(self.position, ahead);
        builder.connection(self.rank, peer, self.channel)
    }
}
