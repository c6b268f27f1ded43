//! Owns how a rank's wires over verbs come about.
//!
//! 1. The ranks connect links as for TCP, which prove that they hold the world's secret.
//! 2. The ends of each try to reach each other over verbs ([`handshake`](super::handshake)), by each of the NICs that
//!    the wire is to be on.
//! 3. Those that do, by one at least, make a ring for heads, tell the peer where it is, post their receives, and say
//!    that they are ready. Who has heard that may send.
//! 4. The links of the others become wires themselves, where that is permitted.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crosstie_net::{Inbox, Interrupted};
use crosstie_transport::seam::{Endpoint, Limits};
use crosstie_transport::tcp::{Path, Relays, Stream, TcpEndpoint, TcpOptions, connect_links};
use crosstie_transport::wires::mixed::MixedEndpoint;
use crosstie_transport::wires::placing::{MOST_STRANDS, PlacingEndpoint, Ring, RingMemory};
use crosstie_transport::wires::{self, Joint};
use crosstie_transport::{Heap, TransportError};

use super::device::{VerbsDevice, VerbsPair, system};
use super::handshake::{Half, Links, Own, State, meet};
use super::load::Load;
use super::nic::Nic;
use super::outage::patience as patience_of;
use super::talk::{Patience, Talk, Terms};
use crate::{Library, Pinnable, Port, QueuePair, Retry, VerbsError};

/// A rank's end of all its connections over verbs.
pub type VerbsEndpoint = PlacingEndpoint<VerbsDevice>;

/// What a rank needs to know to connect to its peers.
#[derive(Debug, Clone)]
pub struct VerbsOptions {
    /// With whom, over which links, with how many connections.
    pub links: TcpOptions,
    /// By which NICs.
    pub nics: Nics,
    /// Buffers in it are sent from, and received to, where they lie; others are copied.
    pub heap: Option<Heap>,
}

/// By which NICs a rank sends.
#[derive(Debug, Clone, Default)]
pub struct Nics {
    /// Each of them.
    pub all: Vec<Nic>,
    /// By peer, the places of those that the wire to it is on, or why nothing is reached from there: in an order that
    /// pairs them with the peer's, at most [`MOST_STRANDS`]. A wire to whom is not here is on the first of all.
    pub of_wire: BTreeMap<u32, Vec<Result<usize, String>>>,
}

impl From<Nic> for Nics {
    fn from(nic: Nic) -> Self {
        Self { all: vec![nic], of_wire: BTreeMap::new() }
    }
}

impl Nics {
    fn on(&self, peer: u32) -> Vec<Result<usize, String>> {
        let mut on = self.of_wire.get(&peer).cloned().unwrap_or_else(|| vec![Ok(0)]);
        on.truncate(MOST_STRANDS);
        on
    }

    /// The devices that the wire to `peer` is on, each with its port.
    pub fn ports(&self, peer: u32) -> Vec<(String, u8)> {
        let nics = self.on(peer).into_iter().flatten().filter_map(|place| self.all.get(place));
        nics.map(|nic| (nic.device.clone(), nic.port)).collect()
    }

    fn has(&self, nic: usize, peer: u32) -> bool {
        self.on(peer).contains(&Ok(nic))
    }
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
    /// The devices that it is on at this end, each with its port; none over TCP.
    pub ports: Vec<(String, u8)>,
}

impl Over {
    /// A wire to `peer` over verbs, on these ports.
    pub fn verbs(peer: u32, ports: Vec<(String, u8)>) -> Self {
        Self { peer, transport: "verbs", whose: None, why: None, ports }
    }

    /// A wire to `peer` over a socket, with nothing to say about why.
    pub fn tcp(peer: u32) -> Self {
        Self { peer, transport: "tcp", whose: None, why: None, ports: Vec::new() }
    }
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
    let VerbsOptions { links, nics, heap } = options;
    let streams = connect_links(links, inbox, interrupted)?;
    let patience = Patience { began: Instant::now(), deadline: links.deadline, interrupted };
    let shape = (links.channels, links.limits);
    over_links((library, nics, heap), links.rank, streams, relays, shape, &patience)
}

/// As [`connect`], over links that are connected already.
///
/// # Errors
/// As [`connect`].
pub fn from_streams(
    library: &Library,
    (nics, heap): (&Nics, Option<Heap>),
    rank: u32,
    streams: Vec<Stream>,
    (channels, limits): (u16, Limits),
    deadline: Instant,
) -> Result<VerbsEndpoint, TransportError> {
    let patience = Patience { began: Instant::now(), deadline, interrupted: &|| false };
    let relays = Relays::default();
    over_links((library, nics, &heap), rank, streams, relays, (channels, limits), &patience)
}

