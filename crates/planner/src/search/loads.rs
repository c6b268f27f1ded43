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

/// The link of a node that is busy the longest while ranks send by some pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fullest {
    /// How many chunks pass it; none where links are not known.
    pub chunks: u64,
    /// What it carries, MB/s.
    pub mb_s: u64,
}

impl Fullest {
    /// The one that is busy longer.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let [one, two] = [(self, other), (other, self)]
            .map(|(of, by)| u128::from(of.chunks) * u128::from(by.mb_s.max(1)));
        if two > one { other } else { self }
    }
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

/// The links between the ranks of a node, and between them and its NICs.
pub(crate) struct NodeLinks(Model);

/// What messages put on the links of a node.
pub(crate) struct Traffic<'a> {
    model: &'a Model,
    loads: Vec<u64>,
}

impl NodeLinks {
    pub fn of(kind: &Node<'_>) -> Result<Self, SearchError> {
        Ok(Self(Model::of(kind, 0)?))
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> u32 {
        self.0.seats.len() as u32
    }

    /// Nothing yet.
    pub fn traffic(&self) -> Traffic<'_> {
        let Self(model) = self;
        Traffic { model, loads: alloc::vec![0; model.links.len()] }
    }

    /// What ways carry together, MB/s, each between a rank's device and a NIC, where each carries its weight of all:
    /// the fullest link decides. `None` where some way leads nowhere.
    pub fn to_nics(&self, ways: &BTreeMap<(u32, u32), u64>, side: Side) -> Option<u64> {
        let mut traffic = self.traffic();
        for (&way, &weight) in ways {
            traffic.pass_nic(way, side, weight)?;
        }
        let Fullest { chunks, mb_s } = traffic.fullest();
        let all = ways.values().map(|&weight| u128::from(weight)).sum::<u128>();
        u64::try_from((u128::from(mb_s) * all).checked_div(chunks.into())?).ok()
    }
}

impl Traffic<'_> {
    /// So many chunks from one local rank to another.
    pub fn hop(&mut self, from: u32, to: u32, chunks: u64) {
        let leg = self.model.hop(from, to);
        self.leg(leg, chunks);
    }

    /// The same of ranks by device.
    pub fn pass(&mut self, from: u32, to: u32, chunks: u64) {
        if let (Some(from), Some(to)) = (self.seat(from), self.seat(to)) {
            self.hop(from, to, chunks);
        }
    }

    /// So many chunks between a rank's device and a NIC; `None` where no way leads from one to the other.
    pub fn pass_nic(&mut self, (device, nic): (u32, u32), side: Side, chunks: u64) -> Option<()> {
        let (model, seat) = (self.model, self.seat(device)?);
        let port = model.ports.iter().position(|port| port.device == nic)? as u32;
        let leg = match side {
            Side::In => model.enter(port, seat)?,
            Side::Out => model.leave(seat, port)?,
        };
        self.leg(Some(leg), chunks);
        Some(())
    }

    /// The link that is busy the longest.
    pub fn fullest(&self) -> Fullest {
        let each = self.model.links.iter().zip(&self.loads);
        let each = each.map(|(link, &chunks)| Fullest { chunks, mb_s: link.capacity });
        each.fold(Fullest::default(), Fullest::or)
    }

    fn seat(&self, device: u32) -> Option<u32> {
        self.model.seats.iter().position(|seat| seat.device == device).map(|seat| seat as u32)
    }

    fn leg(&mut self, leg: Option<&Leg>, chunks: u64) {
        for &link in leg.iter().flat_map(|leg| &leg.links) {
            self.loads[link as usize] += chunks;
        }
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
