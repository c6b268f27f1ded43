//! Owns [`Registered`]: memory of the caller that the ranks of a host share for the time being.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crosstie_transport::Registered as Bytes;

use crate::{Communicator, Element, Error, memory};

/// Elements of the caller that [`Communicator::register`] registered: a slice as before, at the same
/// address, that calls copy less of.
///
/// The other ranks of this rank's host read it where it lies, as a [`Buffer`](crate::Buffer). When it is
/// dropped the memory becomes private again, with what it holds.
pub struct Registered<'a, T: Element> {
    bytes: Bytes<'a>,
    elements: PhantomData<&'a mut [T]>,
}

impl Communicator {
    /// Makes memory that is there already as good for calls on this communicator as
    /// [allocated](Self::alloc) memory: for tensors of a framework, say.
    ///
    /// The pages under `elements` are replaced by pages that the host's ranks share, so it costs a copy,
    /// here and when it ends: register once what many calls use. Of a buffer that does not begin and end
    /// with a page of memory, the pieces on the first and last page stay private. A child that this
    /// process forks shares the memory while it is registered. Where ranks are threads of one process
    /// nothing changes.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut gradients = vec![1.0_f32; 1 << 20];
    /// let mut gradients = comm.register(&mut gradients)?;
    /// comm.all_reduce_in_place(&mut gradients, ReduceOp::Sum)?;
    /// assert!(gradients.iter().all(|&x| x == 2.0));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Transport`] for memory that is a mapped file, shared with others or of a stack, and when
    /// the heap (setting `CROSSTIE_HEAP_BYTES`) has no room for as much; [`Error::Memory`] when it would be
    /// beyond the memory limit.
    pub fn register<'a, T: Element>(
        &self,
        elements: &'a mut [T],
    ) -> Result<Registered<'a, T>, Error> {
        let bytes = size_of_val(elements) as u64;
        if self.settings.memory_limit.is_some() {
            memory::check(&self.settings, "registered memory", bytes, self.memory_bytes())?;
        }
        let bytes = self.heap.register(bytemuck::cast_slice_mut(elements))?;
        Ok(Registered { bytes, elements: PhantomData })
    }
}

impl<T: Element> Registered<'_, T> {
    /// Bytes on whole pages, which the other ranks of the host read where they lie; 0 where ranks are
    /// threads of one process.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|comm| {
    /// let mut elements = vec![0_u8; 1 << 20];
    /// let registered = comm.register(&mut elements)?;
    /// assert_eq!(registered.lendable_bytes(), 0, "these ranks are threads");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn lendable_bytes(&self) -> usize {
        self.bytes.lendable_bytes()
    }
}

impl<T: Element> Deref for Registered<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(self.bytes.as_slice())
    }
}

impl<T: Element> DerefMut for Registered<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.bytes.as_mut_slice())
    }
}

impl<T: Element> fmt::Debug for Registered<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registered {} {:?}", self.len(), T::TYPE)
    }
}
