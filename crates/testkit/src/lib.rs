//! What tests of several crates share: one conformance suite for all transports, a transport that
//! misbehaves on purpose, and worlds of ranks. Used from `tests/` only.
#![forbid(unsafe_code)]
#![expect(clippy::panic, reason = "every module is part of tests: a panic is their verdict")]

pub mod conformance;
pub mod direct;
pub mod faulty;
pub mod msccl;
pub mod pairwise;
pub mod proxy;
pub mod random;
pub mod world;
