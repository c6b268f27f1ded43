//! Owns the graph's form: a machine as vertices and links, each with what planners ask of it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;

use crate::bus_id::BusId;
use crate::error::quote;
use crate::model::{Cpu, GpuModel};
use crate::rates;
use crate::unit::Bandwidth;
use crate::xml::{Document, Position};

/// A vertex of one [`Topology`], by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VertexId(pub u32);

impl VertexId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One machine, or one rack whose hosts share NVSwitches: what its description says, as a graph.
///
/// The description stays with it: [`Topology::document`] is what was read, to the last unknown attribute.
#[derive(Debug, Clone)]
pub struct Topology {
    pub(crate) document: Document,
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) links: Vec<Link>,
    /// Links of vertex v: `links[first[v]..first[v + 1]]`.
    pub(crate) first: Vec<u32>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) gpus: Vec<VertexId>,
    pub(crate) ports: Vec<VertexId>,
    pub(crate) cpus: Vec<VertexId>,
    pub(crate) remarks: Vec<Remark>,
}

/// A host of a topology: all but racks have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What the file calls it (`host_hash`).
    pub name: Option<String>,
    /// Its NUMA nodes. All are joined pairwise by [`LinkKind::Sys`], which is not among the links.
    pub cpus: Vec<VertexId>,
}

/// A device, or a part of one that has links of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vertex {
    /// What it is.
    pub kind: VertexKind,
    /// A number among those of its kind, in the order of the file.
    pub number: u32,
    /// The host that it belongs to, as index of [`Topology::hosts`]; an NVSwitch belongs to none.
    pub host: Option<u32>,
    /// What it hangs below: on PCI, or a port's NIC.
    pub parent: Option<VertexId>,
    /// Where the description says so.
    pub at: Position,
}

/// What a vertex is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VertexKind {
    /// A NUMA node: a socket, or a part of one.
    Cpu(Cpu),
    /// A PCI switch, or one port of it.
    Switch(Pci),
    /// A GPU.
    Gpu(Gpu),
    /// A network card.
    Nic(Nic),
    /// A port of a network card: what a program opens.
    Port(Port),
    /// All NVSwitches together: what GPUs do not see apart they cannot be planned by.
    NvSwitch(NvSwitch),
    /// A PCI device whose kind the description does not tell.
    Device(Pci),
}

/// A device's place on PCI and the link that it hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pci {
    /// Its address.
    pub bus_id: BusId,
    /// Its class, 24 bits.
    pub class: Option<u32>,
    /// Vendor, device, vendor of the subsystem, device of the subsystem.
    pub ids: [Option<u32>; 4],
    /// Rate of its link, MT/s a lane; `None` where the description tells none that exists.
    pub mega_transfers: Option<u32>,
    /// Lanes of its link; `None` where the description tells none.
    pub lanes: Option<u32>,
    /// The best rate that the device could have, MT/s a lane.
    pub max_mega_transfers: Option<u32>,
    /// The most lanes that the device could have.
    pub max_lanes: Option<u32>,
}

impl Pci {
    /// What its link carries; what is not told counts as 16 lanes and 8 GT/s, as in NCCL.
    pub fn bandwidth(&self) -> Bandwidth {
        let lanes = self.lanes.unwrap_or(rates::UNKNOWN_PCIE_LANES);
        let rate = self.mega_transfers.unwrap_or(rates::UNKNOWN_PCIE_MT);
        rates::pcie(rate, lanes).unwrap_or_default()
    }
}

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its place on PCI.
    pub pci: Pci,
    /// Its number on its host: the description's, else by bus id.
    pub dev: u32,
    /// Who made it.
    pub model: GpuModel,
    /// The rank that the description gives it.
    pub rank: Option<u32>,
    /// Whether NICs may reach its memory; yes where the description does not say.
    pub gdr: bool,
    /// Whether the description has an element for it, or only one of PCI.
    pub described: bool,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its place on PCI; virtual ones have none.
    pub pci: Option<Pci>,
    /// Whether the description has an element for it, or only one of PCI.
    pub described: bool,
}

