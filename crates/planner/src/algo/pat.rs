//! Owns the PAT algorithms, parallel aggregated trees: all_gather and reduce_scatter with few peers and short
//! chains, for small buffers of many ranks.
//!
//! Each rank's chunk travels over a binomial tree of its own, and all trees have the same shape: the rank o
//! places after the owner on the ring has the chunk from, or hands its sum to, the rank that is nearer by the
//! lowest set bit of o. So a rank talks to those 1, 2, 4, … places away alone, and each distance carries the
//! chunks of half of the ranks that are left. Far distances carry few chunks and near ones many, and with a
//! power of two of ranks on each node the network carries each chunk once for each other node. With n
//! ranks, a chunk being a n-th of the longer buffer:
//!
//! | collective | steps | chunks sent by each rank | peers each way | slots needed | scratch |
//! |---|---|---|---|---|---|
//! | all_gather | ⌊log2 n⌋ | n − 1 | ⌈log2 n⌉ | 1 | |
//! | reduce_scatter | ⌊log2 n⌋ | n − 1 | ⌈log2 n⌉ | 1 | n chunks |
//!
//! A message is one chunk; those of one distance follow each other on its connection. Each distance and
//! direction has a block of its own, so that none holds up another. A partial sum adds what comes from the
//! nearest rank first, then the next: the order, and with it every bit, depends on the ring alone.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crosstie_ir::{After, BlockId, Chunk, ConnId, Instr, PlanBuilder};

use super::Seat;

/// The distances of `ranks`, the farthest first.
fn distances(ranks: u32) -> impl DoubleEndedIterator<Item = u32> {
    let count = ranks.next_power_of_two().trailing_zeros();
    (0..count).rev().map(|bit| 1 << bit)
}

/// The offsets from the owner, in order, from which chunks go on over `distance`.
fn offsets(distance: u32, ranks: u32) -> impl DoubleEndedIterator<Item = u32> {
    (0..(ranks - distance).div_ceil(2 * distance)).map(move |place| place * 2 * distance)
}

/// The blocks of one distance, and their connections.
struct Hop {
    distance: u32,
    send: BlockId,
    recv: BlockId,
    to: ConnId,
    from: ConnId,
}

impl Hop {
    /// `ahead` tells whether chunks go to ranks further on the ring, or back.
    fn new(seat: &Seat<'_>, distance: u32, ahead: bool, builder: &mut PlanBuilder) -> Self {
        let further = seat.nodes.ring_at(seat.position, distance);
        let before = seat.nodes.ring_at(seat.position, seat.ranks() - distance);
        let (to, from) = if ahead { (further, before) } else { (before, further) };
        Self {
            distance,
            send: builder.block(seat.rank),
            recv: builder.block(seat.rank),
            to: builder.connection(seat.rank, to, seat.channel),
            from: builder.connection(from, seat.rank, seat.channel),
        }
    }
}

/// Every rank ends with everyone's input.
pub(crate) fn all_gather(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    // By offset from the owner: the step with which the chunk is here.
    let mut here: BTreeMap<u32, After> = BTreeMap::new();
    for distance in distances(seat.ranks()) {
        let hop = Hop::new(seat, distance, true, builder);
        for offset in offsets(distance, seat.ranks()) {
            let chunk = Chunk::output(seat.chunk(offset));
            let instr = match here.get(&offset) {
                Some(&step) => Instr::send(chunk, hop.to).after(step),
                None => Instr::copy_send(Chunk::input(0), chunk, hop.to),
            };
            let sent = seat.push(builder, hop.send, instr);
            here.entry(offset).or_insert(sent);
        }
        for offset in offsets(distance, seat.ranks()).map(|offset| offset + distance) {
            let instr = Instr::recv(hop.from, Chunk::output(seat.chunk(offset)));
            here.insert(offset, seat.push(builder, hop.recv, instr));
        }
    }
}

/// Rank r ends with the reduction of everyone's chunk r.
pub(crate) fn reduce_scatter(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let mut sums = Sums { seat, made: BTreeMap::new() };
    let hops: Vec<Hop> = distances(seat.ranks())
        .rev()
        .map(|distance| Hop::new(seat, distance, false, builder))
        .collect();
    let mut sent = Vec::new();
    for hop in &hops {
        sent.extend(sums.send(hop, builder));
        sums.receive(hop, builder);
    }
    // The next window begins to write sums with the nearest distance: those of this one must have left.
    if let Some(nearest) = hops.first() {
        for step in sent {
            seat.push(builder, nearest.recv, Instr::wait(step));
        }
    }
}

/// The partial sums of a seat.
struct Sums<'a> {
    seat: &'a Seat<'a>,
    /// By offset from the owner: the step that last added to the sum.
    made: BTreeMap<u32, After>,
}

impl Sums<'_> {
    fn place(&self, offset: u32) -> Chunk {
        match offset {
            0 => Chunk::output(0),
            // The number of its chunk, so that it is as long where chunks differ.
            _ => Chunk::scratch(self.seat.chunk(offset)),
        }
    }

    /// Where the sum lies: until something was added it is the own input.
    fn held(&self, offset: u32) -> Chunk {
        let input = Chunk::input(self.seat.chunk(offset));
        self.made.get(&offset).map_or(input, |_| self.place(offset))
    }

    fn after(&self, offset: u32, instr: Instr) -> Instr {
        self.made.get(&offset).map_or(instr, |&step| instr.after(step))
    }

    /// Hands on the sums that go over this distance; the last step that reads one that was made here. The
    /// farthest from their owners go first: fewer ranks than others have may have added to them.
    fn send(&self, hop: &Hop, builder: &mut PlanBuilder) -> Option<After> {
        let mut last = None;
        for offset in offsets(hop.distance, self.seat.ranks()).rev() {
            let offset = offset + hop.distance;
            let instr = self.after(offset, Instr::send(self.held(offset), hop.to));
            let sent = self.seat.push(builder, hop.send, instr);
            last = if self.made.contains_key(&offset) { Some(sent) } else { last };
        }
        last
    }

    /// Adds what comes from the rank a distance further.
    fn receive(&mut self, hop: &Hop, builder: &mut PlanBuilder) {
        let is_last = 2 * hop.distance >= self.seat.ranks();
        for offset in offsets(hop.distance, self.seat.ranks()).rev() {
            let instr = Instr::recv_reduce_copy(hop.from, self.held(offset), self.place(offset));
            let instr = if is_last && offset == 0 { instr.finishing() } else { instr };
            let instr = self.after(offset, instr);
            self.made.insert(offset, self.seat.push(builder, hop.recv, instr));
        }
    }
}
