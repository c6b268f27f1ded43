//! Owns which devices are GPUs, and what of them and their links goes into the document.

use std::collections::BTreeMap;

use crosstie_topo::BusId;
use crosstie_topo::devices::{self, Class};
use crosstie_topo::xml::Element;

use super::{Parts, counted, listed};
use crate::gpu::{Gpu, Lost, NvLink, Remote};
use crate::pci::{Pci, PciLink};
use crate::{Facts, Gpus};

const NVIDIA: u32 = 0x10de;
const AMD: u32 = 0x1002;
const INTEL: u32 = 0x8086;
const HABANA: u32 = 0x1da3;

/// What NCCL takes a far end for that the kernel does not show, as in virtual machines: an NVSwitch.
const NVSWITCH_CLASS: u32 = 0x06_8000;
/// A 3D controller.
const GPU_CLASS: u32 = 0x03_0200;

/// Puts the GPUs where they hang.
pub fn add(parts: &mut Parts<'_>) {
    let facts = parts.facts;
    let mut lost = 0;
    for gpu in &facts.gpus.gpus {
        parts.keep(gpu.bus_id, Some(element(facts, gpu)));
        lost += gpu.nvlinks.iter().filter(|link| is_lost(facts, link)).count();
    }
    if lost > 0 {
        let found = format!("{} to GPUs that this process does not see", counted(lost, "NVLink"));
        parts.note(found, "left out");
    }
    for Lost { index, why } in &facts.gpus.lost {
        parts.note(format!("NVML counts GPU {index}, and says of it: {why}"), "left out");
    }
    let by_driver = |device: &&Pci| facts.gpus.gpus.iter().any(|gpu| gpu.bus_id == device.bus_id);
    let others = facts.pci.iter().filter(|device| is_gpu(device) && !by_driver(device));
    let (nvidia, others): (Vec<&Pci>, Vec<&Pci>) =
        others.partition(|device| device.ids[0] == Some(NVIDIA));
    others.iter().for_each(|device| parts.keep(device.bus_id, None));
    note_missing(parts, &nvidia, others.len());
    note_other_vendors(parts, &others);
}

/// Whether a device that no driver told of is a GPU for computing, by its class and vendor: not what drives
/// the screen of a server or is part of a processor, nor a programmable chip.
fn is_gpu(device: &Pci) -> bool {
    let class = device.class.unwrap_or(0) >> 8;
    match (device.ids[0], class) {
        (Some(NVIDIA), 0x0300 | 0x0302) => true,
        (Some(AMD), 0x0302 | 0x0380 | 0x1200) => true,
        (Some(INTEL), 0x0302 | 0x0380 | 0x1200) => device.above.len() > 1,
        (Some(HABANA), 0x1200) => true,
        _ => false,
    }
}

/// Says what of NVIDIA's GPUs is not known, and keeps those that only PCI tells of.
fn note_missing(parts: &mut Parts<'_>, hidden: &[&Pci], others: usize) {
    let Gpus { gpus, source, lost } = &parts.facts.gpus;
    let addresses = listed(hidden.iter().map(|device| device.bus_id));
    match source.why_not() {
        None if hidden.is_empty() => {
            if gpus.is_empty() && lost.is_empty() && others == 0 {
                parts.note(
                    "no GPU (NVML shows none to this process)",
                    "ranks use the host's memory",
                );
            }
        }
        None => {
            let found = format!("NVML does not show {addresses} to this process");
            parts.note(found, "left out");
        }
        Some(why) => {
            if !hidden.is_empty() {
                hidden.iter().for_each(|device| parts.keep(device.bus_id, None));
                let found = format!("{}, but PCI has {}", why, counted(hidden.len(), "GPU"));
                parts.note(found, "shown without numbers and NVLinks of their driver");
            } else if others == 0 {
                parts.note(format!("no GPU ({why})"), "ranks use the host's memory");
            }
        }
    }
}

fn note_other_vendors(parts: &mut Parts<'_>, others: &[&Pci]) {
    if !others.is_empty() {
        let found =
            format!("{} of other vendors, known by PCI alone", counted(others.len(), "GPU"));
        parts.note(found, "shown without links between them (xGMI and the like)");
    }
}

fn element(facts: &Facts, gpu: &Gpu) -> Element {
    let mut element = Element::new("gpu").with("dev", gpu.index.to_string());
    if let Some((major, minor)) = gpu.compute {
        element.set("sm", (major * 10 + minor).to_string());
    }
    if let Some(name) = &gpu.name {
        element.set("name", name);
    }
    for (target, (class, count)) in links(facts, gpu) {
        let link = Element::new("nvlink").with("target", target).with("count", count.to_string());
        element.push(link.with("tclass", format!("0x{class:06x}")));
    }
    if let Some(c2c) = gpu.c2c {
        let link = Element::new("c2c").with("bw", c2c.mb_per_s.to_string());
        element.push(link.with("count", c2c.count.to_string()));
    }
    element
}

/// Class of each far end and how many links lead there, by its address.
fn links(facts: &Facts, gpu: &Gpu) -> BTreeMap<String, (u32, u32)> {
    let mut links = BTreeMap::new();
    for NvLink { remote, .. } in gpu.nvlinks.iter().filter(|link| !is_lost(facts, link)) {
        let class = remote.map_or(NVSWITCH_CLASS, |remote| far_class(facts, remote));
        // A name that no device has, as virtual machines of NCCL's have it.
        let target = remote.map_or_else(|| UNSEEN.to_owned(), |remote| remote.bus_id.to_string());
        links.entry(target).or_insert((class, 0)).1 += 1;
    }
    links
}

const UNSEEN: &str = "fffffff:ffff:ff";

/// Whether a link leads to a GPU that is not in the document.
fn is_lost(facts: &Facts, link: &NvLink) -> bool {
    let leads_to_gpu = |remote: Remote| {
        let class = far_class(facts, remote);
        devices::class(class) == Class::Gpu && self::class(facts, remote.bus_id).is_none()
    };
    link.remote.is_some_and(leads_to_gpu)
}

fn far_class(facts: &Facts, remote: Remote) -> u32 {
    let told = facts.device(remote.bus_id).and_then(|device| device.class);
    told.or_else(|| class(facts, remote.bus_id)).unwrap_or(NVSWITCH_CLASS)
}

/// The class of a GPU that the driver tells of.
pub fn class(facts: &Facts, bus_id: BusId) -> Option<u32> {
    let is_gpu = facts.gpus.gpus.iter().any(|gpu| gpu.bus_id == bus_id);
    is_gpu.then_some(GPU_CLASS)
}

/// The link of a GPU by its driver's word.
pub fn link(facts: &Facts, bus_id: BusId) -> PciLink {
    let gpu = facts.gpus.gpus.iter().find(|gpu| gpu.bus_id == bus_id);
    gpu.map(|gpu| gpu.most).unwrap_or_default()
}
