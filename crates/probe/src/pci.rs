//! Owns what sysfs tells of PCI devices: `/sys/bus/pci/devices`.

use crosstie_topo::BusId;

use crate::text;
use crate::tree::Tree;

/// A PCI device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pci {
    /// Its address.
    pub bus_id: BusId,
    /// The bridges above it, from the root port down.
    pub above: Vec<BusId>,
    /// Its class, 24 bits.
    pub class: Option<u32>,
    /// Vendor, device, vendor of the subsystem, device of the subsystem.
    pub ids: [Option<u32>; 4],
    /// The best link that it could have.
    pub most: PciLink,
    /// The link that it has. GPUs slow it down while they idle.
    pub now: PciLink,
    /// Its NUMA node; `None` where the firmware names none.
    pub numa: Option<u32>,
    /// Of a virtual function, the physical one.
    pub physical: Option<BusId>,
    /// Of a physical function, the virtual ones.
    pub virtuals: Vec<BusId>,
    /// The driver that it is bound to.
    pub driver: Option<String>,
    /// Devices of one group cannot be kept apart by the IOMMU.
    pub iommu_group: Option<u32>,
}

/// A PCIe link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PciLink {
    /// Rate of a lane, MT/s.
    pub mega_transfers: Option<u32>,
    /// Lanes.
    pub lanes: Option<u32>,
}

/// Lanes beyond which a width is none: kernels write 63 or 255 for an unknown one.
const MOST_LANES: u32 = 32;

impl PciLink {
    /// From a rate as the kernel writes it, and a number of lanes.
    fn told(rate: Option<String>, lanes: Option<String>) -> Self {
        Self {
            mega_transfers: rate.as_deref().and_then(text::thousandths),
            lanes: lanes.as_deref().and_then(text::number).and_then(real_lanes),
        }
    }

    /// What both ends of a link can: of each value the smaller one that is told.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let smaller = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        Self {
            mega_transfers: smaller(self.mega_transfers, other.mega_transfers),
            lanes: smaller(self.lanes, other.lanes),
        }
    }
}

/// A number of lanes that a device can have.
pub(crate) fn real_lanes(lanes: u32) -> Option<u32> {
    (1..=MOST_LANES).contains(&lanes).then_some(lanes)
}

/// The devices of a tree, by bus id.
pub(crate) fn read(tree: &Tree) -> Vec<Pci> {
    let names = tree.names(DEVICES);
    let mut devices: Vec<Pci> = names.iter().filter_map(|name| device(tree, name)).collect();
    devices.sort_by_key(|device| device.bus_id);
    devices.dedup_by_key(|device| device.bus_id);
    devices
}

const DEVICES: &str = "sys/bus/pci/devices";

fn device(tree: &Tree, name: &str) -> Option<Pci> {
    let bus_id = text::bus_id(name)?;
    let place = tree.real(&format!("{DEVICES}/{name}"))?;
    let word = |file: &str| tree.word(&format!("{place}/{file}"));
    let link = |file: &str| tree.link(&format!("{place}/{file}"));
    let hexadecimal = |file| u32::try_from(word(file).as_deref().and_then(text::hexadecimal)?).ok();
    let number = |file| word(file).as_deref().and_then(text::number);
    let above = bridges(&place, bus_id);
    let virtuals = number("sriov_numvfs").unwrap_or(0).min(MOST_VIRTUALS);
    let virtuals = (0..virtuals).filter_map(|n| text::bus_id(&link(&format!("virtfn{n}"))?));
    Some(Pci {
        bus_id,
        above,
        class: hexadecimal("class"),
        ids: ["vendor", "device", "subsystem_vendor", "subsystem_device"].map(hexadecimal),
        most: PciLink::told(word("max_link_speed"), word("max_link_width")),
        now: PciLink::told(word("current_link_speed"), word("current_link_width")),
        numa: number("numa_node"),
        physical: link("physfn").as_deref().and_then(text::bus_id),
        virtuals: virtuals.collect(),
        driver: link("driver"),
        iommu_group: link("iommu_group").as_deref().and_then(text::number),
    })
}

/// The bridges on the way to a device, each once: what is not a kernel's could have one twice.
fn bridges(place: &str, bus_id: BusId) -> Vec<BusId> {
    let mut above: Vec<BusId> = Vec::new();
    for bridge in text::bus_ids(place).into_iter().take(MOST_BRIDGES) {
        if bridge != bus_id && !above.contains(&bridge) {
            above.push(bridge);
        }
    }
    above
}

/// Most bridges above a device that are looked at; real ones have up to eight.
const MOST_BRIDGES: usize = 64;

/// Most virtual functions of one device that are looked at.
const MOST_VIRTUALS: u32 = 4096;

/// The device on PCI behind a path: the last one that it passes.
pub(crate) fn behind(tree: &Tree, path: &str) -> Option<BusId> {
    text::bus_ids(&tree.real(path)?).pop()
}
