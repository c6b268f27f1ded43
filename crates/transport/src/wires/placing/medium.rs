//! Owns how devices carry wires: which pair is which wire's, a block for the slots of all wires of a device, and when to
//! be rung.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;

use super::device::{Completion, Device, Lasting, Pair};
use super::link::Ring;
use super::strands::MOST_STRANDS;
use crate::mapping::Mapping;
use crate::seam::Limits;
use crate::wires::{Joint, Keys, Medium, Memory, Relays, WireEndpoint, system};
use crate::{Region, TransportError};

/// A rank's end of all its connections over devices.
pub type PlacingEndpoint<D> = WireEndpoint<Placing<D>>;

/// A rank's devices, and what they carry.
pub struct Placing<D: Device> {
    name: &'static str,
    devices: Vec<Carrier<D>>,
    blocks: Vec<Block>,
    /// Readable when one of the devices is, where they are not one.
    any: Option<OwnedFd>,
}

struct Carrier<D> {
    device: D,
    /// The wires of its pairs, and which of their lanes each is, by their numbers.
    wires: Vec<(u32, usize, u8)>,
}

/// The memory of the slots of all wires that are on the same devices.
struct Block {
    /// Those devices: the first of them, and the others.
    device: usize,
    others: Box<[usize]>,
    /// Bytes that are to be asked for, and that were given out.
    wanted: usize,
    given: usize,
    /// Once something was; and the keys of the devices, the first's first.
    memory: Option<(Arc<Mapping>, Keys, Vec<Keys>)>,
}

impl<D: Device> PlacingEndpoint<D> {
    /// An endpoint of `rank` over `devices`, with a link for each rank that it shares a wire with, and `channels`
    /// connections each way; `limits` and `channels` are the same at both ends. Links name devices by their places.
    ///
    /// # Errors
    /// [`TransportError::System`].
    pub fn new(
        devices: Vec<D>,
        rank: u32,
        joints: Vec<Joint<Ring<D::Pair>>>,
        relays: Relays,
        channels: u16,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        Self::over(Placing::over(devices)?, rank, joints, relays, (channels, limits))
    }
}

impl<D: Device> Placing<D> {
    /// Over `devices`, without wires.
    pub(in crate::wires) fn over(devices: Vec<D>) -> Result<Self, TransportError> {
        let name = devices.first().map_or("placing", Device::name);
        let any = if devices.len() == 1 { None } else { Some(ears(&devices)?) };
        let carrier = |device| Carrier { device, wires: Vec::new() };
        let devices = devices.into_iter().map(carrier).collect();
        Ok(Self { name, devices, blocks: Vec::new(), any })
    }

    /// The block for the slots of a wire.
    fn block(&mut self, link: &Ring<D::Pair>) -> usize {
        let (device, others) = (link.device(), link.others());
        let is_same = |block: &Block| block.device == device && *block.others == *others;
        self.blocks.iter().position(is_same).unwrap_or_else(|| {
            let block = Block { device, others: others.into(), wanted: 0, given: 0, memory: None };
            self.blocks.push(block);
            self.blocks.len() - 1
        })
    }

    fn device(&mut self, index: usize) -> Result<&mut D, TransportError> {
        let device = self.devices.get_mut(index).map(|carrier| &mut carrier.device);
        device.ok_or_else(|| system("naming a device", std::io::ErrorKind::NotFound.into()))
    }

    /// Has all devices of a wire know memory; by what each does, the first's first.
    fn register_on(
        &mut self,
        (first, others): (usize, &[usize]),
        memory: impl Fn() -> Lasting,
    ) -> Result<(Keys, Vec<Keys>), TransportError> {
        let mut on = |index: usize| {
            let (device, memory) = (self.device(index)?, memory());
            device.keys_of(memory.region()).map_or_else(|| device.register(memory), Ok)
        };
        Ok((on(first)?, others.iter().map(|&other| on(other)).collect::<Result<_, _>>()?))
    }

    /// The keys of memory on a wire that is on several devices: all of them must know it.
    fn keys_on_all(&self, link: &mut Ring<D::Pair>, region: Region, first: Keys) -> Option<Keys> {
        let mut others = [Keys::NONE; MOST_STRANDS - 1];
        let count = link.others().len();
        for (keys, &device) in others.iter_mut().zip(link.others()) {
            *keys = self.devices.get(device)?.device.keys_of(region)?;
        }
        link.learn(first, others[..count.min(others.len())].iter().copied(), false);
        Some(first)
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
        self.name
    }

