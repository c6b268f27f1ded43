//! Owns the ways between nodes as people read them: who puts on the network what a node's ranks send, and up to which
//! length relays pay.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::super::lines::{Look, numbers, speed, wrapped};
use super::super::routes::Way;
use super::super::scheme::Scheme;
use crate::cost::{RelayPays, Sharing};

/// Those that leave by one NIC, from one GPU.
#[derive(Default)]
struct Sender {
    rail: u32,
    passed: BTreeSet<u32>,
    on_rail: BTreeSet<u32>,
    across: BTreeSet<u32>,
}

pub(super) fn routes(scheme: &Scheme<'_>, look: Look, text: &mut String) {
    if scheme.routes.is_empty() {
        return;
    }
    let (unit, head) = (scheme.unit(), look.head());
    let counts = &scheme.counts;
    let instead = match scheme.pxn {
        true => format!(", {} without PXN", counts.wires_direct),
        false => String::new(),
    };
    let alike = scheme.kinds.len() == 1;
    let _ = writeln!(
        text,
        "\n{head}Routes{head:#} to any other node, by its {unit}s; {}{} wire{} on each channel{instead}",
        if alike { "" } else { "at most " },
        counts.wires,
        if counts.wires == 1 { "" } else { "s" }
    );
    if scheme.in_turn > 1 {
        let more = "of channel 0; on other channels by a GPU's other NICs, where it has several";
        wrapped("  ", more, text);
    }
    let mut pairs: Vec<(u32, u32)> =
        scheme.routes.iter().map(|way| (way.node, way.remote_node)).collect();
    pairs.dedup();
    for (node, remote) in pairs {
        if !alike {
            let _ = writeln!(text, " from node {node} to one like node {remote}");
        }
        let ways = scheme.routes.iter().filter(|way| (way.node, way.remote_node) == (node, remote));
        senders(scheme, node, ways, look, text);
    }
    relays_pay(scheme, text);
    if look.full {
        each_route(scheme, look, text);
    }
}

/// Up to which length relays pay, by what the ways of pairs differ by.
fn relays_pay(scheme: &Scheme<'_>, text: &mut String) {
    let mut pairs: BTreeMap<RelayPays, (Sharing, usize)> = BTreeMap::new();
    for sharing in scheme.routes.iter().filter_map(|way| way.sharing) {
        pairs.entry(scheme.counts.relay_pays(sharing)).or_insert((sharing, 0)).1 += 1;
    }
    let all = scheme.routes.len();
    for (pays, (Sharing { together, .. }, count)) in pairs {
        let told = match pays {
            RelayPays::Always => {
                format!("at any length for {count} of {all} pairs: direct they would cross rails")
            }
            RelayPays::Below(0) => format!("never for {count} of {all} pairs, one on each wire"),
            RelayPays::Below(below) => {
                let links = scheme.counts.links();
                format!(
                    "below {below} bytes for {count} of {all} pairs: {together} ranks share a wire, in groups of up to {} bytes; each wire message less saves {} ns, a copy goes at {}",
                    links.between.group_bytes,
                    links.between.wire_message_ns,
                    speed(links.inside.relay_mb_s.unwrap_or(links.inside.mb_s)),
                )
            }
        };
        wrapped("  relays pay ", &told, text);
    }
}

/// Who puts on the network what a node's ranks send to another node.
fn senders<'a>(
    scheme: &Scheme<'_>,
    node: u32,
    ways: impl Iterator<Item = &'a Way>,
    look: Look,
    text: &mut String,
) {
    let (unit, bad) = (scheme.unit(), look.bad());
    let mut senders: BTreeMap<(Option<u32>, u32), Sender> = BTreeMap::new();
    for way in ways {
        let sender = senders.entry((way.nic, way.relay.unwrap_or(way.gpu))).or_default();
        sender.rail = way.rail;
        if way.relay.is_some() {
            sender.passed.insert(way.gpu);
        }
        let to = if way.crosses_rail() { &mut sender.across } else { &mut sender.on_rail };
        to.insert(way.remote_gpu);
    }
    let kind = scheme.kind(node);
    for ((nic, gpu), sender) in &senders {
        let nic = nic.map_or("none".to_owned(), |nic| nic.to_string());
        let rails = kind.map(|kind| &kind.rails);
        let of = rails.and_then(|rails| rails.iter().find(|&(rail, _)| rail == sender.rail));
        let of = match of.map_or(1, |(_, ports)| ports.len()) {
            1 => String::new(),
            many => format!(" (of {many})"),
        };
        let mut line = format!("  rail {:<2}  nic {nic:<2}{of}  {unit} {gpu}", sender.rail);
        line += &relayed(kind.map_or(0, |kind| kind.members.len()), sender);
        if !sender.on_rail.is_empty() {
            line += &format!(", to {}", listed(&sender.on_rail));
        }
        if !sender.across.is_empty() {
            line += &format!(", {bad}across rails to {}{bad:#}", listed(&sender.across));
        }
        let _ = writeln!(text, "{line}");
    }
}

fn listed(set: &BTreeSet<u32>) -> String {
    numbers(&set.iter().copied().collect::<Vec<_>>())
}

/// Whom a sender relays for.
fn relayed(members: usize, sender: &Sender) -> String {
    if sender.passed.is_empty() {
        return String::new();
    }
    let others = sender.passed.len() + 1 == members;
    let whom = if others { "the others".to_owned() } else { listed(&sender.passed) };
    format!(", relay for {whom}")
}

fn each_route(scheme: &Scheme<'_>, look: Look, text: &mut String) {
    let bad = look.bad();
    for way in &scheme.routes {
        let relay = way.relay.map(|relay| {
            let path = scheme.between(way.node, way.gpu, relay);
            let link = path
                .map_or("no path".to_owned(), |path| format!("{} {}", path.kind, path.bandwidth));
            format!("by {relay} ({link}), ")
        });
        let relay = relay.unwrap_or_default();
        let nic = |nic: Option<u32>| nic.map_or("?".to_owned(), |nic| nic.to_string());
        let across = if way.crosses_rail() {
            format!(", {bad}crosses from rail {} to {}{bad:#}", way.rail, way.remote_rail)
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "    {} to {}: {relay}nic {} to nic {}{across}",
            way.gpu,
            way.remote_gpu,
            nic(way.nic),
            nic(way.remote_nic)
        );
    }
}
