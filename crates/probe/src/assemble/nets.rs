//! Owns which ports of networks go into the document, where they hang, and how fast they are.

use std::collections::{BTreeMap, BTreeSet};

use crosstie_topo::BusId;
use crosstie_topo::xml::Element;

use super::{Parts, called, listed};
use crate::{Ailment, Facts, Gid, Interface, InterfaceKind, RdmaDevice, RdmaPort};

/// A port that messages can take.
struct Port {
    name: String,
    pci: Option<BusId>,
    mbit: Option<u64>,
    /// On its card, from 1; 0 of an interface.
    number: u32,
    guid: Option<u64>,
    interface: Option<String>,
    members: Vec<String>,
    verbs: Option<Verbs>,
}

/// What verbs tells of a port.
struct Verbs {
    state: Option<String>,
    layer: Option<String>,
    mtu: Option<u32>,
    gids: usize,
    gid: Option<Gid>,
}

/// Puts the ports where they hang: RDMA's, or, where there are none, network interfaces.
pub fn add(parts: &mut Parts<'_>) {
    let mut ports = rdma_ports(parts);
    if ports.is_empty() {
        ports = interfaces(parts);
    } else {
        note_without_rdma(parts, &ports);
    }
    if ports.is_empty() {
        let means = "its ranks reach each other, and no other machine";
        parts.note("no network interface is up", means);
    }
    note_functions(parts, &ports);
    note_speeds(parts, &ports);
    let mut cards: BTreeMap<BusId, Element> = BTreeMap::new();
    for (dev, port) in ports.into_iter().enumerate() {
        let net = element(dev, &port);
        match port.pci {
            Some(bus_id) => cards.entry(bus_id).or_insert_with(|| Element::new("nic")).push(net),
            None => parts.on_none.push(Element::new("nic").holding(net)),
        }
    }
    for (bus_id, nic) in cards {
        parts.keep(bus_id, Some(nic));
    }
}

fn element(dev: usize, port: &Port) -> Element {
    let mut net = Element::new("net").with("name", &port.name).with("dev", dev.to_string());
    if let Some(mbit) = port.mbit {
        net.set("speed", mbit.to_string());
    }
    net.set("port", port.number.to_string());
    if let Some(guid) = port.guid {
        net.set("guid", format!("0x{guid:x}"));
    }
    if let Some(interface) = &port.interface {
        net.set("interface", interface);
    }
    if !port.members.is_empty() {
        net.set("members", port.members.join(","));
    }
    if let Some(verbs) = &port.verbs {
        tell_verbs(&mut net, verbs);
    }
    net
}

fn tell_verbs(net: &mut Element, verbs: &Verbs) {
    let told = [
        ("state", verbs.state.clone()),
        ("layer", verbs.layer.clone()),
        ("mtu", verbs.mtu.map(|mtu| mtu.to_string())),
        ("gids", Some(verbs.gids.to_string())),
        ("gid", verbs.gid.map(|gid| format!("{} {}", gid.index, gid.words()))),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            net.set(name, value);
        }
    }
}

fn rdma_ports(parts: &mut Parts<'_>) -> Vec<Port> {
    let facts = parts.facts;
    let Some(devices) = &facts.rdma else {
        let found = "no RDMA devices (/sys/class/infiniband is absent)";
        parts.note(found, "networks are reached by TCP");
        return Vec::new();
    };
    if devices.is_empty() {
        let found = "no RDMA devices (/sys/class/infiniband is empty)";
        parts.note(found, "networks are reached by TCP");
    }
    let all: Vec<(&RdmaDevice, &RdmaPort)> = devices
        .iter()
        .flat_map(|device| device.ports.iter().map(move |port| (device, port)))
        .collect();
    let (up, down): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, port)| port.is_up());
    for (device, port) in down {
        let found = port.ailment().unwrap_or(Ailment::Down).found(port);
        let found = format!("port {} of {} {found}", port.number, device.name);
        parts.note(found, "left out");
    }
    for (device, port) in &up {
        if let Some(ailment) = port.ailment() {
            let found = format!("port {} of {} {}", port.number, device.name, ailment.found(port));
            parts.note(found, ailment.remedy(&device.name, port));
        }
    }
    up.into_iter().map(|(device, port)| rdma_port(facts, device, port)).collect()
}

fn rdma_port(facts: &Facts, device: &RdmaDevice, port: &RdmaPort) -> Port {
    let interface = port.interface.as_deref().and_then(|name| facts.interface(name));
    let of_interface = interface.and_then(|interface| speed(facts, interface));
    let bonded = interface.is_some_and(|it| matches!(it.kind, InterfaceKind::Bond { .. }));
    let mbit = match device.pci {
        // Drivers tell the rate of one cable of several.
        Some(_) if bonded => port.mbit.max(of_interface),
        Some(_) => port.mbit,
        // What software tells is made up.
        None => of_interface.or(port.mbit),
    };
    Port {
        name: device.name.clone(),
        pci: device.pci.or_else(|| interface.and_then(|interface| place(facts, interface))),
        mbit,
        number: port.number,
        guid: device.system_guid.or(device.node_guid),
        interface: port.interface.clone(),
        members: interface.map(|interface| members(facts, interface)).unwrap_or_default(),
        verbs: Some(Verbs {
            state: port.state.clone(),
            layer: port.layer.clone(),
            mtu: port.mtu(interface),
            gids: port.gids.len(),
            gid: port.gid(),
        }),
    }
}

