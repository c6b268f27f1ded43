//! Owns the kinds of paths and their rules: which hops make which kind, and which of two paths is better.
//!
//! The kinds, their order and their rules are NCCL's (`src/graph/paths.cc`), so that its users find what
//! they know: a path's kind is the worst of its hops', its bandwidth the least of its links', and the
//! better path is the one of the better kind, then of more bandwidth, then of fewer hops.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use serde::Serialize;

use crate::graph::{LinkKind, Topology, VertexId, VertexKind};
use crate::unit::Bandwidth;

/// What a path passes through; the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PathKind {
    /// Inside one device.
    Loc,
    /// Only NVLink, or xGMI, with or without NVSwitches.
    Nvl,
    /// NVLink by way of one other GPU.
    Nvb,
    /// The link between a GPU and a processor, chip to chip.
    C2c,
    /// One PCIe switch.
    Pix,
    /// Several PCIe switches, no processor.
    Pxb,
    /// GPU to NIC by C2C and the processor that the NIC hangs on, where no NIC is nearer.
    P2c,
    /// GPU to NIC by way of another GPU, over NVLink.
    Pxn,
    /// Through a processor, or its host bridge.
    Phb,
    /// From one NUMA node to another.
    Sys,
    /// Over the network.
    Net,
}

impl PathKind {
    /// All kinds, in order.
    pub const ALL: [Self; 11] = [
        Self::Loc,
        Self::Nvl,
        Self::Nvb,
        Self::C2c,
        Self::Pix,
        Self::Pxb,
        Self::P2c,
        Self::Pxn,
        Self::Phb,
        Self::Sys,
        Self::Net,
    ];

    /// Its name, of three letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loc => "LOC",
            Self::Nvl => "NVL",
            Self::Nvb => "NVB",
            Self::C2c => "C2C",
            Self::Pix => "PIX",
            Self::Pxb => "PXB",
            Self::P2c => "P2C",
            Self::Pxn => "PXN",
            Self::Phb => "PHB",
            Self::Sys => "SYS",
            Self::Net => "NET",
        }
    }

    /// What it means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Loc => "the same device",
            Self::Nvl => "NVLink or xGMI only",
            Self::Nvb => "NVLink through one other GPU",
            Self::C2c => "chip to chip, GPU and processor",
            Self::Pix => "one PCIe switch",
            Self::Pxb => "several PCIe switches, no processor",
            Self::P2c => "chip to chip, then the processor's own NIC",
            Self::Pxn => "another GPU's NIC, over NVLink",
            Self::Phb => "PCIe through a processor",
            Self::Sys => "from one NUMA node to another",
            Self::Net => "over the network",
        }
    }
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How good the best path from one vertex to another is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Path {
    /// Its kind.
    pub kind: PathKind,
    /// What it carries.
    pub bandwidth: Bandwidth,
    /// Its links.
    pub hops: u16,
}

/// One link of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Where it begins.
    pub from: VertexId,
    /// Where it ends.
    pub to: VertexId,
    /// What the link is.
    pub link: LinkKind,
    /// What the link carries.
    pub bandwidth: Bandwidth,
}

/// The best paths from one vertex to all others.
#[derive(Debug, Clone)]
pub struct PathTree {
    from: VertexId,
    paths: Vec<Option<Path>>,
    before: Vec<Option<Hop>>,
}

impl PathTree {
    /// The vertex that they begin at.
    pub fn from(&self) -> VertexId {
        self.from
    }

    /// How good the best path to `to` is; `None` where nothing leads there.
    pub fn to(&self, to: VertexId) -> Option<Path> {
        self.paths[to.index()]
    }

    /// The links of that path, in order.
    pub fn hops(&self, to: VertexId) -> Vec<Hop> {
        let mut hops = Vec::new();
        let mut at = to;
        while let Some(hop) = self.before[at.index()] {
            hops.push(hop);
            at = hop.from;
        }
        hops.reverse();
        hops
    }
}

impl Topology {
    /// The best paths from one vertex to all others of its graph. Those that need a relay (PXN) are not
    /// among them: [`crate::Paths`] has them.
    ///
    /// One pass in the manner of Dijkstra, in O(links · log links).
    pub fn paths_from(&self, from: VertexId) -> PathTree {
        self.paths_joined_by(from, |_| true)
    }

