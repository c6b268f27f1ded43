//! Owns [`TcpEndpoint`]: a rank's wires, polled together, as the seam wants them.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::receiving::Shape;
use super::wire::Wire;
use crate::seam::{
    Arrival, Counters, Endpoint, Grant, Limits, Receiver, SendSpace, Sender, TAG_MASK,
};
use crate::{Region, TransportError};

/// Bytes of the longest message that travels without a grant.
const STANDING_SLOT_BYTES: usize = 4096;
/// Rounds in which nothing moved before a message without a grant is copied aside. Fewer than
/// an engine yields before it sleeps, so that a receiver a little behind costs no copy.
///
/// Measured with `crosstie bench --transport tcp` on 2 ranks, by turns, 3 and 15 rounds, in µs: all_reduce of
/// 1 MiB 297 and 235, 4 MiB 1719 and 1384; all_gather of 4 MiB 1206 and 861. It costs where all ranks
/// send before they receive (`CROSSTIE_ALGORITHM=ring`, all_reduce of 1 MiB): 493 and 533; with 60
/// rounds 708.
const PATIENCE_ROUNDS: u32 = 15;
const EVENTS: usize = 64;
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A rank's end of all its connections over TCP.
pub struct TcpEndpoint {
    wires: Vec<Wire>,
    epoll: OwnedFd,
    /// What epoll watches for each wire.
    watched: Vec<Watch>,
    channels: u16,
    limits: Limits,
    /// The tag of the present call.
    tag: u32,
    counters: Counters,
    idle_rounds: u32,
}

/// What epoll tells about a wire's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    Readable,
    ReadableAndWritable,
    /// Nothing: the wire has ended, and would be ready for ever.
    Off,
}

