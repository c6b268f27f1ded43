//! Owns a plan as people read it: rings, trees, rails, relays, crossings, each with its reason.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

use crosstie_ir::Collective;
use crosstie_topo::{Bandwidth, Path, PathKind, Topology, VertexId, VertexKind};

use super::counts::{BLOCK, MOST_RANKS_COUNTED, OPERATIONS, SIZES, Sent};
use super::header::{header, warnings};
use super::json::reason;
use super::lines::{Look, bytes, numbers, speed, wrapped};
use super::scheme::Scheme;
use crate::cost::Carriage;
use crate::graph::Pattern;
use crate::search::{CrossingWhy, CutWhy, Ended, Load, RelayWhy, Ring, Side, Stretch, Swap, Tree};

mod ways;

use ways::routes;

impl Scheme<'_> {
    /// As people read it.
    pub fn text(&self, look: Look) -> String {
        text(self, look)
    }

    /// The machines, and the choices of [`Counts::chosen`](super::Counts::chosen) alone.
    pub fn choices_text(&self, look: Look) -> String {
        asked(self, look)
    }
}

/// All of it. Writing to a String cannot fail.
fn text(scheme: &Scheme<'_>, look: Look) -> String {
    let mut text = String::new();
    let warnings = warnings(scheme);
    header(scheme, &warnings, &mut text);
    rings(scheme, !warnings.is_empty(), look, &mut text);
    trees(scheme, look, &mut text);
    routes(scheme, look, &mut text);
    crossings(scheme, look, &mut text);
    calls(scheme, look, &mut text);
    text
}

/// 987 as 98.7.
fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

/// Of a machine of which something that decides is left open, the bound is of the rest.
fn rings(scheme: &Scheme<'_>, left_open: bool, look: Look, text: &mut String) {
    let (found, head) = (&scheme.rings, look.head());
    let (count, total) = (found.rings.len(), found.total_mb_s());
    let each = found.rings.first().map_or(0, |ring| ring.bandwidth_mb_s);
    let bound = match found.bound_mb_s {
        None => "no link limits them".to_owned(),
        Some(bound) if found.reach_bound() => {
            let good = look.good();
            let but = if bound == total { "" } else { ", but for rounding" };
            let of = if left_open { "of what is described " } else { "" };
            format!("{good}the bound{but}: {of}no rings are better{good:#}")
        }
        Some(bound) => format!("{} of the bound, {}", percent(total, bound), speed(bound)),
    };
    let s = if count == 1 { "" } else { "s" };
    let whose = if scheme.told.is_some() { " of the graph file" } else { "" };
    let _ = writeln!(
        text,
        "\n{head}Rings{whose}{head:#}: {count} ring{s} of {}, together {}: {bound}",
        speed(each),
        speed(total)
    );
    if let Some(told) = &scheme.told {
        let s = if told.found_rings == 1 { "" } else { "s" };
        let more = format!(
            "the file says {} a ring, links bear {}; the search itself finds {} ring{s}, together {}: these are {} of that",
            speed(told.ring_mb_s),
            speed(each),
            told.found_rings,
            speed(told.found_mb_s),
            percent(total, told.found_mb_s),
        );
        wrapped("  ", &more, text);
    }
    if scheme.told.is_none() && found.bound_mb_s.is_some() {
        let ended = match found.ended {
            Ended::Budget => Some(
                "the search ran out of steps for faster ones; the bound may lie above what any rings reach",
            ),
            Ended::Exhausted => Some(
                "the search tried all numbers and speeds of its forms of rings; the bound may lie above what any rings reach",
            ),
            _ => None,
        };
        ended.into_iter().for_each(|ended| wrapped("  ended: ", ended, text));
    }
    let groups = groups(scheme);
    for group in &groups {
        let swapped = scheme.rings.swap == Swap::Pairs && is_swapped(&groups[0], group);
        if swapped && !look.full {
            continue;
        }
        if scheme.nodes > 1 {
            let _ = writeln!(text, " {}", on_nodes(scheme, &group.nodes));
        }
        table(scheme, group, look, text);
    }
    // Where the bound is met, what makes it is full.
    if found.ended != Ended::Bound {
        fullest(scheme, text);
    }
    cut(scheme, text);
    swap(scheme, look, text);
}

