//! Owns asynchronous calls whose buffers move into them: the typed forms.

pub(crate) mod buffer;
mod messages;

use std::panic::Location;

use crosstie_exec::{Memory, Nothing, Owned};
use crosstie_ir::{Collective, Rank, ReduceOp};

use crate::operation::Operation;
use crate::work::Pending;
use crate::{Communicator, Error, Work};
pub use buffer::{Exchanged, OwnedBuffer, Returned};

/// Asynchronous calls whose buffers move into them; from [`Communicator::owned`].
///
/// Each returns at once with a [`Work`], which gives the buffers back. Calls of one communicator run in
/// the order in which they were made, asynchronous and blocking ones alike. They run in a background
/// thread of the communicator while nobody waits for them, and in the thread that waits otherwise.
///
/// What a call computes, and how long its buffers have to be, is told at the blocking form of the same
/// name.
pub struct OwnedCalls<'a> {
    comm: &'a mut Communicator,
}

impl Communicator {
    /// Calls that return at once, for buffers that move into them.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let gradients = vec![comm.rank() as f32; 1000];
    /// let work = comm.owned().all_reduce_in_place(gradients, ReduceOp::Sum)?;
    /// // Compute the next gradients here; meanwhile the ranks exchange these.
    /// let sums = work.wait()?;
    /// assert!(sums.iter().all(|&x| x == 1.0));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn owned(&mut self) -> OwnedCalls<'_> {
        OwnedCalls { comm: self }
    }
}

/// The send and the receive buffer of a call on bytes.
type Bytes = (Vec<u8>, Vec<u8>);

