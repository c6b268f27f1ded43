//! Owns the way from facts to a topology's document: what is kept, below what, and at what speed.

mod gpus;
mod nets;

use std::collections::{BTreeMap, BTreeSet};

use crosstie_topo::BusId;
use crosstie_topo::xml::{Document, Element};

use crate::gpu::rate;
use crate::note::Note;
use crate::pci::{Pci, PciLink};
use crate::text;
use crate::{Cpu, Facts, NumaNode};

/// A machine's description, and what should be known about how it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// NCCL's topology document: `system`, `cpu`, `pci`, `gpu`, `nvlink`, `c2c`, `nic`, `net`.
    ///
    /// Beside NCCL's attributes it has, of a `pci`, `max_link_speed` and `max_link_width` (what the device
    /// could have), and of a `net` the `interface` by which TCP reaches the same port, a bond's `members`, and, of
    /// a port of an RDMA device, its `state`, `layer`, `mtu`, how many `gids` it has and which one is taken (`gid`).
    pub document: Document,
    /// What was not found or was left out.
    pub notes: Vec<Note>,
}

/// Makes a description of what was read. The same facts give the same document.
///
/// * Of PCI only what leads to a GPU or to a port of a network is kept. A switch shows itself as two bridges
///   in a row; the upper one stands for both, and root ports go, as in NCCL's files.
/// * A link is as fast as the slower of its ends, and as wide as it is now. How fast it is now is not asked:
///   idle devices slow down.
/// * A device whose firmware names no NUMA node is below the only one; below `numaid` −1, if there are several.
pub fn assemble(facts: &Facts) -> Machine {
    let mut parts =
        Parts { facts, on_pci: BTreeMap::new(), on_none: Vec::new(), notes: Vec::new() };
    if facts.pci.is_empty() {
        let found = "no PCI devices (/sys/bus/pci/devices is empty)";
        parts.note(found, "what is between processors and devices is not known");
    }
    gpus::add(&mut parts);
    nets::add(&mut parts);
    parts.note_unknown_links();
    let root = parts.system();
    Machine { document: Document::new(root), notes: parts.notes }
}

/// What has been found so far.
struct Parts<'a> {
    facts: &'a Facts,
    /// What is to stand inside the `pci` of a device.
    on_pci: BTreeMap<BusId, Vec<Element>>,
    /// Cards that are on no bus.
    on_none: Vec<Element>,
    notes: Vec<Note>,
}

/// A `pci` element with those below it.
#[derive(Default)]
struct Branch {
    below: BTreeMap<BusId, Branch>,
}

