//! Owns the hierarchical algorithms but the exchange (`relayed`), for several nodes: what a node can do in
//! its own memory is done there, and no byte crosses the network twice.
//!
//! With N nodes of m ranks each, n = N m, a chunk being a n-th of the longer buffer (broadcast and
//! reduce: all of it, and nodes may differ in size):
//!
//! | collective | steps | chunks a rank sends between nodes | within its node | scratch |
//! |---|---|---|---|---|
//! | all_reduce | 4 | 2 (N − 1) | 2 N (m − 1) | |
//! | reduce_scatter | 2 | N − 1 | N (m − 1) | N − 1 chunks from m = 3 on |
//! | all_gather | 2 | N − 1 | N (m − 1) | |
//! | broadcast | 2 | N − 1 (the root) | m − 1 (the first rank of a node) | |
//! | reduce | 2 | 1 (the first rank of a node) | 1 | 1 chunk |
//!
//! With one rank a node, all_reduce takes 2 steps and the others 1; broadcast and reduce take 1 where
//! the nodes other than the root's have one rank each. One slot suffices. Rank l of a
//! node talks to rank l of the other nodes, so that all NICs work at once. A rank has a block for
//! each direction within its node and between nodes.

use alloc::vec::Vec;

use crosstie_ir::{After, BlockId, Chunk, ConnId, Instr, PlanBuilder, Rank};

use super::Seat;

/// A seat among nodes of equal size: its neighbours in its node, and its counterparts on the others.
pub(super) struct Grid<'a> {
    pub(super) seat: &'a Seat<'a>,
    pub(super) per_node: u32,
    pub(super) nodes: u32,
}

impl<'a> Grid<'a> {
    pub(super) fn new(seat: &'a Seat<'a>, per_node: u32) -> Self {
        Self { seat, per_node, nodes: seat.ranks() / per_node }
    }

    /// The rank `over` nodes after this one, and `along` places after this one in its node.
    pub(super) fn rank(&self, over: u32, along: u32) -> Rank {
        let (node, local) =
            (self.seat.position / self.per_node, self.seat.position % self.per_node);
        let (node, local) = ((node + over) % self.nodes, (local + along) % self.per_node);
        self.seat.nodes.ring_at(0, node * self.per_node + local)
    }

    pub(super) fn to(&self, peer: Rank, builder: &mut PlanBuilder) -> ConnId {
        builder.connection(self.seat.rank, peer, self.seat.channel)
    }

    pub(super) fn from(&self, peer: Rank, builder: &mut PlanBuilder) -> ConnId {
        builder.connection(peer, self.seat.rank, self.seat.channel)
    }

    pub(super) fn push(&self, builder: &mut PlanBuilder, block: BlockId, instr: Instr) -> After {
        self.seat.push(builder, block, instr)
    }

    pub(super) fn block(&self, builder: &mut PlanBuilder) -> BlockId {
        builder.block(self.seat.rank)
    }

    /// Distances to the other nodes.
    pub(super) fn others(&self) -> core::ops::Range<u32> {
        1..self.nodes
    }

    /// Distances to the other ranks of the node.
    pub(super) fn neighbours(&self) -> core::ops::Range<u32> {
        1..self.per_node
    }
}

/// Every rank ends with everyone's input: first this node's and its counterparts', which then go to
/// the neighbours.
pub(crate) fn all_gather(seat: &Seat<'_>, per_node: u32, builder: &mut PlanBuilder) {
    let grid = Grid::new(seat, per_node);
    let [net_send, net_recv, send, recv] = [(); 4].map(|()| grid.block(builder));
    let own = Chunk::output(seat.rank.0);
    let mut kept = None;
    for over in grid.others() {
        let to = grid.to(grid.rank(over, 0), builder);
        let instr = match kept {
            None => Instr::copy_send(Chunk::input(0), own, to),
            Some(_) => Instr::send(own, to),
        };
        let sent = grid.push(builder, net_send, instr);
        kept.get_or_insert(sent);
    }
    let mut arrived = Vec::new();
    for over in grid.others() {
        let peer = grid.rank(grid.nodes - over, 0);
        let instr = Instr::recv(grid.from(peer, builder), Chunk::output(peer.0));
        arrived.push((peer, grid.push(builder, net_recv, instr)));
    }
    let arrived = arrived.into_iter().map(|(rank, step)| (rank, Some(step)));
    let mine = core::iter::once((seat.rank, kept)).chain(arrived);
    for (rank, ready) in mine {
        send_to_neighbours(&grid, send, Chunk::output(rank.0), ready, builder);
    }
    for over in core::iter::once(0).chain(grid.others()) {
        for along in grid.neighbours() {
            let neighbour = grid.rank(0, grid.per_node - along);
            let owner = grid.rank((grid.nodes - over) % grid.nodes, grid.per_node - along);
            let instr = Instr::recv(grid.from(neighbour, builder), Chunk::output(owner.0));
            grid.push(builder, recv, instr);
        }
    }
}

