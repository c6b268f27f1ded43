//! Owns the choice of an algorithm: a pure function of collective, sizes and what all ranks agreed
//! on, so that every rank chooses alike.
//!
//! The least time wins: the time that a tune table says, or where none covers a collective on such nodes, the
//! model's ([`crate::cost`]). The tables are asked in turn: the one that ranks were told, then the built-in one.
//! Sizes fall into cells, (2ᵏ, 1½ 2ᵏ] and (1½ 2ᵏ, 2ᵏ⁺¹], and the largest size of a cell decides for all of it, so
//! that a call only looks up.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::fmt;
use core::str::FromStr;

use crosstie_ir::Collective;

use crate::cost::{Bottleneck, Carriage, Entry, HopClass, Links, Shape, Tune, Work, predict};
use crate::{Algorithm, Nodes};

/// In which order contributions are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum ReductionOrder {
    /// The one that is fastest: equal calls give equal bits run after run, on the same ranks, nodes
    /// and settings.
    #[default]
    Fast,
    /// A balanced tree over rank numbers, in which floats of 8 and 16 bits are summed in f32 and rounded
    /// once, at its end: equal inputs give equal bits on any nodes and transports, whatever the algorithm
    /// would have been. Costs speed.
    Canonical,
}

impl ReductionOrder {
    /// The name that settings use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Canonical => "canonical",
        }
    }
}

impl FromStr for ReductionOrder {
    type Err = UnknownOrder;
    fn from_str(text: &str) -> Result<Self, UnknownOrder> {
        let all = [Self::Fast, Self::Canonical];
        all.into_iter().find(|order| order.name() == text).ok_or(UnknownOrder)
    }
}

/// No order of reduction has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownOrder;

impl fmt::Display for UnknownOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected fast or canonical")
    }
}

impl core::error::Error for UnknownOrder {}

/// How far messages have to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// All ranks share memory.
    Memory,
    /// Nodes share memory, and the network joins them.
    Nodes,
    /// The network alone.
    Network,
}

impl Reach {
    const ALL: [Self; 3] = [Self::Memory, Self::Nodes, Self::Network];

    /// The name that tune tables use: of the transports that reach so far.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "shm",
            Self::Nodes => "shm+tcp",
            Self::Network => "tcp",
        }
    }

    /// The links that messages take.
    pub const fn hops(self) -> &'static [HopClass] {
        match self {
            Self::Memory => &[HopClass::SharedMemory],
            Self::Nodes => &[HopClass::SharedMemory, HopClass::Tcp],
            Self::Network => &[HopClass::Tcp],
        }
    }

    /// The reach of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reach| reach.name() == name)
    }
}

/// What choices depend on beside the nodes and the call; the same on all ranks.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// How far messages have to go.
    pub reach: Reach,
    /// How fast the links are.
    pub links: Links,
    /// The algorithm to take wherever it suits.
    pub forced: Option<Algorithm>,
    /// In which order to reduce.
    pub order: ReductionOrder,
    /// Whether messages between nodes may pass relays. Tables and model know nothing of these: then forms whose
    /// messages stay on their rail are taken, where there are such.
    pub relays: bool,
    /// The table that the ranks were told.
    pub told: Option<&'a Tune>,
    /// The built-in table, where it was measured over such links.
    pub built_in: Option<&'a Tune>,
}

/// The choices of a world, ready to be looked up.
#[derive(Debug, Clone)]
pub struct Selection {
    order: ReductionOrder,
    ranks: u64,
    shape: Shape,
    links: Links,
    fields: Vec<Field>,
}

/// The algorithms that may carry out one collective.
#[derive(Debug, Clone)]
struct Field {
    fixed: Option<(Algorithm, ChoiceWhy)>,
    candidates: Vec<Candidate>,
    why: ChoiceWhy,
    /// By cell of the size.
    cells: OnceCell<Box<[Algorithm; CELLS]>>,
}

#[derive(Debug, Clone)]
struct Candidate {
    work: Work,
    measured: Option<Entry>,
}