/// A share in words, rounded to tenths.
fn percent(part: u64, whole: u64) -> String {
    format!("{} %", tenths((2000 * part / whole.max(1)).div_ceil(2)))
}

/// The links that leave the least to other rings, alike ones together. They need not be the cut that bounds all.
fn fullest(scheme: &Scheme<'_>, text: &mut String) {
    // Rings are of whole MB/s, so each may leave a part of one.
    let each = scheme.rings.rings.first().map_or(1, |ring| ring.bandwidth_mb_s.max(1));
    let is_full =
        |load: &Load| load.capacity_mb_s.saturating_sub(load.load_mb_s) < load.load_mb_s / each;
    let share = |load: &Load| match load.load_mb_s == load.capacity_mb_s || is_full(load) {
        true => 100,
        false => (load.load_mb_s * 100 / load.capacity_mb_s.max(1)).min(99),
    };
    let Some(most) = scheme.loads.iter().map(share).max() else { return };
    let mut alike: BTreeMap<(u64, u64), BTreeMap<String, u32>> = BTreeMap::new();
    let topology = scheme.node.topology;
    for load in scheme.loads.iter().filter(|load| share(load) == most) {
        let ends = format!("{} to {}", kind(topology, load.from), kind(topology, load.to));
        let counts = alike.entry((load.load_mb_s, load.capacity_mb_s)).or_default();
        *counts.entry(ends).or_default() += 1;
    }
    let told = alike.into_iter().map(|((load, capacity), counts)| {
        let of = if load == capacity { String::new() } else { format!(" of {}", speed(capacity)) };
        let counts = counts.into_iter().map(|(ends, count)| format!("{count} {ends}"));
        format!("{} ({}{of})", counts.collect::<Vec<_>>().join(", "), speed(load))
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let full = if most == 100 { "full".to_owned() } else { format!("{most} % full") };
    wrapped("  busiest: ", &format!("{full} on node 0: {told}"), text);
}

/// The links that make the bound.
fn cut(scheme: &Scheme<'_>, text: &mut String) {
    let Some(cut) = scheme.rings.cut.as_ref() else { return };
    let Some(topology) = scheme.kinds.get(cut.kind as usize).map(|kind| kind.topology) else {
        return;
    };
    let mut alike: BTreeMap<(String, u64), u32> = BTreeMap::new();
    for link in &cut.links {
        let ends = format!("{} to {}", kind(topology, link.from), kind(topology, link.to));
        *alike.entry((ends, link.capacity_mb_s)).or_default() += 1;
    }
    let told = alike
        .into_iter()
        .map(|((ends, each), count)| format!("{count} {ends} ({} each)", speed(each)));
    let why = match cut.why {
        CutWhy::Apart => "each ring passes",
        CutWhy::BothWays => "each ring passes, one way or the other,",
        CutWhy::Through => "each ring comes to each GPU by",
        CutWhy::Neighbours => "each ring comes and goes by different ones of",
    };
    wrapped("  bound by: ", &format!("{why} {}", told.collect::<Vec<_>>().join(", ")), text);
}

/// What a vertex is, in a word.
fn kind(topology: &Topology, vertex: VertexId) -> String {
    let word = match topology.vertex(vertex).kind {
        VertexKind::Cpu(_) => "CPU",
        VertexKind::Switch(_) => "SW",
        VertexKind::Gpu(_) => "GPU",
        VertexKind::Nic(_) => "NIC",
        VertexKind::Port(_) => "port",
        VertexKind::NvSwitch(_) => "NVSwitch",
        _ => "device",
    };
    word.to_owned()
}

/// Whether channels 2k and 2k + 1 go each other's ways.
fn is_swapped(first: &Group<'_>, group: &Group<'_>) -> bool {
    (0..).zip(&group.ways).all(|(channel, way)| {
        let other: usize = channel ^ 1;
        first.ways.get(other).is_some_and(|other| is_like(other, way))
    })
}

fn on_nodes(scheme: &Scheme<'_>, nodes: &[u32]) -> String {
    match nodes.len() as u32 {
        all if all == scheme.nodes => "on every node".into(),
        1 => format!("on node {}", nodes[0]),
        _ => {
            let is_even = |&node: &u32| node % 2 == 0;
            match nodes {
                _ if nodes.len() < 4 => format!("on nodes {}", numbers(nodes)),
                _ if nodes.iter().all(is_even) => {
                    format!("on even nodes, 0 to {}", nodes[nodes.len() - 1])
                }
                _ if !nodes.iter().any(is_even) => {
                    format!("on odd nodes, 1 to {}", nodes[nodes.len() - 1])
                }
                _ => format!("on nodes {}", numbers(nodes)),
            }
        }
    }
}

/// Nodes that have all of their rings alike: their numbers, and the way of each channel.
struct Group<'a> {
    nodes: Vec<u32>,
    ways: Vec<&'a Stretch>,
}

fn groups<'a>(scheme: &'a Scheme<'_>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for node in 0..scheme.nodes {
        let of = |ring: &'a Ring| ring.nodes.get(node as usize);
        let ways: Vec<&Stretch> = scheme.rings.rings.iter().filter_map(of).collect();
        let alike = |group: &&mut Group<'_>| {
            group.ways.len() == ways.len()
                && group.ways.iter().zip(&ways).all(|(a, b)| is_like(a, b))
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.nodes.push(node),
            None => groups.push(Group { nodes: alloc::vec![node], ways }),
        }
    }
    groups
}

