//! Owns the judgement of fabrics: ports without a cable, leaves without an uplink, rails of several speeds,
//! nodes that nothing joins.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::fabric::{Fabric, Wiring};
use crate::lint::{Finding, Rule, Severity, counted, verb};
use crate::unit::Bandwidth;
use crate::xml::Position;

/// Everything found in a fabric: the worst first. It knows no place: the cables are told in groups.
pub fn lint(fabric: &Fabric, wiring: &Wiring) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(unreachable(wiring));
    findings.extend(bare_ports(fabric, wiring));
    findings.extend(bare_leaves(wiring));
    findings.extend(uneven_rails(wiring));
    findings.sort_by_key(|finding| (core::cmp::Reverse(finding.severity), finding.rule));
    findings
}

fn finding(severity: Severity, rule: Rule, evidence: String, remedy: &str) -> Finding {
    let (about, at) = (Vec::new(), Position::default());
    Finding { severity, rule, about, evidence, remedy: remedy.into(), at }
}

/// The first of some names, and how many there are.
fn few(names: &[String], members: impl ExactSizeIterator<Item = u32>) -> String {
    let count = members.len();
    let first: Vec<&str> = members
        .take(4)
        .filter_map(|member| names.get(member as usize))
        .map(String::as_str)
        .collect();
    let more = if count > 4 { format!(" and {} more", count - 4) } else { String::new() };
    format!("{}{more}", first.join(", "))
}

/// Nodes that no cables, leaves and spines join to the first one.
fn unreachable(wiring: &Wiring) -> Option<Finding> {
    let mut of_leaf: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut of_node: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for cable in &wiring.cables {
        of_leaf.entry(cable.leaf).or_default().push(cable.node);
        of_node.entry(cable.node).or_default().push(cable.leaf);
    }
    let mut of_spine: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for uplink in &wiring.uplinks {
        of_spine.entry(uplink.spine).or_default().push(uplink.leaf);
    }
    let (mut nodes, mut leaves) = (BTreeSet::from([0]), BTreeSet::new());
    let mut spines: BTreeSet<u32> = BTreeSet::new();
    let mut open = of_node.remove(&0).unwrap_or_default();
    while let Some(leaf) = open.pop() {
        if !leaves.insert(leaf) {
            continue;
        }
        for &node in of_leaf.get(&leaf).into_iter().flatten() {
            if nodes.insert(node) {
                open.extend(of_node.remove(&node).into_iter().flatten());
            }
        }
        let up = wiring.uplinks_of(leaf).iter().map(|uplink| uplink.spine);
        for spine in up.filter(|&spine| spines.insert(spine)) {
            open.extend(of_spine.remove(&spine).into_iter().flatten());
        }
    }
    let all = 0..wiring.nodes.len() as u32;
    let apart: Vec<u32> = all.filter(|node| !nodes.contains(node)).collect();
    let names = few(&wiring.nodes, apart.iter().copied());
    (!apart.is_empty()).then(|| {
        finding(
            Severity::Error,
            Rule::Unreachable,
            format!("nothing joins {names} to {}", wiring.nodes[0]),
            "add [[uplinks]] from the leaves to common [[spines]], or [[cables]] to common leaves",
        )
    })
}

fn bare_ports(fabric: &Fabric, wiring: &Wiring) -> Option<Finding> {
    let mut ports = Vec::new();
    let mut node = 0;
    for group in &fabric.nodes {
        for _ in 0..group.count {
            let bare = (0..group.ports).filter(|&port| wiring.cable(node, port).is_none()).count();
            ports.extend((bare > 0).then_some((node, bare)));
            node += 1;
        }
    }
    let count: usize = ports.iter().map(|(_, bare)| bare).sum();
    let names = few(&wiring.nodes, ports.iter().map(|&(node, _)| node));
    (count > 0).then(|| {
        let has = verb(count, "has", "have");
        finding(
            Severity::Warning,
            Rule::PortWithoutCable,
            format!("{} of {names} {has} no cable", counted(count, "port")),
            "add [[cables]] for these nodes, or lower their ports to those that are cabled",
        )
    })
}

fn bare_leaves(wiring: &Wiring) -> Option<Finding> {
    let used: BTreeSet<u32> = wiring.cables.iter().map(|cable| cable.leaf).collect();
    let bare: Vec<u32> =
        used.iter().copied().filter(|&leaf| wiring.uplinks_of(leaf).is_empty()).collect();
    if bare.is_empty() || used.len() < 2 {
        return None;
    }
    let remedy = "add [[uplinks]] from these leaves, unless the rails are meant to stay apart";
    Some(if bare.len() == used.len() {
        let evidence = "no leaf has an uplink: what is on different leaves reaches each other only by another GPU of its node (PXN)";
        finding(Severity::Note, Rule::LeafWithoutUplink, evidence.into(), remedy)
    } else {
        let names = few(&wiring.leaves, bare.iter().copied());
        let has = verb(bare.len(), "has", "have");
        let evidence = format!("{names} {has} no uplink, the other leaves have");
        finding(Severity::Warning, Rule::LeafWithoutUplink, evidence, remedy)
    })
}

fn uneven_rails(wiring: &Wiring) -> Vec<Finding> {
    let mut rails: BTreeMap<u32, BTreeMap<Bandwidth, (u32, usize)>> = BTreeMap::new();
    for cable in &wiring.cables {
        if let Some(rail) = cable.rail {
            let speeds = rails.entry(rail).or_default();
            speeds.entry(cable.bandwidth).or_insert((cable.node, 0)).1 += 1;
        }
    }
    let uneven: Vec<u32> =
        rails.iter().filter(|(_, speeds)| speeds.len() > 1).map(|(&rail, _)| rail).collect();
    let Some(speeds) = uneven.first().and_then(|rail| rails.get(rail)) else { return Vec::new() };
    let told: Vec<String> = speeds
        .iter()
        .take(4)
        .filter_map(|(speed, &(node, count))| {
            let name = wiring.nodes.get(node as usize)?;
            Some(format!("{} of {speed} (first {name})", counted(count, "cable")))
        })
        .collect();
    let others = match uneven.len() - 1 {
        0 => String::new(),
        more => format!("; so it is on {}", counted(more, "other rail")),
    };
    let evidence = format!("rail {} has {}{others}", uneven[0], told.join(", "));
    let remedy =
        "a ring over the rail is as fast as its slowest cable: give its [[cables]] one mbit";
    Vec::from([finding(Severity::Warning, Rule::RailSpeeds, evidence, remedy)])
}
