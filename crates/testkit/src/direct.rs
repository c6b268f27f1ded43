//! Owns a device that places payloads, of which all pairs are in one process: a write copies to the peer's memory.
//!
//! It keeps to what a reliable connection promises, and to no more. With delays, a chain is read and written any time
//! after it was posted, whenever somebody polls, and its end is told later still; of one pair in order, of several in
//! any. What a wire does wrong with memory that is still being read, or without a receive, shows as wrong bytes or a
//! panic.

use std::collections::VecDeque;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crosstie_transport::wires::placing::{
    Completion, Device, Lasting, Pair, RING_SLOTS, Ring, RingMemory, SLOT_BYTES, Write,
};
use crosstie_transport::wires::{Keys, Place};
use crosstie_transport::{Region, TransportError};

use crate::random::Random;

/// The devices of a world, and what is on its way between them; clones are the same one.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    /// When what is on its way arrives, and is told of; `None`: at once.
    delays: Option<Random>,
    /// Chains arrive, and nobody is told that they have ended.
    withholds_ends: bool,
    /// Each chain is begun anew after each of its writes, as by who repeats it after a failure.
    stutters: bool,
    /// Whether devices know all memory there is, as if their users had registered it.
    knows_all: bool,
    /// Of that, whether only what is a multiple of 16 bytes long.
    forgets: bool,
    /// Memory by its key, of which 0 is none.
    memory: Vec<Option<Known>>,
    pairs: Vec<End>,
    devices: Vec<Ears>,
}

struct Known {
    region: Region,
    device: usize,
    /// Of memory that was registered; `None` for what everyone is said to know.
    _owner: Option<Lasting>,
}

/// One pair.
struct End {
    device: usize,
    peer: usize,
    receives: usize,
    on_way: VecDeque<Chain>,
    /// Chains that have arrived, of which the end was not told.
    untold: usize,
    gone: bool,
    posted: Posted,
}

struct Chain {
    writes: Vec<Write>,
    immediate: u32,
}

/// What a device has to tell.
struct Ears {
    events: VecDeque<(u32, Completion<Gone>)>,
    bell: UnixStream,
    armed: bool,
}

/// What was posted at a pair so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Posted {
    /// Writes.
    pub writes: u64,
    /// Calls that posted them; each ends as one.
    pub chains: u64,
    /// Calls that posted receives.
    pub renewals: u64,
}

/// The pair is at an end.
#[derive(Debug, Clone)]
pub struct Gone;

impl From<Gone> for io::Error {
    fn from(_: Gone) -> Self {
        io::ErrorKind::ConnectionReset.into()
    }
}

