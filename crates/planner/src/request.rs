//! Owns the way from a request to a plan: which algorithm is asked for which collective.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::num::NonZero;

use crosstie_ir::{ChannelId, Chunk, Collective, InputsFingerprint, Plan, PlanBuilder, Rank};

use crate::algo::exchange::Messages;
use crate::algo::{
    Seat, canonical, direct, exchange, flat, hierarchical, pat, relayed, ring, rooted, tree,
};
use crate::{Nodes, VERSION};

/// How a collective is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// The least bytes through memory, in steps that grow with the ranks: for large buffers.
    Ring,
    /// Each pair of ranks directly, in one or two steps: for small buffers. Every collective but
    /// barrier has it.
    Direct,
    /// Everyone sends all it has to everyone, in one step: for tiny buffers.
    Flat,
    /// Two binary trees, in steps that grow with the logarithm of the ranks.
    Tree,
    /// What a node can do in its memory is done there: for several nodes.
    Hierarchical,
    /// Reduces in an order that depends on the number of ranks alone.
    Canonical,
    /// Parallel aggregated trees: few peers, in steps that grow with the logarithm of the ranks: for small
    /// buffers of many ranks.
    Pat,
}

impl Algorithm {
    /// Every algorithm, in the order of its code.
    pub const ALL: [Self; 7] = [
        Self::Ring,
        Self::Direct,
        Self::Flat,
        Self::Tree,
        Self::Hierarchical,
        Self::Canonical,
        Self::Pat,
    ];

    /// The name that the command line and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Direct => "direct",
            Self::Flat => "flat",
            Self::Tree => "tree",
            Self::Hierarchical => "hierarchical",
            Self::Canonical => "canonical",
            Self::Pat => "pat",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// A small number for tables.
    pub const fn code(self) -> usize {
        self as usize
    }

    /// The algorithms that carry out `collective`; never none.
    pub const fn of(collective: Collective) -> &'static [Self] {
        match collective {
            Collective::AllReduce => &[
                Self::Ring,
                Self::Direct,
                Self::Flat,
                Self::Tree,
                Self::Hierarchical,
                Self::Canonical,
            ],
            Collective::AllGather => &[Self::Ring, Self::Direct, Self::Hierarchical, Self::Pat],
            Collective::ReduceScatter => {
                &[Self::Ring, Self::Direct, Self::Hierarchical, Self::Canonical, Self::Pat]
            }
            Collective::Broadcast { .. } => &[Self::Direct, Self::Tree, Self::Hierarchical],
            Collective::Reduce { .. } => {
                &[Self::Direct, Self::Tree, Self::Hierarchical, Self::Canonical]
            }
            Collective::Barrier => &[Self::Flat, Self::Tree],
            Collective::AllToAll => &[Self::Direct, Self::Hierarchical],
            Collective::Gather { .. } | Collective::Scatter { .. } | Collective::SendRecv => {
                &[Self::Direct]
            }
        }
    }

    /// Whether it carries out `collective` on `nodes`: the hierarchical forms are for several
    /// nodes, and but for broadcast and reduce for nodes of equal size.
    pub fn suits(self, collective: Collective, nodes: &Nodes) -> bool {
        let shape = match (self, collective) {
            (Self::Hierarchical, Collective::Broadcast { .. } | Collective::Reduce { .. }) => {
                nodes.count() > 1
            }
            (Self::Hierarchical, _) => nodes.count() > 1 && nodes.per_node().is_some(),
            _ => true,
        };
        shape && Self::of(collective).contains(&self)
    }

    /// Into how many parts it cuts a whole buffer ([`Collective::is_whole`]); 1 where buffers are
    /// made of blocks.
    pub const fn parts(self, collective: Collective, ranks: u32) -> u32 {
        match (self, collective) {
            (Self::Tree, Collective::Barrier) => 1,
            (Self::Tree, _) => tree::TREES,
            (Self::Flat, _) => 1,
            (_, Collective::AllReduce) => ranks,
            (_, Collective::SendRecv) => Chunk::MAX_INDEX,
            _ => 1,
        }
    }

    /// Channels that it uses for each channel it is given.
    pub const fn channels(self) -> u16 {
        match self {
            Self::Tree | Self::Canonical => 2,
            _ => 1,
        }
    }
}

