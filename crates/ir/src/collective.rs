//! Owns what each collective means: how many chunks its buffers have, which chunks coincide when
//! it runs in place, and which contributions each output chunk must hold.

use crate::plan::{Chunk, Rank, Space};

/// The operations a plan can carry out.
///
/// The v-forms (all_gather_v, reduce_scatter_v, all_to_all_v) have no variant: their plans are
/// those of the plain forms, under a [`crate::ChunkMap`] whose chunks differ in length.
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
    /// Every rank ends with the root's input.
    Broadcast {
        /// Whose input; no other rank has one.
        root: Rank,
    },
    /// The root ends with the reduction of all inputs.
    Reduce {
        /// Who has an output; no other rank has one.
        root: Rank,
    },
    /// The root ends with the inputs of all ranks, in rank order.
    Gather {
        /// Who has an output; no other rank has one.
        root: Rank,
    },
    /// Rank r ends with part r of the root's input.
    Scatter {
        /// Whose input; no other rank has one.
        root: Rank,
    },
    /// No rank ends before every rank has begun. Planned as an all_reduce of no bytes, which is
    /// what proves it: the verifier sees that everyone heard from everyone.
    Barrier,
    /// A group of sends and receives: input chunk i of a rank is the i-th message that it sends,
    /// output chunk i the i-th that it receives. What each must hold is said by no collective;
    /// ranks without a message have no part.
    SendRecv,
}

impl Collective {
    /// Every collective whose meaning follows from its name and root, in the order of its code;
    /// the root is rank 0 (see [`Collective::with_root`]).
    pub const ALL: [Self; 9] = [
        Self::AllReduce,
        Self::AllGather,
        Self::ReduceScatter,
        Self::AllToAll,
        Self::Broadcast { root: Rank(0) },
        Self::Reduce { root: Rank(0) },
        Self::Gather { root: Rank(0) },
        Self::Scatter { root: Rank(0) },
        Self::Barrier,
    ];

    /// How many codes there are: [`Collective::code`] lies below.
    pub const CODES: usize = Self::ALL.len() + 1;

    /// A small number for tables: the same for every root.
    pub const fn code(self) -> usize {
        match self {
            Self::AllReduce => 0,
            Self::AllGather => 1,
            Self::ReduceScatter => 2,
            Self::AllToAll => 3,
            Self::Broadcast { .. } => 4,
            Self::Reduce { .. } => 5,
            Self::Gather { .. } => 6,
            Self::Scatter { .. } => 7,
            Self::Barrier => 8,
            Self::SendRecv => 9,
        }
    }

