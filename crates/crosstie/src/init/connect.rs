//! Owns connecting a rank to all others: which of them it reaches how, and the endpoints for that.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_bootstrap::World;
use crosstie_ir::{ChannelId, Rank};
use crosstie_net::{Inbox, Interrupted, NetError};
use crosstie_planner::{Nodes, Rails, Route, route};
use crosstie_transport::seam::Endpoint;
use crosstie_transport::shm::{self, ShmOptions};
use crosstie_transport::tcp::{self, Aggregation, Path, Relays, TcpEndpoint, TcpOptions, TcpPeer};
use crosstie_transport::wires::placing::MOST_STRANDS;
use crosstie_transport::{BoxShape, Doorbell, Heap, LocalEndpoint, RelayPeer, TransportError};
use crosstie_verbs::wires::{self, Nic, Nics, Over, PairError, VerbsEndpoint, VerbsOptions, Wish};
use crosstie_verbs::{Library, VerbsError};

use super::wires::Wires;
use crate::select::CHANNELS;
use crate::settings::registry::{DEVICES, VERBS};
use crate::settings::{Resolved, Verbs};
use crate::ways::{RdmaPort, Ways};
use crate::{Error, Flush, Pxn, Transport, VerbsNeeds, memory};

/// A rank's endpoints, and the memory that they can lend.
pub(super) struct Connected {
    pub endpoints: Vec<Box<dyn Endpoint>>,
    pub heap: Heap,
    /// The ways of its wires that are sockets.
    pub paths: Vec<Path>,
    /// Over what each of its wires leads.
    pub over: Vec<Over>,
    /// The ports of RDMA devices that it sends by, if it does.
    pub ports: Vec<RdmaPort>,
}

/// The NICs that a rank sends from over verbs, each with the address that was named for it.
struct Chosen {
    nics: Nics,
    addresses: Vec<Option<IpAddr>>,
}

impl Chosen {
    /// Those that some wire is on.
    fn ports(&self, over: &[Over]) -> Vec<RdmaPort> {
        let is_used = |nic: &Nic| {
            over.iter().any(|wire| wire.ports.contains(&(nic.device.clone(), nic.port)))
        };
        let all = self.nics.all.iter().zip(&self.addresses);
        let port = |(nic, address): (&Nic, &Option<IpAddr>)| RdmaPort {
            device: nic.device.clone(),
            port: nic.port,
            nic: *address,
        };
        all.filter(|(nic, _)| is_used(nic)).map(port).collect()
    }
}

impl Connected {
    /// With nobody to lend anything to.
    pub fn alone(settings: &Resolved) -> Self {
        let heap = Heap::private(settings.heap_bytes);
        Self { endpoints: Vec::new(), heap, paths: Vec::new(), over: Vec::new(), ports: Vec::new() }
    }

    /// Whether any of its wires leads over ibverbs.
    pub fn is_over_verbs(&self) -> bool {
        self.over.iter().any(|wire| wire.transport == "verbs")
    }

    fn add(&mut self, endpoint: Box<dyn Endpoint>) {
        if let Some(heap) = endpoint.heap() {
            self.heap = heap.clone();
        }
        self.endpoints.push(endpoint);
    }
}

/// A rank among the others, and how it reaches them.
pub(super) struct Neighbourhood<'a> {
    settings: &'a Resolved,
    world: &'a World,
    nodes: &'a Nodes,
    rails: Rails,
    /// Whether messages enter the network on their receiver's rail.
    pxn: bool,
}

impl<'a> Neighbourhood<'a> {
    pub fn new(settings: &'a Resolved, world: &'a World, nodes: &'a Nodes) -> Self {
        let rails = settings.rails.of(nodes);
        Self { settings, world, nodes, rails, pxn: settings.has_relays() }
    }

    /// What is said of the ways between ranks.
    pub fn ways(&self) -> Ways {
        let pxn = if self.pxn { self.settings.rails.pxn } else { Pxn::Off };
        let nodes = self.nodes.count() as usize;
        Ways::new(self.world.rank, self.rails.clone(), nodes, pxn, self.own_nic())
    }