impl TcpEndpoint {
    /// An endpoint of `rank` over sockets that are connected already, one for each peer, with
    /// `channels` connections each way; `limits` and `channels` are the same at both ends.
    ///
    /// Each connection in use holds, at either end, `2 * slots` (rounded up to a power of two)
    /// standing slots of at most 4 KiB, and address space for `slots` messages of `slot_bytes` at
    /// the sender and one at the receiver, of which only what is used is ever touched.
    ///
    /// # Errors
    /// [`TransportError::System`].
    pub fn from_streams(
        rank: u32,
        streams: Vec<(u32, TcpStream)>,
        channels: u16,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll_create"))?;
        let shapes: Vec<Shape> = (0..u32::from(channels)).map(|conn| shape(conn, limits)).collect();
        let mut wires = Vec::with_capacity(streams.len());
        for (index, (peer, socket)) in streams.into_iter().enumerate() {
            socket.set_nodelay(true).map_err(|source| system("setting TCP_NODELAY", source))?;
            socket
                .set_nonblocking(true)
                .map_err(|source| system("making a socket non-blocking", source))?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)
                .map_err(failed("epoll_ctl"))?;
            wires.push(Wire::new(rank, peer, socket, &shapes));
        }
        let watched = vec![Watch::Readable; wires.len()];
        let counters = Counters::default();
        Ok(Self { wires, epoll, watched, channels, limits, tag: 0, counters, idle_rounds: 0 })
    }

    /// Bytes that the slots of connections to so many peers may grow to, both ways: standing ones, the one
    /// that a message without a place arrives in, and those for messages set aside.
    pub const fn slot_memory_of(peers: usize, channels: u16, limits: Limits) -> u64 {
        let Shape { standing_bytes, standing_slots, slots, slot_bytes, .. } = shape(0, limits);
        let standing = 2 * standing_bytes as u64 * standing_slots as u64;
        let longer = (1 + slots as u64).saturating_mul(slot_bytes as u64);
        (peers as u64 * channels as u64).saturating_mul(standing + longer)
    }

    /// For tests, which do not live to see numbers pass their end: before the first message, as if
    /// `passed` had passed on every connection. All ranks need the same.
    #[doc(hidden)]
    pub fn number_from(&mut self, passed: u32) {
        for wire in &mut self.wires {
            wire.number_from(passed);
        }
    }

    /// (wire, connection on it) of an end. The index is one that `end` made.
    fn locate(&self, end: u32) -> (usize, usize) {
        let channels = u32::from(self.channels);
        ((end / channels) as usize, (end % channels) as usize)
    }

    fn end(&self, peer: u32, channel: u16) -> Option<u32> {
        let wire = self.wires.iter().position(|wire| wire.peer == peer)?;
        let channels = u32::from(self.channels);
        (channel < self.channels).then(|| wire as u32 * channels + u32::from(channel))
    }

    /// Reads from every wire that has something, and notes which can be written again.
    fn read_ready(&mut self) -> Result<bool, TransportError> {
        let nothing =
            epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [nothing; EVENTS];
        let count = match epoll::wait(&self.epoll, &mut events, Some(&NOW)) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(failed("epoll_wait")(error)),
        };
        let mut moved = false;
        for event in &events[..count] {
            let (flags, data) = (event.flags, event.data);
            let Some(wire) = self.wires.get_mut(data.u64() as usize) else { continue };
            if flags.contains(epoll::EventFlags::OUT) && wire.blocked {
                wire.blocked = false;
                wire.dirty = true;
            }
            if flags != epoll::EventFlags::OUT {
                moved |= wire.receive();
            }
        }
        Ok(moved)
    }

    fn flush(&mut self) -> bool {
        let mut moved = false;
        for wire in &mut self.wires {
            if wire.dirty && !wire.blocked {
                moved |= wire.flush(&mut self.counters);
            }
        }
        moved
    }

    /// With nothing else to do, copies one message that has no grant out of its sender's way.
    fn set_one_aside(&mut self) -> bool {
        self.wires.iter_mut().any(|wire| wire.is_late() && wire.set_aside())
    }

    /// Has epoll watch each wire for what it waits for.
    ///
    /// A late message makes its wire wait for a writable socket, which it mostly is: so whoever
    /// sleeps on `wake_fd` comes back to copy the message aside.
    fn watch(&mut self) -> Result<(), TransportError> {
        for (index, (wire, watched)) in self.wires.iter().zip(&mut self.watched).enumerate() {
            let wanted = if wire.has_ended() {
                Watch::Off
            } else if wire.blocked || self.idle_rounds > 0 && wire.is_late() {
                Watch::ReadableAndWritable
            } else {
                Watch::Readable
            };
            if wanted != *watched {
                set_watch(&self.epoll, wire, index, wanted).map_err(failed("epoll_ctl"))?;
                *watched = wanted;
            }
        }
        Ok(())
    }
}

const fn shape(conn: u32, limits: Limits) -> Shape {
    let slots = if limits.slots > 1 { limits.slots } else { 1 };
    Shape {
        conn,
        standing_bytes: if limits.slot_bytes < STANDING_SLOT_BYTES {
            limits.slot_bytes
        } else {
            STANDING_SLOT_BYTES
        },
        standing_slots: (2 * slots).next_power_of_two(),
        slots,
        slot_bytes: limits.slot_bytes,
    }
}

fn set_watch(epoll: &OwnedFd, wire: &Wire, index: usize, wanted: Watch) -> Result<(), Errno> {
    let data = epoll::EventData::new_u64(index as u64);
    let flags = match wanted {
        Watch::Off => return epoll::delete(epoll, wire.socket()),
        Watch::Readable => epoll::EventFlags::IN,
        Watch::ReadableAndWritable => epoll::EventFlags::IN | epoll::EventFlags::OUT,
    };
    epoll::modify(epoll, wire.socket(), data, flags)
}

#[cold]
fn system(call: &str, source: io::Error) -> TransportError {
    TransportError::System { call: call.to_owned(), source }
}

