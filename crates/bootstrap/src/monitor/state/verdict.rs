//! Owns how a report, or a call that takes long, becomes the one verdict: inquiry, proposal, seal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::clock::Suspicion;
use super::super::judge::{Evidence, Finding, Matter, judge};
use super::super::ledger::Calls;
use super::super::message::{Cause, LinkEnd, Message, Report, Verdict};
use super::super::signature::Conflict;
use super::super::statement::Statement;
use super::{
    ASK_AGAIN, Action, Held, Inquiry, QUERY_LIMIT, SEAL_LIMIT, SPARE_LIMIT, Sealing, State,
    Testimony,
};

/// How many late ranks one that waits is told of.
const LATE_NAMED: usize = 16;

impl State {
    /// The verdict, if there is one that no death can change any more.
    pub(super) fn sealed(&self) -> Option<&Verdict> {
        self.held.as_ref().filter(|held| held.sealed).map(|held| &held.verdict)
    }

    // Reports.

    /// Keeps a report if it is the first; true if so.
    pub(super) fn keep(&mut self, report: Report, by: u32) -> bool {
        let first = self.report.is_none() && self.held.is_none();
        if first {
            self.actions.push_back(Action::Fail(report.clone()));
            self.report = Some((report, by));
        }
        first
    }

    pub(super) fn learn(&mut self, now: Duration, report: Report, by: u32) {
        if self.keep(report, by) {
            self.deliver(now);
        }
    }

    /// Brings this rank's report to where it becomes the verdict.
    pub(super) fn deliver(&mut self, now: Duration) {
        if let Some(held) = self.held.as_ref().filter(|held| !held.sealed) {
            // An earlier hub proposed it, and may have sealed it before it went.
            let verdict = held.verdict.clone();
            if self.is_hub() {
                self.propose(now, verdict);
            }
            return;
        }
        let (None, Some((report, by))) = (&self.held, self.report.clone()) else { return };
        if self.is_hub() {
            self.hear(now, report, by);
        } else if self.links.contains_key(&self.hub) {
            let calls = self.clock.calls();
            self.send(self.hub, Message::Report { report, by, calls });
        }
    }

    pub(super) fn reported(&mut self, now: Duration, peer: u32, report: Report, by: u32) {
        if let Some(verdict) = self.sealed() {
            let news = Message::sealed(verdict);
            self.send(peer, news);
        } else if self.is_hub() {
            self.hear(now, report, by);
        } else {
            // The peer knows before us that our hub is gone.
            self.learn(now, report, by);
        }
    }

    /// A report has come to the hub. What needs no statements to be judged ends every inquiry.
    pub(super) fn hear(&mut self, now: Duration, report: Report, reporter: u32) {
        if self.held.is_some() || self.accuses(now, &report, reporter) {
            return;
        }
        let report = self.past_the_relay(report);
        // Who left after that call has made it, and no message of it is missing: the calls must differ.
        let left = report.culprit.and_then(|rank| self.left.get(&rank));
        let has_made_it = left.is_some_and(|last| *last >= report.sequence);
        let is_judged = matches!(report.cause, Cause::Deadline | Cause::Stalled | Cause::Protocol);
        if is_judged || (has_made_it && report.cause == Cause::Died) {
            return self.inquire(now, Matter::Report(report), reporter);
        }
        let gave_up = report.cause == Cause::Aborted && report.culprit == Some(reporter);
        let first_failed = if gave_up { self.calls_of(reporter).finished + 1 } else { 0 };
        self.decide(now, report, reporter, first_failed, None, BTreeMap::new());
    }

    /// A relay that left in order had brought all that it was given: to blame is who left and gave it nothing.
    fn past_the_relay(&self, report: Report) -> Report {
        let last_of = |rank: u32| self.left_after(rank, report.cause);
        let owes = |rank: &u32| {
            last_of(*rank).is_some_and(|last| report.in_group || last < report.sequence)
        };
        let has_left = report.culprit.and_then(last_of).is_some();
        let sender = report.lacks.iter().copied().find(owes);
        let sender = sender.filter(|_| report.cause == Cause::Died && has_left);
        Report { culprit: sender.or(report.culprit), ..report }
    }

