//! Owns the forms in which people and programs see a topology: a tree, a matrix of paths, JSON, DOT, SVG.

mod brief;
mod dot;
mod headline;
mod json;
mod layout;
mod matrix;
mod svg;
mod tree;
mod words;

pub use brief::brief;
pub use dot::dot;
pub use headline::headline;
pub use json::{json, json_findings};
pub use matrix::{Cell, Matrix, legend};
pub use svg::svg;
pub use tree::{tree, tree_by_kind};
pub(crate) use words::speed;
pub use words::{escape, rail_colour};
