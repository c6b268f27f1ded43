//! Owns the shared-memory transport: which rank of a host maps what, and the endpoint made of it.
//!
//! Each rank makes one memfd, its *segment*, with the rings in which its local peers send to it.
//! The ranks meet once at a Unix socket (see `meeting`) and give each other segment, doorbell and heap.
//!
//! # What it maps
//! With n ranks on a host each rank maps its own segment, (n−1) × channels rings, and of each
//! peer's segment the part that it sends in: 2 (n−1) × channels rings in all, and 2 (n−1) pages of
//! doorbells; behind the rings of a pair lies its relay box, where ranks send by way of each other. A ring has slots × slot_bytes and a page of headers. Memory is taken up by pages that
//! were touched: a connection that was never used takes none, one that carried only tiny messages a
//! page. Of heaps nothing is mapped before something in them is lent. All n segments together are at most n (n−1) × channels rings.
//!
//! Nothing has a name in a file system, so nothing is left when the ranks end, however they end. A
//! killed peer is not noticed here (its rings just stay still); the monitor notices it.

mod meeting;
mod message;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crosstie_net::{Interrupted, Secret};

use crate::TransportError;
use crate::doorbell::Doorbell;
use crate::heap::{Heap, PeerHeap};
use crate::local::{LocalEndpoint, PeerRings};
use crate::mapping::Mapping;
use crate::pull::Word;
use crate::relay::{BoxShape, RelayBox, RelayPeer};
use crate::ring::{Layout, ReceiveEnd, SendEnd};
use crate::seam::Limits;

/// What a rank needs to know to share memory with the others of its host.
#[derive(Debug, Clone)]
pub struct ShmOptions {
    /// The world's secret: names the meeting place and admits to it.
    pub secret: Secret,
    /// This rank.
    pub rank: u32,
    /// All ranks that share this host's memory, this one among them; the same list on each.
    pub local_ranks: Vec<u32>,
    /// Connections each way between each pair; the same on each rank.
    pub channels: u16,
    /// Slots and their size; the same on each rank.
    pub limits: Limits,
    /// Bytes of this rank's heap, at most; none of it is used before it is asked for.
    pub heap_bytes: usize,
    /// Whether peers may read this process's memory, and this rank theirs, where the host allows it and
    /// they want it too. It spares a copy of long messages that no heap has.
    pub pull: bool,
    /// The relay boxes between the ranks, where they send by way of each other; the same on each rank.
    pub boxes: Option<BoxShape>,
    /// When to give up waiting for a rank that has not come.
    pub deadline: Instant,
}

/// Meets the other ranks of this host, and connects to all of them. `doorbell` wakes this rank. Gives
/// up within about 50 ms once `interrupted` says so.
///
/// # Errors
/// [`TransportError::ConnectDeadline`] names the lowest rank that did not come;
/// [`TransportError::Interrupted`] here or at the leader; [`TransportError::PeerGone`] the leader, when it ended meanwhile;
/// [`TransportError::PeerMisbehaved`] a rank that wants other limits, or another user's process in
/// the place of the leader; [`TransportError::System`] what this host refused.
pub fn connect(
    options: &ShmOptions,
    doorbell: &Doorbell,
    interrupted: Interrupted<'_>,
) -> Result<LocalEndpoint, TransportError> {
    connect_with_boxes(options, doorbell, interrupted).map(|(endpoint, _)| endpoint)
}

/// As [`connect`]; gives beside the endpoint the relay boxes that [`ShmOptions::boxes`] asks for.
///
/// # Errors
/// As [`connect`].
pub fn connect_with_boxes(
    options: &ShmOptions,
    doorbell: &Doorbell,
    interrupted: Interrupted<'_>,
) -> Result<(LocalEndpoint, Vec<RelayPeer>), TransportError> {
    let node = Node::new(options)?;
    let (segment, memory) = Mapping::create("crosstie-rings", node.segment_bytes.max(1))
        .map_err(|source| system("memfd for a rank's rings", source))?;
    let heap = own_heap(options.heap_bytes)?;
    let [word, bell] = doorbell.fds();
    let own = [memory.as_fd(), word, bell, heap.memory().unwrap_or(memory.as_fd())];
    let peers = meeting::exchange(options, &node, own, interrupted)?;
    let segment = Arc::new(segment);
    let peers = peers.into_iter().map(|(rank, shared)| node.join(&segment, rank, shared));
    let (peers, boxes): (Vec<_>, Vec<_>) =
        peers.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let mut endpoint = LocalEndpoint::new("shm", options.limits, options.channels, heap, peers);
    if options.pull {
        let word = options.secret.derive(&format!("a word of rank {}", options.rank));
        endpoint.pull(Word::new(word.world_id().0));
    }
    Ok((endpoint, boxes.into_iter().flatten().collect()))
}

/// A host that gives no memory of the heap's size (a limit on a process's files, say) gets a smaller
/// one: what fits not into it is refused when it is asked for.
fn own_heap(mut bytes: usize) -> Result<Heap, TransportError> {
    loop {
        match Heap::shared(bytes) {
            Err(error) if bytes > SMALLEST_HEAP => {
                tracing::debug!(%error, "tries a smaller heap");
                bytes /= 4;
            }
            other => return other,
        }
    }
}

