//! Owns how people see a fabric: as text, and as a picture of spines, leaves and nodes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::fabric::{By, Fabric, Reach, Uplinks, Way, Wiring};
use crate::lint::counted;
use crate::render::{escape, speed};
use crate::unit::Bandwidth;

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

fn uplink(fabric: &Fabric, wiring: &Wiring, uplinks: &Uplinks) -> String {
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
fn rails(wiring: &Wiring) -> BTreeMap<u32, BTreeSet<u32>> {
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

/// The most boxes of a tier; of more, the first, and the last.
const TIER: usize = 24;
/// More cables than this are drawn thin.
const MANY: usize = 64;
const WIDTH: u32 = 1600;
const MARGIN: u32 = 24;
const BOX: u32 = 24;
const COLOURS: [&str; 8] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7a00", "#6b7280"];

/// The boxes of one tier: where each member stands, as far as it is shown.
struct Tier {
    y: u32,
    step: u32,
    shown: Vec<u32>,
    all: u32,
}

impl Tier {
    fn of(all: usize, y: u32) -> Self {
        let all = all as u32;
        let shown: Vec<u32> = match all as usize > TIER {
            true => (0..TIER as u32 - 2).chain([all - 1]).collect(),
            false => (0..all).collect(),
        };
        let places = (shown.len() + usize::from(all as usize > TIER)).max(1) as u32;
        Self { y, step: (WIDTH - 2 * MARGIN) / places, shown, all }
    }

    fn width(&self) -> u32 {
        self.step.saturating_sub(8).min(160)
    }

    /// The middle of a member's box.
    fn middle(&self, member: u32) -> Option<u32> {
        let place = self.shown.iter().position(|&shown| shown == member)?;
        // The last stands after the sign for those between.
        let gap = usize::from(self.all as usize > TIER && place + 1 == self.shown.len());
        Some(MARGIN + (place + gap) as u32 * self.step + self.step / 2)
    }
}

/// Spines above, leaves in the colour of their rail, nodes below. Of many alike the first and the last are
/// drawn.
pub fn svg(fabric: &Fabric, wiring: &Wiring) -> String {
    let has_spines = !wiring.spines.is_empty();
    let top = 2 * MARGIN + 8;
    let spines = Tier::of(wiring.spines.len(), top);
    let leaves = Tier::of(wiring.leaves.len(), if has_spines { top + 150 } else { top });
    let nodes = Tier::of(wiring.nodes.len(), leaves.y + 190);
    let rail_of: BTreeMap<u32, u32> =
        wiring.cables.iter().filter_map(|cable| Some((cable.leaf, cable.rail?))).collect();
    let colour =
        |leaf: u32| rail_of.get(&leaf).map_or("#64748b", |&rail| COLOURS[rail as usize % 8]);
    // Many lines are thin, or they are a carpet.
    let widest = if wiring.cables.len() + wiring.uplinks.len() > MANY { 10 } else { 60 };
    let mut body = String::new();
    let mut line =
        |from: (u32, u32), to: (u32, u32), colour: &str, bandwidth: Bandwidth| {
            let tenths = (bandwidth.as_bytes_per_s() / 40_000_000).isqrt().clamp(8, widest);
            body.push_str(&format!(
            "<path d=\"M{} {}L{} {}\" stroke=\"{colour}\" stroke-width=\"{}.{}\" fill=\"none\"/>\n",
            from.0, from.1, to.0, to.1, tenths / 10, tenths % 10
        ));
        };
    for uplink in &wiring.uplinks {
        if let (Some(leaf), Some(spine)) = (leaves.middle(uplink.leaf), spines.middle(uplink.spine))
        {
            line((leaf, leaves.y), (spine, spines.y + BOX), "#94a3b8", uplink.bandwidth);
        }
    }
    for cable in &wiring.cables {
        if let (Some(node), Some(leaf)) = (nodes.middle(cable.node), leaves.middle(cable.leaf)) {
            line((node, nodes.y), (leaf, leaves.y + BOX), colour(cable.leaf), cable.bandwidth);
        }
    }
    for (tier, what, names) in [
        (&spines, "spine", &wiring.spines),
        (&leaves, "leaf", &wiring.leaves),
        (&nodes, "node", &wiring.nodes),
    ] {
        boxes(&mut body, tier, what, names, &|member| match what {
            "leaf" => colour(member),
            _ => "#334155",
        });
    }
    let title = escape(&fabric.name.chars().take(120).collect::<String>());
    let height = nodes.y + BOX + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"monospace\" font-size=\"10\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n<text x=\"{MARGIN}\" y=\"{}\" font-weight=\"bold\">{title}</text>\n{body}</svg>\n",
        MARGIN + 4
    )
}

fn boxes<'a>(
    body: &mut String,
    tier: &Tier,
    what: &str,
    names: &[String],
    edge: &dyn Fn(u32) -> &'a str,
) {
    let width = tier.width();
    let text = |middle: u32, text: &str| {
        let y = tier.y + 16;
        format!("<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escape(text))
    };
    for &member in &tier.shown {
        let Some((middle, name)) = tier.middle(member).zip(names.get(member as usize)) else {
            continue;
        };
        let name: String = name.chars().take((width / 6).saturating_sub(1) as usize).collect();
        body.push_str(&format!(
            "<g id=\"{what}{member}\" class=\"{what}\"><rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{BOX}\" rx=\"4\" fill=\"#f8fafc\" stroke=\"{}\" stroke-width=\"2\"/>{}</g>\n",
            middle - width / 2,
            tier.y,
            edge(member),
            text(middle, &name)
        ));
    }
    if tier.all as usize > TIER {
        let middle = MARGIN + (TIER as u32 - 1) * tier.step - tier.step / 2;
        body.push_str(&format!("{}\n", text(middle, &format!("… {}", tier.all - TIER as u32 + 1))));
    }
}
