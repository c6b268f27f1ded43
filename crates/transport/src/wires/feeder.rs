//! Owns what this rank sends by way of a relay: the sending ends of those connections, and the relay's box
//! that their pieces go into.
//!
//! A message keeps the rules of a wire's own: it leaves when its receiver permitted it. First the
//! permission, then the slot, then it is filled, with no wait in between (rule F3); of one wire a box holds
//! but a share of its slots (rule F4).

use std::time::Instant;

use super::frame::{GrantRecord, MOST_GRANTS, Refusal, Standing, Violation};
use super::held::Held;
use super::holding::Hint;
use super::medium::Place;
use super::memory::Memory;
use super::receiving::Shape;
use super::sending::{Piece, SendingEnd};
use crate::TransportError;
use crate::relay::words::SLOTS;
use crate::relay::{Back, FeedEnd, Note, Told};
use crate::seam::{Counters, Expect};

/// Everything that goes through one relay.
pub(super) struct Feeder {
    end: FeedEnd,
    pub lanes: Vec<Lane>,
    /// The lane whose piece is in each slot.
    lane_of: [u32; SLOTS],
    quota: u32,
}

/// The connections to one rank through a relay.
pub(super) struct Lane {
    pub peer: u32,
    pub sending: Vec<SendingEnd>,
    /// The grants of each connection that were heard.
    heard: Vec<[u64; MOST_GRANTS]>,
    /// Ranks that share the wire.
    sources: u16,
    /// Slots of the box with its pieces.
    in_box: u32,
    /// Something may be put that has not been attempted.
    pub dirty: bool,
    ended: bool,
    broken: Option<Violation>,
}

impl Feeder {
    /// To the receivers `(rank, ranks that share its wire)`.
    ///
    /// What they send is copied to the box: no medium need reach its memory, nor place it.
    pub fn new(
        end: FeedEnd,
        peers: &[(u32, u16)],
        shapes: &[Shape],
    ) -> Result<Self, TransportError> {
        let sending = || {
            let new = |&shape: &Shape| {
                let shape = Shape { is_placed: false, ..shape };
                SendingEnd::new(shape, &mut |bytes| Ok(Memory::own(bytes)))
            };
            shapes.iter().map(new).collect::<Result<Vec<_>, _>>()
        };
        let lane = |&(peer, sources): &(u32, u16)| -> Result<Lane, TransportError> {
            Ok(Lane {
                peer,
                sending: sending()?,
                heard: vec![[0; MOST_GRANTS]; shapes.len()],
                sources,
                in_box: 0,
                dirty: false,
                ended: false,
                broken: None,
            })
        };
        let quota = Back::quota(peers.len());
        let lanes = peers.iter().map(lane).collect::<Result<_, _>>()?;
        Ok(Self { end, lanes, lane_of: [0; SLOTS], quota })
    }

    /// As if `passed` messages of every kind had passed.
    pub fn number_from(&mut self, passed: u32) {
        let ends = self.lanes.iter_mut().flat_map(|lane| &mut lane.sending);
        ends.for_each(|end| end.number_from(passed));
    }

    /// Hears what has come back, and puts what may go; whether anything happened.
    pub fn progress(&mut self, expect: Expect, counters: &mut Counters) -> bool {
        let mut moved = self.take_back();
        if self.end.has_news() {
            moved = true;
            self.lanes.iter_mut().for_each(|lane| lane.hear(&self.end));
        }
        for index in 0..self.lanes.len() {
            if self.lanes[index].dirty {
                moved |= self.feed(index, expect, counters);
            }
        }
        self.end.ring();
        debug_assert!(self.counts_every_slot(), "I2: a slot is neither free nor of any lane");
        moved
    }

    /// Whether each slot is either here or a lane's, and no lane has more than its share.
    fn counts_every_slot(&self) -> bool {
        let in_box = self.lanes.iter().map(|lane| lane.in_box).sum::<u32>();
        in_box as usize == self.end.away()
            && self.lanes.iter().all(|lane| lane.in_box <= self.quota)
    }

    fn take_back(&mut self) -> bool {
        let mut back = self.end.take_back();
        let some = back != 0;
        while back != 0 {
            let lane = self.lane_of[back.trailing_zeros() as usize] as usize;
            self.lanes[lane].in_box -= 1;
            back &= back - 1;
        }
        some
    }

