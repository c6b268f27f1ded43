//! Owns how wires travel on sockets: batches by vectored writes, and one epoll set for all.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg, sockopt};

use super::inbox::{Inbox, Read};
use super::path::{Path, hasten_end};
use crate::wires::placing::Lasting;
use crate::wires::{
    Batch, Ended, Ends, Keys, Link, MOST_SEGMENTS, Medium, Memory, Push, Segment, Watch, system,
};
use crate::{Region, TransportError};

const EVENTS: usize = 64;
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Bytes that one call reads before other wires get their turn.
const READ_TURN_BYTES: usize = 1024 * 1024;
/// So that nothing between the hosts forgets a connection without traffic: most that do take minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The sockets of an endpoint, watched together.
pub struct Sockets {
    epoll: OwnedFd,
}

/// One socket.
pub struct Socket {
    stream: Arc<TcpStream>,
    inbox: Inbox,
    /// What epoll watches for.
    watched: Watch,
    /// The socket takes more than it did.
    has_room: bool,
}

impl Sockets {
    pub(crate) fn new() -> Result<Self, TransportError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll_create"))?;
        Ok(Self { epoll })
    }
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Result<Self, TransportError> {
        stream.set_nodelay(true).map_err(|source| system("setting TCP_NODELAY", source))?;
        sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE)
            .and_then(|()| sockopt::set_socket_keepalive(&stream, true))
            .map_err(failed("setting SO_KEEPALIVE"))?;
        stream
            .set_nonblocking(true)
            .map_err(|source| system("making a socket non-blocking", source))?;
        let (inbox, watched) = (Inbox::new(), Watch::Readable);
        Ok(Self { stream: Arc::new(stream), inbox, watched, has_room: false })
    }

    /// The way that it takes to `peer`.
    pub(crate) fn path(&self, peer: u32) -> io::Result<Path> {
        Path::new(peer, &self.stream)
    }

    fn write_once(&self, batch: &Batch) -> Result<usize, Errno> {
        let mut slices = [IoSlice::new(&[]); MOST_SEGMENTS];
        let mut count = 0;
        let mut skip = batch.sent_of_first();
        for (slice, segment) in slices.iter_mut().zip(batch.unsent()) {
            let bytes = match *segment {
                Segment::Head { start, end } => batch.head(start, end),
                // SAFETY: the region is a standing slot, an aside slot, memory lent by `send_from`, or
                // a slot of a relay box; its end keeps all four unchanged and alive until
                // it is told that this piece has left, which happens after the batch has.
                Segment::Payload(p) => unsafe {
                    std::slice::from_raw_parts(p.bytes.as_ptr(), p.bytes.len())
                },
            };
            *slice = IoSlice::new(&bytes[skip..]);
            skip = 0;
            count += 1;
        }
        // A peer's end must be an error here, not a signal that kills the process.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.stream, &slices[..count], &mut SendAncillaryBuffer::default(), flags)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        hasten_end(&self.stream);
    }
}

impl Link for Socket {
    type Error = Errno;
    type Event = epoll::EventFlags;

    fn places(&self) -> bool {
        false
    }

    fn likely(&self) -> Duration {
        Duration::from_micros(20)
    }

    fn note(&mut self, event: epoll::EventFlags) -> bool {
        self.has_room = event.contains(epoll::EventFlags::OUT);
        event != epoll::EventFlags::OUT
    }

    fn has_room(&self) -> bool {
        self.has_room
    }

