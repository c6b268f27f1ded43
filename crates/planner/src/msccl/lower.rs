//! Owns the making of a plan from a program: a block for each thread block, an instruction for each chunk
//! of each step.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use crosstie_ir::{
    Block, ChannelId, Chunk, Collective, ConnId, Connection, Instr, Plan, Rank, SLOTS, Settled,
    Space, settle,
};
use crosstie_topo::xml::Position;

use super::read::{Algo, Buffer, Place, Step, StepKind, ThreadBlock};
use super::scratch::Scratch;
use super::shape::Shape;
use super::{Error, Origin, Program, Refused, waits};

/// Instructions of a plan, at most: a program for 512 GPUs that sends from all to all takes half as many.
const MOST_INSTRUCTIONS: usize = 1 << 20;

pub(super) fn program(algo: &Algo) -> Result<Program, Error> {
    let shape = Shape::of(algo)?;
    let connections = connections(algo)?;
    let lowering = Lowering { algo, shape, connections: &connections };
    let mut steps: Vec<(Block, Vec<u32>)> = Vec::new();
    let (mut total, mut places) = (0, Vec::new());
    for (gpu, rank) in algo.gpus.iter().zip(0..) {
        for block in &gpu.blocks {
            block.steps.iter().try_for_each(|step| lowering.check(Rank(rank), step))?;
        }
        let scratch = Scratch::of(Rank(rank), gpu, shape)?;
        for block in &gpu.blocks {
            let made = lowering.block(Rank(rank), block, &scratch);
            total += made.0.instrs.len();
            if total > MOST_INSTRUCTIONS {
                return Err(Error::TooLong { limit: MOST_INSTRUCTIONS });
            }
            steps.push(made);
            places.push((rank, block));
        }
    }
    waits::fill(&mut steps, &places)?;
    let (blocks, numbers): (Vec<Block>, Vec<Vec<u32>>) = steps.into_iter().unzip();
    let draft = Plan {
        collective: algo.collective,
        ranks: algo.ranks,
        parts: shape.parts,
        scratch_chunks: lowering.scratch(),
        connections: connections.into_keys().collect(),
        blocks,
    };
    let origin = |block: usize, step: u32| {
        let (gpu, of) = places[block];
        let number = numbers[block][step as usize];
        let line = of.steps[number as usize].at.line;
        Origin { gpu, thread_block: of.id, step: number, line }
    };
    let settled = settle(&draft, SLOTS, algo.is_in_place()).map_err(|reject| {
        let sites = reject.sites().into_iter();
        let origins = sites.map(|site| origin(site.block.0 as usize, site.step)).collect();
        Error::Plan(Refused { reject, origins })
    })?;
    let Settled { plan, origins } = settled;
    let of_block = |(block, steps): (usize, Vec<u32>)| {
        steps.into_iter().map(|step| origin(block, step)).collect()
    };
    Ok(Program {
        name: algo.name.clone(),
        forms: algo.forms,
        plan,
        origins: origins.into_iter().enumerate().map(of_block).collect(),
    })
}

/// Every connection that has a sender, with how many chunks each of its messages carries, and where.
fn connections(algo: &Algo) -> Result<BTreeMap<Connection, ConnId>, Error> {
    let mut messages: BTreeMap<Connection, [Vec<(u32, Position)>; 2]> = BTreeMap::new();
    for (gpu, rank) in algo.gpus.iter().zip((0..).map(Rank)) {
        for block in &gpu.blocks {
            for step in &block.steps {
                let ends = [(step.kind.sends(), block.send), (step.kind.receives(), block.recv)];
                for (end, (_, peer)) in ends.iter().enumerate().filter(|(_, (used, _))| *used) {
                    let peer = peer.ok_or_else(|| no_peer(step, end == 0))?;
                    let (src, dst) = if end == 0 { (rank, peer) } else { (peer, rank) };
                    let connection = Connection { src, dst, channel: ChannelId(block.channel) };
                    let ends = messages.entry(connection).or_default();
                    ends[end].push((step.count, step.at));
                }
            }
        }
    }
    for (connection, [sent, received]) in &messages {
        let differs = sent.iter().zip(received).find(|(sent, received)| sent.0 != received.0);
        if let Some(((sends, sender), (receives, at))) = differs {
            let Connection { src, dst, channel } = connection;
            let what = format!(
                "receives {receives} chunks where gpu {src} sends {sends} to gpu {dst} on channel {} (line {})",
                channel.0, sender.line
            );
            return Err(Error::Contradiction { at: *at, what });
        }
    }
    Ok(messages.into_keys().zip((0..).map(ConnId)).collect())
}

fn no_peer(step: &Step, sends: bool) -> Error {
    let (verb, attribute) = if sends { ("sends", "send") } else { ("receives", "recv") };
    let what = format!("the step {verb}, but its <tb> has {attribute}=\"-1\"");
    Error::Contradiction { at: step.at, what }
}

struct Lowering<'a> {
    algo: &'a Algo,
    shape: Shape,
    connections: &'a BTreeMap<Connection, ConnId>,
}

