//! Owns the way that each connection goes.

use crosstie_ir::{ChannelId, Rank};

use crate::Nodes;

/// The way of one connection, as a function of the pair, the channel and the nodes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Route {
    /// Both ranks are on one node: memory that both can reach.
    Local,
    /// The ranks are on different nodes: over the network, without a relay.
    Network,
}

/// The way from `src` to `dst` on `channel`; `None` when `nodes` lacks one of them, or they are
/// the same rank.
pub fn route(src: Rank, dst: Rank, _channel: ChannelId, nodes: &Nodes) -> Option<Route> {
    let (from, to) = (nodes.node_of(src)?, nodes.node_of(dst)?);
    match src == dst {
        true => None,
        false if from == to => Some(Route::Local),
        false => Some(Route::Network),
    }
}
