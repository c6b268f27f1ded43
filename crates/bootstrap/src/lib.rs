//! Owns how ranks come together: the meeting at which each learns who the others are.
//!
//! [`meet`] takes this process's [`Record`] to the place that its identity names, and returns the [`World`]: the
//! records of all ranks. One process serves the meeting, a [`MeetingHost`]: rank 0, or whoever made the unique id.
//! It ends for every rank alike, with the table or with one and the same error, which names the ranks. With
//! [`meet_describing`] one rank of each machine also tells what that is, and all learn each kind of machine once.
#![forbid(unsafe_code)]

mod error;
mod meeting;
mod monitor;
mod node;
mod pmi1;
mod process;
mod world;

pub use error::{BootstrapError, Claimant, SettingsGroup};
pub use meeting::{
    Description, GivenUp, MeetingHost, REMARK, give_up, meet, meet_again, meet_describing,
};
pub use monitor::{
    Ailment, Application, CallMark, Cause, Conflict, DeadPath, Describe, LinkEnd, Look, Monitor,
    MonitorOptions, Report, Signature, Statement, Verdict, Wait, WaitOn,
};
pub use node::node_key;
pub use process::ProcessMark;
pub use world::{Machine, ReadForAll, Record, World};
