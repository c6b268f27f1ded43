//! Owns how two plans differ: both as `crosstie plan --json` printed them, whatever of them changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use crosstie_planner::explain::{numbers, speed};
use serde_json::{Value, json};

/// One thing that changed.
pub struct Change {
    /// What it is about.
    pub what: &'static str,
    /// Which of them, where there are several.
    pub which: String,
    /// What it was, and what it is; empty of what was not, or is no more.
    pub values: [String; 2],
    /// What that means.
    pub note: String,
}

impl Change {
    fn of(what: &'static str, which: impl Into<String>, values: [String; 2]) -> Self {
        Self { what, which: which.into(), values, note: String::new() }
    }

    fn noted(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// For scripts.
    pub fn object(&self) -> Value {
        let [before, after] = &self.values;
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        json!({
            "what": self.what,
            "which": some(&self.which),
            "before": some(before),
            "after": some(after),
            "note": some(&self.note),
        })
    }
}

/// All that changed from one plan to another. The fingerprint is of what plans were made from: others may make
/// the same plan.
pub fn changes(plans: [&Value; 2]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (what, key) in [("nodes", "nodes"), ("ranks", "ranks"), ("PXN", "pxn")] {
        changes.extend(scalar(what, plans, key, plain));
    }
    for (what, key) in [("bandwidth", "total_mb_s"), ("bound", "bound_mb_s")] {
        let change = scalar(what, plans, key, told_speed);
        changes.extend(change.map(|change| change.noted(percent(plans, key))));
    }
    rings(plans, &mut changes);
    changes.extend(scalar("swap", plans, "swap", |swap| swap.to_string().replace('"', "")));
    trees(plans, &mut changes);
    nics(plans, &mut changes);
    routes(plans, &mut changes);
    crossings(plans, &mut changes);
    wires(plans, &mut changes);
    for (what, key) in [("messages", "messages"), ("wire messages", "wire_messages")] {
        by_name(what, plans, key, &mut changes);
    }
    choices(plans, &mut changes);
    if changes.is_empty() {
        rest(plans, &mut changes);
    }
    changes
}

/// What no part above knows, or takes for the same.
fn rest(plans: [&Value; 2], changes: &mut Vec<Change>) {
    const INPUTS: [&str; 1] = ["fingerprint"];
    let keys: BTreeSet<&String> =
        plans.iter().filter_map(|plan| plan.as_object()).flat_map(|plan| plan.keys()).collect();
    for key in keys.into_iter().filter(|key| !INPUTS.contains(&&***key)) {
        if plans[0][key] != plans[1][key] {
            parts(key.clone(), [0, 1].map(|side: usize| &plans[side][key]), changes);
        }
    }
}

/// The parts of a value that differ, each by its place in the JSON.
fn parts(at: String, values: [&Value; 2], changes: &mut Vec<Change>) {
    match values {
        [one, other] if one == other => {}
        [Value::Array(one), Value::Array(other)] if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                parts(format!("{at}[{index}]"), [one, other], changes);
            }
        }
        [Value::Object(one), Value::Object(other)] => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                parts(format!("{at}.{key}"), values.map(|value| &value[key]), changes);
            }
        }
        _ => changes.push(Change::of("other", at, values.map(briefly))),
    }
}

