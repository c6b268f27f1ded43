//! Owns [`LocalEndpoint`]: a rank's ends of all rings that it shares with ranks of its host.
//!
//! Publishing is at once, ringing is not: the fence and the look at the peers' owner words come
//! once for all small messages and credits of a round, in [`Endpoint::progress`]. A spinning
//! peer sees a message as early as before; a sleeping one is woken a round later, but for messages
//! long enough to hide the fence.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

use rustix::process::Pid;

use crate::doorbell::Doorbell;
use crate::heap::{Heap, NotThere, PeerHeap};
use crate::pull::{Puller, Word};
use crate::ring::{Away, Found, From, Pulls, ReceiveEnd, SendEnd};
use crate::seam::{
    Arrival, Counters, Endpoint, Grant, LendLimits, Limits, Receiver, SendSpace, Sender, TAG_MASK,
};
use crate::sender_word::withdrawn_fence;
use crate::{Region, TransportError};

/// A peer's doorbell. Empty until the peer has come: before that it cannot sleep.
pub(crate) type Bell = Arc<OnceLock<Arc<Doorbell>>>;

/// Messages of at most so many bytes wait for the end of the round before their receiver is rung.
const DEFERRED_BYTES: usize = 4096;

/// Shorter messages are copied: a lent one is back only after the receiver has read it, and that the
/// sender waits for. Measured with `benches/buffers.rs` on 2 cores, lent against copied, µs: all_reduce on
/// 2 ranks in messages of 1 KiB 0.82 : 0.63, 2 KiB 0.94 : 0.85, 4 KiB 1.25 : 1.72; on 8 ranks 2 KiB
/// 42 : 36, 4 KiB 45 : 46; all_to_all on 2 ranks 1 KiB 0.42 : 0.44, 2 KiB 0.45 : 0.58, 4 KiB 0.50 : 0.99.
pub const SHORTEST_LENT: usize = 4096;

/// Shorter messages are copied, not pulled: a call of the kernel costs more. Measured as above, pulled
/// against copied: all_to_all on 2 ranks in messages of 8 KiB 4.1 : 1.8, 32 KiB 5.8 : 6.0.
const SHORTEST_PULLED: usize = 32 << 10;

/// A rank's end of its connections to ranks of the same host, in memory that they share.
///
/// Messages are written and read in the ring's slots, or, if they lie in the rank's heap, read there.
#[derive(Debug)]
pub struct LocalEndpoint {
    name: &'static str,
    limits: Limits,
    channels: u16,
    peers: Vec<Peer>,
    /// By peer, then channel.
    senders: Vec<SendEnd>,
    /// By peer, then channel.
    receivers: Vec<ReceiveEnd>,
    /// This rank's own.
    heap: Heap,
    /// From how many bytes on values are lent, and pulled.
    shortest_lent: usize,
    shortest_pulled: usize,
    /// What peers try to read, where they may pull.
    word: Option<Word>,
    /// Senders whose receivers may still have something that they were lent.
    lending: Vec<u32>,
    /// Peers for whom something was published since the last fence.
    unrung: Vec<u32>,
    /// The tag of the present call.
    tag: u32,
    counters: Counters,
    /// The process whose rank this is.
    process: Pid,
}

#[derive(Debug)]
struct Peer {
    rank: u32,
    bell: Bell,
    heap: PeerHeap,
    /// Whether this rank reads the peer's memory.
    pulling: Pulling,
    /// Whether the peer reads this rank's memory.
    pulls: Pulls,
    unrung: bool,
}

#[derive(Debug)]
enum Pulling {
    /// The peer has not offered it yet, as far as this rank knows.
    Untried,
    /// This host or this rank will not have it.
    Never,
    Ready(Puller),
}

/// What an endpoint is made of, for one peer: its rank and bell, and one ring each way per channel.
pub(crate) struct PeerRings {
    pub(crate) rank: u32,
    pub(crate) bell: Bell,
    pub(crate) heap: PeerHeap,
    pub(crate) senders: Vec<SendEnd>,
    pub(crate) receivers: Vec<ReceiveEnd>,
}

