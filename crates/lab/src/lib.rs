//! Owns the lab: a rail-optimised cluster on one machine, whose nodes are network namespaces, whose
//! rails are bridges and whose spine is a router, with a token bucket at each end of each cable.
//!
//! ```text
//!            up0 (spine) up1               every uplink: nodes x rate / oversubscription
//!              |           |
//!            leaf0       leaf1             a rail: one bridge, one subnet 10.77.RAIL.0/24
//!            |   |       |   |
//!       eth0 |   | eth0  |   | eth1        every NIC: `rate`, both ways
//!          node0 node1 node0 node1         NIC of node I on rail J: 10.77.J.(I+1)
//! ```
//!
//! A [`Description`] says what the cluster is to be, or a file of a fabric ([`Description::of_fabric`]); [`Cluster::set_up`] makes it inside a process that
//! [`confine`] started and that has called [`become_init`]. All that is made then belongs to the PID, mount
//! and network namespaces of that process and has no name outside. So whoever dies, by whatever signal, the
//! kernel ends the rest and frees every namespace, device and mount; labs do not see each other.
#![deny(unsafe_code)]

mod batch;
mod cage;
mod cluster;
mod counters;
mod description;
mod error;
mod fabric;
mod namespace;
mod port;
mod wiring;

pub use batch::require_tools;
pub use cage::{Ended, become_init, confine};
pub use cluster::{Cluster, Node};
pub use counters::{Counters, Traffic};
pub use description::{Description, Rate};
pub use error::LabError;
pub use fabric::Played;
pub use port::Port;
