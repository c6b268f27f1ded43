//! Owns topology files as trees: every element, attribute and comment, whether known or not.
//!
//! A [`Document`] is read, changed and written without losing what this crate does not know. What the
//! tree means is [`crate::Topology`]'s business.

mod fence;
mod mend;
mod merge;
mod read;
mod tree;
mod write;

pub(crate) use fence::position;
pub use merge::{Conflict, Merged, merge};
pub(crate) use merge::{key, title};
pub use tree::{Attribute, Document, Element, Item, Position};
