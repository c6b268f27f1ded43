//! Owns the cutting of a world's plan into one per rank, and the joining of those again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::plan::{Block, Connection, Instr, Plan, Rank, Space};
use crate::renumber::Renumber;

/// Why plans are no slices of one plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There was nothing to merge.
    #[error("no slices to merge")]
    Empty,
    /// Two slices differ in collective, number of ranks or parts.
    #[error("slice {index} is of another collective or world than slice 0")]
    Mismatch {
        /// The slice that differs from the first.
        index: usize,
    },
    /// Two slices hold blocks of the same rank.
    #[error("slice {index} holds blocks of rank {rank}, and so does one before it")]
    RankTwice {
        /// The later of the two slices.
        index: usize,
        /// The rank both hold.
        rank: Rank,
    },
}

impl Plan {
    /// The part of the plan that `rank` carries out: its blocks, and the connections that touch it.
    pub fn slice(&self, rank: Rank) -> Self {
        let mine = |c: &&Connection| c.src == rank || c.dst == rank;
        let kept = (0..).zip(&self.connections).filter(|(_, c)| mine(c)).map(|(id, _)| id);
        let conns = Renumber::new(kept);
        let kept = (0..).zip(&self.blocks).filter(|(_, b)| b.rank == rank).map(|(id, _)| id);
        let blocks = Renumber::new(kept);
        let renumbered = |block: &Block| Block {
            rank,
            instrs: block.instrs.iter().map(|i| i.renumbered(&conns, &blocks)).collect(),
        };
        let blocks: Vec<Block> =
            self.blocks.iter().filter(|b| b.rank == rank).map(renumbered).collect();
        Self {
            connections: self.connections.iter().filter(mine).copied().collect(),
            scratch_chunks: scratch_chunks(&blocks),
            blocks,
            ..*self
        }
    }

    /// The plan whose slices these are, in canonical order: connections by (src, dst, channel),
    /// blocks by rank.
    ///
    /// # Errors
    /// When `slices` is empty, or two of them differ in collective or world or share a rank.
    pub fn merge(slices: &[Self]) -> Result<Self, MergeError> {
        let first = slices.first().ok_or(MergeError::Empty)?;
        let mut owner = BTreeMap::new();
        for (index, slice) in slices.iter().enumerate() {
            let of = |plan: &Self| (plan.collective, plan.ranks, plan.parts);
            if of(slice) != of(first) {
                return Err(MergeError::Mismatch { index });
            }
            for &Block { rank, .. } in &slice.blocks {
                if *owner.entry(rank).or_insert(index) != index {
                    return Err(MergeError::RankTwice { index, rank });
                }
            }
        }
        let distinct: BTreeSet<Connection> =
            slices.iter().flat_map(|slice| &slice.connections).copied().collect();
        let connections: Vec<Connection> = distinct.into_iter().collect();
        Ok(Self {
            scratch_chunks: slices.iter().map(|slice| slice.scratch_chunks).max().unwrap_or(0),
            blocks: merged_blocks(slices, &connections),
            connections,
            ..*first
        })
    }
}

/// Scratch chunks that `blocks` use, counted to the highest.
pub(crate) fn scratch_chunks(blocks: &[Block]) -> u32 {
    let instrs = blocks.iter().flat_map(|block| &block.instrs);
    let chunks = instrs.flat_map(|instr| [instr.src_port(), instr.dst_port()]).flatten();
    let scratch = chunks.filter(|chunk| chunk.space == Space::Scratch);
    scratch.map(|chunk| chunk.index + 1).max().unwrap_or(0)
}

/// The blocks of all slices by rank, naming connections by their place in `connections`.
fn merged_blocks(slices: &[Plan], connections: &[Connection]) -> Vec<Block> {
    let ids: BTreeMap<Connection, u32> = connections.iter().copied().zip(0..).collect();
    let mut places: Vec<(usize, u32)> = Vec::new();
    for (index, slice) in slices.iter().enumerate() {
        places.extend((0..slice.blocks.len() as u32).map(|block| (index, block)));
    }
    places.sort_by_key(|&(index, block)| slices[index].blocks[block as usize].rank);
    let mut blocks: Vec<BTreeMap<u32, u32>> = alloc::vec![BTreeMap::new(); slices.len()];
    for (&(index, block), new) in places.iter().zip(0..) {
        blocks[index].insert(block, new);
    }
    let blocks: Vec<Renumber> = blocks.into_iter().map(Renumber::of).collect();
    let conns: Vec<Renumber> = slices.iter().map(|slice| conns_of(slice, &ids)).collect();
    let instr = |index: usize, i: &Instr| i.renumbered(&conns[index], &blocks[index]);
    let renumbered = |&(index, block): &(usize, u32)| {
        let Block { rank, instrs } = &slices[index].blocks[block as usize];
        Block { rank: *rank, instrs: instrs.iter().map(|i| instr(index, i)).collect() }
    };
    places.iter().map(renumbered).collect()
}

fn conns_of(slice: &Plan, ids: &BTreeMap<Connection, u32>) -> Renumber {
    Renumber::of(
        slice.connections.iter().map(|c| ids[c]).zip(0..).map(|(new, old)| (old, new)).collect(),
    )
}
