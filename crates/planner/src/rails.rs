//! Owns the rails of a cluster: which NIC is whose, and from which rank a connection enters the network.
//!
//! Each rank is on one rail: where no topology says which, on that of its place on the node (its *local
//! rank*) modulo the number of rails. A rank with several NICs is on a rail with each, and takes them in turn
//! by channel. The NIC of a rail is owned by the first rank of a node that is on it; where a node is several
//! hosts, by the first of each host. With PXN a connection enters the network on its receiver's rail: its
//! *carrier* is the rank of the sender's node that owns that rail's NIC, so all ranks of a node share one wire
//! to a receiver. A GPU is carried only by one that NVLink joins it to; where that is not the owner, another
//! GPU of that rail may be. A rank that carries for others carries its own.
//!
//! ```text
//!   node 0: GPUs 0, 2 and their NICs      node 1: GPUs 2, 3 and their NICs
//!   r0 ─ rail 0                           r2 ─ rail 2       r0 to r2: by r1, on rail 2
//!   r1 ─ rail 2                           r3 ─ rail 3       r0 to r3: by the rank nearest to NIC 3 of node 0
//!                                                           r3 to r0: likewise, on rail 0
//! ```
//!
//! Nothing depends on the numbers of devices, only on rails: communicators over any GPUs of any nodes have
//! their ways. Where the sender's node has no NIC on the receiver's rail, or nobody there whom NVLink joins to
//! the sender, the connection goes from its sender's own NIC and crosses rails, and [`Rails::crossing`] says why.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::num::NonZero;

use crosstie_ir::{ChannelId, Rank};

use crate::Nodes;
use crate::cost::Sharing;
use crate::search::CrossingWhy;

mod align;
mod exchange;
mod machines;

pub use align::aligned_rails;
pub use machines::MachinesError;

/// A connection that leaves one rail and arrives on another, for which the network needs a spine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RailCrossing {
    /// The sender's rail, by which it enters the network.
    pub from: u32,
    /// The receiver's rail.
    pub to: u32,
    /// Why nobody on the sender's node carries it there.
    pub why: CrossingWhy,
}

/// The rails of a world, and the way over them: a pure function of the nodes and of each rank's rail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rails {
    count: u32,
    /// By rank: the index of its node.
    places: Vec<u32>,
    /// The ranks of each node, in order.
    members: Vec<Vec<Rank>>,
    /// By rank: the rails that it takes in turn by channel, never none.
    rails_of: Vec<Vec<u32>>,
    /// By index of node and rail: the owner of the NIC, where there is one.
    owners: BTreeMap<(u32, u32), Rank>,
    /// By rail and sender: who carries in place of that owner, if anyone does.
    others: BTreeMap<(u32, Rank), Option<Rank>>,
    /// Whether each is known to be a network of its own, with NICs on it; else they only number the ranks of nodes.
    have_nics: bool,
}

impl Rails {
    /// `count` rails, a rank's own by its local rank; by default one for each rank of the largest node.
    pub fn new(nodes: &Nodes, count: Option<NonZero<u32>>) -> Self {
        let (places, members) = places(nodes);
        let largest = members.iter().map(Vec::len).max().unwrap_or(1) as u32;
        let count = count.map_or(largest.max(1), NonZero::get);
        let mut rail_of = alloc::vec![0; places.len()];
        for here in &members {
            for (&Rank(rank), local) in here.iter().zip(0..) {
                rail_of[rank as usize] = local % count;
            }
        }
        let rails_of = rail_of.into_iter().map(|rail| alloc::vec![rail]).collect();
        Self { have_nics: false, ..Self::with(count, places, members, rails_of) }
    }

    /// The same where somebody named a NIC for each: where a node has more of them than ranks, those that nobody is on
    /// are dealt out over its ranks.
    #[must_use]
    pub fn of_named_nics(mut self) -> Self {
        for (here, node) in self.members.iter().zip(0..) {
            for (rail, &rank) in (0..self.count).zip(here.iter().cycle()) {
                self.owners.entry((node, rail)).or_insert(rank);
            }
        }
        Self { have_nics: true, ..self }
    }

