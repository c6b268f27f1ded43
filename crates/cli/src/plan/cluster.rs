//! Owns the nodes that `crosstie plan` is asked about: how many, of how many kinds, with which GPUs.

use std::collections::BTreeSet;

use crosstie_planner::explain::numbers;
use crosstie_planner::search::{Node, device};
use crosstie_topo::{Topology, VertexId};

use super::lost::{check, without_nics};
use crate::args::{Part, SearchArgs};
use crate::exit::Failure;
use crate::launch::MOST_RANKS;

/// So many machines, of which some may have lost devices.
pub struct Cluster {
    /// By kind: the machine without the NICs that it has lost, and the numbers of the GPUs that it has lost.
    machines: Vec<(Topology, Vec<u32>)>,
    /// By node: its kind.
    pub kind_of: Vec<u32>,
}

impl Cluster {
    /// What the arguments ask for, each node a machine like this.
    pub fn of(machine: Topology, args: &SearchArgs) -> Result<Self, Failure> {
        if args.nodes == 0 {
            let remedy = "give --nodes 1 or more";
            return Err(Failure::usage("--nodes 0: there is nothing to plan", remedy));
        }
        // Before anything is made for each node; what is lost makes it smaller.
        let each = match args.gpus().len() {
            0 => Node::whole(&machine).members.len(),
            asked => asked,
        };
        check_size(args.nodes, each)?;
        check(&machine, &args.lost, args.nodes)?;
        let mut losses: Vec<[Vec<u32>; 2]> = Vec::new();
        let mut kind_of = Vec::new();
        for node in 0..args.nodes {
            let lost = |part: Part| -> Vec<u32> {
                let here = args.lost.iter().filter(|loss| loss.node.is_none_or(|it| it == node));
                let numbers = here.filter(|loss| loss.part == part).map(|loss| loss.number);
                numbers.collect::<BTreeSet<u32>>().into_iter().collect()
            };
            let lost = [lost(Part::Nic), lost(Part::Gpu)];
            let known = losses.iter().position(|other| *other == lost);
            kind_of.push(known.unwrap_or(losses.len()) as u32);
            if known.is_none() {
                losses.push(lost);
            }
        }
        let lessened = |[nics, gpus]: [Vec<u32>; 2]| match nics.is_empty() {
            true => Ok((machine.clone(), gpus)),
            false => without_nics(&machine, &nics).map(|machine| (machine, gpus)),
        };
        let machines = losses.into_iter().map(lessened).collect::<Result<_, _>>()?;
        Ok(Self { machines, kind_of })
    }

    /// Each kind, with ranks on the GPUs that are asked for, or on all, without those that are lost.
    pub fn kinds(&self, gpus: &[u32]) -> Result<Vec<Node<'_>>, Failure> {
        self.machines.iter().map(|(machine, lost)| node(machine, gpus, lost)).collect()
    }
}

fn check_size(nodes: u32, each: usize) -> Result<(), Failure> {
    let most = MOST_RANKS / (each as u32).max(1);
    if nodes > most {
        let message = format!(
            "--nodes {nodes} of {each} ranks each; {MOST_RANKS} ranks are planned for at most"
        );
        return Err(Failure::usage(message, format!("give --nodes {most} or less")));
    }
    Ok(())
}

fn node<'a>(topology: &'a Topology, gpus: &[u32], lost: &[u32]) -> Result<Node<'a>, Failure> {
    let whole = Node::whole(topology);
    if gpus.is_empty() && lost.is_empty() {
        return Ok(whole);
    }
    let number = |&gpu: &VertexId| device(topology, gpu);
    let all: Vec<u32> = topology.gpus().iter().filter_map(number).collect();
    check_gpus(gpus, &all)?;
    let asked = if gpus.is_empty() { &all } else { gpus };
    let left: Vec<u32> = asked.iter().copied().filter(|gpu| !lost.contains(gpu)).collect();
    if left.is_empty() {
        return Err(Failure::usage("--lost: no GPU is left to have a rank", "lose less"));
    }
    Ok(whole.with_gpus(&left))
}

/// That each GPU of the list is there, and named once.
fn check_gpus(gpus: &[u32], all: &[u32]) -> Result<(), Failure> {
    let there: BTreeSet<u32> = all.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for gpu in gpus {
        if !there.contains(gpu) {
            let all: Vec<u32> = there.iter().copied().collect();
            return Err(Failure::usage(
                format!("--gpus: the machine has no GPU {gpu}"),
                match &all[..] {
                    [] => "it has none: leave --gpus out, and ranks play its NICs".to_owned(),
                    _ => format!("it has {}", numbers(&all)),
                },
            ));
        }
        if !seen.insert(gpu) {
            let remedy = "name each GPU once: it has one rank";
            return Err(Failure::usage(format!("--gpus: GPU {gpu} is named twice"), remedy));
        }
    }
    Ok(())
}
