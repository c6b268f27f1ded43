//! Owns the library's errors: a code, who is to blame, and what to do.

mod code;
mod failure;
mod outcome;

use std::fmt;
use std::time::Duration;

use crosstie_bootstrap::{BootstrapError, Cause};
use crosstie_launch::LaunchError;
use crosstie_net::NetError;
use crosstie_planner::NodesError;
use crosstie_transport::TransportError;

pub use code::{Blame, Code, Explanation};
pub use failure::Failure;
pub use outcome::Outcome;

/// Anything that a call of this library can fail with.
///
/// `Debug` shows the whole [`report`](Self::report), for that is what a program prints whose `main`
/// returns the error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A buffer's length, a count, a root or a peer does not fit the operation.
    #[error("{operation}: {what}")]
    Argument {
        /// The operation called.
        operation: &'static str,
        /// What does not fit, with the numbers.
        what: String,
    },
    /// A setting cannot be understood.
    #[error("{name}={value}: {what}")]
    Setting {
        /// Its name: an environment variable or a builder method.
        name: &'static str,
        /// The value given.
        value: String,
        /// What is wrong with it.
        what: String,
    },
    /// The setting `memory_limit` forbids memory that is needed. Nothing was allocated.
    #[error(
        "{what}: {needed} bytes more than the {in_use} in use would be beyond the limit of {limit} \
         (CROSSTIE_MEMORY_LIMIT)"
    )]
    Memory {
        /// For what.
        what: &'static str,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that the communicator has already.
        in_use: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Rank, size or meeting place cannot be told.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The ranks could not meet.
    #[error(transparent)]
    Meeting(#[from] BootstrapError),
    /// A link could not be set up.
    #[error(transparent)]
    Network(#[from] NetError),
    /// A transport could not be set up, or memory for calls could not be had or registered.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The assignment of ranks to nodes cannot be planned for.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// The peers did not take in time what was sent to them.
    #[error("what was sent could not be delivered within {:.1} s", waited.as_secs_f64())]
    NotDelivered {
        /// How long was waited.
        waited: Duration,
    },
    /// An operation failed on a communicator, or ranks did while it was set up; every rank gets the same verdict, in
    /// the call that it is in or in the next that it makes.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// A call in a forked child of the process that connected.
    #[error("rank {rank} connected before this process was forked from it")]
    Forked {
        /// The rank that the communicator is.
        rank: u32,
    },
    /// An earlier operation failed on this communicator; only shrinking and dropping it work.
    #[error("this communicator has failed before: {first}")]
    AlreadyFailed {
        /// The first failure.
        first: Box<Failure>,
    },
    /// The program gave connecting up: see [`Cancel`](crate::Cancel).
    #[error("connecting was given up: {why}")]
    Cancelled {
        /// Why, in its own words.
        why: String,
    },
    /// This process, or its host, has no more open files to give.
    #[error(
        "this process ran out of open files as {ranks} ranks connected: it may have {limit}, and a rank among so many \
         needs up to {needed}, each rank in this process as many: raise ulimit -n ({what})"
    )]
    Descriptors {
        /// How many ranks the world has.
        ranks: u32,
        /// Open files that a rank needs at most.
        needed: u64,
        /// Open files that the process may have.
        limit: u64,
        /// What was refused.
        what: String,
    },
    /// This process is that rank of the same world already.
    #[error(
        "rank {rank} of {size} has joined this world before, in this process: make further communicators of the first \
         one, with `split`"
    )]
    JoinedBefore {
        /// The rank.
        rank: u32,
        /// How many ranks the world has.
        size: u32,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report())
    }
}

impl Error {
    /// The error's stable name.
    ///
    /// ```
    /// use crosstie::{Error, Threads};
    ///
    /// let error: Error = Threads::new(1).run(|mut comm| comm.send(&[1], 7)).unwrap_err();
    /// assert_eq!(error.code().to_string(), "CT-001");
    /// ```
    pub fn code(&self) -> Code {
        Code(self.number())
    }

