//! Owns the chain of processes that a lab lives in: the caller, which waits and passes signals on, and the
//! first process of a PID namespace, with whose end the kernel frees everything.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};
use rustix::thread::UnshareFlags;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

use crate::error::LabError;
use crate::namespace::{in_thread, keep_mounts_private, leave, show_devices, show_processes};

/// How what was confined ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(u8),
    /// Somebody killed it with this signal.
    Killed(u8),
    /// This process was told by this signal to end it.
    Interrupted(u8),
}

/// Runs `command` as the first process of a PID namespace of its own and waits for its end. It must call
/// [`become_init`] before anything else. When this returns, no process of that namespace is left; nor is
/// one a moment after this process is killed.
pub fn confine(command: &mut Command) -> Result<Ended, LabError> {
    // In a thread of its own, whose later children alone belong to the new namespace. It also outlives
    // its child: the kernel takes the end of a parent's thread for the end of the parent.
    in_thread(|| {
        let interrupts = Interrupts::watch([SIGINT, SIGTERM, SIGHUP])?;
        leave(UnshareFlags::NEWPID, "make a PID namespace")?;
        let child = command.spawn().map_err(|e| LabError::host("start the lab's process", e))?;
        wait(child, &interrupts)
    })
}

fn wait(mut child: Child, interrupts: &Interrupts) -> Result<Ended, LabError> {
    let failed = |e: io::Error| LabError::host("wait for the lab's end", e);
    let id = Pid::from_child(&child);
    let process = pidfd_open(id, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
    let interrupted = interrupts.before_the_end_of(&process).map_err(failed)?;
    if interrupted.is_some() {
        // Killed, not asked: with the first process the kernel ends all others, at once.
        pidfd_send_signal(&process, Signal::KILL).map_err(|e| failed(e.into()))?;
    }
    let status = child.wait().map_err(failed)?;
    let small = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    Ok(match (interrupted, status.code(), status.signal()) {
        (Some(number), ..) => Ended::Interrupted(small(number)),
        (None, Some(code), _) => Ended::Code(small(code)),
        (None, None, signal) => Ended::Killed(small(signal.unwrap_or(0))),
    })
}

/// Signals to this process, each a stream that can be read once it has come.
struct Interrupts {
    watched: Vec<(i32, UnixStream, SigId)>,
}

impl Interrupts {
    fn watch(signals: impl IntoIterator<Item = i32>) -> Result<Self, LabError> {
        let failed = |e| LabError::host("watch for signals", e);
        let watch = |number| {
            let (end, source) = UnixStream::pair()?;
            Ok((number, end, pipe::register(number, source)?))
        };
        let watched: io::Result<_> = signals.into_iter().map(watch).collect();
        Ok(Self { watched: watched.map_err(failed)? })
    }

    /// The signal that comes before `process` ends, if one does.
    fn before_the_end_of(&self, process: &impl AsFd) -> io::Result<Option<i32>> {
        let streams = self.watched.iter().map(|(_, stream, _)| stream.as_fd());
        let all = [process.as_fd()].into_iter().chain(streams);
        let mut all: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        loop {
            match poll(&mut all, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let come = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let signals = all.iter().skip(1).zip(&self.watched);
        let mut came = signals.filter(|(fd, _)| come(fd)).map(|(_, (number, ..))| *number);
        Ok(came.next())
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for (_, _, id) in &self.watched {
            unregister(*id);
        }
    }
}

/// Makes the calling process, which [`confine`] started in the process `parent` and which has one thread
/// yet, the root of a lab: it dies with its parent, and mounts and devices are its own.
pub fn become_init(parent: u32) -> Result<(), LabError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| LabError::host("ask to die with the caller", e))?;
    // A parent that died before that request is no parent any more.
    if parent_by_proc()? != parent {
        return Err(LabError::Orphan);
    }
    leave(UnshareFlags::NEWNS | UnshareFlags::NEWNET, "make mount and network namespaces")?;
    keep_mounts_private()?;
    show_processes()?;
    show_devices()
}

/// Who started this process, as the caller's `/proc` tells it, which is still there: within the new PID
/// namespace the first process has no parent.
fn parent_by_proc() -> Result<u32, LabError> {
    let stat = std::fs::read_to_string("/proc/self/stat");
    let stat = stat.map_err(|e| LabError::host("read /proc/self/stat", e))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(1).and_then(|id| id.parse().ok()).ok_or(LabError::Orphan)
}
