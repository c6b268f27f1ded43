//! Owns what instructions mean to the verifier: values, accesses, clocks, and chains of messages.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::clock::{Clock, Moment};
use super::memory::{Memory, Present, Use};
use super::value::{Place, ValueId, Values, Wanted};
use super::{Class, Options};
use crate::Collective;
use crate::plan::{After, BlockId, Chunk, ConnId, Instr, Plan, Rank, Space};
use crate::reject::{Access, Event, Reject, Size};
use crate::structure::Structure;
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
    structure: &'a Structure,
    options: &'a Options,
    values: Values,
    memory: Memory,
    /// The past of each block.
    pasts: Vec<Past>,
    /// Blocks of which clocks need to tell: those that share a rank with another; where chunks are
    /// lent, all.
    tracked: Vec<bool>,
    /// Steps that others wait for.
    awaited: BTreeSet<(BlockId, u32)>,
    /// The past of each awaited step that has completed.
    completed: BTreeMap<(BlockId, u32, u64), Past>,
    /// How long the scratch chunks are that stand for no particular chunk, once written.
    scratch_sizes: BTreeMap<Place, Size>,
    /// Who receives what is lent.
    borrowers: Borrowers,
    steps: u32,
}

/// Which execution receives each message: of class lend, it ends the sender's use of the chunk.
#[derive(Debug, Default)]
struct Borrowers {
    /// The steps of the receiving block that receive, of each connection; empty of class copy.
    steps: Vec<Vec<u32>>,
    /// Messages sent so far, over each connection.
    sent: Vec<u64>,
}

impl Borrowers {
    fn new(plan: &Plan, options: &Options) -> Self {
        if options.class == Class::Copy {
            return Self::default();
        }
        let mut steps = alloc::vec![Vec::new(); plan.connections.len()];
        for block in &plan.blocks {
            for (instr, step) in block.instrs.iter().zip(0..) {
                if let Some(ConnId(conn)) = instr.recv_port() {
                    steps[conn as usize].push(step);
                }
            }
        }
        Self { sent: alloc::vec![0; steps.len()], steps }
    }

    /// The execution that receives the next message of `conn`, in a block of `length`
    /// instructions.
    fn next(&mut self, ConnId(conn): ConnId, BlockId(block): BlockId, length: u64) -> Moment {
        let steps = &self.steps[conn as usize];
        let sent = &mut self.sent[conn as usize];
        let (window, at) = (*sent / steps.len() as u64, *sent % steps.len() as u64);
        *sent += 1;
        Moment { block, number: window * length + u64::from(steps[at as usize]) }
    }
}

