//! Owns namespaces: leaving the ones that a thread is in, making new ones, and working inside another.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::system::sethostname;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::error::LabError;

/// A network namespace that lives as long as this value, or a process in it.
#[derive(Debug)]
pub(crate) struct Network {
    descriptor: OwnedFd,
}

impl Network {
    /// A new one: no devices but its own loopback, which is down.
    pub fn new() -> Result<Self, LabError> {
        // A thread that leaves its namespaces does not come back, so one is made for it.
        let descriptor = in_thread(|| {
            leave(UnshareFlags::NEWNET, "make a network namespace")?;
            let own = File::open("/proc/thread-self/ns/net");
            own.map_err(|e| LabError::host("hold on to a network namespace", e))
        })?;
        Ok(Self { descriptor: descriptor.into() })
    }

    /// Where other processes of this PID namespace find it.
    pub fn path(&self) -> PathBuf {
        own_descriptor(&self.descriptor)
    }

    /// Runs `work` in a thread inside. What it starts is inside too, and so are the files that it opens
    /// below `/proc/sys/net` and `/proc/thread-self/net`.
    pub fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, LabError> + Send,
    ) -> Result<T, LabError> {
        in_thread(|| {
            enter(&self.descriptor)?;
            work()
        })
    }
}

/// The path by which other processes of this PID namespace open a descriptor of this process.
pub(crate) fn own_descriptor(descriptor: &impl AsRawFd) -> PathBuf {
    let process = rustix::process::getpid().as_raw_nonzero();
    PathBuf::from(format!("/proc/{process}/fd/{}", descriptor.as_raw_fd()))
}

/// Gives the calling thread namespaces of its own.
#[expect(unsafe_code, reason = "rustix leaves it to the caller which namespaces are safe to leave")]
pub(crate) fn leave(namespaces: UnshareFlags, action: &str) -> Result<(), LabError> {
    debug_assert!(!namespaces.contains(UnshareFlags::FILES));
    // SAFETY: what makes unshare unsafe is a table of descriptors that threads no longer share, so that a
    // descriptor means something else in another thread. No caller here asks for that: they ask for PID,
    // mount, network and UTS namespaces, which change what paths, sockets and children mean to this thread,
    // but no memory and no descriptor.
    unsafe { unshare_unsafe(namespaces) }.map_err(|e| LabError::host(action, e))
}

/// Moves the calling thread into a network namespace.
fn enter(network: &impl AsFd) -> Result<(), LabError> {
    let moved = move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
    moved.map_err(|e| LabError::host("enter a node's network namespace", e))
}

/// Turns the calling process, which has one thread, into one of the node whose network namespace is at
/// `path`: with its devices, also as `/sys` shows them, and with `name` as its host name.
pub(crate) fn become_local(path: &Path, name: &str) -> Result<(), LabError> {
    let network = File::open(path);
    enter(&network.map_err(|e| LabError::host(format!("open the namespace of {name}"), e))?)?;
    leave(UnshareFlags::NEWNS | UnshareFlags::NEWUTS, "make namespaces for a rank")?;
    keep_mounts_private()?;
    show_devices()?;
    sethostname(name.as_bytes()).map_err(|e| LabError::host("name a node", e))
}

/// From now on nothing that is mounted here is seen elsewhere.
pub(crate) fn keep_mounts_private() -> Result<(), LabError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|e| LabError::host("make mounts private", e))
}

/// Lets `/proc` show the processes of this PID namespace.
pub(crate) fn show_processes() -> Result<(), LabError> {
    fresh("proc", "/proc")
}

/// Lets `/sys` show the devices of this network namespace.
pub(crate) fn show_devices() -> Result<(), LabError> {
    fresh("sysfs", "/sys")
}

fn fresh(kind: &str, place: &str) -> Result<(), LabError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mounted = mount(kind, place, kind, flags, None);
    mounted.map_err(|e| LabError::host(format!("mount {kind} on {place}"), e))
}

/// Runs `work` in a thread of its own, which ends with it.
pub(crate) fn in_thread<T: Send>(
    work: impl FnOnce() -> Result<T, LabError> + Send,
) -> Result<T, LabError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work);
        let thread = thread.map_err(|e| LabError::host("start a thread", e))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
