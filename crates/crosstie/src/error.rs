//! Owns the library's errors: a code, who is to blame, and what to do.

use std::fmt;
use std::time::Duration;

use crosstie_bootstrap::{BootstrapError, Cause, Verdict};
use crosstie_ir::Collective;
use crosstie_launch::LaunchError;
use crosstie_net::NetError;
use crosstie_planner::NodesError;
use crosstie_transport::TransportError;

/// Anything that a call of this library can fail with.
///
/// `Debug` shows the whole [`report`](Self::report), for that is what a program prints whose `main`
/// returns the error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A buffer's length does not fit the operation.
    #[error("{operation}: {what}")]
    Argument {
        /// The operation called.
        operation: &'static str,
        /// What does not fit, with the lengths.
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
    /// Rank, size or meeting place cannot be told.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The ranks could not meet.
    #[error(transparent)]
    Meeting(#[from] BootstrapError),
    /// A link could not be set up.
    #[error(transparent)]
    Network(#[from] NetError),
    /// A transport could not be set up.
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
    /// An operation failed on a communicator, or ranks did while it was set up; every rank gets the same verdict.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// An earlier operation failed on this communicator; only dropping it works.
    #[error("this communicator has failed before: {first}")]
    AlreadyFailed {
        /// The first failure, in one line.
        first: String,
    },
}

/// What ended an operation: the verdict that all ranks share, and where this rank stood.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The operation that this rank was in; `None` while it connected to its peers.
    pub operation: Option<Collective>,
    /// Its number on this communicator, counted from 1; 0 while connecting.
    pub sequence: u64,
    /// This rank.
    pub rank: u32,
    /// The rank to blame, where one is.
    pub culprit: Option<u32>,
    /// The culprit's host.
    pub host: String,
    /// What happened.
    pub cause: Cause,
    /// The rank that reported it first.
    pub reporter: u32,
    /// The number of the reporter's call; 0 while it connected.
    pub reported_in: u64,
    /// The reporter's own words.
    pub detail: String,
    /// Whether this rank had to judge alone, because no verdict reached it in time.
    pub provisional: bool,
    /// The number of the culprit's last call, where it left in order before this operation.
    pub left_after: Option<u64>,
    /// Where this rank stood when the operation ended.
    pub local: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.culprit {
            Some(rank) => {
                write!(f, "rank {rank} on host {} {}", self.host, self.what())?;
                if let Some(last) = self.left_after {
                    write!(f, " after its call #{last}")?;
                }
            }
            None => write!(f, "{}", self.what())?,
        }
        write!(f, " (reported by rank {} ", self.reporter)?;
        match self.reported_in {
            0 => f.write_str("while connecting")?,
            call => write!(f, "in its call #{call}")?,
        }
        if self.provisional {
            f.write_str("; provisional: no verdict reached this rank")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// The failure of `rank`, which was at `operation` and saw of it what `local` says.
    pub(crate) fn new(
        verdict: Verdict,
        rank: u32,
        operation: Option<Collective>,
        sequence: u64,
        local: String,
    ) -> Self {
        Self {
            operation,
            sequence,
            rank,
            culprit: verdict.culprit,
            host: verdict.culprit_host,
            cause: verdict.cause,
            reporter: verdict.reporter,
            reported_in: verdict.sequence,
            detail: verdict.detail,
            provisional: verdict.provisional,
            left_after: verdict.left_after,
            local,
        }
    }

    fn what(&self) -> &'static str {
        match self.cause {
            Cause::Died => "died or closed its links",
            Cause::Silent => "has gone silent (stopped, or its host is unreachable)",
            Cause::Deadline => "did not take part before the deadline",
            Cause::Protocol => {
                "made another call than its peers (operation, type, count or order differ)"
            }
            Cause::Aborted => "gave up",
            Cause::Left => "left in order",
            _ => "failed",
        }
    }
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blame {
    /// The program that called.
    Caller,
    /// Another rank.
    Peer,
    /// The network between ranks.
    Network,
    /// This host or its settings.
    Host,
    /// This library.
    Ourselves,
}

/// An error's stable name, `CT-001` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CT-{:03}", self.0)
    }
}

