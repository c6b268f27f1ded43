//! Owns what keeps a port of an RDMA device from use: what it is, in words, and what to do.

use crate::rdma::{GidKind, RdmaPort};

/// Why verbs cannot use a port, or only on its own cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ailment {
    /// No signal, or switched off.
    Down,
    /// The cable is good, and no subnet manager has given the port an address.
    Unmanaged,
    /// Its table of addresses is empty.
    NoGid,
    /// Of its addresses none is of RoCE v2, so that no router passes its packets on.
    NoRoceV2,
    /// Its only addresses are good on its cable alone.
    LinkLocal,
}

impl RdmaPort {
    /// What is wrong with it, the worst alone.
    pub fn ailment(&self) -> Option<Ailment> {
        let managed = self.is_ethernet() || self.lid.is_some();
        match self.state.as_deref() {
            Some("ACTIVE") => {}
            Some("INIT" | "ARMED") if !managed => return Some(Ailment::Unmanaged),
            _ => return Some(Ailment::Down),
        }
        let best = match self.gid() {
            None => return Some(Ailment::NoGid),
            Some(gid) if self.is_ethernet() => gid,
            Some(_) => return None,
        };
        match best.kind {
            Some(GidKind::Native) => Some(Ailment::NoRoceV2),
            _ if best.address.is_unicast_link_local() => Some(Ailment::LinkLocal),
            _ => None,
        }
    }

    /// The interface of the port by its name, or what stands for it in a command.
    fn interface_name(&self) -> &str {
        self.interface.as_deref().unwrap_or("INTERFACE")
    }
}

impl Ailment {
    /// What was found of that port: `is DOWN, cable Disabled`.
    pub fn found(self, port: &RdmaPort) -> String {
        let state = port.state.as_deref().unwrap_or("in no state that it tells");
        match self {
            Self::Down => {
                let cable = port.physical.as_deref().map(|cable| format!(", cable {cable}"));
                format!("is {state}{}", cable.unwrap_or_default())
            }
            Self::Unmanaged => format!("is {state} and has no LID"),
            Self::NoGid => "has no GID".to_owned(),
            Self::NoRoceV2 => format!("has {} GIDs, none of RoCE v2", port.gids.len()),
            Self::LinkLocal => "has link-local GIDs alone".to_owned(),
        }
    }

    /// What to do about that port of a device.
    pub fn remedy(self, device: &str, port: &RdmaPort) -> String {
        let interface = port.interface_name();
        match self {
            Self::Down if port.interface.is_some() => format!(
                "`ip link set {interface} up`; if it stays down, look at the cable and at the switch's port (`ethtool {interface}`)"
            ),
            Self::Down => format!("look at the cable and at the switch's port (`ibstat {device}`)"),
            Self::Unmanaged => "start a subnet manager on one host of the fabric (`systemctl start opensm`), or on its switch".to_owned(),
            Self::NoGid if !port.is_ethernet() => format!("look at `ibstat {device}` and `dmesg`: the port gives no address"),
            Self::NoGid | Self::LinkLocal => format!(
                "give its interface an address: `ip addr add ADDRESS/LENGTH dev {interface}`"
            ),
            Self::NoRoceV2 => format!(
                "`rdma link show {device}/{}` and the driver's manual tell whether the card has RoCE v2: update driver and firmware",
                port.number
            ),
        }
    }
}
