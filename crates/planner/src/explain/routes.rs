//! Owns the ways from the ranks of one node to those of another: direct or by a relay, by which NICs, and
//! whether they cross rails.

use alloc::vec::Vec;

use crosstie_ir::{ChannelId, Rank};
use crosstie_topo::{Paths, VertexId};

use crate::search::{CrossingWhy, Node, device};
use crate::{MachinesError, Nodes, Rails, Route, route};

/// All ways are those of the first channel: GPUs with several NICs take them in turn on the others.
const FIRST: ChannelId = ChannelId(0);

/// The way from a rank's GPU to one of another node. Devices have the numbers of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
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
    /// Where it crosses rails in spite of PXN: why.
    pub why: Option<CrossingWhy>,
}

impl Way {
    /// Whether it leaves on another rail than it arrives on.
    pub fn crosses_rail(&self) -> bool {
        self.rail != self.remote_rail
    }
}

/// The ways from each rank of a node to each of another of its kind.
pub fn between_two(node: &Node<'_>, paths: &Paths, pxn: bool) -> Result<Vec<Way>, MachinesError> {
    let each = node.members.len() as u32;
    let all = (0..2 * each).map(|rank| rank / each).collect();
    // Two nodes that have ranks are a world.
    let Ok(nodes) = Nodes::new(all) else { return Ok(Vec::new()) };
    let rails = Rails::of_machines(&nodes, core::slice::from_ref(node), &[0, 0])?;
    let world = World { node, paths, nodes: &nodes, rails: &rails, pxn };
    let pairs = (0..each).flat_map(|from| (each..2 * each).map(move |to| (Rank(from), Rank(to))));
    Ok(pairs.filter_map(|(from, to)| world.way(from, to)).collect())
}

struct World<'a> {
    node: &'a Node<'a>,
    paths: &'a Paths,
    nodes: &'a Nodes,
    rails: &'a Rails,
    pxn: bool,
}

impl World<'_> {
    fn way(&self, from: Rank, to: Rank) -> Option<Way> {
        let route = route(from, to, FIRST, self.nodes, self.pxn.then_some(self.rails))?;
        let relay = match route {
            Route::Relayed(relay) => Some(relay),
            _ => None,
        };
        let own = self.rails.rail_on(from, FIRST)?;
        let remote_rail = self.rails.rail_on(to, FIRST)?;
        let crossing = self.rails.crossing(from, to, FIRST).filter(|_| self.pxn);
        let rail = match self.pxn {
            false => own,
            true => crossing.map_or(remote_rail, |crossing| crossing.from),
        };
        Some(Way {
            gpu: self.device(from)?,
            remote_gpu: self.device(to)?,
            relay: relay.and_then(|relay| self.device(relay)),
            nic: self.nic(relay.unwrap_or(from), rail),
            remote_nic: self.nic(to, remote_rail),
            rail,
            remote_rail,
            why: crossing.map(|crossing| crossing.why),
        })
    }

    fn member(&self, rank: Rank) -> Option<VertexId> {
        let members = &self.node.members;
        members.get(rank.0 as usize % members.len()).copied()
    }

    fn device(&self, rank: Rank) -> Option<u32> {
        device(self.node.topology, self.member(rank)?)
    }

    /// The NIC of a rail that is nearest to a rank.
    fn nic(&self, rank: Rank, rail: u32) -> Option<u32> {
        let ports = self.node.rails.iter().find(|&(number, _)| number == rail)?.1;
        let member = self.member(rank)?;
        let port = match ports.contains(&member) {
            true => Some(member),
            false => self.paths.nearest(member, ports).first().or(ports.first()).copied(),
        };
        device(self.node.topology, port?)
    }
}