impl LocalEndpoint {
    /// An endpoint over rings to `peers`, ordered by rank.
    pub(crate) fn new(
        name: &'static str,
        limits: Limits,
        channels: u16,
        heap: Heap,
        peers: Vec<PeerRings>,
    ) -> Self {
        let mut endpoint = Self {
            name,
            limits,
            channels,
            peers: Vec::with_capacity(peers.len()),
            senders: Vec::new(),
            receivers: Vec::new(),
            heap,
            shortest_lent: SHORTEST_LENT,
            shortest_pulled: SHORTEST_PULLED,
            word: None,
            lending: Vec::new(),
            unrung: Vec::with_capacity(peers.len()),
            tag: 0,
            counters: Counters::default(),
            process: rustix::process::getpid(),
        };
        for peer in peers {
            let PeerRings { rank, bell, heap, .. } = peer;
            let (pulling, pulls) = (Pulling::Never, Pulls::No);
            endpoint.peers.push(Peer { rank, bell, heap, pulling, pulls, unrung: false });
            endpoint.senders.extend(peer.senders);
            endpoint.receivers.extend(peer.receivers);
        }
        endpoint
    }

    /// For tests, which do not live to see numbers pass their end: before the first message, as if
    /// `passed` had passed on every connection. All ranks need the same.
    #[doc(hidden)]
    pub fn number_from(&mut self, passed: u32) {
        self.senders.iter_mut().for_each(|end| end.number_from(passed));
        self.receivers.iter_mut().for_each(|end| end.number_from(passed));
    }

    /// Lets peers read this process's memory, and reads theirs, where the host allows it and they want
    /// it too. `word` is what peers try to read.
    pub(crate) fn pull(&mut self, word: Word) {
        let channels = usize::from(self.channels);
        for (peer, senders) in self.peers.iter_mut().zip(self.senders.chunks(channels)) {
            (peer.pulling, peer.pulls) = (Pulling::Untried, Pulls::Unknown);
            senders[0].offer(word.offer());
        }
        self.word = Some(word);
        (0..self.peers.len()).for_each(|position| self.try_to_pull(position));
    }

    /// Tries what the peer has offered, if it has by now, and answers.
    #[cold]
    fn try_to_pull(&mut self, position: usize) {
        let peer = &mut self.peers[position];
        let end = &self.receivers[position * usize::from(self.channels)];
        let Some(offer) = end.offered() else { return };
        peer.pulling = match Puller::try_out(offer) {
            Ok(puller) => Pulling::Ready(puller),
            Err(error) => {
                tracing::debug!(%error, "reads no memory of rank {}: messages go by slots", peer.rank);
                Pulling::Never
            }
        };
        end.answer(matches!(peer.pulling, Pulling::Ready(_)));
    }

    /// Whether the peer of connection `index` reads this rank's memory.
    #[inline]
    fn is_pulled(&mut self, index: u32) -> bool {
        let position = (index / u32::from(self.channels)) as usize;
        let peer = &mut self.peers[position];
        if peer.pulls == Pulls::Unknown {
            peer.pulls = self.senders[position * usize::from(self.channels)].pulls();
        }
        peer.pulls == Pulls::Yes
    }

