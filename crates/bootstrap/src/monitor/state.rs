//! Owns a monitor's decisions as a pure state machine: events and time in, actions out, nothing else.
//!
//! 1. The *hub* is the lowest rank that has neither left nor gone. Every other rank has a link to it, which it
//!    dialled; so links are only ever dialled from higher to lower ranks.
//! 2. A rank keeps the first report that it learns, and tells the hub. The hub makes the first report it learns its
//!    *proposal*, and tells everyone; when all have said that they know it, it *seals* it. Only what is sealed is a
//!    verdict. So when a hub dies amid this, either nobody had the verdict, or the next hub knows it as a proposal and
//!    proposes the same: whatever dies when, those who live have one, and not only its culprit but its every word. The
//!    one exception: a hub that waited [`SEAL_LIMIT`] in vain for a rank that lives seals without it, and where that
//!    hub then dies before it has told that rank, and the rank succeeds it, the rank may find another.
//! 3. A link that ends without an orderly leave is a death where nobody listens any more at its other end; else it is
//!    made anew ([`link`]), and only where that fails counts as cut. A link that is silent for too long, or was never
//!    made, is a silence. A rank that was itself held up for long blames nobody: it listens anew first.
//!    A link over which no heartbeat comes is dialled anew beside it, once: another way may lead there.
//! 4. Who leaves says so to all it has links with and goes when they have answered, or after [`LEAVE_LIMIT`].
//!    A hub first gives the others [`GRACE`] to leave, too, and has those wait who leave before: usually all end at
//!    once, and then nobody succeeds it, and calls that differ, which nobody has noticed, are found while all are still
//!    there to be told ([`leave`]). A rank of a process that has begun to leave gets [`GRACE_HERE`]: the thread that is
//!    to have it leave may be the very one that waits.
//!    Who has a verdict goes at once, unless it is a hub that alone may know it: then those who have yet to make
//!    their links are waited for.
//!    A rank whose program has left while it works on for others of its node has *retired*: its last call is known, so
//!    nobody waits for another; in all else it is as present as before, until it leaves.
//! 5. When the hub has left or gone, all dial the next. Whoever cannot be reached then has left unseen if the hub left
//!    in order, and so is no failure; had it died, those who exchange data with it would know.
//! 6. Each rank runs the clocks of its own call and asks the hub when one is over, for the hub knows how far the others
//!    are. Before the hub blames anyone for a late or different call it has everyone state where it stands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::clock::{Clock, Pace, Patience};
use super::judge::Matter;
use super::ledger::Calls;
use super::message::{Cause, Message, Report, Verdict};
use super::signature::Signature;
use super::statement::{Statement, Wait};
use exit::Exits;
pub(super) use link::Unreached;
use link::{Accusation, Doubt};

/// How long a leaving rank waits for those it tells.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// How long a leaving hub waits for the others to leave before it hands over, and has those wait who leave before it;
/// and how long for those whose process has begun to leave: one thread may have its ranks do so one after the other.
pub(super) const GRACE: Duration = Duration::from_millis(200);
pub(super) const GRACE_HERE: Duration = Duration::from_millis(2);
/// How long the hub waits to hear how far everyone is: monitors sleep in `poll`, so a living one answers within
/// milliseconds even on a busy host; and a caller waits two seconds for the verdict.
pub(super) const QUERY_LIMIT: Duration = Duration::from_millis(500);
/// How long after its answer a rank that was about to make a call is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// How long the hub waits for all to know its proposal before it seals it all the same.
pub(super) const SEAL_LIMIT: Duration = Duration::from_millis(500);
/// How long calls that a verdict leaves alone may go on before they are ended, too.
pub(super) const SPARE_LIMIT: Duration = Duration::from_secs(1);
/// How long after a rank became the hub it looks whether those without a link still live, and how often.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// A monitor looks at its application no more often than this, however short its patience.
const SHORTEST_LOOK: Duration = Duration::from_millis(5);

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
    Unreachable { peer: u32, why: Unreached },
    /// Nobody listens any more where this peer did.
    Dead(u32),
    /// The process of this rank, which is of this host, has ended, whoever still holds its sockets.
    Exited(u32),
    /// What this rank's own application says, when asked.
    Testified(Testimony),
    /// What ails this rank's own NIC, if anything does: for the rank that asks whether it lives.
    Examined(u32, Option<String>),
    /// This rank's own application failed.
    Reported(Report),
    /// This rank's program leaves, after this call; the rank works on for others.
    Retiring(u64),
    /// This rank leaves; its last call had this sequence number, and these are the last by number and tag.
    Leaving(u64, Tags),
    /// The last calls of this rank's own application, when asked.
    Recalled(Tags),
    /// Time passed. It comes after all that the peers have sent until now.
    Tick,
}