    fn calls_of(&self, rank: u32) -> Calls {
        if rank == self.rank {
            return self.clock.calls();
        }
        self.links.get(&rank).and_then(|link| link.calls).unwrap_or_default()
    }

    // Calls that take long.

    pub(super) fn look_at_the_clock(&mut self, now: Duration) {
        if self.held.is_some() || self.report.is_some() {
            return;
        }
        let Some(suspicion) = self.clock.suspicion(now) else { return };
        if self.is_hub() {
            self.suspected(now, self.rank, suspicion);
        } else if self.links.contains_key(&self.hub) {
            self.send(self.hub, Message::Suspect(suspicion));
        }
    }

    /// A rank's call takes long: an inquiry where that can have come to an end, by what heartbeats tell.
    pub(super) fn suspected(&mut self, now: Duration, by: u32, suspicion: Suspicion) {
        if self.held.is_some() || self.inquiry.is_some() || !self.is_hub() {
            return;
        }
        let Suspicion { sequence, arrival_over, stall_over, doubts, in_messages, .. } = suspicion;
        if in_messages {
            return self.inquire(now, Matter::Suspicion(suspicion), by);
        }
        let behind = |rank: &u32| self.calls_of(*rank).started < sequence;
        let all = self.others().chain([self.rank]);
        let late: Vec<u32> = all.filter(behind).collect();
        let has_left = self.last_calls().values().any(|last| *last < sequence);
        if arrival_over || has_left || ((stall_over || doubts) && late.is_empty()) {
            return self.inquire(now, Matter::Suspicion(suspicion), by);
        }
        let late = late.into_iter().take(LATE_NAMED);
        let late = late.map(|rank| (rank, self.calls_of(rank).started)).collect();
        self.ask_for_patience(now, by, sequence, late);
    }

    fn ask_for_patience(&mut self, now: Duration, by: u32, sequence: u64, late: Vec<(u32, u64)>) {
        if by == self.rank {
            self.be_patient(now, sequence, late);
        } else {
            self.send(by, Message::Patience { sequence, late });
        }
    }

    pub(super) fn be_patient(&mut self, now: Duration, sequence: u64, late: Vec<(u32, u64)>) {
        if late.is_empty() {
            self.clock.compared(sequence);
        } else if self.clock.warns(now, sequence) {
            let waited = self.clock.elapsed(now).0;
            self.actions.push_back(Action::Warn { sequence, waited, late });
        }
    }

    // Inquiries.

    /// Has everyone state where it stands.
    fn inquire(&mut self, now: Duration, matter: Matter, by: u32) {
        if let Some(inquiry) = &mut self.inquiry {
            // A report outweighs a suspicion, whose call it ends; what was asked for serves both.
            if let (Matter::Suspicion(_), Matter::Report(_)) = (&inquiry.matter, &matter) {
                (inquiry.matter, inquiry.by) = (matter, by);
            }
            return;
        }
        // Who has no link yet is asked when it has one.
        let leaving = self.partings.iter().filter(|(_, parting)| parting.waits);
        let leaving = leaving.map(|(rank, _)| *rank);
        let awaited: BTreeSet<u32> = self.others().chain([self.rank]).chain(leaving).collect();
        self.tell_all(self.rank, &Message::Query);
        self.actions.push_back(Action::Testify);
        let (until, again, statements) = (now + QUERY_LIMIT, None, BTreeMap::new());
        self.inquiry = Some(Inquiry { matter, by, until, again, awaited, statements });
    }

    /// This rank's application has said where it stands.
    pub(super) fn testified(&mut self, now: Duration, testimony: Testimony) {
        let Testimony { recent, messages, testified, waits, more_waits } = testimony;
        let Calls { started, finished } = self.clock.calls();
        let (since, quiet) = self.clock.elapsed(now);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (since_ms, quiet_ms) = (ms(since), ms(quiet));
        let statement = Statement {
            started,
            finished,
            recent,
            messages,
            in_messages: self.clock.is_in_messages(),
            since_ms,
            quiet_ms,
            testified,
            waits,
            more_waits,
        };
        for peer in std::mem::take(&mut self.askers) {
            self.send(peer, Message::Answer(Box::new(statement.clone())));
        }
        self.answered(now, self.rank, Some(statement));
    }