impl Selection {
    /// The choices of the world on `nodes`.
    pub fn new(nodes: &Nodes, basis: &Basis<'_>) -> Self {
        let shape = Shape::of(nodes);
        let groups = Collective::ALL.into_iter().chain([Collective::SendRecv]);
        let fields = groups.map(|collective| Field::new(collective, nodes, shape, basis)).collect();
        Self { order: basis.order, ranks: nodes.ranks().into(), shape, links: basis.links, fields }
    }

    /// In which order is reduced.
    pub fn order(&self) -> ReductionOrder {
        self.order
    }

    /// How fast the links are.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The links that messages take, inside nodes and between them.
    pub fn hops(&self) -> BTreeSet<HopClass> {
        let Shape { nodes, ranks_per_node } = self.shape;
        let (inside, between) = (self.links.inside.class, self.links.between.class);
        let inside = Some(inside).filter(|_| ranks_per_node > 1 || nodes == 1);
        inside.into_iter().chain(Some(between).filter(|_| nodes > 1)).collect()
    }

    /// How `collective` is carried out, for `bytes` of a whole buffer ([`Collective::is_whole`]) or of one
    /// block.
    pub fn algorithm(&self, collective: Collective, bytes: u64) -> Algorithm {
        let field = &self.fields[collective.code()];
        match field.fixed {
            Some((algorithm, _)) => algorithm,
            None => self.cells(field)[cell(self.whole(collective, bytes))],
        }
    }

    /// The same, with the reason and the time that it is expected to take.
    pub fn choice(&self, collective: Collective, bytes: u64) -> Choice {
        let field = &self.fields[collective.code()];
        let whole = self.whole(collective, bytes);
        let algorithm = self.algorithm(collective, bytes);
        let others = field.candidates.iter().filter(|other| other.work.algorithm != algorithm);
        let runner_up = others
            .map(|other| (other.work.algorithm, self.time_ns(other, whole)))
            .min_by_key(|&(_, time_ns)| time_ns);
        let work = Work::of(collective, algorithm, self.shape);
        let taken = field.candidates.iter().find(|one| one.work.algorithm == algorithm);
        let modelled = predict(&work, &self.links, whole);
        let message_bytes = whole.div_ceil(work.parts.max(1)).min(self.links.message_bytes);
        let hop = if self.shape.nodes > 1 { &self.links.between } else { &self.links.inside };
        Choice {
            algorithm,
            why: field.fixed.map_or(field.why, |(_, why)| why),
            time_ns: taken.map_or(modelled.time_ns, |one| self.time_ns(one, whole)),
            bottleneck: modelled.bottleneck,
            message_bytes,
            protocol: Carriage::of(hop, message_bytes),
            runner_up,
        }
    }

    /// Bytes of the larger of what a rank sends and receives.
    fn whole(&self, collective: Collective, bytes: u64) -> u64 {
        if collective.is_whole() { bytes } else { bytes.saturating_mul(self.ranks) }
    }

    fn time_ns(&self, candidate: &Candidate, whole: u64) -> u64 {
        match &candidate.measured {
            Some(entry) => entry.time_ns(self.shape, &self.links, whole),
            None => predict(&candidate.work, &self.links, whole).time_ns,
        }
    }

    fn cells<'a>(&self, field: &'a Field) -> &'a [Algorithm; CELLS] {
        field.cells.get_or_init(|| {
            let fastest = |at: usize| {
                let time = |one: &&Candidate| self.time_ns(one, largest_of(at));
                field
                    .candidates
                    .iter()
                    .min_by_key(time)
                    .map_or(Algorithm::Direct, |one| one.work.algorithm)
            };
            Box::new(core::array::from_fn(fastest))
        })
    }
}

