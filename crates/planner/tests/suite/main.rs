//! What plans are: proved, counted and compared with what machines bear.
//!
//! One program for all of a crate's tests: each is a second of linking.
#![cfg(test)]

mod cost;
mod figures;
mod grants;
mod graphs;
mod inside;
mod matrix;
mod msccl;
mod nodes;
mod rails;
mod replay;
mod rounds;
mod select;
mod slices;
mod unlike;
