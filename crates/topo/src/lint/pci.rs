//! Owns the rules about PCI: rates and widths, the tree's shape, bus ids, devices of no known kind.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::graph::{LinkKind, Pci, Topology, VertexId, VertexKind};
use crate::lint::{Finding, Findings, Rule, Severity, list};
use crate::rates;

/// As many GPUs and NICs directly below processors are taken for a tree that was lost.
const FLAT: usize = 4;

pub fn check(topology: &Topology, found: &mut Vec<Finding>) {
    let mut findings = Findings::new(topology, found);
    for id in topology.ids() {
        match &topology.vertex(id).kind {
            VertexKind::Cpu(cpu) if cpu.numa.is_none() => findings.add(
                Severity::Warning,
                Rule::NumaUnknown,
                &[id],
                format!("{} has NUMA number -1", topology.label(id)),
                "set numaid to the node that `cat /sys/bus/pci/devices/BUSID/numa_node` of its devices should show; a firmware without NUMA tables shows -1",
            ),
            VertexKind::Gpu(gpu) => {
                if !gpu.described {
                    findings.add(
                        Severity::Note,
                        Rule::NotDescribed,
                        &[id],
                        format!("{} ({}) has no <gpu> element: its NVLinks are unknown", topology.label(id), gpu.pci.bus_id),
                        "let the machine describe itself (NCCL_TOPO_DUMP_FILE), or add <gpu> with its <nvlink>s",
                    );
                }
                // What is on one module with its processor moves no data over PCIe.
                if !on_module(topology, id) {
                    check_link(&mut findings, id, &gpu.pci, true);
                }
            }
            VertexKind::Nic(nic) => {
                if let Some(pci) = &nic.pci {
                    check_link(&mut findings, id, pci, false);
                }
            }
            VertexKind::Switch(pci) => check_link(&mut findings, id, pci, false),
            VertexKind::Device(pci) => findings.add(
                Severity::Warning,
                Rule::UnknownDevice,
                &[id],
                format!("the device {} has no class that tells a GPU, a NIC or a switch", pci.bus_id),
                "add class=\"0x030200\" to a GPU, \"0x020000\" to a NIC, \"0x060400\" to a switch",
            ),
            _ => {}
        }
    }
    check_tree(topology, &mut findings);
    check_bus_ids(topology, &mut findings);
}

fn check_link(findings: &mut Findings<'_>, id: VertexId, pci: &Pci, is_gpu: bool) {
    let topology = findings.topology;
    let words = findings.words.get(&id).copied();
    let (name, bus_id) = (topology.label(id), pci.bus_id);
    let mut untold: Vec<String> = Vec::new();
    if pci.mega_transfers.is_none() {
        untold.push(
            words.map_or_else(|| "no link_speed".into(), |words| format!("link_speed {words:?}")),
        );
    }
    if pci.lanes.is_none() {
        untold.push("no link_width".into());
    }
    if !untold.is_empty() {
        findings.add(
            Severity::Warning,
            Rule::SpeedUnknown,
            &[id],
            format!(
                "{name} ({bus_id}) has {}; it counts as {}",
                untold.join(" and "),
                pci.bandwidth()
            ),
            "set link_speed and link_width to what `lspci -vv` shows as LnkSta on the host",
        );
    }
    let most_lanes =
        pci.max_lanes.or(is_gpu.then_some(16).filter(|_| pci.max_mega_transfers.is_some()));
    let rate = pci.mega_transfers.unwrap_or(rates::UNKNOWN_PCIE_MT);
    let lanes = pci.lanes.unwrap_or(rates::UNKNOWN_PCIE_LANES);
    let slower =
        pci.mega_transfers.is_some() && pci.max_mega_transfers.is_some_and(|most| rate < most);
    let narrower = pci.lanes.is_some() && most_lanes.is_some_and(|most| lanes < most);
    if slower || narrower {
        let best_rate = pci.max_mega_transfers.unwrap_or(rate).max(rate);
        let best_lanes = most_lanes.unwrap_or(lanes).max(lanes);
        let best = rates::pcie(best_rate, best_lanes).unwrap_or_default();
        findings.add(
            Severity::Warning,
            Rule::LinkBelowDevice,
            &[id],
            format!(
                "{name} ({bus_id}) has {lanes} lanes at {} and could have {best_lanes} at {}: {} of {best}",
                transfers(rate),
                transfers(best_rate),
                pci.bandwidth(),
            ),
            "look at `lspci -vv` (LnkCap, LnkSta): a slot of fewer lanes, an older host, a riser, or a link that trained down and comes back by reseating or a reset",
        );
    }
}

/// `16 GT/s`.
fn transfers(rate: u32) -> String {
    match rate % 1000 {
        0 => format!("{} GT/s", rate / 1000),
        rest => format!("{}.{} GT/s", rate / 1000, rest / 100),
    }
}

fn on_module(topology: &Topology, gpu: VertexId) -> bool {
    topology.links_of(gpu).iter().any(|link| link.kind == LinkKind::C2c)
}

fn check_tree(topology: &Topology, findings: &mut Findings<'_>) {
    let mut devices = Vec::new();
    let mut switches = 0;
    for id in topology.ids() {
        let vertex = topology.vertex(id);
        match &vertex.kind {
            VertexKind::Switch(_) => switches += 1,
            VertexKind::Nic(nic) if nic.pci.is_some() => devices.push(id),
            VertexKind::Gpu(_) => devices.push(id),
            _ => {}
        }
    }
    let gpus = topology.gpus().len();
    if switches > 0
        || devices.len() < FLAT
        || gpus < 2
        || topology.gpus().iter().any(|&gpu| on_module(topology, gpu))
    {
        return;
    }
    findings.add(
        Severity::Warning,
        Rule::FlatTree,
        &devices,
        format!("{gpus} GPUs and {} NICs hang below processors, with no PCI switch: no NIC is nearer to one GPU than to another", devices.len() - gpus),
        "in a virtual machine, give the host's description with its bus ids replaced (--bdf-map); on a server whose slots have no switch this is right",
    );
}

fn check_bus_ids(topology: &Topology, findings: &mut Findings<'_>) {
    let mut known: BTreeMap<_, Vec<VertexId>> = BTreeMap::new();
    for id in topology.ids() {
        let vertex = topology.vertex(id);
        let is_port = matches!(vertex.kind, VertexKind::Port(_));
        if let Some(pci) = topology.pci(id).filter(|_| !is_port) {
            known.entry((vertex.host, pci.bus_id)).or_default().push(id);
        }
    }
    for ((_, bus_id), ids) in known.into_iter().filter(|(_, ids)| ids.len() > 1) {
        // Partitions of one GPU share its address; only they are joined inside a device.
        if ids.iter().skip(1).all(|&id| topology.link(id, ids[0], LinkKind::Loc).is_some()) {
            continue;
        }
        findings.add(
            Severity::Error,
            Rule::DuplicateBusId,
            &ids,
            format!("{} have one bus id, {bus_id}", list(topology, &ids)),
            "give each device the bus id that `lspci -D` shows; links lead to the first of them only",
        );
    }
}
