//! Owns the reference semantics of a plan on bytes: what every executor must produce, bit for bit.

use alloc::vec::Vec;
use core::ops::Range;

use crate::collective::Demand;
use crate::plan::{Chunk, Instr, Plan, Rank, Space};
use crate::reject::{Event, Reject};
use crate::scalar::{Ends, LengthMismatch, Reduction};
use crate::structure::Structure;
use crate::walk::{Meaning, walk};
use crate::{ChunkMap, DataType, ReduceOp};

/// Carries out `plan`, the whole world's, and returns each rank's output.
///
/// `inputs[r]` is rank r's input, also where it lies inside the output (`in_place`); bytes beyond
/// what `map` covers are ignored. Outputs are as long as `map` says; memory that nothing was
/// written to reads as zero. For a plan that [`crate::verify()`] accepts, every interleaving gives
/// these bytes.
///
/// # Errors
/// When the form of the plan is bad, it deadlocks at every depth, an input is missing or too
/// short, or lengths that meet in an instruction differ.
pub fn replay(
    plan: &Plan,
    map: &ChunkMap,
    dtype: DataType,
    op: ReduceOp,
    inputs: Vec<Vec<u8>>,
    in_place: bool,
) -> Result<Vec<Vec<u8>>, Reject> {
    let structure = Structure::check(plan)?;
    check_inputs(plan, map, &inputs)?;
    let scratch = map.scratch_bytes(plan.scratch_chunks) as usize;
    let buffers = |(input, rank)| Buffers {
        input,
        output: alloc::vec![0; map.buffer_bytes(Space::Output, plan.output_chunks(rank)) as usize],
        scratch: alloc::vec![0; scratch],
    };
    let ranks = inputs.into_iter().zip((0..).map(Rank)).map(buffers).collect();
    let reduction = Reduction::new(dtype, op, plan.ranks)?;
    let mut replay = Replay { plan, map, dtype, reduction, in_place, ranks };
    walk(plan, &structure, map.windows(), u32::MAX, &mut replay)?;
    Ok((0..plan.ranks).map(|rank| replay.output(Rank(rank))).collect())
}

fn check_inputs(plan: &Plan, map: &ChunkMap, inputs: &[Vec<u8>]) -> Result<(), Reject> {
    if inputs.len() != plan.ranks as usize {
        return Err(Reject::Inputs { expected: plan.ranks, actual: inputs.len() });
    }
    for (input, rank) in inputs.iter().zip((0..).map(Rank)) {
        let expected = map.buffer_bytes(Space::Input, plan.input_chunks(rank));
        let actual = input.len() as u64;
        if actual < expected {
            return Err(Reject::InputBytes { rank, expected, actual });
        }
    }
    Ok(())
}

struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
    scratch: Vec<u8>,
}

struct Replay<'a> {
    plan: &'a Plan,
    map: &'a ChunkMap,
    dtype: DataType,
    reduction: Reduction,
    in_place: bool,
    ranks: Vec<Buffers>,
}

impl Replay<'_> {
    /// The buffer that `chunk` lies in, and where. In place, output chunks that coincide with
    /// input chunks lie in the input's buffer.
    fn bytes(
        &mut self,
        rank: Rank,
        chunk: Chunk,
        slice: (u16, u16),
        window: u64,
    ) -> (&mut Vec<u8>, Range<usize>) {
        let chunk = match self.in_place {
            true => self.plan.collective.in_place_chunk(rank, chunk),
            false => chunk,
        };
        let range = self.map.range(chunk.space, chunk.index, slice, window);
        let buffers = &mut self.ranks[rank.0 as usize];
        let buffer = match chunk.space {
            Space::Input => &mut buffers.input,
            Space::Output => &mut buffers.output,
            Space::Scratch => &mut buffers.scratch,
        };
        (buffer, range.start as usize..range.end as usize)
    }

    /// The output of `rank`, put together from wherever its chunks lie.
    fn output(&mut self, rank: Rank) -> Vec<u8> {
        let mut output = core::mem::take(&mut self.ranks[rank.0 as usize].output);
        if !self.in_place {
            return output;
        }
        for index in 0..self.plan.output_chunks(rank) {
            if self.plan.collective.in_place_alias(rank, index).is_none() {
                continue;
            }
            for window in 0..self.map.windows() {
                let to = self.map.range(Space::Output, index, (0, 1), window);
                let (from, range) = self.bytes(rank, Chunk::output(index), (0, 1), window);
                output[to.start as usize..to.end as usize].copy_from_slice(&from[range]);
            }
        }
        output
    }

    /// At which ends of a reduction `instr` stands; where nothing is reduced, at none.
    fn ends(&self, rank: Rank, instr: &Instr) -> Ends {
        if !matches!(self.plan.collective.demand(rank, 0), Demand::Reduced { .. }) {
            return Ends::NONE;
        }
        let pre = instr.src_port().is_some_and(|chunk| chunk.space == Space::Input);
        Ends { pre, finish: instr.finishes() }
    }

    /// What `received`, or what an accumulating instruction finds in its destination, and the chunk
    /// read come to.
    fn value(
        &mut self,
        event: Event,
        instr: &Instr,
        received: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Reject> {
        let (rank, slice) = (event.site.rank, (instr.slice(), instr.slices()));
        let mut read = |chunk| {
            let (buffer, range) = self.bytes(rank, chunk, slice, event.window);
            buffer[range].to_vec()
        };
        let operand = received.or_else(|| {
            let accumulator = instr.dst_port().filter(|_| instr.accumulates());
            accumulator.map(&mut read)
        });
        let Some(src) = instr.src_port().map(read) else {
            return operand.ok_or(Reject::NoValue { at: event.site });
        };
        let mut value = alloc::vec![0; src.len()];
        self.reduction
            .value(self.ends(rank, instr), operand.as_deref(), &src, &mut value)
            .map_err(|cause| Reject::Lengths { at: event, cause })?;
        Ok(value)
    }
}

impl Meaning for Replay<'_> {
    type Message = Vec<u8>;

    fn execute(
        &mut self,
        event: Event,
        instr: &Instr,
        received: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Reject> {
        if instr.is_grant() || instr.is_wait() {
            return Ok(Vec::new());
        }
        let value = self.value(event, instr, received)?;
        if let Some(chunk) = instr.dst_port() {
            let (dtype, slice) = (self.dtype, (instr.slice(), instr.slices()));
            let (buffer, range) = self.bytes(event.site.rank, chunk, slice, event.window);
            let dst = &mut buffer[range];
            let (value_bytes, out) = (value.len(), dst.len());
            if value_bytes != out {
                let cause = LengthMismatch { dtype, received: value_bytes, src: value_bytes, out };
                return Err(Reject::Lengths { at: event, cause });
            }
            dst.copy_from_slice(&value);
        }
        Ok(value)
    }
}