fn briefly(value: &Value) -> String {
    match value {
        Value::Array(all) => format!("{} entries", all.len()),
        other => plain(other).chars().take(60).collect(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Bool(on) => if *on { "on" } else { "off" }.into(),
        Value::String(text) => text.clone(),
        Value::Null => "none".into(),
        other => other.to_string(),
    }
}

fn told_speed(value: &Value) -> String {
    value.as_u64().map_or_else(|| "no limit".to_owned(), speed)
}

fn scalar(
    what: &'static str,
    plans: [&Value; 2],
    key: &str,
    told: fn(&Value) -> String,
) -> Option<Change> {
    let values = plans.map(|plan| &plan[key]);
    (values[0] != values[1]).then(|| Change::of(what, "", values.map(told)))
}

fn percent(plans: [&Value; 2], key: &str) -> String {
    match plans.map(|plan| plan[key].as_u64()) {
        [Some(before), Some(after)] if before > 0 => {
            let (before, after) = (before as f64, after as f64);
            format!("{:+.1} %", 100.0 * (after - before) / before)
        }
        _ => String::new(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A ring's way through a node, as `crosstie plan` writes it.
fn way(stretch: &Value) -> String {
    let nic = |key: &str| stretch[key].as_u64().map(|nic| format!("nic {nic}"));
    let gpus: Vec<u32> =
        list(stretch, "gpus").iter().filter_map(Value::as_u64).map(|gpu| gpu as u32).collect();
    let gpus = match gpus.len() {
        ..=8 => gpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        _ => numbers(&gpus),
    };
    let relay = stretch["relay_out"].as_u64().map(|relay| format!("by {relay}"));
    let parts = [nic("nic_in"), Some(gpus), relay, nic("nic_out")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" > ")
}

fn rings(plans: [&Value; 2], changes: &mut Vec<Change>) {
    let told = plans.map(|plan| {
        let rings = list(plan, "rings");
        let each = rings.first().map_or(&Value::Null, |ring| &ring["bandwidth_mb_s"]);
        format!("{} of {}", rings.len(), told_speed(each))
    });
    if told[0] != told[1] {
        changes.push(Change::of("rings", "", told));
    }
    let ways = plans.map(|plan| {
        let rings = list(plan, "rings").iter();
        let of = rings.flat_map(|ring| {
            let channel = ring["channel"].as_u64().unwrap_or(0);
            let key = move |node: &Value| (channel, node["node"].as_u64().unwrap_or(0));
            list(ring, "nodes").iter().map(move |node| (key(node), way(node)))
        });
        of.collect::<BTreeMap<(u64, u64), String>>()
    });
    // Nodes on which a channel changed alike are told together.
    let mut alike: BTreeMap<(u64, [String; 2]), Vec<u32>> = BTreeMap::new();
    for (key, values) in paired(&ways) {
        alike.entry((key.0, values)).or_default().push(key.1 as u32);
    }
    let mut alike: Vec<_> = alike.into_iter().collect();
    alike.sort_by_key(|((channel, _), nodes)| (*channel, nodes.first().copied()));
    for ((channel, values), nodes) in alike {
        let s = if nodes.len() == 1 { "" } else { "s" };
        let which = format!("channel {channel} node{s} {}", numbers(&nodes));
        changes.push(Change::of("ring", which, values));
    }
}

/// What differs by key: both values, one empty where there is none.
fn paired<K: Ord + Clone>(maps: &[BTreeMap<K, String>; 2]) -> Vec<(K, [String; 2])> {
    let keys: BTreeSet<&K> = maps.iter().flat_map(BTreeMap::keys).collect();
    let values =
        |key: &K| [0, 1].map(|side: usize| maps[side].get(key).cloned().unwrap_or_default());
    let differing = keys.into_iter().map(|key| (key.clone(), values(key)));
    differing.filter(|(_, [before, after])| before != after).collect()
}

fn trees(plans: [&Value; 2], changes: &mut Vec<Change>) {
    let told = plans.map(|plan| {
        let trees = list(plan, "trees");
        let each = trees.first().map_or(&Value::Null, |tree| &tree["bandwidth_mb_s"]);
        format!("{} of {}", trees.len(), told_speed(each))
    });
    if told[0] != told[1] {
        changes.push(Change::of("trees", "", told));
    } else if plans[0]["trees"] != plans[1]["trees"] {
        let note = "other chains or branches";
        changes.push(Change::of("trees", "", told).noted(note));
    }
}

/// The NICs that rings and routes take; of rings by node.
fn nics(plans: [&Value; 2], changes: &mut Vec<Change>) {
    let users = plans.map(|plan| {
        let mut users: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for node in list(plan, "rings").iter().flat_map(|ring| list(ring, "nodes")) {
            for nic in ["nic_in", "nic_out"].iter().filter_map(|side| node[*side].as_u64()) {
                users.entry(nic).or_default().insert(node["node"].as_u64().unwrap_or(0));
            }
        }
        let told = |nodes: BTreeSet<u64>| {
            let nodes: Vec<u32> = nodes.into_iter().map(|node| node as u32).collect();
            format!("on nodes {}", numbers(&nodes))
        };
        users.into_iter().map(|(nic, nodes)| (nic, told(nodes))).collect::<BTreeMap<_, _>>()
    });
    // A plan for more nodes uses each NIC on more of them.
    let same_nodes = plans[0]["nodes"] == plans[1]["nodes"];
    for (nic, values) in paired(&users) {
        let note = match values.each_ref().map(|value| value.is_empty()) {
            [false, true] => "no longer on any ring",
            [true, false] => "newly on rings",
            _ if !same_nodes => continue,
            _ => "on the rings of other nodes",
        };
        changes.push(Change::of("nic", nic.to_string(), values).noted(note));
    }
}

fn route(route: &Value) -> String {
    let number = |key: &str| route[key].as_u64().map_or("?".to_owned(), |it| it.to_string());
    let relay = route["relay_gpu"].as_u64().map(|relay| format!("by {relay}, "));
    let across = if route["crosses_rail"] == true { ", crosses rails" } else { "" };
    let relay = relay.unwrap_or_default();
    format!("{relay}nic {} to nic {}{across}", number("nic"), number("remote_nic"))
}

/// Whose route it is: nodes, where these differ, and GPUs.
type Ends = ([Option<u64>; 2], [Option<u64>; 2]);

/// The routes by their ends. Where nodes are alike, those of one pair are those of every pair, so of each pair that
/// the other plan tells.
fn by_ends<'a>(plan: &'a Value, other: &'a Value) -> BTreeMap<Ends, &'a Value> {
    let pair = |it: &Value, ends: [&str; 2]| ends.map(|end| it[end].as_u64());
    let nodes = |it: &Value| pair(it, ["node", "remote_node"]);
    let theirs: BTreeSet<_> = list(other, "routes").iter().map(nodes).collect();
    let routes = list(plan, "routes").iter().flat_map(|it| {
        let own = nodes(it);
        let pairs: Vec<_> = match own {
            [None, None] if !theirs.is_empty() => theirs.iter().copied().collect(),
            _ => vec![own],
        };
        let gpus = pair(it, ["gpu", "remote_gpu"]);
        pairs.into_iter().map(move |nodes| ((nodes, gpus), it))
    });
    routes.collect()
}

fn routes(plans: [&Value; 2], changes: &mut Vec<Change>) {
    let routes = [by_ends(plans[0], plans[1]), by_ends(plans[1], plans[0])];
    let mut counted = |what, key: &str, is: &dyn Fn(&Value) -> bool| {
        let counts = routes.each_ref().map(|routes| {
            let count = routes.values().filter(|route| is(&route[key])).count();
            (count, routes.len())
        });
        if counts[0].0 != counts[1].0 {
            let told = counts.map(|(count, all)| format!("{count} of {all}"));
            changes.push(Change::of(what, "routes", told));
        }
    };
    counted("relays", "relay_gpu", &|relay| !relay.is_null());
    counted("crossings", "crosses_rail", &|crosses| crosses == true);
    let ways = routes.each_ref().map(|routes| {
        routes.iter().map(|(ends, it)| (*ends, route(it))).collect::<BTreeMap<_, _>>()
    });
    let name = |node: Option<u64>, gpu: Option<u64>| {
        let gpu = gpu.map_or("?".to_owned(), |gpu| gpu.to_string());
        node.map_or(gpu.clone(), |node| format!("{gpu} of node {node}"))
    };
    let pair = |(nodes, gpus): &Ends| {
        format!("{} to {}", name(nodes[0], gpus[0]), name(nodes[1], gpus[1]))
    };
    for (ends, values) in paired(&ways) {
        changes.push(Change::of("route", pair(&ends), values));
    }
    // What a route's own line does not tell.
    let both =
        routes[0].iter().filter_map(|(ends, one)| Some((ends, [*one, *routes[1].get(ends)?])));
    for (ends, ways) in
        both.filter(|(_, ways)| ways[0] != ways[1] && route(ways[0]) == route(ways[1]))
    {
        let differs = |key: &&String| ways[0][&***key] != ways[1][&***key];
        let told = ways.map(|way| {
            let keys = way.as_object().into_iter().flat_map(|way| way.keys()).filter(differs);
            keys.map(|key| format!("{key} {}", plain(&way[key]))).collect::<Vec<_>>().join(", ")
        });
        changes.push(Change::of("route", pair(ends), told));
    }
}

fn crossings(plans: [&Value; 2], changes: &mut Vec<Change>) {
    let counts = plans.map(|plan| list(plan, "crossings").len().to_string());
    if counts[0] != counts[1] {
        changes.push(Change::of("crossings", "rings", counts));
    }
}

fn wires(plans: [&Value; 2], changes: &mut Vec<Change>) {
    // Where nodes differ, wires are counted to all others alone.
    let all = |key: &str| {
        plans.iter().flat_map(|plan| list(plan, "wires")).all(|wires| wires[key].is_u64())
    };
    let (key, which) = match all("to_each_node") {
        true => ("to_each_node", "from a node to each other"),
        false => ("per_channel", "from a node to all others"),
    };
    let told = plans.map(|plan| {
        let each = list(plan, "wires").iter().map(|wires| plain(&wires[key]));
        each.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(" or ")
    });
    if told[0] != told[1] {
        changes.push(Change::of("wires", which, told));
    }
}

fn by_name(what: &'static str, plans: [&Value; 2], key: &str, changes: &mut Vec<Change>) {
    let counts = plans.map(|plan| {
        let counts = plan[key].as_object().into_iter().flatten();
        counts.map(|(name, count)| (name.clone(), plain(count))).collect::<BTreeMap<_, _>>()
    });
    for (operation, values) in paired(&counts) {
        changes.push(Change::of(what, operation, values));
    }
}

/// Other algorithms first, then times, those that changed most before others.
fn choices(plans: [&Value; 2], changes: &mut Vec<Change>) {
    type Key = (String, u64);
    let way = |choice: &Value| {
        let parts = [choice["algorithm"].as_str(), choice["protocol"].as_str()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let chosen = plans.map(|plan| {
        let key =
            |it: &Value| -> Key { (plain(&it["operation"]), it["bytes"].as_u64().unwrap_or(0)) };
        let told = |it: &Value| (way(it), it["time_ns"].as_u64().unwrap_or(0));
        list(plan, "choices").iter().map(|it| (key(it), told(it))).collect::<BTreeMap<Key, _>>()
    });
    let keys: BTreeSet<&Key> = chosen.iter().flat_map(BTreeMap::keys).collect();
    let mut found = Vec::new();
    for key in keys {
        let both = [chosen[0].get(key), chosen[1].get(key)];
        if both[0] == both[1] {
            continue;
        }
        let told = |it: Option<&(String, u64)>| {
            it.map_or_else(String::new, |(way, ns)| format!("{way} {:.1} us", *ns as f64 / 1e3))
        };
        let which = format!("{} {}", key.0, crosstie_planner::explain::bytes(key.1));
        let change = Change::of("choice", which, both.map(told));
        found.push(match both {
            [Some((one, before)), Some((other, after))] if *before > 0 && *after > 0 => {
                let (before, after) = (*before as f64, *after as f64);
                let times = (before / after).max(after / before);
                let note = format!("{:+.1} %", 100.0 * (after - before) / before);
                (one == other, times, change.noted(note))
            }
            _ => (false, f64::INFINITY, change),
        });
    }
    found.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.total_cmp(&one.1)));
    changes.extend(found.into_iter().map(|(.., change)| change));
}

/// Ways that changed are told of the first few, and how many others there are, unless all are asked for.
const MOST: usize = 3;
/// So it is with what algorithms take.
const MOST_CHOICES: usize = 8;

/// For people: few lines, the most telling first.
pub fn text(changes: &[Change], names: [&str; 2], same_inputs: bool, look: [bool; 2]) -> String {
    let [color, full] = look;
    let style = |style: Style| if color { style } else { Style::new() };
    let (bold, was, is) = (
        style(Style::new().bold()),
        style(AnsiColor::Red.on_default()),
        style(AnsiColor::Green.on_default()),
    );
    let mut text = format!("A {}\nB {}\n", names[0], names[1]);
    if changes.is_empty() {
        text += match same_inputs {
            true => "no difference\n",
            false => "no difference, though they are made from other inputs\n",
        };
        return text;
    }
    let arrow = |change: &Change| {
        let [before, after] = change.values.each_ref().map(|value| match value.as_str() {
            "" => "none",
            some => some,
        });
        let note = match &*change.note {
            "" => String::new(),
            note => format!("  ({note})"),
        };
        let which = match &*change.which {
            "" => String::new(),
            which => format!("{which}: "),
        };
        format!("{which}{was}{before}{was:#} -> {is}{after}{is:#}{note}")
    };
    let mut left = Vec::new();
    for alike in changes.chunk_by(|one, other| one.what == other.what) {
        let what = alike[0].what;
        let told: Vec<String> = alike.iter().map(arrow).collect();
        let lines = match what {
            "messages" | "wire messages" => vec![told.join(", ")],
            "ring" | "route" | "other" | "choice" if !full => {
                let most = if what == "choice" { MOST_CHOICES } else { MOST };
                if told.len() > most {
                    left.push(format!("{} more of {what}", told.len() - most));
                }
                told.into_iter().take(most).collect()
            }
            _ => told,
        };
        for line in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{bold}{what:<13}{bold:#} {line}");
        }
    }
    if !left.is_empty() {
        let _ = writeln!(text, "and {}: --full", left.join(", "));
    }
    text
}
