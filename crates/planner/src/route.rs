//! Owns the way that each connection goes.

use crosstie_ir::{ChannelId, Rank};

use crate::{Nodes, Rails};

/// The way of one connection, as a function of the pair, the channel, the nodes and the rails alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Route {
    /// Both ranks are on one node: memory that both can reach.
    Local,
    /// The ranks are on different nodes: over the network, without a relay.
    Network,
    /// The ranks are on different nodes: through shared memory to this rank of the sender's node, and from
    /// there over the network.
    Relayed(Rank),
}

/// The way from `src` to `dst` on `channel`; `None` when `nodes` lacks one of them, or they are
/// the same rank. With `rails` it enters the network on the receiver's rail (PXN).
pub fn route(
    src: Rank,
    dst: Rank,
    channel: ChannelId,
    nodes: &Nodes,
    rails: Option<&Rails>,
) -> Option<Route> {
    let (from, to) = (nodes.node_of(src)?, nodes.node_of(dst)?);
    if src == dst {
        return None;
    }
    if from == to {
        return Some(Route::Local);
    }
    let carrier = rails.and_then(|rails| rails.carrier_on(src, dst, channel));
    let carrier = carrier.filter(|&carrier| carrier != src);
    Some(carrier.map_or(Route::Network, Route::Relayed))
}
