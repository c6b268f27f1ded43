//! Owns the rules about NVLinks, and about pairs that nothing joins.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use crate::graph::{LinkKind, Remark, Topology, VertexId};
use crate::lint::{Finding, Findings, Rule, Severity, counted, list, verb};
use crate::model::GpuModel;
use crate::paths::Paths;

pub fn check_nvlinks(topology: &Topology, found: &mut Vec<Finding>) {
    let mut findings = Findings::new(topology, found);
    check_ends(topology, &mut findings);
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
                    "compare with `nvidia-smi nvlink -s` on the host: a link that is down at one end comes back by a reset of both GPUs (`nvidia-smi -r`), or needs service; if the file is wrong, correct count of the <nvlink>s of both <gpu>s",
                );
            }
        }
    }
    check_counts(topology, &mut findings);
}

/// Links that lead back, or nowhere.
fn check_ends(topology: &Topology, findings: &mut Findings<'_>) {
    let mut itself = Vec::new();
    let mut nowhere: BTreeMap<VertexId, (u32, Vec<&str>)> = BTreeMap::new();
    for remark in &topology.remarks {
        match remark {
            Remark::SelfLink { gpu, .. } => itself.push(*gpu),
            Remark::Nowhere { gpu, target, count, .. } => {
                let of_gpu = nowhere.entry(*gpu).or_default();
                of_gpu.0 += count;
                of_gpu.1.push(target);
            }
            Remark::LinkSpeed { .. } | Remark::LinkWidth { .. } => {}
        }
    }
    itself.dedup();
    if !itself.is_empty() {
        findings.add(
            Severity::Warning,
            Rule::SelfLink,
            &itself,
            format!(
                "{} {} left out",
                list(topology, &itself),
                verb(
                    itself.len(),
                    "has an NVLink to itself, which is",
                    "have each an NVLink to themselves, which are"
                )
            ),
            "virtual machines show this where the far end is hidden: in the file, set target of that <nvlink> to the far end, or say that it is an NVSwitch (tclass=\"0x068000\")",
        );
    }
    for (gpu, (links, targets)) in nowhere {
        let shown: Vec<&str> = targets.iter().take(8).copied().collect();
        findings.add(
            Severity::Note,
            Rule::LinkToNowhere,
            &[gpu],
            format!(
                "{} has {} to GPUs that are not described ({}), which {} left out",
                topology.label(gpu),
                counted(links as usize, "NVLink"),
                shown.join(", "),
                verb(links as usize, "is", "are")
            ),
            "right where a container or a job has a part of the GPUs; else describe the GPUs with those bus ids, or, if the far end is an NVSwitch, set tclass=\"0x068000\"",
        );
    }
}

/// GPUs of one model that reach NVSwitches have equally many links to them; of those that reach each other none has none.
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
    for of_model in counts.into_values().filter(|counts| counts.len() > 1) {
        let most = of_model.keys().next_back().copied().unwrap_or(0);
        // Without a switch GPUs may well have different counts, but hardly some links and some none.
        let odd = |&(count, _): &(u32, _)| count < most && (has_switch || count == 0);
        for (count, mut ids) in of_model.into_iter().filter(odd) {
            if !has_switch {
                // Of a link that the other end tells of it is told already.
                ids.retain(|&gpu| !is_linked_to(topology, gpu));
            }
            if ids.is_empty() {
                continue;
            }
            findings.add(
                Severity::Warning,
                Rule::AsymmetricNvlink,
                &ids,
                format!(
                    "{} {} {}, others of the same model {most}",
                    list(topology, &ids),
                    verb(ids.len(), "has", "have each"),
                    counted(count as usize, "NVLink")
                ),
                "compare with `nvidia-smi nvlink -s` on the host: links that are down slow every ring through these GPUs (the fabric manager's log says why); if the file is wrong, correct count of the <nvlink>s",
            );
        }
    }
}

/// Whether another GPU tells of NVLinks to this one.
fn is_linked_to(topology: &Topology, gpu: VertexId) -> bool {
    topology.gpus().iter().any(|&other| topology.link(other, gpu, LinkKind::Nvl).is_some())
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
            "in the file, describe the NICs of both hosts (<nic><net/></nic>), or the NVSwitch between them (<nvlink target=\"…\" count=\"…\" tclass=\"0x068000\"/> in each <gpu>)",
        );
    }
}
