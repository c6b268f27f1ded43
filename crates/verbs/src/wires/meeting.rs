//! Owns how a rank's wires over verbs come about.
//!
//! 1. The ranks connect links as for TCP, which prove that they hold the world's secret.
//! 2. Each end makes a queue pair and a ring for heads, and tells the peer where both are.
//! 3. It connects its queue pair, and says so. When the peer has too, it writes nothing, to no memory, and waits for
//!    the acknowledgement: addresses that do not reach each other are found here, and not by the first message.
//! 4. It posts its receives and says that it is ready. Who has heard that may send.

use std::net::{IpAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crosstie_net::{Inbox, Interrupted};
use crosstie_transport::seam::Limits;
use crosstie_transport::tcp::{Relays, Stream, TcpOptions, connect_links};
use crosstie_transport::wires::placing::{
    PlacingEndpoint, RING_SLOTS, Ring, RingMemory, SEND_DEPTH,
};
use crosstie_transport::wires::{self, Joint};
use crosstie_transport::{Heap, TransportError};

use super::device::{VerbsDevice, VerbsPair, system};
use super::talk::{Hello, Patience, Talk};
use crate::{
    Address, Depths, Device, Library, Needs, Pinnable, Place, Port, PortState, QueuePair, Retry,
    Service, VerbsError, Wire,
};

/// A rank's end of all its connections over verbs.
pub type VerbsEndpoint = PlacingEndpoint<VerbsDevice>;

/// Bytes of a write that are copied as it is posted, if the device can: a head with one record and its short payload,
/// 104 bytes at most.
const INLINE_BYTES: u32 = 128;

/// Which NIC a rank uses, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The device, such as `mlx5_0`.
    pub device: String,
    /// Its port, from 1.
    pub port: u8,
    /// Which of the node's NICs it is, where nodes have rails.
    pub rail: Option<u32>,
    /// The place of the GID to use in the port's table; chosen by both ends, if none is given.
    pub gid: Option<u32>,
    /// How switches treat its packets.
    pub service: Service,
    /// How long nothing may move before a peer counts as stalled: queue pairs give up before.
    pub stall: Duration,
}

impl Nic {
    /// The one whose port has `address`, or (if none is given) the first whose port is up.
    ///
    /// # Errors
    /// [`VerbsError::NoNic`]; as [`Library::devices`] and [`Device::open`].
    pub fn of_address(
        library: &Library,
        address: Option<IpAddr>,
        rail: Option<u32>,
        stall: Duration,
    ) -> Result<Self, VerbsError> {
        let wanted = address.map(|address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        });
        let devices = library.devices()?;
        for device in &devices {
            let context = device.open()?;
            let gids = context.gids()?;
            let has = |port| gids.iter().any(|gid| gid.port == port && Some(gid.address) == wanted);
            let fits = |port: &u8| match wanted {
                Some(_) => has(*port),
                None => context.port(*port).is_ok_and(|port| port.state == PortState::Active),
            };
            if let Some(port) = (1..=context.attributes().ports).find(fits) {
                let (device, service) = (device.name().to_owned(), Service::default());
                return Ok(Self { device, port, rail, gid: None, service, stall });
            }
        }
        let present: Vec<_> = devices.iter().map(Device::name).collect();
        Err(VerbsError::NoNic { address, present: present.join(" ") })
    }
}

/// What a rank needs to know to connect to its peers.
#[derive(Debug, Clone)]
pub struct VerbsOptions {
    /// With whom, over which links, with how many connections.
    pub links: TcpOptions,
    /// By which NIC.
    pub nic: Nic,
    /// Buffers in it are sent from, and received to, where they lie; others are copied.
    pub heap: Option<Heap>,
}

