//! Owns what a check says: how bad it is, what was found, what is wanted, and what to do.

use serde::Serialize;

/// How bad a finding is; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Ranks run, but slower than they could, or without something that is there.
    Warning,
    /// A world such as is asked for would fail here.
    WouldFail,
}

impl Verdict {
    /// In the text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::WouldFail => "would fail",
        }
    }
}

/// What a finding is about, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// What the kernel allows a process.
    Limits,
    /// What ranks of one node share.
    SharedMemory,
    /// Interfaces, addresses, ports.
    Network,
    /// RDMA devices.
    Verbs,
    /// GPUs and their driver.
    Gpus,
    /// How time is told.
    Clocks,
    /// Who starts ranks, where, and with which settings.
    Launcher,
}

impl Group {
    /// Its heading.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::SharedMemory => "shared memory",
            Self::Network => "network",
            Self::Verbs => "verbs",
            Self::Gpus => "GPUs",
            Self::Clocks => "clocks",
            Self::Launcher => "launcher",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub group: Group,
    /// What was looked at, in a word or two that do not change.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found, with the number.
    pub found: String,
    /// What would be good, with the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// What to do: a command, a file, a setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Nothing to do.
    pub fn good(group: Group, check: &'static str, found: impl Into<String>) -> Self {
        let (verdict, found) = (Verdict::Good, found.into());
        Self { group, check, verdict, found, wanted: None, remedy: None }
    }

    /// The same, with what would be good.
    #[must_use]
    pub fn wanted(self, wanted: impl Into<String>) -> Self {
        Self { wanted: Some(wanted.into()), ..self }
    }

    /// The same, as bad as this, with what to do.
    #[must_use]
    pub fn judged(self, verdict: Verdict, remedy: impl Into<String>) -> Self {
        Self { verdict, remedy: Some(remedy.into()), ..self }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(self, remedy: impl Into<String>) -> Self {
        self.judged(Verdict::Warning, remedy)
    }

    /// The same as what would make a world fail.
    #[must_use]
    pub fn would_fail(self, remedy: impl Into<String>) -> Self {
        self.judged(Verdict::WouldFail, remedy)
    }
}
