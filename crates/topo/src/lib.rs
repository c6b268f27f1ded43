//! A machine as a value: what it is made of, what its links carry, and how good every path in it is.
//!
//! - [`Topology`] is read from an NCCL topology file, or made from an [`xml::Document`] that detection
//!   built ([`xml::Element::with`], [`xml::Element::holding`]); several descriptions of one machine
//!   [`xml::merge`] first. [`Topology::document`] keeps what was read, to the last unknown attribute.
//! - [`Paths`] are the best ways between GPUs, ports and NUMA nodes: kind, bandwidth, relay;
//!   [`Topology::paths_from`] has their links. [`rates`] says what links carry, and from where that is known.
//! - [`Rails`] say which port is on which rail; a [`fabric::Fabric`] says how nodes are cabled; a [`Cluster`]
//!   is all nodes of a job in canonical form, with a fingerprint.
//! - [`lint()`] and [`lint_nodes`] find what is wrong; [`diff()`] compares; [`remap()`] makes a host's
//!   description fit a virtual machine; [`render`] shows.
//!
//! ```
//! use crosstie_topo::{PathKind, Paths, Topology, lint};
//!
//! let text = r#"<system version="1">
//!   <cpu numaid="0" arch="x86_64" vendor="AuthenticAMD" familyid="25" modelid="1">
//!     <pci busid="0000:10:00.0" class="0x060400" link_speed="32.0 GT/s PCIe" link_width="16">
//!       <pci busid="0000:11:00.0" class="0x030200" link_speed="32.0 GT/s PCIe" link_width="16">
//!         <gpu dev="0" sm="90"/>
//!       </pci>
//!       <pci busid="0000:12:00.0" class="0x020000" link_speed="32.0 GT/s PCIe" link_width="16">
//!         <nic><net name="mlx5_0" dev="0" speed="400000"/></nic>
//!       </pci>
//!     </pci>
//!   </cpu>
//! </system>"#;
//! let topology = Topology::read(text)?;
//! let paths = Paths::of(&topology)?;
//! let path = paths.send(topology.gpus()[0], topology.ports()[0]).expect("one switch joins them");
//! assert_eq!((path.kind, path.bandwidth.to_string()), (PathKind::Pix, "48 GB/s".to_string()));
//! assert!(lint(&topology).is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here does I/O, reads a clock or an environment.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod attributes;
mod build;
mod builder;
mod bus_id;
mod canonical;
pub mod devices;
mod diff;
mod error;
pub mod fabric;
mod graph;
mod lint;
mod model;
mod parts;
mod path;
mod paths;
mod rails;
pub mod rates;
mod remap;
pub mod render;
mod shown;
mod unit;
pub mod xml;

pub use bus_id::{BusId, NotABusId};
pub use canonical::{Cluster, TopologyFingerprint};
pub use diff::{Difference, MOST_TOLD, diff};
pub use error::{Fault, ReadError};
pub use graph::{
    Gpu, Host, Label, Link, LinkKind, Nic, NvSwitch, Pci, Port, Topology, Verbs, Vertex, VertexId,
    VertexKind,
};
pub use lint::{Finding, Rule, Severity, lint, lint_nodes, lint_with_paths};
pub use model::{Arch, Cpu, GpuModel};
pub use path::{Hop, Path, PathKind, PathTree};
pub use paths::{MOST_ENDS, MOST_STEPS, Paths, Relayed, TooLarge};
pub use rails::Rails;
pub use remap::{BusMap, RemapError, Remapped, remap};
pub use shown::shown;
pub use unit::Bandwidth;