    /// Puts pieces of one lane, its connections in turn.
    fn feed(&mut self, index: usize, expect: Expect, counters: &mut Counters) -> bool {
        let mut moved = false;
        loop {
            let mut fed = false;
            for conn in 0..self.lanes[index].sending.len() {
                let lane = &mut self.lanes[index];
                if !lane.sending[conn].ready() {
                    continue;
                }
                let slot = self.end.free_slot().filter(|_| lane.in_box < self.quota);
                let Some(slot) = slot else {
                    self.end.wait();
                    return moved;
                };
                let Some(piece) = lane.sending[conn].next_piece() else { continue };
                lane.in_box += 1;
                self.lane_of[slot as usize] = index as u32;
                let hint = Hint { expect, messages: lane.sources };
                put(&mut self.end, slot, piece, (lane.peer, conn as u32), hint);
                lane.sending[conn].written(piece.written);
                counters.bytes += piece.payload.bytes.len() as u64;
                counters.messages += u64::from(piece.written.message_done);
                fed = true;
            }
            if !fed {
                self.lanes[index].dirty = false;
                return moved;
            }
            moved = true;
        }
    }

    /// Has the relay ring when slots or credits come back.
    pub fn wait(&self) {
        self.end.wait();
    }

    /// Whether nothing waits here to be put.
    pub fn is_flushed(&self) -> bool {
        let waits = |lane: &Lane| {
            !lane.ended && (lane.dirty || lane.sending.iter().any(SendingEnd::has_queued))
        };
        !self.lanes.iter().any(waits)
    }

    /// Slots of the box that are not back, and messages that have not gone into it.
    pub fn held(&self) -> Held {
        let sending = self.lanes.iter().flat_map(|lane| &lane.sending).map(SendingEnd::held).sum();
        Held { slots: self.end.away(), sending, ..Held::default() }
    }

    /// Whether a message that needs a grant has not left entirely.
    pub fn has_long(&self) -> bool {
        self.lanes.iter().flat_map(|lane| &lane.sending).any(SendingEnd::has_long)
    }

    /// Whether a message waits for its grant, and could be set aside.
    pub fn lacks_grant(&self) -> bool {
        let mut ends = self.lanes.iter().flat_map(|lane| &lane.sending);
        ends.any(SendingEnd::is_notice)
    }

    pub fn is_late(&self) -> bool {
        self.lanes.iter().flat_map(|lane| &lane.sending).any(SendingEnd::is_late)
    }

    /// Copies one late message aside, if there is one.
    pub fn set_aside(&mut self, now: Instant) -> bool {
        let mut ends = self.lanes.iter_mut().flat_map(|lane| &mut lane.sending);
        let late = ends.find(|end| end.is_late());
        late.map(|end| end.set_aside(now)).is_some()
    }

    /// Has receivers told of messages that have waited long; whether there are any.
    pub fn remind(&mut self, now: Instant) -> bool {
        let mut any = false;
        for lane in &mut self.lanes {
            let due = lane.sending.iter_mut().fold(false, |due, end| due | end.remind(now));
            lane.dirty |= due;
            any |= due;
        }
        any
    }

    /// Nothing more will be put.
    pub fn leave(&self) {
        self.end.leave();
    }
}

fn put(end: &mut FeedEnd, slot: u32, piece: Piece, (dst, channel): (u32, u32), hint: Hint) {
    let member = piece.member.encode();
    end.put(slot, piece.payload.bytes, Note { dst, channel, hint: hint.encode(), member });
}

impl Drop for Feeder {
    /// So that the relay need not wait for one who has gone.
    fn drop(&mut self) {
        self.leave();
    }
}

impl Lane {
    /// Takes in what its receiver has said; each word of it may have been heard before.
    fn hear(&mut self, end: &FeedEnd) {
        for channel in 0..self.sending.len() {
            let told = end.told(self.peer, channel as u32);
            if let Err(violation) = self.hear_one(channel, told) {
                self.broken = Some(violation);
                self.give_up();
            }
        }
    }

    fn hear_one(&mut self, channel: usize, told: Told) -> Result<(), Violation> {
        let (conn, sending) = (channel as u32, &mut self.sending[channel]);
        if let Some(serial) = told.standing {
            sending.offered(Standing { conn, serial })?;
        }
        // A grant that was heard long ago would read as one for a message to come.
        let heard = std::mem::replace(&mut self.heard[channel], told.grants);
        for (grant, _) in told.grants.into_iter().zip(heard).filter(|(now, then)| now != then) {
            let (seq, limit) = (grant as u32, grant >> 32);
            self.dirty |= sending.granted(GrantRecord { conn, seq, limit, place: Place::NONE })?;
        }
        if let Some((seq, len, limit)) = told.refused {
            sending.fail(Refusal { conn, seq, len, limit });
        }
        if told.ended {
            self.give_up();
        }
        Ok(())
    }

    #[cold]
    fn give_up(&mut self) {
        self.ended = true;
        self.dirty = false;
        self.sending.iter_mut().for_each(SendingEnd::abandon);
    }

    /// Whether a message can still be handed over.
    pub fn check(&self) -> Result<(), TransportError> {
        if !self.ended {
            return Ok(());
        }
        let peer = self.peer;
        Err(match self.broken {
            Some(violation) => TransportError::PeerMisbehaved { peer, what: violation.to_string() },
            None => {
                TransportError::PeerGone { peer, doing: "sending through a relay", source: None }
            }
        })
    }
}
