//! Owns a plan as a picture: rings from node to node, trees over nodes, routes from GPU to GPU. Each NIC has the
//! colour of its rail and, in rings and routes, a row of its own, so that what crosses rails is aslant, dashed
//! and red.

mod canvas;
mod rings;
mod routes;
mod trees;

use std::collections::{BTreeMap, BTreeSet};

use crosstie_planner::explain::{Scheme, speed};
use crosstie_topo::render::headline;

use canvas::{BAD, BOX, Canvas, GOOD, INK, MARGIN, ROW, colour};

/// The picture.
pub fn svg(scheme: &Scheme<'_>) -> String {
    let mut canvas = Canvas::default();
    let s = if scheme.nodes == 1 { "" } else { "s" };
    let title = match scheme.kinds.len() {
        1 => format!("{} node{s}, each {}", scheme.nodes, headline(scheme.node.topology)),
        kinds => {
            let first = headline(scheme.node.topology);
            format!("{} nodes of {kinds} kinds, the first {first}", scheme.nodes)
        }
    };
    canvas.head(24, &title);
    let (crossed, colour) = crossings(scheme);
    canvas.text((MARGIN, 46), "start", colour, &crossed);
    let mut below = section(&mut canvas, 82, &rings_title(scheme));
    below = rings::draw(scheme, below, &mut canvas);
    if let Some(tree) = scheme.rings.trees.first().filter(|_| scheme.nodes > 1) {
        let count = scheme.rings.trees.len();
        let title = format!("Trees: {count} of {}, two a channel", speed(tree.bandwidth_mb_s));
        below = section(&mut canvas, below + 40, &title);
        below = trees::draw(scheme, below, &mut canvas);
    }
    if !scheme.routes.is_empty() {
        let pxn = if scheme.pxn { "on" } else { "off" };
        let title = format!("Routes from a node to another, PXN {pxn}");
        below = section(&mut canvas, below + 40, &title);
        below = routes::draw(scheme, below, &mut canvas);
    }
    legend(scheme, below + 44, &mut canvas);
    canvas.finish()
}

/// A heading; says where what it is about begins.
fn section(canvas: &mut Canvas, y: u32, title: &str) -> u32 {
    canvas.head(y, title);
    y + 30
}

fn rings_title(scheme: &Scheme<'_>) -> String {
    let (found, total) = (&scheme.rings, scheme.rings.total_mb_s());
    let each = found.rings.first().map_or(0, |ring| ring.bandwidth_mb_s);
    let bound = match found.bound_mb_s {
        Some(_) if found.reach_bound() => ", the bound: no rings are better".to_owned(),
        Some(bound) => format!(", of at most {}", speed(bound)),
        None => String::new(),
    };
    let count = found.rings.len();
    format!("Rings: {count} of {}, together {}{bound}", speed(each), speed(total))
}

fn is_crossed(scheme: &Scheme<'_>) -> bool {
    let routes = scheme.routes.iter().any(|way| way.crosses_rail());
    routes || !scheme.rings.crossings.is_empty()
}

/// How much crosses rails, with its colour.
fn crossings(scheme: &Scheme<'_>) -> (String, &'static str) {
    let routes = scheme.routes.iter().filter(|way| way.crosses_rail()).count();
    let rings = scheme.rings.crossings.len();
    match (scheme.nodes, rings) {
        (1, _) => ("one node: nothing crosses rails".to_owned(), INK),
        _ if !is_crossed(scheme) => ("rails are crossed nowhere".to_owned(), GOOD),
        _ => {
            let all = scheme.routes.len();
            let rings = match rings {
                0 => "by no ring".to_owned(),
                _ => format!("{rings} times by rings"),
            };
            (format!("rails are crossed by {routes} of {all} routes, {rings}"), BAD)
        }
    }
}

/// The rail of a NIC on the first node that has it.
fn rail(scheme: &Scheme<'_>, nic: u32) -> Option<u32> {
    (0..scheme.nodes).find_map(|node| scheme.rail(node, nic))
}

/// NICs in the order of their rails, each with its row.
fn rows(scheme: &Scheme<'_>, nics: impl Iterator<Item = u32>) -> BTreeMap<u32, u32> {
    let all: BTreeSet<(Option<u32>, u32)> = nics.map(|nic| (rail(scheme, nic), nic)).collect();
    all.into_iter().zip(0..).map(|((_, nic), row)| (nic, row)).collect()
}

/// The rails of NICs that rings or routes take.
fn drawn_rails(scheme: &Scheme<'_>) -> BTreeSet<u32> {
    let rings = scheme.rings.rings.iter().flat_map(|ring| &ring.nodes);
    let of_rings = rings.flat_map(|stretch| [stretch.nic_in, stretch.nic_out]).flatten();
    let of_routes = scheme.routes.iter().flat_map(|way| [way.rail, way.remote_rail]);
    of_rings.filter_map(|nic| rail(scheme, nic)).chain(of_routes).collect()
}

/// What boxes, lines and colours mean.
fn legend(scheme: &Scheme<'_>, top: u32, canvas: &mut Canvas) {
    let mut lines = vec![(
        "2.5",
        INK,
        false,
        "a cable, in the colour of its rail, with the bandwidth of its rings",
    )];
    if !scheme.routes.is_empty() {
        lines.push(("2", INK, false, "a GPU and its own NIC"));
    }
    if scheme.routes.iter().any(|way| way.relay.is_some()) {
        lines.push(("0.7", INK, false, "to a relay, the GPU that owns that NIC (PXN)"));
    }
    if is_crossed(scheme) {
        lines.push(("1.5", BAD, true, "crosses rails: a switch above them has to pass it on"));
    }
    if scheme.nodes < 2 {
        lines.clear();
    }
    let mut y = top;
    canvas.text(
        (MARGIN, y + 4),
        "start",
        INK,
        "numbers in a box: GPUs in the order of one channel's ring, or of its trees' chain",
    );
    y += 18;
    for (width, colour, dashed, words) in lines {
        let ends = ((MARGIN, y), (MARGIN + 30, y));
        match dashed {
            true => canvas.dashes(ends.0, ends.1),
            false => canvas.line(ends.0, ends.1, colour, width),
        }
        canvas.text((MARGIN + 40, y + 4), "start", INK, words);
        y += 18;
    }
    let mut x = MARGIN;
    for rail in drawn_rails(scheme) {
        if x > 10 * (BOX + 40) {
            (x, y) = (MARGIN, y + ROW);
        }
        canvas.line((x, y), (x + 20, y), colour(Some(rail)), "4");
        canvas.text((x + 26, y + 4), "start", INK, &format!("rail {rail}"));
        x += BOX + 40;
    }
}
