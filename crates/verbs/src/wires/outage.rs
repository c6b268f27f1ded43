//! Owns [`Outage`]: how long a port may take no traffic before that is a failure.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Retry;

/// That a port is down, and the timer by which a rank that sleeps learns that it has been so for too long.
pub(super) struct Outage {
    timer: OwnedFd,
    patience: Duration,
    since: Option<Instant>,
}

/// One wait less than queue pairs take to give up: whoever has the port says what ails it before its peers, who only
/// see that nothing is answered.
pub(super) fn patience(retry: Retry) -> Duration {
    retry.longest().saturating_sub(retry.wait())
}

impl Outage {
    /// None yet.
    pub fn none(patience: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { timer, patience, since: None })
    }

    /// Readable when [`lasts`](Self::lasts) may say something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// None may last for longer than that, either.
    pub fn be_patient(&mut self, patience: Duration) {
        self.patience = self.patience.min(patience);
    }

    /// How long one may last.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The port went down, if it had not already.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.since.is_some() {
            return Ok(());
        }
        self.since = Some(Instant::now());
        self.ring_in(self.patience.max(Duration::from_nanos(1)))
    }

    /// The port takes traffic; for how long it did not.
    pub fn end(&mut self) -> io::Result<Option<Duration>> {
        let Some(since) = self.since.take() else { return Ok(None) };
        self.ring_in(Duration::ZERO)?;
        Ok(Some(since.elapsed()))
    }

    /// Whether it has lasted for too long.
    pub fn lasts(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= self.patience)
    }

    /// Never, if it is nothing.
    fn ring_in(&self, wait: Duration) -> io::Result<()> {
        let it_value =
            Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval, it_value },
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn rings_within(outage: &Outage, ms: i64) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(outage.fd(), PollFlags::IN)];
        let limit = Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
        poll(&mut fds, Some(&limit)).unwrap() == 1
    }

    #[test]
    fn an_outage_that_lasts_wakes_whoever_sleeps_and_one_that_ends_does_not() {
        let mut outage = Outage::none(Duration::from_millis(50)).unwrap();
        assert_eq!((outage.lasts(), outage.end().unwrap()), (false, None));
        outage.begin().unwrap();
        assert!(!outage.lasts() && outage.end().unwrap().is_some());
        assert!(!rings_within(&outage, 100) && !outage.lasts(), "it is over");
        outage.begin().unwrap();
        sleep(Duration::from_millis(30));
        outage.begin().unwrap();
        assert!(rings_within(&outage, 900) && outage.lasts(), "the first word counts");
    }

    #[test]
    fn who_has_the_port_is_patient_for_seconds_and_not_as_long_as_its_peers() {
        let retry = Retry::within(Duration::from_secs(30), false);
        let patience = patience(retry);
        assert!(patience > Duration::from_secs(5) && patience < retry.longest(), "{patience:?}");
    }
}
