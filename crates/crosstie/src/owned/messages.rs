//! Owns sends, receives and groups of them whose buffers move into them.

use std::panic::Location;

use crosstie_exec::{Message, Owned, OwnedMessage};
use crosstie_ir::Rank;

use super::{Exchanged, OwnedBuffer, OwnedCalls, Returned};
use crate::group::{Piece, Route, longest_pieces, message};
use crate::work::Pending;
use crate::{Element, Error, Work};

impl OwnedCalls<'_> {
    /// As [`Communicator::send`](crate::Communicator::send); the buffer comes back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// match comm.rank() {
    ///     0 => assert_eq!(comm.owned().send(vec![4, 5], 1)?.wait()?, [4, 5]),
    ///     _ => comm.recv(&mut [0; 2], 0)?,
    /// }
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn send<B: OwnedBuffer>(&mut self, buffer: B, peer: u32) -> Result<Work<B>, Error> {
        let sent = owned_message::<B>(buffer, usize::MAX);
        let route =
            Route::of_one::<B::Element>(Some((peer, sent.message.memory.bytes().len())), None);
        let memory = Owned::Messages { sends: vec![sent], recvs: Vec::new() };
        self.exchange("send", route, memory, Location::caller())
    }

    /// As [`Communicator::recv`](crate::Communicator::recv); the buffer comes back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// match comm.rank() {
    ///     0 => assert_eq!(comm.owned().recv(vec![0; 2], 1)?.wait()?, [4, 5]),
    ///     _ => comm.send(&[4, 5], 0)?,
    /// }
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn recv<B: OwnedBuffer>(&mut self, buffer: B, peer: u32) -> Result<Work<B>, Error> {
        let received = owned_message::<B>(buffer, usize::MAX);
        let route =
            Route::of_one::<B::Element>(None, Some((peer, received.message.memory.bytes().len())));
        let memory = Owned::Messages { sends: Vec::new(), recvs: vec![received] };
        self.exchange("recv", route, memory, Location::caller())
    }

    /// As [`Communicator::send_recv`](crate::Communicator::send_recv); the buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let (rank, other) = (comm.rank(), 1 - comm.rank());
    /// let work = comm.owned().send_recv(vec![rank], other, vec![9], other)?;
    /// assert_eq!(work.wait()?, (vec![rank], vec![other]));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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
        let (sent, received) =
            (owned_message::<S>(send, usize::MAX), owned_message::<R>(recv, usize::MAX));
        let [out, back] = [&sent, &received].map(|one| one.message.memory.bytes().len());
        let route = Route::of_one::<S::Element>(Some((to, out)), Some((from, back)));
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

    /// As [`Communicator::group`](crate::Communicator::group), of messages that are given with the rank that
    /// each goes to, or comes from; all buffers come back.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let (rank, other) = (comm.rank(), 1 - comm.rank());
    /// // One message to oneself, one to the other rank.
    /// let sends = vec![(vec![rank], rank), (vec![rank + 5; 2], other)];
    /// let recvs = vec![(vec![0; 2], other), (vec![0], rank)];
    /// let buffers = comm.owned().group(sends, recvs)?.wait()?;
    /// assert_eq!(buffers.received, [vec![other + 5; 2], vec![rank]]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the messages do not fit; [`Error::AlreadyFailed`].
    #[track_caller]
    pub fn group<S: OwnedBuffer, R: OwnedBuffer>(
        &mut self,
        sends: Vec<(S, u32)>,
        recvs: Vec<(R, u32)>,
    ) -> Result<Work<Exchanged<S, R>>, Error> {
        let slot_bytes = self.comm.slot_bytes;
        let (sends, sent) = owned_messages(sends, slot_bytes);
        let (recvs, received) = owned_messages(recvs, slot_bytes);
        let route = Route::of_pieces(&sent, &received);
        self.exchange("group", route, Owned::Messages { sends, recvs }, Location::caller())
    }
}

fn owned_message<B: OwnedBuffer>(buffer: B, longest_piece: usize) -> OwnedMessage {
    let memory = buffer.into_memory();
    let Message { tag, whole, .. } = message::<B::Element, &[u8]>(memory.bytes());
    OwnedMessage { message: Message { memory, tag, whole }, longest_piece }
}

/// The messages, and each of their pieces.
fn owned_messages<B: OwnedBuffer>(
    buffers: Vec<(B, u32)>,
    slot_bytes: usize,
) -> (Vec<OwnedMessage>, Vec<Piece>) {
    let longest = longest_pieces(buffers.iter().map(|(_, peer)| Rank(*peer)).collect(), slot_bytes);
    let (mut messages, mut pieces) = (Vec::with_capacity(buffers.len()), Vec::new());
    for (buffer, peer) in buffers {
        let owned = owned_message(buffer, longest(Rank(peer)));
        let bytes = owned.message.memory.bytes();
        let count = bytes.len().div_ceil(owned.longest_piece).max(1);
        let lens = (0..count).map(|k| {
            let start = k.saturating_mul(owned.longest_piece);
            owned.longest_piece.min(bytes.len() - start)
        });
        pieces.extend(lens.map(|len| (Rank(peer), len, B::Element::TYPE)));
        messages.push(owned);
    }
    (messages, pieces)
}
