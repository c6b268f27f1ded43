//! Owns what becomes of a link that ends: whether its other end died, whether the link can be made anew, and when it
//! counts as cut.
//!
//! * A monitor's link ends. Who dialled it dials again, who accepted it looks whether anybody listens at the other end,
//!   both for what is left of the silence, and at least for [`MEND_LIMIT`]: on a busy host an answer takes its time.
//!   Where nobody listens the process is gone; where the link comes anew nothing was lost, for the greeting says again
//!   all that may have been. Who dials and is turned away each time need not wait for longer than that limit.
//! * A monitor's link brings no heartbeat. Who dialled it dials again, once, and goes on with the new one: its host may
//!   be reached over another rail, and whatever waits for an answer then comes to one, long before silence is a failure.
//! * A rank reports that the link of its data ended. Its peer's monitor is asked: whoever answers lives, and the link
//!   was cut; who died does not answer, for all links of a process end together. Who answers may have ended the link
//!   itself, because it failed: its own word on that, if one is on its way, counts.
//! * A rank reports that no way leads to another. That one's monitor is asked, too: for it may know of its NIC why.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::message::{Cause, Message, Report};
use super::{Action, Link, State};

/// How long a link that ended may take to be made anew, at least; no longer where each try is turned away. Callers
/// wait two seconds for a verdict.
pub(super) const MEND_LIMIT: Duration = Duration::from_secs(1);
/// After what time without a heartbeat another link is dialled.
fn mute_after(heartbeat: Duration) -> Duration {
    heartbeat * 5 / 2
}

/// How soon the other end is dialled again, or looked for again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long the hub waits for the answer of a rank that is said to have died.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// How long after that answer its own report may come, which says why it ended the link.
const OWN_WORD_LIMIT: Duration = Duration::from_millis(200);

/// A link that ended, and what is done about it.
pub(super) struct Doubt {
    since: Duration,
    /// When something was heard over it last.
    heard: Duration,
    until: Duration,
    tries: Tries,
    /// When its other end is dialled or looked for next.
    again: Duration,
    /// Whether there was a new one, which ended before it gave a sign of life.
    mute: bool,
}

/// What came of dialling the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tries {
    /// Nothing yet; or it is not this rank that dials.
    None,
    /// Each try was turned away.
    TurnedAway,
    /// A try had no answer in time.
    Late,
}

/// Why a peer could not be dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Unreached {
    /// Its process, or its part in the world, is gone.
    Gone,
    /// Something on the way, or the peer itself, turned the link away.
    TurnedAway,
    /// There was no answer in time.
    Late,
}

/// The report, which the hub has yet to believe, that a link of the data of two ranks ended or could not be made.
pub(super) struct Accusation {
    report: Report,
    by: u32,
    /// The rank at its other end.
    of: u32,
    /// Whether it has answered.
    lives: bool,
    until: Duration,
}

impl Doubt {
    /// When it is given up, unless it is mended.
    fn ends(&self) -> Duration {
        match self.tries {
            Tries::TurnedAway => self.until.min(self.since + MEND_LIMIT),
            Tries::None | Tries::Late => self.until,
        }
    }
}

impl State {
    pub(super) fn linked(&mut self, now: Duration, peer: u32) {
        let doubt = self.doubts.remove(&peer).map(|doubt| doubt.until);
        let replaced = self.links.get(&peer).map(|link| self.mended_by(now, link.heard));
        let mended = doubt.or(replaced);
        let doubled = false;
        self.links.insert(peer, Link { heard: now, spoke: false, mended, doubled, calls: None });
        self.greet(peer);
        self.alert(peer);
        if self.inquiry.as_ref().is_some_and(|inquiry| inquiry.awaited.contains(&peer)) {
            self.send(peer, Message::Query);
        }
        if self.accusation.as_ref().is_some_and(|accusation| accusation.of == peer) {
            self.send(peer, Message::Ask);
        }
    }

    pub(super) fn ended(&mut self, now: Duration, peer: u32) {
        let Some(link) = self.links.remove(&peer) else { return };
        let told = self.farewell.as_mut().filter(|farewell| farewell.told.contains(&peer));
        if let Some(farewell) = told {
            farewell.released.insert(peer);
            self.vanished(now, peer);
        } else if !link.spoke && link.mended.is_none() && (1..self.rank).contains(&peer) {
            // It was dialled to succeed the hub, and its process still stands; but its monitor has left. (Rank 0 is
            // dialled at the start, when nobody has left.)
            self.vanished(now, peer);
        } else if self.is_present(peer) && self.sealed().is_none() {
            let mute = link.mended.filter(|_| !link.spoke);
            let until = mute.unwrap_or_else(|| self.mended_by(now, link.heard));
            let (mute, tries) = (mute.is_some(), Tries::None);
            let again = if mute { now + AGAIN } else { now };
            let doubt = Doubt { since: now, heard: link.heard, until, tries, again, mute };
            self.doubts.insert(peer, doubt);
            self.mend_links(now);
            return;
        } else {
            self.vanished(now, peer);
        }
        self.answered(now, peer, None);
        self.try_seal(now);
    }

