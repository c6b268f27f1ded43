//! Owns the picture: sockets, switches, GPUs, NICs, ports in the colour of their rail, and links as wide
//! as their bandwidth.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::graph::{LinkKind, Topology, VertexId, VertexKind};
use crate::rails::Rails;
use crate::render::layout::{BOX, Block, LETTER, Layout, MARGIN, Placed, lay_out};
use crate::render::words::{detail, escape, id};
use crate::unit::Bandwidth;

/// Colours that stay apart for those who see few, for the rails in turn.
const RAILS: [&str; 8] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7a00", "#6b7280"];
/// The room that NVLinks between GPUs take below the devices.
const ARCS: u32 = 150;
/// The room that an NVSwitch takes.
const BAR: u32 = 76;

/// The machine as a picture. Each vertex is an element with its own id (`gpu0`); its text stands inside
/// its box, and boxes do not overlap.
pub fn svg(topology: &Topology) -> String {
    let rails = Rails::of(topology);
    let nvswitch = topology.ids().find(|&id| topology.vertex(id).host.is_none());
    let is_gpu = |id| topology.gpu(id).is_some();
    let meshed = topology
        .links()
        .iter()
        .any(|link| link.kind == LinkKind::Nvl && is_gpu(link.from) && is_gpu(link.to));
    let several = topology.hosts().len() > 1;
    // A rack's NVSwitch stands at the left of its hosts.
    let left = if several && nvswitch.is_some() { MARGIN + 96 } else { MARGIN };
    let below = if meshed { ARCS } else { 0 } + if nvswitch.is_some() { BAR } else { 0 };
    let layout = lay_out(topology, &rails, left, below);
    let mut picture = Picture { topology, rails: &rails, layout: &layout, body: String::new() };
    for (number, block) in layout.blocks.iter().enumerate() {
        picture.host(number, block);
    }
    picture.tree_links();
    picture.nvlinks(nvswitch, several);
    let boxes: Vec<&Placed> = layout.boxes().collect();
    boxes.into_iter().for_each(|placed| picture.vertex(placed));
    let (width, height) = (layout.width.max(2 * MARGIN + 240), layout.height.max(2 * MARGIN + 40));
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
}

/// 1 to 12 pixels: the square root of GB/s, for the eye compares widths and machines span 1:500.
fn stroke(bandwidth: Bandwidth) -> String {
    let tenths = (bandwidth.as_bytes_per_s() / 10_000_000).isqrt().clamp(10, 240) / 2;
    format!("{}.{}", tenths.max(10) / 10, tenths.max(10) % 10)
}