    fn reserve(&mut self, link: &Self::Link, bytes: usize) {
        let block = self.block(link);
        self.blocks[block].wanted += bytes;
    }

    fn memory(&mut self, link: &mut Self::Link, bytes: usize) -> Result<Memory, TransportError> {
        let index = self.block(link);
        if self.blocks[index].memory.is_none() {
            let block = memory_for_devices(self.blocks[index].wanted)?;
            // SAFETY: the mapping keeps its memory, to which only raw pointers go: slots, each of which is written by
            // its peer while it is the peer's.
            let lasting = || unsafe { Lasting::new(block.region(), Box::new(Arc::clone(&block))) };
            let (first, others) = self.register_on((link.device(), link.others()), lasting)?;
            self.blocks[index].memory = Some((block, first, others));
        }
        let Block { memory, given, .. } = &mut self.blocks[index];
        let part = memory.as_ref().and_then(|(block, first, others)| {
            link.learn(*first, others.iter().copied(), true);
            Memory::part(block, *first, *given, bytes)
        });
        *given += bytes;
        part.ok_or_else(|| {
            system("giving out reserved memory", std::io::ErrorKind::OutOfMemory.into())
        })
    }

    fn register(
        &mut self,
        link: &mut Self::Link,
        memory: impl Fn() -> Lasting,
    ) -> Result<Keys, TransportError> {
        let (first, others) = self.register_on((link.device(), link.others()), memory)?;
        link.learn(first, others.into_iter(), true);
        Ok(first)
    }

    #[inline]
    fn keys_of(&self, link: &mut Self::Link, region: Region) -> Option<Keys> {
        let first = self.devices.get(link.device())?.device.keys_of(region)?;
        if link.others().is_empty() {
            return Some(first);
        }
        self.keys_on_all(link, region, first)
    }

    fn add(&mut self, index: usize, link: &mut Self::Link) -> Result<(), TransportError> {
        for ((device, number), lane) in link.numbers().zip(0..) {
            let Some(Carrier { wires, .. }) = self.devices.get_mut(device) else {
                return Err(system("naming a device", std::io::ErrorKind::NotFound.into()));
            };
            let place = wires.partition_point(|&(other, ..)| other < number);
            wires.insert(place, (number, index, lane));
        }
        Ok(())
    }

    fn poll(
        &mut self,
        mut each: impl FnMut(usize, (u8, Completion<<D::Pair as Pair>::Error>)),
    ) -> Result<(), TransportError> {
        for Carrier { device, wires } in &mut self.devices {
            device.poll(|number, completion| {
                if let Ok(place) = wires.binary_search_by_key(&number, |&(number, ..)| number) {
                    let (_, index, lane) = wires[place];
                    each(index, (lane, completion));
                }
            })?;
        }
        Ok(())
    }

    fn arm(&mut self) -> Result<(), TransportError> {
        self.devices.iter_mut().try_for_each(|carrier| carrier.device.arm())
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        match (&self.any, &self.devices[..]) {
            (None, [only, ..]) => only.device.fd(),
            (Some(any), _) => any.as_fd(),
            (None, []) => unreachable!("I: without a device there is a set of none"),
        }
    }
}

/// Readable when some device is.
fn ears<D: Device>(devices: &[D]) -> Result<OwnedFd, TransportError> {
    let failed = |error: rustix::io::Errno| system("watching several devices", error.into());
    let all = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
    for device in devices {
        let data = epoll::EventData::new_u64(0);
        epoll::add(&all, device.fd(), data, epoll::EventFlags::IN).map_err(failed)?;
    }
    Ok(all)
}

/// Zeroed memory that a device may know. A fork does not copy it: the copy would be the one that the device does not
/// know, or this one be.
pub(super) fn memory_for_devices(bytes: usize) -> Result<Arc<Mapping>, TransportError> {
    let refused = |source| system(&format!("mapping {bytes} bytes for a device"), source);
    Ok(Arc::new(Mapping::anonymous(bytes.max(1)).map_err(refused)?))
}
