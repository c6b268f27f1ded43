//! Owns what an operation tells those who follow it, and what may end it from outside.

use crate::{ExecError, Waiting};

/// Follows one operation, in whatever thread drives it.
pub trait Watch {
    /// It has come to the head of the queue, and begins.
    fn began(&self) {}

    /// Whether it is to end now, because something outside has failed. Looked at whenever nothing
    /// moves; the doorbell's ring makes a sleeper look.
    fn interrupted(&self) -> bool;

    /// It has moved something since the last time; told before it waits, and now and then while it
    /// is busy.
    fn moved(&self) {}

    /// Whether somebody wants to know what it waits for. Looked at together with
    /// [`interrupted`](Self::interrupted).
    fn asks(&self) -> bool {
        false
    }

    /// What its unfinished blocks wait for, as [asked](Self::asks).
    fn tell(&self, waiting: Vec<Waiting>) {
        drop(waiting);
    }

    /// It is over.
    fn ended(&self, result: &Result<(), ExecError>) {
        let _ = result;
    }
}

impl<F: Fn() -> bool> Watch for F {
    fn interrupted(&self) -> bool {
        self()
    }
}
