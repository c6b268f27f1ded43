//! Owns a cluster that stands: its namespaces, wired; and its world's secret.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::batch::Tools;
use crate::counters::{self, Counters};
use crate::description::Description;
use crate::error::LabError;
use crate::namespace::{Network, become_local, own_descriptor};
use crate::port::Port;
use crate::wiring::{self, Orders};

/// A cluster; it is gone when this value is dropped and no process is left in it.
#[derive(Debug)]
pub struct Cluster {
    description: Description,
    tools: Tools,
    nodes: Vec<Network>,
    /// The router's namespace is kept alive by it.
    _spine: Option<Network>,
    secret: File,
}

impl Cluster {
    /// Builds it in the calling process, which has called [`become_init`](crate::become_init): 0.1 s for 2
    /// nodes of 4 NICs.
    pub fn set_up(description: Description) -> Result<Self, LabError> {
        description.check()?;
        let tools = Tools::find()?;
        let nodes: Vec<Network> =
            (0..description.nodes).map(|_| Network::new()).collect::<Result<_, _>>()?;
        let spine = description.oversubscription.map(|_| Network::new()).transpose()?;
        let path = |network: &Network| network.path().display().to_string();
        let paths: Vec<String> = nodes.iter().map(path).collect();
        let spine_path = spine.as_ref().map(path);
        tools.carry_out(&wiring::fabric(&description, &paths, spine_path.as_deref()))?;
        for (number, node) in (0..).zip(&nodes) {
            let orders = wiring::node(&description, number);
            node.inside(|| tools.carry_out(&orders))?;
        }
        if let Some(spine) = &spine {
            spine.inside(|| tools.carry_out(&wiring::spine(&description)))?;
        }
        Ok(Self { description, tools, nodes, _spine: spine, secret: new_secret()? })
    }

    /// What it was built from.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// How a process of the lab gets into node `number`; `None` where there is no such node.
    pub fn node(&self, number: u32) -> Option<Node> {
        let network = self.nodes.get(number as usize)?;
        Some(Node { namespace: network.path(), name: self.description.node_name(number) })
    }

    /// Runs `work` in a thread inside the network of node `number`; processes that it starts are there too.
    pub fn inside<T: Send>(
        &self,
        number: u32,
        work: impl FnOnce() -> Result<T, LabError> + Send,
    ) -> Result<T, LabError> {
        let node = self.nodes.get(number as usize);
        let none = || LabError::Description(format!("there is no node {number}"));
        node.ok_or_else(none)?.inside(work)
    }

    /// Cuts the cable at a port of a leaf, or joins it again. The calling thread must be one of the process
    /// that set the cluster up.
    pub fn switch(&self, port: Port, up: bool) -> Result<(), LabError> {
        port.check(&self.description)?;
        let ip = vec![format!("link set {port} {}", if up { "up" } else { "down" })];
        self.tools.carry_out(&Orders { ip, ..Orders::default() })
    }

    /// Where the processes of this lab, and nobody else, can read a secret that was made for it.
    pub fn secret_file(&self) -> PathBuf {
        own_descriptor(&self.secret)
    }

    /// What every NIC, leaf port and uplink has carried since they were made.
    pub fn counters(&self) -> Result<Counters, LabError> {
        let nics = (0..self.description.nodes).map(|node| self.inside(node, counters::read));
        let nics = nics.collect::<Result<Vec<_>, _>>()?;
        Ok(Counters::pick(&self.description, &nics, &counters::read()?))
    }
}

/// A node, as another process of the lab is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The path of its network namespace.
    pub namespace: PathBuf,
    /// Its name, as host name too.
    pub name: String,
}

impl Node {
    /// Moves the calling process, which has one thread, into the node, for good.
    pub fn enter(&self) -> Result<(), LabError> {
        become_local(Path::new(&self.namespace), &self.name)
    }
}

/// 256 random bits as text, in memory that has no name.
fn new_secret() -> Result<File, LabError> {
    let failed = |e: std::io::Error| LabError::host("make a secret", e);
    let mut bits = [0; 32];
    let length = getrandom(&mut bits[..], GetRandomFlags::empty()).map_err(|e| failed(e.into()))?;
    if length < bits.len() {
        return Err(failed(std::io::Error::other("too little randomness")));
    }
    let text: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = memfd_create("secret", MemfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let mut file = File::from(file);
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(file)
}
