//! Owns the manual: what a newcomer and an operator have to know beyond each item's own page. It has no code.
//!
//! - [`design`]: the ideas behind the library, and what follows from them for its users.
//! - [`launching`]: how ranks are started and find each other, a line for each launcher.
//! - [`tuning`]: what decides how fast a call is, and how to look at it.
//! - [`errors`]: what a failure says, and what a program can do about it.
//! - [`moving_over`]: for programs that were written for NCCL or MPI.
//! - [`glossary`]: the words.

pub mod design;
pub mod errors;
pub mod glossary;
pub mod launching;
pub mod moving_over;
pub mod tuning;
