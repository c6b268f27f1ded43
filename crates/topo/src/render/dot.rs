//! Owns the DOT form of a topology, for Graphviz.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::graph::{LinkKind, Topology, VertexId, VertexKind};
use crate::rails::Rails;
use crate::render::words::{detail, id};

/// The machine as a graph in Graphviz's language: each vertex once, each pair of links once.
pub fn dot(topology: &Topology) -> String {
    let rails = Rails::of(topology);
    let mut text =
        String::from("graph topology {\n  node [fontname=\"monospace\", fontsize=10];\n");
    for of in topology.ids() {
        let shape = match topology.vertex(of).kind {
            VertexKind::Cpu(_) => "box3d",
            VertexKind::Switch(_) => "trapezium",
            VertexKind::Gpu(_) => "box",
            VertexKind::Nic(_) => "component",
            VertexKind::Port(_) => "oval",
            VertexKind::NvSwitch(_) => "octagon",
            VertexKind::Device(_) => "note",
        };
        let label = topology.label(of).to_string();
        let label = match detail(topology, &rails, of) {
            detail if detail.is_empty() => quote(&label),
            detail => format!("{}\\n{}", quote(&label), quote(&detail)),
        };
        text.push_str(&format!("  {} [shape={shape}, label=\"{label}\"];\n", id(topology, of)));
    }
    let mut hubs = Vec::new();
    let mut edge = |a: VertexId, b: VertexId, style: &str, label: String| {
        let (a, b) = (id(topology, a), id(topology, b));
        text.push_str(&format!("  {a} -- {b} [{style}, label=\"{}\"];\n", quote(&label)));
    };
    for link in topology.links() {
        let back = topology.link(link.to, link.from, link.kind).is_some();
        if back && link.from > link.to {
            continue;
        }
        let style = match link.kind {
            LinkKind::Nvl => "color=\"#4d7c0f\", penwidth=3",
            LinkKind::C2c => "color=\"#7c3aed\", penwidth=3",
            LinkKind::Net => "color=\"#b45309\"",
            LinkKind::Loc | LinkKind::Pci | LinkKind::Sys => "color=\"#475569\"",
        };
        edge(link.from, link.to, style, link.bandwidth.to_string());
    }
    for (number, host) in topology.hosts().iter().enumerate() {
        let style = "style=dashed, color=\"#475569\"";
        match host.cpus[..] {
            [a, b] => edge(a, b, style, topology.between(a).to_string()),
            [] | [_] => {}
            // Each with each would be a thicket: they meet at a point.
            _ => hubs.push((number, style)),
        }
    }
    for (number, style) in hubs {
        text.push_str(&format!("  sys{number} [label=\"\", shape=point];\n"));
        for &cpu in &topology.hosts()[number].cpus {
            let (of, label) = (id(topology, cpu), topology.between(cpu));
            text.push_str(&format!("  {of} -- sys{number} [{style}, label=\"{label}\"];\n"));
        }
    }
    text.push_str("}\n");
    text
}

fn quote(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ")
}
