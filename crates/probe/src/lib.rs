//! This machine as a topology: what the kernel and the driver of its GPUs tell, and the description
//! that follows.
//!
//! [`Facts`] are what was read: from `/sys` and `/proc`, from a directory with copies of them, from NVML.
//! Nothing that could not be read is an error: virtual machines hide much, so that every fact is
//! optional. [`assemble`] makes a topology's document of them, and says in [`Note`]s what was not found
//! and what that means. [`Machine::kind`] is of it what two like machines share. [`Captured`] is a machine's files as one
//! text, which other machines can read.
//!
//! ```
//! use std::time::Duration;
//!
//! use crosstie_probe::{Facts, assemble};
//!
//! let machine = assemble(&Facts::of_this_host(Duration::from_secs(30)));
//! println!("{}", machine.document);
//! for note in &machine.notes {
//!     println!("{note}");
//! }
//! ```
#![forbid(unsafe_code)]

use std::time::Duration;

mod ailment;
mod assemble;
mod captured;
mod entry;
mod file;
mod gpu;
mod kind;
mod net;
mod note;
mod numa;
mod pci;
mod port_names;
mod rdma;
mod text;
mod tree;

pub use ailment::Ailment;
pub use assemble::{Machine, assemble};
pub use captured::{Captured, Malformed};
pub use file::{Pipes, read_file};
pub use gpu::{C2c, Gpu, Gpus, Lost, NvLink, Remote, Source};
pub use net::{Interface, InterfaceKind};
pub use note::Note;
pub use numa::{Cpu, NumaNode};
pub use pci::{Pci, PciLink};
pub use port_names::PortNames;
pub use rdma::{Gid, GidKind, RdmaDevice, RdmaPort};
pub use tree::Tree;

/// What was read about a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// PCI devices, by bus id.
    pub pci: Vec<Pci>,
    /// NUMA nodes, by number; none where the kernel knows of none.
    pub numa: Vec<NumaNode>,
    /// Its processors, all of one kind.
    pub cpu: Cpu,
    /// Network interfaces, by name.
    pub interfaces: Vec<Interface>,
    /// RDMA devices, by name; `None` where the kernel has no part for them.
    pub rdma: Option<Vec<RdmaDevice>>,
    /// What the driver of the GPUs tells.
    pub gpus: Gpus,
}

impl Facts {
    /// Reads the files of `tree`, and takes GPUs as a value.
    pub fn read(tree: &Tree, gpus: Gpus) -> Self {
        Self {
            pci: pci::read(tree),
            numa: numa::read_nodes(tree),
            cpu: numa::read_cpu(tree),
            interfaces: net::read(tree),
            rdma: rdma::read(tree),
            gpus,
        }
    }

    /// What this host tells, its GPUs included, if their driver answers within `driver`.
    pub fn of_this_host(driver: Duration) -> Self {
        let gpus = Gpus::of_this_host(driver);
        tracing::debug!("{} GPUs by NVML ({:?})", gpus.gpus.len(), gpus.source);
        Tree::at("/").map(|tree| Self::read(&tree, gpus)).unwrap_or_default()
    }

    /// What a captured machine told, its GPUs included.
    pub fn of_capture(tree: &Tree) -> Self {
        Self::read(tree, Gpus::in_tree(tree))
    }

    /// The PCI device at an address.
    pub fn device(&self, bus_id: crosstie_topo::BusId) -> Option<&Pci> {
        let found = self.pci.binary_search_by_key(&bus_id, |device| device.bus_id);
        found.ok().and_then(|index| self.pci.get(index))
    }

    /// The network interface of a name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }
}
