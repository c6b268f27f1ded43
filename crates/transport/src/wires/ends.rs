//! Owns how what arrives on a wire reaches the ends of its connections: records of a head, and members of a group.

use super::frame::{
    GRANT_BYTES, GrantRecord, HEADER_BYTES, HOME_BYTES, Home, Kind, MEMBER_BYTES, MOST_RECORDS,
    Member, REFUSAL_BYTES, Refusal, STANDING_BYTES, Standing, Violation, WireHeader,
};
use super::out_end::OutEnd;
use super::receiving::ReceivingEnd;
use crate::Region;

/// The connections of a wire, as what arrives on it sees them.
pub struct Ends<'a> {
    pub(super) sending: &'a mut [OutEnd],
    pub(super) receiving: &'a mut [ReceivingEnd],
    /// Set when something can be written that could not be before.
    pub(super) woken: &'a mut bool,
}

/// The members of a data group.
#[derive(Clone, Copy)]
pub struct Group {
    members: [Member; MOST_RECORDS],
    count: usize,
}

impl Group {
    fn decode(header: &WireHeader, records: &[u8]) -> Result<Self, Violation> {
        let mut members = [Member::NONE; MOST_RECORDS];
        let (chunks, _) = records.as_chunks::<MEMBER_BYTES>();
        let mut total = 0;
        for (member, record) in members.iter_mut().zip(chunks) {
            *member = Member::decode(record)?;
            total += u64::from(member.len);
        }
        if total != u64::from(header.payload_bytes) {
            return Err(Violation::PayloadBytes { header: header.payload_bytes, members: total });
        }
        Ok(Self { members, count: chunks.len() })
    }

    pub fn members(&self) -> &[Member] {
        &self.members[..self.count]
    }
}

/// What the front of some bytes is.
pub struct Head {
    /// Its length.
    pub bytes: usize,
    /// The members whose payloads are yet to be accepted; without them it was records, which the ends know now.
    pub group: Option<Group>,
}

impl Ends<'_> {
    /// Takes in the head at the front of `bytes`; `None` while not all of it is there.
    pub fn take_head(&mut self, bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = WireHeader::decode(header)?;
        let Some(records) = rest.get(..header.records_bytes()) else { return Ok(None) };
        let bytes = HEADER_BYTES + records.len();
        match header.kind {
            Kind::Data => {
                return Ok(Some(Head { bytes, group: Some(Group::decode(&header, records)?) }));
            }
            Kind::Grant => each::<GRANT_BYTES>(records, |r| self.grant(GrantRecord::decode(r)))?,
            Kind::Standing => each::<STANDING_BYTES>(records, |r| self.offer(Standing::decode(r)))?,
            Kind::Refusal => each::<REFUSAL_BYTES>(records, |r| self.refuse(Refusal::decode(r)))?,
            Kind::Home => each::<HOME_BYTES>(records, |r| self.home(Home::decode(r)))?,
        }
        Ok(Some(Head { bytes, group: None }))
    }

    /// Whether payloads of more than a few kilobytes are to be expected.
    pub fn expect_pieces(&self) -> bool {
        self.receiving.iter().any(ReceivingEnd::expects_pieces)
    }

    /// Where a member's payload goes; nowhere when it is dropped.
    pub fn accept(&mut self, member: &Member) -> Result<Option<Region>, Violation> {
        self.receiving(member.conn)?.accept(member)
    }

    /// The payload of a member, last accepted, is in its place.
    pub fn landed(&mut self, member: &Member) {
        if let Ok(end) = self.receiving(member.conn) {
            end.landed(member);
        }
    }

    fn receiving(&mut self, conn: u32) -> Result<&mut ReceivingEnd, Violation> {
        let connections = self.receiving.len() as u32;
        self.receiving.get_mut(conn as usize).ok_or(Violation::Connection { conn, connections })
    }

    fn sending(&mut self, conn: u32) -> Result<&mut OutEnd, Violation> {
        let connections = self.sending.len() as u32;
        self.sending.get_mut(conn as usize).ok_or(Violation::Connection { conn, connections })
    }

    fn grant(&mut self, grant: GrantRecord) -> Result<(), Violation> {
        let present = self.sending(grant.conn)?.granted(grant)?;
        *self.woken |= present;
        Ok(())
    }

    fn offer(&mut self, standing: Standing) -> Result<(), Violation> {
        self.sending(standing.conn)?.offered(standing)
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), Violation> {
        self.sending(refusal.conn)?.fail(refusal);
        Ok(())
    }

    #[cold]
    fn home(&mut self, home: Home) -> Result<(), Violation> {
        *self.woken = true;
        self.sending(home.conn)?.settle(home)
    }
}

fn each<const N: usize>(
    records: &[u8],
    mut take: impl FnMut(&[u8; N]) -> Result<(), Violation>,
) -> Result<(), Violation> {
    records.as_chunks::<N>().0.iter().try_for_each(&mut take)
}
