//! Owns what Open MPI's mpirun leaves in the environment (looked at with 4.1.4).

use super::{Claim, Started, local, pair, pmix};
use crate::Launcher;
use crate::environment::Reader;
use crate::error::LaunchError;

pub(super) fn started(env: &Reader<'_>) -> Result<Option<Started>, LaunchError> {
    let Some((rank, size)) = pair(env, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")? else {
        return Ok(None);
    };
    let local =
        local(env.number("OMPI_COMM_WORLD_LOCAL_RANK")?, env.number("OMPI_COMM_WORLD_LOCAL_SIZE")?);
    let claim = Claim { rank, size, local, launcher: Launcher::OpenMpi };
    Ok(Some(Started { claim, pmi_fd: None, job: job(env), pmix: pmix::speaks(env) }))
}

/// The namespace is a number made of the host's name and 16 bits of mpirun's process id, so two jobs of a host
/// can have the same one; the session directory names that process id in full.
fn job(env: &Reader<'_>) -> Option<String> {
    let (_, job) = env.first(&["PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"])?;
    let session = env.text("OMPI_MCA_orte_jobfam_session_dir").unwrap_or_default();
    Some(format!("openmpi {job} {session}"))
}
