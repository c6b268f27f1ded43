//! Owns what can go wrong with verbs, with the numbers and the remedy that a reader of the error needs.

use std::fmt;
use std::io;
use std::net::IpAddr;

use crate::Status;

/// A queue pair as people know it: by its device, its port, and who is at its other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The device, such as `mlx5_0`.
    pub device: String,
    /// Its port, from 1.
    pub port: u8,
    /// The rank at the other end.
    pub peer: u32,
    /// Which of the node's NICs it is, where nodes have rails.
    pub rail: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, port, peer, rail } = self;
        write!(f, "device {device} port {port}")?;
        if let Some(rail) = rail {
            write!(f, " (rail {rail})")?;
        }
        write!(f, " to rank {peer}")
    }
}

/// A failure of the verbs library, of a device, or of a queue pair.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerbsError {
    /// The library could not be loaded.
    #[error(
        "{library} cannot be loaded ({reason}): install libibverbs (Debian: libibverbs1 ibverbs-providers)"
    )]
    NoLibrary {
        /// The library's name.
        library: String,
        /// What the loader says.
        reason: String,
    },
    /// The library is older than the calls that are needed.
    #[error("libibverbs has no {symbol}: install rdma-core 32 or newer")]
    NoSymbol {
        /// The first call that it lacks.
        symbol: String,
    },
    /// The kernel has no part for verbs.
    #[error(
        "the kernel gives no access to RDMA devices: load the module ib_uverbs, and in a container pass /dev/infiniband on"
    )]
    NoKernelSupport,
    /// There is no device of that name.
    #[error("there is no RDMA device {name}; there are: {present}")]
    NoDevice {
        /// The name that was asked for.
        name: String,
        /// The names of those there are, separated by blanks.
        present: String,
    },
    /// No device's port is as it should be.
    #[error("no RDMA device {}; there are: {}", wanted(.address), some(.present))]
    NoNic {
        /// The address that its port should have; `None`: it should be up.
        address: Option<IpAddr>,
        /// The ports there are, separated by blanks.
        present: String,
    },
    /// Ports were named, and the host has none of these.
    #[error("no port of this host's RDMA devices is named so; there are: {present}")]
    NoneNamed {
        /// Those there are, separated by blanks.
        present: String,
    },
    /// The library, the kernel or the device refused a call.
    #[error("{call} on {device} was refused: {source}{}", hint(.source))]
    Refused {
        /// What was asked for.
        call: &'static str,
        /// The device.
        device: String,
        /// The reason that was given.
        source: io::Error,
    },
    /// A port takes no traffic.
    #[error(
        "{device} port {port} is {state}, not active: check its cable and switch, and `ip link`"
    )]
    PortDown {
        /// The device.
        device: String,
        /// The port, from 1.
        port: u8,
        /// The state that it is in.
        state: &'static str,
    },
    /// A port, or its whole device, takes no more traffic, and so a queue pair has ended.
    #[error("{place}: {why}")]
    Lost {
        /// Which queue pair.
        place: Place,
        /// What happened, and what to do: [`VerbsError::PortDown`] or [`VerbsError::DeviceFatal`].
        why: String,
    },
    /// A device broke down.
    #[error("{device} reports that it broke down: see the kernel's log, and reset the device")]
    DeviceFatal {
        /// The device.
        device: String,
    },
    /// A peer was not reached on any way that there is to it.
    #[error(
        "{place}: nothing that was sent to it was answered, {tried}: check the network between the two ports, \
             name other GIDs (CROSSTIE_VERBS_GID_INDEX), or use CROSSTIE_TRANSPORT=tcp"
    )]
    Unreached {
        /// Which wire.
        place: Place,
        /// Which ways were tried, and how each ended.
        tried: String,
    },
    /// A peer says that it has nothing to be reached at.
    #[error("rank {peer} cannot be reached over verbs: {why}")]
    PeerHasNone {
        /// The rank.
        peer: u32,
        /// Its reason.
        why: String,
    },
    /// This rank has nothing to be reached at.
    #[error("this rank cannot be reached over verbs: {why}")]
    NoneHere {
        /// Its reason.
        why: String,
    },
    /// Two ports have no addresses by which they could reach each other.
    #[error(
        "no GID of {device} port {port} can reach one of rank {peer}'s ({ours} of ours, {theirs} of theirs): \
             give both ports an address of the same family"
    )]
    NoGid {
        /// The device.
        device: String,
        /// The port, from 1.
        port: u8,
        /// The rank at the other end.
        peer: u32,
        /// How many this port has.
        ours: usize,
        /// How many that of the peer has.
        theirs: usize,
    },
    /// A port's table has no GID where one was asked for.
    #[error(
        "{device} port {port} has no GID with the index {index} (`show_gids`, or \
             /sys/class/infiniband/{device}/ports/{port}/gids): name another, or none"
    )]
    NoSuchGid {
        /// The device.
        device: String,
        /// The port, from 1.
        port: u8,
        /// The index that was asked for.
        index: u32,
    },
    /// The network or the peer did not answer, for all that was repeated.
    #[error(
        "{place}: no answer, though all was sent again {retries} times (vendor code {vendor:#x}): \
             the peer's port or process is gone, or the network between is broken"
    )]
    RetryExceeded {
        /// Which queue pair.
        place: Place,
        /// How often it was repeated.
        retries: u8,
        /// The device's own word for it.
        vendor: u32,
    },
    /// A work request failed.
    #[error("{place}: a work request failed: {status} (vendor code {vendor:#x}); {}", .status.remedy())]
    Failed {
        /// Which queue pair.
        place: Place,
        /// How.
        status: Status,
        /// The device's own word for it.
        vendor: u32,
    },
    /// A device, or the host, has fewer of something than are needed.
    #[error("{device} has {available} {what}, but {needed} are needed: {remedy}")]
    Limit {
        /// The device.
        device: String,
        /// Of what.
        what: &'static str,
        /// How many are needed.
        needed: u64,
        /// How many can be had.
        available: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The host lets this process pin less memory than is needed.
    #[error(
        "{needed} bytes must be pinned, but of the limit of {limit} bytes {in_use} are in use: \
             raise it (`ulimit -l unlimited`, or memlock in limits.conf, LimitMEMLOCK in the unit)"
    )]
    Memlock {
        /// Bytes that are needed.
        needed: u64,
        /// The limit in bytes.
        limit: u64,
        /// Bytes that this process has pinned already.
        in_use: u64,
    },
    /// Memory of another device cannot be registered with this one.
    #[error("{device} takes no dma-buf: {reason}")]
    NoDmaBuf {
        /// The device.
        device: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// A queue pair has no room for what was to be posted; its user counts wrongly.
    #[error("{place}: {asked} work requests, but room for {room}")]
    NoRoom {
        /// Which queue pair.
        place: Place,
        /// How many were to be posted.
        asked: usize,
        /// How many there is room for.
        room: usize,
    },
}

fn wanted(address: &Option<IpAddr>) -> String {
    match address {
        Some(address) => {
            format!("has a port with the address {address} (`rdma link`, `ip address`)")
        }
        None => "has a port that is up (`rdma link`)".to_owned(),
    }
}

fn some(present: &str) -> &str {
    if present.is_empty() { "none" } else { present }
}

fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOMEM) => " (raise the limit on pinned memory: `ulimit -l`)",
        Some(libc::EACCES | libc::EPERM) => " (may this user open /dev/infiniband/uverbs*?)",
        _ => "",
    }
}
