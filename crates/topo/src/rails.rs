//! Owns the rails of one machine: which of its ports is on which.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::fabric::Wiring;
use crate::graph::{Topology, VertexId, VertexKind};
use crate::unit::Bandwidth;

/// The ports of a machine by rail; what is on no rail (the port to the storage, say) is beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rails {
    rails: BTreeMap<u32, Vec<VertexId>>,
    beside: Vec<VertexId>,
    of_port: BTreeMap<VertexId, u32>,
}

/// What makes ports alike: the card's class, vendor and device; the speed only where no id is told, so
/// that a port that came up slow stays with its like.
type Like = (bool, Option<u32>, Option<(u32, u32)>, Option<u64>);

impl Rails {
    /// The rails that a description gives its ports; where it gives none, a port's rail is its number
    /// among like ports of its host. Of several kinds those are taken that carry the most together.
    pub fn of(topology: &Topology) -> Self {
        Self::explicit(topology, |port| topology.port(port).and_then(|port| port.rail))
            .unwrap_or_else(|| Self::by_index(topology))
    }

    /// The rails that `rail` gives: a setting's word, or a fabric's. `None` where it gives none at all.
    pub fn explicit(topology: &Topology, rail: impl Fn(VertexId) -> Option<u32>) -> Option<Self> {
        let mut rails: BTreeMap<u32, Vec<VertexId>> = BTreeMap::new();
        let mut beside = Vec::new();
        for &port in topology.ports() {
            match rail(port) {
                Some(rail) => rails.entry(rail).or_default().push(port),
                None => beside.push(port),
            }
        }
        (!rails.is_empty()).then(|| Self::new(rails, beside))
    }

    /// The rails by which a fabric joins node number `node` of its wiring, whose port p is the pth of the
    /// likest ports. `None` where it gives this node none.
    pub fn of_fabric(topology: &Topology, wiring: &Wiring, node: u32) -> Option<Self> {
        let numbers = Self::by_index(topology);
        Self::explicit(topology, |port| wiring.rail(node, numbers.rail_of(port)?))
    }

    /// A port's rail is its number among like ports of its host, whatever the description says.
    pub fn by_index(topology: &Topology) -> Self {
        let mut groups: BTreeMap<Like, Vec<VertexId>> = BTreeMap::new();
        for &port in topology.ports() {
            groups.entry(like(topology, port)).or_default().push(port);
        }
        // Virtual cards come last, however many.
        let best = groups.iter().min_by_key(|((is_virtual, ..), ports)| {
            let speeds = ports.iter().map(|&port| speed(topology, port).as_bytes_per_s());
            let together = speeds.fold(0_u64, u64::saturating_add);
            (*is_virtual, Reverse(together), Reverse(ports.len()))
        });
        let Some((best, _)) = best.map(|(key, ports)| (*key, ports.len())) else {
            return Self::new(BTreeMap::new(), Vec::new());
        };
        let (mut rails, mut beside) = (BTreeMap::new(), Vec::new());
        let mut next: BTreeMap<Option<u32>, u32> = BTreeMap::new();
        for &port in topology.ports() {
            if like(topology, port) != best {
                beside.push(port);
                continue;
            }
            let next = next.entry(topology.vertex(port).host).or_default();
            let rail: &mut Vec<_> = rails.entry(*next).or_default();
            rail.push(port);
            *next += 1;
        }
        Self::new(rails, beside)
    }

    fn new(rails: BTreeMap<u32, Vec<VertexId>>, beside: Vec<VertexId>) -> Self {
        let pairs =
            rails.iter().flat_map(|(&rail, ports)| ports.iter().map(move |&port| (port, rail)));
        let of_port = pairs.collect();
        Self { rails, beside, of_port }
    }

    /// The same without a rail: its ports are beside the others.
    #[must_use]
    pub fn without(mut self, rail: u32) -> Self {
        let ports = self.rails.remove(&rail).unwrap_or_default();
        ports.iter().for_each(|port| {
            self.of_port.remove(port);
        });
        self.beside.extend(ports);
        self
    }

    /// Each rail with its ports: one for each host, as a rule.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[VertexId])> {
        self.rails.iter().map(|(&rail, ports)| (rail, ports.as_slice()))
    }

    /// How many rails there are.
    pub fn len(&self) -> usize {
        self.rails.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rails.is_empty()
    }

    /// The rail of a port.
    pub fn rail_of(&self, port: VertexId) -> Option<u32> {
        self.of_port.get(&port).copied()
    }

    /// The ports that are on no rail.
    pub fn beside(&self) -> &[VertexId] {
        &self.beside
    }
}

fn like(topology: &Topology, port: VertexId) -> Like {
    let Some(pci) = topology.pci(port) else {
        return (true, None, None, topology.port(port).and_then(|port| port.mbit));
    };
    let ids = pci.ids[0].zip(pci.ids[1]);
    let mbit = topology.port(port).and_then(|port| port.mbit).filter(|_| ids.is_none());
    (false, pci.class.map(|class| class >> 8), ids, mbit)
}

/// What the cable of a port carries.
pub(crate) fn speed(topology: &Topology, port: VertexId) -> Bandwidth {
    let cable = topology.links_of(port).iter();
    let is_card = |id: VertexId| matches!(topology.vertex(id).kind, VertexKind::Nic(_));
    cable.filter(|link| is_card(link.to)).map(|link| link.bandwidth).max().unwrap_or_default()
}