impl Network {
    /// One that delays things as a seed says, or not at all. If it `knows_all`, payloads go to and come from memory
    /// that nobody registered, too.
    pub fn new(delays: Option<u64>, knows_all: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            delays: delays.map(Random::new),
            withholds_ends: false,
            stutters: false,
            knows_all,
            forgets: false,
            memory: vec![None],
            pairs: Vec::new(),
            devices: Vec::new(),
        })))
    }

    /// One that delays things, and whose devices know only some of the memory: so messages of all kinds follow each
    /// other on a connection.
    pub fn forgetful(seed: u64) -> Self {
        let network = Self::new(Some(seed), true);
        network.state().forgets = true;
        network
    }

    /// One that delays things, and where each chain is begun anew after each of its writes: who sent it on another pair
    /// would not know how much of it had arrived on the one before.
    pub fn stuttering(seed: u64) -> Self {
        let network = Self::new(Some(seed), true);
        network.state().stutters = true;
        network
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more device.
    ///
    /// # Panics
    /// When the host has no more descriptors.
    pub fn device(&self) -> Direct {
        let (ear, bell) = UnixStream::pair().expect("descriptors");
        for end in [&ear, &bell] {
            end.set_nonblocking(true).expect("a socket can be non-blocking");
        }
        let mut state = self.state();
        state.devices.push(Ears { events: VecDeque::new(), bell, armed: false });
        Direct { network: self.clone(), index: state.devices.len() - 1, ear }
    }

    /// The two ends of a wire between two devices.
    ///
    /// # Panics
    /// Never: a pair that was just made takes receives.
    pub fn wire(&self, one: &mut Direct, other: &mut Direct) -> [Ring<DirectPair>; 2] {
        self.wire_of(1, one, other)
    }

    /// The same with so many lanes, between which nothing keeps the order.
    ///
    /// # Panics
    /// Never, as [`wire`](Self::wire).
    pub fn wire_of(
        &self,
        lanes: usize,
        one: &mut Direct,
        other: &mut Direct,
    ) -> [Ring<DirectPair>; 2] {
        let memory = [RingMemory::new(one), RingMemory::new(other)];
        let [ones, others] =
            memory.map(|memory| memory.expect("a device of this kind knows any memory"));
        let mut lanes_of = [Vec::new(), Vec::new()];
        for _ in 0..lanes {
            let pairs = self.pairs(one, other);
            lanes_of.iter_mut().zip(pairs).for_each(|(lanes, pair)| lanes.push(pair));
        }
        let [a, b] = lanes_of;
        let places = [ones.place(), others.place()];
        let rings = [ones.link(a, places[1]), others.link(b, places[0])];
        rings.map(|ring| ring.expect("nothing has failed"))
    }

    /// The two ends of a wire between two ranks with as many devices each, of which it is on those that `on` names: a lane
    /// for each, the head's on the first.
    ///
    /// # Panics
    /// As [`wire`](Self::wire); when there are no such devices.
    pub fn wire_on(
        &self,
        on: &[usize],
        one: &mut [Direct],
        other: &mut [Direct],
    ) -> [Ring<DirectPair>; 2] {
        let memory = [&mut *one, &mut *other].map(|devices| {
            RingMemory::new(&mut devices[on[0]]).expect("a device of this kind knows any memory")
        });
        let mut lanes_of = [Vec::new(), Vec::new()];
        for (strand, &device) in (0..).zip(on) {
            let pairs = self.pairs(&one[device], &other[device]);
            lanes_of.iter_mut().zip(pairs).for_each(|(lanes, pair)| lanes.push((pair, strand)));
        }
        let ([a, b], [ones, others]) = (lanes_of, memory);
        let places = [ones.place(), others.place()];
        let rings = [ones.link_on(on, a, places[1]), others.link_on(on, b, places[0])];
        rings.map(|ring| ring.expect("nothing has failed"))
    }

    /// One end of a wire of so many lanes, and in place of the other a peer that says what a test wants.
    ///
    /// # Panics
    /// Never, as [`wire`](Self::wire).
    pub fn wire_to_stranger(&self, lanes: usize, one: &mut Direct) -> (Ring<DirectPair>, Stranger) {
        let device = self.device();
        let memory = RingMemory::new(one).expect("a device of this kind knows any memory");
        let pairs = (0..lanes).map(|_| <(_, _)>::from(self.pairs(one, &device)));
        let (own, mut pairs): (Vec<_>, Vec<_>) = pairs.unzip();
        for pair in &mut pairs {
            pair.post_receives(RING_SLOTS).expect("nothing has failed");
        }
        let (from, ring) = (Region::leak(vec![0; LONGEST_HEAD].into()), memory.place());
        let heads = Region::leak(vec![0; RingMemory::BYTES].into());
        let keys = self.state().know(device.index, heads, None);
        let key = self.state().know(device.index, from, None).local;
        let theirs = Place { address: heads.as_ptr().addr() as u64, key: keys.remote };
        let link = memory.link(own, theirs).expect("nothing has failed");
        (link, Stranger { pairs, from, key, ring, _device: device })
    }

    fn pairs(&self, one: &Direct, other: &Direct) -> [DirectPair; 2] {
        let mut state = self.state();
        let first = state.pairs.len();
        state.pairs.push(End::new(one.index, first + 1));
        state.pairs.push(End::new(other.index, first));
        [first, first + 1].map(|number| DirectPair { network: self.clone(), number })
    }

    /// From now on chains arrive of which nobody hears that they have ended; or all that have ended are told of.
    pub fn withhold_ends(&self, is_withheld: bool) {
        let mut state = self.state();
        state.withholds_ends = is_withheld;
        for pair in 0..state.pairs.len() {
            while !is_withheld && state.pairs[pair].untold > 0 {
                state.tell_sent(pair);
            }
        }
    }

    /// What was posted at all pairs of a device.
    pub fn posted(&self, device: usize) -> Posted {
        let state = self.state();
        let pairs = state.pairs.iter().filter(|pair| pair.device == device);
        pairs.fold(Posted::default(), |sum, pair| Posted {
            writes: sum.writes + pair.posted.writes,
            chains: sum.chains + pair.posted.chains,
            renewals: sum.renewals + pair.posted.renewals,
        })
    }
}