    /// The rails of a cluster whose rank r is on rail `rail_of[r]`, of `count`; ranks of a node may share
    /// one, and of some a node may have none. A rank without an entry is on rail 0, and there are as many
    /// rails as some rank is on.
    pub fn told(nodes: &Nodes, count: u32, rail_of: &[u32]) -> Self {
        let (places, members) = places(nodes);
        let rail = |rank: usize| rail_of.get(rank).copied().unwrap_or(0);
        let rails_of = (0..places.len()).map(|rank| alloc::vec![rail(rank)]).collect();
        Self::with(count, places, members, rails_of)
    }

    /// As many rails as `count` and as some rank is on.
    fn with(
        count: u32,
        places: Vec<u32>,
        members: Vec<Vec<Rank>>,
        rails_of: Vec<Vec<u32>>,
    ) -> Self {
        let mut owners = BTreeMap::new();
        for ((&node, rails), rank) in places.iter().zip(&rails_of).zip(0..) {
            for &rail in rails {
                owners.entry((node, rail)).or_insert(Rank(rank));
            }
        }
        let used = rails_of.iter().flatten().map(|rail| rail.saturating_add(1)).max();
        let count = count.max(used.unwrap_or(1));
        let others = BTreeMap::new();
        Self { count, places, members, rails_of, owners, others, have_nics: true }
    }

    /// The same for ranks that take no NICs in turn: each is on its first rail on every channel, and what it owns it
    /// still owns.
    #[must_use]
    pub fn on_first_channel(mut self) -> Self {
        self.rails_of.iter_mut().for_each(|rails| rails.truncate(1));
        self
    }

    /// How many rails there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The rail of `rank`, the first if it has several; `None` when there is no such rank.
    pub fn rail_of(&self, rank: Rank) -> Option<u32> {
        self.rail_on(rank, ChannelId(0))
    }

    /// The rail of `rank` on a channel.
    pub fn rail_on(&self, rank: Rank, channel: ChannelId) -> Option<u32> {
        let rails = self.rails_of.get(rank.0 as usize)?;
        rails.get(usize::from(channel.0).checked_rem(rails.len())?).copied()
    }

    /// After so many channels each rank is on its first rail again.
    pub fn channels(&self) -> u16 {
        let most = self.rails_of.iter().map(Vec::len).max().unwrap_or(1);
        u16::try_from(most).unwrap_or(u16::MAX)
    }

    /// The first rail of `rank`, if it enters the network there itself, and so do those that it carries for.
    pub fn owned_by(&self, rank: Rank) -> Option<u32> {
        let rail = self.rail_of(rank)?;
        (self.entry(rank, rail) == Some(rank)).then_some(rail)
    }

    /// The rails whose NICs are those of `rank`: its first one, and behind it all others that it owns.
    pub fn nics_of(&self, rank: Rank) -> Vec<u32> {
        let Some((&node, first)) = self.places.get(rank.0 as usize).zip(self.rail_of(rank)) else {
            return Vec::new();
        };
        let here = self.owners.range((node, 0)..=(node, u32::MAX));
        let others = here.filter(|&(&(_, rail), &owner)| owner == rank && rail != first);
        [first].into_iter().chain(others.map(|(&(_, rail), _)| rail)).collect()
    }

    /// Who of the node of `src` puts what it sends on a rail.
    fn entry(&self, src: Rank, rail: u32) -> Option<Rank> {
        let &node = self.places.get(src.0 as usize)?;
        let other = self.others.get(&(rail, src));
        other.copied().unwrap_or_else(|| self.owners.get(&(node, rail)).copied())
    }

    /// The ranks of the node of `rank`, in order; none when there is no such rank.
    pub fn node_of(&self, rank: Rank) -> &[Rank] {
        let place = self.places.get(rank.0 as usize);
        place.map_or(&[], |&node| &self.members[node as usize])
    }

    /// The rank from which the connections from `src` to `dst`, a rank of another node, enter the network
    /// with PXN: the owner of the NIC of `dst`'s rail on `src`'s node, and `src` itself where no rank of
    /// that node can carry it there. On the first channel: on all, where ranks have one NIC each.
    pub fn carrier(&self, src: Rank, dst: Rank) -> Option<Rank> {
        self.carrier_on(src, dst, ChannelId(0))
    }

