//! Owns the choice of where the ranks meet.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crosstie_net::{Secret, UniqueId};

use crate::environment::{PORT, Reader, bad};
use crate::error::LaunchError;
use crate::launcher::{Claim, Started};
use crate::{AskPmix, Explicit, Launcher, Meeting};

/// Longest secret file in bytes; a longer one is surely another file.
const LONGEST_SECRET_BYTES: u64 = 4096;

/// A place that the caller or `CROSSTIE_*` names.
pub(crate) fn given(explicit: &Explicit, env: &Reader<'_>) -> Result<Option<Meeting>, LaunchError> {
    match (&explicit.id, &explicit.root) {
        (Some(_), Some(root)) => Err(LaunchError::Contradiction {
            first: "a unique id says where to meet".to_owned(),
            second: format!("so does the root {root}"),
            remedy: "give one of them",
        }),
        (Some(id), None) => Ok(Some(Meeting::UniqueId(id.clone()))),
        (None, Some(address)) => {
            root(explicit, env, explicit.root_named_by.unwrap_or("the root"), address).map(Some)
        }
        (None, None) => given_by_environment(explicit, env),
    }
}

fn given_by_environment(
    explicit: &Explicit,
    env: &Reader<'_>,
) -> Result<Option<Meeting>, LaunchError> {
    match (env.text("CROSSTIE_ID"), env.text("CROSSTIE_ROOT")) {
        (Some(_), Some(root)) => Err(LaunchError::Contradiction {
            first: "CROSSTIE_ID says where to meet".to_owned(),
            second: format!("so does CROSSTIE_ROOT={root}"),
            remedy: "unset one of them",
        }),
        (Some(id), None) => {
            let id: UniqueId = id.parse().map_err(|source| LaunchError::Id { source })?;
            Ok(Some(Meeting::UniqueId(id)))
        }
        (None, Some(address)) => root(explicit, env, "CROSSTIE_ROOT", &address).map(Some),
        (None, None) => Ok(None),
    }
}

fn root(
    explicit: &Explicit,
    env: &Reader<'_>,
    named_by: &'static str,
    address: &str,
) -> Result<Meeting, LaunchError> {
    if !is_host_and_port(address) {
        return Err(bad(named_by, address, "host:port (an IPv6 address in brackets)"));
    }
    let secret = match &explicit.secret {
        Some(secret) => Some(secret.clone()),
        None => secret(env)?,
    };
    let secret = secret.ok_or_else(|| LaunchError::NoSecret { root: address.to_owned() })?;
    Ok(Meeting::Root { address: address.to_owned(), secret, named_by })
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let plain = !host.is_empty() && !host.contains([':', '[', ']', '/', ' ']);
    (bracketed || plain) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// The secret by `CROSSTIE_SECRET` or `CROSSTIE_SECRET_FILE`.
fn secret(env: &Reader<'_>) -> Result<Option<Secret>, LaunchError> {
    let (variable, passphrase) =
        match (env.text("CROSSTIE_SECRET"), env.text("CROSSTIE_SECRET_FILE")) {
            (Some(_), Some(path)) => {
                return Err(LaunchError::Contradiction {
                    first: "CROSSTIE_SECRET holds a secret".to_owned(),
                    second: format!("CROSSTIE_SECRET_FILE={path} names another"),
                    remedy: "unset one of them",
                });
            }
            (Some(secret), None) => ("CROSSTIE_SECRET", secret),
            (None, Some(path)) => ("CROSSTIE_SECRET_FILE", secret_file(PathBuf::from(path))?),
            (None, None) => return Ok(None),
        };
    if passphrase.is_empty() {
        return Err(LaunchError::EmptySecret { variable });
    }
    Ok(Some(Secret::from_passphrase(&passphrase)))
}

/// The file's text without blanks and line ends around it, as for the variable: both ways name the same secret.
fn secret_file(path: PathBuf) -> Result<String, LaunchError> {
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(LONGEST_SECRET_BYTES).read_to_string(&mut text))
        .map_err(|source| LaunchError::SecretFile { path, source })?;
    Ok(text.trim().to_owned())
}

