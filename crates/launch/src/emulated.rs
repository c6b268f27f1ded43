//! Owns which of several emulated nodes a rank is on.

/// The number, from 0, of the emulated node that `rank` is on, where `ranks` ranks are spread over exactly
/// `nodes` nodes in consecutive blocks whose lengths differ by at most one, the longer ones first.
///
/// More nodes than ranks leave nodes empty; callers refuse that. 0 nodes count as 1.
pub fn emulated_node(rank: u32, ranks: u32, nodes: u32) -> u32 {
    let nodes = nodes.max(1);
    let (short, long_blocks) = (ranks / nodes, ranks % nodes);
    let in_long_blocks = long_blocks * (short + 1);
    match rank < in_long_blocks {
        true => rank / (short + 1),
        false => long_blocks + (rank - in_long_blocks) / short.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_nodes_as_asked_and_their_sizes_differ_by_at_most_one() {
        for ranks in 1..=33 {
            for nodes in 1..=ranks {
                let on: Vec<u32> =
                    (0..ranks).map(|rank| emulated_node(rank, ranks, nodes)).collect();
                assert!(on.is_sorted(), "{on:?}");
                let size = |node| on.iter().filter(|it| **it == node).count();
                let sizes: Vec<usize> = (0..nodes).map(size).collect();
                assert_eq!(sizes.iter().sum::<usize>(), ranks as usize, "{on:?}");
                assert!(sizes.is_sorted_by(|a, b| a >= b), "longer blocks first: {sizes:?}");
                assert!(sizes[0] - sizes[sizes.len() - 1] <= 1, "{sizes:?}");
            }
        }
    }
}
