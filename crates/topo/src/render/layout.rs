//! Owns where each part of the picture stands: processors above, their PCI trees below, devices in one
//! row, ports below them. What is too wide for a slide goes on in another row; the hosts of a rack stand
//! side by side, with small boxes. Coordinates are whole pixels.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use crate::graph::{LinkKind, Topology, VertexId, VertexKind};
use crate::rails::Rails;
use crate::render::words::{children, product, speed};

/// A letter's width, in the fixed-width font of 10 pixels.
pub const LETTER: u32 = 6;
/// Space around the picture, and between blocks of processors.
pub const MARGIN: u32 = 24;
/// The room that an NVSwitch takes below the devices that it joins.
pub const BAR: u32 = 60;
/// Wider than this a row is broken.
const WIDE: u32 = 2200;
/// Where a card's port stands below it, and its own lower end.
const STEM: u32 = 36;
/// As many cards below one switch stand upon each other, so many to a column.
const STACKED: usize = 3;
const COLUMN: usize = 4;
/// What a line beside a column, or around a row, takes.
const SIDE: u32 = 14;
/// More hosts than this have small boxes.
const LARGE_HOSTS: usize = 2;

/// How a box is joined to the one that it hangs below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// By a line down.
    Down,
    /// By a line down at this x, then aside into its left.
    Aside(u32),
    /// By a line down at this x, then aside above it, then down.
    Around(u32),
}

/// A vertex's box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub id: VertexId,
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    /// One or two lines of text.
    pub lines: Vec<String>,
    pub joined: Joined,
    /// Its row, as index of [`Layout::rows`].
    pub row: usize,
}

impl Placed {
    pub fn middle(&self) -> u32 {
        self.x + self.width / 2
    }

    pub fn bottom(&self) -> u32 {
        self.y + self.height
    }
}

/// A row of devices with their ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// Lower end of its ports.
    pub ports_end: u32,
    /// Lower end, below its NVLinks.
    pub end: u32,
}

/// A host's part of the picture, from its name down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub top: u32,
    pub left: u32,
    pub right: u32,
    pub end: u32,
    /// Its rows, as indices of [`Layout::rows`].
    pub rows: Range<usize>,
}

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// By vertex; the NVSwitch has none, for it is as wide as its GPUs are apart.
    pub boxes: Vec<Option<Placed>>,
    pub rows: Vec<Row>,
    pub blocks: Vec<Block>,
    pub width: u32,
    pub height: u32,
    /// Whether the NVSwitch stands at the left of all rows, not below the only one.
    pub switch_aside: bool,
    /// Whether boxes hold names only.
    pub small: bool,
}

impl Layout {
    pub fn boxes(&self) -> impl Iterator<Item = &Placed> {
        self.boxes.iter().flatten()
    }

    pub fn of(&self, id: VertexId) -> Option<&Placed> {
        self.boxes.get(id.index())?.as_ref()
    }

    fn shift(&mut self, boxes: &[VertexId], block: usize, right: u32, down: u32) {
        for &id in boxes {
            if let Some(placed) = &mut self.boxes[id.index()] {
                (placed.x, placed.y) = (placed.x + right, placed.y + down);
                if let Joined::Aside(x) | Joined::Around(x) = &mut placed.joined {
                    *x += right;
                }
            }
        }
        let block = &mut self.blocks[block];
        (block.left, block.right) = (block.left + right, block.right + right);
        (block.top, block.end) = (block.top + down, block.end + down);
        for row in &mut self.rows[block.rows.clone()] {
            (row.ports_end, row.end) = (row.ports_end + down, row.end + down);
        }
    }
}

/// How deep an arc between two GPUs so far apart hangs: its lowest point, and that of its control points.
pub fn arc(apart: u32) -> (u32, u32) {
    let control = 20 + apart.min(1200) * 2 / 15;
    (control * 3 / 4, control)
}

/// Lays a topology out, from `top` down: NUMA nodes side by side, or each in a row of its own where that
/// is more like a slide, and no NVLink would have to lead from row to row.
pub fn lay_out(topology: &Topology, rails: &Rails, top: u32) -> Layout {
    let side_by_side = lay_out_within(topology, rails, top, WIDE);
    if topology.hosts().len() != 1 || side_by_side.rows.len() > 1 {
        return side_by_side;
    }
    let in_rows = lay_out_within(topology, rails, top, 1 + side_by_side.width / 2);
    let ratio = |layout: &Layout| unlike_a_slide(layout.width.into(), layout.height.into());
    if ratio(&in_rows) < ratio(&side_by_side) { in_rows } else { side_by_side }
}

