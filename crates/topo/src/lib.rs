//! A machine as a value: what it is made of, what its links carry, and how good every path in it is.
//!
//! [`Topology`] is read from an NCCL topology file, or built from a [`xml::Document`] that detection
//! wrote. Nothing here does I/O, reads a clock or an environment.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod attributes;
mod build;
mod bus_id;
mod canonical;
pub mod devices;
mod diff;
mod error;
pub mod fabric;
mod graph;
mod lint;
mod parts;
mod path;
mod paths;
mod rails;
pub mod rates;
mod remap;
pub mod render;
mod unit;
pub mod xml;

pub use bus_id::{BusId, NotABusId};
pub use canonical::{Cluster, TopologyFingerprint};
pub use diff::{Difference, diff};
pub use error::{Fault, ReadError};
pub use graph::{
    Arch, Cpu, Gpu, GpuModel, Host, Label, Link, LinkKind, Nic, NvSwitch, Pci, Port, Topology,
    Vertex, VertexId, VertexKind,
};
pub use lint::{Finding, Rule, Severity, lint};
pub use path::{Hop, Path, PathKind, PathTree};
pub use paths::{MOST_ENDS, Paths, Relayed, TooManyEnds};
pub use rails::Rails;
pub use remap::{BusMap, RemapError, Remapped, remap};
pub use unit::Bandwidth;
