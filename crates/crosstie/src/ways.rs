//! Owns what is said of the ways between ranks: over which rails they lead, and who relays for whom.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crosstie_ir::Rank;
use crosstie_planner::Rails;

use crate::Pxn;

/// Where the ranks of a world stand in its network.
#[derive(Debug)]
pub(crate) struct Ways {
    rank: u32,
    rails: Rails,
    /// Whether there are several nodes, so that rails mean anything.
    has_network: bool,
    pxn: Pxn,
}

impl Ways {
    /// As `rank` sees them; with relays unless `pxn` says off.
    pub fn new(rank: u32, rails: Rails, nodes: usize, pxn: Pxn) -> Self {
        Self { rank, rails, has_network: nodes > 1, pxn }
    }

    /// The rank that sees them so.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// The rail that `rank` relays to, for the others of its node.
    pub fn relay_rail(&self, rank: u32) -> Option<u32> {
        let relays = self.has_network && self.pxn != Pxn::Off;
        let others = self.rails.node_of(Rank(rank)).len() > 1;
        self.rails.owned_by(Rank(rank)).filter(|_| relays && others)
    }

    /// ` (rail 1)` or ` (relay of rail 1)`; nothing where there are no rails.
    fn rail(&self, rank: u32) -> String {
        let relays = if self.relay_rail(rank).is_some() { "relay of " } else { "" };
        let rail = self.rails.rail_of(Rank(rank)).filter(|_| self.has_network);
        rail.map_or_else(String::new, |rail| format!(" ({relays}rail {rail})"))
    }

    /// By whom what this rank sends to `peer` goes, if by another: a clause of a sentence about it.
    pub fn relay_to(&self, peer: u32) -> Option<String> {
        let relayed = self.has_network && self.pxn != Pxn::Off;
        let Rank(relay) = self.rails.carrier(Rank(self.rank), Rank(peer)).filter(|_| relayed)?;
        let rail = self.relay_rail(relay).filter(|_| relay != self.rank)?;
        Some(format!("what goes there goes by way of rank {relay}, the relay of rail {rail}"))
    }

    /// The way from this rank, at `from` where that is known, to `peer`.
    pub fn between(&self, from: Option<SocketAddr>, peer: u32, to: &[SocketAddr]) -> String {
        let mut text = format!("rank {}", self.rank);
        if let Some(from) = from {
            let _ = write!(text, " at {}", from.ip().to_canonical());
        }
        let _ = write!(text, "{} to rank {peer}", self.rail(self.rank));
        let at: Vec<String> = to.iter().map(|to| to.ip().to_canonical().to_string()).collect();
        if !at.is_empty() {
            let _ = write!(text, " at {}", at.join(", "));
        }
        text + &self.rail(peer)
    }

    /// What to do about a peer that no way leads to, where another way may.
    pub fn detour(&self, peer: u32) -> Option<&'static str> {
        let rail = |rank| self.rails.rail_of(Rank(rank));
        let crosses = self.has_network && rail(self.rank) != rail(peer);
        (crosses && self.pxn != Pxn::On).then_some(
            "the two are on different rails, between which this network may have no way: with --pxn on \
             (CROSSTIE_PXN=on) messages go by way of the rank whose NIC is on the receiver's rail",
        )
    }
}

#[cfg(test)]
mod tests {
    use crosstie_planner::Nodes;

    use super::*;

    fn ways(pxn: Pxn) -> Ways {
        let nodes = Nodes::new(vec![0, 0, 1, 1]).unwrap();
        Ways::new(0, Rails::new(&nodes, None), nodes.count() as usize, pxn)
    }

    #[test]
    fn a_way_is_told_with_its_rails_and_its_relay() {
        let (on, off) = (ways(Pxn::On), ways(Pxn::Off));
        assert_eq!((on.relay_rail(3), off.relay_rail(3)), (Some(1), None));
        let by = "what goes there goes by way of rank 1, the relay of rail 1";
        assert_eq!(
            (on.relay_to(3).as_deref(), on.relay_to(2), off.relay_to(3)),
            (Some(by), None, None)
        );
        let [from, to]: [SocketAddr; 2] = ["10.0.0.1:1", "10.1.0.2:2"].map(|a| a.parse().unwrap());
        let told = off.between(Some(from), 3, &[to]);
        assert_eq!(told, "rank 0 at 10.0.0.1 (rail 0) to rank 3 at 10.1.0.2 (rail 1)");
    }

    #[test]
    fn relays_are_suggested_where_a_way_crosses_rails_and_they_are_not_used() {
        assert!(ways(Pxn::Off).detour(3).is_some_and(|text| text.contains("CROSSTIE_PXN=on")));
        assert!(ways(Pxn::Auto).detour(3).is_some());
        assert!(ways(Pxn::Off).detour(2).is_none() && ways(Pxn::On).detour(3).is_none());
    }
}
