//! Owns what a search reckons with: the links of one node, and the links that each leg of a ring loads.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crosstie_topo::{GpuModel, LinkKind, PathKind, PathTree, Rails, Topology, VertexId};

use super::{Node, SearchError};

/// A rank's place: a GPU, or, where it plays a NIC of a node without GPUs, that NIC's NUMA node.
pub(super) struct Seat {
    pub vertex: VertexId,
    pub device: u32,
    is_gpu: bool,
    gdr: bool,
    host: Option<u32>,
}

/// A port by which rings enter and leave.
pub(super) struct Port {
    pub vertex: VertexId,
    pub device: u32,
    pub rail: Option<u32>,
    gdr: bool,
    host: Option<u32>,
}

/// One link in one direction.
pub(super) struct Link {
    pub from: VertexId,
    pub to: VertexId,
    /// MB/s.
    pub capacity: u64,
}

/// What a ring does between two of its stops.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    pub kind: PathKind,
    /// By number in [`Model::links`].
    pub links: Vec<u32>,
}

impl Leg {
    pub fn then(&self, next: &Self, kind: PathKind) -> Self {
        Self { kind, links: [&self.links[..], &next.links].concat() }
    }
}

/// A way out of the node by a relay.
pub(super) struct Relayed {
    pub relay: u32,
    pub leg: Leg,
}

/// A node as the search sees it.
pub(super) struct Model {
    pub seats: Vec<Seat>,
    pub ports: Vec<Port>,
    pub links: Vec<Link>,
    /// How many vertices the topology has.
    pub vertices: usize,
    hops: Vec<Option<Leg>>,
    enters: Vec<Option<Leg>>,
    leaves: Vec<Option<Leg>>,
    /// MB/s that a channel carries at most.
    pub channel_limit: u64,
}

/// What one channel (a thread block on each GPU) carries at most, MB/s: the highest speeds that NCCL 2.30
/// tries for a ring inside a node (`src/graph/search.cc`), by compute capability.
fn channel_limit(model: &GpuModel) -> u64 {
    match model {
        GpuModel::Nvidia { sm: 100.. } => 90_000,
        GpuModel::Nvidia { sm: 90..=99 } => 60_000,
        _ => 40_000,
    }
}

/// The links met so far.
#[derive(Default)]
struct Links {
    links: Vec<Link>,
    numbers: BTreeMap<(VertexId, VertexId, LinkKind), u32>,
}

impl Links {
    fn leg(&mut self, tree: &PathTree, to: VertexId) -> Option<Leg> {
        let kind = tree.to(to)?.kind;
        let mut links = Vec::new();
        for hop in tree.hops(to) {
            let next = self.links.len() as u32;
            let number = *self.numbers.entry((hop.from, hop.to, hop.link)).or_insert(next);
            if number == next {
                let capacity = hop.bandwidth.as_bytes_per_s() / 1_000_000;
                self.links.push(Link { from: hop.from, to: hop.to, capacity });
            }
            links.push(number);
        }
        Some(Leg { kind, links })
    }
}

/// What leads between seats and ports.
struct ToNics<'a> {
    topology: &'a Topology,
    seats: &'a [Seat],
    /// The paths from each seat.
    trees: &'a [PathTree],
    links: &'a mut Links,
}