impl OwnedCalls<'_> {
    /// Any operation on bytes: what the typed forms come to.
    ///
    /// ```
    /// # use crosstie::{Collective, Operation, ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let sum = Operation::of::<u8>(Collective::AllReduce).reducing(ReduceOp::Sum);
    /// let work = comm.owned().perform(sum, vec![1, 2], vec![0; 2])?;
    /// assert_eq!(work.wait()?, (vec![1, 2], vec![2, 4]));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn perform(
        &mut self,
        operation: Operation<'_>,
        send: Vec<u8>,
        recv: Vec<u8>,
    ) -> Result<Work<Bytes>, Error> {
        self.run(operation, pair(send, recv), Location::caller())
    }

    /// As [`perform`](Self::perform), in one buffer.
    ///
    /// ```
    /// # use crosstie::{Collective, Operation, ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let sum = Operation::of::<u8>(Collective::AllReduce).reducing(ReduceOp::Sum);
    /// let work = comm.owned().perform_in_place(sum, vec![1, 2])?;
    /// assert_eq!(work.wait()?, [2, 4]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    #[track_caller]
    pub fn perform_in_place(
        &mut self,
        operation: Operation<'_>,
        buffer: Vec<u8>,
    ) -> Result<Work<Vec<u8>>, Error> {
        self.run(operation, Owned::InPlace(buffer.into_memory()), Location::caller())
    }

    fn run<B: Returned>(
        &mut self,
        operation: Operation<'_>,
        mut memory: Owned,
        site: &'static Location<'static>,
    ) -> Result<Work<B>, Error> {
        let (what, call) = self.comm.submission(operation, &memory.borrow(), site)?;
        let standing = &self.comm.standing;
        let ticket = self.comm.engine.submit(what, memory);
        let ticket = ticket.map_err(|seen| standing.fail(call, &seen))?;
        Ok(Work::new(Pending::new(ticket, standing, call)))
    }

    /// As [`Communicator::all_reduce`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let work = comm.owned().all_reduce(vec![1, 2], vec![0; 2], ReduceOp::Sum)?;
    /// assert_eq!(work.wait()?, (vec![1, 2], vec![2, 4]));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_reduce<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: R,
        op: ReduceOp,
    ) -> Result<Work<(S, R)>, Error> {
        let operation = Operation::of::<S::Element>(Collective::AllReduce).reducing(op);
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::all_reduce_in_place`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let work = comm.owned().all_reduce_in_place(vec![1, 2], ReduceOp::Sum)?;
    /// assert_eq!(work.wait()?, [2, 4]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_reduce_in_place<B: OwnedBuffer>(
        &mut self,
        buffer: B,
        op: ReduceOp,
    ) -> Result<Work<B>, Error> {
        let operation = Operation::of::<B::Element>(Collective::AllReduce).reducing(op);
        let memory = Owned::InPlace(buffer.into_memory());
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::reduce_scatter`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let work = comm.owned().reduce_scatter(vec![1, 2], vec![0], ReduceOp::Sum)?;
    /// let (_, part) = work.wait()?;
    /// assert_eq!(part, [[2], [4]][rank]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_scatter<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: R,
        op: ReduceOp,
    ) -> Result<Work<(S, R)>, Error> {
        let operation = Operation::of::<S::Element>(Collective::ReduceScatter).reducing(op);
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::reduce_scatter_in_place`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let work = comm.owned().reduce_scatter_in_place(vec![1, 2], ReduceOp::Sum)?;
    /// assert_eq!(work.wait()?[rank], [2, 4][rank]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_scatter_in_place<B: OwnedBuffer>(
        &mut self,
        buffer: B,
        op: ReduceOp,
    ) -> Result<Work<B>, Error> {
        let operation = Operation::of::<B::Element>(Collective::ReduceScatter).reducing(op);
        let memory = Owned::InPlace(buffer.into_memory());
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::all_gather`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let own = vec![comm.rank()];
    /// let work = comm.owned().all_gather(own, vec![9; 2])?;
    /// let (_, all) = work.wait()?;
    /// assert_eq!(all, [0, 1]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_gather<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: R,
    ) -> Result<Work<(S, R)>, Error> {
        let operation = Operation::of::<S::Element>(Collective::AllGather);
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::all_gather_in_place`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let buffer = vec![comm.rank(); 2];
    /// let work = comm.owned().all_gather_in_place(buffer)?;
    /// assert_eq!(work.wait()?, [0, 1]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_gather_in_place<B: OwnedBuffer>(&mut self, buffer: B) -> Result<Work<B>, Error> {
        let operation = Operation::of::<B::Element>(Collective::AllGather);
        let memory = Owned::InPlace(buffer.into_memory());
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::all_to_all`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank();
    /// let work = comm.owned().all_to_all(vec![rank * 10, rank * 10 + 1], vec![9; 2])?;
    /// let (_, recv) = work.wait()?;
    /// assert_eq!(recv, [rank, 10 + rank]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_to_all<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: R,
    ) -> Result<Work<(S, R)>, Error> {
        let operation = Operation::of::<S::Element>(Collective::AllToAll);
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::all_to_all_in_place`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank();
    /// let work = comm.owned().all_to_all_in_place(vec![rank * 10, rank * 10 + 1])?;
    /// assert_eq!(work.wait()?, [rank, 10 + rank]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_to_all_in_place<B: OwnedBuffer>(&mut self, buffer: B) -> Result<Work<B>, Error> {
        let operation = Operation::of::<B::Element>(Collective::AllToAll);
        let memory = Owned::InPlace(buffer.into_memory());
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::broadcast`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let buffer = vec![comm.rank() + 5; 3];
    /// let work = comm.owned().broadcast(buffer, 1)?;
    /// assert_eq!(work.wait()?, [6; 3]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn broadcast<B: OwnedBuffer>(&mut self, buffer: B, root: u32) -> Result<Work<B>, Error> {
        let operation = Operation::of::<B::Element>(Collective::Broadcast { root: Rank(root) });
        let memory = Owned::InPlace(buffer.into_memory());
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::broadcast_into`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let send = (comm.rank() == 0).then(|| vec![7, 8]);
    /// let work = comm.owned().broadcast_into(send, vec![0; 2], 0)?;
    /// let (_, recv) = work.wait()?;
    /// assert_eq!(recv, [7, 8]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn broadcast_into<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: Option<S>,
        recv: R,
        root: u32,
    ) -> Result<Work<(Option<S>, R)>, Error> {
        let operation = Operation::of::<S::Element>(Collective::Broadcast { root: Rank(root) });
        let memory = Owned::OutOfPlace { send: self.only_at(root, send), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::reduce`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let recv = (comm.rank() == 0).then(|| vec![0; 2]);
    /// let sum = recv.as_ref().map(|_| vec![2, 4]);
    /// let work = comm.owned().reduce(vec![1, 2], recv, ReduceOp::Sum, 0)?;
    /// assert_eq!(work.wait()?, (vec![1, 2], sum));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: Option<R>,
        op: ReduceOp,
        root: u32,
    ) -> Result<Work<(S, Option<R>)>, Error> {
        let operation =
            Operation::of::<S::Element>(Collective::Reduce { root: Rank(root) }).reducing(op);
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: self.only_at(root, recv) };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::reduce_in_place`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let work = comm.owned().reduce_in_place(vec![1, 2], ReduceOp::Sum, 0)?;
    /// let sum = work.wait()?;
    /// assert!(rank != 0 || sum == [2, 4]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_in_place<B: OwnedBuffer>(
        &mut self,
        buffer: B,
        op: ReduceOp,
        root: u32,
    ) -> Result<Work<B>, Error> {
        let operation =
            Operation::of::<B::Element>(Collective::Reduce { root: Rank(root) }).reducing(op);
        let memory = Owned::InPlace(buffer.into_memory());
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::gather`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank();
    /// let recv = (rank == 0).then(|| vec![9; 2]);
    /// let work = comm.owned().gather(vec![rank], recv, 0)?;
    /// let (_, all) = work.wait()?;
    /// assert_eq!(all, (rank == 0).then(|| vec![0, 1]));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn gather<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: Option<R>,
        root: u32,
    ) -> Result<Work<(S, Option<R>)>, Error> {
        let operation = Operation::of::<S::Element>(Collective::Gather { root: Rank(root) });
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: self.only_at(root, recv) };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::scatter`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank();
    /// let send = (rank == 0).then(|| vec![5, 6]);
    /// let work = comm.owned().scatter(send, vec![0], 0)?;
    /// let (_, own) = work.wait()?;
    /// assert_eq!(own, [5 + rank]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn scatter<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: Option<S>,
        recv: R,
        root: u32,
    ) -> Result<Work<(Option<S>, R)>, Error> {
        let operation = Operation::of::<S::Element>(Collective::Scatter { root: Rank(root) });
        let memory = Owned::OutOfPlace { send: self.only_at(root, send), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::all_gather_v`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let own = vec![comm.rank(); comm.rank() as usize];
    /// let work = comm.owned().all_gather_v(own, vec![9], &[0, 1])?;
    /// let (_, all) = work.wait()?;
    /// assert_eq!(all, [1]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_gather_v<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: R,
        counts: &[usize],
    ) -> Result<Work<(S, R)>, Error> {
        let operation = Operation::of::<S::Element>(Collective::AllGather).with_counts(counts);
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::all_gather_v_in_place`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let buffer = vec![comm.rank()];
    /// let work = comm.owned().all_gather_v_in_place(buffer, &[0, 1])?;
    /// assert_eq!(work.wait()?, [1]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_gather_v_in_place<B: OwnedBuffer>(
        &mut self,
        buffer: B,
        counts: &[usize],
    ) -> Result<Work<B>, Error> {
        let operation = Operation::of::<B::Element>(Collective::AllGather).with_counts(counts);
        let memory = Owned::InPlace(buffer.into_memory());
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::reduce_scatter_v`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let recv = vec![0; 1 + rank];
    /// let work = comm.owned().reduce_scatter_v(vec![1, 2, 3], recv, &[1, 2], ReduceOp::Sum)?;
    /// let (_, part) = work.wait()?;
    /// assert_eq!(part, [&[2][..], &[4, 6]][rank]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_scatter_v<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: R,
        counts: &[usize],
        op: ReduceOp,
    ) -> Result<Work<(S, R)>, Error> {
        let operation =
            Operation::of::<S::Element>(Collective::ReduceScatter).with_counts(counts).reducing(op);
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::reduce_scatter_v_in_place`].
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let rank = comm.rank() as usize;
    /// let work = comm.owned().reduce_scatter_v_in_place(vec![1, 2, 3], &[1, 2], ReduceOp::Sum)?;
    /// assert_eq!(work.wait()?[rank], [2, 4][rank]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn reduce_scatter_v_in_place<B: OwnedBuffer>(
        &mut self,
        buffer: B,
        counts: &[usize],
        op: ReduceOp,
    ) -> Result<Work<B>, Error> {
        let operation =
            Operation::of::<B::Element>(Collective::ReduceScatter).with_counts(counts).reducing(op);
        let memory = Owned::InPlace(buffer.into_memory());
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::all_to_all_v`]; the buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// // To rank 0 goes one element of each, to rank 1 go two.
    /// let rank = comm.rank() as usize;
    /// let recv = vec![0; 2 + 2 * rank];
    /// let work = comm.owned().all_to_all_v(vec![1, 2, 3], recv, &[1, 2], &[1 + rank; 2])?;
    /// let (_, recv) = work.wait()?;
    /// assert_eq!(recv, [&[1, 1][..], &[2, 3, 2, 3]][rank]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the arguments do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn all_to_all_v<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        recv: R,
        send_counts: &[usize],
        recv_counts: &[usize],
    ) -> Result<Work<(S, R)>, Error> {
        let operation =
            Operation::of::<S::Element>(Collective::AllToAll).with_pairs(send_counts, recv_counts);
        let memory = Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() };
        self.run(operation, memory, Location::caller())
    }

    /// As [`Communicator::barrier`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let all_came = comm.owned().barrier()?;
    /// // Whatever needs no other rank.
    /// all_came.wait()?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn barrier(&mut self) -> Result<Work<()>, Error> {
        let operation = Operation::of::<u8>(Collective::Barrier);
        self.run(operation, Owned::InPlace(Box::new(Nothing)), Location::caller())
    }

    /// The memory of a buffer that only the root has; that of others is dropped.
    fn only_at(&self, root: u32, buffer: Option<impl OwnedBuffer>) -> Box<dyn Memory> {
        match buffer.filter(|_| self.comm.rank() == root) {
            Some(buffer) => buffer.into_memory(),
            None => Box::new(Nothing),
        }
    }
}

fn pair(send: impl OwnedBuffer, recv: impl OwnedBuffer) -> Owned {
    Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() }
}
