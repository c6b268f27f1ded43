//! Owns the rules about PCI links: rates and widths that are not told, that do not exist, that fall short
//! of the device, of its like, or of the port behind it. Devices with the same complaint share a finding.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::graph::{Pci, Remark, Topology, VertexId, VertexKind};
use crate::lint::{Findings, Rule, Severity, counted, named, transfers, verb};
use crate::model::GpuModel;
use crate::rates;
use crate::unit::Bandwidth;

/// Widths that links of PCIe have.
const WIDTHS: [u32; 7] = [1, 2, 4, 8, 12, 16, 32];
/// GPUs and NICs at lower rates are asleep, or broken, however old the machine.
const AWAKE: u32 = 8_000;

/// What devices must have in common to be held against each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Like {
    Gpu(Option<u32>, String),
    Nic(u32, u32),
}

/// A link, and the best that it could be.
struct Judged<'a> {
    id: VertexId,
    host: Option<u32>,
    pci: &'a Pci,
    like: Option<Like>,
    is_gpu: bool,
}

/// Says which links fall short of what they could be.
pub fn check(topology: &Topology, findings: &mut Findings<'_>) -> Vec<VertexId> {
    let links: Vec<Judged<'_>> = topology.ids().filter_map(|id| judged(topology, id)).collect();
    check_untold(topology, &links, findings);
    check_widths(topology, &links, findings);
    let below = check_below(topology, &links, findings);
    check_ports(topology, &below, findings);
    below
}

fn judged(topology: &Topology, id: VertexId) -> Option<Judged<'_>> {
    let vertex = topology.vertex(id);
    let (pci, is_gpu, like) = match &vertex.kind {
        VertexKind::Gpu(gpu) if !topology.is_on_module(id) => {
            let like = match &gpu.model {
                GpuModel::Nvidia { sm } => Some(Like::Gpu(Some(*sm), String::new())),
                GpuModel::Amd { gcn } => Some(Like::Gpu(None, gcn.clone())),
                GpuModel::Unknown => None,
            };
            (&gpu.pci, true, like)
        }
        VertexKind::Nic(nic) => {
            let pci = nic.pci.as_ref()?;
            let ids = pci.ids[0].zip(pci.ids[1]);
            (pci, false, ids.map(|(vendor, device)| Like::Nic(vendor, device)))
        }
        VertexKind::Switch(pci) => (pci, false, None),
        _ => return None,
    };
    Some(Judged { id, host: vertex.host, pci, like, is_gpu })
}

/// How a remedy calls the element of the first of them.
fn element(topology: &Topology, ids: &[VertexId]) -> String {
    let first = ids.first().and_then(|&id| topology.pci(id));
    let more = if ids.len() > 1 { " and the others" } else { "" };
    first.map_or("each <pci>".into(), |pci| format!("<pci busid=\"{}\">{more}", pci.bus_id))
}

