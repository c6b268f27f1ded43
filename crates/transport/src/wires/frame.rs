//! Owns the form of bytes on a wire: headers, members, grants, standing offers, errors.
//!
//! Everything is little endian. A wire message is a header of 16 bytes, `count` records of its
//! kind's size, then (data only) the members' payloads in the order of the members. Whatever is
//! read comes from another process: decoding checks every field and never allocates.

use super::medium::Place;

/// Bytes of a [`WireHeader`].
pub(crate) const HEADER_BYTES: usize = 16;
/// Bytes of a [`Member`].
pub(super) const MEMBER_BYTES: usize = 24;
/// Bytes of a [`GrantRecord`].
pub(super) const GRANT_BYTES: usize = 32;
/// Bytes of a [`Standing`].
pub(super) const STANDING_BYTES: usize = 8;
/// Bytes of a [`Home`].
pub(super) const HOME_BYTES: usize = 16;
/// Bytes of a [`Refusal`] record.
pub(super) const REFUSAL_BYTES: usize = 32;
/// Records that one wire message may hold.
pub(super) const MOST_RECORDS: usize = 8;
/// Receives of one connection that may be posted and not released (rule F1): a power of two, so that cells stay
/// in turn when numbers wrap.
pub(crate) const MOST_GRANTS: usize = 8;
/// Bytes of the longest piece of a message, and of the longest group of several.
pub const PIECE_BYTES: usize = 128 * 1024;
/// Bytes of the longest header with its records.
pub(crate) const MOST_HEAD_BYTES: usize = HEADER_BYTES + MOST_RECORDS * GRANT_BYTES;

const MAGIC: u16 = 0x7843;
/// The wire's first socket; a wire that replaced a lost one will count up from here.
const EPOCH: u16 = 0;

/// What a peer sent that the protocol does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("a wire message begins with {0:#06x} instead of the magic number")]
    Magic(u16),
    #[error("a wire message of unknown kind {0}")]
    Kind(u8),
    #[error("a wire message of {0} records (1 to 8 are allowed)")]
    Count(u8),
    #[error("epoch {0} on a wire that is at epoch 0")]
    Epoch(u16),
    #[error("unknown wire flags {0:#06x}")]
    Flags(u16),
    #[error("{header} payload bytes announced, but the members hold {members}")]
    PayloadBytes { header: u32, members: u64 },
    #[error("a piece of {0} bytes (131072 at most)")]
    PieceLength(u32),
    #[error("unknown or contradictory member flags {0:#04x}")]
    MemberFlags(u8),
    #[error("connection {conn} of a wire that has {connections}")]
    Connection { conn: u32, connections: u32 },
    #[error("message {seq} on connection {conn} instead of {expected}")]
    Sequence { conn: u32, seq: u32, expected: u32 },
    #[error("offset {offset} in message {seq} on connection {conn} instead of {expected}")]
    Offset { conn: u32, seq: u32, offset: u64, expected: u64 },
    #[error("message {seq} on connection {conn} without a grant for it")]
    NotGranted { conn: u32, seq: u32 },
    #[error("message {seq} on connection {conn} exceeds its {limit} bytes")]
    OverLimit { conn: u32, seq: u32, limit: u64 },
    #[error("message {seq} on connection {conn} changes its call from {expected:06x} to {tag:06x}")]
    Tag { conn: u32, seq: u32, tag: u32, expected: u32 },
    #[error("more eager messages on connection {conn} than its {slots} standing slots")]
    NoStandingSlot { conn: u32, slots: u32 },
    #[error("connection {conn} takes back standing slots (serial {serial})")]
    Serial { conn: u32, serial: u32 },
    #[error(
        "connection {conn} says where its standing slots are, though it places payloads itself"
    )]
    Home { conn: u32 },
    #[error("a head in slot {slot} instead of {expected}")]
    Slot { slot: u32, expected: u32 },
    #[error("{newly} heads emptied of {sent} sent")]
    Emptied { newly: u32, sent: u32 },
    #[error("a grant for message {seq} on connection {conn}, whose next message is {next}")]
    GrantAhead { conn: u32, seq: u32, next: u32 },
}

/// What a wire message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Grant,
    Standing,
    Refusal,
    Home,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Grant => 2,
            Self::Standing => 3,
            Self::Refusal => 4,
            Self::Home => 5,
        }
    }

    const fn record_bytes(self) -> usize {
        match self {
            Self::Data => MEMBER_BYTES,
            Self::Grant => GRANT_BYTES,
            Self::Standing => STANDING_BYTES,
            Self::Refusal => REFUSAL_BYTES,
            Self::Home => HOME_BYTES,
        }
    }
}

/// The beginning of every wire message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WireHeader {
    pub kind: Kind,
    /// Records that follow, 1 to 8.
    pub count: u8,
    /// Bytes behind the records.
    pub payload_bytes: u32,
    /// The wire message's number, for diagnosis.
    pub counter: u32,
}

