//! Owns how a rank's wires over verbs come about.
//!
//! 1. The ranks connect links as for TCP, which prove that they hold the world's secret.
//! 2. The ends of each try to reach each other over verbs ([`handshake`](super::handshake)).
//! 3. Those that do make a ring for heads, tell the peer where it is, post their receives, and say that they are
//!    ready. Who has heard that may send.
//! 4. The links of the others become wires themselves, where that is permitted.

use std::error::Error;
use std::net::TcpStream;
use std::time::Instant;

use crosstie_net::{Inbox, Interrupted};
use crosstie_transport::seam::{Endpoint, Limits};
use crosstie_transport::tcp::{Path, Relays, Stream, TcpEndpoint, TcpOptions, connect_links};
use crosstie_transport::wires::mixed::MixedEndpoint;
use crosstie_transport::wires::placing::{PlacingEndpoint, Ring, RingMemory};
use crosstie_transport::wires::{self, Joint};
use crosstie_transport::{Heap, TransportError};

use super::device::{VerbsDevice, VerbsPair, system};
use super::handshake::{Half, Own, State, meet};
use super::load::Load;
use super::nic::Nic;
use super::outage::patience;
use super::talk::{Patience, Talk};
use crate::{Library, Pinnable, Port, QueuePair, Retry, VerbsError};

/// A rank's end of all its connections over verbs.
pub type VerbsEndpoint = PlacingEndpoint<VerbsDevice>;

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

/// Over what a rank's wire to a peer leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// The rank at its other end.
    pub peer: u32,
    /// `verbs` or `tcp`.
    pub transport: &'static str,
    /// The rank of the two that has nothing to be reached at over verbs, where that is why.
    pub whose: Option<u32>,
    /// Why not over verbs.
    pub why: Option<String>,
}

