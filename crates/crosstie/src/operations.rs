//! Owns the collectives on typed slices that block until they are done.

use crosstie_exec::Buffers;
use crosstie_ir::{Collective, ReduceOp};

use crate::{Communicator, Element, Error};

impl Communicator {
    /// Reduces `send` of all ranks, element by element; every rank gets the result in `recv`.
    ///
    /// Both have the same length, on all ranks.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths differ; [`Error::Failed`].
    #[track_caller]
    pub fn all_reduce<T: Element>(
        &mut self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        self.call(Collective::AllReduce, T::TYPE, Some(op), out_of_place(send, recv))
    }

    /// As [`all_reduce`](Self::all_reduce), in one buffer.
    ///
    /// # Errors
    /// [`Error::Failed`].
    #[track_caller]
    pub fn all_reduce_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        self.call(Collective::AllReduce, T::TYPE, Some(op), in_place(buffer))
    }

    /// Reduces `send` of all ranks; rank r gets part r of the result in `recv`.
    ///
    /// `send` holds `size()` parts of `recv.len()` elements.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`].
    #[track_caller]
    pub fn reduce_scatter<T: Element>(
        &mut self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        self.call(Collective::ReduceScatter, T::TYPE, Some(op), out_of_place(send, recv))
    }

    /// As [`reduce_scatter`](Self::reduce_scatter), in one buffer of `size()` parts: rank r's
    /// result is left in part r, and the other parts hold nothing of use.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    #[track_caller]
    pub fn reduce_scatter_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        self.call(Collective::ReduceScatter, T::TYPE, Some(op), in_place(buffer))
    }

    /// Puts `send` of all ranks one after the other, in rank order, into `recv` of every rank.
    ///
    /// `recv` holds `size()` parts of `send.len()` elements.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`].
    #[track_caller]
    pub fn all_gather<T: Element>(&mut self, send: &[T], recv: &mut [T]) -> Result<(), Error> {
        self.call(Collective::AllGather, T::TYPE, None, out_of_place(send, recv))
    }

    /// As [`all_gather`](Self::all_gather), in one buffer of `size()` parts, of which rank r has
    /// filled part r.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    #[track_caller]
    pub fn all_gather_in_place<T: Element>(&mut self, buffer: &mut [T]) -> Result<(), Error> {
        self.call(Collective::AllGather, T::TYPE, None, in_place(buffer))
    }

    /// Sends part r of `send` to rank r; part s of `recv` comes from rank s.
    ///
    /// Both hold `size()` parts of equal length, on all ranks.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`].
    #[track_caller]
    pub fn all_to_all<T: Element>(&mut self, send: &[T], recv: &mut [T]) -> Result<(), Error> {
        self.call(Collective::AllToAll, T::TYPE, None, out_of_place(send, recv))
    }

    /// As [`all_to_all`](Self::all_to_all), in one buffer.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    #[track_caller]
    pub fn all_to_all_in_place<T: Element>(&mut self, buffer: &mut [T]) -> Result<(), Error> {
        self.call(Collective::AllToAll, T::TYPE, None, in_place(buffer))
    }
}

fn out_of_place<'a, T: Element>(send: &'a [T], recv: &'a mut [T]) -> Buffers<'a> {
    Buffers::OutOfPlace { send: bytemuck::cast_slice(send), recv: bytemuck::cast_slice_mut(recv) }
}

fn in_place<T: Element>(buffer: &mut [T]) -> Buffers<'_> {
    Buffers::InPlace(bytemuck::cast_slice_mut(buffer))
}