impl Blame {
    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "the caller",
            Self::Peer => "a peer",
            Self::Network => "the network",
            Self::Host => "this host",
            Self::Ourselves => "this library",
        }
    }
}

/// What is known of an error by its code alone.
struct Class {
    code: u16,
    blame: Blame,
    remedy: &'static str,
}

const fn class(code: u16, blame: Blame, remedy: &'static str) -> Class {
    Class { code, blame, remedy }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report())
    }
}

impl Error {
    /// The error's stable name.
    pub fn code(&self) -> Code {
        Code(self.class().code)
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        self.class().blame
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        self.class().remedy
    }

    /// The exit code of a process that ends because of this error: 2 for the caller's mistakes, 3
    /// for a peer, the network or a deadline, 4 for this host.
    pub fn exit_code(&self) -> u8 {
        match self.blame() {
            Blame::Caller => 2,
            Blame::Peer | Blame::Network => 3,
            Blame::Host | Blame::Ourselves => 4,
        }
    }

    /// The whole story in a few lines: what happened, where this rank stood, who is to blame and
    /// what to do.
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
            if !failure.detail.is_empty() && failure.detail != failure.local {
                text += &format!("\n  rank {} reported: {}", failure.reporter, failure.detail);
            }
            let call = match failure.operation {
                Some(operation) => format!("{} #{}", operation.name(), failure.sequence),
                None => "connecting".to_owned(),
            };
            text += &format!("\n  rank {} stood at: {call}: {}", failure.rank, failure.local);
        }
        text += &format!("\n  to blame: {}", self.blame().name());
        text += &format!("\n  remedy: {}", self.remedy());
        text
    }

    fn class(&self) -> Class {
        match self {
            Self::Argument { .. } => {
                class(1, Blame::Caller, "give buffers of the lengths that the operation asks for")
            }
            Self::Setting { .. } => class(2, Blame::Caller, "correct the setting, or unset it"),
            Self::Launch(_) => class(
                3,
                Blame::Caller,
                "start the ranks with `crosstie run`, mpirun, srun or torchrun, or set \
                 CROSSTIE_RANK, CROSSTIE_SIZE and a place to meet",
            ),
            Self::Meeting(error) => of_meeting(error),
            Self::Network(error) => of_net(error),
            Self::Transport(error) => of_transport(error),
            Self::Nodes(_) => class(4, Blame::Caller, "start fewer ranks"),
            Self::Failed(failure) => of_failure(failure),
            Self::NotDelivered { .. } => {
                class(67, Blame::Peer, "see why peers are slow to receive; their output may tell")
            }
            Self::AlreadyFailed { .. } => class(
                65,
                Blame::Caller,
                "drop the communicator after its first failure; its connections are gone",
            ),
        }
    }
}

const LATE: Class = class(
    51,
    Blame::Peer,
    "see why the rank named is slow or cannot be reached; CROSSTIE_INIT_TIMEOUT gives it longer",
);

const HOST: Class = class(
    40,
    Blame::Host,
    "look at this host's limits (ulimit -n, ulimit -l), memory and /proc permissions",
);