/// How far from 16:9, in thousandths.
fn unlike_a_slide(width: u64, height: u64) -> u64 {
    let (a, b) = (width * 9, height * 16);
    a.max(b) * 1000 / a.min(b).max(1)
}

fn lay_out_within(topology: &Topology, rails: &Rails, top: u32, widest: u32) -> Layout {
    let small = topology.hosts().len() > LARGE_HOSTS;
    let is_gpu = |id| topology.gpu(id).is_some();
    let mut nvlinks = topology.links().iter().filter(|link| link.kind == LinkKind::Nvl);
    let meshed = nvlinks.any(|link| is_gpu(link.from) && is_gpu(link.to));
    let layout = Layout {
        boxes: alloc::vec![None; topology.vertices().len()],
        rows: Vec::new(),
        blocks: Vec::new(),
        width: 0,
        height: top,
        switch_aside: false,
        small,
    };
    let mut work = Work {
        topology,
        children: children(topology),
        lines: topology.ids().map(|id| lines(topology, rails, id, small)).collect(),
        layout,
        devices: 0,
        gap: if small { 6 } else { 12 },
        level: if small { 40 } else { 72 },
        widest: if meshed { u32::MAX } else { widest },
        has_switch: topology.vertices().iter().any(|vertex| vertex.host.is_none()),
        placed: Vec::new(),
    };
    let mut boxes = Vec::new();
    for host in 0..topology.hosts().len() {
        work.host(host);
        boxes.push(core::mem::take(&mut work.placed));
    }
    work.arrange(&boxes, top);
    work.layout
}

struct Work<'a> {
    topology: &'a Topology,
    children: Vec<Vec<VertexId>>,
    lines: Vec<Vec<String>>,
    layout: Layout,
    /// Where the row of devices is that is being placed.
    devices: u32,
    gap: u32,
    level: u32,
    widest: u32,
    has_switch: bool,
    /// Boxes of the host that is being placed.
    placed: Vec<VertexId>,
}