/// A port of a network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its number on its host: the description's, else by bus id.
    pub dev: u32,
    /// Its name, such as `mlx5_0`.
    pub name: Option<String>,
    /// Its speed in Mb/s; `None` where the description tells none (or 0, or −1).
    pub mbit: Option<u64>,
    /// Its number on the card.
    pub port: Option<u32>,
    /// The card's GUID: ports of one card have the same.
    pub guid: Option<u64>,
    /// What it adds to a message's way, ns.
    pub latency_ns: u64,
    /// Whether it may reach GPUs' memory; yes where the description does not say.
    pub gdr: bool,
    /// Whether switches reduce for it.
    pub coll: bool,
    /// The rail that the description gives it.
    pub rail: Option<u32>,
    /// What verbs tells of it; `None` where the description says nothing of that, as NCCL's do.
    pub verbs: Option<Verbs>,
}

/// A port of an RDMA device, as verbs tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verbs {
    /// Its number on the device, from 1.
    pub port: Option<u32>,
    /// `ACTIVE`.
    pub state: String,
    /// `InfiniBand` or `Ethernet`.
    pub layer: Option<String>,
    /// Bytes of the longest packet's data.
    pub mtu: Option<u32>,
    /// How many addresses it has.
    pub gids: u32,
    /// The address that is taken: its place in the table and what it is, `3 RoCE v2, IPv4`.
    pub gid: Option<String>,
    /// The network interface of the same port.
    pub interface: Option<String>,
}

/// The NVSwitches of a machine or rack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NvSwitch {
    /// Bus ids of those that can be seen, in order.
    pub bus_ids: Vec<BusId>,
}

/// What a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// Inside one device.
    Loc,
    /// NVLink, or AMD's xGMI.
    Nvl,
    /// GPU to processor, chip to chip.
    C2c,
    /// PCIe.
    Pci,
    /// Between NUMA nodes.
    Sys,
    /// A card's port.
    Net,
}

/// A link in one direction. Equal links of one pair are one, with their bandwidths added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Where it begins.
    pub from: VertexId,
    /// Where it ends.
    pub to: VertexId,
    /// What it is.
    pub kind: LinkKind,
    /// What it carries this way.
    pub bandwidth: Bandwidth,
    /// Of how many parallel links it is made, as the description counts them.
    pub count: u32,
}

/// Something odd that the description has, and that the graph leaves out: for [`crate::lint()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// A link from a GPU to itself.
    SelfLink { gpu: VertexId, at: Position },
    /// A text where a PCIe rate should be.
    LinkSpeed { of: VertexId, value: String },
    /// A number of lanes that no link has: 0, or what some kernels write for an unknown one.
    LinkWidth { of: VertexId, value: u32 },
    /// A link to a GPU that is not in the description.
    Nowhere { gpu: VertexId, target: String, count: u32, at: Position },
}

impl Topology {
    /// What was read, with what the graph does not know.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// All vertices; a [`VertexId`] is an index here.
    pub fn vertices(&self) -> &[Vertex] {
        &self.vertices
    }

