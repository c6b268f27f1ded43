//! Owns the checks of RDMA devices: their ports, what programs need to reach them, and rails.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crosstie_probe::{InterfaceKind, PortNames, RdmaDevice, RdmaPort};

use super::finding::{Finding, Group, Verdict};
use super::state::State;

/// Mellanox, now NVIDIA: its cards have a driver for Ethernet, and another for RDMA.
const MELLANOX: u32 = 0x15b3;

pub fn check(state: &State, found: &mut Vec<Finding>) {
    let devices: Vec<&RdmaDevice> = state.facts.rdma.iter().flatten().collect();
    if devices.is_empty() {
        found.push(without_devices(state));
        found.extend(rails(state));
        return;
    }
    let is_needed = state.asks_for_verbs() || state.world.rails.is_some();
    let all = || devices.iter().flat_map(|&it| it.ports.iter().map(move |port| (it, port)));
    let named = state.told("CROSSTIE_VERBS_DEVICES").and_then(|told| told.parse().ok());
    let is_named = |device: &RdmaDevice, port: &RdmaPort| {
        named.as_ref().is_none_or(|named: &PortNames| named.has(&device.name, port.number))
    };
    found.extend(named.as_ref().map(|named| named_ports(state, named, all())));
    let ports = || all().filter(|(device, port)| is_named(device, port));
    found.extend(ports().map(|(device, port)| one_port(state, device, port)));
    found.extend(mtus(state, ports().filter(|(_, port)| port.is_up())));
    found.extend(speeds(ports().filter(|(_, port)| port.is_up())));
    found.extend(gid_index(state, ports().filter(|(_, port)| port.is_up())));
    found.extend(named_addresses(state, ports()));
    found.extend(usable(ports().map(|(_, port)| port)).filter(|_| state.asks_for_verbs()));
    let none_reachable = reachable(state, &devices) == 0;
    found.push(needed(is_needed && none_reachable, files(state, &devices)));
    found.push(needed(is_needed, library(state)));
    found.extend(rails(state));
}

/// What is a warning where ranks can do without verbs would fail where they cannot.
fn needed(is_needed: bool, finding: Finding) -> Finding {
    match finding.verdict {
        Verdict::Warning if is_needed => Finding { verdict: Verdict::WouldFail, ..finding },
        _ => finding,
    }
}

/// Where no port can be used and verbs is asked for.
fn usable<'a>(mut ports: impl Iterator<Item = &'a RdmaPort>) -> Option<Finding> {
    let any = ports.any(|port| port.ailment().is_none());
    (!any).then(|| {
        add("usable ports", "none")
            .wanted("one at least: CROSSTIE_TRANSPORT=verbs")
            .would_fail("do what the findings above say, or use CROSSTIE_TRANSPORT=auto")
    })
}

/// What somebody named, and nobody has, fails every job between nodes that looks for it.
fn named_ports<'a>(
    state: &State,
    named: &PortNames,
    ports: impl Iterator<Item = (&'a RdmaDevice, &'a RdmaPort)>,
) -> Finding {
    let name =
        |(device, port): (&RdmaDevice, &RdmaPort)| format!("{}:{}", device.name, port.number);
    let (taken, left): (Vec<_>, Vec<_>) =
        ports.partition(|(device, port)| named.has(&device.name, port.number));
    let [taken, left] = [taken, left].map(|ports| ports.into_iter().map(name).collect::<Vec<_>>());
    if taken.is_empty() {
        let finding = add("named ports", format!("no port is CROSSTIE_VERBS_DEVICES={named}"))
            .wanted("one at least");
        let remedy = format!("name some of these: {}", left.join(" "));
        let is_off = state.told("CROSSTIE_VERBS").as_deref() == Some("off");
        let is_looked_for = match state.told("CROSSTIE_TRANSPORT").as_deref() {
            Some("verbs") => true,
            transport => transport == Some("auto") && !is_off,
        };
        return if is_looked_for { finding.would_fail(remedy) } else { finding.warning(remedy) };
    }
    let rest = if left.is_empty() { String::new() } else { format!(", not {}", left.join(" ")) };
    add("named ports", format!("{}{rest} (CROSSTIE_VERBS_DEVICES={named})", taken.join(" ")))
}

