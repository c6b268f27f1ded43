//! Owns the rails of ranks that play devices of described machines: each rank's by the NICs that are its
//! GPU's own, and the NICs that no rank's GPU is near.

use alloc::vec::Vec;

use crosstie_topo::{Paths, TooLarge, VertexId};

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

/// What a kind of node tells: by member its rails, and who sends by the NICs of the other rails.
struct Told {
    rails_of: Vec<Vec<u32>>,
    /// Rail, and local rank.
    adopted: Vec<(u32, u32)>,
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
        let told = kinds.iter().map(told).collect::<Result<Vec<Told>, TooLarge>>()?;
        let mut rails_of = alloc::vec![Vec::new(); places.len()];
        let mut adopted = Vec::new();
        for (node, here) in (0..).zip(&members) {
            let kind = kind_of.get(node as usize).and_then(|&kind| told.get(kind as usize));
            let no_kind = MachinesError::NoKind { node, kinds: kinds.len() as u32 };
            let kind = kind.ok_or(no_kind)?;
            let (ranks, members) = (here.len(), kind.rails_of.len());
            if ranks > members {
                return Err(MachinesError::Members { node, ranks, members });
            }
            for (rank, rails) in here.iter().zip(&kind.rails_of) {
                rails_of[rank.0 as usize].clone_from(rails);
            }
            let sends =
                |&(rail, local): &(u32, u32)| Some(((node, rail), *here.get(local as usize)?));
            adopted.extend(kind.adopted.iter().filter_map(sends));
        }
        let mut rails = Self::with(1, places, members, rails_of);
        for (place, rank) in adopted {
            rails.owners.entry(place).or_insert(rank);
        }
        Ok(rails)
    }
}

fn told(node: &Node<'_>) -> Result<Told, TooLarge> {
    let paths = Paths::of(node.topology)?;
    let rails_of: Vec<Vec<u32>> =
        node.members.iter().map(|&member| rails_of(node, &paths, member)).collect();
    let mut adopted = Vec::new();
    let is_own = |rail: u32| rails_of.iter().flatten().any(|&own| own == rail);
    for (rail, ports) in node.rails.iter().filter(|&(rail, _)| !is_own(rail)) {
        let nearest =
            ports.iter().find_map(|&port| paths.nearest(port, &node.members).first().copied());
        let local = nearest.and_then(|gpu| node.members.iter().position(|&member| member == gpu));
        adopted.extend(local.map(|local| (rail, local as u32)));
    }
    Ok(Told { rails_of, adopted })
}

/// The rails that a member takes in turn by channel: never none.
fn rails_of(node: &Node<'_>, paths: &Paths, member: VertexId) -> Vec<u32> {
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
