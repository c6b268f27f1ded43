//! Owns what steps wait for: steps of other thread blocks of their GPU, as the runtime has it.
//!
//! There a thread block publishes how far it is at steps with `hasdep` alone, so who waits for another step
//! waits for the next such one, and for ever where there is none. A `nop` is no step of its own: its wait is
//! added to those of the step that follows, which must have one itself.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crosstie_ir::{After, Block, BlockId};

use super::Error;
use super::read::{Step, StepKind, ThreadBlock};

/// Fills in the waits of `made`: blocks, with the number of the step that each instruction is of. `places`
/// are the GPU and thread block of each.
pub(super) fn fill(
    made: &mut [(Block, Vec<u32>)],
    places: &[(u32, &ThreadBlock)],
) -> Result<(), Error> {
    let index: BTreeMap<(u32, u32), usize> =
        places.iter().enumerate().map(|(at, (gpu, block))| ((*gpu, block.id), at)).collect();
    for (at, (gpu, block)) in places.iter().enumerate() {
        chains(block)?;
        for (step, number) in block.steps.iter().zip(0..) {
            let Some((of, awaited)) = step.after else { continue };
            let wrong = |what| Error::Contradiction { at: step.at, what };
            let none = || wrong(format!("waits for tb {of} of gpu {gpu}, which is not there"));
            let &other = index.get(&(*gpu, of)).ok_or_else(none)?;
            if other == at {
                if awaited >= number {
                    return Err(wrong(format!("waits for step {awaited} of its own block")));
                }
                continue;
            }
            let awaited = told(places[other].1, awaited).map_err(wrong)?;
            let done = made[other].1.partition_point(|&origin| origin <= awaited) - 1;
            let first = made[at].1.partition_point(|&origin| origin < number);
            if let Some(instr) = made[at].0.instrs.get_mut(first) {
                *instr = instr.after(After { block: BlockId(other as u32), step: done as u32 });
            }
        }
    }
    Ok(())
}

/// The step that who waits for step `awaited` hears of.
fn told(of: &ThreadBlock, awaited: u32) -> Result<u32, String> {
    let id = of.id;
    let Some(step) = of.steps.get(awaited as usize) else {
        return Err(format!("waits for step {awaited} of tb {id}, which has {}", of.steps.len()));
    };
    if step.kind == StepKind::Nothing {
        return Err(format!("waits for step {awaited} of tb {id}, a nop, of which nobody is told"));
    }
    let later = (awaited..).zip(&of.steps[awaited as usize..]);
    let told = |(_, step): &(u32, &Step)| step.tells && step.kind != StepKind::Nothing;
    let next = later.into_iter().find(told).map(|(number, _)| number);
    next.ok_or_else(|| {
        format!("waits for step {awaited} of tb {id}, which has no hasdep=\"1\" from there on: it waits for ever")
    })
}

/// That a step which follows a `nop` waits for something itself: the runtime refuses a chain without.
fn chains(block: &ThreadBlock) -> Result<(), Error> {
    let waits = |step: &Step| step.kind == StepKind::Nothing && step.after.is_some();
    for pair in block.steps.windows(2) {
        let follows = pair[1].kind != StepKind::Nothing && pair[1].after.is_none();
        if waits(&pair[0]) && follows {
            let what =
                "follows a nop, and has no depid: the last wait of a chain is the step's own";
            return Err(Error::Contradiction { at: pair[1].at, what: what.into() });
        }
    }
    Ok(())
}
