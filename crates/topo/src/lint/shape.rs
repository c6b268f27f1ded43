//! Owns the rules that hold PCI switches against each other: uplinks slower than what hangs below them, and
//! GPUs and NICs that do not pair up where those of other switches do.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use crate::graph::{Pci, Topology, VertexId, VertexKind};
use crate::lint::{Findings, Rule, Severity, counted, list, named, transfers, verb};
use crate::rates;
use crate::unit::Bandwidth;

/// A switch is odd where so many times as many others are alike.
const MAJORITY: usize = 3;

/// What hangs below a switch.
#[derive(Debug, Default)]
struct Below {
    gpus: Vec<VertexId>,
    cards: Vec<VertexId>,
    /// The device with the fastest link.
    fastest: Option<(Bandwidth, VertexId)>,
    together: Bandwidth,
}

impl Below {
    fn add(&mut self, topology: &Topology, id: VertexId) {
        let pci = match &topology.vertex(id).kind {
            VertexKind::Gpu(gpu) if !topology.is_on_module(id) => {
                self.gpus.push(id);
                &gpu.pci
            }
            VertexKind::Nic(nic) => {
                self.cards.push(id);
                let Some(pci) = &nic.pci else { return };
                pci
            }
            _ => return,
        };
        let Some(carries) = told(pci) else { return };
        self.together = self.together.plus(carries);
        if self.fastest.is_none_or(|(fastest, _)| carries > fastest) {
            self.fastest = Some((carries, id));
        }
    }

    fn counts(&self) -> Counts {
        (self.gpus.len(), self.cards.len())
    }
}

/// How many GPUs and how many NICs.
type Counts = (usize, usize);

/// What a link carries, where that is not a guess.
fn told(pci: &Pci) -> Option<Bandwidth> {
    rates::pcie(pci.mega_transfers?, pci.lanes?)
}

/// `slow` are links that are told to be slower than they could be.
pub fn check(topology: &Topology, slow: &[VertexId], findings: &mut Findings<'_>) {
    check_uplinks(topology, slow, findings);
    check_pairs(topology, findings);
}

/// What hangs below each switch, however deep; or only right below it.
fn switches(topology: &Topology, deep: bool) -> BTreeMap<VertexId, Below> {
    let mut all: BTreeMap<VertexId, Below> = BTreeMap::new();
    for id in topology.ids() {
        let mut above = topology.vertex(id).parent;
        while let Some(switch) = above {
            if matches!(topology.vertex(switch).kind, VertexKind::Switch(_)) {
                all.entry(switch).or_default().add(topology, id);
            }
            above = topology.vertex(switch).parent.filter(|_| deep);
        }
    }
    all
}

fn check_uplinks(topology: &Topology, slow: &[VertexId], findings: &mut Findings<'_>) {
    let all = switches(topology, true);
    let slow: BTreeSet<VertexId> = slow.iter().copied().collect();
    let uplink = |id: VertexId| match &topology.vertex(id).kind {
        VertexKind::Switch(pci) => told(pci),
        _ => None,
    };
    let mut best: BTreeMap<_, (Bandwidth, VertexId)> = BTreeMap::new();
    for (&id, below) in &all {
        if let Some(carries) = uplink(id) {
            let of = best.entry((topology.vertex(id).host, below.counts()));
            let best = of.or_insert((carries, id));
            *best = (*best).max((carries, id));
        }
    }
    for (&id, below) in &all {
        let (Some(carries), Some((fastest, device)), false) =
            (uplink(id), below.fastest, slow.contains(&id))
        else {
            continue;
        };
        let like = best.get(&(topology.vertex(id).host, below.counts())).copied();
        let like = like.filter(|&(best, _)| carries < best && carries < below.together);
        if carries >= fastest && like.is_none() {
            continue;
        }
        let link = topology.pci(id).and_then(|pci| pci.mega_transfers.zip(pci.lanes));
        let link = link.map(|(rate, lanes)| {
            format!(" ({} at {})", counted(lanes as usize, "lane"), transfers(rate))
        });
        let like = like.map(|(best, other)| {
            format!("; {}, with as many devices below it, has {best}", topology.label(other))
        });
        findings.add(
            Severity::Warning,
            Rule::UplinkBelowDevices,
            &[id],
            format!(
                "{} has an uplink of {carries}{}, and below it {} of {fastest}, {} in all{}",
                named(topology, &[id]),
                link.unwrap_or_default(),
                topology.label(device),
                below.together,
                like.unwrap_or_default(),
            ),
            "on the host, compare LnkCap and LnkSta of `lspci -vv` for the switch's upstream port: a slot or a riser of fewer lanes, the BIOS's bifurcation or link speed of that slot (set Auto), or a link that trained down; if the file is wrong, correct link_speed and link_width of the switch's <pci>",
        );
    }
}

fn check_pairs(topology: &Topology, findings: &mut Findings<'_>) {
    let mut kinds: BTreeMap<Counts, Vec<VertexId>> = BTreeMap::new();
    for (id, below) in switches(topology, false) {
        if below.counts() != (0, 0) {
            kinds.entry(below.counts()).or_default().push(id);
        }
    }
    let Some((&usual, alike)) = kinds.iter().max_by_key(|(_, ids)| ids.len()) else { return };
    let odd: usize = kinds.values().map(Vec::len).sum::<usize>() - alike.len();
    let (paired, alike) = (usual.0 > 0 && usual.1 > 0, alike.len());
    if !paired || odd * MAJORITY > alike {
        return;
    }
    let tell =
        |(gpus, nics): Counts| format!("{} and {}", counted(gpus, "GPU"), counted(nics, "NIC"));
    for (&counts, ids) in
        kinds.iter().filter(|&(&(gpus, nics), _)| gpus < usual.0 || nics < usual.1)
    {
        findings.add(
            Severity::Warning,
            Rule::Unpaired,
            ids,
            format!(
                "{} {} {} below {}; {alike} other switches have {} each",
                list(topology, ids),
                verb(ids.len(), "has", "have each"),
                tell(counts),
                verb(ids.len(), "it", "them"),
                tell(usual),
            ),
            "look for a GPU or a NIC that fell off the bus (`nvidia-smi -L`, `lspci`, `dmesg`), is given to another machine, or is missing in the file; right for a card that serves storage only: leave it out of the file",
        );
    }
}
