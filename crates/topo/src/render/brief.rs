//! Owns the table of paths in few words, for machines whose matrix no terminal holds: rows that are alike
//! are one, and tell how many ends they reach in which way.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::graph::{Topology, VertexId};
use crate::lint::counted;
use crate::path::PathKind;
use crate::paths::Paths;
use crate::render::Matrix;
use crate::render::matrix::{links, path};
use crate::render::words::carried;
use crate::unit::Bandwidth;

/// A way to reach an end: whether that is a port, then kind, NVLinks, bandwidth; none where none leads.
type Way = (bool, Option<(PathKind, u32, core::cmp::Reverse<Bandwidth>)>);
/// Of each way how many ends are reached by it.
type Row = BTreeMap<Way, u32>;

/// Which ends reach how many others in which way; of hosts that are alike, first the matrix of one.
pub fn brief(topology: &Topology, paths: &Paths) -> String {
    let mut text = one_host(topology, paths);
    let mut classes: BTreeMap<(bool, Row), Vec<VertexId>> = BTreeMap::new();
    for &from in topology.gpus() {
        classes.entry((false, row(topology, paths, from))).or_default().push(from);
    }
    for &from in topology.ports() {
        classes.entry((true, row(topology, paths, from))).or_default().push(from);
    }
    let mut classes: Vec<_> = classes.into_iter().collect();
    classes.sort_by_key(|((is_port, _), members)| (*is_port, members.first().copied()));
    for ((is_port, row), members) in classes {
        let what = if is_port { "port" } else { "GPU" };
        let reach = if members.len() == 1 { "reaches" } else { "reach each" };
        let names = names(topology, &members);
        text.push_str(&format!("{} ({names}) {reach}\n", counted(members.len(), what)));
        for (way, count) in row {
            text.push_str(&line(topology, paths, members.first().copied(), way, count));
        }
    }
    text
}

fn row(topology: &Topology, paths: &Paths, from: VertexId) -> Row {
    let mut row = Row::new();
    for &to in topology.gpus().iter().chain(topology.ports()).filter(|&&to| to != from) {
        *row.entry(way(topology, paths, from, to)).or_default() += 1;
    }
    row
}

fn way(topology: &Topology, paths: &Paths, from: VertexId, to: VertexId) -> Way {
    let told = path(paths, from, to).map(|path| {
        let links = match path.kind {
            PathKind::Nvl => links(topology, from, to).unwrap_or(0),
            _ => 0,
        };
        (path.kind, links, core::cmp::Reverse(path.bandwidth))
    });
    (topology.port(to).is_some(), told)
}

/// `   2 ports  PIX   48 GB/s  (GPU0: mlx5_0, mlx5_1)`.
fn line(
    topology: &Topology,
    paths: &Paths,
    from: Option<VertexId>,
    wanted: Way,
    count: u32,
) -> String {
    let (is_port, told) = wanted;
    let what = match (is_port, count) {
        (true, 1) => "port",
        (true, _) => "ports",
        (false, 1) => "GPU",
        (false, _) => "GPUs",
    };
    let (name, bandwidth) = match told {
        None => ("no path".into(), String::new()),
        Some((PathKind::Nvl, links, bandwidth)) if links > 0 => {
            (format!("NV{links}"), carried(bandwidth.0))
        }
        Some((kind, _, bandwidth)) => (kind.to_string(), carried(bandwidth.0)),
    };
    let mut line = format!("  {count:4} {what:5}  {name:5} {bandwidth}");
    // A few are worth their names.
    if let Some(from) = from.filter(|_| count <= 4 && told.is_some()) {
        let all = topology.gpus().iter().chain(topology.ports());
        let by_it = all
            .filter(|&&to| to != from && way(topology, paths, from, to) == wanted)
            .map(|&to| topology.label(to).to_string());
        let by_it: Vec<_> = by_it.collect();
        line = format!("{line:33}  ({} to {})", topology.label(from), by_it.join(", "));
    }
    format!("{}\n", line.trim_end())
}

/// All of a few names, else the first and the last.
fn names(topology: &Topology, ids: &[VertexId]) -> String {
    let name = |id: &VertexId| topology.label(*id).to_string();
    match ids {
        [first, .., last] if ids.len() > 6 => format!("{} … {}", name(first), name(last)),
        ids => ids.iter().map(name).collect::<Vec<_>>().join(", "),
    }
}

/// The matrix within the first host, and of how many others it is the matrix as well.
fn one_host(topology: &Topology, paths: &Paths) -> String {
    let hosts = topology.hosts().len() as u32;
    if hosts < 2 {
        return String::new();
    }
    let within = |host: u32| {
        let ends = topology.gpus().iter().chain(topology.ports()).copied();
        let own: Vec<_> = ends.filter(|&id| topology.vertex(id).host == Some(host)).collect();
        (own.len() <= MOST_WITHIN).then(|| Matrix::among(topology, paths, &own))
    };
    let Some(first) = within(0).filter(|first| first.heads().len() > 1) else {
        return String::new();
    };
    let is_like = |host: &u32| within(*host).is_some_and(|other| other.rows() == first.rows());
    let alike = (1..hosts).filter(is_like).count();
    let others = match alike as u32 + 1 == hosts {
        true => format!(" (the other {alike} alike)"),
        false => format!(" ({alike} others alike)"),
    };
    format!("Within host 0{others}:\n{first}\nAll together:\n")
}

/// The most ends of a host whose matrix is shown.
const MOST_WITHIN: usize = 48;
