//! Owns the rails of ranks that play devices of described machines: each rank's by the NICs that are its
//! GPU's own, the NICs that no rank's GPU is near, and who carries for whom.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use crosstie_topo::{PathKind, Paths, TooLarge, VertexId};

use super::{Rails, places};
use crate::Nodes;
use crate::search::Node;

/// Why described machines give a world no rails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MachinesError {
    /// A node's kind was not given.
    #[error(
        "the kind of node {node}, counted by first rank, is not among the {kinds} given: give it"
    )]
    NoKind {
        /// The node, in the order of lowest ranks.
        node: u32,
        /// How many kinds were given.
        kinds: u32,
    },
    /// A node has more ranks than its machine has members.
    #[error(
        "node {node}, counted by first rank, has {ranks} ranks, its machine {members} members: give one for each rank"
    )]
    Members {
        /// The node, in the order of lowest ranks.
        node: u32,
        /// Its ranks.
        ranks: usize,
        /// Its machine's members.
        members: usize,
    },
    /// A machine is too large for a table of its paths.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// What a kind of node tells of its first members.
struct Told {
    rails_of: Vec<Vec<u32>>,
    /// By rail: the local rank that owns its NIC.
    owners: Vec<(u32, u32)>,
    /// By rail and local rank: who carries in place of that owner, if anyone does.
    others: Vec<(u32, u32, Option<u32>)>,
}

impl Rails {
    /// The rails of a world whose node i, in the order of lowest ranks, is of kind `kinds[kind_of[i]]`; local
    /// rank l of it plays member l. A GPU is on the rails of its own NICs, as NCCL deals them out, else on
    /// that of the nearest. A NIC that is nobody's own is sent by from the member nearest to it: that keeps
    /// connections to a node with other GPUs on the rails of these.
    ///
    /// # Errors
    /// When a node has no kind, or more ranks than members, or a machine is too large for a table of paths.
    pub fn of_machines(
        nodes: &Nodes,
        kinds: &[Node<'_>],
        kind_of: &[u32],
    ) -> Result<Self, MachinesError> {
        let (places, members) = places(nodes);
        let mut known: BTreeMap<(u32, usize), Told> = BTreeMap::new();
        let mut rails_of = alloc::vec![Vec::new(); places.len()];
        let (mut owners, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (node, here) in (0..).zip(&members) {
            let number = kind_of.get(node as usize).copied();
            let kind = number.and_then(|kind| Some((kind, kinds.get(kind as usize)?)));
            let no_kind = MachinesError::NoKind { node, kinds: kinds.len() as u32 };
            let (number, kind) = kind.ok_or(no_kind)?;
            let (ranks, members) = (here.len(), kind.members.len());
            if ranks > members {
                return Err(MachinesError::Members { node, ranks, members });
            }
            let told = match known.entry((number, ranks)) {
                Entry::Occupied(told) => told.into_mut(),
                Entry::Vacant(free) => free.insert(Told::of(kind, ranks)?),
            };
            for (rank, rails) in here.iter().zip(&told.rails_of) {
                rails_of[rank.0 as usize].clone_from(rails);
            }
            let rank = |local: u32| here[local as usize];
            owners.extend(told.owners.iter().map(|&(rail, local)| ((node, rail), rank(local))));
            let other =
                |&(rail, local, by): &(u32, u32, Option<u32>)| ((rail, rank(local)), by.map(rank));
            others.extend(told.others.iter().map(other));
        }
        let numbers = kinds.iter().flat_map(|kind| kind.rails.iter().map(|(rail, _)| rail + 1));
        let rails = Self::with(numbers.max().unwrap_or(1), places, members, rails_of);
        Ok(Self { owners, others, ..rails })
    }
}

impl Told {
    fn of(node: &Node<'_>, ranks: usize) -> Result<Self, TooLarge> {
        let paths = Paths::of(node.topology)?;
        let machine = Machine { node, paths, members: &node.members[..ranks] };
        let mut told = Self { rails_of: Vec::new(), owners: Vec::new(), others: Vec::new() };
        told.rails_of.extend(machine.members.iter().map(|&member| machine.rails_of(member)));
        let mut rails: Vec<u32> = told.rails_of.iter().flatten().copied().collect();
        rails.extend(node.rails.iter().map(|(rail, _)| rail));
        rails.sort_unstable();
        rails.dedup();
        for rail in rails {
            let senders = machine.senders(rail, &told.rails_of);
            let Some(&owner) = senders.first() else { continue };
            told.owners.push((rail, owner));
            let entries = machine.entries(&senders);
            let others = (0..).zip(entries).filter(|&(_, by)| by != Some(owner));
            told.others.extend(others.map(|(local, by)| (rail, local, by)));
        }
        Ok(told)
    }
}

/// A node, and the members that ranks play.
struct Machine<'a> {
    node: &'a Node<'a>,
    paths: Paths,
    members: &'a [VertexId],
}

impl Machine<'_> {
    /// The local ranks that can send on a rail by a NIC of their own, of these only the nearest to it: a GPU that has
    /// lost its NIC counts its neighbours' as its own. Where there is none, those that are nearest to the rail's NICs.
    fn senders(&self, rail: u32, rails_of: &[Vec<u32>]) -> Vec<u32> {
        let ports = self.node.rails.iter().find(|&(number, _)| number == rail);
        let ports = ports.map_or(&[][..], |(_, ports)| ports);
        let far = |local: u32| {
            let member = self.members[local as usize];
            let paths = ports.iter().filter_map(|&port| self.paths.between(member, port));
            let kind = paths.map(|path| path.kind).min();
            (kind.is_none(), kind)
        };
        let own = (0..).zip(rails_of).filter(|(_, rails)| rails.contains(&rail));
        let own: Vec<(u32, _)> = own.map(|(local, _)| (local, far(local))).collect();
        if let Some(nearest) = own.iter().map(|(_, far)| far).min() {
            return own.iter().filter(|(_, far)| far == nearest).map(|&(local, _)| local).collect();
        }
        let mut adopting = Vec::new();
        for &port in ports {
            let nearest = self.paths.nearest(port, self.members).first().copied();
            let local = self.members.iter().position(|&member| Some(member) == nearest);
            adopting.extend(local.map(|local| local as u32).filter(|it| !adopting.contains(it)));
        }
        adopting
    }

