//! Owns a monitor's decisions as a pure state machine: events and time in, actions out, nothing else.
//!
//! 1. The *hub* is the lowest rank that has neither left nor gone. Every other rank has a link to it, which it
//!    dialled; so links are only ever dialled from higher to lower ranks.
//! 2. A rank keeps the first report that it learns, and tells the hub. The hub makes the first report it learns the
//!    verdict, and tells everyone. Who has a verdict keeps it, and passes it to all it has links with.
//! 3. A link that ends without an orderly leave is a death; a link that is silent for too long, or was never made,
//!    is a silence. A rank that was itself held up for long blames nobody: it listens anew first.
//! 4. Who leaves says so to all it has links with and goes when they have answered, or after [`LEAVE_LIMIT`].
//!    A hub first gives the others [`GRACE`] to leave, too: usually all end at once, and then nobody succeeds it.
//!    Who has a verdict goes at once, unless it is a hub that alone may know it: then those who have yet to make
//!    their links are waited for.
//! 5. When the hub has left or gone, all dial the next. Whoever cannot be reached then has left unseen if the hub left
//!    in order, and so is no failure; had it died, those who exchange data with it would know.
//! 6. Before a missed deadline becomes a verdict, the hub asks everyone how far they are: the rank that is behind, or
//!    does not answer, is to blame rather than the one that the reporter happened to wait for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::message::{Calls, Cause, Message, Report, Verdict};

/// How long a leaving rank waits for those it tells.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// How long a leaving hub waits for the others to leave before it hands over.
pub(super) const GRACE: Duration = Duration::from_millis(200);
/// How long the hub waits to hear how far everyone is: monitors sleep in `poll`, so a living one answers within
/// milliseconds even on a busy host; and a caller waits two seconds for the verdict.
pub(super) const QUERY_LIMIT: Duration = Duration::from_millis(500);

/// What happens to a monitor.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// There is a link to this peer: dialled, or accepted.
    Linked(u32),
    /// This came over it.
    Heard(u32, Message),
    /// It ended; all that came before was heard.
    Ended(u32),
    /// The peer could not be dialled.
    Unreachable(u32),
    /// This rank's own application failed.
    Reported(Report),
    /// This rank leaves; its last call had this sequence number.
    Leaving(u64),
    /// Time passed. It comes after all that the peers have sent until now.
    Tick,
}

/// What a monitor is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Send(u32, Message),
    Dial(u32),
    /// Flush and end the link to this peer.
    Close(u32),
    /// This is the first report that this rank learnt.
    Fail(Report),
    Decide(Verdict),
    /// This rank left in order, after this call.
    Left(u32, u64),
    /// All that a leaving rank owes is done.
    Done,
}

/// A peer that this rank has a link with.
struct Link {
    heard: Duration,
    /// Whether anything came over it.
    spoke: bool,
    /// None until it said so.
    calls: Option<Calls>,
}

/// A missed deadline that the hub inquires into.
struct Inquiry {
    report: Report,
    reporter: u32,
    until: Duration,
    silent: BTreeSet<u32>,
}

/// This rank's own leave.
struct Farewell {
    sequence: u64,
    since: Duration,
    told: BTreeSet<u32>,
    /// Those who answered, or whose links ended.
    released: BTreeSet<u32>,
    /// The hub answered: it passes the news on.
    settled: bool,
    done: bool,
}

pub(super) struct State {
    rank: u32,
    hosts: Vec<String>,
    heartbeat: Duration,
    silence: Duration,
    links: BTreeMap<u32, Link>,
    left: BTreeMap<u32, u64>,
    gone: BTreeSet<u32>,
    hub: u32,
    hub_since: Duration,
    /// Whether this rank, being the hub, may be the only one from whom a rank without a link can learn the verdict.
    owes_verdict: bool,
    /// When this rank, being the hub, takes those for silent that made no link.
    links_due: Duration,
    calls: Calls,
    last_beat: Duration,
    last_tick: Duration,
    report: Option<Report>,
    verdict: Option<Verdict>,
    inquiry: Option<Inquiry>,
    farewell: Option<Farewell>,
    /// Who left, and who said so, not yet passed on.
    fresh: Vec<((u32, u64), u32)>,
    actions: VecDeque<Action>,
}

