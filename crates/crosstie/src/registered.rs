//! Owns [`Registered`]: a vector of the caller whose memory the ranks of a host share for the time being.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crosstie_transport::Registered as Elements;

use crate::{Communicator, Element, Error, memory};

/// A vector that [`Communicator::register`] registered: elements at the address where they were, that
/// calls copy less of.
///
/// The other ranks of this rank's host read it where it lies, as a [`Buffer`](crate::Buffer).
pub struct Registered<T: Element>(Elements<T>);

/// A vector that could not be registered, and why; the vector is as it was.
///
/// The `?` operator makes its error of it, where the vector is of no further use.
#[derive(Debug)]
pub struct Unregistered<T> {
    /// Why.
    pub error: Box<Error>,
    /// The vector.
    pub elements: Vec<T>,
}

impl<T> From<Unregistered<T>> for Error {
    fn from(refused: Unregistered<T>) -> Self {
        *refused.error
    }
}

impl Communicator {
    /// Makes memory that is there already as good for calls on this communicator as
    /// [allocated](Self::alloc) memory.
    ///
    /// The pages under `elements` are replaced by pages that the host's ranks share, so it costs a copy
    /// and a system call, here and when it ends: register once what many calls use, and large vectors
    /// rather than many small ones. The pieces of a vector on its first and last page of memory stay
    /// private where they do not fill it. What was set for the pages (huge pages, locks, a NUMA policy) is
    /// lost. A child that this process forks shares the memory while it is registered. Where ranks are
    /// threads of one process nothing changes.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut gradients = comm.register(vec![1.0_f32; 1 << 20])?;
    /// comm.all_reduce_in_place(&mut gradients, ReduceOp::Sum)?;
    /// assert!(gradients.iter().all(|&x| x == 2.0));
    /// let gradients: Vec<f32> = gradients.into_vec();
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// With the vector: [`Error::Transport`] when the heap (setting `CROSSTIE_HEAP_BYTES`) has no room for
    /// as much, or the host maps no more; [`Error::Memory`] when it would be beyond the memory limit.
    pub fn register<T: Element>(&self, elements: Vec<T>) -> Result<Registered<T>, Unregistered<T>> {
        let bytes = size_of_val(&elements[..]) as u64;
        if self.settings.memory_limit.is_some() {
            let in_use = self.memory_bytes();
            if let Err(error) = memory::check(&self.settings, "registered memory", bytes, in_use) {
                return Err(Unregistered { error: Box::new(error), elements });
            }
        }
        match self.heap.register(elements) {
            Ok(elements) => Ok(Registered(elements)),
            Err((error, elements)) => Err(Unregistered { error: Box::new(error.into()), elements }),
        }
    }
}

impl<T: Element> Registered<T> {
    /// Bytes on whole pages, which the other ranks of the host read where they lie; 0 where ranks are
    /// threads of one process.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|comm| {
    /// let registered = comm.register(vec![0_u8; 1 << 20])?;
    /// assert_eq!(registered.lendable_bytes(), 0, "these ranks are threads");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn lendable_bytes(&self) -> usize {
        self.0.lendable_bytes()
    }

    /// The vector, in private memory again.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(1).run(|comm| {
    /// let registered = comm.register(vec![1, 2, 3])?;
    /// assert_eq!(registered.into_vec(), [1, 2, 3]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn into_vec(self) -> Vec<T> {
        self.0.into_vec()
    }
}

impl<T: Element> Deref for Registered<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Element> DerefMut for Registered<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Element> fmt::Debug for Registered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registered {} {:?}", self.len(), T::TYPE)
    }
}
