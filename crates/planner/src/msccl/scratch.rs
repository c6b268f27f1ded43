//! Owns where a program's scratch chunks lie within blocks that are cut into slices.
//!
//! An instruction works on one slice, the same of each chunk that it names. Input and output chunks say
//! which; a scratch chunk is in whichever slice those are that meet it, so each has a block of its own.

use alloc::format;
use alloc::vec::Vec;

use crosstie_ir::Rank;

use super::Error;
use super::read::{Buffer, Gpu, Place, Step};
use super::shape::Shape;

/// The slice of each scratch chunk of a GPU.
pub(super) struct Scratch {
    slices: Vec<u16>,
}

/// A step, and where it stands.
struct At<'a> {
    rank: Rank,
    block: u32,
    number: u32,
    step: &'a Step,
}

/// Scratch chunks that meet each other, as trees; a root knows the slice, once it is known.
struct Groups {
    parents: Vec<u32>,
    slices: Vec<Option<u16>>,
}

impl Scratch {
    /// # Errors
    /// Where a step moves data from one slice of a block to another, or a scratch chunk serves several, which
    /// no instruction can.
    pub fn of(rank: Rank, gpu: &Gpu, shape: Shape) -> Result<Self, Error> {
        if shape.slices == 1 {
            return Ok(Self { slices: Vec::new() });
        }
        let count = gpu.scratch;
        let mut groups =
            Groups { parents: (0..count).collect(), slices: alloc::vec![None; count as usize] };
        for (block, (number, step)) in
            gpu.blocks.iter().flat_map(|block| (0..).zip(&block.steps).map(move |it| (block, it)))
        {
            if step.kind.reads() && step.kind.writes() {
                let at = At { rank, block: block.id, number, step };
                (0..step.count).try_for_each(|index| groups.meet(&at, index, shape))?;
            }
        }
        let slice = |chunk| {
            let root = groups.root(chunk);
            groups.slices[root as usize].unwrap_or(0)
        };
        Ok(Self { slices: (0..count).map(slice).collect() })
    }

    pub fn slice(&self, chunk: u32) -> u16 {
        self.slices.get(chunk as usize).copied().unwrap_or(0)
    }
}

impl Groups {
    /// Halves the way as it goes, so that no program makes it long.
    fn root(&mut self, mut chunk: u32) -> u32 {
        loop {
            let parent = self.parents[chunk as usize];
            if parent == chunk {
                return chunk;
            }
            self.parents[chunk as usize] = self.parents[parent as usize];
            chunk = parent;
        }
    }

    /// Has the two chunks of a step be in one slice.
    fn meet(&mut self, at: &At<'_>, index: u32, shape: Shape) -> Result<(), Error> {
        let step = at.step;
        let known = |Place { buffer, offset }: Place| match buffer {
            Buffer::Scratch => Err(offset + index),
            Buffer::Input | Buffer::Output => Ok(shape.split(offset + index).1),
        };
        let apart = match (known(step.src), known(step.dst)) {
            (Ok(one), Ok(other)) => one != other,
            (Ok(slice), Err(chunk)) | (Err(chunk), Ok(slice)) => {
                let root = self.root(chunk) as usize;
                *self.slices[root].get_or_insert(slice) != slice
            }
            (Err(one), Err(other)) => {
                let (one, other) = (self.root(one), self.root(other));
                self.join(one, other)
            }
        };
        if !apart {
            return Ok(());
        }
        let what = format!(
            "step {} of tb {} of gpu {}: chunk {} meets another part of a block than its own, of {} parts; a plan \
             keeps parts apart, so this cannot be judged: give each part a scratch chunk of its own, and copy \
             between chunks of one part",
            at.number,
            at.block,
            at.rank,
            step.src.offset + index,
            shape.slices
        );
        Err(Error::Beyond { at: step.at, what })
    }

    /// Whether the two groups are in different slices, and so cannot be one.
    fn join(&mut self, one: u32, other: u32) -> bool {
        if one == other {
            return false;
        }
        let (kept, joined) = (self.slices[one as usize], self.slices[other as usize]);
        self.parents[other as usize] = one;
        self.slices[one as usize] = kept.or(joined);
        kept.zip(joined).is_some_and(|(kept, joined)| kept != joined)
    }
}
