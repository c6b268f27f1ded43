//! Owns [`LocalEndpoint`]: a rank's ends of all rings that it shares with ranks of its host.
//!
//! Publishing is at once, ringing is not: the fence and the look at the peers' owner words come
//! once for all small messages and credits of a round, in [`Endpoint::progress`]. A spinning
//! peer sees a message as early as before; a sleeping one is woken a round later, but for messages
//! long enough to hide the fence.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

use rustix::process::Pid;

use crate::doorbell::Doorbell;
use crate::heap::{Heap, NotThere, PeerHeap};
use crate::ring::{Found, ReceiveEnd, SendEnd};
use crate::seam::{
    Arrival, Counters, Endpoint, Grant, LendLimits, Limits, Receiver, SendSpace, Sender, TAG_MASK,
};
use crate::{Region, TransportError};

/// A peer's doorbell. Empty until the peer has come: before that it cannot sleep.
pub(crate) type Bell = Arc<OnceLock<Arc<Doorbell>>>;

/// Messages of at most so many bytes wait for the end of the round before their receiver is rung.
const DEFERRED_BYTES: usize = 4096;

/// Shorter messages are copied: a lent one is back only after the receiver has read it.
const SHORTEST_LENT: usize = 1024;

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
    unrung: bool,
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
            lending: Vec::new(),
            unrung: Vec::with_capacity(peers.len()),
            tag: 0,
            counters: Counters::default(),
            process: rustix::process::getpid(),
        };
        for peer in peers {
            let PeerRings { rank, bell, heap, .. } = peer;
            endpoint.peers.push(Peer { rank, bell, heap, unrung: false });
            endpoint.senders.extend(peer.senders);
            endpoint.receivers.extend(peer.receivers);
        }
        endpoint
    }

    /// Maps what a peer lent.
    fn locate(
        &mut self,
        index: u32,
        (offset, len, tag): (u64, usize, u32),
    ) -> Result<Arrival, TransportError> {
        let position = index / u32::from(self.channels);
        let peer = &mut self.peers[position as usize];
        let end = &mut self.receivers[index as usize];
        match peer.heap.find(offset, len) {
            Ok(bytes) => Ok(end.arrive(bytes, tag)),
            Err(NotThere::Outside { heap_bytes }) => {
                Err(end.nothing_there(offset, len, heap_bytes))
            }
            Err(NotThere::Unmapped(source)) => {
                let call = format!("mapping the heap of rank {}", peer.rank);
                Err(TransportError::System { call, source })
            }
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
        if value.len() >= SHORTEST_LENT
            && value.len() <= PeerHeap::LONGEST
            && let Some(offset) = self.heap.offset_of(value)
        {
            let end = &mut self.senders[sender.0 as usize];
            let room = end.begin_lend(offset, value.len(), self.tag)?;
            return Ok(room.then_some(SendSpace::Lent));
        }
        self.begin_send(sender, value.len())
    }

    fn heap(&self) -> Option<&Heap> {
        Some(&self.heap)
    }

    fn lends(&self) -> Option<LendLimits> {
        Some(LendLimits { at_least: SHORTEST_LENT, at_most: PeerHeap::LONGEST })
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
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
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
            self.receivers[grant.receiver.0 as usize].post(grant.limit);
        }
        Ok(())
    }

    #[inline]
    fn poll(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        match self.receivers[receiver.0 as usize].poll()? {
            None => Ok(None),
            Some(Found::Here(arrival)) => Ok(Some(arrival)),
            Some(Found::Lent { offset, len, tag }) => {
                self.locate(receiver.0, (offset, len, tag)).map(Some)
            }
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
        Ok(true)
    }

    fn counters(&self) -> Counters {
        self.counters
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
