//! Owns what instructions mean to the verifier: values, accesses, clocks, and chains of messages.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::clock::{Clock, Moment};
use super::memory::{Memory, Present, Use};
use super::value::{Place, ValueId, Values, Wanted};
use super::{Class, Options};
use crate::Collective;
use crate::plan::{After, BlockId, Chunk, Instr, Plan, Rank, Space};
use crate::reject::{Access, Event, Reject, Size};
use crate::walk::Meaning;

/// What an execution leaves to those that wait for it.
#[derive(Debug, Clone, Default)]
struct Past {
    clock: Clock,
    /// Messages in the longest chain up to here.
    depth: u32,
}

/// What a message carries.
pub(super) struct Message {
    value: ValueId,
    size: Size,
    past: Past,
}

pub(super) struct Machine<'a> {
    plan: &'a Plan,
    options: &'a Options,
    values: Values,
    memory: Memory,
    /// The past of each block.
    pasts: Vec<Past>,
    /// Blocks of which clocks need to tell: those that share a rank with another.
    tracked: Vec<bool>,
    /// Steps that others wait for.
    awaited: BTreeSet<(BlockId, u32)>,
    /// The past of each awaited step that has completed.
    completed: BTreeMap<(BlockId, u32, u64), Past>,
    steps: u32,
}

impl Class {
    /// The execution with whose completion an access by `execution` ends.
    fn end_of_access(self, execution: Moment) -> Moment {
        match self {
            Self::Copy => execution,
        }
    }
}

