//! Owns a graph file's meaning on a machine: its channels as rings and trees, with what links bear of them.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crosstie_topo::xml::Position;
use crosstie_topo::{Paths, VertexId};

use super::{
    Channel, CrossNic, Device, Graph, GraphError, GraphFault, GraphFile, Pattern, Place, RING,
    TREE, streams,
};
use crate::MachinesError;
use crate::algo::tree::{TREES, place};
use crate::search::{
    Branch, Crossing, CrossingWhy, Ended, Node, Ring, Rings, SearchError, Side, Stretch, Swap,
    Tree, device, loads,
};

/// What a graph file makes of nodes of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its rings and trees. A ring carries what the most loaded link leaves it; a tree its part of what the file
    /// says.
    pub rings: Rings,
    /// What the file says that each ring carries, MB/s.
    pub told_mb_s: u64,
    /// What it says of its trees, where it has some.
    pub trees: Option<TreesTold>,
}

/// What a graph file says of its trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreesTold {
    /// How they use the network.
    pub pattern: Pattern,
    /// What a channel's two take of a link inside the node together, MB/s.
    pub inside_mb_s: u64,
    /// What they take of a NIC together, MB/s.
    pub nic_mb_s: u64,
    /// Streams that share what they take of the NIC, on these nodes.
    pub streams: u64,
}

/// Why a graph file cannot be taken for a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It is of another machine.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The machine cannot be planned for.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The machine is too large.
    #[error(transparent)]
    Machine(#[from] MachinesError),
}

impl GraphFile {
    /// The file's rings and trees on so many nodes, each of this kind. Where NCCL would send by a relay, with
    /// PXN, they do. `bound_mb_s` is what no rings exceed there.
    ///
    /// # Errors
    /// Where the file is not of this machine, or that is too large.
    pub fn on(
        &self,
        node: &Node<'_>,
        nodes: u32,
        pxn: bool,
        bound_mb_s: Option<u64>,
    ) -> Result<Imported, Unfit> {
        let paths = Paths::of(node.topology).map_err(MachinesError::from)?;
        let machine = Machine { node, paths: &paths, nodes, pxn };
        let graph = self.graphs.iter().find(|graph| graph.id == RING && !graph.channels.is_empty());
        let Some(graph) = graph else {
            let at = Position { line: 1, column: 1 };
            return Err(GraphError { at, fault: GraphFault::NoRings }.into());
        };
        let ways = graph.channels.iter().map(|channel| machine.stretch(channel));
        let ways: Vec<Stretch> = ways.collect::<Result<_, _>>()?;
        let swap = match graph.cross_nic {
            CrossNic::Pairs if nodes > 1 && ways.len().is_multiple_of(2) => Swap::Pairs,
            _ => Swap::None,
        };
        let mut rings = Rings {
            rings: machine.rings(&ways, swap),
            trees: machine.trees(self.trees())?,
            bound_mb_s,
            cut: None,
            ended: Ended::Told,
            swap,
            crossings: Vec::new(),
        };
        rings.crossings = machine.crossings(&rings);
        let told_mb_s = match nodes {
            1 => graph.speed_intra_mb_s,
            _ => graph.speed_intra_mb_s.min(graph.speed_inter_mb_s),
        };
        // A GPU that is alone on its node loads no link.
        let speed = fair(node, &rings)?.unwrap_or(told_mb_s);
        rings.rings.iter_mut().for_each(|ring| ring.bandwidth_mb_s = speed);
        let told = |graph: &Graph| TreesTold {
            pattern: graph.pattern,
            inside_mb_s: graph.speed_intra_mb_s,
            nic_mb_s: graph.speed_inter_mb_s,
            streams: streams(&rings.trees),
        };
        let trees = self.trees().map(told);
        Ok(Imported { rings, told_mb_s, trees })
    }

    fn trees(&self) -> Option<&Graph> {
        self.graphs.iter().find(|graph| graph.id == TREE && !graph.channels.is_empty())
    }
}

/// What each ring carries where all carry alike, and no link of any node more than it can; `None` where they load none.
fn fair(node: &Node<'_>, found: &Rings) -> Result<Option<u64>, SearchError> {
    // Rings of one MB/s each load a link with their number.
    let nodes = found.rings.first().map_or(0, |ring| ring.nodes.len() as u32);
    // Nodes are alike, but for the swap.
    let mut least = None;
    for place in 0..nodes.min(2) {
        let loads = loads(node, found, place)?;
        let borne = loads.iter().map(|load| load.capacity_mb_s / load.load_mb_s.max(1)).min();
        least = [least, borne].into_iter().flatten().min();
    }
    Ok(least)
}

