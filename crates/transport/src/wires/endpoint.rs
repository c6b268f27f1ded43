//! Owns [`WireEndpoint`]: a rank's wires, polled together, as the seam wants them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::carried::CarriedEnd;
use super::feeder::Feeder;
use super::frame::MOST_GRANTS;
use super::held::Held;
use super::holding::{Aggregation, Holding};
use super::medium::{Keys, Link, Medium, Watch};
use super::out_end::OutEnd;
use super::receiving::{ReceivingEnd, STAGING_SLOTS, Shape};
use super::sending::SendingEnd;
use super::service::Service;
use super::wire::{Wire, truncated};
use crate::relay::{Back, FeedEnd, RelayEnd, RelayPeer};
use crate::seam::{
    Arrival, Counters, Endpoint, Expect, Grant, Limits, Receiver, SendSpace, Sender, TAG_MASK,
    WireCounters,
};
use crate::{Region, TransportError};

/// Bytes of the longest message that travels without a grant.
pub const EAGER_BYTES: usize = 4096;

/// A rank's end of all its connections over one medium.
pub struct WireEndpoint<M: Medium> {
    rank: u32,
    wires: Vec<Wire<M::Link>>,
    medium: M,
    /// What goes out by way of other ranks of the node.
    feeders: Vec<Feeder>,
    /// What this rank does for them.
    service: Service,
    /// By receiver: the way of the first channel; a second one for those that a relay leads to, past it.
    ways: Vec<((u32, Class), Way)>,
    /// By source: the wire, and the first connection on it; a second one likewise.
    sources: Vec<((u32, Class), usize, usize)>,
    channels: u16,
    limits: Limits,
    /// The tag of the present call, and what else leaves in it.
    tag: u32,
    expect: Expect,
    /// Of wires that place payloads, and of feeders; and of the other wires.
    counters: [Counters; 2],
    idle_rounds: u32,
    /// A wire may have something to write: without it a round looks at none of them.
    stirred: bool,
    /// A message may wait for its grant.
    has_long: bool,
    /// Something may be lent that is not back.
    lends: bool,
    /// Bytes of the boxes of this rank.
    box_bytes: u64,
    has_left: bool,
}

/// Which of the connections between two ranks: those that there always are, or those past a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Usual,
    PastRelay,
}

/// How the messages of this rank reach a receiver.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// On a wire, from a connection on.
    Wire(usize, usize),
    /// By a feeder, in one of its lanes.
    Lane(usize, usize),
}

/// A link that is connected already, and who sends on it.
#[derive(Debug)]
pub struct Joint<L> {
    /// The rank at its other end.
    pub peer: u32,
    /// The link.
    pub link: L,
    /// The ranks of this rank's node whose connections to `peer` go out on it, in order.
    pub outgoing: Vec<u32>,
    /// The ranks of the peer's node whose connections to this rank come in on it, in order.
    pub incoming: Vec<u32>,
}

/// How the ranks of a node share wires; the same on all of them.
#[derive(Debug, Default)]
pub struct Relays {
    /// The boxes between this rank and each other one of its node.
    pub peers: Vec<RelayPeer>,
    /// To whom this rank sends by way of which other rank of its node, and how many ranks send so:
    /// (receiver, relay, ranks that share the wire).
    pub routes: Vec<(u32, u32, u16)>,
    /// How messages that share a wire are put together.
    pub aggregation: Aggregation,
}

impl Relays {
    /// How many boxes this rank empties if it sends for others, and bytes of each.
    pub fn boxes(&self) -> (usize, usize) {
        let bytes = self.peers.first().map_or(0, |peer| peer.own.shape().box_bytes());
        (self.peers.len(), bytes)
    }
}

