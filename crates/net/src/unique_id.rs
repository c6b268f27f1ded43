//! Owns the unique id: the 128 bytes that let a process find and join a world.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::error::NetError;
use crate::secret::{Secret, digest};

/// Where a world meets, and the secret that admits to it. Its text form is 256 hexadecimal digits; both forms
/// contain the secret, so treat them as one.
///
/// Layout, little-endian: magic 4, format 1, address count 1, secret 32, checksum 8, then per address a kind byte
/// (4 or 6), a port of 2 and an IP of 4 or 16 bytes in network order; the rest is zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UniqueId {
    /// Candidate addresses of the meeting's host, best first.
    pub addresses: Vec<SocketAddr>,
    /// The world's secret.
    pub secret: Secret,
}

const MAGIC: [u8; 4] = *b"ctid";
const FORMAT: u8 = 1;
const CHECKSUM_AT: usize = 38;
const HEAD: usize = 46;

impl UniqueId {
    /// Length of the encoded form in bytes: that of NCCL's.
    pub const BYTES: usize = 128;

    /// The encoded form. As many addresses as fit are kept, from the first on (11 of IPv4, 4 of IPv6).
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut at = HEAD;
        let mut count = 0;
        for address in &self.addresses {
            let encoded = encode_address(address);
            let Some(place) = bytes.get_mut(at..at + encoded.len()) else { continue };
            place.copy_from_slice(&encoded);
            at += encoded.len();
            count += 1;
        }
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = FORMAT;
        bytes[5] = count;
        bytes[6..CHECKSUM_AT].copy_from_slice(self.secret.bytes());
        let sum = checksum(&bytes);
        bytes[CHECKSUM_AT..HEAD].copy_from_slice(&sum);
        bytes
    }

    /// The id that `bytes` encode; an error for any byte string that [`UniqueId::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<UniqueId, NetError> {
        let bytes: &[u8; Self::BYTES] = bytes
            .try_into()
            .map_err(|_| bad(format!("it has {} bytes, not {}", bytes.len(), Self::BYTES)))?;
        if bytes[..4] != MAGIC {
            return Err(bad("it does not begin as one"));
        }
        if bytes[4] != FORMAT {
            return Err(bad(format!("its format is {}, this release knows {FORMAT}", bytes[4])));
        }
        if bytes[CHECKSUM_AT..HEAD] != checksum(bytes) {
            return Err(bad("its checksum does not fit: it was cut or altered"));
        }
        let mut secret = [0; 32];
        secret.copy_from_slice(&bytes[6..CHECKSUM_AT]);
        let mut rest = &bytes[HEAD..];
        let addresses = (0..bytes[5])
            .map(|_| decode_address(&mut rest).ok_or_else(|| bad("an address is malformed")))
            .collect::<Result<_, _>>()?;
        Ok(UniqueId { addresses, secret: Secret::from_bytes(secret) })
    }
}

fn bad(what: impl Into<String>) -> NetError {
    NetError::BadUniqueId { what: what.into() }
}

/// Eight bytes over everything but the checksum's own place.
fn checksum(bytes: &[u8; UniqueId::BYTES]) -> [u8; 8] {
    let mut covered = *bytes;
    covered[CHECKSUM_AT..HEAD].fill(0);
    let [a, b, c, d, e, f, g, h, ..] = digest("crosstie unique id checksum", &covered);
    [a, b, c, d, e, f, g, h]
}

fn encode_address(address: &SocketAddr) -> Vec<u8> {
    let mut out = vec![if address.is_ipv4() { 4 } else { 6 }];
    out.extend_from_slice(&address.port().to_le_bytes());
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out
}

fn decode_address(rest: &mut &[u8]) -> Option<SocketAddr> {
    let kind = *rest.split_off_first()?;
    let port = u16::from_le_bytes(rest.split_off(..2)?.try_into().ok()?);
    let ip = match kind {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(rest.split_off(..4)?).ok()?)),
        6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(rest.split_off(..16)?).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.encode().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for UniqueId {
    type Err = NetError;

    fn from_str(text: &str) -> Result<UniqueId, NetError> {
        let text = text.trim();
        let digits: Vec<u8> = text
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| bad("it has characters that are no hexadecimal digits"))?;
        if digits.len() != 2 * Self::BYTES {
            return Err(bad(format!("it has {} digits, not {}", digits.len(), 2 * Self::BYTES)));
        }
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        UniqueId::decode(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from),
            (any::<[u8; 16]>(), any::<u16>()).prop_map(SocketAddr::from),
        ]
    }

    proptest! {
        #[test]
        fn both_forms_round_trip(
            addresses in prop::collection::vec(address(), 0..4),
            secret in any::<[u8; 32]>(),
        ) {
            let id = UniqueId { addresses, secret: Secret::from_bytes(secret) };
            prop_assert_eq!(&UniqueId::decode(&id.encode()).unwrap(), &id);
            prop_assert_eq!(&id.to_string().parse::<UniqueId>().unwrap(), &id);
        }

        #[test]
        fn any_altered_byte_is_noticed(at in 0..UniqueId::BYTES, flip in 1..=255u8) {
            let id = UniqueId {
                addresses: vec!["10.1.2.3:4567".parse().unwrap()],
                secret: Secret::from_bytes([7; 32]),
            };
            let mut bytes = id.encode();
            bytes[at] ^= flip;
            prop_assert!(UniqueId::decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(UniqueId::decode(&bytes).is_err());
        }
    }

    #[test]
    fn too_many_addresses_keep_the_best() {
        let addresses: Vec<SocketAddr> =
            (0..40).map(|i| SocketAddr::from(([10, 0, 0, i], 99))).collect();
        let id = UniqueId { addresses: addresses.clone(), secret: Secret::from_bytes([1; 32]) };
        assert_eq!(UniqueId::decode(&id.encode()).unwrap().addresses, addresses[..11]);
    }

    #[test]
    fn text_of_wrong_length_or_alphabet_is_refused() {
        for text in ["", "abc", "zz", &"0".repeat(256), &"é".repeat(128)] {
            assert!(matches!(text.parse::<UniqueId>(), Err(NetError::BadUniqueId { .. })));
        }
    }
}
