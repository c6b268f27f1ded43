//! Owns the trees of a cluster: two binary trees over nodes for each channel, and a chain in each node.
//!
//! ```text
//!            node 0                     half 0 of 4 nodes; in half 1 the nodes that are leaves here are
//!              │                        inner ones, so that a NIC carries for both halves together four
//!            node 2                     streams each way: two children and a parent in one, a parent in
//!            ╱    ╲                     the other
//!        node 1  node 3                 in each node: nic ═ g0 ─ g1 ─ … (the ring's order)
//! ```
//!
//! The shape is that of the tree algorithms (`algo/tree.rs`), over nodes in place of ranks: both halves have their
//! root on node 0, which has one child in each, so on two nodes they are alike. NCCL gives the second another root,
//! by mirroring or moving on all nodes; the busiest NIC carries as many streams there, for data go up and come down.
//!
//! A channel's trees use the NIC by which its ring comes in at nodes of even place: the same rail on all nodes, so
//! trees never swap. A tree's bandwidth is what its links bear when it reduces upwards and broadcasts downwards at once.

use alloc::vec::Vec;

use super::layout::Layout;
use super::model::Model;
use super::{Branch, Tree};
use crate::algo::tree::{TREES, place};

/// The trees of all channels.
pub(super) fn trees(models: &[Model], nodes: &[u32], layout: &Layout) -> Vec<Tree> {
    let count = nodes.len() as u32;
    let mut trees = Vec::new();
    for channel in 0..layout.channels() {
        for half in 0..TREES {
            let branch = |node| branch(models, nodes, layout, (channel, half), node);
            let nodes = (0..count).map(branch).collect();
            trees.push(Tree { channel, half, bandwidth_mb_s: 0, nodes });
        }
    }
    let loads = (0..count).filter_map(|node| fastest(models, nodes, layout, &trees, node));
    let speed = loads.min().unwrap_or_else(|| layout.speed());
    trees.iter_mut().for_each(|tree| tree.bandwidth_mb_s = speed);
    trees
}

fn branch(
    models: &[Model],
    nodes: &[u32],
    layout: &Layout,
    (channel, half): (u32, u32),
    node: u32,
) -> Branch {
    let kind = nodes[node as usize];
    let model = &models[kind as usize];
    let way = layout.tree_way(node, channel);
    let local_ranks = way.seats.clone();
    // One node has no tree but its chain.
    let place = (nodes.len() > 1).then(|| place(half, node, nodes.len() as u32));
    let (parent, children) =
        place.map_or((None, Vec::new()), |place| (place.parent, place.children));
    Branch {
        node,
        parent,
        children,
        gpus: local_ranks.iter().map(|&seat| model.seats[seat as usize].device).collect(),
        local_ranks,
        nic: way.nics.map(|(port, _, _)| model.ports[port as usize].device),
    }
}

/// What each tree can carry at most through one node, MB/s; `None` where it loads no link.
fn fastest(
    models: &[Model],
    nodes: &[u32],
    layout: &Layout,
    trees: &[Tree],
    node: u32,
) -> Option<u64> {
    let kind = nodes[node as usize];
    let model = &models[kind as usize];
    let mut uses = alloc::vec![0u64; model.links.len()];
    let mut load = |links: Option<&[u32]>, times: u64| {
        links.unwrap_or_default().iter().for_each(|&link| uses[link as usize] += times);
    };
    for tree in trees {
        let branch = &tree.nodes[node as usize];
        for pair in branch.local_ranks.windows(2) {
            load(model.hop(pair[0], pair[1]).map(|leg| &leg.links[..]), 1);
            load(model.hop(pair[1], pair[0]).map(|leg| &leg.links[..]), 1);
        }
        let streams = u64::from(branch.parent.is_some()) + branch.children.len() as u64;
        let port = layout.tree_way(node, tree.channel).nics.map(|(port, _, _)| port);
        if let (Some(port), Some(&first)) = (port, branch.local_ranks.first()) {
            load(model.enter(port, first).map(|leg| &leg.links[..]), streams);
            load(model.leave(first, port).map(|leg| &leg.links[..]), streams);
        }
    }
    let loaded = model.links.iter().zip(uses).filter(|&(_, uses)| uses > 0);
    loaded.map(|(link, uses)| link.capacity / uses).min()
}
