//! Owns what can stand in the way of a lab: each with what was tried, and what to do about it.

use std::io;

/// Why there is no lab, or why it cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A cluster that cannot be.
    #[error("{0}")]
    Description(String),

    /// A command that the lab calls is not there.
    #[error("the lab needs the command `{name}`, which is not installed\n  {}", INSTALL)]
    Tool {
        /// The command.
        name: &'static str,
    },

    /// The kernel wants more rights.
    #[error("cannot {action}: {source}\n  {}", PRIVILEGE)]
    Privilege {
        /// What was tried, as the continuation of "cannot".
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },

    /// The kernel lacks a part that the lab is made of.
    #[error(
        "this kernel has no {part}: `{command}` said: {said}\n  try `modprobe {module}` as root; \
         a kernel without that module cannot run the lab"
    )]
    Kernel {
        /// The part, in words.
        part: &'static str,
        /// The module that has it.
        module: &'static str,
        /// The command that failed.
        command: String,
        /// Its answer.
        said: String,
    },

    /// A command of the set-up failed for another reason.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The whole command.
        command: String,
        /// Its answer.
        said: String,
    },

    /// The host refused something.
    #[error("cannot {action}: {source}")]
    Host {
        /// What was tried, as the continuation of "cannot".
        action: String,
        /// The system's answer.
        source: io::Error,
    },

    /// The process that was to wait for this one has gone.
    #[error(
        "the process that started this part of a lab has ended\n  start labs with `crosstie lab`"
    )]
    Orphan,
}

const INSTALL: &str =
    "apt-get install iproute2 (on other systems: the package iproute2, or iproute)";
const PRIVILEGE: &str = "the lab makes namespaces, mounts and network devices: run it as root, or with \
                         CAP_SYS_ADMIN and CAP_NET_ADMIN\n  (in a container: start that with --privileged)";

impl LabError {
    /// The system's refusal of an action, the continuation of "cannot".
    pub(crate) fn host(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (action, source) = (action.into(), source.into());
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Privilege { action, source },
            _ => Self::Host { action, source },
        }
    }
}