impl<M: Medium> WireEndpoint<M> {
    /// An endpoint of `rank` over `medium`, with a link for each peer that it has a wire to, and `channels`
    /// connections each way; `limits` and `channels` are the same at both ends.
    ///
    /// # Errors
    /// [`TransportError::System`].
    pub(crate) fn over(
        medium: M,
        rank: u32,
        joints: Vec<Joint<M::Link>>,
        relays: Relays,
        (channels, limits): (u16, Limits),
    ) -> Result<Self, TransportError> {
        let boxes = |peer: &RelayPeer| u64::try_from(peer.own.shape().box_bytes()).unwrap_or(0);
        let mut endpoint = Self {
            rank,
            wires: Vec::with_capacity(joints.len()),
            medium,
            feeders: Vec::new(),
            service: Service::default(),
            ways: Vec::new(),
            sources: Vec::new(),
            channels,
            limits,
            tag: 0,
            expect: Expect::Nothing,
            counters: Default::default(),
            idle_rounds: 0,
            stirred: true,
            has_long: false,
            lends: false,
            box_bytes: relays.peers.iter().map(boxes).sum(),
            has_left: false,
        };
        for joint in &joints {
            let sending = usize::from(joint.outgoing.contains(&rank));
            let bytes = end_memory_of((sending, joint.incoming.len()), channels, limits);
            endpoint.medium.reserve(&joint.link, bytes);
        }
        endpoint.join(joints, relays)?;
        endpoint.ways.sort_by_key(|&(peer, _)| peer);
        endpoint.sources.sort_unstable();
        // Tells peers where payloads go, before anything else.
        endpoint.flush();
        Ok(endpoint)
    }

    /// Makes the ends of all connections.
    fn join(&mut self, joints: Vec<Joint<M::Link>>, relays: Relays) -> Result<(), TransportError> {
        let (rank, routes, aggregation) = (self.rank, relays.routes, relays.aggregation);
        let serves = joints.iter().any(|joint| joint.outgoing.iter().any(|&by| by != rank));
        let mut intakes = Vec::new();
        for RelayPeer { rank: relay, bell, theirs, own } in relays.peers {
            if serves {
                intakes.push((relay, RelayEnd::new(own, Arc::clone(&bell))));
            }
            self.feed(FeedEnd::new(theirs, bell), relay, &routes)?;
        }
        let peers: Vec<u32> = joints.iter().map(|joint| joint.peer).collect();
        let shared = joints.iter().filter(|joint| joint.outgoing.len() > 1).count();
        let holding = Holding::for_wires(aggregation, Back::quota(shared));
        let relayed: BTreeSet<u32> = joints
            .iter()
            .flat_map(|joint| joint.incoming.iter().filter(|&&source| source != joint.peer))
            .copied()
            .collect();
        for joint in joints {
            self.add_wire(joint, &intakes, holding, &relayed)?;
        }
        self.service = Service::new(intakes, &peers);
        Ok(())
    }

    /// Has the connections that `routes` sends by way of `relay` go into its box.
    fn feed(
        &mut self,
        end: FeedEnd,
        relay: u32,
        routes: &[(u32, u32, u16)],
    ) -> Result<(), TransportError> {
        let through = routes.iter().filter(|&&(_, by, _)| by == relay);
        let peers: Vec<_> = through.map(|&(peer, _, sources)| (peer, sources)).collect();
        if peers.is_empty() {
            // It learns that nothing will come.
            end.leave();
            return Ok(());
        }
        let feeder = self.feeders.len();
        let lanes = (0..)
            .zip(&peers)
            .map(|(lane, &(peer, _))| ((peer, Class::Usual), Way::Lane(feeder, lane)));
        self.ways.extend(lanes);
        self.feeders.push(Feeder::new(end, &peers, &self.shapes(0, false))?);
        Ok(())
    }

    /// What the connections of the `place`th rank that sends on a wire look like.
    fn shapes(&self, place: usize, is_placed: bool) -> Vec<Shape> {
        let channels = u32::from(self.channels);
        let first = place as u32 * channels;
        let shape = |conn| Shape { is_placed, ..shape(conn, self.limits) };
        (first..first + channels).map(shape).collect()
    }

