//! Owns the plan as one object, for scripts.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::counts::{BLOCK, Chosen, Counts, Sent};
use super::header::warnings;
use super::routes::Way;
use super::scheme::Scheme;
use crate::cost::{Bottleneck, Carriage, RelayPays, Shape};
use crate::search::Stretch;
use crate::{Choice, ChoiceWhy};

impl Scheme<'_> {
    /// As one object, for scripts: schema 1.
    pub fn json(&self) -> Value {
        object(self)
    }
}

/// All of it: schema 1.
fn object(scheme: &Scheme<'_>) -> Value {
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
        "bound_by": rings.cut.as_ref().map(|cut| json!({
            "kind": cut.kind,
            "why": cut.why,
            "links": cut.links.iter().map(|link| json!({
                "from": scheme.label(cut.kind, link.from),
                "to": scheme.label(cut.kind, link.to),
                "capacity_mb_s": link.capacity_mb_s,
            })).collect::<Vec<_>>(),
        })),
        "bound_note": rings.bound_mb_s.is_none().then_some("no link limits the rings"),
        "ended": rings.ended,
        "warnings": warnings(scheme).iter().map(|it| json!({
            "rule": it.rule,
            "evidence": it.evidence,
            "remedy": it.remedy,
        })).collect::<Vec<_>>(),
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
        "routes": scheme.routes.iter().map(|route| way(route, counts, alike)).collect::<Vec<_>>(),
        "wires": wires.collect::<Vec<_>>(),
        "block_bytes": BLOCK,
        "messages": by_operation(|sent| sent.messages),
        "wire_messages": by_operation(|sent| sent.wire_messages),
        "choices_over": counts.over(),
        "choices": counts.chosen.iter().map(|it| chosen(it, counts.tune_file.as_deref())).collect::<Vec<_>>(),
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
fn way(way: &Way, counts: &Counts, alike: bool) -> Value {
    let pays = way.sharing.map(|sharing| counts.relay_pays(sharing));
    let below = match pays {
        Some(RelayPays::Below(bytes)) => Some(bytes),
        _ => None,
    };
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
        "relay_pays": pays.map(RelayPays::name),
        "relay_below_bytes": below,
        "relay_ranks": way.sharing.map(|sharing| sharing.together),
    });
    if let Some(told) = told.as_object_mut().filter(|_| !alike) {
        told.insert("node".to_owned(), way.node.into());
        told.insert("remote_node".to_owned(), way.remote_node.into());
    }
    told
}

/// `protocol` is null over links that this library carries nothing over yet.
fn chosen(chosen: &Chosen, file: Option<&str>) -> Value {
    let choice = &chosen.choice;
    json!({
        "operation": chosen.operation,
        "bytes": chosen.bytes,
        "algorithm": choice.algorithm.name(),
        "protocol": choice.protocol.map(Carriage::name),
        "time_ns": choice.time_ns,
        "runner_up": choice.runner_up.map(|(algorithm, time_ns)| json!({
            "algorithm": algorithm.name(),
            "time_ns": time_ns,
        })),
        "limit": choice.bottleneck.to_string(),
        "reason": reason(choice, file),
    })
}

/// Why an algorithm was taken, in words; by the table of `file`, where one was told.
pub fn reason(choice: &Choice, file: Option<&str>) -> String {
    let on = |Shape { nodes, ranks_per_node }: Shape| {
        let s = |count| if count == 1 { "" } else { "s" };
        format!("{nodes} node{} of {ranks_per_node} rank{}", s(nodes), s(ranks_per_node))
    };
    let why = match choice.why {
        ChoiceWhy::Canonical => "the order of reductions is to be canonical".into(),
        ChoiceWhy::Forced => "it is asked for".into(),
        ChoiceWhy::Only => "there is no other".into(),
        ChoiceWhy::NoRelay => "its messages pass no relay".into(),
        ChoiceWhy::Tuned(shape) => {
            format!("fastest by {}, measured on {}", file.unwrap_or("the tune file"), on(shape))
        }
        ChoiceWhy::BuiltIn(shape) => {
            format!("fastest by the built-in table, measured on {}", on(shape))
        }
        ChoiceWhy::Model => "fastest by the model".into(),
    };
    let next = choice.runner_up.map(|(next, time_ns)| {
        let (next, with) = (next.name(), time(time_ns));
        match choice.time_ns {
            slower if slower > time_ns => format!(
                "; {next} has {with} here, for sizes are decided by the next step, two for each power of two"
            ),
            own if time(own) == with => format!("; {next} is as fast"),
            _ => format!("; next {next} with {with}"),
        }
    });
    if choice.bottleneck == Bottleneck::Nobody {
        return "a lone rank has nobody to send to".into();
    }
    let (took, limit) = (time(choice.time_ns), choice.bottleneck);
    format!("{why}: {took}, limited by {limit}{}", next.unwrap_or_default())
}

/// A time, rounded to three digits.
fn time(time_ns: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    // What rounds to 1000 of a unit is one of the next.
    let unit = UNITS.iter().find(|&&(ns, _)| time_ns >= ns - ns / 2000);
    let Some(&(ns, unit)) = unit else { return format!("{time_ns} ns") };
    let rounded = |step: u64| time_ns / step + u64::from(time_ns % step >= step.div_ceil(2));
    match time_ns {
        few if few < 10 * ns - ns / 200 => {
            let hundredths = rounded(ns / 100);
            format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100)
        }
        some if some < 100 * ns - ns / 20 => {
            let tenths = rounded(ns / 10);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        _ => format!("{} {unit}", rounded(ns)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_to_three_digits() {
        let told = [
            (8, "8 ns"),
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (9_994, "9.99 us"),
            (9_995, "10.0 us"),
            (38_800, "38.8 us"),
            (99_950, "100 us"),
            (999_499, "999 us"),
            (999_500, "1.00 ms"),
            (42_960_000, "43.0 ms"),
            (42_949_672, "42.9 ms"),
            (171_800_000, "172 ms"),
            (44_739_242_666, "44.7 s"),
        ];
        for (time_ns, text) in told {
            assert_eq!(time(time_ns), text, "{time_ns}");
        }
        assert!(time(u64::MAX).ends_with(" s"));
    }
}
