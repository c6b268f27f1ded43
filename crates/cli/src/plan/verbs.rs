//! Owns what a plan says of RDMA devices: what the wires of its ranks take of them, before any is made.

use std::fmt::Write as _;

use crosstie::{Pxn, Settings, VerbsNeeds};
use crosstie_planner::explain::{Scheme, numbers};
use crosstie_planner::{Nodes, Rails};
use serde_json::{Value, json};

use crate::args::PlanPxn;
use crate::exit::Failure;

/// Ranks of a node that are looked at; on larger nodes the others are like these.
const MOST_RANKS: usize = 16;

/// A line for all ranks that need as much; nothing for one node.
pub fn text(scheme: &Scheme<'_>, pxn: PlanPxn) -> Result<String, Failure> {
    let mut alike: Vec<(VerbsNeeds, Vec<u32>)> = Vec::new();
    for (rank, needs) in needs(scheme, pxn)? {
        match alike.iter_mut().find(|(other, _)| *other == needs) {
            Some((_, ranks)) => ranks.push(rank),
            None => alike.push((needs, vec![rank])),
        }
    }
    let mut text = String::new();
    for (needs, ranks) in alike {
        let s = if ranks.len() == 1 { "" } else { "s" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "Over ibverbs, besides buffers, rank{s} {} of a node: {needs}",
            numbers(&ranks)
        );
    }
    Ok(text)
}

/// The same for scripts: null for one node.
pub fn object(scheme: &Scheme<'_>, pxn: PlanPxn) -> Result<Value, Failure> {
    let needs = needs(scheme, pxn)?;
    let all = needs.iter().map(|(rank, needs)| needs_object(*rank, needs));
    Ok(if needs.is_empty() { Value::Null } else { all.collect() })
}

/// What the wires of a rank take.
pub fn needs_object(rank: u32, needs: &VerbsNeeds) -> Value {
    json!({
        "rank": rank,
        "queue_pairs": needs.queue_pairs,
        "work_requests": needs.work_requests,
        "completion_queues": needs.completion_queues,
        "completions": needs.completions,
        "regions": needs.regions,
        "pinned_bytes": needs.pinned_bytes,
    })
}

/// Of the ranks of the first node of each kind.
fn needs(scheme: &Scheme<'_>, pxn: PlanPxn) -> Result<Vec<(u32, VerbsNeeds)>, Failure> {
    if scheme.nodes < 2 {
        return Ok(Vec::new());
    }
    let failed = |error: &dyn std::fmt::Display| Failure::usage(error, "plan for less nodes");
    let members = |kind: u32| scheme.kinds.get(kind as usize).map_or(0, |it| it.members.len());
    let of_node = |(node, &kind): (u32, &u32)| vec![node; members(kind)];
    let nodes = (0..).zip(&scheme.kind_of).flat_map(of_node).collect();
    let nodes = Nodes::new(nodes).map_err(|error| failed(&error))?;
    let rails = Rails::of_machines(&nodes, &scheme.kinds, &scheme.kind_of);
    let rails = rails.map_err(|error| failed(&error))?;
    let settings = Settings::default().pxn(match pxn {
        PlanPxn::Auto => Pxn::Auto,
        PlanPxn::On => Pxn::On,
        PlanPxn::Off => Pxn::Off,
    });
    let mut told = Vec::new();
    for kind in 0..scheme.kinds.len() as u32 {
        let Some(first) = scheme.kind_of.iter().position(|&other| other == kind) else { continue };
        let ranks = (0..).zip(nodes.assignment()).filter(|&(_, &node)| node == first as u32);
        for (rank, _) in ranks.take(MOST_RANKS) {
            let needs = settings.verbs_needs(&nodes, &rails, rank);
            told.push((rank, needs.map_err(|error| failed(&error))?));
        }
    }
    Ok(told)
}