/// The ports whose tables have nothing at the place that somebody named.
fn gid_index<'a>(
    state: &State,
    ports: impl Iterator<Item = (&'a RdmaDevice, &'a RdmaPort)>,
) -> Option<Finding> {
    let index: u32 = state.told("CROSSTIE_VERBS_GID_INDEX")?.trim().parse().ok()?;
    let lacking = ports.filter(|(_, port)| port.gids.iter().all(|gid| gid.index != index));
    let lacking: Vec<String> =
        lacking.map(|(device, port)| format!("port {} of {}", port.number, device.name)).collect();
    if lacking.is_empty() {
        return Some(add("GID index", format!("every port has a GID {index}")));
    }
    let finding = add("GID index", format!("{} has no GID {index}", lacking.join(", ")))
        .wanted("one on each port: CROSSTIE_VERBS_GID_INDEX");
    let remedy = "leave CROSSTIE_VERBS_GID_INDEX out: both ends choose; or name a place that `show_gids` lists";
    Some(match state.asks_for_verbs() {
        true => finding.would_fail(remedy),
        false => finding.warning(format!("{remedy} (its wires would be over TCP)")),
    })
}

/// Addresses of CROSSTIE_NICS that an interface has, and no RDMA port: what leaves from there goes by TCP.
fn named_addresses<'a>(
    state: &State,
    ports: impl Iterator<Item = (&'a RdmaDevice, &'a RdmaPort)>,
) -> Vec<Finding> {
    let told = state.told("CROSSTIE_NICS").unwrap_or_default();
    let ips = told.split(',').filter_map(|part| part.trim().parse::<IpAddr>().ok());
    let known: Vec<IpAddr> = ports
        .flat_map(|(_, port)| &port.gids)
        .map(|gid| IpAddr::V6(gid.address).to_canonical())
        .collect();
    let is_here = |ip: &IpAddr| state.addresses.iter().any(|it| it.ip == ip.to_canonical());
    let lacking = ips.filter(|ip| is_here(ip) && !known.contains(&ip.to_canonical()));
    let judge = |ip: IpAddr| {
        let finding = add("named NIC", format!("no RDMA port has {ip} of CROSSTIE_NICS"))
            .wanted("a port with it: without one no wire over ibverbs is on it, and its rank's are over TCP if it has no other");
        let remedy = "name addresses of RDMA ports' interfaces (`rdma link`, `ip -brief addr`), or load the device's driver";
        match state.asks_for_verbs() {
            true => finding.would_fail(remedy),
            false => finding.warning(remedy),
        }
    };
    lacking.map(judge).collect()
}

fn add(check: &'static str, found: impl Into<String>) -> Finding {
    Finding::good(Group::Verbs, check, found)
}

fn without_devices(state: &State) -> Finding {
    if state.asks_for_verbs() {
        return add("devices", "no RDMA device")
            .wanted("one at least: CROSSTIE_TRANSPORT=verbs")
            .would_fail("load its driver (`modprobe mlx5_ib` for ConnectX cards), pass /dev/infiniband on into the container, or use CROSSTIE_TRANSPORT=auto");
    }
    let finding = add("devices", "no RDMA device: hosts reach each other by TCP");
    let idle = state.facts.pci.iter().find(|device| {
        device.ids[0] == Some(MELLANOX) && device.driver.as_deref() == Some("mlx5_core")
    });
    match idle {
        Some(card) => finding
            .wanted(format!("one for the card at {}", card.bus_id))
            .warning("`modprobe mlx5_ib`"),
        None => finding,
    }
}

/// Not more than a warning, even where verbs is asked for: a port may be left without a cable on purpose, and TCP may take another way. Who needs it
/// says how many rails there must be, or names its address.
fn one_port(state: &State, device: &RdmaDevice, port: &RdmaPort) -> Finding {
    let name = format!("port {} of {}", port.number, device.name);
    if let Some(ailment) = port.ailment() {
        let interface = port.interface.as_ref().map(|name| format!(" ({name})"));
        let told = format!("{name}{} {}", interface.unwrap_or_default(), ailment.found(port));
        return add("port", told)
            .wanted("ACTIVE, with an address that other hosts reach")
            .warning(ailment.remedy(&device.name, port));
    }
    let interface = port.interface.as_deref().and_then(|name| state.facts.interface(name));
    let mut told = Vec::from([format!("{name} is ACTIVE")]);
    told.extend(port.mbit.map(|mbit| format!("{mbit} Mb/s")));
    told.extend(port.layer.clone());
    told.extend(port.mtu(interface).map(|mtu| format!("MTU {mtu}")));
    told.extend(port.lid.map(|lid| format!("LID {lid}")));
    let gids = port.gids.len();
    told.extend(port.gid().map(|gid| format!("GID {} of {gids} ({})", gid.index, gid.words())));
    told.extend(port.interface.clone());
    let finding = add("port", told.join(", "));
    match interface.filter(|interface| !interface.is_up()) {
        Some(down) => finding
            .wanted("its interface up, too")
            .warning(format!("`ip link set {} up`", down.name)),
        None => finding,
    }
}

