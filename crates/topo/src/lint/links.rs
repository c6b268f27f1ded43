//! Owns the rules about NVLinks, and about pairs that nothing joins.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use crate::graph::{GpuModel, LinkKind, Remark, Topology, VertexId};
use crate::lint::{Finding, Findings, Rule, Severity, list};
use crate::paths::Paths;

pub fn check_nvlinks(topology: &Topology, found: &mut Vec<Finding>) {
    let mut findings = Findings::new(topology, found);
    for remark in &topology.remarks {
        if let Remark::SelfLink { gpu, .. } = remark {
            findings.add(
                Severity::Warning,
                Rule::SelfLink,
                &[*gpu],
                format!("{} has an NVLink to itself, which is left out", topology.label(*gpu)),
                "virtual machines show this where the far end is hidden: set target to the far end, or to an NVSwitch (tclass=\"0x068000\")",
            );
        }
    }
    for &a in topology.gpus() {
        for link in topology.links_of(a).iter().filter(|link| link.kind == LinkKind::Nvl) {
            let (b, there) = (link.to, link.count);
            let back = topology.link(b, a, LinkKind::Nvl).map_or(0, |link| link.count);
            if topology.gpu(b).is_some() && there > back {
                findings.add(
                    Severity::Error,
                    Rule::AsymmetricNvlink,
                    &[a, b],
                    format!("{} counts {there} NVLinks to {}, which counts {back} back", topology.label(a), topology.label(b)),
                    "compare with `nvidia-smi nvlink -s`: a link that is down at one end, or a slip in the description",
                );
            }
        }
    }
    check_counts(topology, &mut findings);
}

/// GPUs of one model that reach NVSwitches have equally many links to them.
fn check_counts(topology: &Topology, findings: &mut Findings<'_>) {
    let mut counts: BTreeMap<(&str, u32), BTreeMap<u32, Vec<VertexId>>> = BTreeMap::new();
    for &id in topology.gpus() {
        let Some(gpu) = topology.gpu(id).filter(|gpu| gpu.described) else { continue };
        let model = match &gpu.model {
            GpuModel::Nvidia { sm } => ("", *sm),
            GpuModel::Amd { gcn } => (gcn.as_str(), 0),
            GpuModel::Unknown => continue,
        };
        let links = topology.links_of(id).iter().filter(|link| link.kind == LinkKind::Nvl);
        let count = links.map(|link| link.count).sum();
        counts.entry(model).or_default().entry(count).or_default().push(id);
    }
    let has_switch = topology.vertices().iter().any(|vertex| vertex.host.is_none());
    for of_model in counts.into_values().filter(|counts| has_switch && counts.len() > 1) {
        let most = of_model.keys().next_back().copied().unwrap_or(0);
        for (count, ids) in of_model.into_iter().filter(|&(count, _)| count < most) {
            findings.add(
                Severity::Warning,
                Rule::AsymmetricNvlink,
                &ids,
                format!("{} have {count} NVLinks, others of the same model {most}", list(topology, &ids)),
                "compare with `nvidia-smi nvlink -s`: links that are down slow every ring through these GPUs",
            );
        }
    }
}

pub fn check_reach(topology: &Topology, paths: &Paths, found: &mut Vec<Finding>) {
    let mut findings = Findings::new(topology, found);
    let mut apart: BTreeMap<_, (VertexId, VertexId, usize)> = BTreeMap::new();
    let host = |id: VertexId| topology.vertex(id).host;
    for &a in topology.gpus() {
        let ports = topology.ports().iter().filter(|&&port| host(port) == host(a));
        for &b in topology.gpus().iter().chain(ports) {
            if paths.between(a, b).is_none() {
                let pair = apart.entry((host(a), host(b))).or_insert((a, b, 0));
                pair.2 += 1;
            }
        }
    }
    for (a, b, pairs) in apart.into_values() {
        findings.add(
            Severity::Error,
            Rule::Unreachable,
            &[a, b],
            format!(
                "nothing leads from {} to {} ({pairs} such pairs)",
                topology.label(a),
                topology.label(b)
            ),
            "describe the NICs of both hosts, or the NVSwitch between them",
        );
    }
}