/// Connects an endpoint to all peers: over links as for TCP, and then by queue pairs.
///
/// # Errors
/// As [`TcpEndpoint::connect`](crosstie_transport::tcp::TcpEndpoint::connect); and [`TransportError::System`] with a
/// [`VerbsError`] as its source.
pub fn connect(
    library: &Library,
    options: &VerbsOptions,
    relays: Relays,
    inbox: &Inbox,
    interrupted: Interrupted<'_>,
) -> Result<VerbsEndpoint, TransportError> {
    let VerbsOptions { links, nic, heap } = options;
    let streams = connect_links(links, inbox, interrupted)?;
    let patience = Patience { began: Instant::now(), deadline: links.deadline, interrupted };
    let shape = (links.channels, links.limits);
    over_links((library, nic, heap), links.rank, streams, relays, shape, &patience)
}

/// As [`connect`], over links that are connected already.
///
/// # Errors
/// As [`connect`].
pub fn from_streams(
    library: &Library,
    (nic, heap): (&Nic, Option<Heap>),
    rank: u32,
    streams: Vec<Stream>,
    (channels, limits): (u16, Limits),
    deadline: Instant,
) -> Result<VerbsEndpoint, TransportError> {
    let patience = Patience { began: Instant::now(), deadline, interrupted: &|| false };
    let relays = Relays::default();
    over_links((library, nic, &heap), rank, streams, relays, (channels, limits), &patience)
}

fn over_links(
    (library, nic, heap): (&Library, &Nic, &Option<Heap>),
    rank: u32,
    streams: Vec<Stream>,
    relays: Relays,
    (channels, limits): (u16, Limits),
    patience: &Patience<'_>,
) -> Result<VerbsEndpoint, TransportError> {
    let (mut device, port) = open(library, nic, heap.clone(), streams.len())?;
    let mut halves = Vec::with_capacity(streams.len());
    for stream in streams {
        let half = Half::new(&mut device, nic, &port, stream)?;
        half.talk(patience).say_hello(&half.hello)?;
        halves.push(half);
    }
    for half in &mut halves {
        half.connect(&device, nic, rank, patience)?;
    }
    all_say(CONNECTED, &halves, patience)?;
    probe(&mut device, &mut halves, patience)?;
    let mut joints = Vec::with_capacity(halves.len());
    let mut links = Vec::with_capacity(halves.len());
    for half in halves {
        let (joint, link) = half.join(&mut device)?;
        links.push((joint.peer, link));
        joints.push(joint);
    }
    let talks = || links.iter().map(|(peer, socket)| Talk { peer: *peer, socket, patience });
    talks().try_for_each(|talk| talk.say(READY))?;
    talks().try_for_each(|talk| talk.hear(READY))?;
    PlacingEndpoint::new(device, rank, joints, relays, channels, limits)
}

/// What ends say in turn: that the queue pair is connected; that there are receives.
const CONNECTED: u8 = b'C';
const READY: u8 = b'R';

/// The device, if it and the host have room for so many wires; and its port, if that is up.
fn open(
    library: &Library,
    nic: &Nic,
    heap: Option<Heap>,
    wires: usize,
) -> Result<(VerbsDevice, Port), TransportError> {
    let failed = |error| system("opening a verbs device", error);
    let context = library.device(&nic.device).and_then(|device| device.open()).map_err(failed)?;
    let port = context.port(nic.port).and_then(|port| port.up(&nic.device)).map_err(failed)?;
    let (send, receive, bytes) = (SEND_DEPTH as u32, RING_SLOTS as u32, RingMemory::BYTES as u64);
    let wire = Wire { queue_pairs: 1, send, receive, bytes };
    let needs = Needs::of_wires(wires as u64, &wire, 1, 0);
    let pinnable = Pinnable::of_this_process();
    needs.check(&nic.device, context.attributes(), &pinnable).map_err(failed)?;
    let entries = u32::try_from(needs.completions.max(1)).unwrap_or(u32::MAX);
    Ok((VerbsDevice::new(context, nic.port, entries, heap)?, port))
}

