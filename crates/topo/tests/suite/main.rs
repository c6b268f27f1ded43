//! What topologies are read as, from files that are whole, odd and harmful.
//!
//! One program for all of a crate's tests: each is a second of linking.
#![cfg(test)]

mod fabrics;
mod folder;
mod machines;
mod render;
mod variants;
mod xml;
