//! Owns what is known of the machines that a world's nodes are: from where it is known, and the cluster that they make.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crosstie_bootstrap::{Description, World};
use crosstie_planner::Nodes;
use crosstie_probe::{Facts, PortNames, Source, Tree, assemble};
use crosstie_topo::xml::{Document, Element};
use crosstie_topo::{Cluster, Topology};

use crate::Machine;
use crate::settings::{Detect, Rails};

pub(crate) mod placement;
pub(crate) mod seats;

/// The machines that the nodes of a world are, the same value on all ranks.
///
/// Nodes are named by their numbers, in the order of their lowest ranks: hosts have names of their own, and a cluster
/// of like machines is the same one on other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldTopology {
    cluster: Cluster,
    source: TopologySource,
    /// How many machines the nodes are, of how many kinds, and the first of these in words.
    machines: usize,
    words: String,
}

/// From where the machines of a world are known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopologySource {
    /// A file, which is what [`Settings::topo_file`](crate::Settings::topo_file) names.
    File(PathBuf),
    /// One rank of each machine looked.
    Detected,
}

impl WorldTopology {
    /// What a file says, else what was detected; `None` where a node's machine is not known.
    pub(crate) fn of(rails: &Rails, world: &World, nodes: &Nodes) -> Option<Self> {
        match &rails.machine {
            Some(machine) => Some(Self::of_file(machine, nodes)),
            None => Self::detected(world, nodes),
        }
    }

    fn of_file(machine: &Machine, nodes: &Nodes) -> Self {
        let all = (0..nodes.count()).map(|node| (node_name(node), machine.topology()));
        Self {
            cluster: Cluster::new(all, None),
            source: TopologySource::File(machine.file().to_owned()),
            machines: nodes.count() as usize,
            words: machine.to_string(),
        }
    }

    fn detected(world: &World, nodes: &Nodes) -> Option<Self> {
        let kinds = read(&world.kinds)?;
        let kind_of = machines_of(world, nodes)?;
        let named = (0..).zip(&kind_of);
        let described: Option<Vec<_>> = named
            .map(|(node, (_, kind))| Some((node_name(node), kinds.get(*kind as usize)?)))
            .collect();
        let first = kinds.get(kind_of.first()?.1 as usize)?;
        let counted = |count: usize, what: &str| match count {
            0 => format!("no {what}"),
            1 => format!("1 {what}"),
            many => format!("{many} {what}s"),
        };
        let mut names: Vec<&str> = kind_of.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        Some(Self {
            cluster: Cluster::new(described?, None),
            source: TopologySource::Detected,
            machines: names.len(),
            words: format!(
                "{}, {}",
                counted(first.gpus().len(), "GPU"),
                counted(first.ports().len(), "NIC")
            ),
        })
    }

    /// Each node's machine, in canonical form, and the fingerprint of them all.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// From where they are known.
    pub fn source(&self) -> &TopologySource {
        &self.source
    }
}

/// `detected: 2 like machines (8 GPUs, 10 NICs)`, or the file and what it describes.
impl fmt::Display for WorldTopology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (machines, kinds, words) = (self.machines, self.cluster.kinds().len(), &self.words);
        match (&self.source, machines, kinds) {
            (TopologySource::File(_), ..) => write!(f, "{words}"),
            (_, 1, _) => write!(f, "detected: 1 machine ({words})"),
            (_, _, 1) => write!(f, "detected: {machines} like machines ({words} each)"),
            _ => {
                write!(f, "detected: {machines} machines of {kinds} kinds ({words} in the first)")
            }
        }
    }
}

/// So that the order of names is that of numbers.
fn node_name(node: u32) -> String {
    format!("{node:07}")
}

/// The kinds that were told; `None` if one is no topology, which what detection makes always is.
fn read(kinds: &[String]) -> Option<Vec<Topology>> {
    let read = |text: &String| Topology::read(text);
    let all = kinds.iter().map(read).collect::<Result<_, _>>();
    all.inspect_err(|error| tracing::warn!("a machine is described by no topology: {error}")).ok()
}

/// By node: the name of the machine that it is, and its kind. `None` where that is not known of all nodes, or ranks of one
/// are on several machines.
fn machines_of<'a>(world: &'a World, nodes: &Nodes) -> Option<Vec<(&'a str, u32)>> {
    let mut machines = vec![None; nodes.count() as usize];
    for (record, node) in world.records.iter().zip(world.nodes()) {
        let machine = (record.machine.as_ref()?.name.as_str(), record.kind?);
        let known = machines.get_mut(node as usize)?.get_or_insert(machine);
        if *known != machine {
            return None;
        }
    }
    machines.into_iter().collect()
}

/// What this rank's machine is, for the meeting, which is to be over at `deadline`: with these of its RDMA ports alone,
/// where somebody named them; `None` where nothing can be told.
pub(crate) fn describe(
    detect: &Detect,
    ports: Option<&PortNames>,
    deadline: Instant,
) -> Option<Description> {
    // All wait for this answer: a driver that hangs must leave them time to go on without its GPUs.
    let driver = deadline.saturating_duration_since(Instant::now()) / 4;
    let facts = match detect {
        Detect::Off => return None,
        Detect::Host => Facts::of_this_host(driver),
        Detect::Captured(root) => captured(root)?,
    };
    if let (Source::Silent { .. }, Some(why)) = (&facts.gpus.source, facts.gpus.source.why_not()) {
        tracing::warn!("{why}: its GPUs are not known");
    }
    let facts = match ports {
        Some(named) => facts.with_ports(named),
        None => facts,
    };
    let machine = assemble(&facts);
    for note in &machine.notes {
        tracing::debug!("detection: {note}");
    }
    let kind = machine.kind();
    let topology = Topology::from_document(kind.clone());
    let topology = topology.inspect_err(|error| tracing::warn!("detection: {error}")).ok()?;
    let nics = addresses(&machine.document, &topology);
    Some(Description { text: kind.to_string(), nics })
}

fn captured(root: &Path) -> Option<Facts> {
    let tree = Tree::at(root);
    let wrong = |error: &std::io::Error| {
        tracing::warn!("no machine can be read from {}: {error}", root.display());
    };
    Some(Facts::of_capture(&tree.inspect_err(wrong).ok()?))
}

/// Of each port of the topology, in its order, the address that its interface has on this host.
fn addresses(document: &Document, topology: &Topology) -> Vec<Option<IpAddr>> {
    let mut nets = Vec::new();
    ports(&document.root, &mut nets);
    let address = |dev: u32| {
        let dev = dev.to_string();
        let net = nets.iter().find(|net| net.attribute("dev") == Some(&dev))?;
        let name = net.attribute("interface").or(net.attribute("name"))?;
        crosstie_net::address_of(name)
    };
    let devs = topology.ports().iter().map(|&port| topology.port(port).map(|port| port.dev));
    devs.map(|dev| dev.and_then(address)).collect()
}

fn ports<'a>(element: &'a Element, found: &mut Vec<&'a Element>) {
    for inner in element.elements() {
        if inner.name == "net" {
            found.push(inner);
        }
        ports(inner, found);
    }
}
