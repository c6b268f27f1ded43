//! Owns the form of a plan: connections, blocks, and the single instruction form.

use alloc::vec::Vec;
use core::fmt;

use crate::Collective;
use crate::renumber::Renumber;

/// The most ranks that a plan may name: bounds what a decoder or verifier is made to allocate.
pub const MAX_RANKS: u32 = 1 << 16;

/// Slots of a connection: messages that may be under way on it. A plan that needs more is not run.
pub const SLOTS: u32 = 8;

/// A member of the communicator, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u32);

/// A parallel instance of an algorithm, in NCCL's sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u16);

/// A connection: index into [`Plan::connections`] of the plan it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u32);

/// A block: index into [`Plan::blocks`] of the plan it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A directed FIFO of messages between two ranks.
///
/// How its bytes travel (shared memory, sockets, through which NICs) is not the plan's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// The sending rank.
    pub src: Rank,
    /// The receiving rank.
    pub dst: Rank,
    /// Which of the parallel connections between the two.
    pub channel: ChannelId,
}

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The end at the sending rank.
    Send,
    /// The end at the receiving rank.
    Recv,
}

/// The memory a chunk lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The caller's send buffer.
    Input,
    /// The caller's receive buffer; in place it coincides with the input.
    Output,
    /// Memory of the communicator, reused in every window.
    Scratch,
}

/// A unit of planning: chunk `index` of one rank's `space`. Its place and size bind late, by a
/// [`crate::ChunkMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chunk {
    /// Which memory.
    pub space: Space,
    /// Which chunk of it, below [`Chunk::MAX_INDEX`].
    pub index: u32,
}

impl Chunk {
    /// More chunks than any plan has: indices lie below it.
    pub const MAX_INDEX: u32 = (1 << Port::INDEX_BITS) - 1;

    /// Chunk `index` of the input.
    pub const fn input(index: u32) -> Self {
        Self { space: Space::Input, index }
    }
    /// Chunk `index` of the output.
    pub const fn output(index: u32) -> Self {
        Self { space: Space::Output, index }
    }
    /// Chunk `index` of the scratch memory.
    pub const fn scratch(index: u32) -> Self {
        Self { space: Space::Scratch, index }
    }
}

/// An optional 32-bit port of an [`Instr`]; all ones when absent.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port(u32);

impl Port {
    /// The absent port.
    pub const NONE: Self = Self(u32::MAX);
    const INDEX_BITS: u32 = 30;

    const fn conn(conn: ConnId) -> Self {
        Self(conn.0)
    }

    /// An index too large for the word becomes the largest: no plan has that many chunks, so the
    /// verifier refuses it, where a spill into the bits of the space could pass.
    const fn chunk(Chunk { space, index }: Chunk) -> Self {
        let index = if index < Chunk::MAX_INDEX { index } else { Chunk::MAX_INDEX };
        Self((space as u32) << Self::INDEX_BITS | index)
    }

    const fn to_conn(self) -> Option<ConnId> {
        if self.0 == u32::MAX { None } else { Some(ConnId(self.0)) }
    }

    const fn to_chunk(self) -> Option<Chunk> {
        let space = match self.0 >> Self::INDEX_BITS {
            0 => Space::Input,
            1 => Space::Output,
            2 => Space::Scratch,
            _ => return None,
        };
        Some(Chunk { space, index: self.0 & Chunk::MAX_INDEX })
    }

    /// The word as it stands in the encoded instruction.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// A wait for one step of another block of the same rank, in the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct After {
    /// The block waited for.
    pub block: BlockId,
    /// The step of it that must have completed.
    pub step: u32,
}