fn mtus<'a>(
    state: &State,
    ports: impl Iterator<Item = (&'a RdmaDevice, &'a RdmaPort)>,
) -> Option<Finding> {
    let mut mtus: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (device, port) in ports {
        let interface = port.interface.as_deref().and_then(|name| state.facts.interface(name));
        if let Some(mtu) = port.mtu(interface) {
            mtus.entry(mtu).or_default().push(port.interface.as_ref().unwrap_or(&device.name));
        }
    }
    let (least, names) = mtus.first_key_value()?;
    let (most, _) = mtus.last_key_value()?;
    (least < most).then(|| {
        let set: Vec<String> =
            names.iter().map(|name| format!("`ip link set {name} mtu 9000`")).collect();
        add("MTU", format!("{least} bytes by {}, {most} by other ports", names.join(" ")))
            .wanted("one on all rails")
            .warning(format!("{}, and on the switches", set.join(", ")))
    })
}

fn speeds<'a>(ports: impl Iterator<Item = (&'a RdmaDevice, &'a RdmaPort)>) -> Option<Finding> {
    let mut speeds: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (device, port) in ports {
        speeds.entry(port.mbit?).or_default().push(&device.name);
    }
    let (slow, names) = speeds.first_key_value()?;
    let (fast, _) = speeds.last_key_value()?;
    (slow < fast).then(|| {
        add("speed", format!("{slow} Mb/s of {}, {fast} of others", names.join(" ")))
            .wanted("one on all rails, which wait for the slowest")
            .warning("look for a cable or a switch's port that came up slow (`ibstat`, `ethtool`); a port for storage alone is right to differ")
    })
}

/// How many devices this user may open.
fn reachable(state: &State, devices: &[&RdmaDevice]) -> usize {
    let is_open = |name: &String| matches!(state.verbs.files.get(name), Some(None));
    devices.iter().filter(|device| device.uverbs.as_ref().is_some_and(is_open)).count()
}

fn files(state: &State, devices: &[&RdmaDevice]) -> Finding {
    let (files, count) = (&state.verbs.files, reachable(state, devices));
    let refused = files.iter().filter(|(name, _)| name.starts_with("uverbs"));
    let refused: Vec<String> =
        refused.filter_map(|(name, why)| Some(format!("{name}: {}", why.as_ref()?))).collect();
    let why = refused.first().map(|why| format!(" ({why})")).unwrap_or_default();
    let told = format!("{count} of {} devices by /dev/infiniband{why}", devices.len());
    let finding = add("device files", told);
    match () {
        () if count == devices.len() => finding,
        () if !refused.is_empty() => finding
            .wanted("all, read and written by this user")
            .warning("`chmod a+rw /dev/infiniband/uverbs*` as root, or put this user into their group (`ls -l /dev/infiniband`)"),
        () => finding
            .wanted("a file uverbsN for each")
            .warning("`modprobe ib_uverbs` as root; for a container `--device=/dev/infiniband`"),
    }
}

fn library(state: &State) -> Finding {
    let remedy = "`apt-get install libibverbs1 ibverbs-providers` (Debian, Ubuntu), `dnf install libibverbs` (Fedora, RHEL)";
    let drivers = &state.verbs.drivers;
    match &state.verbs.library {
        None => add("library", "libibverbs.so.1 is not found")
            .wanted("it, by which programs reach RDMA devices")
            .warning(remedy),
        Some(path) if drivers.is_empty() => {
            add("library", format!("{}, without drivers", path.display()))
                .wanted("a driver for each kind of card, named in /etc/libibverbs.d")
                .warning(remedy)
        }
        Some(path) => add("library", format!("{}, with {} drivers", path.display(), drivers.len())),
    }
}

/// Whether as many rails are usable as somebody says there must be.
fn rails(state: &State) -> Option<Finding> {
    let wanted = state.world.rails?;
    let ports = state.facts.rdma.iter().flatten().flat_map(|device| &device.ports);
    let (good, sick): (Vec<_>, Vec<_>) = ports.partition(|port| port.ailment().is_none());
    let interface = |name: &String| state.addresses.iter().any(|it| it.interface.name == *name);
    let nics = state.facts.interfaces.iter().filter(|it| {
        let is_nic = matches!(
            it.kind,
            InterfaceKind::Nic | InterfaceKind::Bond { .. } | InterfaceKind::Veth
        );
        is_nic && it.is_up() && interface(&it.name)
    });
    let (usable, what) = match good.len() + sick.len() {
        0 => (nics.count(), "interfaces up with an address"),
        _ => (good.len(), "RDMA ports without a finding"),
    };
    let finding =
        add("rails", format!("{what}: {usable}")).wanted(format!("{wanted} rails (--rails)"));
    Some(match usable < wanted as usize {
        true => finding.would_fail("do what the findings above say, or ask for fewer rails"),
        false => finding,
    })
}
