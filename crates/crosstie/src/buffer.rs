//! Owns [`Buffer`]: elements in memory that the ranks of a host share, so that calls on them copy less.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crosstie_transport::{HeapBlock, TransportError};

use crate::{Communicator, Element, Error, memory};

/// Elements that [`Communicator::alloc`] allocated: a slice that every call takes as any other.
///
/// The other ranks of this rank's host read it where it lies, where other memory is first copied to
/// where they can. It stays valid when its communicator is gone, and is freed on drop.
pub struct Buffer<T: Element> {
    block: HeapBlock,
    elements: PhantomData<T>,
}

impl Communicator {
    /// `count` elements, all zero, that calls on this communicator need not copy for ranks of the same
    /// host.
    ///
    /// Nobody else takes part; ranks may mix such buffers and others in one call. The buffer takes up
    /// memory in whole pages, once it was touched.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut gradients = comm.alloc::<f32>(1 << 20)?;
    /// let mut sum = comm.alloc::<f32>(1 << 20)?;
    /// gradients.fill(comm.rank() as f32 + 1.0);
    /// comm.all_reduce(&gradients, &mut sum, ReduceOp::Sum)?;
    /// assert!(sum.iter().all(|&x| x == 3.0));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Transport`] (CT-053) when the heap (setting `CROSSTIE_HEAP_BYTES`) or this process's address space
    /// has no room for it; [`Error::Memory`] when it would be beyond the memory limit.
    pub fn alloc<T: Element>(&self, count: usize) -> Result<Buffer<T>, Error> {
        let bytes = count.checked_mul(size_of::<T>()).ok_or(TransportError::HeapFull {
            bytes: u64::MAX,
            in_use: self.heap.in_use() as u64,
            heap_bytes: self.heap.len() as u64,
        })?;
        // In whole pages, as the heap counts them.
        let pages = bytes.checked_next_multiple_of(PAGE_BYTES).unwrap_or(bytes);
        if self.settings.memory_limit.is_some() {
            memory::check(&self.settings, "a buffer", pages as u64, self.memory_bytes())?;
        }
        Ok(Buffer { block: self.heap.alloc(bytes)?, elements: PhantomData })
    }

    /// Bytes of the buffers that [`alloc`](Self::alloc) gave and that are not dropped yet, in whole
    /// pages.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|comm| {
    /// let buffer = comm.alloc::<u8>(1)?;
    /// assert_eq!(comm.allocated_bytes(), 4096);
    /// drop(buffer);
    /// assert_eq!(comm.allocated_bytes(), 0);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn allocated_bytes(&self) -> usize {
        self.heap.in_use()
    }
}

impl<T: Element> Buffer<T> {
    pub(crate) fn into_block(self) -> HeapBlock {
        self.block
    }

    pub(crate) fn from_block(block: HeapBlock) -> Self {
        Self { block, elements: PhantomData }
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // A block begins at the start of a page, so that only an empty one cannot be cast.
        bytemuck::try_cast_slice(self.block.as_slice()).unwrap_or_default()
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::try_cast_slice_mut(self.block.as_mut_slice()).unwrap_or_default()
    }
}

impl<T: Element> AsRef<[T]> for Buffer<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Element> AsMut<[T]> for Buffer<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T: Element> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer of {} {:?}", self.len(), T::TYPE)
    }
}

/// What memory comes in.
const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use crate::{ReduceOp, Settings, Threads, Transport};

    #[test]
    fn buffers_hold_every_count_and_are_freed() {
        let in_use = Threads::new(1).run(|comm| {
            for count in [0, 1, 1000, 1 << 20] {
                let mut buffer = comm.alloc::<f64>(count)?;
                assert_eq!(buffer.len(), count);
                assert!(buffer.iter().all(|&x| x == 0.0));
                buffer.fill(1.5);
                assert_eq!(buffer.as_ref().iter().sum::<f64>(), 1.5 * count as f64);
            }
            Ok(comm.allocated_bytes())
        });
        assert_eq!(in_use.unwrap(), [0]);
    }

    #[test]
    fn a_buffer_larger_than_the_heap_is_refused_with_the_numbers() {
        let settings = Settings::default().transport(Transport::Loopback).heap_bytes(1 << 20);
        let refused = Threads::new(1).settings(settings).run(|comm| {
            assert!(comm.alloc::<u8>(1 << 20).is_ok());
            let texts = [1 << 20, usize::MAX].map(|count| comm.alloc::<f32>(count).unwrap_err());
            Ok(texts.map(|error| error.to_string()))
        });
        for text in refused.unwrap().concat() {
            assert!(text.contains("heap of 1048576"), "{text}");
        }
    }

    #[test]
    fn shared_and_private_buffers_mix_in_one_call() {
        let sums = Threads::new(3).run(|mut comm| {
            let count = 100_003;
            let mine = (comm.rank() + 1) as f32;
            let (mut shared, mut private) = (comm.alloc(count)?, vec![mine; count]);
            shared.fill(mine);
            let mut sum = comm.alloc(count)?;
            let mut plain = vec![0.0; count];
            if comm.rank() == 1 {
                comm.all_reduce(&private, &mut sum, ReduceOp::Sum)?;
                comm.all_reduce_in_place(&mut shared, ReduceOp::Sum)?;
            } else {
                comm.all_reduce(&shared, &mut plain, ReduceOp::Sum)?;
                comm.all_reduce_in_place(&mut private, ReduceOp::Sum)?;
                sum.copy_from_slice(&plain);
                shared.copy_from_slice(&private);
            }
            Ok(sum.iter().chain(shared.iter()).all(|&x| x == 6.0))
        });
        assert_eq!(sums.unwrap(), [true; 3]);
    }

    /// Sums of several windows, over a ring that passes what was lent in a node on over the network.
    #[test]
    fn what_was_lent_travels_on_between_nodes() {
        for ranks in [4, 5] {
            let sums = Threads::new(ranks).nodes(2).run(|mut comm| {
                let count = 400_001;
                let (mut mine, mut sum) = (comm.alloc(count)?, comm.alloc(count)?);
                mine.iter_mut().zip(0u32..).for_each(|(x, i)| *x = (i % 97 + comm.rank()) as i32);
                comm.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
                let before = mine.to_vec();
                comm.all_reduce_in_place(&mut mine, ReduceOp::Sum)?;
                let others = (0..ranks).sum::<u32>();
                let expected = |i: u32| (i % 97 * ranks + others) as i32;
                let right = |x: &[i32]| x.iter().zip(0..).all(|(&x, i)| x == expected(i));
                let unchanged = before.iter().zip(0u32..);
                let unchanged = { unchanged }.all(|(&x, i)| x == (i % 97 + comm.rank()) as i32);
                Ok(right(&sum) && right(&mine) && unchanged)
            });
            assert_eq!(sums.unwrap(), vec![true; ranks as usize]);
        }
    }
}