/// As [`connect`], but where a peer is not reached over verbs, the wire to it is the socket over which they met; and
/// a wire on several NICs is on those of them by which its ends reach each other. There is a library if there are NICs.
///
/// # Errors
/// As [`connect`], but for what says that verbs cannot be had.
pub fn connect_where_possible(
    (library, nics, heap): (Option<&Library>, &Nics, Option<Heap>),
    links: &TcpOptions,
    relays: Relays,
    inbox: &Inbox,
    interrupted: Interrupted<'_>,
) -> Result<Connected, TransportError> {
    let streams = connect_links(links, inbox, interrupted)?;
    let patience = Patience { began: Instant::now(), deadline: links.deadline, interrupted };
    let (rank, shape) = (links.rank, (links.channels, links.limits));
    let open = |(mut owns, mut places): (Vec<Own>, Vec<_>), (index, nic): (usize, &Nic)| {
        let load = load_of((nics, index), rank, &streams, &relays, shape);
        let pinned = owns.iter().map(|own: &Own| own.device.expected_bytes()).sum();
        let opened = library.filter(|_| load.wires > 0).map(|library| {
            open(library, nic, heap.clone(), &load, pinned).map_err(|error| {
                let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                tracing::warn!(device = nic.device, why, "no wire is on this NIC");
                why
            })
        });
        places.push(opened.unwrap_or_else(|| Err("no wire is on it".to_owned())).map(|opened| {
            let (device, port) = opened;
            owns.push(Own { device, nic: nic.clone(), port, rank });
            owns.len() - 1
        }));
        (owns, places)
    };
    let (mut owns, places) = nics.all.iter().enumerate().fold(Default::default(), open);
    let strands = |stream: &Stream| -> Vec<_> {
        let place = |nic: Result<usize, String>| {
            nic.and_then(|nic| places.get(nic).cloned().unwrap_or_else(|| Err(NO_NIC.to_owned())))
        };
        nics.on(stream.peer).into_iter().map(place).collect()
    };
    let strands = streams.iter().map(strands).collect();
    let met = meet_all(&mut owns, streams, strands, &patience)?;
    let (met, streams, over) = sorted(rank, met, &owns);
    let (endpoint, paths) = endpoint(owns, rank, (met, streams), relays, links, &patience)?;
    Ok(Connected { endpoint, paths, over })
}

/// What is said of a NIC that a wire is to be on and that is not there.
const NO_NIC: &str = "this rank has no such NIC";

/// What came of a wire: its lanes on each NIC by which its ends reach each other, and why not by the others.
struct Wired {
    stream: Stream,
    strands: Vec<(usize, Vec<QueuePair>)>,
    apart: Vec<VerbsError>,
}

/// Has the ends of all wires try to reach each other by all NICs that these are to be on, of as many as both ends have.
fn meet_all(
    owns: &mut [Own],
    streams: Vec<Stream>,
    strands: Vec<Vec<Result<usize, String>>>,
    patience: &Patience<'_>,
) -> Result<Vec<Wired>, TransportError> {
    let links = Links { streams: &streams, patience };
    let terms = |strands: &[Result<usize, String>]| {
        let nics = || strands.iter().flatten().map(|&own| &owns[own]);
        Terms {
            nics: strands.len(),
            is_software: nics().any(|own| own.device.is_software()),
            stall: nics().map(|own| own.nic.stall).min().unwrap_or(Duration::MAX),
        }
    };
    let ours: Vec<Terms> = strands.iter().map(|strands| terms(strands)).collect();
    for (wire, &terms) in ours.iter().enumerate() {
        links.talk(wire).say_terms(terms)?;
    }
    let mut halves = Vec::new();
    for ((wire, strands), ours) in strands.into_iter().enumerate().zip(ours) {
        let theirs = links.talk(wire).hear_terms()?;
        let agreed = ours.and(theirs);
        if agreed.stall < ours.stall && ours.stall < Duration::MAX {
            let (peer, stall) = (streams[wire].peer, agreed.stall);
            tracing::info!(peer, ?stall, own = ?ours.stall, "the wire is as patient as its peer");
        }
        let retry = agreed.retry();
        for own in strands.into_iter().take(agreed.nics) {
            if let Ok(own) = own {
                owns[own].device.be_patient(patience_of(retry));
            }
            halves.push(Half::new(wire, own, agreed.nics, retry));
        }
    }
    meet(owns, &mut halves, links)?;
    let wired = |stream| Wired { stream, strands: Vec::new(), apart: Vec::new() };
    let mut all: Vec<Wired> = streams.into_iter().map(wired).collect();
    for Half { wire, own, state, .. } in halves {
        match (own, state) {
            (Ok(own), State::Met(pairs)) => all[wire].strands.push((own, pairs)),
            (_, State::Apart(error)) => all[wire].apart.push(error),
            _ => {}
        }
    }
    Ok(all)
}

