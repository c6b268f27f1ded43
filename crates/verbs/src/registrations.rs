//! Owns which memory is registered: at most once each, and never under the name of memory that is gone.
//!
//! An address says nothing: memory that was freed and mapped again has the same one, but other pages, which the
//! device does not know. So memory is known by its allocation, whose serial is never given twice. Allocations that
//! have ended are forgotten ([`Registrations::keep`]); and if nobody looks for them, the next allocation at the address of
//! one ends the old registration before it begins its own.

use std::any::Any;
use std::collections::BTreeMap;

use crosstie_transport::{Allocation, Region};

use crate::{Domain, Keys, Registration, VerbsError};

/// What registers memory.
pub trait Registrar {
    /// Registered memory; dropping it ends that.
    type Registered;

    /// Registers memory, of which `owner` lives as long as its registration.
    ///
    /// # Safety
    /// As for [`Domain::register`].
    ///
    /// # Errors
    /// [`VerbsError`].
    unsafe fn register(
        &self,
        region: Region,
        owner: Box<dyn Any + Send>,
    ) -> Result<Self::Registered, VerbsError>;

    /// Its keys.
    fn keys(registered: &Self::Registered) -> Keys;
}

impl Registrar for Domain {
    type Registered = Registration;

    unsafe fn register(
        &self,
        region: Region,
        owner: Box<dyn Any + Send>,
    ) -> Result<Registration, VerbsError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::register(self, region, owner) }
    }

    fn keys(registered: &Registration) -> Keys {
        registered.keys()
    }
}

/// The registrations of one protection domain, by address; those that are there do not overlap.
#[derive(Debug)]
pub struct Registrations<R: Registrar> {
    registrar: R,
    by_start: BTreeMap<usize, Entry<R::Registered>>,
    bytes: u64,
    made: u64,
}

#[derive(Debug)]
struct Entry<T> {
    allocation: Allocation,
    registered: T,
}

impl<T> Entry<T> {
    const fn len(&self) -> usize {
        self.allocation.region.len()
    }
}

impl<R: Registrar> Registrations<R> {
    /// None yet.
    pub const fn new(registrar: R) -> Self {
        Self { registrar, by_start: BTreeMap::new(), bytes: 0, made: 0 }
    }

    /// The keys of an allocation, which is registered now if it was not.
    ///
    /// # Safety
    /// The allocation's pages are nobody else's until it is forgotten, or another is asked for at its address, even if
    /// it ends before; and as for [`Domain::register`].
    ///
    /// # Errors
    /// [`VerbsError`].
    pub unsafe fn keys(&mut self, allocation: Allocation) -> Result<Keys, VerbsError> {
        let (start, len) = extent(&allocation.region);
        if let Some(entry) = self.by_start.get(&start)
            && (entry.allocation.serial, entry.len()) == (allocation.serial, len)
        {
            return Ok(R::keys(&entry.registered));
        }
        self.end_overlapping(start, len);
        // SAFETY: the caller's promise; there is no owner to keep, for its end is told.
        let registered = unsafe { self.registrar.register(allocation.region, Box::new(()))? };
        let keys = R::keys(&registered);
        self.by_start.insert(start, Entry { allocation, registered });
        self.bytes += len as u64;
        self.made += 1;
        Ok(keys)
    }

    /// The keys of memory that lies inside a registered allocation as a whole.
    #[inline]
    pub fn find(&self, region: &Region) -> Option<Keys> {
        let (start, len) = extent(region);
        let (first, entry) = self.by_start.range(..=start).next_back()?;
        let inside = start - first;
        (inside.checked_add(len)? <= entry.len()).then(|| R::keys(&entry.registered))
    }

    /// Ends the registrations of all allocations but those that are still there.
    pub fn keep(&mut self, mut is_there: impl FnMut(&Allocation) -> bool) {
        let bytes = &mut self.bytes;
        self.by_start.retain(|_, entry| {
            let stays = is_there(&entry.allocation);
            *bytes -= if stays { 0 } else { entry.len() as u64 };
            stays
        });
    }

