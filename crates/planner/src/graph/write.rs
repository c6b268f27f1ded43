//! Owns the writing of graph files: what is written reads back equal, here and by NCCL.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crosstie_topo::xml::{Document, Element};

use super::{Channel, CrossNic, Device, Graph, GraphFile, HOST_SHIFT, Pattern};

impl fmt::Display for GraphFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.document().fmt(f)
    }
}

impl GraphFile {
    /// The file as a tree of elements.
    pub fn document(&self) -> Document {
        let root = Element::new("graphs").with("version", "1");
        Document::new(self.graphs.iter().map(graph).fold(root, Element::holding))
    }
}

fn graph(graph: &Graph) -> Element {
    let pattern = Pattern::ALL.iter().find(|&&(_, pattern)| pattern == graph.pattern);
    let cross_nic = CrossNic::ALL.iter().find(|&&(_, cross_nic)| cross_nic == graph.cross_nic);
    let element = Element::new("graph")
        .with("id", graph.id.to_string())
        .with("pattern", pattern.map_or(0, |&(number, _)| number).to_string())
        .with("crossnic", cross_nic.map_or(0, |&(number, _)| number).to_string())
        .with("nchannels", graph.channels.len().to_string())
        .with("speedintra", thousandths(graph.speed_intra_mb_s))
        .with("speedinter", thousandths(graph.speed_inter_mb_s))
        .with("latencyinter", thousandths(graph.latency_inter_ns))
        .with("typeintra", graph.type_intra.name())
        .with("typeinter", graph.type_inter.name())
        .with("samechannels", u8::from(graph.same_channels).to_string());
    graph.channels.iter().map(channel).fold(element, Element::holding)
}

fn channel(channel: &Channel) -> Element {
    let [into, out] = match channel.nets {
        Some([into, out]) => [Some(into), Some(out)],
        None => [None, None],
    };
    let net = |net: Device| device("net", net);
    let gpus = channel.gpus.iter().map(|&gpu| device("gpu", gpu));
    let inner = into.map(net).into_iter().chain(gpus).chain(out.map(net));
    inner.fold(Element::new("channel"), Element::holding)
}

fn device(name: &str, device: Device) -> Element {
    let id = u64::from(device.host) << HOST_SHIFT | u64::from(device.dev);
    // Below 10 a number reads alike in all bases.
    let id = if id < 10 { id.to_string() } else { format!("{id:#x}") };
    let element = Element::new(name).with("dev", id);
    match device.rank {
        Some(rank) => element.with("rank", rank.to_string()),
        None => element,
    }
}

fn thousandths(value: u64) -> String {
    let (whole, part) = (value / 1000, value % 1000);
    match part {
        0 => whole.to_string(),
        _ => format!("{whole}.{part:03}").trim_end_matches('0').to_string(),
    }
}
