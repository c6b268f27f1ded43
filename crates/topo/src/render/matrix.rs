//! Owns the matrix of paths, as `nvidia-smi topo -m` draws it: GPUs and ports against each other.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::graph::{LinkKind, Topology, VertexId};
use crate::path::{Path, PathKind};
use crate::paths::Paths;
use crate::rails::Rails;

/// The paths between all GPUs and ports: each row's way to each column. A GPU's way to a port is the one
/// it sends by, with a relay where that is better (PXN); a port's way to a GPU is always direct.
///
/// Shown as text; [`Matrix::rows`] is for those who want to colour it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// NUMA node and rail of each row.
    places: Vec<(String, String)>,
}

/// One path of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// How good it is; `None` where nothing leads there.
    pub path: Option<Path>,
    /// What is shown: `X` for the row's own, `NV18` for a path over 18 NVLinks, else the kind's name.
    pub text: String,
}

impl Matrix {
    /// The matrix of a topology.
    pub fn of(topology: &Topology, paths: &Paths) -> Self {
        Self::among(topology, paths, &[topology.gpus(), topology.ports()].concat())
    }

    /// The matrix of some of its GPUs and ports.
    pub fn among(topology: &Topology, paths: &Paths, ends: &[VertexId]) -> Self {
        let rails = Rails::of(topology);
        let row = |&from: &VertexId| {
            ends.iter().map(|&to| cell(topology, paths, from, to)).collect::<Vec<_>>()
        };
        let numa = |id| {
            let numa =
                topology.cpu_of(id).and_then(|cpu| topology.cpu(cpu)).and_then(|cpu| cpu.numa);
            numa.map_or("?".into(), |numa| numa.to_string())
        };
        let rail = |id| rails.rail_of(id).map_or("".into(), |rail| rail.to_string());
        Self {
            heads: ends.iter().map(|&id| topology.label(id).to_string()).collect(),
            rows: ends.iter().map(row).collect(),
            places: ends.iter().map(|&id| (numa(id), rail(id))).collect(),
        }
    }

    /// The name of each row and column.
    pub fn heads(&self) -> &[String] {
        &self.heads
    }

    /// The rows, each with a cell for each column.
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// The kinds that occur, in order.
    pub fn kinds(&self) -> Vec<PathKind> {
        let cells = self.rows.iter().flatten().filter_map(|cell| cell.path);
        let mut kinds: Vec<_> = cells.map(|path| path.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}

/// How many NVLinks a GPU has to another side by side: to itself, else to the switches, or the most to
/// any one GPU.
pub fn links(topology: &Topology, from: VertexId, to: VertexId) -> Option<u32> {
    let most = || {
        let links = topology.links_of(from).iter().filter(|link| link.kind == LinkKind::Nvl);
        links.max_by_key(|link| (topology.vertex(link.to).host.is_none(), link.count))
    };
    topology.link(from, to, LinkKind::Nvl).or_else(most).map(|link| link.count)
}

/// The path that a matrix shows.
pub fn path(paths: &Paths, from: VertexId, to: VertexId) -> Option<Path> {
    paths.send(from, to).or_else(|| paths.between(from, to))
}

fn cell(topology: &Topology, paths: &Paths, from: VertexId, to: VertexId) -> Cell {
    let path = path(paths, from, to);
    let text = match path {
        _ if from == to => "X".into(),
        None => "-".into(),
        Some(Path { kind: PathKind::Nvl, .. }) => {
            links(topology, from, to).map_or("NVL".into(), |count| format!("NV{count}"))
        }
        Some(path) => path.kind.name().into(),
    };
    Cell { path, text }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |text: &String| text.chars().count();
        let first = self.heads.iter().map(length).max().unwrap_or(0);
        let width = |column: usize| {
            let cells =
                self.rows.iter().filter_map(|row| row.get(column)).map(|cell| length(&cell.text));
            cells.chain([length(&self.heads[column])]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        write!(f, "{:first$}", "")?;
        for (head, width) in self.heads.iter().zip(&widths) {
            write!(f, "  {head:width$}")?;
        }
        writeln!(f, "  NUMA  rail")?;
        for ((head, row), (numa, rail)) in self.heads.iter().zip(&self.rows).zip(&self.places) {
            let mut line = format!("{head:first$}");
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("  {:width$}", cell.text));
            }
            line.push_str(&format!("  {numa:4}  {rail}"));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// What the names of a matrix mean: those of `kinds` only.
pub fn legend(kinds: &[PathKind]) -> String {
    let mut text = String::new();
    for kind in kinds {
        let name = match kind {
            PathKind::Loc => "X",
            PathKind::Nvl => "NV#",
            kind => kind.name(),
        };
        let meaning = match kind {
            PathKind::Loc => "itself, or another port of the same card (LOC)",
            PathKind::Nvl => "# NVLinks, or xGMI links, side by side",
            kind => kind.meaning(),
        };
        text.push_str(&format!("{name:4} {meaning}\n"));
    }
    text
}
