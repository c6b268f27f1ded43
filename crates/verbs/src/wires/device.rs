//! Owns [`VerbsDevice`]: all wires of a rank over one port of one device.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crosstie_transport::wires::placing::{
    Completion as Happened, Device, Lasting, Pair, Write as Placed,
};
use crosstie_transport::wires::{self, Place};
use crosstie_transport::{Heap, Region, TransportError};
use rustix::event::{Timespec, epoll};

use super::outage::Outage;
use crate::{
    Account, Completion, CompletionQueue, Context, Depths, Domain, Event, Last, Local, Pinnable,
    PortState, QueuePair, Registration, Registrations, Remote, Source, VerbsError, Write,
};

/// Polls between two looks at the links and at the device's events, which are system calls. A rank that is
/// about to sleep looks each time.
const LOOK_POLLS: u32 = 256;
/// How long a peer that has left is still listened to. It left when its device had the acknowledgement of all that it
/// sent, which a device may give before what it acknowledges is in memory and told of: between the two are writes over
/// the bus of the host, microseconds. So the queue is emptied once more when this has passed.
const AFTERGLOW: Duration = Duration::from_millis(5);

/// Why a wire over verbs failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct PairError(Arc<VerbsError>);

impl PairError {
    /// What is behind it.
    pub fn reason(&self) -> &VerbsError {
        &self.0
    }
}

impl From<VerbsError> for PairError {
    fn from(error: VerbsError) -> Self {
        Self(Arc::new(error))
    }
}

