//! Owns the plans that a communicator has resolved, each found by index.

use std::collections::BTreeMap;
use std::sync::Arc;

use crosstie_exec::{Known, Program};
use crosstie_ir::{Collective, Few, Rank};
use crosstie_planner::Algorithm;

use crate::call_name::CallName;
use crate::select::CHANNELS;
use crate::{Communicator, Error, select};

/// The plans resolved so far, found by index: one for each collective and algorithm, out of place
/// and in place. Those around a root are found by search.
#[derive(Debug)]
pub(crate) struct Programs {
    by_index: [Option<Arc<Program>>; FORMS],
    rooted: BTreeMap<Form, Option<Arc<Program>>>,
    /// Those of one message, found by index: by its peer, out and in.
    singles: Vec<Option<Arc<Program>>>,
    /// Those of other groups, by the ranks that their messages go to and come from, in order.
    groups: BTreeMap<(Few<Rank>, Few<Rank>), Arc<Program>>,
}

/// Plans of groups that are kept: a program has few patterns, or too many to keep.
const GROUPS_KEPT: usize = 256;

/// Plans of more messages, pieces counted, are made anew: to carry them out takes much longer.
const LONGEST_KEPT: usize = 4096;

const FORMS: usize = Collective::CODES * Algorithm::ALL.len() * 4;

impl Default for Programs {
    fn default() -> Self {
        let (singles, groups) = (Vec::new(), BTreeMap::new());
        Self { by_index: [const { None }; FORMS], rooted: BTreeMap::new(), singles, groups }
    }
}

impl Programs {
    /// The plan of a group like one before it.
    pub fn group(&self, peers: &(Few<Rank>, Few<Rank>)) -> Option<&Arc<Program>> {
        match single(peers) {
            Some(index) => self.singles.get(index)?.as_ref(),
            None => self.groups.get(peers),
        }
    }

    /// Keeps the plan of a group for the next one like it.
    pub fn keep_group(&mut self, peers: (Few<Rank>, Few<Rank>), program: &Arc<Program>) {
        if let Some(index) = single(&peers) {
            if self.singles.len() <= index {
                self.singles.resize(index + 1, None);
            }
            self.singles[index] = Some(Arc::clone(program));
            return;
        }
        if peers.0.len() + peers.1.len() > LONGEST_KEPT {
            return;
        }
        if self.groups.len() >= GROUPS_KEPT {
            self.groups.clear();
        }
        self.groups.insert(peers, Arc::clone(program));
    }

    pub fn slot(&mut self, form: Form) -> &mut Option<Arc<Program>> {
        let Form { collective, algorithm, in_place, past_relays } = form;
        if collective.root().is_some() {
            return self.rooted.entry(form).or_default();
        }
        let index = collective.code() * Algorithm::ALL.len() + algorithm.code();
        &mut self.by_index[index * 4 + usize::from(in_place) * 2 + usize::from(past_relays)]
    }
}

/// Where the plan of a group is that is one message.
#[inline]
fn single((to, from): &(Few<Rank>, Few<Rank>)) -> Option<usize> {
    match (&to[..], &from[..]) {
        ([peer], []) => Some(2 * peer.0 as usize),
        ([], [peer]) => Some(2 * peer.0 as usize + 1),
        _ => None,
    }
}

/// What tells one plan of a communicator from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Form {
    pub collective: Collective,
    pub algorithm: Algorithm,
    pub in_place: bool,
    /// Whether its messages go past relays, for they are long.
    pub past_relays: bool,
}

impl Communicator {
    /// Plans and resolves the operation the first time it is called.
    pub(crate) fn prepare(&mut self, form: Form, call: CallName) -> Result<(), Error> {
        if self.programs.slot(form).is_some() {
            return Ok(());
        }
        let Form { collective, algorithm, in_place, past_relays } = form;
        let plan = select::plan(collective, algorithm, in_place, &self.nodes, self.world.rank);
        let past_relays = past_relays.then_some(CHANNELS);
        let known = Known { in_place, ahead: self.settings.rails.open_ahead, past_relays };
        let program = self.engine.resolve_for(plan, known);
        let program = program.map_err(|seen| self.standing.fail(call, &seen))?;
        *self.programs.slot(form) = Some(Arc::new(program));
        Ok(())
    }
}