/// A rank's wires, some or all of which may be sockets.
pub struct Connected {
    /// Of all of them.
    pub endpoint: Box<dyn Endpoint>,
    /// The ways that sockets take.
    pub paths: Vec<Path>,
    /// Over what each leads.
    pub over: Vec<Over>,
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

/// As [`connect`], but where a peer is not reached over verbs, the wire to it is the socket over which they met.
/// `nic` says by which NIC this rank sends, or why over none; `elsewhere` are peers that it sends to from another.
///
/// # Errors
/// As [`connect`], but for what says that verbs cannot be had.
pub fn connect_where_possible(
    (nic, heap): (Result<(&Library, Nic), String>, Option<Heap>),
    (links, elsewhere): (&TcpOptions, &[u32]),
    relays: Relays,
    inbox: &Inbox,
    interrupted: Interrupted<'_>,
) -> Result<Connected, TransportError> {
    let streams = connect_links(links, inbox, interrupted)?;
    let patience = Patience { began: Instant::now(), deadline: links.deadline, interrupted };
    let load = load_of(links.rank, &streams, &relays, (links.channels, links.limits));
    let opened = nic.and_then(|(library, nic)| {
        let opened = open(library, &nic, heap, &load).map_err(|error| {
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            tracing::warn!(device = nic.device, why, "all wires of this rank are over TCP");
            why
        });
        Ok((opened?, nic))
    });
    let rank = links.rank;
    let half = |stream: Stream| {
        let is_elsewhere = elsewhere.contains(&stream.peer);
        let why = || format!("rank {rank} sends there from another of its NICs");
        Half::new(stream, is_elsewhere.then(why))
    };
    let mut halves: Vec<Half> = streams.into_iter().map(half).collect();
    let device = match opened {
        Ok(((mut device, port), nic)) => {
            let own = Own { device: &mut device, nic: &nic, port: &port, rank };
            meet(Ok(own), &mut halves, &patience)?;
            Some(device)
        }
        Err(why) => {
            meet(Err(why), &mut halves, &patience)?;
            None
        }
    };
    let (met, streams, over) = sorted(rank, halves);
    let (endpoint, paths) = endpoint(device, rank, (met, streams), relays, links, &patience)?;
    Ok(Connected { endpoint, paths, over })
}

type Met = Vec<(Stream, Vec<QueuePair>)>;

/// The wires whose ends have met, those that have not, and over what each leads.
fn sorted(rank: u32, halves: Vec<Half>) -> (Met, Vec<Stream>, Vec<Over>) {
    let (mut met, mut streams, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for Half { stream, state, .. } in halves {
        let peer = stream.peer;
        match state {
            State::Met(pairs) => {
                over.push(Over { peer, transport: "verbs", whose: None, why: None });
                met.push((stream, pairs));
            }
            State::Apart(error) => {
                let (whose, why) = match error {
                    VerbsError::PeerHasNone { peer, why } => (Some(peer), why),
                    VerbsError::NoneHere { why } => (Some(rank), why),
                    error => (None, error.to_string()),
                };
                match whose {
                    Some(whose) => tracing::debug!(peer, whose, why, "over TCP"),
                    None => tracing::warn!(peer, why, "over TCP"),
                }
                over.push(Over { peer, transport: "tcp", whose, why: Some(why) });
                streams.push(stream);
            }
            State::Trying(_) => {}
        }
    }
    (met, streams, over)
}

/// The endpoint over queue pairs, sockets, or both; and the ways that sockets take.
fn endpoint(
    device: Option<VerbsDevice>,
    rank: u32,
    (met, streams): (Met, Vec<Stream>),
    relays: Relays,
    links: &TcpOptions,
    patience: &Patience<'_>,
) -> Result<(Box<dyn Endpoint>, Vec<Path>), TransportError> {
    let TcpOptions { channels, limits, .. } = *links;
    let Some(mut device) = device.filter(|_| !met.is_empty()) else {
        let tcp = TcpEndpoint::with_relays(rank, streams, relays, channels, limits)?;
        let paths = tcp.paths();
        return Ok((Box::new(tcp), paths));
    };
    let joints = join(&mut device, met, patience)?;
    if streams.is_empty() {
        let verbs = PlacingEndpoint::new(device, rank, joints, relays, channels, limits)?;
        return Ok((Box::new(verbs), Vec::new()));
    }
    let device = (device, "verbs+tcp");
    let mixed = MixedEndpoint::of_both(device, rank, joints, streams, relays, channels, limits)?;
    let paths = mixed.paths();
    Ok((Box::new(mixed), paths))
}

fn over_links(
    (library, nic, heap): (&Library, &Nic, &Option<Heap>),
    rank: u32,
    streams: Vec<Stream>,
    relays: Relays,
    (channels, limits): (u16, Limits),
    patience: &Patience<'_>,
) -> Result<VerbsEndpoint, TransportError> {
    let load = load_of(rank, &streams, &relays, (channels, limits));
    let (mut device, port) = open(library, nic, heap.clone(), &load)?;
    let mut halves: Vec<Half> = streams.into_iter().map(|it| Half::new(it, None)).collect();
    let own = Own { device: &mut device, nic, port: &port, rank };
    meet(Ok(own), &mut halves, patience)?;
    let mut met = Vec::with_capacity(halves.len());
    for Half { stream, state, .. } in halves {
        match state {
            State::Met(pairs) => met.push((stream, pairs)),
            State::Apart(error) => return Err(system("connecting queue pairs", error)),
            State::Trying(_) => {}
        }
    }
    let joints = join(&mut device, met, patience)?;
    PlacingEndpoint::new(device, rank, joints, relays, channels, limits)
}

fn load_of(
    rank: u32,
    streams: &[Stream],
    relays: &Relays,
    (channels, limits): (u16, Limits),
) -> Load {
    let boxes = relays.boxes();
    streams.iter().fold(Load::none(channels, limits), |load, stream| {
        load.and(rank, (&stream.outgoing, &stream.incoming), boxes)
    })
}

/// What ends say when they have receives.
const READY: u8 = b'R';

/// Makes links of queue pairs that reach each other.
fn join(
    device: &mut VerbsDevice,
    met: Met,
    patience: &Patience<'_>,
) -> Result<Vec<Joint<Ring<VerbsPair>>>, TransportError> {
    let mut halves = Vec::with_capacity(met.len());
    for (stream, pairs) in met {
        let memory = RingMemory::new(device)?;
        talk(&stream, patience).say_ring(memory.place())?;
        halves.push((stream, pairs, memory));
    }
    let (mut joints, mut links) = (Vec::new(), Vec::new());
    for (stream, pairs, memory) in halves {
        let ring = talk(&stream, patience).hear_ring()?;
        let (joint, link) = joint(device, stream, pairs, (memory, ring))?;
        links.push((joint.peer, link));
        joints.push(joint);
    }
    let talks = || links.iter().map(|(peer, socket)| Talk { peer: *peer, socket, patience });
    talks().try_for_each(|talk| talk.say(READY))?;
    talks().try_for_each(|talk| talk.hear(&[READY]).map(|_| ()))?;
    Ok(joints)
}

fn talk<'a>(stream: &'a Stream, patience: &'a Patience<'a>) -> Talk<'a> {
    Talk { peer: stream.peer, socket: &stream.socket, patience }
}

/// The wire's link, and the link over which its ends met.
fn joint(
    device: &mut VerbsDevice,
    stream: Stream,
    pairs: Vec<QueuePair>,
    (memory, ring): (RingMemory, wires::Place),
) -> Result<(Joint<Ring<VerbsPair>>, TcpStream), TransportError> {
    let failed = |source| TransportError::System { call: "starting a wire".to_owned(), source };
    let Stream { peer, socket, outgoing, incoming } = stream;
    let kept = socket.try_clone().map_err(failed)?;
    let lanes = device.lanes(pairs, kept).map_err(failed)?;
    let link = memory.link(lanes, ring).map_err(|error| failed(error.into()))?;
    Ok((Joint { peer, link, outgoing, incoming }, socket))
}

/// The device, if it and the host have room for what wires take; and its port, if that is up.
fn open(
    library: &Library,
    nic: &Nic,
    heap: Option<Heap>,
    load: &Load,
) -> Result<(VerbsDevice, Port), TransportError> {
    let failed = |error| system("opening a verbs device", error);
    let context = library.device(&nic.device).and_then(|device| device.open()).map_err(failed)?;
    let port = context.port(nic.port).and_then(|port| port.up(&nic.device)).map_err(failed)?;
    let needs = load.needs(nic.queue_pairs);
    let pinnable = Pinnable::of_this_process();
    needs.check(&nic.device, context.attributes(), &pinnable).map_err(failed)?;
    let entries = u32::try_from(needs.completions.max(1)).unwrap_or(u32::MAX);
    let patience = patience(Retry::within(nic.stall, context.attributes().is_software));
    Ok((VerbsDevice::new(context, (nic.port, patience), entries, heap)?, port))
}
