//! Owns the choice of how a call is run: a pure function of the operation, the count and what all
//! ranks agreed on, so that every rank chooses alike.

use std::num::NonZero;

use crosstie_ir::{ChunkMap, Collective, DataType, Layout, Plan, Rank};
use crosstie_planner::{Algorithm, Nodes, PlanRequest};

use crate::Transport;

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

/// Up to which size buffers go directly, in a world on these nodes.
pub(crate) fn direct_bytes(transport: Transport, nodes: &Nodes) -> u64 {
    if nodes.count() == 1 && transport != Transport::Tcp { DIRECT_BYTES } else { 0 }
}

/// How a collective is carried out: `bytes` of the buffer where it is whole, else of one part.
pub(crate) fn algorithm(
    collective: Collective,
    bytes: u64,
    nodes: &Nodes,
    direct_bytes: u64,
) -> Algorithm {
    let whole = if collective.is_whole() { bytes } else { bytes * u64::from(nodes.ranks()) };
    match collective {
        Collective::AllReduce | Collective::AllGather | Collective::ReduceScatter => {
            if whole <= direct_bytes { Algorithm::Direct } else { Algorithm::Ring }
        }
        Collective::Broadcast { .. } | Collective::Reduce { .. } if nodes.ranks() > 4 => {
            Algorithm::Tree
        }
        Collective::Barrier => Algorithm::Flat,
        _ => Algorithm::Direct,
    }
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

/// Where all ranks share memory, buffers up to this size go directly: above it the ring's fewer passes through
/// memory win. Measured with `bench all_reduce --nodes 1 -b 4K -e 4M -f 4` on 2 cores, direct
/// against ring, p50 in µs: 8 ranks 4 KiB 25 : 45, 64 KiB 58 : 78, 256 KiB 221 : 228, 1 MiB
/// 983 : 919; 4 ranks 64 KiB 23 : 28, 256 KiB 72 : 65. Over TCP, where a message costs more than a
/// step, the ring won at every size: 2 nodes of 4 ranks, 64 B 185 : 110.
const DIRECT_BYTES: u64 = 128 << 10;

#[cfg(test)]
mod tests {
    use crosstie_ir::{Options, verify};

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
        for node_of in (1..=9).chain([16]).flat_map(assignments) {
            let nodes = Nodes::new(node_of).unwrap();
            for collective in Collective::ALL {
                for bytes in [0, DIRECT_BYTES, DIRECT_BYTES + 1] {
                    let direct_bytes = direct_bytes(Transport::Auto, &nodes);
                    let algorithm = algorithm(collective, bytes, &nodes, direct_bytes);
                    for in_place in [false, true] {
                        let of = |rank| plan(collective, algorithm, in_place, &nodes, rank);
                        let slices: Vec<Plan> = (0..nodes.ranks()).map(of).collect();
                        let options = Options { in_place, ..options };
                        let proof = verify(&Plan::merge(&slices).unwrap(), &options);
                        let what = (collective, algorithm, in_place, &nodes);
                        assert!(proof.is_ok(), "{what:?}: {proof:?}");
                    }
                }
            }
        }
    }
}
