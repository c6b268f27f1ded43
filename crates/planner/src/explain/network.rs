//! Owns what a cluster's ways to the network carry, by the links that they share: NICs, and what joins GPUs to
//! them.

use alloc::vec::Vec;

use crosstie_topo::Paths;

use super::cluster::Cluster;
use super::patterns::shared;
use super::refused::Refused;
use super::routes::{Sample, World};
use crate::Rails;
use crate::cost::{Network, Shared};
use crate::search::{Node, NodeLinks};

/// What the ranks of a cluster leave each other of the links of their nodes, and what its ways to the network carry;
/// `None` of one node.
pub(super) fn carried(
    kinds: &[Node<'_>],
    kind_of: &[u32],
    paths: &[&Paths],
    pxn: bool,
) -> Result<(Option<Shared>, Option<Network>), Refused> {
    let sample = Sample::of(kinds, kind_of)?;
    let rails = Rails::of_machines(&sample.world, kinds, &sample.kind_of)?;
    let world = World { kinds, paths, sample: &sample, rails: &rails, pxn };
    let links = kinds.iter().map(NodeLinks::of).collect::<Result<Vec<_>, _>>()?;
    let cluster = Cluster { world, links, kind_of };
    let crossing = cluster.crossing();
    let between = cluster.own().zip(crossing.as_deref().and_then(|it| cluster.exchange(it)));
    let between = between.map(|((rank_mb_s, node_mb_s), exchange)| Network {
        rank_mb_s,
        node_mb_s,
        exchange,
    });
    Ok((Some(shared(&cluster, &crossing.unwrap_or_default())), between))
}
