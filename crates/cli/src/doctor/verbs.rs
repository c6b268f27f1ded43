//! Owns the checks of RDMA devices: their ports, what programs need to reach them, and rails.

use std::collections::BTreeMap;

use crosstie_probe::{InterfaceKind, RdmaDevice, RdmaPort};

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
    let ports = || devices.iter().flat_map(|&it| it.ports.iter().map(move |port| (it, port)));
    found.extend(ports().map(|(device, port)| one_port(state, device, port)));
    found.extend(mtus(state, ports().filter(|(_, port)| port.is_up())));
    found.extend(speeds(ports().filter(|(_, port)| port.is_up())));
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
