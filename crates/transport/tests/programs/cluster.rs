//! Owns clusters of a test: ranks on nodes, joined by sockets, relay boxes and loopback, in one process.

use std::net::{TcpListener, TcpStream};
use std::num::NonZero;
use std::sync::Arc;

use crosstie_ir::Rank;
use crosstie_planner::{Nodes, Rails};
use crosstie_testkit::direct::{Direct, DirectPair, Network};
use crosstie_testkit::world::{Path, World};
use crosstie_transport::loopback::Fabric;
use crosstie_transport::seam::{Endpoint, Limits};
use crosstie_transport::tcp::{Aggregation, Held, Relays, Stream, TcpEndpoint};
use crosstie_transport::wires::Joint;
use crosstie_transport::wires::placing::{PlacingEndpoint, Ring};
use crosstie_transport::{BoxShape, Doorbell, RelayPeer};

/// Which ways there are between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// A socket for each pair of ranks.
    Direct,
    /// Each message enters the network on its receiver's rail.
    Relayed,
    /// Both: the channels past relays are behind the others.
    Both,
}

/// What carries the wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Sockets; `short`: writes are cut short after a few kilobytes.
    Sockets { short: bool },
    /// Devices that place payloads, and do everything late; `known`: in any memory.
    Devices { seed: u64, known: bool },
}

/// What these tests want of an endpoint besides what engines do.
pub trait Wired: Endpoint {
    fn number_from(&mut self, passed: u32);
    fn held(&self) -> Held;
}

impl Wired for TcpEndpoint {
    fn number_from(&mut self, passed: u32) {
        Self::number_from(self, passed);
    }
    fn held(&self) -> Held {
        Self::held(self)
    }
}

impl Wired for PlacingEndpoint<Direct> {
    fn number_from(&mut self, passed: u32) {
        Self::number_from(self, passed);
    }
    fn held(&self) -> Held {
        Self::held(self)
    }
}

#[derive(Debug, Clone)]
pub struct Shape {
    /// Ranks of each node.
    pub nodes: Vec<u32>,
    pub rails: NonZero<u32>,
    pub ways: Ways,
    pub channels: u16,
    pub limits: Limits,
    pub aggregation: Aggregation,
    pub over: Over,
    /// Messages that passed on each connection before the first: numbers may soon pass their end.
    pub passed: u32,
}

impl Shape {
    pub fn ranks(&self) -> u32 {
        self.nodes.iter().sum()
    }

    /// The same ranks with room for everything, and a socket for each pair.
    pub fn ample(&self) -> Self {
        let limits = Limits { slots: 64, ..self.limits };
        let over = Over::Sockets { short: false };
        Self { ways: Ways::Direct, limits, over, passed: 0, ..self.clone() }
    }

    fn rails(&self) -> Rails {
        let ranks_of = |(node, &ranks): (u32, &u32)| (0..ranks).map(move |_| node);
        let assignment = (0..).zip(&self.nodes).flat_map(ranks_of).collect();
        Rails::new(&Nodes::new(assignment).expect("there are ranks"), Some(self.rails))
    }
}

pub struct Cluster {
    pub shape: Shape,
    rails: Rails,
    /// The connections between nodes, and those inside them.
    pub between: World<dyn Wired>,
    pub inside: World,
}

