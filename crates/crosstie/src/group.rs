//! Owns sends and receives between pairs of ranks, alone and in groups.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::Arc;

use crosstie_bootstrap::CallMark;
use crosstie_exec::{Buffers, Call, Message, Program, Submission};
use crosstie_ir::{Chunk, ChunkMap, Collective, DataType, Few, Rank, Repeats, Span, Table};
use crosstie_planner::Messages;

use crate::call_name::CallName;
use crate::counts::no_such;
use crate::standing::Watched;
use crate::{Communicator, Element, Error, select, tag};

/// Sends and receives that are carried out together; made by [`Communicator::group`].
#[derive(Debug)]
pub struct Group<'a> {
    ranks: u32,
    sends: Vec<(Rank, DataType, Message<&'a [u8]>)>,
    recvs: Vec<(Rank, DataType, Message<&'a mut [u8]>)>,
    wrong: Option<Error>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(ranks: u32) -> Self {
        Self { ranks, sends: Vec::new(), recvs: Vec::new(), wrong: None }
    }

    /// Sends `buffer` to rank `peer`, this rank itself included; several messages to one rank go in the
    /// order in which they were asked for.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(1).run(|mut comm| {
    /// let mut copy = [0; 2];
    /// comm.group(|g| {
    ///     g.send(&[3, 4], 0);
    ///     g.recv(&mut copy, 0);
    /// })?;
    /// assert_eq!(copy, [3, 4]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn send<T: Element>(&mut self, buffer: &'a [T], peer: u32) {
        if self.is_there("send", peer) {
            let message = message::<T, _>(bytemuck::cast_slice(buffer));
            self.sends.push((Rank(peer), T::TYPE, message));
        }
    }

    /// Receives a message of exactly `buffer.len()` elements from rank `peer`, the next that it sends.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(3).run(|mut comm| {
    /// // Everyone's number, at rank 0.
    /// let (rank, mut numbers) = ([comm.rank()], [[0_u32]; 3]);
    /// comm.group(|g| {
    ///     g.send(&rank, 0);
    ///     if rank == [0] {
    ///         (0..).zip(&mut numbers).for_each(|(peer, number)| g.recv(number, peer));
    ///     }
    /// })?;
    /// assert_eq!(numbers, if rank == [0] { [[0], [1], [2]] } else { [[0]; 3] });
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn recv<T: Element>(&mut self, buffer: &'a mut [T], peer: u32) {
        if self.is_there("recv", peer) {
            let message = message::<T, _>(bytemuck::cast_slice_mut(buffer));
            self.recvs.push((Rank(peer), T::TYPE, message));
        }
    }

    /// As [`send`](Self::send), of bytes: whole elements of `data_type`, at any address.
    ///
    /// ```
    /// # use crosstie::{DataType, Threads};
    /// # Threads::new(1).run(|mut comm| {
    /// let (bytes, mut copy) = (1.5_f32.to_ne_bytes(), [0.0_f32]);
    /// comm.group(|g| {
    ///     g.send_bytes(&bytes, DataType::F32, 0);
    ///     g.recv(&mut copy, 0);
    /// })?;
    /// assert_eq!(copy, [1.5]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn send_bytes(&mut self, bytes: &'a [u8], data_type: DataType, peer: u32) {
        if self.is_there("send", peer) && self.is_whole("send", bytes.len(), data_type) {
            self.sends.push((Rank(peer), data_type, message_of(bytes, data_type)));
        }
    }

    /// As [`recv`](Self::recv), of bytes: whole elements of `data_type`, at any address.
    ///
    /// ```
    /// # use crosstie::{DataType, Threads};
    /// # Threads::new(1).run(|mut comm| {
    /// let mut copy = [0; 2];
    /// comm.group(|g| {
    ///     g.send(&[258_u16], 0);
    ///     g.recv_bytes(&mut copy, DataType::U16, 0);
    /// })?;
    /// assert_eq!(u16::from_ne_bytes(copy), 258);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn recv_bytes(&mut self, bytes: &'a mut [u8], data_type: DataType, peer: u32) {
        if self.is_there("recv", peer) && self.is_whole("recv", bytes.len(), data_type) {
            self.recvs.push((Rank(peer), data_type, message_of(bytes, data_type)));
        }
    }

    /// Adds what `body` asks for to this group: groups may nest, and the outermost is one.
    ///
    /// ```
    /// # use crosstie::{Group, Threads};
    /// fn to_both<'a>(group: &mut Group<'a>, data: &'a [f32]) {
    ///     group.group(|g| (0..2).for_each(|peer| g.send(data, peer)));
    /// }
    /// # Threads::new(2).run(|mut comm| {
    /// let (mine, mut all) = ([comm.rank() as f32], [[9.0_f32]; 2]);
    /// comm.group(|g| {
    ///     to_both(g, &mine);
    ///     (0..).zip(&mut all).for_each(|(peer, theirs)| g.recv(theirs, peer));
    /// })?;
    /// assert_eq!(all, [[0.0], [1.0]]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn group(&mut self, body: impl FnOnce(&mut Self)) {
        body(self);
    }

    fn is_there(&mut self, operation: &'static str, peer: u32) -> bool {
        let is_there = peer < self.ranks;
        if !is_there {
            let what = no_such("peer", peer, self.ranks);
            self.wrong.get_or_insert(Error::Argument { operation, what });
        }
        is_there
    }

    fn is_whole(&mut self, operation: &'static str, bytes: usize, data_type: DataType) -> bool {
        let is_whole = bytes.is_multiple_of(data_type.size());
        if !is_whole {
            let what = format!("{bytes} bytes are no whole elements of {data_type}");
            self.wrong.get_or_insert(Error::Argument { operation, what });
        }
        is_whole
    }

    /// Who sends how much to whom, and the memory; where several messages go one way between two ranks,
    /// in pieces of at most `slot_bytes`.
    ///
    /// A plan's windows take turns between the messages of a connection, where the peer may receive one
    /// after the other, in a call each.
    pub(crate) fn into_parts(self, slot_bytes: usize) -> Result<(Route, Buffers<'a>), Error> {
        let Self { sends, recvs, wrong, .. } = self;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        let longest = longest_pieces(sends.iter().map(|(peer, ..)| *peer).collect(), slot_bytes);
        let sends = sends.into_iter().flat_map(|(peer, data_type, message)| {
            message.pieces(longest(peer)).map(move |one| (peer, data_type, one))
        });
        let out = |(peer, data_type, one): (Rank, DataType, Message<&'a [u8]>)| {
            sent.push((peer, one.memory.len(), data_type));
            one
        };
        let sends = sends.map(out).collect();
        let longest = longest_pieces(recvs.iter().map(|(peer, ..)| *peer).collect(), slot_bytes);
        let recvs = recvs.into_iter().flat_map(|(peer, data_type, message)| {
            message.pieces(longest(peer)).map(move |one| (peer, data_type, one))
        });
        let back = |(peer, data_type, one): (Rank, DataType, Message<&'a mut [u8]>)| {
            received.push((peer, one.memory.len(), data_type));
            one
        };
        let recvs = recvs.map(back).collect();
        Ok((Route::of_pieces(&sent, &received), Buffers::Messages { sends, recvs }))
    }
}