    /// What is known of the error by its code alone; the page that `crosstie explain` prints.
    ///
    /// ```
    /// use crosstie::{Error, Threads};
    ///
    /// let error: Error = Threads::new(1).run(|mut comm| comm.send(&[1], 7)).unwrap_err();
    /// assert_eq!(error.explanation().title, "an argument does not fit the operation");
    /// ```
    pub fn explanation(&self) -> &'static Explanation {
        code::entry(self.number())
    }

    /// Who has to act, as this rank sees it: of two ranks whose calls differ, the odd one's caller for itself, and a
    /// peer for all others.
    ///
    /// ```
    /// use crosstie::{Blame, Threads};
    ///
    /// let error = Threads::new(1).run(|mut comm| comm.send(&[1], 7)).unwrap_err();
    /// assert_eq!(error.blame(), Blame::Caller);
    /// ```
    pub fn blame(&self) -> Blame {
        self.failure().map_or(self.explanation().blame, Failure::blame)
    }

    /// The failure of the communicator that this error tells of, be it for the first time or again.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let results = Threads::new(2).run_each(|mut comm| match comm.rank() {
    ///     0 => comm.barrier().and_then(|()| comm.barrier()),
    ///     _ => comm.barrier(), // One call less.
    /// });
    /// let error = results.into_iter().next().unwrap().unwrap_err();
    /// assert_eq!(error.failure().and_then(|failure| failure.culprit), Some(1));
    /// ```
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::AlreadyFailed { first: failure } => Some(failure),
            _ => None,
        }
    }

    /// What to do.
    ///
    /// ```
    /// use crosstie::{Error, Threads};
    ///
    /// let error: Error = Threads::new(1).run(|mut comm| comm.send(&[1], 7)).unwrap_err();
    /// eprintln!("{error}; {}", error.remedy());
    /// assert!(error.remedy().starts_with("correct the argument"));
    /// ```
    pub fn remedy(&self) -> &'static str {
        self.explanation().remedy
    }

    /// The exit code of a process that ends because of this error: 2 where this rank's caller made a
    /// mistake, 3 for a peer, the network or a deadline, 4 for this host. An [`Outcome`](crate::Outcome)
    /// that `main` returns ends the process so, which tells `crosstie run` the cause from its consequences.
    ///
    /// ```
    /// use crosstie::{Error, Threads};
    ///
    /// let error: Error = Threads::new(1).run(|mut comm| comm.send(&[1], 7)).unwrap_err();
    /// assert_eq!(error.exit_code(), 2);
    /// ```
    pub fn exit_code(&self) -> u8 {
        match self.blame() {
            Blame::Caller => 2,
            Blame::Peer | Blame::Network => 3,
            Blame::Host | Blame::Ourselves => 4,
        }
    }

    /// The whole story in a few lines: what happened, where this rank stood, who is to blame and
    /// what to do.
    ///
    /// ```
    /// use crosstie::{Error, Threads};
    ///
    /// let error: Error = Threads::new(1).run(|mut comm| comm.send(&[1], 7)).unwrap_err();
    /// let report = error.report();
    /// assert!(report.contains("to blame: the caller") && report.contains("remedy: "));
    /// ```
    pub fn report(&self) -> String {
        let mut text = format!("{}: {self}", self.code());
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text += &format!("\n  because: {cause_text}");
            }
            source = cause.source();
        }
        if let Self::Failed(failure) = self {
            if failure.conflict.is_none()
                && !failure.detail.is_empty()
                && failure.detail != failure.local
                && !matches!(failure.cause, Cause::Deadlock | Cause::NoWay | Cause::Cut)
            {
                text += &format!("\n  rank {} reported: {}", failure.reporter, failure.detail);
            }
            let (rank, place, local) = (failure.rank, &failure.place, &failure.local);
            text += &format!("\n  rank {rank} stood at: {place}: {local}");
            if matches!(failure.cause, Cause::Deadline | Cause::Stalled | Cause::Deadlock) {
                text += &failure.dump();
            }
        }
        text += &format!("\n  to blame: {}", self.blame().name());
        match self.failure() {
            Some(failure) if failure.culprit == Some(failure.rank) => {
                text += " (this rank's program)"
            }
            Some(Failure { culprit: Some(rank), host, .. }) => {
                text += &format!(" (rank {rank} on host {host})");
            }
            _ => {}
        }
        text += &format!("\n  remedy: {}", self.remedy());
        text
    }

    fn number(&self) -> u16 {
        match self {
            Self::Argument { .. } => 1,
            Self::Setting { .. } => 2,
            Self::Launch(_) => 3,
            Self::Nodes(_) => 4,
            Self::Memory { .. } => 5,
            Self::Meeting(error) => of_meeting(error),
            Self::Network(error) => of_net(error),
            Self::Transport(error) => of_transport(error),
            Self::Failed(failure) => of_failure(failure),
            Self::AlreadyFailed { .. } => 65,
            Self::Forked { .. } => 70,
            Self::JoinedBefore { .. } => 21,
            Self::NotDelivered { .. } => 67,
            Self::Cancelled { .. } => 24,
            Self::Descriptors { .. } => 41,
        }
    }
}