    /// What a wire needs to know of memory that is sent from, or received to; `None` where it does not reach it.
    #[inline]
    fn keys_on(&mut self, wire: usize, region: Region) -> Option<Keys> {
        self.medium.keys_of(&mut self.wires[wire].link, region)
    }

    fn add_wire(
        &mut self,
        joint: Joint<M::Link>,
        boxes: &[(u32, RelayEnd)],
        holding: impl FnOnce((usize, Duration)) -> Holding,
        relayed: &BTreeSet<u32>,
    ) -> Result<(), TransportError> {
        let Joint { peer, mut link, outgoing, incoming } = joint;
        let (index, places) = (self.wires.len(), link.places());
        self.medium.add(index, &mut link)?;
        let mut sending = Vec::with_capacity(outgoing.len() * usize::from(self.channels));
        for (place, &source) in outgoing.iter().enumerate() {
            if source == self.rank {
                let class = if self.ways.iter().any(|((to, _), _)| *to == peer) {
                    Class::PastRelay
                } else {
                    Class::Usual
                };
                self.ways.push(((peer, class), Way::Wire(index, sending.len())));
                for shape in self.shapes(place, places) {
                    let memory = &mut |bytes| self.medium.memory(&mut link, bytes);
                    let end = SendingEnd::new(shape, memory)?;
                    sending.push(OutEnd::Own(Box::new(end)));
                }
                continue;
            }
            let (_, end) =
                boxes.iter().find(|(rank, _)| *rank == source).ok_or_else(|| no_box(source))?;
            let keys = self.medium.register(&mut link, || end.lasting())?;
            let carried = |(channel, shape): (u32, Shape)| {
                let end = CarriedEnd::new(shape, (peer, channel), end.back(), keys.local);
                OutEnd::Carried(Box::new(end))
            };
            sending.extend((0..).zip(self.shapes(place, places)).map(carried));
        }
        let receiving = self.receiving_ends((index, &mut link), (peer, &incoming), relayed)?;
        let shared = outgoing.len() > 1;
        let holding = shared.then(|| holding((outgoing.len(), link.likely())));
        self.wires.push(Wire::new(peer, link, (outgoing, sending), receiving, holding));
        Ok(())
    }

    /// The ends of the connections that come `incoming` on wire `index` from `peer`.
    fn receiving_ends(
        &mut self,
        (index, link): (usize, &mut M::Link),
        (peer, incoming): (u32, &[u32]),
        relayed: &BTreeSet<u32>,
    ) -> Result<Vec<ReceivingEnd>, TransportError> {
        let mut receiving = Vec::with_capacity(incoming.len() * usize::from(self.channels));
        for (place, &source) in incoming.iter().enumerate() {
            let past = source == peer && relayed.contains(&source);
            let class = if past { Class::PastRelay } else { Class::Usual };
            self.sources.push(((source, class), index, receiving.len()));
            for shape in self.shapes(place, link.places()) {
                let memory = &mut |bytes| self.medium.memory(link, bytes);
                receiving.push(ReceivingEnd::new(shape, memory)?);
            }
        }
        Ok(receiving)
    }

    /// Bytes that the slots of connections to so many peers may grow to, both ways: standing ones, those
    /// that messages without a place arrive in, and those for messages set aside.
    pub const fn slot_memory_of(peers: usize, channels: u16, limits: Limits) -> u64 {
        let Shape { standing_bytes, standing_slots, slots, slot_bytes, .. } = shape(0, limits);
        let standing = 2 * standing_bytes as u64 * standing_slots as u64;
        let longer = (STAGING_SLOTS as u64 + slots as u64).saturating_mul(slot_bytes as u64);
        (peers as u64 * channels as u64).saturating_mul(standing + longer)
    }

    /// The links of its wires, each with the rank at its other end.
    pub(crate) fn links(&self) -> impl Iterator<Item = (u32, &M::Link)> {
        self.wires.iter().map(|wire| (wire.peer, &wire.link))
    }