    /// Until when a link that ends now is to be made anew, over which something was `heard` then.
    fn mended_by(&self, now: Duration, heard: Duration) -> Duration {
        (now + MEND_LIMIT).max(heard + self.silence)
    }

    /// This rank was held up, and so were its tries to make links anew.
    pub(super) fn forgive_doubts(&mut self, now: Duration) {
        let until = now + self.silence;
        self.doubts.values_mut().for_each(|doubt| doubt.until = doubt.until.max(until));
    }

    /// Whether the link to that peer ended and is to be made anew.
    pub(in super::super) fn doubts(&self, peer: u32) -> bool {
        self.doubts.contains_key(&peer)
    }

    /// Tries to make links anew that ended, and gives up those that took too long.
    pub(super) fn mend_links(&mut self, now: Duration) {
        let over = |doubt: &Doubt| now >= doubt.ends();
        let given_up: Vec<u32> =
            self.doubts.iter().filter(|(_, doubt)| over(doubt)).map(|(peer, _)| *peer).collect();
        given_up.into_iter().for_each(|peer| self.give_up_link(now, peer));
        let due = self.doubts.iter_mut().filter(|(_, doubt)| now >= doubt.again);
        let mut sought = Vec::new();
        for (&peer, doubt) in due {
            doubt.again = now + AGAIN;
            if peer < self.rank {
                self.actions.push_back(Action::Dial(peer));
            } else {
                sought.push(peer);
            }
        }
        if !sought.is_empty() {
            self.actions.push_back(Action::Probe(sought));
        }
    }

    /// Dials beside links over which no heartbeat comes.
    pub(super) fn double_links(&mut self, now: Duration) {
        if self.farewell.is_some() || self.sealed().is_some() {
            return;
        }
        let mute = mute_after(self.heartbeat);
        let dialled = self.links.range_mut(..self.rank);
        let due = dialled.filter(|(_, link)| !link.doubled && now >= link.heard + mute);
        for (peer, link) in due {
            link.doubled = true;
            self.actions.push_back(Action::Dial(*peer));
        }
    }

    fn give_up_link(&mut self, now: Duration, peer: u32) {
        let Some(doubt) = self.doubts.remove(&peer) else { return };
        let (low, high) = (peer.min(self.rank), peer.max(self.rank));
        if doubt.since.saturating_sub(doubt.heard) >= self.silence / 2 {
            // The kernel gave it up, for it was not answered either.
            let unheard = now.saturating_sub(doubt.heard);
            let detail = format!("no sign of life from rank {peer} for {unheard:.1?}");
            return self.lost(now, peer, Cause::Silent, detail);
        }
        if doubt.mute {
            let detail = format!("the monitor of rank {peer} takes no link any more");
            return self.lost(now, peer, Cause::Died, detail);
        }
        // The same words at both ends, which may be unable to tell each other.
        let detail = format!(
            "the link between the monitors of ranks {low} and {high} ended, no other could be made, and nothing shows \
             that one of their processes is gone"
        );
        self.lost(now, peer, Cause::Cut, detail);
    }

    /// When links are to be looked at next.
    pub(super) fn next_of_links(&self) -> impl Iterator<Item = Duration> {
        let doubts = self.doubts.values().map(|doubt| doubt.again.min(doubt.ends()));
        let dialled = self.links.range(..self.rank).filter(|(_, link)| !link.doubled);
        let mute = dialled.map(|(_, link)| link.heard + mute_after(self.heartbeat));
        doubts.chain(mute).chain(self.accusation.as_ref().map(|accusation| accusation.until))
    }

    /// A peer could not be dialled.
    pub(super) fn unreachable(&mut self, now: Duration, peer: u32, why: Unreached) {
        let Some(doubt) = self.doubts.get_mut(&peer) else {
            if !self.links.contains_key(&peer) {
                self.vanished(now, peer);
            }
            return;
        };
        // Until its time is over it is dialled again.
        match why {
            Unreached::Gone => self.found_dead(now, peer),
            Unreached::Late => doubt.tries = Tries::Late,
            Unreached::TurnedAway if doubt.tries == Tries::None => doubt.tries = Tries::TurnedAway,
            Unreached::TurnedAway => {}
        }
    }

