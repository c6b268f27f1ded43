//! The mutations: small edits of a plan, the mistakes that planners and their authors make.

use crosstie_ir::{After, BlockId, Chunk, ConnId, Instr, Plan, Space};

use crate::random::Random;

/// The ports of an instruction, to be changed one by one.
struct Parts {
    recv: Option<ConnId>,
    src: Option<Chunk>,
    dst: Option<Chunk>,
    send: Option<ConnId>,
    after: Option<After>,
    slice: (u16, u16),
    accumulates: bool,
    finishes: bool,
    is_copied: bool,
    /// Whether it is a grant, is granted, and a window apart.
    grants: (bool, bool, bool),
}

impl Parts {
    fn of(instr: &Instr) -> Self {
        let ports = instr.granted_port().unwrap_or(*instr);
        Self {
            recv: ports.recv_port(),
            src: ports.src_port(),
            dst: ports.dst_port(),
            send: instr.send_port(),
            after: instr.after_port(),
            slice: (instr.slice(), instr.slices()),
            accumulates: instr.accumulates(),
            finishes: instr.finishes(),
            is_copied: instr.is_copied(),
            grants: (instr.is_grant(), instr.is_granted(), instr.is_ahead()),
        }
    }

    fn instr(&self) -> Instr {
        let instr = Instr::new(self.recv, self.src, self.dst, self.send);
        let mut instr = instr.sliced(self.slice.0, self.slice.1);
        if self.accumulates {
            instr = instr.accumulating();
        }
        if self.finishes {
            instr = instr.finishing();
        }
        if self.is_copied {
            instr = instr.copied();
        }
        let (is_grant, is_granted, ahead) = self.grants;
        if is_granted {
            instr = instr.opened(ahead);
        }
        if is_grant {
            instr = instr.opening(ahead);
        }
        self.after.map_or(instr, |after| instr.after(after))
    }
}

type Mutation = fn(&mut Plan, &mut Random);

const MUTATIONS: &[(&str, Mutation)] = &[
    ("delete", delete),
    ("delete a message", delete_message),
    ("duplicate", duplicate),
    ("duplicate a message", duplicate_message),
    ("swap", swap),
    ("swap anywhere", swap_anywhere),
    ("wrong source", |plan, random| chunk(plan, random, |parts| &mut parts.src)),
    ("wrong destination", |plan, random| chunk(plan, random, |parts| &mut parts.dst)),
    ("drop a wait", drop_wait),
    ("other wait", other_wait),
    ("wait too early", early_wait),
    ("wrong peer", wrong_peer),
    ("reduce to copy", |plan, random| edit(plan, random, |parts, _| parts.src = None)),
    ("drop the store", |plan, random| edit(plan, random, |parts, _| parts.dst = None)),
    ("finish or not", |plan, random| edit(plan, random, |parts, _| parts.finishes ^= true)),
    ("copy or lend", |plan, random| edit(plan, random, |parts, _| parts.is_copied ^= true)),
    ("accumulate or not", |plan, random| edit(plan, random, |parts, _| parts.accumulates ^= true)),
    ("wrong slice", wrong_slice),
    ("grant earlier", grant_earlier),
    ("grant anew", grant_anew),
    ("grant the other window", |plan, random| {
        edit(plan, random, |parts, _| parts.grants.2 ^= true)
    }),
    ("split a block", split_block),
    ("split a block at a wait", split_block_at_wait),
    ("join blocks", join_blocks),
    ("move to another block", move_instr),
];

/// Changes `plan` in one way; returns which.
pub fn mutate(plan: &mut Plan, random: &mut Random) -> &'static str {
    let &(name, mutation) = random.pick(MUTATIONS);
    mutation(plan, random);
    name
}

/// A random instruction, as (block, step); none when the plan has run out of them.
fn site(plan: &Plan, random: &mut Random) -> Option<(usize, usize)> {
    let full: Vec<usize> =
        (0..plan.blocks.len()).filter(|&block| !plan.blocks[block].instrs.is_empty()).collect();
    if full.is_empty() {
        return None;
    }
    let block = *random.pick(&full);
    Some((block, random.below(plan.blocks[block].instrs.len())))
}

fn edit(plan: &mut Plan, random: &mut Random, change: impl FnOnce(&mut Parts, &mut Random)) {
    let Some((block, step)) = site(plan, random) else { return };
    let instr = &mut plan.blocks[block].instrs[step];
    let mut parts = Parts::of(instr);
    change(&mut parts, random);
    *instr = parts.instr();
}

