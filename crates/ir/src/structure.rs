//! Owns the laws that a plan's form obeys on its face: what is named exists, each connection end
//! belongs to one block, each instruction has a value and an effect.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::Collective;
use crate::grants::{self, Opens};
use crate::plan::{Block, BlockId, Chunk, ConnId, Connection, End, Instr, MAX_RANKS, Plan, Space};
use crate::reject::{Reject, Site};

/// More parts than any algorithm cuts a buffer into: bounds what a verifier is made to look at.
const MOST_PARTS: u32 = 2 * MAX_RANKS;

/// What a plan of good form is known to have.
#[derive(Debug)]
pub(crate) struct Structure {
    /// The one number of slices into which every chunk is cut.
    pub(crate) slices: u16,
    /// What each grant opens.
    pub(crate) opens: Opens,
    ends: Vec<Ends>,
}

/// The two ends of a connection in use.
#[derive(Debug, Clone, Copy)]
struct Ends {
    sender: BlockId,
    receiver: BlockId,
    messages: u64,
}

/// One end of a connection: its block, and the messages that pass it in a window.
type EndUse = Option<(BlockId, u64)>;

impl Structure {
    /// Checks the form of a whole world's plan; a slice of one is refused, as its connections lack
    /// an end.
    pub(crate) fn check(plan: &Plan) -> Result<Self, Reject> {
        let ranks = plan.ranks;
        if ranks == 0 || ranks > MAX_RANKS {
            return Err(Reject::Ranks { ranks });
        }
        if plan.parts > MOST_PARTS && plan.collective != Collective::SendRecv {
            return Err(Reject::Parts { parts: plan.parts });
        }
        if let Some(root) = plan.collective.root().filter(|root| root.0 >= ranks) {
            return Err(Reject::Root { root, ranks });
        }
        check_connections(plan)?;
        let mut uses = alloc::vec![[None; 2]; plan.connections.len()];
        let (mut slices, mut opens) = (None, Opens::new());
        for (block, id) in plan.blocks.iter().zip((0..).map(BlockId)) {
            if block.rank.0 >= ranks {
                return Err(Reject::BlockRank { block: id, rank: block.rank, ranks });
            }
            for (instr, step) in block.instrs.iter().zip(0..) {
                let at = Site { rank: block.rank, block: id, step };
                check_ports(plan, at, instr)?;
                check_slice(at, instr, *slices.get_or_insert(instr.slices()))?;
                check_after(plan, at, instr)?;
                claim_ends(plan, at, instr, &mut uses)?;
            }
            grants::check(id, block, &mut opens)?;
        }
        let ends = uses.iter().zip((0..).map(ConnId)).map(|(ends, id)| balanced(id, *ends));
        Ok(Self { slices: slices.unwrap_or(1), opens, ends: ends.collect::<Result<_, _>>()? })
    }

    /// The block at the sending end.
    pub(crate) fn sender(&self, ConnId(conn): ConnId) -> BlockId {
        self.ends[conn as usize].sender
    }

    /// The block at the receiving end.
    pub(crate) fn receiver(&self, ConnId(conn): ConnId) -> BlockId {
        self.ends[conn as usize].receiver
    }

    /// Messages of each connection in a window.
    pub(crate) fn messages(&self) -> impl Iterator<Item = u64> + '_ {
        self.ends.iter().map(|ends| ends.messages)
    }
}

fn check_connections(plan: &Plan) -> Result<(), Reject> {
    let mut known: BTreeMap<Connection, ConnId> = BTreeMap::new();
    for (&connection, second) in plan.connections.iter().zip((0..).map(ConnId)) {
        let Connection { src, dst, .. } = connection;
        if src == dst || src.0 >= plan.ranks || dst.0 >= plan.ranks {
            return Err(Reject::Endpoints { connection: second, src, dst });
        }
        if let Some(first) = known.insert(connection, second) {
            return Err(Reject::ConnectionTwice { first, second });
        }
    }
    Ok(())
}

fn check_ports(plan: &Plan, at: Site, instr: &Instr) -> Result<(), Reject> {
    // What a grant opens is the same as of its receive, which is checked as such.
    if instr.is_grant() || instr.is_wait() {
        return Ok(());
    }
    if instr.recv_port().is_none() && instr.src_port().is_none() {
        return Err(Reject::NoValue { at });
    }
    if instr.send_port().is_none() && instr.dst_port().is_none() {
        return Err(Reject::NoEffect { at });
    }
    if instr.accumulates()
        && (instr.recv_port().is_some() || instr.src_port().is_none() || instr.dst_port().is_none())
    {
        return Err(Reject::BadAccumulate { at });
    }
    for chunk in [instr.src_port(), instr.dst_port()].into_iter().flatten() {
        let chunks = match chunk.space {
            Space::Input => plan.input_chunks(at.rank),
            Space::Output => plan.output_chunks(at.rank),
            Space::Scratch => plan.scratch_chunks,
        };
        if chunk.index >= chunks {
            return Err(Reject::NoSuchChunk { at, chunk, chunks });
        }
    }
    match instr.dst_port() {
        Some(chunk @ Chunk { space: Space::Input, .. }) => Err(Reject::WritesInput { at, chunk }),
        _ => Ok(()),
    }
}

fn check_slice(at: Site, instr: &Instr, expected: u16) -> Result<(), Reject> {
    let (slice, slices) = (instr.slice(), instr.slices());
    match slice < slices && slices == expected {
        true => Ok(()),
        false => Err(Reject::BadSlice { at, slice, slices, expected }),
    }
}

fn check_after(plan: &Plan, at: Site, instr: &Instr) -> Result<(), Reject> {
    let Some(after) = instr.after_port() else { return Ok(()) };
    match plan.blocks.get(after.block.0 as usize) {
        Some(Block { rank, instrs })
            if *rank == at.rank
                && after.block != at.block
                && (after.step as usize) < instrs.len() =>
        {
            Ok(())
        }
        _ => Err(Reject::BadAfter { at, after }),
    }
}

fn claim_ends(
    plan: &Plan,
    at: Site,
    instr: &Instr,
    uses: &mut [[EndUse; 2]],
) -> Result<(), Reject> {
    for (port, end) in [(instr.send_port(), End::Send), (instr.recv_port(), End::Recv)] {
        let Some(connection) = port else { continue };
        let Some(&Connection { src, dst, .. }) = plan.connections.get(connection.0 as usize) else {
            return Err(Reject::NoSuchConnection { at, connection });
        };
        if at.rank != (if end == End::Send { src } else { dst }) {
            return Err(Reject::ForeignEnd { at, connection, end });
        }
        let end_use = &mut uses[connection.0 as usize][end as usize];
        let (first, messages) = end_use.get_or_insert((at.block, 0));
        if *first != at.block {
            return Err(Reject::SharedEnd { connection, end, first: *first, second: at.block });
        }
        *messages += 1;
    }
    Ok(())
}

fn balanced(connection: ConnId, ends: [EndUse; 2]) -> Result<Ends, Reject> {
    let count = |end: EndUse| end.map_or(0, |(_, messages)| messages);
    match ends {
        [Some((sender, sent)), Some((receiver, received))] if sent == received => {
            Ok(Ends { sender, receiver, messages: sent })
        }
        [None, None] => Err(Reject::UnusedConnection { connection }),
        [send, recv] => {
            Err(Reject::Unbalanced { connection, sent: count(send), received: count(recv) })
        }
    }
}
