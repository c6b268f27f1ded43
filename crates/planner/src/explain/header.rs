//! Owns how a plan begins: how many nodes of what, which devices ranks play, and what the descriptions leave open.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crosstie_topo::render;
use crosstie_topo::{Finding, Rule, lint};

use super::lines::{numbers, wrapped};
use super::scheme::Scheme;
use crate::search::{Node, device};

/// What lint finds that bandwidths, and so rings and bound, rest on: links that a description leaves out, or speeds
/// that are guessed.
const DECISIVE: [Rule; 7] = [
    Rule::NotDescribed,
    Rule::AsymmetricNvlink,
    Rule::SelfLink,
    Rule::LinkToNowhere,
    Rule::SpeedUnknown,
    Rule::FlatTree,
    Rule::DuplicateBusId,
];

/// Findings about the nodes' descriptions on which bandwidths rest, each once.
pub(super) fn warnings(scheme: &Scheme<'_>) -> Vec<Finding> {
    let mut warnings: Vec<Finding> = Vec::new();
    for finding in scheme.kinds.iter().flat_map(|kind| lint(kind.topology)) {
        let known = |other: &Finding| other.evidence == finding.evidence;
        if DECISIVE.contains(&finding.rule) && !warnings.iter().any(known) {
            warnings.push(finding);
        }
    }
    warnings.sort_by_key(|finding| DECISIVE.iter().position(|&rule| rule == finding.rule));
    warnings
}

/// The whole of it. Writing to a String cannot fail.
pub(super) fn header(scheme: &Scheme<'_>, warnings: &[Finding], text: &mut String) {
    machines(scheme, text);
    let (ranks, pxn) = (scheme.ranks(), if scheme.pxn { "on" } else { "off" });
    let s = if ranks == 1 { "" } else { "s" };
    let _ = writeln!(text, "{ranks} rank{s}, PXN {pxn}, fingerprint {}", scheme.fingerprint);
    let hosts = scheme.node.topology.hosts().len();
    if hosts > 1 {
        let told = format!(
            "one node is all {hosts} hosts of the description; of `bench` and `run`, --nodes N takes N of its hosts"
        );
        wrapped("", &told, text);
    }
    const SHOWN: usize = 3;
    let mut told: Vec<&str> = warnings.iter().take(SHOWN).map(|it| &*it.evidence).collect();
    let more = format!("{} more", warnings.len().saturating_sub(SHOWN));
    if warnings.len() > SHOWN {
        told.push(&more);
    }
    if !told.is_empty() {
        let told = format!("{} (`crosstie topo lint`)", told.join("; "));
        wrapped("left open: ", &told, text);
    }
}

/// How many nodes there are, and what each is.
fn machines(scheme: &Scheme<'_>, text: &mut String) {
    let (count, s) = (scheme.nodes, if scheme.nodes == 1 { "" } else { "s" });
    let headline = render::headline(scheme.node.topology);
    if scheme.kinds.len() == 1 {
        let _ = writeln!(text, "{count} node{s}, each {headline}{}", members(scheme, &scheme.node));
        return;
    }
    let _ = writeln!(text, "{count} node{s} of {} kinds", scheme.kinds.len());
    for (kind, number) in scheme.kinds.iter().zip(0..) {
        let of_kind = (0..count).zip(&scheme.kind_of).filter(|&(_, &other)| other == number);
        let nodes: Vec<u32> = of_kind.map(|(node, _)| node).collect();
        let (ranks, headline) = (kind.members.len(), render::headline(kind.topology));
        let on = members(scheme, kind);
        let _ = writeln!(text, "  node {}: {ranks} ranks of {headline}{on}", numbers(&nodes));
    }
}

/// Which of a node's devices ranks play, where these are not all, or not in their order.
fn members(scheme: &Scheme<'_>, node: &Node<'_>) -> String {
    if node.members == Node::whole(node.topology).members {
        return String::new();
    }
    let played = node.members.iter().filter_map(|&member| device(node.topology, member));
    let played: Vec<u32> = played.collect();
    match &played[..] {
        [one] => format!(", a rank on {} {one}", scheme.unit()),
        several => format!(", ranks on {}s {}", scheme.unit(), numbers(several)),
    }
}
