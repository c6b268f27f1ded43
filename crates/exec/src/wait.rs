//! Owns how a rank waits when nothing moves: spin, then yield, then sleep.

use std::hint;
use std::thread;

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
    /// Looks with only a pause in between, at most.
    pub spins: u32,
    /// Looks with the processor offered to others in between.
    pub yields: u32,
}

impl WaitPolicy {
    /// The policy for `ranks` ranks sharing `cores` processors.
    pub fn for_load(ranks: usize, cores: usize) -> Self {
        if ranks > cores { Self { spins: 0, yields: 128 } } else { Self { spins: 50, yields: 200 } }
    }

    /// The background thread's: it has the processor while the application computes, so it does not
    /// look often in vain.
    pub(crate) const BACKGROUND: Self = Self { spins: 0, yields: 16 };
}

/// One rank's waiting: what to do before the next look, and how long spinning has paid so far.
#[derive(Debug)]
pub(crate) struct Waiter {
    policy: WaitPolicy,
    /// Spins before the first yield: halved when they were in vain, doubled when they were not. So
    /// ranks that share a processor soon stop keeping each other from it, and others keep spinning.
    spins: u32,
    idle: u32,
}

/// What was done before the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paused {
    /// A few nanoseconds.
    Spun,
    /// The processor was offered to others.
    Yielded,
    /// Nothing: it is time to sleep.
    Exhausted,
}

impl Waiter {
    /// Never fewer, where the policy spins at all: else a rank would never find out that it pays.
    const FEWEST_SPINS: u32 = 4;

    pub fn new(policy: WaitPolicy) -> Self {
        Self { policy, spins: policy.spins, idle: 0 }
    }

    /// Something moved: waiting begins anew.
    #[inline]
    pub fn moved(&mut self) {
        if self.idle > 0 && self.idle <= self.spins {
            self.spins = (self.spins * 2).min(self.policy.spins);
        }
        self.idle = 0;
    }

    /// Pauses as is due after one more look that found nothing.
    #[inline]
    pub fn pause(&mut self) -> Paused {
        self.idle += 1;
        if self.idle <= self.spins {
            hint::spin_loop();
            return Paused::Spun;
        }
        if self.idle == self.spins + 1 {
            self.spins = (self.spins / 2).max(Self::FEWEST_SPINS).min(self.policy.spins);
            self.idle = self.spins + 1;
        }
        if self.idle <= self.spins + self.policy.yields {
            thread::yield_now();
            return Paused::Yielded;
        }
        Paused::Exhausted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: WaitPolicy = WaitPolicy { spins: 32, yields: 3 };

    fn spins_until_yield(waiter: &mut Waiter) -> u32 {
        waiter.moved();
        (0..).take_while(|_| waiter.pause() == Paused::Spun).count() as u32
    }

    #[test]
    fn spinning_in_vain_is_given_up_and_spinning_that_pays_comes_back() {
        let mut waiter = Waiter::new(POLICY);
        let spins: Vec<u32> = (0..5).map(|_| spins_until_yield(&mut waiter)).collect();
        assert_eq!(spins, [32, 16, 8, 4, 4]);
        for _ in 0..3 {
            waiter.moved();
            assert_eq!(waiter.pause(), Paused::Spun);
        }
        waiter.moved();
        assert_eq!(spins_until_yield(&mut waiter), 32);
    }

    #[test]
    fn yields_are_counted_and_then_it_is_time_to_sleep() {
        let mut waiter = Waiter::new(POLICY);
        spins_until_yield(&mut waiter);
        assert_eq!([waiter.pause(), waiter.pause()], [Paused::Yielded; 2]);
        assert_eq!(waiter.pause(), Paused::Exhausted);
    }

    #[test]
    fn ranks_that_exceed_their_cores_never_spin() {
        let mut waiter = Waiter::new(WaitPolicy::for_load(8, 2));
        assert_eq!(waiter.pause(), Paused::Yielded);
    }
}
