//! Owns what an algorithm has to do in a world of some shape: messages on its longest chain, messages and
//! chunks of its busiest rank, chunks of its busiest node. Formulas, exact where nodes are of equal size and
//! numbered one after another; a test counts them in plans.

use crosstie_ir::Collective;

use super::{Exchange, Links, Shape};
use crate::Algorithm;
use crate::search::Fullest;

/// A number for what stays inside nodes, and one for what goes between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair {
    /// Inside nodes.
    pub inside: u64,
    /// Between nodes.
    pub between: u64,
}

impl Pair {
    const fn new(inside: u64, between: u64) -> Self {
        Self { inside, between }
    }

    const fn times(self, factor: u64) -> Self {
        Self::new(self.inside * factor, self.between * factor)
    }
}

/// Who sends how many chunks to whom, where that goes neither by rings nor by trees that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Each rank one to each other.
    Everyone,
    /// Each rank one for each node to each other of its own node, and one to its like on each other node.
    Hierarchical,
    /// The same, but to its like one for each rank there.
    Gathered,
    /// Each rank, for each power of two, those that go over that distance to the rank so far ahead, or behind.
    Pat,
    /// One rank one to each other, or all others to it.
    Root,
    /// One rank one to each other of its node and to one of each other node, or these to it.
    Leader,
}

impl Pattern {
    /// All, in order.
    pub const ALL: [Self; 6] =
        [Self::Everyone, Self::Hierarchical, Self::Gathered, Self::Pat, Self::Root, Self::Leader];
}

/// What an algorithm has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Which algorithm.
    pub algorithm: Algorithm,
    /// Into how many chunks the longer buffer is cut.
    pub parts: u64,
    /// Messages of the longest chain in which each leaves when the one before it has arrived: of those with
    /// the most between nodes, the longest.
    pub steps: Pair,
    /// Messages that the busiest rank sends or receives.
    pub messages: Pair,
    /// Chunks that the busiest rank sends, or receives, whatever is more.
    pub rank: Pair,
    /// Chunks that all ranks of the busiest node send to each other, and to other nodes or receive from there,
    /// whatever is more.
    pub node: Pair,
    /// Chunks for which rings or trees that were found for the machine have their whole bandwidth, one after the other.
    pub searched: u64,
    /// How often each rank sends a chunk to each rank of other nodes.
    pub exchanges: u64,
    /// Who sends to whom, and how often.
    pub pattern: Option<(Pattern, u64)>,
}

impl Work {
    /// Of an algorithm that suits the collective.
    pub fn of(collective: Collective, algorithm: Algorithm, shape: Shape) -> Self {
        let form = Form::new(shape);
        if form.n < 2 {
            let none = Pair::default();
            return Self {
                algorithm,
                parts: 1,
                steps: none,
                messages: none,
                rank: none,
                node: none,
                searched: 0,
                exchanges: 0,
                pattern: None,
            };
        }
        let mut work = match algorithm {
            Algorithm::Ring => form.ring(turns(collective)),
            Algorithm::Flat => form.everyone(1, 1),
            Algorithm::Tree => form.tree(collective),
            Algorithm::Hierarchical => form.hierarchical(collective),
            Algorithm::Canonical => form.canonical(collective),
            Algorithm::Pat => form.pat(),
            Algorithm::Direct => match collective {
                Collective::Broadcast { .. }
                | Collective::Reduce { .. }
                | Collective::Gather { .. }
                | Collective::Scatter { .. } => form.rooted(collective),
                _ => form.everyone(turns(collective), form.n),
            },
        };
        work.algorithm = algorithm;
        if collective == Collective::Barrier {
            (work.rank, work.node) = (Pair::default(), Pair::default());
            work.searched = 0;
            work.pattern = None;
        }
        work
    }

    /// What the routes make of it, where each rank sends to each of other nodes and they are known.
    pub(super) fn exchange(&self, links: &Links) -> Option<Exchange> {
        links.exchange.filter(|_| self.exchanges > 0)
    }

    /// The fullest of the links that ranks share, where these are known.
    pub(super) fn fullest(&self, links: &Links) -> Fullest {
        let (Some(shared), Some((pattern, times))) = (links.shared, self.pattern) else {
            return Fullest::default();
        };
        let Fullest { chunks, mb_s } = shared[pattern as usize];
        Fullest { chunks: chunks.saturating_mul(times), mb_s }
    }

