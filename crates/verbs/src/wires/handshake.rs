//! Owns how the two ends of each wire find out whether they reach each other over verbs, and on which way.
//!
//! In each round the ends of a wire that have not met yet try their next way, which both take from what they told each
//! other:
//!
//! 1. Each end makes queue pairs, and tells the peer where they are; or why it has none, which ends the search.
//! 2. It connects them, and says whether that went well.
//! 3. If both have, each writes nothing, to no memory, and waits for the acknowledgement: addresses that do not reach
//!    each other are found here, and not by the first message. Each says whether it came.
//!
//! They have met if it came at both. What decides is heard by both ends, so they decide alike. All ends of a rank go
//! through a round together, and wait for nobody but their peers in the same round, so nobody waits in a circle.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crosstie_transport::TransportError;
use crosstie_transport::tcp::Stream;
use crosstie_transport::wires::placing::{MOST_LANES, RING_SLOTS, SEND_DEPTH};

use super::device::{VerbsDevice, system};
use super::nic::Nic;
use super::talk::{Patience, Talk};
use crate::{Address, Depths, Place, Port, QueuePair, Retry, VerbsError, Way};

/// Bytes of a write that are copied as it is posted, if the device can: a head with one record and its short payload,
/// 104 bytes at most.
const INLINE_BYTES: u32 = 128;
/// Ways that are tried between two ports: more would be of kinds that nobody sets up alone.
const MOST_WAYS: usize = 4;
/// How long a port may take to answer. Soft-RoCE on few cores took 0.1 s; what is lost is sent again after 1 s.
const ANSWER: Duration = Duration::from_secs(5);

/// What ends say in turn: that queue pairs are connected, and that the peer's device has answered; or that this way
/// leads nowhere.
const CONNECTED: u8 = b'C';
const ANSWERED: u8 = b'A';
const FAILED: u8 = b'F';

/// One of the NICs that a rank has to be reached at.
pub(super) struct Own {
    pub device: VerbsDevice,
    pub nic: Nic,
    pub port: Port,
    pub rank: u32,
}

/// One end of a wire's lanes on one NIC, which is being made. The ends of a wire have as many, in the same order.
pub(super) struct Half {
    /// The place of its wire.
    pub wire: usize,
    /// The place of its NIC; or why this end does not try.
    pub own: Result<usize, String>,
    /// Its queue pairs, at most; and how long they repeat what nobody acknowledges.
    pub most: usize,
    pub retry: Retry,
    pub state: State,
}

/// How far it has come.
pub(super) enum State {
    /// How the ways ended that were tried.
    Trying(Vec<String>),
    /// The queue pairs, connected; the peer's device answers.
    Met(Vec<QueuePair>),
    /// Why there is none.
    Apart(VerbsError),
}

/// A way that is being tried in a round.
struct Attempt {
    /// Of which half, and by which NIC.
    half: usize,
    own: usize,
    pairs: Vec<QueuePair>,
    way: Way,
    /// Why it fails, as far as this end knows.
    failed: Option<String>,
}

impl Half {
    /// One of so many of its wire.
    pub fn new(wire: usize, own: Result<usize, String>, halves: usize, retry: Retry) -> Self {
        let most = MOST_LANES / halves.max(1);
        Self { wire, own, most, retry, state: State::Trying(Vec::new()) }
    }

    fn is_trying(&self) -> bool {
        matches!(self.state, State::Trying(_))
    }
}

/// The links of a rank's wires, over which their ends talk, and until when.
#[derive(Clone, Copy)]
pub(super) struct Links<'a> {
    pub streams: &'a [Stream],
    pub patience: &'a Patience<'a>,
}

impl<'a> Links<'a> {
    pub fn talk(self, wire: usize) -> Talk<'a> {
        let Stream { peer, socket, .. } = &self.streams[wire];
        Talk { peer: *peer, socket, patience: self.patience }
    }

    fn peer(self, half: &Half) -> u32 {
        self.streams[half.wire].peer
    }
}

