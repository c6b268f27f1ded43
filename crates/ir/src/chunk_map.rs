//! Owns the late binding of sizes: where chunk, slice and window lie in a buffer of one call.

use core::ops::Range;

use crate::Space;

/// How a buffer is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// One contiguous run of elements; each window of it is split evenly into `chunks`, the first
    /// ones an element longer where it does not divide (all_reduce).
    Split {
        /// Chunks per window.
        chunks: u32,
    },
    /// One block of elements per chunk, `stride` elements apart; a window covers the same part of
    /// each block (all_gather, reduce_scatter, all_to_all).
    Blocks {
        /// Elements from one block's start to the next one's.
        stride: u64,
    },
}

/// The sizes of one call: what [`crate::Chunk`]s are bound to.
///
/// A buffer larger than a window is handled by repeating the plan; the window bounds the longest
/// message and the scratch memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMap {
    element_bytes: u64,
    layout: Layout,
    /// Elements that windows walk over: the whole buffer (`Split`) or one block (`Blocks`).
    count: u64,
    window: u64,
}

impl ChunkMap {
    /// A map over `count` elements of `element_bytes` each, `window` elements at a time.
    ///
    /// `count` and `window` count elements of the whole buffer for [`Layout::Split`], of one block
    /// for [`Layout::Blocks`]. A `window` of 0 is taken as 1.
    pub fn new(layout: Layout, element_bytes: usize, count: u64, window: u64) -> Self {
        Self { element_bytes: element_bytes as u64, layout, count, window: window.max(1) }
    }

    /// How often the plan is repeated; 1 for an empty buffer, so that ranks still meet.
    pub fn windows(&self) -> u64 {
        self.count.div_ceil(self.window).max(1)
    }

    /// The bytes of slice `slice` of `slices` of chunk `index` of `space`, in window `window`.
    ///
    /// Scratch chunks lie one after the other, each as long as the longest chunk of a window.
    pub fn range(
        &self,
        space: Space,
        index: u32,
        (slice, slices): (u16, u16),
        window: u64,
    ) -> Range<u64> {
        let start = window * self.window;
        let length = self.window.min(self.count.saturating_sub(start));
        let (offset, elements) = match (self.layout, space) {
            (Layout::Split { chunks }, Space::Input | Space::Output) => {
                let (at, elements) = part(length, index, chunks);
                (start + at, elements)
            }
            (Layout::Split { chunks }, Space::Scratch) => {
                (u64::from(index) * self.chunk_elements(), part(length, index % chunks, chunks).1)
            }
            (Layout::Blocks { stride }, Space::Input | Space::Output) => {
                (u64::from(index) * stride + start, length)
            }
            (Layout::Blocks { .. }, Space::Scratch) => {
                (u64::from(index) * self.chunk_elements(), length)
            }
        };
        let (at, elements) = part(elements, u32::from(slice), u32::from(slices));
        let first = (offset + at) * self.element_bytes;
        first..first + elements * self.element_bytes
    }

    /// Elements of the longest chunk of any window.
    pub fn chunk_elements(&self) -> u64 {
        let window = self.window.min(self.count);
        match self.layout {
            Layout::Split { chunks } => window.div_ceil(u64::from(chunks.max(1))),
            Layout::Blocks { .. } => window,
        }
    }

    /// Bytes of an input or output of `chunks` chunks, all windows.
    pub fn buffer_bytes(&self, chunks: u32) -> u64 {
        let elements = match self.layout {
            Layout::Split { .. } => self.count,
            Layout::Blocks { stride } => match chunks.checked_sub(1) {
                Some(before_last) => u64::from(before_last) * stride + self.count,
                None => 0,
            },
        };
        elements * self.element_bytes
    }

    /// Bytes that `chunks` scratch chunks need.
    pub fn scratch_bytes(&self, chunks: u32) -> u64 {
        u64::from(chunks) * self.chunk_elements() * self.element_bytes
    }
}

/// Part `index` of `parts` of `total` elements: (offset, length); the first parts are the longer.
fn part(total: u64, index: u32, parts: u32) -> (u64, u64) {
    if parts <= 1 {
        return (0, total);
    }
    let (index, parts) = (u64::from(index), u64::from(parts));
    let (base, longer) = (total / parts, total % parts);
    (index * base + index.min(longer), base + u64::from(index < longer))
}