/// The one instruction form:
/// `value = reduce(recv?, src?); dst? <- value; send? <- value; after (block, step)?`.
///
/// NCCL's and MSCCL's operation names are constructors. An instruction moves slice `slice` of
/// `slices` of its chunks; planners leave that at 0 of 1, lowering splits. Marks change what
/// it does:
///
/// * [`accumulating`](Instr::accumulating): without a receive, `dst` is an operand too, so
///   `value = reduce(dst, src)`;
/// * [`finishing`](Instr::finishing): the value is a complete reduction, so what the reduce
///   operation does at its end (the division of an average) is done to it;
/// * [`opening`](Instr::opening): nothing is received yet; the landing place of a later receive of the
///   block is opened, which counts as a write to it until that receive, which is
///   [`opened`](Instr::opened);
/// * [`copied`](Instr::copied): what is sent is never lent, for its memory is written again before
///   the receiver is known to have read it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instr {
    recv: Port,
    send: Port,
    src: Port,
    dst: Port,
    after_block: Port,
    after_step: u32,
    slice: u16,
    slices: u16,
    marks: u32,
}

// Kernels mirror this layout.
const _: () = assert!(size_of::<Instr>() == 32);

impl Instr {
    const EMPTY: Self = Self {
        recv: Port::NONE,
        send: Port::NONE,
        src: Port::NONE,
        dst: Port::NONE,
        after_block: Port::NONE,
        after_step: 0,
        slice: 0,
        slices: 1,
        marks: 0,
    };

    const ACCUMULATES: u32 = 1;
    const FINISHES: u32 = 2;
    const COPIED: u32 = 4;
    const GRANTS: u32 = 8;
    const GRANTED: u32 = 16;
    const NEXT_WINDOW: u32 = 32;

    /// The general form, of which the other constructors are points.
    pub fn new(
        recv: Option<ConnId>,
        src: Option<Chunk>,
        dst: Option<Chunk>,
        send: Option<ConnId>,
    ) -> Self {
        Self {
            recv: recv.map_or(Port::NONE, Port::conn),
            src: src.map_or(Port::NONE, Port::chunk),
            dst: dst.map_or(Port::NONE, Port::chunk),
            send: send.map_or(Port::NONE, Port::conn),
            ..Self::EMPTY
        }
    }

    /// Sends a chunk.
    pub fn send(src: Chunk, to: ConnId) -> Self {
        Self::new(None, Some(src), None, Some(to))
    }
    /// Receives into a chunk.
    pub fn recv(from: ConnId, dst: Chunk) -> Self {
        Self::new(Some(from), None, Some(dst), None)
    }
    /// Receives into a chunk and passes it on.
    pub fn recv_copy_send(from: ConnId, dst: Chunk, to: ConnId) -> Self {
        Self::new(Some(from), None, Some(dst), Some(to))
    }
    /// Reduces what arrives with a chunk and passes the result on.
    pub fn recv_reduce_send(from: ConnId, src: Chunk, to: ConnId) -> Self {
        Self::new(Some(from), Some(src), None, Some(to))
    }
    /// Reduces what arrives with a chunk and keeps the result.
    pub fn recv_reduce_copy(from: ConnId, src: Chunk, dst: Chunk) -> Self {
        Self::new(Some(from), Some(src), Some(dst), None)
    }
    /// Reduces what arrives with a chunk, keeps the result and passes it on.
    pub fn recv_reduce_copy_send(from: ConnId, src: Chunk, dst: Chunk, to: ConnId) -> Self {
        Self::new(Some(from), Some(src), Some(dst), Some(to))
    }
    /// Copies a chunk.
    pub fn copy(src: Chunk, dst: Chunk) -> Self {
        Self::new(None, Some(src), Some(dst), None)
    }
    /// Copies a chunk and sends it.
    pub fn copy_send(src: Chunk, dst: Chunk, to: ConnId) -> Self {
        Self::new(None, Some(src), Some(dst), Some(to))
    }

    /// Does nothing once `after` has completed: what a block waits for beyond the one step that each
    /// instruction can wait for itself.
    pub fn wait(after: After) -> Self {
        Self::EMPTY.after(after)
    }

    /// Reduces a chunk with what another holds, and leaves the result there.
    pub fn reduce(src: Chunk, dst: Chunk) -> Self {
        Self::copy(src, dst).accumulating()
    }

