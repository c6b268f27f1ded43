//! Owns the judgement of descriptions: what is wrong, or odd, with the evidence and what to do.

mod link;
mod links;
mod network;
mod pci;
mod reader;
mod shape;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;

use crate::graph::{Topology, VertexId};
use crate::paths::{Paths, TooLarge};
use crate::xml::Position;

/// How bad a finding is; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; plans are as good as they can be.
    Note,
    /// Plans will be worse than the machine, or rest on a guess.
    Warning,
    /// The description contradicts itself.
    Error,
}

impl Severity {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// A port, or a PCI link, of unknown speed or width.
    SpeedUnknown,
    /// A PCI link slower or narrower than its device, or its like.
    LinkBelowDevice,
    /// A PCI link of a width that PCIe does not have.
    LinkWidth,
    /// A port faster than the PCI link of its card.
    PortAboveLink,
    /// A PCI switch whose uplink is slower than a device below it, or than that of its like.
    UplinkBelowDevices,
    /// GPUs and NICs below a switch that do not pair up as those of nearly all others do.
    Unpaired,
    /// A NUMA node without a number.
    NumaUnknown,
    /// Many devices and no PCI switch: most often a virtual machine that hides them.
    FlatTree,
    /// Two devices with one bus id.
    DuplicateBusId,
    /// Two processors, GPUs, or ports of one host with one number.
    DuplicateNumber,
    /// A device that is neither GPU nor NIC nor switch as far as the description tells.
    UnknownDevice,
    /// A GPU that only PCI tells of: nothing is known of its NVLinks.
    NotDescribed,
    /// No port of a network at all: no rails.
    NoNic,
    /// A GPU that no NIC is near.
    GpuWithoutNic,
    /// Ports of one rail, or like ports of one host, with different speeds.
    RailSpeeds,
    /// RDMA ports of one host with different MTUs.
    RailMtus,
    /// NVLinks that one end counts otherwise than the other, or one GPU otherwise than its like.
    AsymmetricNvlink,
    /// A link from a GPU to itself.
    SelfLink,
    /// A link to a GPU that is not there.
    LinkToNowhere,
    /// Two ends that nothing joins.
    Unreachable,
    /// A machine too large to look at every pair.
    TooLarge,
    /// A leaf of a fabric without an uplink.
    LeafWithoutUplink,
    /// A node's port without a cable.
    PortWithoutCable,
    /// More, or longer, than NCCL's own reader takes.
    BeyondNccl,
}

impl Rule {
    /// Its name, as in the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SpeedUnknown => "speed-unknown",
            Self::LinkBelowDevice => "link-below-device",
            Self::LinkWidth => "link-width",
            Self::PortAboveLink => "port-above-link",
            Self::UplinkBelowDevices => "uplink-below-devices",
            Self::Unpaired => "unpaired",
            Self::NumaUnknown => "numa-unknown",
            Self::FlatTree => "flat-tree",
            Self::DuplicateBusId => "duplicate-bus-id",
            Self::DuplicateNumber => "duplicate-number",
            Self::UnknownDevice => "unknown-device",
            Self::NotDescribed => "not-described",
            Self::NoNic => "no-nic",
            Self::GpuWithoutNic => "gpu-without-nic",
            Self::RailSpeeds => "rail-speeds",
            Self::RailMtus => "rail-mtus",
            Self::AsymmetricNvlink => "asymmetric-nvlink",
            Self::SelfLink => "self-link",
            Self::LinkToNowhere => "link-to-nowhere",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "too-large",
            Self::LeafWithoutUplink => "leaf-without-uplink",
            Self::PortWithoutCable => "port-without-cable",
            Self::BeyondNccl => "beyond-nccl",
        }
    }
}

/// Something that is wrong, or odd, with a description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked for.
    pub rule: Rule,
    /// The vertices that it is about.
    pub about: Vec<VertexId>,
    /// What was found, with names and numbers.
    pub evidence: String,
    /// What to do, and where: which attribute of the file, which setting of the machine.
    pub remedy: String,
    /// Where the description says so.
    #[serde(skip)]
    pub at: Position,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, rule, evidence, remedy, at, .. } = self;
        write!(f, "{severity}: {evidence} [{}", rule.name())?;
        if at.line > 0 {
            write!(f, ", line {}", at.line)?;
        }
        write!(f, "]; {remedy}")
    }
}