    /// Maps what a peer lent, or reads what is to be pulled.
    fn fetch(&mut self, index: u32, away: &Away) -> Result<Arrival, TransportError> {
        let peer = &mut self.peers[(index / u32::from(self.channels)) as usize];
        let end = &mut self.receivers[index as usize];
        let system = |doing: &str, source| {
            let call = format!("{doing} of rank {}", peer.rank);
            Err(TransportError::System { call, source })
        };
        match (away.from, &peer.pulling) {
            (From::Heap(offset), _) => match peer.heap.find(offset, away.len) {
                Ok(bytes) => Ok(end.arrive(bytes, away.tag)),
                Err(NotThere::Outside { heap_bytes }) => Err(end.nothing_there(away, heap_bytes)),
                Err(NotThere::Unmapped(source)) => system("mapping the heap", source),
            },
            (From::Process(address), Pulling::Ready(puller)) => {
                let bytes = end.room_to_pull(away);
                match puller.read(address, bytes) {
                    Ok(()) => {
                        let arrival = end.pulled(away, bytes)?;
                        self.published(index, away.len);
                        Ok(arrival)
                    }
                    Err(source) if source.kind() == ErrorKind::UnexpectedEof => {
                        let (peer, doing) = (peer.rank, "reading its memory");
                        Err(TransportError::PeerGone { peer, doing, source: None })
                    }
                    Err(source) if source.raw_os_error() == Some(libc::EFAULT) => {
                        Err(end.nothing_there(away, 0))
                    }
                    Err(source) => system("reading the memory", source),
                }
            }
            _ => Err(end.nothing_there(away, 0)),
        }
    }

    fn index(&self, peer: u32, channel: u16) -> Option<u32> {
        if channel >= self.channels {
            return None;
        }
        let position = self.peers.binary_search_by_key(&peer, |p| p.rank).ok()?;
        u32::try_from(position * usize::from(self.channels) + usize::from(channel)).ok()
    }

    /// Remembers that the peer of connection `index` may have to be woken.
    #[inline]
    fn published(&mut self, index: u32, len: usize) {
        let position = index / u32::from(self.channels);
        let peer = &mut self.peers[position as usize];
        if !peer.unrung {
            peer.unrung = true;
            self.unrung.push(position);
        }
        if len > DEFERRED_BYTES {
            self.ring_sleepers();
        }
    }

    #[inline]
    fn ring_sleepers(&mut self) {
        if self.unrung.is_empty() {
            return;
        }
        for &position in &self.unrung {
            self.peers[position as usize].unrung = false;
        }
        let unrung = self.unrung.iter().map(|&position| &self.peers[position as usize]);
        Doorbell::published_to(unrung.filter_map(|peer| peer.bell.get().map(Arc::as_ref)));
        self.unrung.clear();
    }
}

impl Endpoint for LocalEndpoint {
    fn name(&self) -> &'static str {
        self.name
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn sender(&self, peer: u32, channel: u16) -> Option<Sender> {
        self.index(peer, channel).map(Sender)
    }

    fn receiver(&self, peer: u32, channel: u16) -> Option<Receiver> {
        self.index(peer, channel).map(Receiver)
    }

    fn begin_call(&mut self, tag: u32) {
        self.tag = tag & TAG_MASK;
    }

    #[inline]
    fn begin_send(
        &mut self,
        sender: Sender,
        len: usize,
    ) -> Result<Option<SendSpace>, TransportError> {
        Ok(self.senders[sender.0 as usize].begin(len, self.tag)?.map(SendSpace::Slot))
    }

    #[inline]
    fn begin_lend(
        &mut self,
        sender: Sender,
        value: Region,
    ) -> Result<Option<SendSpace>, TransportError> {
        let len = value.len();
        let mut from = None;
        if (self.shortest_lent..=PeerHeap::LONGEST).contains(&len) {
            from = self.heap.offset_of(value).map(From::Heap);
            if from.is_none() && len >= self.shortest_pulled && self.is_pulled(sender.0) {
                from = Some(From::Process(value.as_ptr().addr() as u64));
            }
        }
        let Some(from) = from else { return self.begin_send(sender, len) };
        let room = self.senders[sender.0 as usize].begin_lend(from, len, self.tag)?;
        Ok(room.then_some(SendSpace::Lent))
    }

    fn neighbours(&self) -> usize {
        self.peers.len()
    }

    fn heap(&self) -> Option<&Heap> {
        Some(&self.heap)
    }

    fn lends(&self) -> Option<LendLimits> {
        Some(LendLimits { at_least: self.shortest_lent, at_most: PeerHeap::LONGEST })
    }