/// Bytes of the longest head that a stranger says.
const LONGEST_HEAD: usize = 512;

/// A peer that keeps to no rules.
pub struct Stranger {
    pairs: Vec<DirectPair>,
    from: Region,
    key: u32,
    ring: Place,
    _device: Direct,
}

impl Stranger {
    /// Writes a head, with the short payloads behind it, to a slot of the peer's ring, and says on the first lane that it
    /// is in `slot`, or which other lanes it has payloads on.
    ///
    /// # Panics
    /// When the pair has failed; when the head is longer than 512 bytes.
    pub fn say(&mut self, slot: u32, head: &[u8]) {
        let from = self.from.part(0, head.len()).expect("a head is not that long");
        assert!(from.fill(head), "it has its length");
        let to = self.ring.behind(u64::from(slot) % RING_SLOTS as u64 * SLOT_BYTES as u64);
        let last = Write { from, key: self.key, to };
        self.pairs[0].post(&[], &last, slot).expect("nothing has failed");
    }
}

impl End {
    const fn new(device: usize, peer: usize) -> Self {
        let posted = Posted { writes: 0, chains: 0, renewals: 0 };
        let on_way = VecDeque::new();
        Self { device, peer, receives: 0, on_way, untold: 0, gone: false, posted }
    }
}

impl State {
    /// Memory that `device` knows by a key.
    fn known(&self, device: usize, key: u32) -> Region {
        let known = self.memory.get(key as usize).and_then(Option::as_ref);
        let known = known.filter(|known| known.device == device);
        known.expect("memory is named by a key that its device knows").region
    }

    fn find(&self, device: usize, region: Region) -> Option<usize> {
        let holds = |known: &Known| {
            known.device == device && part(known.region, Place::NONE, region).is_some()
        };
        self.memory.iter().position(|known| known.as_ref().is_some_and(holds))
    }

    fn know(&mut self, device: usize, region: Region, owner: Option<Lasting>) -> Keys {
        let key = self.memory.len() as u32;
        self.memory.push(Some(Known { region, device, _owner: owner }));
        Keys { local: key, remote: key }
    }

    fn tell(&mut self, pair: usize, what: Completion<Gone>) {
        let ears = &mut self.devices[self.pairs[pair].device];
        ears.events.push_back((pair as u32, what));
        if std::mem::take(&mut ears.armed) {
            // A full pipe rings as well as one byte more would.
            let _ = ears.bell.write(&[0]);
        }
    }

    /// The oldest chain of a pair arrives.
    fn deliver(&mut self, pair: usize) {
        let Some(chain) = self.pairs[pair].on_way.pop_front() else { return };
        let (device, peer) = (self.pairs[pair].device, self.pairs[pair].peer);
        if self.pairs[peer].gone {
            return;
        }
        let whole = chain.writes.len();
        let first = if self.stutters { 1 } else { whole };
        for prefix in first..=whole {
            chain.writes[..prefix].iter().for_each(|write| self.write(device, peer, write));
        }
        let receives = &mut self.pairs[peer].receives;
        *receives = receives.checked_sub(1).expect("a chain finds a receive");
        self.tell(peer, Completion::Arrived(chain.immediate));
        self.pairs[pair].untold += 1;
    }

    fn write(&self, device: usize, peer: usize, write: &Write) {
        if write.from.is_empty() {
            return;
        }
        let from = self.known(device, write.key);
        assert!(
            part(from, Place::NONE, write.from).is_some(),
            "a write reads beyond its key's memory"
        );
        let to = self.known(self.pairs[peer].device, write.to.key);
        let to = part(to, write.to, write.from).expect("a write stays in its key's memory");
        assert!(to.copy_from(write.from), "the place has the payload's length");
    }

    /// A chain that has arrived has ended; none has where the peer lets nothing arrive any more.
    fn tell_sent(&mut self, pair: usize) {
        let Some(untold) = self.pairs[pair].untold.checked_sub(1) else { return };
        self.pairs[pair].untold = untold;
        self.tell(pair, Completion::Sent);
    }