    /// As [`Self::paths_from`], where only GPUs that `joins` names pass NVLink on to others: one without a
    /// rank has nobody to do it.
    pub fn paths_joined_by(&self, from: VertexId, joins: impl Fn(VertexId) -> bool) -> PathTree {
        let vertices = self.vertices().len();
        let (mut paths, mut before) = (vec![None; vertices], vec![None; vertices]);
        let start = Path { kind: PathKind::Loc, bandwidth: Bandwidth::MAX, hops: 0 };
        let mut heap = BinaryHeap::from([Reverse((rank(&start), from))]);
        paths[from.index()] = Some(start);
        let mut crossed = vec![None; self.hosts().len()];
        let mut done = vec![false; vertices];
        while let Some(Reverse((_, at))) = heap.pop() {
            if core::mem::replace(&mut done[at.index()], true) {
                continue;
            }
            let Some(path) = paths[at.index()] else { continue };
            let links = self.links_of(at).iter().map(|link| Hop {
                from: at,
                to: link.to,
                link: link.kind,
                bandwidth: link.bandwidth,
            });
            for hop in links.chain(self.across(at, &path, &mut crossed)) {
                let Some(longer) = self.extend(from, &path, &hop, &joins) else { continue };
                let known = &mut paths[hop.to.index()];
                if known.is_none_or(|known| rank(&longer) < rank(&known)) {
                    *known = Some(longer);
                    before[hop.to.index()] = Some(hop);
                    heap.push(Reverse((rank(&longer), hop.to)));
                }
            }
        }
        PathTree { from, paths, before }
    }

    /// The hops from a NUMA node to the others of its host; none where an earlier one of them was as good a
    /// place to cross from, which spares a host of n nodes n² hops.
    fn across(
        &self,
        at: VertexId,
        path: &Path,
        crossed: &mut [Option<(Reverse<Bandwidth>, u16)>],
    ) -> impl Iterator<Item = Hop> {
        let crossing = self.cpu(at).zip(self.vertex(at).host).and_then(|(cpu, host)| {
            let bandwidth = crate::rates::between_sockets(cpu);
            let rank = (Reverse(path.bandwidth.min(bandwidth)), path.hops);
            let best = crossed.get_mut(host as usize)?;
            if best.is_some_and(|best| best <= rank) {
                return None;
            }
            *best = Some(rank);
            Some((bandwidth, self.hosts().get(host as usize)?))
        });
        crossing.into_iter().flat_map(move |(bandwidth, host)| {
            let others = host.cpus.iter().filter(move |&&to| to != at);
            others.map(move |&to| Hop { from: at, to, link: LinkKind::Sys, bandwidth })
        })
    }

    /// `path` with one more hop, where it may pass through the vertex that it ended at.
    fn extend(
        &self,
        from: VertexId,
        path: &Path,
        hop: &Hop,
        joins: &impl Fn(VertexId) -> bool,
    ) -> Option<Path> {
        let (here, there) = (&self.vertex(hop.from).kind, &self.vertex(hop.to).kind);
        let mut kind = match hop.link {
            LinkKind::Loc | LinkKind::Net => PathKind::Loc,
            LinkKind::Nvl => PathKind::Nvl,
            LinkKind::C2c => PathKind::C2c,
            LinkKind::Sys => PathKind::Sys,
            LinkKind::Pci => match (here, there) {
                (VertexKind::Cpu(_), _) | (_, VertexKind::Cpu(_)) => PathKind::Phb,
                (VertexKind::Switch(_), VertexKind::Switch(_)) => PathKind::Pxb,
                _ => PathKind::Pix,
            },
        };
        // A GPU passes nothing on, but for one that joins two others by NVLink; neither does a port.
        match here {
            VertexKind::Gpu(_) if hop.from != from => {
                let direct =
                    path.kind == PathKind::Nvl && path.hops == 1 && hop.link == LinkKind::Nvl;
                let gpus = matches!(there, VertexKind::Gpu(_)) && self.gpu(from).is_some();
                if !(direct && gpus && joins(hop.from)) {
                    return None;
                }
                kind = PathKind::Nvb;
            }
            VertexKind::Port(_) if hop.from != from => return None,
            _ => {}
        }
        let hops = path.hops.saturating_add(1);
        let bandwidth = path.bandwidth.min(hop.bandwidth);
        Some(Path { kind: path.kind.max(kind), bandwidth, hops })
    }
}

/// Paths in order, the best first.
fn rank(path: &Path) -> (PathKind, Reverse<Bandwidth>, u16) {
    (path.kind, Reverse(path.bandwidth), path.hops)
}
