//! Owns what can be wrong with a graph file: where, what is there, what was expected.

use alloc::string::String;

use crosstie_topo::Fault;
use crosstie_topo::xml::Position;

/// Why a text is no graph file, or not one of this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {fault}", at.line, at.column)]
pub struct GraphError {
    /// Where it is.
    pub at: Position,
    /// What it is.
    pub fault: GraphFault,
}

/// What is wrong with a graph file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphFault {
    /// It is no XML, or too much of it.
    #[error("{0}")]
    Xml(Fault),
    /// The outermost element is another's.
    #[error(
        "the outermost element is <{found}>, expected <graphs>, as NCCL_GRAPH_DUMP_FILE writes"
    )]
    Root {
        /// Its name.
        found: String,
    },
    /// An element stands where it has no place.
    #[error("<{found}> inside <{inside}>, expected {expected}")]
    Element {
        /// Its name.
        found: String,
        /// What it stands in.
        inside: &'static str,
        /// What may stand there.
        expected: &'static str,
    },
    /// An attribute that must be there is not.
    #[error("<{element}> has no {attribute}, expected {expected}")]
    Missing {
        /// The element.
        element: &'static str,
        /// The attribute.
        attribute: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// An attribute holds what it cannot.
    #[error("{attribute}={value:?} of <{element}>, expected {expected}")]
    Value {
        /// The element.
        element: &'static str,
        /// The attribute.
        attribute: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// Two graphs have one id.
    #[error("a second graph of id {id}, expected one of each id")]
    Twice {
        /// The id.
        id: u32,
    },
    /// A count is not what is counted.
    #[error("{what}: {found}, expected {expected}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// There are more channels than NCCL has room for.
    #[error("{found} channels, expected at most {most}")]
    TooMany {
        /// The channels.
        found: usize,
        /// The most.
        most: usize,
    },
    /// A channel has one NIC, or more than two.
    #[error("a channel with {found} <net>, expected none, or two: the way in and the way out")]
    Nets {
        /// How many.
        found: usize,
    },
    /// A device is not there, or no rank plays it.
    #[error("{what} {name}, expected {expected}: is the graph of another machine?")]
    Device {
        /// GPU or NIC.
        what: &'static str,
        /// Its number, and that of its host.
        name: String,
        /// Those that are there.
        expected: String,
    },
    /// A GPU is in a channel twice.
    #[error("GPU {name} a second time, expected each GPU once in a channel")]
    Again {
        /// Its number.
        name: String,
    },
    /// Nodes are to be joined, and the file has no way to the network.
    #[error(
        "a channel without <net>, expected two for {nodes} nodes: the graph was found for one node alone"
    )]
    NoNets {
        /// How many nodes are planned for.
        nodes: u32,
    },
    /// No way leads from one device of a channel to the next.
    #[error("nothing leads from {from} to {to}, expected neighbours that some link joins")]
    Apart {
        /// Whence.
        from: String,
        /// Where to.
        to: String,
    },
    /// There are no rings in it.
    #[error("no graph of id 0 with a channel, expected the rings, pattern 4")]
    NoRings,
}

/// Why a plan cannot be written as a graph file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unwritable {
    /// Ranks play NICs.
    #[error("the machine has no GPU, and NCCL's graphs order GPUs")]
    NoGpus,
    /// It would be longer than NCCL reads.
    #[error(
        "{channels} channels of {gpus} GPUs take {elements} elements, of which NCCL reads {most}"
    )]
    TooLong {
        /// Its channels.
        channels: usize,
        /// GPUs in each.
        gpus: usize,
        /// Elements in all.
        elements: usize,
        /// The most.
        most: usize,
    },
    /// Nodes differ, and a file is of one node.
    #[error("nodes are of {kinds} kinds, and a graph file is of one: give each kind alone")]
    Kinds {
        /// How many kinds there are.
        kinds: usize,
    },
}
