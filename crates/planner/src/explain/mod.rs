//! Explains a plan, to people and to scripts: rings, trees and routes of a cluster, how much of what is possible
//! they reach, and the reason for each choice. What a world runs and what `crosstie plan` shows is told by this
//! one code.

mod cluster;
mod counts;
mod header;
mod imported;
mod json;
mod lines;
mod network;
mod patterns;
mod refused;
mod routes;
mod scheme;
mod text;

pub use counts::{BLOCK, Chosen, Counts, OPERATIONS, SIZES, Sent};
pub use lines::{Look, bytes, numbers, speed};
pub use refused::{Refused, Untuned};
pub use routes::Way;
pub use scheme::{Scheme, Told};
pub use text::brief;
