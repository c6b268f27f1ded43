//! What the library promises to programs that call it, over every transport.
//!
//! One program for all of a crate's tests: each is a second of linking.
#![cfg(test)]

mod aborts;
mod asynchronous;
mod calls_that_differ;
mod canonical;
mod failures;
mod faults;
mod groups;
mod huge;
mod ideal;
mod offspring;
mod planned;
mod rails;
mod spans;
mod topology;
mod worlds;
