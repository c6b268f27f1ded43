//! Loom check of the sender's word: what was withdrawn is never used, and each fence is needed.

use loom::sync::Arc;
use loom::thread;

use super::{Said, SenderWord, withdrawn_fence};
use crate::owner::model::must_fail;
use crate::primitive::{AtomicU32, Fence, Ordering, leave_out};

/// What was lent is 1, and 2 once its owner has it back. It is written while it may be read, as the memory
/// of a process may be; so it is an atomic here.
fn the_owner_writes_while_the_receiver_reads() {
    loom::model(|| {
        let shared = Arc::new((SenderWord::new(), AtomicU32::new(1)));
        let lent = Arc::clone(&shared);
        let sender = thread::spawn(move || {
            lent.0.withdraw();
            withdrawn_fence();
            lent.1.store(2, Ordering::Relaxed);
        });
        let read = shared.1.load(Ordering::Relaxed);
        let said = shared.0.after_reading();
        assert!(said != Said::Open || read == 1, "what was withdrawn is used");
        sender.join().unwrap();
    });
}

#[test]
fn what_was_withdrawn_is_not_used() {
    the_owner_writes_while_the_receiver_reads();
}

#[test]
#[ignore = "fails on purpose; run by `each_fence_is_needed`"]
fn without_the_senders_fence() {
    leave_out(Some(Fence::Withdraw));
    the_owner_writes_while_the_receiver_reads();
}

#[test]
#[ignore = "fails on purpose; run by `each_fence_is_needed`"]
fn without_the_receivers_fence() {
    leave_out(Some(Fence::Read));
    the_owner_writes_while_the_receiver_reads();
}

#[test]
fn each_fence_is_needed() {
    for test in ["without_the_senders_fence", "without_the_receivers_fence"] {
        must_fail(&format!("sender_word::model::{test}"), "what was withdrawn is used");
    }
}
