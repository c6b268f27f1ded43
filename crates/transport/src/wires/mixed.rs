//! Owns [`Mixed`]: a rank's wires where some are sockets, and others go over devices that place payloads.
//!
//! The engine is the same, and so are relays: whoever hands a piece to a relay need not know what carries it on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;

use super::batch::Batch;
use super::ends::Ends;
use super::medium::{Ended, Keys, Link, Medium, Push, Watch};
use super::memory::Memory;
use super::placing::{Completion, Device, Lasting, Pair, Placing, Ring};
use super::{Joint, Relays, WireEndpoint, system};
use crate::seam::Limits;
use crate::tcp::{Path, Socket, Sockets, Stream};
use crate::{Region, TransportError};

/// A rank's end of all its connections, some of them over sockets, others over devices.
pub type MixedEndpoint<D> = WireEndpoint<Mixed<D>>;

/// Both media of an endpoint.
pub struct Mixed<D: Device> {
    name: &'static str,
    sockets: Sockets,
    placing: Placing<D>,
    /// Readable when one of the two is.
    both: OwnedFd,
}

/// A wire's link: on a socket, or over a pair of the device.
pub enum MixedLink<P: Pair> {
    /// On a socket.
    Socket(Box<Socket>),
    /// Over a pair.
    Ring(Box<Ring<P>>),
}

/// Why such a link failed.
#[derive(Debug, Clone)]
pub enum MixedError<E> {
    /// Of a socket.
    Socket(Errno),
    /// Of a pair.
    Ring(E),
}

/// What happened at such a link.
pub enum MixedEvent<E> {
    /// At a socket.
    Socket(epoll::EventFlags),
    /// At a pair: which lane of the wire it is.
    Ring((u8, Completion<E>)),
}

impl<E: Into<io::Error>> From<MixedError<E>> for io::Error {
    fn from(error: MixedError<E>) -> Self {
        match error {
            MixedError::Socket(error) => error.into(),
            MixedError::Ring(error) => error.into(),
        }
    }
}

impl<D: Device> MixedEndpoint<D> {
    /// An endpoint of `rank` over `devices` for the `joints`, and over sockets for the `streams`; it is called `name`.
    /// Otherwise as [`PlacingEndpoint::new`](super::placing::PlacingEndpoint::new).
    ///
    /// # Errors
    /// [`TransportError::System`].
    pub fn of_both(
        (devices, name): (Vec<D>, &'static str),
        rank: u32,
        joints: Vec<Joint<Ring<D::Pair>>>,
        streams: Vec<Stream>,
        relays: Relays,
        channels: u16,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        let mut all = Vec::with_capacity(joints.len() + streams.len());
        for Joint { peer, link, outgoing, incoming } in joints {
            let link = MixedLink::Ring(Box::new(link));
            all.push(Joint { peer, link, outgoing, incoming });
        }
        for Stream { peer, socket, outgoing, incoming } in streams {
            let link = MixedLink::Socket(Box::new(Socket::new(socket)?));
            all.push(Joint { peer, link, outgoing, incoming });
        }
        Self::over(Mixed::new(devices, name)?, rank, all, relays, (channels, limits))
    }

    /// The ways that its sockets take, of those that are open.
    pub fn paths(&self) -> Vec<Path> {
        let path = |(peer, link): (u32, &MixedLink<D::Pair>)| match link {
            MixedLink::Socket(socket) => socket.path(peer).ok(),
            MixedLink::Ring(_) => None,
        };
        self.links().filter_map(path).collect()
    }
}

impl<D: Device> Mixed<D> {
    fn new(devices: Vec<D>, name: &'static str) -> Result<Self, TransportError> {
        let (sockets, placing) = (Sockets::new()?, Placing::over(devices)?);
        let failed = |error: Errno| system("watching two media", error.into());
        let both = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        for (data, fd) in [(0, sockets.wake_fd()), (1, placing.wake_fd())] {
            let data = epoll::EventData::new_u64(data);
            epoll::add(&both, fd, data, epoll::EventFlags::IN).map_err(failed)?;
        }
        Ok(Self { name, sockets, placing, both })
    }
}

impl<D: Device> Medium for Mixed<D> {
    type Link = MixedLink<D::Pair>;
    const WATCHES: bool = true;
    const WATCHES_ROOM: bool = false;
    /// Each round looks at the sockets, too.
    const PATIENCE_ROUNDS: u32 = Sockets::PATIENCE_ROUNDS;

    fn name(&self) -> &'static str {
        self.name
    }

    fn names(&self) -> Option<[&'static str; 2]> {
        Some([self.placing.name(), self.sockets.name()])
    }

    fn reserve(&mut self, link: &Self::Link, bytes: usize) {
        if let MixedLink::Ring(ring) = link {
            self.placing.reserve(ring, bytes);
        }
    }

