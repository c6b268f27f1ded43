//! Collective communication for training on many nodes.
//!
//! A [`Communicator`] joins ranks, as processes or threads, on one host or many; its collectives
//! run over shared memory inside a node and ibverbs or TCP between nodes. Every call has a deadline, and a
//! failure has a name: which rank, on which host, and what to do.
//!
//! ```
//! use crosstie::{ReduceOp, Threads};
//!
//! let sums = Threads::new(4).run(|mut comm| {
//!     let mine = vec![comm.rank() as f32; 1000];
//!     let mut sum = vec![0.0; 1000];
//!     comm.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     Ok(sum[0])
//! })?;
//! assert_eq!(sums, [6.0; 4]);
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A tour
//! - *Connecting*: [`Communicator::from_env`] under a launcher, [`Communicator::builder`] by hand, [`Threads`] in one
//!   process; [`Settings`] has what can be set.
//! - *Calls that block*: [`all_reduce`](Communicator::all_reduce) and its likes, on slices of any [`Element`];
//!   [`perform`](Communicator::perform) on bytes.
//! - *Calls that return at once*: on borrowed buffers in a [`scope`](Communicator::scope), on buffers that move into the
//!   call by [`owned`](Communicator::owned), which gives a [`Work`]: wait for it or `.await` it.
//! - *Messages between pairs*: [`send`](Communicator::send), [`recv`](Communicator::recv), and several at once in a
//!   [`group`](Communicator::group).
//! - *Fewer ranks*: [`split`](Communicator::split) by color; [`shrink`](Communicator::shrink) to those who are left
//!   after a failure.
//! - *Fewer copies*: [`alloc`](Communicator::alloc) gives buffers that the ranks of a host share,
//!   [`register`](Communicator::register) makes a vector one.
//! - *Machines*: [`topology`](Communicator::topology) is what the nodes were found to be, or what a
//!   [file](Settings::topo_file) says, and puts ranks on rails; [`Detect`] turns that off.
//! - *Failures*: an [`Error`] has a code, who is to blame and what to do, a [`Failure`] the verdict that all ranks share;
//!   an [`Outcome`] ends the program with the right exit code; [`abort_handle`](Communicator::abort_handle) ends calls
//!   from any thread.
//!
//! The [`manual`] has the rest: the design, a line for each launcher, tuning, failures, moving over from NCCL and MPI.
#![forbid(unsafe_code)]

mod abort;
mod buffer;
mod c_names;
mod call;
mod call_name;
mod cancel;
mod communicator;
mod counts;
mod element;
mod error;
mod group;
mod ideal;
mod init;
mod machine;
pub mod manual;
mod meeting;
mod memory;
mod metrics;
mod misuse;
#[cfg(feature = "mpi")]
mod mpi;
mod mpirun;
mod operation;
mod operations;
mod owned;
mod programs;
mod registered;
mod scope;
mod select;
mod settings;
mod split;
mod standing;
mod tag;
mod threads;
mod together;
mod topology;
mod ways;
mod work;

pub use abort::AbortHandle;
pub use buffer::Buffer;
pub use cancel::Cancel;
pub use communicator::Communicator;
pub use crosstie_bootstrap::{Cause, Conflict, LinkEnd, Signature, Statement, Wait, WaitOn};
pub use crosstie_exec::Buffers;
pub use crosstie_ir::{Collective, DataType, F8E4M3, F8E5M2, Factor, InputsFingerprint, ReduceOp};
pub use crosstie_net::{Secret, UniqueId};
pub use crosstie_planner::explain::{Look, Scheme};
pub use crosstie_planner::{Algorithm, Ideal, ReductionOrder};
pub use element::Element;
pub use error::{Blame, Code, Error, Explanation, Failure, Outcome};
pub use group::Group;
pub use half::{bf16, f16};
pub use machine::{Machine, MachineError};
pub use meeting::Meeting;
pub use metrics::{
    Flushes, Metrics, NicCounters, Over, TransportCounters, VerbsNeeds, WireCounters,
};
pub use mpirun::foreign_mpirun;
pub use operation::Operation;
pub use owned::{Exchanged, OwnedBuffer, OwnedCalls, Returned};
pub use registered::{Registered, Unregistered};
pub use scope::{Scope, ScopedWork};
pub use settings::registry::{Origin, Scope as SettingScope, Setting, Told};
pub use settings::{
    Detect, Flush, Protocol, Pxn, Settings, Transport, nccl_debug_file, parse_bytes,
    parse_duration, parse_ports,
};
pub use threads::Threads;
pub use topology::seats::NoPlan;
pub use topology::{TopologySource, WorldTopology};
pub use work::Work;
