//! Owns the picture of a fabric: spines above, below them the first group of nodes with its leaves and
//! cables, the other groups folded, and a legend that tells speeds and counts.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::fabric::show::{oversubscription, rails};
use crate::fabric::{Fabric, Uplink, Wiring};
use crate::lint::counted;
use crate::render::{escape, rail_colour, speed};

const WIDTH: u32 = 1280;
const MARGIN: u32 = 24;
/// The column of folded groups.
const FOLDED: u32 = 280;
const BOX: u32 = 26;
/// The most boxes of a tier; of more, the first, and how many others there are.
const TIER: usize = 32;
/// The most folded groups that have a box each.
const GROUPS: usize = 7;
/// More lines than this between leaves and spines are drawn as a bar that joins all with all.
const MESH: usize = 48;
const SPINES: u32 = 64;
const BAR: u32 = SPINES + 70;
const GROUP: u32 = SPINES + 150;
const LEAVES: u32 = GROUP + 40;
const NODES: u32 = LEAVES + 230;
const GREY: &str = "#64748b";
const EDGE: &str = "#334155";
const UPLINK: &str = "#94a3b8";

/// Nodes that hang on the same leaves.
struct Group {
    leaves: Vec<u32>,
    nodes: Vec<u32>,
    cables: usize,
}

fn groups(wiring: &Wiring) -> Vec<Group> {
    let mut of: BTreeMap<Vec<u32>, Group> = BTreeMap::new();
    let mut first = 0;
    for node in 0..wiring.nodes.len() as u32 {
        let cables = wiring.cables[first..].iter().take_while(|cable| cable.node == node).count();
        let own = &wiring.cables[first..first + cables];
        let leaves: BTreeSet<u32> = own.iter().map(|cable| cable.leaf).collect();
        let leaves: Vec<u32> = leaves.into_iter().collect();
        let fresh = || Group { leaves: leaves.clone(), nodes: Vec::new(), cables: 0 };
        let group = of.entry(leaves.clone()).or_insert_with(fresh);
        group.nodes.push(node);
        group.cables += cables;
        first += cables;
    }
    let mut groups: Vec<Group> = of.into_values().collect();
    groups.sort_by_key(|group| group.nodes.first().copied());
    groups
}

/// Members of a tier side by side between two places.
struct Tier {
    left: u32,
    step: u32,
    y: u32,
    shown: Vec<u32>,
    more: usize,
}

impl Tier {
    fn of(all: &[u32], left: u32, right: u32, y: u32) -> Self {
        let shown: Vec<u32> = match all.len() > TIER {
            true => all[..TIER - 1].to_vec(),
            false => all.to_vec(),
        };
        let more = all.len() - shown.len();
        let places = (shown.len() + usize::from(more > 0)).max(1) as u32;
        Self { left, step: (right - left) / places, y, shown, more }
    }

    fn width(&self) -> u32 {
        self.step.saturating_sub(4).clamp(4, 110)
    }

    fn at(&self, place: usize) -> u32 {
        self.left + place as u32 * self.step + self.step / 2
    }

    fn middle(&self, member: u32) -> Option<u32> {
        self.shown.iter().position(|&shown| shown == member).map(|place| self.at(place))
    }
}

/// The fabric as a picture. Each member that is drawn is an element with its own id (`leaf0`).
pub fn svg(fabric: &Fabric, wiring: &Wiring) -> String {
    let groups = groups(wiring);
    let right = if groups.len() > 1 { WIDTH - 2 * MARGIN - FOLDED } else { WIDTH - MARGIN };
    let mut picture = Picture { fabric, wiring, body: String::new() };
    let title: String = fabric.name.chars().take(120).collect();
    picture.text((MARGIN, MARGIN + 8), &title, " font-weight=\"bold\" font-size=\"16\"");
    let spines: Vec<u32> = (0..wiring.spines.len() as u32).collect();
    let spines = Tier::of(&spines, MARGIN, right, SPINES);
    if let Some(first) = groups.first() {
        picture.whole(first, &spines, right);
    }
    picture.folded(groups.get(1..).unwrap_or_default(), right + MARGIN);
    picture.boxes(&spines, "spine", &wiring.spines, &|_| EDGE);
    let height = picture.legend(NODES + BOX + 30 + MARGIN + 12);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"monospace\" font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
        picture.body
    )
}

