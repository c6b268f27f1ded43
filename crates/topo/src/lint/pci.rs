//! Owns the rules about PCI: the tree's shape, bus ids, devices of no known kind; its links are judged in
//! `link`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use crate::graph::{LinkKind, Topology, VertexId, VertexKind};
use crate::lint::{Finding, Findings, Rule, Severity, counted, link, list, named, shape, verb};
use crate::model::Cpu;

/// As many GPUs and NICs directly below processors are taken for a tree that was lost.
const FLAT: usize = 4;

pub fn check(topology: &Topology, found: &mut Vec<Finding>) {
    let mut findings = Findings::new(topology, found);
    let (mut bare, mut unknown) = (Vec::new(), Vec::new());
    for id in topology.ids() {
        match &topology.vertex(id).kind {
            VertexKind::Cpu(cpu) if cpu.numa.is_none() => findings.add(
                Severity::Warning,
                Rule::NumaUnknown,
                &[id],
                format!("{} has NUMA number -1", topology.label(id)),
                "in the file, set numaid of this <cpu> to what `cat /sys/bus/pci/devices/BUSID/numa_node` shows of its devices; if the machine itself shows -1: in its BIOS, turn NUMA on (memory interleaving off; AMD: NUMA nodes per socket 1 or more); of a virtual machine, give it NUMA nodes and place its devices on them",
            ),
            VertexKind::Gpu(gpu) if !gpu.described => bare.push(id),
            VertexKind::Device(_) => unknown.push(id),
            _ => {}
        }
    }
    if !bare.is_empty() {
        findings.add(
            Severity::Note,
            Rule::NotDescribed,
            &bare,
            format!(
                "{} {} no <gpu> element: {} NVLinks are unknown",
                named(topology, &bare),
                verb(bare.len(), "has", "have"),
                verb(bare.len(), "its", "their")
            ),
            "let the machine describe itself (NCCL_TOPO_DUMP_FILE, or `crosstie topo --format xml` there) and merge the files (--file twice), or add <gpu> with its <nvlink>s inside each <pci>",
        );
    }
    if !unknown.is_empty() {
        findings.add(
            Severity::Warning,
            Rule::UnknownDevice,
            &unknown,
            format!("no class tells whether {} {} a GPU, a NIC or a switch", named(topology, &unknown), verb(unknown.len(), "is", "are")),
            "in the file, give the <pci> class=\"0x030200\" if it is a GPU, \"0x020000\" if a NIC, \"0x060400\" if a switch; else remove it",
        );
    }
    let slow = link::check(topology, &mut findings);
    shape::check(topology, &slow, &mut findings);
    check_tree(topology, &mut findings);
    check_bus_ids(topology, &mut findings);
    check_cpus(topology, &mut findings);
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
        || topology.gpus().iter().any(|&gpu| topology.is_on_module(gpu))
    {
        return;
    }
    let nics = counted(devices.len() - gpus, "NIC");
    findings.add(
        Severity::Warning,
        Rule::FlatTree,
        &devices,
        format!("{gpus} GPUs and {nics} hang below processors, with no PCI switch: no NIC is nearer to one GPU than to another"),
        "in a virtual machine, give the host's description with its bus ids replaced (`crosstie topo remap HOST.xml --bdf-map MAP`) as --topo or NCCL_TOPO_FILE, or let the hypervisor show the switches (QEMU: pxb-pcie, pcie-root-port); on a server whose slots have no switch this is right",
    );
}

/// Processors of one host with one number count as two sockets, with the slow link of sockets between.
fn check_cpus(topology: &Topology, findings: &mut Findings<'_>) {
    let mut known: BTreeMap<_, Vec<VertexId>> = BTreeMap::new();
    for &id in topology.cpus() {
        let vertex = topology.vertex(id);
        if let VertexKind::Cpu(Cpu { numa: Some(numa), .. }) = vertex.kind {
            known.entry((vertex.host, numa)).or_default().push(id);
        }
    }
    for ((_, numa), ids) in known.into_iter().filter(|(_, ids)| ids.len() > 1) {
        findings.add(
            Severity::Error,
            Rule::DuplicateNumber,
            &ids,
            format!("{} <cpu>s of one host have numaid=\"{numa}\"", ids.len()),
            "in the file, put what hangs below them into one <cpu>, or give each the number of its own NUMA node; <cpu>s of several hosts are told apart by host_hash",
        );
    }
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
        let lines: Vec<_> =
            ids.iter().take(8).map(|&id| format!("{}", topology.vertex(id).at.line)).collect();
        findings.add(
            Severity::Error,
            Rule::DuplicateBusId,
            &ids,
            format!("{} have one bus id, {bus_id}", list(topology, &ids)),
            format!("in the file, give each <pci> (lines {}) the busid that `lspci -D` shows; links lead to the first of them only", lines.join(", ")),
        );
    }
}