impl Cluster {
    pub fn new(shape: &Shape) -> Self {
        let (rails, ranks) = (shape.rails(), shape.ranks());
        let bells: Vec<_> =
            (0..ranks).map(|_| Arc::new(Doorbell::new().expect("an eventfd"))).collect();
        let mut wires = Wires::new(shape);
        let mut relays: Vec<Relays> = (0..ranks)
            .map(|rank| Relays {
                peers: Vec::new(),
                routes: routes(shape, &rails, rank),
                aggregation: shape.aggregation,
            })
            .collect();
        for low in 0..ranks {
            for high in low + 1..ranks {
                if rails.node_of(Rank(low)).contains(&Rank(high)) {
                    let ends = [low, high].map(|rank| (rank, &bells[rank as usize]));
                    let boxes = BoxShape { ranks, channels: shape.channels };
                    let (of_low, of_high) =
                        RelayPeer::pair(ends[0], ends[1], boxes).expect("memory");
                    relays[low as usize].peers.push(of_low);
                    relays[high as usize].peers.push(of_high);
                } else if let Some(senders) = senders(shape, &rails, low, high) {
                    wires.join([low, high], senders);
                }
            }
        }
        let mut between = wires.endpoints(shape, relays);
        between.iter_mut().for_each(|end| end.number_from(shape.passed));
        let fabric = Fabric::new(ranks, shape.channels, shape.limits).expect("memory");
        let join = |(rank, bell): (u32, &Arc<Doorbell>)| -> Box<dyn Endpoint> {
            Box::new(fabric.endpoint(rank, Arc::clone(bell)).expect("each rank once"))
        };
        let inside = (0..).zip(&bells).map(join).collect();
        let (between, inside) = (World::new(between), World::new(inside));
        Self { shape: shape.clone(), rails, between, inside }
    }

    pub fn is_inside(&self, path: Path) -> bool {
        self.are_neighbours(path.src, path.dst)
    }

    pub fn are_neighbours(&self, one: u32, other: u32) -> bool {
        self.rails.node_of(Rank(one)).contains(&Rank(other))
    }

    /// The rank that sends its messages over the network: its source, or a relay.
    pub fn carrier(&self, path: Path) -> u32 {
        let relayed = self.shape.ways != Ways::Direct && path.channel < self.shape.channels;
        let carrier = self.rails.carrier(Rank(path.src), Rank(path.dst));
        carrier.filter(|_| relayed && !self.is_inside(path)).map_or(path.src, |Rank(rank)| rank)
    }

    /// The channel of a message for which `channel` was drawn: past a relay, if `past` and there is one.
    pub fn channel(&self, path: Path, past: bool) -> u16 {
        let both = past && self.shape.ways == Ways::Both && self.carrier(path) != path.src;
        path.channel + if both { self.shape.channels } else { 0 }
    }

    /// Whether `rank` sends messages of others of its node over the network.
    pub fn relays(&self, rank: u32) -> bool {
        let ranks = (0..self.shape.ranks()).map(Rank);
        self.shape.ways != Ways::Direct
            && ranks.into_iter().any(|dst| self.rails.carried(Rank(rank), dst).len() > 1)
    }

    /// Moves bytes once for `rank`, if it is alive.
    pub fn progress(&mut self, rank: u32) {
        if self.between.is_alive(rank) {
            self.between.end(rank).progress().expect("progress fails for no single peer");
            self.inside.end(rank).progress().expect("progress fails for no single peer");
        }
    }

    pub fn kill(&mut self, rank: u32) {
        self.between.kill(rank);
        self.inside.kill(rank);
    }
}

fn routes(shape: &Shape, rails: &Rails, rank: u32) -> Vec<(u32, u32, u16)> {
    if shape.ways == Ways::Direct {
        return Vec::new();
    }
    let remote = (0..shape.ranks()).filter(|&dst| !rails.node_of(Rank(rank)).contains(&Rank(dst)));
    let route = |dst| {
        let carrier = rails.carrier(Rank(rank), Rank(dst)).filter(|&by| by != Rank(rank))?;
        Some((dst, carrier.0, rails.carried(carrier, Rank(dst)).len() as u16))
    };
    remote.filter_map(route).collect()
}

