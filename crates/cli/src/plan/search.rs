//! Owns `crosstie plan` without a command: which machine is asked for, and whether it can be planned for.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use crosstie_planner::explain::{Look, Refused, Scheme, numbers};
use crosstie_planner::search::{Node, SearchError, device};
use crosstie_topo::{Topology, VertexId};

use super::svg;
use crate::args::{OnOff, PlanFormat, SearchArgs};
use crate::exit::{Exit, Failure};
use crate::launch::MOST_RANKS;
use crate::topo::machine::Machine;

/// Runs the command.
pub fn run(args: &SearchArgs) -> Result<Exit, Failure> {
    let topology = machine(args.topo.as_deref())?;
    let node = node(&topology, &args.gpus)?;
    check_size(args.nodes, node.members.len())?;
    let kind_of = vec![0; args.nodes as usize];
    let scheme = Scheme::of(std::slice::from_ref(&node), &kind_of, args.pxn == OnOff::On);
    let scheme = scheme.map_err(|error| refused(error, &node))?;
    let shown = match if args.json { PlanFormat::Json } else { args.format } {
        PlanFormat::Text => {
            let color = crate::color(args.color, io::stdout().is_terminal());
            scheme.text(Look { color, full: args.full })
        }
        PlanFormat::Svg => svg::svg(&scheme),
        PlanFormat::Json => format!("{}\n", scheme.json()),
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
    written.map(|()| Exit::Good).map_err(|e| Failure::host("write the plan", e))
}

fn machine(file: Option<&Path>) -> Result<Topology, Failure> {
    let machine = file.map_or_else(Machine::here, Machine::of_file)?;
    let topology = machine.topology;
    if topology.gpus().is_empty() && topology.ports().is_empty() {
        let remedy = "--topo FILE plans for a machine of a file: topology/dgx-h100.xml for one";
        return Err(Failure::usage("the machine has no GPU and no NIC to plan for", remedy));
    }
    Ok(topology)
}

/// The node with ranks on these GPUs; on all, where none is named.
fn node<'a>(topology: &'a Topology, gpus: &[u32]) -> Result<Node<'a>, Failure> {
    let whole = Node::whole(topology);
    if gpus.is_empty() {
        return Ok(whole);
    }
    let number = |&gpu: &VertexId| device(topology, gpu);
    let there: BTreeSet<u32> = topology.gpus().iter().filter_map(number).collect();
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
    Ok(whole.with_gpus(gpus))
}

fn check_size(nodes: u32, each: usize) -> Result<(), Failure> {
    let most = MOST_RANKS / (each as u32).max(1);
    if nodes == 0 {
        return Err(Failure::usage(
            "--nodes 0: there is nothing to plan",
            "give --nodes 1 or more",
        ));
    }
    if nodes > most {
        let message = format!(
            "--nodes {nodes} of {each} ranks each; {MOST_RANKS} ranks are planned for at most"
        );
        return Err(Failure::usage(message, format!("give --nodes {most} or less")));
    }
    Ok(())
}

/// The search's refusal, with the names of what it is about.
fn refused(error: Refused, node: &Node<'_>) -> Failure {
    let (topology, lint) =
        (node.topology, "`crosstie topo lint FILE` tells what is wrong with a file");
    match error {
        Refused::Search(SearchError::Apart { .. }) => {
            let pair = apart(node);
            let name = |id| topology.label(id).to_string();
            let who = pair
                .map_or("some ranks".to_owned(), |(a, b)| format!("{} and {}", name(a), name(b)));
            let remedy =
                format!("describe the links between them, or leave one out with --gpus; {lint}");
            Failure::usage(format!("no link leads from {who} to each other"), remedy)
        }
        Refused::Search(SearchError::NoNic { .. }) => Failure::usage(
            "the GPUs reach no NIC, so nothing joins the nodes",
            format!("describe the machine's NICs, or plan it alone: --nodes 1; {lint}"),
        ),
        error => Failure::usage(error, lint),
    }
}

/// Two ranks' devices of which one does not reach the other.
fn apart(node: &Node<'_>) -> Option<(VertexId, VertexId)> {
    let (topology, members) = (node.topology, &node.members);
    members.iter().find_map(|&from| {
        let tree = topology.paths_joined_by(from, |gpu| members.contains(&gpu));
        let lost = members.iter().find(|&&to| tree.to(to).is_none());
        lost.map(|&to| (from, to))
    })
}
