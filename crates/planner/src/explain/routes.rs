//! Owns the ways from the ranks of one node to those of another: direct or by a relay, by which NICs, and
//! whether they cross rails.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crosstie_ir::{ChannelId, Rank};
use crosstie_topo::{Paths, VertexId};

use crate::cost::Sharing;
use crate::search::{CrossingWhy, Node, device};
use crate::{Nodes, NodesError, Rails, Route, route};

use super::refused::Refused;

/// All ways are those of the first channel: GPUs with several NICs take them in turn on the others.
const FIRST: ChannelId = ChannelId(0);

/// The way from a rank's GPU to one of another node. Devices have the numbers of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The sender's node.
    pub node: u32,
    /// The receiver's node.
    pub remote_node: u32,
    /// Who sends.
    pub gpu: u32,
    /// Who receives.
    pub remote_gpu: u32,
    /// Who passes it on to the network, on the sender's node.
    pub relay: Option<u32>,
    /// The NIC by which it leaves.
    pub nic: Option<u32>,
    /// The NIC by which it arrives.
    pub remote_nic: Option<u32>,
    /// The rail on which it leaves.
    pub rail: u32,
    /// The rail on which it arrives.
    pub remote_rail: u32,
    /// Where it crosses rails: why.
    pub why: Option<CrossingWhy>,
    /// Where there is a relay for it, with PXN or without: by what the two ways differ.
    pub sharing: Option<Sharing>,
}

impl Way {
    /// Whether it leaves on another rail than it arrives on.
    pub fn crosses_rail(&self) -> bool {
        self.rail != self.remote_rail
    }
}

/// A few of a cluster's nodes that stand for all: the first two of each kind.
pub(super) struct Sample {
    /// Their numbers in the cluster.
    pub nodes: Vec<u32>,
    /// By node of the sample: its kind.
    pub kind_of: Vec<u32>,
    /// Their ranks.
    pub world: Nodes,
}

impl Sample {
    pub fn of(kinds: &[Node<'_>], kind_of: &[u32]) -> Result<Self, NodesError> {
        let mut nodes: Vec<u32> = Vec::new();
        for kind in 0..kinds.len() as u32 {
            let of_kind = (0..).zip(kind_of).filter(|&(_, &other)| other == kind);
            nodes.extend(of_kind.map(|(node, _)| node).take(2));
        }
        nodes.sort_unstable();
        let world = world(kinds, kind_of, nodes.iter().copied())?;
        let kind_of = nodes.iter().map(|&node| kind_of[node as usize]).collect();
        Ok(Self { nodes, kind_of, world })
    }

    /// One pair of nodes of the sample for each pair of kinds.
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        let mut seen = BTreeSet::new();
        let all = 0..self.nodes.len();
        let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        let new = |&(from, to): &(usize, usize)| {
            from != to && seen.insert((self.kind_of[from], self.kind_of[to]))
        };
        pairs.filter(new).collect()
    }

    /// The ranks of a node of the sample.
    pub fn ranks(&self, place: usize) -> impl Iterator<Item = Rank> + '_ {
        let node = self.nodes[place];
        let ranks = (0..).zip(self.world.assignment()).filter(move |&(_, &other)| other == node);
        ranks.map(|(rank, _)| Rank(rank))
    }
}

/// The ways from each rank of a node to each of another, for each pair of kinds of nodes, and after how many channels
/// ways are again those of the first.
pub(super) fn between_kinds(
    kinds: &[Node<'_>],
    kind_of: &[u32],
    paths: &[&Paths],
    pxn: bool,
) -> Result<(Vec<Way>, u16), Refused> {
    let sample = Sample::of(kinds, kind_of)?;
    let rails = Rails::of_machines(&sample.world, kinds, &sample.kind_of)?;
    let world = World { kinds, paths, sample: &sample, rails: &rails, pxn };
    let ways = sample.pairs().into_iter().flat_map(|pair| world.ways(pair, FIRST)).collect();
    Ok((ways, rails.channels()))
}

/// A cluster's sample with what its ways depend on.
pub(super) struct World<'a> {
    pub kinds: &'a [Node<'a>],
    pub paths: &'a [&'a Paths],
    pub sample: &'a Sample,
    pub rails: &'a Rails,
    pub pxn: bool,
}