impl Work<'_> {
    /// Places a host with its upper left corner at 0, 0.
    fn host(&mut self, number: usize) {
        let topology = self.topology;
        let host = &topology.hosts()[number];
        let first = self.layout.rows.len();
        // Its name, and the bar that joins its NUMA nodes.
        let head = match (topology.hosts().len() > 1, host.cpus.len() > 1) {
            (false, false) => 0,
            (false, true) => 20,
            (true, true) => 28,
            (true, false) => 16,
        };
        let (mut y, mut right) = (0, 0);
        let mut cpus = host.cpus.as_slice();
        while let Some(&cpu) = cpus.first() {
            let (mut together, mut width) = (1, self.width(cpu));
            while let Some(&next) = cpus.get(together) {
                width = width.saturating_add(MARGIN).saturating_add(self.width(next));
                if width > self.widest {
                    break;
                }
                together += 1;
            }
            let (row, rest) = cpus.split_at(together);
            let (end, wide) = self.cpus(row, y + head);
            (y, right) = (end + MARGIN, right.max(wide));
            cpus = rest;
        }
        let rows = first..self.layout.rows.len();
        let end = y.saturating_sub(MARGIN);
        self.layout.blocks.push(Block { top: 0, left: 0, right, end, rows });
    }

    /// Places NUMA nodes side by side; one that is too wide by itself, in several rows. Says where they end.
    fn cpus(&mut self, cpus: &[VertexId], y: u32) -> (u32, u32) {
        if let [cpu] = cpus
            && self.width(*cpu) > self.widest
        {
            return self.wide_cpu(*cpu, y);
        }
        let depth = cpus.iter().map(|&cpu| self.depth(cpu)).max().unwrap_or(1);
        self.devices = y + depth * self.level;
        let mut x = 0;
        for &cpu in cpus {
            x += self.place(cpu, x, y) + MARGIN;
        }
        (self.end_row(cpus), x.saturating_sub(MARGIN))
    }

    fn wide_cpu(&mut self, cpu: VertexId, y: u32) -> (u32, u32) {
        let inner = self.children[cpu.index()].clone();
        let (mut rest, mut right) = (inner.as_slice(), 0);
        let mut top = y + self.level;
        let row = self.layout.rows.len();
        while !rest.is_empty() {
            let (mut count, mut width) = (0, SIDE);
            while let Some(&next) = rest.get(count) {
                width += self.width(next) + self.gap;
                if count > 0 && width > self.widest {
                    break;
                }
                count += 1;
            }
            let (these, others) = rest.split_at(count);
            let below = these.iter().map(|&id| match self.topology.vertex(id).kind {
                VertexKind::Switch(_) => self.depth(id),
                _ => 0,
            });
            self.devices = top + below.max().unwrap_or(0) * self.level;
            let mut x = SIDE;
            for &child in these {
                x += self.place(child, x, top) + self.gap;
                if let Some(placed) = &mut self.layout.boxes[child.index()] {
                    placed.joined = Joined::Around(SIDE / 2);
                }
            }
            right = right.max(x - self.gap);
            top = self.end_row(these) + MARGIN + 18;
            rest = others;
        }
        self.put(cpu, 0, y, right, row, Joined::Down);
        (top.saturating_sub(MARGIN + 18), right)
    }

    /// Ends a row below its ports and NVLinks.
    fn end_row(&mut self, tops: &[VertexId]) -> u32 {
        let mut bottom = self.devices + self.height(tops.first().copied());
        let mut deepest = 0;
        let mut rest: Vec<VertexId> = tops.to_vec();
        while let Some(id) = rest.pop() {
            rest.extend(&self.children[id.index()]);
            bottom = bottom.max(self.layout.of(id).map_or(0, Placed::bottom));
            for link in self.topology.links_of(id).iter().filter(|link| link.kind == LinkKind::Nvl)
            {
                if let (Some(a), Some(b)) = (self.layout.of(id), self.layout.of(link.to)) {
                    deepest = deepest.max(12 + arc(a.middle().abs_diff(b.middle())).0);
                }
            }
        }
        let end = bottom + deepest + if self.has_switch { BAR / 2 } else { 0 };
        self.layout.rows.push(Row { ports_end: bottom, end });
        end
    }

    /// Levels below a vertex down to its devices.
    fn depth(&self, id: VertexId) -> u32 {
        let is_switch =
            |id: &&VertexId| matches!(self.topology.vertex(**id).kind, VertexKind::Switch(_));
        let switches = self.children[id.index()].iter().filter(is_switch);
        1 + switches.map(|&switch| self.depth(switch)).max().unwrap_or(0)
    }

    fn height(&self, id: Option<VertexId>) -> u32 {
        let lines = id.map_or(2, |id| self.lines[id.index()].len());
        if self.gap < 12 && lines < 2 { 20 } else { 36 }
    }

    fn own_width(&self, id: VertexId) -> u32 {
        let letters = |line: &String| line.chars().count() as u32;
        let longest = self.lines[id.index()].iter().map(letters).max().unwrap_or(0);
        longest * LETTER + 2 * self.gap
    }

    /// The cards of a vertex that stand upon each other, beside what else hangs below it.
    fn stacked(&self, id: VertexId) -> (Vec<VertexId>, Vec<VertexId>) {
        let inner = self.children[id.index()].clone();
        let is_card = |id: &VertexId| {
            let ports = self.children[id.index()].len();
            matches!(self.topology.vertex(*id).kind, VertexKind::Nic(_)) && ports < 2
        };
        match inner.iter().filter(|id| is_card(id)).count() >= STACKED {
            true => inner.into_iter().partition(is_card),
            false => (Vec::new(), inner),
        }
    }

    fn column_width(&self, cards: &[VertexId]) -> u32 {
        let ports = cards.iter().flat_map(|card| &self.children[card.index()]);
        let widths = cards.iter().chain(ports).map(|&id| self.own_width(id));
        SIDE + widths.max().unwrap_or(0)
    }

    /// How wide a vertex is with all that hangs below it; within the depth of what was read.
    fn width(&self, id: VertexId) -> u32 {
        let (cards, others) = self.stacked(id);
        let columns = cards.chunks(COLUMN).map(|cards| self.column_width(cards));
        let all = others.iter().map(|&id| self.width(id)).chain(columns);
        let inner: u32 =
            all.map(|width| width.saturating_add(self.gap)).fold(0, u32::saturating_add);
        self.own_width(id).max(inner.saturating_sub(self.gap))
    }

    /// Places a vertex and what hangs below it from `x` on; says how wide that is.
    fn place(&mut self, id: VertexId, x: u32, y: u32) -> u32 {
        let row = self.layout.rows.len();
        let y = match self.topology.vertex(id).kind {
            VertexKind::Gpu(_) | VertexKind::Nic(_) | VertexKind::Device(_) => self.devices,
            VertexKind::Port(_) => y.max(self.devices),
            _ => y,
        };
        let width = self.width(id);
        let (cards, others) = self.stacked(id);
        let all = others.iter().map(|&id| self.width(id));
        let columns = cards.chunks(COLUMN).map(|cards| self.column_width(cards));
        let inner: u32 = all.chain(columns).map(|width| width + self.gap).sum();
        let mut at = x + (width - inner.saturating_sub(self.gap).min(width)) / 2;
        let below = match self.topology.vertex(id).kind {
            VertexKind::Nic(_) => y + self.height(Some(id)) + STEM.min(self.level / 2),
            _ => y + self.level,
        };
        for &child in &others {
            at += self.place(child, at, below) + self.gap;
        }
        for column in cards.chunks(COLUMN) {
            self.column(column, at, row);
            at += self.column_width(column) + self.gap;
        }
        self.put(id, x, y, width, row, Joined::Down);
        width
    }

    /// Cards upon each other, each with its port close below it.
    fn column(&mut self, cards: &[VertexId], x: u32, row: usize) {
        let width = self.column_width(cards) - SIDE;
        let mut y = self.devices;
        for &card in cards {
            self.put(card, x + SIDE, y, width, row, Joined::Aside(x + SIDE / 2));
            y += self.height(Some(card)) + 10;
            for port in self.children[card.index()].clone() {
                self.put(port, x + SIDE, y, width, row, Joined::Down);
                y += self.height(Some(port)) + 14;
            }
        }
    }

    fn put(&mut self, id: VertexId, x: u32, y: u32, width: u32, row: usize, joined: Joined) {
        let lines = self.lines[id.index()].clone();
        let height = self.height(Some(id));
        self.placed.push(id);
        self.layout.boxes[id.index()] =
            Some(Placed { id, x, y, width, height, lines, joined, row });
    }

    /// Puts the hosts side by side, in as many columns as make the picture most like a slide.
    fn arrange(&mut self, boxes: &[Vec<VertexId>], top: u32) {
        let hosts = self.layout.blocks.len() as u32;
        let wide = self.layout.blocks.iter().map(|block| block.right).max().unwrap_or(0) + MARGIN;
        let high = self.layout.blocks.iter().map(|block| block.end).max().unwrap_or(0) + MARGIN;
        let alike = self.layout.blocks.iter().all(|block| block.rows.len() == 1);
        let ratio = |columns: u32| {
            let width = u64::from(wide) * u64::from(columns);
            let height = u64::from(high) * u64::from(hosts.div_ceil(columns));
            unlike_a_slide(width, height)
        };
        let columns = match alike {
            true => (1..=hosts.max(1)).min_by_key(|&columns| ratio(columns)).unwrap_or(1),
            false => 1,
        };
        self.layout.switch_aside = self.has_switch && self.layout.rows.len() > 1;
        let left = if self.layout.switch_aside { MARGIN + 96 } else { MARGIN };
        let (mut y, mut line_high) = (top, 0);
        for (number, boxes) in boxes.iter().enumerate() {
            let column = number as u32 % columns;
            if column == 0 && number > 0 {
                (y, line_high) = (y + line_high + MARGIN, 0);
            }
            self.layout.shift(boxes, number, left + column * wide, y);
            let block = &self.layout.blocks[number];
            line_high = line_high.max(block.end - block.top);
            self.layout.width = self.layout.width.max(block.right + MARGIN);
            self.layout.height = self.layout.height.max(block.end + MARGIN);
        }
        if self.has_switch && !self.layout.switch_aside {
            self.layout.height += BAR / 2;
        }
    }
}

/// A vertex's name without its host's, which stands above it.
pub fn short(topology: &Topology, id: VertexId) -> String {
    let label = topology.label(id).to_string();
    let host = topology.vertex(id).host.unwrap_or(0);
    match label.strip_prefix(&alloc::format!("h{host}/")) {
        Some(short) if topology.hosts().len() > 1 => short.into(),
        _ => label,
    }
}

/// At most two lines for a box, cut to 28 letters; one for a small box.
fn lines(topology: &Topology, rails: &Rails, id: VertexId, small: bool) -> Vec<String> {
    let cut = |text: String| -> String {
        match text.chars().count() {
            0..=28 => text,
            _ => text.chars().take(27).chain(['…']).collect(),
        }
    };
    let label = short(topology, id);
    if small {
        return Vec::from([cut(label)]);
    }
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
