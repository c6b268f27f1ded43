//! Owns rank and size: what the caller says, and what each launcher leaves in the environment.

mod hydra;
mod open_mpi;
pub(crate) mod pmix;
mod slurm;
mod torchrun;

use std::os::fd::RawFd;

use crate::environment::Reader;
use crate::error::LaunchError;
use crate::{AskPmix, Explicit, Launcher};

/// Who somebody says this process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) rank: u32,
    pub(crate) size: u32,
    pub(crate) local: Option<(u32, u32)>,
    pub(crate) launcher: Launcher,
}

impl Claim {
    pub(crate) fn check(&self) -> Result<(), LaunchError> {
        if self.rank < self.size {
            return Ok(());
        }
        Err(LaunchError::RankRange {
            rank: self.rank,
            size: self.size,
            said_by: self.launcher.name(),
        })
    }

    /// Whether the launcher says that all ranks are on this host.
    pub(crate) fn on_one_host(&self) -> bool {
        self.local.is_some_and(|(_, local_size)| local_size == self.size)
    }

    fn says(&self) -> String {
        format!("{} says rank {} of {}", self.launcher.name(), self.rank, self.size)
    }
}

/// What a launcher offers besides rank and size.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) claim: Claim,
    /// Its PMI-1 descriptor.
    pub(crate) pmi_fd: Option<RawFd>,
    /// What tells its job from others on this host.
    pub(crate) job: Option<String>,
    /// Whether it speaks PMIx, by its variables.
    pub(crate) pmix: bool,
}

/// The identity given by the caller, each half from the argument or from `CROSSTIE_*`.
pub(crate) fn own_claim(
    explicit: &Explicit,
    env: &Reader<'_>,
) -> Result<Option<Claim>, LaunchError> {
    let by_argument = explicit.rank.is_some() && explicit.size.is_some();
    let rank = half(explicit.rank, "rank", env, "CROSSTIE_RANK")?;
    let size = half(explicit.size, "size", env, "CROSSTIE_SIZE")?;
    match (rank, size) {
        (None, None) => Ok(None),
        (Some((rank, _)), Some((size, _))) => {
            let launcher = if by_argument { Launcher::Explicit } else { Launcher::Crosstie };
            Ok(Some(Claim { rank, size, local: None, launcher }))
        }
        (Some((rank, name)), None) => Err(LaunchError::Incomplete {
            have: format!("{name} {rank}"),
            lack: "size (CROSSTIE_SIZE)".to_owned(),
        }),
        (None, Some((size, name))) => Err(LaunchError::Incomplete {
            have: format!("{name} {size}"),
            lack: "rank (CROSSTIE_RANK)".to_owned(),
        }),
    }
}

fn half(
    argument: Option<u32>,
    name: &'static str,
    env: &Reader<'_>,
    variable: &'static str,
) -> Result<Option<(u32, &'static str)>, LaunchError> {
    match argument {
        Some(value) => Ok(Some((value, name))),
        None => Ok(env.number(variable)?.map(|value| (value, variable))),
    }
}

/// The launcher that started this process. Those that may have started another one come after it; two of which
/// neither starts the other must agree.
pub(crate) fn detect(env: &Reader<'_>, ask: AskPmix<'_>) -> Result<Option<Started>, LaunchError> {
    if let Some(started) = torchrun::elastic(env)? {
        return Ok(Some(started));
    }
    let found = [open_mpi::started(env)?, hydra::started(env)?, torchrun::plain(env)?];
    let mut found = found.into_iter().flatten();
    let Some(mut first) = found.next() else {
        return Ok(slurm::started(env)?.or_else(|| pmix::started(env, ask)));
    };
    for other in found {
        if (first.claim.rank, first.claim.size) != (other.claim.rank, other.claim.size) {
            return Err(LaunchError::Contradiction {
                first: first.claim.says(),
                second: other.claim.says(),
                remedy: "start the program with one launcher, or set CROSSTIE_RANK, CROSSTIE_SIZE and CROSSTIE_ROOT",
            });
        }
        first.pmi_fd = first.pmi_fd.or(other.pmi_fd);
        first.pmix |= other.pmix;
    }
    Ok(Some(by_slurm_itself(env, &first.claim)?.unwrap_or(first)))
}

/// srun with `--mpi=pmi2` sets what Hydra sets, but for the share of this host, which it tells in its own way.
fn by_slurm_itself(env: &Reader<'_>, claim: &Claim) -> Result<Option<Started>, LaunchError> {
    if claim.launcher != Launcher::Mpich || claim.local.is_some() {
        return Ok(None);
    }
    let same = |slurm: &Started| (slurm.claim.rank, slurm.claim.size) == (claim.rank, claim.size);
    Ok(slurm::started(env)?.filter(same))
}

/// Local rank and size, where both are there and fit together.
fn local(rank: Option<u32>, size: Option<u32>) -> Option<(u32, u32)> {
    rank.zip(size).filter(|(rank, size)| rank < size)
}

/// Pairs two variables of which a launcher sets both or neither.
fn pair(
    env: &Reader<'_>,
    rank: &'static str,
    size: &'static str,
) -> Result<Option<(u32, u32)>, LaunchError> {
    match (env.number(rank)?, env.number(size)?) {
        (Some(r), Some(s)) => Ok(Some((r, s))),
        (Some(r), None) => {
            Err(LaunchError::Incomplete { have: format!("{rank}={r}"), lack: size.to_owned() })
        }
        // A size alone is what `refusal` judges: who starts no ranks may still speak of them.
        (None, _) => Ok(None),
    }
}