impl ToNics<'_> {
    /// By port and seat: the legs in, and the legs out.
    fn legs(
        &mut self,
        ports: &[Port],
        joins: impl Fn(VertexId) -> bool + Copy,
    ) -> (Vec<Option<Leg>>, Vec<Option<Leg>>) {
        let cpus = cpu_trees(self.topology, self.seats);
        let (mut enters, mut leaves) = (Vec::new(), Vec::new());
        for port in ports {
            let in_by = self.topology.paths_joined_by(port.vertex, joins);
            let chip = self.topology.cpu_of(port.vertex);
            for (seat, out_by) in self.seats.iter().zip(self.trees) {
                let cpu = by_cpu(self.topology, seat, port);
                let by = cpu.and_then(|cpu| cpus.get(&cpu));
                let path = chip.and_then(|cpu| out_by.to(cpu));
                let is_chip = path.is_some_and(|path| path.kind == PathKind::C2c);
                let enter = self.leg(&in_by, seat.vertex, by);
                let leave = self.leg(out_by, port.vertex, by);
                enters.push(enter.map(|leg| chip_to_chip(leg, is_chip)));
                leaves.push(leave.map(|leg| chip_to_chip(leg, is_chip)));
            }
        }
        (enters, leaves)
    }

    /// A leg, with a stop in the memory of a NUMA node where `by` has the paths from one.
    fn leg(&mut self, tree: &PathTree, to: VertexId, by: Option<&PathTree>) -> Option<Leg> {
        let Some(by) = by else { return self.links.leg(tree, to) };
        let (first, second) = (self.links.leg(tree, by.from())?, self.links.leg(by, to)?);
        let kind = first.kind.max(second.kind).max(PathKind::Phb);
        Some(first.then(&second, kind))
    }
}

impl Model {
    pub fn of(node: &Node<'_>, kind: u32) -> Result<Self, SearchError> {
        Self::with(node, kind, |_| false)
    }

    /// The same with the ports of these numbers too, if they are on no rail.
    pub fn with(
        node: &Node<'_>,
        kind: u32,
        also: impl Fn(u32) -> bool,
    ) -> Result<Self, SearchError> {
        let topology = node.topology;
        let seats: Vec<Seat> =
            node.members.iter().filter_map(|&member| seat(topology, member)).collect();
        if seats.is_empty() {
            return Err(SearchError::NoRanks { kind });
        }
        let ports = ports(topology, &node.rails, also);
        let (most, ends) = (crosstie_topo::MOST_ENDS, seats.len() + ports.len());
        if ends > most {
            return Err(SearchError::TooLarge { kind, ends, most });
        }
        let (mut links, joins) = (Links::default(), |gpu| node.members.contains(&gpu));
        let trees: Vec<PathTree> =
            seats.iter().map(|seat| topology.paths_joined_by(seat.vertex, joins)).collect();
        let pairs = trees.iter().flat_map(|tree| seats.iter().map(move |to| (tree, to.vertex)));
        let hops = pairs.map(|(tree, to)| links.leg(tree, to)).collect();
        let mut to_nics = ToNics { topology, seats: &seats, trees: &trees, links: &mut links };
        let (enters, leaves) = to_nics.legs(&ports, joins);
        let limits = seats.iter().map(|seat| match topology.gpu(seat.vertex) {
            Some(gpu) => channel_limit(&gpu.model),
            None => channel_limit(&GpuModel::Unknown),
        });
        let channel_limit = limits.min().unwrap_or_default();
        let (links, vertices) = (links.links, topology.vertices().len());
        Ok(Self { seats, ports, links, vertices, hops, enters, leaves, channel_limit })
    }

    /// From one seat to another.
    pub fn hop(&self, from: u32, to: u32) -> Option<&Leg> {
        self.hops[from as usize * self.seats.len() + to as usize].as_ref()
    }

    /// From a port to a seat.
    pub fn enter(&self, port: u32, seat: u32) -> Option<&Leg> {
        self.enters[port as usize * self.seats.len() + seat as usize].as_ref()
    }

    /// From a seat to a port, without a relay.
    pub fn leave(&self, seat: u32, port: u32) -> Option<&Leg> {
        self.leaves[port as usize * self.seats.len() + seat as usize].as_ref()
    }

