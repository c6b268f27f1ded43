//! Owns the choice of how a call is run: a pure function of the operation, the count and what all
//! ranks agreed on, so that every rank chooses alike.

use std::num::NonZero;
use std::sync::LazyLock;

use crosstie_ir::{ChunkMap, Collective, DataType, Layout, Plan, Rank, Table};
use crosstie_planner::cost::{self, Exchange, Links, Tune};
use crosstie_planner::{Algorithm, Basis, Nodes, PlanRequest, Reach, Selection};
use crosstie_transport::{SHORTEST_LENT, tcp};

use crate::Transport;
use crate::settings::Resolved;

/// Channels that plans use: two for the algorithms that need most (`Algorithm::channels`).
pub(crate) const CHANNELS: u16 = 2;

/// Where the chunks of a call lie, and how much of them one repetition of the plan covers.
///
/// `count` is what the operation's size counts: elements of the buffer where it is whole, to be cut
/// into `parts`, else of one rank's block. A window is as large as messages of `slot_bytes`
/// allow.
pub(crate) fn chunk_map(
    collective: Collective,
    data_type: DataType,
    count: u64,
    parts: u32,
    slot_bytes: usize,
) -> ChunkMap {
    let element = data_type.size();
    let message = (slot_bytes / element).max(1) as u64;
    if collective.is_whole() {
        let layout = Layout::Split { chunks: parts };
        return ChunkMap::new(layout, element, count, message * u64::from(parts));
    }
    ChunkMap::new(Layout::Blocks { stride: count }, element, count, message)
}

/// Bytes that a rank sends to another in a call, as a measure of its messages.
pub(crate) fn message_bytes(
    collective: Collective,
    data_type: DataType,
    count: u64,
    ranks: u32,
) -> u64 {
    let bytes = count.saturating_mul(data_type.size() as u64);
    if collective.is_whole() { bytes / u64::from(ranks) } else { bytes }
}

/// Whether all ranks of a node send to the same receivers: by way of one relay such messages can leave
/// together, which others cannot, so that a relay would but delay them.
pub(crate) fn joins(collective: Collective, algorithm: Algorithm) -> bool {
    match collective {
        Collective::AllToAll | Collective::Gather { .. } | Collective::SendRecv => true,
        Collective::AllReduce
        | Collective::AllGather
        | Collective::ReduceScatter
        | Collective::Reduce { .. }
        | Collective::Barrier => matches!(algorithm, Algorithm::Direct | Algorithm::Flat),
        _ => false,
    }
}

/// Where the blocks of a call lie that differ in length.
pub(crate) fn ragged_map(table: Table, data_type: DataType, slot_bytes: usize) -> ChunkMap {
    let element = data_type.size();
    ChunkMap::of_table(table, element, (slot_bytes / element).max(1) as u64)
}

/// `chosen`, or what takes its place where blocks differ in length: then a scratch chunk is as long as the
/// input chunk of its number.
pub(crate) fn for_ragged(collective: Collective, chosen: Algorithm) -> Algorithm {
    match (collective, chosen) {
        (Collective::ReduceScatter, Algorithm::Hierarchical) => Algorithm::Ring,
        (Collective::AllToAll, Algorithm::Hierarchical) => Algorithm::Direct,
        _ => chosen,
    }
}

static BUILT_IN: LazyLock<Tune> = LazyLock::new(Tune::built_in);

/// What the planner tells of protocols is what the transports do.
const _: () = assert!(cost::EAGER_BYTES == tcp::EAGER_BYTES as u64);
const _: () = assert!(cost::LENT_BYTES == SHORTEST_LENT as u64);

/// The links that messages take.
pub(crate) fn links(settings: &Resolved) -> Links {
    let links = match settings.transport {
        Transport::Tcp => Links::NETWORK,
        _ => Links::HOST,
    };
    Links { message_bytes: settings.limits.slot_bytes as u64, ..links }
}

/// What an exchange makes of the ways between the nodes.
fn exchange(settings: &Resolved, nodes: &Nodes) -> Option<Exchange> {
    let relays = settings.has_relays();
    settings.rails.of(nodes).exchange(relays, links(settings).between.mb_s)
}

/// The choices of a world on these nodes; the same on all ranks.
pub(crate) fn selection(settings: &Resolved, nodes: &Nodes) -> Selection {
    let reach = match settings.transport {
        Transport::Tcp => Reach::Network,
        _ if nodes.count() == 1 => Reach::Memory,
        _ => Reach::Nodes,
    };
    let basis = Basis {
        reach,
        links: Links { exchange: exchange(settings, nodes), ..links(settings) },
        forced: settings.algorithm,
        order: settings.reduction_order,
        relays: settings.has_relays(),
        told: settings.tune.as_deref(),
        built_in: Some(&BUILT_IN),
    };
    Selection::new(nodes, &basis)
}

/// The plan of a collective for one rank.
pub(crate) fn plan(
    collective: Collective,
    algorithm: Algorithm,
    in_place: bool,
    nodes: &Nodes,
    rank: u32,
) -> Plan {
    let channels = NonZero::<u16>::MIN;
    let request = PlanRequest { collective, algorithm, in_place, nodes, channels };
    crosstie_planner::plan(&request, Rank(rank))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crosstie_ir::{Class, Options, verify};
    use crosstie_planner::ReductionOrder;

    use super::*;
    use crate::Settings;

    /// One node; nodes of four, the last one smaller; every other rank on the other node.
    fn assignments(ranks: u32) -> [Vec<u32>; 3] {
        let by = |node_of: fn(u32) -> u32| (0..ranks).map(node_of).collect();
        [by(|_| 0), by(|rank| rank / 4), by(|rank| rank % 2)]
    }

    /// Every rank's own choice, joined and proved with as many slots as connections have.
    #[test]
    fn whatever_is_chosen_is_proved_with_the_slots_that_there_are() {
        let limits = Settings::default().limits(&std::collections::BTreeMap::new()).unwrap();
        let options = Options::copy(limits.slots);
        let mut chosen = BTreeSet::new();
        for node_of in (1..=9).chain([16]).flat_map(assignments) {
            let nodes = Nodes::new(node_of).unwrap();
            for reach in [Reach::Memory, Reach::Nodes, Reach::Network] {
                let selection = Selection::new(
                    &nodes,
                    &Basis {
                        reach,
                        links: Links::HOST,
                        forced: None,
                        order: ReductionOrder::default(),
                        relays: false,
                        told: None,
                        built_in: Some(&BUILT_IN),
                    },
                );
                for collective in Collective::ALL {
                    for bytes in SIZES {
                        let algorithm = selection.algorithm(collective, bytes);
                        chosen.insert((collective, algorithm, nodes.assignment().to_vec()));
                    }
                }
            }
        }
        for (collective, algorithm, node_of) in chosen {
            let nodes = Nodes::new(node_of).unwrap();
            for (in_place, class) in
                [false, true].into_iter().flat_map(|p| [(p, Class::Copy), (p, Class::Lend)])
            {
                let of = |rank| plan(collective, algorithm, in_place, &nodes, rank);
                let slices: Vec<Plan> = (0..nodes.ranks()).map(of).collect();
                let options = Options { in_place, class, ..options };
                let proof = verify(&Plan::merge(&slices).unwrap(), &options);
                let what = (collective, algorithm, in_place, &nodes);
                assert!(proof.is_ok(), "{what:?}: {proof:?}");
            }
        }
    }

    /// Tiny ones to large ones.
    const SIZES: [u64; 8] = [0, 8, 3 << 10, 12 << 10, 100 << 10, 300 << 10, 1 << 20, 1 << 30];
}