/// What a plan depends on; equal requests give equal plans, on every rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanRequest<'a> {
    /// What to compute.
    pub collective: Collective,
    /// How. One that does not suit ([`Algorithm::suits`]) counts as the collective's first.
    pub algorithm: Algorithm,
    /// Where the ranks are.
    pub nodes: &'a Nodes,
    /// Parallel instances of rings and other algorithms, each carrying its slice of every chunk.
    /// Exchanges, the canonical order and rooted direct forms use one.
    pub channels: NonZero<u16>,
    /// Whether send and receive buffer coincide. Only all_to_all has a plan of its own for it;
    /// that one is right out of place too, but copies more.
    pub in_place: bool,
}

/// The part of the plan that `rank` carries out, in time and memory proportional to that part.
///
/// A rank that `request.nodes` lacks has nothing to do, nor has any around a root that it lacks.
pub fn plan(request: &PlanRequest<'_>, rank: Rank) -> Plan {
    let PlanRequest { collective, nodes, algorithm, .. } = *request;
    let suits = algorithm.suits(collective, nodes);
    let algorithm = if suits { algorithm } else { Algorithm::of(collective)[0] };
    let parts = algorithm.parts(collective, nodes.ranks());
    let mut builder = PlanBuilder::in_parts(collective, nodes.ranks(), parts);
    let root = collective.root().map(|root| nodes.ring_position(root));
    if let Some(position) = nodes.ring_position(rank)
        && root != Some(None)
    {
        let channels = if has_channels(collective, algorithm) { request.channels.get() } else { 1 };
        for channel in (0..channels).map(ChannelId) {
            // Other algorithms cross between nodes as often in any order.
            let nodes =
                if algorithm == Algorithm::Ring { nodes.on_channel(channel) } else { nodes };
            let position = nodes.ring_position(rank).unwrap_or(position);
            let seat = Seat { nodes, rank, position, channel, channels };
            emit(request, algorithm, &seat, root.flatten().unwrap_or(0), &mut builder);
        }
    }
    builder.finish().expect("every algorithm here uses a connection end in one block only")
}

/// The part of a group of sends and receives that `rank` carries out: blocks for its own messages.
pub fn plan_group(messages: &Messages<'_>, nodes: &Nodes, rank: Rank) -> Plan {
    let (collective, ranks) = (Collective::SendRecv, nodes.ranks());
    let parts = Algorithm::Direct.parts(collective, ranks);
    let mut builder = PlanBuilder::in_parts(collective, ranks, parts);
    if let Some(position) = nodes.ring_position(rank) {
        exchange::group(nodes, position, messages, &mut builder);
    }
    builder.finish().expect("every peer has a block of its own for each direction")
}

fn has_channels(collective: Collective, algorithm: Algorithm) -> bool {
    let whole = [Algorithm::Flat, Algorithm::Canonical];
    let is_cut = matches!(
        collective,
        Collective::AllReduce | Collective::AllGather | Collective::ReduceScatter
    );
    is_cut && !whole.contains(&algorithm)
}