/// Sends a chunk to all neighbours, once it is there.
fn send_to_neighbours(
    grid: &Grid<'_>,
    block: BlockId,
    chunk: Chunk,
    ready: Option<After>,
    builder: &mut PlanBuilder,
) {
    let mut ready = ready;
    for along in grid.neighbours() {
        let instr = Instr::send(chunk, grid.to(grid.rank(0, along), builder));
        grid.push(builder, block, ready.take().map_or(instr, |step| instr.after(step)));
    }
}

/// Rank r ends with the reduction of everyone's chunk r: each node reduces what it has for all
/// counterparts of a rank there, and these exchange it.
pub(crate) fn reduce_scatter(seat: &Seat<'_>, per_node: u32, builder: &mut PlanBuilder) {
    let grid = Grid::new(seat, per_node);
    let [send, recv, net_recv] = [(); 3].map(|()| grid.block(builder));
    for over in grid.others().chain([0]) {
        for along in grid.neighbours() {
            let owner = grid.rank(over, along);
            let to = grid.to(grid.rank(0, along), builder);
            grid.push(builder, send, Instr::send(Chunk::input(owner.0), to));
        }
        if over > 0 {
            let owner = grid.rank(over, 0);
            let to = grid.to(owner, builder);
            sum_up(&grid, recv, Chunk::input(owner.0), Chunk::scratch(over - 1), Some(to), builder);
        }
    }
    let output = Chunk::output(0);
    let own = Chunk::input(seat.rank.0);
    let summed = sum_up(&grid, recv, own, output, None, builder);
    let mut held = if summed.is_some() { output } else { own };
    let mut ready = summed;
    for over in grid.others() {
        let from = grid.from(grid.rank(grid.nodes - over, 0), builder);
        let instr = Instr::recv_reduce_copy(from, held, output);
        let instr = if over + 1 == grid.nodes { instr.finishing() } else { instr };
        let instr = ready.take().map_or(instr, |step| instr.after(step));
        grid.push(builder, net_recv, instr);
        held = output;
    }
}

/// Reduces an own chunk with what the neighbours send for it, in `sum`; the last sum goes to `to`
/// alone where that is given. The step that completed it; none where there are no neighbours and
/// nothing is sent.
fn sum_up(
    grid: &Grid<'_>,
    block: BlockId,
    own: Chunk,
    sum: Chunk,
    to: Option<ConnId>,
    builder: &mut PlanBuilder,
) -> Option<After> {
    let mut held = own;
    let mut complete = None;
    for along in grid.neighbours() {
        let from = grid.from(grid.rank(0, grid.per_node - along), builder);
        let instr = match to {
            Some(to) if along + 1 == grid.per_node => Instr::recv_reduce_send(from, held, to),
            _ => Instr::recv_reduce_copy(from, held, sum),
        };
        complete = Some(grid.push(builder, block, instr));
        held = sum;
    }
    match to {
        Some(to) if grid.per_node == 1 => Some(grid.push(builder, block, Instr::send(own, to))),
        _ => complete,
    }
}

/// Every rank ends with the reduction of everyone's input: reduce_scatter and all_gather, joined
/// where the own chunk is complete. Partial sums lie in the output.
pub(crate) fn all_reduce(seat: &Seat<'_>, per_node: u32, builder: &mut PlanBuilder) {
    let grid = Grid::new(seat, per_node);
    let [send, recv, net_send, net_recv] = [(); 4].map(|()| grid.block(builder));
    for over in grid.others().chain([0]) {
        for along in grid.neighbours() {
            let owner = grid.rank(over, along);
            let to = grid.to(grid.rank(0, along), builder);
            grid.push(builder, send, Instr::send(Chunk::input(owner.0), to));
        }
        let owner = grid.rank(over, 0);
        let (own, sum) = (Chunk::input(owner.0), Chunk::output(owner.0));
        let summed = sum_up(&grid, recv, own, sum, None, builder);
        let held = if summed.is_some() { sum } else { own };
        if over > 0 {
            let instr = Instr::send(held, grid.to(owner, builder));
            let instr = summed.map_or(instr, |step| instr.after(step));
            grid.push(builder, net_send, instr);
        } else {
            let complete = exchange(&grid, net_recv, held, summed, builder);
            spread(&grid, [send, recv, net_send, net_recv], complete, builder);
        }
    }
}

/// Reduces the own chunk with what the counterparts send; the step that completes it.
fn exchange(
    grid: &Grid<'_>,
    block: BlockId,
    held: Chunk,
    ready: Option<After>,
    builder: &mut PlanBuilder,
) -> Option<After> {
    let (mut held, mut ready) = (held, ready);
    let output = Chunk::output(grid.seat.rank.0);
    let mut complete = None;
    for over in grid.others() {
        let from = grid.from(grid.rank(grid.nodes - over, 0), builder);
        let instr = Instr::recv_reduce_copy(from, held, output);
        let instr = if over + 1 == grid.nodes { instr.finishing() } else { instr };
        let instr = ready.take().map_or(instr, |step| instr.after(step));
        complete = Some(grid.push(builder, block, instr));
        held = output;
    }
    complete
}

