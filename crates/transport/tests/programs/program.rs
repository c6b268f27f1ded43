//! Owns programs of messages: what each connection is to carry, and how it is played in any order.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crosstie_testkit::random::Random;
use crosstie_testkit::world::{Incoming, Outgoing, Path, message};
use crosstie_transport::TransportError;
use crosstie_transport::seam::{Counters, Expect};
use crosstie_transport::tcp::Held;

use super::cluster::Cluster;

/// No program takes so long; one that does hangs.
const HANG: Duration = Duration::from_secs(10);
/// Steps between two looks at whether all is done.
const STRIDE: u32 = 32;

/// One message, as it was drawn: what does not fit the cluster is made to.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    pub src: u32,
    pub dst: u32,
    pub channel: u16,
    pub past: bool,
    pub len: usize,
    /// How much longer than the message its receive is.
    pub slack: usize,
    pub placed: bool,
    /// Its receive is posted only when nothing else is left to do.
    pub withheld: bool,
    /// The call that it belongs to, and what its sender says of the others.
    pub call: u32,
    pub expect: Expect,
}

/// One message of a connection.
#[derive(Debug, Clone, Copy)]
struct Step {
    number: u64,
    len: usize,
    slack: usize,
    placed: bool,
    withheld: bool,
    call: u32,
    expect: Expect,
}

/// Why a connection goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    pub peer: u32,
}

/// What came of one side of a connection: `None` while it has something to do.
pub type Outcome = Option<Result<(), Gone>>;

/// One connection and what it has to do.
pub struct Lane {
    pub path: Path,
    steps: Vec<Step>,
    to_send: VecDeque<Step>,
    to_receive: VecDeque<Step>,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
    send_gone: Option<Gone>,
    receive_gone: Option<Gone>,
    /// What has arrived: the bytes and their call's tag.
    pub received: Vec<(Vec<u8>, u32)>,
}

/// What may be done at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Receives that are withheld are posted.
    pub withheld: bool,
    /// This rank does nothing at all.
    pub stopped: Option<u32>,
}

impl Allowed {
    pub const ALL: Self = Self { withheld: true, stopped: None };
}

impl Lane {
    /// What the sender's side has come to.
    pub fn sending(&self) -> Outcome {
        match self.send_gone {
            Some(gone) => Some(Err(gone)),
            None => self.to_send.is_empty().then_some(Ok(())),
        }
    }

    pub fn receiving(&self) -> Outcome {
        match self.receive_gone {
            Some(gone) => Some(Err(gone)),
            None => self.to_receive.is_empty().then_some(Ok(())),
        }
    }

    /// Whether it has come as far as it must, when withheld receives are not posted: everything before the
    /// first of them has arrived, and its sender has its memory back for `slots` messages more.
    fn has_come_to(&self, withheld: bool, slots: u32) -> bool {
        let first = self.steps.iter().position(|step| step.withheld && !withheld);
        let receivable = first.unwrap_or(self.steps.len());
        let sendable = (receivable + slots as usize).min(self.steps.len());
        self.received.len() >= receivable
            && self.steps.len() - self.to_send.len() >= sendable.max(receivable)
    }

    fn send(&mut self, cluster: &mut Cluster) {
        let Some(&step) = self.to_send.front().filter(|_| self.send_gone.is_none()) else { return };
        let next = self.outgoing.take();
        let mut next = next.unwrap_or_else(|| {
            let bytes = message(self.path, step.number, step.len);
            on!(cluster, self.path, |world| world.outgoing(self.path, &bytes))
        });
        let result = on!(cluster, self.path, |world| {
            let end = world.end(self.path.src);
            end.begin_call(step.call);
            end.expect(step.expect);
            next.step(world)
        });
        match result {
            Ok(true) => drop(self.to_send.pop_front()),
            Ok(false) => self.outgoing = Some(next),
            Err(error) => self.send_gone = Some(gone(&error)),
        }
    }

