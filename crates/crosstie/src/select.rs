//! Owns the choice of how a call is run: a pure function of the operation, the count and what all
//! ranks agreed on, so that every rank chooses alike.

use std::num::NonZero;

use crosstie_ir::{ChunkMap, Collective, DataType, Layout, Plan, Rank};
use crosstie_planner::{Nodes, PlanRequest};

/// Where the chunks of a call lie, and how much of them one repetition of the plan covers.
///
/// `count` is what the operation's size counts: elements of the whole buffer for all_reduce,
/// elements of one rank's block for the others. A window is as large as messages of `slot_bytes`
/// allow.
pub(crate) fn chunk_map(
    collective: Collective,
    data_type: DataType,
    count: u64,
    ranks: u32,
    slot_bytes: usize,
) -> ChunkMap {
    let element = data_type.size();
    let message = (slot_bytes / element).max(1) as u64;
    match collective {
        Collective::AllReduce => {
            let layout = Layout::Split { chunks: ranks };
            ChunkMap::new(layout, element, count, message * u64::from(ranks))
        }
        _ => ChunkMap::new(Layout::Blocks { stride: count }, element, count, message),
    }
}

/// The plan of a collective for one rank: rings for those that reduce or gather, a direct
/// exchange for all_to_all.
pub(crate) fn plan(collective: Collective, in_place: bool, nodes: &Nodes, rank: u32) -> Plan {
    let channels = NonZero::<u16>::MIN;
    let request = PlanRequest { collective, in_place, nodes, channels };
    crosstie_planner::plan(&request, Rank(rank))
}
