//! Owns the receiving end of a connection: what has arrived, what is posted, what is owed to the
//! sender.
//!
//! A message comes under exactly one permission. A short one is eager: it needs no grant, and
//! lands in the posted place if its receive is waiting for it, else in a standing slot. A longer
//! one lands under the grant of its receive, in the place or in staging. Receives may be posted ahead,
//! [`MOST_GRANTS`] at a time; of those without a place, as many are granted as staging holds. The sender may use
//! `2 * slots` standing slots, and hears of emptied ones when half of them have been emptied, or
//! earlier when something else goes its way: so `slots` messages may always be under way, and a
//! stream of tiny messages costs no wire message each way.
//!
//! Where the sender places payloads, it writes eager messages to standing slots always, and longer ones to the place
//! that their grant names: it cannot know what is posted meanwhile. A place that the medium does not reach is as
//! good as none.

use std::collections::VecDeque;

use super::frame::{
    GrantRecord, Home, MOST_GRANTS, Member, MemberKind, Refusal, Standing, Violation,
};
use super::medium::{Keys, Place};
use super::memory::{Arena, Source};
use crate::seam::{Arrival, Grant};
use crate::{Region, TransportError};

/// What both ends of a connection know of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Its number on its wire, which members and grants name.
    pub conn: u32,
    /// Bytes of a standing slot: the longest eager message.
    pub standing_bytes: usize,
    /// Standing slots of the connection; a power of two.
    pub standing_slots: u32,
    /// Longer messages that the sender may hold back until they are granted.
    pub slots: u32,
    /// Bytes of the longest message.
    pub slot_bytes: usize,
    /// Whether the sender places payloads.
    pub is_placed: bool,
}

/// The receiving end of one connection.
pub(super) struct ReceivingEnd {
    shape: Shape,
    standing: Arena,
    staging: Arena,
    /// Complete messages that are not released, oldest first.
    arrived: VecDeque<Message>,
    /// The number of the message that arrives next.
    next_seq: u32,
    /// Where the message that is arriving goes.
    landing: Option<Landing>,
    /// Receives that are not released, oldest first.
    posted: VecDeque<Posted>,
    /// The number of the next receive.
    next_receive: u32,
    /// Eager messages that have begun to arrive, and those released.
    eager: u32,
    emptied: u32,
    /// `emptied` as the sender knows it.
    offered: u32,
    /// Grants given ever for messages that land in staging.
    staged: u32,
    notice: Option<Notice>,
    refused: Option<Refusal>,
    refusal_due: bool,
    /// The sender does not know yet where the standing slots are.
    home_due: bool,
    /// Pieces that came once more.
    repeats: u64,
}

#[derive(Clone, Copy)]
struct Message {
    bytes: Region,
    placed: bool,
    eager: bool,
    tag: u32,
}

#[derive(Clone, Copy)]
struct Landing {
    message: Message,
    filled: usize,
}

#[derive(Clone, Copy)]
struct Posted {
    seq: u32,
    limit: usize,
    place: Option<Region>,
    keys: Keys,
    grant: Permission,
}

/// Whether a receive needs a grant, and has given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permission {
    Unneeded,
    Due,
    Given,
    /// Given, for a message that lands in staging as the so manieth.
    Staged(u32),
}

/// Messages without a place that may be granted at a time: one arrives while another is reduced.
pub(super) const STAGING_SLOTS: usize = 2;

#[derive(Clone, Copy)]
struct Notice {
    seq: u32,
    len: u64,
}

impl ReceivingEnd {
    pub fn new(shape: Shape, memory: Source<'_>) -> Result<Self, TransportError> {
        Ok(Self {
            shape,
            standing: Arena::new(shape.standing_slots as usize, shape.standing_bytes, memory)?,
            staging: Arena::new(STAGING_SLOTS, shape.slot_bytes, memory)?,
            arrived: VecDeque::with_capacity(shape.standing_slots as usize + 1),
            next_seq: 0,
            landing: None,
            posted: VecDeque::with_capacity(MOST_GRANTS),
            next_receive: 0,
            eager: 0,
            emptied: 0,
            offered: 0,
            staged: 0,
            notice: None,
            refused: None,
            refusal_due: false,
            home_due: shape.is_placed,
            repeats: 0,
        })
    }