    /// A rank said how far it is, or never will.
    pub(super) fn answered(&mut self, now: Duration, rank: u32, statement: Option<Statement>) {
        let Some(inquiry) = &mut self.inquiry else { return };
        inquiry.awaited.remove(&rank);
        if let Some(statement) = statement {
            inquiry.statements.insert(rank, statement);
        }
        self.conclude(now);
    }

    /// Of two calls that differ the odd one shows when all ranks have made theirs: those who are about to have a little
    /// more time.
    fn asks_again(&mut self, now: Duration) -> bool {
        let Some(inquiry) = &mut self.inquiry else { return false };
        let Matter::Report(report) = &inquiry.matter else { return false };
        let is_over = !inquiry.awaited.is_empty() || now >= inquiry.until;
        if report.cause != Cause::Protocol || report.in_group || is_over {
            return false;
        }
        let behind = inquiry.statements.iter();
        let behind = behind.filter(|(_, statement)| statement.started < report.sequence);
        let behind: Vec<u32> = behind.map(|(rank, _)| *rank).collect();
        let behind: BTreeSet<u32> = behind
            .into_iter()
            .filter(|rank| *rank == self.rank || self.links.contains_key(rank))
            .collect();
        let Some(inquiry) = self.inquiry.as_mut().filter(|_| !behind.is_empty()) else {
            return false;
        };
        inquiry.awaited = behind;
        inquiry.again = Some(now + ASK_AGAIN);
        true
    }

    /// Asks those again who were about to make the call.
    pub(super) fn ask_again(&mut self, now: Duration) {
        let inquiry = self.inquiry.as_mut();
        let Some(inquiry) = inquiry.filter(|inquiry| inquiry.again.is_some_and(|at| now >= at))
        else {
            return;
        };
        inquiry.again = None;
        for rank in inquiry.awaited.clone() {
            if rank == self.rank {
                self.actions.push_back(Action::Testify);
            } else {
                self.send(rank, Message::Query);
            }
        }
    }

    /// Ends the inquiry when everyone answered or its time is over.
    pub(super) fn conclude(&mut self, now: Duration) {
        if self.asks_again(now) {
            return;
        }
        let over = |inquiry: &Inquiry| inquiry.awaited.is_empty() || now >= inquiry.until;
        let Some(inquiry) = self.inquiry.take_if(|inquiry| over(inquiry)) else { return };
        let Inquiry { matter, by, awaited, statements, .. } = inquiry;
        let mut calls: BTreeMap<u32, Calls> = (self.links.iter())
            .filter_map(|(peer, link)| Some((*peer, link.calls?)))
            .chain([(self.rank, self.clock.calls())])
            .collect();
        calls.extend(statements.iter().map(|(rank, statement)| (*rank, statement.calls())));
        let mut silent = awaited;
        silent.retain(|rank| *rank != self.rank && self.is_present(*rank));
        let left = self.last_calls();
        let evidence = Evidence { statements, calls, left, silent };
        match judge(&matter, by, &evidence) {
            Finding::Failure { report, first_failed, conflict } => {
                self.decide(now, report, by, first_failed, conflict, evidence.statements);
            }
            Finding::Patience { late } => {
                if let Matter::Suspicion(Suspicion { sequence, .. }) = matter {
                    self.ask_for_patience(now, by, sequence, late);
                }
            }
        }
    }

    pub(super) fn decide(
        &mut self,
        now: Duration,
        report: Report,
        reporter: u32,
        first_failed: u64,
        conflict: Option<Box<Conflict>>,
        statements: BTreeMap<u32, Statement>,
    ) {
        let culprit = report.culprit;
        let host_of = |rank: u32| usize::try_from(rank).ok().and_then(|rank| self.hosts.get(rank));
        let host_of = |rank: u32| host_of(rank).cloned().unwrap_or_default();
        let is_between = matches!(report.cause, Cause::Cut | Cause::NoWay);
        let ends = culprit.filter(|_| is_between).map(|culprit| {
            [culprit.min(reporter), culprit.max(reporter)]
                .map(|rank| LinkEnd { rank, host: host_of(rank) })
        });
        let culprit = culprit.filter(|_| ends.is_none());
        let host = culprit.map(host_of).unwrap_or_default();
        let own =
            Verdict { ends, ..Verdict::provisional(Report { culprit, ..report }, reporter, host) };
        // The hub heard of a leave before any end of a link that came of it.
        let left = culprit.and_then(|rank| self.left_after(rank, own.cause));
        // A group waits for a message, whatever its sender called since; a wrong one it has.
        let waits = own.in_group && own.cause != Cause::Protocol;
        let is_missing = |last: &u64| if own.in_group { waits } else { *last < own.sequence };
        let left_after = left.filter(is_missing);
        let (cause, first_failed) = match left_after {
            Some(last) => (Cause::Left, last + 1),
            None => (own.cause, first_failed),
        };
        let provisional = false;
        let verdict =
            Verdict { cause, left_after, first_failed, conflict, statements, provisional, ..own };
        self.propose(now, verdict);
    }

