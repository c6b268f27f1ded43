//! Owns what is shown of a plan: the search's rings and trees, the routes between two nodes, ideal counts, and
//! the paths that the rings' hops take.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crosstie_ir::InputsFingerprint;
use crosstie_topo::{Path, PathTree, Paths, VertexId};

use crate::search::{Load, Node, Rings, SearchError, device, loads, rings};
use crate::{MachinesError, Nodes, NodesError, inputs_fingerprint};

use super::counts::Counts;
use super::json;
use super::routes::{self, Way};
use super::text::{self, Look};

/// A plan for so many nodes of one kind.
pub struct Scheme<'a> {
    /// Each of them.
    pub node: Node<'a>,
    /// How many there are.
    pub nodes: u32,
    /// Whether data enter the network on their receiver's rail.
    pub pxn: bool,
    /// The search's rings and trees.
    pub rings: Rings,
    /// The links of the first node that rings use, with what they put on them.
    pub loads: Vec<Load>,
    /// The ways from each rank of a node to each of another; none where there is one node.
    pub routes: Vec<Way>,
    /// Wires and messages.
    pub counts: Counts,
    /// Names all that this depends on.
    pub fingerprint: InputsFingerprint,
    /// The best paths between GPUs and NICs.
    pub paths: Paths,
    /// By local rank: the paths from its device over those of other ranks.
    trees: Vec<PathTree>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There are no rings.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// There are no rails.
    #[error(transparent)]
    Machines(#[from] MachinesError),
    /// There are too many ranks.
    #[error(transparent)]
    Nodes(#[from] NodesError),
}

impl<'a> Scheme<'a> {
    /// # Errors
    /// Where there are no rings, or the machine or world is too large.
    pub fn of(node: Node<'a>, nodes: u32, pxn: bool) -> Result<Self, Refused> {
        let rings = rings(core::slice::from_ref(&node), &alloc::vec![0; nodes as usize])?;
        let loads = loads(&node, &rings, 0)?;
        let topology = node.topology;
        let paths = Paths::of(topology).map_err(MachinesError::from)?;
        let each = node.members.len() as u32;
        let world = (0..nodes * each).map(|rank| rank / each).collect();
        let world = Nodes::new(world)?;
        let counts = Counts::of(&node, &world, pxn)?;
        let routes = match nodes {
            1 => Vec::new(),
            _ => routes::between_two(&node, &paths, pxn)?,
        };
        let seats = node.members.iter().map(|&member| seat(&node, member));
        let joins = |gpu| node.members.contains(&gpu);
        let trees = seats.map(|seat| topology.paths_joined_by(seat, joins)).collect();
        let fingerprint = fingerprint(&node, &world, pxn);
        Ok(Self { node, nodes, pxn, rings, loads, routes, counts, fingerprint, paths, trees })
    }

    /// As people read it.
    pub fn text(&self, look: Look) -> String {
        text::text(self, look)
    }

    /// As one object, for scripts: schema 1.
    pub fn json(&self) -> serde_json::Value {
        json::object(self)
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> u32 {
        self.nodes * self.node.members.len() as u32
    }

    /// What ranks play.
    pub fn unit(&self) -> &'static str {
        if self.node.topology.gpus().is_empty() { "NIC" } else { "GPU" }
    }

    /// The path of a ring's hop from one local rank to another.
    pub fn hop(&self, from: u32, to: u32) -> Option<Path> {
        let to = *self.node.members.get(to as usize)?;
        self.trees.get(from as usize)?.to(seat(&self.node, to))
    }

    /// The path between a local rank and a NIC.
    pub fn to_nic(&self, local: u32, nic: u32) -> Option<Path> {
        let member = *self.node.members.get(local as usize)?;
        self.paths.between(seat(&self.node, member), self.port(nic)?)
    }

    /// The path from one rank's device to another's.
    pub fn between(&self, from: u32, to: u32) -> Option<Path> {
        self.hop(self.local_rank(from)?, self.local_rank(to)?)
    }

    /// The rail of a NIC.
    pub fn rail(&self, nic: u32) -> Option<u32> {
        self.node.rails.rail_of(self.port(nic)?)
    }

    /// The local rank that plays a device.
    pub fn local_rank(&self, number: u32) -> Option<u32> {
        let mut members = self.node.members.iter();
        let place = members.position(|&member| device(self.node.topology, member) == Some(number));
        place.map(|place| place as u32)
    }

    fn port(&self, nic: u32) -> Option<VertexId> {
        let topology = self.node.topology;
        topology.ports().iter().copied().find(|&port| device(topology, port) == Some(nic))
    }
}

/// Where a rank's data are: its GPU, or the NUMA node of the NIC that it plays.
fn seat(node: &Node<'_>, member: VertexId) -> VertexId {
    match node.topology.gpu(member) {
        Some(_) => member,
        None => node.topology.cpu_of(member).unwrap_or(member),
    }
}

fn fingerprint(node: &Node<'_>, world: &Nodes, pxn: bool) -> InputsFingerprint {
    let topology = node.topology.fingerprint().to_string();
    let members = node.members.iter().filter_map(|&member| device(node.topology, member));
    let members = members.map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let pxn = if pxn { "on" } else { "off" };
    inputs_fingerprint(world, [("topology", &*topology), ("gpus", &members), ("pxn", pxn)])
}
