//! Owns a rank's duty to the others of its node: the background thread sends on what they put into this
//! rank's relay boxes while the application is elsewhere.
//!
//! # The protocol
//! It goes on with the rules of `owner` in the transport crate (6) and of `queue` here.
//!
//! 1. While the application makes calls, whoever drives them serves. The background thread only looks, at
//!    least once in a [`TICK`], whether the application has left.
//! 2. If so, it takes the engine, serves until nothing is left, says that it is away and looks once more:
//!    from then on peers ring. Then it waits at the doorbell and at the endpoints' descriptors, without
//!    holding anything, so that a call of the application need not wait for it.
//! 3. Woken there, it finds nobody at the engine and serves, or somebody: then it rings again, for the ring
//!    that it took may have been for the application, which sleeps at the same bell, and goes on with 1.
//! 4. A call that ends while it waits there has made peers stop ringing, and leaves work that it has not
//!    looked for: the caller rings, and the thread goes on with 1.
//! 5. When the application has dropped the communicator and others of the node have not, it goes on until
//!    they have: see `retirement`.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crosstie_transport::Driver;

use crate::machine::Machine;
use crate::queue::{Core, Helm, lock};
use crate::retirement::Retirement;

/// How long relay work waits at most behind an application that has just left: the longest tick where looks
/// are in vain, and the shortest where they find something, for an application that is busy with another
/// communicator. A look costs a few microseconds, of each rank.
const TICK: Duration = Duration::from_millis(2);
const SHORTEST_TICK: Duration = Duration::from_micros(125);

/// How long the thread sleeps without looking around by itself.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Looks in vain, with the processor offered to others in between, before it waits.
const YIELDS: u32 = 16;

/// Where the background thread of a rank that works for others stands.
#[derive(Debug, Default)]
pub(crate) struct Duty {
    /// It waits at the doorbell, and expects peers to ring.
    is_parked: AtomicBool,
    /// How long it sleeps before the next look; the thread's own.
    tick_ns: AtomicU64,
}

impl Core {
    /// One round of the background thread of a rank that works for others. It returns when there may be
    /// something else to do.
    pub(crate) fn serve(&self) {
        let Some(mut helm) = self.helm_for_duty() else { return self.sleep_a_tick() };
        if !self.serve_all(&mut helm) {
            drop(helm);
            self.next_turn();
            return self.sleep_a_tick();
        }
        let wake = helm.machine.wake_fds();
        // Whoever takes the helm next knows it, by the helm's lock.
        self.duty.is_parked.store(wake.is_ok(), Ordering::Relaxed);
        drop(helm);
        self.next_turn();
        let Ok(wake) = wake else { return self.sleep_a_tick() };
        let fds: Vec<BorrowedFd<'_>> = wake.iter().map(AsFd::as_fd).collect();
        let waited = self.doorbell.wait(&fds, LONGEST_SLEEP);
        self.duty.is_parked.store(false, Ordering::SeqCst);
        if !self.doorbell.is_left() {
            self.doorbell.ring();
        }
        if waited.is_err() || !self.doorbell.is_away() {
            self.sleep_a_tick();
        }
    }

    /// The application is between calls from now on: rules 1 and 4.
    pub(crate) fn leave_to_duty(&self) {
        self.doorbell.just_leave();
        if self.duty.is_parked.load(Ordering::SeqCst) {
            self.doorbell.ring();
        }
    }

    /// The helm, if the application has left and nobody wants it.
    fn helm_for_duty(&self) -> Option<MutexGuard<'_, Helm>> {
        if self.is_wanted() || !self.doorbell.is_left() {
            return None;
        }
        self.try_helm().filter(|helm| !helm.machine.poisoned)
    }

    /// Serves until nothing is left, and says that it is away; `false` when somebody else wants to drive.
    fn serve_all(&self, helm: &mut Helm) -> bool {
        let mut idle = 0;
        loop {
            if !self.doorbell.take(Driver::Background) {
                return false;
            }
            while idle < YIELDS || helm.machine.is_due() {
                if self.is_wanted() {
                    self.doorbell.just_leave();
                    return false;
                }
                idle = if self.serve_once(&mut helm.machine) { 0 } else { idle + 1 };
                if idle > 0 {
                    std::thread::yield_now();
                }
            }
            self.doorbell.go_away();
            // An endpoint that fails altogether is the next call's concern.
            let _ = helm.machine.arm();
            if !self.serve_once(&mut helm.machine) && !helm.machine.is_due() {
                return true;
            }
            idle = 0;
        }
    }

    /// Whether anything moved; then the next look comes soon, be it that the application wants the engine
    /// before all is done. An endpoint that fails altogether is the next call's concern.
    fn serve_once(&self, machine: &mut Machine) -> bool {
        let mut moved = false;
        for endpoint in &mut machine.endpoints {
            moved |= endpoint.progress().unwrap_or(false);
        }
        if moved {
            self.duty.tick_ns.store(SHORTEST_TICK.as_nanos() as u64, Ordering::Relaxed);
        }
        moved
    }

    /// Sleeps until it is time to look again, or something was submitted.
    fn sleep_a_tick(&self) {
        let tick = Duration::from_nanos(self.duty.tick_ns.load(Ordering::Relaxed));
        let longer = (tick + tick / 8).clamp(SHORTEST_TICK, TICK);
        self.duty.tick_ns.store(longer.as_nanos() as u64, Ordering::Relaxed);
        let queue = lock(&self.queue);
        let may_drive = || self.has_pending() && !self.is_wanted() && self.try_helm().is_some();
        if !queue.is_stopping() && !may_drive() {
            drop(self.turn.wait_timeout(queue, tick));
        }
    }

    /// After the last call of this rank: serves until the others of the node have left, too, or there is no
    /// more reason to wait for them, and closes the connections.
    pub(crate) fn retire(&self, mut retirement: Retirement) {
        loop {
            let mut helm = lock(&self.helm);
            self.serve_all(&mut helm);
            // Asking tells the relays of this rank that nothing more will come.
            let drained = helm.machine.is_drained();
            let over = drained && helm.machine.is_relieved();
            let wake = helm.machine.wake_fds().unwrap_or_default();
            let carried = helm.machine.carried();
            drop(helm);
            if over || retirement.is_long_enough(carried) {
                // The others are to know that it leaves in order before they see that it has.
                retirement.end();
                lock(&self.helm).machine.endpoints.clear();
                return;
            }
            let fds: Vec<BorrowedFd<'_>> = wake.iter().map(AsFd::as_fd).collect();
            // Where it cannot wait it has waited long enough.
            if self.doorbell.wait(&fds, PAUSE).is_err() {
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

/// Between two looks of a rank that has left, whether the network took the last bytes for instance.
const PAUSE: Duration = Duration::from_millis(5);
