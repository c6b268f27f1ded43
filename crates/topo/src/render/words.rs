//! Owns the words for one vertex: its id in documents, and what is told of it beside its name.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::devices;
use crate::graph::{LinkKind, Pci, Topology, Verbs, VertexId, VertexKind};
use crate::model::GpuModel;
use crate::rails::Rails;
use crate::rates;
use crate::unit::Bandwidth;

/// An id that only this vertex has: its kind, and its number among that kind.
pub fn id(topology: &Topology, id: VertexId) -> String {
    let vertex = topology.vertex(id);
    format!("{}{}", kind(&vertex.kind), vertex.number)
}

/// A kind's name in documents.
pub fn kind(kind: &VertexKind) -> &'static str {
    match kind {
        VertexKind::Cpu(_) => "cpu",
        VertexKind::Switch(_) => "switch",
        VertexKind::Gpu(_) => "gpu",
        VertexKind::Nic(_) => "nic",
        VertexKind::Port(_) => "port",
        VertexKind::NvSwitch(_) => "nvswitch",
        VertexKind::Device(_) => "device",
    }
}

/// A device's name, where its PCI ids tell one.
pub fn product(pci: &Pci) -> Option<&'static str> {
    let (vendor, device) = pci.ids[0].zip(pci.ids[1])?;
    devices::known(vendor, device).map(|known| known.name)
}

/// `400 Gb/s`.
pub fn speed(mbit: Option<u64>) -> String {
    match mbit {
        None => "speed unknown".into(),
        Some(mbit) if mbit % 1000 == 0 => format!("{} Gb/s", mbit / 1000),
        Some(mbit) => format!("{mbit} Mb/s"),
    }
}

/// A bandwidth, or that nothing bounds it.
pub fn carried(bandwidth: Bandwidth) -> String {
    if bandwidth >= rates::LOCAL { "without bound".into() } else { bandwidth.to_string() }
}

fn is_assumed(pci: &Pci) -> bool {
    pci.mega_transfers.is_none() || pci.lanes.is_none()
}

/// Whether what a device's link carries is taken for granted, for its description does not tell it.
pub fn assumed(topology: &Topology, id: VertexId) -> bool {
    topology.pci(id).is_some_and(is_assumed)
}

/// What is told of a vertex in a line, its name aside.
pub fn detail(topology: &Topology, rails: &Rails, id: VertexId) -> String {
    let mut parts: Vec<String> = Vec::new();
    let on_bus = |pci: &Pci| {
        let mut parts = Vec::from([pci.bus_id.to_string()]);
        parts.extend(product(pci).map(ToString::to_string));
        let mark = if is_assumed(pci) { " (assumed)" } else { "" };
        parts.push(format!("PCIe {}{mark}", pci.bandwidth()));
        parts
    };
    match &topology.vertex(id).kind {
        VertexKind::Cpu(cpu) => {
            parts.extend(cpu.vendor.as_ref().map(|vendor| vendor.trim().to_string()));
            if let Some((family, model)) = cpu.family.zip(cpu.model) {
                parts.push(format!("family {family} model {model}"));
            }
            let host =
                topology.vertex(id).host.and_then(|host| topology.hosts().get(host as usize));
            if host.is_some_and(|host| host.cpus.len() > 1) {
                parts.push(format!("to others {}", carried(topology.between(id))));
            }
        }
        VertexKind::Switch(pci) | VertexKind::Device(pci) => parts = on_bus(pci),
        VertexKind::Gpu(gpu) => {
            parts = on_bus(&gpu.pci);
            match &gpu.model {
                GpuModel::Nvidia { sm } => parts.push(format!("sm {sm}")),
                GpuModel::Amd { gcn } if gcn.starts_with("gfx") => parts.push(gcn.clone()),
                GpuModel::Amd { gcn } => parts.push(format!("gfx{gcn}")),
                GpuModel::Unknown => {}
            }
        }
        VertexKind::Nic(nic) => match &nic.pci {
            Some(pci) => parts = on_bus(pci),
            None => parts.push("virtual".into()),
        },
        VertexKind::Port(port) => {
            parts.push(speed(port.mbit));
            parts.extend(rails.rail_of(id).map(|rail| format!("rail {rail}")));
            parts.extend(port.verbs.as_ref().map(verbs));
        }
        VertexKind::NvSwitch(nvswitch) if !nvswitch.bus_ids.is_empty() => {
            parts.push(format!("{} seen", nvswitch.bus_ids.len()));
        }
        VertexKind::NvSwitch(_) => {}
    }
    parts.join(", ")
}

/// `port 1 ACTIVE, MTU 4096, GID 3 RoCE v2, IPv4 (of 4), enp1s0f0`.
fn verbs(verbs: &Verbs) -> String {
    let number = verbs.port.map(|number| format!("port {number} ")).unwrap_or_default();
    let mut parts = Vec::from([format!("{number}{}", verbs.state)]);
    parts.extend(verbs.layer.clone());
    parts.extend(verbs.mtu.map(|mtu| format!("MTU {mtu}")));
    parts.push(match &verbs.gid {
        Some(gid) => format!("GID {gid} (of {})", verbs.gids),
        None => "no GID".into(),
    });
    parts.extend(verbs.interface.clone());
    parts.join(", ")
}

/// The NVLinks and chip-to-chip links of a GPU: `18 NVLinks to NVSwitch (370.8 GB/s)`.
pub fn direct_links(topology: &Topology, id: VertexId) -> Vec<String> {
    let links = topology.links_of(id).iter();
    let amd = matches!(topology.gpu(id).map(|gpu| &gpu.model), Some(GpuModel::Amd { .. }));
    let told = links.filter_map(|link| {
        let name = match link.kind {
            LinkKind::Nvl if amd => "xGMI link",
            LinkKind::Nvl => "NVLink",
            LinkKind::C2c => "C2C link",
            _ => return None,
        };
        let s = if link.count == 1 { "" } else { "s" };
        Some(format!(
            "{} {name}{s} to {} ({})",
            link.count,
            topology.label(link.to),
            link.bandwidth
        ))
    });
    told.collect()
}

/// Each vertex's children, in the order of the file.
pub fn children(topology: &Topology) -> Vec<Vec<VertexId>> {
    let mut children = alloc::vec![Vec::new(); topology.vertices().len()];
    for id in topology.ids() {
        if let Some(parent) = topology.vertex(id).parent {
            children[parent.index()].push(id);
        }
    }
    children
}

/// Colours that stay apart for those who see few; then the same darker, lighter, and nearly black.
const RAILS: [&str; 32] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7a00", "#6b7280",
    "#003e61", "#7e5700", "#00563f", "#70425b", "#2f6380", "#753300", "#4d4300", "#3a3e46",
    "#8cbfdc", "#f3d38c", "#8cd3c0", "#e8c2d7", "#b2ddf5", "#ecb68c", "#cbc38c", "#bcbfc5",
    "#001c2c", "#392700", "#00271c", "#331e29", "#152d3a", "#351700", "#231e00", "#1a1c20",
];

/// The colour of a rail in pictures.
pub fn rail_colour(rail: u32) -> &'static str {
    RAILS[rail as usize % RAILS.len()]
}

/// Text for XML and HTML-like labels.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