const SMALLEST_HEAP: usize = 1 << 20;

/// What a rank gives to its peers: its segment, its doorbell's word and bell, and its heap.
const DESCRIPTORS: usize = 4;
type Shared<F> = [F; DESCRIPTORS];

/// The ranks of a host, and where their rings lie.
#[derive(Debug)]
struct Node {
    rank: u32,
    /// In order.
    ranks: Vec<u32>,
    channels: u16,
    layout: Layout,
    boxes: Option<BoxShape>,
    /// Bytes that lie in a segment for each other rank: rings, and behind them the box.
    block_bytes: usize,
    segment_bytes: usize,
}

impl Node {
    fn new(options: &ShmOptions) -> Result<Self, TransportError> {
        let refused = |what: &str| {
            let what = format!("{what}: {options:?}");
            system("laying out shared memory", io::Error::new(io::ErrorKind::InvalidInput, what))
        };
        let mut ranks = options.local_ranks.clone();
        ranks.sort_unstable();
        ranks.dedup();
        if ranks.binary_search(&options.rank).is_err() {
            return Err(refused("a rank is not among its local ranks"));
        }
        if options.channels == 0 {
            return Err(refused("a connection needs a channel"));
        }
        let layout = Layout::new(options.limits).ok_or_else(|| refused("no ring is so large"))?;
        let block_bytes = layout
            .ring_bytes()
            .checked_mul(usize::from(options.channels))
            .and_then(|bytes| bytes.checked_add(options.boxes.map_or(0, BoxShape::box_bytes)));
        let block_bytes = block_bytes.ok_or_else(|| refused("no segment is so large"))?;
        let segment_bytes = block_bytes
            .checked_mul(ranks.len() - 1)
            .ok_or_else(|| refused("no segment is so large"))?;
        let (rank, channels, boxes) = (options.rank, options.channels, options.boxes);
        Ok(Self { rank, ranks, channels, layout, boxes, block_bytes, segment_bytes })
    }

    /// The rank that the others come to.
    fn leader(&self) -> u32 {
        self.ranks[0]
    }

    /// All ranks but this one.
    fn others(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranks.iter().copied().filter(|&rank| rank != self.rank)
    }

    /// Which of the blocks in the segment of `to` holds the rings from `from`.
    fn block(&self, from: u32, to: u32) -> usize {
        let before = |&&rank: &&u32| rank < from && rank != to;
        self.ranks.iter().filter(before).count()
    }

    fn join(
        &self,
        segment: &Arc<Mapping>,
        peer: u32,
        shared: Shared<OwnedFd>,
    ) -> Result<(PeerRings, Option<RelayPeer>), TransportError> {
        let [memory, word, bell, heap] = shared;
        let channels = usize::from(self.channels);
        let bytes = self.block_bytes;
        let start = self.block(self.rank, peer) * bytes;
        let theirs = Mapping::open_part(memory, self.segment_bytes.max(1), start, bytes)
            .map_err(|source| system(&format!("mapping the rings of rank {peer}"), source))?;
        let theirs = Arc::new(theirs);
        let heap = PeerHeap::of(heap)
            .map_err(|source| system(&format!("looking at the heap of rank {peer}"), source))?;
        let own = self.block(peer, self.rank) * bytes;
        let layout = self.layout;
        let ring = |first: usize, channel: usize| first + channel * layout.ring_bytes();
        let bell = Arc::new(Doorbell::from_fds(word, bell)?);
        let boxes = self.boxes_with(peer, &bell, (segment, own), &theirs)?;
        let rings = PeerRings {
            rank: peer,
            bell: Arc::new(OnceLock::from(bell)),
            heap,
            senders: (0..channels)
                .map(|channel| SendEnd::new(&theirs, ring(0, channel), layout, self.rank, peer))
                .collect(),
            receivers: (0..channels)
                .map(|channel| ReceiveEnd::new(segment, ring(own, channel), layout, peer))
                .collect(),
        };
        Ok((rings, boxes))
    }

    /// The boxes behind the rings: in this rank's segment, in the block at `own`, and in the peer's.
    fn boxes_with(
        &self,
        rank: u32,
        bell: &Arc<Doorbell>,
        (segment, own): (&Arc<Mapping>, usize),
        theirs: &Arc<Mapping>,
    ) -> Result<Option<RelayPeer>, TransportError> {
        let Some(shape) = self.boxes else { return Ok(None) };
        let behind = usize::from(self.channels) * self.layout.ring_bytes();
        let at = |memory, offset| {
            RelayBox::new(memory, offset, shape).ok_or_else(|| {
                let source = io::ErrorKind::InvalidInput.into();
                system(&format!("laying out the relay boxes with rank {rank}"), source)
            })
        };
        let (theirs, own) = (at(theirs, behind)?, at(segment, own + behind)?);
        Ok(Some(RelayPeer { rank, bell: Arc::clone(bell), theirs, own }))
    }
}

#[cold]
fn system(call: &str, source: io::Error) -> TransportError {
    TransportError::System { call: call.to_owned(), source }
}

#[cfg(test)]
mod tests;
