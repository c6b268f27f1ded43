//! Owns a peer's heap as this rank sees it: which parts are mapped, and where a lent message lies.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use super::Heap;
use crate::Region;
use crate::mapping::Mapping;

/// Peers map a heap in pieces that begin at multiples of this, twice as long, so that a message of up
/// to so many bytes lies in one of them wherever it begins.
const EXTENT_BYTES: usize = 256 << 20;

/// The heap of one peer.
#[derive(Debug)]
pub(crate) enum PeerHeap {
    /// Of a thread of this process.
    Same(Heap),
    /// Of another process.
    Mapped(Extents),
}

/// A heap of another process, mapped read-only as far as it was lent.
#[derive(Debug)]
pub(crate) struct Extents {
    memory: OwnedFd,
    len: usize,
    mapped: BTreeMap<usize, Mapping>,
}

/// Why there is no message where a peer says that it lent one.
#[derive(Debug)]
pub(crate) enum NotThere {
    /// The peer has no such memory.
    Outside { heap_bytes: usize },
    /// This host refused to map it.
    Unmapped(io::Error),
}

impl PeerHeap {
    /// Bytes of the longest message that can be lent.
    pub(crate) const LONGEST: usize = EXTENT_BYTES;

    /// The heap behind a descriptor that a peer sent.
    ///
    /// Refused unless it is memory that the peer cannot shrink later.
    pub(crate) fn of(memory: OwnedFd) -> io::Result<Self> {
        let len = Mapping::sealed_len(&memory)?;
        Ok(Self::Mapped(Extents { memory, len, mapped: BTreeMap::new() }))
    }

    /// The `len` bytes, at most [`LONGEST`](Self::LONGEST), at `offset`, both as the peer says.
    pub(crate) fn find(&mut self, offset: u64, len: usize) -> Result<Region, NotThere> {
        let heap_bytes = match self {
            Self::Same(heap) => heap.0.len,
            Self::Mapped(extents) => extents.len,
        };
        let outside = || NotThere::Outside { heap_bytes };
        let offset = usize::try_from(offset).map_err(|_| outside())?;
        let end = offset.checked_add(len).ok_or_else(outside)?;
        if end > heap_bytes || len > Self::LONGEST {
            return Err(outside());
        }
        let (mapping, within) = match self {
            Self::Same(heap) => (heap.0.mapped.get().ok_or_else(outside)?, offset),
            Self::Mapped(extents) => {
                let start = offset - offset % EXTENT_BYTES;
                (extents.at(start).map_err(NotThere::Unmapped)?, offset - start)
            }
        };
        // SAFETY: the range was just seen to lie inside the mapping, which lives as long as the endpoint
        // that has it. That the peer leaves the bytes alone until they are released is its part of
        // the protocol; it is trusted in this as with slots.
        Ok(unsafe { Region::from_raw_parts(mapping.start().add(within), len) })
    }
}

impl Extents {
    /// The extent that begins at `start`, mapped now if it was not.
    fn at(&mut self, start: usize) -> io::Result<&Mapping> {
        use std::collections::btree_map::Entry;
        match self.mapped.entry(start) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let len = (2 * EXTENT_BYTES).min(self.len - start);
                Ok(entry.insert(Mapping::read_only(&self.memory, start, len)?))
            }
        }
    }
}