    /// What this rank says to all about its failure to connect, and what it guesses.
    pub fn describe(&self, error: &Error) -> (String, String) {
        let Error::Transport(TransportError::Connecting { peer, source }) = error else {
            return (with_reasons(error), String::new());
        };
        let NetError::NoWay { attempts, waited } = &**source else {
            return (with_reasons(error), String::new());
        };
        let from = self.own_nic().map(|nic| SocketAddr::new(nic, 0));
        let ways = self.ways();
        let between = ways.between(from, *peer, &self.addresses_of(*peer));
        let (clues, mut guess) = ways.clues(self.own_nic(), *peer);
        if guess.is_empty() && self.settings.transport == Transport::Verbs {
            guess.push_str(OTHER_WAYS);
        }
        (format!("{between}: {attempts}, for {waited:.1?}{clues}"), guess)
    }

    /// The ranks that the network reaches, and those that share this rank's memory.
    fn peers(&self) -> (Vec<u32>, Vec<u32>) {
        let networked = |&peer: &u32| {
            let way = route(self.rank(), Rank(peer), ChannelId(0), self.nodes, None);
            way == Some(Route::Network) || self.settings.transport == Transport::Tcp
        };
        (0..self.world.size).filter(|&peer| peer != self.world.rank).partition(networked)
    }

    pub fn rank(&self) -> Rank {
        Rank(self.world.rank)
    }

    fn boxes(&self) -> Option<BoxShape> {
        self.pxn.then_some(BoxShape { ranks: self.world.size, channels: CHANNELS })
    }

    /// Nothing has been allocated yet; the others hear why this rank does not come.
    pub fn check_memory(&self) -> Result<(), Error> {
        let (remote, local) = self.peers();
        let boxes = self.boxes().map_or(0, |shape| (shape.box_bytes() * local.len()) as u64);
        let has_two =
            |peer: u32| self.relayed(peer).is_some() && self.has_way_past(self.world.rank, peer);
        let past = remote.iter().filter(|&&peer| has_two(peer)).count();
        let slots = memory::slots(self.settings, local.len(), remote.len() + past);
        memory::check(self.settings, "slots of all connections", slots.saturating_add(boxes), 0)
    }

    /// One endpoint per transport that this rank needs: inside its node, and between nodes. On failure those made until
    /// then are in `connected`: to the others their end would look like a cut, so the failure is to be told first.
    pub fn connect(
        &self,
        connected: &mut Connected,
        inbox: &Inbox,
        doorbell: &Arc<Doorbell>,
        deadline: Instant,
        interrupted: Interrupted<'_>,
    ) -> Result<(), Error> {
        let (remote, mut local) = self.peers();
        local.push(self.world.rank);
        let mut relays = Vec::new();
        match (&self.settings.transport, &self.settings.fabric) {
            _ if local.len() == 1 => {}
            (Transport::Loopback, Some(fabric)) => {
                connected.add(Box::new(fabric.0.endpoint(self.world.rank, Arc::clone(doorbell))?));
            }
            (Transport::Loopback, None) => return Err(loopback_without_threads()),
            _ => {
                let (endpoint, boxes) = self.connect_shm(local, doorbell, deadline, interrupted)?;
                relays = boxes;
                connected.add(Box::new(endpoint));
            }
        }
        if !remote.is_empty() {
            let links = (self.links(&remote, deadline), self.relays(&remote, relays));
            let network = self.connect_network(connected, links, inbox, interrupted)?;
            // Before the fabric, which knows all ranks of the process, those of other nodes too.
            connected.endpoints.insert(0, network);
        }
        Ok(())
    }

    fn connect_shm(
        &self,
        local_ranks: Vec<u32>,
        doorbell: &Doorbell,
        deadline: Instant,
        interrupted: Interrupted<'_>,
    ) -> Result<(LocalEndpoint, Vec<RelayPeer>), Error> {
        let options = ShmOptions {
            secret: self.world.secret.clone(),
            rank: self.world.rank,
            local_ranks,
            channels: CHANNELS,
            limits: self.settings.limits,
            heap_bytes: self.settings.heap_bytes,
            pull: self.settings.pull,
            boxes: self.boxes(),
            deadline,
        };
        Ok(shm::connect_with_boxes(&options, doorbell, interrupted)?)
    }

