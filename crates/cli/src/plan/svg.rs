//! Owns a plan as a picture: rings from node to node, and routes from GPU to GPU, each NIC in the colour of its
//! rail on a row of its own, so that what crosses rails is aslant, dashed and red.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crosstie_planner::explain::{Scheme, brief, speed};
use crosstie_planner::search::Stretch;
use crosstie_topo::render::{self, escape, rail_colour};

/// From one row to the next.
const ROW: u32 = 22;
/// Width of a letter, and of the box of a NIC or GPU.
const LETTER: u32 = 7;
const BOX: u32 = 54;
/// Between a NIC and what is inside its node, and between two nodes.
const FAN: u32 = 40;
const GAP: u32 = 110;
const MARGIN: u32 = 20;
/// Of more nodes the first two and the last three are shown.
const MOST_NODES: u32 = 5;
const CROSSING: &str = "#dc2626";
const INK: &str = "#334155";

/// The picture. Writing to a String cannot fail.
pub fn svg(scheme: &Scheme<'_>) -> String {
    let mut picture = Picture::default();
    let title = format!("{} nodes, each {}", scheme.nodes, render::headline(scheme.node.topology));
    picture.text(MARGIN, 24, "start", INK, &title);
    let found = &scheme.rings;
    let bound =
        found.bound_mb_s.map_or(String::new(), |bound| format!(" of at most {}", speed(bound)));
    let rings =
        format!("{} rings, together {}{bound}", found.rings.len(), speed(found.total_mb_s()));
    picture.text(MARGIN, 44, "start", INK, &rings);
    let below = rings_of(scheme, 74, &mut picture);
    if !scheme.routes.is_empty() {
        routes_of(scheme, below + 40, &mut picture);
    }
    picture.finish()
}

#[derive(Default)]
struct Picture {
    body: String,
    width: u32,
    height: u32,
}

/// A place.
type At = (u32, u32);

impl Picture {
    fn reach(&mut self, x: u32, y: u32) {
        self.width = self.width.max(x);
        self.height = self.height.max(y);
    }

    fn text(&mut self, x: u32, y: u32, anchor: &str, colour: &str, text: &str) {
        let wide = text.chars().count() as u32 * LETTER;
        self.reach(if anchor == "start" { x + wide } else { x }, y);
        let _ = writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{}</text>",
            escape(text)
        );
    }

    /// A box in the middle of which its name stands.
    fn named(&mut self, (x, y): At, width: u32, colour: &str, name: &str) {
        let (top, high) = (y - ROW / 2 + 2, ROW - 4);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{high}\" rx=\"4\" fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        self.text(x + width / 2, y + 4, "middle", INK, name);
        self.reach(x + width, y + high);
    }

    fn line(&mut self, from: At, to: At, colour: &str, width: &str) {
        let ((x, y), (to_x, to_y)) = (from, to);
        let _ = writeln!(
            self.body,
            "<path d=\"M{x} {y}L{to_x} {to_y}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
        );
    }

    /// A cable between two NICs, or what a switch above the rails would have to carry.
    fn cable(&mut self, from: At, to: At, rail: Option<u32>, is_crossing: bool) {
        if !is_crossing {
            self.line(from, to, colour(rail), "2.5");
            return;
        }
        let ((x, y), (to_x, to_y)) = (from, to);
        let _ = writeln!(
            self.body,
            "<path class=\"crossing\" d=\"M{x} {y}L{to_x} {to_y}\" fill=\"none\" stroke=\"{CROSSING}\" stroke-width=\"1.5\" stroke-dasharray=\"5 3\"/>"
        );
    }

    fn finish(self) -> String {
        let (width, height) = (self.width + MARGIN, self.height + MARGIN);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"monospace\" font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn colour(rail: Option<u32>) -> &'static str {
    rail.map_or(INK, rail_colour)
}

/// NICs in the order of their rails, each with its row.
fn rows(scheme: &Scheme<'_>, nics: impl Iterator<Item = u32>) -> BTreeMap<u32, u32> {
    let all: BTreeSet<(Option<u32>, u32)> = nics.map(|nic| (scheme.rail(0, nic), nic)).collect();
    all.into_iter().zip(0..).map(|((_, nic), row)| (nic, row)).collect()
}

