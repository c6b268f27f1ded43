//! Owns the picture: sockets, switches, GPUs, NICs, ports in the colour of their rail, and links as wide
//! as their bandwidth, with a legend that tells it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::graph::{LinkKind, Topology, VertexId, VertexKind};
use crate::rails::Rails;
use crate::rates;
use crate::render::headline;
use crate::render::layout::{BAR, Block, Joined, LETTER, Layout, MARGIN, Placed, arc, lay_out};
use crate::render::words::{assumed, carried, detail, escape, id, rail_colour};
use crate::unit::Bandwidth;

/// The NVSwitch's width where it stands aside.
const ASIDE: u32 = 60;
/// The most rails that the legend tells.
const MOST_RAILS: usize = 32;
/// The most links that the legend tells.
const LEGEND: usize = 12;

/// The machine as a picture. Each vertex is an element with its own id (`gpu0`); its text stands inside
/// its box, and boxes do not overlap.
pub fn svg(topology: &Topology) -> String {
    let rails = Rails::of(topology);
    let nvswitch = topology.ids().find(|&id| topology.vertex(id).host.is_none());
    let layout = lay_out(topology, &rails, MARGIN + 24);
    let mut picture = Picture {
        topology,
        rails: &rails,
        layout: &layout,
        body: String::new(),
        legend: BTreeMap::new(),
    };
    let title: String = headline(topology).chars().take(160).collect();
    picture.text(MARGIN, MARGIN + 4, &title, " font-weight=\"bold\"");
    for (number, block) in layout.blocks.iter().enumerate() {
        picture.host(number, block);
    }
    picture.tree_links();
    picture.arcs();
    if let Some(nvswitch) = nvswitch {
        picture.nvswitch(nvswitch);
    }
    let boxes: Vec<&Placed> = layout.boxes().collect();
    boxes.into_iter().for_each(|placed| picture.vertex(placed));
    let least = title.chars().count() as u32 * LETTER + 2 * MARGIN;
    let width = layout.width.max(least).max(2 * MARGIN + 240);
    let height = picture.legend(width);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"monospace\" font-size=\"10\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
        picture.body
    )
}

struct Picture<'a> {
    topology: &'a Topology,
    rails: &'a Rails,
    layout: &'a Layout,
    body: String,
    /// What lines there are, and how many of each.
    legend: BTreeMap<(Line, Bandwidth), u32>,
}

/// What a line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    NvLink,
    /// An NVLink that its ends count differently.
    Uneven,
    C2c,
    Pci,
    /// PCIe whose rate or width the description does not tell.
    Assumed,
    Port,
    Sys,
}

impl Line {
    fn colour(self) -> &'static str {
        match self {
            Self::NvLink => "#65a30d",
            Self::C2c => "#7c3aed",
            Self::Uneven => "#dc2626",
            Self::Pci | Self::Assumed => "#475569",
            Self::Port => "#b45309",
            Self::Sys => "#94a3b8",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::NvLink | Self::Uneven => "nvlink",
            Self::C2c | Self::Pci | Self::Assumed | Self::Port => "tree",
            Self::Sys => "sys",
        }
    }

    fn name(self, amd: bool) -> &'static str {
        match self {
            Self::NvLink if amd => "xGMI",
            Self::NvLink => "NVLink",
            Self::C2c => "chip to chip",
            Self::Uneven => "uneven NVLink, the slower way",
            Self::Pci | Self::Assumed => "PCIe",
            Self::Port => "port",
            Self::Sys => "between NUMA nodes",
        }
    }
}

/// 1 to 12 pixels: the square root of GB/s, for the eye compares widths and machines span 1:500. What
/// nothing bounds is thin and dashed, for it matters least; so is the dash of what is assumed, or uneven.
fn stroke(line: Line, bandwidth: Bandwidth) -> String {
    if bandwidth >= rates::LOCAL {
        return "stroke-width=\"1.0\" stroke-dasharray=\"4 3\"".into();
    }
    let tenths = (bandwidth.as_bytes_per_s() / 10_000_000).isqrt().clamp(10, 240) / 2;
    let dash = match line {
        Line::Uneven | Line::Assumed => " stroke-dasharray=\"8 4\"",
        _ => "",
    };
    format!("stroke-width=\"{}.{}\"{dash}", tenths.max(10) / 10, tenths.max(10) % 10)
}