    /// The name that the command line and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "all_reduce",
            Self::AllGather => "all_gather",
            Self::ReduceScatter => "reduce_scatter",
            Self::AllToAll => "all_to_all",
            Self::Broadcast { .. } => "broadcast",
            Self::Reduce { .. } => "reduce",
            Self::Gather { .. } => "gather",
            Self::Scatter { .. } => "scatter",
            Self::Barrier => "barrier",
            Self::SendRecv => "send_recv",
        }
    }

    /// The rank that differs from the others, where one does.
    pub const fn root(self) -> Option<Rank> {
        match self {
            Self::Broadcast { root }
            | Self::Reduce { root }
            | Self::Gather { root }
            | Self::Scatter { root } => Some(root),
            _ => None,
        }
    }

    /// The same collective around `root`; without a root there is nothing to change.
    pub const fn with_root(self, root: Rank) -> Self {
        match self {
            Self::Broadcast { .. } => Self::Broadcast { root },
            Self::Reduce { .. } => Self::Reduce { root },
            Self::Gather { .. } => Self::Gather { root },
            Self::Scatter { .. } => Self::Scatter { root },
            rootless => rootless,
        }
    }

    const fn is_root(self, rank: Rank) -> bool {
        match self.root() {
            Some(root) => root.0 == rank.0,
            None => true,
        }
    }

    /// Whether elements are combined, so that a reduce operation is needed.
    pub const fn reduces(self) -> bool {
        matches!(self, Self::AllReduce | Self::ReduceScatter | Self::Reduce { .. })
    }

    /// Whether its buffers are whole, to be cut into any number of parts, rather than made of one
    /// block for each rank.
    pub const fn is_whole(self) -> bool {
        matches!(
            self,
            Self::AllReduce | Self::Broadcast { .. } | Self::Reduce { .. } | Self::Barrier
        )
    }

    /// Whether `rank` brings an input.
    pub const fn has_input(self, rank: Rank) -> bool {
        !matches!(self, Self::Broadcast { .. } | Self::Scatter { .. }) || self.is_root(rank)
    }

    /// Whether `rank` ends with an output.
    pub const fn has_output(self, rank: Rank) -> bool {
        !matches!(self, Self::Reduce { .. } | Self::Gather { .. }) || self.is_root(rank)
    }

    /// Chunks of the input of `rank`, of `ranks`, where a whole buffer is cut into `parts`.
    pub const fn input_chunks(self, rank: Rank, ranks: u32, parts: u32) -> u32 {
        match self {
            _ if !self.has_input(rank) => 0,
            Self::AllGather | Self::Gather { .. } => 1,
            Self::ReduceScatter | Self::AllToAll | Self::Scatter { .. } => ranks,
            _ => parts,
        }
    }

    /// Chunks of the output of `rank`, of `ranks`, where a whole buffer is cut into `parts`.
    pub const fn output_chunks(self, rank: Rank, ranks: u32, parts: u32) -> u32 {
        match self {
            _ if !self.has_output(rank) => 0,
            Self::ReduceScatter | Self::Scatter { .. } => 1,
            Self::AllGather | Self::AllToAll | Self::Gather { .. } => ranks,
            _ => parts,
        }
    }

    /// The input chunk that occupies the same memory as output chunk `output` on `rank` when the
    /// operation runs in place; `None` where that output chunk lies on no input chunk.
    pub const fn in_place_alias(self, rank: Rank, output: u32) -> Option<u32> {
        match self {
            _ if !self.has_input(rank) || !self.has_output(rank) => None,
            Self::AllGather | Self::Gather { .. } if output == rank.0 => Some(0),
            Self::AllGather | Self::Gather { .. } | Self::SendRecv => None,
            Self::ReduceScatter | Self::Scatter { .. } => Some(rank.0),
            _ => Some(output),
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
            Self::AllReduce | Self::Reduce { .. } | Self::Barrier => {
                Demand::Reduced { index: output }
            }
            Self::ReduceScatter => Demand::Reduced { index: rank.0 },
            Self::AllGather | Self::Gather { .. } => {
                Demand::Copied { rank: Rank(output), index: 0 }
            }
            Self::AllToAll => Demand::Copied { rank: Rank(output), index: rank.0 },
            Self::Broadcast { root } => Demand::Copied { rank: root, index: output },
            Self::Scatter { root } => Demand::Copied { rank: root, index: rank.0 },
            Self::SendRecv => Demand::Unspecified,
        }
    }

    /// Which chunks are as long as each other in every call: those of one class. `None` for scratch
    /// chunks that stand for no particular one: they are as long as what was written to them.
    ///
    /// Whole buffers have a class per part, as the first parts may be an element longer. Blocks
    /// have one for each pair of ranks that they travel between, as in the v-forms each may have a
    /// length of its own. Messages of a group count as one class: sender and receiver agree, or the
    /// call fails.
    pub const fn size_class(self, rank: Rank, chunk: Chunk, ranks: u32, parts: u32) -> Option<u64> {
        let index = chunk.index as u64;
        let scratch = matches!(chunk.space, Space::Scratch);
        if self.is_whole() {
            return Some(if parts > 0 { index % parts as u64 } else { index });
        }
        if scratch {
            return None;
        }
        let own = rank.0 as u64;
        let input = matches!(chunk.space, Space::Input);
        Some(match self {
            Self::AllGather | Self::Gather { .. } => {
                if input {
                    own
                } else {
                    index
                }
            }
            Self::ReduceScatter | Self::Scatter { .. } => {
                if input {
                    index
                } else {
                    own
                }
            }
            Self::AllToAll => {
                let (from, to) = if input { (own, index) } else { (index, own) };
                from * ranks as u64 + to
            }
            _ => 0,
        })
    }
}

/// The contents that a collective demands of one output chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Demand {
    /// Input chunk `index` of every rank, each reduced in exactly once, the result finished once.
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
    /// Anything: the collective does not say.
    Unspecified,
}
