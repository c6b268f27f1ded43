//! Owns what monitors say to each other, and its encoding: one JSON object a message, so that a release may add
//! fields that an older one ignores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Suspicion;
use super::ledger::Calls;
use super::signature::Conflict;
use super::statement::Statement;

/// What a rank saw go wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The rank that is to blame, if the reporter knows.
    pub culprit: Option<u32>,
    /// What went wrong.
    pub cause: Cause,
    /// The same for people, with the numbers.
    pub detail: String,
    /// The reporter's call that was under way, by its sequence number.
    pub sequence: u64,
    /// Whether it was before that call: in a group of sends and receives, which have no numbers, or in no call.
    #[serde(default)]
    pub in_group: bool,
    /// Whose messages the reporter lacks that were to come by way of the culprit, a relay.
    #[serde(default)]
    pub lacks: Vec<u32>,
    /// What may be wrong, for people: said unless somebody knows better.
    #[serde(default)]
    pub guess: String,
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// A process ended without an orderly leave.
    Died,
    /// A link between two ranks ended, and both live.
    Cut,
    /// Two ranks have no way to each other over the network.
    NoWay,
    /// A process no longer answers: it is stopped, or its host is unreachable.
    Silent,
    /// A rank did not make a call in which others waited until their deadline.
    Deadline,
    /// All ranks were in a call, and nothing moved.
    Stalled,
    /// Ranks waited for each other, in a circle, in calls of messages between pairs.
    Deadlock,
    /// A rank sent what the protocol or its peers' calls do not allow.
    Protocol,
    /// A rank gave up on purpose.
    Aborted,
    /// A rank left in order before a call that others made.
    Left,
    /// Nothing is known, or it comes from a later release.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What ended the communicator: one for all ranks, unless it is provisional.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The rank that is to blame, if that is known.
    pub culprit: Option<u32>,
    /// Its host; empty without a culprit.
    pub culprit_host: String,
    /// What went wrong.
    pub cause: Cause,
    /// The rank that reported it.
    pub reporter: u32,
    /// What it reported, for people.
    pub detail: String,
    /// The reporter's call that was under way, by its sequence number.
    pub sequence: u64,
    /// Whether the reporter was in a group of sends and receives before that call.
    #[serde(default)]
    pub in_group: bool,
    /// For [`Cause::Left`], the culprit's last call.
    #[serde(default)]
    pub left_after: Option<u64>,
    /// Calls with lower numbers may still complete, and are left alone for a second. It is 0 where that cannot be told,
    /// as after a death or a cut: then every call under way ends at once, one that lacked nothing more among them. For
    /// what a rank had passed on before its end nobody knows, and who waits for more of it would wait for nothing.
    #[serde(default)]
    pub first_failed: u64,
    /// For [`Cause::Cut`] and [`Cause::NoWay`], the two ranks at the ends, the lower first: none of them is the culprit.
    #[serde(default)]
    pub ends: Option<[LinkEnd; 2]>,
    /// The two calls that differ, where that is what went wrong.
    #[serde(default)]
    pub conflict: Option<Box<Conflict>>,
    /// What each rank that answered said of itself, where something was judged.
    #[serde(default)]
    pub statements: BTreeMap<u32, Statement>,
    /// Whether this is a rank's own view, because none that is shared reached it in time.
    pub provisional: bool,
}

/// A rank at one end of a link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkEnd {
    /// The rank.
    pub rank: u32,
    /// Its host.
    pub host: String,
}

impl Verdict {
    /// The verdict as one JSON object, for machines.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and lists of them are always JSON")
    }

    /// What `reporter` makes of its own report, as long as it knows of no other.
    pub fn provisional(report: Report, reporter: u32, culprit_host: String) -> Verdict {
        let Report { culprit, cause, mut detail, sequence, in_group, guess, .. } = report;
        if !guess.is_empty() {
            detail += &format!("; {guess}");
        }
        Verdict {
            culprit,
            culprit_host,
            cause,
            reporter,
            detail,
            sequence,
            in_group,
            left_after: None,
            first_failed: 0,
            ends: None,
            conflict: None,
            statements: BTreeMap::new(),
            provisional: true,
        }
    }
}

/// A message between two monitors.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// I live, and am so far.
    Beat(Calls),
    /// Say at once how far you are, and what you wait for.
    Query,
    /// That.
    Answer(Box<Statement>),
    /// To the hub: rank `by` saw this go wrong; I am so far.
    Report { report: Report, by: u32, calls: Calls },
    /// A link of yours is said to have ended: do you live?
    Ask,
    /// I do; and that ails my NIC, if anything does.
    Here {
        #[serde(default)]
        ailment: Option<String>,
    },
    /// The process of this rank, which is of my host, has ended.
    Exited(u32),
    /// To the hub: my call takes long.
    Suspect(Suspicion),
    /// To whom suspected: wait on; these ranks have not started that call, with their last ones.
    Patience { sequence: u64, late: Vec<(u32, u64)> },
    /// This will be the verdict unless a hub of a higher rank, which this one's death makes, finds another.
    Proposal { ballot: u32, verdict: Box<Verdict> },
    /// I know of that hub's proposal.
    Accepted { ballot: u32 },
    /// I leave in order; this was my last call, and these are the last by number and tag.
    Leave {
        sequence: u64,
        #[serde(default)]
        calls: Vec<(u64, u32)>,
    },
    /// I know that you leave.
    Released,
    /// These have left, with their last calls; of these only the programs have left; and this is the verdict, if
    /// there is one.
    News {
        left: Vec<(u32, u64)>,
        #[serde(default)]
        retired: Vec<(u32, u64)>,
        verdict: Option<Box<Verdict>>,
    },
}

impl Message {
    pub(super) fn sealed(verdict: &Verdict) -> Message {
        let verdict = Some(Box::new(verdict.clone()));
        Message::News { left: Vec::new(), retired: Vec::new(), verdict }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers, texts and lists of them are always JSON")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Message, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
