//! Owns the addresses of ports, and the choice of those by which two ports talk.

use std::net::Ipv6Addr;

use crate::sys;

/// An address of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gid {
    /// The port, from 1.
    pub port: u8,
    /// Its place in the port's table: by it a queue pair says from where it sends.
    pub index: u32,
    /// The address.
    pub address: Ipv6Addr,
    /// How packets from it look.
    pub kind: GidKind,
    /// The network interface that has the address, by number; `None` for InfiniBand, and for an address
    /// that no interface of this host has any more.
    pub interface: Option<u32>,
}

/// How packets from an address look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GidKind {
    /// InfiniBand's own.
    InfiniBand,
    /// Ethernet without IP, which no router passes on.
    RoceV1,
    /// In UDP over IP.
    RoceV2,
}

impl GidKind {
    const ALL: [Self; 3] = [Self::InfiniBand, Self::RoceV1, Self::RoceV2];

    fn numbered(number: u32) -> Self {
        match number {
            sys::IBV_GID_TYPE_ROCE_V1 => Self::RoceV1,
            sys::IBV_GID_TYPE_ROCE_V2 => Self::RoceV2,
            _ => Self::InfiniBand,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::InfiniBand => sys::IBV_GID_TYPE_IB as u8,
            Self::RoceV1 => sys::IBV_GID_TYPE_ROCE_V1 as u8,
            Self::RoceV2 => sys::IBV_GID_TYPE_ROCE_V2 as u8,
        }
    }
}

impl Gid {
    /// Bytes of its form for a peer.
    pub const BYTES: usize = 24;

    pub(crate) fn of(entry: &sys::ibv_gid_entry) -> Self {
        Self {
            port: entry.port_num as u8,
            index: entry.gid_index,
            address: Ipv6Addr::from(entry.gid.raw),
            kind: GidKind::numbered(entry.gid_type),
            interface: Some(entry.ndev_ifindex).filter(|&index| index != 0),
        }
    }

    /// Its form for a peer: the index, the port, the kind, whether an interface has it, the address.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.index.to_le_bytes());
        bytes[4] = self.port;
        bytes[5] = self.kind.number();
        bytes[6] = u8::from(self.interface.is_some());
        bytes[8..].copy_from_slice(&self.address.octets());
        bytes
    }

    /// A peer's; `None` where the bytes are none.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let [i0, i1, i2, i3, port, kind, held, _, address @ ..] = *bytes;
        let kind = GidKind::ALL.into_iter().find(|known| known.number() == kind)?;
        Some(Self {
            port,
            index: u32::from_le_bytes([i0, i1, i2, i3]),
            address: Ipv6Addr::from(address),
            kind,
            interface: (held != 0).then_some(u32::MAX),
        })
    }

    fn is_ipv4(&self) -> bool {
        self.address.to_ipv4_mapped().is_some()
    }

    fn is_link_local(&self) -> bool {
        let v4 = self.address.to_ipv4_mapped();
        v4.map_or(self.address.is_unicast_link_local(), |address| address.is_link_local())
    }

    /// Whether no interface has it: the table keeps such for a while.
    fn is_stale(&self) -> bool {
        self.kind != GidKind::InfiniBand && self.interface.is_none()
    }

    /// Whether packets between the two are of one form.
    fn can_reach(&self, other: &Self) -> bool {
        self.kind == other.kind && self.is_ipv4() == other.is_ipv4()
    }

    /// The leading bits that the two addresses have in common: the more, the smaller the subnet that both
    /// are in.
    fn common_bits(&self, other: &Self) -> u32 {
        (self.address.to_bits() ^ other.address.to_bits()).leading_zeros()
    }
}

/// The addresses by which two ports may talk, best first: of the lower rank's and of the higher rank's, so that both
/// ends, which know both tables, try the same two in turn.
///
/// Both of a pair are of one family and one kind: RoCE v2 before v1; never link-local nor stale while there are others;
/// IPv4 before IPv6; those that have the most leading bits in common, for they are in one subnet; the first in
/// their tables.
pub fn pairs(lower: &[Gid], higher: &[Gid]) -> Vec<(Gid, Gid)> {
    let all = lower.iter().flat_map(|low| higher.iter().map(move |high| (*low, *high)));
    let mut able: Vec<_> = all.filter(|(low, high)| low.can_reach(high)).collect();
    able.sort_by_key(|(low, high)| {
        (
            low.is_stale() || high.is_stale(),
            low.is_link_local() || high.is_link_local(),
            low.kind != GidKind::RoceV2,
            !low.is_ipv4(),
            u32::MAX - low.common_bits(high),
            (low.index, high.index),
        )
    });
    able
}

