//! Owns what single elements say: a device's place on PCI, GPUs and their links, cards and their ports.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::attributes::{
    Rate, count, flag, hexadecimal, lanes, microseconds, missing, rate, small, small_or_minus_one,
};
use crate::builder::{Builder, Far, Pending};
use crate::bus_id::BusId;
use crate::devices::{self, Class};
use crate::error::{ReadError, quote};
use crate::graph::{Gpu, LinkKind, Nic, Pci, Port, Verbs, VertexId, VertexKind};
use crate::model::GpuModel;
use crate::rates;
use crate::shown;
use crate::unit::Bandwidth;
use crate::xml::{Element, Position};

/// The number of a device that was told none, until all are known.
pub const UNTOLD: u32 = u32::MAX;

/// Lanes beyond which a width is no width: what some kernels write for an unknown one is 63 or 255.
const MOST_LANES: u32 = 32;

/// What stands where a rate or a width of a link should.
pub struct Odd {
    pub words: Option<String>,
    pub width: Option<u32>,
}

/// A `<pci>`'s own attributes, and what is no rate or width among them.
pub fn pci(element: &Element, bus_id: BusId) -> Result<(Pci, Odd), ReadError> {
    let hex = |name| Ok(hexadecimal(element, name)?.and_then(|value| u32::try_from(value).ok()));
    let is_width = |lanes: &u32| (1..=MOST_LANES).contains(lanes);
    let width = lanes(element, "link_width")?;
    let ids = [hex("vendor")?, hex("device")?, hex("subsystem_vendor")?, hex("subsystem_device")?];
    let (mega_transfers, words) = match rate(element, "link_speed")? {
        Rate::Told(told) if rates::pcie(told, 1).is_some() => (Some(told), None),
        Rate::Told(told) => (None, Some(alloc::format!("{told} MT/s"))),
        Rate::Words(words) => (None, Some(words)),
        Rate::Untold => (None, None),
    };
    let known = ids[0].zip(ids[1]).and_then(|(vendor, device)| devices::known(vendor, device));
    let max_mega_transfers = match rate(element, "max_link_speed")? {
        Rate::Told(told) => Some(told),
        _ => known.map(|known| known.mega_transfers),
    };
    let pci = Pci {
        bus_id,
        class: hex("class")?,
        ids,
        mega_transfers,
        lanes: width.filter(is_width),
        max_mega_transfers,
        max_lanes: lanes(element, "max_link_width")?.filter(is_width),
    };
    Ok((pci, Odd { words, width: width.filter(|width| !is_width(width)) }))
}

/// The GPUs of a `<pci>`, each with its element; one without, where there is none.
pub fn gpus(element: &Element, pci: Pci) -> Result<Vec<(Gpu, Option<&Element>)>, ReadError> {
    let mut found: Vec<(Gpu, Option<&Element>)> = Vec::new();
    for described in element.named("gpu") {
        let gpu = Gpu {
            model: gpu_model(Some(described), &pci)?,
            pci: pci.clone(),
            dev: small_or_minus_one(described, "dev")?.unwrap_or(UNTOLD),
            rank: small_or_minus_one(described, "rank")?,
            gdr: flag(described, "gdr")?.unwrap_or(true),
            described: true,
        };
        found.push((gpu, Some(described)));
    }
    if found.is_empty() {
        let model = gpu_model(None, &pci)?;
        let gpu = Gpu { pci, dev: UNTOLD, model, rank: None, gdr: true, described: false };
        found.push((gpu, None));
    }
    Ok(found)
}

/// The links that a `<gpu>` tells of.
pub fn add_gpu_links(to: &mut Builder, gpu: &Element, from: VertexId) -> Result<(), ReadError> {
    for element in gpu.elements() {
        let (far, count, bandwidth) = match element.name.as_str() {
            "nvlink" | "xgmi" => match count(element, "count")? {
                0 => continue,
                count => (far_end(element)?, count, None),
            },
            "c2c" => {
                let (count, bandwidth) = c2c(element)?;
                (Far::Cpu(LinkKind::C2c), count, Some(bandwidth))
            }
            _ => continue,
        };
        let (name, at) = (element.name.clone(), element.at);
        to.pending.push(Pending { from, far, name, count, bandwidth, at });
    }
    Ok(())
}

/// What an NVLink leads to. Of a far end that a virtual machine does not show, its class is what NCCL
/// writes for an NVSwitch, or is not there.
fn far_end(element: &Element) -> Result<Far, ReadError> {
    let target = target(element)?;
    let class = hexadecimal(element, "tclass")?.and_then(|class| u32::try_from(class).ok());
    Ok(match class.map(devices::class) {
        Some(Class::Gpu) => Far::Gpu(target),
        Some(Class::Processor) => Far::Cpu(LinkKind::Nvl),
        _ => Far::NvSwitch(target.trim().parse().ok()),
    })
}

