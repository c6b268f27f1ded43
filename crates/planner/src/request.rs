//! Owns the way from a request to a plan: which algorithm is asked for which collective.

use alloc::vec::Vec;
use core::num::NonZero;

use crosstie_ir::{ChannelId, Collective, InputsFingerprint, Plan, PlanBuilder, Rank};

use crate::algo::exchange;
use crate::algo::ring::{self, Seat};
use crate::{Nodes, VERSION};

/// What a plan depends on; equal requests give equal plans, on every rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanRequest<'a> {
    /// What to compute.
    pub collective: Collective,
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
    let PlanRequest { collective, nodes, in_place, .. } = *request;
    let algorithm = match collective {
        Collective::AllToAll => {
            return exchange::all_to_all(nodes, position, in_place, builder);
        }
        Collective::AllReduce => ring::all_reduce,
        Collective::AllGather => ring::all_gather,
        Collective::ReduceScatter => ring::reduce_scatter,
    };
    let channels = request.channels.get();
    for channel in (0..channels).map(ChannelId) {
        algorithm(&Seat { nodes, rank, position, channel, channels }, builder);
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