struct Machine<'a> {
    node: &'a Node<'a>,
    paths: &'a Paths,
    nodes: u32,
    pxn: bool,
}

fn fault<T>(at: Place, fault: GraphFault) -> Result<T, GraphError> {
    Err(GraphError { at: at.0, fault })
}

fn named(device: Device) -> String {
    match device.host {
        0 => device.dev.to_string(),
        host => format!("{} of host {host}", device.dev),
    }
}

impl Machine<'_> {
    /// The one of these that the file means.
    fn find(
        &self,
        wanted: Device,
        what: &'static str,
        all: &[VertexId],
    ) -> Result<VertexId, GraphError> {
        let topology = self.node.topology;
        let dev = |vertex: VertexId| {
            let (gpu, port) = (topology.gpu(vertex), topology.port(vertex));
            gpu.map(|gpu| gpu.dev).or_else(|| port.map(|port| port.dev))
        };
        let host = |vertex: VertexId| topology.vertex(vertex).host.unwrap_or(0);
        let is = |&&vertex: &&VertexId| {
            host(vertex) == u32::from(wanted.host) && dev(vertex) == Some(wanted.dev)
        };
        if let Some(&found) = all.iter().find(is) {
            return Ok(found);
        }
        let there: BTreeSet<u32> = all.iter().filter_map(|&vertex| dev(vertex)).collect();
        let there: Vec<String> = there.into_iter().map(|dev| dev.to_string()).collect();
        let expected = match there.is_empty() {
            true => "none".to_string(),
            false => format!("one of {}", there.join(" ")),
        };
        fault(wanted.at, GraphFault::Device { what, name: named(wanted), expected })
    }

    /// The local ranks of a channel's GPUs.
    fn seats(&self, channel: &Channel) -> Result<Vec<u32>, GraphError> {
        let members = &self.node.members;
        let mut seats: Vec<u32> = Vec::new();
        for &gpu in &channel.gpus {
            let vertex = self.find(gpu, "GPU", members)?;
            let seat = members.iter().position(|&member| member == vertex).unwrap_or(0) as u32;
            if seats.contains(&seat) {
                return fault(gpu.at, GraphFault::Again { name: named(gpu) });
            }
            seats.push(seat);
        }
        let (found, expected) = (seats.len(), members.len());
        if found != expected {
            let what = "GPUs of a channel, which passes each that has a rank once";
            return fault(channel.at, GraphFault::Count { what, found, expected });
        }
        self.check(channel.at, seats.windows(2).map(|pair| (pair[0], pair[1])))?;
        Ok(seats)
    }

    /// That something leads from each to the next.
    fn check(&self, at: Place, hops: impl Iterator<Item = (u32, u32)>) -> Result<(), GraphError> {
        for (from, to) in hops {
            let (from, to) = (self.member(from), self.member(to));
            self.joined(at, from, to)?;
        }
        Ok(())
    }

    fn joined(&self, at: Place, from: VertexId, to: VertexId) -> Result<(), GraphError> {
        let name = |id| self.node.topology.label(id).to_string();
        match self.paths.between(from, to) {
            Some(_) => Ok(()),
            None => fault(at, GraphFault::Apart { from: name(from), to: name(to) }),
        }
    }

    fn member(&self, seat: u32) -> VertexId {
        self.node.members[seat as usize]
    }

    fn number(&self, vertex: VertexId) -> u32 {
        device(self.node.topology, vertex).unwrap_or(0)
    }

    /// The NICs of a channel; none where there is one node.
    fn nets(&self, channel: &Channel) -> Result<Option<[VertexId; 2]>, GraphError> {
        let ports = self.node.topology.ports();
        match channel.nets {
            None if self.nodes > 1 => fault(channel.at, GraphFault::NoNets { nodes: self.nodes }),
            None => Ok(None),
            Some([into, out]) => {
                let nets = [self.find(into, "NIC", ports)?, self.find(out, "NIC", ports)?];
                Ok(Some(nets).filter(|_| self.nodes > 1))
            }
        }
    }

    fn stretch(&self, channel: &Channel) -> Result<Stretch, GraphError> {
        let seats = self.seats(channel)?;
        let nets = self.nets(channel)?;
        let mut relay = None;
        if let (Some([into, out]), [first, .., last] | [first @ last]) = (nets, &seats[..]) {
            let last = self.member(*last);
            self.joined(channel.at, into, self.member(*first))?;
            self.joined(channel.at, last, out)?;
            let relayed = self.paths.relayed(last, out).filter(|_| self.pxn);
            let relayed = relayed.map(|relayed| relayed.relay);
            relay = relayed.filter(|relay| self.node.members.contains(relay));
        } else if let [first, .., last] = seats[..] {
            self.check(channel.at, [(last, first)].into_iter())?;
        }
        Ok(Stretch {
            node: 0,
            gpus: seats.iter().map(|&seat| self.number(self.member(seat))).collect(),
            local_ranks: seats,
            nic_in: nets.map(|[into, _]| self.number(into)),
            nic_out: nets.map(|[_, out]| self.number(out)),
            relay_in: None,
            relay_out: relay.map(|relay| self.number(relay)),
            relay_why: None,
        })
    }

    /// Rings of one MB/s each.
    fn rings(&self, ways: &[Stretch], swap: Swap) -> Vec<Ring> {
        let way = |channel: usize, node: u32| {
            let swapped = swap == Swap::Pairs && node % 2 == 1;
            let way = ways.get(channel ^ usize::from(swapped)).unwrap_or(&ways[channel]);
            Stretch { node, ..way.clone() }
        };
        let ring = |channel: usize| Ring {
            channel: channel as u32,
            bandwidth_mb_s: 1,
            nodes: (0..self.nodes).map(|node| way(channel, node)).collect(),
        };
        (0..ways.len()).map(ring).collect()
    }

    /// Where rings leave one rail and come in by another.
    fn crossings(&self, found: &Rings) -> Vec<Crossing> {
        let topology = self.node.topology;
        let rail = |nic: Option<u32>| {
            let mut ports = topology.ports().iter().copied();
            self.node.rails.rail_of(ports.find(|&port| device(topology, port) == nic)?)
        };
        let mut crossings = Vec::new();
        for ring in found.rings.iter().filter(|_| self.nodes > 1) {
            for (from, to) in ring.nodes.iter().zip(ring.nodes.iter().cycle().skip(1)) {
                let (left, instead) = (rail(from.nic_out), rail(to.nic_in));
                crossings.extend(left.filter(|_| left != instead).map(|rail| Crossing {
                    channel: ring.channel,
                    node: to.node,
                    side: Side::In,
                    rail,
                    instead,
                    why: CrossingWhy::Told,
                }));
            }
        }
        crossings
    }

    /// Two trees for each of a graph's channels, each for half of its data.
    fn trees(&self, graph: Option<&Graph>) -> Result<Vec<Tree>, GraphError> {
        let mut trees = Vec::new();
        let Some(graph) = graph else { return Ok(trees) };
        for (channel, told) in (0..).zip(&graph.channels) {
            let (seats, nets) = (self.seats(told)?, self.nets(told)?);
            let nic = nets.map(|[into, _]| self.number(into));
            for half in 0..TREES {
                let nodes = (0..self.nodes).map(|node| self.branch(half, node, &seats, nic));
                let nodes = nodes.collect();
                trees.push(Tree { channel, half, bandwidth_mb_s: 0, nodes });
            }
        }
        // Both halves share what a channel takes of a link, and their streams what it takes of a NIC.
        let (inside, nic) = (graph.speed_intra_mb_s / 2, graph.speed_inter_mb_s / streams(&trees));
        let speed = if self.nodes > 1 { inside.min(nic) } else { inside };
        trees.iter_mut().for_each(|tree| tree.bandwidth_mb_s = speed);
        Ok(trees)
    }

    fn branch(&self, half: u32, node: u32, seats: &[u32], nic: Option<u32>) -> Branch {
        let place = (self.nodes > 1).then(|| place(half, node, self.nodes));
        let (parent, children) =
            place.map_or((None, Vec::new()), |place| (place.parent, place.children));
        Branch {
            node,
            parent,
            children,
            gpus: seats.iter().map(|&seat| self.number(self.member(seat))).collect(),
            local_ranks: seats.to_vec(),
            nic,
        }
    }
}