    /// The same on any channel.
    pub fn carrier_on(&self, src: Rank, dst: Rank, channel: ChannelId) -> Option<Rank> {
        let rail = self.rail_on(dst, channel)?;
        self.places.get(src.0 as usize)?;
        Some(self.entry(src, rail).unwrap_or(src))
    }

    /// Where the connection from `src` to `dst` on a channel leaves one rail and arrives on another, with PXN:
    /// only where the node of `src` has no NIC on the rail of `dst`, or nobody who can carry it there. None inside
    /// a node.
    pub fn crossing(&self, src: Rank, dst: Rank, channel: ChannelId) -> Option<RailCrossing> {
        let (from, to) = (self.rail_on(src, channel)?, self.rail_on(dst, channel)?);
        let &node = self.places.get(src.0 as usize)?;
        let why = match self.owners.contains_key(&(node, to)) {
            true => CrossingWhy::NotJoined,
            false => CrossingWhy::NoNic,
        };
        let crosses = self.entry(src, to).is_none() && !self.node_of(src).contains(&dst);
        crosses.then_some(RailCrossing { from, to, why })
    }

    /// By what the two ways of a pair differ on the first channel; `None` where it has no relay.
    pub fn sharing(&self, src: Rank, dst: Rank) -> Option<Sharing> {
        let here = self.node_of(src);
        if here.contains(&dst) {
            return None;
        }
        let place = here.iter().position(|&rank| rank == src)?;
        self.sharings_to(here, self.rail_of(dst)?).get(place).copied().flatten()
    }

    /// The same of each rank of a node, to a rail of others.
    fn sharings_to(&self, here: &[Rank], rail: u32) -> Vec<Option<Sharing>> {
        let entries: Vec<_> = here.iter().map(|&src| self.entry(src, rail)).collect();
        let sharing = |(&src, &entry): (&Rank, &Option<Rank>)| {
            entry.filter(|&relay| relay != src)?;
            let together = entries.iter().filter(|&&other| other == entry).count() as u64;
            let crosses = self.have_nics && self.rail_of(src) != Some(rail);
            Some(Sharing { together, crosses })
        };
        here.iter().zip(&entries).map(sharing).collect()
    }

    /// All that pairs differ by, if there are several nodes.
    pub fn sharings(&self) -> BTreeSet<Sharing> {
        // Each node looks to the rails that others have ranks on.
        let mut first_on: BTreeMap<u32, [Option<u32>; 2]> = BTreeMap::new();
        for (&node, rank) in self.places.iter().zip(0..) {
            let Some(rail) = self.rail_of(Rank(rank)) else { continue };
            let [one, other] = first_on.entry(rail).or_default();
            match *one {
                None => *one = Some(node),
                Some(first) if first != node => *other = Some(node),
                Some(_) => {}
            }
        }
        let mut found = BTreeSet::new();
        for (here, node) in self.members.iter().zip(0..) {
            let others = |on: &[Option<u32>; 2]| on.iter().flatten().any(|&other| other != node);
            for (&rail, _) in first_on.iter().filter(|(_, on)| others(on)) {
                found.extend(self.sharings_to(here, rail).into_iter().flatten());
            }
        }
        found
    }

    /// The ranks whose connections to `dst` enter the network from `carrier`, in order. Empty inside a node.
    pub fn carried(&self, carrier: Rank, dst: Rank) -> Vec<Rank> {
        let here = self.node_of(carrier);
        if here.contains(&dst) {
            return Vec::new();
        }
        let through = |&src: &Rank| self.carrier(src, dst) == Some(carrier);
        here.iter().copied().filter(through).collect()
    }
}

/// By rank the index of its node, and the ranks of each node.
fn places(nodes: &Nodes) -> (Vec<u32>, Vec<Vec<Rank>>) {
    let mut index: BTreeMap<u32, u32> = BTreeMap::new();
    let mut members: Vec<Vec<Rank>> = Vec::new();
    let mut places = Vec::with_capacity(nodes.assignment().len());
    for (&node, rank) in nodes.assignment().iter().zip(0..) {
        let next = members.len() as u32;
        let node = *index.entry(node).or_insert(next);
        if node == next {
            members.push(Vec::new());
        }
        places.push(node);
        members[node as usize].push(Rank(rank));
    }
    (places, members)
}