impl Lowering<'_> {
    /// Scratch chunks of the rank that has most.
    fn scratch(&self) -> u32 {
        self.algo.gpus.iter().map(|gpu| gpu.scratch).max().unwrap_or(0)
    }

    /// A thread block's instructions, each with the number of its step.
    fn block(&self, rank: Rank, of: &ThreadBlock, scratch: &Scratch) -> (Block, Vec<u32>) {
        let (mut instrs, mut numbers) = (Vec::new(), Vec::new());
        for (step, number) in of.steps.iter().zip(0..) {
            if step.kind == StepKind::Nothing {
                // What it waits for is filled in once all blocks are known.
                let waits = step.after.is_some_and(|(block, _)| block != of.id);
                let wait = waits.then(|| Instr::new(None, None, None, None));
                instrs.extend(wait.map(|wait| wait.sliced(0, self.shape.slices)));
            } else {
                let instr = |index| self.instr((rank, of), step, index, scratch);
                instrs.extend((0..step.count).map(instr));
            }
            numbers.resize(instrs.len(), number);
        }
        (Block { rank, instrs }, numbers)
    }

    /// That a step names chunks that there are.
    fn check(&self, rank: Rank, step: &Step) -> Result<(), Error> {
        let used = [(step.kind.reads(), step.src), (step.kind.writes(), step.dst)];
        for (_, Place { buffer, offset }) in used.into_iter().filter(|(used, _)| *used) {
            let (chunks, name) = match buffer {
                Buffer::Scratch => (self.algo.gpus[rank.0 as usize].scratch, "scratch"),
                Buffer::Input if self.algo.is_in_place() => {
                    let [input, output] =
                        [Space::Input, Space::Output].map(|space| self.chunks_of(rank, space));
                    (input.max(output), "buffer")
                }
                Buffer::Input => (self.chunks_of(rank, Space::Input), "input"),
                Buffer::Output => (self.chunks_of(rank, Space::Output), "output"),
            };
            let end = offset + step.count;
            if end > chunks {
                let what = format!(
                    "chunks {offset} to {} of gpu {rank}'s {name}, which has {chunks}",
                    end - 1
                );
                return Err(Error::Contradiction { at: step.at, what });
            }
        }
        Ok(())
    }

    fn chunks_of(&self, rank: Rank, space: Space) -> u32 {
        let Algo { collective, ranks, .. } = *self.algo;
        let chunks = match space {
            Space::Input => collective.input_chunks(rank, ranks, self.shape.parts),
            _ => collective.output_chunks(rank, ranks, self.shape.parts),
        };
        chunks.saturating_mul(u32::from(self.shape.slices))
    }

    /// The instruction for one chunk of a step.
    fn instr(
        &self,
        (rank, of): (Rank, &ThreadBlock),
        step: &Step,
        index: u32,
        scratch: &Scratch,
    ) -> Instr {
        let connection = |src, dst| Connection { src, dst, channel: ChannelId(of.channel) };
        let known = |connection| self.connections.get(&connection).copied();
        let from = of.recv.filter(|_| step.kind.receives());
        let to = of.send.filter(|_| step.kind.sends());
        let recv = from.and_then(|peer| known(connection(peer, rank)));
        let send = to.and_then(|peer| known(connection(rank, peer)));
        let chunk = |used: bool, place| used.then(|| self.chunk(rank, place, index, scratch));
        let src = chunk(step.kind.reads(), step.src);
        let dst = chunk(step.kind.writes(), step.dst);
        // `Scratch` has seen to it that both are in one slice.
        let slice = src.or(dst).map_or(0, |(_, slice)| slice);
        let instr = Instr::new(recv, src.map(|s| s.0), dst.map(|d| d.0), send);
        let instr = instr.sliced(slice, self.shape.slices);
        if step.kind == StepKind::Reduce { instr.accumulating() } else { instr }
    }

    /// Chunk `index` of those from `place` on. In place, input and output are one buffer, here the output.
    fn chunk(
        &self,
        rank: Rank,
        Place { buffer, offset }: Place,
        index: u32,
        scratch: &Scratch,
    ) -> (Chunk, u16) {
        let (number, slice) = self.shape.split(offset + index);
        let chunk = match buffer {
            Buffer::Scratch => {
                let number = offset + index;
                return (Chunk::scratch(number), scratch.slice(number));
            }
            Buffer::Output => Chunk::output(number),
            Buffer::Input if self.algo.is_in_place() => self.in_place(rank, number),
            Buffer::Input => Chunk::input(number),
        };
        (chunk, slice)
    }

    /// The output chunk that is input chunk `number`, if there is one.
    fn in_place(&self, rank: Rank, number: u32) -> Chunk {
        if !self.algo.collective.has_input(rank) {
            return Chunk::output(number);
        }
        let output = match self.algo.collective {
            Collective::AllGather | Collective::Gather { .. } => rank.0,
            Collective::ReduceScatter | Collective::Scatter { .. } => 0,
            _ => number,
        };
        let alias = self.algo.collective.in_place_chunk(rank, Chunk::output(output));
        if alias == Chunk::input(number) { Chunk::output(output) } else { Chunk::input(number) }
    }
}