/// Tries ways until each half has met its peer, or never will.
pub(super) fn meet(
    owns: &mut [Own],
    halves: &mut [Half],
    links: Links<'_>,
) -> Result<(), TransportError> {
    for round in 0.. {
        if !halves.iter().any(Half::is_trying) {
            break;
        }
        let mut attempts = offer(owns, halves, round, links)?;
        exchange(&mut attempts, halves, links, (CONNECTED, "the peer could not connect"))?;
        probe(owns, &mut attempts, halves, links)?;
        exchange(&mut attempts, halves, links, (ANSWERED, "the peer got no answer"))?;
        for Attempt { half, pairs, way, failed, .. } in attempts {
            let State::Trying(tried) = &mut halves[half].state else { continue };
            match failed {
                None => halves[half].state = State::Met(pairs),
                Some(why) => tried.push(format!("{way}: {why}")),
            }
        }
    }
    Ok(())
}

/// The first step of a round: what each half that still tries does in it.
fn offer(
    owns: &mut [Own],
    halves: &mut [Half],
    round: usize,
    links: Links<'_>,
) -> Result<Vec<Attempt>, TransportError> {
    let (mut offered, mut has_warned) = (Vec::new(), false);
    for (place, half) in halves.iter().enumerate().filter(|(_, half)| half.is_trying()) {
        let peer = links.peer(half);
        let pairs = |own: usize| {
            let made = owns[own]
                .queue_pairs(peer, half.most)
                .map(|(pairs, address)| (own, pairs, address));
            made.map_err(|error| {
                // The others fail for the same cause, as a rule.
                if !std::mem::replace(&mut has_warned, true) {
                    tracing::warn!(peer, %error, "a wire cannot be made over ibverbs");
                }
                error.to_string()
            })
        };
        let ours = half.own.clone().and_then(pairs);
        links.talk(half.wire).say_hello(ours.as_ref().map(|(.., address)| address))?;
        offered.push((place, ours));
    }
    let mut attempts = Vec::new();
    for (place, ours) in offered {
        let half = &mut halves[place];
        let theirs = links.talk(half.wire).hear_hello()?;
        let peer = links.peer(half);
        let ((own, pairs, ours), theirs) = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (Err(why), _) => {
                half.state = State::Apart(VerbsError::NoneHere { why });
                continue;
            }
            (_, Err(why)) => {
                half.state = State::Apart(VerbsError::PeerHasNone { peer, why });
                continue;
            }
        };
        let attempted = owns[own].attempt(half, peer, (pairs, &ours, &theirs), round);
        match attempted {
            Ok((pairs, way, failed)) => {
                attempts.push(Attempt { half: place, own, pairs, way, failed });
            }
            Err(error) => half.state = State::Apart(error),
        }
    }
    Ok(attempts)
}

impl Own {
    /// Queue pairs for the wire to `peer`, and where they are.
    fn queue_pairs(
        &mut self,
        peer: u32,
        most: usize,
    ) -> Result<(Vec<QueuePair>, Address), VerbsError> {
        let depths =
            Depths { send: SEND_DEPTH as u32, receive: RING_SLOTS as u32, inline: INLINE_BYTES };
        let pair = |_| self.device.queue_pair(self.place(peer), depths);
        let wanted = usize::from(self.nic.queue_pairs).clamp(1, most.max(1));
        let pairs = (0..wanted).map(pair).collect::<Result<Vec<_>, _>>()?;
        let address = Address::of(self.device.context(), &self.port, &pairs, self.nic.gid)?;
        Ok((pairs, address))
    }

    fn place(&self, peer: u32) -> Place {
        let Nic { device, port, rail, .. } = &self.nic;
        Place { device: device.clone(), port: *port, peer, rail: *rail }
    }