/// The place that the launcher offers; a world of one needs none. Where the caller gave another size, the launcher's own ways would wait for
/// ranks that never come, or meet ranks of another world.
pub(crate) fn offered(
    env: &Reader<'_>,
    claim: &Claim,
    started: Option<&Started>,
    ask: AskPmix<'_>,
) -> Result<Meeting, LaunchError> {
    if claim.size == 1 {
        return Ok(Meeting::Alone);
    }
    let fitting = started.filter(|started| started.claim.size == claim.size);
    let mut no_pmix = String::new();
    if let Some(started) = fitting {
        if let Some(fd) = started.pmi_fd {
            return Ok(Meeting::Pmi1 { fd });
        }
        if let (true, Some(job)) = (started.claim.on_one_host(), &started.job) {
            return Ok(Meeting::HostSocket { job: job.clone() });
        }
        if started.pmix {
            match with_pmix(claim, ask) {
                Ok(meeting) => return Ok(meeting),
                Err(reason) => no_pmix = format!(" (PMIx: {reason})"),
            }
        }
    }
    if let Some(meeting) = master(env, fitting)? {
        return Ok(meeting);
    }
    Err(LaunchError::NoPlace {
        rank: claim.rank,
        size: claim.size,
        launcher: claim.launcher.name(),
        why: why_nowhere(claim, started) + &no_pmix,
    })
}

/// The job's key-value space, where the launcher means the same job by it.
fn with_pmix(claim: &Claim, ask: AskPmix<'_>) -> Result<Meeting, String> {
    let job = ask().map_err(|error| error.to_string())?;
    if (job.rank, job.size) != (claim.rank, claim.size) {
        return Err(format!("there this is rank {} of {}", job.rank, job.size));
    }
    Ok(Meeting::Pmix { namespace: job.namespace })
}

fn master(env: &Reader<'_>, started: Option<&Started>) -> Result<Option<Meeting>, LaunchError> {
    let Some(address) = env.text("MASTER_ADDR") else { return Ok(None) };
    let port = match (env.port("CROSSTIE_PORT")?, env.port("MASTER_PORT")?) {
        (Some(port), _) => port,
        // The store of torch listens on MASTER_PORT itself.
        (None, Some(store)) => {
            store.checked_add(1).ok_or_else(|| bad("MASTER_PORT + 1", "65536", PORT))?
        }
        (None, None) => {
            return Err(LaunchError::Incomplete {
                have: format!("MASTER_ADDR={address}"),
                lack: "a port (MASTER_PORT or CROSSTIE_PORT)".to_owned(),
            });
        }
    };
    let job = started.and_then(|started| started.job.clone()).unwrap_or_default();
    Ok(Some(Meeting::Master { address, port, job }))
}

fn why_nowhere(claim: &Claim, started: Option<&Started>) -> String {
    match started {
        None => "no launcher started it".to_owned(),
        Some(started) if started.claim.size != claim.size => format!(
            "{} started {} ranks, not {}",
            started.claim.launcher.name(),
            started.claim.size,
            claim.size
        ),
        Some(started) => match started.claim.local {
            Some((_, local)) if local != claim.size => {
                let launcher = started.claim.launcher;
                let hint = match launcher {
                    Launcher::Slurm if !started.pmix => {
                        ": start them with srun --mpi=pmix or --mpi=pmi2, which do"
                    }
                    _ => "",
                };
                format!(
                    "only {local} of the ranks are on this host, and {} offers no other way{hint}",
                    launcher.name()
                )
            }
            _ => format!(
                "{} does not tell its job from others, or not whether all ranks are on this host",
                started.claim.launcher.name()
            ),
        },
    }
}
