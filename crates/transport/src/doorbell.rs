//! Owns [`Doorbell`]: a rank's owner word in memory that its peers can read, and the eventfd that
//! wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::TransportError;
use crate::mapping::Mapping;
use crate::owner::{Driver, OwnerWord, publish_fence};

/// Bytes of the page that holds the word.
const PAGE_BYTES: usize = 4096;

/// How many descriptors [`Doorbell::wait`] waits for besides the bell.
pub const MAX_OTHERS: usize = 7;

/// A rank's doorbell: who drives its engine, and how its peers wake it.
///
/// The rank itself calls [`take`](Self::take), [`fall_asleep`](Self::fall_asleep), [`wait`](Self::wait) and
/// [`leave`](Self::leave);
/// peers call [`published`](Self::published), through the same value in the same process or
/// through [`from_fds`](Self::from_fds) in another. It belongs to no transport: peers of any of
/// them ring the one bell. The rules are at the head of the `owner` module.
#[derive(Debug)]
pub struct Doorbell {
    page: Mapping,
    memory: OwnedFd,
    event: OwnedFd,
}

impl Doorbell {
    /// A new doorbell, of a rank that is away.
    ///
    /// # Errors
    /// [`TransportError::System`] when the host gives no memory or no descriptor.
    pub fn new() -> Result<Self, TransportError> {
        let (page, memory) = Mapping::create("crosstie-doorbell", PAGE_BYTES)
            .map_err(|source| refused("memfd for a doorbell", source))?;
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|source| refused("eventfd for a doorbell", source.into()))?;
        let doorbell = Self { page, memory, event };
        doorbell.word().init();
        Ok(doorbell)
    }

    /// What a peer on this host needs to ring: the memory of the word, and the bell.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.memory.as_fd(), self.event.as_fd()]
    }

    /// The doorbell of a peer on this host, from what its [`fds`](Self::fds) gave.
    ///
    /// # Errors
    /// [`TransportError::System`] when the memory is not a sealed page or the bell could block.
    pub fn from_fds(memory: OwnedFd, event: OwnedFd) -> Result<Self, TransportError> {
        let page = Mapping::open(&memory, PAGE_BYTES)
            .map_err(|source| refused("mapping a peer's doorbell", source))?;
        let flags = rustix::fs::fcntl_getfl(&event)
            .map_err(|source| refused("looking at a peer's eventfd", source.into()))?;
        if !flags.contains(rustix::fs::OFlags::NONBLOCK) {
            let source = io::Error::new(io::ErrorKind::InvalidData, "the eventfd could block");
            return Err(refused("looking at a peer's eventfd", source));
        }
        Ok(Self { page, memory, event })
    }

    fn word(&self) -> &OwnerWord {
        // SAFETY: the page is aligned, larger than the word, and lives as long as `self`; any four
        // bytes are a word, and it is only ever touched atomically.
        unsafe { self.page.start().cast::<OwnerWord>().as_ref() }
    }

    /// Wakes the rank if it sleeps. Peers call it after they published a message or a credit.
    #[inline]
    pub fn published(&self) {
        Self::published_to([self]);
    }

    /// As [`published`](Self::published) for several ranks, with one fence for all of them.
    #[inline]
    pub fn published_to<'a>(peers: impl IntoIterator<Item = &'a Self>) {
        publish_fence();
        for peer in peers {
            peer.word().ring_if_asleep(|| peer.ring());
        }
    }

    /// As [`published`](Self::published), for work that the rank does for others: wakes it also while its
    /// application is between calls.
    #[inline]
    pub fn published_work(&self) {
        publish_fence();
        self.word().ring_for_work(|| self.ring());
    }

    /// Wakes the rank, whatever it does; if it is awake, its next sleep ends at once.
    #[cold]
    pub fn ring(&self) {
        // The one failure of a non-blocking eventfd is a full counter: the bell is ringing then.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Whether `driver` drives the engine from now on; `false` while somebody else does.
    #[inline]
    #[must_use]
    pub fn take(&self, driver: Driver) -> bool {
        self.word().take(driver)
    }

    /// Returns the engine to nobody: the application is between calls.
    #[inline]
    pub fn leave(&self) {
        self.word().leave();
    }

    /// As [`leave`](Self::leave) of a rank that works for others: its background thread looks for their work
    /// when the application stays away.
    #[inline]
    pub fn just_leave(&self) {
        self.word().just_leave();
    }

    /// By the background thread of a rank that works for others, after it found nothing to do: peers must
    /// ring for such work from now on. It looks once more, and then [`wait`](Self::wait)s.
    pub fn go_away(&self) {
        self.word().go_away();
    }

    /// Whether nobody drives and the application is between calls.
    pub fn is_left(&self) -> bool {
        self.word().is_left()
    }

    /// Whether it is as [`go_away`](Self::go_away) left it: nobody has driven since.
    pub fn is_away(&self) -> bool {
        self.word().is_away()
    }

    /// Tells the peers that they must ring from now on. To be called by the driver, who then looks
    /// for work once more, [`wait`](Self::wait)s only if there is none, and
    /// [`take`](Self::take)s the engine again in any case.
    ///
    /// The engine is nobody's meanwhile: where two threads may take it, the look reads only what
    /// peers write.
    #[inline]
    pub fn fall_asleep(&self) {
        self.word().fall_asleep();
    }

    /// Waits until a peer publishes, someone rings, one of `others` is readable, or `timeout` has
    /// passed. Signals end it early too, so the caller always looks again.
    ///
    /// # Errors
    /// [`TransportError::System`] when the host refuses to wait, or `others` are more than
    /// [`MAX_OTHERS`].
    pub fn wait(&self, others: &[BorrowedFd<'_>], timeout: Duration) -> Result<(), TransportError> {
        self.wait_and_drain(others, timeout)
            .map_err(|source| refused("ppoll on a doorbell", source))
    }

    /// Drains the bell before the caller looks for work: a ring that comes after that look must
    /// not be taken for one before it.
    fn wait_and_drain(&self, others: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<()> {
        if others.len() > MAX_OTHERS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bell = self.event.as_fd();
        // The others, then the bell.
        let mut fds: [PollFd<'_>; MAX_OTHERS + 1] = std::array::from_fn(|i| {
            PollFd::from_borrowed_fd(*others.get(i).unwrap_or(&bell), PollFlags::IN)
        });
        // A timeout beyond the clock's range is for ever.
        let timeout = Timespec::try_from(timeout).ok();
        match rustix::event::poll(&mut fds[..=others.len()], timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(source) => return Err(source.into()),
        }
        if fds[others.len()].revents().is_empty() {
            return Ok(());
        }
        match rustix::io::read(bell, &mut [0u8; 8]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(source) => Err(source.into()),
        }
    }
}

#[cold]
fn refused(call: &str, source: io::Error) -> TransportError {
    TransportError::System { call: call.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn as_peer(doorbell: &Doorbell) -> Doorbell {
        let [memory, event] = doorbell.fds().map(|fd| fd.try_clone_to_owned().unwrap());
        Doorbell::from_fds(memory, event).unwrap()
    }

    fn sleep(doorbell: &Doorbell, timeout: Duration) -> Duration {
        let start = Instant::now();
        doorbell.fall_asleep();
        doorbell.wait(&[], timeout).unwrap();
        assert!(doorbell.take(Driver::Application));
        start.elapsed()
    }

    #[test]
    fn a_published_message_wakes_a_sleeper_in_another_mapping() {
        let own = Doorbell::new().unwrap();
        let peer = as_peer(&own);
        let published = AtomicU32::new(0);
        assert!(own.take(Driver::Application));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for message in 1..=2000 {
                    published.store(message, Ordering::Release);
                    peer.published();
                    while published.load(Ordering::Acquire) != 0 {
                        std::thread::yield_now();
                    }
                }
            });
            let start = Instant::now();
            for message in 1..=2000 {
                while published.load(Ordering::Acquire) != message {
                    own.fall_asleep();
                    if published.load(Ordering::Acquire) != message {
                        own.wait(&[], LONG).unwrap();
                    }
                    assert!(own.take(Driver::Application));
                }
                published.store(0, Ordering::Release);
            }
            assert!(start.elapsed() < LONG, "a wake-up was lost");
        });
    }

    #[test]
    fn sleep_ends_at_its_timeout() {
        let own = Doorbell::new().unwrap();
        assert!(own.take(Driver::Application));
        assert!(sleep(&own, Duration::from_millis(20)) >= Duration::from_millis(20));
    }

    #[test]
    fn a_ring_while_awake_ends_the_next_sleep_and_no_other() {
        let own = Doorbell::new().unwrap();
        assert!(own.take(Driver::Application));
        as_peer(&own).ring();
        assert!(sleep(&own, LONG) < LONG);
        assert!(sleep(&own, Duration::from_millis(20)) >= Duration::from_millis(20));
    }

    #[test]
    fn peers_ring_nobody_who_drives_or_is_away() {
        let own = Doorbell::new().unwrap();
        let peer = as_peer(&own);
        peer.published();
        assert!(own.take(Driver::Application));
        peer.published();
        assert!(sleep(&own, Duration::from_millis(20)) >= Duration::from_millis(20));
    }

    #[test]
    fn another_readable_descriptor_ends_the_sleep() {
        let own = Doorbell::new().unwrap();
        let (readable, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"x").unwrap();
        let start = Instant::now();
        own.wait(&[readable.as_fd()], LONG).unwrap();
        assert!(start.elapsed() < LONG);
        assert!(own.wait(&[readable.as_fd(); MAX_OTHERS + 1], LONG).is_err());
    }

    #[test]
    fn one_driver_at_a_time() {
        let own = Doorbell::new().unwrap();
        assert!(own.take(Driver::Application));
        assert!(!own.take(Driver::Background));
        own.leave();
        assert!(own.take(Driver::Background));
    }

    #[test]
    fn descriptors_of_another_kind_are_refused() {
        let own = Doorbell::new().unwrap();
        let [memory, event] = own.fds().map(|fd| fd.try_clone_to_owned().unwrap());
        assert!(Doorbell::from_fds(event.try_clone().unwrap(), event).is_err());
        let (_reader, blocking) = rustix::pipe::pipe().unwrap();
        assert!(Doorbell::from_fds(memory, blocking).is_err());
    }

    #[test]
    fn descriptors_are_closed_on_exec() {
        let own = Doorbell::new().unwrap();
        for fd in own.fds() {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }
}
