//! Owns the collectives on typed slices that block until they are done.

use crosstie_exec::Buffers;
use crosstie_ir::{Collective, Rank, ReduceOp};

use crate::operation::Operation;
use crate::{Communicator, Element, Error};

/// # Collectives on slices
/// All ranks call the same operation, with the same type, counts, reduction and root, in the same order;
/// whether a call is in place is each rank's own affair. A call returns when this rank's part is done:
/// its buffers are the caller's again, and its result is there. Counts may be zero.
///
/// Each has the same errors: [`Error::Argument`] before anything is sent when lengths, counts or the
/// root do not fit, with the numbers; [`Error::Failed`] when a peer failed, made another call, or did not
/// come before the deadline; [`Error::AlreadyFailed`] on every call after that; [`Error::Forked`] in a
/// forked child.
impl Communicator {
    /// Reduces `send` of all ranks, element by element; every rank gets the result in `recv`.
    ///
    /// Both have the same length, on all ranks.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(3).run(|mut comm| {
    /// let mut sum = [0; 2];
    /// comm.all_reduce(&[1, comm.rank()], &mut sum, ReduceOp::Sum)?;
    /// assert_eq!(sum, [3, 0 + 1 + 2]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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
        let operation = Operation::of::<T>(Collective::AllReduce).reducing(op);
        self.perform(operation, out_of_place(send, recv))
    }

    /// As [`all_reduce`](Self::all_reduce), in one buffer.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(3).run(|mut comm| {
    /// let mut largest = [comm.rank() as f32];
    /// comm.all_reduce_in_place(&mut largest, ReduceOp::Max)?;
    /// assert_eq!(largest, [2.0]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`].
    #[track_caller]
    pub fn all_reduce_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        let operation = Operation::of::<T>(Collective::AllReduce).reducing(op);
        self.perform(operation, in_place(buffer))
    }

    /// Reduces `send` of all ranks; rank r gets part r of the result in `recv`.
    ///
    /// `send` holds `size()` parts of `recv.len()` elements.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut own = [0];
    /// comm.reduce_scatter(&[10, 20], &mut own, ReduceOp::Sum)?;
    /// assert_eq!(own, [[20], [40]][comm.rank() as usize]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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
        let operation = Operation::of::<T>(Collective::ReduceScatter).reducing(op);
        self.perform(operation, out_of_place(send, recv))
    }

    /// As [`reduce_scatter`](Self::reduce_scatter), in one buffer of `size()` parts: rank r's
    /// result is left in part r, and the other parts hold nothing of use.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut parts = [10, 20];
    /// comm.reduce_scatter_in_place(&mut parts, ReduceOp::Sum)?;
    /// let own = comm.rank() as usize;
    /// assert_eq!(parts[own], [20, 40][own]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    #[track_caller]
    pub fn reduce_scatter_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        let operation = Operation::of::<T>(Collective::ReduceScatter).reducing(op);
        self.perform(operation, in_place(buffer))
    }

    /// Puts `send` of all ranks one after the other, in rank order, into `recv` of every rank.
    ///
    /// `recv` holds `size()` parts of `send.len()` elements.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(3).run(|mut comm| {
    /// let mut all = [0; 3];
    /// comm.all_gather(&[comm.rank() * 10], &mut all)?;
    /// assert_eq!(all, [0, 10, 20]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`].
    #[track_caller]
    pub fn all_gather<T: Element>(&mut self, send: &[T], recv: &mut [T]) -> Result<(), Error> {
        self.perform(Operation::of::<T>(Collective::AllGather), out_of_place(send, recv))
    }

    /// As [`all_gather`](Self::all_gather), in one buffer of `size()` parts, of which rank r has
    /// filled part r.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(3).run(|mut comm| {
    /// let own = comm.rank() as usize;
    /// let mut all = [0; 3];
    /// all[own] = own * 10;
    /// # let mut all = all.map(|x| x as u64);
    /// comm.all_gather_in_place(&mut all)?;
    /// assert_eq!(all, [0, 10, 20]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    #[track_caller]
    pub fn all_gather_in_place<T: Element>(&mut self, buffer: &mut [T]) -> Result<(), Error> {
        self.perform(Operation::of::<T>(Collective::AllGather), in_place(buffer))
    }

    /// Sends part r of `send` to rank r; part s of `recv` comes from rank s.
    ///
    /// Both hold `size()` parts of equal length, on all ranks.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut from_each = [0; 2];
    /// let to_each = [comm.rank() * 10, comm.rank() * 10 + 1];
    /// comm.all_to_all(&to_each, &mut from_each)?;
    /// assert_eq!(from_each, [comm.rank(), 10 + comm.rank()]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`].
    #[track_caller]
    pub fn all_to_all<T: Element>(&mut self, send: &[T], recv: &mut [T]) -> Result<(), Error> {
        self.perform(Operation::of::<T>(Collective::AllToAll), out_of_place(send, recv))
    }

    /// As [`all_to_all`](Self::all_to_all), in one buffer.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut parts = [comm.rank() * 10, comm.rank() * 10 + 1];
    /// comm.all_to_all_in_place(&mut parts)?;
    /// assert_eq!(parts, [comm.rank(), 10 + comm.rank()]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    #[track_caller]
    pub fn all_to_all_in_place<T: Element>(&mut self, buffer: &mut [T]) -> Result<(), Error> {
        self.perform(Operation::of::<T>(Collective::AllToAll), in_place(buffer))
    }

    /// Copies the root's `buffer` into that of every other rank; all have the same length.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(3).run(|mut comm| {
    /// let mut weights = if comm.rank() == 1 { [0.5_f32; 4] } else { [0.0; 4] };
    /// comm.broadcast(&mut weights, 1)?;
    /// assert_eq!(weights, [0.5; 4]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such root; [`Error::Failed`].
    #[track_caller]
    pub fn broadcast<T: Element>(&mut self, buffer: &mut [T], root: u32) -> Result<(), Error> {
        let collective = Collective::Broadcast { root: Rank(root) };
        self.perform(Operation::of::<T>(collective), in_place(buffer))
    }

    /// Copies the root's `send` into `recv` of every rank, the root's too.
    ///
    /// `send` is needed at the root, is as long as every `recv`, and is not looked at elsewhere.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let weights = [1.5_f64; 3];
    /// let send = (comm.rank() == 0).then_some(&weights[..]);
    /// let mut recv = [0.0; 3];
    /// comm.broadcast_into(send, &mut recv, 0)?;
    /// assert_eq!(recv, [1.5; 3]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths differ or there is no such root; [`Error::Failed`].
    #[track_caller]
    pub fn broadcast_into<T: Element>(
        &mut self,
        send: Option<&[T]>,
        recv: &mut [T],
        root: u32,
    ) -> Result<(), Error> {
        let send = send.filter(|_| self.rank() == root).unwrap_or_default();
        let collective = Collective::Broadcast { root: Rank(root) };
        self.perform(Operation::of::<T>(collective), out_of_place(send, recv))
    }

    /// Reduces `send` of all ranks, element by element, into the root's `recv`.
    ///
    /// `recv` is needed at the root, is as long as every `send`, and is not looked at elsewhere.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(3).run(|mut comm| {
    /// let mut sum = [0];
    /// let recv = (comm.rank() == 2).then_some(&mut sum[..]);
    /// comm.reduce(&[comm.rank() + 1], recv, ReduceOp::Sum, 2)?;
    /// assert_eq!(sum, [if comm.rank() == 2 { 6 } else { 0 }]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths differ or there is no such root; [`Error::Failed`].
    #[track_caller]
    pub fn reduce<T: Element>(
        &mut self,
        send: &[T],
        recv: Option<&mut [T]>,
        op: ReduceOp,
        root: u32,
    ) -> Result<(), Error> {
        let recv = recv.filter(|_| self.rank() == root).unwrap_or_default();
        let collective = Collective::Reduce { root: Rank(root) };
        self.perform(Operation::of::<T>(collective).reducing(op), out_of_place(send, recv))
    }

    /// As [`reduce`](Self::reduce), in one buffer: the root's holds the result, those of other ranks hold
    /// nothing of use.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(3).run(|mut comm| {
    /// let mut product = [comm.rank() + 1];
    /// comm.reduce_in_place(&mut product, ReduceOp::Product, 0)?;
    /// assert!(comm.rank() != 0 || product == [6]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such root; [`Error::Failed`].
    #[track_caller]
    pub fn reduce_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        op: ReduceOp,
        root: u32,
    ) -> Result<(), Error> {
        let collective = Collective::Reduce { root: Rank(root) };
        self.perform(Operation::of::<T>(collective).reducing(op), in_place(buffer))
    }

    /// Puts `send` of all ranks one after the other, in rank order, into the root's `recv`.
    ///
    /// `recv` is needed at the root, where it holds `size()` parts of `send.len()` elements, and is not
    /// looked at elsewhere.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut all = [0; 2];
    /// let recv = (comm.rank() == 0).then_some(&mut all[..]);
    /// comm.gather(&[comm.rank() + 7], recv, 0)?;
    /// assert_eq!(all, if comm.rank() == 0 { [7, 8] } else { [0, 0] });
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit or there is no such root; [`Error::Failed`].
    #[track_caller]
    pub fn gather<T: Element>(
        &mut self,
        send: &[T],
        recv: Option<&mut [T]>,
        root: u32,
    ) -> Result<(), Error> {
        let recv = recv.filter(|_| self.rank() == root).unwrap_or_default();
        let collective = Collective::Gather { root: Rank(root) };
        self.perform(Operation::of::<T>(collective), out_of_place(send, recv))
    }

    /// Sends part r of the root's `send` to rank r, into its `recv`.
    ///
    /// `send` is needed at the root, where it holds `size()` parts of `recv.len()` elements, and is not
    /// looked at elsewhere.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let parts = [7, 8];
    /// let send = (comm.rank() == 1).then_some(&parts[..]);
    /// let mut own = [0];
    /// comm.scatter(send, &mut own, 1)?;
    /// assert_eq!(own, [comm.rank() + 7]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit or there is no such root; [`Error::Failed`].
    #[track_caller]
    pub fn scatter<T: Element>(
        &mut self,
        send: Option<&[T]>,
        recv: &mut [T],
        root: u32,
    ) -> Result<(), Error> {
        let send = send.filter(|_| self.rank() == root).unwrap_or_default();
        let collective = Collective::Scatter { root: Rank(root) };
        self.perform(Operation::of::<T>(collective), out_of_place(send, recv))
    }

    /// As [`all_gather`](Self::all_gather), where ranks bring different numbers of elements: rank r
    /// `counts[r]`, as all ranks know.
    ///
    /// `send` holds this rank's count of elements, `recv` as many as all counts together.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(3).run(|mut comm| {
    /// let send = vec![comm.rank(); comm.rank() as usize];
    /// let mut all = [9; 3];
    /// comm.all_gather_v(&send, &mut all, &[0, 1, 2])?;
    /// assert_eq!(all, [1, 2, 2]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when there is not one count for each rank, or the lengths do not fit;
    /// [`Error::Failed`].
    #[track_caller]
    pub fn all_gather_v<T: Element>(
        &mut self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
    ) -> Result<(), Error> {
        let operation = Operation::of::<T>(Collective::AllGather).with_counts(counts);
        self.perform(operation, out_of_place(send, recv))
    }

    /// As [`all_gather_v`](Self::all_gather_v), in one buffer of all counts together, in which each rank
    /// has filled its own part.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut all = if comm.rank() == 0 { [5, 0, 0] } else { [0, 6, 7] };
    /// comm.all_gather_v_in_place(&mut all, &[1, 2])?;
    /// assert_eq!(all, [5, 6, 7]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`all_gather_v`](Self::all_gather_v).
    #[track_caller]
    pub fn all_gather_v_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        counts: &[usize],
    ) -> Result<(), Error> {
        let operation = Operation::of::<T>(Collective::AllGather).with_counts(counts);
        self.perform(operation, in_place(buffer))
    }

    /// As [`reduce_scatter`](Self::reduce_scatter), where ranks get different numbers of elements: rank r
    /// `counts[r]`, as all ranks know.
    ///
    /// `send` holds as many elements as all counts together, `recv` this rank's count.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut own = vec![0; [1, 2][comm.rank() as usize]];
    /// comm.reduce_scatter_v(&[1, 2, 3], &mut own, &[1, 2], ReduceOp::Sum)?;
    /// assert_eq!(own, [vec![2], vec![4, 6]][comm.rank() as usize]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when there is not one count for each rank, or the lengths do not fit;
    /// [`Error::Failed`].
    #[track_caller]
    pub fn reduce_scatter_v<T: Element>(
        &mut self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        op: ReduceOp,
    ) -> Result<(), Error> {
        let operation = Operation::of::<T>(Collective::ReduceScatter).with_counts(counts);
        self.perform(operation.reducing(op), out_of_place(send, recv))
    }

    /// As [`reduce_scatter_v`](Self::reduce_scatter_v), in one buffer of all counts together: rank r's
    /// result is left in its own part, and the other parts hold nothing of use.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut parts = [1, 2, 3];
    /// comm.reduce_scatter_v_in_place(&mut parts, &[1, 2], ReduceOp::Sum)?;
    /// assert!(if comm.rank() == 0 { parts[0] == 2 } else { parts[1..] == [4, 6] });
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`reduce_scatter_v`](Self::reduce_scatter_v).
    #[track_caller]
    pub fn reduce_scatter_v_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        counts: &[usize],
        op: ReduceOp,
    ) -> Result<(), Error> {
        let operation = Operation::of::<T>(Collective::ReduceScatter).with_counts(counts);
        self.perform(operation.reducing(op), in_place(buffer))
    }

    /// As [`all_to_all`](Self::all_to_all), where parts differ in length: this rank sends `send_counts[r]`
    /// elements to rank r and receives `recv_counts[r]` from it.
    ///
    /// Parts lie one after the other, in rank order. What one rank sends to another is what that one
    /// receives from it; no third rank needs to know.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// // Rank 0 keeps nothing and sends two elements; rank 1 keeps one and sends one.
    /// let (send, send_counts, recv_counts) = match comm.rank() {
    ///     0 => ([1, 2], [0, 2], [0, 1]),
    ///     _ => ([3, 4], [1, 1], [2, 1]),
    /// };
    /// let mut recv = vec![0; recv_counts.iter().sum()];
    /// comm.all_to_all_v(&send, &send_counts, &mut recv, &recv_counts)?;
    /// assert_eq!(recv, [vec![3], vec![1, 2, 4]][comm.rank() as usize]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when there is not one count for each rank, or the lengths do not fit;
    /// [`Error::Failed`], also when a peer sends another count than this rank receives.
    #[track_caller]
    pub fn all_to_all_v<T: Element>(
        &mut self,
        send: &[T],
        send_counts: &[usize],
        recv: &mut [T],
        recv_counts: &[usize],
    ) -> Result<(), Error> {
        let all_to_all = Operation::of::<T>(Collective::AllToAll);
        let operation = all_to_all.with_pairs(send_counts, recv_counts);
        self.perform(operation, out_of_place(send, recv))
    }

    /// Returns when every rank has called it.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # use std::sync::atomic::{AtomicU32, Ordering};
    /// let came = AtomicU32::new(0);
    /// Threads::new(3).run(|mut comm| {
    ///     came.fetch_add(1, Ordering::Relaxed);
    ///     comm.barrier()?;
    ///     assert_eq!(came.load(Ordering::Relaxed), 3);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`].
    #[track_caller]
    pub fn barrier(&mut self) -> Result<(), Error> {
        self.perform(Operation::of::<u8>(Collective::Barrier), Buffers::InPlace(&mut []))
    }
}

pub(crate) fn out_of_place<'a, T: Element>(send: &'a [T], recv: &'a mut [T]) -> Buffers<'a> {
    Buffers::OutOfPlace { send: bytemuck::cast_slice(send), recv: bytemuck::cast_slice_mut(recv) }
}

pub(crate) fn in_place<T: Element>(buffer: &mut [T]) -> Buffers<'_> {
    Buffers::InPlace(bytemuck::cast_slice_mut(buffer))
}
