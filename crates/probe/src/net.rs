//! Owns what sysfs tells of network interfaces: `/sys/class/net`.

use crosstie_topo::BusId;

use crate::pci;
use crate::text;
use crate::tree::Tree;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: InterfaceKind,
    /// Mb/s; `None` where the driver says −1, or refuses to say.
    pub mbit: Option<u64>,
    /// RFC 2863's state: `up`, `down`, `unknown` and others.
    pub state: Option<String>,
    /// Whether a cable brings a signal; not told of interfaces that are switched off.
    pub carrier: Option<bool>,
    /// Bytes of the longest packet.
    pub mtu: Option<u32>,
    /// ARP's number for its hardware: 1 Ethernet, 32 InfiniBand, 772 loopback.
    pub hardware: Option<u32>,
    /// The port of the device behind it, from 0.
    pub dev_port: Option<u32>,
    /// The driver's name for that port.
    pub port_name: Option<String>,
    /// The interface that this one is a part of: a bond, a bridge, or the virtual twin of a virtual function.
    pub master: Option<String>,
    /// The PCI device behind it.
    pub pci: Option<BusId>,
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceKind {
    /// A device's own: a network card's, or a virtual machine's.
    Nic,
    /// A radio's.
    Wireless,
    /// Several that act as one.
    Bond {
        /// Their names.
        members: Vec<String>,
        /// How, as the kernel calls it: `802.3ad`, `active-backup`.
        mode: Option<String>,
    },
    /// A switch inside the kernel.
    Bridge,
    /// A tag on another interface.
    Vlan,
    /// One end of a pair; containers and the lab have the other.
    Veth,
    /// This host itself.
    Loopback,
    /// A card's handle on one of its virtual functions.
    Representor,
    /// Another, such as a tunnel.
    Other,
}

impl Interface {
    /// Whether packets can pass. Drivers that do not follow their state are judged by the signal.
    pub fn is_up(&self) -> bool {
        match self.state.as_deref() {
            Some("up") => true,
            Some("unknown") | None => self.carrier == Some(true),
            Some(_) => false,
        }
    }
}

const INTERFACES: &str = "sys/class/net";

/// The interfaces of a tree, by name.
pub(crate) fn read(tree: &Tree) -> Vec<Interface> {
    let all = tree.devices(INTERFACES).into_iter();
    // `bonding_masters` stands there too, as a file.
    let interfaces = all.filter(|(_, place)| tree.has(place));
    interfaces.map(|(name, place)| interface(tree, name, &place)).collect()
}

fn interface(tree: &Tree, name: String, place: &str) -> Interface {
    let word = |file: &str| tree.word(&format!("{place}/{file}"));
    let number = |file| word(file).as_deref().and_then(text::number);
    let hardware = number("type");
    let port_name = word("phys_port_name");
    Interface {
        name,
        kind: kind(tree, place, hardware, port_name.as_deref()),
        mbit: number("speed").filter(|&speed| speed > 0).map(u64::from),
        state: word("operstate"),
        carrier: number("carrier").map(|carrier| carrier != 0),
        mtu: number("mtu"),
        hardware,
        dev_port: number("dev_port"),
        port_name,
        master: tree.link(&format!("{place}/master")),
        pci: pci::behind(tree, &format!("{place}/device")),
    }
}

const ARP_LOOPBACK: u32 = 772;

fn kind(tree: &Tree, place: &str, hardware: Option<u32>, port: Option<&str>) -> InterfaceKind {
    let word = |file: &str| tree.word(&format!("{place}/{file}"));
    let event = word("uevent").unwrap_or_default();
    let told = event.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
    if tree.has(&format!("{place}/bonding")) {
        let members = word("bonding/slaves").unwrap_or_default();
        let members = members.split_whitespace().map(str::to_owned).collect();
        let mode = word("bonding/mode");
        let mode = mode.and_then(|mode| mode.split_whitespace().next().map(str::to_owned));
        return InterfaceKind::Bond { members, mode };
    }
    let differs = || word("iflink").is_some_and(|below| Some(below) != word("ifindex"));
    match told {
        Some("bridge") => InterfaceKind::Bridge,
        Some("vlan") => InterfaceKind::Vlan,
        Some("wlan") => InterfaceKind::Wireless,
        _ if hardware == Some(ARP_LOOPBACK) => InterfaceKind::Loopback,
        _ if port.is_some_and(is_representor) => InterfaceKind::Representor,
        _ if tree.has(&format!("{place}/device")) => InterfaceKind::Nic,
        // Of interfaces without a device, only pairs lead to another and have no type.
        None if differs() => InterfaceKind::Veth,
        _ => InterfaceKind::Other,
    }
}

/// `pf0vf3`, `pf1sf88`, `c1pf0vf0`: what switch drivers call the ports of other functions.
fn is_representor(port: &str) -> bool {
    port.find("pf").is_some_and(|at| {
        let rest = port.get(at + 2..).unwrap_or_default();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.starts_with("vf") || rest.starts_with("sf")
    })
}