fn of_meeting(error: &BootstrapError) -> u16 {
    match error {
        BootstrapError::Missing { .. } => 10,
        BootstrapError::Duplicate { .. } => 11,
        BootstrapError::SizeDiffers { .. } => 12,
        BootstrapError::ListsDiffer { .. } => 22,
        BootstrapError::Withdrawn { .. } | BootstrapError::GaveUp { .. } => 23,
        BootstrapError::Disagreement { .. } => 13,
        BootstrapError::Died { .. } => 14,
        BootstrapError::Complete { .. } => 15,
        BootstrapError::CalledOff { .. } => 16,
        BootstrapError::Root { .. } => 18,
        BootstrapError::HostSocket { .. } => 19,
        BootstrapError::Pmi { .. } | BootstrapError::Pmix { .. } => 20,
        BootstrapError::System { .. } => 40,
        BootstrapError::Net { source, .. } => of_net(source),
        BootstrapError::AtRoot { source, .. } => of_meeting(source),
        _ => 17,
    }
}

fn of_net(error: &NetError) -> u16 {
    match error {
        NetError::Version { .. } => 30,
        NetError::WrongSecret { .. } | NetError::NoSuchWorld { .. } => 31,
        NetError::Deadline { .. }
        | NetError::NobodyCame { .. }
        | NetError::Unreachable { .. }
        | NetError::NoSuchTarget { .. } => 32,
        NetError::Descriptors { .. } => 41,
        NetError::Ended { .. } | NetError::Backlog { .. } => 33,
        NetError::NoPort { .. } | NetError::NoInterface { .. } => 35,
        NetError::BadUniqueId { .. } => 36,
        NetError::System { .. } => 40,
        NetError::AlreadyServed { .. } => 21,
        _ => 34,
    }
}

fn of_transport(error: &TransportError) -> u16 {
    match error {
        TransportError::System { .. } => 40,
        TransportError::PeerGone { .. } => 50,
        TransportError::ConnectDeadline { .. } => 51,
        TransportError::HeapFull { .. } => 53,
        TransportError::Net(error) => of_net(error),
        TransportError::Connecting { source, .. } if matches!(**source, NetError::NoWay { .. }) => {
            54
        }
        _ => 52,
    }
}

fn of_failure(failure: &Failure) -> u16 {
    match failure.cause {
        Cause::Died => 60,
        Cause::Silent => 61,
        Cause::Deadline if failure.operation.is_none() => 51,
        Cause::Deadline => 62,
        Cause::Stalled => 68,
        Cause::Deadlock => 72,
        Cause::Protocol => 63,
        Cause::Aborted => 64,
        Cause::Left => 66,
        Cause::Cut => 71,
        Cause::NoWay => 54,
        _ => 69,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looked up in this file's own text, so that no arm can be forgotten.
    #[test]
    fn every_number_that_is_given_out_has_a_page() {
        let arms = include_str!("error.rs").lines().filter_map(|line| line.rsplit_once("=> "));
        let numbers = arms.filter_map(|(_, after)| after.trim_end_matches(',').parse().ok());
        let numbers: Vec<u16> = numbers.collect();
        assert!(numbers.len() > 30, "{numbers:?}");
        for number in numbers {
            assert!(Code(number).explanation().is_some(), "CT-{number:03}");
        }
    }
}
