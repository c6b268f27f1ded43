//! Owns the hierarchical all_to_all, for several nodes of equal size: what ranks of a node have for one place
//! of the other nodes goes to the rank of that place on their own node, and from there to its counterparts.
//!
//! With N nodes of m ranks each, n = N m, a chunk being what one rank has for another:
//!
//! | | steps | chunks a rank sends between nodes | within its node | network connections each way | scratch |
//! |---|---|---|---|---|---|
//! | out of place | 2 | (N − 1) m | N (m − 1) | N − 1 | (N − 1)(m − 1) chunks |
//! | in place | 2 | (N − 1) m | N (m − 1) | N − 1 | (N − 1)(m − 1) + n − 1 chunks |
//!
//! With one rank a node it takes 1 step. One slot suffices. All that a rank sends to another node leaves on
//! its own rail, to one receiver, and for each peer, not for each rank of the world, there is a connection.
//! It costs a copy within the node, which the direct exchange is spared. Each peer and direction has a block
//! of its own. In place, each chunk is copied to scratch before it is sent, as in the direct exchange.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crosstie_ir::{After, BlockId, Chunk, Instr, PlanBuilder, Rank};

use super::Seat;
use super::hierarchical::Grid;

/// Emits the blocks of a seat.
pub(crate) fn all_to_all(
    seat: &Seat<'_>,
    per_node: u32,
    in_place: bool,
    builder: &mut PlanBuilder,
) {
    let grid = Grid::new(seat, per_node);
    let mut exchange =
        Exchange { grid, in_place, saved: BTreeMap::new(), relayed: BTreeMap::new() };
    let (neighbours, others) = (exchange.grid.neighbours(), exchange.grid.others());
    neighbours.clone().for_each(|along| exchange.hand_over(along, builder));
    let to_counterparts: Vec<BlockId> =
        others.clone().map(|over| exchange.send_own(over, builder)).collect();
    let keep = exchange.grid.block(builder);
    let own = seat.rank.0;
    exchange.grid.push(builder, keep, Instr::copy(Chunk::input(own), Chunk::output(own)));
    let taken: Vec<BlockId> = neighbours.map(|along| exchange.take(along, builder)).collect();
    for (over, block) in others.zip(to_counterparts) {
        let passed = exchange.pass_on(over, block, builder);
        exchange.receive(over, builder);
        // The next window's chunks are taken to the same places: this one's must have left.
        for (&taken, step) in taken.iter().zip(passed) {
            exchange.grid.push(builder, taken, Instr::wait(step));
        }
    }
}

struct Exchange<'a> {
    grid: Grid<'a>,
    in_place: bool,
    /// By peer: the step that copied the own chunk for it to scratch.
    saved: BTreeMap<Rank, After>,
    /// By distances of node and neighbour: the step with which the neighbour's chunk for the counterpart is
    /// here.
    relayed: BTreeMap<(u32, u32), After>,
}

impl Exchange<'_> {
    /// Where a neighbour's chunk for a counterpart waits.
    fn place(&self, over: u32, along: u32) -> Chunk {
        Chunk::scratch((over - 1) * (self.grid.per_node - 1) + along - 1)
    }

    /// Sends the own chunk for `owner`, by whatever rank is next on its way.
    fn send(&mut self, owner: Rank, next: Rank, block: BlockId, builder: &mut PlanBuilder) {
        let mut chunk = Chunk::input(owner.0);
        if self.in_place {
            let behind = (self.grid.nodes - 1) * (self.grid.per_node - 1);
            let saved = Chunk::scratch(behind + self.saved.len() as u32);
            let step = self.grid.push(builder, block, Instr::copy(chunk, saved));
            self.saved.insert(owner, step);
            chunk = saved;
        }
        let to = self.grid.to(next, builder);
        self.grid.push(builder, block, Instr::send(chunk, to));
    }

    /// Receives the chunk of `owner`, over the connection from `last`.
    fn recv(&self, owner: Rank, last: Rank, block: BlockId, builder: &mut PlanBuilder) {
        let instr = Instr::recv(self.grid.from(last, builder), Chunk::output(owner.0));
        let instr = self.saved.get(&owner).map_or(instr, |&copy| instr.after(copy));
        self.grid.push(builder, block, instr);
    }

    /// Hands a neighbour all own chunks for its place: the other nodes' first, which have further to go.
    fn hand_over(&mut self, along: u32, builder: &mut PlanBuilder) {
        let (block, neighbour) = (self.grid.block(builder), self.grid.rank(0, along));
        for over in self.grid.others().chain([0]) {
            self.send(self.grid.rank(over, along), neighbour, block, builder);
        }
    }

    /// Begins the block that sends to a counterpart with the own chunk for it.
    fn send_own(&mut self, over: u32, builder: &mut PlanBuilder) -> BlockId {
        let (block, counterpart) = (self.grid.block(builder), self.grid.rank(over, 0));
        self.send(counterpart, counterpart, block, builder);
        block
    }

    /// Takes what a neighbour hands over.
    fn take(&mut self, along: u32, builder: &mut PlanBuilder) -> BlockId {
        let (block, neighbour) = (self.grid.block(builder), self.grid.rank(0, self.back(along)));
        let from = self.grid.from(neighbour, builder);
        for over in self.grid.others() {
            let instr = Instr::recv(from, self.place(over, along));
            self.relayed.insert((over, along), self.grid.push(builder, block, instr));
        }
        self.recv(neighbour, neighbour, block, builder);
        block
    }

    /// Sends a counterpart what the neighbours have for it; the steps that do.
    fn pass_on(&self, over: u32, block: BlockId, builder: &mut PlanBuilder) -> Vec<After> {
        let to = self.grid.to(self.grid.rank(over, 0), builder);
        let mut pass = |along| {
            let instr = Instr::send(self.place(over, along), to);
            let here = self.relayed.get(&(over, along));
            let instr = here.map_or(instr, |&step| instr.after(step));
            self.grid.push(builder, block, instr)
        };
        self.grid.neighbours().map(&mut pass).collect()
    }

    /// Receives what a counterpart sends: its own chunk, and those of its neighbours.
    fn receive(&self, over: u32, builder: &mut PlanBuilder) {
        let (block, node) = (self.grid.block(builder), self.grid.nodes - over);
        let counterpart = self.grid.rank(node, 0);
        self.recv(counterpart, counterpart, block, builder);
        for along in self.grid.neighbours() {
            let owner = self.grid.rank(node, self.back(along));
            self.recv(owner, counterpart, block, builder);
        }
    }

    /// How far on is who is `along` places back.
    fn back(&self, along: u32) -> u32 {
        self.grid.per_node - along
    }
}
