//! Runs plans on the host: the interpreter of a rank's blocks, the reductions it calls, and the
//! engine that drives its endpoints and waits for them.

mod buffers;
mod engine;
mod error;
mod interpreter;
mod program;
mod reduce;
mod wait;

pub use buffers::Buffers;
pub use engine::{Call, Engine};
pub use error::{ExecError, Waiting, WaitingFor};
pub use program::Program;
pub use reduce::{Isa, Operand, ReduceError, Reducer};
pub use wait::WaitPolicy;