/// What a monitor is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Send(u32, Message),
    Dial(u32),
    /// Dial this one too, to tell it something; where it is not reached, nothing follows from that.
    Alert(u32),
    /// Flush and end the link to this peer.
    Close(u32),
    /// This is the first report that this rank learnt.
    Fail(Report),
    /// This will most likely be the verdict.
    Propose(Verdict),
    Decide(Verdict),
    /// The verdict ends all calls from now on, those that it left alone, too.
    SpareNone,
    /// Look up the last calls of this rank's application: [`Event::Recalled`].
    Recall,
    /// Have the application state where it stands: [`Event::Testified`].
    Testify,
    /// Find out what ails this rank's NIC, for this rank: [`Event::Examined`].
    Examine(u32),
    /// Find out whether these, who have no link, still live: [`Event::Dead`], if the action is done at all.
    Probe(Vec<u32>),
    /// Tell people that the call has waited so long for these ranks, whose last calls are given.
    Warn {
        sequence: u64,
        waited: Duration,
        late: Vec<(u32, u64)>,
    },
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
    /// Until when it, replacing one that ended, was to be made.
    mended: Option<Duration>,
    /// Whether another was dialled, because nothing came over this one.
    doubled: bool,
    /// None until it said so.
    calls: Option<Calls>,
}

/// Calls by number, each with its tag.
pub(super) type Tags = Vec<(u64, u32)>;

/// What an application says when asked where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Testimony {
    pub recent: Vec<Signature>,
    pub messages: Vec<Signature>,
    /// Whether the application itself says so.
    pub testified: bool,
    pub waits: Vec<Wait>,
    pub more_waits: u64,
}

/// A matter that the hub inquires into.
struct Inquiry {
    matter: Matter,
    /// Who brought it, and how far that rank's application was then.
    by: u32,
    until: Duration,
    /// When those who were about to make the call in question are asked again.
    again: Option<Duration>,
    /// Those who have yet to answer, this rank itself among them.
    awaited: BTreeSet<u32>,
    statements: BTreeMap<u32, Statement>,
}

/// What a rank holds to be the verdict.
struct Held {
    verdict: Verdict,
    /// The hub that proposed it; later hubs have higher ranks.
    ballot: u32,
    sealed: bool,
    /// When it ends the calls that it left alone at first.
    spares_until: Option<Duration>,
}

/// The hub's wait for all to know its proposal.
struct Sealing {
    awaited: BTreeSet<u32>,
    until: Duration,
}

/// A rank that has left.
struct Parting {
    since: Duration,
    /// Whether it waits for this hub to let it go.
    waits: bool,
    /// Those of its last calls that this rank has yet to make, for comparison.
    calls: Tags,
    is_compared: bool,
}

