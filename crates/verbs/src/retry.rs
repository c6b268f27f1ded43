//! Owns how long a device repeats what nobody acknowledges.

use std::time::Duration;

/// How long a device waits for an acknowledgement, and how often it repeats what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The wait is 4.096 µs × 2^this.
    pub timeout: u8,
    /// So often is it repeated.
    pub count: u8,
}

/// The most that means a number everywhere: soft-RoCE takes 7, the largest that there is, for no end.
const COUNT: u8 = 6;
/// 67 ms: below it, a switch that learns its neighbours again would look like a broken network.
const SHORTEST: u8 = 14;
/// 1.07 s: software answers when the scheduler lets it, and the emulated machine's is slow.
const SHORTEST_OF_SOFTWARE: u8 = 18;
/// The longest that five bits can say.
const LONGEST: u8 = 31;

impl Retry {
    /// The longest wait with which all repetitions together end before a peer counts as stalled; so that a network
    /// that repairs itself within that time is not noticed, and a broken one is told as what it is.
    pub fn within(stall: Duration, is_software: bool) -> Self {
        let shortest = if is_software { SHORTEST_OF_SOFTWARE } else { SHORTEST };
        let fits = |&timeout: &u8| Self { timeout, count: COUNT }.longest() <= stall;
        let timeout = (shortest..=LONGEST).take_while(fits).last().unwrap_or(shortest);
        Self { timeout, count: COUNT }
    }

    /// One wait.
    pub fn wait(self) -> Duration {
        Duration::from_nanos(4096 << self.timeout)
    }

    /// The first wait, and one for each repetition.
    pub fn longest(self) -> Duration {
        self.wait() * (u32::from(self.count) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_gives_up_before_the_stall_clock_does_and_not_much_before() {
        for seconds in [1, 2, 5, 10, 30, 60, 300, 3600] {
            let stall = Duration::from_secs(seconds);
            let retry = Retry::within(stall, false);
            assert!(retry.longest() <= stall, "{seconds} s: {retry:?}");
            assert!(retry.longest() * 2 > stall, "{seconds} s: {retry:?}");
        }
        assert_eq!(Retry::within(Duration::from_secs(30), false).timeout, 19);
    }

    #[test]
    fn no_stall_clock_is_so_short_that_the_network_has_no_time_to_answer() {
        assert_eq!(Retry::within(Duration::from_millis(1), false).timeout, SHORTEST);
        assert_eq!(Retry::within(Duration::from_secs(1), true).timeout, SHORTEST_OF_SOFTWARE);
        assert_eq!(Retry::within(Duration::MAX, false).timeout, LONGEST);
    }
}
