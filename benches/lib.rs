//! Benches of Crosstie; `compare/` holds the side-by-side runs against MPI.