    /// All numbers of vertices, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = VertexId> + use<> {
        (0..self.vertices.len() as u32).map(VertexId)
    }

    /// A vertex.
    ///
    /// # Panics
    ///
    /// For a number of another topology that is out of range here.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.index()]
    }

    /// All links but those between NUMA nodes (see [`Host::cpus`] and [`Self::between`]).
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The links that begin at a vertex, with the same exception.
    pub fn links_of(&self, id: VertexId) -> &[Link] {
        &self.links[self.first[id.index()] as usize..self.first[id.index() + 1] as usize]
    }

    /// The link of a kind from one vertex to another.
    pub fn link(&self, from: VertexId, to: VertexId, kind: LinkKind) -> Option<&Link> {
        let links = self.links_of(from);
        let place = links.binary_search_by_key(&(to, kind), |link| (link.to, link.kind)).ok()?;
        links.get(place)
    }

    /// The hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// GPUs by host and number.
    pub fn gpus(&self) -> &[VertexId] {
        &self.gpus
    }

    /// Ports of NICs by host and number.
    pub fn ports(&self) -> &[VertexId] {
        &self.ports
    }

    /// NUMA nodes in the order of the file.
    pub fn cpus(&self) -> &[VertexId] {
        &self.cpus
    }

    /// A GPU's properties.
    pub fn gpu(&self, id: VertexId) -> Option<&Gpu> {
        match &self.vertex(id).kind {
            VertexKind::Gpu(gpu) => Some(gpu),
            _ => None,
        }
    }

    /// A port's properties.
    pub fn port(&self, id: VertexId) -> Option<&Port> {
        match &self.vertex(id).kind {
            VertexKind::Port(port) => Some(port),
            _ => None,
        }
    }

    /// A NUMA node's properties.
    pub fn cpu(&self, id: VertexId) -> Option<&Cpu> {
        match &self.vertex(id).kind {
            VertexKind::Cpu(cpu) => Some(cpu),
            _ => None,
        }
    }

    /// A device's place on PCI; a port has its NIC's.
    pub fn pci(&self, id: VertexId) -> Option<&Pci> {
        let vertex = self.vertex(id);
        match &vertex.kind {
            VertexKind::Switch(pci) | VertexKind::Device(pci) => Some(pci),
            VertexKind::Gpu(gpu) => Some(&gpu.pci),
            VertexKind::Nic(nic) => nic.pci.as_ref(),
            VertexKind::Port(_) => vertex.parent.and_then(|nic| self.pci(nic)),
            VertexKind::Cpu(_) | VertexKind::NvSwitch(_) => None,
        }
    }

    /// What passes from one NUMA node to another of its host.
    pub fn between(&self, cpu: VertexId) -> Bandwidth {
        self.cpu(cpu).map_or(rates::LOCAL, rates::between_sockets)
    }

    /// The NUMA node that a vertex hangs below; itself, if it is one.
    pub fn cpu_of(&self, id: VertexId) -> Option<VertexId> {
        let mut at = id;
        while self.cpu(at).is_none() {
            at = self.vertex(at).parent?;
        }
        Some(at)
    }

    /// Whether a GPU is on one module with its processor, and moves no data over PCIe.
    pub(crate) fn is_on_module(&self, gpu: VertexId) -> bool {
        self.links_of(gpu).iter().any(|link| link.kind == LinkKind::C2c)
    }

    /// A short name that only this vertex has: `GPU0`, `mlx5_0`, `CPU1`, `SW3`; with the host's number
    /// before it where there are several (`h2/GPU0`).
    pub fn label(&self, id: VertexId) -> Label<'_> {
        Label { topology: self, id }
    }
}

/// A vertex's short name, to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    topology: &'a Topology,
    id: VertexId,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vertex = self.topology.vertex(self.id);
        let number = vertex.number;
        let name = match &vertex.kind {
            VertexKind::Cpu(cpu) => match cpu.numa {
                Some(numa) => alloc::format!("CPU{numa}"),
                None => alloc::format!("CPU?{number}"),
            },
            VertexKind::Switch(_) => alloc::format!("SW{number}"),
            VertexKind::Gpu(gpu) => alloc::format!("GPU{}", gpu.dev),
            VertexKind::Nic(_) => alloc::format!("NIC{number}"),
            VertexKind::Port(Port { name: Some(name), .. }) => quote(name),
            VertexKind::Port(port) => alloc::format!("NET{}", port.dev),
            VertexKind::NvSwitch(_) => "NVSwitch".into(),
            VertexKind::Device(_) => alloc::format!("DEV{number}"),
        };
        match vertex.host {
            Some(host) if self.topology.hosts.len() > 1 => f.pad(&alloc::format!("h{host}/{name}")),
            _ => f.pad(&name),
        }
    }
}
