//! Owns the machine that a world's nodes are, as a file describes it: and which of its devices a rank
//! plays.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crosstie_planner::Nodes;
use crosstie_planner::search::Node;
use crosstie_probe::{Captured, Malformed, Pipes, assemble, read_file};
use crosstie_topo::{Cluster, Paths, ReadError, TooLarge, Topology, TopologyFingerprint, VertexId};

use crate::topology::seats::Seats;

/// A machine that ranks play: each a GPU of it, or where it has none, a NIC. A file that describes several hosts
/// describes several machines: nodes play one after another, and then the first again.
#[derive(Debug, Clone)]
pub struct Machine {
    file: PathBuf,
    /// The one of it.
    topology: Arc<[Topology]>,
    fingerprint: TopologyFingerprint,
    rails: u32,
    hosts: Vec<Host>,
}

/// One of a file's hosts.
#[derive(Debug, Clone)]
struct Host {
    gpus: usize,
    ports: usize,
    /// The devices that ranks can play.
    devices: Vec<VertexId>,
}

/// Why a file describes no machine that ranks could play.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    File(#[from] io::Error),
    /// It is no topology.
    #[error(transparent)]
    Topology(#[from] ReadError),
    /// It is a captured machine that was cut or changed.
    #[error(transparent)]
    Captured(#[from] Malformed),
    /// It is too large.
    #[error(transparent)]
    TooMany(#[from] TooLarge),
    /// There is nothing to play.
    #[error("it has neither a GPU nor a NIC that a rank could play")]
    Nothing,
    /// One of its hosts has nothing to play.
    #[error("host {0} of it has neither a GPU nor a NIC that a rank could play")]
    NothingOn(usize),
}

impl Machine {
    /// The machine that an NCCL topology file describes, or that `crosstie topo --capture` captured.
    ///
    /// ```
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/dgx-h100.xml");
    /// let machine = crosstie::Machine::read(file)?;
    /// assert_eq!((machine.devices(), machine.rails()), (8, 8));
    /// # Ok::<(), crosstie::MachineError>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such file, it is no topology, is too large, or has nothing to play.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, MachineError> {
        let file = file.as_ref();
        let bytes = read_file(file, Pipes::Refused)?;
        let topology = match std::str::from_utf8(&bytes) {
            Ok(text) if Captured::is_begun(text) => {
                let facts = text.parse::<Captured>()?.facts()?;
                Topology::from_document(assemble(&facts).document)?
            }
            _ => Topology::read_bytes(&bytes)?,
        };
        Self::of(topology, file.to_owned())
    }

    fn of(topology: Topology, file: PathBuf) -> Result<Self, MachineError> {
        // The planner is to find the paths too: what it cannot plan for is refused at once.
        Paths::of(&topology)?;
        let node = Node::whole(&topology);
        let rails = node.rails.iter().map(|(rail, _)| rail + 1).max().unwrap_or(0);
        let hosts = 0..topology.hosts().len().max(1) as u32;
        let hosts: Vec<Host> = hosts.map(|host| Host::of(&node, host)).collect();
        match hosts.iter().position(|host| host.devices.is_empty()) {
            Some(_) if hosts.len() == 1 => return Err(MachineError::Nothing),
            Some(empty) => return Err(MachineError::NothingOn(empty)),
            None => {}
        }
        // All nodes are this machine, whatever they are called.
        let fingerprint = Cluster::new([("node".to_owned(), &topology)], None).fingerprint();
        let topology = [topology].into();
        Ok(Self { file, topology, fingerprint, rails, hosts })
    }

    /// How many ranks fill a node that plays it: its GPUs, or where it has none, the NICs on its rails; of several hosts
    /// those of the least.
    ///
    /// ```
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/cpu-4nic.xml");
    /// assert_eq!(crosstie::Machine::read(file)?.devices(), 4);
    /// # Ok::<(), crosstie::MachineError>(())
    /// ```
    pub fn devices(&self) -> u32 {
        self.hosts.iter().map(|host| host.devices.len()).min().unwrap_or(0) as u32
    }

    /// How many hosts the file describes: as many nodes play it, or a part of them, or several times as many.
    ///
    /// ```
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/nvl72.xml");
    /// let rack = crosstie::Machine::read(file)?;
    /// assert_eq!((rack.hosts(), rack.devices(), rack.rails()), (18, 4, 4));
    /// assert!(rack.suits(18) && rack.suits(6) && rack.suits(36) && !rack.suits(4));
    /// # Ok::<(), crosstie::MachineError>(())
    /// ```
    pub fn hosts(&self) -> u32 {
        self.hosts.len() as u32
    }

    /// Whether so many nodes can play it: all hosts, a part that divides their number, or several such files' worth.
    pub fn suits(&self, nodes: u32) -> bool {
        let hosts = self.hosts();
        nodes > 0 && (hosts.is_multiple_of(nodes) || nodes.is_multiple_of(hosts))
    }

    /// How many rails it is on; 0 without a NIC: then each rank of a node is taken for one.
    ///
    /// ```
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/hgx-h100-4nic.xml");
    /// assert_eq!(crosstie::Machine::read(file)?.rails(), 4);
    /// # Ok::<(), crosstie::MachineError>(())
    /// ```
    pub fn rails(&self) -> u32 {
        self.rails
    }

    /// The file, as it was named.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// What it says.
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology[0]
    }

    /// What all ranks must agree on: of its content, not of the file's name.
    pub(crate) fn fingerprint(&self) -> String {
        self.fingerprint.to_string()
    }

    /// What the ranks of a world of such machines play: node i its host i, its local rank l the device l of that.
    pub(crate) fn seats(&self, nodes: &Nodes) -> Seats {
        // By the node's number as given: its host, and the ranks of it so far.
        let mut places: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        let seats = nodes.assignment().iter().map(|&node| {
            let next = places.len() % self.hosts.len();
            let (host, local) = places.entry(node).or_insert((next, 0));
            let devices = &self.hosts[*host].devices;
            *local += 1;
            (0, devices[(*local - 1) % devices.len()])
        });
        let seats = seats.collect();
        Seats::new(Arc::clone(&self.topology), seats)
    }
}

impl Host {
    fn of(node: &Node<'_>, host: u32) -> Self {
        let topology = node.topology;
        let here = |id: &&VertexId| topology.vertex(**id).host.unwrap_or(0) == host;
        let on_rails = |id: &&VertexId| node.rails.rail_of(**id).is_some();
        Self {
            gpus: topology.gpus().iter().filter(here).count(),
            ports: topology.ports().iter().filter(here).filter(on_rails).count(),
            devices: node.members.iter().filter(here).copied().collect(),
        }
    }
}

/// From which file it is, and what it has.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.file.file_name().unwrap_or(self.file.as_os_str()).display();
        let Host { gpus, ports, .. } = &self.hosts[0];
        let nics = match (ports, self.rails) {
            (0, 0) => "no NIC: each rank of a node is taken for a rail".to_owned(),
            (ports, rails) => format!("{ports} NICs, {rails} rails"),
        };
        match self.hosts.len() {
            1 => write!(f, "{name} ({gpus} GPUs, {nics})"),
            hosts => write!(f, "a host of {name} ({hosts} hosts; {gpus} GPUs, {nics})"),
        }
    }
}