fn delete(plan: &mut Plan, random: &mut Random) {
    let Some((block, step)) = site(plan, random) else { return };
    plan.blocks[block].instrs.remove(step);
}

fn duplicate(plan: &mut Plan, random: &mut Random) {
    let Some((block, step)) = site(plan, random) else { return };
    let instr = plan.blocks[block].instrs[step];
    plan.blocks[block].instrs.insert(step, instr);
}

/// The places of the sends and receives of a random connection, and how many there are.
fn message_sites(plan: &Plan, random: &mut Random) -> Option<[Vec<(usize, usize)>; 2]> {
    if plan.connections.is_empty() {
        return None;
    }
    let conn = Some(ConnId(random.below(plan.connections.len()) as u32));
    let mut found = [Vec::new(), Vec::new()];
    for (block, step, instr) in plan.blocks.iter().enumerate().flat_map(|(block, b)| {
        b.instrs.iter().enumerate().map(move |(step, instr)| (block, step, instr))
    }) {
        for (port, sites) in [instr.send_port(), instr.recv_port()].iter().zip(&mut found) {
            if *port == conn {
                sites.push((block, step));
            }
        }
    }
    Some(found)
}

/// Takes one message out at both ends, so that the form stays good.
fn delete_message(plan: &mut Plan, random: &mut Random) {
    let Some([sends, recvs]) = message_sites(plan, random) else { return };
    if sends.is_empty() || recvs.is_empty() {
        return;
    }
    for (sends, sites) in [(true, sends), (false, recvs)] {
        let &(block, step) = random.pick(&sites);
        let instr = &mut plan.blocks[block].instrs[step];
        let mut parts = Parts::of(instr);
        *(if sends { &mut parts.send } else { &mut parts.recv }) = None;
        *instr = parts.instr();
    }
    let has_value = |i: &Instr| i.recv_port().is_some() || i.src_port().is_some();
    let has_effect = |i: &Instr| i.send_port().is_some() || i.dst_port().is_some();
    for block in &mut plan.blocks {
        block.instrs.retain(|instr| has_value(instr) && has_effect(instr));
    }
}

/// Sends one message twice and receives one twice.
fn duplicate_message(plan: &mut Plan, random: &mut Random) {
    let Some([sends, recvs]) = message_sites(plan, random) else { return };
    for sites in [sends, recvs] {
        let Some(&(block, step)) = sites.get(random.below(sites.len().max(1))) else { return };
        let instr = plan.blocks[block].instrs[step];
        plan.blocks[block].instrs.insert(step, instr);
    }
}

fn swap(plan: &mut Plan, random: &mut Random) {
    let Some((block, step)) = site(plan, random) else { return };
    let instrs = &mut plan.blocks[block].instrs;
    let other = (step + 1) % instrs.len();
    instrs.swap(step, other);
}

fn swap_anywhere(plan: &mut Plan, random: &mut Random) {
    let Some((block, step)) = site(plan, random) else { return };
    let other = random.below(plan.blocks[block].instrs.len());
    plan.blocks[block].instrs.swap(step, other);
}

/// Gives one port another chunk.
fn chunk(plan: &mut Plan, random: &mut Random, port: fn(&mut Parts) -> &mut Option<Chunk>) {
    let spaces = [Space::Input, Space::Output, Space::Scratch];
    let (ranks, scratch) = (plan.ranks as usize, plan.scratch_chunks.max(1));
    plan.scratch_chunks = scratch;
    edit(plan, random, |parts, random| {
        let space = match parts.dst.or(parts.src) {
            Some(chunk) if random.chance(2) => chunk.space,
            _ => *random.pick(&spaces),
        };
        *port(parts) = Some(Chunk { space, index: random.below(ranks) as u32 });
    });
}

fn drop_wait(plan: &mut Plan, random: &mut Random) {
    for _ in 0..20 {
        let Some((block, step)) = site(plan, random) else { return };
        let instr = &mut plan.blocks[block].instrs[step];
        if instr.after_port().is_some() {
            *instr = instr.without_after();
            return;
        }
    }
}

/// Makes an instruction wait for a random step, most often of its own rank.
fn other_wait(plan: &mut Plan, random: &mut Random) {
    let Some((target, step)) = site(plan, random) else { return };
    let rank = plan.blocks[target].rank;
    for _ in 0..20 {
        let Some((block, at)) = site(plan, random) else { return };
        if block != target && plan.blocks[block].rank == rank {
            let instr = &mut plan.blocks[block].instrs[at];
            let block = BlockId(target as u32);
            *instr = instr.after(After { block, step: step as u32 });
            return;
        }
    }
}

