//! Owns completion queues: what work requests did, and how a sleeper learns of it.

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::sys::{self, Zeroed};
use crate::{Context, Status, VerbsError};

/// The ends of work requests of any number of queue pairs, in the order in which they ended.
#[derive(Debug)]
pub struct CompletionQueue {
    shared: Arc<Shared>,
    poll: sys::PollCq,
    arm: sys::ReqNotifyCq,
    batch: Box<[Completion; CompletionQueue::BATCH]>,
    /// Completions that were taken out.
    polled: u64,
}

/// What queue pairs keep alive.
#[derive(Debug)]
pub(crate) struct Shared {
    context: Context,
    raw: NonNull<sys::ibv_cq>,
    channel: Channel,
}

// SAFETY: the library locks around its own structure; the queue itself is polled by one owner alone.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

#[derive(Debug)]
struct Channel {
    context: Context,
    raw: NonNull<sys::ibv_comp_channel>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        if self.context.is_forked() {
            return;
        }
        // SAFETY: it was made once, by this process; its only queue is gone.
        unsafe { (self.context.symbols().ibv_destroy_comp_channel)(self.raw.as_ptr()) };
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.context.is_forked() {
            return;
        }
        // SAFETY: it was made once, by this process; the queue pairs that held this value are gone, and all events
        // are acknowledged. The channel is dropped after this.
        unsafe { (self.context.symbols().ibv_destroy_cq)(self.raw.as_ptr()) };
    }
}

impl Shared {
    pub(crate) fn raw(&self) -> *mut sys::ibv_cq {
        self.raw.as_ptr()
    }
}

/// How one work request ended.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Completion(sys::ibv_wc);

/// Marks the numbers of receives, for a completion that failed does not tell what it was.
pub(crate) const RECEIVE: u64 = 1 << 63;
/// Marks the last request in a queue of a queue pair that ends.
pub(crate) const MARKER: u64 = 1 << 62;
/// Where in a number it says of how many writes its chain is; below is what its owner calls it.
const WRITES_AT: u32 = 48;
const ID_MASK: u64 = (1 << WRITES_AT) - 1;
const WRITES_MASK: u64 = (MARKER >> WRITES_AT) - 1;

/// The number of the last write of a chain.
pub(crate) const fn chain_id(id: u64, writes: usize) -> u64 {
    id & ID_MASK | (writes as u64 & WRITES_MASK) << WRITES_AT
}

impl Completion {
    /// The number that was posted with it; 0 for a receive.
    pub const fn id(&self) -> u64 {
        self.0.wr_id & ID_MASK
    }

    /// Of how many writes the chain was; 0 for a receive.
    pub(crate) const fn writes(&self) -> u32 {
        (self.0.wr_id >> WRITES_AT & WRITES_MASK) as u32
    }

    pub(crate) const fn is_marker(&self) -> bool {
        self.0.wr_id & MARKER != 0
    }

    /// Whether it was a receive.
    pub const fn is_receive(&self) -> bool {
        self.0.wr_id & RECEIVE != 0
    }

    /// How it ended. Unless well, only this, its number, its queue pair and the vendor's code mean anything.
    pub const fn status(&self) -> Status {
        Status(self.0.status)
    }

    /// The device's own word for how it ended.
    pub const fn vendor(&self) -> u32 {
        self.0.vendor_err
    }

    /// The number of its queue pair.
    pub const fn queue_pair(&self) -> u32 {
        self.0.qp_num
    }

    /// Of a receive: what the peer's write said.
    pub const fn immediate(&self) -> Option<u32> {
        if self.0.wc_flags & sys::IBV_WC_WITH_IMM == 0 {
            return None;
        }
        Some(u32::from_be(self.0.imm_data))
    }

    /// Of a receive: bytes that the peer's write with that number wrote.
    pub const fn bytes(&self) -> u32 {
        self.0.byte_len
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completion")
            .field("id", &self.id())
            .field("is_receive", &self.is_receive())
            .field("status", &self.status())
            .field("vendor", &self.vendor())
            .field("queue_pair", &self.queue_pair())
            .field("immediate", &self.immediate())
            .finish()
    }
}