impl WireHeader {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..2].copy_from_slice(&MAGIC.to_le_bytes());
        out[2] = self.kind.code();
        out[3] = self.count;
        out[4..6].copy_from_slice(&EPOCH.to_le_bytes());
        out[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.counter.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Violation> {
        let [m0, m1, kind, count, e0, e1, f0, f1, p0, p1, p2, p3, c0, c1, c2, c3] = *bytes;
        let magic = u16::from_le_bytes([m0, m1]);
        if magic != MAGIC {
            return Err(Violation::Magic(magic));
        }
        let kind = match kind {
            1 => Kind::Data,
            2 => Kind::Grant,
            3 => Kind::Standing,
            4 => Kind::Refusal,
            5 => Kind::Home,
            other => return Err(Violation::Kind(other)),
        };
        if count == 0 || usize::from(count) > MOST_RECORDS {
            return Err(Violation::Count(count));
        }
        let (epoch, flags) = (u16::from_le_bytes([e0, e1]), u16::from_le_bytes([f0, f1]));
        if epoch != EPOCH {
            return Err(Violation::Epoch(epoch));
        }
        if flags != 0 {
            return Err(Violation::Flags(flags));
        }
        let payload_bytes = u32::from_le_bytes([p0, p1, p2, p3]);
        if kind != Kind::Data && payload_bytes != 0 {
            return Err(Violation::PayloadBytes { header: payload_bytes, members: 0 });
        }
        Ok(Self { kind, count, payload_bytes, counter: u32::from_le_bytes([c0, c1, c2, c3]) })
    }

    /// Bytes of the records behind the header.
    pub fn records_bytes(&self) -> usize {
        usize::from(self.count) * self.kind.record_bytes()
    }
}

/// How a member travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A whole message into a standing slot.
    Eager,
    /// A piece of a granted message.
    Piece {
        /// Whether the message ends with it.
        last: bool,
    },
    /// No payload: the message at hand has `offset` bytes and has no grant, or too small a one.
    Notice,
}

impl MemberKind {
    const LAST: u8 = 1;
    const EAGER: u8 = 2;
    const NOTICE: u8 = 4;

    const fn flags(self) -> u8 {
        match self {
            Self::Eager => Self::EAGER | Self::LAST,
            Self::Piece { last: true } => Self::LAST,
            Self::Piece { last: false } => 0,
            Self::Notice => Self::NOTICE,
        }
    }
}

/// One piece of one message in a data group.
///
/// On the wire it has 24 bytes: connection 32 bits, number 32, offset 64, length 32, flags 8, tag 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub conn: u32,
    pub seq: u32,
    /// Where the piece lies in its message; the message's length for a notice.
    pub offset: u64,
    pub len: u32,
    pub kind: MemberKind,
    /// The tag of the call that the message belongs to, 24 bits; the same in all its pieces.
    pub tag: u32,
}

impl Member {
    /// Fills the place of members that a header does not count.
    pub const NONE: Self =
        Self { conn: 0, seq: 0, offset: 0, len: 0, kind: MemberKind::Notice, tag: 0 };

    pub fn encode(&self) -> [u8; MEMBER_BYTES] {
        let mut out = [0; MEMBER_BYTES];
        out[0..4].copy_from_slice(&self.conn.to_le_bytes());
        out[4..8].copy_from_slice(&self.seq.to_le_bytes());
        out[8..16].copy_from_slice(&self.offset.to_le_bytes());
        out[16..20].copy_from_slice(&self.len.to_le_bytes());
        out[20] = self.kind.flags();
        out[21..24].copy_from_slice(&self.tag.to_le_bytes()[..3]);
        out
    }

    pub fn decode(bytes: &[u8; MEMBER_BYTES]) -> Result<Self, Violation> {
        let (len, flags) = (u32_at(bytes, 16), bytes[20]);
        let kind = match flags {
            3 => MemberKind::Eager,
            1 => MemberKind::Piece { last: true },
            0 => MemberKind::Piece { last: false },
            4 => MemberKind::Notice,
            other => return Err(Violation::MemberFlags(other)),
        };
        let bytes_allowed = if kind == MemberKind::Notice { 0 } else { PIECE_BYTES };
        if len as usize > bytes_allowed {
            return Err(Violation::PieceLength(len));
        }
        let (conn, seq) = (u32_at(bytes, 0), u32_at(bytes, 4));
        let tag = u32_at(bytes, 20) >> 8;
        Ok(Self { conn, seq, offset: u64_at(bytes, 8), len, kind, tag })
    }
}

/// The receiver's permission for one message.
///
/// On the wire it has 32 bytes: connection 32 bits, number 32, limit 64, and on media whose senders place payloads
/// the address 64 and key 32 of its place, which are zero elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantRecord {
    pub conn: u32,
    pub seq: u32,
    /// The most bytes that the message may have.
    pub limit: u64,
    /// Where it lands.
    pub place: Place,
}

