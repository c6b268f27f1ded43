//! Owns what an exchange of each rank with each of other nodes puts on the NICs and relays of a world.

use alloc::collections::BTreeMap;

use crosstie_ir::Rank;

use super::Rails;
use crate::cost::Exchange;

/// What one node sends and receives, in chunks, and by how many wires.
#[derive(Default)]
struct Load {
    /// By rail: what its NIC sends.
    sent: BTreeMap<u32, u64>,
    /// By rank: its wires.
    wires: BTreeMap<Rank, u64>,
    /// By rank: what it hands to relays, and what it is handed.
    handed: BTreeMap<Rank, [u64; 2]>,
    together: u64,
}

impl Rails {
    /// An exchange of the ranks of several nodes, by relays or each from its own NIC, whose NICs carry so many MB/s each;
    /// `None` where there is but one node. Of nodes that differ the busiest decides.
    pub fn exchange(&self, relays: bool, nic_mb_s: u64) -> Option<Exchange> {
        let mut on_rail: BTreeMap<u32, u64> = BTreeMap::new();
        for rank in 0..self.places.len() as u32 {
            *on_rail.entry(self.rail_of(Rank(rank))?).or_default() += 1;
        }
        let several = self.members.len() > 1;
        let mut busiest: Option<Exchange> = None;
        for here in self.members.iter().filter(|_| several) {
            let load = self.load(here, &on_rail, relays);
            let others = self.places.len() as u64 - here.len() as u64;
            let sent = load.sent.values();
            let (all, most) = (sent.clone().sum::<u64>(), sent.max().copied().unwrap_or(1));
            // What a rank receives comes by as many wires as others send to it on.
            let heard = if relays { self.members.len() as u64 - 1 } else { others };
            let one = Exchange {
                mb_s: nic_mb_s.saturating_mul(all) / most.max(1),
                wires: load.wires.values().max().copied().unwrap_or(0) + heard,
                together: load.together.max(1),
                relayed: load.handed.values().flatten().max().copied().unwrap_or(0),
            };
            busiest = Some(busiest.map_or(one, |other| Exchange {
                mb_s: other.mb_s.min(one.mb_s),
                wires: other.wires.max(one.wires),
                together: other.together.max(one.together),
                relayed: other.relayed.max(one.relayed),
            }));
        }
        busiest
    }

    fn load(&self, here: &[Rank], on_rail: &BTreeMap<u32, u64>, relays: bool) -> Load {
        let mut load = Load::default();
        for (&rail, &ranks) in on_rail {
            let own = here.iter().filter(|&&rank| self.rail_of(rank) == Some(rail)).count() as u64;
            let receivers = ranks - own;
            let mut senders: BTreeMap<Rank, u64> = BTreeMap::new();
            for &src in here.iter().filter(|_| receivers > 0) {
                let entry = self.entry(src, rail).filter(|_| relays);
                let by = if entry.is_some() { Some(rail) } else { self.rail_of(src) };
                *load.sent.entry(by.unwrap_or(rail)).or_default() += receivers;
                let sender = entry.unwrap_or(src);
                *senders.entry(sender).or_default() += 1;
                if sender != src {
                    load.handed.entry(src).or_default()[0] += receivers;
                    load.handed.entry(sender).or_default()[1] += receivers;
                }
            }
            for (sender, sources) in senders {
                *load.wires.entry(sender).or_default() += receivers;
                load.together = load.together.max(sources);
            }
        }
        load
    }
}

#[cfg(test)]
mod tests {
    use core::num::NonZero;

    use super::*;
    use crate::Nodes;

    fn of(each: u32, nodes: u32, rails: Option<u32>, relays: bool) -> Option<Exchange> {
        let nodes = Nodes::new((0..nodes * each).map(|rank| rank / each).collect()).unwrap();
        Rails::new(&nodes, rails.and_then(NonZero::new)).exchange(relays, 1000)
    }

    #[test]
    fn a_nic_that_two_ranks_share_carries_for_both() {
        let direct = Exchange { mb_s: 4000, wires: 8, together: 1, relayed: 0 };
        assert_eq!(of(4, 2, None, false), Some(direct));
        assert_eq!(of(4, 2, Some(2), false), Some(Exchange { mb_s: 2000, ..direct }));
        // A relay sends to one receiver of the other node, and for its three neighbours.
        let relayed = Exchange { mb_s: 4000, wires: 2, together: 4, relayed: 3 };
        assert_eq!(of(4, 2, None, true), Some(relayed));
        assert_eq!(of(4, 1, None, true), None, "one node has no network");
    }
}
