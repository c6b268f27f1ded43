//! Owns how a rank waits when nothing moves: spin, then yield, then sleep.

/// How often to look again before sleeping.
///
/// A yield costs about half a microsecond when nobody else wants the processor, and lets a peer run
/// at once where one does; a spin is quicker to see a message, but keeps a peer that shares the
/// processor from sending it. Measured with `bench all_reduce --nodes 1 --ranks 2 -b 8` on 2 busy
/// cores, p50 per call: 2000 spins and 16 yields 220 µs whenever both ranks were put on one core and
/// 0.8 µs otherwise; 100 spins and 200 yields 0.8–0.9 µs; no spins 3.8 µs; 100 spins and 16 yields
/// 13 µs, for sleeping and waking. With 8 ranks the number of yields, from 8 to 1000, showed no
/// difference above the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitPolicy {
    /// Looks with only a pause in between.
    pub spins: u32,
    /// Looks with the processor offered to others in between.
    pub yields: u32,
}

impl WaitPolicy {
    /// The policy for `ranks` ranks sharing `cores` processors.
    pub fn for_load(ranks: usize, cores: usize) -> Self {
        if ranks > cores { Self { spins: 0, yields: 128 } } else { Self { spins: 50, yields: 200 } }
    }
}