    /// For tests, which do not live to see numbers pass their end: before the first message, as if
    /// `passed` had passed on every connection. All ranks need the same.
    #[doc(hidden)]
    pub fn number_from(&mut self, passed: u32) {
        self.wires.iter_mut().for_each(|wire| wire.number_from(passed));
        self.feeders.iter_mut().for_each(|feeder| feeder.number_from(passed));
    }

    /// For tests: what is under way here.
    #[doc(hidden)]
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        self.wires.iter().for_each(|wire| held += wire.held());
        self.feeders.iter().for_each(|feeder| held += feeder.held());
        held
    }

    /// Where the end of a sending connection is. The index is one that `sender` made.
    fn way(&self, sender: Sender) -> (Way, usize) {
        let channels = u32::from(self.channels);
        let (_, way) = self.ways[(sender.0 / channels) as usize];
        (way, (sender.0 % channels) as usize)
    }

    /// The rank that sends, the wire, and the connection on it. The index is one that `receiver` made.
    fn locate(&self, receiver: Receiver) -> (u32, usize, usize) {
        let channels = u32::from(self.channels);
        let ((source, _), wire, first) = self.sources[(receiver.0 / channels) as usize];
        (source, wire, first + (receiver.0 % channels) as usize)
    }

    /// The sending end of a connection that can still be used, and whether it is to be looked at.
    fn sending(&mut self, sender: Sender) -> Result<(&mut SendingEnd, &mut bool), TransportError> {
        let ((way, channel), rank) = (self.way(sender), self.rank);
        match way {
            Way::Wire(wire, first) => {
                let wire = &mut self.wires[wire];
                wire.check_writable()?;
                wire.own(first + channel).ok_or_else(|| no_box(rank))
            }
            Way::Lane(feeder, lane) => {
                let lane = &mut self.feeders[feeder].lanes[lane];
                lane.check()?;
                Ok((&mut lane.sending[channel], &mut lane.dirty))
            }
        }
    }

    /// The rank that a sending connection leads to.
    fn receiver_of(&self, sender: Sender) -> u32 {
        self.ways[(sender.0 / u32::from(self.channels)) as usize].0.0
    }

    /// The index of an end: channels from `self.channels` on are those past a relay.
    fn index(
        &self,
        (peer, channel): (u32, u16),
        place: impl Fn(&(u32, Class)) -> Option<usize>,
    ) -> Option<u32> {
        let class = match channel / self.channels {
            0 => Class::Usual,
            1 => Class::PastRelay,
            _ => return None,
        };
        let channels = u32::from(self.channels);
        place(&(peer, class)).map(|place| place as u32 * channels + u32::from(channel) % channels)
    }

    /// Reads from every wire that has something, and notes which can be written again: whether any was told of, and
    /// whether that changed anything.
    fn read_ready(&mut self) -> Result<(bool, bool), TransportError> {
        let Self { wires, medium, stirred, .. } = self;
        let (mut any, mut moved) = (false, false);
        medium.poll(|index, event| {
            if let Some(wire) = wires.get_mut(index) {
                any = true;
                moved |= wire.take_note(event);
                *stirred |= wire.dirty;
            }
        })?;
        Ok((any, moved))
    }

    #[inline]
    fn flush(&mut self) -> bool {
        let is_idle = |wire: &Wire<_>| !wire.dirty || wire.blocked;
        debug_assert!(self.stirred || self.wires.iter().all(is_idle), "a wire is forgotten");
        self.stirred && self.flush_stirred()
    }

    fn flush_stirred(&mut self) -> bool {
        let mut moved = false;
        self.stirred = false;
        for wire in &mut self.wires {
            if wire.dirty && !wire.blocked {
                let counters = &mut self.counters[usize::from(!wire.places())];
                moved |= wire.flush(self.expect, counters);
                self.stirred |= wire.dirty && !wire.blocked;
            }
        }
        moved
    }

    /// Those by medium, with what its wires have counted themselves.
    fn all_counters(&self) -> [Counters; 2] {
        let mut counters = self.counters;
        for wire in &self.wires {
            counters[usize::from(!wire.places())].repeats += wire.repeats();
        }
        counters
    }

    /// Exchanges with the relays that this rank sends by, and takes in what is to be sent for others.
    #[inline]
    fn relay(&mut self) -> bool {
        let mut moved = false;
        for feeder in &mut self.feeders {
            moved |= feeder.progress(self.expect, &mut self.counters[0]);
        }
        if self.service.exists() && self.service.take_in(&mut self.wires) {
            (self.stirred, moved) = (true, true);
        }
        moved
    }

    /// With nothing else to do, copies one message that has no grant out of its sender's way.
    fn set_one_aside(&mut self, now: Instant) -> bool {
        self.wires.iter_mut().any(|wire| wire.is_late() && wire.set_aside(now))
            || self.feeders.iter_mut().any(|feeder| feeder.set_aside(now))
    }

    /// Has receivers told of messages that have waited long.
    fn remind(&mut self, now: Instant) -> bool {
        let due = self.wires.iter_mut().fold(false, |due, wire| due | wire.remind(now));
        self.stirred |= due;
        self.feeders.iter_mut().fold(due, |due, feeder| due | feeder.remind(now))
    }

    /// With nothing else to do, sees to messages that wait for their grants; whether that changed anything.
    fn see_to_the_late(&mut self) -> bool {
        let lacks = |feeder: &Feeder| feeder.lacks_grant();
        if !self.wires.iter().any(Wire::lacks_grant) && !self.feeders.iter().any(lacks) {
            // Behind others it may come to lack one.
            self.has_long =
                self.wires.iter().any(Wire::has_long) || self.feeders.iter().any(Feeder::has_long);
            return false;
        }
        let now = Instant::now();
        self.set_one_aside(now) || self.remind(now)
    }

    /// Has the medium watch each wire for what it waits for.
    ///
    /// A late message makes its wire wait until more can be written, which it mostly can: so whoever
    /// sleeps on `wake_fd` comes back to copy the message aside.
    fn watch(&mut self) -> Result<(), TransportError> {
        if !M::WATCHES {
            return Ok(());
        }
        for (index, wire) in self.wires.iter_mut().enumerate() {
            let wanted = if wire.has_ended() {
                Watch::Off
            } else if wire.blocked || M::WATCHES_ROOM && self.idle_rounds > 0 && wire.is_late() {
                Watch::ReadableAndWritable
            } else {
                Watch::Readable
            };
            self.medium.watch(index, &mut wire.link, wanted)?;
        }
        Ok(())
    }
}