/// Sends the own result to the counterparts, and theirs and the own to the neighbours.
fn spread(
    grid: &Grid<'_>,
    [send, recv, net_send, net_recv]: [BlockId; 4],
    complete: Option<After>,
    builder: &mut PlanBuilder,
) {
    let own = Chunk::output(grid.seat.rank.0);
    let mut ready = complete;
    for over in grid.others() {
        let instr = Instr::send(own, grid.to(grid.rank(over, 0), builder));
        let instr = ready.take().map_or(instr, |step| instr.after(step));
        grid.push(builder, net_send, instr);
    }
    send_to_neighbours(grid, send, own, complete, builder);
    for over in grid.others() {
        let peer = grid.rank(grid.nodes - over, 0);
        let chunk = Chunk::output(peer.0);
        let instr = Instr::recv(grid.from(peer, builder), chunk);
        let arrived = grid.push(builder, net_recv, instr);
        send_to_neighbours(grid, send, chunk, Some(arrived), builder);
    }
    for over in core::iter::once(0).chain(grid.others()) {
        for along in grid.neighbours() {
            let neighbour = grid.rank(0, grid.per_node - along);
            let owner = grid.rank(grid.nodes - over, grid.per_node - along);
            let instr = Instr::recv(grid.from(neighbour, builder), Chunk::output(owner.0));
            grid.push(builder, recv, instr);
        }
    }
}

/// Who passes a rooted collective on: the root, on its node, and the first rank of each other one.
struct Leaders {
    /// The leader of this seat's node.
    own: Rank,
    /// The other ranks of this seat's node.
    neighbours: Vec<Rank>,
    /// The leaders of the other nodes.
    others: Vec<Rank>,
}

impl Leaders {
    fn new(seat: &Seat<'_>, root: Rank) -> Self {
        let nodes = seat.nodes;
        let here = nodes.node_of(seat.rank);
        let mut leaders: Vec<Rank> = Vec::new();
        for &rank in nodes.ring() {
            let on = nodes.node_of(rank);
            if !leaders.iter().any(|&leader| nodes.node_of(leader) == on) {
                leaders.push(if nodes.node_of(root) == on { root } else { rank });
            }
        }
        let of = |leader: &&Rank| nodes.node_of(**leader) == here;
        let own = leaders.iter().find(of).copied().unwrap_or(root);
        let on_node = |rank: &&Rank| nodes.node_of(**rank) == here && **rank != own;
        Self {
            own,
            neighbours: nodes.ring().iter().filter(on_node).copied().collect(),
            others: leaders.iter().filter(|&&leader| leader != root).copied().collect(),
        }
    }
}

/// Every rank ends with the input of `root`.
pub(crate) fn broadcast(seat: &Seat<'_>, root: Rank, builder: &mut PlanBuilder) {
    let leaders = Leaders::new(seat, root);
    let block = builder.block(seat.rank);
    let output = Chunk::output(0);
    let above = if seat.rank == leaders.own { root } else { leaders.own };
    let first = if seat.rank == root {
        Instr::copy(Chunk::input(0), output)
    } else {
        Instr::recv(builder.connection(above, seat.rank, seat.channel), output)
    };
    seat.push(builder, block, first);
    if seat.rank == root {
        // Other nodes first: their leaders have more to do.
        for &leader in &leaders.others {
            let to = builder.connection(seat.rank, leader, seat.channel);
            seat.push(builder, block, Instr::send(output, to));
        }
    }
    if seat.rank == leaders.own {
        for &neighbour in &leaders.neighbours {
            let to = builder.connection(seat.rank, neighbour, seat.channel);
            seat.push(builder, block, Instr::send(output, to));
        }
    }
}

/// `root` ends with the reduction of everyone's input.
pub(crate) fn reduce(seat: &Seat<'_>, root: Rank, builder: &mut PlanBuilder) {
    let leaders = Leaders::new(seat, root);
    let block = builder.block(seat.rank);
    let input = Chunk::input(0);
    let above = if seat.rank == leaders.own { root } else { leaders.own };
    let mut below = Vec::new();
    if seat.rank == leaders.own {
        below.extend(&leaders.neighbours);
    }
    if seat.rank == root {
        below.extend(&leaders.others);
    }
    let sum = if seat.rank == root { Chunk::output(0) } else { Chunk::scratch(0) };
    let mut held = input;
    let mut left = below.len();
    for peer in below {
        left -= 1;
        let from = builder.connection(peer, seat.rank, seat.channel);
        let instr = match left {
            0 if seat.rank == root => Instr::recv_reduce_copy(from, held, sum).finishing(),
            0 => {
                let to = builder.connection(seat.rank, above, seat.channel);
                Instr::recv_reduce_send(from, held, to)
            }
            _ => Instr::recv_reduce_copy(from, held, sum),
        };
        seat.push(builder, block, instr);
        held = sum;
    }
    if held == input && seat.rank != root {
        let to = builder.connection(seat.rank, above, seat.channel);
        seat.push(builder, block, Instr::send(input, to));
    } else if held == input {
        seat.push(builder, block, Instr::copy(input, sum).finishing());
    }
}
