//! Explains a plan, to people and to scripts: rings, trees and routes of a cluster, how much of what is possible
//! they reach, and the reason for each choice. What a world runs and what `crosstie plan` shows is told by this
//! one code.

mod counts;
mod header;
mod imported;
mod json;
mod network;
mod patterns;
mod routes;
mod scheme;
mod text;

pub use counts::{BLOCK, Chosen, Counts, OPERATIONS, SIZES, Sent};
pub use imported::Told;
pub use routes::Way;
pub use scheme::{Refused, Scheme, Untuned};
pub use text::{Look, brief, bytes, numbers, speed};