/// Cables between two boxes, drawn as one.
struct Line {
    from: (u32, u32),
    to: (u32, u32),
    colour: &'static str,
    count: usize,
}

struct Picture<'a> {
    fabric: &'a Fabric,
    wiring: &'a Wiring,
    body: String,
}

impl Picture<'_> {
    fn text(&mut self, (x, y): (u32, u32), text: &str, more: &str) {
        self.body.push_str(&format!("<text x=\"{x}\" y=\"{y}\"{more}>{}</text>\n", escape(text)));
    }

    fn frame(&mut self, (x, y): (u32, u32), width: u32, height: u32) {
        self.body.push_str(&format!(
            "<rect class=\"group\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#f1f5f9\" stroke=\"#94a3b8\"/>\n"
        ));
    }

    /// Lines, each of so many cables; with their numbers where these differ. Where they are alike the legend
    /// tells them.
    fn cables(&mut self, lines: &[Line]) {
        let differ = lines.windows(2).any(|pair| pair[0].count != pair[1].count);
        for Line { from, to, colour, count } in lines {
            let wide = 1 + count.checked_ilog2().unwrap_or(0).min(4);
            self.body.push_str(&format!(
                "<path d=\"M{} {}L{} {}\" stroke=\"{colour}\" stroke-width=\"{wide}\" fill=\"none\"/>\n",
                from.0, from.1, to.0, to.1
            ));
        }
        for Line { from, to, count, .. } in lines.iter().filter(|_| differ) {
            // Nearer to the end, where lines of one begin are apart; legible on a line that crosses.
            let middle = |a: u32, b: u32| (a + 3 * b) / 4;
            let at = (middle(from.0, to.0) + 6, middle(from.1, to.1) + 4);
            let halo = " stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\"";
            self.text(at, &format!("×{count}"), halo);
        }
    }

    fn label(&self, group: &Group) -> [String; 2] {
        let ports = group.cables / group.nodes.len().max(1);
        let name = |names: &[String], ids: &[u32]| {
            let name = |id: &u32| names.get(*id as usize).cloned().unwrap_or_default();
            match ids {
                [] => "none".to_string(),
                [one] => name(one),
                [first, .., last] => format!("{}–{}", name(first), name(last)),
            }
        };
        let nodes = counted(group.nodes.len(), "node");
        let span = name(&self.wiring.nodes, &group.nodes);
        let leaves = name(&self.wiring.leaves, &group.leaves);
        let what = if group.leaves.len() == 1 { "leaf" } else { "leaves" };
        [format!("{nodes} × {}", counted(ports, "NIC")), format!("{span}, {what} {leaves}")]
    }

    fn whole(&mut self, group: &Group, spines: &Tier, right: u32) {
        let wiring = self.wiring;
        self.frame((MARGIN, GROUP), right - MARGIN, NODES + BOX + 30 - GROUP);
        let label = self.label(group).join(": ");
        self.text((MARGIN + 12, NODES + BOX + 20), &label, " font-weight=\"bold\"");
        let (left, end) = (MARGIN + 12, right - 12);
        let leaves = Tier::of(&group.leaves, left, end, LEAVES);
        let nodes = Tier::of(&group.nodes, left, end, NODES);
        let rail_of: BTreeMap<u32, u32> =
            wiring.cables.iter().filter_map(|cable| Some((cable.leaf, cable.rail?))).collect();
        let colour = |leaf: u32| rail_of.get(&leaf).map_or(GREY, |&rail| rail_colour(rail));
        self.uplinks(&leaves, spines);
        let mut pairs: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        for cable in &wiring.cables {
            *pairs.entry((cable.node, cable.leaf)).or_default() += 1;
        }
        let line = |((node, leaf), count)| {
            let (x, up) = (nodes.middle(node)?, leaves.middle(leaf)?);
            Some(Line { from: (up, LEAVES + BOX), to: (x, NODES), colour: colour(leaf), count })
        };
        let lines: Vec<Line> = pairs.into_iter().filter_map(line).collect();
        self.cables(&lines);
        self.boxes(&leaves, "leaf", &wiring.leaves, &colour);
        self.boxes(&nodes, "node", &wiring.nodes, &|_| EDGE);
    }

    /// Each leaf to each spine; of many, by a bar that stands for all of them.
    fn uplinks(&mut self, leaves: &Tier, spines: &Tier) {
        let wiring = self.wiring;
        let shown: Vec<_> = leaves.shown.iter().flat_map(|&leaf| wiring.uplinks_of(leaf)).collect();
        if shown.len() <= MESH && spines.more == 0 {
            let line = |uplink: &Uplink| {
                let (down, up) = (leaves.middle(uplink.leaf)?, spines.middle(uplink.spine)?);
                let (from, to) = ((down, LEAVES), (up, SPINES + BOX));
                Some(Line { from, to, colour: UPLINK, count: uplink.cables as usize })
            };
            let lines: Vec<Line> = shown.into_iter().filter_map(line).collect();
            self.cables(&lines);
            return;
        }
        let (left, right) = (spines.left, spines.left + spines.step * spines.shown.len() as u32);
        self.body.push_str(&format!(
            "<rect x=\"{left}\" y=\"{BAR}\" width=\"{}\" height=\"18\" rx=\"4\" fill=\"#e2e8f0\"/>\n",
            right - left
        ));
        let middle = (left + right) / 2;
        let told = "each leaf to each spine that it has uplinks to";
        self.text((middle, BAR + 13), told, " text-anchor=\"middle\"");
        let line = |x: Option<u32>, y: u32, to: u32, count: usize| {
            let x = x.filter(|_| count > 0)?;
            Some(Line { from: (x, y), to: (x, to), colour: UPLINK, count })
        };
        let of_spine = |&spine: &u32| {
            let ups = wiring.uplinks.iter().filter(|uplink| uplink.spine == spine);
            let count = ups.map(|uplink| uplink.cables as usize).sum();
            line(spines.middle(spine), SPINES + BOX, BAR, count)
        };
        let of_leaf = |&leaf: &u32| {
            let ups = wiring.uplinks_of(leaf).iter();
            let count = ups.map(|uplink| uplink.cables as usize).sum();
            line(leaves.middle(leaf), BAR + 18, LEAVES, count)
        };
        let above: Vec<Line> = spines.shown.iter().filter_map(of_spine).collect();
        let below: Vec<Line> = leaves.shown.iter().filter_map(of_leaf).collect();
        self.cables(&above);
        self.cables(&below);
    }

    /// The groups that are not drawn whole, each with the number of its uplinks.
    fn folded(&mut self, groups: &[Group], x: u32) {
        let own = if groups.len() > GROUPS { GROUPS - 1 } else { groups.len() };
        let (shown, rest) = groups.split_at(own);
        let mut y = GROUP;
        for group in shown {
            let ups = group.leaves.iter().flat_map(|&leaf| self.wiring.uplinks_of(leaf));
            let count: usize = ups.map(|uplink| uplink.cables as usize).sum();
            self.frame((x, y), FOLDED, 44);
            let [what, names] = self.label(group);
            let ups = if count > 0 { format!(", {count} uplinks") } else { String::new() };
            self.text((x + 10, y + 18), &format!("{what}{ups}"), " font-weight=\"bold\"");
            let names: String = names.chars().take(36).collect();
            self.text((x + 10, y + 34), &names, "");
            y += 50;
        }
        if !rest.is_empty() {
            let nodes: usize = rest.iter().map(|group| group.nodes.len()).sum();
            self.frame((x, y), FOLDED, 30);
            let told = format!("… {} more groups, {nodes} nodes", rest.len());
            self.text((x + 10, y + 19), &told, " font-weight=\"bold\"");
        }
    }

    fn boxes(
        &mut self,
        tier: &Tier,
        what: &str,
        names: &[String],
        edge: &dyn Fn(u32) -> &'static str,
    ) {
        let width = tier.width();
        let fits = |name: &str| name.chars().count() as u32 * 7 <= width;
        for &member in &tier.shown {
            let (Some(x), Some(name)) = (tier.middle(member), names.get(member as usize)) else {
                continue;
            };
            let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
            let shown = [name.as_str(), digits].into_iter().find(|name| fits(name)).unwrap_or("");
            self.body.push_str(&format!(
                "<g id=\"{what}{member}\" class=\"{what}\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{BOX}\" rx=\"4\" fill=\"#ffffff\" stroke=\"{}\" stroke-width=\"2\"/>",
                escape(name),
                x - width / 2,
                tier.y,
                edge(member),
            ));
            self.text((x, tier.y + 17), shown, " text-anchor=\"middle\"");
            self.body.push_str("</g>\n");
        }
        if tier.more > 0 {
            let at = (tier.at(tier.shown.len()), tier.y + 17);
            self.text(at, &format!("+{}", tier.more), " text-anchor=\"middle\"");
        }
    }

    /// How many cables join a node of a group with a leaf, where there are several, and always as many.
    fn parallel(&self, group: &str) -> String {
        let mut pairs: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        let first = self.fabric.nodes.iter().take_while(|other| other.name != group);
        let first: u32 = first.map(|other| other.count).sum();
        let own = self.fabric.nodes.iter().find(|other| other.name == group);
        let own = first..first + own.map_or(0, |own| own.count);
        for cable in self.wiring.cables.iter().filter(|cable| own.contains(&cable.node)) {
            *pairs.entry((cable.node, cable.leaf)).or_default() += 1;
        }
        let counts: BTreeSet<usize> = pairs.into_values().collect();
        match counts.first() {
            Some(&count) if counts.len() == 1 && count > 1 => {
                format!(", ×{count} between a node and a leaf")
            }
            _ => String::new(),
        }
    }

    /// What is drawn, in words; says how high the picture is.
    fn legend(&mut self, mut y: u32) -> u32 {
        let (fabric, wiring) = (self.fabric, self.wiring);
        let mut lines = Vec::new();
        for group in &fabric.nodes {
            let (count, ports) = (group.count as usize, group.ports as usize);
            let each =
                group.topology.as_ref().map_or(String::new(), |file| format!(", each {file}"));
            lines.push(format!("{} of {}{each}", counted(count, "node"), counted(ports, "NIC")));
        }
        for cabling in &fabric.cables {
            let nodes = fabric.nodes.iter().find(|group| group.name == cabling.nodes);
            let count = nodes.map_or(0, |group| group.count as usize * group.ports as usize);
            lines.push(format!(
                "{} to {}: {} of {}{}",
                cabling.nodes,
                cabling.leaves,
                counted(count, "cable"),
                speed(Some(cabling.mbit)),
                self.parallel(&cabling.nodes),
            ));
        }
        for uplinks in &fabric.uplinks {
            let told = oversubscription(fabric, wiring, uplinks)
                .map_or(String::new(), |told| format!(", oversubscription {told}"));
            lines.push(format!(
                "{} to {}: ×{} of {} between each two{told}",
                uplinks.leaves,
                uplinks.spines,
                uplinks.cables,
                speed(Some(uplinks.mbit))
            ));
        }
        for line in lines {
            self.text((MARGIN, y), &line, "");
            y += 18;
        }
        let mut x = MARGIN;
        for &rail in rails(wiring).keys().take(TIER) {
            if x + 90 + MARGIN > WIDTH {
                (x, y) = (MARGIN, y + 18);
            }
            let (colour, mark) = (rail_colour(rail), y - 4);
            self.body.push_str(&format!(
                "<path d=\"M{x} {mark}h20\" stroke=\"{colour}\" stroke-width=\"4\"/>\n"
            ));
            self.text((x + 26, y), &format!("rail {rail}"), "");
            x += 90;
        }
        y + MARGIN
    }
}
