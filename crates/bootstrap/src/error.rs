//! Owns the reasons why ranks did not come together, or did not stay together.

use std::fmt;
use std::io;
use std::time::Duration;

use crosstie_net::NetError;
use serde::{Deserialize, Serialize};

/// Why there is no world. What the meeting's host finds out travels to every rank as it is; the other reasons are
/// a rank's own.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Ranks did not come before the first of those who came ran out of time.
    #[error(
        "{} of {size} did not come to the meeting within {waited:.1?} ({strangers}): look whether they started, \
         run on the hosts meant, and can reach the meeting's host",
        Ranks(.ranks)
    )]
    Missing {
        /// The ranks that did not come.
        ranks: Vec<u32>,
        /// Number of ranks in the world.
        size: u32,
        /// How long the first to come has waited.
        waited: Duration,
        /// What the meeting's listener says of those it turned away.
        strangers: String,
    },
    /// Two processes say that they are the same rank.
    #[error(
        "{first} and {second} both say that they are rank {rank}: give each process a rank of its own"
    )]
    Duplicate {
        /// The rank.
        rank: u32,
        /// The one that came first.
        first: Claimant,
        /// The other.
        second: Claimant,
    },
    /// Processes disagree about the number of ranks.
    #[error(
        "{first} says that the world has {first_size} ranks, {second} says {second_size}: give all the same size, \
         and each job a unique id of its own"
    )]
    SizeDiffers {
        /// One of them.
        first: Claimant,
        /// The size that it was given.
        first_size: u32,
        /// Another.
        second: Claimant,
        /// The size that that one was given.
        second_size: u32,
    },
    /// Ranks disagree about what all must share: the settings of world scope, or the release.
    #[error("the ranks do not agree on their settings: {}", Groups(.groups))]
    Disagreement {
        /// Ranks that agree with each other; the group of the lowest rank first.
        groups: Vec<SettingsGroup>,
    },
    /// A rank came to the meeting and was gone before it ended.
    #[error("{who} died, or lost its link, during the meeting")]
    Died {
        /// The rank.
        who: Claimant,
    },
    /// Ranks that were to go on without others do not agree without whom.
    #[error(
        "{first} goes on as one of ranks {first_of:?} of the communicator, {second} as one of {second_of:?}: give all \
         ranks the same list of those that are excluded"
    )]
    ListsDiffer {
        /// One of them, by its number in the world that it leaves.
        first: Claimant,
        /// Those who go on, as it says.
        first_of: Vec<u32>,
        /// Another.
        second: Claimant,
        /// Those who go on, as that one says.
        second_of: Vec<u32>,
    },
    /// A rank came to the meeting, and its program gave it up before all had come.
    #[error("{who} was given up during the meeting: {why}")]
    Withdrawn {
        /// The rank.
        who: Claimant,
        /// Why, in its own words.
        why: String,
    },
    /// A rank failed before it could meet the others.
    #[error("{who} gave up before it met the others: {why}")]
    GaveUp {
        /// The rank.
        who: Claimant,
        /// Why, in its own words.
        why: String,
    },
    /// All ranks of the world had come already.
    #[error(
        "{who} came to a meeting at which all {size} ranks had met already: it is one process too many, or was \
         restarted with an old unique id"
    )]
    Complete {
        /// Who came too late.
        who: Claimant,
        /// Number of ranks in the world.
        size: u32,
    },
    /// The meeting's host stopped serving before all had come.
    #[error("the meeting was called off: {reason}")]
    CalledOff {
        /// Why.
        reason: String,
    },
    /// Somebody sent what the meeting does not allow.
    #[error("{host} broke the protocol of the meeting: {what}")]
    Protocol {
        /// Its host.
        host: String,
        /// What it did.
        what: String,
    },
    /// A link could not be made, or failed.
    #[error("{doing}: {source}")]
    #[serde(skip)]
    Net {
        /// What this rank was doing.
        doing: String,
        /// What happened.
        source: NetError,
    },
    /// The address of the root cannot be opened by rank 0, or not be found.
    #[error("{named_by} {address}: {reason}")]
    #[serde(skip)]
    Root {
        /// What names the address: a variable, or the caller.
        named_by: String,
        /// `host:port` as it was given.
        address: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// What came to pass at an address that was given, as it does where another job meets there too.
    #[error(
        "{source}; if another job meets at {named_by} {address} too, give each an address or a CROSSTIE_SECRET of its own"
    )]
    #[serde(skip)]
    AtRoot {
        /// What names the address: a variable, or the caller.
        named_by: String,
        /// `host:port` as it was given.
        address: String,
        /// What happened there.
        source: Box<BootstrapError>,
    },
    /// The Unix socket by which ranks of one host find each other did not serve.
    #[error("the socket @{name} of this host's ranks: {reason}")]
    #[serde(skip)]
    HostSocket {
        /// Its abstract name.
        name: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// The launcher's key-value space did not serve.
    #[error("the launcher's key-value space (PMI_FD={fd}): {doing}: {reason}")]
    #[serde(skip)]
    Pmi {
        /// The descriptor.
        fd: i32,
        /// What this rank was doing.
        doing: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// The launcher's PMIx did not serve.
    #[error(
        "the launcher's key-value space (PMIx): {reason}; or set CROSSTIE_ROOT and CROSSTIE_SECRET"
    )]
    #[serde(skip)]
    Pmix {
        /// What happened.
        reason: String,
    },
    /// This host refused a system call.
    #[error("{call} failed: {source}")]
    #[serde(skip)]
    System {
        /// The call.
        call: String,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl BootstrapError {
    pub(crate) fn system(call: &'static str) -> impl FnOnce(io::Error) -> BootstrapError {
        move |source| BootstrapError::System { call: call.to_owned(), source }
    }

    pub(crate) fn net(doing: impl Into<String>) -> impl FnOnce(NetError) -> BootstrapError {
        let doing = doing.into();
        move |source| BootstrapError::Net { doing, source }
    }
}

/// A process that says it is a rank.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claimant {
    /// The rank that it says it is.
    pub rank: u32,
    /// Its host.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} (host {}, process {})", self.rank, self.host, self.pid)
    }
}

/// Ranks that agree with each other, but not with the rest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettingsGroup {
    /// The ranks.
    pub ranks: Vec<u32>,
    /// The host of the first of them.
    pub host: String,
    /// Their fingerprint.
    pub fingerprint: u64,
    /// The settings in which they differ from another group, a line each; a few at most.
    pub differing: Vec<String>,
}

struct Ranks<'a>(&'a [u32]);

impl fmt::Display for Ranks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        f.write_str(if self.0.len() == 1 { "rank" } else { "ranks" })?;
        for (at, rank) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{} {rank}", if at == 0 { "" } else { "," })?;
        }
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

struct Groups<'a>(&'a [SettingsGroup]);

impl fmt::Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{} (host {}): ", Ranks(&group.ranks), group.host)?;
            match group.differing.as_slice() {
                [] => write!(f, "fingerprint {:016x}", group.fingerprint)?,
                lines => f.write_str(&lines.join(", "))?,
            }
        }
        f.write_str("; give all ranks the same settings and the same release")
    }
}
