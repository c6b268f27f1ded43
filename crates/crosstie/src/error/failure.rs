//! Owns the failure of an operation: the verdict that all ranks share, and this rank's own part in it.

use std::collections::BTreeMap;
use std::fmt;

use crosstie_bootstrap::{Cause, Conflict, LinkEnd, Statement, Verdict};
use crosstie_ir::Collective;

use super::{Blame, code};
use crate::call_name::CallName;
use crate::ways::Ways;

/// What ended an operation: the verdict that all ranks share, and where this rank stood.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The operation that this rank was in; `None` while it connected to its peers.
    pub operation: Option<Collective>,
    /// Its number on this communicator, counted from 1; 0 while connecting. Of a send, a receive or a group of
    /// them, the number of the call that it stands before.
    pub sequence: u64,
    /// This rank.
    pub rank: u32,
    /// The rank to blame, where one is.
    pub culprit: Option<u32>,
    /// The culprit's host.
    pub host: String,
    /// The rail to which the culprit sent on what others of its node send, where it was such a relay. None where it left
    /// in order, for relays work on after that.
    pub relay_of: Option<u32>,
    /// What happened.
    pub cause: Cause,
    /// The rank that reported it first.
    pub reporter: u32,
    /// The number of the reporter's call; 0 while it connected.
    pub reported_in: u64,
    /// Whether that was before this call: in a group of sends and receives, or in no call.
    pub reported_before: bool,
    /// The reporter's own words.
    pub detail: String,
    /// Whether this rank had to judge alone, because no verdict reached it in time.
    pub provisional: bool,
    /// The two ranks whose link was cut, the lower first, where that is what happened: then nobody is the culprit, and
    /// a program that goes on has to do without one of them.
    pub ends: Option<[LinkEnd; 2]>,
    /// The number of the culprit's last call, where it left in order before this operation.
    pub left_after: Option<u64>,
    /// Where this rank stood when the operation ended.
    pub local: String,
    /// The two calls that differ, where that is what happened.
    pub conflict: Option<Box<Conflict>>,
    /// What each rank that answered said of itself, by rank, where that was asked: how far it is, its last calls,
    /// and what its call waits for.
    pub statements: BTreeMap<u32, Statement>,
    /// This rank's call in words.
    pub(super) place: String,
    /// The same as all ranks share it, for machines.
    json: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.culprit, &self.ends) {
            (_, Some([one, other])) => {
                let no_way = self.cause == Cause::NoWay;
                let between = if no_way { "there is no way between" } else { "the link between" };
                write!(f, "{between} rank {} on host {} ", one.rank, one.host)?;
                write!(f, "and rank {} on host {}", other.rank, other.host)?;
                if !no_way {
                    write!(f, " {}", self.what())?;
                }
                write!(f, ": {}", self.detail)?;
            }
            (Some(rank), None) => {
                write!(f, "rank {rank} on host {} ", self.host)?;
                if let Some(rail) = self.relay_of {
                    write!(f, "(relay of rail {rail}) ")?;
                }
                f.write_str(self.what())?;
                if let Some(last) = self.left_after {
                    write!(f, " after its call #{last}")?;
                }
            }
            (None, None) if self.cause == Cause::Deadlock => f.write_str(&self.detail)?,
            (None, None) => write!(f, "{}", self.what())?,
        }
        if let Some(conflict) = &self.conflict {
            write!(f, ": {conflict}")?;
        }
        write!(f, " (reported by rank {} ", self.reporter)?;
        match self.reported_in {
            0 => f.write_str("while connecting")?,
            1 if self.reported_before => f.write_str("before its first call")?,
            call if self.reported_before => write!(f, "before its call #{call}")?,
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
    /// The failure of the rank whose ways these are, which was at `call` and saw of it what `local` says.
    pub(crate) fn new(
        verdict: Verdict,
        ways: &Ways,
        call: Option<&CallName>,
        local: String,
    ) -> Self {
        let json = verdict.to_json();
        let between = matches!(verdict.cause, Cause::Cut | Cause::NoWay);
        // Of the rank at the other end of a dead path only that one knows.
        let ailment = ways.ailment().filter(|text| between && !verdict.detail.contains(text));
        let local = ailment.map_or(local.clone(), |text| format!("{local}; {text}"));
        Self {
            json,
            operation: call.map(|call| call.collective),
            sequence: call.map_or(0, |call| call.sequence),
            place: call.map_or_else(|| "connecting".to_owned(), CallName::to_string),
            rank: ways.rank(),
            relay_of: { verdict.culprit.filter(|_| verdict.cause != Cause::Left) }
                .and_then(|rank| ways.relay_rail(rank)),
            culprit: verdict.culprit,
            host: verdict.culprit_host,
            cause: verdict.cause,
            reporter: verdict.reporter,
            reported_in: verdict.sequence,
            reported_before: verdict.in_group,
            detail: verdict.detail,
            provisional: verdict.provisional,
            ends: verdict.ends,
            left_after: verdict.left_after,
            local,
            conflict: verdict.conflict,
            statements: verdict.statements,
        }
    }

    /// Where every rank stood when the verdict was found, a line for each and one for each block that waited; the same
    /// on all ranks. Empty where nobody was asked, for a death names itself.
    ///
    /// ```
    /// # use crosstie::{Error, Threads};
    /// let results = Threads::new(2).run_each(|mut comm| match comm.rank() {
    ///     0 => comm.recv(&mut [0_u8; 2], 1),
    ///     _ => comm.send(&[1_u8], 0).and_then(|()| comm.barrier()),
    /// });
    /// let Some(Err(Error::Failed(failure))) = results.into_iter().next() else { panic!() };
    /// println!("{}", failure.dump());
    /// ```
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (rank, statement) in &self.statements {
            let lines = statement.to_string().replace('\n', "\n  ");
            text += &format!("\n  rank {rank}: {lines}");
        }
        text
    }

    /// The whole verdict, with what every rank said, as one JSON object; the same on all ranks.
    ///
    /// ```
    /// # use crosstie::{Error, Threads};
    /// let results = Threads::new(2).run_each(|mut comm| match comm.rank() {
    ///     0 => comm.recv(&mut [0_u8; 2], 1),
    ///     _ => comm.send(&[1_u8], 0).and_then(|()| comm.barrier()),
    /// });
    /// let Some(Err(Error::Failed(failure))) = results.into_iter().next() else { panic!() };
    /// assert!(failure.dump_json().starts_with('{'));
    /// ```
    pub fn dump_json(&self) -> &str {
        &self.json
    }

    /// The same, for a rank that was in no call, after `last` calls.
    pub(crate) fn outside_calls(mut self, last: u64) -> Self {
        self.place = match last {
            0 => "before its first call".to_owned(),
            last => format!("after its call #{last}"),
        };
        self
    }

    /// Who has to act, as this rank sees it: its own caller only where this rank is the culprit.
    pub(super) fn blame(&self) -> Blame {
        let usual = code::entry(super::of_failure(self)).blame;
        match (self.culprit, usual) {
            (Some(culprit), Blame::Caller | Blame::Peer) if culprit == self.rank => Blame::Caller,
            (Some(_), Blame::Caller) => Blame::Peer,
            _ => usual,
        }
    }

    fn what(&self) -> &'static str {
        match self.cause {
            Cause::Died => "died",
            Cause::Cut => "was cut, and both live",
            Cause::NoWay => "cannot be reached",
            Cause::Silent => "has gone silent (stopped, or its host is unreachable)",
            Cause::Deadline => "did not take part before the deadline",
            Cause::Stalled => {
                "holds up a call in which nothing moves, though all ranks have made it"
            }
            Cause::Protocol if self.conflict.is_some() => "made another call than its peers",
            Cause::Protocol if self.reported_before => {
                "sent another message than its peer receives (length, type or order differ)"
            }
            Cause::Protocol => {
                "made another call than its peers (operation, type, count or order differ)"
            }
            Cause::Deadlock => "waits in a circle",
            Cause::Aborted => "gave up",
            Cause::Left => "left in order",
            _ => "failed",
        }
    }
}
