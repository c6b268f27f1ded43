//! Owns what two ends tell each other before their queue pairs can be connected.

use crate::gid::{self, Gid};
use crate::{Context, Layer, Mtu, Path, Port, QueuePair, Retry, VerbsError, Way};

/// Where a queue pair is, for the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    number: u32,
    first_packet: u32,
    mtu: Mtu,
    is_infiniband: bool,
    lid: u16,
    gids: Vec<Gid>,
}

/// How switches treat packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Service {
    /// On Ethernet: its upper six bits are the DSCP.
    pub traffic_class: u8,
    /// On InfiniBand.
    pub level: u8,
}

/// Bytes before the addresses.
const HEAD: usize = 16;

impl Address {
    /// Of a queue pair on `port`, by whose GID with that `index` alone it is to be reached, if one is given.
    ///
    /// # Errors
    /// [`VerbsError::Refused`]; [`VerbsError::NoSuchGid`].
    pub fn of(
        context: &Context,
        port: &Port,
        pair: &QueuePair,
        index: Option<u32>,
    ) -> Result<Self, VerbsError> {
        let mut gids = context.gids()?;
        gids.retain(|gid| gid.port == port.number && index.is_none_or(|index| gid.index == index));
        if let (Some(index), true) = (index, gids.is_empty()) {
            let (device, port) = (pair.place().device.clone(), port.number);
            return Err(VerbsError::NoSuchGid { device, port, index });
        }
        gids.truncate(usize::from(u8::MAX));
        Ok(Self {
            number: pair.number(),
            first_packet: pair.first_packet(),
            mtu: port.mtu,
            is_infiniband: port.layer == Layer::InfiniBand,
            lid: port.lid,
            gids,
        })
    }

    /// Its form for the peer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.gids.len() * Gid::BYTES);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.first_packet.to_le_bytes());
        bytes.extend([self.mtu.number(), u8::from(self.is_infiniband)]);
        bytes.extend(self.lid.to_le_bytes());
        bytes.extend([self.gids.len() as u8, 0, 0, 0]);
        bytes.extend(self.gids.iter().flat_map(Gid::to_bytes));
        bytes
    }

    /// A peer's; `None` where the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [n0, n1, n2, n3, p0, p1, p2, p3, mtu, infiniband, l0, l1, count, ..] = *head;
        let (gids, after) = rest.as_chunks::<{ Gid::BYTES }>();
        if gids.len() != usize::from(count) || !after.is_empty() {
            return None;
        }
        Some(Self {
            number: u32::from_le_bytes([n0, n1, n2, n3]),
            first_packet: u32::from_le_bytes([p0, p1, p2, p3]),
            mtu: Mtu::numbered(mtu)?,
            is_infiniband: infiniband != 0,
            lid: u16::from_le_bytes([l0, l1]),
            gids: gids.iter().map(Gid::from_bytes).collect::<Option<_>>()?,
        })
    }

    /// How `pair`, which has this address, reaches the peer's: both ends find the same two GIDs, whichever asks.
    ///
    /// `is_lower` is true at one of the ends, that of the lower rank.
    ///
    /// # Errors
    /// [`VerbsError::NoGid`].
    pub fn path_to(
        &self,
        peer: &Self,
        pair: &QueuePair,
        is_lower: bool,
        service: Service,
        retry: Retry,
    ) -> Result<Path, VerbsError> {
        let way = self.way_to(peer, is_lower).ok_or_else(|| VerbsError::NoGid {
            device: pair.place().device.clone(),
            port: pair.place().port,
            peer: pair.place().peer,
            ours: self.gids.len(),
            theirs: peer.gids.len(),
        })?;
        let mtu = self.mtu.min(peer.mtu);
        let (number, first_packet) = (peer.number, peer.first_packet);
        Ok(Path { number, first_packet, mtu, way, service, retry })
    }

    fn way_to(&self, peer: &Self, is_lower: bool) -> Option<Way> {
        if self.is_infiniband != peer.is_infiniband {
            return None;
        }
        let (lower, higher) = if is_lower { (self, peer) } else { (peer, self) };
        let chosen = gid::choose(&lower.gids, &higher.gids);
        let prefix = |gid: &Gid| gid.address.segments()[..4].to_vec();
        // In one subnet its manager knows the way.
        let is_local = chosen.is_none_or(|(low, high)| prefix(&low) == prefix(&high));
        if self.is_infiniband && is_local {
            return Some(Way::Lid(peer.lid));
        }
        let (low, high) = chosen?;
        let (own, peer) = if is_lower { (low, high) } else { (high, low) };
        Some(Way::Gid { own: u8::try_from(own.index).ok()?, peer: peer.address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GidKind;

    fn address(is_infiniband: bool, lid: u16, gid: &str) -> Address {
        let kind = if is_infiniband { GidKind::InfiniBand } else { GidKind::RoceV2 };
        let gid = Gid {
            port: 1,
            index: 3,
            address: gid.parse().unwrap(),
            kind,
            interface: Some(u32::MAX),
        };
        let mtu = Mtu::numbered(5).unwrap();
        Address { number: 7, first_packet: 0xabcdef, mtu, is_infiniband, lid, gids: vec![gid] }
    }

    #[test]
    fn addresses_survive_the_way_to_the_peer() {
        let sent = address(false, 0, "::ffff:10.1.0.4");
        let bytes = sent.to_bytes();
        assert_eq!(Address::from_bytes(&bytes), Some(sent));
        for len in 0..bytes.len() {
            assert_eq!(Address::from_bytes(&bytes[..len]), None, "{len} bytes");
        }
        for at in [8, 12, 16 + 5] {
            let mut bytes = bytes.clone();
            bytes[at] = 77;
            assert_eq!(Address::from_bytes(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn infiniband_goes_by_lid_in_one_subnet_and_by_gid_between_two() {
        let (a, b) = (address(true, 4, "fe80::1"), address(true, 9, "fe80::2"));
        assert_eq!(a.way_to(&b, true), Some(Way::Lid(9)));
        let far = address(true, 9, "fec0::2");
        assert!(matches!(a.way_to(&far, true), Some(Way::Gid { own: 3, .. })));
    }

    #[test]
    fn infiniband_and_ethernet_do_not_meet() {
        let (a, b) = (address(true, 4, "fe80::1"), address(false, 0, "fe80::2"));
        assert_eq!(a.way_to(&b, true), None);
    }
}
