//! Owns the one line that tells what a machine is.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::graph::{LinkKind, Topology, VertexKind};
use crate::lint::counted;
use crate::model::GpuModel;
use crate::rails::Rails;
use crate::render::words::{product, speed};

/// `8 GPUs (H100) on NVSwitch, 8 NICs of 400 Gb/s on 8 rails, 2 NUMA nodes`.
pub fn headline(topology: &Topology) -> String {
    let mut parts = Vec::new();
    if topology.hosts().len() > 1 {
        parts.push(counted(topology.hosts().len(), "host"));
    }
    parts.push(gpus(topology));
    parts.push(nics(topology));
    parts.push(counted(topology.cpus().len(), "NUMA node"));
    parts.join(", ")
}

/// At most three of them.
fn several(names: &BTreeSet<String>) -> String {
    let mut shown: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
    if names.len() > 3 {
        shown.push("…");
    }
    shown.join(", ")
}

fn gpus(topology: &Topology) -> String {
    let gpus = topology.gpus();
    if gpus.is_empty() {
        return "no GPU".into();
    }
    let told = gpus.iter().filter_map(|&id| topology.gpu(id));
    let names: BTreeSet<String> = told
        .filter_map(|gpu| match (product(&gpu.pci), &gpu.model) {
            (Some(name), _) => Some(name.to_string()),
            (None, GpuModel::Nvidia { sm }) => Some(format!("sm {sm}")),
            (None, GpuModel::Amd { gcn }) => {
                let name = gcn.trim_start_matches("gfx").split(':').next();
                name.map(|name| format!("gfx{name}"))
            }
            (None, GpuModel::Unknown) => None,
        })
        .collect();
    let mut text = counted(gpus.len(), "GPU");
    if !names.is_empty() {
        text = format!("{text} ({})", several(&names));
    }
    let linked = |id| topology.links_of(id).iter().find(|link| link.kind == LinkKind::Nvl).copied();
    match gpus.iter().find_map(|&id| linked(id)) {
        Some(link) if topology.vertex(link.to).host.is_none() => text += " on NVSwitch",
        Some(_) => text += " joined directly",
        None => {}
    }
    text
}

fn nics(topology: &Topology) -> String {
    let is_card = |kind: &&VertexKind| matches!(kind, VertexKind::Nic(_));
    let cards = topology.vertices().iter().map(|vertex| &vertex.kind).filter(is_card).count();
    if topology.ports().is_empty() {
        return if cards == 0 {
            "no NIC".into()
        } else {
            format!("{} without ports", counted(cards, "NIC"))
        };
    }
    let told = topology.ports().iter().filter_map(|&id| topology.port(id)?.mbit);
    let speeds: BTreeSet<String> = told.map(|mbit| speed(Some(mbit))).collect();
    let mut text = counted(cards, "NIC");
    if topology.ports().len() != cards {
        text = format!("{text} with {}", counted(topology.ports().len(), "port"));
    }
    if !speeds.is_empty() {
        text = format!("{text} of {}", several(&speeds));
    }
    format!("{text} on {}", counted(Rails::of(topology).len(), "rail"))
}
