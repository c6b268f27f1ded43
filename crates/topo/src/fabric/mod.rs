//! Owns fabrics: nodes, leaves and spines, and the cables between them, as a file tells them in a few lines.
//!
//! ```toml
//! schema = 1
//! name = "two nodes, eight rails, a spine"
//! provenance = "…"
//!
//! [[nodes]]                 # node0, node1
//! name = "node"
//! count = 2
//! ports = 8                 # of each node
//! topology = "dgx-h100.xml" # what each node is; optional
//!
//! [[leaves]]                # leaf0 … leaf7
//! name = "leaf"
//! count = 8
//! ports = 64                # of each switch; optional
//!
//! [[spines]]
//! name = "spine"
//! count = 4
//!
//! [[cables]]                # from nodes to leaves
//! nodes = "node"
//! leaves = "leaf"
//! by = "rail"               # port p of a node to leaf p; "node": all its ports to one leaf
//! nodes_per_group = 2       # so many nodes share leaves; the next ones have the next leaves
//! mbit = 400000
//!
//! [[uplinks]]               # from each of the leaves to each of the spines
//! leaves = "leaf"
//! spines = "spine"
//! cables = 2
//! mbit = 400000
//! oversubscription = "1:4"  # of a full leaf; optional, and checked
//! ```

mod error;
mod lint;
mod picture;
mod show;
mod wiring;

pub use error::{FabricError, FabricFault};
pub use lint::lint;
pub use picture::svg;
pub use show::{text, ways};
pub use wiring::{Cable, Oversubscription, Reach, Uplink, Way, Wiring};

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::shown;
use crate::xml::Position;

/// The schema that this library reads and writes.
pub const SCHEMA: u32 = 1;

/// A fabric, as its file tells it. [`Fabric::wiring`] is every cable of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fabric {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// What people call it.
    pub name: String,
    /// Where the description comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// Nodes.
    pub nodes: Vec<NodeGroup>,
    /// Switches that nodes are cabled to.
    #[serde(default)]
    pub leaves: Vec<SwitchGroup>,
    /// Switches that leaves are cabled to.
    #[serde(default)]
    pub spines: Vec<SwitchGroup>,
    /// Cables from nodes to leaves.
    #[serde(default)]
    pub cables: Vec<Cabling>,
    /// Cables from leaves to spines.
    #[serde(default)]
    pub uplinks: Vec<Uplinks>,
}

/// Nodes that are alike. The nth, from 0, is called by the group's name and n.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeGroup {
    /// Their common name.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Ports of each.
    pub ports: u32,
    /// The file that describes each, beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
}

/// Switches that are alike, named likewise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchGroup {
    /// Their common name.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Ports of each; checked where it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<u32>,
}

/// How the ports of nodes are dealt to leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Port p of each node to leaf p of its group: rails.
    Rail,
    /// All ports of a node to the one leaf of its group: a classic tree.
    Node,
}

/// Cables from a group of nodes to a group of leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cabling {
    /// The nodes' name.
    pub nodes: String,
    /// The leaves' name.
    pub leaves: String,
    /// How ports are dealt out.
    pub by: By,
    /// How many nodes share leaves.
    pub nodes_per_group: u32,
    /// What each cable carries each way, Mb/s.
    pub mbit: u64,
}

/// Cables from each of a group of leaves to each of a group of spines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplinks {
    /// The leaves' name.
    pub leaves: String,
    /// The spines' name.
    pub spines: String,
    /// Cables of each pair.
    pub cables: u32,
    /// What each cable carries each way, Mb/s.
    pub mbit: u64,
    /// What the nodes of a full leaf send, to what its uplinks carry, as `3:1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversubscription: Option<String>,
}

impl Fabric {
    /// Reads a fabric file, and checks that it can be built.
    ///
    /// # Errors
    ///
    /// Where it is no TOML, or not of this form, with line and column; or where its numbers do not fit
    /// each other, with the numbers.
    pub fn read(text: &str) -> Result<Self, FabricError> {
        let mut fabric: Self = toml::from_str(text).map_err(|e| {
            let at = e.span().map(|span| crate::xml::position(text, span.start));
            let fault = FabricFault::Syntax { what: shown(e.message()) };
            FabricError { at: at.unwrap_or(Position { line: 1, column: 1 }), fault }
        })?;
        fabric.names().for_each(|name| *name = shown(name));
        fabric.wiring()?;
        Ok(fabric)
    }

    /// All words that others show: names, and what refers to them.
    fn names(&mut self) -> impl Iterator<Item = &mut String> {
        let nodes = self.nodes.iter_mut().flat_map(|it| [Some(&mut it.name), it.topology.as_mut()]);
        let switches = self.leaves.iter_mut().chain(&mut self.spines).map(|it| &mut it.name);
        let cables = self.cables.iter_mut().flat_map(|it| [&mut it.nodes, &mut it.leaves]);
        let uplinks = self.uplinks.iter_mut().flat_map(|it| {
            [Some(&mut it.leaves), Some(&mut it.spines), it.oversubscription.as_mut()]
        });
        let nodes = nodes.chain(uplinks).flatten();
        nodes.chain(switches).chain(cables).chain([&mut self.name])
    }

    /// The fabric as a file; it reads back equal.
    ///
    /// # Errors
    ///
    /// For a fabric that TOML cannot hold: none that this crate reads.
    pub fn to_toml(&self) -> Result<String, FabricError> {
        toml::to_string(self).map_err(|e| {
            let fault = FabricFault::Syntax { what: e.to_string() };
            FabricError { at: Position::default(), fault }
        })
    }

    /// A rail-optimised fabric: `rails` leaves, each with one port of each node, below `spines` spines to
    /// each of which each leaf has `uplinks` cables; without spines, no rail reaches another.
    pub fn rail_optimised(nodes: u32, rails: u32, mbit: u64, spines: u32, uplinks: u32) -> Self {
        let switches = |name: &str, count| SwitchGroup { name: name.into(), count, ports: None };
        let (node, leaf, spine) = ("node", "leaf", "spine");
        let cables = Cabling {
            nodes: node.into(),
            leaves: leaf.into(),
            by: By::Rail,
            nodes_per_group: nodes,
            mbit,
        };
        let up = Uplinks {
            leaves: leaf.into(),
            spines: spine.into(),
            cables: uplinks,
            mbit,
            oversubscription: None,
        };
        Self {
            schema: SCHEMA,
            name: alloc::format!("{nodes} nodes, {rails} rails"),
            provenance: None,
            nodes: [NodeGroup { name: node.into(), count: nodes, ports: rails, topology: None }]
                .into(),
            leaves: [switches(leaf, rails)].into(),
            spines: if spines > 0 { [switches(spine, spines)].into() } else { Vec::new() },
            cables: [cables].into(),
            uplinks: if spines > 0 { [up].into() } else { Vec::new() },
        }
    }
}
