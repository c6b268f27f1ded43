//! Owns the making of a graph file from a search's rings and trees.

use alloc::vec::Vec;

use crosstie_topo::{PathKind, PathTree, VertexId};

use super::{
    Channel, CrossNic, Device, Graph, GraphFile, MOST_ELEMENTS, Pattern, Place, RING, TREE,
    Unwritable, streams,
};
use crate::search::{Branch, Node, Rings, Stretch, Swap, device, rings};

impl GraphFile {
    /// What NCCL is to read to take these rings and trees on nodes of this kind. The file has the ways of a
    /// node of even place; where rings change rails in pairs, NCCL swaps the two on odd ones by itself. Rings that
    /// turn, or close, at the last of an odd number of nodes cannot be said: in their place stand those of two nodes.
    ///
    /// # Errors
    /// On a machine without GPUs, or where the file would be longer than NCCL reads.
    pub fn of(found: &Rings, node: &Node<'_>) -> Result<Self, Unwritable> {
        if node.topology.gpus().is_empty() {
            return Err(Unwritable::NoGpus);
        }
        let source = Source::of(node);
        let even = match found.swap {
            Swap::None | Swap::Pairs => None,
            _ => rings(core::slice::from_ref(node), &[0, 0]).ok(),
        };
        let graphs = [source.rings(even.as_ref().unwrap_or(found)), source.trees(found)];
        let graphs = graphs.into_iter().filter(|graph| !graph.channels.is_empty());
        let file = Self { graphs: graphs.collect() };
        let channels = || file.graphs.iter().flat_map(|graph| &graph.channels);
        let elements: usize = channels()
            .map(|channel| 1 + channel.gpus.len() + channel.nets.map_or(0, |nets| nets.len()))
            .sum();
        let elements = 1 + file.graphs.len() + elements;
        if elements > MOST_ELEMENTS {
            let (channels, gpus) = (channels().count(), node.members.len());
            return Err(Unwritable::TooLong { channels, gpus, elements, most: MOST_ELEMENTS });
        }
        Ok(file)
    }
}

struct Source<'a> {
    node: &'a Node<'a>,
    /// By local rank: the paths from its GPU over those of others.
    paths: Vec<PathTree>,
}

impl<'a> Source<'a> {
    fn of(node: &'a Node<'a>) -> Self {
        let joins = |gpu| node.members.contains(&gpu);
        let paths = |&member: &VertexId| node.topology.paths_joined_by(member, joins);
        Self { node, paths: node.members.iter().map(paths).collect() }
    }

    fn rings(&self, found: &Rings) -> Graph {
        let ways = found.rings.iter().filter_map(|ring| ring.nodes.first());
        let ways: Vec<&Stretch> = ways.collect();
        let channel = |way: &&Stretch| self.channel(&way.local_ranks, way.nic_in.zip(way.nic_out));
        let channels: Vec<Channel> = ways.iter().map(channel).collect();
        let speed = found.rings.first().map_or(0, |ring| ring.bandwidth_mb_s);
        let alone = found.rings.iter().all(|ring| ring.nodes.len() < 2);
        let cross_nic = match found.swap {
            Swap::None if alone || found.crossings.is_empty() => CrossNic::No,
            Swap::None => CrossNic::Any,
            _ => CrossNic::Pairs,
        };
        let closing = |way: &Stretch| {
            let ends = way.local_ranks.last().zip(way.local_ranks.first());
            ends.filter(|(last, first)| alone && last != first).map(|(&last, &first)| (last, first))
        };
        let hops = |way: &&Stretch| {
            let relay = way.relay_out.and_then(|relay| self.seat(relay));
            let to_relay = way.local_ranks.last().copied().zip(relay);
            let ends = [to_relay, closing(way)];
            hops(&way.local_ranks).chain(ends.into_iter().flatten()).collect::<Vec<_>>()
        };
        let type_intra = self.worst(ways.iter().flat_map(hops));
        let nics = ways.iter().map(|way| self.worst_to_nics(way)).max();
        Graph {
            id: RING,
            pattern: Pattern::Ring,
            cross_nic,
            speed_intra_mb_s: speed,
            speed_inter_mb_s: speed,
            latency_inter_ns: 0,
            type_intra,
            type_inter: nics.unwrap_or(PathKind::Pix),
            same_channels: alike(&channels),
            channels,
            at: Place::default(),
        }
    }