/// Everything found in a topology: the worst first, then in the order of the rules and the file.
pub fn lint(topology: &Topology) -> Vec<Finding> {
    lint_with_paths(topology, Paths::of(topology).as_ref())
}

/// The same for those who have the table of its paths already, or know why there is none.
pub fn lint_with_paths(topology: &Topology, paths: Result<&Paths, &TooLarge>) -> Vec<Finding> {
    let mut findings = Vec::new();
    pci::check(topology, &mut findings);
    reader::check(topology, &mut findings);
    links::check_nvlinks(topology, &mut findings);
    network::check_numbers(topology, &mut findings);
    network::check_rails(topology, &mut findings);
    network::check_mtus(topology, &mut findings);
    match paths {
        Ok(paths) => {
            links::check_reach(topology, paths, &mut findings);
            network::check_nics(topology, paths, &mut findings);
        }
        Err(e) => findings.push(Finding {
            severity: Severity::Note,
            rule: Rule::TooLarge,
            about: Vec::new(),
            evidence: alloc::format!("{e}"),
            remedy: "lint a part of it, to have every pair looked at".into(),
            at: Position::default(),
        }),
    }
    findings
        .sort_by_key(|finding| (core::cmp::Reverse(finding.severity), finding.rule, finding.at));
    findings
}

/// What is found only by holding the nodes of a job, by name, against each other: rails that differ in
/// speed, or that a node lacks. [`lint()`] judges each of them.
pub fn lint_nodes(nodes: &[(&str, &Topology)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    network::check_nodes(nodes, &mut findings);
    findings
}

/// Makes findings about vertices, which is what most are.
pub(crate) struct Findings<'a> {
    topology: &'a Topology,
    found: &'a mut Vec<Finding>,
}

impl<'a> Findings<'a> {
    fn new(topology: &'a Topology, found: &'a mut Vec<Finding>) -> Self {
        Self { topology, found }
    }

    fn add(
        &mut self,
        severity: Severity,
        rule: Rule,
        about: &[VertexId],
        evidence: String,
        remedy: impl Into<String>,
    ) {
        let at = about.first().map(|&id| self.topology.vertex(id).at).unwrap_or_default();
        let remedy = remedy.into();
        self.found.push(Finding { severity, rule, about: about.into(), evidence, remedy, at });
    }
}

/// `16 GT/s`.
fn transfers(rate: u32) -> String {
    match rate % 1000 {
        0 => alloc::format!("{} GT/s", rate / 1000),
        rest => alloc::format!("{}.{} GT/s", rate / 1000, rest / 100),
    }
}

/// `8 GPUs`, `1 GPU`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    alloc::format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A verb for so many.
pub(crate) fn verb<'a>(count: usize, one: &'a str, several: &'a str) -> &'a str {
    if count == 1 { one } else { several }
}

/// Names of vertices, with commas; the first eight, and how many more.
pub(crate) fn list(topology: &Topology, ids: &[VertexId]) -> String {
    let mut text = String::new();
    for (number, &id) in ids.iter().take(8).enumerate() {
        let comma = if number > 0 { ", " } else { "" };
        text.push_str(&alloc::format!("{comma}{}", topology.label(id)));
    }
    if ids.len() > 8 {
        text.push_str(&alloc::format!(" and {} more", ids.len() - 8));
    }
    text
}

/// `GPU0 (0000:1b:00.0)`, or the names of several.
pub(crate) fn named(topology: &Topology, ids: &[VertexId]) -> String {
    match ids {
        [id] => match topology.pci(*id) {
            Some(pci) => alloc::format!("{} ({})", topology.label(*id), pci.bus_id),
            None => alloc::format!("{}", topology.label(*id)),
        },
        ids => list(topology, ids),
    }
}