/// Emits the blocks of one seat. `root` is the root's ring position.
fn emit(
    request: &PlanRequest<'_>,
    algorithm: Algorithm,
    seat: &Seat<'_>,
    root: u32,
    builder: &mut PlanBuilder,
) {
    match request.collective {
        Collective::AllToAll if algorithm == Algorithm::Hierarchical => {
            let per_node = seat.nodes.per_node().unwrap_or(1);
            relayed::all_to_all(seat, per_node, request.in_place, builder);
        }
        Collective::AllToAll => {
            exchange::all_to_all(seat.nodes, seat.position, request.in_place, builder);
        }
        Collective::AllReduce => all_reduce(algorithm, seat, builder),
        Collective::Barrier if algorithm == Algorithm::Tree => tree::all_reduce(seat, 1, builder),
        Collective::Barrier => flat::all_reduce(seat, builder),
        Collective::AllGather => match algorithm {
            Algorithm::Direct => direct::all_gather(seat, builder),
            Algorithm::Pat => pat::all_gather(seat, builder),
            Algorithm::Hierarchical => {
                hierarchical::all_gather(seat, seat.nodes.per_node().unwrap_or(1), builder);
            }
            _ => ring::all_gather(seat, builder),
        },
        Collective::ReduceScatter => match algorithm {
            Algorithm::Direct => direct::reduce_scatter(seat, builder),
            Algorithm::Pat => pat::reduce_scatter(seat, builder),
            Algorithm::Canonical => canonical::reduce_scatter(seat, builder),
            Algorithm::Hierarchical => {
                hierarchical::reduce_scatter(seat, seat.nodes.per_node().unwrap_or(1), builder);
            }
            _ => ring::reduce_scatter(seat, builder),
        },
        Collective::Broadcast { root: rank } => match algorithm {
            Algorithm::Tree => tree::broadcast(seat, root, builder),
            Algorithm::Hierarchical => hierarchical::broadcast(seat, rank, builder),
            _ => rooted::broadcast(seat, rank, builder),
        },
        Collective::Reduce { root: rank } => match algorithm {
            Algorithm::Tree => tree::reduce(seat, root, builder),
            Algorithm::Hierarchical => hierarchical::reduce(seat, rank, builder),
            Algorithm::Canonical => canonical::reduce(seat, rank, builder),
            _ => rooted::reduce(seat, rank, builder),
        },
        Collective::Gather { root } => rooted::gather(seat, root, builder),
        Collective::Scatter { root } => rooted::scatter(seat, root, builder),
        // A group is planned from its messages: `plan_group`.
        Collective::SendRecv => {}
    }
}

fn all_reduce(algorithm: Algorithm, seat: &Seat<'_>, builder: &mut PlanBuilder) {
    match algorithm {
        Algorithm::Direct => direct::all_reduce(seat, builder),
        Algorithm::Flat => flat::all_reduce(seat, builder),
        Algorithm::Tree => tree::all_reduce(seat, tree::TREES, builder),
        Algorithm::Hierarchical => {
            hierarchical::all_reduce(seat, seat.nodes.per_node().unwrap_or(1), builder);
        }
        Algorithm::Canonical => canonical::all_reduce(seat, builder),
        _ => ring::all_reduce(seat, builder),
    }
}

/// The parts of all ranks in one plan, for tools and tests.
pub fn plan_world(request: &PlanRequest<'_>) -> Plan {
    let parts: Vec<Plan> =
        (0..request.nodes.ranks()).map(|rank| plan(request, Rank(rank))).collect();
    Plan::merge(&parts).expect("parts made from one request are of one plan, and Nodes has a rank")
}

/// Names everything that [`plan`] depends on, given `settings`: the world-scope settings as
/// (key, value). Ranks whose fingerprints differ would make plans that do not fit together.
pub fn inputs_fingerprint<'a>(
    nodes: &Nodes,
    settings: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> InputsFingerprint {
    let mut rings = String::new();
    for Rank(rank) in nodes.rings().flatten() {
        // Writing to a String cannot fail.
        let _ = write!(rings, "{rank} ");
    }
    let mut all: Vec<(&str, &str)> = settings.into_iter().collect();
    all.extend((!rings.is_empty()).then_some(("rings", &*rings)));
    InputsFingerprint::new(nodes.assignment(), all, VERSION)
}