    fn push(&mut self, batch: &mut Batch) -> Result<Push, Errno> {
        let mut moved = false;
        while !batch.unsent().is_empty() {
            match self.write_once(batch) {
                Ok(0) | Err(Errno::AGAIN) => {
                    self.has_room = false;
                    return Ok(Push::Blocked { moved });
                }
                Ok(sent) => {
                    moved = true;
                    batch.advance(sent);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Push::Done)
    }

    fn take_sent(&mut self) -> usize {
        0
    }

    fn receive(&mut self, ends: &mut Ends<'_>) -> Result<bool, Ended<Errno>> {
        let mut budget = READ_TURN_BYTES;
        let mut moved = false;
        while budget > 0 {
            let long = ends.expect_pieces();
            match self.inbox.read(&self.stream, long).map_err(Ended::Failed)? {
                Read::Bytes { count, full } => {
                    moved = true;
                    budget = budget.saturating_sub(count);
                    self.inbox.parse(ends)?;
                    if !full {
                        break;
                    }
                }
                Read::Nothing => break,
                Read::Closed => return Err(Ended::Closed),
            }
        }
        Ok(moved)
    }

    fn is_amid(&self) -> bool {
        self.inbox.is_amid()
    }

    /// Whether the peer's host has acknowledged every byte.
    fn is_acknowledged(&self) -> io::Result<bool> {
        // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes one int.
        let unacknowledged = unsafe {
            type Outq = rustix::ioctl::Getter<{ linux_outq() }, std::ffi::c_int>;
            rustix::ioctl::ioctl(&self.stream, Outq::new())
        }?;
        Ok(unacknowledged == 0)
    }

    /// Only `push` reads memory that is to be sent.
    fn fall_silent(&mut self) {}

    /// Only this end reads from the socket, and writes to it.
    fn withdraw(&mut self) {}
}

impl Medium for Sockets {
    type Link = Socket;
    const WATCHES: bool = true;
    const WATCHES_ROOM: bool = true;
    /// Measured with `crosstie bench --transport tcp` on 2 ranks, by turns, 3 and 15 rounds, in µs: all_reduce of
    /// 1 MiB 297 and 235, 4 MiB 1719 and 1384; all_gather of 4 MiB 1206 and 861. It costs where all ranks
    /// send before they receive (`CROSSTIE_ALGORITHM=ring`, all_reduce of 1 MiB): 493 and 533; with 60
    /// rounds 708.
    const PATIENCE_ROUNDS: u32 = 15;

    fn name(&self) -> &'static str {
        "tcp"
    }

    fn memory(&mut self, _: &mut Socket, bytes: usize) -> Result<Memory, TransportError> {
        Ok(Memory::own(bytes))
    }

    fn register(
        &mut self,
        _: &mut Socket,
        _: impl Fn() -> Lasting,
    ) -> Result<Keys, TransportError> {
        Ok(Keys::NONE)
    }

    #[inline]
    fn keys_of(&self, _: &mut Socket, _: Region) -> Option<Keys> {
        Some(Keys::NONE)
    }

    fn add(&mut self, index: usize, socket: &mut Socket) -> Result<(), TransportError> {
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &socket.stream, data, epoll::EventFlags::IN)
            .map_err(failed("epoll_ctl"))
    }

    fn poll(
        &mut self,
        mut each: impl FnMut(usize, epoll::EventFlags),
    ) -> Result<(), TransportError> {
        // Clearing so much would be most of a look in vain.
        let mut room = [const { MaybeUninit::uninit() }; EVENTS];
        let events: &[epoll::Event] = match epoll::wait(&self.epoll, &mut room, Some(&NOW)) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => &[],
            Err(error) => return Err(failed("epoll_wait")(error)),
        };
        for event in events {
            let (flags, data) = (event.flags, event.data);
            each(data.u64() as usize, flags);
        }
        Ok(())
    }

    fn watch(
        &mut self,
        index: usize,
        socket: &mut Socket,
        wanted: Watch,
    ) -> Result<(), TransportError> {
        if wanted == socket.watched {
            return Ok(());
        }
        socket.watched = wanted;
        let data = epoll::EventData::new_u64(index as u64);
        let done = match wanted {
            Watch::Off => epoll::delete(&self.epoll, &socket.stream),
            Watch::Readable => {
                epoll::modify(&self.epoll, &socket.stream, data, epoll::EventFlags::IN)
            }
            Watch::ReadableAndWritable => {
                let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
                epoll::modify(&self.epoll, &socket.stream, data, flags)
            }
        };
        done.map_err(failed("epoll_ctl"))
    }

    /// The epoll set tells of everything at all times.
    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// SIOCOUTQ, which is TIOCOUTQ.
const fn linux_outq() -> rustix::ioctl::Opcode {
    0x5411
}

fn failed(call: &'static str) -> impl Fn(Errno) -> TransportError {
    move |error| system(call, error.into())
}
