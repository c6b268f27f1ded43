//! Owns what sysfs tells of RDMA devices: `/sys/class/infiniband`.

use std::net::Ipv6Addr;

use crosstie_topo::BusId;

use crate::net::Interface;
use crate::pci;
use crate::text;
use crate::tree::Tree;

/// An RDMA device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RdmaDevice {
    /// Its name, such as `mlx5_0`.
    pub name: String,
    /// The device's own number.
    pub node_guid: Option<u64>,
    /// The card's: its devices have the same.
    pub system_guid: Option<u64>,
    /// The PCI device behind it; `None` for one made of software.
    pub pci: Option<BusId>,
    /// Its file in `/dev/infiniband`, by which programs reach it: `uverbs0`.
    pub uverbs: Option<String>,
    /// Its ports.
    pub ports: Vec<RdmaPort>,
}

/// A port of an RDMA device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Its address on InfiniBand, from the subnet manager; `None` before that, and on Ethernet.
    pub lid: Option<u32>,
    /// The network interface of the same port.
    pub interface: Option<String>,
    /// Its table of addresses, without the empty places.
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
        let on_ethernet = self.is_ethernet();
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

    /// Whether its packets go over Ethernet: RoCE.
    pub fn is_ethernet(&self) -> bool {
        self.layer.as_deref() == Some("Ethernet")
    }

    /// Bytes of the longest packet's data over Ethernet: what the interface of the port has room for, without the
    /// headers. No file tells it; of InfiniBand it is not known.
    pub fn mtu(&self, interface: Option<&Interface>) -> Option<u32> {
        let room = interface.filter(|_| self.is_ethernet())?.mtu?.checked_sub(ROCE_HEADERS)?;
        MTUS.into_iter().rev().find(|&mtu| mtu <= room)
    }
}

/// What the kernel keeps free for the headers of RoCE (`iboe_get_mtu`).
const ROCE_HEADERS: u32 = 96;

/// Those that InfiniBand has.
const MTUS: [u32; 5] = [256, 512, 1024, 2048, 4096];

impl Gid {
    /// Its kind and family, in words: `RoCE v2, IPv4`.
    pub fn words(&self) -> &'static str {
        let ipv4 = self.address.to_ipv4_mapped().is_some();
        match self.kind {
            Some(GidKind::RoceV2) if ipv4 => "RoCE v2, IPv4",
            Some(GidKind::RoceV2) if self.address.is_unicast_link_local() => "RoCE v2, link-local",
            Some(GidKind::RoceV2) => "RoCE v2, IPv6",
            Some(GidKind::Native) => "native",
            None => "of a kind that is not told",
        }
    }
}

pub(crate) const DEVICES: &str = "sys/class/infiniband";
const UVERBS: &str = "sys/class/infiniband_verbs";

/// The devices of a tree by name; `None` where the kernel has no part for them.
pub(crate) fn read(tree: &Tree) -> Option<Vec<RdmaDevice>> {
    if !tree.has(DEVICES) {
        return None;
    }
    let all = tree.devices(DEVICES).into_iter();
    let files = tree.names(UVERBS).into_iter().filter(|file| file.starts_with("uverbs"));
    let files: Vec<(Option<String>, String)> =
        files.map(|file| (tree.word(&format!("{UVERBS}/{file}/ibdev")), file)).collect();
    let uverbs = |name: &String| {
        let of = files.iter().find(|(device, _)| device.as_ref() == Some(name));
        of.map(|(_, file)| file.clone())
    };
    Some(all.map(|(name, place)| device(tree, uverbs(&name), name, &place)).collect())
}

fn device(tree: &Tree, uverbs: Option<String>, name: String, place: &str) -> RdmaDevice {
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
        uverbs,
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
    // A table has up to 256 places, of which a host fills a few.
    let places = tree.names(&format!("{place}/gids"));
    let mut places: Vec<u32> = places.iter().filter_map(|index| text::number(index)).collect();
    places.sort_unstable();
    RdmaPort {
        number,
        state: state("state"),
        physical: state("phys_state"),
        mbit: word("rate").as_deref().and_then(text::thousandths).map(u64::from),
        layer: word("link_layer"),
        lid: word("lid").as_deref().and_then(lid),
        interface: word("gid_attrs/ndevs/0").or_else(|| interface(tree, device, number)),
        gids: places.into_iter().filter_map(|index| gid(tree, &place, index)).collect(),
    }
}

fn lid(told: &str) -> Option<u32> {
    let lid = u32::try_from(text::hexadecimal(told)?).ok();
    lid.filter(|lid| (1..=0xffff).contains(lid))
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
