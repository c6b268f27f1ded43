//! Owns what Hydra leaves in the environment: the process starter of MPICH and Intel MPI (looked at with MPICH 4.0).

use super::{Claim, Started, local, pair};
use crate::Launcher;
use crate::environment::Reader;
use crate::error::LaunchError;

pub(super) fn started(env: &Reader<'_>) -> Result<Option<Started>, LaunchError> {
    let Some((rank, size)) = pair(env, "PMI_RANK", "PMI_SIZE")? else { return Ok(None) };
    let local = local(env.number("MPI_LOCALRANKID")?, env.number("MPI_LOCALNRANKS")?);
    let intel = ["I_MPI_MPIRUN", "I_MPI_HYDRA"].iter().any(|prefix| env.has_prefix(prefix));
    let launcher = if intel { Launcher::IntelMpi } else { Launcher::Mpich };
    let claim = Claim { rank, size, local, launcher };
    let pmi_fd = env.parse("PMI_FD", "the number of an open file descriptor")?;
    Ok(Some(Started { claim, pmi_fd, job: None, pmix: false }))
}