    fn receive(&mut self, cluster: &mut Cluster, withheld: bool) {
        let open = |step: &&Step| self.receive_gone.is_none() && (withheld || !step.withheld);
        let Some(&step) = self.to_receive.front().filter(open) else { return };
        let next = self.incoming.take();
        let mut next = next.unwrap_or_else(|| {
            let limit = step.len + step.slack;
            on!(cluster, self.path, |world| world.incoming(self.path, limit, step.placed))
        });
        match on!(cluster, self.path, |world| next.step(world)) {
            Ok(Some(got)) => {
                let tag = next.tag.expect("a message that is there has a tag");
                self.received.push((got, tag));
                self.to_receive.pop_front();
            }
            Ok(None) => self.incoming = Some(next),
            Err(error) => self.receive_gone = Some(gone(&error)),
        }
    }

    /// The first message that is not what was sent.
    fn wrong(&self) -> Option<u64> {
        let is_wrong = |(got, step): &(&(Vec<u8>, u32), &Step)| {
            got.0 != message(self.path, step.number, step.len) || got.1 != step.call
        };
        self.received.iter().zip(&self.steps).find(is_wrong).map(|(_, step)| step.number)
    }
}

fn gone(error: &TransportError) -> Gone {
    match *error {
        TransportError::PeerGone { peer, .. } => Gone { peer },
        ref other => panic!("{other} instead of a peer that is gone"),
    }
}

/// A program at work in its cluster.
pub struct Play {
    pub cluster: Cluster,
    pub lanes: Vec<Lane>,
    random: Random,
}

impl Play {
    pub fn new(cluster: Cluster, draws: &[Draw], seed: u64) -> Self {
        let mut lanes: BTreeMap<(u32, u32, u16), Lane> = BTreeMap::new();
        let most = cluster.shape.limits.slot_bytes;
        for draw in draws {
            let Some(path) = path(&cluster, draw) else { continue };
            let lane =
                lanes.entry((path.src, path.dst, path.channel)).or_insert_with(|| Lane::new(path));
            let len = draw.len.min(most);
            let Draw { placed, withheld, call, expect, .. } = *draw;
            let (number, slack) = (lane.steps.len() as u64, draw.slack.min(most - len));
            lane.steps.push(Step { number, len, slack, placed, withheld, call, expect });
        }
        let mut lanes: Vec<Lane> = lanes.into_values().collect();
        lanes.iter_mut().for_each(Lane::begin);
        Self { cluster, lanes, random: Random::new(seed) }
    }

    /// One thing that somebody does.
    fn step(&mut self, allowed: Allowed) {
        let rank = self.random.below(u64::from(self.cluster.shape.ranks())) as u32;
        if allowed.stopped != Some(rank) {
            self.cluster.progress(rank);
        }
        let lane = self.random.below(self.lanes.len() as u64) as usize;
        let sends = self.random.chance(50);
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let rank = if sends { lane.path.src } else { lane.path.dst };
        if allowed.stopped == Some(rank) || !self.cluster.between.is_alive(rank) {
            return;
        }
        match sends {
            true => lane.send(&mut self.cluster),
            false => lane.receive(&mut self.cluster, allowed.withheld),
        }
    }

    pub fn steps(&mut self, allowed: Allowed, count: u32) {
        (0..count).for_each(|_| self.step(allowed));
    }

