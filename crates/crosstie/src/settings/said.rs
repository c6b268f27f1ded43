//! Owns what a process has said of its settings: each thing once, however many communicators it makes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Whether `text` is said for the first time.
pub(super) fn first(text: &str) -> bool {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // Nothing that holds it can panic halfway through a change.
    SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::first;

    #[test]
    fn a_thing_is_said_once() {
        assert!(first("this") && !first("this") && first("that"));
    }
}
