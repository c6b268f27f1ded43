//! Owns the table of all paths between GPUs, ports and NUMA nodes; which NIC is a GPU's own; and which
//! GPU relays for which (PXN).

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::graph::{Topology, VertexId};
use crate::path::{Path, PathKind};
use crate::unit::Bandwidth;

/// GPUs, ports and NUMA nodes that a table may have together: 2048² entries are 100 MB. A rack of 576 GPUs
/// has 1300.
pub const MOST_ENDS: usize = 2048;
/// Ends times links that a table may take: each link is looked at once from each end, or a few times.
pub const MOST_STEPS: usize = 1 << 25;

/// A machine that is too large for a table of all its paths; [`Topology::paths_from`] has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{ends} GPUs, ports and NUMA nodes, {links} links; a table of paths takes {MOST_ENDS} of the first, and {MOST_STEPS} of both multiplied: describe one machine or rack at a time"
)]
pub struct TooLarge {
    /// How many GPUs, ports and NUMA nodes there are.
    pub ends: usize,
    /// How many links there are.
    pub links: usize,
}

/// The best path between any two of a topology's GPUs, ports and NUMA nodes.
#[derive(Debug, Clone)]
pub struct Paths {
    ends: Vec<VertexId>,
    /// Number of a vertex among `ends`.
    places: Vec<Option<u32>>,
    table: Vec<Option<Path>>,
    /// For each port, in the topology's order: the GPU that relays for others.
    relays: Vec<Option<VertexId>>,
    relayed: Vec<Option<Path>>,
    gpus: Vec<VertexId>,
    ports: Vec<VertexId>,
    /// For each GPU its nearest ports, for each port its nearest GPUs.
    near_ports: Vec<Vec<VertexId>>,
    near_gpus: Vec<Vec<VertexId>>,
}

/// A way by a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relayed {
    /// The GPU whose memory the message passes.
    pub relay: VertexId,
    /// How good the way is, of kind [`PathKind::Pxn`].
    pub path: Path,
}

impl Paths {
    /// Finds all paths of a topology.
    ///
    /// # Errors
    ///
    /// Where the topology is too large for a table.
    pub fn of(topology: &Topology) -> Result<Self, TooLarge> {
        let (gpus, ports) = (topology.gpus().to_vec(), topology.ports().to_vec());
        let ends: Vec<_> = [&gpus[..], &ports, topology.cpus()].concat();
        let links = topology.links().len();
        if ends.len() > MOST_ENDS || ends.len() * links > MOST_STEPS {
            return Err(TooLarge { ends: ends.len(), links });
        }
        let mut places = alloc::vec![None; topology.vertices().len()];
        for (place, end) in ends.iter().enumerate() {
            places[end.index()] = Some(place as u32);
        }
        let mut table = Vec::with_capacity(ends.len() * ends.len());
        for &from in &ends {
            let tree = topology.paths_from(from);
            table.extend(ends.iter().map(|&to| tree.to(to)));
        }
        let (relays, relayed) = (Vec::new(), Vec::new());
        let (near_ports, near_gpus) = (Vec::new(), Vec::new());
        let mut paths =
            Self { ends, places, table, relays, relayed, gpus, ports, near_ports, near_gpus };
        paths.join_hosts(topology);
        paths.near_ports = paths.gpus.iter().map(|&gpu| paths.nearest(gpu, &paths.ports)).collect();
        paths.near_gpus =
            paths.ports.iter().map(|&port| paths.nearest(port, &paths.gpus)).collect();
        paths.mark_p2c(topology);
        paths.find_relays(topology);
        Ok(paths)
    }

    /// The vertices that the table knows: GPUs, ports, NUMA nodes, each in the topology's order.
    pub fn ends(&self) -> &[VertexId] {
        &self.ends
    }

    /// The best path without relays; `None` where nothing leads there, or for other vertices.
    pub fn between(&self, from: VertexId, to: VertexId) -> Option<Path> {
        self.place(from, to).and_then(|place| self.table[place])
    }

    fn place(&self, from: VertexId, to: VertexId) -> Option<usize> {
        Some(self.end(from)? * self.ends.len() + self.end(to)?)
    }

    fn end(&self, id: VertexId) -> Option<usize> {
        self.places.get(id.index()).copied().flatten().map(|place| place as usize)
    }

    /// A GPU's number among the GPUs.
    fn row(&self, gpu: VertexId) -> Option<usize> {
        self.end(gpu).filter(|&place| place < self.gpus.len())
    }

    /// A port's number among the ports.
    fn column(&self, port: VertexId) -> Option<usize> {
        let place = self.end(port)?.checked_sub(self.gpus.len())?;
        (place < self.ports.len()).then_some(place)
    }

    /// How a GPU sends by a port: its own way, or by a relay where NCCL would take one. Nothing is
    /// received by relays.
    pub fn send(&self, gpu: VertexId, port: VertexId) -> Option<Path> {
        self.relayed(gpu, port).map(|relayed| relayed.path).or_else(|| self.between(gpu, port))
    }

    /// The relay by which a GPU should reach a port, where that is better than its own way: the port's
    /// own GPU is joined to it by NVLink, on the same host, and is nearer to the port.
    pub fn relayed(&self, gpu: VertexId, port: VertexId) -> Option<Relayed> {
        let (row, column) = (self.row(gpu)?, self.column(port)?);
        let path = self.relayed[row * self.ports.len() + column]?;
        Some(Relayed { relay: self.relays[column]?, path })
    }

    /// The GPU that is a port's own: the first of the nearest for whom this port is the nearest.
    pub fn own_gpu(&self, port: VertexId) -> Option<VertexId> {
        self.relays[self.column(port)?]
    }

