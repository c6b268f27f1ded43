//! Owns the worlds that run in a lab: on which node each rank is, and what it is told.

use std::io::{self, Write};

use crosstie_lab::{Cluster, LabError};

use crate::exit::Failure;
use crate::launch::Place;

/// Where rank 0 of a world listens, on rail 0 of node 0. Any port is free in a lab.
const FIRST_PORT: u16 = 29_400;
/// Below those that the kernel gives to sockets that ask for none.
const PORTS: u16 = 3000;
/// Names the addresses of a node's NICs, in the order of the rails, and so how many rails there are.
const NICS: &str = "CROSSTIE_NICS";
/// Limits what a rank offers to others as its addresses: to its own NIC.
const INTERFACE: &str = "CROSSTIE_INTERFACE";

/// What holds outside alone: where another world meets, and machines with other rails.
const WITHHELD: &[&str] = &["CROSSTIE_ID", "CROSSTIE_SECRET", TOPOLOGIES[0], TOPOLOGIES[1]];
const TOPOLOGIES: [&str; 2] = ["CROSSTIE_TOPO_FILE", "NCCL_TOPO_FILE"];

/// Says of topologies in the environment that they are withheld: where one is a flag, that is refused.
pub fn tell_of_what_is_withheld() {
    for name in TOPOLOGIES {
        if std::env::var_os(name).is_some_and(|value| !value.is_empty()) {
            let what = "has no effect: it describes nodes, but a lab has its own";
            // Nothing stands in the way when nobody reads it.
            let _ = writeln!(io::stderr(), "crosstie: {name} {what}");
        }
    }
}

/// A world that fills a cluster.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    cluster: &'a Cluster,
    port: u16,
}

impl<'a> World<'a> {
    /// One of a lab's worlds, which follow each other: each meets at a port of its own.
    pub fn new(cluster: &'a Cluster, number: u16) -> Self {
        Self { cluster, port: FIRST_PORT + number % PORTS }
    }

    /// Where its ranks are.
    pub fn places(&self) -> Result<Vec<Place>, Failure> {
        (0..self.cluster.description().ranks()).map(|rank| self.place(rank)).collect()
    }

    fn place(&self, rank: u32) -> Result<Place, Failure> {
        let lab = self.cluster.description();
        let number = lab.node_of(rank);
        let no_node = || LabError::Description(format!("rank {rank} has no node"));
        let node = self.cluster.node(number).ok_or_else(no_node)?;
        let root = format!("{}:{}", lab.address(0, 0), self.port);
        let mut told = vec![
            ("CROSSTIE_RANK", rank.to_string()),
            ("CROSSTIE_SIZE", lab.ranks().to_string()),
            ("CROSSTIE_NODE", node.name.clone()),
            ("CROSSTIE_ROOT", root),
            ("CROSSTIE_SECRET_FILE", self.cluster.secret_file().display().to_string()),
            // Programs that were written for torchrun look for these.
            ("LOCAL_RANK", (rank % lab.ranks_per_node).to_string()),
            ("LOCAL_WORLD_SIZE", lab.ranks_per_node.to_string()),
        ];
        if std::env::var_os(INTERFACE).is_none() {
            told.push((INTERFACE, lab.nic_name(lab.rail_of(rank))));
        }
        let nics: Vec<String> = lab.nics(number).iter().map(ToString::to_string).collect();
        told.push((NICS, nics.join(",")));
        Ok(Place { told, withheld: WITHHELD, node: Some(node) })
    }
}
