//! Owns [`Faulty`]: an endpoint whose calls come to nothing for a while, or fail, as a seed says.

use std::os::fd::BorrowedFd;

use crosstie_transport::seam::{
    Arrival, Counters, Endpoint, Grant, LendLimits, Limits, Receiver, SendSpace, Sender,
    WireCounters,
};
use crosstie_transport::{Heap, Region, TransportError};

use crate::random::Random;

/// What goes wrong, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Of 100 calls that could give something, how many begin a delay instead.
    pub delay_percent: u64,
    /// The longest delay, in calls of the same kind.
    pub longest_delay: u64,
    /// Of 100 calls of `progress`, how many move nothing.
    pub withhold_percent: u64,
    /// Of 100 posted receives, how many reach the transport only in a later `progress`.
    pub late_grant_percent: u64,
    /// From which call on every peer is gone, naming this rank; `None` for never.
    pub death: Option<(u64, u32)>,
}

impl Faults {
    /// Delays of every kind, and no death.
    pub const DELAYS: Self = Self {
        delay_percent: 30,
        longest_delay: 8,
        withhold_percent: 30,
        late_grant_percent: 40,
        death: None,
    };
}

/// An endpoint that is worse than the one it wraps, but keeps the seam's promises.
pub struct Faulty<E> {
    inner: E,
    faults: Faults,
    random: Random,
    calls: u64,
    delay: u64,
    held: Vec<Grant>,
}

impl<E: Endpoint> Faulty<E> {
    /// Wraps `inner`; equal seeds and calls give equal faults.
    pub const fn new(inner: E, faults: Faults, seed: u64) -> Self {
        Self { inner, faults, random: Random::new(seed), calls: 0, delay: 0, held: Vec::new() }
    }

    fn check_death(&mut self, doing: &'static str) -> Result<(), TransportError> {
        self.calls += 1;
        match self.faults.death {
            Some((call, peer)) if self.calls >= call => {
                Err(TransportError::PeerGone { peer, doing, source: None })
            }
            _ => Ok(()),
        }
    }

    fn delayed(&mut self) -> bool {
        if self.delay > 0 {
            self.delay -= 1;
            return true;
        }
        if self.random.chance(self.faults.delay_percent) {
            self.delay = self.random.below(self.faults.longest_delay + 1);
        }
        false
    }

    /// Posts receives that were held back, at most one for each call: a short move.
    fn post_held(&mut self) -> Result<(), TransportError> {
        if self.held.is_empty() || self.random.chance(self.faults.late_grant_percent) {
            return Ok(());
        }
        let grant = self.held.remove(0);
        self.inner.post(&[grant])
    }
}

impl<E: Endpoint> Endpoint for Faulty<E> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn sender(&self, peer: u32, channel: u16) -> Option<Sender> {
        self.inner.sender(peer, channel)
    }

    fn receiver(&self, peer: u32, channel: u16) -> Option<Receiver> {
        self.inner.receiver(peer, channel)
    }

    fn begin_call(&mut self, tag: u32) {
        self.inner.begin_call(tag);
    }

    fn begin_send(
        &mut self,
        sender: Sender,
        len: usize,
    ) -> Result<Option<SendSpace>, TransportError> {
        self.check_death("sending")?;
        if self.delayed() { Ok(None) } else { self.inner.begin_send(sender, len) }
    }

    fn begin_lend(
        &mut self,
        sender: Sender,
        value: Region,
    ) -> Result<Option<SendSpace>, TransportError> {
        self.check_death("sending")?;
        if self.delayed() { Ok(None) } else { self.inner.begin_lend(sender, value) }
    }

    fn neighbours(&self) -> usize {
        self.inner.neighbours()
    }

    fn heap(&self) -> Option<&Heap> {
        self.inner.heap()
    }

    fn lends(&self) -> Option<LendLimits> {
        self.inner.lends()
    }

    fn lend_from(&mut self, bytes: usize) {
        self.inner.lend_from(bytes);
    }

    fn borrower(&mut self) -> Option<u32> {
        self.inner.borrower()
    }

    fn withdraw(&mut self) {
        self.inner.withdraw();
    }

    fn commit(&mut self, sender: Sender) -> Result<(), TransportError> {
        self.check_death("sending")?;
        self.inner.commit(sender)
    }

    fn send_from(&mut self, sender: Sender, value: Region) -> Result<(), TransportError> {
        self.check_death("sending")?;
        self.inner.send_from(sender, value)
    }

    fn sent(&mut self, sender: Sender) -> bool {
        // A dead endpoint never touches the caller's memory again.
        self.check_death("sending").is_err() || !self.delayed() && self.inner.sent(sender)
    }

    fn most_posted(&self) -> usize {
        self.inner.most_posted()
    }

    fn post(&mut self, grants: &[Grant]) -> Result<(), TransportError> {
        self.check_death("receiving")?;
        for grant in grants {
            // Those of a connection stay in order.
            let follows = self.held.iter().any(|held| held.receiver == grant.receiver);
            if follows || self.random.chance(self.faults.late_grant_percent) {
                self.held.push(*grant);
            } else {
                self.inner.post(&[*grant])?;
            }
        }
        Ok(())
    }

    fn poll(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        self.check_death("receiving")?;
        let held = self.held.iter().any(|grant| grant.receiver == receiver);
        if self.delayed() || held { Ok(None) } else { self.inner.poll(receiver) }
    }

    fn intact(&mut self, receiver: Receiver) -> Result<(), TransportError> {
        self.check_death("receiving")?;
        self.inner.intact(receiver)
    }

    fn take_over(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        self.check_death("receiving")?;
        self.inner.take_over(receiver)
    }

    fn release(&mut self, receiver: Receiver) {
        self.inner.release(receiver);
    }

    fn progress(&mut self) -> Result<bool, TransportError> {
        if self.check_death("moving bytes").is_err() {
            return Ok(false);
        }
        self.post_held()?;
        // What is withheld is still to be done, so nobody may sleep on it.
        if self.random.chance(self.faults.withhold_percent) {
            return Ok(true);
        }
        self.inner.progress().map(|moved| moved || !self.held.is_empty())
    }

    fn flushed(&self) -> bool {
        self.inner.flushed()
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wake_fd()
    }

    fn arm(&mut self) -> Result<(), TransportError> {
        self.inner.arm()
    }

    fn drained(&mut self) -> Result<bool, TransportError> {
        if self.check_death("ending").is_err() { Ok(true) } else { self.inner.drained() }
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn counters_by_medium(&self) -> Vec<(&'static str, Counters)> {
        self.inner.counters_by_medium()
    }

    fn wires(&self) -> Vec<WireCounters> {
        self.inner.wires()
    }

    fn slot_memory(&self) -> u64 {
        self.inner.slot_memory()
    }
}
