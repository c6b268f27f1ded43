//! Owns asynchronous calls on borrowed buffers: the scope that waits for them, and their typed forms.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use crosstie_exec::{Buffers, ScopedTicket};
use crosstie_ir::{Collective, Rank, ReduceOp};

use crate::group::{Route, both_ways, one_way_in, one_way_out};
use crate::operation::Operation;
use crate::operations::{in_place, out_of_place};
use crate::standing::{CallName, Standing};
use crate::{Communicator, Element, Error, Group};

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
    /// The body's; else the failure of any of its calls.
    pub fn scope<'env, R>(
        &'env mut self,
        body: impl for<'scope> FnOnce(&Scope<'scope, 'env>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (scopes, standing) = (self.engine.scopes(), Arc::clone(&self.standing));
        let result = scopes.scope(|inner| body(&Scope { inner, comm: RefCell::new(self) }));
        let value = result?;
        standing.check()?;
        Ok(value)
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Any call on bytes: what the typed forms come to.
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

    /// As [`Communicator::group`]; nothing comes back from its work.
    ///
    /// # Errors
    /// [`Error::Argument`] when the messages do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn group(
        &self,
        body: impl FnOnce(&mut Group<'scope>),
    ) -> Result<ScopedWork<'scope, u8>, Error> {
        let (ranks, slot_bytes) = {
            let comm = self.comm.borrow();
            (comm.size(), comm.slot_bytes)
        };
        let mut group = Group::new(ranks);
        body(&mut group);
        let parts = group.into_parts(slot_bytes)?;
        let work = self.exchange("group", parts, Location::caller())?;
        Ok(ScopedWork { ticket: work.ticket.without_result(), ..work })
    }

    /// As [`Communicator::send`]; nothing comes back from its work.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn send<T: Element>(
        &self,
        buffer: &'scope [T],
        peer: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        self.exchange("send", one_way_out(buffer, peer), Location::caller())
    }

    /// As [`Communicator::recv`].
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn recv<T: Element>(
        &self,
        buffer: &'scope mut [T],
        peer: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        self.exchange("recv", one_way_in(buffer, peer), Location::caller())
    }

    /// As [`Communicator::send_recv`]; what was received comes back.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn send_recv<T: Element>(
        &self,
        send: &'scope [T],
        to: u32,
        recv: &'scope mut [T],
        from: u32,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        self.exchange("send_recv", both_ways((send, to), (recv, from)), Location::caller())
    }

    fn exchange<T: Element>(
        &self,
        name: &'static str,
        (route, buffers): (Route, Buffers<'scope>),
        site: &'static Location<'static>,
    ) -> Result<ScopedWork<'scope, T>, Error> {
        let mut comm = self.comm.borrow_mut();
        let (what, call) = comm.group_submission(name, route, site)?;
        let ticket = self.inner.submit(what, buffers);
        let ticket = ticket.map_err(|seen| comm.standing.fail(call, &seen))?;
        let standing = Arc::clone(&comm.standing);
        Ok(ScopedWork { ticket, standing, call, elements: PhantomData })
    }

    /// As [`Communicator::barrier`].
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

/// A call under way in a [`Scope`], whose result comes back from [`wait`](Self::wait).
///
/// Dropping it does not end the call: the scope waits for it.
#[must_use = "its failure shows at the scope's end, but its result only by `wait` before"]
pub struct ScopedWork<'scope, T> {
    ticket: ScopedTicket<'scope>,
    standing: Arc<Standing>,
    call: CallName,
    elements: PhantomData<&'scope mut [T]>,
}

impl<'scope, T: Element> ScopedWork<'scope, T> {
    /// Whether the call is over, well or badly; then [`wait`](Self::wait) returns at once.
    pub fn is_done(&self) -> bool {
        self.ticket.is_over()
    }

    /// Waits for the end of the call, driving it in this thread if nobody else does, and gives its
    /// result back: the receive buffer, or the one buffer of a call in place. Empty where this rank
    /// receives nothing.
    ///
    /// # Errors
    /// [`Error::Failed`] when a peer failed or the deadline passed; [`Error::AlreadyFailed`] when a call
    /// before it failed.
    pub fn wait(self) -> Result<&'scope mut [T], Error> {
        let bytes = self.ticket.wait().map_err(|seen| self.standing.fail(self.call, &seen))?;
        // These bytes were a slice of T when they were submitted; only an empty one cannot be cast.
        Ok(bytemuck::try_cast_slice_mut(bytes).unwrap_or_default())
    }
}

impl<T> fmt::Debug for ScopedWork<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopedWork({}, done: {})", self.call, self.ticket.is_over())
    }
}
