//! Owns the sending end of a connection that this rank carries for another rank of its node: pieces that
//! wait in their slots of the relay box, and the way back for what the receiver says.
//!
//! It permits nothing itself. The source put only what its receiver had permitted, so all that is here may
//! go at once, in the order in which it came.
//!
//! Where the sender places payloads, their places stay here: the source is told of numbers and limits alone. A place
//! is kept in the cell of its message's number, which no other grant takes before that message has landed.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::Payload;
use super::frame::{
    GrantRecord, Home, MOST_GRANTS, Member, MemberKind, Refusal, Standing, Violation,
};
use super::holding::Hint;
use super::medium::Place;
use super::receiving::Shape;
use super::sending::{Piece, Written, cell, eager_place};
use crate::Region;
use crate::relay::{Back, Note};

pub(super) struct CarriedEnd {
    /// As it is on the wire.
    shape: Shape,
    dst: u32,
    channel: u32,
    back: Arc<Back>,
    /// The local key of the box.
    key: u32,
    /// Where the receiver's standing slots begin, once that is known, and how many eager messages went there.
    home: Option<Place>,
    eager_put: u32,
    /// Where the messages go that are permitted, by number; a cell keeps what the latest grant in it said.
    places: [Option<(u32, Place)>; MOST_GRANTS],
    /// The latest offer, if there was one.
    offered: Option<u32>,
    /// Grants and offers that came once more, after later ones.
    repeats: u64,
    ready: VecDeque<Ready>,
    /// Slots whose pieces are in a batch under way, oldest first.
    writing: VecDeque<u32>,
    /// The wire is gone.
    ended: bool,
}

#[derive(Clone, Copy)]
struct Ready {
    slot: u32,
    member: Member,
    payload: Region,
    hint: Hint,
}

impl CarriedEnd {
    pub fn new(shape: Shape, (dst, channel): (u32, u32), back: &Arc<Back>, key: u32) -> Self {
        Self {
            shape,
            dst,
            channel,
            back: Arc::clone(back),
            key,
            home: (!shape.is_placed).then_some(Place::NONE),
            eager_put: 0,
            places: [None; MOST_GRANTS],
            offered: None,
            repeats: 0,
            ready: VecDeque::new(),
            writing: VecDeque::new(),
            ended: false,
        }
    }

    /// As if `passed` messages of every kind had passed.
    pub fn number_from(&mut self, passed: u32) {
        self.eager_put = passed;
    }

    /// Takes in the piece in `slot`. What no wire carries any more, or nobody can make sense of, is dropped:
    /// its receiver would refuse it.
    pub fn push(&mut self, slot: u32, note: &Note) {
        let member = Member::decode(&note.member).ok().filter(|_| !self.ended);
        let piece = member.and_then(|m| Some((m, self.back.piece(slot, m.len as usize)?)));
        let Some((member, payload)) = piece else {
            self.back.free(slot);
            return;
        };
        let member = Member { conn: self.shape.conn, ..member };
        self.ready.push_back(Ready { slot, member, payload, hint: Hint::decode(note.hint) });
    }

    pub fn ready(&self) -> bool {
        self.ready.front().is_some_and(|ready| self.place(&ready.member).is_some())
    }

    /// Where a piece goes, as far as that is known.
    fn place(&self, member: &Member) -> Option<Place> {
        if !self.shape.is_placed {
            return Some(Place::NONE);
        }
        match member.kind {
            MemberKind::Notice => Some(Place::NONE),
            MemberKind::Eager => Some(eager_place(&self.shape, self.home?, self.eager_put)),
            MemberKind::Piece { .. } => {
                let (seq, place) = self.places[cell(member.seq)]?;
                (seq == member.seq).then(|| place.behind(member.offset))
            }
        }
    }

    /// How many pieces wait.
    pub fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// What the source said with its oldest piece.
    pub fn hint(&self) -> Hint {
        self.ready.front().map_or(Hint::NOTHING, |ready| ready.hint)
    }

    pub fn next_len(&self) -> usize {
        self.ready.front().map_or(0, |ready| ready.payload.len())
    }

    pub fn is_notice(&self) -> bool {
        self.ready.front().is_some_and(|ready| ready.member.kind == MemberKind::Notice)
    }

    pub fn next_tag(&self) -> u32 {
        self.ready.front().map_or(0, |ready| ready.member.tag)
    }

    pub fn next_piece(&mut self) -> Option<Piece> {
        let to = self.place(&self.ready.front()?.member)?;
        let Ready { slot, member, payload: bytes, .. } = self.ready.pop_front()?;
        self.eager_put = self.eager_put.wrapping_add(u32::from(member.kind == MemberKind::Eager));
        self.writing.push_back(slot);
        let payload = Payload { bytes, key: self.key, to };
        Some(Piece { member, payload, written: Written::carried(self.shape.conn, &member) })
    }

