//! Owns sends, receives and groups of them in a scope.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use crosstie_exec::Buffers;

use super::{Scope, ScopedWork};
use crate::group::{Route, both_ways, one_way_in, one_way_out};
use crate::{Element, Error, Group};

impl<'scope> Scope<'scope, '_> {
    /// As [`Communicator::group`](crate::Communicator::group); nothing comes back from its work.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let other = 1 - comm.rank();
    /// let (mine, mut theirs) = ([comm.rank()], [9]);
    /// comm.scope(|s| {
    ///     let _ = s.group(|g| {
    ///         g.send(&mine, other);
    ///         g.recv(&mut theirs, other);
    ///     })?;
    ///     Ok(())
    /// })?;
    /// assert_eq!(theirs, [other]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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

    /// As [`Communicator::send`](crate::Communicator::send); nothing comes back from its work.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let (own, mut got) = ([4, 5], [0; 2]);
    /// let rank = comm.rank();
    /// comm.scope(|s| {
    ///     match rank {
    ///         0 => assert!(s.send(&own, 1)?.wait()?.is_empty()),
    ///         _ => assert_eq!(s.recv(&mut got, 0)?.wait()?, [4, 5]),
    ///     }
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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

    /// As [`Communicator::recv`](crate::Communicator::recv).
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let (own, mut got) = ([0.5], [0.0]);
    /// let rank = comm.rank();
    /// comm.scope(|s| {
    ///     match rank {
    ///         0 => assert_eq!(s.recv(&mut got, 1)?.wait()?, [0.5]),
    ///         _ => assert!(s.send(&own, 0)?.wait()?.is_empty()),
    ///     }
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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

    /// As [`Communicator::send_recv`](crate::Communicator::send_recv); what was received comes back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let other = 1 - comm.rank();
    /// let (mine, mut theirs) = ([comm.rank()], [9]);
    /// comm.scope(|s| {
    ///     let work = s.send_recv(&mine, other, &mut theirs, other)?;
    ///     assert_eq!(work.wait()?, [other]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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
}
