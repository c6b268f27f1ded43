//! Owns what a call is called in messages.

use std::fmt;
use std::panic::Location;

use crosstie_ir::Collective;

/// A call, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallName {
    pub collective: Collective,
    pub name: &'static str,
    /// Its number on the communicator, from 1. Groups of sends and receives have none, for not all ranks
    /// take part in them: the number of the call that it stands before.
    pub sequence: u64,
    /// Where the program made it, of a group: other calls have it in their mark.
    pub site: Option<&'static Location<'static>>,
}

impl CallName {
    pub fn is_group(&self) -> bool {
        self.collective == Collective::SendRecv
    }
}

impl fmt::Display for CallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.is_group() { " before call" } else { "" };
        write!(f, "{}{before} #{}", self.name, self.sequence)
    }
}