/// A whole message in elements of `T`.
pub(crate) fn message<T: Element, B: AsRef<[u8]>>(memory: B) -> Message<B> {
    message_of(memory, T::TYPE)
}

fn message_of<B: AsRef<[u8]>>(memory: B, data_type: DataType) -> Message<B> {
    let whole = memory.as_ref().len() as u64;
    Message { memory, tag: tag::of_message(data_type, whole), whole }
}

/// How long the pieces are that messages of each rank are cut into: whole, where a rank has one.
pub(crate) fn longest_pieces(peers: Vec<Rank>, slot_bytes: usize) -> impl Fn(Rank) -> usize {
    let mut seen = BTreeSet::new();
    let several: BTreeSet<Rank> = peers.into_iter().filter(|&peer| !seen.insert(peer)).collect();
    move |peer| if several.contains(&peer) { slot_bytes } else { usize::MAX }
}

fn span(bytes: usize) -> Span {
    Span { offset: 0, elements: bytes as u64 }
}

/// A message of a group, or a part of one: the rank at the other end, bytes, and the type of their elements.
pub(crate) type Piece = (Rank, usize, DataType);

/// The messages of a group, apart from their memory.
#[derive(Debug)]
pub(crate) struct Route {
    to: Few<Rank>,
    from: Few<Rank>,
    sent: Few<Span>,
    received: Few<Span>,
    /// Of the elements of each message out, and of each in, where there may be several.
    types: [Vec<DataType>; 2],
    /// Of the elements of the only message each way, where it is one.
    data_type: Option<DataType>,
}