    /// What the machine's own rings or trees carry, where this goes by such and they are known.
    pub(super) fn searched_mb_s(&self, links: &Links) -> Option<u64> {
        match self.algorithm {
            Algorithm::Ring => links.rings_mb_s,
            Algorithm::Tree => links.trees_mb_s,
            _ => None,
        }
    }
}

/// How often the whole buffer goes around: all_reduce is a reduce_scatter and an all_gather.
const fn turns(collective: Collective) -> u64 {
    if matches!(collective, Collective::AllReduce) { 2 } else { 1 }
}

/// A world's numbers: n ranks, on N nodes of at most m.
struct Form {
    n: u64,
    nodes: u64,
    m: u64,
}

impl Form {
    fn new(shape: Shape) -> Self {
        let (nodes, m) = (u64::from(shape.nodes.max(1)), u64::from(shape.ranks_per_node.max(1)));
        Self { n: nodes * m, nodes, m }
    }

    fn work(&self, parts: u64, steps: Pair, messages: Pair, rank: Pair, node: Pair) -> Work {
        let (algorithm, exchanges, pattern) = (Algorithm::Ring, 0, None);
        let searched = rank.inside.max(rank.between);
        Work { algorithm, parts, steps, messages, rank, node, searched, exchanges, pattern }
    }

    /// Each of the n − 1 steps of a turn is a message to the next rank.
    fn ring(&self, turns: u64) -> Work {
        let Self { n, nodes, m } = *self;
        let all = turns * (n - 1);
        if nodes == 1 {
            let (one, both) = (Pair::new(all, 0), Pair::new(2 * all, 0));
            return self.work(n, one, both, one, Pair::new(n * all, 0));
        }
        // Every m-th edge of the ring is one between nodes.
        let between = all.div_ceil(m);
        let steps = Pair::new(all - between, between);
        let (rank, messages) = match m {
            1 => (Pair::new(0, all), Pair::new(0, 2 * all)),
            2 => (Pair::new(all, all), Pair::new(all, all)),
            _ => (Pair::new(all, all), Pair::new(2 * all, all)),
        };
        self.work(n, steps, messages, rank, Pair::new((m - 1) * all, all))
    }

    /// Each rank sends a chunk of its own to each other rank, in each turn.
    fn everyone(&self, turns: u64, parts: u64) -> Work {
        let Self { n, nodes, m } = *self;
        let rank = Pair::new(m - 1, n - m).times(turns);
        let steps = if nodes > 1 { Pair::new(0, turns) } else { Pair::new(turns, 0) };
        let work = self.work(parts, steps, rank.times(2), rank, rank.times(m));
        let exchanges = if nodes > 1 { turns } else { 0 };
        Work { exchanges, pattern: Some((Pattern::Everyone, turns)), ..work }
    }

    /// The root has a message for each other rank, or from it: the whole buffer, or of gather and scatter a part.
    fn rooted(&self, collective: Collective) -> Work {
        let Self { n, nodes, m } = *self;
        let parts = if collective.is_whole() { 1 } else { n };
        let rank = Pair::new(m - 1, n - m);
        let steps = if nodes > 1 { Pair::new(0, 1) } else { Pair::new(1, 0) };
        Work { pattern: Some((Pattern::Root, 1)), ..self.work(parts, steps, rank, rank, rank) }
    }

    /// Two binary trees over the ring, each for half of the buffer.
    fn tree(&self, collective: Collective) -> Work {
        let Self { n, nodes, m } = *self;
        let depth = 1 + u64::from((n - 1).max(1).ilog2());
        let ways =
            if matches!(collective, Collective::AllReduce | Collective::Barrier) { 2 } else { 1 };
        let trees = if collective == Collective::Barrier { 1 } else { 2 };
        // The lowest edges of a tree stay inside nodes whose size is a power of two; borders elsewhere can lie
        // on every edge of a way up.
        let aligned = m.is_power_of_two();
        let across = match (nodes, m) {
            (1, _) => 0,
            (_, 1) => depth,
            _ if aligned => depth + 1 - u64::from(m.ilog2()),
            _ => depth,
        };
        let steps = Pair::new(depth - across, across).times(ways);
        // A rank has a parent in each tree, and children in one: at most two.
        let most = (trees + 2).min(trees * (n - 1)).min(4);
        let apart = match (nodes, m) {
            (1, _) => Pair::new(1, 0),
            (_, 1) => Pair::new(0, 1),
            _ => Pair::new(1, 1),
        };
        let rank = Pair::new(most, most);
        let only = |pair: Pair| Pair::new(pair.inside * apart.inside, pair.between * apart.between);
        let rank = only(if ways == 2 { rank } else { Pair::new(2, 2) });
        // Edges of both trees that leave one node, counted in trees of up to 64 nodes of up to 16 ranks.
        let leaving = if aligned { 4 } else { 4 + u64::from(m.next_power_of_two().ilog2()) };
        let crossing = if ways == 2 { 2 * leaving } else { leaving };
        let node = only(Pair::new(ways * 2 * (m - 1), crossing.min(ways * trees * (n - 1))));
        let work = self.work(trees, steps, only(Pair::new(ways * most, ways * most)), rank, node);
        // Trees that were found bear the way up and the way down at once. One way alone leaves half of a lone node's
        // links idle; among several it may be the way of which the fullest has all.
        let searched = if ways == 1 && nodes == 1 { trees / 2 } else { trees };
        Work { searched, ..work }
    }