impl<'a> Machine<'a> {
    pub(super) fn new(plan: &'a Plan, options: &'a Options) -> Self {
        let mut blocks_of = BTreeMap::new();
        for block in &plan.blocks {
            *blocks_of.entry(block.rank).or_insert(0) += 1;
        }
        let instrs = plan.blocks.iter().flat_map(|block| &block.instrs);
        let awaited = instrs.filter_map(Instr::after_port).map(|after| (after.block, after.step));
        Self {
            plan,
            options,
            values: Values::default(),
            memory: Memory::default(),
            pasts: alloc::vec![Past::default(); plan.blocks.len()],
            tracked: plan.blocks.iter().map(|block| blocks_of[&block.rank] > 1).collect(),
            awaited: awaited.collect(),
            completed: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Messages in the longest chain of the first window.
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// The memory that a chunk is: in place, an output chunk is the input chunk it coincides with.
    fn place(&self, rank: Rank, chunk: Chunk, slice: u16, window: u64) -> Place {
        let Chunk { space, index } = match self.options.in_place {
            true => self.plan.collective.in_place_chunk(rank, chunk),
            false => chunk,
        };
        let window = if space == Space::Scratch { 0 } else { window };
        Place { rank, space, index, slice, window }
    }

    fn moment(&self, event: Event) -> Moment {
        let BlockId(block) = event.site.block;
        let length = self.plan.blocks[block as usize].instrs.len() as u64;
        Moment { block, number: event.window * length + u64::from(event.site.step) }
    }

    /// What the block knows once `instr` may start: all that it waited for lies behind it.
    fn start(&mut self, event: Event, instr: &Instr, received: Option<&Message>) -> Past {
        let mut past = core::mem::take(&mut self.pasts[event.site.block.0 as usize]);
        if let Some(After { block, step }) = instr.after_port()
            && let Some(awaited) = self.completed.get(&(block, step, event.window))
        {
            past.join(awaited);
        }
        if let Some(message) = received {
            past.join(&message.past);
        }
        if event.window == 0 {
            self.steps = self.steps.max(past.depth);
        }
        past
    }

    /// Leaves `past`, which now includes `event`, to the block's next instruction and to those
    /// that wait for this one.
    fn complete(&mut self, event: Event, mut past: Past) {
        let BlockId(block) = event.site.block;
        if self.tracked[block as usize] {
            past.clock.learn(self.moment(event));
        }
        if self.awaited.contains(&(event.site.block, event.site.step)) {
            let key = (event.site.block, event.site.step, event.window);
            self.completed.insert(key, past.clone());
        }
        self.pasts[block as usize] = past;
    }

    /// Checks that every output chunk holds what the collective demands. Returns whether equal
    /// demands are met by equal values everywhere.
    pub(super) fn check_result(&mut self, windows: u64, slices: u16) -> Result<bool, Reject> {
        let Plan { collective, ranks, .. } = *self.plan;
        let mut met: BTreeMap<Wanted, ValueId> = BTreeMap::new();
        let mut bits_agree = true;
        for (rank, window) in pairs(0..ranks, 0..windows) {
            for (index, slice) in pairs(0..collective.output_chunks(ranks), 0..slices) {
                let (rank, chunk) = (Rank(rank), Chunk::output(index));
                let place = self.place(rank, chunk, slice, window);
                let value = self.memory.contents(place, &mut self.values);
                let wanted = Wanted { demand: collective.demand(rank, index), slice, window };
                if met.get(&wanted) == Some(&value) {
                    continue;
                }
                self.values.check(value, wanted, ranks).map_err(|fault| Reject::Result {
                    rank,
                    chunk,
                    slice,
                    window,
                    fault,
                })?;
                bits_agree &= met.insert(wanted, value).is_none();
            }
        }
        Ok(bits_agree)
    }
}

fn pairs<A: Copy, B>(
    outer: impl Iterator<Item = A>,
    inner: impl Iterator<Item = B> + Clone,
) -> impl Iterator<Item = (A, B)> {
    outer.flat_map(move |a| inner.clone().map(move |b| (a, b)))
}

impl Past {
    fn join(&mut self, other: &Self) {
        self.clock.join(&other.clock);
        self.depth = self.depth.max(other.depth);
    }
}

impl Meaning for Machine<'_> {
    type Message = Message;

    fn execute(
        &mut self,
        event: Event,
        instr: &Instr,
        received: Option<Message>,
    ) -> Result<Message, Reject> {
        let past = self.start(event, instr, received.as_ref());
        let size = common_size(self.plan, event, instr, received.as_ref())?;
        let now = self.moment(event);
        let end = self.options.class.end_of_access(now);
        let by = |chunk, writes| Use { access: Access { event, chunk, writes }, end };
        let place = |chunk| self.place(event.site.rank, chunk, size.slice, event.window);
        let (src, dst) = (instr.src_port(), instr.dst_port());
        let (src_place, dst_place) = (src.map(place), dst.map(place));
        let present = Present { now, clock: &past.clock };
        let mut value = received.map(|message| message.value);
        if let (Some(chunk), Some(place)) = (src, src_place) {
            let read = self.memory.read(place, by(chunk, false), &present, &mut self.values)?;
            value = Some(value.map_or(read, |received| self.values.reduced(received, read)));
        }
        let value = value.ok_or(Reject::NoValue { at: event.site })?;
        if let (Some(chunk), Some(place)) = (dst, dst_place) {
            self.memory.write(place, value, by(chunk, true), &present, &mut self.values)?;
        }
        self.complete(event, past);
        let mut past = match instr.send_port() {
            Some(_) => self.pasts[event.site.block.0 as usize].clone(),
            None => Past::default(),
        };
        past.depth += 1;
        Ok(Message { value, size, past })
    }
}

/// The one length of all that meets in an instruction.
fn common_size(
    plan: &Plan,
    event: Event,
    instr: &Instr,
    received: Option<&Message>,
) -> Result<Size, Reject> {
    let collective: Collective = plan.collective;
    let size_of = |chunk: Chunk| Size {
        class: collective.size_class(chunk.index, plan.ranks),
        slice: instr.slice(),
    };
    let chunks = [instr.src_port(), instr.dst_port()].map(|port| port.map(size_of));
    let mut sizes =
        received.map(|message| message.size).into_iter().chain(chunks.into_iter().flatten());
    let one = sizes.next().ok_or(Reject::NoValue { at: event.site })?;
    match sizes.find(|&other| other != one) {
        Some(other) => Err(Reject::Sizes { at: event, one, other }),
        None => Ok(one),
    }
}
