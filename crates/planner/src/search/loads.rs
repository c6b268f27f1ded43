//! Owns what planned rings put on each link of a node, beside what it carries: what limits them is what is full.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crosstie_topo::VertexId;

use super::model::{Leg, Model};
use super::{Node, Rings, SearchError, Side, Stretch};

/// A link in one direction, and what rings put on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Where it begins.
    pub from: VertexId,
    /// Where it ends.
    pub to: VertexId,
    /// What all rings together put on it, MB/s.
    pub load_mb_s: u64,
    /// What it carries, MB/s.
    pub capacity_mb_s: u64,
}

/// What rings put on the links of one of their nodes, a node of this kind: of links that they use, in the order
/// in which a search meets them. Those of a graph file may use NICs that are on no rail.
///
/// # Errors
/// When the kind cannot be planned for.
pub fn loads(kind: &Node<'_>, found: &Rings, node: u32) -> Result<Vec<Load>, SearchError> {
    let ways = found.rings.iter().filter_map(|ring| ring.nodes.get(node as usize));
    let used: BTreeSet<u32> = ways.flat_map(|way| [way.nic_in, way.nic_out]).flatten().collect();
    let model = Model::with(kind, 0, |device| used.contains(&device))?;
    let mut loads = alloc::vec![0u64; model.links.len()];
    for ring in &found.rings {
        let Some(way) = ring.nodes.get(node as usize) else { continue };
        for link in legs(&model, way).into_iter().flatten().flat_map(|leg| &leg.links) {
            loads[*link as usize] += ring.bandwidth_mb_s;
        }
    }
    let loaded = model.links.iter().zip(loads).filter(|&(_, load)| load > 0);
    let load = |(link, load_mb_s): (&super::model::Link, u64)| Load {
        from: link.from,
        to: link.to,
        load_mb_s,
        capacity_mb_s: link.capacity,
    };
    Ok(loaded.map(load).collect())
}

/// The links between the ranks of a node and its NICs.
pub(crate) struct ToNics(Model);

impl ToNics {
    pub fn of(kind: &Node<'_>) -> Result<Self, SearchError> {
        Ok(Self(Model::of(kind, 0)?))
    }

    /// What ways carry together, MB/s, each between a rank's device and a NIC, where each carries its weight of all:
    /// the fullest link decides. `None` where some way leads nowhere.
    pub fn carried(&self, ways: &BTreeMap<(u32, u32), u64>, side: Side) -> Option<u64> {
        let Self(model) = self;
        let mut loads = alloc::vec![0u64; model.links.len()];
        for (&(device, nic), &weight) in ways {
            let seat = model.seats.iter().position(|seat| seat.device == device)? as u32;
            let port = model.ports.iter().position(|port| port.device == nic)? as u32;
            let leg = match side {
                Side::In => model.enter(port, seat)?,
                Side::Out => model.leave(seat, port)?,
            };
            for &link in &leg.links {
                loads[link as usize] += weight;
            }
        }
        let all = ways.values().map(|&weight| u128::from(weight)).sum::<u128>();
        let loaded = model.links.iter().zip(loads).filter(|&(_, load)| load > 0);
        let carried = loaded.map(|(link, load)| u128::from(link.capacity) * all / u128::from(load));
        u64::try_from(carried.min()?).ok()
    }
}

/// The legs of a ring's way through a node: in, from seat to seat, to the relay, and out or back to the first.
fn legs<'a>(model: &'a Model, way: &Stretch) -> Vec<Option<&'a Leg>> {
    let seats = &way.local_ranks;
    let mut legs: Vec<Option<&Leg>> =
        seats.windows(2).map(|pair| model.hop(pair[0], pair[1])).collect();
    let (Some(&first), Some(&last)) = (seats.first(), seats.last()) else { return legs };
    let port = |nic: Option<u32>| {
        let place = model.ports.iter().position(|port| Some(port.device) == nic);
        place.map(|place| place as u32)
    };
    let relay = model.seats.iter().position(|seat| Some(seat.device) == way.relay_out);
    let relay = relay.map(|seat| seat as u32);
    if let Some(port) = port(way.nic_in) {
        legs.push(model.enter(port, first));
    }
    legs.push(relay.and_then(|relay| model.hop(last, relay)));
    match port(way.nic_out) {
        Some(port) => legs.push(model.leave(relay.unwrap_or(last), port)),
        None if first != last => legs.push(model.hop(last, first)),
        None => {}
    }
    legs
}
