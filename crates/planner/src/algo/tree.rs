//! Owns the double binary tree algorithms: broadcast, reduce, and all_reduce made of the two.
//!
//! Half of the buffer travels over each of two binary trees that span all ranks but the root, which
//! feeds both. Who has children in one tree has none in the other, so each rank sends and receives
//! about as much as any other (P. Sanders, J. Speck, J. L. Träff: "Two-tree algorithms for full
//! bandwidth broadcast, reduction and scan", 2009). Each tree has a channel of its own: a
//! connection may be an edge of both. Ranks sit on the ring that visits node by node, from the root
//! on. With n ranks, a chunk being half of the buffer:
//!
//! | collective | steps | chunks sent by all ranks | slots needed | scratch |
//! |---|---|---|---|---|
//! | broadcast | 1 + ⌊log2 (n − 1)⌋ | 2 (n − 1) | 1 | |
//! | reduce | 1 + ⌊log2 (n − 1)⌋ | 2 (n − 1) | 1 | 2 chunks where a rank has two children |
//! | all_reduce | 2 (1 + ⌊log2 (n − 1)⌋) | 4 (n − 1) | 1 | |
//! | barrier | as all_reduce | 2 (n − 1), of no bytes, over one tree | 1 | |
//!
//! Going up and going down are blocks of their own, so that the windows of a large buffer follow
//! each other. The bytes are those of a ring, but the steps grow with the logarithm of the ranks:
//! for buffers of middle size and many ranks.

use alloc::vec::Vec;

use crosstie_ir::{BlockId, ChannelId, Chunk, ConnId, Instr, PlanBuilder, Rank};

use super::Seat;

/// Trees, and parts of a buffer.
pub(crate) const TREES: u32 = 2;

/// A position's neighbours in one tree. Position 0 is the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub parent: Option<u32>,
    pub children: Vec<u32>,
}

/// The place of `position`, of `ranks`, in tree number `tree`.
///
/// Labels 1 to n − 1 form a search tree in which the lowest set bit of a label is its height; the
/// second tree is the first with every label moved on by one, which makes leaves of inner labels.
pub(crate) fn place(tree: u32, position: u32, ranks: u32) -> Place {
    let labels = ranks - 1;
    let of_label = |label: u32| match tree {
        0 => label,
        _ => (label + labels - 2) % labels + 1,
    };
    let top = labels.checked_ilog2().map(|height| 1 << height);
    let Some(at) = position.checked_sub(1) else {
        return Place { parent: None, children: top.into_iter().map(of_label).collect() };
    };
    let label = if tree == 0 { at + 1 } else { (at + 1) % labels + 1 };
    let height = label & label.wrapping_neg();
    let above = (label ^ height) | (height << 1);
    let above = if above > labels { label ^ height } else { above };
    let parent = if Some(label) == top { 0 } else { of_label(above) };
    let left = (height > 1).then(|| label - height / 2);
    let halves = core::iter::successors(Some(height / 2), |&half| Some(half / 2));
    let right = halves.take_while(|&half| half > 0).map(|half| label + half);
    let right = right.clone().find(|&right| right <= labels);
    let children = left.into_iter().chain(right).map(of_label).collect();
    Place { parent: Some(parent), children }
}

/// A seat in one tree.
struct Branch<'a> {
    seat: &'a Seat<'a>,
    tree: u32,
    parent: Option<Rank>,
    children: Vec<Rank>,
}

impl<'a> Branch<'a> {
    /// The place of `seat` in `tree`, whose root sits at ring position `root`.
    fn new(seat: &'a Seat<'a>, tree: u32, root: u32) -> Self {
        let ranks = seat.ranks();
        let Place { parent, children } = place(tree, (seat.position + ranks - root) % ranks, ranks);
        let rank = |position: u32| seat.nodes.ring_at(root, position);
        Self {
            seat,
            tree,
            parent: parent.map(rank),
            children: children.into_iter().map(rank).collect(),
        }
    }

    fn channel(&self) -> ChannelId {
        ChannelId(self.seat.channel.0 * TREES as u16 + self.tree as u16)
    }

    fn from(&self, peer: Rank, builder: &mut PlanBuilder) -> ConnId {
        builder.connection(peer, self.seat.rank, self.channel())
    }

    fn to(&self, peer: Rank, builder: &mut PlanBuilder) -> ConnId {
        builder.connection(self.seat.rank, peer, self.channel())
    }

    fn input(&self) -> Chunk {
        Chunk::input(self.tree)
    }

    fn output(&self) -> Chunk {
        Chunk::output(self.tree)
    }

    /// Takes what `first` gives the output, and sends it to all children.
    fn pass_down(&self, block: BlockId, first: Instr, builder: &mut PlanBuilder) {
        let children: Vec<ConnId> =
            self.children.iter().map(|&child| self.to(child, builder)).collect();
        let first = children.first().map_or(first, |&to| first.sending(to));
        self.seat.push(builder, block, first);
        for &to in children.iter().skip(1) {
            self.seat.push(builder, block, Instr::send(self.output(), to));
        }
    }

