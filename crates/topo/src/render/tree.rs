//! Owns the tree that people read: hosts, processors, and what hangs below them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::graph::{Topology, VertexId};
use crate::rails::Rails;
use crate::render::words::{children, detail, direct_links};

/// The machine as a tree, a device on each line.
pub fn tree(topology: &Topology) -> String {
    let (rails, children) = (Rails::of(topology), children(topology));
    let mut text = String::new();
    let several = topology.hosts().len() > 1;
    for (number, host) in topology.hosts().iter().enumerate() {
        if several {
            let name = host.name.as_deref().unwrap_or("unnamed");
            text.push_str(&format!("host {number} ({name})\n"));
        }
        for &cpu in &host.cpus {
            let mut branch =
                Branch { topology, rails: &rails, children: &children, text: &mut text };
            branch.line("", cpu);
            branch.below("", cpu);
        }
    }
    if let Some(id) = topology.ids().find(|&id| topology.vertex(id).host.is_none()) {
        let gpus = topology.links_of(id).len();
        let detail = detail(topology, &rails, id);
        let comma = if detail.is_empty() { "" } else { ", " };
        text.push_str(&format!("{}: {detail}{comma}joins {gpus} GPUs\n", topology.label(id)));
    }
    if text.is_empty() {
        text.push_str("nothing is described\n");
    }
    text
}

struct Branch<'a> {
    topology: &'a Topology,
    rails: &'a Rails,
    children: &'a [Vec<VertexId>],
    text: &'a mut String,
}

impl Branch<'_> {
    fn line(&mut self, before: &str, id: VertexId) {
        let detail = detail(self.topology, self.rails, id);
        let colon = if detail.is_empty() { "" } else { ": " };
        let label = self.topology.label(id);
        self.text.push_str(&format!("{before}{label}{colon}{detail}"));
        let links = direct_links(self.topology, id);
        if self.topology.gpu(id).is_some() && !links.is_empty() {
            self.text.push_str(&format!("; {}", links.join(", ")));
        }
        self.text.push('\n');
    }

    /// Within the depth of what was read.
    fn below(&mut self, before: &str, id: VertexId) {
        let children = self.children;
        let inner = children.get(id.index()).map(Vec::as_slice).unwrap_or_default();
        for (number, &child) in inner.iter().enumerate() {
            let last = number + 1 == inner.len();
            let (fork, stem) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.line(&format!("{before}{fork}"), child);
            self.below(&format!("{before}{stem}"), child);
        }
    }
}