impl Route {
    /// At most one message each way, of elements of `T`: a rank, and bytes.
    pub fn of_one<T: Element>(send: Option<(u32, usize)>, recv: Option<(u32, usize)>) -> Self {
        let rank = |side: Option<(u32, usize)>| side.map(|(rank, _)| Rank(rank)).into();
        let spans = |side: Option<(u32, usize)>| side.map(|(_, bytes)| span(bytes)).into();
        Self {
            to: rank(send),
            from: rank(recv),
            sent: spans(send),
            received: spans(recv),
            types: [Vec::new(), Vec::new()],
            data_type: Some(T::TYPE),
        }
    }

    /// The route of buffers that are cut into pieces already.
    pub fn of_pieces(sends: &[Piece], recvs: &[Piece]) -> Self {
        let ranks = |side: &[Piece]| side.iter().map(|(rank, ..)| *rank).collect();
        let spans = |side: &[Piece]| side.iter().map(|(_, bytes, _)| span(*bytes)).collect();
        let types = |side: &[Piece]| side.iter().map(|(.., data_type)| *data_type).collect();
        Self {
            to: ranks(sends),
            from: ranks(recvs),
            sent: spans(sends),
            received: spans(recvs),
            types: [types(sends), types(recvs)],
            data_type: None,
        }
    }

    /// What a group of these is called: if it is one message, as that, so that messages tell its type.
    fn named(&mut self) -> &'static str {
        let (name, data_type) = match (&self.types[0][..], &self.types[1][..]) {
            ([only], []) => ("send", *only),
            ([], [only]) => ("recv", *only),
            _ => return "group",
        };
        self.data_type = Some(data_type);
        name
    }

    /// What the monitors tell of it, with [`count`](Self::count).
    fn kind(&self, name: &str) -> u64 {
        let peers = [&self.to, &self.from].map(|side| side.first().map(|rank| rank.0));
        tag::kind_of_messages(name, peers, self.data_type.unwrap_or(DataType::U8))
    }

    /// Elements of the first message, where there is at most one each way; else how many there are.
    fn count(&self) -> u64 {
        match self.data_type {
            Some(data_type) => {
                let first = self.sent.first().or(self.received.first());
                first.map_or(0, |span| span.elements / data_type.size() as u64)
            }
            None => (self.to.len() + self.from.len()) as u64,
        }
    }

    fn is_empty(&self) -> bool {
        self.to.is_empty() && self.from.is_empty()
    }

    /// Whether ranks are there, and what this rank sends to itself is what it receives from itself.
    fn check(&self, name: &'static str, rank: u32, ranks: u32) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Argument { operation: name, what });
        if let Some(peer) = self.to.iter().chain(self.from.iter()).find(|peer| peer.0 >= ranks) {
            return wrong(no_such("peer", peer.0, ranks));
        }
        let most = self.to.len().max(self.from.len());
        if most > Chunk::MAX_INDEX as usize {
            return wrong(format!("{most} messages one way; {} are possible", Chunk::MAX_INDEX));
        }
        if !self.to.contains(&Rank(rank)) && !self.from.contains(&Rank(rank)) {
            return Ok(());
        }
        let own = |peers: &[Rank], spans: &[Span]| -> Vec<u64> {
            let own = peers.iter().zip(spans).filter(|(peer, _)| peer.0 == rank);
            own.map(|(_, span)| span.elements).collect()
        };
        let (sent, received) = (own(&self.to, &self.sent), own(&self.from, &self.received));
        if sent != received {
            return wrong(format!(
                "rank {rank} sends itself messages of {sent:?} bytes, and receives {received:?}"
            ));
        }
        let own = |peers: &[Rank], types: &[DataType]| -> Vec<DataType> {
            let own = peers.iter().zip(types).filter(|(peer, _)| peer.0 == rank);
            own.map(|(_, data_type)| *data_type).collect()
        };
        let [sent, received] = [(&self.to, &self.types[0]), (&self.from, &self.types[1])]
            .map(|(peers, types)| own(peers, types));
        match sent.iter().zip(&received).find(|(sent, received)| sent != received) {
            Some((sent, received)) => wrong(format!(
                "rank {rank} sends itself a message of {sent}, and receives it as one of {received}"
            )),
            None => Ok(()),
        }
    }
}

