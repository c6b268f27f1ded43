//! Owns what tells a process of this host from all others, and the watch over one that is not a child.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// What tells a process from an earlier or later one of the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Processes of one such space can name each other by their numbers: one boot of a host, one PID namespace.
    pub space: u64,
    /// When it began, in the kernel's ticks.
    pub began: u64,
}

impl ProcessMark {
    /// That of this process; none where /proc does not tell.
    pub(crate) fn own() -> Option<ProcessMark> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let numbers = fs::metadata("/proc/self/ns/pid").ok()?.ino();
        let space = xxh3_64(format!("{} {numbers}", boot.trim()).as_bytes());
        Some(ProcessMark { space, began: began("self")? })
    }
}

/// A process's beginning, the 22nd word of its `stat`; the second is its name in brackets, which may hold anything.
fn began(process: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A process of this host that can be waited for: readable once the last of its threads has ended, whatever of it, as a
/// socket, a forked child still holds.
#[derive(Debug)]
pub(crate) struct Watched(OwnedFd);

impl Watched {
    /// None where it is not there any more, or cannot be watched.
    pub(crate) fn open(pid: u32, mark: ProcessMark) -> Option<Watched> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let watched = pidfd_open(number, PidfdFlags::empty()).ok()?;
        // Now the number cannot come to mean another.
        (began(&pid.to_string()) == Some(mark.began)).then_some(Watched(watched))
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_watched_as_itself_alone() {
        let (own, pid) = (ProcessMark::own().unwrap(), std::process::id());
        assert!(Watched::open(pid, own).is_some());
        assert!(Watched::open(pid, ProcessMark { began: own.began + 1, ..own }).is_none());
        assert!(Watched::open(0, own).is_none());
    }
}
