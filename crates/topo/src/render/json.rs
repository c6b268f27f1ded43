//! Owns the JSON form of a topology: schema 1, one object, for other programs.
//!
//! Bandwidths are bytes a second; vertices are named by ids such as `gpu0`, which nothing else has.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::bus_id::BusId;
use crate::graph::{Link, LinkKind, Topology, Verbs, VertexId, VertexKind};
use crate::lint::{Finding, Rule, Severity, lint_with_paths};
use crate::model::GpuModel;
use crate::path::PathKind;
use crate::paths::{Paths, TooLarge};
use crate::rails::Rails;
use crate::render::words::{id, kind, product};
use crate::unit::Bandwidth;

#[derive(Serialize)]
struct Form {
    schema: u32,
    fingerprint: String,
    hosts: usize,
    vertices: Vec<VertexForm>,
    links: Vec<LinkForm>,
    paths: Vec<PathForm>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    paths_left_out: Option<String>,
    rails: Vec<RailForm>,
    findings: Vec<FindingForm>,
}

#[derive(Serialize, Default)]
struct VertexForm {
    id: String,
    kind: &'static str,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bus_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numa: Option<u32>,
    /// Of a NUMA node: what passes to each other one of its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    between: Option<Bandwidth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sm: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gcn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gdr: Option<bool>,
    /// Of a port of an RDMA device.
    #[serde(skip_serializing_if = "Option::is_none")]
    verbs: Option<Verbs>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bus_ids: Vec<String>,
}

#[derive(Serialize)]
struct LinkForm {
    from: String,
    to: String,
    kind: LinkKind,
    bandwidth: Bandwidth,
    count: u32,
}

#[derive(Serialize)]
struct PathForm {
    from: String,
    to: String,
    kind: PathKind,
    bandwidth: Bandwidth,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
}

#[derive(Serialize)]
struct RailForm {
    rail: u32,
    ports: Vec<String>,
}

#[derive(Serialize)]
struct FindingForm {
    severity: Severity,
    rule: Rule,
    about: Vec<String>,
    evidence: String,
    remedy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

/// GPUs and ports whose pairs are told: 512² paths are 30 MB of text.
const MOST_TOLD: usize = 512;

/// The topology, its paths, rails and findings, as one line of JSON. Of more than 512 GPUs and ports it
/// has no paths, and says so in `paths_left_out`.
pub fn json(topology: &Topology) -> String {
    let table = Paths::of(topology);
    let (paths, paths_left_out) = match all_paths(topology, &table) {
        Ok(paths) => (paths, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let rails = Rails::of(topology);
    let rail = |(rail, ports): (u32, &[VertexId])| {
        let ports = ports.iter().map(|&port| id(topology, port)).collect();
        RailForm { rail, ports }
    };
    let form = Form {
        schema: 1,
        fingerprint: topology.fingerprint().to_string(),
        hosts: topology.hosts().len(),
        vertices: topology.ids().map(|id| vertex(topology, id)).collect(),
        links: links(topology),
        paths,
        paths_left_out,
        rails: rails.iter().map(rail).collect(),
        findings: findings(topology, &table),
    };
    // Maps with keys that are no strings are what serde_json refuses; the form has none.
    serde_json::to_string(&form).unwrap_or_default()
}

fn vertex(topology: &Topology, of: VertexId) -> VertexForm {
    let vertex = topology.vertex(of);
    let is_port = matches!(vertex.kind, VertexKind::Port(_));
    let pci = topology.pci(of).filter(|_| !is_port);
    let mut form = VertexForm {
        id: id(topology, of),
        kind: kind(&vertex.kind),
        label: topology.label(of).to_string(),
        host: vertex.host,
        parent: vertex.parent.map(|parent| id(topology, parent)),
        bus_id: pci.map(|pci| pci.bus_id.to_string()),
        product: pci.and_then(product),
        ..VertexForm::default()
    };
    match &vertex.kind {
        VertexKind::Cpu(cpu) => {
            (form.numa, form.vendor) = (cpu.numa, cpu.vendor.clone());
            form.between = Some(topology.between(of));
        }
        VertexKind::Gpu(gpu) => {
            (form.dev, form.gdr) = (Some(gpu.dev), Some(gpu.gdr));
            match &gpu.model {
                GpuModel::Nvidia { sm } => form.sm = Some(*sm),
                GpuModel::Amd { gcn } => form.gcn = Some(gcn.clone()),
                GpuModel::Unknown => {}
            }
        }
        VertexKind::Port(port) => {
            (form.dev, form.mbit, form.gdr) = (Some(port.dev), port.mbit, Some(port.gdr));
            form.verbs = port.verbs.clone();
        }
        VertexKind::NvSwitch(nvswitch) => {
            form.bus_ids = nvswitch.bus_ids.iter().map(BusId::to_string).collect();
        }
        VertexKind::Switch(_) | VertexKind::Nic(_) | VertexKind::Device(_) => {}
    }
    form
}

/// All links but those between NUMA nodes, whose bandwidth is told with the nodes.
fn links(topology: &Topology) -> Vec<LinkForm> {
    let form = |link: &Link| LinkForm {
        from: id(topology, link.from),
        to: id(topology, link.to),
        kind: link.kind,
        bandwidth: link.bandwidth,
        count: link.count,
    };
    topology.links().iter().map(form).collect()
}

/// Between GPUs, and from GPUs to ports and back; or why they are not told.
fn all_paths(
    topology: &Topology,
    table: &Result<Paths, TooLarge>,
) -> Result<Vec<PathForm>, String> {
    let ends: Vec<VertexId> = [topology.gpus(), topology.ports()].concat();
    if ends.len() > MOST_TOLD {
        let ends = ends.len();
        return Err(format!("{ends} GPUs and ports; the paths of at most {MOST_TOLD} are told"));
    }
    let paths = table.as_ref().map_err(TooLarge::to_string)?;
    let mut forms = Vec::new();
    for &from in &ends {
        for &to in ends.iter().filter(|&&to| to != from) {
            let relayed = paths.relayed(from, to);
            let path = relayed.map(|relayed| relayed.path).or_else(|| paths.between(from, to));
            if let Some(path) = path {
                forms.push(PathForm {
                    from: id(topology, from),
                    to: id(topology, to),
                    kind: path.kind,
                    bandwidth: path.bandwidth,
                    relay: relayed.map(|relayed| id(topology, relayed.relay)),
                });
            }
        }
    }
    Ok(forms)
}

fn findings(topology: &Topology, table: &Result<Paths, TooLarge>) -> Vec<FindingForm> {
    lint_with_paths(topology, table.as_ref()).into_iter().map(|it| form(topology, it)).collect()
}

fn form(topology: &Topology, finding: Finding) -> FindingForm {
    FindingForm {
        severity: finding.severity,
        rule: finding.rule,
        about: finding.about.iter().map(|&of| id(topology, of)).collect(),
        evidence: finding.evidence,
        remedy: finding.remedy,
        line: Some(finding.at.line).filter(|&line| line > 0),
    }
}

/// Findings as they stand in [`json()`]: one line, an array.
pub fn json_findings(topology: &Topology, findings: impl IntoIterator<Item = Finding>) -> String {
    let forms: Vec<_> = findings.into_iter().map(|it| form(topology, it)).collect();
    serde_json::to_string(&forms).unwrap_or_default()
}