impl Communicator {
    /// Carries out all sends and receives that `body` asks for, together: in whatever order the ranks
    /// ask, none waits for another.
    ///
    /// Only ranks that have a message take part. Each message is received with the length with which it
    /// was sent.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(3).run(|mut comm| {
    /// // Everyone passes a number to the right.
    /// let (rank, size) = (comm.rank(), comm.size());
    /// let (mine, mut left) = ([rank * 10], [0]);
    /// comm.group(|g| {
    ///     g.send(&mine, (rank + 1) % size);
    ///     g.recv(&mut left, (rank + size - 1) % size);
    /// })?;
    /// assert_eq!(left, [(rank + size - 1) % size * 10]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such rank, or this rank's messages to itself do not fit each
    /// other; [`Error::Failed`] when a peer failed, did not make its part before the deadline, or sent a
    /// message of another length; [`Error::AlreadyFailed`]; [`Error::Forked`].
    #[track_caller]
    pub fn group<'a>(&mut self, body: impl FnOnce(&mut Group<'a>)) -> Result<(), Error> {
        let mut group = Group::new(self.size());
        body(&mut group);
        let (mut route, buffers) = group.into_parts(self.slot_bytes)?;
        let name = route.named();
        self.exchange(name, route, buffers, Location::caller())
    }

    /// Sends `buffer` to rank `peer`, which [receives](Self::recv) it. Returns when the buffer may be
    /// changed, which may be before the peer has called.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let mut numbers = [comm.rank(); 3];
    /// match comm.rank() {
    ///     0 => comm.send(&[4_u32, 5, 6], 1)?,
    ///     _ => comm.recv(&mut numbers, 0)?,
    /// }
    /// assert_eq!(numbers, [[0, 0, 0], [4, 5, 6]][comm.rank() as usize]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`group`](Self::group). A send to this rank itself needs a group, with its receive.
    #[track_caller]
    pub fn send<T: Element>(&mut self, buffer: &[T], peer: u32) -> Result<(), Error> {
        let (route, buffers) = one_way_out(buffer, peer);
        self.exchange("send", route, buffers, Location::caller())
    }

    /// Receives the next message that rank `peer` [sends](Self::send) to this one, of exactly
    /// `buffer.len()` elements.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// if comm.rank() == 0 {
    ///     let mut answer = [0.0_f32];
    ///     comm.recv(&mut answer, 1)?;
    ///     assert_eq!(answer, [42.0]);
    /// } else {
    ///     comm.send(&[42.0_f32], 0)?;
    /// }
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`group`](Self::group).
    #[track_caller]
    pub fn recv<T: Element>(&mut self, buffer: &mut [T], peer: u32) -> Result<(), Error> {
        let (route, buffers) = one_way_in(buffer, peer);
        self.exchange("recv", route, buffers, Location::caller())
    }

    /// Sends `send` to rank `to` and receives `recv` from rank `from`, both at once.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let other = 1 - comm.rank();
    /// let mut theirs = [0];
    /// comm.send_recv(&[comm.rank() + 5], other, &mut theirs, other)?;
    /// assert_eq!(theirs, [other + 5]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`group`](Self::group).
    #[track_caller]
    pub fn send_recv<T: Element>(
        &mut self,
        send: &[T],
        to: u32,
        recv: &mut [T],
        from: u32,
    ) -> Result<(), Error> {
        let (route, buffers) = both_ways((send, to), (recv, from));
        self.exchange("send_recv", route, buffers, Location::caller())
    }

    fn exchange(
        &mut self,
        name: &'static str,
        route: Route,
        buffers: Buffers<'_>,
        site: &'static Location<'static>,
    ) -> Result<(), Error> {
        self.standing.check()?;
        if route.is_empty() {
            return Ok(());
        }
        let (program, map, call, mark) = self.admit_group(name, route, site)?;
        let watched = Watched { standing: &*self.standing, call, mark };
        let (reducer, limit, tag) = (None, self.timeout, 0);
        let run = Call { program: &program, map, reducer, buffers, limit, tag };
        self.engine.run(run, &watched).map_err(|seen| self.standing.fail(call, &seen))
    }

    /// The same for later.
    pub(crate) fn group_submission(
        &mut self,
        name: &'static str,
        route: Route,
        site: &'static Location<'static>,
    ) -> Result<(Submission, CallName), Error> {
        self.standing.check()?;
        let (program, map, call, mark) = self.admit_group(name, route, site)?;
        let watch = Box::new(Watched { standing: Arc::clone(&self.standing), call, mark });
        let (reducer, limit, tag) = (None, self.timeout, 0);
        Ok((Submission { program, map, reducer, limit, tag, watch }, call))
    }

    fn admit_group(
        &mut self,
        name: &'static str,
        route: Route,
        site: &'static Location<'static>,
    ) -> Result<(Arc<Program>, ChunkMap, CallName, CallMark), Error> {
        route.check(name, self.world.rank, self.world.size)?;
        let (collective, sequence) = (Collective::SendRecv, self.sequence + 1);
        let told_site = (!self.settings.from_c).then_some(site);
        let call = CallName { collective, name, sequence, site: told_site };
        self.standing.check_call(call)?;
        let kind = self.settings.kind_from(route.kind(name));
        let mark = CallMark { sequence, tag: 0, kind, count: route.count(), site };
        let Route { to, from, sent, received, .. } = route;
        let table = Table { input: sent, output: received, repeats: Repeats::Block };
        let map = select::ragged_map(table, DataType::U8, self.slot_bytes);
        let key = (to, from);
        if let Some(program) = self.programs.group(&key) {
            return Ok((Arc::clone(program), map, call, mark));
        }
        let messages = Messages { sends: &key.0, recvs: &key.1 };
        let plan = crosstie_planner::plan_group(&messages, &self.nodes, Rank(self.world.rank));
        let program = self.engine.resolve(plan).map_err(|seen| self.standing.fail(call, &seen))?;
        let program = Arc::new(program);
        self.programs.keep_group(key, &program);
        Ok((program, map, call, mark))
    }
}