    fn connect_network(
        &self,
        connected: &mut Connected,
        (links, relays): (TcpOptions, Relays),
        inbox: &Inbox,
        interrupted: Interrupted<'_>,
    ) -> Result<Box<dyn Endpoint>, Error> {
        match self.settings.transport {
            Transport::Verbs => {
                Ok(Box::new(self.connect_verbs(connected, links, relays, inbox, interrupted)?))
            }
            Transport::Auto => self.connect_auto(connected, links, relays, inbox, interrupted),
            _ => {
                connected.over = links.peers.iter().map(|peer| Over::tcp(peer.rank)).collect();
                let tcp = TcpEndpoint::connect_with_relays(&links, relays, inbox, interrupted)?;
                connected.paths = tcp.paths();
                Ok(Box::new(tcp))
            }
        }
    }

    /// Queue pairs where they lead to the peer, and sockets elsewhere.
    fn connect_auto(
        &self,
        connected: &mut Connected,
        links: TcpOptions,
        relays: Relays,
        inbox: &Inbox,
        interrupted: Interrupted<'_>,
    ) -> Result<Box<dyn Endpoint>, Error> {
        let library = self.verbs_library();
        let chosen = self.choose_nics(&links.peers, |source| {
            let library = match &library {
                Ok(library) => library,
                Err(why) => return Ok(Err(why.clone())),
            };
            match self.verbs_nic(library, source) {
                Ok(nic) => Ok(Ok(nic)),
                // Names of ports that no port has are an error, whatever else could be taken.
                Err(error) => match self.refused(&error) {
                    Some(refusal) => Err(refusal),
                    None => {
                        tracing::warn!(%error, "no wire over ibverbs is on this NIC");
                        Ok(Err(error.to_string()))
                    }
                },
            }
        })?;
        let verbs = (library.as_ref().ok(), &chosen.nics, Some(connected.heap.clone()));
        let made = wires::connect_where_possible(verbs, &links, relays, inbox, interrupted)?;
        (connected.paths, connected.over) = (made.paths, made.over);
        connected.ports = chosen.ports(&connected.over);
        Ok(made.endpoint)
    }

    /// The NICs that the wires to these peers are on: each that `find` finds is found once.
    fn choose_nics(
        &self,
        peers: &[TcpPeer],
        mut find: impl FnMut(Source) -> Result<Result<Nic, String>, Error>,
    ) -> Result<Chosen, Error> {
        let mut found: BTreeMap<Source, Result<usize, String>> = BTreeMap::new();
        let mut chosen = Chosen { nics: Nics::default(), addresses: Vec::new() };
        let Chosen { nics: Nics { all, of_wire }, addresses } = &mut chosen;
        for &TcpPeer { rank, .. } in peers {
            let mut on = Vec::new();
            for source in self.sources(rank) {
                if let Some(known) = found.get(&source) {
                    on.push(known.clone());
                    continue;
                }
                let place = find(source)?.map(|nic| {
                    // Two addresses may be one port's.
                    let is_same = |it: &Nic| (&it.device, it.port) == (&nic.device, nic.port);
                    all.iter().position(is_same).unwrap_or_else(|| {
                        all.push(nic);
                        addresses.push(source.address);
                        all.len() - 1
                    })
                });
                found.insert(source, place.clone());
                on.push(place);
            }
            of_wire.insert(rank, on);
        }
        Ok(chosen)
    }

    /// The NICs that the wire to `peer` is on at this end, in the order in which both ends pair theirs.
    fn sources(&self, peer: u32) -> Vec<Source> {
        let source = |rail| Source { rail, address: self.nic(rail) };
        let ways = self.rail_pairs(peer).into_iter().map(|(own, _)| source(own));
        ways.take(MOST_STRANDS).collect()
    }

    /// The library, where this rank may take verbs unasked and there may be some; else why not.
    fn verbs_library(&self) -> Result<Library, String> {
        if !self.settings.verbs.on {
            return Err(format!("{} is off there", VERBS.name()));
        }
        if !Library::has_devices() {
            // One of a node says it.
            let is_first = self.rails.node_of(self.rank()).first() == Some(&self.rank());
            if let Some(ports) = self.settings.verbs.ports.as_ref().filter(|_| is_first) {
                tracing::warn!(
                    "{}={ports}, but this host has no RDMA device: all is over TCP",
                    DEVICES.name()
                );
            }
            return Err("its host has no RDMA device".to_owned());
        }
        Library::open().map_err(|error| error.to_string())
    }