/// The ranks that send on the wire between two ranks of different nodes, from the lower and from the higher one's
/// node; `None` where nobody does.
fn senders(shape: &Shape, rails: &Rails, low: u32, high: u32) -> Option<[Vec<u32>; 2]> {
    let senders = |from: u32, to: u32| -> Vec<u32> {
        let carried: Vec<_> =
            rails.carried(Rank(from), Rank(to)).into_iter().map(|Rank(rank)| rank).collect();
        match shape.ways {
            Ways::Direct => vec![from],
            Ways::Both if carried.is_empty() => vec![from],
            Ways::Relayed | Ways::Both => carried,
        }
    };
    let (up, down) = (senders(low, high), senders(high, low));
    (!up.is_empty() || !down.is_empty()).then_some([up, down])
}

/// What is to become the endpoints of all ranks.
enum Wires {
    Sockets {
        short: bool,
        streams: Vec<Vec<Stream>>,
    },
    Devices {
        network: Network,
        devices: Vec<Vec<Direct>>,
        joints: Vec<Vec<Joint<Ring<DirectPair>>>>,
    },
}

impl Wires {
    fn new(shape: &Shape) -> Self {
        let ranks = 0..shape.ranks();
        match shape.over {
            Over::Sockets { short } => {
                Self::Sockets { short, streams: ranks.map(|_| Vec::new()).collect() }
            }
            Over::Devices { seed, known } => {
                let network = Network::new(Some(seed), known);
                let two = |_| vec![network.device(), network.device()];
                let devices = ranks.clone().map(two).collect();
                Self::Devices { network, devices, joints: ranks.map(|_| Vec::new()).collect() }
            }
        }
    }

    fn join(&mut self, [low, high]: [u32; 2], [up, down]: [Vec<u32>; 2]) {
        let (at_low, at_high) = (low as usize, high as usize);
        let (up_in, down_in) = (up.clone(), down.clone());
        match self {
            Self::Sockets { short, streams } => {
                let [one, other] = sockets(*short);
                let stream =
                    |peer, socket, outgoing, incoming| Stream { peer, socket, outgoing, incoming };
                streams[at_low].push(stream(high, one, up, down_in));
                streams[at_high].push(stream(low, other, down, up_in));
            }
            Self::Devices { network, devices, joints } => {
                let (lower, upper) = devices.split_at_mut(at_high);
                // On one of the two devices of either rank, or on both.
                let on: &[usize] = [&[0][..], &[0, 1], &[1, 0]][(low + high) as usize % 3];
                let [one, other] = network.wire_on(on, &mut lower[at_low], &mut upper[0]);
                let joint =
                    |peer, link, outgoing, incoming| Joint { peer, link, outgoing, incoming };
                joints[at_low].push(joint(high, one, up, down_in));
                joints[at_high].push(joint(low, other, down, up_in));
            }
        }
    }

    fn endpoints(self, shape: &Shape, relays: Vec<Relays>) -> Vec<Box<dyn Wired>> {
        let (channels, limits) = (shape.channels, shape.limits);
        match self {
            Self::Sockets { streams, .. } => {
                let end = |(rank, (streams, relays))| -> Box<dyn Wired> {
                    let end = TcpEndpoint::with_relays(rank, streams, relays, channels, limits);
                    Box::new(end.expect("sockets"))
                };
                (0..).zip(streams.into_iter().zip(relays)).map(end).collect()
            }
            Self::Devices { devices, joints, .. } => {
                let end = |(rank, ((devices, joints), relays))| -> Box<dyn Wired> {
                    let end = PlacingEndpoint::new(devices, rank, joints, relays, channels, limits);
                    Box::new(end.expect("memory"))
                };
                (0..).zip(devices.into_iter().zip(joints).zip(relays)).map(end).collect()
            }
        }
    }
}

fn sockets(short: bool) -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let one = TcpStream::connect(listener.local_addr().expect("its address"));
    let sockets = [one.expect("a connection"), listener.accept().expect("its other end").0];
    if short {
        for socket in &sockets {
            rustix::net::sockopt::set_socket_send_buffer_size(socket, 4096).expect("SO_SNDBUF");
        }
    }
    sockets
}
