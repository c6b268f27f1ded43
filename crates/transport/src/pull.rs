//! Owns pulling: reading a message out of the memory of a peer's process, wherever it lies there.
//!
//! A sender offers, in each ring's memory, a word that its receiver can try to read
//! (`process_vm_readv`, by the rules of ptrace: the same user, and no security module against it). The
//! receiver answers once, whether it will pull; until it has said so, messages go through slots. So
//! nobody waits for anybody, and a host that forbids it costs nothing.
//!
//! A pid may belong to another process once its own has ended. So a pidfd is kept since the try, and asked
//! after each read: bytes count only if the peer was alive behind them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use crate::Region;

/// Where in a process's memory a word lies, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) pid: u32,
    pub(crate) address: u64,
    pub(crate) word: u64,
}

/// A word of this process that peers try to read. Boxed, so that its address stays.
#[derive(Debug)]
pub(crate) struct Word(Box<u64>);

impl Word {
    pub(crate) fn new(word: u64) -> Self {
        Self(Box::new(word))
    }

    pub(crate) fn offer(&self) -> Offer {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let address = std::ptr::from_ref(&*self.0).addr() as u64;
        Offer { pid: pid.unsigned_abs(), address, word: *self.0 }
    }
}

/// A peer's process, whose memory can be read.
#[derive(Debug)]
pub(crate) struct Puller {
    pid: Pid,
    process: OwnedFd,
}

impl Puller {
    /// Tries what the peer offered.
    ///
    /// # Errors
    /// Why this process cannot read it.
    pub(crate) fn try_out(offer: Offer) -> io::Result<Self> {
        let pid = i32::try_from(offer.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let puller = Self { pid, process };
        let mut word = [0u8; 8];
        // SAFETY: the array has eight bytes, and outlives the read.
        unsafe { puller.read_into(offer.address, word.as_mut_ptr(), word.len())? };
        if u64::from_ne_bytes(word) != offer.word {
            let what = "another process has that number here: different namespaces of processes";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(puller)
    }

    /// Fills `into` with what lies at `address` of the peer.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer has ended; else why it could not be read.
    pub(crate) fn read(&self, address: u64, into: Region) -> io::Result<()> {
        // SAFETY: a region that a message may be placed in is valid for writes, by its maker's word.
        let read = unsafe { self.read_into(address, into.as_ptr(), into.len()) };
        if self.has_ended()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read
    }

    fn has_ended(&self) -> io::Result<bool> {
        let mut fds = [PollFd::from_borrowed_fd(self.process.as_fd(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(ended) => Ok(ended > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// # Safety
    /// `into` is valid for writes of `len` bytes, which nobody else reads or writes meanwhile.
    unsafe fn read_into(&self, address: u64, into: *mut u8, len: usize) -> io::Result<()> {
        let address = usize::try_from(address).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut done = 0;
        while done < len {
            let at = address.checked_add(done).ok_or(io::ErrorKind::InvalidInput)?;
            let left = len - done;
            // SAFETY: `done` is at most `len`.
            let local = unsafe { into.add(done) };
            let local = libc::iovec { iov_base: local.cast(), iov_len: left };
            let remote =
                libc::iovec { iov_base: std::ptr::without_provenance_mut(at), iov_len: left };
            let pid = self.pid.as_raw_nonzero().get();
            // SAFETY: the kernel writes at most `left` bytes to the local range, valid by this
            // function's contract; the remote range is the peer's, and checked by the kernel.
            let got = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
            match usize::try_from(got) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(got) => done += got,
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_word_of_this_process_is_read_and_a_wrong_one_is_refused() {
        let word = Word::new(0x0123_4567_89ab_cdef);
        let offer = word.offer();
        let puller = Puller::try_out(offer).unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i * 7) as u8).collect();
        let into = Region::leak(vec![0; bytes.len()].into());
        puller.read(bytes.as_ptr().addr() as u64, into).unwrap();
        assert!(into.to_vec() == bytes);
        let refusal = Puller::try_out(Offer { word: 1, ..offer }).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::InvalidData);
        assert!(Puller::try_out(Offer { pid: 0, ..offer }).is_err());
        assert!(Puller::try_out(Offer { pid: u32::MAX, ..offer }).is_err());
    }

    #[test]
    fn memory_that_a_process_has_not_is_an_error() {
        let word = Word::new(5);
        let puller = Puller::try_out(word.offer()).unwrap();
        let into = Region::leak(vec![0; 8].into());
        for address in [0, 1 << 46, u64::MAX - 2] {
            let error = puller.read(address, into).unwrap_err();
            assert_ne!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        }
    }

    #[test]
    fn nothing_that_is_read_of_a_process_that_has_ended_counts() {
        let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        // As if the number had been given to another process, here this one.
        let puller = Puller { pid: rustix::process::getpid(), process };
        let word = Word::new(5);
        let into = Region::leak(vec![0; 8].into());
        puller.read(word.offer().address, into).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let error = puller.read(word.offer().address, into).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