    /// The NIC by which this rank sends on a rail over verbs.
    fn verbs_nic(
        &self,
        library: &Library,
        Source { rail, address }: Source,
    ) -> Result<Nic, VerbsError> {
        let stall = self.settings.stall;
        let Verbs { ports, gid, service, queue_pairs, .. } = &self.settings.verbs;
        let named =
            ports.as_ref().map(|ports| |device: &str, port| ports.has(device, u32::from(port)));
        let seats = self.settings.rails.seats().ok();
        let near = seats.and_then(|seats| seats.port_of(self.rank(), rail));
        let near = near.and_then(|(name, port)| Some((name.to_owned(), u8::try_from(port).ok()?)));
        let own = self.world.records[self.world.rank as usize].addresses.first();
        let wish = Wish {
            named: named.as_ref().map(|named| named as _),
            address,
            near,
            reached_at: own.map(|own| own.ip().to_canonical()),
            turn: rail.unwrap_or(0) as usize,
        };
        let nic = Nic::choose(library, &wish, rail, stall)?;
        Ok(Nic { gid: *gid, service: *service, queue_pairs: *queue_pairs, ..nic })
    }

    /// What is wrong with a setting, if that is why there is no NIC.
    fn refused(&self, error: &VerbsError) -> Option<Error> {
        let VerbsError::NoneNamed { .. } = error else { return None };
        let value = self.settings.verbs.ports.as_ref().map(ToString::to_string).unwrap_or_default();
        let what =
            format!("{error}; name some of these, or leave it out (NCCL_IB_HCA is the same)");
        Some(DEVICES.wrong(value, what))
    }

    /// Queue pairs on all wires.
    fn connect_verbs(
        &self,
        connected: &mut Connected,
        links: TcpOptions,
        relays: Relays,
        inbox: &Inbox,
        interrupted: Interrupted<'_>,
    ) -> Result<VerbsEndpoint, Error> {
        let failed = |error: VerbsError| TransportError::System {
            call: "finding this rank's verbs device".to_owned(),
            source: std::io::Error::other(error),
        };
        let library = Library::open().map_err(failed)?;
        let chosen = self.choose_nics(&links.peers, |source| {
            let nic = self.verbs_nic(&library, source);
            let refused = |error| self.refused(&error).unwrap_or_else(|| failed(error).into());
            nic.map(Ok).map_err(refused)
        })?;
        let over = |peer: &TcpPeer| Over::verbs(peer.rank, chosen.nics.ports(peer.rank));
        connected.over = links.peers.iter().map(over).collect();
        connected.ports = chosen.ports(&connected.over);
        let options = VerbsOptions { links, nics: chosen.nics, heap: Some(connected.heap.clone()) };
        let began = Instant::now();
        wires::connect(&library, &options, relays, inbox, interrupted)
            .map_err(|error| no_way(error, began).into())
    }

    /// With whom this rank has wires, and how their ends meet.
    fn links(&self, remote: &[u32], deadline: Instant) -> TcpOptions {
        TcpOptions {
            rank: self.world.rank,
            peers: remote.iter().filter_map(|&peer| self.wire_with(peer)).collect(),
            secret: self.world.secret.clone(),
            channels: CHANNELS,
            limits: self.settings.limits,
            source: self.own_nic(),
            deadline,
            patience: self.settings.silence.max(SHORTEST_PATIENCE),
        }
    }

    fn relays(&self, remote: &[u32], boxes: Vec<RelayPeer>) -> Relays {
        let routes = remote.iter().filter_map(|&peer| self.relayed(peer)).collect();
        let aggregation = Aggregation {
            most: self.settings.rails.most,
            flush: match self.settings.rails.flush {
                Flush::Auto => tcp::Flush::Auto,
                Flush::Full => tcp::Flush::Full,
                Flush::After(bound) => tcp::Flush::After(bound),
            },
        };
        Relays { peers: boxes, routes, aggregation }
    }

    /// The wire between this rank and `peer`, if one of them sends on it.
    fn wire_with(&self, peer: u32) -> Option<TcpPeer> {
        let addresses = self.addresses_of(peer);
        let (outgoing, incoming) = self.wires().between(self.world.rank, peer)?;
        let source = self.nic(self.ends(peer).0);
        Some(TcpPeer { rank: peer, addresses, source, outgoing, incoming })
    }

