//! Owns what can be wrong with a description that is read: where, what was expected, what to do.

use alloc::string::String;

use crate::bus_id::BusId;
use crate::shown;
use crate::xml::Position;

/// Why a text is no topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {fault}; {}", at.line, at.column, fault.remedy())]
pub struct ReadError {
    /// Where it is.
    pub at: Position,
    /// What it is.
    pub fault: Fault,
}

/// What is wrong with a description. Texts that are quoted from it are cut to 60 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is longer than anything that a machine could need.
    #[error("the file has {bytes} bytes, at most {limit} are read")]
    Size {
        /// Its bytes.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// Elements are nested too deeply.
    #[error("elements are nested more than {limit} deep")]
    Depth {
        /// The most.
        limit: usize,
    },
    /// There are too many elements.
    #[error("there are more than {limit} elements")]
    Elements {
        /// The most.
        limit: usize,
    },
    /// An element has too many attributes.
    #[error("an element has more than {limit} attributes")]
    Attributes {
        /// The most.
        limit: usize,
    },
    /// The file uses a part of XML that topology files do not have.
    #[error("{part} is not part of a topology file")]
    Foreign {
        /// Which part.
        part: &'static str,
    },
    /// It is not text.
    #[error("a byte here is not UTF-8")]
    Encoding,
    /// It is not XML.
    #[error("not XML: {what}")]
    Syntax {
        /// What is wrong, and what was expected.
        what: String,
    },
    /// It is NCCL's other kind of file: a search's result, not a machine.
    #[error(
        "this is a graph file (NCCL_GRAPH_FILE, <graphs>), expected a topology file (<system>)"
    )]
    GraphFile,
    /// The outermost element is something else.
    #[error("the outermost element is <{found}>, expected <system>")]
    Root {
        /// Its name.
        found: String,
    },
    /// An attribute that must be there is not.
    #[error("<{element}> has no {attribute}, expected {expected}")]
    Missing {
        /// The element.
        element: String,
        /// The attribute.
        attribute: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// An attribute holds what it cannot.
    #[error("{attribute}={value:?} of <{element}>, expected {expected}")]
    Value {
        /// The element.
        element: String,
        /// The attribute.
        attribute: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A link ends at a device that is not there.
    #[error("<{element}> leads to {target}, expected the bus id of {expected} in this file")]
    Nowhere {
        /// The element.
        element: String,
        /// Where it leads.
        target: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A device lies below itself.
    #[error(
        "the device {bus_id} lies below itself, expected each bus id once on the way to the root"
    )]
    Cycle {
        /// Its bus id.
        bus_id: BusId,
    },
}

impl Fault {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Size { .. } | Self::Depth { .. } | Self::Elements { .. } => {
                "give the description of one machine or rack, as NCCL_TOPO_DUMP_FILE writes it"
            }
            Self::Attributes { .. } => "remove those that no program reads",
            Self::Foreign { .. } => "remove it",
            Self::Encoding => "save the file as UTF-8",
            Self::Syntax { .. } => "mend the file there, or write it anew with NCCL_TOPO_DUMP_FILE",
            Self::GraphFile => "give the file of NCCL_TOPO_FILE or NCCL_TOPO_DUMP_FILE instead",
            Self::Root { .. } => "give an NCCL topology file",
            Self::Missing { .. } => "add it",
            Self::Value { .. } => "correct it",
            Self::Nowhere { .. } => "describe that device, or remove the link",
            Self::Cycle { .. } => "give each device its own bus id",
        }
    }
}

/// At most 60 characters of a text that somebody else wrote, as they may be shown.
pub(crate) fn quote(text: &str) -> String {
    let end = text.char_indices().nth(60).map_or(text.len(), |(end, _)| end);
    let mut quoted = shown(text.get(..end).unwrap_or(text));
    if end < text.len() {
        quoted.push('…');
    }
    quoted
}
