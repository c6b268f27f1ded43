//! Owns a plan with the rings and trees of a graph file, beside what the search finds itself.

use super::scheme::Scheme;
use crate::graph::{GraphFile, TreesTold, Unfit};
use crate::search::{Rings, loads};

/// What a graph file says, and what the search finds in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What the file says that each ring carries, MB/s.
    pub ring_mb_s: u64,
    /// What it says of its trees, where it has some.
    pub trees: Option<TreesTold>,
    /// The search's rings.
    pub found_rings: usize,
    /// What those carry together, MB/s.
    pub found_mb_s: u64,
}

impl Scheme<'_> {
    /// The same nodes, of one kind, with the rings and trees of a graph file in place of the search's. The
    /// fingerprint stays that of what the search was given.
    ///
    /// # Errors
    /// Where the file is of another machine.
    pub fn by_graph(mut self, file: &GraphFile) -> Result<Self, Unfit> {
        let imported = file.on(&self.node, self.nodes, self.pxn, self.rings.bound_mb_s)?;
        self.told = Some(Told {
            ring_mb_s: imported.told_mb_s,
            trees: imported.trees,
            found_rings: self.rings.rings.len(),
            found_mb_s: self.rings.total_mb_s(),
        });
        self.loads = loads(&self.node, &imported.rings, 0)?;
        let cut = self.rings.cut.take();
        self.rings = Rings { cut, ..imported.rings };
        Ok(self)
    }
}
