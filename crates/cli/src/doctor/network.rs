//! Owns the checks of the network: which addresses are offered to others, and why others not; ports; named NICs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crosstie_net::{Address, offered};
use crosstie_probe::{Interface, InterfaceKind};

use super::finding::{Finding, Group};
use super::state::State;

/// From this rate on, Mb/s, packets of 1500 bytes cost a core more than it has.
const FAST_MBIT: u64 = 25_000;
/// Bytes of Ethernet's usual packet.
const USUAL_MTU: u32 = 1500;
/// Interfaces that have a line each.
const MOST_TOLD: usize = 16;

pub fn check(state: &State, found: &mut Vec<Finding>) {
    interfaces(state, found);
    found.extend(named_nics(state));
    found.push(ports(state));
    found.push(Finding::good(
        Group::Network,
        "encryption",
        "control links are encrypted; data over TCP is not: run where nobody else listens",
    ));
}

fn add(check: &'static str, found: impl Into<String>) -> Finding {
    Finding::good(Group::Network, check, found)
}

fn interfaces(state: &State, found: &mut Vec<Finding>) {
    if let Some(why) = &state.addresses_refused {
        let finding = add("interfaces", why).wanted("addresses that the kernel tells");
        found.push(finding.would_fail("let the sandbox pass netlink sockets"));
        return;
    }
    let wanted = state.told("CROSSTIE_INTERFACE");
    let chosen = match offered(&state.addresses, wanted.as_deref()) {
        Ok(chosen) => chosen,
        Err(error) => {
            let remedy = "name one that is there in CROSSTIE_INTERFACE, unset it, or `ip link set INTERFACE up`";
            let finding = add("interfaces", error.to_string()).wanted("one that others reach");
            found.push(finding.would_fail(remedy));
            return;
        }
    };
    let mut by_name: Vec<(&str, Vec<&Address>)> = Vec::new();
    for address in chosen.into_iter().filter(|address| !address.ip.is_loopback()) {
        match by_name.iter_mut().find(|(name, _)| *name == address.interface.name) {
            Some((_, addresses)) => addresses.push(address),
            None => by_name.push((&address.interface.name, Vec::from([address]))),
        }
    }
    if by_name.is_empty() {
        found.push(only_loopback(state));
    }
    found.extend(by_name.iter().take(MOST_TOLD).map(|(name, all)| interface(state, name, all)));
    if let Some(more) = by_name.len().checked_sub(MOST_TOLD).filter(|&more| more > 0) {
        found.push(add("interfaces", format!("and {more} more are offered to others")));
    }
    found.extend(left_out(state, &by_name, wanted.as_deref()));
}

fn only_loopback(state: &State) -> Finding {
    let finding = add("interfaces", "none but loopback has an address");
    match state.world.nodes {
        0 | 1 => finding.wanted("enough for the ranks of one host"),
        nodes => finding
            .wanted(format!("an address that ranks on {nodes} hosts reach"))
            .would_fail("`ip addr add ADDRESS/LENGTH dev INTERFACE` and `ip link set INTERFACE up`; for a container `--network=host`"),
    }
}

/// One that is offered to others.
fn interface(state: &State, name: &str, addresses: &[&Address]) -> Finding {
    let ips: Vec<String> = addresses.iter().map(|address| address.ip.to_string()).collect();
    let facts = state.facts.interface(name);
    let mbit = facts.and_then(|it| it.mbit);
    let mtu = facts.and_then(|it| it.mtu);
    let mut told = Vec::from([format!("{name} {} is offered to others", ips.join(" "))]);
    told.extend(mbit.map(|mbit| format!("{mbit} Mb/s")));
    told.extend(mtu.map(|mtu| format!("MTU {mtu}")));
    let finding = add("interface", told.join(", "));
    let has_carrier = addresses.iter().all(|address| address.interface.has_carrier);
    if !has_carrier {
        return finding.wanted("a signal").warning(format!(
            "look at the cable and the switch's port (`ethtool {name}`), or `ip link set {name} down`, so that nobody tries it"
        ));
    }
    match (mbit, mtu) {
        (Some(mbit), Some(mtu)) if mbit >= FAST_MBIT && mtu <= USUAL_MTU => finding
            .wanted("MTU 9000 at this speed")
            .warning(format!("`ip link set {name} mtu 9000`, if all hosts and the switches between them have it too")),
        _ => finding,
    }
}