/// Whether two ways are one but for the node.
fn is_like(one: &Stretch, other: &Stretch) -> bool {
    Stretch { node: other.node, ..one.clone() } == *other
}

/// A ring's way through a node, as a row; of channels that go alike.
struct Row {
    channels: Vec<u32>,
    way: String,
    links: String,
}

impl Row {
    fn of(scheme: &Scheme<'_>, channel: u32, stretch: &Stretch, look: Look) -> Self {
        let way = if look.full { hops(scheme, stretch) } else { brief(stretch) };
        let links = if look.full { String::new() } else { links(scheme, stretch) };
        Self { channels: alloc::vec![channel], way, links }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.way == other.way && self.links == other.links
    }
}

/// A row for each channel, or for all that go alike.
fn table(scheme: &Scheme<'_>, group: &Group<'_>, look: Look, text: &mut String) {
    let mut rows: Vec<Row> = Vec::new();
    for (channel, way) in (0..).zip(&group.ways) {
        let row = Row::of(scheme, channel, way, look);
        match rows.iter_mut().find(|other| !look.full && other.is_like(&row)) {
            Some(other) => other.channels.push(channel),
            None => rows.push(row),
        }
    }
    let channels = |row: &Row| numbers(&row.channels);
    let wide = rows.iter().map(|row| channels(row).len()).max().unwrap_or(0);
    let way = rows.iter().map(|row| row.way.chars().count()).max().unwrap_or(0);
    for row in &rows {
        let line = format!("  channel {:wide$}  {:way$}  {}", channels(row), row.way, row.links);
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// `nic 0 > 0 7 6 > nic 1`.
pub fn brief(stretch: &Stretch) -> String {
    let mut way = stretch.nic_in.map(|nic| format!("nic {nic} > ")).unwrap_or_default();
    way += &match &stretch.gpus[..] {
        many @ [_, _, _, _, _, _, _, _, _, ..] => numbers(many),
        few => few.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    way += &stretch.relay_out.map(|relay| format!(" > by {relay}")).unwrap_or_default();
    way + &stretch.nic_out.map(|nic| format!(" > nic {nic}")).unwrap_or_default()
}

/// The kinds of a ring's links, each with what the narrowest of it carries: between GPUs, then to the NICs.
fn links(scheme: &Scheme<'_>, stretch: &Stretch) -> String {
    let hops =
        steps(scheme, stretch).into_iter().map(|(from, to)| scheme.hop(stretch.node, from, to));
    let ends = [(stretch.nic_in, first(stretch)), (stretch.nic_out, last(scheme, stretch))];
    let ends = ends.into_iter().map(|(nic, local)| scheme.to_nic(stretch.node, local?, nic?));
    let gpus = format!("{}s by", scheme.unit());
    let parts = [(&*gpus, narrowest(hops)), ("NICs by", narrowest(ends))];
    let told = parts.into_iter().filter(|(_, kinds)| !kinds.is_empty());
    told.map(|(by, kinds)| format!("{by} {kinds}")).collect::<Vec<_>>().join("; ")
}

fn narrowest(paths: impl Iterator<Item = Option<Path>>) -> String {
    let mut kinds: BTreeMap<PathKind, Bandwidth> = BTreeMap::new();
    for path in paths.flatten().filter(|path| path.kind != PathKind::Loc) {
        let least = kinds.entry(path.kind).or_insert(path.bandwidth);
        *least = path.bandwidth.min(*least);
    }
    let told = kinds.into_iter().map(|(kind, least)| format!("{kind} {least}"));
    told.collect::<Vec<_>>().join(", ")
}

fn first(stretch: &Stretch) -> Option<u32> {
    stretch.local_ranks.first().copied()
}

/// The local rank that hands a ring to the NIC.
fn last(scheme: &Scheme<'_>, stretch: &Stretch) -> Option<u32> {
    let relay = stretch.relay_out.and_then(|relay| scheme.local_rank(stretch.node, relay));
    relay.or(stretch.local_ranks.last().copied())
}

/// The hops between local ranks, that to a relay, or back to the first, too.
fn steps(scheme: &Scheme<'_>, stretch: &Stretch) -> Vec<(u32, u32)> {
    let locals = &stretch.local_ranks;
    let mut steps: Vec<(u32, u32)> = locals.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let relay = stretch.relay_out.and_then(|relay| scheme.local_rank(stretch.node, relay));
    let closing = locals.first().copied().filter(|_| scheme.nodes == 1 && locals.len() > 1);
    if let (Some(&from), Some(to)) = (locals.last(), relay.or(closing)) {
        steps.push((from, to));
    }
    steps
}

/// Each hop with its kind and what it carries.
fn hops(scheme: &Scheme<'_>, stretch: &Stretch) -> String {
    let told = |path: Option<Path>| {
        path.map_or("?".to_owned(), |path| format!("{} {}", path.kind, path.bandwidth))
    };
    let device = |local: u32| {
        let place = stretch.local_ranks.iter().position(|&other| other == local);
        place.map(|place| stretch.gpus[place])
    };
    let mut way = String::new();
    if let Some((nic, local)) = stretch.nic_in.zip(first(stretch)) {
        let _ = write!(way, "nic {nic} ({}) ", told(scheme.to_nic(stretch.node, local, nic)));
    }
    if let Some(gpu) = stretch.gpus.first() {
        let _ = write!(way, "{gpu}");
    }
    for (from, to) in steps(scheme, stretch) {
        let _ = write!(way, " ({}) ", told(scheme.hop(stretch.node, from, to)));
        let _ = match stretch
            .relay_out
            .filter(|&relay| scheme.local_rank(stretch.node, relay) == Some(to))
        {
            Some(relay) => write!(way, "by {relay}"),
            None => write!(way, "{}", device(to).unwrap_or(to)),
        };
    }
    if let Some((nic, local)) = stretch.nic_out.zip(last(scheme, stretch)) {
        let _ = write!(way, " ({}) nic {nic}", told(scheme.to_nic(stretch.node, local, nic)));
    }
    way
}

/// How rings change rails from node to node, and why some pass relays.
fn swap(scheme: &Scheme<'_>, look: Look, text: &mut String) {
    let told = match scheme.rings.swap {
        Swap::None => None,
        Swap::Pairs => {
            let so = match scheme.rings.crossings.is_empty() {
                true => ", so none crosses rails",
                false => "",
            };
            Some(format!("channels 2k and 2k + 1 take each other's way at every other node{so}"))
        }
        Swap::Turning { from } => Some(format!(
            "the number of nodes is odd, so rings that swap rails at every other node would end on another's: from node {from} on each takes the next channel's rail, twice, and the last node leads it back"
        )),
        Swap::Staggered { .. } => Some(
            "the number of nodes is odd, so rings that swap rails at every other node would end on another's: each pair of channels leaves one node by the rails that it came in by, channels 0 and 1 node 0, channels 2 and 3 node 1, and so on around, so that no node bears it for all".to_owned(),
        ),
        Swap::Closing { at } => Some(format!(
            "the number of nodes is odd, so rings that swap rails at every other node would end on another's: at node {at} each leaves by the rail that it came in by"
        )),
    };
    if let Some(told) = told {
        wrapped("  swap: ", &told, text);
    }
    let mut relays: BTreeMap<(&str, u32), BTreeSet<u32>> = BTreeMap::new();
    for ring in &scheme.rings.rings {
        for stretch in &ring.nodes {
            if let Some(why) = stretch.relay_why {
                relays.entry((why_relay(why), stretch.node)).or_default().insert(ring.channel);
            }
        }
    }
    let most = if look.full { usize::MAX } else { 4 };
    for ((why, node), channels) in relays.iter().take(most) {
        let channels: Vec<u32> = channels.iter().copied().collect();
        let told = format!("at node {node} on channel {}: {why}", numbers(&channels));
        wrapped("  relay: ", &told, text);
    }
    if relays.len() > most {
        let _ = writeln!(text, "  relay: and {} more (--full)", relays.len() - most);
    }
}

fn why_relay(why: RelayWhy) -> &'static str {
    match why {
        RelayWhy::OwnNic => {
            "the ring leaves by the NIC that it came in by, and its last GPU is not near that NIC"
        }
        RelayWhy::OddNodes => "the odd node swaps rails back",
        RelayWhy::OthersRails => "the weakest node's rails leave no GPU that is near",
    }
}

fn trees(scheme: &Scheme<'_>, look: Look, text: &mut String) {
    let (trees, head) = (&scheme.rings.trees, look.head());
    let Some(one) = trees.first().filter(|_| scheme.nodes > 1) else { return };
    let _ = writeln!(
        text,
        "\n{head}Trees{head:#}: {} of {}, two a channel; in each node a chain from its NIC on",
        trees.len(),
        speed(one.bandwidth_mb_s),
    );
    if let Some(told) = scheme.told.and_then(|told| told.trees) {
        let more = format!(
            "the graph file gives a channel {} inside the node, which its two trees share, and {} of a NIC, which {} streams of theirs share on {} nodes",
            speed(told.inside_mb_s),
            speed(told.nic_mb_s),
            told.streams,
            scheme.nodes,
        );
        wrapped("  ", &more, text);
        match told.pattern {
            Pattern::BalancedTree => wrapped(
                "  ",
                "the second child of a node is joined to the second GPU of the chain",
                text,
            ),
            Pattern::SplitTree => wrapped(
                "  ",
                "the children of a node are joined to the second GPU of the chain",
                text,
            ),
            _ => {}
        }
    }
    let most = if look.full { usize::MAX } else { 8 };
    let children = |tree: &Tree| -> Vec<Vec<u32>> {
        tree.nodes.iter().map(|branch| branch.children.clone()).collect()
    };
    let alike = !look.full && trees.iter().take(2).all(|tree| children(tree) == children(one));
    let shown = trees.iter().filter(|tree| look.full || tree.channel == one.channel);
    for tree in shown.take(if alike { 1 } else { usize::MAX }) {
        let inner = tree.nodes.iter().filter(|branch| !branch.children.is_empty());
        let below: Vec<String> = inner
            .take(most)
            .map(|branch| format!("node {} over {}", branch.node, numbers(&branch.children)))
            .collect();
        let more = if below.len() == most { ", …" } else { "" };
        let channel = if look.full { format!("channel {} ", tree.channel) } else { String::new() };
        let half = if alike { "both halves".to_owned() } else { format!("half {}", tree.half) };
        let name = format!("  {channel}{half}: ");
        wrapped(&name, &format!("{}{more}", below.join(", ")), text);
        if look.full {
            for branch in &tree.nodes {
                let gpus: Vec<String> = branch.gpus.iter().map(ToString::to_string).collect();
                let nic = branch.nic.map(|nic| format!("nic {nic} > ")).unwrap_or_default();
                let _ = writeln!(text, "    node {}  {nic}{}", branch.node, gpus.join(" "));
            }
        }
    }
}

/// Where rings or routes cross rails, and why.
fn crossings(scheme: &Scheme<'_>, look: Look, text: &mut String) {
    if scheme.nodes < 2 {
        return;
    }
    let (head, bad, good) = (look.head(), look.bad(), look.good());
    let across = scheme.routes.iter().filter(|way| way.crosses_rail()).count();
    let rings = &scheme.rings.crossings;
    let _ = write!(text, "\n{head}Rails crossed{head:#}: ");
    if across == 0 && rings.is_empty() {
        let _ = writeln!(text, "{good}nowhere{good:#}");
        return;
    }
    let whys: BTreeSet<&str> =
        scheme.routes.iter().filter_map(|way| way.why).map(why_crossing).collect();
    let why = whys.into_iter().collect::<Vec<_>>().join("; ");
    let routes = match across {
        0 => "no route".to_owned(),
        _ => format!("{bad}{across} of {} routes{bad:#} ({why})", scheme.routes.len()),
    };
    let _ = writeln!(text, "{routes}; {} of rings", if rings.is_empty() { "none" } else { "some" });
    let most = if look.full { usize::MAX } else { 4 };
    for crossing in rings.iter().take(most) {
        let side = match crossing.side {
            Side::In => "in",
            Side::Out => "out",
        };
        let instead =
            crossing.instead.map_or("a NIC on no rail".to_owned(), |rail| format!("rail {rail}"));
        let why = match crossing.why {
            CrossingWhy::Told => ", as the graph file says",
            _ => ", which has no NIC there",
        };
        let _ = writeln!(
            text,
            "  channel {}, node {}: {side} by {instead} in place of {}{why}",
            crossing.channel, crossing.node, crossing.rail
        );
    }
    if rings.len() > most {
        let _ = writeln!(text, "  and {} more (--full)", rings.len() - most);
    }
}

/// Why a route crosses rails.
fn why_crossing(why: CrossingWhy) -> &'static str {
    match why {
        CrossingWhy::NoNic => "the sender's node has no NIC on the receiver's rail",
        CrossingWhy::NotJoined => {
            "NVLink joins the sender to no GPU whose NIC is on the receiver's rail"
        }
        CrossingWhy::Told => "the graph file says so",
        CrossingWhy::PxnOff => "PXN is off: each sends by its own NIC",
    }
}

/// By which algorithm calls are carried out, and what they put on the network.
fn calls(scheme: &Scheme<'_>, look: Look, text: &mut String) {
    let counts = &scheme.counts;
    algorithms(scheme, look, text);
    let sent = match (scheme.nodes, counts.sent.is_empty()) {
        (1, _) => String::new(),
        (_, true) => format!("messages are not counted above {MOST_RANKS_COUNTED} ranks"),
        _ => format!(
            "asked at {} sizes; then messages between nodes with blocks of {}, in how many wire messages",
            SIZES.len(),
            bytes(BLOCK)
        ),
    };
    if !sent.is_empty() {
        wrapped("  ", &sent, text);
    }
    let mut operations: Vec<&str> = counts.chosen.iter().map(|chosen| chosen.operation).collect();
    operations.dedup();
    let rows: Vec<(&str, String)> =
        operations.into_iter().map(|operation| (operation, spans(scheme, operation))).collect();
    let wide = rows.iter().map(|(_, spans)| spans.len()).max().unwrap_or(0);
    for (operation, spans) in rows {
        let sent = counts.sent.iter().find(|sent| sent.operation == operation);
        let sent = sent.filter(|_| scheme.nodes > 1).map_or(String::new(), message);
        let line = format!("  {operation:<15} {spans:<wide$}  {sent}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if look.full {
        choices(scheme, text);
    }
}

/// Over which links algorithms are chosen, and what their sizes are sizes of.
fn algorithms(scheme: &Scheme<'_>, look: Look, text: &mut String) {
    let (counts, head) = (&scheme.counts, look.head());
    let by = if counts.are_measured() { "" } else { ", by the model of all rings" };
    let over = counts.over().join(" and ");
    let blocks = OPERATIONS.into_iter().filter(|operation| !operation.is_whole());
    let blocks = blocks.map(Collective::name).collect::<Vec<_>>().join(", ");
    let _ = writeln!(
        text,
        "\n{head}Algorithms{head:#} over {over}{by}; sizes of a block ({blocks}) or the whole buffer"
    );
}

/// What was asked for, and nothing else of the plan.
fn asked(scheme: &Scheme<'_>, look: Look) -> String {
    let mut text = String::new();
    header(scheme, &warnings(scheme), &mut text);
    algorithms(scheme, look, &mut text);
    choices(scheme, &mut text);
    text
}

/// Each size of each operation, with what was decided and why.
fn choices(scheme: &Scheme<'_>, text: &mut String) {
    let counts = &scheme.counts;
    for chosen in &counts.chosen {
        let choice = &chosen.choice;
        let protocol = choice.protocol.map_or("", Carriage::name);
        let (size, why) = (bytes(chosen.bytes), reason(choice, counts.tune_file.as_deref()));
        let (operation, algorithm) = (chosen.operation, choice.algorithm.name());
        let name = format!("  {operation:<14} {size:>5}  {algorithm:<12} {protocol:<10} ");
        wrapped(&name, &why, text);
    }
}

/// An operation's algorithms at the sizes that were looked at: `up to 64K tree, from 512K ring`.
fn spans(scheme: &Scheme<'_>, operation: &str) -> String {
    let mut spans: Vec<(u64, u64, &str)> = Vec::new();
    for chosen in scheme.counts.chosen.iter().filter(|chosen| chosen.operation == operation) {
        let algorithm = chosen.choice.algorithm.name();
        match spans.last_mut() {
            Some((_, last, same)) if *same == algorithm => *last = chosen.bytes,
            _ => spans.push((chosen.bytes, chosen.bytes, algorithm)),
        }
    }
    let count = spans.len();
    let told = spans.iter().enumerate().map(|(place, &(first, last, algorithm))| {
        let (first, last) = (bytes(first), bytes(last));
        match place {
            _ if count == 1 => algorithm.to_owned(),
            0 => format!("up to {last} {algorithm}"),
            place if place + 1 == count => format!("from {first} {algorithm}"),
            _ if first == last => format!("at {first} {algorithm}"),
            _ => format!("{first} to {last} {algorithm}"),
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What a call of it sends.
fn message(sent: &Sent) -> String {
    format!("{} in {}", sent.messages, sent.wire_messages)
}