/// One message to `peer`.
pub(crate) fn one_way_out<T: Element>(buffer: &[T], peer: u32) -> (Route, Buffers<'_>) {
    let sent = message::<T, &[u8]>(bytemuck::cast_slice(buffer));
    let route = Route::of_one::<T>(Some((peer, sent.memory.len())), None);
    (route, Buffers::Messages { sends: sent.into(), recvs: Few::NONE })
}

/// One message from `peer`.
pub(crate) fn one_way_in<T: Element>(buffer: &mut [T], peer: u32) -> (Route, Buffers<'_>) {
    let received = message::<T, &mut [u8]>(bytemuck::cast_slice_mut(buffer));
    let route = Route::of_one::<T>(None, Some((peer, received.memory.len())));
    (route, Buffers::Messages { sends: Few::NONE, recvs: received.into() })
}

/// One message to the one rank, and one from the other.
pub(crate) fn both_ways<'a, T: Element>(
    (send, to): (&'a [T], u32),
    (recv, from): (&'a mut [T], u32),
) -> (Route, Buffers<'a>) {
    let sent = message::<T, &[u8]>(bytemuck::cast_slice(send));
    let received = message::<T, &mut [u8]>(bytemuck::cast_slice_mut(recv));
    let route =
        Route::of_one::<T>(Some((to, sent.memory.len())), Some((from, received.memory.len())));
    (route, Buffers::Messages { sends: sent.into(), recvs: received.into() })
}