fn interfaces(parts: &mut Parts<'_>) -> Vec<Port> {
    let facts = parts.facts;
    let grouped: BTreeSet<String> =
        facts.interfaces.iter().flat_map(|interface| members(facts, interface)).collect();
    let alone = facts.interfaces.iter().filter(|it| !grouped.contains(&it.name) && is_port(it));
    let (up, down): (Vec<&Interface>, Vec<&Interface>) = alone.partition(|it| it.is_up());
    if !down.is_empty() {
        let names = listed(down.iter().map(|interface| &interface.name));
        parts.note(format!("no signal, or switched off: {names}"), "left out");
    }
    let mut chosen = up;
    if chosen.is_empty() {
        // In a container, or a node of an emulated cluster, the end of a pair is what leads out.
        let pairs = facts.interfaces.iter();
        chosen = pairs.filter(|it| it.kind == InterfaceKind::Veth && it.is_up()).collect();
    }
    let port = |interface: &&Interface| Port {
        name: interface.name.clone(),
        pci: place(facts, interface),
        mbit: speed(facts, interface),
        number: 0,
        guid: None,
        interface: Some(interface.name.clone()),
        members: members(facts, interface),
        verbs: None,
    };
    chosen.iter().map(port).collect()
}

/// Whether an interface is a way out of the machine by itself.
fn is_port(interface: &Interface) -> bool {
    let kinds = &interface.kind;
    matches!(kinds, InterfaceKind::Nic | InterfaceKind::Wireless | InterfaceKind::Bond { .. })
}

/// The interfaces that act as this one: a bond's, or the fast twin of a virtual machine's.
fn members(facts: &Facts, interface: &Interface) -> Vec<String> {
    let mut names = match &interface.kind {
        InterfaceKind::Bond { members, .. } => members.clone(),
        InterfaceKind::Nic => {
            let all = facts.interfaces.iter();
            let twins = all.filter(|it| it.master.as_deref() == Some(&interface.name));
            twins.map(|it| it.name.clone()).collect()
        }
        _ => Vec::new(),
    };
    names.sort();
    names
}

/// The first of the PCI devices behind an interface.
fn place(facts: &Facts, interface: &Interface) -> Option<BusId> {
    let names = members(facts, interface);
    let below = names.iter().filter_map(|name| facts.interface(name)?.pci);
    interface.pci.or_else(|| below.min())
}

/// What an interface tells, else what those tell that act as it.
fn speed(facts: &Facts, interface: &Interface) -> Option<u64> {
    let names = members(facts, interface);
    let up = names.iter().filter_map(|name| facts.interface(name)).filter(|it| it.is_up());
    let below = || up.map(|it| it.mbit).sum::<Option<u64>>().filter(|&sum| sum > 0);
    interface.mbit.or_else(below)
}

fn note_without_rdma(parts: &mut Parts<'_>, ports: &[Port]) {
    let facts = parts.facts;
    let taken: BTreeSet<BusId> = ports.iter().filter_map(|port| port.pci).collect();
    let named: BTreeSet<&str> = ports
        .iter()
        .flat_map(|port| port.members.iter().chain(&port.interface))
        .map(String::as_str)
        .collect();
    let left = facts.interfaces.iter().filter(|it| {
        let same = it.pci.is_some_and(|bus_id| taken.contains(&bus_id));
        is_port(it) && it.is_up() && !same && !named.contains(it.name.as_str())
    });
    let left: Vec<&String> = left.map(|interface| &interface.name).collect();
    if !left.is_empty() {
        let found = format!("no RDMA, which other ports have: {}", listed(left.iter()));
        parts.note(found, "left out");
    }
}

/// Says which cards share a cable, and which have no port at all.
fn note_functions(parts: &mut Parts<'_>, ports: &[Port]) {
    let facts = parts.facts;
    let used: BTreeSet<BusId> = ports.iter().filter_map(|port| port.pci).collect();
    let mut shared: BTreeMap<BusId, Vec<BusId>> = BTreeMap::new();
    for &bus_id in &used {
        if let Some(physical) = facts.device(bus_id).and_then(|device| device.physical) {
            shared.entry(physical).or_default().push(bus_id);
        }
    }
    for (physical, virtuals) in shared {
        let all = used.get(&physical).into_iter().chain(&virtuals);
        let all: Vec<&BusId> = all.collect();
        if all.len() > 1 {
            let found = format!("{} are functions of one card", listed(all.iter()));
            parts.note(found, "they share its cable, and each is shown with all of its speed");
        }
    }
    let idle = facts.pci.iter().filter(|device| {
        let is_nic = device.class.is_some_and(|class| class >> 16 == 0x02);
        let known = facts.interfaces.iter().any(|it| it.pci == Some(device.bus_id))
            || facts.rdma.iter().flatten().any(|it| it.pci == Some(device.bus_id));
        is_nic && !known && device.physical.is_none()
    });
    let idle: Vec<String> = idle.map(called).collect();
    if !idle.is_empty() {
        let found = format!("network cards without a network interface: {}", listed(idle.iter()));
        parts.note(
            found,
            "their driver is not loaded, or another machine or container has them; left out",
        );
    }
}

fn note_speeds(parts: &mut Parts<'_>, ports: &[Port]) {
    let untold: Vec<&String> =
        ports.iter().filter(|port| port.mbit.is_none()).map(|port| &port.name).collect();
    if !untold.is_empty() {
        let found = format!("the speed of {} is not told", listed(untold.iter()));
        parts.note(found, "it is taken for 10 Gbit/s");
    }
}
