//! Owns lowering: rewriting a plan into one that moves the same chunks in other portions, in the
//! same form, so that the verifier judges the result as it judged the plan.

use crate::plan::{After, Block, Instr, Plan};

/// What a plan is lowered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lowering {
    /// Slices into which each instruction's chunks are cut, so that a rank passes on the first
    /// while the next is under way. 0 is taken as 1. A plan whose instructions begin a chain needs
    /// about this many more slots for each connection; [`crate::verify()`] says how many.
    pub slices: u16,
}

/// Makes `slices` consecutive instructions of each one; a wait for a step becomes one for its last
/// slice, and only the first slice waits, the others coming after it. An instruction that but waits is
/// repeated as it is, so that all steps keep their distances.
///
/// Chunks that are cut already are cut further, as far as the form can count.
pub fn lower(plan: &Plan, lowering: &Lowering) -> Plan {
    let instrs = || plan.blocks.iter().flat_map(|block| &block.instrs);
    let cut = instrs().map(Instr::slices).max().unwrap_or(1).max(1);
    let slices = lowering.slices.clamp(1, u16::MAX / cut);
    let block = |block: &Block| {
        let instrs = block.instrs.iter();
        Block { instrs: instrs.flat_map(|i| sliced(i, slices)).collect(), ..*block }
    };
    Plan {
        blocks: plan.blocks.iter().map(block).collect(),
        connections: plan.connections.clone(),
        ..*plan
    }
}

/// Counts that a malformed plan drives out of range stay out of range, for the verifier to refuse.
fn sliced(instr: &Instr, slices: u16) -> impl Iterator<Item = Instr> + use<> {
    let part = instr.without_after();
    let last = |After { block, step }| After {
        block,
        step: step.saturating_mul(slices.into()).saturating_add(u32::from(slices) - 1),
    };
    let first = instr.after_port().map_or(part, |after| part.after(last(after)));
    let others = if instr.is_wait() { first } else { part };
    let instrs = core::iter::once(first).chain(core::iter::repeat_n(others, slices.into()));
    let (slice, total) = (part.slice().saturating_mul(slices), part.slices() * slices);
    instrs.zip(0..slices).map(move |(i, next)| i.sliced(slice.saturating_add(next), total))
}