impl Picture<'_> {
    fn text(&mut self, x: u32, y: u32, text: &str, more: &str) {
        self.body.push_str(&format!("<text x=\"{x}\" y=\"{y}\"{more}>{}</text>\n", escape(text)));
    }

    fn line(&mut self, line: Line, way: &str, stroke: &str) {
        let (class, colour) = (line.class(), line.colour());
        self.body.push_str(&format!(
            "<path class=\"{class}\" d=\"{way}\" fill=\"none\" stroke=\"{colour}\" {stroke}/>\n"
        ));
    }

    /// A line as wide as its bandwidth, which the legend tells.
    fn link(&mut self, line: Line, way: &str, bandwidth: Bandwidth) {
        *self.legend.entry((line, bandwidth)).or_default() += 1;
        self.line(line, way, &stroke(line, bandwidth));
    }

    /// A host's name, and the bars that join its NUMA nodes.
    fn host(&mut self, number: usize, block: &Block) {
        let Some(host) = self.topology.hosts().get(number) else { return };
        if self.topology.hosts().len() > 1 {
            let name = host.name.clone().unwrap_or_default();
            let room = (block.right - block.left) / LETTER;
            let title: String =
                format!("host {number} {name}").chars().take(room.min(40) as usize).collect();
            self.text(block.left, block.top + 8, &title, " font-weight=\"bold\"");
        }
        let bandwidths = host.cpus.iter().map(|&cpu| self.topology.between(cpu));
        let Some(slowest) = bandwidths.min().filter(|_| host.cpus.len() > 1) else { return };
        let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for placed in host.cpus.iter().filter_map(|&cpu| self.layout.of(cpu)) {
            rows.entry(placed.y).or_default().push(placed.middle());
        }
        let bar = |y: u32| y - 12;
        let mut ways: Vec<String> = Vec::new();
        if let (Some((&first, _)), Some((&last, _)), true) =
            (rows.first_key_value(), rows.last_key_value(), rows.len() > 1)
        {
            ways.push(format!("M{} {}V{}", block.left - 10, bar(first), bar(last)));
        }
        for (&y, ends) in &rows {
            let (left, right) = (ends.iter().min(), ends.iter().max());
            let from = if rows.len() > 1 { block.left - 10 } else { left.copied().unwrap_or(0) };
            ways.push(format!("M{from} {}H{}", bar(y), right.copied().unwrap_or(0)));
            ways.extend(ends.iter().map(|x| format!("M{x} {}V{y}", bar(y))));
        }
        self.link(Line::Sys, &ways.concat(), slowest);
    }

    /// PCI, from each box up to its parent.
    fn tree_links(&mut self) {
        let layout = self.layout;
        for placed in layout.boxes() {
            let parent = self.topology.vertex(placed.id).parent;
            let Some(above) = parent.and_then(|parent| layout.of(parent)) else { continue };
            let links = self.topology.links_of(placed.id).iter();
            let mut up = links.filter(|link| Some(link.to) == parent && link.kind != LinkKind::Nvl);
            let Some(link) =
                up.clone().find(|link| link.kind == LinkKind::C2c).or_else(|| up.next())
            else {
                continue;
            };
            let line = match link.kind {
                LinkKind::C2c => Line::C2c,
                LinkKind::Net => Line::Port,
                _ if assumed(self.topology, placed.id) => Line::Assumed,
                _ => Line::Pci,
            };
            let (x, y) = (placed.middle(), placed.y);
            let right = (above.x + above.width).saturating_sub(8).max(above.x + 8);
            let way = match placed.joined {
                // Straight down where the parent is as wide, else aslant from its nearest place.
                Joined::Down => {
                    format!("M{} {}L{x} {y}", x.clamp(above.x + 8, right), above.bottom())
                }
                Joined::Aside(bus) => {
                    format!("M{bus} {}V{}H{}", above.bottom(), y + placed.height / 2, placed.x)
                }
                Joined::Around(bus) => {
                    format!("M{bus} {}V{}H{x}V{y}", above.bottom(), y - 12)
                }
            };
            self.link(line, &way, link.bandwidth);
        }
    }

    /// NVLinks between GPUs, as arcs below their row; each leaves its GPU at a place of its own.
    fn arcs(&mut self) {
        let (topology, layout) = (self.topology, self.layout);
        let mut feet: BTreeMap<VertexId, BTreeSet<(u32, VertexId)>> = BTreeMap::new();
        let mut drawn = Vec::new();
        for link in topology.links().iter().filter(|link| link.kind == LinkKind::Nvl) {
            let (Some(a), Some(b)) = (layout.of(link.from), layout.of(link.to)) else { continue };
            let back = topology.link(link.to, link.from, link.kind);
            if topology.gpu(link.to).is_none() || back.is_some() && link.from > link.to {
                continue;
            }
            feet.entry(a.id).or_default().insert((b.middle(), b.id));
            feet.entry(b.id).or_default().insert((a.middle(), a.id));
            let slower = back.map_or(link.bandwidth, |back| back.bandwidth.min(link.bandwidth));
            let even = back.is_some_and(|back| back.count == link.count);
            drawn.push((a, b, if even { Line::NvLink } else { Line::Uneven }, slower));
        }
        let foot = |from: &Placed, to: &Placed| {
            let all = feet.get(&from.id).map_or(1, BTreeSet::len) as u32;
            let place = feet
                .get(&from.id)
                .and_then(|feet| feet.iter().position(|&foot| foot == (to.middle(), to.id)));
            let step = (from.width.saturating_sub(16) / all).min(12);
            from.middle() + place.unwrap_or(0) as u32 * step - (all - 1) * step / 2
        };
        let mut ways = Vec::new();
        for (a, b, line, bandwidth) in drawn {
            let row = layout.rows.get(a.row.max(b.row)).copied().unwrap_or_default();
            let (y, ax, bx) = (row.ports_end + 4, foot(a, b), foot(b, a));
            let low = y + arc(a.middle().abs_diff(b.middle())).1;
            let way =
                format!("M{ax} {}V{y}C{ax} {low} {bx} {low} {bx} {y}V{}", a.bottom(), b.bottom());
            ways.push((line, way, bandwidth));
        }
        ways.into_iter().for_each(|(line, way, bandwidth)| self.link(line, &way, bandwidth));
    }

    /// The NVSwitch, as a bar below its GPUs, or aside from all rows, with its links.
    fn nvswitch(&mut self, nvswitch: VertexId) {
        let layout = self.layout;
        let mut lines: BTreeMap<u32, u32> = BTreeMap::new();
        let (mut left, mut right) = (u32::MAX, 0);
        for link in self.topology.links_of(nvswitch) {
            let Some(gpu) = layout.of(link.to) else { continue };
            let y = layout.rows.get(gpu.row).map_or(gpu.bottom(), |row| row.end) - BAR / 4;
            (left, right) = (left.min(gpu.middle()), right.max(gpu.middle()));
            let line = lines.entry(y).or_default();
            *line = gpu.middle().max(*line);
            self.link(
                Line::NvLink,
                &format!("M{} {}V{y}", gpu.middle(), gpu.bottom()),
                link.bandwidth,
            );
        }
        let top = lines.keys().next().copied().unwrap_or(layout.height);
        let bottom = lines.keys().next_back().copied().unwrap_or(top);
        let (x, y, width, height) = match layout.switch_aside {
            true => (MARGIN, top - 40, ASIDE, bottom - top + 60),
            false => {
                let x = left.min(layout.width).saturating_sub(20);
                (x, top, (right + 20).saturating_sub(x).max(8 * LETTER + 24), 30)
            }
        };
        if layout.switch_aside {
            for (y, end) in lines {
                self.line(
                    Line::NvLink,
                    &format!("M{} {y}H{end}", MARGIN + ASIDE),
                    "stroke-width=\"3.0\"",
                );
            }
        }
        let of = id(self.topology, nvswitch);
        self.body.push_str(&format!(
            "<g id=\"{of}\" class=\"nvswitch\"><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#ecfccb\" stroke=\"#4d7c0f\"/>\n"
        ));
        let more = " text-anchor=\"middle\" font-weight=\"bold\"";
        self.text(x + width / 2, y + height / 2 + 4, "NVSwitch", more);
        self.body.push_str("</g>\n");
    }

    fn vertex(&mut self, placed: &Placed) {
        let vertex = self.topology.vertex(placed.id);
        let (class, fill, edge) = match &vertex.kind {
            VertexKind::Cpu(_) => ("cpu", "#e2e8f0", "#334155"),
            VertexKind::Switch(_) => ("switch", "#f1f5f9", "#64748b"),
            VertexKind::Gpu(_) => ("gpu", "#d9f99d", "#4d7c0f"),
            VertexKind::Nic(_) => ("nic", "#fef3c7", "#b45309"),
            VertexKind::Port(_) => ("port", "#ffffff", self.rail_colour(placed.id)),
            VertexKind::Device(_) => ("device", "#ffe4e6", "#be123c"),
            VertexKind::NvSwitch(_) => ("nvswitch", "#ecfccb", "#4d7c0f"),
        };
        let of = id(self.topology, placed.id);
        let &Placed { x, y, width, height, .. } = placed;
        let heavy = if class == "port" { 3 } else { 1 };
        self.body.push_str(&format!(
            "<g id=\"{of}\" class=\"{class}\"><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\" fill=\"{fill}\" stroke=\"{edge}\" stroke-width=\"{heavy}\"/>\n",
            escape(&format!("{}: {}", self.topology.label(placed.id), detail(self.topology, self.rails, placed.id)))
        ));
        let first = y + height / 2 + 4 - 6 * (placed.lines.len() as u32 - 1);
        for (number, line) in placed.lines.iter().enumerate() {
            let weight = if number == 0 { " font-weight=\"bold\"" } else { "" };
            let more = format!(" text-anchor=\"middle\"{weight}");
            self.text(placed.middle(), first + 13 * number as u32, line, &more);
        }
        self.body.push_str("</g>\n");
    }

    fn rail_colour(&self, port: VertexId) -> &'static str {
        let rail = self.rails.rail_of(port);
        rail.map_or("#94a3b8", rail_colour)
    }

    /// What the lines' widths mean: those of which there are the most. Says how high the picture is.
    fn legend(&mut self, width: u32) -> u32 {
        let amd = self.topology.gpus().iter().any(|&gpu| {
            matches!(
                self.topology.gpu(gpu).map(|gpu| &gpu.model),
                Some(crate::GpuModel::Amd { .. })
            )
        });
        let mut told: Vec<_> = core::mem::take(&mut self.legend).into_iter().collect();
        if told.len() > LEGEND {
            told.sort_by_key(|&(_, count)| core::cmp::Reverse(count));
            told.truncate(LEGEND);
            told.sort_unstable();
        }
        let (mut x, mut y) = (MARGIN, self.layout.height + 8);
        let mut entries: Vec<(String, String)> = Vec::new();
        for ((line, bandwidth), _) in told {
            let mark = if line == Line::Assumed { " (assumed)" } else { "" };
            let text = format!("{} {}{mark}", line.name(amd), carried(bandwidth));
            let (class, colour, stroke) = (line.class(), line.colour(), stroke(line, bandwidth));
            entries.push((text, format!("class=\"{class}\" stroke=\"{colour}\" {stroke}")));
        }
        // Large boxes tell their rail themselves.
        let rails = self.rails.iter().filter(|_| self.layout.small).take(MOST_RAILS);
        for (rail, ports) in rails {
            let colour = ports.first().map_or("#94a3b8", |&port| self.rail_colour(port));
            entries
                .push((format!("rail {rail}"), format!("stroke=\"{colour}\" stroke-width=\"6\"")));
        }
        for (text, sample) in entries {
            let room = 36 + text.chars().count() as u32 * LETTER;
            if x > MARGIN && x + room + MARGIN > width {
                (x, y) = (MARGIN, y + 18);
            }
            self.body
                .push_str(&format!("<path d=\"M{x} {}h28\" fill=\"none\" {sample}/>\n", y - 4));
            self.text(x + 36, y, &text, " fill=\"#475569\"");
            x += room + MARGIN;
        }
        y + MARGIN
    }
}