    /// Nobody listens where a rank without a link did at the meeting.
    pub(super) fn found_dead(&mut self, now: Duration, peer: u32) {
        if !self.links.contains_key(&peer) {
            let detail = format!(
                "the process of rank {peer} is gone: nobody listens where it did at the meeting"
            );
            self.lost(now, peer, Cause::Died, detail);
        }
    }

    /// A rank is gone, and that is a failure.
    pub(super) fn lost(&mut self, now: Duration, peer: u32, cause: Cause, detail: String) {
        self.doubts.remove(&peer);
        if !self.is_present(peer) {
            return;
        }
        self.gone.insert(peer);
        let sequence = self.clock.calls().started;
        let in_group = false;
        let report =
            Report { culprit: Some(peer), cause, detail, sequence, in_group, ..Report::default() };
        let first = self.keep(report, self.rank);
        if !self.elect(now) && first {
            self.deliver(now);
        }
        self.convict(now, peer, cause);
        self.answered(now, peer, None);
        self.try_seal(now);
    }

    // Links of data.

    /// Whether the report says that another rank is gone which may well live: then that rank is asked.
    pub(super) fn accuses(&mut self, now: Duration, report: &Report, by: u32) -> bool {
        let no_way = |report: &Report| report.cause == Cause::NoWay;
        if self.accusation.as_ref().is_some_and(|accusation| no_way(&accusation.report)) {
            // That is believed whatever the other says: all else may be a consequence.
            return true;
        }
        let is_of_a_link = matches!(report.cause, Cause::Died | Cause::Silent);
        // What the accused itself says is why its links ended, unless it says the same of its accuser.
        self.accusation.take_if(|accusation| {
            let is_mutual = is_of_a_link && report.culprit == Some(accusation.by);
            no_way(report) || (accusation.of == by && !is_mutual)
        });
        let is_asked_of = is_of_a_link || no_way(report);
        let alive = |rank: &u32| *rank != by && self.is_in_world(*rank) && self.is_present(*rank);
        let Some(of) = report.culprit.filter(|_| is_asked_of).filter(alive) else { return false };
        if self.accusation.is_none() {
            let (report, until) = (report.clone(), now + ANSWER_LIMIT);
            self.accusation = Some(Accusation { report, by, of, lives: false, until });
            if of == self.rank {
                self.actions.push_back(Action::Examine(of));
            } else if self.links.contains_key(&of) {
                self.send(of, Message::Ask);
            }
        }
        true
    }

    /// The accused lives, and says what ails its NIC.
    pub(super) fn acquit(&mut self, now: Duration, peer: u32, ailment: Option<String>) {
        let accusation = self.accusation.as_mut().filter(|it| it.of == peer && !it.lives);
        let Some(accusation) = accusation else { return };
        if let Some(ailment) = ailment {
            accusation.report.detail += &format!("; {ailment}");
            accusation.report.guess.clear();
        }
        let is_sure = accusation.report.cause == Cause::NoWay;
        accusation.lives = true;
        accusation.until = if is_sure { now } else { now + OWN_WORD_LIMIT };
        self.believe(now);
    }

    /// The accused is gone for that cause.
    fn convict(&mut self, now: Duration, peer: u32, cause: Cause) {
        let accusation = self.accusation.take_if(|accusation| accusation.of == peer);
        let Some(Accusation { report, by, .. }) = accusation else { return };
        self.decide(now, Report { cause, ..report }, by, 0, None, BTreeMap::new());
    }

    /// The accused has left in order.
    pub(super) fn accused_left(&mut self, now: Duration, peer: u32) {
        let accusation = self.accusation.take_if(|accusation| accusation.of == peer);
        let Some(Accusation { report, by, .. }) = accusation else { return };
        self.hear(now, report, by);
    }

    /// Believes what has not been denied in time.
    pub(super) fn believe(&mut self, now: Duration) {
        let accusation = self.accusation.take_if(|accusation| now >= accusation.until);
        let Some(Accusation { mut report, by, of, lives, .. }) = accusation else { return };
        if lives && report.cause != Cause::NoWay {
            report.cause = Cause::Cut;
        } else if report.cause == Cause::Died {
            self.gone.insert(of);
        }
        self.decide(now, report, by, 0, None, BTreeMap::new());
    }
}
