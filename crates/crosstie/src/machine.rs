//! Owns the machine that a world's nodes are, as a file describes it: which of its devices a rank plays,
//! and on which rail that puts it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crosstie_ir::Rank;
use crosstie_planner::Nodes;
use crosstie_topo::{Cluster, Paths, ReadError, TooLarge, Topology, TopologyFingerprint, VertexId};

/// A machine that ranks play: each a GPU of it, or where it has none, a NIC.
#[derive(Debug, Clone)]
pub struct Machine {
    file: PathBuf,
    gpus: usize,
    ports: usize,
    fingerprint: TopologyFingerprint,
    rails: u32,
    /// By device that a rank can play: its rail.
    rail_of: Vec<u32>,
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
    /// It is too large.
    #[error(transparent)]
    TooMany(#[from] TooLarge),
    /// It describes several hosts.
    #[error("it describes {0} hosts, and a node is one: give the file of one of them")]
    Hosts(usize),
    /// There is nothing to play.
    #[error("it has neither a GPU nor a NIC that a rank could play")]
    Nothing,
}

/// More than any topology has: the reader refuses longer ones by their length.
const MOST_BYTES: u64 = 65 << 20;

impl Machine {
    /// The machine that an NCCL topology file describes.
    ///
    /// ```
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/dgx-h100.xml");
    /// let machine = crosstie::Machine::read(file)?;
    /// assert_eq!((machine.devices(), machine.rails()), (8, 8));
    /// # Ok::<(), crosstie::MachineError>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such file, it is no topology, that of several hosts, or has nothing to play.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, MachineError> {
        let file = file.as_ref();
        let mut bytes = Vec::new();
        File::open(file)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Self::of(&Topology::read_bytes(&bytes)?, file.to_owned())
    }

    fn of(topology: &Topology, file: PathBuf) -> Result<Self, MachineError> {
        if topology.hosts().len() > 1 {
            return Err(MachineError::Hosts(topology.hosts().len()));
        }
        let on_rails = crosstie_topo::Rails::of(topology);
        let rails = on_rails.len() as u32;
        let ports: Vec<(VertexId, u32)> = on_rails
            .iter()
            .zip(0..)
            .flat_map(|((_, ports), rail)| ports.iter().map(move |&port| (port, rail)))
            .collect();
        let rail_of = match topology.gpus() {
            [] => ports.iter().map(|&(_, rail)| rail).collect(),
            gpus => rails_of_gpus(topology, gpus, &ports, rails)?,
        };
        if rail_of.is_empty() {
            return Err(MachineError::Nothing);
        }
        Ok(Self {
            file,
            gpus: topology.gpus().len(),
            ports: ports.len(),
            // All nodes are this machine, whatever they are called.
            fingerprint: Cluster::new([("node".to_owned(), topology)], None).fingerprint(),
            rails,
            rail_of,
        })
    }

    /// How many ranks fill it: its GPUs, or where it has none, the NICs on its rails.
    ///
    /// ```
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/cpu-4nic.xml");
    /// assert_eq!(crosstie::Machine::read(file)?.devices(), 4);
    /// # Ok::<(), crosstie::MachineError>(())
    /// ```
    pub fn devices(&self) -> u32 {
        self.rail_of.len() as u32
    }

    /// How many rails it is on; 0 without a NIC.
    ///
    /// ```
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/hgx-h100-4nic.xml");
    /// assert_eq!(crosstie::Machine::read(file)?.rails(), 4);
    /// # Ok::<(), crosstie::MachineError>(())
    /// ```
    pub fn rails(&self) -> u32 {
        self.rails
    }

    /// What all ranks must agree on: of its content, not of the file's name.
    pub(crate) fn fingerprint(&self) -> String {
        self.fingerprint.to_string()
    }

    /// The rails of a world of such machines.
    pub(crate) fn rails_of(&self, nodes: &Nodes) -> crosstie_planner::Rails {
        let mut next = std::collections::BTreeMap::new();
        let ranks = (0..nodes.ranks()).map(|rank| {
            let local: &mut usize = next.entry(nodes.node_of(Rank(rank))).or_default();
            *local += 1;
            self.rail_of[(*local - 1) % self.rail_of.len()]
        });
        let ranks: Vec<u32> = ranks.collect();
        crosstie_planner::Rails::told(nodes, self.rails, &ranks)
    }
}

/// A GPU's rail is that of its own port, else of the nearest one that is on a rail at all.
fn rails_of_gpus(
    topology: &Topology,
    gpus: &[VertexId],
    ports: &[(VertexId, u32)],
    rails: u32,
) -> Result<Vec<u32>, TooLarge> {
    let paths = Paths::of(topology)?;
    let rail_of = |port| ports.iter().find(|(known, _)| *known == port).map(|&(_, rail)| rail);
    let all: Vec<VertexId> = ports.iter().map(|&(port, _)| port).collect();
    let rail = |(&gpu, place): (&VertexId, u32)| {
        let own = paths.own_port(topology, gpu, 0).and_then(rail_of);
        let nearest = || paths.nearest(gpu, &all).first().copied().and_then(rail_of);
        // What reaches no NIC at all shares those that there are.
        own.or_else(nearest).unwrap_or(place % rails.max(1))
    };
    Ok(gpus.iter().zip(0..).map(rail).collect())
}

/// From which file it is, and what it has.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, gpus, ports, rails, .. } = self;
        let name = file.file_name().unwrap_or(file.as_os_str()).display();
        write!(f, "{name} ({gpus} GPUs, {ports} NICs, {rails} rails)")
    }
}
