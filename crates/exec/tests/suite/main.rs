//! What the executor makes of plans: the bytes that they say, in any order of events.
//!
//! One program for all of a crate's tests: each is a second of linking.
#![cfg(test)]

mod common;
mod early;
mod loopback;
mod placing;
mod queue;
mod replay;
