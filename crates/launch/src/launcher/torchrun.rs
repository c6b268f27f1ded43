//! Owns what torchrun leaves in the environment, and others who set `RANK` and `WORLD_SIZE` as it does.

use super::{Claim, Started, local, pair};
use crate::Launcher;
use crate::environment::Reader;
use crate::error::LaunchError;

/// torchrun itself. It may have been started by srun or mpirun, so its word goes before theirs.
pub(super) fn elastic(env: &Reader<'_>) -> Result<Option<Started>, LaunchError> {
    if env.text("TORCHELASTIC_RUN_ID").is_none() {
        return Ok(None);
    }
    started(env)
}

/// `RANK` and `WORLD_SIZE` from elsewhere: a script of the user's, which may pass on what another launcher says.
pub(super) fn plain(env: &Reader<'_>) -> Result<Option<Started>, LaunchError> {
    started(env)
}

fn started(env: &Reader<'_>) -> Result<Option<Started>, LaunchError> {
    let Some((rank, size)) = pair(env, "RANK", "WORLD_SIZE")? else { return Ok(None) };
    let local = local(env.number("LOCAL_RANK")?, env.number("LOCAL_WORLD_SIZE")?);
    let claim = Claim { rank, size, local, launcher: Launcher::Torchrun };
    Ok(Some(Started { claim, pmi_fd: None, job: job(env), pmix: false }))
}

/// The run id is `none` unless the user gives one; the port of torchrun's store tells two runs of a host apart,
/// and the restart count a run from its predecessor.
fn job(env: &Reader<'_>) -> Option<String> {
    let port = env.text("MASTER_PORT")?;
    let run = env.text("TORCHELASTIC_RUN_ID").unwrap_or_default();
    let restart = env.text("TORCHELASTIC_RESTART_COUNT").unwrap_or_default();
    let address = env.text("MASTER_ADDR").unwrap_or_default();
    Some(format!("torchrun {run} {address} {port} {restart}"))
}
