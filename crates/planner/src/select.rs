//! Owns the choice of an algorithm: a pure function of collective, sizes and what all ranks agreed
//! on, so that every rank chooses alike.

use core::fmt;
use core::str::FromStr;

use crosstie_ir::{Collective, Rank};

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

/// What a choice depends on beside the call; the same on all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// How far messages have to go.
    pub reach: Reach,
    /// The algorithm to take wherever it suits.
    pub forced: Option<Algorithm>,
    /// In which order to reduce.
    pub order: ReductionOrder,
}

impl Selection {
    /// How `collective` is carried out on `nodes`, for `bytes` of a whole buffer
    /// ([`Collective::is_whole`]) or of one block.
    pub fn algorithm(&self, collective: Collective, nodes: &Nodes, bytes: u64) -> Algorithm {
        self.choice(collective, nodes, bytes).algorithm
    }

    /// The same, with the reason.
    pub fn choice(&self, collective: Collective, nodes: &Nodes, bytes: u64) -> Choice {
        let suits = |algorithm: &Algorithm| algorithm.suits(collective, nodes);
        if self.order == ReductionOrder::Canonical && suits(&Algorithm::Canonical) {
            return Choice { algorithm: Algorithm::Canonical, why: ChoiceWhy::Canonical };
        }
        if let Some(algorithm) = self.forced.filter(suits) {
            return Choice { algorithm, why: ChoiceWhy::Forced };
        }
        let ranks = u64::from(nodes.ranks());
        let whole = if collective.is_whole() { bytes } else { bytes.saturating_mul(ranks) };
        let fits = |row: &&Row| {
            row.collective.code() == collective.code()
                && row.reach == self.reach
                && nodes.ranks() <= row.most_ranks
                && whole <= row.most_bytes
                && suits(&row.algorithm)
        };
        let first = Choice { algorithm: Algorithm::of(collective)[0], why: ChoiceWhy::First };
        TABLE.iter().find(fits).map_or(first, |row| Choice {
            algorithm: row.algorithm,
            why: ChoiceWhy::Measured {
                most_ranks: Some(row.most_ranks).filter(|&most| most < ANY),
                most_bytes: Some(row.most_bytes).filter(|&most| most < ALL),
            },
        })
    }
}

/// An algorithm, and why it was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Why.
    pub why: ChoiceWhy,
}

/// Why an algorithm was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChoiceWhy {
    /// It alone reduces in the order that is asked for.
    Canonical,
    /// It is asked for.
    Forced,
    /// It was measured to be fastest, up to so many ranks, and bytes of the whole buffer; `None` is any number.
    Measured {
        /// Ranks, at most.
        most_ranks: Option<u32>,
        /// Bytes, at most.
        most_bytes: Option<u64>,
    },
    /// It is the first of those that there are; no measurement favours another.
    First,
}

/// One line of the cost table: on up to so many ranks, and for up to so many bytes of the whole
/// buffer, this is fastest.
struct Row {
    collective: Collective,
    reach: Reach,
    most_ranks: u32,
    most_bytes: u64,
    algorithm: Algorithm,
}

const fn row(
    collective: Collective,
    reach: Reach,
    most_ranks: u32,
    most_bytes: u64,
    algorithm: Algorithm,
) -> Row {
    Row { collective, reach, most_ranks, most_bytes, algorithm }
}

const ANY: u32 = u32::MAX;
const ALL: u64 = u64::MAX;
const K: u64 = 1 << 10;
const ROOT: Rank = Rank(0);