/// The others, each with the reason.
fn left_out(
    state: &State,
    chosen: &[(&str, Vec<&Address>)],
    wanted: Option<&str>,
) -> Option<Finding> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for interface in &state.facts.interfaces {
        let is_chosen = chosen.iter().any(|(name, _)| *name == interface.name);
        if !is_chosen && interface.kind != InterfaceKind::Loopback {
            reasons.entry(why_not(state, wanted, interface)).or_default().push(&interface.name);
        }
    }
    let tell = |(why, names): (&str, Vec<&str>)| match names.len() > MOST_TOLD {
        true => format!("{} ({why})", names.len()),
        false => format!("{} ({why})", names.join(" ")),
    };
    let reasons: Vec<String> = reasons.into_iter().map(tell).collect();
    (!reasons.is_empty()).then(|| add("left out", format!("not offered: {}", reasons.join(", "))))
}

/// Why an interface is not offered to others.
fn why_not(state: &State, wanted: Option<&str>, interface: &Interface) -> &'static str {
    let mut own = state.addresses.iter().filter(|it| it.interface.name == interface.name);
    match own.next() {
        None if interface.master.is_some() => "a part of another",
        None => "no address that others could use",
        Some(address) if !address.interface.is_up => "is down",
        Some(_) if wanted.is_some() => "CROSSTIE_INTERFACE names others",
        Some(_) => "is not usable",
    }
}

/// Who is named and not there, or has no signal, fails every job that names it.
fn named_nics(state: &State) -> Vec<Finding> {
    let told = state.told("CROSSTIE_NICS").unwrap_or_default();
    let ips = told.split(',').filter_map(|part| part.trim().parse::<IpAddr>().ok());
    let judge = |ip: IpAddr| {
        let at = state.addresses.iter().find(|address| address.ip == ip.to_canonical());
        let name = at.map_or("INTERFACE", |at| at.interface.name.as_str());
        let up = at.is_some_and(|at| at.interface.is_up && at.interface.has_carrier);
        let what = match at {
            Some(_) if up => format!("{ip} of CROSSTIE_NICS is {name}'s"),
            Some(_) => format!("{ip} of CROSSTIE_NICS is {name}'s, which is down or has no signal"),
            None => format!("no interface has {ip} of CROSSTIE_NICS"),
        };
        let finding = add("named NIC", what);
        match (at, up) {
            (_, true) => finding,
            (Some(_), false) => finding.wanted("up, with a signal").would_fail(format!(
                "`ip link set {name} up`, look at its cable, or leave it out of CROSSTIE_NICS"
            )),
            (None, false) => finding.wanted("an address of this host").would_fail(
                "correct CROSSTIE_NICS (`ip -brief addr` lists what there is), or `ip addr add` it",
            ),
        }
    };
    ips.map(judge).collect()
}

fn ports(state: &State) -> Finding {
    let here = state.world.here();
    let ports = &state.ports;
    let Some(range) = &ports.range else {
        let from = ports.ephemeral.map(|(first, last)| format!(", of {first} to {last}"));
        return add("ports", format!("any: the kernel chooses{}", from.unwrap_or_default()));
    };
    let (first, last) = (range.start(), range.end());
    let finding = add("ports", format!("{} free in CROSSTIE_PORTS={first}-{last}", ports.free))
        .wanted(format!("{here}, one for each rank here"));
    match ports.free < here {
        true => finding.would_fail(format!(
            "widen the range (CROSSTIE_PORTS={first}-{}), also in the firewall; `ss -ltn` tells who has them",
            first.saturating_add(u16::try_from(4 * here).unwrap_or(u16::MAX))
        )),
        false => finding,
    }
}