impl From<PairError> for io::Error {
    fn from(error: PairError) -> Self {
        let kind = match *error.0 {
            VerbsError::RetryExceeded { .. } => io::ErrorKind::TimedOut,
            VerbsError::PortDown { .. } | VerbsError::Lost { .. } => io::ErrorKind::NetworkDown,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

pub(super) fn system(call: &str, error: VerbsError) -> TransportError {
    TransportError::System { call: call.to_owned(), source: PairError::from(error).into() }
}

/// One port of an open device, and what happens there.
pub struct VerbsDevice {
    context: Context,
    port: u8,
    expected_bytes: u64,
    domain: Domain,
    completions: CompletionQueue,
    /// Memory that stays, by the address at which each begins.
    memory: BTreeMap<usize, (usize, Registration)>,
    /// Where callers have their buffers, and those of them that the device knows; as of when so many had ended.
    heap: Option<Heap>,
    blocks: RefCell<Registrations<Domain>>,
    ended: Cell<u64>,
    /// Those that could not be registered, by their serials: messages from and to them are copied. They are tried again
    /// once another has ended.
    refused: RefCell<BTreeSet<u64>>,
    /// Whether a refusal was told: those that follow have the same cause.
    has_warned: Cell<bool>,
    /// By the numbers of their queue pairs.
    ends: Vec<End>,
    ears: OwnedFd,
    outage: Outage,
    is_armed: bool,
    polls: u32,
    /// Some queue pair was ended by its own rank.
    some_ended: Arc<AtomicBool>,
    /// Links whose peers have left, and when that is told.
    leaving: Vec<(Instant, Arc<Link>)>,
}

/// What a device knows of a lane.
struct End {
    number: u32,
    account: Account,
    link: Arc<Link>,
    /// Its end was told: nothing more is.
    is_over: bool,
}

/// What the lanes of a wire share with the device.
struct Link {
    /// Over which the two ends met, and by whose end each learns that the other has left.
    socket: TcpStream,
    /// Its own rank has ended it.
    is_ended: AtomicBool,
}

/// What the epoll set tells, besides the places of links in `ends`.
const OF_QUEUE: u64 = u64::MAX;
const OF_DEVICE: u64 = u64::MAX - 1;
const OF_OUTAGE: u64 = u64::MAX - 2;
/// What one look takes out of the set; more wait for the next.
const MOST_TOLD: usize = 16;

impl VerbsDevice {
    /// On an open device, with room for `entries` completions, whose wires are going to pin so many bytes. Its port may be down for as long as `patience`.
    pub(super) fn new(
        context: Context,
        (port, patience): (u8, Duration),
        (entries, expected_bytes): (u32, u64),
        heap: Option<Heap>,
    ) -> Result<Self, TransportError> {
        let failed = |error| system("opening a verbs device", error);
        let domain = Domain::new(&context).map_err(failed)?;
        let completions = CompletionQueue::new(&context, entries).map_err(failed)?;
        let outage = Outage::none(patience).map_err(timer)?;
        let ears = ears(&context, &completions, &outage)
            .map_err(|source| TransportError::System { call: "epoll".to_owned(), source })?;
        Ok(Self {
            context,
            port,
            expected_bytes,
            completions,
            memory: BTreeMap::new(),
            heap,
            blocks: RefCell::new(Registrations::new(domain.clone())),
            ended: Cell::new(0),
            refused: RefCell::default(),
            has_warned: Cell::new(false),
            domain,
            ends: Vec::new(),
            ears,
            outage,
            is_armed: false,
            polls: 0,
            some_ended: Arc::default(),
            leaving: Vec::new(),
        })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Whether it is software, which answers late.
    pub(super) fn is_software(&self) -> bool {
        self.context.attributes().is_software
    }

    /// Its port may be down for no longer than that: as long as the least patient of its wires repeats.
    pub(super) fn be_patient(&mut self, patience: Duration) {
        self.outage.be_patient(patience);
    }

    /// Bytes that wires were going to pin when it was opened.
    pub(super) fn expected_bytes(&self) -> u64 {
        self.expected_bytes
    }

    pub(super) fn queue_pair(
        &self,
        place: crate::Place,
        depths: Depths,
    ) -> Result<QueuePair, VerbsError> {
        QueuePair::new(&self.domain, &self.completions, place, depths)
    }

    pub(super) fn completions(&mut self) -> &mut CompletionQueue {
        &mut self.completions
    }

    /// The lanes of a wire's end, over connected queue pairs. `socket` is the link over which its ends met.
    pub(super) fn lanes(
        &mut self,
        pairs: Vec<QueuePair>,
        socket: TcpStream,
    ) -> io::Result<Vec<VerbsPair>> {
        socket.set_nonblocking(true)?;
        let link = Arc::new(Link { socket, is_ended: AtomicBool::new(false) });
        let first = pairs.first().map_or(0, QueuePair::number);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        epoll::add(&self.ears, &link.socket, epoll::EventData::new_u64(first.into()), flags)?;
        let lane = |pair: QueuePair| {
            let number = pair.number();
            let place = self.ends.partition_point(|end| end.number < number);
            let end = End { number, account: pair.account(), link: link.clone(), is_over: false };
            self.ends.insert(place, end);
            let (link, some_ended) = (link.clone(), self.some_ended.clone());
            VerbsPair { pair: Some(pair), number, link, some_ended }
        };
        Ok(pairs.into_iter().map(lane).collect())
    }

    /// The keys of memory that lies in one block of the heap, or in one registered vector. The first message from
    /// or to it pays for its registration.
    fn keys_in_heap(&self, region: Region) -> Option<wires::Keys> {
        let heap = self.heap.as_ref()?;
        let mut blocks = self.blocks.borrow_mut();
        let ended = heap.ended();
        if self.ended.replace(ended) != ended {
            let serial = |region| heap.allocation_of(region).map(|allocation| allocation.serial);
            blocks.keep(|known| serial(known.region) == Some(known.serial));
            self.refused.borrow_mut().clear();
        }
        let keys = blocks.find(&region).or_else(|| self.register_block(heap, &mut blocks, region));
        keys.map(wire_keys)
    }

    #[cold]
    fn register_block(
        &self,
        heap: &Heap,
        blocks: &mut Registrations<Domain>,
        region: Region,
    ) -> Option<crate::Keys> {
        let allocation = heap.allocation_of(region)?;
        let serial = allocation.serial;
        if self.refused.borrow().contains(&serial) {
            return None;
        }
        let pinnable = Pinnable::of_this_process().check(allocation.region.len() as u64);
        // SAFETY: where a block ends, the heap punches a hole, and what lies there next has other pages; on a host that
        // punches none, it has the same, but peers write only to places of receives that have not ended, as with
        // slots. Those are places of which their owner has said that they may be written.
        let keys = pinnable.and_then(|()| unsafe { blocks.keys(allocation) });
        let refuse = |error: &VerbsError| {
            self.refused.borrow_mut().insert(serial);
            match self.has_warned.replace(true) {
                false => tracing::warn!(%error, "buffers are copied, for they cannot be pinned"),
                true => tracing::debug!(%error, "a buffer is copied"),
            }
        };
        keys.inspect_err(refuse).ok()
    }

    /// Passes on what the completion queue has; whether that was anything.
    fn take(
        &mut self,
        each: &mut impl FnMut(u32, Happened<PairError>),
    ) -> Result<bool, TransportError> {
        let Self { completions, ends, .. } = self;
        let mut any = false;
        loop {
            let taken = completions.poll().map_err(|e| system("polling a verbs device", e))?;
            any |= !taken.is_empty();
            taken.iter().for_each(|completion| tell(ends, completion, each));
            // Fewer than there is room for are all that there were.
            if taken.len() < CompletionQueue::BATCH {
                return Ok(any);
            }
        }
    }

    /// Looks at the links and at the device's events; whether some end was told.
    #[cold]
    fn look(
        &mut self,
        each: &mut impl FnMut(u32, Happened<PairError>),
    ) -> Result<(), TransportError> {
        let none =
            epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut told = [none; MOST_TOLD];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = match epoll::wait(&self.ears, &mut told[..], Some(&at_once)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => {
                let call = "looking at the links of wires".to_owned();
                return Err(TransportError::System { call, source: error.into() });
            }
        };
        for event in &told[..count] {
            match event.data.u64() {
                OF_QUEUE => {}
                OF_DEVICE => self.hear_events(each)?,
                OF_OUTAGE => self.hear_outage(each)?,
                number => self.note_left(number as u32),
            }
        }
        Ok(())
    }

    /// A link has ended, or says what it should not: the peer has left.
    fn note_left(&mut self, number: u32) {
        let Ok(place) = self.ends.binary_search_by_key(&number, |end| end.number) else { return };
        let link = self.ends[place].link.clone();
        // It would be ready for ever.
        let _ = epoll::delete(&self.ears, &link.socket);
        self.leaving.push((Instant::now() + AFTERGLOW, link));
    }

    /// Tells of peers that have left, behind all that has arrived of them.
    #[cold]
    fn tell_left(
        &mut self,
        each: &mut impl FnMut(u32, Happened<PairError>),
    ) -> Result<(), TransportError> {
        let now = Instant::now();
        if self.leaving.iter().all(|(due, _)| *due > now) {
            return Ok(());
        }
        self.take(each)?;
        for (_, link) in self.leaving.extract_if(.., |(due, _)| *due <= now) {
            for end in self.ends.iter_mut().filter(|end| Arc::ptr_eq(&end.link, &link)) {
                end.over(Happened::Left, each);
            }
        }
        Ok(())
    }

    /// What happened to the device ends all its wires, or none; a port that goes down ends them if it stays so.
    fn hear_events(
        &mut self,
        each: &mut impl FnMut(u32, Happened<PairError>),
    ) -> Result<(), TransportError> {
        let failed = |error| system("hearing a verbs device's events", error);
        while let Some(event) = self.context.next_event().map_err(failed)? {
            match event {
                Event::PortDown(port) if port == self.port => self.port_fell()?,
                Event::PortUp(port) if port == self.port => self.port_rose()?,
                event => {
                    let checked = event.check(self.context.name(), self.port);
                    checked.or_else(|error| self.lose(&error, "", each))?;
                }
            }
        }
        Ok(())
    }

    fn port_fell(&mut self) -> Result<(), TransportError> {
        let (device, port, patience) = (self.context.name(), self.port, self.outage.patience());
        tracing::warn!(
            "port {port} of {device} is down: its wires wait {patience:.0?} for it to come back"
        );
        self.outage.begin().map_err(timer)
    }

    fn port_rose(&mut self) -> Result<(), TransportError> {
        if let Some(lasted) = self.outage.end().map_err(timer)? {
            let (device, port) = (self.context.name(), self.port);
            tracing::warn!("port {port} of {device} is up again, after {lasted:.1?}");
        }
        Ok(())
    }

    /// The port's time is over, if it is still down.
    fn hear_outage(
        &mut self,
        each: &mut impl FnMut(u32, Happened<PairError>),
    ) -> Result<(), TransportError> {
        if !self.outage.lasts() {
            return Ok(());
        }
        let failed = |error| system("asking for a port's state", error);
        let port = self.context.port(self.port).map_err(failed)?;
        if port.state == PortState::Active {
            return self.port_rose();
        }
        self.outage.end().map_err(timer)?;
        let lasted = format!("not back within {:.1?}: ", self.outage.patience());
        match port.up(self.context.name()) {
            Ok(_) => Ok(()),
            Err(error) => self.lose(&error, &lasted, each),
        }
    }

    /// All its wires have ended.
    fn lose(
        &mut self,
        error: &VerbsError,
        lasted: &str,
        each: &mut impl FnMut(u32, Happened<PairError>),
    ) -> Result<(), TransportError> {
        tracing::warn!(%error, "verbs device");
        self.take(each)?;
        for end in &mut self.ends {
            let place = end.account.place().clone();
            let lost = VerbsError::Lost { place, why: format!("{lasted}{error}") };
            end.over(Happened::Failed(lost.into()), each);
        }
        Ok(())
    }

    /// Tells of the wires that their own rank has ended.
    #[cold]
    fn tell_ended(&mut self, each: &mut impl FnMut(u32, Happened<PairError>)) {
        for end in self.ends.iter_mut().filter(|end| end.link.is_ended.load(Ordering::Acquire)) {
            end.over(Happened::Left, each);
        }
    }
}

fn timer(source: io::Error) -> TransportError {
    TransportError::System { call: "setting a timer".to_owned(), source }
}

fn ears(context: &Context, completions: &CompletionQueue, outage: &Outage) -> io::Result<OwnedFd> {
    let ears = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let all =
        [(completions.fd(), OF_QUEUE), (context.event_fd(), OF_DEVICE), (outage.fd(), OF_OUTAGE)];
    for (fd, data) in all {
        epoll::add(&ears, fd, epoll::EventData::new_u64(data), epoll::EventFlags::IN)?;
    }
    Ok(ears)
}

/// Passes a completion on to its wire, if that is not over.
#[inline]
fn tell(
    ends: &mut [End],
    completion: &Completion,
    each: &mut impl FnMut(u32, Happened<PairError>),
) {
    let number = completion.queue_pair();
    // That of a queue pair that is gone concerns nobody.
    let Ok(place) = ends.binary_search_by_key(&number, |end| end.number) else { return };
    let end = &mut ends[place];
    match end.account.settle(completion) {
        Ok(()) if end.is_over => {}
        Ok(()) if completion.is_receive() => {
            // A peer's write that tells nothing uses up no receive.
            each(number, Happened::Arrived(completion.immediate().unwrap_or(u32::MAX)));
        }
        Ok(()) => each(number, Happened::Sent),
        Err(error) => end.over(Happened::Failed(error.into()), each),
    }
}

impl End {
    /// Tells once that nothing more comes.
    fn over(&mut self, why: Happened<PairError>, each: &mut impl FnMut(u32, Happened<PairError>)) {
        if !std::mem::replace(&mut self.is_over, true) {
            each(self.number, why);
        }
    }
}

impl Device for VerbsDevice {
    type Pair = VerbsPair;

    fn name(&self) -> &'static str {
        "verbs"
    }

    fn register(&mut self, memory: Lasting) -> Result<wires::Keys, TransportError> {
        let region = memory.region();
        let failed = |error| system("registering memory", error);
        Pinnable::of_this_process().check(region.len() as u64).map_err(failed)?;
        // SAFETY: a `Lasting` promises just that, and is kept as the owner.
        let made = unsafe { self.domain.register(region, Box::new(memory)) };
        let made = made.map_err(failed)?;
        let keys = wire_keys(made.keys());
        self.memory.insert(region.as_ptr().addr(), (region.len(), made));
        Ok(keys)
    }

    fn keys_of(&self, region: Region) -> Option<wires::Keys> {
        let at = region.as_ptr().addr();
        if let Some((start, (len, made))) = self.memory.range(..=at).next_back()
            && (at - start).checked_add(region.len())? <= *len
        {
            return Some(wire_keys(made.keys()));
        }
        self.keys_in_heap(region)
    }

    #[inline]
    fn poll(
        &mut self,
        mut each: impl FnMut(u32, Happened<PairError>),
    ) -> Result<(), TransportError> {
        let any = self.take(&mut each)?;
        if self.some_ended.load(Ordering::Relaxed) && self.some_ended.swap(false, Ordering::AcqRel)
        {
            self.tell_ended(&mut each);
        }
        if !self.leaving.is_empty() {
            self.tell_left(&mut each)?;
        }
        self.polls = self.polls.wrapping_add(1);
        if any {
            self.is_armed = false;
        }
        if self.is_armed || self.polls.is_multiple_of(LOOK_POLLS) {
            self.look(&mut each)?;
        }
        Ok(())
    }

    fn arm(&mut self) -> Result<(), TransportError> {
        self.completions.disarm();
        self.is_armed = true;
        self.completions.arm().map_err(|e| system("asking a verbs device to ring", e))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.ears.as_fd()
    }
}

fn wire_keys(keys: crate::Keys) -> wires::Keys {
    wires::Keys { local: keys.local, remote: keys.remote }
}

/// One lane of a wire's end: a connected queue pair.
pub struct VerbsPair {
    /// `None` once it was ended.
    pair: Option<QueuePair>,
    number: u32,
    link: Arc<Link>,
    some_ended: Arc<AtomicBool>,
}

impl VerbsPair {
    /// What was posted so far.
    pub fn posted(&self) -> crate::Posted {
        self.pair.as_ref().map(QueuePair::posted).unwrap_or_default()
    }

    fn alive(&mut self) -> Result<&mut QueuePair, PairError> {
        self.pair.as_mut().ok_or_else(|| {
            let source = io::ErrorKind::NotConnected.into();
            VerbsError::Refused {
                call: "posting",
                device: "a wire that has ended".to_owned(),
                source,
            }
            .into()
        })
    }
}

#[inline]
fn write(placed: &Placed, inline: usize) -> Write<'_> {
    let (start, len) = (placed.from.as_ptr(), placed.from.len());
    let from = if len <= inline {
        // SAFETY: a `Region` of memory that stays as it is until the chain has ended; it is read only while the
        // chain is being posted.
        Source::Inline(unsafe { std::slice::from_raw_parts(start, len) })
    } else {
        Source::Registered(Local { address: start.addr() as u64, len: len as u32, key: placed.key })
    };
    let Place { address, key } = placed.to;
    Write { from, to: Remote { address, key } }
}

impl Pair for VerbsPair {
    type Error = PairError;

    fn number(&self) -> u32 {
        self.number
    }

    #[inline]
    fn post(&mut self, writes: &[Placed], last: &Placed, immediate: u32) -> Result<(), PairError> {
        let pair = self.alive()?;
        let inline = pair.inline_bytes();
        let last = Last { write: write(last, inline), immediate, id: 0 };
        Ok(pair.post(writes.iter().map(|placed| write(placed, inline)), &last)?)
    }

    #[inline]
    fn post_receives(&mut self, count: usize) -> Result<(), PairError> {
        Ok(self.alive()?.post_receives(count)?)
    }

    fn fail(&mut self) {
        self.let_go();
        if !self.link.is_ended.swap(true, Ordering::AcqRel) {
            let _ = self.link.socket.shutdown(Shutdown::Both);
            self.some_ended.store(true, Ordering::Release);
        }
    }

    /// To the peer it is as if the network lost everything, until its device gives up.
    fn let_go(&mut self) {
        // Destroying it returns when the device has let go of all its memory.
        self.pair = None;
    }
}

impl Drop for VerbsPair {
    fn drop(&mut self) {
        self.fail();
    }
}
