//! Owns what a launcher that speaks PMIx leaves in the environment: this process's rank, but not how many there are.

use super::{Claim, Started};
use crate::environment::Reader;
use crate::{AskPmix, Launcher};

/// Whether a PMIx launcher started this process. Only these variables are PMIx's own promise.
pub(crate) fn speaks(env: &Reader<'_>) -> bool {
    env.text("PMIX_NAMESPACE").is_some() && env.text("PMIX_RANK").is_some()
}

/// What the launcher says of this process when it is asked; nothing where it does not answer.
pub(super) fn started(env: &Reader<'_>, ask: AskPmix<'_>) -> Option<Started> {
    let job = speaks(env).then(ask)?.ok()?;
    let (rank, size, local) = (job.rank, job.size, job.local);
    let claim = Claim { rank, size, local, launcher: Launcher::Pmix };
    Some(Started { claim, pmi_fd: None, job: Some(format!("pmix {}", job.namespace)), pmix: true })
}
