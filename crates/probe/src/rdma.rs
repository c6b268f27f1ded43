//! Owns what sysfs tells of RDMA devices: `/sys/class/infiniband`.

use crosstie_topo::BusId;

use crate::pci;
use crate::text;
use crate::tree::Tree;

/// An RDMA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdmaDevice {
    /// Its name, such as `mlx5_0`.
    pub name: String,
    /// The device's own number.
    pub node_guid: Option<u64>,
    /// The card's: its devices have the same.
    pub system_guid: Option<u64>,
    /// The PCI device behind it; `None` for one made of software.
    pub pci: Option<BusId>,
    /// Its ports.
    pub ports: Vec<RdmaPort>,
}

/// A port of an RDMA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdmaPort {
    /// Its number, from 1.
    pub number: u32,
    /// `ACTIVE`, `INIT`, `DOWN` and others.
    pub state: Option<String>,
    /// Of the cable: `LinkUp`, `Polling`, `Disabled` and others.
    pub physical: Option<String>,
    /// Mb/s.
    pub mbit: Option<u64>,
    /// `InfiniBand` or `Ethernet`.
    pub layer: Option<String>,
    /// The network interface of the same port.
    pub interface: Option<String>,
    /// The first 16 places of its table of addresses, without the empty ones.
    pub gids: Vec<Gid>,
}

/// An address of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gid {
    /// Its place in the table.
    pub index: u32,
    /// Eight words of 16 bits in hexadecimal, with colons.
    pub address: String,
    /// `IB/RoCE v1` or `RoCE v2`.
    pub kind: Option<String>,
}

impl RdmaPort {
    /// Whether messages can pass.
    pub fn is_up(&self) -> bool {
        self.state.as_deref() == Some("ACTIVE")
    }
}

pub(crate) const DEVICES: &str = "sys/class/infiniband";

/// Tables have up to 256 places, of which a host fills a few; each takes two reads.
const MOST_GIDS: u32 = 16;

/// The devices of a tree by name; `None` where the kernel has no part for them.
pub(crate) fn read(tree: &Tree) -> Option<Vec<RdmaDevice>> {
    if !tree.has(DEVICES) {
        return None;
    }
    let mut names = tree.names(DEVICES);
    names.sort_by_key(|name| text::in_order(name));
    Some(names.iter().filter_map(|name| device(tree, name)).collect())
}

fn device(tree: &Tree, name: &str) -> Option<RdmaDevice> {
    let place = tree.real(&format!("{DEVICES}/{name}"))?;
    let guid = |file| {
        let words = tree.word(&format!("{place}/{file}"))?;
        text::hexadecimal(&words.replace(':', "")).filter(|&guid| guid != 0)
    };
    let ports = tree.names(&format!("{place}/ports"));
    let mut ports: Vec<u32> = ports.iter().filter_map(|port| text::number(port)).collect();
    ports.sort_unstable();
    Some(RdmaDevice {
        name: name.to_owned(),
        node_guid: guid("node_guid"),
        system_guid: guid("sys_image_guid"),
        pci: pci::behind(tree, &format!("{place}/device")),
        ports: ports.into_iter().map(|number| port(tree, &place, number)).collect(),
    })
}

fn port(tree: &Tree, device: &str, number: u32) -> RdmaPort {
    let place = format!("{device}/ports/{number}");
    let word = |file: &str| tree.word(&format!("{place}/{file}"));
    // Such as `4: ACTIVE`.
    let state = |file| {
        let told = word(file)?;
        Some(told.split_once(':').map_or(told.as_str(), |(_, name)| name.trim()).to_owned())
    };
    RdmaPort {
        number,
        state: state("state"),
        physical: state("phys_state"),
        mbit: word("rate").as_deref().and_then(text::thousandths).map(u64::from),
        layer: word("link_layer"),
        interface: word("gid_attrs/ndevs/0").or_else(|| interface(tree, device, number)),
        gids: (0..MOST_GIDS).filter_map(|index| gid(tree, &place, index)).collect(),
    }
}

/// The interface of a port whose table does not name one: InfiniBand's, or that which software is laid over.
fn interface(tree: &Tree, device: &str, port: u32) -> Option<String> {
    if let Some(parent) = tree.word(&format!("{device}/parent")) {
        return Some(parent);
    }
    let all = format!("{}/net", tree.real(&format!("{device}/device"))?);
    let names = tree.names(&all);
    let at = |name: &&String| tree.word(&format!("{all}/{name}/dev_port"));
    let same = |name: &&String| at(name).as_deref().and_then(text::number) == port.checked_sub(1);
    names.iter().find(same).or(names.first()).cloned()
}

fn gid(tree: &Tree, port: &str, index: u32) -> Option<Gid> {
    let address = tree.word(&format!("{port}/gids/{index}"))?;
    let empty = address.chars().all(|c| c == '0' || c == ':');
    let kind = (!empty).then(|| tree.word(&format!("{port}/gid_attrs/types/{index}")));
    kind.map(|kind| Gid { index, address, kind })
}
