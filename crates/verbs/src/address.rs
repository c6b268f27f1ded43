//! Owns what two ends tell each other before their queue pairs can be connected.

use crate::gid::{self, Gid};
use crate::{Context, Layer, Mtu, Path, Port, QueuePair, Retry, VerbsError, Way};

/// Where the queue pairs of a wire are, for the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Of each queue pair: its number, and that of its first packet.
    pairs: Vec<(u32, u32)>,
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

/// Bytes before queue pairs and GIDs.
const HEAD: usize = 8;
/// Bytes of a queue pair.
const PAIR: usize = 8;

impl Address {
    /// Of queue pairs on `port`, by whose GID with that `index` alone they are to be reached, if one is given.
    ///
    /// # Errors
    /// [`VerbsError::Refused`]; [`VerbsError::NoSuchGid`].
    pub fn of(
        context: &Context,
        port: &Port,
        pairs: &[QueuePair],
        index: Option<u32>,
    ) -> Result<Self, VerbsError> {
        let mut gids = context.gids()?;
        gids.retain(|gid| gid.port == port.number && index.is_none_or(|index| gid.index == index));
        if let (Some(index), true) = (index, gids.is_empty()) {
            let (device, port) = (context.name().to_owned(), port.number);
            return Err(VerbsError::NoSuchGid { device, port, index });
        }
        gids.truncate(usize::from(u8::MAX));
        Ok(Self {
            pairs: pairs.iter().map(|pair| (pair.number(), pair.first_packet())).collect(),
            mtu: port.mtu,
            is_infiniband: port.layer == Layer::InfiniBand,
            lid: port.lid,
            gids,
        })
    }

    /// Its form for the peer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = HEAD + self.pairs.len() * PAIR + self.gids.len() * Gid::BYTES;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend([self.mtu.number(), u8::from(self.is_infiniband)]);
        bytes.extend(self.lid.to_le_bytes());
        bytes.extend([self.gids.len() as u8, self.pairs.len() as u8, 0, 0]);
        for (number, first_packet) in &self.pairs {
            bytes.extend(number.to_le_bytes());
            bytes.extend(first_packet.to_le_bytes());
        }
        bytes.extend(self.gids.iter().flat_map(Gid::to_bytes));
        bytes
    }

    /// A peer's; `None` where the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [mtu, infiniband, l0, l1, gid_count, pair_count, ..] = *head;
        let (pairs, rest) = rest.split_at_checked(usize::from(pair_count) * PAIR)?;
        let (gids, after) = rest.as_chunks::<{ Gid::BYTES }>();
        if gids.len() != usize::from(gid_count) || !after.is_empty() || pairs.is_empty() {
            return None;
        }
        let pair = |&[n0, n1, n2, n3, p0, p1, p2, p3]: &[u8; PAIR]| {
            (u32::from_le_bytes([n0, n1, n2, n3]), u32::from_le_bytes([p0, p1, p2, p3]))
        };
        Some(Self {
            pairs: pairs.as_chunks().0.iter().map(pair).collect(),
            mtu: Mtu::numbered(mtu)?,
            is_infiniband: infiniband != 0,
            lid: u16::from_le_bytes([l0, l1]),
            gids: gids.iter().map(Gid::from_bytes).collect::<Option<_>>()?,
        })
    }

    /// How many queue pairs it is of.
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// How many GIDs its port has to be reached at.
    pub fn gids(&self) -> usize {
        self.gids.len()
    }

    /// The path on one of the `ways` to the peer's queue pair with that index.
    pub fn path_to(
        &self,
        peer: &Self,
        index: usize,
        way: Way,
        service: Service,
        retry: Retry,
    ) -> Option<Path> {
        let &(number, first_packet) = peer.pairs.get(index)?;
        let mtu = self.mtu.min(peer.mtu);
        Some(Path { number, first_packet, mtu, way, service, retry })
    }

    /// The ways from here to the peer's port, best first: both ends find the same ones in the same order.
    ///
    /// `is_lower` is true at one of the ends, that of the lower rank.
    pub fn ways_to(&self, peer: &Self, is_lower: bool) -> Vec<Way> {
        if self.is_infiniband != peer.is_infiniband {
            return Vec::new();
        }
        let (lower, higher) = if is_lower { (self, peer) } else { (peer, self) };
        let pairs = gid::pairs(&lower.gids, &higher.gids);
        let prefix = |gid: &Gid| gid.address.segments()[..4].to_vec();
        // In one subnet its manager knows the way.
        let is_local = pairs.first().is_none_or(|(low, high)| prefix(low) == prefix(high));
        if self.is_infiniband && is_local {
            return vec![Way::Lid(peer.lid)];
        }
        let way = |(low, high): (Gid, Gid)| {
            // One that one end cannot name is none at the other either.
            let [low_index, high_index] =
                [u8::try_from(low.index).ok()?, u8::try_from(high.index).ok()?];
            let (own, peer) = if is_lower { (low_index, high) } else { (high_index, low) };
            Some(Way::Gid { own, peer: peer.address })
        };
        pairs.into_iter().filter_map(way).collect()
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
        Address { pairs: vec![(7, 0xabcdef), (8, 3)], mtu, is_infiniband, lid, gids: vec![gid] }
    }

    #[test]
    fn addresses_survive_the_way_to_the_peer() {
        let sent = address(false, 0, "::ffff:10.1.0.4");
        let bytes = sent.to_bytes();
        assert_eq!(Address::from_bytes(&bytes), Some(sent));
        for len in 0..bytes.len() {
            assert_eq!(Address::from_bytes(&bytes[..len]), None, "{len} bytes");
        }
        for at in [0, 4, 5, 24 + 5] {
            let mut bytes = bytes.clone();
            bytes[at] = 77;
            assert_eq!(Address::from_bytes(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn infiniband_goes_by_lid_in_one_subnet_and_by_gid_between_two() {
        let (a, b) = (address(true, 4, "fe80::1"), address(true, 9, "fe80::2"));
        assert_eq!(a.ways_to(&b, true), [Way::Lid(9)]);
        let far = address(true, 9, "fec0::2");
        assert!(matches!(a.ways_to(&far, true)[..], [Way::Gid { own: 3, .. }]));
    }

    #[test]
    fn infiniband_and_ethernet_do_not_meet() {
        let (a, b) = (address(true, 4, "fe80::1"), address(false, 0, "fe80::2"));
        assert_eq!(a.ways_to(&b, true), []);
    }
}