    /// The port that is a GPU's own on a channel, as NCCL deals them out.
    pub fn own_port(&self, topology: &Topology, gpu: VertexId, channel: u32) -> Option<VertexId> {
        let ports = &self.near_ports[self.row(gpu)?];
        let gpus = self.near_gpus[self.column(*ports.first()?)?].len().max(1) as u32;
        let (count, dev) = (ports.len() as u32, topology.gpu(gpu)?.dev);
        let mut start = dev % gpus;
        if count.is_power_of_two() && count > 1 {
            start = mirror(start % count, count.trailing_zeros());
        }
        ports.get(((start + channel % count.div_ceil(gpus)) % count) as usize).copied()
    }

    /// Those of `among` with the most bandwidth from a vertex, and of these those of the best kind.
    pub fn nearest(&self, from: VertexId, among: &[VertexId]) -> Vec<VertexId> {
        let rank = |to: VertexId| {
            let path = self.between(from, to).filter(|path| path.kind < PathKind::Net);
            path.map(|path| (Reverse(path.bandwidth), path.kind))
        };
        let Some(best) = among.iter().filter_map(|&to| rank(to)).min() else { return Vec::new() };
        among.iter().copied().filter(|&to| rank(to) == Some(best)).collect()
    }

    /// GPUs of different hosts that no NVLink joins talk over the network, as fast as their best ports.
    fn join_hosts(&mut self, topology: &Topology) {
        if topology.hosts().len() < 2 {
            return;
        }
        let reach = |gpu: &VertexId| {
            let ports = self.ports.iter().filter_map(|&port| self.between(*gpu, port));
            ports.map(|path| path.bandwidth).max()
        };
        let best: Vec<Option<Bandwidth>> = self.gpus.iter().map(reach).collect();
        for (a, from) in self.gpus.clone().into_iter().enumerate() {
            for (b, to) in self.gpus.clone().into_iter().enumerate() {
                let bandwidth = best[a].zip(best[b]).map(|(a, b)| a.min(b));
                let apart = topology.vertex(from).host != topology.vertex(to).host;
                if let (true, Some(place), Some(bandwidth)) =
                    (apart, self.place(from, to), bandwidth)
                {
                    let net = Path { kind: PathKind::Net, bandwidth, hops: 0 };
                    self.table[place].get_or_insert(net);
                }
            }
        }
    }

    /// A GPU reaches its nearest NICs by C2C and their processor at once: as good as a switch.
    fn mark_p2c(&mut self, topology: &Topology) {
        for (row, gpu) in self.gpus.clone().into_iter().enumerate() {
            for port in self.near_ports[row].clone() {
                let cpu = topology.cpu_of(port);
                let chip = cpu.and_then(|cpu| self.between(gpu, cpu));
                if chip.is_none_or(|path| path.kind != PathKind::C2c) {
                    continue;
                }
                for (from, to) in [(gpu, port), (port, gpu)] {
                    let path = self.place(from, to).and_then(|place| self.table[place].as_mut());
                    if let Some(path) = path.filter(|path| path.kind == PathKind::Phb) {
                        path.kind = PathKind::P2c;
                    }
                }
            }
        }
    }

    fn find_relays(&mut self, topology: &Topology) {
        self.relays = self.ports.iter().map(|&port| self.first_owner(topology, port)).collect();
        let mut relayed = Vec::with_capacity(self.gpus.len() * self.ports.len());
        for &gpu in &self.gpus {
            for (&port, &relay) in self.ports.iter().zip(&self.relays) {
                let relay = relay.filter(|&relay| relay != gpu);
                relayed.push(relay.and_then(|relay| self.by_relay(topology, gpu, port, relay)));
            }
        }
        self.relayed = relayed;
    }

    fn first_owner(&self, topology: &Topology, port: VertexId) -> Option<VertexId> {
        let gpus = &self.near_gpus[self.column(port)?];
        let ports = gpus.iter().filter_map(|&gpu| Some(self.near_ports[self.row(gpu)?].len()));
        let most = ports.max()?.div_ceil(gpus.len().max(1)) as u32;
        let mut tries = (0..most).flat_map(|channel| gpus.iter().map(move |&gpu| (channel, gpu)));
        let owns =
            |&(channel, gpu): &(u32, VertexId)| self.own_port(topology, gpu, channel) == Some(port);
        tries.find(owns).map(|(_, gpu)| gpu)
    }

    /// NCCL's conditions for PXN, in its order (`ncclTopoComputePaths`).
    fn by_relay(
        &self,
        topology: &Topology,
        gpu: VertexId,
        port: VertexId,
        relay: VertexId,
    ) -> Option<Path> {
        let last = self.between(relay, port).filter(|path| path.kind <= PathKind::P2c)?;
        if !(topology.gpu(relay)?.gdr && topology.port(port)?.gdr) {
            return None;
        }
        let first = self.between(gpu, relay).filter(|path| path.kind <= PathKind::Nvl)?;
        if topology.vertex(gpu).host != topology.vertex(relay).host {
            return None;
        }
        let own = self.between(gpu, port);
        let better =
            own.is_none_or(|own| last.bandwidth > own.bandwidth || own.kind > PathKind::Pxn);
        better.then_some(Path {
            kind: PathKind::Pxn,
            bandwidth: first.bandwidth.min(last.bandwidth),
            hops: first.hops.saturating_add(last.hops),
        })
    }
}

/// The `bits` low bits of a number, in reverse.
fn mirror(number: u32, bits: u32) -> u32 {
    (0..bits).fold(0, |mirrored, bit| mirrored | (number >> bit & 1) << (bits - 1 - bit))
}