/// The cost table; the first line that fits decides. Measured on 2 cores of an AMD EPYC server with
/// `CROSSTIE_ALGORITHM=… crosstie bench … -b 8 -e 4M -f 8` over 2, 4 and 8 ranks, median of a call in
/// µs, some of the lines that decided:
///
/// | | ring | direct | flat | tree | hierarchical |
/// |---|---|---|---|---|---|
/// | all_reduce, 8 ranks in memory, 8 B | 87 | 29 | 12 | 30 | |
/// | 32 KiB | 91 | 56 | 59 | 49 | |
/// | 2 MiB | 1716 | 2891 | 10722 | 2761 | |
/// | all_reduce, 4 ranks in memory, 256 KiB | 84 | 46 | 111 | 68 | |
/// | all_reduce, 2 nodes of 4 ranks, 8 B | 185 | 343 | 321 | 169 | 132 |
/// | 256 KiB | 1416 | 1233 | 5168 | 930 | 332 |
/// | 2 MiB | 4780 | 5245 | 43614 | 5410 | 2835 |
/// | all_gather, 8 ranks in memory, 32 KiB | 37 | 18 | | | |
/// | broadcast, 4 ranks in memory, 256 KiB | | 51 | | 24 | |
/// | broadcast, 2 nodes of 4 ranks, 256 KiB | | 834 | | 156 | 184 |
/// | reduce, 2 nodes of 4 ranks, 256 KiB | | 1173 | | 328 | 207 |
///
/// With two ranks, direct forms take over from 16 KiB on although flat ones are as quick, for what is
/// lent they read once.
const TABLE: &[Row] = {
    use Algorithm::{Direct, Flat, Hierarchical, Ring, Tree};
    use Collective::{AllGather, AllReduce, Barrier, ReduceScatter};
    use Reach::{Memory, Network, Nodes};
    const BROADCAST: Collective = Collective::Broadcast { root: ROOT };
    const REDUCE: Collective = Collective::Reduce { root: ROOT };
    &[
        row(AllReduce, Memory, 2, 16 * K - 1, Flat),
        row(AllReduce, Memory, 2, ALL, Direct),
        row(AllReduce, Memory, 4, 8 * K, Flat),
        row(AllReduce, Memory, 4, 512 * K, Direct),
        row(AllReduce, Memory, 8, 16 * K, Flat),
        row(AllReduce, Memory, 8, 128 * K, Direct),
        row(AllReduce, Memory, ANY, 2 * K, Flat),
        row(AllReduce, Memory, ANY, 128 * K, Tree),
        row(AllReduce, Memory, ANY, ALL, Ring),
        row(AllReduce, Nodes, ANY, ALL, Hierarchical),
        row(AllReduce, Nodes, ANY, 64 * K, Tree),
        row(AllReduce, Nodes, ANY, ALL, Ring),
        row(AllReduce, Network, 2, 64 * K, Flat),
        row(AllReduce, Network, 4, 4 * K, Flat),
        row(AllReduce, Network, ANY, 64 * K, Tree),
        row(AllReduce, Network, 8, ALL, Direct),
        row(AllReduce, Network, ANY, ALL, Ring),
        row(AllGather, Memory, 2, ALL, Direct),
        row(AllGather, Memory, ANY, 512 * K, Direct),
        row(AllGather, Nodes, ANY, 128 * K, Hierarchical),
        row(AllGather, Network, 8, ALL, Direct),
        row(AllGather, Network, ANY, 64 * K, Direct),
        row(ReduceScatter, Memory, 2, ALL, Direct),
        row(ReduceScatter, Memory, ANY, 512 * K, Direct),
        row(ReduceScatter, Nodes, ANY, 512 * K, Hierarchical),
        row(ReduceScatter, Network, 8, ALL, Direct),
        row(ReduceScatter, Network, ANY, 64 * K, Direct),
        row(BROADCAST, Memory, 2, ALL, Direct),
        row(BROADCAST, Network, 2, ALL, Direct),
        row(BROADCAST, Nodes, ANY, ALL, Hierarchical),
        row(BROADCAST, Memory, ANY, ALL, Tree),
        row(BROADCAST, Network, ANY, ALL, Tree),
        row(REDUCE, Memory, 8, ALL, Direct),
        row(REDUCE, Network, 4, ALL, Direct),
        row(REDUCE, Nodes, ANY, ALL, Hierarchical),
        row(REDUCE, Memory, ANY, ALL, Tree),
        row(REDUCE, Network, ANY, ALL, Tree),
        row(Barrier, Memory, 16, ALL, Flat),
        row(Barrier, Network, 4, ALL, Flat),
        row(Barrier, Nodes, ANY, ALL, Tree),
        row(Barrier, Memory, ANY, ALL, Tree),
        row(Barrier, Network, ANY, ALL, Tree),
    ]
};
