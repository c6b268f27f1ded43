//! Owns the PAT algorithms, parallel aggregated trees: all_gather and reduce_scatter with few peers and short
//! chains, for small buffers of many ranks.
//!
//! Each rank's chunk travels over a binomial tree of its own, and all trees have the same shape: the rank o
//! places after the owner has the chunk from, or hands its sum to, the rank that is nearer by the lowest set
//! bit of o. So a rank talks to those 1, 2, 4, … places away alone; far distances carry few chunks and near
//! ones many. Places are counted on the ring. Where nodes have a power of two of ranks each, they are counted
//! on the node first, and around it, so that a distance below that stays on the node and a longer one leads
//! to the same place of another: the network carries each chunk once for each other node, on the owner's
//! rail. With n ranks, a chunk being a n-th of the longer buffer:
//!
//! | collective | steps | chunks sent by each rank | peers each way | slots needed | scratch |
//! |---|---|---|---|---|---|
//! | all_gather | ⌊log2 n⌋ | n − 1 | ⌈log2 n⌉ | 1 | |
//! | reduce_scatter | ⌊log2 n⌋ | n − 1 | ⌈log2 n⌉ | 1 | n chunks |
//!
//! A message is one chunk; those of one distance follow each other on its connection. Each distance and
//! direction has a block of its own, so that none holds up another. A partial sum adds what comes from the
//! nearest rank first, then the next: the order, and with it every bit, depends on the places alone.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crosstie_ir::{After, BlockId, Chunk, ConnId, Instr, PlanBuilder, Rank};

use super::Seat;
use super::hierarchical::Grid;

/// The distances of `ranks`, the farthest first.
fn distances(ranks: u32) -> impl DoubleEndedIterator<Item = u32> {
    let count = ranks.next_power_of_two().trailing_zeros();
    (0..count).rev().map(|bit| 1 << bit)
}

/// The offsets from the owner, in order, from which chunks go on over `distance`.
fn offsets(distance: u32, ranks: u32) -> impl DoubleEndedIterator<Item = u32> {
    (0..(ranks - distance).div_ceil(2 * distance)).map(move |place| place * 2 * distance)
}

/// The places of all ranks, as seen from one.
struct Circle<'a> {
    grid: Grid<'a>,
}

impl<'a> Circle<'a> {
    fn new(seat: &'a Seat<'a>) -> Self {
        let per_node = seat.nodes.per_node().filter(|count| count.is_power_of_two());
        Self { grid: Grid::new(seat, per_node.unwrap_or(seat.ranks())) }
    }

    fn further(&self, places: u32) -> Rank {
        let per_node = self.grid.per_node;
        self.grid.rank(places / per_node, places % per_node)
    }

    fn before(&self, places: u32) -> Rank {
        let Grid { per_node, nodes, .. } = self.grid;
        self.grid.rank(nodes - places / per_node, per_node - places % per_node)
    }

    /// The blocks of a distance. `ahead` tells whether chunks go to ranks further on, or back.
    fn hop(&self, distance: u32, ahead: bool, builder: &mut PlanBuilder) -> Hop {
        let (further, before) = (self.further(distance), self.before(distance));
        let (to, from) = if ahead { (further, before) } else { (before, further) };
        Hop {
            distance,
            send: self.grid.block(builder),
            recv: self.grid.block(builder),
            to: self.grid.to(to, builder),
            from: self.grid.from(from, builder),
        }
    }
}

/// The blocks of one distance, and their connections.
struct Hop {
    distance: u32,
    send: BlockId,
    recv: BlockId,
    to: ConnId,
    from: ConnId,
}

/// Every rank ends with everyone's input.
pub(crate) fn all_gather(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let circle = Circle::new(seat);
    // By offset from the owner: the step with which the chunk is here.
    let mut here: BTreeMap<u32, After> = BTreeMap::new();
    for distance in distances(seat.ranks()) {
        let hop = circle.hop(distance, true, builder);
        for offset in offsets(distance, seat.ranks()) {
            let chunk = Chunk::output(circle.before(offset).0);
            let instr = match here.get(&offset) {
                Some(&step) => Instr::send(chunk, hop.to).after(step),
                None => Instr::copy_send(Chunk::input(0), chunk, hop.to),
            };
            let sent = seat.push(builder, hop.send, instr);
            here.entry(offset).or_insert(sent);
        }
        for offset in offsets(distance, seat.ranks()).map(|offset| offset + distance) {
            let instr = Instr::recv(hop.from, Chunk::output(circle.before(offset).0));
            here.insert(offset, seat.push(builder, hop.recv, instr));
        }
    }
}

/// Rank r ends with the reduction of everyone's chunk r.
pub(crate) fn reduce_scatter(seat: &Seat<'_>, builder: &mut PlanBuilder) {
    if seat.ranks() == 1 {
        return seat.keep(builder);
    }
    let mut sums = Sums { seat, circle: Circle::new(seat), made: BTreeMap::new() };
    let hops: Vec<Hop> = distances(seat.ranks())
        .rev()
        .map(|distance| sums.circle.hop(distance, false, builder))
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
    circle: Circle<'a>,
    /// By offset from the owner: the step that last added to the sum.
    made: BTreeMap<u32, After>,
}

impl Sums<'_> {
    fn place(&self, offset: u32) -> Chunk {
        match offset {
            0 => Chunk::output(0),
            // The number of its chunk, so that it is as long where chunks differ.
            _ => Chunk::scratch(self.circle.before(offset).0),
        }
    }

    /// Where the sum lies: until something was added it is the own input.
    fn held(&self, offset: u32) -> Chunk {
        let input = Chunk::input(self.circle.before(offset).0);
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
