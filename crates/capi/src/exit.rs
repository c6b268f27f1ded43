//! Owns the end of a process whose program leaves communicators behind: they leave in order, for a rank
//! that is gone without a word ends the calls that others are still in.
//!
//! A child that was forked inherits the handler, and its parent's communicators: it leaves those that it made itself.

use std::ffi::c_int;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::communicator::COMMUNICATORS;
use crate::errors::caught;
use crate::log;

// SAFETY: as ISO C declares it.
unsafe extern "C" {
    safe fn atexit(function: extern "C" fn()) -> c_int;
}

/// The process that made a communicator last: a forked child that made none has another number.
static OWNER: AtomicU32 = AtomicU32::new(0);
static PREPARED: Once = Once::new();

/// Sees to it that communicators which are alive when the program ends leave in order.
pub fn prepare() {
    PREPARED.call_once(|| {
        // Where it cannot be had, peers are told of a death: nothing that a program could change.
        atexit(leave);
    });
    OWNER.store(std::process::id(), Ordering::Release);
}

/// Their handles stay alive: destructors of the program that run later find them destroyed already, which is no error.
extern "C" fn leave() {
    let process = std::process::id();
    if OWNER.load(Ordering::Acquire) != process {
        return;
    }
    // Nobody is left who could be told of a fault.
    let _ = caught(|| {
        log::end();
        let own = COMMUNICATORS.all().into_iter().filter(|comm| comm.process == process);
        own.for_each(|comm| comm.leave_if_idle());
        Ok(())
    });
}
