//! Owns the tree that people read: hosts, processors, and what hangs below them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::graph::{Topology, VertexId, VertexKind};
use crate::rails::Rails;
use crate::render::words::{children, detail, direct_links, kind};

/// The machine as a tree, a device on each line.
pub fn tree(topology: &Topology) -> String {
    let work = Work::of(topology);
    let mut text = String::new();
    let several = topology.hosts().len() > 1;
    for (number, host) in topology.hosts().iter().enumerate() {
        if several {
            let name = host.name.as_deref().unwrap_or("unnamed");
            text.push_str(&format!("host {number} ({name})\n"));
        }
        text.push_str(&work.host(number, false));
    }
    end(topology, &work.rails, text)
}

/// The same with hosts that are alike shown once, by the names that devices have within their host. Of
/// alike hosts only names and numbers differ that are no host's own: bus ids are compared.
pub fn tree_by_kind(topology: &Topology) -> String {
    let work = Work::of(topology);
    let mut kinds: Vec<(String, Vec<usize>)> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..topology.hosts().len() {
        let text = work.host(number, true);
        let next = kinds.len();
        let kind = *known.entry(text.clone()).or_insert(next);
        if kind == next {
            kinds.push((text, Vec::new()));
        }
        kinds[kind].1.push(number);
    }
    let mut text = String::new();
    for (tree, hosts) in kinds {
        let first = hosts.first().copied().unwrap_or_default();
        let name = topology.hosts()[first].name.as_deref().unwrap_or("unnamed");
        let others = match hosts[1..] {
            [] => String::new(),
            [other] => format!(", and host {other}, alike"),
            [other, .., last] if last - other == hosts.len() - 2 => {
                format!(", and hosts {other} to {last}, alike")
            }
            _ => format!(", and {} hosts alike", hosts.len() - 1),
        };
        if topology.hosts().len() > 1 {
            text.push_str(&format!("host {first} ({name}){others}\n"));
        }
        text.push_str(&tree);
    }
    end(topology, &work.rails, text)
}

/// Adds what belongs to no host.
fn end(topology: &Topology, rails: &Rails, mut text: String) -> String {
    if let Some(id) = topology.ids().find(|&id| topology.vertex(id).host.is_none()) {
        let gpus = topology.links_of(id).len();
        let detail = detail(topology, rails, id);
        let comma = if detail.is_empty() { "" } else { ", " };
        text.push_str(&format!("{}: {detail}{comma}joins {gpus} GPUs\n", topology.label(id)));
    }
    if text.is_empty() {
        text.push_str("nothing is described\n");
    }
    text
}

struct Work<'a> {
    topology: &'a Topology,
    rails: Rails,
    children: Vec<Vec<VertexId>>,
    /// The first number of each kind on each host.
    first: BTreeMap<(Option<u32>, &'static str), u32>,
}

impl<'a> Work<'a> {
    fn of(topology: &'a Topology) -> Self {
        let mut first = BTreeMap::new();
        for vertex in topology.vertices() {
            first.entry((vertex.host, kind(&vertex.kind))).or_insert(vertex.number);
        }
        Self { topology, rails: Rails::of(topology), children: children(topology), first }
    }

    fn host(&self, number: usize, own_names: bool) -> String {
        let mut text = String::new();
        for &cpu in &self.topology.hosts()[number].cpus {
            let mut branch = Branch { work: self, own_names, text: &mut text };
            branch.line("", cpu);
            branch.below("", cpu);
        }
        match own_names && self.topology.hosts().len() > 1 {
            true => text.replace(&format!("h{number}/"), ""),
            false => text,
        }
    }

    /// A name that is the same for the same device of another host.
    fn own_name(&self, id: VertexId) -> String {
        let vertex = self.topology.vertex(id);
        let first = self.first.get(&(vertex.host, kind(&vertex.kind))).copied().unwrap_or(0);
        match vertex.kind {
            VertexKind::Switch(_) => format!("SW{}", vertex.number - first),
            VertexKind::Nic(_) => format!("NIC{}", vertex.number - first),
            VertexKind::Device(_) => format!("DEV{}", vertex.number - first),
            _ => self.topology.label(id).to_string(),
        }
    }
}

struct Branch<'a> {
    work: &'a Work<'a>,
    own_names: bool,
    text: &'a mut String,
}

impl Branch<'_> {
    fn line(&mut self, before: &str, id: VertexId) {
        let topology = self.work.topology;
        let detail = detail(topology, &self.work.rails, id);
        let colon = if detail.is_empty() { "" } else { ": " };
        let label = match self.own_names {
            true => self.work.own_name(id),
            false => topology.label(id).to_string(),
        };
        self.text.push_str(&format!("{before}{label}{colon}{detail}"));
        let links = direct_links(topology, id);
        if topology.gpu(id).is_some() && !links.is_empty() {
            self.text.push_str(&format!("; {}", links.join(", ")));
        }
        self.text.push('\n');
    }

    /// Within the depth of what was read.
    fn below(&mut self, before: &str, id: VertexId) {
        let children = &self.work.children;
        let inner = children.get(id.index()).map(Vec::as_slice).unwrap_or_default();
        for (number, &child) in inner.iter().enumerate() {
            let last = number + 1 == inner.len();
            let (fork, stem) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.line(&format!("{before}{fork}"), child);
            self.below(&format!("{before}{stem}"), child);
        }
    }
}