    /// Connects the queue pairs on the round's way, as many as both ends have, or says why that failed; an error where there
    /// are no more ways.
    fn attempt(
        &self,
        half: &Half,
        peer: u32,
        (mut pairs, ours, theirs): (Vec<QueuePair>, &Address, &Address),
        round: usize,
    ) -> Result<(Vec<QueuePair>, Way, Option<String>), VerbsError> {
        let ways = ours.ways_to(theirs, self.rank < peer);
        if ways.is_empty() {
            return Err(self.no_ways(peer, ours, theirs));
        }
        let Some(&way) = ways.iter().take(MOST_WAYS).nth(round) else {
            let left = ways.len().saturating_sub(round);
            let more =
                if left > 0 { format!("; {left} more were not tried") } else { String::new() };
            let tried = match &half.state {
                State::Trying(tried) => format!("{}{more}", tried.join("; ")),
                _ => more,
            };
            return Err(VerbsError::Unreached { place: self.place(peer), tried });
        };
        pairs.truncate(theirs.pairs());
        let path = |index| ours.path_to(theirs, index, way, self.nic.service, half.retry);
        let connected = pairs
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, pair)| path(index).map_or(Ok(()), |path| pair.connect(&path)));
        let failed = connected.err().map(|error| error.to_string());
        Ok((pairs, way, failed))
    }

    #[cold]
    fn no_ways(&self, peer: u32, ours: &Address, theirs: &Address) -> VerbsError {
        let Nic { device, port, .. } = &self.nic;
        let (ours, theirs) = (ours.gids(), theirs.gids());
        VerbsError::NoGid { device: device.clone(), port: *port, peer, ours, theirs }
    }
}

/// Says of each attempt whether it has come so far at this end, and hears it of the peer's.
fn exchange(
    attempts: &mut [Attempt],
    halves: &[Half],
    links: Links<'_>,
    (good, else_said): (u8, &str),
) -> Result<(), TransportError> {
    for attempt in &*attempts {
        let word = if attempt.failed.is_none() { good } else { FAILED };
        links.talk(halves[attempt.half].wire).say(word)?;
    }
    for attempt in attempts {
        let talk = links.talk(halves[attempt.half].wire);
        let is_good = talk.hear(&[good, FAILED])? == good;
        if !is_good {
            attempt.failed.get_or_insert_with(|| else_said.to_owned());
        }
    }
    Ok(())
}

/// Has the device of each attempt's peer answer, on each lane.
fn probe(
    owns: &mut [Own],
    attempts: &mut [Attempt],
    halves: &[Half],
    links: Links<'_>,
) -> Result<(), TransportError> {
    // By the NIC and the number of the queue pair: the attempt, and the lane.
    let mut missing: BTreeMap<(usize, u32), (usize, usize)> = BTreeMap::new();
    for (place, attempt) in attempts.iter_mut().enumerate() {
        if attempt.failed.is_some() {
            continue;
        }
        let probes = attempt.pairs.iter_mut().try_for_each(QueuePair::probe);
        attempt.failed = probes.err().map(|error| error.to_string());
        let own = attempt.own;
        let numbers =
            attempt.pairs.iter().zip(0..).map(|(pair, lane)| ((own, pair.number()), (place, lane)));
        missing.extend(numbers);
    }
    let until = Instant::now() + ANSWER;
    while let Some((_, &(first, _))) = missing.first_key_value() {
        links.patience.check(links.peer(&halves[attempts[first].half]))?;
        if Instant::now() >= until {
            let none = || format!("no answer in {} s", ANSWER.as_secs());
            for (place, _) in missing.into_values() {
                attempts[place].failed.get_or_insert_with(none);
            }
            return Ok(());
        }
        let mut any = false;
        for (own, Own { device, .. }) in owns.iter_mut().enumerate() {
            let polled = device.completions().poll();
            let ended = polled.map_err(|error| system("probing a queue pair", error))?;
            any |= !ended.is_empty();
            for completion in ended {
                if let Some((place, lane)) = missing.remove(&(own, completion.queue_pair())) {
                    let attempt = &mut attempts[place];
                    if let Err(error) = attempt.pairs[lane].account().settle(completion) {
                        attempt.failed.get_or_insert_with(|| error.to_string());
                    }
                }
            }
        }
        if !any {
            thread::yield_now();
        }
    }
    Ok(())
}
