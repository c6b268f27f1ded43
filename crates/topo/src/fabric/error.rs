//! Owns what can be wrong with a fabric file.

use alloc::string::String;

use crate::fabric::{Oversubscription, SCHEMA};
use crate::xml::Position;

/// Why a text is no fabric, or none that could be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", Place(*at))]
pub struct FabricError {
    /// Where it is, in a file that is not of the form; 0, 0 where numbers do not fit each other.
    pub at: Position,
    /// What it is.
    pub fault: FabricFault,
}

struct Place(Position);

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0.line {
            0 => Ok(()),
            line => write!(f, "line {line}, column {}: ", self.0.column),
        }
    }
}

/// What is wrong with a fabric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FabricFault {
    /// It is no TOML, or not of the form.
    #[error("not a fabric: {what}; the form is shown by the files of topology/")]
    Syntax {
        /// What is wrong.
        what: String,
    },
    /// It is of another schema.
    #[error("schema {found}; this library reads schema {SCHEMA}")]
    Schema {
        /// The schema it names.
        found: u32,
    },
    /// Two groups have one name.
    #[error("two groups are called {name:?}; give each a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// A name that no group has.
    #[error("no {what} are called {name:?}; use the name of one of [[{what}]]")]
    Unknown {
        /// `nodes`, `leaves` or `spines`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A number is too large, or zero.
    #[error("{what} is {value}; give 1 to {limit}")]
    Number {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The largest possible.
        limit: u64,
    },
    /// There are too few leaves.
    #[error(
        "{nodes} of {ports} ports, {per_group} to a group, take {needed} leaves; {name:?} has {count}"
    )]
    Leaves {
        /// Nodes.
        nodes: u32,
        /// Ports of each.
        ports: u32,
        /// Nodes of a group.
        per_group: u32,
        /// Leaves that this takes.
        needed: u64,
        /// The leaves' name.
        name: String,
        /// How many there are.
        count: u32,
    },
    /// A switch has more cables than ports.
    #[error(
        "{name} has {cables} cables and {ports} ports; give it fewer nodes or uplinks, or more ports"
    )]
    Ports {
        /// The switch.
        name: String,
        /// Its cables.
        cables: u64,
        /// Its ports.
        ports: u32,
    },
    /// A port has two cables.
    #[error("port {port} of {node} has two cables; let one of [[cables]] name its nodes")]
    TwoCables {
        /// The node.
        node: String,
        /// The port.
        port: u32,
    },
    /// What the file says of oversubscription is not what its cables give.
    #[error("oversubscription of {name} is said to be {said}, and is {found} by its cables")]
    Oversubscription {
        /// The leaves' name.
        name: String,
        /// What is said.
        said: String,
        /// What it is.
        found: Oversubscription,
    },
}
