//! Owns the plans that a communicator has resolved, each found by index.

use crosstie_exec::Program;
use crosstie_ir::Collective;
use crosstie_planner::Algorithm;

use crate::{Communicator, Error, select};

/// The plans resolved so far, found by index: one for each collective and algorithm, out of place
/// and in place.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    by_index: [Option<Program>; Collective::ALL.len() * Algorithm::ALL.len() * 2],
}

impl Programs {
    pub fn slot(&mut self, Form { collective, algorithm, in_place }: Form) -> &mut Option<Program> {
        let form = collective as usize * Algorithm::ALL.len() + algorithm as usize;
        &mut self.by_index[form * 2 + usize::from(in_place)]
    }
}

/// What tells one plan of a communicator from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub collective: Collective,
    pub algorithm: Algorithm,
    pub in_place: bool,
}

impl Communicator {
    /// Plans and resolves the operation the first time it is called.
    pub(crate) fn prepare(&mut self, form: Form) -> Result<(), Error> {
        if self.programs.slot(form).is_some() {
            return Ok(());
        }
        let Form { collective, algorithm, in_place } = form;
        let plan = select::plan(collective, algorithm, in_place, &self.nodes, self.world.rank);
        let program = self.engine.resolve(plan).map_err(|e| self.fail(collective, e))?;
        *self.programs.slot(form) = Some(program);
        Ok(())
    }
}
