//! Owns the sending end of a connection: messages on their way out, and the permissions for them.
//!
//! Messages leave strictly in order. A short one was written to a standing slot of this end, and
//! may go as soon as it is the oldest. A longer one goes from the caller's memory once its grant is
//! here. When the grant is late and the rank has nothing else to do, the message is copied aside
//! ([`set_aside`](SendingEnd::set_aside)): so a sender gets its memory back for up to `slots`
//! messages whether the receiver has come or not, which plans are verified to rely on, and a
//! receiver that is in time costs no copy.
//!
//! A medium that places payloads itself reads them from memory that it knows, and at any time until it says that it
//! is done. So what lies elsewhere is copied aside at once, and a slot is used again only after that word. What may be
//! lent is not waited for: the next message follows before the network has acknowledged the one before.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::batch::Payload;
use super::frame::{
    GrantRecord, Home, MOST_GRANTS, Member, MemberKind, PIECE_BYTES, Refusal, Standing, Violation,
};
use super::medium::{Keys, Place};
use super::memory::{Arena, Source as Memories, slot_offset};
use super::receiving::Shape;
use crate::seam::SendSpace;
use crate::{Region, TransportError};

/// The sending end of one connection.
pub(super) struct SendingEnd {
    shape: Shape,
    /// This end's side of the standing slots: a slot is free again when its twin was emptied.
    standing: Arena,
    aside: Arena,
    /// Messages that have not left entirely, oldest first; only the youngest can be the caller's.
    queue: VecDeque<Outgoing>,
    /// The number of the oldest message in the queue, or of the next one.
    head_seq: u32,
    /// Bytes of the oldest message that are in groups already.
    head_put: usize,
    /// The message for which room was given.
    begun: Option<Begun>,
    /// Eager messages made, those put into a group, and those emptied at the receiver.
    eager_made: u32,
    eager_put: u32,
    eager_emptied: u32,
    /// Eager messages whose slots here are not read any more.
    eager_written: u32,
    /// Where the receiver's standing slots begin, once that is known.
    home: Option<Place>,
    /// Longer messages that have not left, and those ever copied aside.
    long: u32,
    set_aside: u32,
    /// Permissions for the oldest message and those behind it, by number (rule F2).
    grants: [Option<GrantRecord>; MOST_GRANTS],
    notice: Notice,
    /// Pieces of the caller's memory that a group not yet written refers to.
    lent_pieces: u32,
    /// Those of memory that was lent, which nobody waits for before the next message.
    loaned_pieces: u32,
    refused: Option<Refusal>,
    /// Offers that came once more, after later ones.
    repeats: u64,
}

/// What is known of a message before it is handed over.
#[derive(Clone, Copy)]
struct Begun {
    len: usize,
    tag: u32,
    /// What is lent, and its local key.
    loan: Option<(Region, u32)>,
}

#[derive(Clone, Copy)]
struct Outgoing {
    bytes: Region,
    /// The local key of their memory.
    key: u32,
    source: Source,
    /// The tag of the call in which the message was begun.
    tag: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A standing slot.
    Standing,
    /// The caller's memory.
    Caller,
    /// The caller's memory, which was lent.
    Loan,
    /// Copied aside.
    Aside,
}

/// Whether the receiver has been told that a message waits for its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    Unneeded,
    /// The message has been late since then.
    Late(Instant),
    Due,
    Told,
}

/// How long a message is late before its receiver hears of it. A receive in want of a grant sends one, so
/// this only tells one whose receive is too short for any grant; and each is a wire message of its own. On a
/// slow network grants of messages that nothing is wrong with take tens of milliseconds.
///
/// Measured with `crosstie lab -- bench all_to_all --pxn on`, 2 nodes of 4 ranks: at 1 MiB to each peer, told
/// after 10 ms, 477 wire messages per call, and 256 with this delay, which are as many as there are pieces.
const NOTICE_AFTER: Duration = Duration::from_millis(500);

/// A member ready to go into a group.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub member: Member,
    pub payload: Payload,
    pub written: Written,
}

