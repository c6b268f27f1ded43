//! Owns which device of which machine each rank plays, and what the planner makes of that: rails, rings, and the
//! explained plan. All of it follows from what all ranks were told, so it is the same on all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crosstie_ir::Rank;
use crosstie_planner::explain::{Refused, Scheme};
use crosstie_planner::search::{self, Node, Rings, SearchError};
use crosstie_planner::{MachinesError, Nodes, Selection, aligned_rails};
use crosstie_topo::{Topology, VertexId};

/// The devices that the ranks of a world play.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    /// The kinds of machines.
    machines: Arc<[Topology]>,
    /// By kind of machine: its rails, numbered as one.
    rails: Vec<crosstie_topo::Rails>,
    /// By rank: the kind of its machine, and the device.
    of_rank: Vec<(u32, VertexId)>,
}

/// Why a communicator knows no plan of its rings and routes: it goes by the order of ranks alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPlan {
    /// Nothing tells which devices ranks play.
    #[error(
        "which device each rank plays is not known: name a file of the machine (CROSSTIE_TOPO_FILE), which ranks then play, or start each node on a machine of its own with two NICs or more"
    )]
    NoDevices,
    /// Rails were told, which overrules the machines.
    #[error(
        "rails were told, which overrules the machines: leave CROSSTIE_RAILS out, and name a file of the machine (CROSSTIE_TOPO_FILE) beside CROSSTIE_NICS"
    )]
    RailsTold,
    /// More ranks than devices.
    #[error(
        "node {node}, counted by lowest ranks, has {ranks} ranks on {devices} devices: start one rank for each device"
    )]
    Shared {
        /// The node.
        node: u32,
        /// Its ranks.
        ranks: usize,
        /// The devices that they play.
        devices: usize,
    },
    /// The search finds no rings on these machines.
    #[error("no rings: {0}")]
    Search(#[from] SearchError),
    /// The planner finds no rails.
    #[error("no rails: {0}")]
    Machines(#[from] MachinesError),
    /// The world is too large for one table.
    #[error("there are too many ranks to tell all of them in one plan")]
    TooLarge,
}

impl From<Refused> for NoPlan {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Search(error) => Self::Search(error),
            Refused::Machines(error) => Self::Machines(error),
            Refused::Nodes(_) => Self::TooLarge,
        }
    }
}

/// The nodes of a world as the planner knows them.
struct Kinds<'a> {
    kinds: Vec<Node<'a>>,
    /// By node, in the order of lowest ranks: its kind, and its ranks in order.
    nodes: Vec<(u32, Vec<Rank>)>,
}

impl Kinds<'_> {
    fn kind_of(&self) -> Vec<u32> {
        self.nodes.iter().map(|&(kind, _)| kind).collect()
    }

    fn check(&self) -> Result<(), NoPlan> {
        for ((kind, ranks), node) in self.nodes.iter().zip(0..) {
            let mut devices = self.kinds[*kind as usize].members.clone();
            devices.sort_unstable();
            devices.dedup();
            let (ranks, devices) = (ranks.len(), devices.len());
            if devices < ranks {
                return Err(NoPlan::Shared { node, ranks, devices });
            }
        }
        Ok(())
    }

    /// By channel, the ranks in the order of its ring.
    fn orders(&self, rings: &Rings) -> Vec<Vec<Rank>> {
        let order = |ring: &search::Ring| {
            let stretches = ring.nodes.iter().zip(&self.nodes);
            let ranks = stretches.flat_map(|(way, (_, ranks))| {
                way.local_ranks.iter().filter_map(|&local| ranks.get(local as usize).copied())
            });
            ranks.collect()
        };
        rings.rings.iter().map(order).collect()
    }
}

impl Seats {
    /// The seats of a world whose rank r plays a device of a machine of kind `of_rank[r].0`.
    pub fn new(machines: Arc<[Topology]>, of_rank: Vec<(u32, VertexId)>) -> Self {
        let rails = aligned_rails(machines.iter());
        Self { machines, rails, of_rank }
    }