    /// From a seat to a port through each relay that is near the port and joined to the seat by NVLink
    /// (NCCL's conditions for PXN).
    pub fn relayed(&self, seat: u32, port: u32) -> impl Iterator<Item = Relayed> {
        let host = self.ports[port as usize].host;
        let gdr = self.ports[port as usize].gdr;
        let relays = (0..self.seats.len() as u32).filter(move |&relay| relay != seat);
        relays.filter_map(move |relay| {
            let by = &self.seats[relay as usize];
            let first = self.hop(seat, relay).filter(|leg| leg.kind <= PathKind::Nvl)?;
            let last = self.leave(relay, port).filter(|leg| leg.kind <= PathKind::P2c)?;
            let near = by.is_gpu && by.gdr && gdr && by.host == host;
            let near = near && self.seats[seat as usize].host == host;
            near.then(|| Relayed { relay, leg: first.then(last, PathKind::Pxn) })
        })
    }

    /// Numbers of the links that some leg between seats loads, in order.
    pub fn inside(&self) -> Vec<bool> {
        let mut used = alloc::vec![false; self.links.len()];
        for &link in self.hops.iter().flatten().flat_map(|leg| &leg.links) {
            used[link as usize] = true;
        }
        used
    }
}

fn seat(topology: &Topology, member: VertexId) -> Option<Seat> {
    let host = topology.vertex(member).host;
    if let Some(gpu) = topology.gpu(member) {
        let device = device(topology, member)?;
        return Some(Seat { vertex: member, device, is_gpu: true, gdr: gpu.gdr, host });
    }
    let device = device(topology, member)?;
    Some(Seat { vertex: topology.cpu_of(member)?, device, is_gpu: false, gdr: true, host })
}

/// What a plan calls a GPU or port: the number of the file; in a file of several hosts, which count each for
/// itself, the place among all.
pub fn device(topology: &Topology, of: VertexId) -> Option<u32> {
    let (dev, all) = match (topology.gpu(of), topology.port(of)) {
        (Some(gpu), _) => (gpu.dev, topology.gpus()),
        (None, port) => (port?.dev, topology.ports()),
    };
    match topology.hosts().len() {
        0 | 1 => Some(dev),
        _ => all.iter().position(|&other| other == of).map(|place| place as u32),
    }
}

/// The ports that are on rails, and also these; all, where none is on a rail.
fn ports(topology: &Topology, rails: &Rails, also: impl Fn(u32) -> bool) -> Vec<Port> {
    let known = topology.ports().iter().filter_map(|&vertex| {
        let port = topology.port(vertex)?;
        let device = device(topology, vertex)?;
        let (rail, host) = (rails.rail_of(vertex), topology.vertex(vertex).host);
        Some(Port { vertex, device, rail, gdr: port.gdr, host })
    });
    known.filter(|port| port.rail.is_some() || rails.is_empty() || also(port.device)).collect()
}

/// The paths from each NUMA node that data of some seat must pass.
fn cpu_trees(topology: &Topology, seats: &[Seat]) -> BTreeMap<VertexId, PathTree> {
    let gpus = seats.iter().filter(|seat| seat.is_gpu);
    let cpus = gpus.filter_map(|seat| topology.cpu_of(seat.vertex));
    let mut trees = BTreeMap::new();
    for cpu in cpus {
        trees.entry(cpu).or_insert_with(|| topology.paths_joined_by(cpu, |_| false));
    }
    trees
}

/// The NUMA node by whose memory data pass, where the NIC does not reach the GPU's.
fn by_cpu(topology: &Topology, seat: &Seat, port: &Port) -> Option<VertexId> {
    let direct = !seat.is_gpu || seat.gdr && port.gdr;
    if direct { None } else { topology.cpu_of(seat.vertex) }
}

/// By C2C and the processor that the NIC hangs on a GPU is as near to it as by a switch.
fn chip_to_chip(leg: Leg, is_chip: bool) -> Leg {
    let kind = if is_chip && leg.kind == PathKind::Phb { PathKind::P2c } else { leg.kind };
    Leg { kind, ..leg }
}
