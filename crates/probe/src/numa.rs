//! Owns what is told of processors: NUMA nodes with their CPUs and distances, vendor, family, model.

use crate::text;
use crate::tree::Tree;

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaNode {
    /// Its number.
    pub number: u32,
    /// Its CPUs; none where it is memory alone.
    pub cpus: Vec<u32>,
    /// How far each online node is, itself at 10, in the order of their numbers.
    pub distances: Vec<u32>,
}

/// What the processors are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpu {
    /// `x86_64`, `arm64` or `ppc64`.
    pub arch: Option<&'static str>,
    /// CPUID's vendor (`GenuineIntel`); of arm64 the implementer (`0x41`).
    pub vendor: Option<String>,
    /// CPUID's family.
    pub family: Option<u32>,
    /// CPUID's model; of arm64 the part (`0xd4f`).
    pub model: Option<u32>,
    /// What it is sold as.
    pub name: Option<String>,
    /// CPUs that are online.
    pub online: Vec<u32>,
}

const NODES: &str = "sys/devices/system/node";

/// The nodes of a tree, by number.
pub(crate) fn read_nodes(tree: &Tree) -> Vec<NumaNode> {
    let names = tree.names(NODES);
    let numbers = names.iter().filter_map(|name| text::number(name.strip_prefix("node")?));
    let mut nodes: Vec<NumaNode> = numbers.map(|number| node(tree, number)).collect();
    nodes.sort_by_key(|node| node.number);
    nodes
}

fn node(tree: &Tree, number: u32) -> NumaNode {
    let text = |file| tree.text(&format!("{NODES}/node{number}/{file}")).unwrap_or_default();
    NumaNode {
        number,
        cpus: text::list(&text("cpulist")),
        distances: text("distance").split_whitespace().filter_map(text::number).collect(),
    }
}

/// The processors of a tree.
pub(crate) fn read_cpu(tree: &Tree) -> Cpu {
    let told = tree.text("proc/cpuinfo").unwrap_or_default();
    let first = told.split("\n\n").next().unwrap_or_default();
    let value = |key: &str| {
        let pairs = first.lines().filter_map(|line| line.split_once(':'));
        let mut values =
            pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
        values.next().filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let number = |key| value(key).as_deref().and_then(text::number);
    let online = tree.text("sys/devices/system/cpu/online").unwrap_or_default();
    let cpu = Cpu { name: value("model name"), online: text::list(&online), ..Cpu::default() };
    if let Some(vendor) = value("vendor_id") {
        let (family, model) = (number("cpu family"), number("model"));
        return Cpu { arch: Some("x86_64"), vendor: Some(vendor), family, model, ..cpu };
    }
    if let Some(implementer) = value("CPU implementer") {
        let part = value("CPU part").as_deref().and_then(text::hexadecimal);
        let model = part.and_then(|part| u32::try_from(part).ok());
        return Cpu { arch: Some("arm64"), vendor: Some(implementer), model, ..cpu };
    }
    match value("cpu") {
        Some(name) if name.starts_with("POWER") => {
            Cpu { arch: Some("ppc64"), vendor: Some("IBM".to_owned()), name: Some(name), ..cpu }
        }
        _ => cpu,
    }
}
