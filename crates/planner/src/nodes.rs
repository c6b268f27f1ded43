//! Owns the assignment of ranks to nodes, and the ring order that follows from it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crosstie_ir::{ChannelId, Rank};

/// Which node each rank is on: any assignment, unequal and interleaved ones too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    node_of: Vec<u32>,
    count: u32,
    per_node: Option<u32>,
    ring: Vec<Rank>,
    position: Vec<u32>,
    /// By channel: the same nodes in the order of that channel's ring; none where all have the one above.
    rings: Vec<Self>,
}

/// Why an assignment of ranks to nodes cannot be planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodesError {
    /// There are no ranks.
    #[error("a world needs at least one rank")]
    NoRanks,
    /// There are more ranks than a plan can name.
    #[error("{ranks} ranks; at most {} can be planned for", Nodes::MAX_RANKS)]
    TooManyRanks {
        /// Ranks given.
        ranks: usize,
    },
    /// The order of a ring is none.
    #[error("ring {number} does not pass each rank once")]
    Order {
        /// The ring's number among those given.
        number: u32,
    },
}

impl Nodes {
    /// The most ranks a world may have.
    pub const MAX_RANKS: usize = crosstie_ir::MAX_RANKS as usize;

    /// The assignment that puts rank r on node `node_of[r]`. Node numbers are names: any will do.
    ///
    /// # Errors
    /// When there is no rank, or more than [`Nodes::MAX_RANKS`].
    pub fn new(node_of: Vec<u32>) -> Result<Self, NodesError> {
        let ranks = node_of.len();
        if ranks == 0 {
            return Err(NodesError::NoRanks);
        }
        if ranks > Self::MAX_RANKS {
            return Err(NodesError::TooManyRanks { ranks });
        }
        let (ring, count) = ring_order(&node_of);
        let mut position = alloc::vec![0; ranks];
        for (&Rank(rank), at) in ring.iter().zip(0..) {
            position[rank as usize] = at;
        }
        let per_node = equal_size(&node_of);
        Ok(Self { node_of, count, per_node, ring, position, rings: Vec::new() })
    }

    /// The same with an order of its own for the ring of each channel, as a [search](crate::search) found them:
    /// channel c takes the first but c of them, and begins anew after the last.
    ///
    /// # Errors
    /// When an order does not name each rank once.
    pub fn with_rings(mut self, orders: &[Vec<Rank>]) -> Result<Self, NodesError> {
        let mut rings = Vec::new();
        for (ring, number) in orders.iter().zip(0..) {
            let mut position = alloc::vec![None; self.node_of.len()];
            for (&Rank(rank), at) in ring.iter().zip(0..) {
                match position.get_mut(rank as usize) {
                    Some(free @ None) => *free = Some(at),
                    _ => return Err(NodesError::Order { number }),
                }
            }
            let position: Option<Vec<u32>> = position.into_iter().collect();
            let position = position.ok_or(NodesError::Order { number })?;
            let ring = ring.clone();
            let node_of = self.node_of.clone();
            rings.push(Self { node_of, ring, position, rings: Vec::new(), ..self });
        }
        self.rings = rings;
        Ok(self)
    }

    /// The order of each channel's ring, where they have orders of their own.
    pub fn rings(&self) -> impl ExactSizeIterator<Item = &[Rank]> {
        self.rings.iter().map(Self::ring)
    }

    /// The nodes in the order of a channel's ring.
    pub(crate) fn on_channel(&self, channel: ChannelId) -> &Self {
        let number = usize::from(channel.0).checked_rem(self.rings.len());
        number.map_or(self, |number| &self.rings[number])
    }

    /// Ranks in the world.
    pub fn ranks(&self) -> u32 {
        self.node_of.len() as u32
    }

    /// Nodes that have a rank.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Ranks of each node, where that is the same for all.
    pub fn per_node(&self) -> Option<u32> {
        self.per_node
    }

    /// The node number given for `rank`; `None` when there is no such rank.
    pub fn node_of(&self, rank: Rank) -> Option<u32> {
        self.node_of.get(rank.0 as usize).copied()
    }

    /// The node number of each rank, as given.
    pub fn assignment(&self) -> &[u32] {
        &self.node_of
    }

    /// All ranks, node by node: closed to a ring, it crosses between nodes once per node, which is
    /// the least possible.
    pub fn ring(&self) -> &[Rank] {
        &self.ring
    }

    /// The place of `rank` in [`Nodes::ring`]; `None` when there is no such rank.
    pub fn ring_position(&self, rank: Rank) -> Option<u32> {
        self.position.get(rank.0 as usize).copied()
    }

    /// The rank `steps` places after place `position` of the ring, which closes on itself.
    pub(crate) fn ring_at(&self, position: u32, steps: u32) -> Rank {
        self.ring[(position as usize + steps as usize) % self.ring.len()]
    }
}

/// Ranks of each node, where that is the same for all.
fn equal_size(node_of: &[u32]) -> Option<u32> {
    let mut sizes: BTreeMap<u32, u32> = BTreeMap::new();
    for &node in node_of {
        *sizes.entry(node).or_default() += 1;
    }
    let mut sizes = sizes.into_values();
    let first = sizes.next()?;
    sizes.all(|size| size == first).then_some(first)
}

/// Ranks node by node, nodes in the order of their lowest rank; and how many nodes there are.
fn ring_order(node_of: &[u32]) -> (Vec<Rank>, u32) {
    let mut lowest: BTreeMap<u32, u32> = BTreeMap::new();
    for (&node, rank) in node_of.iter().zip(0..) {
        lowest.entry(node).or_insert(rank);
    }
    let mut ring: Vec<Rank> = (0..node_of.len() as u32).map(Rank).collect();
    ring.sort_by_key(|&Rank(rank)| (lowest[&node_of[rank as usize]], rank));
    (ring, lowest.len() as u32)
}
