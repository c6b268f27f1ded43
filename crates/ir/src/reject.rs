//! Owns the reasons for which a plan is refused, each naming rank, block, step, connection, chunk.

use alloc::vec::Vec;
use core::fmt;

use crate::FactorMisfit;
use crate::plan::{After, BlockId, Chunk, ConnId, End, Rank, Space};
use crate::scalar::LengthMismatch;

/// An instruction of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// The rank that runs it.
    pub rank: Rank,
    /// Its block.
    pub block: BlockId,
    /// Its place in the block.
    pub step: u32,
}

/// One execution of an instruction: the plan is repeated over windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// The instruction.
    pub site: Site,
    /// The repetition, from 0.
    pub window: u64,
}

/// One execution's use of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Who reads or writes.
    pub event: Event,
    /// The chunk, as its instruction names it.
    pub chunk: Chunk,
    /// Whether it writes.
    pub writes: bool,
}

/// What an instruction that cannot go on waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// A message on this connection.
    Message(ConnId),
    /// A free slot of this connection.
    Slot(ConnId),
    /// A step of another block.
    Step(After),
}

/// One block's part in a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The instruction that cannot go on.
    pub event: Event,
    /// What it waits for.
    pub wait_for: WaitFor,
}

/// How long a message or chunk is, without knowing any call's sizes: two are surely equal in
/// length only if class and slice are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// See [`crate::Collective::size_class`].
    pub class: u64,
    /// Which slice of the chunk.
    pub slice: u16,
}