/// Where a link leads.
pub fn target(element: &Element) -> Result<String, ReadError> {
    let target = element.attribute("target").map(ToString::to_string);
    target.ok_or_else(|| missing(element, "target", "the bus id of the far end"))
}

/// A card on PCI.
pub fn nic(pci: Pci, described: bool) -> Nic {
    Nic { pci: Some(pci), described }
}

/// A card that is on no bus.
pub fn virtual_nic() -> Nic {
    Nic { pci: None, described: true }
}

/// The port of a card that is told by PCI alone.
pub fn derived_port(pci: &Pci) -> Port {
    let known =
        pci.ids[0].zip(pci.ids[1]).and_then(|(vendor, device)| devices::known(vendor, device));
    Port {
        dev: UNTOLD,
        name: None,
        mbit: known.and_then(|known| known.mbit),
        port: None,
        guid: None,
        latency_ns: 0,
        gdr: true,
        coll: false,
        rail: None,
        verbs: None,
    }
}

/// Adds the ports that a `<nic>` tells of; says how many. `bus` is what the card's own link carries.
pub fn add_ports(
    to: &mut Builder,
    nic: &Element,
    card: VertexId,
    bus: Bandwidth,
) -> Result<u32, ReadError> {
    let mut ports = 0;
    for element in nic.named("net") {
        // Cards that were fused into a virtual one stay in the file, marked so.
        if flag(element, "net")? == Some(false) {
            continue;
        }
        let port = Port {
            dev: small_or_minus_one(element, "dev")?.unwrap_or(UNTOLD),
            name: element.attribute("name").filter(|name| !name.is_empty()).map(shown),
            mbit: speed(element)?,
            port: small_or_minus_one(element, "port")?,
            guid: hexadecimal(element, "guid")?,
            latency_ns: microseconds(element, "latency")?,
            gdr: flag(element, "gdr")?.unwrap_or(true),
            coll: flag(element, "coll")?.unwrap_or(false),
            rail: small_or_minus_one(element, "rail")?,
            verbs: verbs(element)?,
        };
        let unknown = Bandwidth::mbit_per_s(rates::UNKNOWN_PORT_MBIT).min(bus);
        add_port(to, port, card, element.at, unknown);
        ports += 1;
    }
    Ok(ports)
}

/// What detection tells of a port of an RDMA device; a `state` says that it is one.
fn verbs(element: &Element) -> Result<Option<Verbs>, ReadError> {
    let told = |name| element.attribute(name).filter(|told| !told.is_empty()).map(shown);
    let Some(state) = told("state") else { return Ok(None) };
    Ok(Some(Verbs {
        port: small_or_minus_one(element, "port")?,
        state,
        layer: told("layer"),
        mtu: small(element, "mtu")?,
        gids: small(element, "gids")?.unwrap_or(0),
        gid: told("gid"),
        interface: told("interface"),
    }))
}

/// Adds a port, which carries `unknown` where it tells no speed.
pub fn add_port(to: &mut Builder, port: Port, card: VertexId, at: Position, unknown: Bandwidth) {
    let host = to.vertices[card.index()].host;
    let bandwidth = port.mbit.map_or(unknown, Bandwidth::mbit_per_s);
    let id = to.add(VertexKind::Port(port), host, Some(card), at);
    to.link_both(card, id, LinkKind::Net, bandwidth);
}

/// A port's Mb/s. Some drivers write −1 for none.
fn speed(element: &Element) -> Result<Option<u64>, ReadError> {
    match element.attribute("speed").map(str::trim) {
        Some("-1") => Ok(None),
        _ => Ok(small(element, "speed")?.filter(|&speed| speed > 0).map(u64::from)),
    }
}

/// What an NVIDIA or AMD GPU is, from what the description and its PCI ids tell.
fn gpu_model(element: Option<&Element>, pci: &Pci) -> Result<GpuModel, ReadError> {
    if let Some(element) = element {
        if let Some(gcn) = element.attribute("gcn").filter(|gcn| !gcn.is_empty()) {
            return Ok(GpuModel::Amd { gcn: quote(gcn) });
        }
        if let Some(sm) = small_or_minus_one(element, "sm")? {
            return Ok(GpuModel::Nvidia { sm });
        }
    }
    let known =
        pci.ids[0].zip(pci.ids[1]).and_then(|(vendor, device)| devices::known(vendor, device));
    Ok(match known {
        Some(devices::Known { sm: Some(sm), .. }) => GpuModel::Nvidia { sm },
        Some(devices::Known { gcn: Some(gcn), .. }) => GpuModel::Amd { gcn: gcn.into() },
        _ => GpuModel::Unknown,
    })
}

/// Chip-to-chip links: so many, each of so many MB/s.
fn c2c(element: &Element) -> Result<(u32, Bandwidth), ReadError> {
    let expected = "MB/s of one link";
    let each = small(element, "bw")?.ok_or_else(|| missing(element, "bw", expected))?;
    let count = count(element, "count")?;
    Ok((count, Bandwidth::mb_per_s(each.into()) * count))
}
