//! Owns asynchronous calls on borrowed buffers: the scope that waits for them, and their typed forms.

mod messages;
mod work;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use crosstie_exec::Buffers;
use crosstie_ir::{Collective, Rank, ReduceOp};

use crate::operation::Operation;
use crate::operations::{in_place, out_of_place};
use crate::{Communicator, Element, Error};
pub use work::ScopedWork;

/// Where asynchronous calls borrow their buffers; from [`Communicator::scope`].
///
/// Each call returns at once with a [`ScopedWork`], and runs in the order in which it was made: in a
/// background thread of the communicator while nobody waits, in the thread that waits otherwise. What a
/// call computes, and how long its buffers have to be, is told at the blocking form of the same name.
pub struct Scope<'scope, 'env: 'scope> {
    inner: crosstie_exec::Scope<'scope, 'env>,
    comm: RefCell<&'env mut Communicator>,
}

impl Communicator {
    /// Runs `body`, whose calls return at once, and waits for them before it returns.
    ///
    /// Buffers are borrowed from outside the scope and are the body's again when its work was
    /// [waited](ScopedWork::wait) for, or when the scope has ended. Handles need not be kept: the scope
    /// waits for all calls, also where the body forgets them or panics.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let (first, second) = (vec![1.0_f32; 1000], vec![2.0_f32; 10]);
    /// let (mut sums, mut more) = (vec![0.0; 1000], vec![0.0; 10]);
    /// comm.scope(|s| {
    ///     let work = s.all_reduce(&first, &mut sums, ReduceOp::Sum)?;
    ///     s.all_reduce(&second, &mut more, ReduceOp::Sum)?;
    ///     // Compute here, while the ranks exchange.
    ///     let sums = work.wait()?;
    ///     assert_eq!(sums[0], 2.0);
    ///     Ok(())
    /// })?;
    /// assert_eq!(more, [4.0; 10]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// The body's; else the failure of any of its calls, as [`Error::Failed`], though nobody waited for that call.
    /// [`Error::AlreadyFailed`] only where the communicator had failed before the scope.
    pub fn scope<'env, R>(
        &'env mut self,
        body: impl for<'scope> FnOnce(&Scope<'scope, 'env>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (scopes, standing) = (self.engine.scopes(), Arc::clone(&self.standing));
        let had_failed = standing.has_failed();
        let result = scopes.scope(|inner| body(&Scope { inner, comm: RefCell::new(self) }));
        // A call may have been refused, or not been waited for, because another one of the scope failed.
        match result {
            Err(Error::AlreadyFailed { .. }) | Ok(_) if !had_failed && !standing.is_forked() => {
                standing.failed().map_or(result, Err)
            }
            Ok(value) => standing.check().map(|()| value),
            Err(error) => Err(error),
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Any call on bytes: what the typed forms come to.
    ///
    /// ```
    /// # use crosstie::{Buffers, Collective, Operation, ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let sum = Operation::of::<u8>(Collective::AllReduce).reducing(ReduceOp::Sum);
    /// let mut bytes = [1_u8, 2];
    /// comm.scope(|s| {
    ///     let work = s.perform(sum, Buffers::InPlace(&mut bytes))?;
    ///     assert_eq!(work.wait()?, [2, 4]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the buffers do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn perform(
        &self,
        operation: Operation<'_>,
        buffers: Buffers<'scope>,
    ) -> Result<ScopedWork<'scope, u8>, Error> {
        self.run(operation, buffers, Location::caller())
    }

    fn run<T: Element>(
        &self,
        operation: Operation<'_>,
        buffers: Buffers<'scope>,
        site: &'static Location<'static>,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let mut comm = self.comm.borrow_mut();
        let (what, call) = comm.submission(operation, &buffers, site)?;
        let ticket = self.inner.submit(what, buffers);
        let ticket = ticket.map_err(|seen| comm.standing.fail(call, &seen))?;
        let standing = Arc::clone(&comm.standing);
        Ok(ScopedWork { ticket, standing, call, elements: PhantomData })
    }

    /// As [`Communicator::all_reduce`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let (send, mut recv) = ([1, 2], [0; 2]);
    /// comm.scope(|s| {
    ///     let work = s.all_reduce(&send, &mut recv, ReduceOp::Sum)?;
    ///     assert_eq!(work.wait()?, [2, 4]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_reduce<T: Element>(
        &self,
        send: &'scope [T],
        recv: &'scope mut [T],
        op: ReduceOp,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::AllReduce).reducing(op);
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::all_reduce_in_place`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut buffer = [1, 2];
    /// comm.scope(|s| {
    ///     let work = s.all_reduce_in_place(&mut buffer, ReduceOp::Sum)?;
    ///     assert_eq!(work.wait()?, [2, 4]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_reduce_in_place<T: Element>(
        &self,
        buffer: &'scope mut [T],
        op: ReduceOp,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::AllReduce).reducing(op);
        self.run(operation, in_place(buffer), Location::caller())
    }

    /// As [`Communicator::reduce_scatter`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let (send, mut recv) = ([1, 2], [0]);
    /// comm.scope(|s| {
    ///     let work = s.reduce_scatter(&send, &mut recv, ReduceOp::Sum)?;
    ///     assert_eq!(work.wait()?, [[2], [4]][rank]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_scatter<T: Element>(
        &self,
        send: &'scope [T],
        recv: &'scope mut [T],
        op: ReduceOp,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::ReduceScatter).reducing(op);
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::reduce_scatter_in_place`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let mut buffer = [1, 2];
    /// comm.scope(|s| {
    ///     let work = s.reduce_scatter_in_place(&mut buffer, ReduceOp::Sum)?;
    ///     assert_eq!(work.wait()?[rank], [2, 4][rank]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_scatter_in_place<T: Element>(
        &self,
        buffer: &'scope mut [T],
        op: ReduceOp,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::ReduceScatter).reducing(op);
        self.run(operation, in_place(buffer), Location::caller())
    }

    /// As [`Communicator::all_gather`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let (send, mut recv) = ([comm.rank()], [9; 2]);
    /// comm.scope(|s| {
    ///     let work = s.all_gather(&send, &mut recv)?;
    ///     assert_eq!(work.wait()?, [0, 1]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_gather<T: Element>(
        &self,
        send: &'scope [T],
        recv: &'scope mut [T],
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::AllGather);
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::all_gather_in_place`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut buffer = [comm.rank(); 2];
    /// comm.scope(|s| {
    ///     let work = s.all_gather_in_place(&mut buffer)?;
    ///     assert_eq!(work.wait()?, [0, 1]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_gather_in_place<T: Element>(
        &self,
        buffer: &'scope mut [T],
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::AllGather);
        self.run(operation, in_place(buffer), Location::caller())
    }

    /// As [`Communicator::all_to_all`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank();
    /// let (send, mut recv) = ([rank * 10, rank * 10 + 1], [9; 2]);
    /// comm.scope(|s| {
    ///     let work = s.all_to_all(&send, &mut recv)?;
    ///     assert_eq!(work.wait()?, [rank, 10 + rank]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_to_all<T: Element>(
        &self,
        send: &'scope [T],
        recv: &'scope mut [T],
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::AllToAll);
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::all_to_all_in_place`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank();
    /// let mut buffer = [rank * 10, rank * 10 + 1];
    /// comm.scope(|s| {
    ///     let work = s.all_to_all_in_place(&mut buffer)?;
    ///     assert_eq!(work.wait()?, [rank, 10 + rank]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_to_all_in_place<T: Element>(
        &self,
        buffer: &'scope mut [T],
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::AllToAll);
        self.run(operation, in_place(buffer), Location::caller())
    }

    /// As [`Communicator::broadcast`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut buffer = [comm.rank() + 5; 3];
    /// comm.scope(|s| {
    ///     let work = s.broadcast(&mut buffer, 1)?;
    ///     assert_eq!(work.wait()?, [6; 3]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn broadcast<T: Element>(
        &self,
        buffer: &'scope mut [T],
        root: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::Broadcast { root: Rank(root) });
        self.run(operation, in_place(buffer), Location::caller())
    }

    /// As [`Communicator::broadcast_into`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let (send, mut recv) = ([7, 8], [0; 2]);
    /// comm.scope(|s| {
    ///     let work = s.broadcast_into(Some(&send), &mut recv, 0)?;
    ///     assert_eq!(work.wait()?, [7, 8]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn broadcast_into<T: Element>(
        &self,
        send: Option<&'scope [T]>,
        recv: &'scope mut [T],
        root: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let send = self.only_at(root, send).unwrap_or_default();
        let operation = Operation::of::<T>(Collective::Broadcast { root: Rank(root) });
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::reduce`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let (send, mut recv) = ([1, 2], [0; 2]);
    /// comm.scope(|s| {
    ///     let work = s.reduce(&send, Some(&mut recv), ReduceOp::Sum, 0)?;
    ///     let sum = work.wait()?;
    ///     assert!(if rank == 0 { sum == [2, 4] } else { sum.is_empty() });
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce<T: Element>(
        &self,
        send: &'scope [T],
        recv: Option<&'scope mut [T]>,
        op: ReduceOp,
        root: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let recv = self.only_at(root, recv).unwrap_or_default();
        let operation = Operation::of::<T>(Collective::Reduce { root: Rank(root) }).reducing(op);
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::reduce_in_place`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let mut buffer = [1, 2];
    /// comm.scope(|s| {
    ///     let work = s.reduce_in_place(&mut buffer, ReduceOp::Sum, 0)?;
    ///     let sum = work.wait()?;
    ///     assert!(rank != 0 || sum == [2, 4]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_in_place<T: Element>(
        &self,
        buffer: &'scope mut [T],
        op: ReduceOp,
        root: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::Reduce { root: Rank(root) }).reducing(op);
        self.run(operation, in_place(buffer), Location::caller())
    }

    /// As [`Communicator::gather`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank();
    /// let (send, mut recv) = ([rank], [9; 2]);
    /// comm.scope(|s| {
    ///     let work = s.gather(&send, Some(&mut recv), 0)?;
    ///     let all = work.wait()?;
    ///     assert!(if rank == 0 { all == [0, 1] } else { all.is_empty() });
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn gather<T: Element>(
        &self,
        send: &'scope [T],
        recv: Option<&'scope mut [T]>,
        root: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let recv = self.only_at(root, recv).unwrap_or_default();
        let operation = Operation::of::<T>(Collective::Gather { root: Rank(root) });
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::scatter`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let (send, mut recv) = ([5, 6], [0]);
    /// let own = [5 + comm.rank()];
    /// comm.scope(|s| {
    ///     let work = s.scatter(Some(&send), &mut recv, 0)?;
    ///     assert_eq!(work.wait()?, own);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn scatter<T: Element>(
        &self,
        send: Option<&'scope [T]>,
        recv: &'scope mut [T],
        root: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let send = self.only_at(root, send).unwrap_or_default();
        let operation = Operation::of::<T>(Collective::Scatter { root: Rank(root) });
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::all_gather_v`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank();
    /// let (send, mut recv) = (vec![rank; rank as usize], [9]);
    /// comm.scope(|s| {
    ///     let work = s.all_gather_v(&send, &mut recv, &[0, 1])?;
    ///     assert_eq!(work.wait()?, [1]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_gather_v<T: Element>(
        &self,
        send: &'scope [T],
        recv: &'scope mut [T],
        counts: &[usize],
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::AllGather).with_counts(counts);
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::all_gather_v_in_place`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut buffer = [comm.rank()];
    /// comm.scope(|s| {
    ///     let work = s.all_gather_v_in_place(&mut buffer, &[0, 1])?;
    ///     assert_eq!(work.wait()?, [1]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_gather_v_in_place<T: Element>(
        &self,
        buffer: &'scope mut [T],
        counts: &[usize],
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation = Operation::of::<T>(Collective::AllGather).with_counts(counts);
        self.run(operation, in_place(buffer), Location::caller())
    }

    /// As [`Communicator::reduce_scatter_v`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let (send, mut recv) = ([1, 2, 3], vec![0; 1 + rank]);
    /// comm.scope(|s| {
    ///     let work = s.reduce_scatter_v(&send, &mut recv, &[1, 2], ReduceOp::Sum)?;
    ///     assert!(work.wait()? == [&[2][..], &[4, 6]][rank]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_scatter_v<T: Element>(
        &self,
        send: &'scope [T],
        recv: &'scope mut [T],
        counts: &[usize],
        op: ReduceOp,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation =
            Operation::of::<T>(Collective::ReduceScatter).with_counts(counts).reducing(op);
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::reduce_scatter_v_in_place`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let mut buffer = [1, 2, 3];
    /// comm.scope(|s| {
    ///     let work = s.reduce_scatter_v_in_place(&mut buffer, &[1, 2], ReduceOp::Sum)?;
    ///     assert_eq!(work.wait()?[rank], [2, 4][rank]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_scatter_v_in_place<T: Element>(
        &self,
        buffer: &'scope mut [T],
        counts: &[usize],
        op: ReduceOp,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation =
            Operation::of::<T>(Collective::ReduceScatter).with_counts(counts).reducing(op);
        self.run(operation, in_place(buffer), Location::caller())
    }

    /// As [`Communicator::all_to_all_v`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// // To rank 0 goes one element of each, to rank 1 go two.
    /// let rank = comm.rank() as usize;
    /// let (send, mut recv) = ([1, 2, 3], vec![0; 2 + 2 * rank]);
    /// comm.scope(|s| {
    ///     let work = s.all_to_all_v(&send, &mut recv, &[1, 2], &[1 + rank; 2])?;
    ///     assert!(work.wait()? == [&[1, 1][..], &[2, 3, 2, 3]][rank]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_to_all_v<T: Element>(
        &self,
        send: &'scope [T],
        recv: &'scope mut [T],
        send_counts: &[usize],
        recv_counts: &[usize],
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let operation =
            Operation::of::<T>(Collective::AllToAll).with_pairs(send_counts, recv_counts);
        self.run(operation, out_of_place(send, recv), Location::caller())
    }

    /// As [`Communicator::barrier`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// comm.scope(|s| {
    ///     let all_came = s.barrier()?;
    ///     // Whatever needs no other rank.
    ///     all_came.wait()?;
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn barrier(&self) -> Result<ScopedWork<'scope, u8>, Error> {
        let operation = Operation::of::<u8>(Collective::Barrier);
        self.run(operation, Buffers::InPlace(&mut []), Location::caller())
    }

    fn only_at<B>(&self, root: u32, buffer: Option<B>) -> Option<B> {
        buffer.filter(|_| self.comm.borrow().rank() == root)
    }
}
