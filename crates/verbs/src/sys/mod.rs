//! What `<infiniband/verbs.h>` declares, as far as it is used here, under its names; and where it is found.
//!
//! The structures were trimmed by hand to what is read or written: the fields between stand as arrays of
//! the same size. With the feature `rdma-sys` the compiler holds them against the headers (`layout`).

#[cfg(feature = "rdma-sys")]
mod layout;
mod symbols;
mod types;

pub use symbols::Symbols;
pub use types::*;
