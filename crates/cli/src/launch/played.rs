//! Owns how large a world is that plays a machine of a file.

use std::path::Path;

use crosstie::{Machine, MachineError};

use crate::exit::Failure;
use crate::kind::Kind;

/// As many ranks as any command starts.
pub const MOST_RANKS: u32 = 4096;

/// A file that no world can play: because it is another, or because something is wrong in it.
fn unread(file: &Path, error: &MachineError) -> Failure {
    let kind = crate::file::read(file).map(|bytes| Kind::of(&bytes));
    match kind {
        Ok(Kind::Topology | Kind::Capture) => Failure::usage(
            format!("--topo {}: {error}", crate::file::shown(file)),
            "`crosstie topo lint --file FILE` tells what is wrong with a topology file",
        ),
        Ok(other) => other.refusal("--topo", file, Kind::Topology.name()),
        Err(_) => Failure::usage(
            format!("--topo {}: {error}", crate::file::shown(file)),
            "give an NCCL topology file: topology/ has some, `crosstie topo --format xml` writes this machine's; or a captured machine",
        ),
    }
}

/// (ranks, nodes) of a world whose nodes are the machine of a file: as told; where nothing is told of ranks,
/// as many as fill the nodes; where nothing is told of nodes, as many as hold the ranks, else as many as the file has hosts,
/// or of a file of one `nodes_else`.
pub fn played(
    file: &Path,
    ranks: Option<u32>,
    nodes: Option<u32>,
    nodes_else: u32,
) -> Result<(u32, u32), Failure> {
    let machine = Machine::read(file).map_err(|error| unread(file, &error))?;
    let (devices, hosts) = (machine.devices(), machine.hosts());
    let hold = |ranks: u32| {
        let least = ranks.div_ceil(devices);
        (least..=least.max(hosts)).find(|&nodes| machine.suits(nodes)).unwrap_or(least)
    };
    let all = if hosts > 1 { hosts } else { nodes_else };
    let nodes = nodes.or(ranks.map(hold)).unwrap_or(all);
    if !machine.suits(nodes) {
        return Err(Failure::usage(
            format!(
                "--nodes {nodes} of {}, which describes {hosts} hosts",
                crate::file::shown(file)
            ),
            format!(
                "give --nodes {hosts}, a number that divides it, or a multiple; or the file of one host"
            ),
        ));
    }
    let places = nodes.saturating_mul(devices);
    let ranks = ranks.unwrap_or(places);
    if ranks > places {
        return Err(Failure::usage(
            format!("{ranks} ranks, but {nodes} node(s) of {machine} have places for {places}"),
            format!("give --ranks {places} or less, or more --nodes"),
        ));
    }
    if ranks > MOST_RANKS {
        return Err(Failure::usage(
            format!("{nodes} nodes of {machine} make {ranks} ranks; there may be {MOST_RANKS}"),
            format!("give --nodes {} or less", MOST_RANKS / devices),
        ));
    }
    Ok((ranks, nodes))
}