    fn memory(&mut self, link: &mut Self::Link, bytes: usize) -> Result<Memory, TransportError> {
        match link {
            MixedLink::Socket(socket) => self.sockets.memory(socket, bytes),
            MixedLink::Ring(ring) => self.placing.memory(ring, bytes),
        }
    }

    fn register(
        &mut self,
        link: &mut Self::Link,
        memory: impl Fn() -> Lasting,
    ) -> Result<Keys, TransportError> {
        match link {
            MixedLink::Socket(socket) => self.sockets.register(socket, memory),
            MixedLink::Ring(ring) => self.placing.register(ring, memory),
        }
    }

    fn keys_of(&self, link: &mut Self::Link, region: Region) -> Option<Keys> {
        match link {
            MixedLink::Socket(socket) => self.sockets.keys_of(socket, region),
            MixedLink::Ring(ring) => self.placing.keys_of(ring, region),
        }
    }

    fn add(&mut self, index: usize, link: &mut Self::Link) -> Result<(), TransportError> {
        match link {
            MixedLink::Socket(socket) => self.sockets.add(index, socket),
            MixedLink::Ring(ring) => self.placing.add(index, ring),
        }
    }

    fn poll(
        &mut self,
        mut each: impl FnMut(usize, MixedEvent<<D::Pair as Pair>::Error>),
    ) -> Result<(), TransportError> {
        self.sockets.poll(|index, event| each(index, MixedEvent::Socket(event)))?;
        self.placing.poll(|index, event| each(index, MixedEvent::Ring(event)))
    }

    fn watch(
        &mut self,
        index: usize,
        link: &mut Self::Link,
        wanted: Watch,
    ) -> Result<(), TransportError> {
        match link {
            MixedLink::Socket(socket) => self.sockets.watch(index, socket, wanted),
            MixedLink::Ring(ring) => self.placing.watch(index, ring, wanted),
        }
    }

    fn arm(&mut self) -> Result<(), TransportError> {
        self.sockets.arm()?;
        self.placing.arm()
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
    }
}

impl<P: Pair> Link for MixedLink<P> {
    type Error = MixedError<P::Error>;
    type Event = MixedEvent<P::Error>;

    fn places(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.places(),
            Self::Ring(ring) => ring.places(),
        }
    }

    fn likely(&self) -> Duration {
        match self {
            Self::Socket(socket) => socket.likely(),
            Self::Ring(ring) => ring.likely(),
        }
    }

    fn note(&mut self, event: Self::Event) -> bool {
        match (self, event) {
            (Self::Socket(socket), MixedEvent::Socket(event)) => socket.note(event),
            (Self::Ring(ring), MixedEvent::Ring(event)) => ring.note(event),
            // A medium tells of its own links alone.
            _ => false,
        }
    }

    fn has_room(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.has_room(),
            Self::Ring(ring) => ring.has_room(),
        }
    }

    fn push(&mut self, batch: &mut Batch) -> Result<Push, Self::Error> {
        match self {
            Self::Socket(socket) => socket.push(batch).map_err(MixedError::Socket),
            Self::Ring(ring) => ring.push(batch).map_err(MixedError::Ring),
        }
    }

    fn take_sent(&mut self) -> usize {
        match self {
            Self::Socket(socket) => socket.take_sent(),
            Self::Ring(ring) => ring.take_sent(),
        }
    }

    fn receive(&mut self, ends: &mut Ends<'_>) -> Result<bool, Ended<Self::Error>> {
        match self {
            Self::Socket(socket) => {
                socket.receive(ends).map_err(|why| ended(why, MixedError::Socket))
            }
            Self::Ring(ring) => ring.receive(ends).map_err(|why| ended(why, MixedError::Ring)),
        }
    }

    fn is_amid(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.is_amid(),
            Self::Ring(ring) => ring.is_amid(),
        }
    }

    fn is_acknowledged(&self) -> io::Result<bool> {
        match self {
            Self::Socket(socket) => socket.is_acknowledged(),
            Self::Ring(ring) => ring.is_acknowledged(),
        }
    }

    fn fall_silent(&mut self) {
        match self {
            Self::Socket(socket) => socket.fall_silent(),
            Self::Ring(ring) => ring.fall_silent(),
        }
    }

    fn withdraw(&mut self) {
        match self {
            Self::Socket(socket) => socket.withdraw(),
            Self::Ring(ring) => ring.withdraw(),
        }
    }
}

fn ended<E, F>(why: Ended<E>, mixed: impl FnOnce(E) -> F) -> Ended<F> {
    match why {
        Ended::Closed => Ended::Closed,
        Ended::Failed(error) => Ended::Failed(mixed(error)),
        Ended::Misbehaved(violation) => Ended::Misbehaved(violation),
    }
}
