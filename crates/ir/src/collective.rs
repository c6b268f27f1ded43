//! Owns what each collective means: how many chunks its buffers have, which chunks coincide when
//! it runs in place, and which contributions each output chunk must hold.

use crate::plan::{Chunk, Rank, Space};

/// The operations a plan can carry out.
///
/// Exhaustive on purpose: a new one must stop the compiler wherever collectives are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collective {
    /// Every rank ends with the reduction of all inputs.
    AllReduce,
    /// Every rank ends with the inputs of all ranks, in rank order.
    AllGather,
    /// Rank r ends with part r of the reduction of all inputs.
    ReduceScatter,
    /// Rank r ends with part r of each rank's input, in rank order.
    AllToAll,
}

impl Collective {
    /// Every collective, in the order of its code.
    pub const ALL: [Self; 4] =
        [Self::AllReduce, Self::AllGather, Self::ReduceScatter, Self::AllToAll];

    /// The name that the command line and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "all_reduce",
            Self::AllGather => "all_gather",
            Self::ReduceScatter => "reduce_scatter",
            Self::AllToAll => "all_to_all",
        }
    }

    /// Whether elements are combined, so that a reduce operation is needed.
    pub const fn reduces(self) -> bool {
        matches!(self, Self::AllReduce | Self::ReduceScatter)
    }

    /// Chunks of a rank's input.
    pub const fn input_chunks(self, ranks: u32) -> u32 {
        match self {
            Self::AllGather => 1,
            Self::AllReduce | Self::ReduceScatter | Self::AllToAll => ranks,
        }
    }

    /// Chunks of a rank's output.
    pub const fn output_chunks(self, ranks: u32) -> u32 {
        match self {
            Self::ReduceScatter => 1,
            Self::AllReduce | Self::AllGather | Self::AllToAll => ranks,
        }
    }

    /// The input chunk that occupies the same memory as output chunk `output` on `rank` when the
    /// operation runs in place; `None` where that output chunk lies on no input chunk.
    pub const fn in_place_alias(self, rank: Rank, output: u32) -> Option<u32> {
        match self {
            Self::AllReduce | Self::AllToAll => Some(output),
            Self::AllGather if output == rank.0 => Some(0),
            Self::AllGather => None,
            Self::ReduceScatter => Some(rank.0),
        }
    }

    /// The chunk that `chunk` of `rank` is when the operation runs in place: an output chunk that
    /// coincides with an input chunk is that one, any other is itself.
    pub const fn in_place_chunk(self, rank: Rank, chunk: Chunk) -> Chunk {
        if !matches!(chunk.space, Space::Output) {
            return chunk;
        }
        match self.in_place_alias(rank, chunk.index) {
            Some(input) => Chunk::input(input),
            None => chunk,
        }
    }

    /// What output chunk `output` of `rank` must hold; equal demands must be met by equal bytes.
    pub const fn demand(self, rank: Rank, output: u32) -> Demand {
        match self {
            Self::AllReduce => Demand::Reduced { index: output },
            Self::ReduceScatter => Demand::Reduced { index: rank.0 },
            Self::AllGather => Demand::Copied { rank: Rank(output), index: 0 },
            Self::AllToAll => Demand::Copied { rank: Rank(output), index: rank.0 },
        }
    }

    /// Which chunks are as long as each other in every call: those of one class. An evenly split
    /// buffer ([`crate::Layout::Split`]) has a class per chunk, as its first chunks may be an
    /// element longer; blocks ([`crate::Layout::Blocks`]) are all alike.
    pub const fn size_class(self, index: u32, ranks: u32) -> u32 {
        match self {
            Self::AllReduce if ranks > 0 => index % ranks,
            Self::AllReduce => index,
            Self::AllGather | Self::ReduceScatter | Self::AllToAll => 0,
        }
    }
}

/// The contents that a collective demands of one output chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Demand {
    /// Input chunk `index` of every rank, each reduced in exactly once.
    Reduced {
        /// The chunk of every rank's input.
        index: u32,
    },
    /// Input chunk `index` of `rank`, as it is.
    Copied {
        /// Whose input.
        rank: Rank,
        /// The chunk of it.
        index: u32,
    },
}