fn check_untold(topology: &Topology, links: &[Judged<'_>], findings: &mut Findings<'_>) {
    let (mut words, mut widths) = (BTreeMap::new(), BTreeMap::new());
    for remark in &topology.remarks {
        match remark {
            Remark::LinkSpeed { of, value } => drop(words.insert(*of, value.as_str())),
            Remark::LinkWidth { of, value } => drop(widths.insert(*of, *value)),
            _ => {}
        }
    }
    let mut groups: BTreeMap<(bool, String, Bandwidth), Vec<VertexId>> = BTreeMap::new();
    for link in links {
        let mut untold: Vec<String> = Vec::new();
        if link.pci.mega_transfers.is_none() {
            let words = words.get(&link.id);
            untold.push(
                words.map_or_else(
                    || "no link_speed".into(),
                    |words| format!("link_speed {words:?}"),
                ),
            );
        }
        if link.pci.lanes.is_none() {
            let width = widths.get(&link.id);
            untold.push(
                width.map_or_else(|| "no link_width".into(), |width| format!("link_width {width}")),
            );
        }
        if !untold.is_empty() {
            let key = (link.is_gpu, untold.join(" and "), link.pci.bandwidth());
            groups.entry(key).or_default().push(link.id);
        }
    }
    for ((_, untold, bandwidth), ids) in groups {
        findings.add(
            Severity::Warning,
            Rule::SpeedUnknown,
            &ids,
            format!(
                "{} {} {untold}, and {} as {bandwidth}",
                named(topology, &ids),
                verb(ids.len(), "has", "have each"),
                verb(ids.len(), "counts", "count")
            ),
            format!("in the file, set link_speed and link_width of {} to what `lspci -vv` shows as LnkSta on the host; a virtual machine does not see it: give it the host's file (`crosstie topo remap`)", element(topology, &ids)),
        );
    }
}

fn check_widths(topology: &Topology, links: &[Judged<'_>], findings: &mut Findings<'_>) {
    let mut groups: BTreeMap<u32, Vec<VertexId>> = BTreeMap::new();
    for link in links {
        if let Some(lanes) = link.pci.lanes.filter(|lanes| !WIDTHS.contains(lanes)) {
            groups.entry(lanes).or_default().push(link.id);
        }
    }
    for (lanes, ids) in groups {
        findings.add(
            Severity::Error,
            Rule::LinkWidth,
            &ids,
            format!(
                "{} {} {lanes} lanes, which no PCIe link has: 1, 2, 4, 8, 12, 16 or 32",
                named(topology, &ids),
                verb(ids.len(), "has", "have each")
            ),
            format!(
                "in the file, set link_width of {} to the width that `lspci -vv` shows as LnkSta",
                element(topology, &ids)
            ),
        );
    }
}

/// Rate and lanes: what a link has, or could have.
type Has = (u32, u32);

/// Says which links fall short.
fn check_below(
    topology: &Topology,
    links: &[Judged<'_>],
    findings: &mut Findings<'_>,
) -> Vec<VertexId> {
    let mut likes: BTreeMap<(Option<u32>, &Like), Has> = BTreeMap::new();
    let mut fastest: BTreeMap<Option<u32>, u32> = BTreeMap::new();
    for link in links {
        let rate = link.pci.mega_transfers.unwrap_or(0);
        let host = fastest.entry(link.host).or_default();
        *host = rate.max(*host);
        if let Some(like) = &link.like {
            let best = likes.entry((link.host, like)).or_default();
            *best = (rate.max(best.0), link.pci.lanes.unwrap_or(0).max(best.1));
        }
    }
    let mut groups: BTreeMap<(bool, bool, Has, Has), Vec<VertexId>> = BTreeMap::new();
    for link in links {
        let pci = link.pci;
        let rate = pci.mega_transfers.unwrap_or(rates::UNKNOWN_PCIE_MT);
        let lanes = pci.lanes.unwrap_or(rates::UNKNOWN_PCIE_LANES);
        let like = link
            .like
            .as_ref()
            .and_then(|like| likes.get(&(link.host, like)))
            .copied()
            .unwrap_or_default();
        // A GPU that we know has 16 lanes.
        let own = pci
            .max_lanes
            .or(link.is_gpu.then_some(16).filter(|_| pci.max_mega_transfers.is_some()));
        let best = (
            pci.max_mega_transfers.unwrap_or(0).max(like.0).max(rate),
            own.unwrap_or(0).max(like.1).max(lanes),
        );
        let slower = pci.mega_transfers.is_some() && rate < best.0;
        let narrower = pci.lanes.is_some() && lanes < best.1;
        if slower || narrower {
            let of_its_time = !narrower
                && rate >= AWAKE
                && fastest.get(&link.host).is_some_and(|&fastest| rate == fastest);
            groups
                .entry((of_its_time, link.is_gpu, (rate, lanes), best))
                .or_default()
                .push(link.id);
        }
    }
    let mut below = Vec::new();
    for ((of_its_time, _, has, best), ids) in groups {
        tell_below(topology, findings, of_its_time, has, best, &ids);
        below.extend(ids);
    }
    below
}

fn tell_below(
    topology: &Topology,
    findings: &mut Findings<'_>,
    of_its_time: bool,
    has: Has,
    best: Has,
    ids: &[VertexId],
) {
    let carries = |(rate, lanes)| rates::pcie(rate, lanes).unwrap_or_default();
    let evidence = format!(
        "{} {} {} at {} and could have {} at {}: {} of {}",
        named(topology, ids),
        verb(ids.len(), "has", "have each"),
        counted(has.1 as usize, "lane"),
        transfers(has.0),
        best.1,
        transfers(best.0),
        carries(has),
        carries(best),
    );
    let (severity, evidence, remedy) = match of_its_time {
        true => (
            Severity::Note,
            format!("{evidence}; no PCIe link of this machine is faster"),
            "nothing, if processors and slots are of that generation; else set the slots' link speed to Auto in the BIOS".into(),
        ),
        false => (
            Severity::Warning,
            evidence,
            format!("on the host, compare LnkCap and LnkSta of `lspci -vv`, under load (an idle GPU goes to 2.5 GT/s): a slot of fewer lanes, a riser, the BIOS's bifurcation or link speed of that slot (set Auto), or a link that trained down and comes back by reseating or a reset; if the file is wrong, correct link_speed and link_width of {}", element(topology, ids)),
        ),
    };
    findings.add(severity, Rule::LinkBelowDevice, ids, evidence, remedy);
}

/// A port that its card's link cannot feed, whatever the card could have. By signalling rates, for even a
/// good card is above what NCCL reckons a link to carry: 25 GB/s on 24.
fn check_ports(topology: &Topology, below: &[VertexId], findings: &mut Findings<'_>) {
    let mut groups: BTreeMap<(u64, Has), Vec<VertexId>> = BTreeMap::new();
    for &port in topology.ports() {
        let card = topology.vertex(port).parent.filter(|card| !below.contains(card));
        let (Some(card), Some(mbit)) = (card, topology.port(port).and_then(|port| port.mbit))
        else {
            continue;
        };
        let has = topology.pci(card).and_then(|pci| pci.mega_transfers.zip(pci.lanes));
        if let Some(has) = has.filter(|&has| mbit > signals(has)) {
            groups.entry((mbit, has)).or_default().push(card);
        }
    }
    for ((mbit, has), mut ids) in groups {
        ids.dedup();
        findings.add(
            Severity::Warning,
            Rule::PortAboveLink,
            &ids,
            format!(
                "{} {} a port of {} Gb/s on {} at {}: {} Gb/s at most",
                named(topology, &ids),
                verb(ids.len(), "has", "have each"),
                mbit / 1000,
                counted(has.1 as usize, "lane"),
                transfers(has.0),
                signals(has) / 1000,
            ),
            format!("on the host, compare LnkCap and LnkSta of `lspci -vv`: put the card into a wider slot, set that slot's bifurcation to x16 and its link speed to Auto in the BIOS, or reseat it; if the file is wrong, correct link_width of {}, or speed of its <net> (Mb/s)", element(topology, &ids)),
        );
    }
}

/// What a link signals, Mb/s: 8 bits of 10 up to 5 GT/s, then 128 of 130.
fn signals((rate, lanes): Has) -> u64 {
    let all = u64::from(rate) * u64::from(lanes);
    if rate <= 5_000 { all * 8 / 10 } else { all * 128 / 130 }
}