    fn lend_from(&mut self, bytes: usize) {
        (self.shortest_lent, self.shortest_pulled) = (bytes.max(1), bytes.max(1));
    }

    #[inline]
    fn borrower(&mut self) -> Option<u32> {
        while let Some(&sender) = self.lending.last() {
            if self.senders[sender as usize].lends() {
                let position = sender / u32::from(self.channels);
                return Some(self.peers[position as usize].rank);
            }
            self.lending.pop();
        }
        None
    }

    fn withdraw(&mut self) {
        self.senders.iter_mut().for_each(SendEnd::withdraw);
        self.lending.clear();
        // The words are there before whatever the caller does next to its memory.
        withdrawn_fence();
    }

    #[inline]
    fn commit(&mut self, sender: Sender) -> Result<(), TransportError> {
        let end = &mut self.senders[sender.0 as usize];
        let lent_before = end.has_lent();
        if let Some(len) = end.commit() {
            if !lent_before && end.has_lent() {
                self.lending.push(sender.0);
            }
            self.counters.messages += 1;
            self.counters.wire_messages += 1;
            self.counters.bytes += len as u64;
            self.published(sender.0, len);
        }
        Ok(())
    }

    fn send_from(&mut self, sender: Sender, value: Region) -> Result<(), TransportError> {
        let slot = self.senders[sender.0 as usize].begun();
        if slot.is_some_and(|slot| slot.copy_from(value)) { self.commit(sender) } else { Ok(()) }
    }

    fn sent(&mut self, _: Sender) -> bool {
        true
    }

    #[inline]
    fn post(&mut self, grants: &[Grant]) -> Result<(), TransportError> {
        for grant in grants {
            self.receivers[grant.receiver.0 as usize].post(grant.limit, grant.place);
        }
        Ok(())
    }

    #[inline]
    fn poll(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        match self.receivers[receiver.0 as usize].poll()? {
            None => Ok(None),
            Some(Found::Here(arrival)) => Ok(Some(arrival)),
            Some(Found::Away(away)) => self.fetch(receiver.0, &away).map(Some),
        }
    }

    #[inline]
    fn intact(&mut self, receiver: Receiver) -> Result<(), TransportError> {
        self.receivers[receiver.0 as usize].intact()
    }

    fn take_over(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        if let Some(len) = self.receivers[receiver.0 as usize].take_over()? {
            self.published(receiver.0, len);
        }
        self.poll(receiver)
    }

    #[inline]
    fn release(&mut self, receiver: Receiver) {
        if let Some(len) = self.receivers[receiver.0 as usize].release() {
            self.published(receiver.0, len);
            let position = (receiver.0 / u32::from(self.channels)) as usize;
            if matches!(self.peers[position].pulling, Pulling::Untried) {
                self.try_to_pull(position);
            }
        }
    }

    #[inline]
    fn progress(&mut self) -> Result<bool, TransportError> {
        self.ring_sleepers();
        Ok(false)
    }

    /// Not while a receiver may still have to be rung.
    #[inline]
    fn flushed(&self) -> bool {
        self.unrung.is_empty()
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn drained(&mut self) -> Result<bool, TransportError> {
        self.ring_sleepers();
        Ok(self.borrower().is_none())
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn slot_memory(&self) -> u64 {
        self.limits.slot_memory(self.receivers.len())
    }
}

impl Drop for LocalEndpoint {
    /// Says farewell. What was sent stays readable, for the peers keep the memory.
    fn drop(&mut self) {
        // The copy of an endpoint in a forked child is nobody's farewell.
        if self.process != rustix::process::getpid() {
            return;
        }
        self.senders.iter().for_each(SendEnd::leave);
        self.receivers.iter().for_each(ReceiveEnd::leave);
        Doorbell::published_to(self.peers.iter().filter_map(|p| p.bell.get().map(Arc::as_ref)));
    }
}

#[cfg(test)]
mod tests;