    /// Inside nodes everyone with everyone, and each rank with its like on the other nodes.
    fn hierarchical(&self, collective: Collective) -> Work {
        let Self { n, nodes, m } = *self;
        let others = nodes - 1;
        let alone = m == 1;
        if collective.root().is_some() {
            let rank = Pair::new(m - 1, others);
            let steps = Pair::new(u64::from(!alone), 1);
            let work = self.work(1, steps, rank, rank, rank);
            return Work { pattern: Some((Pattern::Leader, 1)), ..work };
        }
        let turns = turns(collective);
        let steps = Pair::new(u64::from(!alone), 1).times(turns);
        // Of all_to_all each rank has a chunk for each rank of the other nodes.
        let (pattern, chunks) = match collective {
            Collective::AllToAll => (Pattern::Gathered, others * m),
            _ => (Pattern::Hierarchical, others),
        };
        let rank = Pair::new(nodes * (m - 1), chunks).times(turns);
        let work = self.work(n, steps, rank.times(2), rank, rank.times(m));
        Work { pattern: Some((pattern, turns)), ..work }
    }

    /// Trees whose edges span powers of two, one for each chunk. Where nodes have a power of two of ranks, edges
    /// stay on a node or lead to the same place of another; else they follow the ring, and ranks near a border of
    /// nodes have the most to send across it.
    fn pat(&self) -> Work {
        let Self { n, nodes, m } = *self;
        let aligned = m.is_power_of_two();
        let (mut long, mut rank, mut node) = (0, Pair::default(), Pair::default());
        for distance in (0..n.next_power_of_two().ilog2()).map(|bit| 1 << bit) {
            let chunks = (n - distance).div_ceil(2 * distance);
            // Ranks of a node whose peer at this distance is on it too; on the ring also once around.
            let inside = match (nodes, aligned) {
                (1, _) => m,
                (_, true) => m * u64::from(distance < m),
                (_, false) => m.saturating_sub(distance) + m.saturating_sub(n - distance),
            };
            rank.inside += if inside > 0 { chunks } else { 0 };
            rank.between += if inside < m { chunks } else { 0 };
            node.inside += inside * chunks;
            node.between += (m - inside) * chunks;
            long += u64::from(distance >= m);
        }
        let all = u64::from(n.ilog2());
        let between = match (nodes, aligned) {
            (1, _) => 0,
            (_, true) => long.min(all),
            (_, false) => (long + 2).min(all),
        };
        let steps = Pair::new(all - between, between);
        let work = self.work(n, steps, rank.times(2), rank, node);
        Work { pattern: Some((Pattern::Pat, 1)), ..work }
    }

    /// The sums of a balanced tree over rank numbers, chunk by chunk: an estimate, for it is taken when it is asked
    /// for, however long it takes.
    fn canonical(&self, collective: Collective) -> Work {
        let Self { n, nodes, .. } = *self;
        let depth = u64::from(n.next_power_of_two().ilog2());
        if collective.root().is_some() {
            let (steps, most) = (Pair::new(0, depth), Pair::new(depth, depth));
            let steps = if nodes > 1 { steps } else { Pair::new(depth, 0) };
            return self.work(1, steps, most, most, most.times(self.m));
        }
        let turns = turns(collective);
        let (sums, steps) = (self.everyone(turns, n), n * depth + turns - 1);
        let steps = if nodes > 1 { Pair::new(0, steps) } else { Pair::new(steps, 0) };
        Work { steps, ..sums }
    }
}
