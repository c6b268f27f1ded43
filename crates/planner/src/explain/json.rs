//! Owns the plan as one object, for scripts.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::counts::{BLOCK, Chosen, Sent};
use super::routes::Way;
use super::scheme::Scheme;
use crate::ChoiceWhy;
use crate::search::Stretch;

/// All of it: schema 1.
pub(super) fn object(scheme: &Scheme<'_>) -> Value {
    let (rings, counts) = (&scheme.rings, &scheme.counts);
    let by_operation = |number: fn(&Sent) -> u64| -> Value {
        let pairs = counts.sent.iter().map(|sent| (sent.operation.to_owned(), number(sent).into()));
        if counts.sent.is_empty() { Value::Null } else { pairs.collect::<Map<_, _>>().into() }
    };
    let alike = scheme.kinds.len() == 1;
    let wires = (0..scheme.nodes).zip(&counts.wires_of).map(|(node, wires)| {
        json!({
            "node": node,
            "to_each_node": alike.then_some(counts.wires),
            "per_channel": wires,
        })
    });
    json!({
        "schema": 1,
        "nodes": scheme.nodes,
        "ranks": scheme.ranks(),
        "pxn": scheme.pxn,
        "fingerprint": scheme.fingerprint.to_string(),
        "total_mb_s": rings.total_mb_s(),
        "bound_mb_s": rings.bound_mb_s,
        "rings": rings.rings.iter().map(|ring| json!({
            "channel": ring.channel,
            "bandwidth_mb_s": ring.bandwidth_mb_s,
            "nodes": ring.nodes.iter().map(stretch).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "graph": scheme.told.map(|told| json!({
            "ring_mb_s": told.ring_mb_s,
            "found_rings": told.found_rings,
            "found_mb_s": told.found_mb_s,
        })),
        "trees": rings.trees,
        "loads": scheme.loads.iter().map(|load| json!({
            "from": scheme.node.topology.label(load.from).to_string(),
            "to": scheme.node.topology.label(load.to).to_string(),
            "load_mb_s": load.load_mb_s,
            "capacity_mb_s": load.capacity_mb_s,
        })).collect::<Vec<_>>(),
        "swap": rings.swap,
        "crossings": rings.crossings,
        "routes": scheme.routes.iter().map(|route| way(route, alike)).collect::<Vec<_>>(),
        "wires": wires.collect::<Vec<_>>(),
        "block_bytes": BLOCK,
        "messages": by_operation(|sent| sent.messages),
        "wire_messages": by_operation(|sent| sent.wire_messages),
        "choices": counts.chosen.iter().map(chosen).collect::<Vec<_>>(),
    })
}

fn stretch(stretch: &Stretch) -> Value {
    json!({
        "node": stretch.node,
        "gpus": stretch.gpus,
        "local_ranks": stretch.local_ranks,
        "nic_in": stretch.nic_in,
        "nic_out": stretch.nic_out,
        "relay_in": stretch.relay_in,
        "relay_out": stretch.relay_out,
        "relay_why": stretch.relay_why,
    })
}

/// With its nodes, where these are not all alike.
fn way(way: &Way, alike: bool) -> Value {
    let mut told = json!({
        "gpu": way.gpu,
        "remote_gpu": way.remote_gpu,
        "kind": if way.relay.is_some() { "pxn" } else { "direct" },
        "relay_gpu": way.relay,
        "nic": way.nic,
        "remote_nic": way.remote_nic,
        "rail": way.rail,
        "remote_rail": way.remote_rail,
        "crosses_rail": way.crosses_rail(),
        "crosses_why": way.why,
    });
    if let Some(told) = told.as_object_mut().filter(|_| !alike) {
        told.insert("node".to_owned(), way.node.into());
        told.insert("remote_node".to_owned(), way.remote_node.into());
    }
    told
}

/// Nothing predicts times yet, and the choice of a protocol is the transport's.
fn chosen(chosen: &Chosen) -> Value {
    json!({
        "operation": chosen.operation,
        "bytes": chosen.bytes,
        "algorithm": chosen.choice.algorithm.name(),
        "protocol": null,
        "time_ns": null,
        "reason": reason(chosen.choice.why),
    })
}

/// Why an algorithm was taken, in words.
pub fn reason(why: ChoiceWhy) -> String {
    match why {
        ChoiceWhy::Canonical => "the order of reductions is to be canonical".into(),
        ChoiceWhy::Forced => "it is asked for".into(),
        ChoiceWhy::Measured { most_ranks, most_bytes } => {
            let ranks = most_ranks.map(|most| format!(" on up to {most} ranks"));
            let bytes = most_bytes.map(|most| format!(" of up to {most} bytes in all"));
            let (ranks, bytes) = (ranks.unwrap_or_default(), bytes.unwrap_or_default());
            format!(
                "measured fastest{ranks} for buffers{}",
                if bytes.is_empty() { " of any size" } else { &bytes }
            )
        }
        ChoiceWhy::First => "no measurement favours another".into(),
    }
}
