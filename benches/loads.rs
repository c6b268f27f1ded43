//! Owns the check of planned rings by other means than the planner's: from the JSON of a plan and the links of
//! its machines alone, what each link carries, and whether that is more than it can.

use std::collections::BTreeMap;

use crosstie_topo::{LinkKind, Rails, Topology, VertexId};
use serde_json::Value;

/// A link in one direction.
type Way = (VertexId, VertexId, LinkKind);

/// What is wrong with a plan; nothing, if this is empty. `machines[i]` is what node i is, with the numbers of
/// the GPUs (or ports) that have ranks.
pub fn faults(plan: &Value, machines: &[(&Topology, Vec<u32>)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut loads = Loads(vec![BTreeMap::new(); machines.len()]);
    for ring in list(&plan["rings"]) {
        let (channel, stretches) = (&ring["channel"], list(&ring["nodes"]));
        if stretches.len() != machines.len() {
            faults.push(format!("channel {channel} visits {} nodes", stretches.len()));
        }
        for (node, (stretch, (topology, members))) in stretches.iter().zip(machines).enumerate() {
            match route_of(topology, stretch, members) {
                Some(links) => loads.add(node, links, &ring["bandwidth_mb_s"], 1),
                None => faults.push(format!("channel {channel}, node {node}: a leg has no path")),
            }
            faults.extend(visited(&stretch["gpus"], members, node));
        }
        faults.extend(unjoined(plan, ring, machines));
    }
    faults.extend(loads.excess(machines));
    faults.extend(faults_of_trees(plan, machines));
    faults
}

/// By node, MB/s on each link.
struct Loads(Vec<BTreeMap<Way, u64>>);

impl Loads {
    fn add(&mut self, node: usize, links: Vec<Way>, bandwidth: &Value, times: u64) {
        let load = bandwidth.as_u64().unwrap_or(0) * times;
        links.into_iter().for_each(|link| *self.0[node].entry(link).or_default() += load);
    }

    fn excess(&self, machines: &[(&Topology, Vec<u32>)]) -> Vec<String> {
        let mut faults = Vec::new();
        for (node, (loads, (topology, _))) in self.0.iter().zip(machines).enumerate() {
            for (&link, &load) in loads {
                let capacity = capacity(topology, link);
                if load > capacity {
                    let (from, to) = (topology.label(link.0), topology.label(link.1));
                    faults.push(format!(
                        "node {node}: {from} to {to} carries {load} MB/s of {capacity}"
                    ));
                }
            }
        }
        faults
    }
}

fn visited(gpus: &Value, members: &[u32], node: usize) -> Option<String> {
    let (mut visited, mut all) = (numbers(gpus), members.to_vec());
    visited.sort_unstable();
    all.sort_unstable();
    (visited != all).then(|| format!("node {node}: {visited:?} are visited of {all:?}"))
}

/// Trees run apart from rings: a reduction upwards and a broadcast downwards at once, on all of them.
fn faults_of_trees(plan: &Value, machines: &[(&Topology, Vec<u32>)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut loads = Loads(vec![BTreeMap::new(); machines.len()]);
    for tree in list(&plan["trees"]) {
        let branches = list(&tree["nodes"]);
        let roots = branches.iter().filter(|branch| branch["parent"].is_null()).count();
        let told: usize = branches.iter().map(|branch| list(&branch["children"]).len()).sum();
        let is_child = |(node, branch): (usize, &Value)| {
            let parent =
                branch["parent"].as_u64().map(|parent| &branches[parent as usize]["children"]);
            parent.is_none_or(|children| numbers(children).contains(&(node as u32)))
        };
        let joined = branches.iter().enumerate().all(is_child);
        if branches.len() != machines.len() || roots != 1 || told + 1 != machines.len() || !joined {
            faults.push(format!("channel {}: no tree over the nodes", tree["channel"]));
        }
        for (node, (branch, (topology, members))) in branches.iter().zip(machines).enumerate() {
            faults.extend(visited(&branch["gpus"], members, node));
            let streams =
                u64::from(!branch["parent"].is_null()) + list(&branch["children"]).len() as u64;
            match chain(topology, branch, members) {
                Some((inside, outside)) => {
                    loads.add(node, inside, &tree["bandwidth_mb_s"], 1);
                    loads.add(node, outside, &tree["bandwidth_mb_s"], streams);
                }
                None => faults.push(format!("a tree of node {node} has a leg without path")),
            }
        }
    }
    faults.extend(loads.excess(machines));
    faults
}

/// The links of a tree in one node, in both directions: those of its chain, and those to and from its NIC.
fn chain(topology: &Topology, branch: &Value, members: &[u32]) -> Option<(Vec<Way>, Vec<Way>)> {
    let gpus = numbers(&branch["gpus"]);
    // A ring of two goes there and back again, which is both directions.
    let both = |pair: &[u32]| {
        let pair = serde_json::json!({ "gpus": pair, "nic_in": null, "nic_out": null });
        route_of(topology, &pair, members)
    };
    let inside: Option<Vec<_>> = gpus.windows(2).map(both).collect();
    let inside = inside?.concat();
    let outside = match branch["nic"].as_u64() {
        Some(nic) => {
            let alone =
                serde_json::json!({ "gpus": gpus.get(..1)?, "nic_in": nic, "nic_out": nic });
            route_of(topology, &alone, members)?
        }
        None => Vec::new(),
    };
    Some((inside, outside))
}

/// Where a ring goes from one rail to another and the plan does not say so.
fn unjoined(plan: &Value, ring: &Value, machines: &[(&Topology, Vec<u32>)]) -> Vec<String> {
    let stretches = list(&ring["nodes"]);
    let rail = |node: usize, nic: &Value| {
        let topology = machines[node].0;
        let port = device(topology, topology.ports(), nic.as_u64()? as u32)?;
        Rails::of(topology).rail_of(port)
    };
    let count = stretches.len();
    let pairs = (0..count).map(|node| (node, (node + 1) % count)).filter(|_| count > 1);
    let crossed = pairs.filter(|&(from, to)| {
        let told = list(&plan["crossings"]).iter().any(|crossing| {
            let node = crossing["node"].as_u64().map(|node| node as usize);
            crossing["channel"] == ring["channel"] && (node == Some(from) || node == Some(to))
        });
        !told && rail(from, &stretches[from]["nic_out"]) != rail(to, &stretches[to]["nic_in"])
    });
    crossed
        .map(|(from, _)| format!("channel {} crosses rails after node {from}", ring["channel"]))
        .collect()
}

/// All links that a ring loads in one node.
fn route_of(topology: &Topology, stretch: &Value, members: &[u32]) -> Option<Vec<Way>> {
    let seats = if topology.gpus().is_empty() { topology.ports() } else { topology.gpus() };
    let members: Vec<VertexId> =
        members.iter().filter_map(|&member| device(topology, seats, member)).collect();
    let seat = |number| device(topology, seats, number);
    let order: Vec<VertexId> =
        numbers(&stretch["gpus"]).into_iter().map(seat).collect::<Option<_>>()?;
    let nic = |name: &str| device(topology, topology.ports(), stretch[name].as_u64()? as u32);
    let mut stops = order.clone();
    match (nic("nic_in"), nic("nic_out")) {
        (Some(from), Some(to)) => {
            stops.insert(0, from);
            stops.extend(
                stretch["relay_out"].as_u64().map(|relay| seat(relay as u32)).unwrap_or_default(),
            );
            stops.push(to);
        }
        _ if order.len() > 1 => stops.push(order[0]),
        _ => {}
    }
    let is_cpu_rank = |at: usize| topology.gpus().is_empty() && at > 0 && at + 1 < stops.len();
    let at_cpu = |at: usize| {
        if is_cpu_rank(at) || stretch["nic_in"].is_null() && topology.gpus().is_empty() {
            topology.cpu_of(stops[at])
        } else {
            Some(stops[at])
        }
    };
    let mut links = Vec::new();
    for at in 1..stops.len() {
        links.extend(route(topology, at_cpu(at - 1)?, at_cpu(at)?, &members)?);
    }
    Some(links)
}

/// The links from one GPU, port or NUMA node to another.
fn route(
    topology: &Topology,
    from: VertexId,
    to: VertexId,
    members: &[VertexId],
) -> Option<Vec<Way>> {
    if from == to {
        return Some(Vec::new());
    }
    if let Some(links) = nvlink(topology, from, to, members) {
        return Some(links);
    }
    let gdr = |id| {
        topology
            .gpu(id)
            .map(|gpu| gpu.gdr)
            .or_else(|| topology.port(id).map(|port| port.gdr))
            .unwrap_or(true)
    };
    let is_gpu = |id| topology.gpu(id).is_some();
    let network = topology.port(from).is_some() || topology.port(to).is_some();
    let gpu = [from, to].into_iter().find(|&id| is_gpu(id));
    match gpu {
        Some(gpu) if network && !(gdr(from) && gdr(to)) => {
            let cpu = topology.cpu_of(gpu)?;
            Some([tree(topology, from, cpu)?, tree(topology, cpu, to)?].concat())
        }
        _ => tree(topology, from, to),
    }
}

/// Over NVLink: directly, by NVSwitches, or by one other GPU that has a rank.
fn nvlink(
    topology: &Topology,
    from: VertexId,
    to: VertexId,
    members: &[VertexId],
) -> Option<Vec<Way>> {
    topology.gpu(from).and(topology.gpu(to))?;
    let link = |a: VertexId, b: VertexId| topology.link(a, b, LinkKind::Nvl);
    let way = |a: VertexId, b: VertexId| (a, b, LinkKind::Nvl);
    if link(from, to).is_some() {
        return Some(vec![way(from, to)]);
    }
    let by =
        |middle: &VertexId| Some((link(from, *middle)?.bandwidth, link(*middle, to)?.bandwidth));
    let switch = topology.links_of(from).iter().map(|link| link.to);
    let mut switch = switch.filter(|&at| topology.gpu(at).is_none() && topology.cpu(at).is_none());
    let widest = || {
        let known = members.iter().filter_map(|middle| Some((by(middle)?, *middle)));
        let best = known
            .max_by_key(|&((first, second), id)| (first.min(second), first, std::cmp::Reverse(id)));
        best.map(|(_, middle)| middle)
    };
    let middle = switch.find(|middle| by(middle).is_some()).or_else(widest)?;
    Some(vec![way(from, middle), way(middle, to)])
}

/// Over C2C and PCI, up from one and down to the other, and between NUMA nodes.
fn tree(topology: &Topology, from: VertexId, to: VertexId) -> Option<Vec<Way>> {
    let (up, down) = (ascent(topology, from), ascent(topology, to));
    let meet = up.iter().position(|at| down.contains(at));
    let mut stops: Vec<VertexId> = match meet {
        Some(at) => up[..=at].to_vec(),
        None => up.clone(),
    };
    let last = *stops.last()?;
    let rest = down.iter().position(|&at| at == last).unwrap_or(down.len());
    stops.extend(down[..rest].iter().rev());
    let kinds = [LinkKind::C2c, LinkKind::Pci, LinkKind::Net, LinkKind::Loc];
    let join = |pair: &[VertexId]| {
        let kind = kinds.into_iter().find(|&kind| topology.link(pair[0], pair[1], kind).is_some());
        let sys = topology.cpu(pair[0]).and(topology.cpu(pair[1])).map(|_| LinkKind::Sys);
        kind.or(sys).map(|kind| (pair[0], pair[1], kind))
    };
    stops.windows(2).map(join).collect()
}

/// A vertex and all above it, up to its NUMA node.
fn ascent(topology: &Topology, from: VertexId) -> Vec<VertexId> {
    let chip = topology.links_of(from).iter().find(|link| link.kind == LinkKind::C2c);
    if let Some(link) = chip.filter(|_| topology.gpu(from).is_some()) {
        return vec![from, link.to];
    }
    std::iter::successors(Some(from), |&at| topology.vertex(at).parent).collect()
}

fn capacity(topology: &Topology, (from, to, kind): Way) -> u64 {
    let bandwidth = match kind {
        LinkKind::Sys => Some(topology.between(from)),
        _ => topology.link(from, to, kind).map(|link| link.bandwidth),
    };
    bandwidth.map_or(0, |bandwidth| bandwidth.as_bytes_per_s() / 1_000_000)
}

/// The device of that number; in a file of several hosts its place among all.
fn device(topology: &Topology, among: &[VertexId], number: u32) -> Option<VertexId> {
    if topology.hosts().len() > 1 {
        return among.get(number as usize).copied();
    }
    let dev =
        |id| topology.gpu(id).map(|gpu| gpu.dev).or_else(|| topology.port(id).map(|port| port.dev));
    among.iter().copied().find(|&id| dev(id) == Some(number))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn numbers(value: &Value) -> Vec<u32> {
    list(value).iter().filter_map(|number| Some(number.as_u64()? as u32)).collect()
}