    /// The same instruction, which reads another chunk.
    pub(crate) fn reading(self, src: Chunk) -> Self {
        Self { src: Port::chunk(src), ..self }
    }
    /// The same instruction, whose value also goes to a connection.
    pub fn sending(self, to: ConnId) -> Self {
        Self { send: Port::conn(to), ..self }
    }
    /// The same instruction, with `dst` as an operand in the place of a receive.
    pub fn accumulating(self) -> Self {
        Self { marks: self.marks | Self::ACCUMULATES, ..self }
    }
    /// The same instruction, whose value is a complete reduction.
    pub fn finishing(self) -> Self {
        Self { marks: self.marks | Self::FINISHES, ..self }
    }
    /// The same instruction, whose message is copied even where it could be lent.
    pub fn copied(self) -> Self {
        Self { marks: self.marks | Self::COPIED, ..self }
    }

    /// The grant of this receive: opens its landing place, in the same window or, `ahead`, for the window
    /// that follows.
    pub fn opening(self, ahead: bool) -> Self {
        let window = if ahead { Self::NEXT_WINDOW } else { 0 };
        let (send, marks) = (Port::NONE, Self::GRANTS | window);
        Self { send, marks, ..self }.without_after()
    }
    /// The same receive, whose place an instruction before it has opened: in the same window or, `ahead`, in
    /// the window before; in the first window, when the block begins.
    pub fn opened(self, ahead: bool) -> Self {
        let window = if ahead { Self::NEXT_WINDOW } else { 0 };
        Self { marks: self.marks | Self::GRANTED | window, ..self }
    }
    /// The same instruction with these marks, which may contradict each other or its ports.
    pub(crate) fn with_grants(self, grants: bool, granted: bool, ahead: bool) -> Self {
        let mark = |set, mark| if set { mark } else { 0 };
        let marks = mark(grants, Self::GRANTS)
            | mark(granted, Self::GRANTED)
            | mark(ahead, Self::NEXT_WINDOW);
        Self { marks: self.marks | marks, ..self }
    }
    /// The receive whose place this instruction opens: without its send, wait and marks.
    pub fn granted_port(&self) -> Option<Self> {
        self.is_grant().then_some(Self { marks: 0, ..self.without_after() })
    }
    /// This receive, as [`granted_port`](Self::granted_port) gives it.
    pub(crate) fn as_granted(&self) -> Self {
        Self { send: Port::NONE, marks: 0, ..self.without_after() }
    }

    /// The same instruction, held back until `after` has completed.
    pub fn after(self, after: After) -> Self {
        match Port(after.block.0) {
            Port::NONE => self.without_after(),
            after_block => Self { after_block, after_step: after.step, ..self },
        }
    }
    /// The same instruction without a wait for another block.
    pub fn without_after(self) -> Self {
        Self { after_block: Port::NONE, after_step: 0, ..self }
    }
    /// The same instruction on slice `slice` of `slices` of its chunks.
    pub fn sliced(self, slice: u16, slices: u16) -> Self {
        Self { slice, slices, ..self }
    }

    /// The same instruction, naming connections and blocks by other numbers.
    pub(crate) fn renumbered(&self, conns: &Renumber, blocks: &Renumber) -> Self {
        let conn = |port: Option<ConnId>| port.map(|ConnId(old)| ConnId(conns.apply(old)));
        let recv = conn(self.recv.to_conn()).map_or(Port::NONE, Port::conn);
        let send = conn(self.send_port()).map_or(Port::NONE, Port::conn);
        let instr = Self { recv, send, ..self.without_after() };
        match self.after_port() {
            Some(After { block, step }) => {
                instr.after(After { block: BlockId(blocks.apply(block.0)), step })
            }
            None => instr,
        }
    }

    /// The ports as encoded: recv, send, src, dst, and the block waited for.
    pub(crate) const fn ports(&self) -> [Port; 5] {
        [self.recv, self.send, self.src, self.dst, self.after_block]
    }