    /// Some of what is on its way arrives, and some of what has arrived is told of.
    fn stir(&mut self) {
        for pair in 0..self.pairs.len() {
            while !self.pairs[pair].on_way.is_empty() && self.happens() {
                self.deliver(pair);
            }
            while self.pairs[pair].untold > 0 && !self.withholds_ends && self.happens() {
                self.tell_sent(pair);
            }
        }
    }

    fn happens(&mut self) -> bool {
        self.delays.as_mut().is_none_or(|random| random.chance(40))
    }

    /// The pair ends. What it had posted is on the network, which does not lose it.
    fn end(&mut self, pair: usize) {
        if !self.pairs[pair].gone {
            while !self.pairs[pair].on_way.is_empty() {
                self.deliver(pair);
            }
            self.pairs[pair].gone = true;
            self.tell(pair, Completion::Failed(Gone));
        }
        let peer = self.pairs[pair].peer;
        if !self.pairs[peer].gone {
            self.pairs[peer].gone = true;
            self.pairs[peer].on_way.clear();
            self.tell(peer, Completion::Left);
        }
    }
}

/// The part of `region` that is as long as `like` and begins at `place`, or where `like` does if that is none.
fn part(region: Region, place: Place, like: Region) -> Option<Region> {
    let start = region.as_ptr().addr() as u64;
    let wanted = if place == Place::NONE { like.as_ptr().addr() as u64 } else { place.address };
    region.part(usize::try_from(wanted.checked_sub(start)?).ok()?, like.len())
}

/// A device that copies.
pub struct Direct {
    network: Network,
    index: usize,
    ear: UnixStream,
}

/// Its end of one wire.
pub struct DirectPair {
    network: Network,
    number: usize,
}

impl Device for Direct {
    type Pair = DirectPair;

    fn name(&self) -> &'static str {
        "direct"
    }

    fn register(&mut self, memory: Lasting) -> Result<Keys, TransportError> {
        Ok(self.network.state().know(self.index, memory.region(), Some(memory)))
    }

    fn keys_of(&self, region: Region) -> Option<Keys> {
        let mut state = self.network.state();
        if !state.knows_all || state.forgets && !region.len().is_multiple_of(16) {
            return None;
        }
        let known = state.find(self.index, region).map(|key| key as u32);
        Some(known.map_or_else(
            || state.know(self.index, region, None),
            |key| Keys { local: key, remote: key },
        ))
    }

    fn poll(&mut self, mut each: impl FnMut(u32, Completion<Gone>)) -> Result<(), TransportError> {
        let events = {
            let mut state = self.network.state();
            state.stir();
            std::mem::take(&mut state.devices[self.index].events)
        };
        events.into_iter().for_each(|(pair, what)| each(pair, what));
        Ok(())
    }

    fn arm(&mut self) -> Result<(), TransportError> {
        let mut rung = [0; 16];
        while matches!(self.ear.read(&mut rung), Ok(1..)) {}
        self.network.state().devices[self.index].armed = true;
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let index = self.index;
        let mut state = self.network.state();
        for known in &mut state.memory {
            if known.as_ref().is_some_and(|known| known.device == index) {
                *known = None;
            }
        }
    }
}

impl Pair for DirectPair {
    type Error = Gone;

    fn number(&self) -> u32 {
        self.number as u32
    }

    fn post(&mut self, writes: &[Write], last: &Write, immediate: u32) -> Result<(), Gone> {
        let mut state = self.network.state();
        let pair = &mut state.pairs[self.number];
        if pair.gone {
            return Err(Gone);
        }
        let writes: Vec<Write> = writes.iter().chain([last]).copied().collect();
        pair.posted.writes += writes.len() as u64;
        pair.posted.chains += 1;
        pair.on_way.push_back(Chain { writes, immediate });
        if state.delays.is_none() {
            state.deliver(self.number);
            if !state.withholds_ends {
                state.tell_sent(self.number);
            }
        }
        Ok(())
    }

    fn post_receives(&mut self, count: usize) -> Result<(), Gone> {
        // A device takes them from a pair that has failed, and ends them.
        let pair = &mut self.network.state().pairs[self.number];
        pair.receives += count;
        pair.posted.renewals += 1;
        Ok(())
    }

    fn fail(&mut self) {
        self.network.state().end(self.number);
    }

    fn let_go(&mut self) {
        let pair = &mut self.network.state().pairs[self.number];
        pair.on_way.clear();
        pair.gone = true;
    }
}

impl Drop for DirectPair {
    fn drop(&mut self) {
        self.fail();
    }
}
