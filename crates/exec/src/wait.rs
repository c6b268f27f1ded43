//! Owns how a rank waits when nothing moves: spin, then yield, then sleep.

/// How often to look again before sleeping.
///
/// Where ranks exceed cores a spin only keeps the peer from running: measured with 8 processes
/// on 2 cores, 20 spins cost 30–80 % and 200 spins 5–10 times, while 4–16 yields before the sleep
/// were best (`wire-protocol` measurements of the prototype).
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
        if ranks > cores { Self { spins: 0, yields: 8 } } else { Self { spins: 2000, yields: 16 } }
    }
}