/// A node's place in the sample, and a rank of it.
pub(super) type On = (usize, Rank);

impl World<'_> {
    /// The ways on a channel from each rank of a node to each of another.
    pub fn ways(&self, (from, to): (usize, usize), channel: ChannelId) -> Vec<Way> {
        let all = self.sample.ranks(from).flat_map(|src| {
            self.sample.ranks(to).filter_map(move |dst| self.way((from, src), (to, dst), channel))
        });
        all.collect()
    }

    /// A rank's device, and its own NIC on a channel.
    pub fn own(&self, on: On, channel: ChannelId) -> Option<(u32, u32)> {
        let nic = self.nic(on, self.rails.rail_on(on.1, channel)?)?;
        Some((self.device(on)?, nic))
    }

    fn way(&self, (here, from): On, (there, to): On, channel: ChannelId) -> Option<Way> {
        let nodes = &self.sample.world;
        let route = route(from, to, channel, nodes, self.pxn.then_some(self.rails))?;
        let relay = match route {
            Route::Relayed(relay) => Some(relay),
            _ => None,
        };
        let own = self.rails.rail_on(from, channel)?;
        let remote_rail = self.rails.rail_on(to, channel)?;
        let crossing = self.rails.crossing(from, to, channel).filter(|_| self.pxn);
        let rail = match self.pxn {
            false => own,
            true => crossing.map_or(remote_rail, |crossing| crossing.from),
        };
        Some(Way {
            node: self.sample.nodes[here],
            remote_node: self.sample.nodes[there],
            gpu: self.device((here, from))?,
            remote_gpu: self.device((there, to))?,
            relay: relay.and_then(|relay| self.device((here, relay))),
            nic: self.nic((here, relay.unwrap_or(from)), rail),
            remote_nic: self.nic((there, to), remote_rail),
            rail,
            remote_rail,
            why: match self.pxn {
                true => crossing.map(|crossing| crossing.why),
                false => (rail != remote_rail).then_some(CrossingWhy::PxnOff),
            },
            sharing: self.rails.sharing(from, to),
        })
    }

    /// The kind of a node of the sample.
    pub fn kind(&self, place: usize) -> usize {
        self.sample.kind_of[place] as usize
    }

    fn member(&self, (place, rank): On) -> Option<VertexId> {
        let first = self.rails.node_of(rank).first()?;
        self.kinds[self.kind(place)].members.get((rank.0 - first.0) as usize).copied()
    }

    fn device(&self, on: On) -> Option<u32> {
        device(self.kinds[self.kind(on.0)].topology, self.member(on)?)
    }

    /// The NIC of a rail that is nearest to a rank.
    fn nic(&self, on: On, rail: u32) -> Option<u32> {
        let kind = self.kind(on.0);
        let (node, paths) = (&self.kinds[kind], self.paths[kind]);
        let ports = node.rails.iter().find(|&(number, _)| number == rail)?.1;
        let member = self.member(on)?;
        let port = match ports.contains(&member) {
            true => Some(member),
            false => paths.nearest(member, ports).first().or(ports.first()).copied(),
        };
        device(node.topology, port?)
    }
}

/// The ranks of these nodes, node by node.
pub(super) fn world(
    kinds: &[Node<'_>],
    kind_of: &[u32],
    nodes: impl IntoIterator<Item = u32>,
) -> Result<Nodes, NodesError> {
    let members = |node: u32| kinds[kind_of[node as usize] as usize].members.len();
    Nodes::new(nodes.into_iter().flat_map(|node| (0..members(node)).map(move |_| node)).collect())
}