impl<'a> Machine<'a> {
    pub(super) fn new(plan: &'a Plan, structure: &'a Structure, options: &'a Options) -> Self {
        let mut blocks_of = BTreeMap::new();
        for block in &plan.blocks {
            *blocks_of.entry(block.rank).or_insert(0) += 1;
        }
        let instrs = plan.blocks.iter().flat_map(|block| &block.instrs);
        let awaited = instrs.filter_map(Instr::after_port).map(|after| (after.block, after.step));
        let lends = options.class == Class::Lend;
        Self {
            plan,
            structure,
            options,
            values: Values::default(),
            memory: Memory::default(),
            pasts: alloc::vec![Past::default(); plan.blocks.len()],
            tracked: plan.blocks.iter().map(|b| lends || blocks_of[&b.rank] > 1).collect(),
            awaited: awaited.collect(),
            completed: BTreeMap::new(),
            scratch_sizes: BTreeMap::new(),
            borrowers: Borrowers::new(plan, options),
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
        if collective == Collective::SendRecv {
            return Ok(true);
        }
        let mut met: BTreeMap<Wanted, ValueId> = BTreeMap::new();
        let mut bits_agree = true;
        for (rank, window) in pairs(0..ranks, 0..windows) {
            let rank = Rank(rank);
            for (index, slice) in pairs(0..self.plan.output_chunks(rank), 0..slices) {
                let chunk = Chunk::output(index);
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
        if instr.is_grant() || instr.is_wait() {
            self.complete(event, past);
            let size = Size { class: 0, slice: instr.slice() };
            return Ok(Message { value: ValueId::NONE, size, past: Past::default() });
        }
        let size = self.common_size(event, instr, received.as_ref())?;
        let borrower = instr.send_port().and_then(|conn| self.borrower(conn));
        let chunks = Chunks::new(instr, borrower);
        let value = self.value(event, instr, received, &chunks, &past)?;
        if let Some(chunk) = instr.dst_port() {
            let place = self.place(event.site.rank, chunk, instr.slice(), event.window);
            let now = self.moment(event);
            let present = Present { now, clock: &past.clock };
            let by = Use { access: Access { event, chunk, writes: true }, end: now };
            self.memory.write(place, value, by, &present, &mut self.values)?;
            if self.plan.collective.size_class(event.site.rank, chunk, 0, 0).is_none() {
                self.scratch_sizes.insert(place, size);
            }
            if let Some(end) = chunks.dst_lent_until {
                let by = Use { access: Access { event, chunk, writes: false }, end };
                let mut known = past.clock.clone();
                known.learn(now);
                let present = Present { now, clock: &known };
                self.memory.read(place, by, &present, &mut self.values)?;
            }
        }
        self.complete(event, past);
        let mut past = match instr.send_port() {
            Some(_) => self.pasts[event.site.block.0 as usize].clone(),
            None => Past::default(),
        };
        past.depth += 1;
        Ok(Message { value, size, past })
    }

    /// A place is written to from its grant until its receive has completed. What is to be reduced lands
    /// elsewhere.
    fn open(&mut self, by: Event, receive: &Instr, event: Event) -> Result<(), Reject> {
        let Some(chunk) = receive.dst_port().filter(|_| receive.src_port().is_none()) else {
            return Ok(());
        };
        let place = self.place(event.site.rank, chunk, receive.slice(), event.window);
        let access = Access { event: by, chunk, writes: true };
        let (now, end) = (self.moment(by), self.moment(event));
        let mut clock = self.pasts[by.site.block.0 as usize].clock.clone();
        if let Some(After { block, step }) = self.wait_of(by)
            && let Some(awaited) = self.completed.get(&(block, step, by.window))
        {
            clock.join(&awaited.clock);
        }
        let present = Present { now, clock: &clock };
        let value = self.memory.contents(place, &mut self.values);
        self.memory.write(place, value, Use { access, end }, &present, &mut self.values)
    }
}

/// How long an instruction's chunks are in use beyond it, where they are lent.
struct Chunks {
    src_lent_until: Option<Moment>,
    dst_lent_until: Option<Moment>,
}

impl Chunks {
    /// What an executor may lend of an instruction whose message `borrower` receives: what it wrote,
    /// or what it only sends.
    fn new(instr: &Instr, borrower: Option<Moment>) -> Self {
        let own = |chunk: Option<Chunk>| chunk.is_some_and(|c| c.space != Space::Scratch);
        let borrower = borrower.filter(|_| !instr.is_copied());
        let (src, dst) = (instr.src_port(), instr.dst_port());
        let only_sent = instr.recv_port().is_none() && dst.is_none() && !instr.finishes();
        Self {
            src_lent_until: borrower.filter(|_| only_sent && own(src)),
            dst_lent_until: borrower.filter(|_| own(dst)),
        }
    }
}

impl Machine<'_> {
    /// What a grant waits for.
    fn wait_of(&self, by: Event) -> Option<After> {
        let block = &self.plan.blocks[by.site.block.0 as usize];
        block.instrs[by.site.step as usize].after_port()
    }

    /// The execution that receives what is now sent over `conn`; none where nothing is lent.
    fn borrower(&mut self, conn: ConnId) -> Option<Moment> {
        if self.options.class == Class::Copy {
            return None;
        }
        let block = self.structure.receiver(conn);
        let length = self.plan.blocks[block.0 as usize].instrs.len() as u64;
        Some(self.borrowers.next(conn, block, length))
    }

    /// `reduce(received?, src?)`, or `reduce(dst, src)`; finished where the instruction says so.
    fn value(
        &mut self,
        event: Event,
        instr: &Instr,
        received: Option<Message>,
        chunks: &Chunks,
        past: &Past,
    ) -> Result<ValueId, Reject> {
        let now = self.moment(event);
        let operand = instr.dst_port().filter(|_| instr.accumulates());
        let src = instr.src_port().map(|chunk| (chunk, chunks.src_lent_until.unwrap_or(now)));
        let mut value = received.map(|message| message.value);
        for (chunk, end) in src.into_iter().chain(operand.map(|chunk| (chunk, now))) {
            let place = self.place(event.site.rank, chunk, instr.slice(), event.window);
            let by = Use { access: Access { event, chunk, writes: false }, end };
            let present = Present { now, clock: &past.clock };
            let read = self.memory.read(place, by, &present, &mut self.values)?;
            if chunk.space == Space::Input && !self.values.is_initial(read) {
                return Err(Reject::StaleInput { at: event, chunk });
            }
            value = Some(value.map_or(read, |other| self.values.reduced(other, read)));
        }
        let value = value.ok_or(Reject::NoValue { at: event.site })?;
        Ok(if instr.finishes() { self.values.finished(value) } else { value })
    }

    /// The one length of all that meets in an instruction.
    fn common_size(
        &self,
        event: Event,
        instr: &Instr,
        received: Option<&Message>,
    ) -> Result<Size, Reject> {
        if self.options.even {
            return Ok(Size { class: 0, slice: 0 });
        }
        let Plan { collective, ranks, parts, .. } = *self.plan;
        let size_of = |chunk: Chunk| {
            let (rank, slice) = (event.site.rank, instr.slice());
            match collective.size_class(rank, chunk, ranks, parts) {
                Some(class) => Some(Size { class, slice }),
                None => {
                    self.scratch_sizes.get(&self.place(rank, chunk, slice, event.window)).copied()
                }
            }
        };
        // A scratch chunk that is written becomes as long as what is written to it.
        let fixed = |chunk: &Chunk| collective.size_class(event.site.rank, *chunk, ranks, parts);
        let dst = instr.dst_port().filter(|c| fixed(c).is_some() || instr.accumulates());
        let chunks = instr.src_port().into_iter().chain(dst).filter_map(size_of);
        let mut sizes = received.map(|message| message.size).into_iter().chain(chunks);
        let Some(one) = sizes.next() else {
            // Scratch that was never written: what it gives to whom is refused as undefined.
            return Ok(Size { class: 0, slice: instr.slice() });
        };
        match sizes.find(|&other| other != one) {
            Some(other) => Err(Reject::Sizes { at: event, one, other }),
            None => Ok(one),
        }
    }
}