/// This rank's own leave.
struct Farewell {
    sequence: u64,
    calls: Tags,
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
    /// By rank, the process that it is in, by any number.
    processes: Vec<u32>,
    heartbeat: Duration,
    silence: Duration,
    links: BTreeMap<u32, Link>,
    left: BTreeMap<u32, u64>,
    /// Those whose programs have left, this rank among them, with their last calls.
    retired: BTreeMap<u32, u64>,
    gone: BTreeSet<u32>,
    hub: u32,
    hub_since: Duration,
    /// Whether this rank, being the hub, may be the only one from whom a rank without a link can learn the verdict.
    owes_verdict: bool,
    /// When this rank, being the hub, takes those for silent that made no link.
    links_due: Duration,
    /// Links that ended, until they are made anew or given up.
    doubts: BTreeMap<u32, Doubt>,
    accusation: Option<Accusation>,
    /// Ranks whose processes have ended, until that is a death or they are known to have left.
    exits: Exits,
    clock: Clock,
    look_every: Duration,
    last_beat: Duration,
    last_tick: Duration,
    last_probe: Duration,
    /// The first report that this rank learnt, and who saw what it says.
    report: Option<(Report, u32)>,
    held: Option<Held>,
    sealing: Option<Sealing>,
    inquiry: Option<Inquiry>,
    /// Peers that wait for this rank's statement.
    askers: BTreeSet<u32>,
    farewell: Option<Farewell>,
    partings: BTreeMap<u32, Parting>,
    /// Processes of which a rank has left.
    begun: BTreeSet<u32>,
    /// Who left, and who said so, not yet passed on.
    fresh: Vec<((u32, u64), u32)>,
    /// The same of those who retired.
    fresh_retired: Vec<((u32, u64), u32)>,
    actions: VecDeque<Action>,
}

/// How closely a rank watches, and how patient it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub heartbeat: Duration,
    pub silence: Duration,
    /// By when the others are to have made their links.
    pub links_due: Duration,
    pub patience: Patience,
}

