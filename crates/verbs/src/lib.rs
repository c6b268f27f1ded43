//! ibverbs, found when the program runs: devices, ports, addresses, queue pairs, registered memory.
//!
//! [`sys`] is the library's interface as it is in C. All else is safe to use, but for the registration of
//! memory that others have: whatever is made keeps alive what it was made of, so that no queue pair outlives
//! its completion queue, and no registration its memory. [`wires`] makes a transport of it.
//!
//! ```no_run
//! use crosstie_verbs::Library;
//!
//! for device in Library::open()?.devices()? {
//!     let context = device.open()?;
//!     println!("{} {:?} {:?}", device.name(), context.port(1)?, context.gids()?);
//! }
//! # Ok::<(), crosstie_verbs::VerbsError>(())
//! ```

mod address;
mod completion;
mod context;
mod domain;
mod error;
mod gid;
mod library;
mod limits;
mod pages;
mod port;
mod queue_pair;
mod registrations;
mod retry;
mod status;
pub mod sys;
pub mod wires;

pub use address::{Address, Service};
pub use completion::{Completion, CompletionQueue};
pub use context::{Attributes, Context};
pub use domain::{Domain, Keys, Registration};
pub use error::{Place, VerbsError};
pub use gid::{Gid, GidKind, choose, pairs};
pub use library::{Device, Library, NodeType};
pub use limits::{Needs, Pinnable, Wire};
pub use pages::Pages;
pub use port::{Event, Layer, Mtu, Port, PortState};
pub use queue_pair::{
    Account, Depths, Last, Local, Path, Posted, QueuePair, Remote, Source, Way, Write, is_drained,
};
pub use registrations::{Registrar, Registrations};
pub use retry::Retry;
pub use status::Status;
