//! Owns the answer to two questions at a process's start: who am I, and where do we meet.
//!
//! [`identify`] looks at explicit arguments and at an environment that is passed in as a value, and returns an
//! [`Identity`]: rank, size, which launcher said so, and the place of the meeting. It opens nothing but the file
//! that `CROSSTIE_SECRET_FILE` names, and asks nobody but a PMIx launcher that the environment speaks of, where that
//! alone knows the size or the place ([`pmix`]). Whatever it cannot tell for certain it refuses, with the variable,
//! its value and a remedy.
//!
//! Rank and size come from the first of: explicit arguments, filled up by `CROSSTIE_RANK` and `CROSSTIE_SIZE`;
//! torchrun's own variables; Open MPI's; Hydra's (MPICH, Intel MPI); a plain `RANK` and `WORLD_SIZE`; Slurm's; what
//! another PMIx launcher says. A
//! launcher further up may have started the one before it (`mpirun` or `torchrun` inside `srun`), so what Slurm
//! leaves in the environment is no contradiction; two others that disagree are one.
//!
//! The place is the first of: an explicit unique id or root; `CROSSTIE_ID`; `CROSSTIE_ROOT` with its secret; the
//! launcher's key-value space, by PMI-1 (`PMI_FD`) or PMIx; a Unix socket of this host, when all ranks are on it;
//! `MASTER_ADDR`. Where all ranks are on this host, a key-value space serves for the socket's name alone, and PMIx not
//! even for that: its launchers leave the job's name in the environment.
#![deny(unsafe_code)]

mod emulated;
mod environment;
mod error;
mod launcher;
mod place;
#[allow(unsafe_code, reason = "calls of a C library")]
pub mod pmix;
mod refusal;

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use crosstie_net::{Secret, UniqueId};

pub use crate::emulated::emulated_node;
use crate::environment::Reader;
pub use crate::environment::environment;
pub use crate::error::LaunchError;
use crate::launcher::Claim;
use crate::pmix::{PmixError, PmixJob};

/// Environment variables by name. Only the library's settings read the real ones; here they are a value.
pub type Environment = BTreeMap<String, String>;

/// What the caller says itself. It wins over the environment, field by field.
#[derive(Clone, Default, Debug)]
pub struct Explicit {
    /// This process's rank, below `size`.
    pub rank: Option<u32>,
    /// Number of ranks in the world.
    pub size: Option<u32>,
    /// The id of the meeting; excludes `root`.
    pub id: Option<UniqueId>,
    /// `host:port` at which rank 0 serves the meeting; needs a secret.
    pub root: Option<String>,
    /// The variable that names `root`, where one does, for messages.
    pub root_named_by: Option<&'static str>,
    /// The world's secret, for `root`.
    pub secret: Option<Secret>,
    /// Name of this rank's node: ranks with equal names share it.
    pub node: Option<String>,
}

/// Who this process is, and where its world meets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// This process's rank, below `size`.
    pub rank: u32,
    /// Number of ranks in the world, at least 1.
    pub size: u32,
    /// Rank and size among the ranks that the launcher started on this host, where it says so.
    pub local: Option<(u32, u32)>,
    /// Who said so.
    pub launcher: Launcher,
    /// Where the ranks meet.
    pub meeting: Meeting,
    /// Name of this rank's node, where it was given.
    pub node: Option<String>,
}

/// Who told this process its rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Launcher {
    /// The caller's own arguments.
    Explicit,
    /// `CROSSTIE_RANK` and `CROSSTIE_SIZE`.
    Crosstie,
    /// Open MPI's mpirun.
    OpenMpi,
    /// MPICH's mpiexec, or another Hydra.
    Mpich,
    /// Intel MPI's mpiexec.
    IntelMpi,
    /// Slurm's srun.
    Slurm,
    /// torchrun, or whoever else sets `RANK` and `WORLD_SIZE`.
    Torchrun,
    /// Another launcher that speaks PMIx.
    Pmix,
    /// Nobody: a world of one.
    Alone,
}

impl Launcher {
    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Launcher::Explicit => "the caller",
            Launcher::Crosstie => "CROSSTIE_RANK and CROSSTIE_SIZE",
            Launcher::OpenMpi => "Open MPI",
            Launcher::Mpich => "MPICH",
            Launcher::IntelMpi => "Intel MPI",
            Launcher::Slurm => "Slurm",
            Launcher::Torchrun => "torchrun",
            Launcher::Pmix => "a PMIx launcher",
            Launcher::Alone => "nobody",
        }
    }
}

/// Where the ranks of a world meet.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Meeting {
    /// At the addresses of a unique id, served wherever the id was made.
    UniqueId(UniqueId),
    /// At an address that rank 0 opens.
    Root {
        /// `host:port`; the host may be a name, an IPv4 address, or an IPv6 address in brackets.
        address: String,
        /// The world's secret.
        secret: Secret,
        /// What names the address, for messages: a variable, or the caller.
        named_by: &'static str,
    },
    /// Rank 0 leaves a unique id in the launcher's PMI-1 key-value space.
    Pmi1 {
        /// The descriptor that the launcher left open for this process.
        fd: RawFd,
    },
    /// Rank 0 leaves a unique id with the launcher, by [`pmix::exchange`].
    Pmix {
        /// What the launcher calls the job.
        namespace: String,
    },
    /// Rank 0 hands a unique id to ranks of the same user on this host.
    HostSocket {
        /// What tells this job from others of the same user on this host.
        job: String,
    },
    /// Rank 0 serves at torchrun's address. No secret can be had there: anyone who reaches the port and knows the
    /// job's name may join.
    Master {
        /// Host name or address of rank 0.
        address: String,
        /// Port that rank 0 opens.
        port: u16,
        /// What tells this job from others.
        job: String,
    },
    /// Nowhere: a world of one.
    Alone,
}

/// Tells who this process is, and where its world meets.
///
/// Refused with a [`LaunchError`]: a value that cannot be read, a rank outside its world, half of an identity,
/// sources that contradict each other, one rank where the environment speaks of more, and a world with no place
/// to meet.
pub fn identify(explicit: &Explicit, env: &Environment) -> Result<Identity, LaunchError> {
    identify_asking(explicit, env, &pmix::job)
}

/// How a PMIx launcher is asked about this process's job.
type AskPmix<'a> = &'a dyn Fn() -> Result<PmixJob, PmixError>;

fn identify_asking(
    explicit: &Explicit,
    env: &Environment,
    ask: AskPmix<'_>,
) -> Result<Identity, LaunchError> {
    let env = Reader::new(env);
    let own = launcher::own_claim(explicit, &env)?;
    let given = place::given(explicit, &env)?;
    let needs_nobody = own.is_some_and(|own| given.is_some() || own.size == 1);
    let started = if needs_nobody { None } else { launcher::detect(&env, ask)? };
    let claim = match own.or(started.as_ref().map(|started| started.claim)) {
        Some(claim) => claim,
        None => {
            refusal::unless_alone(explicit, &env, ask)?;
            Claim { rank: 0, size: 1, local: None, launcher: Launcher::Alone }
        }
    };
    claim.check()?;
    let meeting = match given {
        Some(meeting) => meeting,
        None => place::offered(&env, &claim, started.as_ref(), ask)?,
    };
    let node = explicit.node.clone().or(env.text("CROSSTIE_NODE"));
    let Claim { rank, size, local, launcher } = claim;
    Ok(Identity { rank, size, local, launcher, meeting, node })
}

#[cfg(test)]
mod tests;
