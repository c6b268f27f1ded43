//! Owns what is shown of a plan: the search's rings and trees, the routes between two nodes, ideal counts, and
//! the paths that the rings' hops take.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crosstie_ir::InputsFingerprint;
use crosstie_topo::{Path, PathTree, Paths, VertexId};

use crate::cost::{HopClass, Tune};
use crate::graph::TreesTold;
use crate::search::{Load, Node, Rings, SearchError, device, loads, rings};
use crate::{MachinesError, Nodes, Selection, inputs_fingerprint};

use super::counts::{Counts, selection};
use super::network::carried;
use super::refused::{Refused, Untuned};
use super::routes::{self, Way, world};

/// A plan for a cluster's nodes. Ranks are numbered node by node, and on each node in the order of its members.
pub struct Scheme<'a> {
    /// The kind of the first node.
    pub node: Node<'a>,
    /// The kinds of nodes that there are, in the order of their first nodes.
    pub kinds: Vec<Node<'a>>,
    /// By node: its kind.
    pub kind_of: Vec<u32>,
    /// How many there are.
    pub nodes: u32,
    /// Whether data enter the network on their receiver's rail.
    pub pxn: bool,
    /// The search's rings and trees.
    pub rings: Rings,
    /// Of rings that a graph file gives: what it says, and what the search finds.
    pub told: Option<Told>,
    /// The links of the first node that rings use, with what they put on them.
    pub loads: Vec<Load>,
    /// The ways from each rank of a node to each of another, of one pair of nodes for each pair of kinds; none where
    /// there is one node.
    pub routes: Vec<Way>,
    /// NICs that a GPU takes in turn by channel, at most: routes are those of the first.
    pub in_turn: u16,
    /// Wires and messages.
    pub counts: Counts,
    /// Names all that this depends on: each node's machine, which of its devices ranks play and in what order, the
    /// number and order of nodes, PXN, and the planner's version. The numbers of ranks are not in it, so a world whose
    /// ranks are dealt out over nodes otherwise has the same.
    pub fingerprint: InputsFingerprint,
    /// By kind: its paths.
    shapes: Vec<Shape>,
}

/// What a graph file says, and what the search finds in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What the file says that each ring carries, MB/s.
    pub ring_mb_s: u64,
    /// What it says of its trees, where it has some.
    pub trees: Option<TreesTold>,
    /// The search's rings.
    pub found_rings: usize,
    /// What those carry together, MB/s.
    pub found_mb_s: u64,
}

/// The paths of one kind of node.
struct Shape {
    /// The best between GPUs and NICs.
    paths: Paths,
    /// By local rank: those from its device over those of other ranks.
    trees: Vec<PathTree>,
}

impl Shape {
    fn of(node: &Node<'_>) -> Result<Self, MachinesError> {
        let paths = Paths::of(node.topology)?;
        let seats = node.members.iter().map(|&member| seat(node, member));
        let joins = |gpu| node.members.contains(&gpu);
        let trees = seats.map(|seat| node.topology.paths_joined_by(seat, joins)).collect();
        Ok(Self { paths, trees })
    }
}

impl<'a> Scheme<'a> {
    /// The plan of nodes of which number i is of kind `kinds[kind_of[i]]`.
    ///
    /// # Errors
    /// Where there are no rings, or the machine or world is too large.
    pub fn of(kinds: &[Node<'a>], kind_of: &[u32], pxn: bool) -> Result<Self, Refused> {
        Self::chosen_by(kinds, kind_of, pxn, None)
    }

    /// The same where a running world's own choices are told, by the transports that its ranks have, and the file whose
    /// table decides them, if one was told.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn chosen_by(
        kinds: &[Node<'a>],
        kind_of: &[u32],
        pxn: bool,
        chosen: Option<(Selection, Option<String>)>,
    ) -> Result<Self, Refused> {
        let rings = rings(kinds, kind_of)?;
        // The search refuses no nodes, and nodes of no kind.
        let node = kind_of.first().and_then(|&kind| kinds.get(kind as usize));
        let node = node.ok_or(SearchError::NoNodes)?.clone();
        let loads = loads(&node, &rings, 0)?;
        let shapes = kinds.iter().map(Shape::of).collect::<Result<Vec<_>, _>>()?;
        let world = world(kinds, kind_of, 0..kind_of.len() as u32)?;
        let paths: Vec<&Paths> = shapes.iter().map(|shape| &shape.paths).collect();
        let carried = carried(kinds, kind_of, &paths, pxn)?;
        // Of nodes that differ the first speaks for the kind of links inside.
        let by_machine = || (selection((&node, &rings, carried), &world, pxn, None), None);
        let counts = Counts::of(kinds, kind_of, &world, pxn, chosen.unwrap_or_else(by_machine))?;
        let (routes, in_turn) = routes::between_kinds(kinds, kind_of, &paths, pxn)?;
        let fingerprint = fingerprint(kinds, kind_of, &world, pxn);
        let nodes = kind_of.len() as u32;
        let (kinds, kind_of) = (kinds.to_vec(), kind_of.to_vec());
        Ok(Self {
            node,
            kinds,
            kind_of,
            nodes,
            pxn,
            rings,
            told: None,
            loads,
            routes,
            in_turn,
            counts,
            fingerprint,
            shapes,
        })
    }

    /// The same where `table`, of the file of that name, decides which algorithms are taken.
    ///
    /// # Errors
    /// As [`Self::of`], and where messages go over links that no table is measured over.
    pub fn tuned(self, file: &str, table: &Tune) -> Result<Self, Untuned> {
        if !self.counts.are_measured() {
            let measured = table.hops().into_iter().map(HopClass::name).collect();
            return Err(Untuned::OtherLinks { measured, here: self.counts.over() });
        }
        let world = world(&self.kinds, &self.kind_of, 0..self.nodes).map_err(Refused::from)?;
        let selection =
            selection((&self.node, &self.rings, (None, None)), &world, self.pxn, Some(table));
        let chosen = (selection, Some(file.to_string()));
        let counts = Counts::of(&self.kinds, &self.kind_of, &world, self.pxn, chosen);
        Ok(Self { counts: counts?, ..self })
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> u32 {
        let each = self.kind_of.iter().map(|&kind| self.kinds[kind as usize].members.len());
        each.sum::<usize>() as u32
    }

    /// What ranks play.
    pub fn unit(&self) -> &'static str {
        let is_gpu = |&member: &VertexId| self.node.topology.gpu(member).is_some();
        if self.node.members.iter().any(is_gpu) { "GPU" } else { "NIC" }
    }

    /// What a vertex of a kind of node is called.
    pub(super) fn label(&self, kind: u32, vertex: VertexId) -> Option<String> {
        let kind = self.kinds.get(kind as usize)?;
        Some(kind.topology.label(vertex).to_string())
    }

    /// The kind of a node.
    pub fn kind(&self, node: u32) -> Option<&Node<'a>> {
        self.kinds.get(*self.kind_of.get(node as usize)? as usize)
    }

