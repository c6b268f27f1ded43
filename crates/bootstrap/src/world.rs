//! Owns what the ranks of a world know of each other after the meeting.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crosstie_net::{Secret, host_name};
use rustix::thread::{CpuSet, sched_getaffinity};
use serde::{Deserialize, Serialize};

use crate::node::node_key;
use crate::process::ProcessMark;

/// What one rank tells the others of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its rank.
    pub rank: u32,
    /// Its host's name, for messages.
    pub host: String,
    /// Its process id on that host.
    pub pid: u32,
    /// What tells that process from others of this number; none where the host does not say.
    #[serde(default)]
    pub process: Option<ProcessMark>,
    /// Where its listener can be reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// Ranks with equal keys are on one node, and can share memory.
    pub node_key: String,
    /// The processors that it may run on: bit `c % 64` of word `c / 64` for processor `c`; empty if unknown.
    pub cpus: Vec<u64>,
    /// Fingerprint of everything on which all ranks must agree.
    pub fingerprint: u64,
    /// The settings that all must share, one `name = value` a line, with a remark behind [`REMARK`](crate::REMARK): with them a disagreement is named. Only the
    /// meeting's host needs them; in the [`World`] they are empty.
    pub settings: String,
    /// A file that it has read for all; of rank 0 alone.
    pub read: Option<ReadForAll>,
    /// A number for this world alone, where ranks meet several times with one secret; of rank 0 alone.
    pub world: Option<u64>,
    /// The machine that it can describe, should it be asked.
    pub machine: Option<Machine>,
    /// Of which of the world's kinds that machine is; nobody but the meeting's host sets it.
    pub kind: Option<u32>,
    /// The addresses of that machine's NICs, as one rank told them: in the first record of each machine alone.
    pub nics: Vec<Option<IpAddr>>,
}

/// A file that one rank has read for all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadForAll {
    /// Its name, as that rank was told it.
    pub file: String,
    /// What it says, or why it cannot be used.
    pub content: Result<String, String>,
}

/// A machine that a rank can describe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Ranks that give the same name are on one machine, be they on one node or on several that it plays.
    pub name: String,
    /// Whether it is the rank's host, so that [`Record::cpus`] are its processors.
    pub is_host: bool,
}

impl Record {
    /// The record of this process as `rank`, reachable at `addresses`, without fingerprint and settings.
    pub fn of_this_process(rank: u32, addresses: Vec<SocketAddr>) -> Record {
        Record {
            rank,
            host: host_name(),
            pid: std::process::id(),
            process: ProcessMark::own(),
            addresses,
            node_key: node_key(),
            cpus: affinity(),
            fingerprint: 0,
            settings: String::new(),
            read: None,
            world: None,
            machine: None,
            kind: None,
            nics: Vec::new(),
        }
    }
}

fn affinity() -> Vec<u64> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    let mut words = Vec::new();
    for cpu in (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)) {
        words.resize(cpu / 64 + 1, 0);
        words[cpu / 64] |= 1 << (cpu % 64);
    }
    words
}

/// All ranks that met, and what they share.
#[derive(Clone, Debug)]
pub struct World {
    /// This process's rank, below `size`.
    pub rank: u32,
    /// Number of ranks.
    pub size: u32,
    /// The secret that admits to links between these ranks.
    pub secret: Secret,
    /// The record of each rank, by rank; `size` of them.
    pub records: Vec<Record>,
    /// The kinds of machines that its nodes are, each once, as the texts of their [`Description`](crate::Description)s.
    pub kinds: Arc<[String]>,
    /// How long each phase of the meeting took, in order.
    pub phases: Vec<(&'static str, Duration)>,
}

impl World {
    /// The node number of each rank, by rank. Nodes are numbered in the order of their lowest ranks.
    pub fn nodes(&self) -> Vec<u32> {
        let mut numbers = BTreeMap::new();
        let mut nodes = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            nodes.push(*numbers.entry(record.node_key.as_str()).or_insert(next));
        }
        nodes
    }

    /// The world of `ranks` of this one, in this order, for whose links another secret is derived; `purpose` names
    /// it among those made of this world. `None` where this rank is not among them, or one is none of this world.
    pub fn part(&self, ranks: &[u32], purpose: &str) -> Option<World> {
        let own = ranks.iter().position(|&rank| rank == self.rank)?;
        let record = |(new, &old): (u32, &u32)| {
            let record = self.records.get(usize::try_from(old).ok()?)?;
            Some(Record { rank: new, ..record.clone() })
        };
        let records = (0..).zip(ranks).map(record).collect::<Option<Vec<Record>>>()?;
        Some(World {
            rank: u32::try_from(own).ok()?,
            size: u32::try_from(ranks.len()).ok()?,
            secret: self.secret.derive(purpose),
            records,
            kinds: Arc::clone(&self.kinds),
            phases: Vec::new(),
        })
    }

    /// The host of `rank`, for messages; `?` for a rank outside the world.
    pub fn host(&self, rank: u32) -> &str {
        let record = usize::try_from(rank).ok().and_then(|rank| self.records.get(rank));
        record.map_or("?", |record| &record.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(node_keys: &[&str]) -> World {
        let record = |(rank, key): (usize, &&str)| Record {
            node_key: (*key).to_owned(),
            ..Record::of_this_process(rank as u32, Vec::new())
        };
        World {
            rank: 0,
            size: node_keys.len() as u32,
            secret: Secret::from_bytes([0; 32]),
            records: node_keys.iter().enumerate().map(record).collect(),
            kinds: Arc::default(),
            phases: Vec::new(),
        }
    }

    #[test]
    fn nodes_are_numbered_by_first_appearance_however_they_interleave() {
        assert_eq!(world(&["b", "a", "b", "c", "a"]).nodes(), [0, 1, 0, 2, 1]);
        assert_eq!(world(&["x"]).nodes(), [0]);
    }

    #[test]
    fn a_part_is_numbered_in_its_own_order_and_has_a_secret_of_its_own() {
        let world = world(&["a", "b", "c"]);
        let part = world.part(&[2, 0], "x").unwrap();
        assert_eq!((part.rank, part.size), (1, 2));
        let who: Vec<_> = part.records.iter().map(|r| (r.rank, r.node_key.as_str())).collect();
        assert_eq!(who, [(0, "c"), (1, "a")]);
        assert_ne!(part.secret, world.secret);
        assert_ne!(part.secret, world.part(&[2, 0], "y").unwrap().secret);
        assert!(world.part(&[1, 2], "x").is_none() && world.part(&[0, 3], "x").is_none());
    }

    #[test]
    fn the_host_of_a_rank_outside_the_world_is_unknown() {
        let world = world(&["a"]);
        assert_eq!((world.host(0), world.host(1)), (host_name().as_str(), "?"));
    }

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(affinity().iter().any(|&word| word != 0));
    }
}