    /// The oldest piece has left: its slot is free.
    pub fn written(&mut self) {
        let slot = self.writing.pop_front();
        debug_assert!(slot.is_some(), "more pieces were written than were taken");
        slot.into_iter().for_each(|slot| self.back.free(slot));
    }

    pub fn has_queued(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Pieces that wait, or are being written.
    pub fn held(&self) -> usize {
        self.ready.len() + self.writing.len()
    }

    pub fn granted(&mut self, grant: GrantRecord) {
        let place = &mut self.places[cell(grant.seq)];
        if place.is_some_and(|(latest, _)| is_older(grant.seq, latest)) {
            self.repeats += 1;
            return;
        }
        *place = Some((grant.seq, grant.place));
        self.back.grant(self.dst, self.channel, grant.seq, grant.limit);
    }

    pub fn offered(&mut self, standing: Standing) {
        if self.offered.is_some_and(|latest| is_older(standing.serial, latest)) {
            self.repeats += 1;
            return;
        }
        self.offered = Some(standing.serial);
        self.back.offer(self.dst, self.channel, standing.serial);
    }

    /// Learns where the receiver's standing slots are.
    pub fn settle(&mut self, home: Home) -> Result<(), Violation> {
        if !self.shape.is_placed {
            return Err(Violation::Home { conn: self.shape.conn });
        }
        self.home = Some(home.place);
        Ok(())
    }

    /// What came once more, and was dropped.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    #[cold]
    pub fn fail(&self, refusal: Refusal) {
        let Refusal { seq, len, limit, .. } = refusal;
        self.back.refuse(self.dst, self.channel, (seq, len, limit));
    }

    /// The wire is gone: the slots are free, and the source hears of it.
    #[cold]
    pub fn abandon(&mut self) {
        let ready = self.ready.drain(..).map(|ready| ready.slot);
        self.writing.drain(..).chain(ready).for_each(|slot| self.back.free(slot));
        if !std::mem::replace(&mut self.ended, true) {
            self.back.end(self.dst, self.channel);
        }
    }
}

/// Whether a number came before another, of numbers that wrap.
const fn is_older(number: u32, other: u32) -> bool {
    other.wrapping_sub(number).wrapping_sub(1) < u32::MAX / 2
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::relay::{FeedEnd, RelayEnd};
    use crate::{BoxShape, Doorbell, RelayPeer};

    const SHAPE: Shape = Shape {
        conn: 0,
        standing_bytes: 64,
        standing_slots: 4,
        slots: 2,
        slot_bytes: 1024,
        is_placed: true,
    };

    fn piece(seq: u32) -> Member {
        Member { seq, kind: MemberKind::Piece { last: true }, ..Member::NONE }
    }

    /// The source reads the latest word of its cells, so an older one must not take its place there either.
    #[test]
    fn an_older_grant_or_offer_that_comes_once_more_takes_no_later_ones_place() {
        let bells = [(); 2].map(|()| Arc::new(Doorbell::new().unwrap()));
        let shape = BoxShape { ranks: 2, channels: 1 };
        let (of_source, of_relay) = RelayPeer::pair((0, &bells[0]), (1, &bells[1]), shape).unwrap();
        let source = FeedEnd::new(of_source.theirs, Arc::clone(&bells[1]));
        let relay = RelayEnd::new(of_relay.own, Arc::clone(&bells[0]));
        let mut end = CarriedEnd::new(SHAPE, (1, 0), relay.back(), 0);
        assert_eq!(end.place(&piece(0)), None, "nothing was granted");
        let at = |address| Place { address, key: 7 };
        let grant = |seq, address| GrantRecord { conn: 0, seq, limit: 100, place: at(address) };
        for first in [0, u32::MAX] {
            let next = first.wrapping_add(MOST_GRANTS as u32);
            end = CarriedEnd::new(SHAPE, (1, 0), relay.back(), 0);
            [first, first, next]
                .into_iter()
                .for_each(|seq| end.granted(grant(seq, u64::from(seq) + 1)));
            let told = source.told(1, 0).grants;
            end.granted(grant(first, 99));
            assert_eq!(end.place(&piece(next)), Some(at(u64::from(next) + 1)));
            assert_eq!(source.told(1, 0).grants, told);
            [first, next, first]
                .into_iter()
                .for_each(|serial| end.offered(Standing { conn: 0, serial }));
            assert_eq!(source.told(1, 0).standing, Some(next));
            assert_eq!(end.repeats(), 2);
        }
    }
}