impl State {
    /// The monitor of `rank` in a world of `hosts.len()` ranks in these `processes`, at time 0.
    pub(super) fn new(rank: u32, hosts: Vec<String>, processes: Vec<u32>, times: Times) -> State {
        let Times { heartbeat, silence, links_due, patience } = times;
        State {
            rank,
            hosts,
            processes,
            heartbeat,
            silence,
            links: BTreeMap::new(),
            left: BTreeMap::new(),
            retired: BTreeMap::new(),
            gone: BTreeSet::new(),
            hub: 0,
            hub_since: Duration::ZERO,
            owes_verdict: true,
            links_due: links_due.max(silence),
            doubts: BTreeMap::new(),
            accusation: None,
            exits: Exits::default(),
            clock: Clock::new(patience),
            look_every: patience.look_every().max(SHORTEST_LOOK),
            last_beat: Duration::ZERO,
            last_tick: Duration::ZERO,
            last_probe: Duration::ZERO,
            report: None,
            held: None,
            sealing: None,
            inquiry: None,
            askers: BTreeSet::new(),
            farewell: None,
            partings: BTreeMap::new(),
            begun: BTreeSet::new(),
            fresh: Vec::new(),
            fresh_retired: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    /// Notes how far this rank's application is: before each batch of events.
    pub(super) fn note_pace(&mut self, now: Duration, pace: Pace) {
        self.clock.note(now, pace);
    }

    /// Takes in an event. Time never runs backwards.
    pub(super) fn handle(&mut self, now: Duration, event: Event) {
        match event {
            Event::Linked(peer) => self.linked(now, peer),
            Event::Heard(peer, message) => self.heard(now, peer, message),
            Event::Ended(peer) => self.ended(now, peer),
            Event::Unreachable { peer, why } => self.unreachable(now, peer, why),
            Event::Dead(peer) => self.found_dead(now, peer),
            Event::Exited(rank) => self.saw_exit(now, rank),
            Event::Testified(testimony) => self.testified(now, testimony),
            Event::Examined(asker, ailment) if asker == self.rank => {
                self.acquit(now, asker, ailment)
            }
            Event::Examined(asker, ailment) => self.send(asker, Message::Here { ailment }),
            Event::Reported(report) => self.learn(now, report, self.rank),
            Event::Retiring(sequence) => self.has_retired(self.rank, sequence, self.rank),
            Event::Leaving(sequence, calls) => self.leave(now, sequence, calls),
            Event::Recalled(calls) => self.recalled(now, &calls),
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
        let missing = self.is_hub() && self.missing().next().is_some();
        let links = missing.then(|| self.links_due.min(self.last_probe + PROBE_EVERY));
        let inquiry = self.inquiry.as_ref();
        let inquiry = inquiry.map(|i| i.again.map_or(i.until, |again| again.min(i.until)));
        let sealing = self.sealing.as_ref().map(|sealing| sealing.until);
        let spared = self.held.as_ref().and_then(|held| held.spares_until);
        let clock = self.clock.next().filter(|_| self.held.is_none());
        let due = silent.chain(links).chain(inquiry).chain(sealing).chain(spared).chain(clock);
        let due = due.chain(self.next_of_links()).chain(self.exits.next());
        let regular = (self.last_beat + self.heartbeat).min(self.last_tick + self.look_every);
        due.chain(self.next_of_leave()).fold(regular, Duration::min)
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

    /// Those of them who have made no link yet.
    fn missing(&self) -> impl Iterator<Item = u32> {
        let has_none =
            |rank: &u32| !self.links.contains_key(rank) && !self.doubts.contains_key(rank);
        self.others().filter(has_none)
    }

    fn send(&mut self, to: u32, message: Message) {
        self.actions.push_back(Action::Send(to, message));
    }

    /// Sends to all peers but `source`, from whom this rank has it.
    fn tell_all(&mut self, source: u32, message: &Message) {
        let peers = self.links.keys().filter(|peer| **peer != source);
        self.actions.extend(peers.map(|peer| Action::Send(*peer, message.clone())));
    }

    // Messages.

    fn greet(&mut self, peer: u32) {
        let calls = self.clock.calls();
        self.send(peer, Message::Beat(calls));
        let verdict = self.sealed().map(|verdict| Box::new(verdict.clone()));
        if !self.left.is_empty() || !self.retired.is_empty() || verdict.is_some() {
            let [left, retired] = [&self.left, &self.retired]
                .map(|all| all.iter().map(|(rank, sequence)| (*rank, *sequence)).collect());
            self.send(peer, Message::News { left, retired, verdict });
        }
        match (&self.held, &self.report) {
            (Some(held), _) if !held.sealed && (self.is_hub() || peer == self.hub) => {
                let (ballot, verdict) = (held.ballot, Box::new(held.verdict.clone()));
                self.send(peer, Message::Proposal { ballot, verdict });
            }
            (None, Some((report, by))) if peer == self.hub => {
                let (report, by) = (report.clone(), *by);
                self.send(peer, Message::Report { report, by, calls });
            }
            _ => {}
        }
    }

    fn heard(&mut self, now: Duration, peer: u32, message: Message) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.heard = now;
        link.spoke = true;
        match message {
            Message::Beat(calls) => link.calls = Some(calls),
            Message::Query => {
                self.askers.insert(peer);
                self.actions.push_back(Action::Testify);
            }
            Message::Answer(statement) => {
                link.calls = Some(statement.calls());
                self.answered(now, peer, Some(*statement));
            }
            Message::Report { report, by, calls } => {
                link.calls = Some(calls);
                self.reported(now, peer, report, by);
            }
            Message::Ask => self.actions.push_back(Action::Examine(peer)),
            Message::Here { ailment } => self.acquit(now, peer, ailment),
            Message::Exited(rank) => self.exited(now, rank),
            Message::Suspect(suspicion) => self.suspected(now, peer, suspicion),
            Message::Patience { sequence, late } => self.be_patient(now, sequence, late),
            Message::Proposal { ballot, verdict } => self.proposed(now, peer, ballot, *verdict),
            Message::Accepted { ballot } => self.accepted(now, peer, ballot),
            Message::Leave { sequence, calls } => self.parted(now, peer, sequence, calls),
            Message::Released => self.released(peer),
            Message::News { left, retired, verdict } => {
                let others = |(rank, _): &(u32, u64)| *rank != self.rank;
                let retired: Vec<(u32, u64)> = retired.into_iter().filter(others).collect();
                for (rank, sequence) in retired {
                    self.has_retired(rank, sequence, peer);
                }
                left.into_iter().for_each(|(rank, sequence)| self.has_left(rank, sequence, peer));
                self.elect(now);
                if let Some(verdict) = verdict {
                    self.adopt(now, *verdict, peer);
                }
            }
        }
    }

    // Presence, and the succession of hubs.

    fn is_in_world(&self, rank: u32) -> bool {
        usize::try_from(rank).is_ok_and(|rank| rank < self.hosts.len())
    }

    fn has_left(&mut self, rank: u32, sequence: u64, source: u32) {
        if self.is_in_world(rank) && rank != self.rank && !self.left.contains_key(&rank) {
            self.left.insert(rank, sequence);
            self.begins_to_leave(rank);
            self.fresh.push(((rank, sequence), source));
            self.actions.push_back(Action::Left(rank, sequence));
        }
    }

    /// A rank is gone, and that is no failure, or none that is news.
    fn vanished(&mut self, now: Duration, peer: u32) {
        if self.is_present(peer) {
            self.gone.insert(peer);
            self.elect(now);
        }
    }

    /// Finds the hub; true if it is another than before.
    fn elect(&mut self, now: Duration) -> bool {
        let lowest = self.others().next().map_or(self.rank, |other| other.min(self.rank));
        if lowest == self.hub {
            return false;
        }
        // A hub that left in order passed on what it knew, and those who know the verdict dial nobody.
        let told = self.sealed().is_some() && self.left.contains_key(&self.hub);
        self.hub = lowest;
        if self.is_hub() {
            self.owes_verdict = !told;
            self.hub_since = now;
            self.last_probe = now;
            self.links_due = now + self.silence;
            self.deliver(now);
        } else if self.links.contains_key(&lowest) {
            self.greet(lowest);
        } else if self.sealed().is_none() && !self.doubts.contains_key(&lowest) {
            self.actions.push_back(Action::Dial(lowest));
        }
        true
    }

    // Time.

    fn tick(&mut self, now: Duration) {
        if now.saturating_sub(self.last_tick) > self.silence / 2 {
            // This rank was held up: what the others sent meanwhile may not have come to it yet.
            self.links.values_mut().for_each(|link| link.heard = now);
            self.links_due = self.links_due.max(now + self.silence);
            self.forgive_doubts(now);
            self.clock.forgive(now);
        }
        self.last_tick = now;
        if now >= self.last_beat + self.heartbeat {
            self.last_beat = now;
            let beat = Message::Beat(self.clock.calls());
            self.tell_all(self.rank, &beat);
        }
        self.find_silent(now);
        self.find_dead(now);
        self.look_at_exits(now);
        self.mend_links(now);
        self.double_links(now);
        self.believe(now);
        self.look_at_the_clock(now);
        self.ask_again(now);
        self.look_at_partings(now);
        self.conclude(now);
        self.try_seal(now);
        self.spare_no_longer(now);
    }

    /// Has those looked for who should have made a link to this hub: it may wait for them before it seals or leaves.
    fn find_dead(&mut self, now: Duration) {
        let due = self.is_hub() && now >= self.last_probe + PROBE_EVERY;
        let missing: Vec<u32> = self.missing().filter(|_| due).collect();
        if !missing.is_empty() {
            self.last_probe = now;
            self.actions.push_back(Action::Probe(missing));
        }
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

mod exit;
mod leave;
mod link;
mod verdict;

#[cfg(test)]
mod tests;