    /// What such an end asks its memory for.
    pub const fn memory_of(shape: Shape) -> usize {
        Arena::bytes(shape.standing_slots as usize, shape.standing_bytes)
            + Arena::bytes(STAGING_SLOTS, shape.slot_bytes)
    }

    /// As if `passed` messages of every kind had passed.
    pub fn number_from(&mut self, passed: u32) {
        (self.next_seq, self.next_receive) = (passed, passed);
        (self.eager, self.emptied, self.offered) = (passed, passed, passed);
    }

    /// Makes room for one more message; whether the sender must be told at once. `keys` are the medium's for the
    /// place; without them there is none.
    pub fn post(&mut self, grant: &Grant, keys: Option<Keys>) -> bool {
        debug_assert!(self.posted.len() < MOST_GRANTS, "I1: more receives are posted than may be");
        let room = grant.place.map_or(self.shape.slot_bytes, |place| place.len());
        let (seq, limit) = (self.next_receive, grant.limit.min(room));
        self.next_receive = self.next_receive.wrapping_add(1);
        // An eager message that is here already needs no grant, whatever the limit says.
        let needed = limit > self.shape.standing_bytes && !self.has_begun(seq);
        let permission = if needed { Permission::Due } else { Permission::Unneeded };
        let (place, keys) = (grant.place.filter(|_| keys.is_some()), keys.unwrap_or_default());
        self.posted.push_back(Posted { seq, limit, place, keys, grant: permission });
        needed
    }

    /// Whether message `seq` has begun to arrive.
    fn has_begun(&self, seq: u32) -> bool {
        let ahead = seq.wrapping_sub(self.next_seq);
        ahead > u32::MAX / 2 || ahead == 0 && self.landing.is_some()
    }