/// Makes an instruction that waits for a step wait for the one before.
fn early_wait(plan: &mut Plan, random: &mut Random) {
    for _ in 0..20 {
        let Some((block, step)) = site(plan, random) else { return };
        let instr = &mut plan.blocks[block].instrs[step];
        if let Some(After { block, step: step @ 1.. }) = instr.after_port() {
            *instr = instr.after(After { block, step: step - 1 });
            return;
        }
    }
}

/// Moves a grant to an earlier step of its block.
fn grant_earlier(plan: &mut Plan, random: &mut Random) {
    for _ in 0..20 {
        let Some((block, step)) = site(plan, random) else { return };
        let instrs = &mut plan.blocks[block].instrs;
        if instrs[step].is_grant() {
            let instr = instrs.remove(step);
            instrs.insert(random.below(step + 1), instr);
            return;
        }
    }
}

/// Opens the place of a receive that nobody opened early, anywhere before it, in whichever order.
fn grant_anew(plan: &mut Plan, random: &mut Random) {
    for _ in 0..20 {
        let Some((block, step)) = site(plan, random) else { return };
        let instrs = &mut plan.blocks[block].instrs;
        if instrs[step].recv_port().is_some() && !instrs[step].is_granted() {
            let grant = instrs[step].opening(false);
            instrs[step] = instrs[step].opened(false);
            instrs.insert(random.below(step + 1), grant);
            return;
        }
    }
}

fn wrong_peer(plan: &mut Plan, random: &mut Random) {
    if plan.connections.is_empty() {
        return;
    }
    let conn = Some(ConnId(random.below(plan.connections.len()) as u32));
    edit(plan, random, |parts, random| match random.chance(2) {
        true => parts.send = conn,
        false => parts.recv = conn,
    });
}

fn wrong_slice(plan: &mut Plan, random: &mut Random) {
    edit(plan, random, |parts, random| {
        parts.slice.0 = random.below(parts.slice.1.into()) as u16;
    });
}

/// Lets the rest of a block run on its own, without a wait for what was before it.
fn split_block(plan: &mut Plan, random: &mut Random) {
    let Some((block, step)) = site(plan, random) else { return };
    let mut rest = plan.blocks[block].clone();
    rest.instrs = plan.blocks[block].instrs.split_off(step);
    plan.blocks.push(rest);
}

/// The same, but the rest waits for what was before it: in this window, not for the next one's.
fn split_block_at_wait(plan: &mut Plan, random: &mut Random) {
    let Some((block, step @ 1..)) = site(plan, random) else { return };
    let last = After { block: BlockId(block as u32), step: step as u32 - 1 };
    let mut rest = plan.blocks[block].clone();
    rest.instrs = plan.blocks[block].instrs.split_off(step);
    rest.instrs[0] = rest.instrs[0].after(last);
    plan.blocks.push(rest);
}

/// Appends one block of a rank to another; nothing waits for the emptied one any more.
fn join_blocks(plan: &mut Plan, random: &mut Random) {
    let Some((from, _)) = site(plan, random) else { return };
    let rank = plan.blocks[from].rank;
    let others: Vec<usize> = (0..plan.blocks.len())
        .filter(|&block| block != from && plan.blocks[block].rank == rank)
        .collect();
    if others.is_empty() {
        return;
    }
    let to = *random.pick(&others);
    let moved = std::mem::take(&mut plan.blocks[from].instrs);
    let start = plan.blocks[to].instrs.len() as u32;
    plan.blocks[to].instrs.extend(moved);
    for (at, block) in plan.blocks.iter_mut().enumerate() {
        for instr in &mut block.instrs {
            let Some(After { block: BlockId(block), step }) = instr.after_port() else { continue };
            let waits_for_moved = block as usize == from;
            let target = if waits_for_moved { to } else { block as usize };
            *instr = match target == at {
                true => instr.without_after(),
                false => {
                    let step = if waits_for_moved { start + step } else { step };
                    instr.after(After { block: BlockId(target as u32), step })
                }
            };
        }
    }
}

/// Moves an instruction to the end of another block of its rank.
fn move_instr(plan: &mut Plan, random: &mut Random) {
    let Some((from, step)) = site(plan, random) else { return };
    let rank = plan.blocks[from].rank;
    let to = random.below(plan.blocks.len());
    if plan.blocks[to].rank == rank {
        let instr = plan.blocks[from].instrs.remove(step);
        plan.blocks[to].instrs.push(instr);
    }
}
