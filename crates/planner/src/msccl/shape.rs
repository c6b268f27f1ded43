//! Owns how the chunks of a program are chunks of the plan.

use alloc::format;

use super::Error;
use super::read::Algo;

/// How a program's chunks are chunks of the plan.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Parts of a whole buffer; 1 elsewhere.
    pub parts: u32,
    /// Slices of each block; 1 where the buffer is whole.
    pub slices: u16,
}

impl Shape {
    pub fn of(algo: &Algo) -> Result<Self, Error> {
        let (chunks, ranks) = (algo.chunks, algo.ranks);
        if algo.collective.is_whole() {
            return Ok(Self { parts: chunks.max(1), slices: 1 });
        }
        let slices = u16::try_from(chunks / ranks).ok().filter(|&s| s > 0);
        match slices.filter(|_| chunks.is_multiple_of(ranks)) {
            Some(slices) => Ok(Self { parts: 1, slices }),
            None => {
                let what = format!(
                    "{chunks} chunks for {ranks} GPUs: each GPU's block is cut into equally many, 1 to {}",
                    u16::MAX
                );
                Err(Error::Contradiction { at: algo.at, what })
            }
        }
    }

    /// Which chunk, and which slice of it, number `index` of a buffer is.
    pub fn split(self, index: u32) -> (u32, u16) {
        let slices = u32::from(self.slices);
        (index / slices, (index % slices) as u16)
    }
}
