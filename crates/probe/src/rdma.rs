//! Owns what sysfs tells of RDMA devices: `/sys/class/infiniband`.

use std::net::Ipv6Addr;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gid {
    /// Its place in the table: by it a queue pair says from where it sends.
    pub index: u32,
    /// The address.
    pub address: Ipv6Addr,
    /// How packets from it look; `None` where the kernel does not say.
    pub kind: Option<GidKind>,
}

/// How packets from an address look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GidKind {
    /// InfiniBand's own, or Ethernet's without IP, which no router passes on.
    Native,
    /// RoCE v2: in UDP over IP.
    RoceV2,
}

impl GidKind {
    fn named(name: &str) -> Option<Self> {
        match name {
            "IB/RoCE v1" => Some(Self::Native),
            "RoCE v2" => Some(Self::RoceV2),
            _ => None,
        }
    }
}

impl RdmaPort {
    /// The address to send from: of InfiniBand the first; of Ethernet the first that routers pass on, IPv4 before
    /// IPv6 before what is good on its cable alone, else the first of all, as NCCL chooses by default.
    pub fn gid(&self) -> Option<Gid> {
        let on_ethernet = self.layer.as_deref() == Some("Ethernet");
        let worse = |gid: &&Gid| {
            let far = gid.kind == Some(GidKind::RoceV2);
            let ipv4 = gid.address.to_ipv4_mapped().is_some();
            on_ethernet.then_some((!far, !ipv4, gid.address.is_unicast_link_local()))
        };
        self.gids.iter().min_by_key(worse).copied()
    }

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
    let all = tree.devices(DEVICES).into_iter();
    Some(all.map(|(name, place)| device(tree, name, &place)).collect())
}

fn device(tree: &Tree, name: String, place: &str) -> RdmaDevice {
    let guid = |file| {
        let words = tree.word(&format!("{place}/{file}"))?;
        text::hexadecimal(&words.replace(':', "")).filter(|&guid| guid != 0)
    };
    let ports = tree.names(&format!("{place}/ports"));
    let mut ports: Vec<u32> = ports.iter().filter_map(|port| text::number(port)).collect();
    ports.sort_unstable();
    RdmaDevice {
        name,
        node_guid: guid("node_guid"),
        system_guid: guid("sys_image_guid"),
        pci: pci::behind(tree, &format!("{place}/device")),
        ports: ports.into_iter().map(|number| port(tree, place, number)).collect(),
    }
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
    let address: Ipv6Addr = tree.word(&format!("{port}/gids/{index}"))?.parse().ok()?;
    let kind = || tree.word(&format!("{port}/gid_attrs/types/{index}"));
    // An empty place has no kind that could be asked.
    (!address.is_unspecified()).then(|| Gid {
        index,
        address,
        kind: kind().as_deref().and_then(GidKind::named),
    })
}
