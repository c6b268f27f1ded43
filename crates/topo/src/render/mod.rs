//! Owns the forms in which people and programs see a topology: a tree, a matrix of paths, JSON, DOT, SVG.

mod dot;
mod headline;
mod json;
mod layout;
mod matrix;
mod svg;
mod tree;
mod words;

pub use dot::dot;
pub use headline::headline;
pub use json::json;
pub use matrix::{Cell, Matrix, legend};
pub use svg::svg;
pub use tree::tree;
