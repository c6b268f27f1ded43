//! Owns notes: what was not found on a machine, or left out, and what that means, in plain words.

use std::fmt;

use crosstie_topo::shown;

/// Something that whoever reads a topology should know about how it came to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// What was found, or not.
    pub found: String,
    /// What follows from it.
    pub means: String,
}

impl Note {
    pub(crate) fn new(found: impl Into<String>, means: impl Into<String>) -> Self {
        Self { found: shown(&found.into()), means: shown(&means.into()) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found, self.means)
    }
}
