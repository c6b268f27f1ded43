//! Loom checks of the owner word on the production source, and of the need for each fence.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::{Driver, OwnerWord, publish_fence};
use crate::primitive::{AtomicU32, Fence, Ordering, leave_out};

/// What stands in for the eventfd: a counter that `ring` adds to and `wait` takes.
pub(crate) struct Bell {
    count: Mutex<u32>,
    rung: Condvar,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { count: Mutex::new(0), rung: Condvar::new() }
    }

    pub(crate) fn ring(&self) {
        *self.count.lock().unwrap() += 1;
        self.rung.notify_all();
    }

    pub(crate) fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.rung.wait(count).unwrap();
        }
        *count = 0;
    }
}

struct Rank {
    word: OwnerWord,
    bell: Bell,
    /// What peers publish: how many messages have come.
    messages: AtomicU32,
}

impl Rank {
    fn new() -> Arc<Self> {
        Arc::new(Self { word: OwnerWord::new(), bell: Bell::new(), messages: AtomicU32::new(0) })
    }

    fn publish(&self, message: u32) {
        self.messages.store(message, Ordering::Release);
        publish_fence();
        self.word.ring_if_asleep(|| self.bell.ring());
    }

    fn arrived(&self, message: u32) -> bool {
        self.messages.load(Ordering::Acquire) >= message
    }

    /// A blocking call that ends when `message` has come.
    fn call(&self, message: u32) {
        assert!(self.word.take(Driver::Application));
        while !self.arrived(message) {
            self.word.fall_asleep();
            if !self.arrived(message) {
                self.bell.wait();
            }
            assert!(self.word.take(Driver::Application));
        }
        self.word.leave();
    }
}