impl CompletionQueue {
    /// Completions that one call takes out, at most.
    pub const BATCH: usize = 16;

    /// One with room for `entries` that were not taken out.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn new(context: &Context, entries: u32) -> Result<Self, VerbsError> {
        let symbols = context.symbols();
        // SAFETY: the context is open.
        let channel = unsafe { (symbols.ibv_create_comp_channel)(context.raw()) };
        let channel = context.made(channel, "making a completion channel")?;
        let channel = Channel { context: context.clone(), raw: channel };
        let nonblocking = rustix::io::ioctl_fionbio(channel.fd(), true);
        nonblocking.map_err(|e| context.refused("making a completion channel", e.into()))?;
        let entries = c_int::try_from(entries).unwrap_or(c_int::MAX);
        // SAFETY: context and channel live; the first vector is always there.
        let raw = unsafe {
            (symbols.ibv_create_cq)(
                context.raw(),
                entries,
                ptr::null_mut(),
                channel.raw.as_ptr(),
                0,
            )
        };
        let raw = context.made(raw, "making a completion queue")?;
        let shared = Arc::new(Shared { context: context.clone(), raw, channel });
        let no_call = || context.refused("finding its calls", io::ErrorKind::Unsupported.into());
        let poll = context.ops().poll_cq.ok_or_else(no_call)?;
        let arm = context.ops().req_notify_cq.ok_or_else(no_call)?;
        let batch = Box::new([Completion(sys::ibv_wc::zeroed()); Self::BATCH]);
        Ok(Self { shared, poll, arm, batch, polled: 0 })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes out what has ended, up to [`BATCH`](Self::BATCH); none, if nothing has.
    ///
    /// # Errors
    /// [`VerbsError::Refused`] when the queue itself broke down.
    #[inline]
    pub fn poll(&mut self) -> Result<&[Completion], VerbsError> {
        let to = self.batch.as_mut_ptr().cast::<sys::ibv_wc>();
        // SAFETY: the queue lives, and there is room for so many completions, of which ours are a plain view.
        let count = unsafe { (self.poll)(self.shared.raw(), Self::BATCH as c_int, to) };
        let Ok(count) = usize::try_from(count) else { return Err(self.broken()) };
        self.polled += count as u64;
        Ok(&self.batch[..count.min(Self::BATCH)])
    }

    #[cold]
    fn broken(&self) -> VerbsError {
        self.shared.context.refused("polling a completion queue", io::Error::last_os_error())
    }

    /// Completions that were taken out so far.
    pub const fn polled(&self) -> u64 {
        self.polled
    }

    /// A descriptor that is readable once something ends after [`arm`](Self::arm).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.channel.fd()
    }

    /// Makes the next end of a work request ring the descriptor. What ended before does not: poll once more
    /// after this, before going to sleep.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn arm(&mut self) -> Result<(), VerbsError> {
        // SAFETY: the queue lives.
        let code = unsafe { (self.arm)(self.shared.raw(), 0) };
        self.shared.context.checked(code, "asking to be rung")
    }

    /// Makes the descriptor unreadable again; whether it had rung.
    pub fn disarm(&mut self) -> bool {
        let symbols = self.shared.context.symbols();
        let mut rung = 0;
        loop {
            let (mut queue, mut about) = (ptr::null_mut(), ptr::null_mut());
            let channel = self.shared.channel.raw.as_ptr();
            // SAFETY: the channel lives and is non-blocking; both are where the call puts what it found.
            let code =
                unsafe { (symbols.ibv_get_cq_event)(channel, &raw mut queue, &raw mut about) };
            if code != 0 {
                break;
            }
            rung += 1;
        }
        if rung > 0 {
            // SAFETY: so many events of this queue, the channel's only one, were taken.
            unsafe { (symbols.ibv_ack_cq_events)(self.shared.raw(), rung) };
        }
        rung > 0
    }
}

impl Channel {
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the channel is.
        unsafe { BorrowedFd::borrow_raw(self.raw.as_ref().fd) }
    }
}
