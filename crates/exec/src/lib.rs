//! exec

mod reduce;

pub use reduce::{Isa, ReduceError, Reducer};
