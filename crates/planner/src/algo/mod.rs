//! Owns the algorithms: each emits one rank's blocks of one collective.

pub(crate) mod exchange;
pub(crate) mod ring;