impl State {
    /// The monitor of `rank` in a world of `hosts.len()` ranks, at time 0. The others have until `links_due` to make
    /// their links.
    pub(super) fn new(
        rank: u32,
        hosts: Vec<String>,
        heartbeat: Duration,
        silence: Duration,
        links_due: Duration,
    ) -> State {
        State {
            rank,
            hosts,
            heartbeat,
            silence,
            links: BTreeMap::new(),
            left: BTreeMap::new(),
            gone: BTreeSet::new(),
            hub: 0,
            hub_since: Duration::ZERO,
            owes_verdict: true,
            links_due: links_due.max(silence),
            calls: Calls::default(),
            last_beat: Duration::ZERO,
            last_tick: Duration::ZERO,
            report: None,
            verdict: None,
            inquiry: None,
            farewell: None,
            fresh: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    /// Notes how far this rank's application is: before each batch of events.
    pub(super) fn note_calls(&mut self, calls: Calls) {
        self.calls = calls;
    }

    /// Takes in an event. Time never runs backwards.
    pub(super) fn handle(&mut self, now: Duration, event: Event) {
        match event {
            Event::Linked(peer) => self.linked(now, peer),
            Event::Heard(peer, message) => self.heard(now, peer, message),
            Event::Ended(peer) => self.ended(now, peer),
            Event::Unreachable(peer) => self.vanished(now, peer),
            Event::Reported(report) => self.learn(now, report),
            Event::Leaving(sequence) => self.leave(now, sequence),
            Event::Tick => self.tick(now),
        }
    }

    /// The next thing to do; call it until there is none after each batch of events.
    pub(super) fn action(&mut self, now: Duration) -> Option<Action> {
        if self.actions.is_empty() {
            self.pass_on();
            self.say_farewell(now);
        }
        self.actions.pop_front()
    }

    /// When the next `Tick` is due, if nothing happens before.
    pub(super) fn next_tick(&self) -> Duration {
        let silent = (self.links.iter())
            .filter(|(peer, _)| self.is_present(**peer))
            .map(|(_, link)| link.heard + self.silence);
        let links = (self.is_hub() && self.missing().next().is_some()).then_some(self.links_due);
        let inquiry = self.inquiry.as_ref().map(|inquiry| inquiry.until);
        let farewell = self.farewell.as_ref().filter(|farewell| !farewell.done).map(|farewell| {
            let grace = farewell.since.max(self.hub_since) + GRACE;
            let end = farewell.since + LEAVE_LIMIT;
            if self.is_hub() && grace > self.last_tick { grace.min(end) } else { end }
        });
        let due = silent.chain(links).chain(inquiry).chain(farewell);
        due.fold(self.last_beat + self.heartbeat, Duration::min)
    }

    fn is_hub(&self) -> bool {
        self.hub == self.rank
    }

    fn is_present(&self, rank: u32) -> bool {
        !self.left.contains_key(&rank) && !self.gone.contains(&rank)
    }

    /// The other ranks that have neither left nor gone.
    fn others(&self) -> impl Iterator<Item = u32> {
        (0..).take(self.hosts.len()).filter(|rank| *rank != self.rank && self.is_present(*rank))
    }

    /// Those of them without a link.
    fn missing(&self) -> impl Iterator<Item = u32> {
        self.others().filter(|rank| !self.links.contains_key(rank))
    }

    fn send(&mut self, to: u32, message: Message) {
        self.actions.push_back(Action::Send(to, message));
    }

    /// Sends to all peers but `source`, from whom this rank has it.
    fn tell_all(&mut self, source: u32, message: &Message) {
        let peers = self.links.keys().filter(|peer| **peer != source);
        self.actions.extend(peers.map(|peer| Action::Send(*peer, message.clone())));
    }

    // Links.

    fn linked(&mut self, now: Duration, peer: u32) {
        self.links.insert(peer, Link { heard: now, spoke: false, calls: None });
        self.greet(peer);
        if self.inquiry.is_some() {
            self.send(peer, Message::Query);
        }
    }

    fn greet(&mut self, peer: u32) {
        self.send(peer, Message::Beat(self.calls));
        if !self.left.is_empty() || self.verdict.is_some() {
            let left = self.left.iter().map(|(rank, sequence)| (*rank, *sequence)).collect();
            self.send(peer, Message::News { left, verdict: self.verdict.clone() });
        }
        if let (true, None, Some(report)) = (peer == self.hub, &self.verdict, &self.report) {
            let report = report.clone();
            self.send(peer, Message::Report(report));
        }
    }

    fn heard(&mut self, now: Duration, peer: u32, message: Message) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.heard = now;
        link.spoke = true;
        match message {
            Message::Beat(calls) => link.calls = Some(calls),
            Message::Query => self.send(peer, Message::Answer(self.calls)),
            Message::Answer(calls) => {
                link.calls = Some(calls);
                self.answered(now, peer);
            }
            Message::Report(report) => self.reported(now, peer, report),
            Message::Leave { sequence } => self.parted(now, peer, sequence),
            Message::Released => self.released(peer),
            Message::News { left, verdict } => {
                left.into_iter().for_each(|(rank, sequence)| self.has_left(rank, sequence, peer));
                self.elect(now);
                if let Some(verdict) = verdict {
                    self.adopt(verdict, peer);
                }
            }
        }
    }

    fn ended(&mut self, now: Duration, peer: u32) {
        let spoke = self.links.remove(&peer).is_some_and(|link| link.spoke);
        self.answered(now, peer);
        let told = self.farewell.as_mut().filter(|farewell| farewell.told.contains(&peer));
        if let Some(farewell) = told {
            farewell.released.insert(peer);
            self.vanished(now, peer);
        } else if !spoke && (1..self.rank).contains(&peer) {
            // It was dialled to succeed the hub, and its process still stands; but its monitor has left. (Rank 0 is
            // dialled at the start, when nobody has left.)
            self.vanished(now, peer);
        } else {
            let detail = format!("the monitor's link to rank {peer} ended without a leave");
            self.lost(now, peer, Cause::Died, detail);
        }
    }

    // Presence, and the succession of hubs.

    fn has_left(&mut self, rank: u32, sequence: u64, source: u32) {
        let in_world = usize::try_from(rank).is_ok_and(|rank| rank < self.hosts.len());
        if in_world && rank != self.rank && !self.left.contains_key(&rank) {
            self.left.insert(rank, sequence);
            self.fresh.push(((rank, sequence), source));
            self.actions.push_back(Action::Left(rank, sequence));
        }
    }

    /// A peer takes its leave.
    fn parted(&mut self, now: Duration, peer: u32, sequence: u64) {
        self.has_left(peer, sequence, peer);
        self.send(peer, Message::Released);
        self.answered(now, peer);
        if peer < self.rank {
            // A hub hands over: it waits for us to let go. Others let go themselves.
            self.links.remove(&peer);
            self.actions.push_back(Action::Close(peer));
        }
        self.elect(now);
    }

    /// A rank is gone, and that is no failure, or none that is news.
    fn vanished(&mut self, now: Duration, peer: u32) {
        if self.is_present(peer) {
            self.gone.insert(peer);
            self.elect(now);
        }
    }

    fn lost(&mut self, now: Duration, peer: u32, cause: Cause, detail: String) {
        if !self.is_present(peer) {
            return;
        }
        self.gone.insert(peer);
        let sequence = self.calls.started;
        let report = Report { culprit: Some(peer), cause, detail, sequence };
        let first = self.keep(report);
        if !self.elect(now) && first {
            self.deliver(now);
        }
    }

    /// Finds the hub; true if it is another than before.
    fn elect(&mut self, now: Duration) -> bool {
        let lowest = self.others().next().map_or(self.rank, |other| other.min(self.rank));
        if lowest == self.hub {
            return false;
        }
        // A hub that left in order passed on what it knew, and those who know the verdict dial nobody.
        let told = self.verdict.is_some() && self.left.contains_key(&self.hub);
        self.hub = lowest;
        if self.is_hub() {
            self.owes_verdict = !told;
            self.hub_since = now;
            self.links_due = now + self.silence;
            self.deliver(now);
        } else if self.links.contains_key(&lowest) {
            self.greet(lowest);
        } else if self.verdict.is_none() {
            self.actions.push_back(Action::Dial(lowest));
        }
        true
    }

    // Reports and the verdict.

    /// Keeps a report if it is the first; true if so.
    fn keep(&mut self, report: Report) -> bool {
        let first = self.report.is_none() && self.verdict.is_none();
        if first {
            self.actions.push_back(Action::Fail(report.clone()));
            self.report = Some(report);
        }
        first
    }

    fn learn(&mut self, now: Duration, report: Report) {
        if self.keep(report) {
            self.deliver(now);
        }
    }

    /// Brings this rank's report to where it becomes the verdict.
    fn deliver(&mut self, now: Duration) {
        let (None, Some(report)) = (&self.verdict, self.report.clone()) else { return };
        if self.is_hub() {
            self.judge(now, report, self.rank);
        } else if self.links.contains_key(&self.hub) {
            self.send(self.hub, Message::Report(report));
        }
    }

    fn reported(&mut self, now: Duration, peer: u32, report: Report) {
        if self.verdict.is_some() {
            let news = Message::News { left: Vec::new(), verdict: self.verdict.clone() };
            self.send(peer, news);
        } else if self.is_hub() {
            self.judge(now, report, peer);
        } else {
            // The peer knows before us that our hub is gone.
            self.learn(now, report);
        }
    }

    fn judge(&mut self, now: Duration, report: Report, reporter: u32) {
        if report.cause != Cause::Deadline {
            return self.decide(report, reporter);
        }
        if self.inquiry.is_some() {
            return;
        }
        // Who has no link yet is asked when it has one.
        let silent: BTreeSet<u32> = self.others().collect();
        self.tell_all(self.rank, &Message::Query);
        let until = now + QUERY_LIMIT;
        self.inquiry = Some(Inquiry { report, reporter, until, silent });
        self.conclude(now);
    }

    /// A peer said how far it is, or never will.
    fn answered(&mut self, now: Duration, peer: u32) {
        if let Some(inquiry) = &mut self.inquiry {
            inquiry.silent.remove(&peer);
            self.conclude(now);
        }
    }

    /// Ends the inquiry when everyone answered or its time is over.
    fn conclude(&mut self, now: Duration) {
        let over = |inquiry: &Inquiry| inquiry.silent.is_empty() || now >= inquiry.until;
        let Some(inquiry) = self.inquiry.take_if(|inquiry| over(inquiry)) else { return };
        let Inquiry { mut report, reporter, silent, .. } = inquiry;
        let own = (self.rank, self.calls.started);
        let linked = self.links.iter();
        let linked = linked.filter_map(|(peer, link)| Some((*peer, link.calls?.started)));
        let left = self.left.iter().map(|(rank, sequence)| (*rank, *sequence));
        let behind = linked
            .chain(left)
            .chain([own])
            .filter(|(_, started)| *started < report.sequence)
            .min_by_key(|(rank, started)| (*started, !silent.contains(rank), *rank));
        let blamed = behind.map(|(rank, _)| rank).or(silent.first().copied());
        if let Some((rank, started)) = behind {
            let call = report.sequence;
            report.detail +=
                &format!("; rank {rank} has not started call {call}: its last was {started}");
        }
        if let Some(rank) = blamed {
            report.culprit = Some(rank);
            if silent.contains(&rank) {
                report.cause = Cause::Silent;
                report.detail += &format!("; the monitor of rank {rank} does not answer");
            }
        }
        self.decide(report, reporter);
    }

    fn decide(&mut self, report: Report, reporter: u32) {
        let culprit = report.culprit;
        let host = culprit.and_then(|rank| self.hosts.get(usize::try_from(rank).ok()?));
        let host = host.cloned().unwrap_or_default();
        let own = Verdict::provisional(report, reporter, host);
        // The hub heard of a leave before any end of a link that came of it.
        let left = culprit.and_then(|rank| self.left.get(&rank).copied());
        let left_after = left.filter(|last| *last < own.sequence);
        let cause = if left_after.is_some() { Cause::Left } else { own.cause };
        self.adopt(Verdict { cause, left_after, provisional: false, ..own }, self.rank);
    }

    /// Takes over the verdict that `source` has, unless there is one.
    fn adopt(&mut self, verdict: Verdict, source: u32) {
        if self.verdict.is_some() {
            return;
        }
        self.inquiry = None;
        self.verdict = Some(verdict.clone());
        self.actions.push_back(Action::Decide(verdict.clone()));
        self.tell_all(source, &Message::News { left: Vec::new(), verdict: Some(verdict) });
    }

    // Leaving.

    fn leave(&mut self, now: Duration, sequence: u64) {
        self.farewell = Some(Farewell {
            sequence,
            since: now,
            told: BTreeSet::new(),
            released: BTreeSet::new(),
            settled: false,
            done: false,
        });
    }

    fn released(&mut self, peer: u32) {
        let is_hub = peer == self.hub;
        if let Some(farewell) = &mut self.farewell {
            farewell.released.insert(peer);
            farewell.settled |= is_hub;
        }
    }

    /// Goes on with this rank's leave, if it leaves.
    fn say_farewell(&mut self, now: Duration) {
        let Some(farewell) = self.farewell.as_ref().filter(|farewell| !farewell.done) else {
            return;
        };
        let late = now >= farewell.since + LEAVE_LIMIT;
        let in_grace = self.is_hub() && now < farewell.since.max(self.hub_since) + GRACE;
        let all_released = self.others().all(|rank| farewell.released.contains(&rank));
        // After a failure nobody needs a hub, but those whose links are on their way may still need the verdict.
        let awaited = self.is_hub() && self.owes_verdict && self.missing().next().is_some();
        let failed = self.verdict.is_some() && !awaited;
        let done = late || farewell.settled || all_released || failed;
        if in_grace && !done {
            return;
        }
        let Some(farewell) = &mut self.farewell else { return };
        farewell.done = done;
        let untold: Vec<u32> =
            self.links.keys().copied().filter(|peer| farewell.told.insert(*peer)).collect();
        let leave = Message::Leave { sequence: farewell.sequence };
        untold.into_iter().for_each(|peer| self.send(peer, leave.clone()));
        if done {
            self.actions.push_back(Action::Done);
        }
    }

    /// Tells everyone who left since the last time, in one message each.
    fn pass_on(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        for peer in self.links.keys().copied().filter(|_| !fresh.is_empty()) {
            let news = fresh.iter().filter(|((rank, _), source)| *source != peer && *rank != peer);
            let left: Vec<(u32, u64)> = news.map(|(entry, _)| *entry).collect();
            if !left.is_empty() && self.is_present(peer) {
                self.actions.push_back(Action::Send(peer, Message::News { left, verdict: None }));
            }
        }
    }

    // Time.

    fn tick(&mut self, now: Duration) {
        if now.saturating_sub(self.last_tick) > self.silence / 2 {
            // This rank was held up: what the others sent meanwhile may not have come to it yet.
            self.links.values_mut().for_each(|link| link.heard = now);
            self.links_due = self.links_due.max(now + self.silence);
        }
        self.last_tick = now;
        if now >= self.last_beat + self.heartbeat {
            self.last_beat = now;
            self.tell_all(self.rank, &Message::Beat(self.calls));
        }
        self.find_silent(now);
        self.conclude(now);
    }

    fn find_silent(&mut self, now: Duration) {
        let heard_of = |link: &Link| now.saturating_sub(link.heard);
        let silent: Vec<(u32, String)> = (self.links.iter())
            .filter(|(_, link)| heard_of(link) >= self.silence)
            .map(|(peer, link)| {
                (*peer, format!("no sign of life from rank {peer} for {:.1?}", heard_of(link)))
            })
            .collect();
        let missing: Vec<(u32, String)> = (self.missing())
            .filter(|_| self.is_hub() && now >= self.links_due)
            .map(|peer| (peer, format!("the monitor of rank {peer} made no link in time")))
            .collect();
        for (peer, detail) in silent.into_iter().chain(missing) {
            self.lost(now, peer, Cause::Silent, detail);
        }
    }
}

#[cfg(test)]
mod tests;
