//! Owns the launcher's PMI-1 key-value space: its wire protocol, spoken over the descriptor that the launcher left
//! open for this process (MPICH's and Intel MPI's Hydra, Slurm's `--mpi=pmi2`).
//!
//! Each request is a line of blank-separated `name=value` words, the first being `cmd`; each is answered by one
//! line. A process says `init` first and `finalize` last; after that the launcher closes its end, so a process can
//! meet once in this way. One that ends between the two is a crash to Hydra, which then kills the whole job. What was
//! put becomes visible to others by a barrier of all processes of the job.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crosstie_net::poll_until;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::error::BootstrapError;

/// Longest answer in bytes: a value of 1,024 and the words around it.
const LINE_MAX: usize = 4096;
/// Longest key and value that every PMI-1 server must take (MPICH's `simple_pmi.c`).
const KEY_MAX: usize = 64;
const VALUE_MAX: usize = 1024;

/// How long taking leave after an error may take.
const FAREWELL: Duration = Duration::from_millis(500);
const FINALIZE: &str = "cmd=finalize\n";

const ONCE: &str = "a job can meet here once, and only where the launcher's descriptors are passed on; else set \
                    CROSSTIE_ROOT and CROSSTIE_SECRET";

/// A conversation with the launcher. Every call ends by the deadline given at its opening.
pub(crate) struct Pmi1 {
    socket: OwnedFd,
    fd: RawFd,
    deadline: Instant,
    space: String,
    value_max: usize,
    /// Bytes received after the last whole line.
    rest: Vec<u8>,
    finalized: bool,
}

impl Pmi1 {
    /// Opens the conversation on the descriptor `fd` of this process, which stays open.
    pub(crate) fn open(fd: RawFd, deadline: Instant) -> Result<Pmi1, BootstrapError> {
        // A descriptor that is known by its number alone is another process's word; asking the kernel for a duplicate
        // of it checks that word, and gives a descriptor that we own, closed on exec.
        let socket = pidfd_open(getpid(), PidfdFlags::empty())
            .and_then(|own| pidfd_getfd(own, fd, PidfdGetfdFlags::empty()))
            .map_err(|errno| failure(fd, "taking over the descriptor", advice(errno)))?;
        let (space, rest, value_max) = (String::new(), Vec::new(), VALUE_MAX);
        let mut pmi = Pmi1 { socket, fd, deadline, space, value_max, rest, finalized: false };
        pmi.ask("cmd=init pmi_version=1 pmi_subversion=1\n", "response_to_init", "greeting it")?;
        let maxes = pmi.ask("cmd=get_maxes\n", "maxes", "asking for its limits")?;
        if let Some(max) = word(&maxes, "vallen_max").and_then(|max| max.parse().ok()) {
            pmi.value_max = max;
        }
        let doing = "asking for its name";
        let space = pmi.ask("cmd=get_my_kvsname\n", "my_kvsname", doing)?;
        let space = word(&space, "kvsname").map(str::to_owned);
        pmi.space = space.ok_or_else(|| pmi.failure(doing, "it did not say".to_owned()))?;
        Ok(pmi)
    }

    /// Leaves `value` under `key`; others see it after the next barrier. Neither contains blanks.
    pub(crate) fn put(&mut self, key: &str, value: &str) -> Result<(), BootstrapError> {
        let doing = "leaving a value";
        if key.len() > KEY_MAX || value.len() > self.value_max {
            let (have, max) = (value.len(), self.value_max);
            return Err(self.failure(doing, format!("{have} bytes are more than its {max}")));
        }
        let request = format!("cmd=put kvsname={} key={key} value={value}\n", self.space);
        self.ask(&request, "put_result", doing).map(drop)
    }

    /// Waits until all processes of the job are here.
    pub(crate) fn barrier(&mut self) -> Result<(), BootstrapError> {
        self.ask("cmd=barrier_in\n", "barrier_out", "waiting for all ranks of the job").map(drop)
    }

    /// The value that somebody left under `key`.
    pub(crate) fn get(&mut self, key: &str) -> Result<String, BootstrapError> {
        let doing = "reading a value";
        let request = format!("cmd=get kvsname={} key={key}\n", self.space);
        let answer = self.ask(&request, "get_result", doing)?;
        let value = word(&answer, "value").map(str::to_owned);
        value.ok_or_else(|| self.failure(doing, format!("rank 0 left no {key}")))
    }

    /// What the launcher calls this job's key-value space; no other job of this host has that name.
    pub(crate) fn space(&self) -> &str {
        &self.space
    }

    /// Ends the conversation in order.
    pub(crate) fn finalize(mut self) -> Result<(), BootstrapError> {
        self.finalized = true;
        self.ask(FINALIZE, "finalize_ack", "taking leave").map(drop)
    }

    /// Sends a request and returns its answer, which must be the command `expected`, without an error code.
    fn ask(
        &mut self,
        request: &str,
        expected: &str,
        doing: &'static str,
    ) -> Result<String, BootstrapError> {
        let answer = match self.send(request.as_bytes()).and_then(|()| self.line()) {
            Ok(answer) => answer,
            Err(reason) => return Err(self.failure(doing, reason)),
        };
        let refused = word(&answer, "rc").is_some_and(|code| code != "0");
        if refused || word(&answer, "cmd") != Some(expected) {
            return Err(self.failure(doing, format!("it answered `{}`", answer.trim_end())));
        }
        Ok(answer)
    }

    fn send(&self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            self.ready(PollFlags::OUT)?;
            match send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(advice(errno)),
            }
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return String::from_utf8(line).map_err(|_| "its answer is no text".to_owned());
            }
            if self.rest.len() >= LINE_MAX {
                return Err(format!("its answer is longer than {LINE_MAX} bytes"));
            }
            self.ready(PollFlags::IN)?;
            let mut bytes = [0; 1024];
            match recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(format!("the launcher closed it: {ONCE}")),
                Ok((_, count)) => self.rest.extend_from_slice(bytes.get(..count).unwrap_or(&bytes)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(advice(errno)),
            }
        }
    }

    fn ready(&self, flags: PollFlags) -> Result<(), String> {
        let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), flags)];
        match poll_until(&mut fds, Some(self.deadline)) {
            Ok(0) => {
                Err("the deadline passed; the launcher does not tell which rank is late".to_owned())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn failure(&self, doing: &'static str, reason: String) -> BootstrapError {
        failure(self.fd, doing, reason)
    }
}

impl Drop for Pmi1 {
    /// Takes leave after an error too, lest Hydra kill the other ranks before they report theirs. It must read the
    /// answer: a proxy that cannot write it takes the whole job down.
    fn drop(&mut self) {
        if !self.finalized {
            self.deadline = Instant::now() + FAREWELL;
            // The error that led here is the one to report.
            let _ = self.ask(FINALIZE, "finalize_ack", "taking leave");
        }
    }
}

fn failure(fd: RawFd, doing: &'static str, reason: String) -> BootstrapError {
    BootstrapError::Pmi { fd, doing: doing.to_owned(), reason }
}

fn advice(errno: Errno) -> String {
    let what = match errno {
        Errno::PERM | Errno::NOSYS => "this container forbids pidfd_getfd",
        Errno::PIPE | Errno::CONNRESET => "the launcher closed it",
        _ => "it is no socket of the launcher's",
    };
    format!("{what} ({errno}): {ONCE}")
}

/// The value of `name` among the blank-separated words of `line`.
fn word<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let words = line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    words.into_iter().find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
pub(crate) mod tests;