/// What must be told to a sending end when a piece has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub conn: u32,
    /// The piece lay in the caller's memory.
    lent: bool,
    /// It lay in memory that was lent.
    loaned: bool,
    /// The piece ended a message that needed a grant.
    long_done: bool,
    /// The piece lay in a standing slot.
    eager: bool,
    /// The piece ended a message.
    pub message_done: bool,
    /// The message is another rank's.
    pub carried: bool,
    /// The tag of its call.
    pub tag: u32,
}

impl Outgoing {
    fn is_callers(&self) -> bool {
        matches!(self.source, Source::Caller | Source::Loan)
    }
}

impl Written {
    /// Of a piece of another rank's message.
    pub fn carried(conn: u32, member: &Member) -> Self {
        let message_done =
            matches!(member.kind, MemberKind::Eager | MemberKind::Piece { last: true });
        let (lent, loaned, long_done, eager) = (false, false, false, false);
        let tag = member.tag;
        Self { conn, lent, loaned, long_done, eager, message_done, carried: true, tag }
    }
}

/// Where the `put`th eager message of a connection goes.
pub(super) const fn eager_place(shape: &Shape, home: Place, put: u32) -> Place {
    let slot = slot_offset(put, shape.standing_slots as usize, shape.standing_bytes);
    home.behind(slot as u64)
}

/// Where the grant for message `seq` is kept.
pub(super) const fn cell(seq: u32) -> usize {
    seq as usize % MOST_GRANTS
}

impl SendingEnd {
    pub fn new(shape: Shape, memory: Memories<'_>) -> Result<Self, TransportError> {
        let messages = shape.standing_slots as usize + shape.slots as usize;
        Ok(Self {
            shape,
            standing: Arena::new(shape.standing_slots as usize, shape.standing_bytes, memory)?,
            aside: Arena::new(shape.slots as usize, shape.slot_bytes, memory)?,
            queue: VecDeque::with_capacity(messages),
            head_seq: 0,
            head_put: 0,
            begun: None,
            eager_made: 0,
            eager_put: 0,
            eager_emptied: 0,
            eager_written: 0,
            home: (!shape.is_placed).then_some(Place::NONE),
            long: 0,
            set_aside: 0,
            grants: [None; MOST_GRANTS],
            notice: Notice::Unneeded,
            lent_pieces: 0,
            loaned_pieces: 0,
            refused: None,
            repeats: 0,
        })
    }

    /// What such an end asks its memory for.
    pub const fn memory_of(shape: Shape) -> usize {
        Arena::bytes(shape.standing_slots as usize, shape.standing_bytes)
            + Arena::bytes(shape.slots as usize, shape.slot_bytes)
    }

    /// As if `passed` messages of every kind had passed.
    pub fn number_from(&mut self, passed: u32) {
        (self.head_seq, self.set_aside) = (passed, passed);
        (self.eager_made, self.eager_put) = (passed, passed);
        (self.eager_emptied, self.eager_written) = (passed, passed);
    }