    /// The message of the oldest posted receive, if it is complete; the refusal, if it does not fit.
    pub fn poll(&mut self) -> Result<Option<Arrival>, Refusal> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let Some(&posted) = self.posted.front() else { return Ok(None) };
        if let Some(&Message { bytes, placed, tag, .. }) = self.arrived.front() {
            if bytes.len() > posted.limit {
                return Err(self.refuse(posted, bytes.len() as u64));
            }
            return Ok(Some(Arrival { bytes, placed, lent: false, tag }));
        }
        match self.notice {
            Some(n) if n.seq == posted.seq && n.len > posted.limit as u64 => {
                Err(self.refuse(posted, n.len))
            }
            _ => Ok(None),
        }
    }

    #[cold]
    fn refuse(&mut self, posted: Posted, len: u64) -> Refusal {
        let limit = posted.limit as u64;
        let refusal = Refusal { conn: self.shape.conn, seq: posted.seq, len, limit };
        self.refused = Some(refusal);
        self.refusal_due = true;
        self.posted.iter_mut().for_each(|posted| posted.grant = Permission::Unneeded);
        self.arrived.clear();
        refusal
    }

    /// Gives back the memory of the message that `poll` gave; whether the sender must hear of it
    /// at once.
    pub fn release(&mut self) -> bool {
        debug_assert!(
            !self.arrived.is_empty() || self.landing.is_none_or(|l| !l.message.placed),
            "I9: a place goes back while its message is landing"
        );
        self.posted.pop_front();
        let Some(message) = self.arrived.pop_front() else { return false };
        if message.eager {
            self.emptied = self.emptied.wrapping_add(1);
        }
        self.owes_offer() || self.next_grant().is_some()
    }

    /// Receives not released, and messages that are here, or begin to be.
    pub fn held(&self) -> usize {
        let eager = self.eager.wrapping_sub(self.emptied) as usize;
        let here = self.arrived.len().max(eager);
        here + self.posted.len() + usize::from(self.landing.is_some())
    }

    /// Where the payload of `member` goes: memory of its length, or nowhere when it is dropped.
    pub fn accept(&mut self, member: &Member) -> Result<Option<Region>, Violation> {
        if self.refused.is_some() {
            return Ok(None);
        }
        let (conn, seq) = (self.shape.conn, member.seq);
        if self.has_taken(member) {
            self.repeats += 1;
            return Ok(None);
        }
        if seq != self.next_seq {
            return Err(Violation::Sequence { conn, seq, expected: self.next_seq });
        }
        match member.kind {
            MemberKind::Notice => {
                self.notice = Some(Notice { seq, len: member.offset });
                Ok(None)
            }
            MemberKind::Eager => self.accept_eager(member).map(Some),
            MemberKind::Piece { .. } => self.accept_piece(member).map(Some),
        }
    }

    /// Whether `member` was here before: it is of a message that is complete, or lies in what is here of the one that
    /// is arriving. A message that was announced is not here.
    fn has_taken(&self, member: &Member) -> bool {
        let behind = self.next_seq.wrapping_sub(member.seq);
        if behind > 0 {
            return behind <= u32::MAX / 2;
        }
        let end = member.offset.checked_add(u64::from(member.len));
        let here = self.landing.map_or(0, |landing| landing.filled as u64);
        let is_piece = member.kind == (MemberKind::Piece { last: false });
        is_piece && member.offset < here && end.is_some_and(|end| end <= here)
    }

    /// Pieces that came once more, and were dropped.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    fn accept_eager(&mut self, member: &Member) -> Result<Region, Violation> {
        let (conn, seq, len) = (self.shape.conn, member.seq, member.len as usize);
        if member.offset != 0 || self.landing.is_some() {
            let expected = self.landing.map_or(0, |landing| landing.filled as u64);
            return Err(Violation::Offset { conn, seq, offset: member.offset, expected });
        }
        if self.eager.wrapping_sub(self.emptied) >= self.shape.standing_slots {
            return Err(Violation::NoStandingSlot { conn, slots: self.shape.standing_slots });
        }
        let limit = self.shape.standing_bytes as u64;
        let slot = self.standing.slot(self.eager, len);
        let slot = slot.ok_or(Violation::OverLimit { conn, seq, limit })?;
        let holds = |message: &Message| message.eager && message.bytes.as_ptr() == slot.as_ptr();
        debug_assert!(!self.arrived.iter().any(holds), "I6: a slot is used that was not emptied");
        self.eager = self.eager.wrapping_add(1);
        let posted = self.posted_for(seq).filter(|_| !self.shape.is_placed);
        let place = posted.and_then(|posted| {
            posted.place.filter(|_| len <= posted.limit).and_then(|place| place.part(0, len))
        });
        let (bytes, placed) = (place.unwrap_or(slot), place.is_some());
        let message = Message { bytes, placed, eager: true, tag: member.tag };
        self.landing = Some(Landing { message, filled: 0 });
        Ok(message.bytes)
    }

    fn accept_piece(&mut self, member: &Member) -> Result<Region, Violation> {
        let (conn, seq, tag) = (self.shape.conn, member.seq, member.tag);
        let given = |p: &Posted| matches!(p.grant, Permission::Given | Permission::Staged(_));
        let posted = self.posted_for(seq).filter(given);
        let posted = posted.ok_or(Violation::NotGranted { conn, seq })?;
        let over = Violation::OverLimit { conn, seq, limit: posted.limit as u64 };
        let landing = match self.landing {
            Some(landing) => landing,
            None => {
                let bytes = match (posted.place, posted.grant) {
                    (Some(place), _) => place.part(0, posted.limit),
                    (None, Permission::Staged(nth)) => self.staging.slot(nth, posted.limit),
                    (None, _) => None,
                };
                let placed = posted.place.is_some();
                let message = Message { bytes: bytes.ok_or(over)?, placed, eager: false, tag };
                Landing { message, filled: 0 }
            }
        };
        let expected = landing.filled as u64;
        if member.offset != expected {
            return Err(Violation::Offset { conn, seq, offset: member.offset, expected });
        }
        if tag != landing.message.tag {
            return Err(Violation::Tag { conn, seq, tag, expected: landing.message.tag });
        }
        self.landing = Some(landing);
        landing.message.bytes.part(landing.filled, member.len as usize).ok_or(over)
    }

    fn posted_for(&self, seq: u32) -> Option<Posted> {
        self.posted.iter().find(|posted| posted.seq == seq).copied()
    }

    /// Records that the payload of `member`, last accepted, is in its place. A repeat changes nothing.
    pub fn landed(&mut self, member: &Member) {
        let Some(mut landing) = self.landing else { return };
        if self.has_taken(member) {
            return;
        }
        let last = match member.kind {
            MemberKind::Notice => return,
            MemberKind::Eager => true,
            MemberKind::Piece { last } => last,
        };
        debug_assert!(
            self.refused.is_some()
                || member.seq == self.next_seq && member.offset == landing.filled as u64,
            "I4: a piece lands elsewhere than the next is expected"
        );
        landing.filled += member.len as usize;
        if !last {
            self.landing = Some(landing);
            return;
        }
        self.landing = None;
        self.next_seq = self.next_seq.wrapping_add(1);
        if let Some(bytes) = landing.message.bytes.part(0, landing.filled) {
            self.arrived.push_back(Message { bytes, ..landing.message });
        }
    }

    /// Whether a granted message is still to come, so that long payloads are to be expected.
    pub fn expects_pieces(&self) -> bool {
        let next = self.posted.get(self.arrived.len());
        next.is_some_and(|posted| posted.limit > self.shape.standing_bytes)
    }

    /// The next grant that the sender has not been told of. Taken: the caller tells it.
    pub fn take_grant(&mut self) -> Option<GrantRecord> {
        let next = self.next_grant()?;
        let posted = &mut self.posted[next];
        let place = match posted.place {
            Some(place) => {
                posted.grant = Permission::Given;
                Place::of(place, posted.keys)
            }
            None => {
                self.staged = self.staged.wrapping_add(1);
                posted.grant = Permission::Staged(self.staged);
                let slot = self.staging.slot(self.staged, posted.limit);
                slot.map_or(Place::NONE, |slot| Place::of(slot, self.staging.keys()))
            }
        };
        let place = if self.shape.is_placed { place } else { Place::NONE };
        let (seq, limit) = (posted.seq, posted.limit as u64);
        Some(GrantRecord { conn: self.shape.conn, seq, limit, place })
    }

    /// The oldest receive that is to give a grant, if there is room for its message.
    fn next_grant(&self) -> Option<usize> {
        let due = self.posted.iter().position(|posted| posted.grant == Permission::Due)?;
        let is_staged = |posted: &&Posted| matches!(posted.grant, Permission::Staged(_));
        let has_room = self.posted[due].place.is_some()
            || self.posted.iter().filter(is_staged).count() < STAGING_SLOTS;
        has_room.then_some(due)
    }

    /// Whether the sender must hear of emptied slots, whatever else there is to say.
    fn owes_offer(&self) -> bool {
        self.emptied.wrapping_sub(self.offered) >= self.shape.standing_slots / 2
    }

    /// Whether there may be anything to tell the sender: a refusal, a grant, an offer.
    pub fn has_word(&self) -> bool {
        let offers = self.offered != self.emptied && !self.shape.is_placed || self.owes_offer();
        let is_due = |posted: &Posted| posted.grant == Permission::Due;
        self.refusal_due || offers || self.posted.iter().any(is_due)
    }

    /// The standing offer that the sender has not been told of. Taken: the caller tells it.
    ///
    /// On a socket an offer costs nothing beside what is written anyway. Where heads are placed each costs a write, a
    /// call to the device and a completion of its own, so there it travels when it must.
    pub fn take_standing(&mut self) -> Option<Standing> {
        if self.offered == self.emptied || self.shape.is_placed && !self.owes_offer() {
            return None;
        }
        self.offered = self.emptied;
        let serial = self.offered.wrapping_add(self.shape.standing_slots);
        Some(Standing { conn: self.shape.conn, serial })
    }

    /// Where the standing slots are, if the sender has not been told. Taken: the caller tells it.
    pub fn take_home(&mut self) -> Option<Home> {
        std::mem::take(&mut self.home_due)
            .then(|| Home { conn: self.shape.conn, place: self.standing.place() })
    }

    /// The refusal that the sender has not been told of. Taken: the caller tells it.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refused.filter(|_| std::mem::take(&mut self.refusal_due))
    }
}
