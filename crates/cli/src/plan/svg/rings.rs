//! Owns the rings in a picture: a lane for each channel in each node, cables between the NICs of nodes.

use std::collections::{BTreeMap, BTreeSet};

use crosstie_planner::explain::{Scheme, brief, speed};
use crosstie_planner::search::Stretch;

use super::canvas::{At, BOX, Canvas, GPU, INK, LETTER, MARGIN, ROW, colour};
use super::rows;

/// Between a NIC and what is inside its node, and between two nodes.
const FAN: u32 = 40;
const GAP: u32 = 110;
/// Of more nodes the first two and the last three are shown.
const MOST_NODES: u32 = 5;

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

/// Says where they end.
pub fn draw(scheme: &Scheme<'_>, top: u32, canvas: &mut Canvas) -> u32 {
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
        let width = frame.right() - frame.left - BOX;
        canvas.frame((frame.left + BOX / 2, frame.top - ROW), width, (high + 1) * ROW);
        let middle = u32::midpoint(frame.left, frame.right());
        canvas.text((middle, frame.top - ROW - 6), "middle", INK, &format!("node {node}"));
        node_of(scheme, node, &frame, &nics, canvas);
        if scheme.nodes > 1 {
            let next = shown.get(column as usize + 1).copied();
            cables(scheme, node, next, (&frame, &place(column + 1)), &nics, canvas);
        }
    }
    bandwidths(scheme, &place(0), &nics, canvas);
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
    canvas: &mut Canvas,
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
            canvas.line((inner, y), (near, frame.y(at)), colour(scheme.rail(node, nic)), "1.2");
            boxes.insert((x, frame.y(at)), nic);
        }
        canvas.named((left, y), frame.lane, GPU, &lane(way));
    }
    for (at, nic) in boxes {
        canvas.named(at, BOX, colour(scheme.rail(node, nic)), &format!("nic {nic}"));
    }
}

/// What rings carry, at the NIC of the first node by which they leave; on a node alone, beside each.
fn bandwidths(scheme: &Scheme<'_>, frame: &Frame, nics: &BTreeMap<u32, u32>, canvas: &mut Canvas) {
    let mut leaving: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (ring, row) in scheme.rings.rings.iter().zip(0..) {
        let nic = ring.nodes.first().and_then(|way| way.nic_out);
        match nic.and_then(|nic| nics.get(&nic)) {
            Some(&row) => leaving.entry(row).or_default().push(ring.bandwidth_mb_s),
            None => {
                let at = (frame.lanes() + frame.lane + 8, frame.y(row) + 4);
                canvas.note(at, &speed(ring.bandwidth_mb_s));
            }
        }
    }
    for (row, rings) in leaving {
        let each = speed(rings[0]);
        let told = if rings.len() == 1 { each } else { format!("{} × {each}", rings.len()) };
        canvas.note((frame.right() + 6, frame.y(row) - 4), &told);
    }
}

/// From a node to the next one; from the last, towards the first.
fn cables(
    scheme: &Scheme<'_>,
    node: u32,
    next: Option<u32>,
    (here, there): (&Frame, &Frame),
    nics: &BTreeMap<u32, u32>,
    canvas: &mut Canvas,
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
            let rail = scheme.rail(node, out);
            let (from, to) = ((here.right(), here.y(from)), (to_x, here.y(to)));
            canvas.cable(from, to, rail, rail != scheme.rail(follows, into));
        }
    }
    if next != Some(follows) {
        let told = format!("to node {follows}");
        canvas.text((to_x - FAN + 4, here.top - ROW - 6), "start", INK, &told);
    }
}
