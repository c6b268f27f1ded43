//! Windows, chunks and slices cover every element of a buffer once, and nothing else.

use crosstie_ir::{ChunkMap, Layout, Space};
use proptest::prelude::*;

/// How often each byte of a buffer of `chunks` chunks lies in a slice.
fn covered(map: &ChunkMap, chunks: u32, slices: u16) -> Vec<u32> {
    let mut counts = vec![0; map.buffer_bytes(Space::Output, chunks) as usize];
    for window in 0..map.windows() {
        for chunk in 0..chunks {
            for slice in 0..slices {
                let range = map.range(Space::Output, chunk, (slice, slices), window);
                counts[range.start as usize..range.end as usize].iter_mut().for_each(|n| *n += 1);
            }
        }
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_even_split_covers_the_buffer_once(
        chunks in 1..6u32, count in 0..40u64, window in 0..50u64, slices in 1..4u16,
    ) {
        let map = ChunkMap::new(Layout::Split { chunks }, 4, count, window);
        prop_assert_eq!(covered(&map, chunks, slices), vec![1; 4 * count as usize]);
    }

    #[test]
    fn blocks_cover_all_but_the_gaps_between_them(
        chunks in 1..6u32, count in 0..20u64, gap in 0..3u64, window in 0..25u64, slices in 1..4u16,
    ) {
        let stride = count + gap;
        let map = ChunkMap::new(Layout::Blocks { stride }, 2, count, window);
        let covered = covered(&map, chunks, slices);
        let wanted = |at: usize| u32::from(at as u64 / 2 % stride < count);
        let wanted: Vec<u32> = (0..covered.len()).map(wanted).collect();
        prop_assert_eq!(covered, wanted);
    }

    #[test]
    fn scratch_chunks_do_not_overlap_and_are_as_long_as_those_they_stand_for(
        chunks in 1..6u32, count in 0..40u64, window in 1..50u64, blocks: bool,
    ) {
        let layout = if blocks { Layout::Blocks { stride: count } } else { Layout::Split { chunks } };
        let map = ChunkMap::new(layout, 4, count, window);
        for window in 0..map.windows() {
            let mut end = 0;
            for chunk in 0..chunks {
                let scratch = map.range(Space::Scratch, chunk, (0, 1), window);
                let output = map.range(Space::Output, chunk, (0, 1), window);
                prop_assert!(scratch.start >= end);
                prop_assert_eq!(scratch.end - scratch.start, output.end - output.start);
                end = scratch.end;
            }
            prop_assert!(end <= map.scratch_bytes(chunks));
        }
    }
}
