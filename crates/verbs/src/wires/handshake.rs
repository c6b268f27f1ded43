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
use crosstie_transport::wires::placing::{RING_SLOTS, SEND_DEPTH};

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

/// What a rank has to be reached at.
pub(super) struct Own<'a> {
    pub device: &'a mut VerbsDevice,
    pub nic: &'a Nic,
    pub port: &'a Port,
    pub rank: u32,
}

/// One end of a wire that is being made.
pub(super) struct Half {
    pub stream: Stream,
    /// Why this end does not try, if it does not.
    excluded: Option<String>,
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
    /// Of which half.
    half: usize,
    pairs: Vec<QueuePair>,
    way: Way,
    /// Why it fails, as far as this end knows.
    failed: Option<String>,
}

impl Half {
    pub fn new(stream: Stream, excluded: Option<String>) -> Self {
        Self { stream, excluded, state: State::Trying(Vec::new()) }
    }

    pub fn talk<'a>(&'a self, patience: &'a Patience<'a>) -> Talk<'a> {
        Talk { peer: self.stream.peer, socket: &self.stream.socket, patience }
    }

    fn is_trying(&self) -> bool {
        matches!(self.state, State::Trying(_))
    }
}

/// Tries ways until each half has met its peer, or never will. Without its `own`, a rank says why to all peers.
pub(super) fn meet(
    mut own: Result<Own<'_>, String>,
    halves: &mut [Half],
    patience: &Patience<'_>,
) -> Result<(), TransportError> {
    for round in 0.. {
        if !halves.iter().any(Half::is_trying) {
            break;
        }
        let mut attempts = offer(&mut own, halves, round, patience)?;
        exchange(&mut attempts, halves, patience, (CONNECTED, "the peer could not connect"))?;
        if let Ok(own) = &mut own {
            probe(own, &mut attempts, halves, patience)?;
        }
        exchange(&mut attempts, halves, patience, (ANSWERED, "the peer got no answer"))?;
        for Attempt { half, pairs, way, failed } in attempts {
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
    own: &mut Result<Own<'_>, String>,
    halves: &mut [Half],
    round: usize,
    patience: &Patience<'_>,
) -> Result<Vec<Attempt>, TransportError> {
    let (mut offered, mut has_warned) = (Vec::new(), false);
    for (place, half) in halves.iter().enumerate().filter(|(_, half)| half.is_trying()) {
        let ours = match own {
            _ if half.excluded.is_some() => Err(half.excluded.clone().unwrap_or_default()),
            Ok(own) => own.queue_pairs(half.stream.peer).map_err(|error| {
                // The others fail for the same cause, as a rule.
                if !std::mem::replace(&mut has_warned, true) {
                    tracing::warn!(peer = half.stream.peer, %error, "a wire cannot be made over ibverbs");
                }
                error.to_string()
            }),
            Err(why) => Err(why.clone()),
        };
        half.talk(patience).say_hello(ours.as_ref().map(|(_, address)| address))?;
        offered.push((place, ours));
    }
    let mut attempts = Vec::new();
    for (place, ours) in offered {
        let theirs = halves[place].talk(patience).hear_hello()?;
        let half = &mut halves[place];
        let peer = half.stream.peer;
        let (own, (pairs, ours), theirs) = match (&mut *own, ours, theirs) {
            (Ok(own), Ok(ours), Ok(theirs)) => (own, ours, theirs),
            (_, Err(why), _) => {
                half.state = State::Apart(VerbsError::NoneHere { why });
                continue;
            }
            (_, _, Err(why)) => {
                half.state = State::Apart(VerbsError::PeerHasNone { peer, why });
                continue;
            }
            (Err(why), ..) => {
                half.state = State::Apart(VerbsError::NoneHere { why: why.clone() });
                continue;
            }
        };
        match own.attempt(half, place, (pairs, &ours, &theirs), round) {
            Ok(attempt) => attempts.push(attempt),
            Err(error) => half.state = State::Apart(error),
        }
    }
    Ok(attempts)
}

impl Own<'_> {
    /// Queue pairs for the wire to `peer`, and where they are.
    fn queue_pairs(&mut self, peer: u32) -> Result<(Vec<QueuePair>, Address), VerbsError> {
        let depths =
            Depths { send: SEND_DEPTH as u32, receive: RING_SLOTS as u32, inline: INLINE_BYTES };
        let pair = |_| self.device.queue_pair(self.place(peer), depths);
        let pairs = (0..self.nic.queue_pairs.max(1)).map(pair).collect::<Result<Vec<_>, _>>()?;
        let address = Address::of(self.device.context(), self.port, &pairs, self.nic.gid)?;
        Ok((pairs, address))
    }

    fn place(&self, peer: u32) -> Place {
        let Nic { device, port, rail, .. } = self.nic;
        Place { device: device.clone(), port: *port, peer, rail: *rail }
    }

    /// Connects the queue pairs on the round's way, as many as both ends have; an error where there are no more ways.
    fn attempt(
        &self,
        half: &Half,
        place: usize,
        (mut pairs, ours, theirs): (Vec<QueuePair>, &Address, &Address),
        round: usize,
    ) -> Result<Attempt, VerbsError> {
        let peer = half.stream.peer;
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
        let retry = Retry::within(self.nic.stall, self.device.context().attributes().is_software);
        pairs.truncate(theirs.pairs());
        let path = |index| ours.path_to(theirs, index, way, self.nic.service, retry);
        let connected = pairs
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, pair)| path(index).map_or(Ok(()), |path| pair.connect(&path)));
        let failed = connected.err().map(|error| error.to_string());
        Ok(Attempt { half: place, pairs, way, failed })
    }

    #[cold]
    fn no_ways(&self, peer: u32, ours: &Address, theirs: &Address) -> VerbsError {
        let Nic { device, port, .. } = self.nic;
        let (ours, theirs) = (ours.gids(), theirs.gids());
        VerbsError::NoGid { device: device.clone(), port: *port, peer, ours, theirs }
    }
}