impl Parts<'_> {
    fn note(&mut self, found: impl Into<String>, means: impl Into<String>) {
        self.notes.push(Note::new(found, means));
    }

    /// Keeps a device, with something inside it or without.
    fn keep(&mut self, bus_id: BusId, inside: Option<Element>) {
        self.on_pci.entry(bus_id).or_default().extend(inside);
    }

    fn system(&mut self) -> Element {
        let mut below: BTreeMap<Option<u32>, BTreeMap<BusId, Branch>> = BTreeMap::new();
        for (numa, chains) in self.trees() {
            for chain in chains {
                let mut at = below.entry(numa).or_default();
                for bus_id in chain {
                    at = &mut at.entry(bus_id).or_default().below;
                }
            }
        }
        self.note_unknown_nodes(&below);
        let mut system = Element::new("system").with("version", "1");
        let mut numas: BTreeSet<Option<u32>> = below.keys().copied().collect();
        numas.extend(self.nodes_with_cpus().map(|node| Some(node.number)));
        if numas.is_empty() {
            numas.insert(Some(0));
        }
        // Cards without a bus are as near to one node as to another: the first has them.
        let first = numas.iter().find(|numa| numa.is_some()).copied().flatten();
        for numa in numas {
            let mut cpu = self.cpu(numa);
            for (bus_id, branch) in below.remove(&numa).unwrap_or_default() {
                cpu.push(self.pci(bus_id, branch));
            }
            if numa == first {
                self.on_none.drain(..).for_each(|nic| cpu.push(nic));
            }
            system.push(cpu);
        }
        system
    }

    /// The device and each second bridge above it, from the top.
    fn chain(&self, bus_id: BusId) -> Vec<BusId> {
        let above = self.facts.device(bus_id).map_or(&[][..], |device| &device.above);
        let mut chain: Vec<BusId> = above.iter().rev().skip(1).step_by(2).copied().collect();
        chain.reverse();
        chain.push(bus_id);
        chain
    }

    fn nodes_with_cpus(&self) -> impl Iterator<Item = &NumaNode> {
        self.facts.numa.iter().filter(|node| !node.cpus.is_empty())
    }

    /// The ways to all devices that are kept, by what they begin with, each with its NUMA node: the first
    /// that a device in it or above it tells, else the only one there is.
    fn trees(&self) -> Vec<(Option<u32>, Vec<Vec<BusId>>)> {
        let mut trees: BTreeMap<BusId, (Option<u32>, Vec<Vec<BusId>>)> = BTreeMap::new();
        for &device in self.on_pci.keys() {
            let chain = self.chain(device);
            let (numa, chains) = trees.entry(chain.first().copied().unwrap_or(device)).or_default();
            *numa = numa.or_else(|| self.numa_of(device));
            chains.push(chain);
        }
        let mut nodes = self.nodes_with_cpus().map(|node| node.number);
        let only = match (nodes.next(), nodes.next()) {
            (only, None) => Some(only.unwrap_or(0)),
            _ => None,
        };
        trees.into_values().map(|(numa, chains)| (numa.or(only), chains)).collect()
    }

    fn numa_of(&self, bus_id: BusId) -> Option<u32> {
        let device = self.facts.device(bus_id)?;
        let bridges = device.above.iter().rev();
        device.numa.or_else(|| bridges.filter_map(|&it| self.facts.device(it)?.numa).next())
    }

    fn cpu(&self, numa: Option<u32>) -> Element {
        let Cpu { arch, vendor, family, model, online, .. } = &self.facts.cpu;
        let node = self.facts.numa.iter().find(|node| Some(node.number) == numa);
        let cpus = node.map_or(online, |node| &node.cpus);
        let numa = numa.map_or_else(|| "-1".to_owned(), |numa| numa.to_string());
        let mut cpu = Element::new("cpu").with("numaid", numa).with("affinity", text::mask(cpus));
        if let Some(arch) = *arch {
            cpu.set("arch", arch);
        }
        // What NCCL reads of x86 alone; the others' numbers mean something else.
        if *arch == Some("x86_64") {
            vendor.iter().for_each(|vendor| cpu.set("vendor", vendor));
            family.iter().for_each(|family| cpu.set("familyid", family.to_string()));
            model.iter().for_each(|model| cpu.set("modelid", model.to_string()));
        }
        cpu
    }

    fn pci(&mut self, bus_id: BusId, branch: Branch) -> Element {
        let mut element = Element::new("pci").with("busid", bus_id.to_string());
        let facts = self.facts;
        let device = facts.device(bus_id);
        // Of a GPU that the kernel does not show.
        let class = device.and_then(|device| device.class).or_else(|| gpus::class(facts, bus_id));
        class.iter().for_each(|class| element.set("class", format!("0x{class:06x}")));
        let names = ["vendor", "device", "subsystem_vendor", "subsystem_device"];
        for (name, id) in names.iter().zip(device.map(|device| device.ids).unwrap_or_default()) {
            id.iter().for_each(|id| element.set(name, format!("0x{id:04x}")));
        }
        let told = |link: PciLink, rates: &str, lanes: &str, element: &mut Element| {
            link.mega_transfers
                .iter()
                .for_each(|&it| element.set(rates, format!("{} PCIe", rate(it))));
            link.lanes.iter().for_each(|lanes_told| element.set(lanes, lanes_told.to_string()));
        };
        told(self.link(bus_id), "link_speed", "link_width", &mut element);
        let most = device.map(|device| device.most).unwrap_or_default();
        told(most, "max_link_speed", "max_link_width", &mut element);
        for (bus_id, branch) in branch.below {
            element.push(self.pci(bus_id, branch));
        }
        self.on_pci.remove(&bus_id).into_iter().flatten().for_each(|inner| element.push(inner));
        element
    }

    /// What the link above a device carries.
    fn link(&self, bus_id: BusId) -> PciLink {
        let by_driver = gpus::link(self.facts, bus_id);
        let Some(device) = self.facts.device(bus_id) else { return by_driver };
        let port = device.above.last().and_then(|&port| self.facts.device(port));
        let ends = device.most.with(port.map(|port| port.most).unwrap_or_default());
        let width = PciLink { mega_transfers: None, lanes: device.now.lanes };
        let link = ends.with(width);
        PciLink {
            mega_transfers: link.mega_transfers.or(by_driver.mega_transfers),
            lanes: link.lanes.or(by_driver.lanes),
        }
    }

    fn note_unknown_links(&mut self) {
        let untold = |&&bus_id: &&BusId| {
            let link = self.link(bus_id);
            link.mega_transfers.is_none() || link.lanes.is_none()
        };
        let count = self.on_pci.keys().filter(untold).count();
        if count > 0 {
            let means = "they are taken for 16 lanes of 8 GT/s";
            self.note(
                format!("the PCIe links of {} are not told", counted(count, "device")),
                means,
            );
        }
    }

    fn note_unknown_nodes(&mut self, below: &BTreeMap<Option<u32>, BTreeMap<BusId, Branch>>) {
        if let Some(lost) = below.get(&None) {
            let found = format!("the firmware names no NUMA node for {}", listed(lost.keys()));
            self.note(found, "they are shown as far from all processors (numaid -1)");
        }
    }
}

/// `1 device`, `2 devices`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Up to eight things, and how many more there are.
fn listed<T: ToString>(things: impl ExactSizeIterator<Item = T>) -> String {
    let more = things.len().saturating_sub(MOST_LISTED);
    let mut text = things.take(MOST_LISTED).map(|it| it.to_string()).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

const MOST_LISTED: usize = 8;

/// How people call a device that has no better name.
fn called(device: &Pci) -> String {
    let id = |at: usize| device.ids.get(at).copied().flatten().unwrap_or(0);
    format!("{} ({:04x}:{:04x})", device.bus_id, id(0), id(1))
}
