//! Owns relay boxes: the memory through which a rank hands pieces of messages to the rank of its node that
//! sends them on over the network, and through which it hears what their receivers permit.
//!
//! A relay has a box for each other rank of its node, in its own segment. The rank puts pieces into slots
//! that it takes and fills in any order; the relay empties them in any order, so that a receiver that has
//! stopped reading holds up nobody else. Back come *cells*, one for each receiver and channel: the grant,
//! the standing offer, a refusal, the end of the wire. A cell is written over, never queued, so storing
//! one never waits (rule F2 of the protocol): it holds as many grants as a connection may have outstanding,
//! each in the place of its number, and what an older one said there is void once a newer one is there.
//!
//! `words` counts the slots; this module lays out the memory and gives the two ends.

pub(crate) mod words;

#[cfg(not(loom))]
mod ends;
#[cfg(not(loom))]
mod layout;

#[cfg(not(loom))]
pub(crate) use ends::{Back, FeedEnd, RelayEnd, Told};
#[cfg(not(loom))]
pub use layout::BoxShape;
#[cfg(not(loom))]
pub(crate) use layout::{Note, RelayBox};

#[cfg(not(loom))]
use std::{io, sync::Arc};

#[cfg(not(loom))]
use crate::{TransportError, doorbell::Doorbell, mapping::Mapping};

/// The boxes between this rank and another one of its node, in both directions, and the other's bell.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct RelayPeer {
    /// The other rank.
    pub rank: u32,
    pub(crate) bell: Arc<Doorbell>,
    /// Into which this rank puts what the other sends on.
    pub(crate) theirs: RelayBox,
    /// Into which the other puts what this rank sends on.
    pub(crate) own: RelayBox,
}

#[cfg(not(loom))]
impl RelayPeer {
    /// For tests: the boxes between two ranks of one process, as each of them has them.
    ///
    /// # Errors
    /// [`TransportError::System`] when the host gives no memory.
    #[doc(hidden)]
    pub fn pair(
        (one, one_bell): (u32, &Arc<Doorbell>),
        (other, other_bell): (u32, &Arc<Doorbell>),
        shape: BoxShape,
    ) -> Result<(Self, Self), TransportError> {
        let refused = |source: io::Error| TransportError::System {
            call: format!("mapping relay boxes of {shape:?}"),
            source,
        };
        let new = || {
            let memory = Arc::new(Mapping::anonymous(shape.box_bytes()).map_err(refused)?);
            RelayBox::new(&memory, 0, shape)
                .ok_or_else(|| refused(io::ErrorKind::OutOfMemory.into()))
        };
        let (ones, others) = (new()?, new()?);
        let of = |rank, bell: &Arc<Doorbell>, theirs: &RelayBox, own: &RelayBox| Self {
            rank,
            bell: Arc::clone(bell),
            theirs: theirs.clone(),
            own: own.clone(),
        };
        Ok((of(other, other_bell, &others, &ones), of(one, one_bell, &ones, &others)))
    }
}