fn shown(nodes: u32) -> Vec<u32> {
    match nodes {
        ..=MOST_NODES => (0..nodes).collect(),
        _ => vec![0, 1, nodes - 3, nodes - 2, nodes - 1],
    }
}

/// Where things stand in a node's box.
struct Frame {
    left: u32,
    top: u32,
    lane: u32,
}

impl Frame {
    fn y(&self, row: u32) -> u32 {
        self.top + row * ROW
    }

    fn lanes(&self) -> u32 {
        self.left + BOX + FAN
    }

    /// Where the NICs stand by which rings leave.
    fn out(&self) -> u32 {
        self.lanes() + self.lane + FAN
    }

    fn right(&self) -> u32 {
        self.out() + BOX
    }
}

/// The rings, a lane for each channel in each node. Says where it ends.
fn rings_of(scheme: &Scheme<'_>, top: u32, picture: &mut Picture) -> u32 {
    let rings = &scheme.rings.rings;
    let all = || rings.iter().flat_map(|ring| &ring.nodes);
    let nics = rows(scheme, all().flat_map(|way| way.nic_in.into_iter().chain(way.nic_out)));
    let lane = all().map(|way| lane(way).chars().count() as u32).max().unwrap_or(0) * LETTER + 12;
    let high = (rings.len().max(nics.len()).max(1)) as u32;
    let place = |column: u32| Frame {
        left: MARGIN + column * (2 * (BOX + FAN) + lane + GAP),
        top: top + ROW,
        lane,
    };
    let shown = shown(scheme.nodes);
    for (&node, column) in shown.iter().zip(0..) {
        let frame = place(column);
        let _ = writeln!(
            picture.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"#f1f5f9\"/>",
            frame.left + BOX / 2,
            frame.top - ROW,
            frame.right() - frame.left - BOX,
            (high + 1) * ROW
        );
        let middle = u32::midpoint(frame.left, frame.right());
        picture.text(middle, frame.top - ROW - 6, "middle", INK, &format!("node {node}"));
        node_of(scheme, node, &frame, &nics, picture);
        if scheme.nodes > 1 {
            let next = shown.get(column as usize + 1).copied();
            cables(scheme, node, next, (&frame, &place(column + 1)), &nics, picture);
        }
    }
    top + (high + 1) * ROW
}

/// A ring's way between its NICs.
fn lane(way: &Stretch) -> String {
    brief(&Stretch { nic_in: None, nic_out: None, ..way.clone() })
}

fn node_of(
    scheme: &Scheme<'_>,
    node: u32,
    frame: &Frame,
    nics: &BTreeMap<u32, u32>,
    picture: &mut Picture,
) {
    let mut boxes: BTreeMap<At, u32> = BTreeMap::new();
    for (ring, row) in scheme.rings.rings.iter().zip(0..) {
        let Some(way) = ring.nodes.get(node as usize) else { continue };
        let (left, y) = (frame.lanes(), frame.y(row));
        for (nic, x, inner, near) in [
            (way.nic_in, frame.left, left, frame.left + BOX),
            (way.nic_out, frame.out(), left + frame.lane, frame.out()),
        ] {
            let Some((nic, &at)) = nic.and_then(|nic| Some((nic, nics.get(&nic)?))) else {
                continue;
            };
            picture.line((inner, y), (near, frame.y(at)), colour(scheme.rail(0, nic)), "1.2");
            boxes.insert((x, frame.y(at)), nic);
        }
        picture.named((left, y), frame.lane, "#65a30d", &lane(way));
    }
    for (at, nic) in boxes {
        picture.named(at, BOX, colour(scheme.rail(0, nic)), &format!("nic {nic}"));
    }
}

