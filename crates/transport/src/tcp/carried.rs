//! Owns the sending end of a connection that this rank carries for another rank of its node: pieces that
//! wait in their slots of the relay box, and the way back for what the receiver says.
//!
//! It permits nothing itself. The source put only what its receiver had permitted, so all that is here may
//! go at once, in the order in which it came.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::{GrantRecord, Member, MemberKind, Refusal, Standing};
use super::holding::Hint;
use super::sending::{Piece, Written};
use crate::Region;
use crate::relay::{Back, Note};

pub(super) struct CarriedEnd {
    /// Its number on the wire.
    conn: u32,
    dst: u32,
    channel: u32,
    back: Arc<Back>,
    ready: VecDeque<Ready>,
    /// Slots whose pieces are in the batch under way, oldest first.
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
    pub fn new(conn: u32, dst: u32, channel: u32, back: &Arc<Back>) -> Self {
        Self {
            conn,
            dst,
            channel,
            back: Arc::clone(back),
            ready: VecDeque::new(),
            writing: VecDeque::new(),
            ended: false,
        }
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
        let member = Member { conn: self.conn, ..member };
        self.ready.push_back(Ready { slot, member, payload, hint: Hint::decode(note.hint) });
    }

    pub fn ready(&self) -> bool {
        !self.ready.is_empty()
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
        let Ready { slot, member, payload, .. } = self.ready.pop_front()?;
        self.writing.push_back(slot);
        Some(Piece { member, payload, written: Written::carried(self.conn, &member) })
    }

    /// The socket has taken the oldest piece of the batch: its slot is free.
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

    pub fn granted(&self, grant: GrantRecord) {
        self.back.grant(self.dst, self.channel, grant.seq, grant.limit);
    }

    pub fn offered(&self, standing: Standing) {
        self.back.offer(self.dst, self.channel, standing.serial);
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
