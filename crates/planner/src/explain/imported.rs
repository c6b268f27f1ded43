//! Owns a plan with the rings and trees of a graph file, beside what the search finds itself.

use super::scheme::{Scheme, Told};
use crate::graph::{GraphFile, Unfit};
use crate::search::{Rings, loads};

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
