//! Owns the end of a process whose program leaves communicators behind: they leave in order, for a rank
//! that is gone without a word ends the calls that others are still in.

use std::ffi::c_int;
use std::sync::OnceLock;

use crate::communicator::COMMUNICATORS;
use crate::errors::caught;

// SAFETY: as ISO C declares it.
unsafe extern "C" {
    safe fn atexit(function: extern "C" fn()) -> c_int;
}

/// The process that has communicators; a child that it forks has none.
static OWNER: OnceLock<u32> = OnceLock::new();

/// Sees to it that communicators which are alive when the program ends leave in order.
pub fn prepare() {
    OWNER.get_or_init(|| {
        // Where it cannot be had, peers are told of a death: nothing that a program could change.
        atexit(leave);
        std::process::id()
    });
}

extern "C" fn leave() {
    if OWNER.get() != Some(&std::process::id()) {
        return;
    }
    // Nobody is left who could be told of a fault.
    let _ = caught(|| {
        COMMUNICATORS.take_all().iter().for_each(|comm| comm.leave_if_idle());
        Ok(())
    });
}
