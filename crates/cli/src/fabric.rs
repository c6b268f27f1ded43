//! Owns the reading of fabrics that a command line names, and of the machines that they name in turn.

use std::path::Path;

use crosstie_topo::fabric::{Fabric, Wiring};
use crosstie_topo::{Topology, shown};

use crate::file;

/// The fabric that `bytes` of `path` hold, each of whose nodes' files, beside it, holds a machine; or why not.
pub fn read(path: &Path, bytes: &[u8]) -> Result<(Fabric, Wiring), String> {
    let text = String::from_utf8_lossy(bytes);
    let fabric = Fabric::read(&text).map_err(|error| error.to_string())?;
    let wiring = fabric.wiring().map_err(|error| error.to_string())?;
    for group in &fabric.nodes {
        if let Some(name) = &group.topology {
            machine(path, name).map_err(|error| {
                format!(
                    "topology {:?} of the nodes {:?}: {error}; name the file of one node, beside this one, or leave it out",
                    shown(name),
                    shown(&group.name)
                )
            })?;
        }
    }
    Ok((fabric, wiring))
}

fn machine(beside: &Path, name: &str) -> Result<(), String> {
    let path = beside.parent().unwrap_or(Path::new("")).join(name);
    let bytes = file::read(&path).map_err(|error| format!("cannot read it: {error}"))?;
    Topology::read_bytes(&bytes).map(drop).map_err(|error| error.to_string())
}
