//! Owns the making of plans: a builder that keeps the law that each connection end belongs to one
//! block, and leaves every plan in canonical order.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::plan::{After, Block, BlockId, ConnId, Connection, End, Instr, Plan, Rank, Space};
use crate::renumber::Renumber;
use crate::{ChannelId, Collective};

/// Makes a [`Plan`] block by block, for one rank or for all.
///
/// The first broken law is kept and returned by [`PlanBuilder::finish`], so that planners read as
/// the algorithm they emit.
#[derive(Debug)]
pub struct PlanBuilder {
    plan: Plan,
    ids: BTreeMap<Connection, ConnId>,
    ends: BTreeMap<(ConnId, End), BlockId>,
    fault: Option<BuildError>,
}

/// A law that the instructions given to a [`PlanBuilder`] break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An instruction went to a block that was never made.
    #[error("block {} does not exist; make it with PlanBuilder::block", .0.0)]
    NoSuchBlock(BlockId),
    /// An instruction names a connection that was never made.
    #[error("block {} uses connection {}, which does not exist", .block.0, .connection.0)]
    NoSuchConnection {
        /// The block of the instruction.
        block: BlockId,
        /// The connection it names.
        connection: ConnId,
    },
    /// A block uses the end of a connection that lies on another rank.
    #[error("block {} of rank {rank} uses an end of connection {src}->{dst} that it does not have", .block.0)]
    ForeignEnd {
        /// The block of the instruction.
        block: BlockId,
        /// Its rank.
        rank: Rank,
        /// The connection's sender.
        src: Rank,
        /// The connection's receiver.
        dst: Rank,
    },
    /// Two blocks use the same end of a connection.
    #[error("blocks {} and {} both use the same end of connection {src}->{dst}", .first.0, .second.0)]
    SharedEnd {
        /// The block that had the end.
        first: BlockId,
        /// The block that took it too.
        second: BlockId,
        /// The connection's sender.
        src: Rank,
        /// The connection's receiver.
        dst: Rank,
    },
}

impl PlanBuilder {
    /// An empty plan of `collective` in a world of `ranks`; a whole buffer is cut into a part for
    /// each rank.
    pub fn new(collective: Collective, ranks: u32) -> Self {
        let parts = if collective.is_whole() { ranks } else { 1 };
        Self::in_parts(collective, ranks, parts)
    }

    /// As [`new`](Self::new), with a whole buffer cut into `parts`.
    pub fn in_parts(collective: Collective, ranks: u32, parts: u32) -> Self {
        let plan = Plan {
            collective,
            ranks,
            parts,
            scratch_chunks: 0,
            connections: Vec::new(),
            blocks: Vec::new(),
        };
        Self { plan, ids: BTreeMap::new(), ends: BTreeMap::new(), fault: None }
    }

    /// What the plan computes.
    pub fn collective(&self) -> Collective {
        self.plan.collective
    }

    /// The connection from `src` to `dst` on `channel`; the same one each time it is asked for.
    ///
    /// The number holds within this builder only: [`PlanBuilder::finish`] renumbers.
    pub fn connection(&mut self, src: Rank, dst: Rank, channel: ChannelId) -> ConnId {
        let connection = Connection { src, dst, channel };
        *self.ids.entry(connection).or_insert_with(|| {
            self.plan.connections.push(connection);
            ConnId(self.plan.connections.len() as u32 - 1)
        })
    }

    /// A new, empty block on `rank`. As for connections, the number holds within this builder.
    pub fn block(&mut self, rank: Rank) -> BlockId {
        self.plan.blocks.push(Block { rank, instrs: Vec::new() });
        BlockId(self.plan.blocks.len() as u32 - 1)
    }

    /// Appends `instr` to `block`; the result names it, for another block to wait for.
    pub fn push(&mut self, block: BlockId, instr: Instr) -> After {
        for (conn, end) in [(instr.recv_port(), End::Recv), (instr.send_port(), End::Send)] {
            if let Some(conn) = conn
                && let Err(fault) = self.claim(block, conn, end)
            {
                self.fault.get_or_insert(fault);
            }
        }
        for chunk in [instr.src_port(), instr.dst_port()].into_iter().flatten() {
            if chunk.space == Space::Scratch {
                self.plan.scratch_chunks = self.plan.scratch_chunks.max(chunk.index + 1);
            }
        }
        let Some(Block { instrs, .. }) = self.plan.blocks.get_mut(block.0 as usize) else {
            self.fault.get_or_insert(BuildError::NoSuchBlock(block));
            return After { block, step: 0 };
        };
        instrs.push(instr);
        After { block, step: instrs.len() as u32 - 1 }
    }

    fn claim(&mut self, block: BlockId, conn: ConnId, end: End) -> Result<(), BuildError> {
        let Some(&Block { rank, .. }) = self.plan.blocks.get(block.0 as usize) else {
            return Err(BuildError::NoSuchBlock(block));
        };
        let Some(&Connection { src, dst, .. }) = self.plan.connections.get(conn.0 as usize) else {
            return Err(BuildError::NoSuchConnection { block, connection: conn });
        };
        let owner = if end == End::Send { src } else { dst };
        if owner != rank {
            return Err(BuildError::ForeignEnd { block, rank, src, dst });
        }
        let first = *self.ends.entry((conn, end)).or_insert(block);
        if first != block {
            return Err(BuildError::SharedEnd { first, second: block, src, dst });
        }
        Ok(())
    }

    /// The plan, its connections in order of (src, dst, channel) and its blocks in order of rank,
    /// so that a rank's plan equals its slice of the whole world's.
    ///
    /// # Errors
    /// The first law that an instruction broke.
    pub fn finish(self) -> Result<Plan, BuildError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut plan = self.plan;
        let conns = Renumber::new(self.ids.values().map(|id| id.0));
        plan.connections = self.ids.into_keys().collect();
        let mut order: Vec<u32> = (0..plan.blocks.len() as u32).collect();
        order.sort_by_key(|&block| plan.blocks[block as usize].rank);
        let blocks = Renumber::new(order.into_iter());
        plan.blocks.sort_by_key(|block| block.rank);
        for instr in plan.blocks.iter_mut().flat_map(|block| &mut block.instrs) {
            *instr = instr.renumbered(&conns, &blocks);
        }
        Ok(plan)
    }
}