impl Field {
    fn new(collective: Collective, nodes: &Nodes, shape: Shape, basis: &Basis<'_>) -> Self {
        let suits = |algorithm: Algorithm| algorithm.suits(collective, nodes);
        // Exchanges are what relays are for.
        let aligned =
            basis.relays && collective != Collective::AllToAll && suits(Algorithm::Hierarchical);
        let competes = |algorithm: Algorithm| {
            let fits = if aligned {
                algorithm == Algorithm::Hierarchical
            } else {
                algorithm != Algorithm::Canonical
            };
            fits && suits(algorithm)
        };
        let canonical = basis.order == ReductionOrder::Canonical && suits(Algorithm::Canonical);
        let fixed = match basis.forced.filter(|&algorithm| suits(algorithm)) {
            _ if canonical => Some((Algorithm::Canonical, ChoiceWhy::Canonical)),
            forced => forced.map(|algorithm| (algorithm, ChoiceWhy::Forced)),
        };
        let work = |algorithm| Work::of(collective, algorithm, shape);
        let of = |table: Option<&Tune>, why: fn(Shape) -> ChoiceWhy| {
            let entries = table?.nearest(basis.reach, shape, collective, competes);
            let why = why(entries.first()?.shape);
            let one = |&entry: &&Entry| Candidate {
                work: work(entry.algorithm),
                measured: Some(entry.clone()),
            };
            Some((entries.iter().map(one).collect::<Vec<_>>(), why))
        };
        let modelled = || {
            let all = Algorithm::of(collective).iter().filter(|&&algorithm| competes(algorithm));
            let all = all.map(|&algorithm| Candidate { work: work(algorithm), measured: None });
            (all.collect::<Vec<_>>(), ChoiceWhy::Model)
        };
        let (candidates, why) = of(basis.told, ChoiceWhy::Tuned)
            .or_else(|| of(basis.built_in, ChoiceWhy::BuiltIn))
            .unwrap_or_else(modelled);
        let only = Algorithm::of(collective).iter().filter(|&&one| competes(one)).count() == 1;
        let why = match only {
            true if aligned => ChoiceWhy::NoRelay,
            true => ChoiceWhy::Only,
            false => why,
        };
        Self { fixed, candidates, why, cells: OnceCell::new() }
    }
}

/// An algorithm, why it was chosen, and the time that it is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Why.
    pub why: ChoiceWhy,
    /// Nanoseconds, by the table or the model that decided.
    pub time_ns: u64,
    /// What limits it, by the model.
    pub bottleneck: Bottleneck,
    /// Bytes of its messages.
    pub message_bytes: u64,
    /// How these travel: between nodes, where there are several.
    pub protocol: Option<Carriage>,
    /// The next best, with its time.
    pub runner_up: Option<(Algorithm, u64)>,
}

/// Why an algorithm was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChoiceWhy {
    /// It alone reduces in the order that is asked for.
    Canonical,
    /// It is asked for.
    Forced,
    /// There is no other.
    Only,
    /// Its messages pass no relay, and others' may.
    NoRelay,
    /// It is the fastest by the table that the ranks were told, measured on a world of this shape.
    Tuned(Shape),
    /// It is the fastest by the built-in table, measured on a world of this shape.
    BuiltIn(Shape),
    /// It is the fastest by the model.
    Model,
}

/// Sizes are looked up by cell.
const CELLS: usize = 129;

/// The cell of a size.
const fn cell(bytes: u64) -> usize {
    if bytes <= 1 {
        return 0;
    }
    let below = bytes - 1;
    let power = below.ilog2();
    let upper = if power == 0 { 0 } else { below >> (power - 1) & 1 };
    1 + 2 * power as usize + upper as usize
}

/// The largest size of a cell.
const fn largest_of(cell: usize) -> u64 {
    let Some(at) = cell.checked_sub(1) else { return 1 };
    let (power, upper) = (at / 2, at % 2);
    match (power, upper) {
        (0, _) => 2,
        (_, 0) => 3 << (power - 1),
        (63, _) => u64::MAX,
        _ => 2 << power,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_in_the_cell_that_ends_at_or_above_it() {
        let around = (0..64).flat_map(|power| [1_u64 << power, 3 << power >> 1]);
        for bytes in around.flat_map(|size| [size - 1, size, size + 1]).chain([u64::MAX]) {
            let at = cell(bytes);
            assert!(bytes <= largest_of(at), "{bytes} {at}");
            assert!(
                at == 0 || at == 2 || bytes > largest_of(at - 1) || at == 3 && bytes > 2,
                "{bytes} {at}"
            );
        }
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7, 8].map(cell), [0, 0, 1, 3, 4, 5, 5, 6, 6]);
        assert!(cell(u64::MAX) < CELLS);
    }
}
