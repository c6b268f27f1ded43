//! Owns how the command ends: what went wrong, in words, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

use crosstie_lab::LabError;
use serde::{Deserialize, Serialize};

/// The exit codes that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well: 0.
    Good,
    /// A result was wrong, or too far below the ceiling: 1.
    WrongResult,
    /// The command line asked for something that cannot be: 2.
    Usage,
    /// A peer failed, or a deadline passed: 3.
    Peer,
    /// This host or its environment stood in the way: 4.
    Environment,
    /// Whoever read our output has gone: 141, as a shell reports the death by SIGPIPE.
    OutputClosed,
    /// A signal asked us to end (130 after Ctrl-C).
    Signal(u8),
    /// The exit code of a program that we started.
    Program(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::WrongResult => 1,
            Self::Usage => 2,
            Self::Peer => 3,
            Self::Environment => 4,
            Self::OutputClosed => 141,
            Self::Signal(number) => 128 + number,
            Self::Program(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments are at odds with each other or with the environment.
    #[error("{message}\n  {remedy}")]
    Usage {
        /// What is wrong, with the value.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// The library says what happened.
    #[error("{}", .0.report())]
    Library(#[from] crosstie::Error),
    /// The lab says what stands in its way.
    #[error("{0}")]
    Lab(#[from] LabError),
    /// The host refused something.
    #[error("cannot {action}: {source}")]
    Host {
        /// What was tried, as the continuation of "cannot".
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// A failure as machines read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The library's name for it, `CT-060` for one; none where it is not the library's.
    pub code: Option<String>,
    /// What happened, in one line.
    pub message: String,
    /// Who says so, where that is known.
    pub rank: Option<u32>,
    /// The rank to blame, where one is.
    pub culprit: Option<u32>,
}

impl Failure {
    /// The failure as machines read it.
    pub fn summary(&self) -> Summary {
        let (code, message) = match self {
            Self::Usage { message, .. } => (None, message.clone()),
            Self::Library(error) => (Some(error.code().to_string()), error.to_string()),
            Self::Host { .. } | Self::Lab(_) => (None, self.to_string()),
        };
        let (rank, culprit) = match self {
            Self::Library(crosstie::Error::Failed(failed)) => (Some(failed.rank), failed.culprit),
            _ => (None, None),
        };
        Summary { code, message, rank, culprit }
    }

    /// A mistake on the command line: what is wrong, and what to do.
    pub fn usage(message: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::Usage { message: message.to_string(), remedy: remedy.to_string() }
    }

    /// The host's refusal of an action, the continuation of "cannot".
    pub fn host(action: impl fmt::Display, source: std::io::Error) -> Self {
        Self::Host { action: action.to_string(), source }
    }

    /// How the process should end.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Lab(LabError::Description(_)) => Exit::Usage,
            Self::Library(error) => match error.exit_code() {
                1 => Exit::WrongResult,
                2 => Exit::Usage,
                3 => Exit::Peer,
                _ => Exit::Environment,
            },
            Self::Host { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe => {
                Exit::OutputClosed
            }
            Self::Host { .. } | Self::Lab(_) => Exit::Environment,
        }
    }
}
