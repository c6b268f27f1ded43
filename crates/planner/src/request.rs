//! Owns the way from a request to a plan: which algorithm is asked for which collective.

use alloc::vec::Vec;
use core::num::NonZero;

use crosstie_ir::{ChannelId, Collective, InputsFingerprint, Plan, PlanBuilder, Rank};

use crate::algo::{Seat, direct, exchange, ring};
use crate::{Nodes, VERSION};

/// How a collective is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// The least bytes through memory, in steps that grow with the ranks: for large buffers.
    Ring,
    /// Each pair of ranks directly, in one or two steps: for small buffers. All that all_to_all has.
    Direct,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::Ring, Self::Direct];

    /// The name that the command line and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Direct => "direct",
        }
    }
}

/// What a plan depends on; equal requests give equal plans, on every rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanRequest<'a> {
    /// What to compute.
    pub collective: Collective,
    /// How. all_to_all is always direct.
    pub algorithm: Algorithm,
    /// Where the ranks are.
    pub nodes: &'a Nodes,
    /// Parallel rings, each carrying its slice of every chunk. An exchange uses one channel.
    pub channels: NonZero<u16>,
    /// Whether send and receive buffer coincide. Only all_to_all has a plan of its own for it;
    /// that one is right out of place too, but copies more.
    pub in_place: bool,
}

/// The part of the plan that `rank` carries out, in time and memory proportional to that part.
///
/// A rank that `request.nodes` lacks has nothing to do.
pub fn plan(request: &PlanRequest<'_>, rank: Rank) -> Plan {
    let nodes = request.nodes;
    let mut builder = PlanBuilder::new(request.collective, nodes.ranks());
    if let Some(position) = nodes.ring_position(rank) {
        emit(request, rank, position, &mut builder);
    }
    builder.finish().expect("every algorithm here uses a connection end in one block only")
}

fn emit(request: &PlanRequest<'_>, rank: Rank, position: u32, builder: &mut PlanBuilder) {
    let PlanRequest { collective, algorithm, nodes, in_place, .. } = *request;
    let emit = match (collective, algorithm) {
        (Collective::AllToAll, _) => {
            return exchange::all_to_all(nodes, position, in_place, builder);
        }
        (Collective::AllReduce, Algorithm::Ring) => ring::all_reduce,
        (Collective::AllReduce, Algorithm::Direct) => direct::all_reduce,
        (Collective::AllGather, Algorithm::Ring) => ring::all_gather,
        (Collective::AllGather, Algorithm::Direct) => direct::all_gather,
        (Collective::ReduceScatter, Algorithm::Ring) => ring::reduce_scatter,
        (Collective::ReduceScatter, Algorithm::Direct) => direct::reduce_scatter,
    };
    let channels = request.channels.get();
    for channel in (0..channels).map(ChannelId) {
        emit(&Seat { nodes, rank, position, channel, channels }, builder);
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
    InputsFingerprint::new(nodes.assignment(), settings, VERSION)
}
