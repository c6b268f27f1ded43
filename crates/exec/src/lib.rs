//! Runs plans on the host: the interpreter of a rank's blocks, the reductions it calls, and the
//! engine that drives its endpoints and waits for them.

mod buffers;
mod cache;
mod duty;
mod engine;
mod error;
mod interpreter;
mod machine;
mod memory;
mod program;
mod queue;
mod reduce;
mod retirement;
mod scope;
mod ticket;
mod wait;
mod watch;
mod wide;

pub use buffers::{Buffers, Message};
pub use engine::{Call, Engine};
pub use error::{ExecError, Waiting, WaitingFor};
pub use memory::{Memory, Nothing, Owned, OwnedMessage};
pub use program::{Known, Program};
pub use queue::Submission;
pub use reduce::{Isa, Operand, ReduceError, Reducer};
pub use retirement::Oversight;
pub use scope::{Scope, ScopedTicket, Scopes};
pub use ticket::Ticket;
pub use wait::WaitPolicy;
pub use watch::Watch;