/// The first of these [`pairs`].
pub fn choose(lower: &[Gid], higher: &[Gid]) -> Option<(Gid, Gid)> {
    pairs(lower, higher).first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gid(index: u32, kind: GidKind, address: &str) -> Gid {
        let interface = (kind != GidKind::InfiniBand).then_some(3);
        Gid { port: 1, index, address: address.parse().unwrap(), kind, interface }
    }

    /// As a card shows them for an interface with one IPv4 and one IPv6 address: each twice.
    fn table(v4: &str, v6: &str) -> Vec<Gid> {
        let all = ["fe80::1", v4, v6]
            .map(|address| [GidKind::RoceV1, GidKind::RoceV2].map(|kind| gid(0, kind, address)));
        let numbered = all.into_iter().flatten().zip(0..);
        numbered.map(|(gid, index)| Gid { index, ..gid }).collect()
    }

    #[test]
    fn ports_of_one_subnet_talk_by_ipv4_in_udp() {
        let (a, b) = (table("::ffff:10.1.0.4", "fd00::4"), table("::ffff:10.1.0.9", "fd00::9"));
        let (low, high) = choose(&a, &b).unwrap();
        assert_eq!((low.index, high.index), (3, 3));
    }

    #[test]
    fn of_two_subnets_that_which_both_are_in_is_taken() {
        let one = |own: &str, other: &str| {
            vec![gid(0, GidKind::RoceV2, own), gid(1, GidKind::RoceV2, other)]
        };
        let low = one("::ffff:10.1.0.4", "::ffff:10.2.0.4");
        let high = one("::ffff:192.168.0.9", "::ffff:10.2.0.9");
        let (low, high) = choose(&low, &high).unwrap();
        assert_eq!((low.index, high.index), (1, 1));
    }

    #[test]
    fn both_ends_choose_the_same_two_whatever_their_tables() {
        let addresses =
            ["fe80::1", "::ffff:10.1.0.4", "::ffff:10.1.7.4", "fd00::4", "::ffff:169.254.1.1"];
        let all: Vec<_> = (0..).zip(addresses).map(|(i, a)| gid(i, GidKind::RoceV2, a)).collect();
        for mask in 1u32..1 << all.len() {
            let chosen = |mask: u32| -> Vec<Gid> {
                all.iter().filter(|gid| mask & (1 << gid.index) != 0).copied().collect()
            };
            let (ours, theirs) = (chosen(mask), chosen(!mask | 1));
            let sent: Vec<_> =
                ours.iter().map(|gid| Gid::from_bytes(&gid.to_bytes()).unwrap()).collect();
            let indices = |lower: &[Gid], higher: &[Gid]| -> Vec<_> {
                pairs(lower, higher).iter().map(|(low, high)| (low.index, high.index)).collect()
            };
            assert_eq!(indices(&ours, &theirs), indices(&sent, &theirs));
        }
    }

    #[test]
    fn link_local_and_stale_addresses_are_the_last_resort() {
        let local = gid(0, GidKind::RoceV2, "fe80::1");
        let stale = Gid { interface: None, ..gid(1, GidKind::RoceV2, "::ffff:10.1.0.4") };
        let v1 = gid(2, GidKind::RoceV1, "fd00::4");
        let picked = |table: &[Gid]| choose(table, table).map(|(low, _)| low.index);
        assert_eq!(picked(&[local, stale, v1]), Some(2), "rather without IP");
        assert_eq!(picked(&[local, stale]), Some(0));
        assert_eq!(picked(&[stale]), Some(1));
    }

    #[test]
    fn ports_of_different_families_or_kinds_have_no_way() {
        let v4 = [gid(0, GidKind::RoceV2, "::ffff:10.1.0.4")];
        let v6 = [gid(0, GidKind::RoceV2, "fd00::4")];
        let v1 = [gid(0, GidKind::RoceV1, "::ffff:10.1.0.4")];
        assert_eq!(choose(&v4, &v6), None);
        assert_eq!(choose(&v4, &v1), None);
        assert_eq!(choose(&v4, &[]), None);
    }

    #[test]
    fn bytes_that_name_no_kind_are_refused() {
        let mut bytes = gid(4, GidKind::RoceV2, "fd00::4").to_bytes();
        bytes[5] = 9;
        assert_eq!(Gid::from_bytes(&bytes), None);
    }
}
