//! Owns the proof that a plan is right, for every interleaving of its blocks.
//!
//! One abstract run (`walk`) decides, since a plan is a deterministic network. It carries
//! * for the result, a symbolic value per message and chunk: which contributions, reduced in which
//!   order. Values are interned, so equal numbers mean equal bits;
//! * for races, a vector clock per block and message: what is known to have completed. Only
//!   program order, waits for a step, and messages order accesses; free slots do not, so a plan
//!   stays right at every depth that does not deadlock;
//! * for steps, the length of the longest chain of messages.
//!
//! Two windows are enough. A window ends with all connections empty, so no later one deadlocks
//! that the first did not. Accesses of windows further apart are ordered through the windows
//! between, each block being sequential.

mod clock;
mod machine;
mod memory;
mod value;

use alloc::vec::Vec;

use crate::plan::{Instr, Plan};
use crate::reject::Reject;
use crate::slice::scratch_chunks;
use crate::structure::Structure;
use crate::walk::walk;
use machine::Machine;

/// How chunks move over a connection, which decides how long an instruction uses its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Through slots: an instruction that has completed uses its chunks no more.
    Copy,
    /// A chunk of the caller's memory that is sent may be read where it lies, until the receiver's
    /// instruction has completed; scratch, and what is reduced on its way to a slot, is copied.
    Lend,
}

/// What a plan is verified under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Slots of each connection.
    pub slots: u32,
    /// The strongest class that its connections may use.
    pub class: Class,
    /// Whether send and receive buffers coincide, as
    /// [`crate::Collective::in_place_alias`] says.
    pub in_place: bool,
    /// Consecutive windows to run; 2 is enough for all (0 is taken as 1).
    pub windows: u32,
    /// Whether all chunks and slices of a call are equally long: its count is a multiple of what they
    /// divide it into. Else a part may be an element longer than another, and may not meet it.
    pub even: bool,
}

impl Options {
    /// Out of place, two windows of class copy, connections of `slots` slots.
    pub const fn copy(slots: u32) -> Self {
        Self { slots, class: Class::Copy, in_place: false, windows: 2, even: false }
    }

    /// The same, of class lend.
    pub const fn lending(self) -> Self {
        Self { class: Class::Lend, ..self }
    }

    /// The same, for calls whose chunks are all equally long.
    pub const fn even(self) -> Self {
        Self { even: true, ..self }
    }

    /// The same, in place.
    pub const fn in_place(self) -> Self {
        Self { in_place: true, ..self }
    }
}

/// What passes over a connection, or in or out of a rank, in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// What they carry, in slices of a chunk; [`Report::slices`] of them make a chunk.
    pub slices: u64,
}

/// What is known of a plan that was accepted; each figure is derived from its instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The fewest slots a connection may have; 0 when there are no messages.
    pub min_slots: u32,
    /// Whether the plan is also right where send and receive buffers coincide.
    pub in_place_safe: bool,
    /// Whether all ranks that are to end with the same contents end with the same bits, whatever
    /// the type, for operations that commute bit by bit.
    pub bits_agree: bool,
    /// The most messages of which each can only leave after the one before it has arrived.
    pub steps: u32,
    /// Slices into which every chunk is cut.
    pub slices: u16,
    /// Scratch chunks in use on the rank that uses most, counted to the highest.
    pub scratch_chunks: u32,
    /// What each connection carries, in the order of [`Plan::connections`].
    pub connections: Vec<Traffic>,
    /// What each rank sends.
    pub sent: Vec<Traffic>,
    /// What each rank receives.
    pub received: Vec<Traffic>,
}

/// Proves that `plan`, the whole world's, does what its collective demands, in every interleaving.
///
/// # Errors
/// The first reason found for which it does not.
pub fn verify(plan: &Plan, options: &Options) -> Result<Report, Reject> {
    let structure = Structure::check(plan)?;
    let proof = prove(plan, &structure, options)?;
    let in_place = Options { in_place: true, ..*options };
    let in_place_safe = options.in_place || prove(plan, &structure, &in_place).is_ok();
    let traffic = |messages| Traffic { messages, slices: messages };
    let connections: Vec<Traffic> = structure.messages().map(traffic).collect();
    let mut sent = alloc::vec![Traffic::default(); plan.ranks as usize];
    let mut received = sent.clone();
    for (connection, traffic) in plan.connections.iter().zip(&connections) {
        sent[connection.src.0 as usize].add(traffic);
        received[connection.dst.0 as usize].add(traffic);
    }
    Ok(Report {
        min_slots: proof.min_slots,
        in_place_safe,
        bits_agree: proof.bits_agree,
        steps: proof.steps,
        slices: structure.slices,
        scratch_chunks: scratch_chunks(&plan.blocks),
        connections,
        sent,
        received,
    })
}

struct Proof {
    min_slots: u32,
    bits_agree: bool,
    steps: u32,
}

fn prove(plan: &Plan, structure: &Structure, options: &Options) -> Result<Proof, Reject> {
    let ahead = plan.blocks.iter().flat_map(|block| &block.instrs).any(Instr::is_ahead);
    // What a window opens for the next meets what is left of the one before.
    let windows = u64::from(options.windows.max(if ahead { 3 } else { 1 }));
    let mut machine = Machine::new(plan, structure, options);
    let min_slots = walk(plan, structure, windows, options.slots, &mut machine)?;
    let bits_agree = machine.check_result(windows, structure.slices)?;
    Ok(Proof { min_slots, bits_agree, steps: machine.steps() })
}

impl Traffic {
    fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.slices += other.slices;
    }
}
