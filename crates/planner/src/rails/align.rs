//! Owns the numbers of rails in a cluster of machines that differ: a machine that lacks a NIC, or whose cable is cut,
//! numbers the others as the machines do that have all, by their places on PCI, or, of ports that have none, by their
//! names.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crosstie_topo::{BusId, Rails, Topology, VertexId};

/// What is the same port on machines of one make: its address on PCI, or of a port without one its name; and its number
/// on the card.
type Place = (Option<BusId>, Option<String>, Option<u32>);

/// The rails of each machine, numbered as one: a machine whose ports are all at places that the machine with the most
/// ports on rails has too has the numbers of these.
pub fn aligned_rails<'a>(machines: impl IntoIterator<Item = &'a Topology>) -> Vec<Rails> {
    let machines: Vec<(&Topology, Rails)> =
        machines.into_iter().map(|machine| (machine, Rails::of(machine))).collect();
    // The first of those that have the most.
    let whole = machines.iter().rev().max_by_key(|(_, rails)| on_rails(rails).count());
    let numbers: BTreeMap<Place, u32> = whole.map_or_else(BTreeMap::new, |(machine, rails)| {
        on_rails(rails).filter_map(|(port, rail)| Some((place(machine, port)?, rail))).collect()
    });
    let aligned = |(machine, rails): &(&Topology, Rails)| {
        let known = |port: VertexId| numbers.get(&place(machine, port)?).copied();
        let all = on_rails(rails).all(|(port, _)| known(port).is_some());
        let explicit =
            Rails::explicit(machine, |port| rails.rail_of(port).and_then(|_| known(port)));
        explicit.filter(|_| all).unwrap_or_else(|| rails.clone())
    };
    machines.iter().map(aligned).collect()
}

fn on_rails(rails: &Rails) -> impl Iterator<Item = (VertexId, u32)> + '_ {
    rails.iter().flat_map(|(rail, ports)| ports.iter().map(move |&port| (port, rail)))
}

fn place(machine: &Topology, port: VertexId) -> Option<Place> {
    let bus_id = machine.pci(port).map(|pci| pci.bus_id);
    let port = machine.port(port)?;
    Some((bus_id, port.name.clone().filter(|_| bus_id.is_none()), port.port))
}