    fn shape(&self, node: u32) -> Option<&Shape> {
        self.shapes.get(*self.kind_of.get(node as usize)? as usize)
    }

    /// The path of a ring's hop on a node from one local rank to another.
    pub fn hop(&self, node: u32, from: u32, to: u32) -> Option<Path> {
        let kind = self.kind(node)?;
        let to = *kind.members.get(to as usize)?;
        self.shape(node)?.trees.get(from as usize)?.to(seat(kind, to))
    }

    /// The path on a node between a local rank and a NIC.
    pub fn to_nic(&self, node: u32, local: u32, nic: u32) -> Option<Path> {
        let kind = self.kind(node)?;
        let member = *kind.members.get(local as usize)?;
        self.shape(node)?.paths.between(seat(kind, member), port(kind, nic)?)
    }

    /// The path on a node from one rank's device to another's.
    pub fn between(&self, node: u32, from: u32, to: u32) -> Option<Path> {
        self.hop(node, self.local_rank(node, from)?, self.local_rank(node, to)?)
    }

    /// The rail of a node's NIC.
    pub fn rail(&self, node: u32, nic: u32) -> Option<u32> {
        let kind = self.kind(node)?;
        kind.rails.rail_of(port(kind, nic)?)
    }

    /// The local rank of a node that plays a device.
    pub fn local_rank(&self, node: u32, number: u32) -> Option<u32> {
        let kind = self.kind(node)?;
        let plays = |&member: &VertexId| device(kind.topology, member) == Some(number);
        kind.members.iter().position(plays).map(|place| place as u32)
    }
}

fn port(node: &Node<'_>, nic: u32) -> Option<VertexId> {
    let topology = node.topology;
    topology.ports().iter().copied().find(|&port| device(topology, port) == Some(nic))
}

/// Where a rank's data are: its GPU, or the NUMA node of the NIC that it plays.
fn seat(node: &Node<'_>, member: VertexId) -> VertexId {
    match node.topology.gpu(member) {
        Some(_) => member,
        None => node.topology.cpu_of(member).unwrap_or(member),
    }
}

fn fingerprint(kinds: &[Node<'_>], kind_of: &[u32], world: &Nodes, pxn: bool) -> InputsFingerprint {
    let by_kind =
        |of: &dyn Fn(&Node<'_>) -> String| kinds.iter().map(of).collect::<Vec<String>>().join("; ");
    let numbers = |numbers: &mut dyn Iterator<Item = Option<u32>>| {
        let numbers = numbers.map(|number| number.map_or(String::new(), |it| it.to_string()));
        numbers.collect::<Vec<_>>().join(",")
    };
    let topologies = by_kind(&|kind| kind.topology.fingerprint().to_string());
    let members = by_kind(&|kind| {
        numbers(&mut kind.members.iter().map(|&member| device(kind.topology, member)))
    });
    let pxn = if pxn { "on" } else { "off" };
    let mut told = alloc::vec![("topology", &*topologies), ("gpus", &members), ("pxn", pxn)];
    // Of one kind all this follows from the number of nodes and the description.
    let kinds_of_nodes = numbers(&mut kind_of.iter().map(|&kind| Some(kind)));
    let rails = by_kind(&|kind| {
        numbers(&mut kind.topology.ports().iter().map(|&port| kind.rails.rail_of(port)))
    });
    if kinds.len() > 1 {
        told.extend([("kinds", &*kinds_of_nodes), ("rails", &rails)]);
    }
    inputs_fingerprint(world, told)
}
