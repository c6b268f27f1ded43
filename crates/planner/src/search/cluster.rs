//! Owns the way from one node's rings to the rings of a cluster: rail by rail, with the swap of pairs on odd
//! nodes, the closing of an odd number of nodes, and nodes that differ.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crosstie_topo::PathKind;

use super::bound::{Scope, bound};
use super::layout::{Layout, Rails, Ways};
use super::model::Model;
use super::node::{Found, MOST_CHANNELS, Want, search, through};
use super::trees::trees;
use super::{Cut, CutLink, Ended, Node, RelayWhy, Ring, Rings, SearchError, Swap};

/// The rings of a cluster whose node number i is of kind `nodes[i]`.
///
/// ```
/// use crosstie_planner::search::{Node, rings};
/// use crosstie_topo::Topology;
///
/// let text = include_str!("../../../../topology/dgx-h100.xml");
/// let machine = Topology::read(text).expect("a topology");
/// let found = rings(&[Node::whole(&machine)], &[0, 0])?;
/// assert_eq!((found.rings.len(), found.total_mb_s()), (8, 384_000));
/// assert!(found.rings.iter().all(|ring| ring.nodes.iter().all(|node| node.relay_out.is_none())));
/// # Ok::<(), crosstie_planner::search::SearchError>(())
/// ```
///
/// # Errors
/// When there are no nodes or ranks, too many devices, or ranks that no link or NIC joins.
pub fn rings(kinds: &[Node<'_>], nodes: &[u32]) -> Result<Rings, SearchError> {
    let mut best = on_all_rails(kinds, nodes)?;
    let numbers: BTreeSet<u32> =
        kinds.iter().flat_map(|kind| kind.rails.iter().map(|(rail, _)| rail)).collect();
    // All rings have one bandwidth, so a rail whose NIC is hard to reach can cost more than it gives.
    if nodes.len() > 1 && best.bound_mb_s.is_some_and(|bound| best.total_mb_s() < bound) {
        for rail in numbers {
            let fewer = kinds.iter().cloned();
            let fewer = fewer.map(|kind| Node { rails: kind.rails.without(rail), ..kind });
            let found = on_all_rails(&fewer.collect::<Vec<_>>(), nodes);
            if let Some(found) = found.ok().filter(|it| it.total_mb_s() > best.total_mb_s()) {
                // The bound that those met is that of the rails that are left.
                let ended =
                    if found.ended == Ended::Bound { Ended::Exhausted } else { found.ended };
                best = Rings { bound_mb_s: best.bound_mb_s, cut: best.cut, ended, ..found }.seen();
            }
        }
    }
    Ok(best)
}

/// Rings that use each rail that there is.
fn on_all_rails(kinds: &[Node<'_>], nodes: &[u32]) -> Result<Rings, SearchError> {
    let models = models(kinds, nodes)?;
    let layout = match nodes {
        [] => return Err(SearchError::NoNodes),
        &[kind] => {
            let found = search(&models[kind as usize], Want::Inside);
            Layout::of_one(found.ok_or(SearchError::Apart { kind })?)
        }
        _ => across(&models, nodes)?,
    };
    let ring = |channel| Ring {
        channel,
        bandwidth_mb_s: layout.speed(),
        nodes: layout.stretches(&models, nodes, channel),
    };
    let rings: Vec<Ring> = (0..layout.channels()).map(ring).collect();
    let scope =
        if nodes.len() > 1 { Scope::Between { reach: PathKind::Sys } } else { Scope::Inside };
    let cuts =
        kinds_of(nodes).into_iter().filter_map(|kind| cut(&models[kind as usize], kind, scope));
    let least = cuts.min_by_key(|&(mb_s, _)| mb_s);
    let crossings = layout.crossings(&models, nodes);
    let trees = trees(&models, nodes, &layout);
    let ended = if layout.gave_up() { Ended::Budget } else { Ended::Exhausted };
    let (bound_mb_s, cut) = least.unzip();
    let found = Rings { rings, trees, bound_mb_s, cut, ended, swap: layout.swap, crossings };
    Ok(found.seen())
}

/// What bounds the rings through nodes of a kind, and by which links.
fn cut(model: &Model, kind: u32, scope: Scope) -> Option<(u64, Cut)> {
    let bound = bound(model, scope)?;
    let link = |&number: &u32| {
        let link = &model.links[number as usize];
        CutLink { from: link.from, to: link.to, capacity_mb_s: link.capacity }
    };
    let links = bound.links.iter().map(link).collect();
    Some((bound.mb_s, Cut { kind, why: bound.why, links }))
}

fn models(kinds: &[Node<'_>], nodes: &[u32]) -> Result<Vec<Model>, SearchError> {
    let count = kinds.len() as u32;
    if let Some((node, &kind)) = nodes.iter().enumerate().find(|&(_, &kind)| kind >= count) {
        return Err(SearchError::NoKind { node: node as u32, kind, kinds: count });
    }
    kinds.iter().zip(0..).map(|(node, kind)| Model::of(node, kind)).collect()
}

/// The kinds that occur, in order.
fn kinds_of(nodes: &[u32]) -> Vec<u32> {
    let mut kinds = nodes.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The rings of several nodes: those of the weakest kind, which the others follow.
fn across(models: &[Model], nodes: &[u32]) -> Result<Layout, SearchError> {
    let mut weakest: Option<(Found, u32)> = None;
    for kind in kinds_of(nodes) {
        let model = &models[kind as usize];
        let found = search(model, Want::Between).ok_or_else(|| lacking(model, kind))?;
        if weakest.as_ref().is_none_or(|(other, _)| found.total() < other.total()) {
            weakest = Some((found, kind));
        }
    }
    let (found, base) = weakest.ok_or(SearchError::NoNodes)?;
    let cluster = Cluster { models, nodes, base };
    // Where kinds differ, thinner rings may share links that thick ones would have to leave to one.
    let mixed = kinds_of(nodes).len() > 1;
    let parts = (1..=if mixed { MOST_PARTS } else { 1 }).filter_map(|parts| found.in_parts(parts));
    let layouts = parts.filter_map(|found| match found.paired && nodes.len() % 2 == 1 {
        true => cluster.odd(&found),
        false => cluster.follow(&found, Tail::None),
    });
    layouts.min_by_key(Layout::rank).ok_or_else(|| lacking(&models[base as usize], base))
}

/// Into how many parts a ring is cut at most to suit nodes of other kinds.
const MOST_PARTS: u32 = 4;

fn lacking(model: &Model, kind: u32) -> SearchError {
    let seats = 0..model.seats.len() as u32;
    let apart = seats.clone().any(|from| seats.clone().any(|to| model.hop(from, to).is_none()));
    if apart { SearchError::Apart { kind } } else { SearchError::NoNic { kind } }
}

/// What the last of an odd number of nodes do for paired rings, which would end on each other's rails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing: the number is even, or the rings are closed.
    None,
    /// The last node closes every ring: it leaves by the NIC that it came in by.
    Closing,
    /// Of the last three nodes two pass every channel on to the rail of the next, and the last moves it two
    /// back: with three rails or more no ring leaves by the NIC that it came in by.
    Turning,
}

impl Tail {
    fn swap(self, paired: bool, nodes: u32) -> Swap {
        match self {
            Self::None if paired => Swap::Pairs,
            Self::None => Swap::None,
            Self::Closing => Swap::Closing { at: nodes.saturating_sub(1) },
            Self::Turning => Swap::Turning { from: nodes.saturating_sub(3) },
        }
    }

    /// The rails of the last nodes, given those by which channels come in at nodes of even place.
    fn rails(self, ins: &[Option<u32>]) -> Vec<Vec<Rails>> {
        let count = ins.len();
        let moved = |by: usize, channel: usize| ins[(channel + by) % count];
        let pass = |from: usize, to: usize| -> Vec<Rails> {
            (0..count).map(|channel| (moved(from, channel), moved(to, channel))).collect()
        };
        match self {
            Self::None => Vec::new(),
            Self::Closing => alloc::vec![pass(0, 0)],
            Self::Turning => alloc::vec![pass(0, 1), pass(1, 2), pass(2, 0)],
        }
    }
}

/// Nodes whose rails those of kind `base` determine.
struct Cluster<'a> {
    models: &'a [Model],
    nodes: &'a [u32],
    base: u32,
}

impl Cluster<'_> {
    /// Paired rings of an odd number of nodes, or closed ones: the fastest, of these those with fewest relays.
    fn odd(&self, found: &Found) -> Option<Layout> {
        let turning = self.follow(found, Tail::Turning);
        if turning
            .as_ref()
            .is_some_and(|layout| layout.total() == found.total() && layout.relays() == 0)
        {
            return turning;
        }
        let closed = search(&self.models[self.base as usize], Want::Closed);
        let closed = closed.and_then(|found| self.follow(&found, Tail::None));
        // Where they are equal, the simplest: that of two rails turns into closing.
        let layouts = [closed, self.follow(found, Tail::Closing), turning, self.staggered(found)];
        layouts
            .into_iter()
            .flatten()
            .min_by_key(|layout| (Reverse(layout.total()), layout.relays()))
    }

    /// Paired rings of which each pair closes on another node, so that no node bears it for all: parts of the rings that
    /// were found, as many as lose the least that way.
    fn staggered(&self, found: &Found) -> Option<Layout> {
        let nodes = self.nodes.len() as u64;
        let pairs = |found: &Found| found.ways.len() as u64 / 2;
        // What a node bears of `all` pairs that pass it, of which some close there and so count twice.
        let lost = |all: u64| (all.div_ceil(nodes) * 1000).div_ceil(all + all.div_ceil(nodes));
        let parts = (1..=MOST_CHANNELS).map_while(|parts| found.in_parts(parts));
        let found = parts.min_by_key(|found| (lost(pairs(found)), pairs(found)))?;
        let mut layout = self.follow(&found, Tail::None)?;
        layout.swap = Swap::Staggered { nodes: pairs(&found).min(nodes) as u32 };
        for place in 0..self.nodes.len() {
            // Pair p closes at node p, counted around: before it swaps at odd nodes, behind it at even ones.
            let closes = |channel: usize| channel / 2 % self.nodes.len() == place;
            let behind = |channel: usize| place > channel / 2 % self.nodes.len();
            let count = found.ways.len();
            let swapped = |channel: usize| (place % 2 == 1) != behind(channel);
            let bits = (0..count).filter(|&channel| swapped(channel)).map(|channel| 1 << channel);
            layout.nodes[place].1 = bits.sum();
            if !(0..count).any(closes) {
                continue;
            }
            let rails: Vec<Rails> = (0..count)
                .map(|channel| {
                    let (_, (from, to), _) = layout.way(place as u32, channel as u32);
                    (from, if closes(channel) { from } else { to })
                })
                .collect();
            let model = &self.models[self.nodes[place] as usize];
            let found = by_rails(model, &rails, found.speed)?;
            layout.nodes[place] = (layout.ways.len(), 0);
            layout.ways.push(Ways { found, rails, why: RelayWhy::OddNodes });
        }
        Some(layout)
    }

    /// Lets all nodes follow the rails that were found for one kind; `None` where one of them cannot.
    fn follow(&self, found: &Found, tail: Tail) -> Option<Layout> {
        let own = &self.models[self.base as usize];
        let rail = |port: u32| own.ports[port as usize].rail;
        let rails = found.ways.iter().map(|way| way.nics);
        let rails: Vec<Rails> = rails
            .map(|nics| nics.map_or((None, None), |(from, to, _)| (rail(from), rail(to))))
            .collect();
        let swap = tail.swap(found.paired, self.nodes.len() as u32);
        let mut layout = Layout { ways: Vec::new(), nodes: Vec::new(), trees: Vec::new(), swap };
        let mut of_kind: BTreeMap<u32, usize> = BTreeMap::new();
        for kind in kinds_of(self.nodes) {
            let (found, why) = match kind == self.base {
                true => (found.clone(), RelayWhy::OwnNic),
                false => {
                    let found = by_rails(&self.models[kind as usize], &rails, found.speed)?;
                    (found, RelayWhy::OthersRails)
                }
            };
            of_kind.insert(kind, layout.ways.len());
            layout.ways.push(Ways { found, rails: rails.clone(), why });
        }
        for (place, kind) in self.nodes.iter().enumerate() {
            let swapped = if found.paired && place % 2 == 1 { u32::MAX } else { 0 };
            layout.nodes.push((of_kind[kind], swapped));
            layout.trees.push(of_kind[kind]);
        }
        let ins: Vec<Option<u32>> = rails.iter().map(|rails| rails.0).collect();
        let last = tail.rails(&ins);
        let first = self.nodes.len().checked_sub(last.len())?;
        for (place, rails) in (first..).zip(last) {
            let found = by_rails(&self.models[self.nodes[place] as usize], &rails, found.speed)?;
            layout.nodes[place] = (layout.ways.len(), 0);
            layout.ways.push(Ways { found, rails, why: RelayWhy::OddNodes });
        }
        Some(layout)
    }
}

/// Ways by NICs of given rails: any of the node's, where it has none on a rail.
fn by_rails(model: &Model, rails: &[Rails], speed: u64) -> Option<Found> {
    let ports = |rail: Option<u32>| -> Vec<u32> {
        let numbered = || model.ports.iter().zip(0..);
        let on = numbered().filter(|(port, _)| port.rail == rail);
        let on: Vec<u32> = on.map(|(_, number)| number).collect();
        if on.is_empty() { numbered().map(|(_, number)| number).collect() } else { on }
    };
    let rings: Vec<_> = rails.iter().map(|&(from, to)| [ports(from), ports(to)]).collect();
    through(model, &rings, speed)
}