    /// Room for a message of `len` bytes of the call `tag`, or the refusal that ended this connection.
    pub fn begin(&mut self, len: usize, tag: u32) -> Result<Option<SendSpace>, Refusal> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        if self.caller_waits() {
            return Ok(None);
        }
        let space = if len > self.shape.standing_bytes {
            (self.long < self.shape.slots).then_some(SendSpace::Direct)
        } else if self.has_standing_slot() {
            self.standing.slot(self.eager_made, len).map(SendSpace::Slot)
        } else {
            None
        };
        self.begun = space.is_some().then_some(Begun { len, tag, loan: None });
        Ok(space)
    }

    /// Lends the message for which `begin` gave [`SendSpace::Direct`]: `value`, which lies in memory with that key.
    pub fn lend(&mut self, value: Region, key: u32) {
        if let Some(begun) = &mut self.begun {
            begun.loan = Some((value, key));
        }
    }

    /// Whether the next slot is empty at the receiver, and not read here any more.
    fn has_standing_slot(&self) -> bool {
        let free = |done: u32| self.eager_made.wrapping_sub(done) < self.shape.standing_slots;
        free(self.eager_emptied) && free(self.eager_written)
    }

    /// Queues the message that was written to the slot given by `begin`, or lent.
    pub fn commit(&mut self) {
        let begun = self.begun.take();
        debug_assert!(begun.is_some(), "a message was committed for which no room was given");
        let Some(Begun { len, tag, loan }) = begun else { return };
        if let Some((bytes, key)) = loan {
            self.long += 1;
            self.queue.push_back(Outgoing { bytes, key, source: Source::Loan, tag });
            return;
        }
        if let Some(bytes) = self.standing.slot(self.eager_made, len) {
            let key = self.standing.keys().local;
            self.eager_made = self.eager_made.wrapping_add(1);
            self.queue.push_back(Outgoing { bytes, key, source: Source::Standing, tag });
        }
    }

    /// Queues a message that stays in the caller's memory until it is written or set aside, which it is at once
    /// where the medium has no keys for that memory.
    pub fn send_from(&mut self, bytes: Region, keys: Option<Keys>) {
        let begun = self.begun.take();
        let announced = begun.map(|begun| begun.len);
        debug_assert_eq!(announced, Some(bytes.len()), "a message of another length was announced");
        let Some(Begun { tag, .. }) = begun else { return };
        self.long += 1;
        let key = keys.map_or(0, |keys| keys.local);
        self.queue.push_back(Outgoing { bytes, key, source: Source::Caller, tag });
        if keys.is_none() {
            // Slots aside are taken in the order of messages: those lent before this one need theirs first.
            while self.copy_aside() {}
        }
    }

    /// Whether the caller's memory is still needed.
    pub fn caller_waits(&self) -> bool {
        self.lent_pieces > 0
            || self.queue.back().is_some_and(|message| message.source == Source::Caller)
    }

    /// Whether memory that was lent is still needed.
    pub fn borrows(&self) -> bool {
        self.loaned_pieces > 0 || self.queue.iter().any(|message| message.source == Source::Loan)
    }

    /// Whether a message has not left entirely.
    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether a message that needs a grant has not left entirely.
    pub fn has_long(&self) -> bool {
        self.long > 0
    }

    /// Whether the next message can go into a group, or the receiver must hear of it.
    pub fn ready(&self) -> bool {
        self.queue.front().is_some_and(|head| match head.source {
            Source::Standing => self.home.is_some(),
            _ => self.grant().is_some() || self.notice == Notice::Due,
        })
    }

    /// Whether a message waits for a grant, and something can be done about that:
    /// [`set_aside`](Self::set_aside).
    pub fn is_late(&self) -> bool {
        let ungranted = |head: &Outgoing| head.source != Source::Standing && self.grant().is_none();
        self.queue.front().is_some_and(ungranted)
            && (self.notice == Notice::Unneeded || self.queue.iter().any(Outgoing::is_callers))
    }

    /// Whether the receiver is to be told now that a message waits.
    pub fn remind(&mut self, now: Instant) -> bool {
        let due = matches!(self.notice, Notice::Late(since) if now - since >= NOTICE_AFTER);
        if due {
            self.notice = Notice::Due;
        }
        due
    }

    /// Copies the oldest message of the caller's memory aside, and counts from `now` on how long the oldest of all is
    /// late.
    pub fn set_aside(&mut self, now: Instant) {
        if self.notice == Notice::Unneeded {
            self.notice = Notice::Late(now);
        }
        self.copy_aside();
    }

    /// Copies the oldest message of the caller's memory aside of which nothing is under way; whether there was one.
    fn copy_aside(&mut self) -> bool {
        let begun = usize::from(self.head_put > 0);
        let Some(oldest) = self.queue.iter_mut().skip(begun).find(|message| message.is_callers())
        else {
            return false;
        };
        // Fewer than `slots` longer messages are older than this one, and younger ones have no slot yet, so its slot
        // is free.
        let Some(slot) = self.aside.slot(self.set_aside, oldest.bytes.len()) else { return false };
        let is_copied = slot.copy_from(oldest.bytes);
        if is_copied {
            self.set_aside = self.set_aside.wrapping_add(1);
            let key = self.aside.keys().local;
            *oldest = Outgoing { bytes: slot, key, source: Source::Aside, ..*oldest };
        }
        is_copied
    }

    /// Bytes of the next piece, if one may go.
    pub fn next_len(&self) -> usize {
        match self.queue.front() {
            Some(head) if self.ready() => (head.bytes.len() - self.head_put).min(PIECE_BYTES),
            _ => 0,
        }
    }

    /// Whether the next piece only tells of a message.
    pub fn is_notice(&self) -> bool {
        let head = self.queue.front();
        head.is_some_and(|head| head.source != Source::Standing && self.grant().is_none())
    }

    /// The tag of the oldest message's call.
    pub fn next_tag(&self) -> u32 {
        self.queue.front().map_or(0, |head| head.tag)
    }

    /// The next piece that may go, taken out of the queue.
    pub fn next_piece(&mut self) -> Option<Piece> {
        let head = *self.queue.front()?;
        if head.source == Source::Standing {
            let to = eager_place(&self.shape, self.home?, self.eager_put);
            self.eager_put = self.eager_put.wrapping_add(1);
            let payload = Payload { bytes: head.bytes, key: head.key, to };
            return Some(self.take(head, payload, MemberKind::Eager));
        }
        let Some(grant) = self.grant() else {
            if self.notice != Notice::Due {
                return None;
            }
            self.notice = Notice::Told;
            return Some(self.notice_piece(head));
        };
        if head.bytes.len() as u64 > grant.limit {
            return Some(self.refuse_own(head, grant));
        }
        let rest = head.bytes.len() - self.head_put;
        let len = rest.min(PIECE_BYTES);
        let bytes = head.bytes.part(self.head_put, len)?;
        let to = grant.place.behind(self.head_put as u64);
        let payload = Payload { bytes, key: head.key, to };
        Some(self.take(head, payload, MemberKind::Piece { last: len == rest }))
    }

    fn take(&mut self, head: Outgoing, payload: Payload, kind: MemberKind) -> Piece {
        let len = payload.bytes.len();
        let member = Member {
            conn: self.shape.conn,
            seq: self.head_seq,
            offset: self.head_put as u64,
            len: len as u32,
            kind,
            tag: head.tag,
        };
        let long = head.source != Source::Standing;
        debug_assert!(!long || self.is_granted(), "I3: a message leaves without a grant for it");
        debug_assert!(long || self.has_credits(), "I5: an eager message leaves without a slot");
        let (lent, loaned) = (head.source == Source::Caller, head.source == Source::Loan);
        self.lent_pieces += u32::from(lent);
        self.loaned_pieces += u32::from(loaned);
        self.head_put += len;
        let message_done = kind != MemberKind::Piece { last: false };
        if message_done {
            self.queue.pop_front();
            self.grants[cell(self.head_seq)] = None;
            self.head_seq = self.head_seq.wrapping_add(1);
            self.head_put = 0;
            self.notice = Notice::Unneeded;
        }
        let (conn, long_done) = (self.shape.conn, long && message_done);
        let (eager, tag) = (!long, head.tag);
        let carried = false;
        let written = Written { conn, lent, loaned, long_done, eager, message_done, carried, tag };
        Piece { member, payload, written }
    }

    /// Whether the oldest message has the grant that names it, with room for it.
    fn is_granted(&self) -> bool {
        let len = self.queue.front().map_or(0, |head| head.bytes.len() as u64);
        self.grant().is_some_and(|grant| len <= grant.limit)
    }

    /// Whether the receiver has a standing slot for all eager messages that were put.
    fn has_credits(&self) -> bool {
        self.eager_put.wrapping_sub(self.eager_emptied) <= self.shape.standing_slots
    }

    fn notice_piece(&self, head: Outgoing) -> Piece {
        let member = Member {
            conn: self.shape.conn,
            seq: self.head_seq,
            offset: head.bytes.len() as u64,
            len: 0,
            kind: MemberKind::Notice,
            tag: head.tag,
        };
        let conn = self.shape.conn;
        let written = Written { message_done: false, ..Written::carried(conn, &member) };
        let written = Written { carried: false, ..written };
        Piece { member, payload: Payload::none(), written }
    }

    /// The message at hand exceeds its grant: this end fails, and the receiver learns why.
    #[cold]
    fn refuse_own(&mut self, head: Outgoing, grant: GrantRecord) -> Piece {
        let len = head.bytes.len() as u64;
        let piece = self.notice_piece(head);
        let (conn, seq) = (self.shape.conn, self.head_seq);
        self.fail(Refusal { conn, seq, len, limit: grant.limit });
        piece
    }

    /// Records that a group with a piece of this end has left, and its memory is not read any more.
    pub fn written(&mut self, piece: Written) {
        self.eager_written = self.eager_written.wrapping_add(u32::from(piece.eager));
        self.lent_pieces = self.lent_pieces.saturating_sub(u32::from(piece.lent));
        self.loaned_pieces = self.loaned_pieces.saturating_sub(u32::from(piece.loaned));
        self.long = self.long.saturating_sub(u32::from(piece.long_done));
    }

    /// The permission for the oldest message, or for the next one.
    fn grant(&self) -> Option<GrantRecord> {
        self.grants[cell(self.head_seq)].filter(|grant| grant.seq == self.head_seq)
    }

    /// Stores the receiver's permission for one message; whether it concerns the oldest one.
    pub fn granted(&mut self, grant: GrantRecord) -> Result<bool, Violation> {
        let (conn, seq, next) = (self.shape.conn, grant.seq, self.head_seq);
        let ahead = seq.wrapping_sub(next);
        // A grant for a message that has gone eagerly is spent (its receive has it, or will).
        if ahead > u32::MAX / 2 {
            return Ok(false);
        }
        if ahead as usize >= MOST_GRANTS {
            return Err(Violation::GrantAhead { conn, seq, next });
        }
        if self.refused.is_none() && (ahead > 0 || self.head_put == 0) {
            self.grants[cell(seq)] = Some(grant);
        }
        Ok(ahead == 0)
    }

    /// Learns where the receiver's standing slots are.
    pub fn settle(&mut self, home: Home) -> Result<(), Violation> {
        if !self.shape.is_placed {
            return Err(Violation::Home { conn: self.shape.conn });
        }
        self.home = Some(home.place);
        Ok(())
    }

    /// Takes back the slots that the receiver has emptied.
    pub fn offered(&mut self, standing: Standing) -> Result<(), Violation> {
        let emptied = standing.serial.wrapping_sub(self.shape.standing_slots);
        let newly = emptied.wrapping_sub(self.eager_emptied);
        if newly > u32::MAX / 2 {
            // An older offer once more.
            self.repeats += 1;
            return Ok(());
        }
        if newly > self.eager_put.wrapping_sub(self.eager_emptied) {
            return Err(Violation::Serial { conn: self.shape.conn, serial: standing.serial });
        }
        self.eager_emptied = emptied;
        Ok(())
    }

    /// Offers that came once more, and were dropped.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Ends the connection: the receiver had no room for a message.
    #[cold]
    pub fn fail(&mut self, refusal: Refusal) {
        self.refused.get_or_insert(refusal);
        self.queue.clear();
        self.grants = [None; MOST_GRANTS];
        self.head_put = 0;
    }

    /// Messages that have not left, and pieces of the caller's memory that are being written.
    pub fn held(&self) -> usize {
        self.queue.len() + (self.lent_pieces + self.loaned_pieces) as usize
    }

    /// Forgets every message: the wire is gone, and nothing refers to memory any more.
    #[cold]
    pub fn abandon(&mut self) {
        self.queue.clear();
        (self.lent_pieces, self.loaned_pieces) = (0, 0);
        self.begun = None;
    }
}