/// Bytes of slots that a medium is asked for by the ends of connections to so many ranks and from so many.
pub const fn end_memory_of(
    (sending, receiving): (usize, usize),
    channels: u16,
    limits: Limits,
) -> usize {
    let shape = shape(0, limits);
    let one_channel =
        sending * SendingEnd::memory_of(shape) + receiving * ReceivingEnd::memory_of(shape);
    channels as usize * one_channel
}

const fn shape(conn: u32, limits: Limits) -> Shape {
    let slots = if limits.slots > 1 { limits.slots } else { 1 };
    Shape {
        conn,
        standing_bytes: if limits.slot_bytes < EAGER_BYTES {
            limits.slot_bytes
        } else {
            EAGER_BYTES
        },
        standing_slots: (2 * slots).next_power_of_two(),
        slots,
        slot_bytes: limits.slot_bytes,
        is_placed: false,
    }
}

/// The ranks of a node disagree on who sends by way of whom.
#[cold]
fn no_box(source: u32) -> TransportError {
    let what = format!("there is no relay box between this rank and rank {source}");
    system("sharing a wire", io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cold]
pub(crate) fn system(call: &str, source: io::Error) -> TransportError {
    TransportError::System { call: call.to_owned(), source }
}

impl<M: Medium> Endpoint for WireEndpoint<M> {
    fn name(&self) -> &'static str {
        self.medium.name()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn sender(&self, peer: u32, channel: u16) -> Option<Sender> {
        let place = |key: &_| self.ways.binary_search_by_key(key, |&(receiver, _)| receiver).ok();
        self.index((peer, channel), place).map(Sender)
    }

    fn receiver(&self, peer: u32, channel: u16) -> Option<Receiver> {
        let place = |key: &_| self.sources.binary_search_by_key(key, |&(source, ..)| source).ok();
        self.index((peer, channel), place).map(Receiver)
    }

    fn begin_call(&mut self, tag: u32) {
        self.tag = tag & TAG_MASK;
    }

    fn expect(&mut self, what: Expect) {
        self.expect = what;
    }

    fn due(&self) -> Option<Duration> {
        // Nothing else could end a sleep when it is time to copy a message aside.
        let unwatched = || !M::WATCHES_ROOM && self.wires.iter().any(Wire::is_late);
        if self.idle_rounds > 0 && (self.feeders.iter().any(Feeder::is_late) || unwatched()) {
            return Some(Duration::ZERO);
        }
        self.wires.iter().filter_map(Wire::due).min()
    }

    fn serves(&self) -> bool {
        self.service.exists()
    }

    fn relieved(&self) -> bool {
        self.service.is_over()
    }

    fn begin_send(
        &mut self,
        sender: Sender,
        len: usize,
    ) -> Result<Option<SendSpace>, TransportError> {
        let (limit, tag, rank) = (self.limits.slot_bytes, self.tag, self.rank);
        if len > limit {
            let (peer, len, limit) = (self.receiver_of(sender), len as u64, limit as u64);
            return Err(TransportError::TooLong { peer, len, limit });
        }
        let (end, _) = self.sending(sender)?;
        let space = end.begin(len, tag).map_err(|refusal| truncated(rank, refusal))?;
        self.has_long |= matches!(space, Some(SendSpace::Direct));
        if let (None, (Way::Lane(feeder, _), _)) = (&space, self.way(sender)) {
            self.feeders[feeder].wait();
        }
        Ok(space)
    }

    fn begin_lend(
        &mut self,
        sender: Sender,
        value: Region,
    ) -> Result<Option<SendSpace>, TransportError> {
        let space = self.begin_send(sender, value.len())?;
        let (Some(SendSpace::Direct), (Way::Wire(wire, _), _)) = (&space, self.way(sender)) else {
            return Ok(space);
        };
        let places = self.wires[wire].link.places();
        let Some(keys) = self.keys_on(wire, value).filter(|_| places) else { return Ok(space) };
        self.sending(sender)?.0.lend(value, keys.local);
        self.lends = true;
        Ok(Some(SendSpace::Lent))
    }

    fn withdraw(&mut self) {
        self.wires.iter_mut().for_each(Wire::withdraw);
    }

    fn borrower(&mut self) -> Option<u32> {
        if !self.lends {
            return None;
        }
        let borrower = self.wires.iter().find(|wire| wire.borrows()).map(|wire| wire.peer);
        self.lends = borrower.is_some();
        borrower
    }

    fn commit(&mut self, sender: Sender) -> Result<(), TransportError> {
        let (end, dirty) = self.sending(sender)?;
        end.commit();
        *dirty = true;
        self.stirred = true;
        Ok(())
    }

    fn send_from(&mut self, sender: Sender, value: Region) -> Result<(), TransportError> {
        let keys = match self.way(sender).0 {
            Way::Wire(wire, _) => self.keys_on(wire, value),
            Way::Lane(..) => Some(Keys::NONE),
        };
        let (end, dirty) = self.sending(sender)?;
        end.send_from(value, keys);
        *dirty |= end.ready();
        self.stirred |= *dirty;
        Ok(())
    }

    fn sent(&mut self, sender: Sender) -> bool {
        let (way, channel) = self.way(sender);
        match way {
            Way::Wire(wire, first) => {
                let own = self.wires[wire].own(first + channel);
                own.is_none_or(|(end, _)| !end.caller_waits())
            }
            Way::Lane(feeder, lane) => {
                !self.feeders[feeder].lanes[lane].sending[channel].caller_waits()
            }
        }
    }

    fn most_posted(&self) -> usize {
        MOST_GRANTS
    }

    fn post(&mut self, grants: &[Grant]) -> Result<(), TransportError> {
        for grant in grants {
            let (_, wire, conn) = self.locate(grant.receiver);
            let keys = grant.place.and_then(|place| self.keys_on(wire, place));
            let wire = &mut self.wires[wire];
            wire.dirty |= wire.receiving[conn].post(grant, keys);
            self.stirred |= wire.dirty;
        }
        Ok(())
    }

    fn poll(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        let (source, wire, conn) = self.locate(receiver);
        let wire = &mut self.wires[wire];
        match wire.receiving[conn].poll() {
            Ok(Some(arrival)) => Ok(Some(arrival)),
            Ok(None) => wire.check_readable().map(|()| None),
            Err(refusal) => {
                wire.dirty = true;
                self.stirred = true;
                Err(truncated(source, refusal))
            }
        }
    }

    fn release(&mut self, receiver: Receiver) {
        let (_, wire, conn) = self.locate(receiver);
        let wire = &mut self.wires[wire];
        wire.dirty |= wire.receiving[conn].release();
        self.stirred |= wire.dirty;
    }

    fn progress(&mut self) -> Result<bool, TransportError> {
        let may_differ = self.stirred || self.has_long;
        let mut moved = self.relay() | self.flush();
        let (any, has_read) = self.read_ready()?;
        if !any && !moved && !may_differ {
            self.idle_rounds = self.idle_rounds.saturating_add(1);
            return Ok(false);
        }
        if has_read {
            // What was read may permit more.
            self.relay();
            self.flush();
            moved = true;
        }
        if moved {
            self.idle_rounds = 0;
        } else {
            self.idle_rounds = self.idle_rounds.saturating_add(1);
            let is_patient = self.idle_rounds <= M::PATIENCE_ROUNDS || !self.has_long;
            moved = !is_patient && self.see_to_the_late();
        }
        self.watch()?;
        Ok(moved)
    }

    fn tells(&self) -> bool {
        true
    }

    fn settled(&self) -> bool {
        !self.lends && !self.service.exists() && self.flushed()
    }

    fn flushed(&self) -> bool {
        self.wires.iter().all(|wire| wire.is_flushed(self.tag))
            && self.feeders.iter().all(Feeder::is_flushed)
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.medium.wake_fd())
    }

    fn arm(&mut self) -> Result<(), TransportError> {
        self.medium.arm()
    }

    fn drained(&mut self) -> Result<bool, TransportError> {
        if !self.wires.iter().all(Wire::is_empty) || !self.flushed() {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.has_left, true) {
            self.feeders.iter().for_each(Feeder::leave);
        }
        for wire in &self.wires {
            let left =
                wire.is_acknowledged().map_err(|source| system("looking what left", source))?;
            if !left {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn counters(&self) -> Counters {
        let [mut sum, others] = self.all_counters();
        sum += others;
        sum
    }

    fn counters_by_medium(&self) -> Vec<(&'static str, Counters)> {
        match self.medium.names() {
            Some(names) => names.into_iter().zip(self.all_counters()).collect(),
            None => Vec::from([(self.name(), self.counters())]),
        }
    }

    fn wires(&self) -> Vec<WireCounters> {
        self.wires.iter().filter_map(Wire::counters).collect()
    }

    /// A sender's messages wait aside where the receiver has no slot yet.
    fn slot_memory(&self) -> u64 {
        // A connection has its slots at both ends; most ranks have as many of one kind as of the other.
        let peers = self.ways.len();
        Self::slot_memory_of(peers, self.channels, self.limits) + self.box_bytes
    }
}
