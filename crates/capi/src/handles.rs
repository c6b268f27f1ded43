//! Owns the handles that stand for things of the library in a program: which are alive, and of what.
//!
//! A handle looks like a pointer to C, and is a number that is never given twice. So a null, foreign
//! or stale one is told for certain, and none is ever followed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::errors::{Answer, Refusal};

/// What a program holds in its hand: `ncclComm_t`, `ncclWindow_t` and their likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Handle(usize);

impl Handle {
    /// No thing at all.
    pub const NULL: Self = Self(0);

    pub fn is_null(self) -> bool {
        self == Self::NULL
    }
}

/// The things of one kind that are alive.
pub struct Handles<T> {
    kind: &'static str,
    /// How often some have ceased to be alive.
    ends: AtomicU64,
    live: RwLock<BTreeMap<Handle, Arc<T>>>,
}

/// What a thread has found last, and how many had ceased to be alive by then.
pub struct Found<T> {
    handle: Handle,
    ends: u64,
    thing: Arc<T>,
}

/// The number of the next handle, of whatever kind.
static NEXT: AtomicUsize = AtomicUsize::new(1);

impl<T> Handles<T> {
    /// Of things that messages call `kind`.
    pub const fn new(kind: &'static str) -> Self {
        Self { kind, ends: AtomicU64::new(0), live: RwLock::new(BTreeMap::new()) }
    }

    /// A handle for `thing`.
    pub fn insert(&self, thing: Arc<T>) -> Handle {
        let handle = Handle(NEXT.fetch_add(1, Ordering::Relaxed) << SHIFT);
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.insert(handle, thing);
        handle
    }

    /// The thing that `handle` stands for.
    pub fn find(&self, handle: Handle) -> Answer<Arc<T>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.get(&handle).cloned().ok_or_else(|| self.unknown(handle))
    }

    /// The same; of the thing that this thread has found last, without a write to memory that threads
    /// share.
    pub fn find_again(&self, handle: Handle, found: &mut Option<Found<T>>) -> Answer<Arc<T>> {
        let ends = self.ends.load(Ordering::Acquire);
        if let Some(found) = found.as_ref()
            && found.handle == handle
            && found.ends == ends
        {
            return Ok(Arc::clone(&found.thing));
        }
        let thing = self.find(handle)?;
        *found = Some(Found { handle, ends, thing: Arc::clone(&thing) });
        Ok(thing)
    }

    /// The same, which is alive no more.
    pub fn remove(&self, handle: Handle) -> Answer<Arc<T>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        self.ends.fetch_add(1, Ordering::Release);
        live.remove(&handle).ok_or_else(|| self.unknown(handle))
    }

    /// All that are alive.
    pub fn all(&self) -> Vec<Arc<T>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.values().cloned().collect()
    }

    /// Of those that are alive, only these stay so.
    pub fn retain(&self, stays: impl Fn(&T) -> bool) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        self.ends.fetch_add(1, Ordering::Release);
        live.retain(|_, thing| stays(thing));
    }

    #[cold]
    fn unknown(&self, handle: Handle) -> Refusal {
        let kind = self.kind;
        Refusal::argument(match handle.0 {
            0 => format!("the {kind} is null"),
            number => format!(
                "{number:#x} is no {kind} that is alive: it was never made here, or was destroyed or aborted before"
            ),
        })
    }
}

/// Handles lie in the first pages of memory, where no object of a program is.
const SHIFT: u32 = 4;