    /// The connection received from; none of a grant.
    pub const fn recv_port(&self) -> Option<ConnId> {
        if self.is_grant() { None } else { self.recv.to_conn() }
    }
    /// The connection sent to.
    pub const fn send_port(&self) -> Option<ConnId> {
        self.send.to_conn()
    }
    /// The chunk read; none of a grant.
    pub const fn src_port(&self) -> Option<Chunk> {
        if self.is_grant() { None } else { self.src.to_chunk() }
    }
    /// The chunk written; none of a grant.
    pub const fn dst_port(&self) -> Option<Chunk> {
        if self.is_grant() { None } else { self.dst.to_chunk() }
    }
    /// The step of another block waited for.
    pub const fn after_port(&self) -> Option<After> {
        match self.after_block.to_conn() {
            Some(block) => Some(After { block: BlockId(block.0), step: self.after_step }),
            None => None,
        }
    }
    /// Whether it only waits: it names no connection, no chunk and no mark.
    pub const fn is_wait(&self) -> bool {
        let [recv, send, src, dst, after] = self.ports();
        let none = Port::NONE.bits();
        let idle = recv.bits() & send.bits() & src.bits() & dst.bits() == none && self.marks == 0;
        idle && after.bits() != none
    }
    /// Whether `dst` is an operand.
    pub const fn accumulates(&self) -> bool {
        self.marks & Self::ACCUMULATES != 0
    }
    /// Whether the value is a complete reduction.
    pub const fn finishes(&self) -> bool {
        self.marks & Self::FINISHES != 0
    }
    /// Whether what is sent is never lent.
    pub const fn is_copied(&self) -> bool {
        self.marks & Self::COPIED != 0
    }
    /// Whether it only opens the place of a receive.
    pub const fn is_grant(&self) -> bool {
        self.marks & Self::GRANTS != 0
    }
    /// Whether the place of its receive is open when the block reaches it.
    pub const fn is_granted(&self) -> bool {
        self.marks & Self::GRANTED != 0
    }
    /// Whether grant and receive are a window apart.
    pub const fn is_ahead(&self) -> bool {
        self.marks & Self::NEXT_WINDOW != 0
    }
    /// The marks as encoded.
    pub(crate) const fn marks(&self) -> u32 {
        self.marks
    }
    /// Which slice of the chunks.
    pub const fn slice(&self) -> u16 {
        self.slice
    }
    /// Of how many.
    pub const fn slices(&self) -> u16 {
        self.slices
    }
}

/// One sequential list of instructions on one rank: a thread block on a GPU, a cooperative state
/// machine on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The rank that runs it.
    pub rank: Rank,
    /// Its instructions, in order.
    pub instrs: Vec<Instr>,
}

/// What all ranks, or one of them, do for one collective.
///
/// A whole-world plan holds the blocks of every rank; [`Plan::slice`] is one rank's part, with
/// only the connections that touch it. Both have this form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the plan computes.
    pub collective: Collective,
    /// Ranks of the world.
    pub ranks: u32,
    /// Parts into which the buffer is cut where it is whole ([`Collective::is_whole`]); the most
    /// messages of a rank in a group of sends and receives. Elsewhere blocks are chunks, and this
    /// is 1.
    pub parts: u32,
    /// Scratch chunks of each rank.
    pub scratch_chunks: u32,
    /// Every connection used, each by one block at each end.
    pub connections: Vec<Connection>,
    /// The blocks, of any rank.
    pub blocks: Vec<Block>,
}

impl Plan {
    /// Chunks of `rank`'s input.
    pub fn input_chunks(&self, rank: Rank) -> u32 {
        self.collective.input_chunks(rank, self.ranks, self.parts)
    }

    /// Chunks of `rank`'s output.
    pub fn output_chunks(&self, rank: Rank) -> u32 {
        self.collective.output_chunks(rank, self.ranks, self.parts)
    }
}