    fn end_overlapping(&mut self, start: usize, len: usize) {
        let end = start.saturating_add(len.max(1));
        while let Some((&first, entry)) = self.by_start.range(..end).next_back() {
            if first != start && first.saturating_add(entry.len()) <= start {
                break;
            }
            self.end(first);
        }
    }

    fn end(&mut self, start: usize) {
        if let Some(entry) = self.by_start.remove(&start) {
            self.bytes -= entry.len() as u64;
        }
    }

    /// Bytes that are registered.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Registrations that were made so far.
    pub const fn made(&self) -> u64 {
        self.made
    }
}

fn extent(region: &Region) -> (usize, usize) {
    (region.as_ptr().addr(), region.len())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;

    /// Registers nothing; notes what is registered.
    #[derive(Default, Clone)]
    struct Notes(Rc<RefCell<BTreeMap<u32, (usize, usize)>>>, Rc<RefCell<u32>>);

    struct Noted(Notes, u32);

    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.0.borrow_mut().remove(&self.1);
        }
    }

    impl Registrar for Notes {
        type Registered = Noted;

        unsafe fn register(
            &self,
            region: Region,
            _owner: Box<dyn Any + Send>,
        ) -> Result<Noted, VerbsError> {
            *self.1.borrow_mut() += 1;
            let key = *self.1.borrow();
            self.0.borrow_mut().insert(key, extent(&region));
            Ok(Noted(self.clone(), key))
        }

        fn keys(registered: &Noted) -> Keys {
            Keys { local: registered.1, remote: registered.1 }
        }
    }

    fn asked(all: &mut Registrations<Notes>, serial: u64, region: Region) -> u32 {
        // SAFETY: the registrar of these tests touches no memory.
        unsafe { all.keys(Allocation { serial, region }) }.unwrap().local
    }

    #[test]
    fn memory_is_registered_once_however_often_it_is_asked_for() {
        let mut all = Registrations::new(Notes::default());
        let region = Region::leak(vec![0; 4096].into());
        let key = asked(&mut all, 1, region);
        assert_eq!(asked(&mut all, 1, region), key);
        assert_eq!(all.made(), 1);
        let part = region.part(100, 50).unwrap();
        assert_eq!(all.find(&part).map(|keys| keys.local), Some(key));
    }

    #[test]
    fn memory_that_was_freed_and_mapped_again_gets_keys_of_its_own() {
        let notes = Notes::default();
        let mut all = Registrations::new(notes.clone());
        let region = Region::leak(vec![0; 4096].into());
        let old = asked(&mut all, 1, region);
        // Freed without a word; at its place another, shorter one.
        let new = asked(&mut all, 2, region.part(0, 1000).unwrap());
        assert_ne!(old, new);
        assert_eq!(all.find(&region), None, "the rest of the old one is nobody's");
        assert_eq!(notes.0.borrow().keys().copied().collect::<Vec<_>>(), [new]);
        all.keep(|allocation| allocation.serial == 2);
        assert_eq!(all.find(&region.part(0, 1000).unwrap()).map(|keys| keys.local), Some(new));
        all.keep(|allocation| allocation.serial == 1);
        assert_eq!((all.bytes(), notes.0.borrow().len()), (0, 0));
    }

    proptest! {
        #[test]
        fn no_two_registrations_ever_overlap_and_none_is_lost(
            steps in prop::collection::vec((0usize..64, 1usize..32, any::<bool>()), 1..60),
        ) {
            let notes = Notes::default();
            let mut all = Registrations::new(notes.clone());
            let whole = Region::leak(vec![0; 128].into());
            let mut last = None;
            for (serial, (start, len, forgets)) in (1u64..).zip(steps) {
                let region = whole.part(start, len).unwrap();
                if let Some(ended) = last.take_if(|_| forgets) {
                    all.keep(|allocation| allocation.serial != ended);
                }
                let key = asked(&mut all, serial, region);
                prop_assert_eq!(all.find(&region).map(|keys| keys.local), Some(key));
                last = Some(serial);
                let there: Vec<_> = notes.0.borrow().values().copied().collect();
                let mut sorted = there.clone();
                sorted.sort_unstable();
                prop_assert!(sorted.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0));
                prop_assert_eq!(all.bytes(), there.iter().map(|(_, len)| *len as u64).sum::<u64>());
            }
        }
    }
}