    /// A channel is both halves: its speeds are what both load a link with, in one direction.
    fn trees(&self, found: &Rings) -> Graph {
        let first = |half: u32| found.trees.iter().filter(move |tree| tree.half == half);
        let chains: Vec<&Branch> = first(0).filter_map(|tree| tree.nodes.first()).collect();
        let channels: Vec<Channel> = chains
            .iter()
            .map(|chain| self.channel(&chain.local_ranks, chain.nic.zip(chain.nic)))
            .collect();
        let speed = found.trees.first().map_or(0, |tree| tree.bandwidth_mb_s);
        let nics = chains.iter().filter_map(|chain| {
            let (nic, &first) = (chain.nic?, chain.local_ranks.first()?);
            self.to_nic(first, nic)
        });
        Graph {
            id: TREE,
            pattern: Pattern::Tree,
            cross_nic: CrossNic::No,
            speed_intra_mb_s: 2 * speed,
            speed_inter_mb_s: streams(&found.trees) * speed,
            latency_inter_ns: 0,
            type_intra: self.worst(chains.iter().flat_map(|chain| hops(&chain.local_ranks))),
            type_inter: nics.max().unwrap_or(PathKind::Pix),
            same_channels: alike(&channels),
            channels,
            at: Place::default(),
        }
    }

    fn channel(&self, seats: &[u32], nics: Option<(u32, u32)>) -> Channel {
        let topology = self.node.topology;
        let device = |vertex: VertexId| {
            let (gpu, port) = (topology.gpu(vertex), topology.port(vertex));
            let dev = gpu.map(|gpu| gpu.dev).or_else(|| port.map(|port| port.dev));
            let host = topology.vertex(vertex).host.unwrap_or(0) as u8;
            Device { host, dev: dev.unwrap_or(0), rank: None, at: Place::default() }
        };
        let members = seats.iter().filter_map(|&seat| self.node.members.get(seat as usize));
        let nets = nics.and_then(|(into, out)| Some([self.port(into)?, self.port(out)?]));
        Channel {
            nets: nets.map(|nets| nets.map(device)),
            gpus: members.map(|&member| device(member)).collect(),
            at: Place::default(),
        }
    }

    fn port(&self, nic: u32) -> Option<VertexId> {
        let topology = self.node.topology;
        topology.ports().iter().copied().find(|&port| device(topology, port) == Some(nic))
    }

    fn seat(&self, gpu: u32) -> Option<u32> {
        let is = |&member: &VertexId| device(self.node.topology, member) == Some(gpu);
        self.node.members.iter().position(is).map(|seat| seat as u32)
    }

    fn worst(&self, hops: impl Iterator<Item = (u32, u32)>) -> PathKind {
        let kind = |(from, to): (u32, u32)| {
            let to = *self.node.members.get(to as usize)?;
            self.paths.get(from as usize)?.to(to).map(|path| path.kind)
        };
        hops.filter_map(kind).max().unwrap_or(PathKind::Loc)
    }

    fn to_nic(&self, seat: u32, nic: u32) -> Option<PathKind> {
        let path = self.paths.get(seat as usize)?.to(self.port(nic)?)?;
        Some(path.kind)
    }

    fn worst_to_nics(&self, way: &Stretch) -> PathKind {
        let relay = way.relay_out.and_then(|relay| self.seat(relay));
        let last = relay.or(way.local_ranks.last().copied());
        let ends = [(way.local_ranks.first().copied(), way.nic_in), (last, way.nic_out)];
        let ends = ends.into_iter().filter_map(|(seat, nic)| self.to_nic(seat?, nic?));
        let pxn = relay.map(|_| PathKind::Pxn);
        ends.chain(pxn).max().unwrap_or(PathKind::Pix)
    }
}

fn hops(seats: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    seats.windows(2).map(|pair| (pair[0], pair[1]))
}

fn alike(channels: &[Channel]) -> bool {
    channels.windows(2).all(|pair| pair[0] == pair[1])
}
