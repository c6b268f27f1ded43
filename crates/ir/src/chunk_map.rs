//! Owns the late binding of sizes: where chunk, slice and window lie in a buffer of one call.

use core::ops::Range;

use crate::plan::Block;
use crate::{Few, Space};

/// How a buffer is cut into chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// One contiguous run of elements; each window of it is split evenly into `chunks`, the first
    /// ones an element longer where it does not divide (all_reduce, broadcast, reduce).
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
    /// A block of its own length and place for each chunk (the v-forms, groups of sends and
    /// receives); a window covers the same part of each, or what there is of it. A scratch chunk is
    /// as long as the input chunk of its number, so only plans that keep to that suit it.
    Table(Table),
}

/// The blocks of a call whose chunks differ in length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Input chunks in order.
    pub input: Few<Span>,
    /// Output chunks in order.
    pub output: Few<Span>,
    /// How often the blocks of a plan are repeated.
    pub repeats: Repeats,
}

/// Where a chunk lies, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Its first element.
    pub offset: u64,
    /// How many there are.
    pub elements: u64,
}

/// How often the blocks of a plan are repeated, where chunks differ in length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// As often as the longest chunk of the world needs, which every rank knows (all_gather_v,
    /// reduce_scatter_v).
    World {
        /// Elements of the longest chunk.
        longest: u64,
    },
    /// Each block as often as its own longest chunk needs, for only the two ends of a connection
    /// know how long its messages are (all_to_all_v, groups of sends and receives).
    Block,
}

/// The sizes of one call: what [`crate::Chunk`]s are bound to.
///
/// A buffer larger than a window is handled by repeating the plan; the window bounds the longest
/// message and the scratch memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkMap {
    element_bytes: u64,
    layout: Layout,
    /// Elements that windows walk over: the whole buffer (`Split`), one block (`Blocks`), the
    /// longest block (`Table`).
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

    /// A map over blocks that differ in length, `window` elements of each at a time.
    pub fn of_table(table: Table, element_bytes: usize, window: u64) -> Self {
        let own = table.input.iter().chain(table.output.iter()).map(|span| span.elements);
        let longest = own.max().unwrap_or(0);
        let count = match table.repeats {
            Repeats::World { longest: of_world } => of_world.max(longest),
            Repeats::Block => longest,
        };
        Self::new(Layout::Table(table), element_bytes, count, window)
    }

    /// The output chunks, where chunks have each a length and a place of their own.
    pub fn output_spans(&self) -> Option<&[Span]> {
        match &self.layout {
            Layout::Table(table) => Some(&table.output),
            _ => None,
        }
    }

    /// Whether chunks have each a length and a place of their own.
    pub fn is_ragged(&self) -> bool {
        matches!(self.layout, Layout::Table(_))
    }

    /// How often the plan is repeated; 1 for an empty buffer, so that ranks still meet.
    pub fn windows(&self) -> u64 {
        self.count.div_ceil(self.window).max(1)
    }

    /// How often `block` of the plan is repeated.
    pub fn windows_of(&self, block: &Block) -> u64 {
        match &self.layout {
            // Windows are as many as the longest chunk of all blocks needs, at most.
            Layout::Table(table) if table.repeats == Repeats::Block && self.count > self.window => {
                let ports = |i: &crate::Instr| [i.src_port(), i.dst_port()];
                let chunks = block.instrs.iter().flat_map(ports).flatten();
                let longest = chunks.map(|chunk| table.span(chunk.space, chunk.index).elements);
                longest.max().unwrap_or(0).div_ceil(self.window).max(1)
            }
            _ => self.windows(),
        }
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
        let start = window.saturating_mul(self.window);
        let length = self.window.min(self.count.saturating_sub(start));
        let (offset, elements) = match (&self.layout, space) {
            (Layout::Split { chunks }, Space::Input | Space::Output) => {
                let (at, elements) = part(length, index, *chunks);
                (start + at, elements)
            }
            (Layout::Split { chunks }, Space::Scratch) => (
                u64::from(index) * self.chunk_elements(),
                part(length, index % (*chunks).max(1), *chunks).1,
            ),
            (Layout::Blocks { stride }, Space::Input | Space::Output) => {
                (u64::from(index) * stride + start, length)
            }
            (Layout::Table(table), Space::Input | Space::Output) => {
                let span = table.span(space, index);
                let at = start.min(span.elements);
                (span.offset + at, self.window.min(span.elements - at))
            }
            (Layout::Blocks { .. }, Space::Scratch) => {
                (u64::from(index) * self.chunk_elements(), length)
            }
            (Layout::Table(table), Space::Scratch) => {
                let of_input = table.span(Space::Input, index).elements;
                let elements = self.window.min(of_input - start.min(of_input));
                (u64::from(index) * self.chunk_elements(), elements)
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
            Layout::Blocks { .. } | Layout::Table(_) => window,
        }
    }

    /// Bytes of the input or output (`space`) if it has `chunks` chunks, all windows.
    pub fn buffer_bytes(&self, space: Space, chunks: u32) -> u64 {
        let Some(last) = chunks.checked_sub(1) else { return 0 };
        let elements = match &self.layout {
            Layout::Split { .. } => self.count,
            Layout::Blocks { stride } => u64::from(last) * stride + self.count,
            Layout::Table(table) => table.end(space),
        };
        elements * self.element_bytes
    }

    /// Bytes that `chunks` scratch chunks need.
    pub fn scratch_bytes(&self, chunks: u32) -> u64 {
        u64::from(chunks) * self.chunk_elements() * self.element_bytes
    }
}

impl Table {
    fn spans(&self, space: Space) -> &[Span] {
        match space {
            Space::Input => &self.input,
            Space::Output => &self.output,
            Space::Scratch => &[],
        }
    }

    /// An empty one where the table has none: a plan that names it is refused when it is bound.
    fn span(&self, space: Space, index: u32) -> Span {
        self.spans(space).get(index as usize).copied().unwrap_or_default()
    }

    fn end(&self, space: Space) -> u64 {
        let ends = self.spans(space).iter().map(|span| span.offset + span.elements);
        ends.max().unwrap_or(0)
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
