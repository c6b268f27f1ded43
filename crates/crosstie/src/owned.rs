//! Owns asynchronous calls whose buffers move into them: the typed forms, and the buffers that can.

use std::panic::Location;

use crosstie_exec::{Memory, Message, Nothing, Owned};
use crosstie_ir::{Collective, Rank, ReduceOp};
use crosstie_transport::HeapBlock;

use crate::group::{Route, message};
use crate::operation::Operation;
use crate::work::Pending;
use crate::{Buffer, Communicator, Element, Error, Work};

/// A buffer that can move into a call and comes back from it: `Vec<T>`, `Box<[T]>` and [`Buffer<T>`].
///
/// Sealed: each implementation is a promise that moving the value moves none of its elements.
pub trait OwnedBuffer: sealed::Sealed + Send + 'static {
    /// What it holds.
    type Element: Element;

    #[doc(hidden)]
    fn into_memory(self) -> Box<dyn Memory>;

    #[doc(hidden)]
    fn from_memory(memory: Box<dyn Memory>) -> Option<Self>
    where
        Self: Sized;
}

mod sealed {
    pub trait Sealed {}
}

impl<T: Element> sealed::Sealed for Vec<T> {}
impl<T: Element> OwnedBuffer for Vec<T> {
    type Element = T;

    fn into_memory(self) -> Box<dyn Memory> {
        Box::new(self)
    }
    fn from_memory(memory: Box<dyn Memory>) -> Option<Self> {
        memory.into_any().downcast().ok().map(|vector| *vector)
    }
}

impl<T: Element> sealed::Sealed for Box<[T]> {}
impl<T: Element> OwnedBuffer for Box<[T]> {
    type Element = T;

    fn into_memory(self) -> Box<dyn Memory> {
        Box::new(self)
    }
    fn from_memory(memory: Box<dyn Memory>) -> Option<Self> {
        memory.into_any().downcast::<Self>().ok().map(|slice| *slice)
    }
}

impl<T: Element> sealed::Sealed for Buffer<T> {}
impl<T: Element> OwnedBuffer for Buffer<T> {
    type Element = T;

    fn into_memory(self) -> Box<dyn Memory> {
        Box::new(self.into_block())
    }
    fn from_memory(memory: Box<dyn Memory>) -> Option<Self> {
        memory.into_any().downcast::<HeapBlock>().ok().map(|block| Self::from_block(*block))
    }
}

/// What comes back from an asynchronous call: one buffer, a pair (send, recv), or nothing.
///
/// Sealed: calls make these and no others.
pub trait Returned: returned::Sealed + Send + 'static {
    #[doc(hidden)]
    fn from_owned(owned: Option<Owned>) -> Option<Self>
    where
        Self: Sized;
}

mod returned {
    pub trait Sealed {}
}

impl returned::Sealed for () {}
impl Returned for () {
    fn from_owned(_: Option<Owned>) -> Option<Self> {
        Some(())
    }
}

impl<B: OwnedBuffer> returned::Sealed for B {}
impl<B: OwnedBuffer> Returned for B {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        match owned? {
            Owned::InPlace(memory) => B::from_memory(memory),
            Owned::OutOfPlace { .. } => None,
            Owned::Messages { sends, recvs } => {
                let only = sends.into_iter().chain(recvs).next()?;
                B::from_memory(only.memory)
            }
        }
    }
}

impl<S: OwnedBuffer, R: OwnedBuffer> returned::Sealed for (S, R) {}
impl<S: OwnedBuffer, R: OwnedBuffer> Returned for (S, R) {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        match owned? {
            Owned::OutOfPlace { send, recv } => {
                Some((S::from_memory(send)?, R::from_memory(recv)?))
            }
            Owned::Messages { mut sends, mut recvs } => {
                let (sent, received) = (sends.pop()?.memory, recvs.pop()?.memory);
                Some((S::from_memory(sent)?, R::from_memory(received)?))
            }
            Owned::InPlace(_) => None,
        }
    }
}

/// A buffer that only the root has, beside one that all have.
impl<S: OwnedBuffer, R: OwnedBuffer> returned::Sealed for (S, Option<R>) {}
impl<S: OwnedBuffer, R: OwnedBuffer> Returned for (S, Option<R>) {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        match owned? {
            Owned::OutOfPlace { send, recv } => Some((S::from_memory(send)?, R::from_memory(recv))),
            _ => None,
        }
    }
}

impl<S: OwnedBuffer, R: OwnedBuffer> returned::Sealed for (Option<S>, R) {}
impl<S: OwnedBuffer, R: OwnedBuffer> Returned for (Option<S>, R) {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        match owned? {
            Owned::OutOfPlace { send, recv } => Some((S::from_memory(send), R::from_memory(recv)?)),
            _ => None,
        }
    }
}

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

    /// As [`Communicator::send`]; the buffer comes back.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn send<B: OwnedBuffer>(&mut self, buffer: B, peer: u32) -> Result<Work<B>, Error> {
        let sent = owned_message::<B>(buffer);
        let route = Route::of_one(Some((peer, sent.memory.bytes().len())), None);
        let memory = Owned::Messages { sends: vec![sent], recvs: Vec::new() };
        self.exchange("send", route, memory, Location::caller())
    }

    /// As [`Communicator::recv`]; the buffer comes back.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn recv<B: OwnedBuffer>(&mut self, buffer: B, peer: u32) -> Result<Work<B>, Error> {
        let received = owned_message::<B>(buffer);
        let route = Route::of_one(None, Some((peer, received.memory.bytes().len())));
        let memory = Owned::Messages { sends: Vec::new(), recvs: vec![received] };
        self.exchange("recv", route, memory, Location::caller())
    }

    /// As [`Communicator::send_recv`]; the buffers come back.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn send_recv<S: OwnedBuffer, R: OwnedBuffer<Element = S::Element>>(
        &mut self,
        send: S,
        to: u32,
        recv: R,
        from: u32,
    ) -> Result<Work<(S, R)>, Error> {
        let (sent, received) = (owned_message::<S>(send), owned_message::<R>(recv));
        let [out, back] = [&sent, &received].map(|message| message.memory.bytes().len());
        let route = Route::of_one(Some((to, out)), Some((from, back)));
        let memory = Owned::Messages { sends: vec![sent], recvs: vec![received] };
        self.exchange("send_recv", route, memory, Location::caller())
    }

    fn exchange<B: Returned>(
        &mut self,
        name: &'static str,
        route: Route,
        memory: Owned,
        site: &'static Location<'static>,
    ) -> Result<Work<B>, Error> {
        let (what, call) = self.comm.group_submission(name, route, site)?;
        let standing = &self.comm.standing;
        let ticket = self.comm.engine.submit(what, memory);
        let ticket = ticket.map_err(|seen| standing.fail(call, &seen))?;
        Ok(Work::new(Pending::new(ticket, standing, call)))
    }

    /// As [`Communicator::barrier`].
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

fn owned_message<B: OwnedBuffer>(buffer: B) -> Message<Box<dyn Memory>> {
    let memory = buffer.into_memory();
    let Message { tag, whole, .. } = message::<B::Element, &[u8]>(memory.bytes());
    Message { memory, tag, whole }
}

fn pair(send: impl OwnedBuffer, recv: impl OwnedBuffer) -> Owned {
    Owned::OutOfPlace { send: send.into_memory(), recv: recv.into_memory() }
}