    /// Those of these ranks, in this order.
    pub fn of(&self, ranks: &[u32]) -> Self {
        let of_rank = ranks.iter().filter_map(|&rank| self.of_rank.get(rank as usize).copied());
        Self { of_rank: of_rank.collect(), ..self.clone() }
    }

    /// The port that a rank sends from on a rail, by its name and its number on the card: its device, if that is on the
    /// rail or none is known, else a port of its host that is. `None` where the description does not say.
    pub fn port_of(&self, rank: Rank, rail: Option<u32>) -> Option<(&str, u32)> {
        let &(machine, device) = self.of_rank.get(rank.0 as usize)?;
        let topology = self.machines.get(machine as usize)?;
        let rails = self.rails.get(machine as usize)?;
        let on_rail = rails.iter().find(|(number, _)| Some(*number) == rail);
        let ports = on_rail.map_or(&[][..], |(_, ports)| ports);
        let host = topology.vertex(device).host;
        let here = || ports.iter().copied().find(|&port| topology.vertex(port).host == host);
        let own = topology.port(device).filter(|_| ports.is_empty() || ports.contains(&device));
        let port = own.or_else(|| topology.port(here()?))?;
        Some((port.name.as_deref()?, port.port.unwrap_or(1)))
    }

    fn kinds(&self, nodes: &Nodes) -> Kinds<'_> {
        let mut all: BTreeMap<u32, usize> = BTreeMap::new();
        let mut members: Vec<(u32, Vec<VertexId>, Vec<Rank>)> = Vec::new();
        let seats = self.of_rank.iter().zip(nodes.assignment()).zip(0..);
        for ((&(machine, device), &node), rank) in seats {
            let next = members.len();
            let place = *all.entry(node).or_insert(next);
            if place == next {
                members.push((machine, Vec::new(), Vec::new()));
            }
            members[place].1.push(device);
            members[place].2.push(Rank(rank));
        }
        let mut known: BTreeMap<(u32, Vec<VertexId>), u32> = BTreeMap::new();
        let mut kinds = Kinds { kinds: Vec::new(), nodes: Vec::new() };
        for (machine, members, ranks) in members {
            let next = kinds.kinds.len() as u32;
            let kind = *known.entry((machine, members.clone())).or_insert(next);
            if kind == next {
                let topology = &self.machines[machine as usize];
                let rails = self.rails[machine as usize].clone();
                kinds.kinds.push(Node { topology, members, rails });
            }
            kinds.nodes.push((kind, ranks));
        }
        kinds
    }

    /// The rails that these devices' NICs are on; a rank sends on all channels alike, whatever NICs it has. `None` where there are none.
    pub fn rails(&self, nodes: &Nodes) -> Option<crosstie_planner::Rails> {
        if self.rails.iter().all(crosstie_topo::Rails::is_empty) {
            return None;
        }
        let kinds = self.kinds(nodes);
        let rails = crosstie_planner::Rails::of_machines(nodes, &kinds.kinds, &kinds.kind_of());
        let rails = rails.inspect_err(|error| tracing::warn!("no rails: {error}")).ok()?;
        Some(rails.on_first_channel())
    }

    /// By channel, the ranks in the order of the ring that the search finds.
    pub fn rings(&self, nodes: &Nodes) -> Result<Vec<Vec<Rank>>, NoPlan> {
        let kinds = self.kinds(nodes);
        kinds.check()?;
        let rings = search::rings(&kinds.kinds, &kinds.kind_of())?;
        Ok(kinds.orders(&rings))
    }

    /// All that is to be told of the plan, with what decides choices, and the file of the table that was told.
    pub fn scheme(
        &self,
        nodes: &Nodes,
        pxn: bool,
        chosen: (Selection, Option<String>),
    ) -> Result<Scheme<'_>, NoPlan> {
        let kinds = self.kinds(nodes);
        kinds.check()?;
        Ok(Scheme::chosen_by(&kinds.kinds, &kinds.kind_of(), pxn, Some(chosen))?)
    }
}