fn failed(call: &'static str) -> impl Fn(Errno) -> TransportError {
    move |error| system(call, error.into())
}

impl Endpoint for TcpEndpoint {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn sender(&self, peer: u32, channel: u16) -> Option<Sender> {
        self.end(peer, channel).map(Sender)
    }

    fn receiver(&self, peer: u32, channel: u16) -> Option<Receiver> {
        self.end(peer, channel).map(Receiver)
    }

    fn begin_call(&mut self, tag: u32) {
        self.tag = tag & TAG_MASK;
    }

    fn begin_send(
        &mut self,
        sender: Sender,
        len: usize,
    ) -> Result<Option<SendSpace>, TransportError> {
        let (wire, conn) = self.locate(sender.0);
        let wire = &mut self.wires[wire];
        wire.check_writable()?;
        let limit = self.limits.slot_bytes;
        if len > limit {
            let (peer, len, limit) = (wire.peer, len as u64, limit as u64);
            return Err(TransportError::TooLong { peer, len, limit });
        }
        wire.sending[conn].begin(len, self.tag).map_err(|refusal| wire.truncated_own(refusal))
    }

    fn commit(&mut self, sender: Sender) -> Result<(), TransportError> {
        let (wire, conn) = self.locate(sender.0);
        let wire = &mut self.wires[wire];
        wire.check_writable()?;
        wire.sending[conn].commit();
        wire.dirty = true;
        Ok(())
    }

    fn send_from(&mut self, sender: Sender, value: Region) -> Result<(), TransportError> {
        let (wire, conn) = self.locate(sender.0);
        let wire = &mut self.wires[wire];
        wire.check_writable()?;
        wire.sending[conn].send_from(value);
        wire.dirty |= wire.sending[conn].ready();
        Ok(())
    }

    fn sent(&mut self, sender: Sender) -> bool {
        let (wire, conn) = self.locate(sender.0);
        !self.wires[wire].sending[conn].caller_waits()
    }

    fn post(&mut self, grants: &[Grant]) -> Result<(), TransportError> {
        for grant in grants {
            let (wire, conn) = self.locate(grant.receiver.0);
            let wire = &mut self.wires[wire];
            wire.dirty |= wire.receiving[conn].post(grant);
        }
        Ok(())
    }

    fn poll(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        let (wire, conn) = self.locate(receiver.0);
        let wire = &mut self.wires[wire];
        match wire.receiving[conn].poll() {
            Ok(Some(arrival)) => Ok(Some(arrival)),
            Ok(None) => wire.check_readable().map(|()| None),
            Err(refusal) => {
                wire.dirty = true;
                Err(wire.truncated(refusal))
            }
        }
    }

    fn release(&mut self, receiver: Receiver) {
        let (wire, conn) = self.locate(receiver.0);
        let wire = &mut self.wires[wire];
        wire.dirty |= wire.receiving[conn].release();
    }

    fn progress(&mut self) -> Result<bool, TransportError> {
        let mut moved = self.flush();
        moved |= self.read_ready()?;
        moved |= self.flush();
        if moved {
            self.idle_rounds = 0;
        } else {
            self.idle_rounds = self.idle_rounds.saturating_add(1);
            moved = self.idle_rounds > PATIENCE_ROUNDS && self.set_one_aside();
        }
        self.watch()?;
        Ok(moved)
    }

    fn flushed(&self) -> bool {
        self.wires.iter().all(Wire::is_flushed)
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    fn drained(&mut self) -> Result<bool, TransportError> {
        for wire in &self.wires {
            let left = wire.is_flushed()
                && wire.is_acknowledged().map_err(|source| system("ioctl(SIOCOUTQ)", source))?;
            if !left {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    /// A sender's messages wait aside where the receiver has no slot yet.
    fn slot_memory(&self) -> u64 {
        Self::slot_memory_of(self.wires.len(), self.channels, self.limits)
    }
}
