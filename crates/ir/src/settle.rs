//! Owns the settling of a draft: telling first reads of a shared buffer from later ones, and finding where
//! reductions become complete.
//!
//! Programs that were written for another runtime know one buffer where this one knows two, and have no
//! mark at the end of a reduction. Both follow from one abstract run, since a plan is a deterministic
//! network: whether a chunk still holds the caller's data, and how many contributions a value has, do not
//! depend on the order in which blocks run.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::Demand;
use crate::plan::{After, Chunk, Instr, Plan, Rank, Space};
use crate::reject::{Event, Reject, Site};
use crate::structure::Structure;
use crate::walk::{Meaning, walk};

/// A draft that has been settled.
#[derive(Debug)]
pub struct Settled {
    /// The plan.
    pub plan: Plan,
    /// By block: the step of the draft from which each instruction was made.
    pub origins: Vec<Vec<u32>>,
}

/// Settles `draft`, the whole world's. Where input and output coincide (`in_place`), it names the output
/// for both; what still holds the caller's data is read as input afterwards, and copied before something
/// is added to it, so that the plan suits calls in place and others.
///
/// # Errors
/// When its form is broken, or it stands still, with `slots` slots a connection or any.
pub fn settle(draft: &Plan, slots: u32, in_place: bool) -> Result<Settled, Reject> {
    let structure = Structure::check(draft)?;
    let reduces = matches!(draft.collective.demand(Rank(0), 0), Demand::Reduced { .. });
    let (held, found) = (BTreeMap::new(), BTreeMap::new());
    let mut run = Run { draft, in_place, reduces, held, found };
    walk(draft, &structure, 1, slots, &mut run)?;
    Ok(rewritten(draft, &run.found))
}

/// Part of one rank's memory.
type Place = (Rank, Chunk, u16);

struct Run<'a> {
    draft: &'a Plan,
    in_place: bool,
    /// Whether there is a reduction to complete.
    reduces: bool,
    /// How many contributions each place holds that was written.
    held: BTreeMap<Place, u32>,
    found: BTreeMap<Site, Found>,
}

/// What the run showed of an instruction.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    /// Its source still holds the caller's data, in this input chunk.
    src: Option<Chunk>,
    /// Likewise that to which it adds.
    operand: Option<Chunk>,
    /// It makes a value of every rank's contribution.
    completes: bool,
}

impl Run<'_> {
    fn place(&self, rank: Rank, chunk: Chunk, instr: &Instr) -> Place {
        let memory = match self.in_place {
            true => self.draft.collective.in_place_chunk(rank, chunk),
            false => chunk,
        };
        (rank, memory, instr.slice())
    }

    /// Contributions in a place, and the input chunk that it is while nobody has written to it.
    fn read(&self, place: Place) -> (u32, Option<Chunk>) {
        match self.held.get(&place) {
            Some(&count) => (count, None),
            None if place.1.space == Space::Input => (1, Some(place.1)),
            None => (0, None),
        }
    }
}

impl Meaning for Run<'_> {
    type Message = u32;

    fn execute(
        &mut self,
        event: Event,
        instr: &Instr,
        received: Option<u32>,
    ) -> Result<u32, Reject> {
        let rank = event.site.rank;
        let (mut found, mut value, mut operands) = (Found::default(), 0_u32, 0);
        if let Some(count) = received {
            (value, operands) = (count, 1);
        }
        if let Some(chunk) = instr.src_port() {
            let (count, input) = self.read(self.place(rank, chunk, instr));
            (value, operands, found.src) = (value.saturating_add(count), operands + 1, input);
        }
        if let Some(chunk) = instr.dst_port().filter(|_| instr.accumulates()) {
            let (count, input) = self.read(self.place(rank, chunk, instr));
            (value, operands, found.operand) = (value.saturating_add(count), operands + 1, input);
        }
        let alone = self.draft.ranks == 1 && found.src.is_some();
        found.completes = (operands > 1 || alone) && value == self.draft.ranks && self.reduces;
        if let Some(chunk) = instr.dst_port() {
            self.held.insert(self.place(rank, chunk, instr), value);
        }
        self.found.insert(event.site, found);
        Ok(value)
    }
}

fn rewritten(draft: &Plan, found: &BTreeMap<Site, Found>) -> Settled {
    let sites = |block: usize| {
        let at = (draft.blocks[block].rank, crate::BlockId(block as u32));
        (0..draft.blocks[block].instrs.len() as u32).map(move |step| Site {
            rank: at.0,
            block: at.1,
            step,
        })
    };
    let seen = |site: Site| found.get(&site).copied().unwrap_or_default();
    let mut plan = draft.clone();
    let mut origins = Vec::with_capacity(draft.blocks.len());
    for (block, made) in plan.blocks.iter_mut().enumerate() {
        let (mut instrs, mut steps) = (Vec::with_capacity(made.instrs.len()), Vec::new());
        for (instr, site) in made.instrs.iter().zip(sites(block)) {
            let before = instrs.len();
            push(&mut instrs, instr, seen(site));
            steps.extend((before..instrs.len()).map(|_| site.step));
        }
        made.instrs = instrs;
        origins.push(steps);
    }
    // A step that is waited for is complete with the last instruction made of it.
    for instr in plan.blocks.iter_mut().flat_map(|block| &mut block.instrs) {
        if let Some(After { block, step }) = instr.after_port() {
            let steps = &origins[block.0 as usize];
            let after = steps.partition_point(|&origin| origin <= step);
            *instr = instr.after(After { block, step: after as u32 - 1 });
        }
    }
    Settled { plan, origins }
}

/// Adds what one instruction of the draft becomes.
fn push(instrs: &mut Vec<Instr>, instr: &Instr, found: Found) {
    let mut instr = *instr;
    if let (Some(input), Some(dst)) = (found.operand, instr.dst_port()) {
        let copy = Instr::copy(input, dst).sliced(instr.slice(), instr.slices());
        instrs.push(instr.after_port().map_or(copy, |after| copy.after(after)));
        instr = instr.without_after();
    }
    if let Some(input) = found.src {
        instr = instr.reading(input);
    }
    instrs.push(if found.completes { instr.finishing() } else { instr });
}
