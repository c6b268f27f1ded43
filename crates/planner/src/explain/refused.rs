//! Owns why there is no plan, and why a table does not decide one.

use alloc::vec::Vec;

use crate::search::SearchError;
use crate::{MachinesError, NodesError};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There are no rings.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// There are no rails.
    #[error(transparent)]
    Machines(#[from] MachinesError),
    /// There are too many ranks.
    #[error(transparent)]
    Nodes(#[from] NodesError),
}

/// Why a table does not decide.
#[derive(Debug, thiserror::Error)]
pub enum Untuned {
    /// Times of other links say nothing of these.
    #[error("its times were measured over {}, and messages here go over {}", .measured.join(" and "), .here.join(" and "))]
    OtherLinks {
        /// What was measured.
        measured: Vec<&'static str>,
        /// What messages go over.
        here: Vec<&'static str>,
    },
    /// There is no plan.
    #[error(transparent)]
    Refused(#[from] Refused),
}