/// Says of each attempt whether it has come so far at this end, and hears it of the peer's.
fn exchange(
    attempts: &mut [Attempt],
    halves: &[Half],
    patience: &Patience<'_>,
    (good, else_said): (u8, &str),
) -> Result<(), TransportError> {
    for attempt in &*attempts {
        let word = if attempt.failed.is_none() { good } else { FAILED };
        halves[attempt.half].talk(patience).say(word)?;
    }
    for attempt in attempts {
        let is_good = halves[attempt.half].talk(patience).hear(&[good, FAILED])? == good;
        if !is_good {
            attempt.failed.get_or_insert_with(|| else_said.to_owned());
        }
    }
    Ok(())
}

/// Has the device of each attempt's peer answer, on each lane.
fn probe(
    own: &mut Own<'_>,
    attempts: &mut [Attempt],
    halves: &[Half],
    patience: &Patience<'_>,
) -> Result<(), TransportError> {
    // By the numbers of queue pairs: the attempt, and the lane.
    let mut missing: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for (place, attempt) in attempts.iter_mut().enumerate() {
        if attempt.failed.is_some() {
            continue;
        }
        let probes = attempt.pairs.iter_mut().try_for_each(QueuePair::probe);
        attempt.failed = probes.err().map(|error| error.to_string());
        let numbers =
            attempt.pairs.iter().zip(0..).map(|(pair, lane)| (pair.number(), (place, lane)));
        missing.extend(numbers);
    }
    let until = Instant::now() + ANSWER;
    while let Some((_, &(first, _))) = missing.first_key_value() {
        patience.check(halves[attempts[first].half].stream.peer)?;
        if Instant::now() >= until {
            let none = || format!("no answer in {} s", ANSWER.as_secs());
            for (place, _) in missing.into_values() {
                attempts[place].failed.get_or_insert_with(none);
            }
            return Ok(());
        }
        let polled = own.device.completions().poll();
        let ended = polled.map_err(|error| system("probing a queue pair", error))?;
        for completion in ended {
            if let Some((place, lane)) = missing.remove(&completion.queue_pair()) {
                let attempt = &mut attempts[place];
                if let Err(error) = attempt.pairs[lane].account().settle(completion) {
                    attempt.failed.get_or_insert_with(|| error.to_string());
                }
            }
        }
        if ended.is_empty() {
            thread::yield_now();
        }
    }
    Ok(())
}