/// One end of a wire that is being made.
struct Half {
    pair: QueuePair,
    memory: RingMemory,
    hello: Hello,
    /// Where the peer's ring is, once it has said so.
    peer_ring: wires::Place,
    stream: Stream,
}

impl Half {
    fn new(
        device: &mut VerbsDevice,
        nic: &Nic,
        port: &Port,
        stream: Stream,
    ) -> Result<Self, TransportError> {
        let failed = |error| system("making a queue pair", error);
        let Nic { device: name, port: number, rail, gid, .. } = nic;
        let place = Place { device: name.clone(), port: *number, peer: stream.peer, rail: *rail };
        let depths =
            Depths { send: SEND_DEPTH as u32, receive: RING_SLOTS as u32, inline: INLINE_BYTES };
        let pair = device.queue_pair(place, depths).map_err(failed)?;
        let address = Address::of(device.context(), port, &pair, *gid).map_err(failed)?;
        let memory = RingMemory::new(device)?;
        let hello = Hello { address, ring: memory.place() };
        Ok(Self { pair, memory, hello, peer_ring: wires::Place::NONE, stream })
    }

    fn talk<'a>(&'a self, patience: &'a Patience<'a>) -> Talk<'a> {
        Talk { peer: self.stream.peer, socket: &self.stream.socket, patience }
    }

    /// Connects the queue pair to the one that the peer tells of.
    fn connect(
        &mut self,
        device: &VerbsDevice,
        nic: &Nic,
        rank: u32,
        patience: &Patience<'_>,
    ) -> Result<(), TransportError> {
        let peer = self.talk(patience).hear_hello()?;
        self.peer_ring = peer.ring;
        let retry = Retry::within(nic.stall, device.context().attributes().is_software);
        let is_lower = rank < self.stream.peer;
        let own = &self.hello.address;
        let path = own.path_to(&peer.address, &self.pair, is_lower, nic.service, retry);
        let connected = path.and_then(|path| self.pair.connect(&path));
        connected.map_err(|error| system("connecting a queue pair", error))
    }

    /// The wire's link, and the link over which its ends met.
    fn join(
        self,
        device: &mut VerbsDevice,
    ) -> Result<(Joint<Ring<VerbsPair>>, TcpStream), TransportError> {
        let failed = |source| TransportError::System { call: "starting a wire".to_owned(), source };
        let Stream { peer, socket, outgoing, incoming } = self.stream;
        let kept = socket.try_clone().map_err(failed)?;
        let pair = device.pair(self.pair, kept).map_err(failed)?;
        let link = self.memory.link(pair, self.peer_ring).map_err(|error| failed(error.into()))?;
        Ok((Joint { peer, link, outgoing, incoming }, socket))
    }
}

/// Says a word to all peers, and hears it of all.
fn all_say(word: u8, halves: &[Half], patience: &Patience<'_>) -> Result<(), TransportError> {
    halves.iter().try_for_each(|half| half.talk(patience).say(word))?;
    halves.iter().try_for_each(|half| half.talk(patience).hear(word))
}

/// Has every peer's device answer.
fn probe(
    device: &mut VerbsDevice,
    halves: &mut [Half],
    patience: &Patience<'_>,
) -> Result<(), TransportError> {
    let failed = |error: VerbsError| system("probing a queue pair", error);
    for half in &mut *halves {
        half.pair.probe().map_err(failed)?;
    }
    let mut missing: Vec<&Half> = halves.iter().collect();
    while let Some(Half { stream, .. }) = missing.first().copied() {
        patience.check(stream.peer)?;
        let ended = device.completions().poll().map_err(failed)?;
        for completion in ended {
            let number = completion.queue_pair();
            if let Some(at) = missing.iter().position(|half| half.pair.number() == number) {
                missing.swap_remove(at).pair.account().settle(completion).map_err(failed)?;
            }
        }
        if ended.is_empty() {
            thread::yield_now();
        }
    }
    Ok(())
}
