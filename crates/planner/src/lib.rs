//! Makes plans: which algorithm carries out a collective, over which connections, and which way
//! each connection goes; in [`search`], which rings and trees make the most of a machine's links; and in
//! [`explain`], all of that in words.
//!
//! Every rank makes its own part from inputs that all ranks share, so nothing here may depend on
//! anything else: no clock, no randomness, no hash order, integers only.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod algo;
pub mod cost;
pub mod explain;
pub mod graph;
mod ideal;
pub mod msccl;
mod nodes;
mod rails;
mod request;
mod route;
pub mod search;
mod select;

pub use algo::exchange::Messages;
pub use ideal::{Ideal, Message, Relayed, Ways, ideal, messages, wires};
pub use nodes::{Nodes, NodesError};
pub use rails::{MachinesError, RailCrossing, Rails, aligned_rails};
pub use request::{Algorithm, PlanRequest, inputs_fingerprint, plan, plan_group, plan_world};
pub use route::{Route, route};
pub use select::{Basis, Choice, ChoiceWhy, Reach, ReductionOrder, Selection, UnknownOrder};

/// The planner's version: it goes up whenever the same request gives another plan or route, and is part of
/// the inputs fingerprint, so that ranks with planners that differ find out at init.
pub const VERSION: u32 = 13;