fn of_meeting(error: &BootstrapError) -> Class {
    match error {
        BootstrapError::Missing { .. } => class(
            10,
            Blame::Peer,
            "see why the ranks named did not start or cannot reach the meeting's host; \
             CROSSTIE_INIT_TIMEOUT gives slow ones longer",
        ),
        BootstrapError::Duplicate { .. } => {
            class(11, Blame::Caller, "give each process a rank of its own")
        }
        BootstrapError::SizeDiffers { .. } => {
            class(12, Blame::Caller, "give all ranks the same size, and each job an id of its own")
        }
        BootstrapError::Disagreement { .. } => {
            class(13, Blame::Caller, "give all ranks the same settings and the same release")
        }
        BootstrapError::Died { .. } => {
            class(14, Blame::Peer, "look at the output of the rank named")
        }
        BootstrapError::Complete { .. } => {
            class(15, Blame::Caller, "make a new unique id for every start")
        }
        BootstrapError::CalledOff { .. } => {
            class(16, Blame::Peer, "look at the output of the process that hosted the meeting")
        }
        BootstrapError::Net { source, .. } => of_net(source),
        BootstrapError::Root { .. } => class(
            18,
            Blame::Caller,
            "set CROSSTIE_ROOT to host:port, an address of rank 0's host with a free port",
        ),
        BootstrapError::HostSocket { .. } => {
            class(19, Blame::Host, "set CROSSTIE_ROOT and CROSSTIE_SECRET instead")
        }
        BootstrapError::Pmi { .. } => class(
            20,
            Blame::Host,
            "set CROSSTIE_ROOT and CROSSTIE_SECRET to meet without the launcher's help",
        ),
        BootstrapError::System { .. } => HOST,
        _ => class(17, Blame::Peer, "run the same release on all ranks"),
    }
}

fn of_net(error: &NetError) -> Class {
    match error {
        NetError::Version { .. } => {
            class(30, Blame::Host, "install the same release of crosstie on all hosts")
        }
        NetError::WrongSecret { .. } | NetError::NoSuchWorld { .. } => class(
            31,
            Blame::Caller,
            "give every rank the same unique id or CROSSTIE_SECRET, and start rank 0",
        ),
        NetError::Deadline { .. }
        | NetError::NobodyCame { .. }
        | NetError::Unreachable { .. }
        | NetError::NoSuchTarget { .. } => class(
            32,
            Blame::Network,
            "see that the peer runs and that no firewall is between; CROSSTIE_PORTS and \
             CROSSTIE_INTERFACE choose where to listen",
        ),
        NetError::Ended { .. } | NetError::Backlog { .. } => {
            class(33, Blame::Peer, "look at the output of the rank at the other end")
        }
        NetError::NoPort { .. } | NetError::NoInterface { .. } => {
            class(35, Blame::Host, "set CROSSTIE_PORTS and CROSSTIE_INTERFACE to what is there")
        }
        NetError::BadUniqueId { .. } => {
            class(36, Blame::Caller, "pass on the unique id exactly as it was made")
        }
        NetError::System { .. } => HOST,
        _ => class(34, Blame::Peer, "run the same release on all ranks"),
    }
}

fn of_transport(error: &TransportError) -> Class {
    match error {
        TransportError::PeerGone { .. } => {
            class(50, Blame::Peer, "look at the output of the rank named")
        }
        TransportError::ConnectDeadline { .. } => LATE,
        TransportError::Net(error) => of_net(error),
        TransportError::System { .. } => HOST,
        _ => class(52, Blame::Peer, "run the same release on all ranks, with the same calls"),
    }
}

fn of_failure(failure: &Failure) -> Class {
    match failure.cause {
        Cause::Died => class(
            60,
            Blame::Peer,
            "look at the output of the rank named: it ended, was killed (out of memory?), or its \
             host went down",
        ),
        Cause::Silent => class(
            61,
            Blame::Peer,
            "see whether the rank named is stopped (SIGSTOP, a debugger, a swapping host) or its \
             network is cut; CROSSTIE_SILENCE sets the patience",
        ),
        Cause::Deadline if failure.operation.is_none() => LATE,
        Cause::Deadline => class(
            62,
            Blame::Peer,
            "see why the rank named did not make the same call in time; CROSSTIE_TIMEOUT sets the \
             patience",
        ),
        Cause::Protocol => class(
            63,
            Blame::Caller,
            "make the same calls, with the same types and counts, in the same order on all ranks",
        ),
        Cause::Aborted => class(64, Blame::Caller, "a rank gave up; see its output"),
        Cause::Left => class(66, Blame::Caller, "make the same number of calls on all ranks"),
        _ => class(69, Blame::Ourselves, "please report this, with the text above"),
    }
}
