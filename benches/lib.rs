//! Benches of Crosstie; `compare/` holds the side-by-side runs against MPI, [`loads`] judges plans.

pub mod loads;