    /// By local rank: which of the senders carries what it sends, those of its own host first.
    fn entries(&self, senders: &[u32]) -> Vec<Option<u32>> {
        let entry = |from: u32| {
            let joined = senders.iter().copied().filter(|&by| self.joins(from, by));
            joined.min_by_key(|&by| self.host(from) != self.host(by))
        };
        let mut entries: Vec<Option<u32>> = (0..self.members.len() as u32).map(entry).collect();
        let carriers: Vec<u32> = entries.iter().flatten().copied().collect();
        for carrier in carriers {
            entries[carrier as usize] = Some(carrier);
        }
        entries
    }

    fn host(&self, local: u32) -> Option<u32> {
        self.node.topology.vertex(self.members[local as usize]).host
    }

    /// Whether one local rank can write into the memory of another as fast as a relay must: over NVLink, or, where
    /// ranks play no GPUs, in the memory of their host.
    fn joins(&self, from: u32, to: u32) -> bool {
        let [a, b] = [from, to].map(|local| self.members[local as usize]);
        if [a, b].iter().any(|&member| self.node.topology.gpu(member).is_none()) {
            return self.host(from) == self.host(to);
        }
        let path = self.paths.between(a, b);
        a == b || path.is_some_and(|path| path.kind <= PathKind::Nvl || path.kind == PathKind::C2c)
    }

    /// The rails that a member takes in turn by channel: never none.
    fn rails_of(&self, member: VertexId) -> Vec<u32> {
        let (node, paths) = (self.node, &self.paths);
        let on_rails: Vec<VertexId> =
            node.rails.iter().flat_map(|(_, ports)| ports.iter().copied()).collect();
        let rail = |port: VertexId| node.rails.rail_of(port);
        if node.topology.gpu(member).is_none() {
            return alloc::vec![rail(member).unwrap_or(0)];
        }
        // A GPU has no more NICs than are nearest to it; dealing them out begins anew after that.
        let near = paths.nearest(member, &on_rails);
        let mut rails: Vec<u32> = Vec::new();
        for channel in 0..near.len() as u32 {
            let own = paths.own_port(node.topology, member, channel).and_then(rail);
            rails.extend(own.filter(|own| !rails.contains(own)));
        }
        if rails.is_empty() {
            rails.push(near.first().copied().and_then(rail).unwrap_or(0));
        }
        rails
    }
}