impl GrantRecord {
    pub fn encode(&self) -> [u8; GRANT_BYTES] {
        let mut out = [0; GRANT_BYTES];
        out[0..4].copy_from_slice(&self.conn.to_le_bytes());
        out[4..8].copy_from_slice(&self.seq.to_le_bytes());
        out[8..16].copy_from_slice(&self.limit.to_le_bytes());
        out[16..24].copy_from_slice(&self.place.address.to_le_bytes());
        out[24..28].copy_from_slice(&self.place.key.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; GRANT_BYTES]) -> Self {
        let place = Place { address: u64_at(bytes, 16), key: u32_at(bytes, 24) };
        Self { conn: u32_at(bytes, 0), seq: u32_at(bytes, 4), limit: u64_at(bytes, 8), place }
    }
}

/// Where the standing slots of a connection begin, told once, on media whose senders place payloads.
///
/// On the wire it has 16 bytes: connection 32 bits, key 32, address 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    pub conn: u32,
    pub place: Place,
}

impl Home {
    pub fn encode(&self) -> [u8; HOME_BYTES] {
        let mut out = [0; HOME_BYTES];
        out[0..4].copy_from_slice(&self.conn.to_le_bytes());
        out[4..8].copy_from_slice(&self.place.key.to_le_bytes());
        out[8..16].copy_from_slice(&self.place.address.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; HOME_BYTES]) -> Self {
        let place = Place { address: u64_at(bytes, 8), key: u32_at(bytes, 4) };
        Self { conn: u32_at(bytes, 0), place }
    }
}

/// The receiver's standing offer: eager messages numbered below `serial` have a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub conn: u32,
    pub serial: u32,
}

impl Standing {
    pub fn encode(&self) -> [u8; STANDING_BYTES] {
        let mut out = [0; STANDING_BYTES];
        out[0..4].copy_from_slice(&self.conn.to_le_bytes());
        out[4..8].copy_from_slice(&self.serial.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; STANDING_BYTES]) -> Self {
        Self { conn: u32_at(bytes, 0), serial: u32_at(bytes, 4) }
    }
}

/// The receiver's word that a message did not fit its receive (the protocol's ERROR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub conn: u32,
    pub seq: u32,
    /// The message's length in bytes.
    pub len: u64,
    /// The receive's room in bytes.
    pub limit: u64,
}

impl Refusal {
    /// The only reason there is: the message is longer than its receive.
    const TOO_LONG: u16 = 1;

    pub fn encode(&self) -> [u8; REFUSAL_BYTES] {
        let mut out = [0; REFUSAL_BYTES];
        out[0..4].copy_from_slice(&self.conn.to_le_bytes());
        out[4..8].copy_from_slice(&self.seq.to_le_bytes());
        out[8..10].copy_from_slice(&Self::TOO_LONG.to_le_bytes());
        out[16..24].copy_from_slice(&self.len.to_le_bytes());
        out[24..32].copy_from_slice(&self.limit.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; REFUSAL_BYTES]) -> Self {
        let (conn, seq) = (u32_at(bytes, 0), u32_at(bytes, 4));
        Self { conn, seq, len: u64_at(bytes, 16), limit: u64_at(bytes, 24) }
    }
}

/// Field at a constant offset; a record shorter than that would not be its type.
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |field| u32::from_le_bytes(*field))
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seam::TAG_MASK;

    fn member_kind() -> impl Strategy<Value = MemberKind> {
        prop_oneof![
            Just(MemberKind::Eager),
            Just(MemberKind::Notice),
            any::<bool>().prop_map(|last| MemberKind::Piece { last }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_what_is_decoded(
            conn: u32, seq: u32, offset: u64, len in 0..=PIECE_BYTES as u32, kind in member_kind(),
            tag in 0..=TAG_MASK,
        ) {
            let len = if kind == MemberKind::Notice { 0 } else { len };
            let member = Member { conn, seq, offset, len, kind, tag };
            prop_assert_eq!(Member::decode(&member.encode()), Ok(member));
            let place = Place { address: offset.rotate_left(7), key: len };
            let grant = GrantRecord { conn, seq, limit: offset, place };
            prop_assert_eq!(GrantRecord::decode(&grant.encode()), grant);
            let home = Home { conn, place };
            prop_assert_eq!(Home::decode(&home.encode()), home);
            let standing = Standing { conn, serial: seq };
            prop_assert_eq!(Standing::decode(&standing.encode()), standing);
            let refusal = Refusal { conn, seq, len: offset, limit: u64::from(len) };
            prop_assert_eq!(Refusal::decode(&refusal.encode()), refusal);
        }

        #[test]
        fn any_sixteen_bytes_are_a_header_or_a_violation(bytes: [u8; HEADER_BYTES]) {
            if let Ok(header) = WireHeader::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
                prop_assert!(header.records_bytes() <= MOST_HEAD_BYTES - HEADER_BYTES);
            }
        }

        #[test]
        fn any_twenty_four_bytes_are_a_member_or_a_violation(bytes: [u8; MEMBER_BYTES]) {
            if let Ok(member) = Member::decode(&bytes) {
                prop_assert!(member.len as usize <= PIECE_BYTES && member.tag <= TAG_MASK);
                prop_assert_eq!(member.encode(), bytes);
            }
        }
    }
}
