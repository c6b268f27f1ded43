//! Owns where each part of the picture stands: processors above, their PCI trees below, devices in one
//! row, ports below them. Coordinates are whole pixels.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::graph::{Topology, VertexId, VertexKind};
use crate::rails::Rails;
use crate::render::words::{children, product, speed};

/// A letter's width, in the fixed-width font of 10 pixels.
pub const LETTER: u32 = 6;
/// Space around the picture, and between blocks of processors.
pub const MARGIN: u32 = 24;
const GAP: u32 = 12;
const LEVEL: u32 = 72;
/// A box's height: two lines of text.
pub const BOX: u32 = 36;

/// A vertex's box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub id: VertexId,
    pub x: u32,
    pub y: u32,
    pub width: u32,
    /// One or two lines of text.
    pub lines: Vec<String>,
}

impl Placed {
    pub fn middle(&self) -> u32 {
        self.x + self.width / 2
    }
}

/// A host's part of the picture, from the bar that joins its processors down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Upper end, where its name stands.
    pub top: u32,
    /// Lower end of its ports.
    pub ports_end: u32,
    /// Lower end, below its NVLinks.
    pub end: u32,
    pub left: u32,
    pub right: u32,
}

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// By vertex; the NVSwitch has none, for it is as wide as its GPUs are apart.
    pub boxes: Vec<Option<Placed>>,
    pub blocks: Vec<Block>,
    pub width: u32,
    pub height: u32,
}

impl Layout {
    pub fn boxes(&self) -> impl Iterator<Item = &Placed> {
        self.boxes.iter().flatten()
    }

    pub fn of(&self, id: VertexId) -> Option<&Placed> {
        self.boxes.get(id.index())?.as_ref()
    }
}

/// Lays a topology out; `below` is the room that a host's NVLinks take.
pub fn lay_out(topology: &Topology, rails: &Rails, left: u32, below: u32) -> Layout {
    let mut work = Work {
        topology,
        children: children(topology),
        lines: topology.ids().map(|id| lines(topology, rails, id)).collect(),
        layout: Layout {
            boxes: alloc::vec![None; topology.vertices().len()],
            blocks: Vec::new(),
            width: 0,
            height: MARGIN,
        },
        devices: 0,
    };
    for host in topology.hosts() {
        let depth = host.cpus.iter().map(|&cpu| work.depth(cpu)).max().unwrap_or(1);
        let top = work.layout.height;
        let cpus = top + 64;
        work.devices = cpus + depth * LEVEL;
        let mut x = left;
        for &cpu in &host.cpus {
            x += work.place(cpu, x, cpus) + MARGIN;
        }
        let ports_end = work.devices + BOX + LEVEL / 2 + BOX;
        let end = ports_end + below + MARGIN;
        let right = x - MARGIN.min(x);
        work.layout.blocks.push(Block { top, ports_end, end, left, right });
        work.layout.height = end + MARGIN;
        work.layout.width = work.layout.width.max(right + MARGIN);
    }
    work.layout
}

struct Work<'a> {
    topology: &'a Topology,
    children: Vec<Vec<VertexId>>,
    lines: Vec<Vec<String>>,
    layout: Layout,
    /// Where the row of devices of this host is.
    devices: u32,
}

impl Work<'_> {
    /// Levels below a vertex down to its devices.
    fn depth(&self, id: VertexId) -> u32 {
        let is_switch =
            |id: &&VertexId| matches!(self.topology.vertex(**id).kind, VertexKind::Switch(_));
        let switches = self.children[id.index()].iter().filter(is_switch);
        1 + switches.map(|&switch| self.depth(switch)).max().unwrap_or(0)
    }

    /// Places a vertex and what hangs below it from `x` on; says how wide that is.
    fn place(&mut self, id: VertexId, x: u32, y: u32) -> u32 {
        let lines = self.lines[id.index()].clone();
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0) as u32;
        let own = longest * LETTER + 2 * GAP;
        let y = match self.topology.vertex(id).kind {
            VertexKind::Gpu(_) | VertexKind::Nic(_) | VertexKind::Device(_) => self.devices,
            VertexKind::Port(_) => self.devices + BOX + LEVEL / 2,
            _ => y,
        };
        let inner = core::mem::take(&mut self.children[id.index()]);
        let mut end = x;
        for &child in &inner {
            end += self.place(child, end, y + LEVEL) + GAP;
        }
        let below = end.saturating_sub(x + GAP.min(end - x));
        let width = own.max(below);
        if below > 0 && below < own {
            self.shift(&inner, (own - below) / 2);
        }
        self.children[id.index()] = inner;
        self.layout.boxes[id.index()] = Some(Placed { id, x, y, width, lines });
        width
    }

    fn shift(&mut self, ids: &[VertexId], by: u32) {
        for &id in ids {
            if let Some(placed) = &mut self.layout.boxes[id.index()] {
                placed.x += by;
            }
            let inner = core::mem::take(&mut self.children[id.index()]);
            self.shift(&inner, by);
            self.children[id.index()] = inner;
        }
    }
}

/// At most two lines for a box, cut to 28 letters.
fn lines(topology: &Topology, rails: &Rails, id: VertexId) -> Vec<String> {
    let cut = |text: String| -> String {
        match text.chars().count() {
            0..=28 => text,
            _ => text.chars().take(27).chain(['…']).collect(),
        }
    };
    let label = topology.label(id).to_string();
    let on_bus = |pci: &crate::graph::Pci| {
        let first = product(pci).map_or(label.clone(), |name| alloc::format!("{label} {name}"));
        Vec::from([first, pci.bus_id.to_string()])
    };
    let lines = match &topology.vertex(id).kind {
        VertexKind::Cpu(cpu) => {
            let vendor = cpu.vendor.as_deref().map(str::trim).unwrap_or_default();
            [label]
                .into_iter()
                .chain(Some(vendor.to_string()).filter(|text| !text.is_empty()))
                .collect()
        }
        VertexKind::Port(port) => {
            let rail =
                rails.rail_of(id).map_or(String::new(), |rail| alloc::format!(" rail {rail}"));
            Vec::from([label, alloc::format!("{}{rail}", speed(port.mbit))])
        }
        VertexKind::Nic(nic) if nic.pci.is_none() => Vec::from([label, "virtual".into()]),
        _ => topology.pci(id).map_or(Vec::from([label.clone()]), on_bus),
    };
    lines.into_iter().map(cut).collect()
}