/// What is wrong with the contents of an output chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is never written, or made from a chunk that was read before it was written.
    Undefined,
    /// It lacks the contribution of chunk `index` of `rank`'s input.
    Missing {
        /// Whose contribution.
        rank: Rank,
        /// Which chunk of its input.
        index: u32,
    },
    /// It holds the contribution of chunk `index` of `rank`'s input more than once.
    Repeated {
        /// Whose contribution.
        rank: Rank,
        /// Which chunk of its input.
        index: u32,
    },
    /// Its reduction was never finished, was finished before it was complete, or more than once.
    Unfinished,
    /// It holds a contribution that does not belong there, or comes from another window.
    Foreign {
        /// Whose contribution.
        rank: Rank,
        /// Which chunk of its input.
        index: u32,
    },
}

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// The world is empty or larger than a plan may name.
    #[error(
        "a world of {ranks} ranks; at least 1 and at most {} can be planned for",
        crate::MAX_RANKS
    )]
    Ranks {
        /// Ranks of the plan.
        ranks: u32,
    },
    /// A whole buffer is cut into more parts than any algorithm needs.
    #[error("a buffer in {parts} parts; at most {} can be", 2 * crate::MAX_RANKS)]
    Parts {
        /// Parts of the plan.
        parts: u32,
    },
    /// The root is no rank of the world.
    #[error("the root is rank {root}, but there are {ranks} ranks")]
    Root {
        /// The root.
        root: Rank,
        /// Ranks of the plan.
        ranks: u32,
    },
    /// An instruction accumulates, but receives too, or lacks a chunk to read or to accumulate in.
    #[error("{at} accumulates, which takes a source and a destination and no receive")]
    BadAccumulate {
        /// The instruction.
        at: Site,
    },
    /// A grant opens no place of a later receive, or not in the order of the receives; or a receive that
    /// should find its place open does not.
    #[error(
        "{at} and the grants before it do not fit: each receive that is opened needs one grant of its own, \
         of the same ports, in the order of the receives, and at most {limit} may be open"
    )]
    BadGrant {
        /// The grant or the receive.
        at: Site,
        /// Receives of a connection that may be open.
        limit: usize,
    },
    /// An input chunk is read after it was written over, in place.
    #[error("{at} reads {chunk} as an input, but it was written before")]
    StaleInput {
        /// The execution that reads.
        at: Event,
        /// The chunk.
        chunk: Chunk,
    },
    /// A connection's ranks do not exist, or are one and the same.
    #[error("connection {} joins {src} and {dst}, which are no two ranks of this world", .connection.0)]
    Endpoints {
        /// The connection.
        connection: ConnId,
        /// Its sender.
        src: Rank,
        /// Its receiver.
        dst: Rank,
    },
    /// Two connections have the same ranks and channel.
    #[error("connections {} and {} are one: same ranks, same channel", .first.0, .second.0)]
    ConnectionTwice {
        /// The one.
        first: ConnId,
        /// The other.
        second: ConnId,
    },
    /// No instruction uses a connection.
    #[error("connection {} is never used", .connection.0)]
    UnusedConnection {
        /// The connection.
        connection: ConnId,
    },
    /// A block is on a rank that does not exist.
    #[error("block {} is on rank {rank}, in a world of {ranks}", .block.0)]
    BlockRank {
        /// The block.
        block: BlockId,
        /// The rank it names.
        rank: Rank,
        /// Ranks of the plan.
        ranks: u32,
    },
    /// An instruction names a connection that does not exist.
    #[error("{at} names connection {}, which does not exist", .connection.0)]
    NoSuchConnection {
        /// The instruction.
        at: Site,
        /// What it names.
        connection: ConnId,
    },
    /// An instruction uses an end of a connection that lies on another rank.
    #[error("{at} uses the {end} end of connection {}, which lies on another rank", .connection.0)]
    ForeignEnd {
        /// The instruction.
        at: Site,
        /// The connection.
        connection: ConnId,
        /// The end.
        end: End,
    },
    /// Two blocks use the same end of a connection.
    #[error("blocks {} and {} share the {end} end of connection {}", .first.0, .second.0, .connection.0)]
    SharedEnd {
        /// The connection.
        connection: ConnId,
        /// The end.
        end: End,
        /// The one block.
        first: BlockId,
        /// The other.
        second: BlockId,
    },
    /// A connection's ends count differently, so a message stays unreceived or never comes.
    #[error("connection {} carries {sent} messages of which {received} are received", .connection.0)]
    Unbalanced {
        /// The connection.
        connection: ConnId,
        /// Messages sent in a window.
        sent: u64,
        /// Messages received in a window.
        received: u64,
    },
    /// An instruction names a chunk that does not exist.
    #[error("{at} names {chunk} of {chunks}")]
    NoSuchChunk {
        /// The instruction.
        at: Site,
        /// What it names.
        chunk: Chunk,
        /// How many there are.
        chunks: u32,
    },
    /// An instruction writes to the caller's send buffer.
    #[error("{at} writes to {chunk}; inputs are only read")]
    WritesInput {
        /// The instruction.
        at: Site,
        /// What it writes.
        chunk: Chunk,
    },
    /// An instruction neither receives nor reads.
    #[error("{at} has no value: it neither receives nor reads a chunk")]
    NoValue {
        /// The instruction.
        at: Site,
    },
    /// An instruction neither sends nor writes.
    #[error("{at} has no effect: it neither sends nor writes a chunk")]
    NoEffect {
        /// The instruction.
        at: Site,
    },
    /// An instruction's slice does not exist, or chunks are cut differently elsewhere in the plan.
    #[error("{at} is on slice {slice} of {slices}; this plan cuts every chunk into {expected}")]
    BadSlice {
        /// The instruction.
        at: Site,
        /// Its slice.
        slice: u16,
        /// Of how many.
        slices: u16,
        /// Slices of the plan's first instruction.
        expected: u16,
    },
    /// An instruction waits for something that is no step of another block of its rank.
    #[error("{at} waits for block {} step {}, no step of another block of its rank", .after.block.0, .after.step)]
    BadAfter {
        /// The instruction.
        at: Site,
        /// What it waits for.
        after: After,
    },
    /// What meets in an instruction may differ in length.
    #[error("{at} brings together {one} and {other}, which may differ in length")]
    Sizes {
        /// The instruction.
        at: Event,
        /// The one length.
        one: Size,
        /// The other.
        other: Size,
    },
    /// Every block that has not finished waits for another.
    #[error("deadlock with {slots} slots a connection: {}", Waits(.waits))]
    Deadlock {
        /// The depth of the connections.
        slots: u32,
        /// Who waits for what: every block that has not finished.
        waits: Vec<Wait>,
    },
    /// Connections have fewer slots than the plan needs.
    #[error(
        "{needed} slots a connection are needed, and there are {there}: {}; receive before so much is sent, or in \
         a block beside the one that sends",
        Waits(.waits)
    )]
    Slots {
        /// How many it needs.
        needed: u32,
        /// How many there are.
        there: u32,
        /// Who waits for one where nobody can go on with those that there are.
        waits: Vec<Wait>,
    },
    /// Two accesses to the same memory, one of them a write, are not ordered.
    #[error("race: {first} and {second} are the same memory, and nothing orders them")]
    Race {
        /// The access that came first in the run that found the race.
        first: Access,
        /// The access that came second.
        second: Access,
    },
    /// An output chunk does not hold what the collective demands.
    #[error("rank {rank} {chunk} slice {slice} window {window}: {fault}")]
    Result {
        /// Whose output.
        rank: Rank,
        /// Which chunk.
        chunk: Chunk,
        /// Which slice of it.
        slice: u16,
        /// In which window.
        window: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// The factor of a replay's reduction is no number of its type.
    #[error(transparent)]
    Factor(#[from] FactorMisfit),
    /// A replay needs one input for each rank.
    #[error("{actual} inputs for {expected} ranks")]
    Inputs {
        /// Ranks of the plan.
        expected: u32,
        /// Inputs given.
        actual: usize,
    },
    /// A rank's input is shorter than the sizes given for the replay.
    #[error("rank {rank}'s input is {actual} bytes long, and the chunk map needs {expected}")]
    InputBytes {
        /// Whose input.
        rank: Rank,
        /// Bytes needed.
        expected: u64,
        /// Bytes given.
        actual: u64,
    },
    /// What an instruction reduces turned out unequal in length.
    #[error("{at}: {cause}")]
    Lengths {
        /// The instruction.
        at: Event,
        /// The lengths.
        cause: LengthMismatch,
    },
}

impl Reject {
    /// The instructions that it is about, as far as it names any.
    pub fn sites(&self) -> Vec<Site> {
        match self {
            Self::BadAccumulate { at }
            | Self::BadGrant { at, .. }
            | Self::NoSuchConnection { at, .. }
            | Self::ForeignEnd { at, .. }
            | Self::NoSuchChunk { at, .. }
            | Self::WritesInput { at, .. }
            | Self::NoValue { at }
            | Self::NoEffect { at }
            | Self::BadSlice { at, .. }
            | Self::BadAfter { at, .. } => alloc::vec![*at],
            Self::StaleInput { at, .. } | Self::Sizes { at, .. } | Self::Lengths { at, .. } => {
                alloc::vec![at.site]
            }
            Self::Deadlock { waits, .. } | Self::Slots { waits, .. } => {
                waits.iter().map(|wait| wait.event.site).collect()
            }
            Self::Race { first, second } => alloc::vec![first.event.site, second.event.site],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} block {} step {}", self.rank, self.block.0, self.step)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} window {}", self.site, self.window)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.writes { "writes" } else { "reads" };
        write!(f, "{} {verb} {}", self.event, self.chunk)
    }
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = match self.space {
            Space::Input => "input",
            Space::Output => "output",
            Space::Scratch => "scratch",
        };
        write!(f, "{space} chunk {}", self.index)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "sending",
            Self::Recv => "receiving",
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slice {} of size class {}", self.slice, self.class)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits for ", self.event)?;
        match self.wait_for {
            WaitFor::Message(ConnId(conn)) => write!(f, "a message on connection {conn}"),
            WaitFor::Slot(ConnId(conn)) => write!(f, "a slot of connection {conn}"),
            WaitFor::Step(After { block, step }) => write!(f, "block {} step {step}", block.0),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Missing { rank, index } => write!(f, "lacks input chunk {index} of rank {rank}"),
            Self::Repeated { rank, index } => {
                write!(f, "holds input chunk {index} of rank {rank} more than once")
            }
            Self::Unfinished => {
                f.write_str("a reduction that is not finished exactly once, at its end")
            }
            Self::Foreign { rank, index } => {
                write!(f, "holds input chunk {index} of rank {rank}, which does not belong there")
            }
        }
    }
}

/// The first few waits; a large world's would fill pages.
struct Waits<'a>(&'a [Wait]);

impl fmt::Display for Waits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (index, wait) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{wait}")?;
        }
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}