/// A wake-up that is lost shows as a deadlock.
fn a_peer_publishes_while_the_owner_sleeps() {
    loom::model(|| {
        let rank = Rank::new();
        let peer = Arc::clone(&rank);
        let publisher = thread::spawn(move || (1..=2).for_each(|message| peer.publish(message)));
        rank.call(2);
        publisher.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost() {
    a_peer_publishes_while_the_owner_sleeps();
}

#[test]
fn messages_that_come_between_calls_need_no_ring() {
    loom::model(|| {
        let rank = Rank::new();
        let peer = Arc::clone(&rank);
        let publisher = thread::spawn(move || (1..=2).for_each(|message| peer.publish(message)));
        rank.call(1);
        rank.call(2);
        publisher.join().unwrap();
    });
}

#[test]
fn two_peers_wake_one_sleeper() {
    loom::model(|| {
        let rank = Rank::new();
        let second = Arc::new(AtomicU32::new(0));
        let (peer, flag) = (Arc::clone(&rank), Arc::clone(&second));
        let one = {
            let peer = Arc::clone(&peer);
            thread::spawn(move || peer.publish(1))
        };
        let other = thread::spawn(move || {
            flag.store(1, Ordering::Release);
            publish_fence();
            peer.word.ring_if_asleep(|| peer.bell.ring());
        });
        let done = || rank.arrived(1) && second.load(Ordering::Acquire) == 1;
        assert!(rank.word.take(Driver::Application));
        while !done() {
            rank.word.fall_asleep();
            if !done() {
                rank.bell.wait();
            }
            assert!(rank.word.take(Driver::Application));
        }
        one.join().unwrap();
        other.join().unwrap();
    });
}

/// Rule 6: the background thread of a relay, whose application has just left. Lost relay work shows as a
/// deadlock.
fn a_peer_publishes_relay_work_while_the_application_is_away() {
    loom::model(|| {
        let rank = Rank::new();
        assert!(rank.word.take(Driver::Application));
        let peer = Arc::clone(&rank);
        let publisher = thread::spawn(move || {
            peer.messages.store(1, Ordering::Release);
            publish_fence();
            peer.word.ring_for_work(|| peer.bell.ring());
        });
        rank.word.just_leave();
        // The tick has come.
        while !rank.arrived(1) {
            assert!(rank.word.take(Driver::Background));
            if rank.arrived(1) {
                break;
            }
            rank.word.go_away();
            if !rank.arrived(1) {
                rank.bell.wait();
            }
        }
        publisher.join().unwrap();
    });
}

#[test]
fn relay_work_rings_a_rank_that_is_away() {
    a_peer_publishes_relay_work_while_the_application_is_away();
}

#[test]
#[ignore = "fails on purpose; run by `each_fence_is_needed`"]
fn relay_work_without_the_publishers_fence() {
    leave_out(Some(Fence::Publish));
    a_peer_publishes_relay_work_while_the_application_is_away();
}

#[test]
#[ignore = "fails on purpose; run by `each_fence_is_needed`"]
fn relay_work_without_the_sleepers_fence() {
    leave_out(Some(Fence::Sleep));
    a_peer_publishes_relay_work_while_the_application_is_away();
}

#[test]
fn two_takers_never_drive_at_once_and_see_each_others_work() {
    loom::model(|| {
        let shared = Arc::new((OwnerWord::new(), UnsafeCell::new(0u32)));
        let drive = |shared: &(OwnerWord, UnsafeCell<u32>), driver, asleep| {
            let taken = shared.0.take(driver);
            if taken {
                // SAFETY: the driver alone touches the engine's state; loom fails if not.
                shared.1.with_mut(|state| unsafe { *state += 1 });
                if asleep { shared.0.fall_asleep() } else { shared.0.leave() }
            }
            u32::from(taken)
        };
        let other = Arc::clone(&shared);
        let background = thread::spawn(move || drive(&other, Driver::Background, true));
        let mut taken = drive(&shared, Driver::Application, false);
        taken += drive(&shared, Driver::Application, true);
        taken += background.join().unwrap();
        assert!(taken >= 1, "an idle word was refused");
        // SAFETY: the other thread has ended.
        shared.1.with(|state| assert_eq!(unsafe { *state }, taken));
    });
}

#[test]
#[ignore = "fails on purpose; run by `each_fence_is_needed`"]
fn without_the_publishers_fence() {
    leave_out(Some(Fence::Publish));
    a_peer_publishes_while_the_owner_sleeps();
}

#[test]
#[ignore = "fails on purpose; run by `each_fence_is_needed`"]
fn without_the_sleepers_fence() {
    leave_out(Some(Fence::Sleep));
    a_peer_publishes_while_the_owner_sleeps();
}

/// The background thread of a relay waits at the bell at which its application sleeps, and may take a ring
/// that was for that. It ends when it was woken once.
fn duty_takes_a_ring_that_was_for_the_application(rings_again: bool) {
    loom::model(move || {
        let rank = Rank::new();
        let peer = Arc::clone(&rank);
        let publisher = thread::spawn(move || peer.publish(1));
        let served = Arc::clone(&rank);
        let duty = thread::spawn(move || {
            served.bell.wait();
            if rings_again && !served.word.is_left() {
                served.bell.ring();
            }
        });
        rank.call(1);
        // Where nobody was rung: so that the thread ends.
        rank.bell.ring();
        publisher.join().unwrap();
        duty.join().unwrap();
    });
}

#[test]
fn a_ring_that_duty_took_is_given_on() {
    duty_takes_a_ring_that_was_for_the_application(true);
}

#[test]
#[ignore = "fails on purpose; run by `each_rule_is_needed`"]
fn without_ringing_again() {
    duty_takes_a_ring_that_was_for_the_application(false);
}

/// Duty serves between two calls, under the engine's lock, and says that it is away; a message for the second
/// call, which rings nobody then, is found by its look.
#[test]
fn a_call_after_duty_finds_what_came_meanwhile() {
    loom::model(|| {
        let rank = Rank::new();
        let helm = Arc::new(Mutex::new(()));
        let peer = Arc::clone(&rank);
        let publisher = thread::spawn(move || peer.publish(1));
        assert!(rank.word.take(Driver::Application));
        rank.word.just_leave();
        let (served, at_helm) = (Arc::clone(&rank), Arc::clone(&helm));
        let duty = thread::spawn(move || {
            if !served.word.is_left() {
                return;
            }
            let Ok(_helm) = at_helm.try_lock() else { return };
            assert!(
                served.word.take(Driver::Background),
                "the lock is held, and the word is not free"
            );
            served.word.go_away();
        });
        let calling = helm.lock().unwrap();
        rank.call(1);
        drop(calling);
        publisher.join().unwrap();
        duty.join().unwrap();
    });
}

/// Rule B2 of the protocol: an operation fails while the other thread may be reading from a socket into its
/// memory. Memory goes back only when the one that failed has driven, and has said so while it did.
fn an_operation_fails(holds_the_word: bool) {
    loom::model(move || {
        struct Engine {
            word: OwnerWord,
            poisoned: AtomicU32,
            place: UnsafeCell<u32>,
        }
        let engine = Arc::new(Engine {
            word: OwnerWord::new(),
            poisoned: AtomicU32::new(0),
            place: UnsafeCell::new(0),
        });
        let other = Arc::clone(&engine);
        let background = thread::spawn(move || {
            if other.word.take(Driver::Background) {
                if other.poisoned.load(Ordering::Relaxed) == 0 {
                    // SAFETY: the driver alone lands messages; loom fails if not.
                    other.place.with_mut(|place| unsafe { *place = 7 });
                }
                other.word.leave();
            }
        });
        while holds_the_word && !engine.word.take(Driver::Application) {
            thread::yield_now();
        }
        engine.poisoned.store(1, Ordering::Relaxed);
        if holds_the_word {
            engine.word.leave();
        }
        // SAFETY: the memory is the application's again; loom fails if not.
        engine.place.with_mut(|place| unsafe { *place = 1 });
        background.join().unwrap();
    });
}

#[test]
fn memory_goes_back_when_nobody_lands_in_it() {
    an_operation_fails(true);
}

#[test]
#[ignore = "fails on purpose; run by `each_rule_is_needed`"]
fn memory_goes_back_without_the_word() {
    an_operation_fails(false);
}

#[test]
fn each_fence_is_needed() {
    for test in [
        "without_the_publishers_fence",
        "without_the_sleepers_fence",
        "relay_work_without_the_publishers_fence",
        "relay_work_without_the_sleepers_fence",
    ] {
        must_fail(&format!("owner::model::{test}"), "deadlock");
    }
}

#[test]
fn each_rule_is_needed() {
    must_fail("owner::model::without_ringing_again", "deadlock");
    must_fail("owner::model::memory_goes_back_without_the_word", "Causality violation");
}

/// Runs an ignored test, which is to fail and say so: in a process of its own, because a failed model leaves
/// loom unusable.
pub(crate) fn must_fail(test: &str, saying: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "{test}: the model passes");
    assert!(said.contains(saying), "{test}: failed for another reason:\n{said}");
}
