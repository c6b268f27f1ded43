//! Owns what a device must offer to carry wires: to know memory, to write to a peer's, to say what has ended.

use std::any::Any;
use std::io;
use std::os::fd::BorrowedFd;

use crate::wires::{Keys, Place};
use crate::{Region, TransportError};

/// One write to a peer's memory.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    /// What: the memory stays as it is until the chain has ended.
    pub from: Region,
    /// The local key of that memory.
    pub key: u32,
    /// Whereto.
    pub to: Place,
}

/// What has happened at a pair.
#[derive(Debug, Clone)]
pub enum Completion<E> {
    /// The oldest chain that was posted has ended: it has arrived, and its memory is not read any more.
    Sent,
    /// The peer's next chain is here, with this immediate number.
    Arrived(u32),
    /// Nothing more will arrive, nor be sent. Told after all that has arrived.
    Failed(E),
    /// As [`Failed`](Self::Failed), because the peer has left: for a device that learns of it.
    Left,
}

/// Memory that is there as long as this value is, and in it, places that peers may be told of.
pub struct Lasting {
    region: Region,
    _owner: Box<dyn Any + Send + Sync>,
}

impl Lasting {
    /// # Safety
    /// `region` is memory as long as `owner` is. Peers that are told its remote key may write all of it at any time:
    /// nobody holds references to bytes of it that they may write.
    pub unsafe fn new(region: Region, owner: Box<dyn Any + Send + Sync>) -> Self {
        Self { region, _owner: owner }
    }

    /// Where it is.
    pub const fn region(&self) -> Region {
        self.region
    }
}

/// What serves all pairs of an endpoint.
///
/// Calls from [`poll`](Self::poll) on are hot: they allocate nothing, take no lock that others hold long, and do not
/// wait.
pub trait Device: Send {
    /// Its end of one wire.
    type Pair: Pair;

    /// The transport's name, as in `--transport`.
    fn name(&self) -> &'static str;

    /// Makes memory known until the device is dropped: to be sent from, and to be written by peers. Cold.
    ///
    /// # Errors
    /// [`TransportError::System`], such as when more memory would be pinned than the host allows.
    fn register(&mut self, memory: Lasting) -> Result<Keys, TransportError>;

    /// The keys of memory that others have registered with it; `None` for what it does not know as a whole.
    fn keys_of(&self, region: Region) -> Option<Keys>;

    /// Says what has happened since it was asked last, and at which pair, by its number: for each pair in order.
    ///
    /// # Errors
    /// Only failures that concern no single pair.
    fn poll(
        &mut self,
        each: impl FnMut(u32, Completion<<Self::Pair as Pair>::Error>),
    ) -> Result<(), TransportError>;

    /// Has [`fd`](Self::fd) become readable when the next thing happens, be it only after this. Called by who is about
    /// to sleep, and polled once more after that: whoever is soon answered pays nothing for it.
    ///
    /// # Errors
    /// Only failures that concern no single pair.
    fn arm(&mut self) -> Result<(), TransportError>;

    /// A descriptor that is readable when something has happened since [`arm`](Self::arm), until it is armed again.
    fn fd(&self) -> BorrowedFd<'_>;
}

/// A device's end of one wire: connected, reliable, in order.
pub trait Pair: Send {
    /// Why it failed, with whatever names the device, its port and what to do.
    type Error: Clone + Send + Into<io::Error>;

    /// By which the device tells what happens at it; no two pairs of a device ever have the same.
    fn number(&self) -> u32;

    /// Posts a chain: `writes` in order, and `last`, of which the peer learns by `immediate`. One call to the device;
    /// it says once that all of them have ended. There is room: at most [`SEND_DEPTH`](super::SEND_DEPTH) writes that
    /// have not ended, and [`RING_SLOTS`](super::RING_SLOTS) chains. `last` has at most 832 bytes.
    ///
    /// # Errors
    /// The pair has failed; or the device refuses.
    fn post(&mut self, writes: &[Write], last: &Write, immediate: u32) -> Result<(), Self::Error>;

    /// Posts so many receives, each for one chain of the peer; at most [`RING_SLOTS`](super::RING_SLOTS) are posted
    /// at a time. The first are posted before the peer may send.
    ///
    /// # Errors
    /// As for [`post`](Self::post).
    fn post_receives(&mut self, count: usize) -> Result<(), Self::Error>;

    /// Ends it. When this returns, the device reads and writes no memory for it any more, nor does the peer's. If it
    /// had not failed, [`Completion::Failed`] or [`Completion::Left`] is told once. Dropping it does the same.
    fn fail(&mut self);

    /// The same, but neither this rank nor the peer's is told: the peer is when this is dropped.
    fn let_go(&mut self);
}
