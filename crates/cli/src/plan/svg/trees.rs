//! Owns the trees in a picture: both halves of a channel over nodes, and the chain of each channel in a node.

use std::collections::BTreeMap;

use crosstie_planner::explain::{Scheme, brief};
use crosstie_planner::search::{Stretch, Tree};

use super::canvas::{BOX, Canvas, GPU, INK, LETTER, MARGIN, ROW, colour};

/// Between two nodes of one tree side by side, and between two levels.
const BESIDE: u32 = 12;
const LEVEL: u32 = 44;
/// Between the two halves.
const APART: u32 = 60;
/// Levels that are drawn: 16 nodes.
const LEVELS: u32 = 5;
/// Chains in a column.
const CHAINS: usize = 8;

/// Says where they end.
pub fn draw(scheme: &Scheme<'_>, top: u32, canvas: &mut Canvas) -> u32 {
    let trees = &scheme.rings.trees;
    let first = trees.first().map_or(0, |tree| tree.channel);
    let mut left = MARGIN;
    let mut bottom = top;
    for tree in trees.iter().filter(|tree| tree.channel == first) {
        canvas.text((left, top), "start", INK, &format!("half {}", tree.half));
        let (right, end) = tree_of(tree, (left, top + 26), canvas);
        left = right + APART;
        bottom = bottom.max(end);
    }
    let told = "in each node a chain from the NIC on, here node 0's";
    canvas.text((MARGIN, bottom + 20), "start", INK, told);
    chains(scheme, bottom + 44, canvas)
}

/// Where a node stands: its place from left to right, and its level.
type Places = BTreeMap<u32, (u32, u32)>;

/// In the order that keeps children on both sides of their parent.
fn lay(tree: &Tree, node: u32, level: u32, places: &mut Places) {
    let Some(branch) = tree.nodes.get(node as usize).filter(|_| level < LEVELS) else { return };
    let half = branch.children.len() / 2;
    branch.children[..half].iter().for_each(|&child| lay(tree, child, level + 1, places));
    places.insert(node, (places.len() as u32, level));
    branch.children[half..].iter().for_each(|&child| lay(tree, child, level + 1, places));
}

/// Says how far it reaches.
fn tree_of(tree: &Tree, (left, top): (u32, u32), canvas: &mut Canvas) -> (u32, u32) {
    let mut places = Places::new();
    let root = tree.nodes.iter().find(|branch| branch.parent.is_none());
    if let Some(root) = root {
        lay(tree, root.node, 0, &mut places);
    }
    let at = |&(place, level): &(u32, u32)| (left + place * (BOX + BESIDE), top + level * LEVEL);
    let middle = |place: &(u32, u32)| {
        let (x, y) = at(place);
        (x + BOX / 2, y)
    };
    let (mut right, mut bottom) = (left, top);
    for (&node, place) in &places {
        let children = &tree.nodes[node as usize].children;
        for child in children.iter().filter_map(|child| places.get(child)) {
            canvas.line(middle(place), middle(child), INK, "1.5");
        }
        let hidden = children.iter().filter(|child| !places.contains_key(child)).count();
        if hidden > 0 {
            let (x, y) = middle(place);
            canvas.text((x, y + ROW), "middle", INK, "…");
            bottom = bottom.max(y + ROW);
        }
        let (x, y) = at(place);
        (right, bottom) = (right.max(x + BOX), bottom.max(y + ROW / 2));
    }
    for (&node, place) in &places {
        canvas.named(at(place), BOX, INK, &format!("node {node}"));
    }
    (right, bottom)
}

/// The chain of each channel on the first node. Says where they end.
fn chains(scheme: &Scheme<'_>, top: u32, canvas: &mut Canvas) -> u32 {
    let halves = scheme.rings.trees.iter().filter(|tree| tree.half == 0);
    let chains: Vec<_> = halves
        .filter_map(|tree| {
            let branch = tree.nodes.first()?;
            let way = Stretch {
                node: branch.node,
                gpus: branch.gpus.clone(),
                local_ranks: Vec::new(),
                nic_in: None,
                nic_out: None,
                relay_in: None,
                relay_out: None,
                relay_why: None,
            };
            Some((branch.nic, brief(&way)))
        })
        .collect();
    let wide = chains.iter().map(|(_, chain)| chain.chars().count() as u32).max().unwrap_or(0);
    let wide = wide * LETTER + 12;
    for (place, (nic, chain)) in chains.iter().enumerate() {
        let (column, row) = ((place / CHAINS) as u32, (place % CHAINS) as u32);
        let x = MARGIN + column * (BOX + 20 + wide + 30);
        let y = top + row * ROW;
        let edge = colour(nic.and_then(|nic| scheme.rail(0, nic)));
        canvas.line((x + BOX, y), (x + BOX + 20, y), edge, "2.5");
        let name = nic.map_or("no nic".to_owned(), |nic| format!("nic {nic}"));
        canvas.named((x, y), BOX, edge, &name);
        canvas.named((x + BOX + 20, y), wide, GPU, chain);
    }
    top + chains.len().min(CHAINS).saturating_sub(1) as u32 * ROW + ROW / 2
}