    // The proposal and its seal.

    /// Makes this hub's finding, or the one that it found, known to all.
    fn propose(&mut self, now: Duration, verdict: Verdict) {
        self.hold(now, self.rank, verdict.clone());
        let awaited: BTreeSet<u32> = self.others().collect();
        let message = Message::Proposal { ballot: self.rank, verdict: Box::new(verdict) };
        self.tell_all(self.rank, &message);
        self.sealing = Some(Sealing { awaited, until: now + SEAL_LIMIT });
        self.try_seal(now);
    }

    fn hold(&mut self, now: Duration, ballot: u32, verdict: Verdict) {
        (self.inquiry, self.accusation) = (None, None);
        let dead = verdict.culprit.filter(|_| verdict.cause == Cause::Died);
        // A hub that learns of it by an earlier one's proposal is not to wait for it.
        self.gone.extend(dead.filter(|rank| ![self.rank, self.hub].contains(rank)));
        let spares = verdict.first_failed > 0 && self.report.is_none();
        let spares_until = match &self.held {
            Some(before) => before.spares_until,
            None => spares.then_some(now + SPARE_LIMIT),
        };
        self.actions.push_back(Action::Propose(verdict.clone()));
        self.held = Some(Held { verdict, ballot, sealed: false, spares_until });
    }

    pub(super) fn proposed(&mut self, now: Duration, peer: u32, ballot: u32, verdict: Verdict) {
        if let Some(verdict) = self.sealed() {
            let news = Message::sealed(verdict);
            return self.send(peer, news);
        }
        let newer = self.held.as_ref().is_none_or(|held| ballot >= held.ballot);
        if self.is_hub() {
            // An earlier hub's, from one that this hub succeeds: what it has itself counts.
            if self.held.is_none() {
                self.propose(now, verdict);
            }
        } else if newer {
            self.hold(now, ballot, verdict);
            self.send(peer, Message::Accepted { ballot });
        }
    }

    pub(super) fn accepted(&mut self, now: Duration, peer: u32, ballot: u32) {
        if let Some(sealing) = self.sealing.as_mut().filter(|_| ballot == self.rank) {
            sealing.awaited.remove(&peer);
            self.try_seal(now);
        }
    }

    /// Seals the proposal when all who are there know it, or have had their time.
    pub(super) fn try_seal(&mut self, now: Duration) {
        let Some(mut sealing) = self.sealing.take() else { return };
        sealing.awaited.retain(|rank| self.is_present(*rank));
        if !sealing.awaited.is_empty() && now < sealing.until {
            self.sealing = Some(sealing);
        } else if let Some(held) = &self.held {
            self.adopt(now, held.verdict.clone(), self.rank);
        }
    }

    /// Takes over the verdict that `source` has, unless there is one.
    pub(super) fn adopt(&mut self, now: Duration, verdict: Verdict, source: u32) {
        if self.sealed().is_some() {
            return;
        }
        self.sealing = None;
        if self.held.as_ref().is_none_or(|held| held.verdict != verdict) {
            self.hold(now, self.hub, verdict.clone());
        }
        if let Some(held) = &mut self.held {
            held.sealed = true;
        }
        self.tell_all(source, &Message::sealed(&verdict));
        self.actions.push_back(Action::Decide(verdict));
    }

    pub(super) fn spare_no_longer(&mut self, now: Duration) {
        let held = self.held.as_mut();
        let over = held.and_then(|held| held.spares_until.take_if(|until| now >= *until));
        if over.is_some() {
            self.actions.push_back(Action::SpareNone);
        }
    }
}
