//! Owns how a device carries wires: which pair is which wire's, one block for all slots, and when to be rung.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::device::{Completion, Device, Lasting, Pair};
use super::link::Ring;
use crate::mapping::Mapping;
use crate::seam::Limits;
use crate::wires::{Joint, Keys, Medium, Memory, Relays, WireEndpoint, system};
use crate::{Region, TransportError};

/// A rank's end of all its connections over a device.
pub type PlacingEndpoint<D> = WireEndpoint<Placing<D>>;

/// A device, and what it carries.
pub struct Placing<D: Device> {
    device: D,
    /// The wires of its pairs, and which of their lanes each is, by their numbers.
    wires: Vec<(u32, usize, u8)>,
    /// The memory of all slots, and how much of it was given out.
    block: Option<(Arc<Mapping>, Keys)>,
    given: usize,
}

impl<D: Device> PlacingEndpoint<D> {
    /// An endpoint of `rank` over `device`, with a link for each rank that it shares a wire with, and `channels`
    /// connections each way; `limits` and `channels` are the same at both ends.
    ///
    /// # Errors
    /// [`TransportError::System`].
    pub fn new(
        device: D,
        rank: u32,
        joints: Vec<Joint<Ring<D::Pair>>>,
        relays: Relays,
        channels: u16,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        Self::over(Placing::over(device), rank, joints, relays, (channels, limits))
    }
}

impl<D: Device> Placing<D> {
    /// Over `device`, without wires.
    pub(in crate::wires) fn over(device: D) -> Self {
        Self { device, wires: Vec::new(), block: None, given: 0 }
    }
}

impl<D: Device> Medium for Placing<D> {
    type Link = Ring<D::Pair>;
    const WATCHES: bool = false;
    const WATCHES_ROOM: bool = false;
    /// A round without a system call takes a tenth of a microsecond, and a grant several of them to come. What may be lent
    /// keeps nobody waiting, so that being patient costs little.
    const PATIENCE_ROUNDS: u32 = 200;

    fn name(&self) -> &'static str {
        self.device.name()
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), TransportError> {
        let block = memory_for_devices(bytes)?;
        // SAFETY: the mapping keeps its memory, to which only raw pointers go: slots, each of which is written by its
        // peer while it is the peer's.
        let lasting = unsafe { Lasting::new(block.region(), Box::new(Arc::clone(&block))) };
        self.block = Some((block, self.device.register(lasting)?));
        Ok(())
    }

    fn memory(&mut self, bytes: usize) -> Result<Memory, TransportError> {
        let part = self
            .block
            .as_ref()
            .and_then(|(block, keys)| Memory::part(block, *keys, self.given, bytes));
        self.given += bytes;
        part.ok_or_else(|| {
            system("giving out reserved memory", std::io::ErrorKind::OutOfMemory.into())
        })
    }

    fn register(&mut self, memory: Lasting) -> Result<Keys, TransportError> {
        self.device.register(memory)
    }

    fn keys_of(&self, region: Region) -> Option<Keys> {
        self.device.keys_of(region)
    }

    fn add(&mut self, index: usize, link: &mut Self::Link) -> Result<(), TransportError> {
        for (number, lane) in link.numbers().zip(0..) {
            let place = self.wires.partition_point(|&(other, ..)| other < number);
            self.wires.insert(place, (number, index, lane));
        }
        Ok(())
    }

    fn poll(
        &mut self,
        mut each: impl FnMut(usize, (u8, Completion<<D::Pair as Pair>::Error>)),
    ) -> Result<(), TransportError> {
        let wires = &self.wires;
        self.device.poll(|number, completion| {
            if let Ok(place) = wires.binary_search_by_key(&number, |&(number, ..)| number) {
                let (_, index, lane) = wires[place];
                each(index, (lane, completion));
            }
        })
    }

    fn arm(&mut self) -> Result<(), TransportError> {
        self.device.arm()
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.device.fd()
    }
}

/// Zeroed memory that a device may know. A fork does not copy it: the copy would be the one that the device does not
/// know, or this one be.
pub(super) fn memory_for_devices(bytes: usize) -> Result<Arc<Mapping>, TransportError> {
    let refused = |source| system(&format!("mapping {bytes} bytes for a device"), source);
    Ok(Arc::new(Mapping::anonymous(bytes.max(1)).map_err(refused)?))
}
