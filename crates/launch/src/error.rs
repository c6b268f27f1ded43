//! Owns the reasons why a process cannot be told who it is or where its world meets.

use std::io;
use std::path::PathBuf;

use crosstie_net::NetError;

/// Why an identity was refused. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A variable holds something else than it should.
    #[error("{variable} is `{value}`, which is not {expected}: correct or unset it")]
    Value {
        /// The variable, or the argument.
        variable: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// One half of an identity is there, the other is not.
    #[error("{have} is given, but not {lack}: give both, or neither")]
    Incomplete {
        /// What is given.
        have: String,
        /// What is missing.
        lack: String,
    },
    /// A rank outside its own world.
    #[error(
        "rank {rank} of {size} ({said_by}): ranks run from 0 to size - 1, and a world has at least 1"
    )]
    RankRange {
        /// The rank.
        rank: u32,
        /// The world's size.
        size: u32,
        /// Who says so.
        said_by: &'static str,
    },
    /// Two sources say different things.
    #[error("{first}, but {second}: {remedy}")]
    Contradiction {
        /// What the one says.
        first: String,
        /// What the other says.
        second: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The environment speaks of several ranks, but does not say which one this is.
    #[error(
        "{variable}={value} speaks of a world of several ranks, but nothing says which one this process is \
         ({why}): {remedy}"
    )]
    OneOfMore {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is missing.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A place to meet is given, but not who this process is.
    #[error(
        "{place} says where to meet, but nothing says who this process is: give rank and size \
         (CROSSTIE_RANK, CROSSTIE_SIZE)"
    )]
    Nobody {
        /// The place.
        place: &'static str,
    },
    /// A world of several ranks that has nowhere to meet.
    #[error(
        "rank {rank} of {size} ({launcher}) has nowhere to meet the others: {why}; set CROSSTIE_ROOT=host:port \
         (a free port on rank 0's host) and the same CROSSTIE_SECRET on every rank, or pass a unique id"
    )]
    NoPlace {
        /// This process's rank.
        rank: u32,
        /// The world's size.
        size: u32,
        /// Who started it.
        launcher: &'static str,
        /// Why the other ways do not serve.
        why: String,
    },
    /// A root without a secret.
    #[error(
        "the root {root} is given without a secret: set the same CROSSTIE_SECRET (or CROSSTIE_SECRET_FILE) on \
         every rank, for example the output of `openssl rand -hex 32`"
    )]
    NoSecret {
        /// The root's address.
        root: String,
    },
    /// The secret is empty.
    #[error(
        "the secret in {variable} is empty: put at least one character there, better 32 random ones"
    )]
    EmptySecret {
        /// The variable that holds it, or names its file.
        variable: &'static str,
    },
    /// The file with the secret cannot be read.
    #[error("CROSSTIE_SECRET_FILE names {path}: {source}", path = path.display())]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// `CROSSTIE_ID` holds no unique id. Its value is a secret, so it is not shown.
    #[error("CROSSTIE_ID: {source}")]
    Id {
        /// What is wrong with it.
        source: NetError,
    },
}
