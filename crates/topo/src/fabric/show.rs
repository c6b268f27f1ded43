//! Owns how people read a fabric: as a text of a few lines.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::fabric::{By, Fabric, Oversubscription, Reach, Uplinks, Way, Wiring};
use crate::lint::counted;
use crate::render::speed;

/// The fabric in a few lines: nodes, switches, cables, oversubscription, rails, and how ports reach each
/// other.
pub fn text(fabric: &Fabric, wiring: &Wiring) -> String {
    let mut text = format!("{}\n\n", fabric.name);
    let mut line = |name: &str, told: String| text.push_str(&format!("{name:10} {told}\n"));
    for group in &fabric.nodes {
        let each = group.topology.as_ref().map_or(String::new(), |file| format!(", each {file}"));
        line(
            "nodes",
            format!(
                "{}, {} each{each}",
                names(&group.name, group.count),
                counted(group.ports as usize, "port")
            ),
        );
    }
    for (what, groups) in [("leaves", &fabric.leaves), ("spines", &fabric.spines)] {
        for group in groups {
            let ports = group.ports.map_or(String::new(), |ports| format!(" of {ports} ports"));
            line(what, format!("{}{ports}", names(&group.name, group.count)));
        }
    }
    for cabling in &fabric.cables {
        let how = match cabling.by {
            By::Rail => "port p of each node to leaf p",
            By::Node => "all ports of a node to one leaf",
        };
        let sharing = counted(cabling.nodes_per_group as usize, "node");
        line(
            "cables",
            format!(
                "{} to {}, {} each: {how}, {sharing} to a group of leaves",
                cabling.nodes,
                cabling.leaves,
                speed(Some(cabling.mbit))
            ),
        );
    }
    for uplinks in &fabric.uplinks {
        line("uplinks", uplink(fabric, wiring, uplinks));
    }
    if fabric.uplinks.is_empty() {
        line("uplinks", "none: what is on different leaves does not reach each other".into());
    }
    for (rail, leaves) in rails(wiring).into_iter().take(MOST_LINES) {
        let leaves: Vec<&str> = leaves
            .iter()
            .filter_map(|&leaf| wiring.leaves.get(leaf as usize))
            .map(String::as_str)
            .collect();
        line("rail", format!("{rail}: {}", few(&leaves)));
    }
    for (what, told) in reaches(wiring) {
        line("reach", format!("{what}: {told}"));
    }
    text
}

/// The most rails that have a line each.
const MOST_LINES: usize = 64;

fn names(name: &str, count: u32) -> String {
    match count {
        1 => format!("1 ({name}0)"),
        count => format!("{count} ({name}0 … {name}{})", count - 1),
    }
}

fn few(names: &[&str]) -> String {
    match names {
        [first, .., last] if names.len() > 6 => format!("{first} … {last} ({})", names.len()),
        names => names.join(", "),
    }
}

/// That of the fullest leaf.
pub fn oversubscription(
    fabric: &Fabric,
    wiring: &Wiring,
    uplinks: &Uplinks,
) -> Option<Oversubscription> {
    let mut first = 0;
    let mut worst = None;
    for group in &fabric.leaves {
        if group.name == uplinks.leaves {
            let each =
                (first..first + group.count).filter_map(|leaf| wiring.oversubscription(leaf));
            worst = each.max_by_key(|told| told.down);
        }
        first += group.count;
    }
    worst
}

fn uplink(fabric: &Fabric, wiring: &Wiring, uplinks: &Uplinks) -> String {
    let worst = oversubscription(fabric, wiring, uplinks);
    let told = worst.map_or(String::new(), |told| {
        format!("; oversubscription {told} of a full leaf, {} down, {} up", told.down, told.up)
    });
    let cables = counted(uplinks.cables as usize, "cable");
    format!(
        "{} to {}, {cables} of {} between each two{told}",
        uplinks.leaves,
        uplinks.spines,
        speed(Some(uplinks.mbit))
    )
}

/// Each rail with the leaves that it is on.
pub fn rails(wiring: &Wiring) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut rails: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for cable in &wiring.cables {
        if let Some(rail) = cable.rail {
            rails.entry(rail).or_default().insert(cable.leaf);
        }
    }
    rails
}

/// How the first node's ports reach those of others, as they are told apart: on their own rail and on
/// another one, in the same group of leaves and in another.
pub fn ways(wiring: &Wiring) -> Vec<Way> {
    let own = |node| wiring.cable(node, 0).map(|cable| cable.leaf);
    let shares = |&node: &u32| own(node) == own(0);
    let others = 1..wiring.nodes.len() as u32;
    let near = others.clone().find(shares).map(|node| (node, true));
    let far = others.rev().find(|node| !shares(node)).map(|node| (node, false));
    let has_rails = wiring.rail(0, 0).is_some();
    let mut ways = Vec::new();
    for port in 0..if has_rails { 2 } else { 1 } {
        for (node, same_group) in [near, far].into_iter().flatten() {
            if wiring.cable(node, port).is_some() {
                let same_rail = has_rails.then_some(port == 0);
                let reach = wiring.reach((0, 0), (node, port));
                ways.push(Way { from: (0, 0), to: (node, port), same_rail, same_group, reach });
            }
        }
    }
    ways
}

fn reaches(wiring: &Wiring) -> Vec<(&'static str, String)> {
    let tell = |reach: Option<Reach>| match reach {
        None => "not at all, but by another GPU of the node (PXN)".to_string(),
        Some(Reach::Leaf(bandwidth)) => format!("by their leaf, {bandwidth}"),
        Some(Reach::Spine(bandwidth)) => format!("by a spine, {bandwidth} at best"),
    };
    let ways = ways(wiring);
    let told = ways.chunk_by(|a, b| a.same_rail == b.same_rail).map(|alike| {
        let what = match alike[0].same_rail {
            None => "node to node",
            Some(true) => "node to node, one rail",
            Some(false) => "node to node, another rail",
        };
        let told = match alike {
            [near, far] if near.reach != far.reach => {
                format!("in one group {}; else {}", tell(near.reach), tell(far.reach))
            }
            alike => tell(alike[0].reach),
        };
        (what, told)
    });
    told.collect()
}