impl Picture<'_> {
    fn text(&mut self, x: u32, y: u32, text: &str, more: &str) {
        self.body.push_str(&format!("<text x=\"{x}\" y=\"{y}\"{more}>{}</text>\n", escape(text)));
    }

    fn line(&mut self, class: &str, way: &str, colour: &str, width: &str) {
        self.body.push_str(&format!(
            "<path class=\"{class}\" d=\"{way}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n"
        ));
    }

    /// A host's name, and the bar that joins its NUMA nodes.
    fn host(&mut self, number: usize, block: &Block) {
        let Some(host) = self.topology.hosts().get(number) else { return };
        if self.topology.hosts().len() > 1 {
            let name = host.name.clone().unwrap_or_default();
            let title = format!("host {number} {name}");
            let title: String = title.chars().take(40).collect();
            self.text(block.left, block.top + 8, &title, " font-weight=\"bold\"");
        }
        if host.cpus.len() < 2 {
            return;
        }
        let bandwidths = host.cpus.iter().map(|&cpu| self.topology.between(cpu));
        let slowest = bandwidths.min().unwrap_or_default();
        let y = block.top + 34;
        let ends: Vec<u32> =
            host.cpus.iter().filter_map(|&cpu| self.layout.of(cpu)).map(Placed::middle).collect();
        let (first, last) =
            (ends.iter().min().copied().unwrap_or(0), ends.iter().max().copied().unwrap_or(0));
        self.line("sys", &format!("M{first} {y}H{last}"), "#64748b", &stroke(slowest));
        for x in ends {
            self.line("sys", &format!("M{x} {y}V{}", y + 30), "#64748b", &stroke(slowest));
        }
        let label = format!("between NUMA nodes {slowest}");
        self.text(first + 8, y - 8, &label, " fill=\"#475569\"");
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
            let colour = match link.kind {
                LinkKind::C2c => "#7c3aed",
                LinkKind::Net => "#b45309",
                _ => "#475569",
            };
            // Straight down where the parent is as wide, else aslant from its nearest place.
            let x = placed.middle();
            let from =
                x.clamp(above.x + 8, (above.x + above.width).saturating_sub(8).max(above.x + 8));
            let way = format!("M{from} {}L{x} {}", above.y + BOX, placed.y);
            self.line(
                "tree",
                &way,
                colour,
                &stroke(link.bandwidth.min(Bandwidth::mb_per_s(600_000))),
            );
        }
    }

    /// NVLinks: to the NVSwitch as a bar below the devices (beside the hosts of a rack), between GPUs as
    /// arcs.
    fn nvlinks(&mut self, nvswitch: Option<VertexId>, several: bool) {
        let (topology, layout) = (self.topology, self.layout);
        for link in topology.links().iter().filter(|link| link.kind == LinkKind::Nvl) {
            let (Some(a), Some(b)) = (layout.of(link.from), layout.of(link.to)) else { continue };
            let back = topology.link(link.to, link.from, link.kind).is_some();
            if topology.gpu(link.to).is_none() || back && link.from > link.to {
                continue;
            }
            let end =
                topology.vertex(link.from).host.and_then(|host| layout.blocks.get(host as usize));
            let y = end.map_or(a.y + BOX, |block| block.ports_end) + 8;
            let (ax, bx) = (a.middle(), b.middle());
            let depth = 20 + ax.abs_diff(bx).min(1200) * (ARCS - 30) / 1200 * 4 / 3;
            let way = format!(
                "M{ax} {}V{y}C{ax} {} {bx} {} {bx} {y}V{}",
                a.y + BOX,
                y + depth,
                y + depth,
                b.y + BOX
            );
            self.line("nvlink", &way, "#65a30d", &stroke(link.bandwidth));
        }
        let Some(nvswitch) = nvswitch else { return };
        let mut ends: Vec<(u32, u32, u32)> = Vec::new();
        for link in topology.links_of(nvswitch) {
            let block =
                topology.vertex(link.to).host.and_then(|host| layout.blocks.get(host as usize));
            if let (Some(gpu), Some(block)) = (layout.of(link.to), block) {
                let y = block.end - BAR + 16;
                ends.push((gpu.middle(), y, block.left));
                self.line(
                    "nvlink",
                    &format!("M{} {}V{y}", gpu.middle(), gpu.y + BOX),
                    "#65a30d",
                    &stroke(link.bandwidth),
                );
                if several {
                    self.line(
                        "nvlink",
                        &format!("M{} {y}H{}", gpu.middle(), MARGIN + 60),
                        "#65a30d",
                        "2",
                    );
                }
            }
        }
        self.nvswitch(nvswitch, &ends, several);
    }

    fn nvswitch(&mut self, nvswitch: VertexId, ends: &[(u32, u32, u32)], several: bool) {
        let least = |of: fn(&(u32, u32, u32)) -> u32| ends.iter().map(of).min().unwrap_or(MARGIN);
        let most = |of: fn(&(u32, u32, u32)) -> u32| ends.iter().map(of).max().unwrap_or(MARGIN);
        let each = self
            .topology
            .links_of(nvswitch)
            .iter()
            .map(|link| link.bandwidth)
            .max()
            .unwrap_or_default();
        let label = format!("NVSwitch, {each} for each GPU");
        let (x, y, width, height) = match several {
            true => (MARGIN, least(|end| end.1), 60, most(|end| end.1) - least(|end| end.1) + 40),
            false => {
                let x = least(|end| end.0).saturating_sub(20);
                let width = most(|end| end.0) + 20 - x;
                (x, least(|end| end.1), width.max(label.chars().count() as u32 * LETTER + 24), BOX)
            }
        };
        let of = id(self.topology, nvswitch);
        self.body.push_str(&format!(
            "<g id=\"{of}\" class=\"nvswitch\"><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#ecfccb\" stroke=\"#4d7c0f\"/>\n"
        ));
        match several {
            true => self.text(x + 6, y + height / 2, "NVSwitch", ""),
            false => self.text(x + width / 2, y + 22, &label, " text-anchor=\"middle\""),
        }
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
        let &Placed { x, y, width, .. } = placed;
        let heavy = if class == "port" { 3 } else { 1 };
        self.body.push_str(&format!(
            "<g id=\"{of}\" class=\"{class}\"><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BOX}\" rx=\"4\" fill=\"{fill}\" stroke=\"{edge}\" stroke-width=\"{heavy}\"/>\n",
            escape(&format!("{}: {}", self.topology.label(placed.id), detail(self.topology, self.rails, placed.id)))
        ));
        for (number, line) in placed.lines.iter().enumerate() {
            let weight = if number == 0 { " font-weight=\"bold\"" } else { "" };
            let more = format!(" text-anchor=\"middle\"{weight}");
            self.text(placed.middle(), y + 15 + 13 * number as u32, line, &more);
        }
        self.body.push_str("</g>\n");
    }

    fn rail_colour(&self, port: VertexId) -> &'static str {
        let rail = self.rails.rail_of(port);
        rail.map_or("#94a3b8", |rail| RAILS[rail as usize % RAILS.len()])
    }
}