    /// Reduces what all children send with the own input; partial sums lie in `sum`, and the last
    /// instruction is `complete` of what it received and what it read.
    fn gather_up(
        &self,
        block: BlockId,
        sum: Chunk,
        complete: impl FnOnce(ConnId, Chunk, &mut PlanBuilder) -> Instr,
        builder: &mut PlanBuilder,
    ) {
        let Some((&last, earlier)) = self.children.split_last() else { return };
        let mut held = self.input();
        for &child in earlier {
            let from = self.from(child, builder);
            self.seat.push(builder, block, Instr::recv_reduce_copy(from, held, sum));
            held = sum;
        }
        let from = self.from(last, builder);
        let instr = complete(from, held, builder);
        self.seat.push(builder, block, instr);
    }

    /// Sends the parent the sum of the own input and all that comes from below.
    fn send_up(&self, parent: Rank, sum: Chunk, builder: &mut PlanBuilder) {
        let block = builder.block(self.seat.rank);
        let to = self.to(parent, builder);
        if self.children.is_empty() {
            self.seat.push(builder, block, Instr::send(self.input(), to));
        }
        let complete = |from, held, _: &mut _| Instr::recv_reduce_send(from, held, to);
        self.gather_up(block, sum, complete, builder);
    }

    /// Receives the parent's result, and passes it on.
    fn receive_down(&self, parent: Rank, builder: &mut PlanBuilder) {
        let block = builder.block(self.seat.rank);
        let from = self.from(parent, builder);
        self.pass_down(block, Instr::recv(from, self.output()), builder);
    }
}

/// The branches of a seat: one for each part of the buffer.
fn branches<'a>(seat: &'a Seat<'a>, root: u32, parts: u32) -> impl Iterator<Item = Branch<'a>> {
    (0..parts).map(move |tree| Branch::new(seat, tree, root))
}

/// Every rank ends with the input of the rank at ring position `root`.
pub(crate) fn broadcast(seat: &Seat<'_>, root: u32, builder: &mut PlanBuilder) {
    for branch in branches(seat, root, TREES) {
        match branch.parent {
            Some(parent) => branch.receive_down(parent, builder),
            None => {
                let block = builder.block(seat.rank);
                let keep = Instr::copy(branch.input(), branch.output());
                branch.pass_down(block, keep, builder);
            }
        }
    }
}

/// The rank at ring position `root` ends with the reduction of everyone's input.
pub(crate) fn reduce(seat: &Seat<'_>, root: u32, builder: &mut PlanBuilder) {
    for branch in branches(seat, root, TREES) {
        match branch.parent {
            Some(parent) => branch.send_up(parent, Chunk::scratch(branch.tree), builder),
            None => branch.complete(builder, false),
        }
    }
}

/// Every rank ends with the reduction of everyone's input, over `trees` trees; the rank at ring
/// position 0 is the root.
pub(crate) fn all_reduce(seat: &Seat<'_>, trees: u32, builder: &mut PlanBuilder) {
    for branch in branches(seat, 0, trees) {
        match branch.parent {
            Some(parent) => {
                branch.send_up(parent, branch.output(), builder);
                branch.receive_down(parent, builder);
            }
            None => branch.complete(builder, true),
        }
    }
}

impl Branch<'_> {
    /// The root's part of a reduction: with a single child in each tree, one instruction, which
    /// sends the result down where all are to have it. Alone, it keeps its input.
    fn complete(&self, builder: &mut PlanBuilder, for_all: bool) {
        let block = builder.block(self.seat.rank);
        let output = self.output();
        let Some(&child) = self.children.first() else {
            let keep = Instr::copy(self.input(), output).finishing();
            self.seat.push(builder, block, keep);
            return;
        };
        let to = if for_all { Some(self.to(child, builder)) } else { None };
        let complete = |from, held, _: &mut _| {
            Instr::new(Some(from), Some(held), Some(output), to).finishing()
        };
        self.gather_up(block, output, complete, builder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trees_span_all_ranks_and_who_has_children_in_one_has_none_in_the_other() {
        for ranks in 1..=130 {
            for tree in 0..TREES {
                let places: Vec<Place> = (0..ranks).map(|at| place(tree, at, ranks)).collect();
                for (at, own) in (0..).zip(&places) {
                    assert!(own.children.len() <= if at == 0 { 1 } else { 2 });
                    for &child in &own.children {
                        assert_eq!(places[child as usize].parent, Some(at), "{ranks} {tree} {at}");
                    }
                    let parent = own.parent.map(|parent| &places[parent as usize]);
                    assert!(parent.is_none_or(|parent| parent.children.contains(&at)));
                    assert_eq!(own.parent.is_none(), at == 0, "{ranks} {tree} {at}");
                }
            }
            let inner = |tree, at| at > 0 && !place(tree, at, ranks).children.is_empty();
            assert!((0..ranks).all(|at| !(inner(0, at) && inner(1, at))), "{ranks}");
        }
    }
}