type Met = Vec<(Stream, Vec<(usize, Vec<QueuePair>)>)>;

/// The wires whose ends have met, those that have not, and over what each leads.
fn sorted(rank: u32, wires: Vec<Wired>, owns: &[Own]) -> (Met, Vec<Stream>, Vec<Over>) {
    let (mut met, mut streams, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for Wired { stream, strands, apart } in wires {
        let peer = stream.peer;
        if strands.is_empty() {
            let (whose, why) = match apart.into_iter().next() {
                Some(VerbsError::PeerHasNone { peer, why }) => (Some(peer), why),
                Some(VerbsError::NoneHere { why }) => (Some(rank), why),
                error => (None, error.map_or_else(String::new, |error| error.to_string())),
            };
            match whose {
                Some(whose) => tracing::debug!(peer, whose, why, "over TCP"),
                None => tracing::warn!(peer, why, "over TCP"),
            }
            over.push(Over { whose, why: Some(why), ..Over::tcp(peer) });
            streams.push(stream);
            continue;
        }
        for error in apart {
            tracing::warn!(peer, %error, "a wire is on fewer NICs than it could");
        }
        let ports = ports_of(&strands, owns);
        over.push(Over::verbs(peer, ports));
        met.push((stream, strands));
    }
    (met, streams, over)
}

/// The devices of a wire's strands, each with its port.
fn ports_of(strands: &[(usize, Vec<QueuePair>)], owns: &[Own]) -> Vec<(String, u8)> {
    let port = |(own, _): &(usize, _)| {
        let Nic { device, port, .. } = &owns[*own].nic;
        (device.clone(), *port)
    };
    strands.iter().map(port).collect()
}

/// The endpoint over queue pairs, sockets, or both; and the ways that sockets take.
fn endpoint(
    owns: Vec<Own>,
    rank: u32,
    (met, streams): (Met, Vec<Stream>),
    relays: Relays,
    links: &TcpOptions,
    patience: &Patience<'_>,
) -> Result<(Box<dyn Endpoint>, Vec<Path>), TransportError> {
    let TcpOptions { channels, limits, .. } = *links;
    if met.is_empty() {
        let tcp = TcpEndpoint::with_relays(rank, streams, relays, channels, limits)?;
        let paths = tcp.paths();
        return Ok((Box::new(tcp), paths));
    }
    let (mut devices, met) = in_use(owns, met);
    let joints = join(&mut devices, met, patience)?;
    if streams.is_empty() {
        let verbs = PlacingEndpoint::new(devices, rank, joints, relays, channels, limits)?;
        return Ok((Box::new(verbs), Vec::new()));
    }
    let devices = (devices, "verbs+tcp");
    let mixed = MixedEndpoint::of_both(devices, rank, joints, streams, relays, channels, limits)?;
    let paths = mixed.paths();
    Ok((Box::new(mixed), paths))
}

/// The devices that some wire is on, and the wires with the places of these.
fn in_use(owns: Vec<Own>, mut met: Met) -> (Vec<VerbsDevice>, Met) {
    let used: BTreeSet<usize> =
        met.iter().flat_map(|(_, strands)| strands.iter().map(|(own, _)| *own)).collect();
    for (own, _) in met.iter_mut().flat_map(|(_, strands)| strands) {
        *own = used.range(..*own).count();
    }
    let devices = owns.into_iter().enumerate().filter(|(own, _)| used.contains(own));
    (devices.map(|(_, own)| own.device).collect(), met)
}

fn over_links(
    (library, nics, heap): (&Library, &Nics, &Option<Heap>),
    rank: u32,
    streams: Vec<Stream>,
    relays: Relays,
    shape: (u16, Limits),
    patience: &Patience<'_>,
) -> Result<VerbsEndpoint, TransportError> {
    let (mut owns, mut pinned) = (Vec::with_capacity(nics.all.len()), 0);
    for (index, nic) in nics.all.iter().enumerate() {
        let load = load_of((nics, index), rank, &streams, &relays, shape);
        let (device, port) = open(library, nic, heap.clone(), &load, pinned)?;
        pinned += device.expected_bytes();
        owns.push(Own { device, nic: nic.clone(), port, rank });
    }
    let strands = streams.iter().map(|stream| nics.on(stream.peer)).collect();
    let mut met = Vec::with_capacity(streams.len());
    for Wired { stream, strands, apart } in meet_all(&mut owns, streams, strands, patience)? {
        match apart.into_iter().next() {
            Some(VerbsError::PeerHasNone { peer, why }) => {
                return Err(TransportError::PeerHasNone { peer, why });
            }
            Some(error) => return Err(system("connecting queue pairs", error)),
            None if strands.is_empty() => {
                let why = "it names no NIC that the wire may be on".to_owned();
                return Err(TransportError::PeerHasNone { peer: stream.peer, why });
            }
            None => {}
        }
        met.push((stream, strands));
    }
    let mut devices: Vec<VerbsDevice> = owns.into_iter().map(|own| own.device).collect();
    let joints = join(&mut devices, met, patience)?;
    PlacingEndpoint::new(devices, rank, joints, relays, shape.0, shape.1)
}

/// What the wires take of one of the NICs.
fn load_of(
    (nics, nic): (&Nics, usize),
    rank: u32,
    streams: &[Stream],
    relays: &Relays,
    (channels, limits): (u16, Limits),
) -> Load {
    let boxes = relays.boxes();
    let on = streams.iter().filter(|stream| nics.has(nic, stream.peer));
    on.fold(Load::none(channels, limits), |load, stream| {
        load.and(rank, (&stream.outgoing, &stream.incoming), boxes)
    })
}

/// What ends say when they have receives.
const READY: u8 = b'R';

/// Makes links of queue pairs that reach each other.
fn join(
    devices: &mut [VerbsDevice],
    met: Met,
    patience: &Patience<'_>,
) -> Result<Vec<Joint<Ring<VerbsPair>>>, TransportError> {
    let mut halves = Vec::with_capacity(met.len());
    for (stream, strands) in met {
        let first = strands.first().map_or(0, |(device, _)| *device);
        let memory = RingMemory::new(&mut devices[first])?;
        talk(&stream, patience).say_ring(memory.place())?;
        halves.push((stream, strands, memory));
    }
    let (mut joints, mut links) = (Vec::new(), Vec::new());
    for (stream, strands, memory) in halves {
        let ring = talk(&stream, patience).hear_ring()?;
        let (joint, link) = joint(devices, stream, strands, (memory, ring))?;
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
    all: &mut [VerbsDevice],
    stream: Stream,
    strands: Vec<(usize, Vec<QueuePair>)>,
    (memory, ring): (RingMemory, wires::Place),
) -> Result<(Joint<Ring<VerbsPair>>, TcpStream), TransportError> {
    let failed = |source| TransportError::System { call: "starting a wire".to_owned(), source };
    let Stream { peer, socket, outgoing, incoming } = stream;
    let (mut devices, mut lanes) = (Vec::new(), Vec::new());
    for (strand, (device, pairs)) in (0u8..).zip(strands) {
        let kept = socket.try_clone().map_err(failed)?;
        let pairs = all[device].lanes(pairs, kept).map_err(failed)?;
        lanes.extend(pairs.into_iter().enumerate().map(|(place, lane)| (place, strand, lane)));
        devices.push(device);
    }
    // One of each device in turn: so are payloads dealt out.
    lanes.sort_by_key(|&(place, strand, _)| (place, strand));
    let lanes = lanes.into_iter().map(|(_, strand, lane)| (lane, strand));
    let link = memory.link_on(&devices, lanes, ring).map_err(|error| failed(error.into()))?;
    Ok((Joint { peer, link, outgoing, incoming }, socket))
}

/// The device, if it and the host have room for what wires take, beside what others will pin; and its port, if that is
/// up.
fn open(
    library: &Library,
    nic: &Nic,
    heap: Option<Heap>,
    load: &Load,
    pinned: u64,
) -> Result<(VerbsDevice, Port), TransportError> {
    let failed = |error| system("opening a verbs device", error);
    let context = library.device(&nic.device).and_then(|device| device.open()).map_err(failed)?;
    let port = context.port(nic.port).and_then(|port| port.up(&nic.device)).map_err(failed)?;
    let needs = load.needs(nic.queue_pairs);
    let mut pinnable = Pinnable::of_this_process();
    pinnable.in_use = pinnable.in_use.saturating_add(pinned);
    needs.check(&nic.device, context.attributes(), &pinnable).map_err(failed)?;
    let entries = u32::try_from(needs.completions.max(1)).unwrap_or(u32::MAX);
    let patience = patience_of(Retry::within(nic.stall, context.attributes().is_software));
    let room = (entries, needs.pinned_bytes);
    Ok((VerbsDevice::new(context, (nic.port, patience), room, heap)?, port))
}