    /// Steps until `done`.
    pub fn until(&mut self, what: &str, allowed: Allowed, done: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            if started.elapsed() > HANG {
                panic!("hangs: {what}\n{}", self.state());
            }
            self.steps(allowed, STRIDE);
        }
    }

    /// Plays everything that must happen though `allowed` says that something may not.
    pub fn play(&mut self, what: &str, allowed: Allowed) {
        let slots = self.cluster.shape.limits.slots;
        let concerns = |play: &Self, lane: &Lane| {
            let Path { src, dst, .. } = lane.path;
            let ranks = [src, dst, play.cluster.carrier(lane.path)];
            ranks.into_iter().any(|rank| allowed.stopped == Some(rank))
        };
        self.until(what, allowed, |play| {
            let mut lanes = play.lanes.iter().filter(|lane| !concerns(play, lane));
            lanes.all(|lane| lane.has_come_to(allowed.withheld, slots))
        });
    }

    /// Whatever has arrived is what was sent, in order.
    pub fn check(&self) {
        for lane in &self.lanes {
            assert_eq!(lane.wrong(), None, "a wrong message on {:?}", lane.path);
        }
    }

    /// What all living endpoints hold.
    pub fn held(&mut self) -> Vec<(u32, Held)> {
        let between = &mut self.cluster.between;
        let ranks = (0..self.cluster.shape.ranks()).filter(|&rank| between.is_alive(rank));
        let ranks: Vec<u32> = ranks.collect();
        ranks.into_iter().map(|rank| (rank, between.end(rank).held())).collect()
    }

    /// Moves bytes until what the endpoints hold is what it `may` be.
    pub fn settle(&mut self, what: &str, may: impl Fn(u32, &Held) -> bool) {
        let started = Instant::now();
        loop {
            let held = self.held();
            if held.iter().all(|(rank, held)| may(*rank, held)) {
                return;
            }
            assert!(started.elapsed() < HANG, "never comes to rest: {what}: {held:?}");
            (0..self.cluster.shape.ranks()).for_each(|rank| self.cluster.progress(rank));
        }
    }

    /// Every connection takes as many messages as it has slots, though nobody receives, and gives them.
    pub fn fill_and_empty(&mut self, len: usize) {
        let slots = self.cluster.shape.limits.slots;
        let len = len.min(self.cluster.shape.limits.slot_bytes);
        for lane in &mut self.lanes {
            lane.steps.clear();
            lane.received.clear();
            let step = |number| Step {
                number: u64::from(number) + 1000,
                len,
                slack: 0,
                placed: false,
                withheld: true,
                call: 9,
                expect: Expect::Nothing,
            };
            lane.steps.extend((0..slots).map(step));
            lane.begin();
        }
        let withheld = Allowed { withheld: false, stopped: None };
        self.play("filling every connection", withheld);
        self.play("emptying every connection", Allowed::ALL);
        self.check();
    }

    /// Messages, their bytes, and how many of each go by way of a relay, of all connections between nodes.
    pub fn sums(&self) -> [u64; 4] {
        let mut sums = [0; 4];
        for lane in self.lanes.iter().filter(|lane| !self.cluster.is_inside(lane.path)) {
            let relayed = u64::from(self.cluster.carrier(lane.path) != lane.path.src);
            let (messages, bytes) = (
                lane.steps.len() as u64,
                lane.steps.iter().map(|step| step.len as u64).sum::<u64>(),
            );
            let own = [messages, bytes, relayed * messages, relayed * bytes];
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
        sums
    }

    pub fn counters(&mut self) -> Vec<Counters> {
        let ranks = 0..self.cluster.shape.ranks();
        ranks.map(|rank| self.cluster.between.end(rank).counters()).collect()
    }

    fn state(&mut self) -> String {
        let unfinished = |lane: &&Lane| lane.sending().is_none() || lane.receiving().is_none();
        let left = |lane: &Lane| {
            let (send, receive) = (lane.to_send.front(), lane.to_receive.front());
            format!("{:?}: to send {send:?}, to receive {receive:?}\n", lane.path)
        };
        let lanes: String = self.lanes.iter().filter(unfinished).map(left).collect();
        format!("{lanes}{:?}", self.held())
    }
}

impl Lane {
    fn new(path: Path) -> Self {
        Self {
            path,
            steps: Vec::new(),
            to_send: VecDeque::new(),
            to_receive: VecDeque::new(),
            outgoing: None,
            incoming: None,
            send_gone: None,
            receive_gone: None,
            received: Vec::new(),
        }
    }

    /// Has all of its steps to do.
    fn begin(&mut self) {
        self.to_send = self.steps.iter().copied().collect();
        self.to_receive = self.to_send.clone();
    }
}

/// Between which ranks of the cluster a message goes; `None` where there is but one.
fn path(cluster: &Cluster, draw: &Draw) -> Option<Path> {
    let ranks = cluster.shape.ranks();
    let others = ranks.checked_sub(1).filter(|&others| others > 0)?;
    let src = draw.src % ranks;
    let dst = (src + 1 + draw.dst % others) % ranks;
    let path = Path { src, dst, channel: draw.channel % cluster.shape.channels };
    Some(Path { channel: cluster.channel(path, draw.past), ..path })
}