    fn has_way_past(&self, from: u32, to: u32) -> bool {
        self.wires().has_way_past(from, to)
    }

    fn wires(&self) -> Wires<'_> {
        let Self { settings, nodes, rails, pxn, .. } = self;
        Wires { settings, nodes, rails, pxn: *pxn }
    }

    /// What this rank's wires take of an RDMA device if all of them go over ibverbs.
    pub fn verbs_needs(&self) -> VerbsNeeds {
        self.wires().load(self.world.rank).needs(self.settings.verbs.queue_pairs)
    }

    /// (`peer`, the relay to it, ranks that share the wire), if messages to it go by way of a relay.
    fn relayed(&self, peer: u32) -> Option<(u32, u32, u16)> {
        let rails = self.pxn.then_some(&self.rails);
        match route(self.rank(), Rank(peer), ChannelId(0), self.nodes, rails)? {
            Route::Relayed(relay) => {
                let sources = self.rails.carried(relay, Rank(peer)).len();
                Some((peer, relay.0, sources.try_into().unwrap_or(u16::MAX)))
            }
            _ => None,
        }
    }

    /// Where `peer` listens; where NICs were named, on that of its rail alone.
    fn addresses_of(&self, peer: u32) -> Vec<SocketAddr> {
        let addresses = &self.world.records[peer as usize].addresses;
        if self.settings.rails.nics.is_empty() {
            return addresses.clone();
        }
        let rail = self.ends(peer).1.unwrap_or(0) as usize;
        addresses.get(rail).copied().into_iter().collect()
    }

    /// The rails of the NICs that the wire to `peer` goes out from and arrives at, the first of them.
    fn ends(&self, peer: u32) -> (Option<u32>, Option<u32>) {
        self.rail_pairs(peer)[0]
    }

    /// The rails of the NICs that the wire to `peer` may be on at this end and at the peer's, in pairs, as the peer has them
    /// too; never none. First the receiver's for both where the sender's relay has a NIC there, though it may not be its
    /// own. Behind it others that both have; all others of both where the first pair crosses rails.
    fn rail_pairs(&self, peer: u32) -> Vec<(Option<u32>, Option<u32>)> {
        let (own, peer) = (self.rank(), Rank(peer));
        let rail = |rank| self.rails.rail_of(rank);
        let is_remote = self.pxn && self.nodes.node_of(own) != self.nodes.node_of(peer);
        let carries = |from, to| {
            is_remote
                && self.rails.carrier(from, to) == Some(from)
                && self.rails.crossing(from, to, ChannelId(0)).is_none()
        };
        // The same at both ends.
        let (low, high) = (own.min(peer), own.max(peer));
        let along = match () {
            () if carries(low, high) => rail(high),
            () if carries(high, low) => rail(low),
            () => None,
        };
        let (ours, theirs) = (self.rails.nics_of(own), self.rails.nics_of(peer));
        pair_rails(along, (rail(own), rail(peer)), (&ours, &theirs))
    }

    /// The address of the NIC of this rank's rail, if it was named.
    fn own_nic(&self) -> Option<IpAddr> {
        self.nic(self.rails.rail_of(self.rank()))
    }

    /// The address of this node's NIC on a rail, if it was named.
    fn nic(&self, rail: Option<u32>) -> Option<IpAddr> {
        self.settings.rails.nics.get(rail? as usize).copied()
    }
}

/// What it says, and what is behind it as far as that adds something: the others hear no more than this text.
fn with_reasons(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let reason = cause.to_string();
        if !text.contains(&reason) {
            text += &format!(": {reason}");
        }
        source = cause.source();
    }
    text
}

/// What may lead to a rank that cannot be reached over verbs, though relays would be of no use.
const OTHER_WAYS: &str = "check the network between the two ports, name other GIDs (CROSSTIE_VERBS_GID_INDEX), or use \
                          CROSSTIE_TRANSPORT=tcp";

