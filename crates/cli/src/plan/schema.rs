//! Owns what `crosstie plan --json` prints, as far as `plan diff` reads it: a plan that holds something else is refused
//! with the place.

use crosstie_topo::shown;
use serde_json::Value;

/// What a value has to be.
enum Is {
    /// A whole number, 0 or more.
    Number,
    /// One or more.
    Count,
    Text,
    Flag,
    /// Nothing, or this.
    Maybe(&'static Self),
    /// Any number of these.
    List(&'static Self),
    /// Numbers by name.
    Numbers,
    /// An object with these; what else it has is nobody's business.
    Object(&'static [(&'static str, Self)]),
}

use Is::{Count, Flag, List, Maybe, Number, Numbers, Object, Text};

const PLAN: Is = Object(&[
    ("nodes", Count),
    ("ranks", Count),
    ("fingerprint", Text),
    ("total_mb_s", Maybe(&Number)),
    ("bound_mb_s", Maybe(&Number)),
    ("rings", List(&RING)),
    ("trees", List(&TREE)),
    ("routes", List(&ROUTE)),
    ("wires", List(&WIRES)),
    ("messages", Maybe(&Numbers)),
    ("wire_messages", Maybe(&Numbers)),
    ("choices", List(&CHOICE)),
]);

const RING: Is =
    Object(&[("channel", Number), ("bandwidth_mb_s", Maybe(&Number)), ("nodes", List(&STRETCH))]);

const STRETCH: Is = Object(&[
    ("node", Number),
    ("gpus", List(&Number)),
    ("nic_in", Maybe(&Number)),
    ("nic_out", Maybe(&Number)),
    ("relay_in", Maybe(&Number)),
    ("relay_out", Maybe(&Number)),
]);

const TREE: Is = Object(&[("channel", Number), ("bandwidth_mb_s", Maybe(&Number))]);

const ROUTE: Is = Object(&[
    ("gpu", Number),
    ("remote_gpu", Number),
    ("kind", Text),
    ("relay_gpu", Maybe(&Number)),
    ("nic", Number),
    ("remote_nic", Number),
    ("crosses_rail", Flag),
]);

const WIRES: Is = Object(&[("node", Number), ("per_channel", Number)]);

const CHOICE: Is = Object(&[
    ("operation", Text),
    ("bytes", Number),
    ("algorithm", Text),
    ("protocol", Maybe(&Text)),
    ("time_ns", Number),
    ("reason", Text),
]);

/// What in a plan is not as it is printed: where, what is there, what was expected.
pub fn fault(plan: &Value) -> Option<String> {
    PLAN.fault(plan, &mut String::new())
}

impl Is {
    fn fault(&self, value: &Value, path: &mut String) -> Option<String> {
        let length = path.len();
        let mut inner = |name: String, is: &Self, value: &Value| {
            path.push_str(&name);
            let fault = is.fault(value, path);
            path.truncate(length);
            fault
        };
        match (self, value) {
            (Maybe(_), Value::Null) | (Text, Value::String(_)) | (Flag, Value::Bool(_)) => None,
            (Maybe(is), value) => is.fault(value, path),
            (List(is), Value::Array(all)) => {
                let mut all = all.iter().enumerate();
                all.find_map(|(at, value)| inner(format!("[{at}]"), is, value))
            }
            (Numbers, Value::Object(all)) => {
                let mut all = all.iter();
                all.find_map(|(name, value)| inner(format!(".{}", shown(name)), &Number, value))
            }
            (Object(fields), Value::Object(_)) => {
                let mut fields = fields.iter();
                fields.find_map(|(name, is)| inner(format!(".{name}"), is, &value[name]))
            }
            (Number, value) if value.is_u64() => None,
            (Count, value) if value.as_u64() > Some(0) => None,
            (is, value) => Some(is.refusal(value, path)),
        }
    }

    fn refusal(&self, value: &Value, path: &str) -> String {
        /// Of a value that could be long.
        const SHOWN: usize = 40;
        let found = match value {
            Value::Null => "nothing".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            other => shown(&other.to_string().chars().take(SHOWN).collect::<String>()),
        };
        let expected = match self {
            Number => "a whole number, 0 or more",
            Count => "a whole number, 1 or more",
            Text => "text",
            Flag => "true or false",
            List(_) => "a list",
            Numbers | Object(_) => "an object",
            Maybe(is) => return is.refusal(value, path),
        };
        format!("{path}: {found}, expected {expected}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan() -> Value {
        json!({
            "nodes": 2, "ranks": 2, "fingerprint": "x", "bound_mb_s": null, "trees": [], "wires": [],
            "rings": [{"channel": 0, "bandwidth_mb_s": 1, "nodes": [
                {"node": 0, "gpus": [0], "nic_in": 0, "nic_out": null}]}],
            "routes": [{"gpu": 0, "remote_gpu": 0, "kind": "direct", "relay_gpu": null, "nic": 0,
                "remote_nic": 0, "crosses_rail": false}],
            "messages": {"all_reduce": 1}, "wire_messages": null,
            "choices": [{"operation": "all_reduce", "bytes": 8, "algorithm": "ring", "protocol": null,
                "time_ns": 1, "reason": "x"}],
        })
    }

    #[test]
    fn a_plan_that_holds_what_none_does_is_refused_with_the_place() {
        assert_eq!(fault(&plan()), None);
        for (at, value, told) in [
            ("/nodes", json!(-1), ".nodes: -1, expected a whole number, 1 or more"),
            ("/ranks", json!(0), ".ranks: 0, expected a whole number, 1 or more"),
            ("/rings", json!({}), ".rings: an object, expected a list"),
            (
                "/rings/0/nodes/0/gpus/0",
                json!("\u{1b}[31m"),
                r#".rings[0].nodes[0].gpus[0]: "\u001b[31m", exp"#,
            ),
            ("/routes/0/nic", json!(1.5), ".routes[0].nic: 1.5, expected a whole number"),
            (
                "/routes/0/crosses_rail",
                Value::Null,
                ".routes[0].crosses_rail: nothing, expected true or",
            ),
            ("/messages/all_reduce", json!([]), ".messages.all_reduce: a list, expected a whole"),
            ("/choices/0/reason", json!(7), ".choices[0].reason: 7, expected text"),
        ] {
            let mut bad = plan();
            *bad.pointer_mut(at).unwrap() = value;
            let fault = fault(&bad).unwrap();
            assert!(fault.starts_with(told), "{fault}\nexpected: {told}");
        }
    }
}