/// From a node to the next one; from the last, towards the first.
fn cables(
    scheme: &Scheme<'_>,
    node: u32,
    next: Option<u32>,
    (here, there): (&Frame, &Frame),
    nics: &BTreeMap<u32, u32>,
    picture: &mut Picture,
) {
    let follows = (node + 1) % scheme.nodes;
    let to_x = if next == Some(follows) { there.left } else { here.right() + FAN };
    let mut drawn = BTreeSet::new();
    for ring in &scheme.rings.rings {
        let way = |node: u32| ring.nodes.get(node as usize);
        let (Some(out), Some(into)) =
            (way(node).and_then(|way| way.nic_out), way(follows).and_then(|way| way.nic_in))
        else {
            continue;
        };
        let (Some(&from), Some(&to)) = (nics.get(&out), nics.get(&into)) else { continue };
        if drawn.insert((out, into)) {
            let rail = scheme.rail(0, out);
            let (from, to) = ((here.right(), here.y(from)), (to_x, here.y(to)));
            picture.cable(from, to, rail, rail != scheme.rail(0, into));
            picture.reach(to.0, to.1);
        }
    }
    if next != Some(follows) {
        picture.text(to_x - FAN, here.top - ROW - 6, "start", INK, &format!("to node {follows}"));
    }
}

/// The routes: GPUs, by which NICs they leave, by which they arrive. A relay's own NIC takes all lines to it.
fn routes_of(scheme: &Scheme<'_>, top: u32, picture: &mut Picture) {
    let (routes, unit) = (&scheme.routes, scheme.unit());
    let nics =
        rows(scheme, routes.iter().flat_map(|way| way.nic.into_iter().chain(way.remote_nic)));
    let devices: BTreeSet<u32> = routes.iter().map(|way| way.gpu).collect();
    let gpus: BTreeMap<u32, u32> = devices.into_iter().zip(0..).collect();
    let crossing = routes.iter().filter(|way| way.crosses_rail()).count();
    let title = format!(
        "routes from a node to another, PXN {}: {crossing} of {} cross rails",
        if scheme.pxn { "on" } else { "off" },
        routes.len()
    );
    picture.text(MARGIN, top, "start", INK, &title);
    let y = |row: u32| top + ROW + row * ROW;
    // GPUs of many stand closer than NICs of few: both fill the same height.
    let nic_y =
        |row: u32| y(0) + row * ROW * (gpus.len() as u32).max(1) / (nics.len() as u32).max(1);
    let columns = [0, 1, 2, 3].map(|column| MARGIN + column * (BOX + GAP + FAN));
    let mut drawn = BTreeSet::new();
    for way in routes {
        let (Some(nic), Some(remote)) = (way.nic, way.remote_nic) else { continue };
        let ends =
            (gpus.get(&way.gpu), nics.get(&nic), nics.get(&remote), gpus.get(&way.remote_gpu));
        let (Some(&gpu), Some(&out), Some(&into), Some(&peer)) = ends else { continue };
        let (from, to) = (colour(Some(way.rail)), colour(Some(way.remote_rail)));
        if drawn.insert((0, way.gpu, nic)) {
            let width = if way.relay.is_some() { "0.7" } else { "1.8" };
            picture.line((columns[0] + BOX, y(gpu)), (columns[1], nic_y(out)), from, width);
        }
        if drawn.insert((1, nic, remote)) {
            let ends = ((columns[1] + BOX, nic_y(out)), (columns[2], nic_y(into)));
            picture.cable(ends.0, ends.1, Some(way.rail), way.crosses_rail());
        }
        if drawn.insert((2, remote, way.remote_gpu)) {
            picture.line((columns[2] + BOX, nic_y(into)), (columns[3], y(peer)), to, "1.8");
        }
    }
    for (&gpu, &row) in &gpus {
        let name = format!("{unit} {gpu}");
        picture.named((columns[0], y(row)), BOX, "#65a30d", &name);
        picture.named((columns[3], y(row)), BOX, "#65a30d", &name);
    }
    for (&nic, &row) in &nics {
        for x in [columns[1], columns[2]] {
            picture.named((x, nic_y(row)), BOX, colour(scheme.rail(0, nic)), &format!("nic {nic}"));
        }
    }
    let legend =
        "thick to a NIC: by itself; thin: by a relay, the GPU of that NIC; red: crosses rails";
    picture.text(MARGIN, y(gpus.len() as u32) + ROW / 2, "start", INK, legend);
}