/// `error`; as what it is where the network between two ports answers nothing: no fault of this host.
fn no_way(error: TransportError, began: Instant) -> TransportError {
    let TransportError::System { source, .. } = &error else { return error };
    let verbs = source.get_ref().and_then(|source| source.downcast_ref::<PairError>());
    let Some(VerbsError::Unreached { place, tried }) = verbs.map(PairError::reason) else {
        return error;
    };
    let attempts = format!("over verbs nothing that was sent to it was answered, {tried}");
    let source = Box::new(NetError::NoWay { attempts, waited: began.elapsed() });
    TransportError::Connecting { peer: place.peer, source }
}

/// A NIC of this rank's node: by its rail, and by its address where that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    rail: Option<u32>,
    address: Option<IpAddr>,
}

/// Pairs of rails that a wire is on: `along` one rail at both ends, if it is known to be; else those that both ranks have
/// NICs on, if there are any; else from one's `first` to the other's, and so on.
fn pair_rails(
    along: Option<u32>,
    first: (Option<u32>, Option<u32>),
    (ours, theirs): (&[u32], &[u32]),
) -> Vec<(Option<u32>, Option<u32>)> {
    let mut common: Vec<u32> = ours.iter().copied().filter(|rail| theirs.contains(rail)).collect();
    common.sort_unstable();
    let along = along.or_else(|| {
        // A rank's own rail before others that it has a NIC on.
        let own = [first.0, first.1].into_iter().flatten().filter(|rail| common.contains(rail));
        own.min().or_else(|| common.first().copied())
    });
    if let Some(along) = along {
        common.retain(|&rail| rail != along);
        return [along].into_iter().chain(common).map(|rail| (Some(rail), Some(rail))).collect();
    }
    let behind = ours.iter().skip(1).zip(theirs.iter().skip(1));
    let behind = behind.map(|(&own, &their)| (Some(own), Some(their)));
    [first].into_iter().chain(behind).collect()
}

/// A first packet that was lost among many is sent again after a second, and three.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(5);

/// The addresses that a rank offers to the others: those of its node's NICs, in the order of the rails,
/// where they were named.
pub(super) fn offered(settings: &Resolved, listening: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let nics = &settings.rails.nics;
    match listening.first() {
        Some(first) if !nics.is_empty() => {
            nics.iter().map(|&nic| SocketAddr::new(nic, first.port())).collect()
        }
        _ => listening,
    }
}

fn loopback_without_threads() -> Error {
    Error::Setting {
        name: "CROSSTIE_TRANSPORT",
        value: Transport::Loopback.name().to_owned(),
        what: "loopback joins threads of one process (crosstie::Threads); use auto, shm or tcp"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As both ends see it.
    fn pairs(along: Option<u32>, ours: &[u32], theirs: &[u32]) -> Vec<(Option<u32>, Option<u32>)> {
        let first = (ours.first().copied(), theirs.first().copied());
        let here = pair_rails(along, first, (ours, theirs));
        let there = pair_rails(along, (first.1, first.0), (theirs, ours));
        let turned: Vec<_> = there.into_iter().map(|(own, peer)| (peer, own)).collect();
        assert_eq!(here, turned, "the ends pair their NICs alike");
        here
    }

    #[test]
    fn a_wire_is_on_the_rails_that_both_ranks_have_nics_on() {
        let on = |rails: &[u32]| rails.iter().map(|&r| (Some(r), Some(r))).collect::<Vec<_>>();
        assert_eq!(pairs(Some(0), &[0, 2], &[0, 2]), on(&[0, 2]));
        assert_eq!(pairs(None, &[1, 3], &[1, 3]), on(&[1, 3]));
        assert_eq!(pairs(None, &[0, 1], &[1]), on(&[1]), "it has a NIC there");
        assert_eq!(pairs(Some(3), &[0, 3], &[3]), on(&[3]), "the receiver's, by its relay");
        assert_eq!(pairs(Some(1), &[], &[]), on(&[1]), "no NIC is known");
    }

    #[test]
    fn where_a_wire_crosses_rails_it_does_so_by_all_nics_of_both() {
        let crossing = [(Some(0), Some(1)), (Some(2), Some(3))];
        assert_eq!(pairs(None, &[0, 2], &[1, 3]), crossing);
        assert_eq!(pairs(None, &[0, 2], &[1]), crossing[..1]);
        assert_eq!(pair_rails(None, (Some(0), Some(1)), (&[], &[])), crossing[..1]);
        assert_eq!(pair_rails(None, (None, None), (&[], &[])), [(None, None)]);
    }
}
