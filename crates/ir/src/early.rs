//! Owns the placing of grants: so early that a sender need not wait for its receiver to get there, and not so
//! early that a place is opened which is still in use.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::Collective;
use crate::grants::MOST_OPEN;
use crate::plan::{After, Block, BlockId, Chunk, ConnId, Instr, Plan, Rank, Space};

/// Opens each receive of the connections that `over_network` names before the receive `ahead` of it on its
/// connection is waited for, or as soon after as its place is free; 0 opens none, 7 is the most. A block
/// opens receives of the next window, too.
///
/// `in_place` tells whether send and receive buffers may coincide. A place is free when the block uses it no more. What another block of the rank uses, at any time, is left
/// alone; so is what is sent to where it might be read in place, which is wherever `over_network` does not
/// name the connection.
pub fn open_early(
    plan: &Plan,
    ahead: usize,
    in_place: bool,
    over_network: &dyn Fn(ConnId) -> bool,
) -> Plan {
    let ahead = ahead.min(MOST_OPEN - 1);
    let mut of_rank: BTreeMap<Rank, Vec<usize>> = BTreeMap::new();
    for (block, number) in plan.blocks.iter().zip(0..) {
        of_rank.entry(block.rank).or_default().push(number);
    }
    let openings = |(block, of): (usize, &Block)| {
        Scope { plan, block, siblings: &of_rank[&of.rank], ahead, in_place, over_network }
            .openings()
    };
    let placed: Vec<Vec<Opening>> = plan.blocks.iter().enumerate().map(openings).collect();
    let blocks = plan.blocks.iter().zip(&placed);
    Plan {
        blocks: blocks.map(|(block, openings)| opened(block, openings, &placed)).collect(),
        connections: plan.connections.clone(),
        ..*plan
    }
}

/// A grant: before which step it stands, for which receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Opening {
    at: usize,
    is_ahead: bool,
    receive: usize,
}

/// One block among those of its plan.
struct Scope<'a> {
    plan: &'a Plan,
    block: usize,
    /// The blocks of its rank, itself among them.
    siblings: &'a [usize],
    ahead: usize,
    in_place: bool,
    over_network: &'a dyn Fn(ConnId) -> bool,
}

impl Scope<'_> {
    fn instrs(&self) -> &[Instr] {
        &self.plan.blocks[self.block].instrs
    }

    fn openings(&self) -> Vec<Opening> {
        let mut conns: Vec<ConnId> = self.instrs().iter().filter_map(Instr::recv_port).collect();
        conns.sort_unstable();
        conns.dedup();
        conns.retain(|&conn| self.ahead > 0 && (self.over_network)(conn));
        let mut all: Vec<Opening> = conns.into_iter().flat_map(|conn| self.of(conn)).collect();
        all.sort_unstable();
        all
    }

    /// The grants of one connection. Steps are counted from the window's start; those of the window before
    /// are negative.
    fn of(&self, conn: ConnId) -> Vec<Opening> {
        let (instrs, mut openings) = (self.instrs(), Vec::new());
        let steps: Vec<usize> =
            (0..instrs.len()).filter(|&step| instrs[step].recv_port() == Some(conn)).collect();
        let length = instrs.len() as i64;
        // The place of receive `index` of the window, or of those before it.
        let step_of = |index: i64| {
            let (count, before) = (steps.len() as i64, -index.min(0));
            let windows = (before + count - 1) / count;
            steps[(index + windows * count) as usize] as i64 - windows * length
        };
        let mut earliest = -length;
        for (&step, index) in steps.iter().zip(0..) {
            let wanted = step_of(index - self.ahead as i64).max(-length);
            let at = wanted.max(earliest).max(self.free_from(step));
            let step = step as i64;
            // A receive that opens its own place does so after all that are opened before it.
            earliest = if at >= step { step + 1 } else { at };
            if at < step {
                let is_ahead = at < 0;
                let at = if is_ahead { at + length } else { at } as usize;
                openings.push(Opening { at, is_ahead, receive: step as usize });
            }
        }
        // The next window's come after all of this one's.
        let last = earliest;
        let follows = |o: &Opening| o.is_ahead && (o.at as i64) < last;
        if openings.iter().any(follows) {
            return self.within(&steps, openings);
        }
        openings
    }

    /// The same without those of the next window, and so without those that would pass them.
    fn within(&self, steps: &[usize], mut openings: Vec<Opening>) -> Vec<Opening> {
        let own = |step: &usize| openings.iter().all(|o| o.is_ahead || o.receive != *step);
        let last_own = steps.iter().rev().find(|step| own(step)).copied();
        openings.retain(|o| !o.is_ahead && last_own.is_none_or(|own| o.at > own));
        openings
    }

    /// From which step on the place of the receive at `step` may be written to.
    fn free_from(&self, step: usize) -> i64 {
        let (instrs, length) = (self.instrs(), self.instrs().len() as i64);
        let receive = &instrs[step];
        let Some(chunk) = receive.dst_port().filter(|_| receive.src_port().is_none()) else {
            return -length;
        };
        let rank = self.plan.blocks[self.block].rank;
        let others = self.siblings.iter().filter(|&&other| other != self.block);
        let touches = |instr: &Instr| self.touches(rank, instr, chunk);
        if others.flat_map(|&other| &self.plan.blocks[other].instrs).any(touches) {
            return step as i64;
        }
        let read_in_place = |instr: &Instr| {
            touches(instr) && instr.send_port().is_some_and(|to| !(self.over_network)(to))
        };
        if instrs.iter().any(read_in_place) {
            return step as i64;
        }
        match instrs[..step].iter().rposition(touches) {
            Some(before) => before as i64 + 1,
            // Scratch is the same in all windows.
            None if chunk.space == Space::Scratch => 0,
            None => -length,
        }
    }

    /// Whether an instruction uses a chunk, or one that may coincide with it.
    fn touches(&self, rank: Rank, instr: &Instr, chunk: Chunk) -> bool {
        let collective: &Collective = &self.plan.collective;
        let place = |chunk| match self.in_place {
            true => collective.in_place_chunk(rank, chunk),
            false => chunk,
        };
        let ports = [instr.src_port(), instr.dst_port()];
        ports.into_iter().flatten().any(|other| place(other) == place(chunk))
    }
}

/// The block with its grants; steps that others wait for have moved.
fn opened(block: &Block, openings: &[Opening], all: &[Vec<Opening>]) -> Block {
    let moved = |After { block: BlockId(block), step }: After| {
        let before = |o: &&Opening| o.at <= step as usize;
        let count = all.get(block as usize).map_or(0, |of| of.iter().filter(before).count());
        After { block: BlockId(block), step: step.saturating_add(count as u32) }
    };
    let mut instrs = Vec::with_capacity(block.instrs.len() + openings.len());
    for (step, instr) in block.instrs.iter().enumerate() {
        for opening in openings.iter().filter(|o| o.at == step) {
            instrs.push(block.instrs[opening.receive].opening(opening.is_ahead));
        }
        let granted = openings.iter().find(|o| o.receive == step);
        let instr = granted.map_or(*instr, |o| instr.opened(o.is_ahead));
        instrs.push(instr.after_port().map_or(instr, |after| instr.after(moved(after))));
    }
    Block { instrs, ..*block }
}
