//! Owns the loopback transport: ranks that are threads of one process, over the same rings as shared
//! memory between processes.
//!
//! Here too only what lies in a heap is lent, though a thread can reach all memory: an operation that
//! fails gives its buffers back while a peer may still be reading them, and a heap stays mapped.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::TransportError;
use crate::doorbell::Doorbell;
use crate::heap::{Heap, PeerHeap};
use crate::local::{Bell, LocalEndpoint, PeerRings};
use crate::mapping::Mapping;
use crate::ring::{Layout, ReceiveEnd, SendEnd};
use crate::seam::Limits;

/// The rings between all ranks of one process.
///
/// Maps `ranks² × channels × slots × slot_bytes` and a page per ring; a page takes up memory once
/// it was used, so a plan pays for the connections and slots that it needs.
#[derive(Debug)]
pub struct Fabric {
    memory: Arc<Mapping>,
    layout: Layout,
    ranks: u32,
    channels: u16,
    bells: Vec<Bell>,
    heaps: Vec<Heap>,
    taken: Vec<AtomicBool>,
    /// Fabrics made of this one that not all of their ranks have taken yet, by key.
    children: Mutex<BTreeMap<u64, Child>>,
}

/// A fabric whose ranks are still to come.
#[derive(Debug)]
struct Child {
    fabric: Arc<Fabric>,
    to_come: u32,
}

impl Fabric {
    /// Rings between `ranks` ranks, each pair by `channels` connections each way, and a heap as large
    /// as the host's memory for each rank.
    ///
    /// # Errors
    /// [`TransportError::System`] when the host cannot map so much, or there are no slots.
    pub fn new(ranks: u32, channels: u16, limits: Limits) -> Result<Arc<Self>, TransportError> {
        Self::with_heaps(ranks, channels, limits, Heap::default_bytes())
    }

    /// As [`new`](Self::new), with heaps of at most `heap_bytes`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_heaps(
        ranks: u32,
        channels: u16,
        limits: Limits,
        heap_bytes: usize,
    ) -> Result<Arc<Self>, TransportError> {
        let refused = |source| TransportError::System {
            call: format!("mapping {ranks}² × {channels} rings of {limits:?}"),
            source,
        };
        let layout = Layout::new(limits).ok_or_else(|| refused(TOO_LARGE.into()))?;
        let rings = (ranks as usize).checked_mul(ranks as usize);
        let len = rings
            .and_then(|rings| rings.checked_mul(usize::from(channels)))
            .and_then(|rings| rings.max(1).checked_mul(layout.ring_bytes()))
            .ok_or_else(|| refused(TOO_LARGE.into()))?;
        let memory = Arc::new(Mapping::anonymous(len).map_err(refused)?);
        let bells = (0..ranks).map(|_| Arc::new(OnceLock::new())).collect();
        let heaps = (0..ranks).map(|_| Heap::private(heap_bytes)).collect();
        let taken = (0..ranks).map(|_| AtomicBool::new(false)).collect();
        Ok(Arc::new(Self {
            memory,
            layout,
            ranks,
            channels,
            bells,
            heaps,
            taken,
            children: Mutex::default(),
        }))
    }

    /// The fabric of `ranks` ranks, some of this one's, that is known by `key`: the same one for each of
    /// them, who ask once. It has the limits and heaps of this one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn child(&self, key: u64, ranks: u32) -> Result<Arc<Self>, TransportError> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let child = match children.entry(key) {
            Entry::Occupied(child) => child.into_mut(),
            Entry::Vacant(place) => {
                let heap_bytes = self.heaps.first().map_or(0, Heap::len);
                let limits = self.layout.limits();
                let fabric = Self::with_heaps(ranks, self.channels, limits, heap_bytes)?;
                place.insert(Child { fabric, to_come: ranks })
            }
        };
        let fabric = Arc::clone(&child.fabric);
        child.to_come = child.to_come.saturating_sub(1);
        if child.to_come == 0 {
            children.remove(&key);
        }
        Ok(fabric)
    }

    /// The endpoint of `rank`, which peers wake by `doorbell`. Waits for nobody.
    ///
    /// # Errors
    /// [`TransportError::System`] when there is no such rank, or its endpoint was given before.
    pub fn endpoint(
        &self,
        rank: u32,
        doorbell: Arc<Doorbell>,
    ) -> Result<LocalEndpoint, TransportError> {
        let wrong = |kind: io::ErrorKind| TransportError::System {
            call: format!("taking the endpoint of rank {rank} in a fabric of {}", self.ranks),
            source: kind.into(),
        };
        let taken = self.taken.get(rank as usize).ok_or_else(|| wrong(TOO_LARGE))?;
        if taken.swap(true, Ordering::AcqRel) {
            return Err(wrong(io::ErrorKind::AlreadyExists));
        }
        self.bells[rank as usize].set(doorbell).map_err(|_| wrong(io::ErrorKind::AlreadyExists))?;
        let peers = (0..self.ranks).filter(|&peer| peer != rank);
        let peers = peers.map(|peer| self.rings_with(rank, peer)).collect();
        let heap = self.heaps[rank as usize].clone();
        Ok(LocalEndpoint::new("loopback", self.layout.limits(), self.channels, heap, peers))
    }

    fn rings_with(&self, rank: u32, peer: u32) -> PeerRings {
        let offset = |from: u32, to: u32, channel: u16| {
            let pair = from as usize * self.ranks as usize + to as usize;
            (pair * usize::from(self.channels) + usize::from(channel)) * self.layout.ring_bytes()
        };
        let (memory, layout) = (&self.memory, self.layout);
        PeerRings {
            rank: peer,
            bell: Arc::clone(&self.bells[peer as usize]),
            heap: PeerHeap::Same(self.heaps[peer as usize].clone()),
            senders: (0..self.channels)
                .map(|c| SendEnd::new(memory, offset(rank, peer, c), layout, rank, peer))
                .collect(),
            receivers: (0..self.channels)
                .map(|c| ReceiveEnd::new(memory, offset(peer, rank, c), layout, peer))
                .collect(),
        }
    }
}

const TOO_LARGE: io::ErrorKind = io::ErrorKind::InvalidInput;

#[cfg(test)]
mod tests;
