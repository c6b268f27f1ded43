//! Owns `crosstie plan` without a command: which machine is asked for, and whether it can be planned for.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use crosstie_ir::Collective;
use crosstie_planner::cost::Tune;
use crosstie_planner::explain::{Look, OPERATIONS, Refused, SIZES, Scheme, Untuned};
use crosstie_planner::graph::{GraphFile, Unwritable};
use crosstie_planner::search::{Node, SearchError, Swap};
use crosstie_topo::{Rule, Topology, VertexId, lint};

use super::cluster::Cluster;
use super::{svg, verbs};
use crate::args::{PlanFormat, PlanPxn, SearchArgs};
use crate::exit::{Exit, Failure};
use crate::kind::Kind;
use crate::topo::machine::Machine;
use crate::tune::read_table;

/// Runs the command.
pub fn run(args: &SearchArgs) -> Result<Exit, Failure> {
    let cluster = Cluster::of(machine(args.topo.as_deref())?, args)?;
    let kinds = cluster.kinds(args.gpus())?;
    let scheme = Scheme::of(&kinds, &cluster.kind_of, args.pxn != PlanPxn::Off);
    let mut scheme = scheme.map_err(|error| refused(error, &kinds))?;
    if let Some(file) = &args.graph {
        scheme = by_graph(scheme, file)?;
    }
    if let Some(file) = &args.tune {
        let table = table(file)?;
        let tuned = scheme.tuned(&crate::file::shown(file), &table);
        scheme = tuned.map_err(|error| match error {
            Untuned::Refused(error) => refused(error, &kinds),
            Untuned::OtherLinks { .. } => Failure::usage(
                format!("--tune {}: {error}", crate::file::shown(file)),
                "leave --tune out: over such links a model decides",
            ),
        })?;
    }
    if !args.operations.is_empty() || !args.sizes.is_empty() {
        return choices(scheme, args);
    }
    let shown = match if args.json { PlanFormat::Json } else { args.format } {
        PlanFormat::Text => {
            let color = crate::args::color(args.color, io::stdout().is_terminal());
            let needs = verbs::text(&scheme, args.pxn)?;
            scheme.text(Look { color, full: args.full }) + &needs + past_relays(&scheme, args.pxn)
        }
        PlanFormat::Svg => svg::svg(&scheme),
        PlanFormat::Json => {
            let mut object = scheme.json();
            object["verbs"] = verbs::object(&scheme, args.pxn)?;
            format!("{object}\n")
        }
        PlanFormat::Graph => graph(&scheme)?,
    };
    print(&shown)
}

/// What is otherwise than with PXN on.
fn past_relays(scheme: &Scheme<'_>, pxn: PlanPxn) -> &'static str {
    match pxn == PlanPxn::Auto && scheme.routes.iter().any(|way| way.relay.is_some()) {
        true => {
            "\nPXN auto: messages longer than relays pay for go past them, wherever that crosses no rail.\n"
        }
        false => "",
    }
}

fn print(shown: &str) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
    written.map(|()| Exit::Good).map_err(|e| Failure::host("write the plan", e))
}

/// How the operations that are asked for are carried out at the sizes that are.
fn choices(mut scheme: Scheme<'_>, args: &SearchArgs) -> Result<Exit, Failure> {
    let asked = |operation: &Collective| {
        let mut names = args.operations.iter();
        args.operations.is_empty() || names.any(|name| name == operation.name())
    };
    let sizes = if args.sizes.is_empty() { &SIZES[..] } else { &args.sizes };
    let counts = &scheme.counts;
    let at = |operation| sizes.iter().map(move |&bytes| counts.at(operation, bytes));
    scheme.counts.chosen = OPERATIONS.into_iter().filter(asked).flat_map(at).collect();
    match if args.json { PlanFormat::Json } else { args.format } {
        PlanFormat::Text => {
            let color = crate::args::color(args.color, io::stdout().is_terminal());
            print(&scheme.choices_text(Look { color, full: args.full }))
        }
        PlanFormat::Json => {
            let mut object = scheme.json();
            const TOLD: [&str; 8] = [
                "schema",
                "nodes",
                "ranks",
                "pxn",
                "fingerprint",
                "warnings",
                "choices_over",
                "choices",
            ];
            if let Some(object) = object.as_object_mut() {
                object.retain(|key, _| TOLD.contains(&&**key));
            }
            print(&format!("{object}\n"))
        }
        PlanFormat::Svg | PlanFormat::Graph => {
            let remedy = "leave --op and --size out, or give --format text or json";
            Err(Failure::usage("algorithms have no form as a picture or graph file", remedy))
        }
    }
}

/// The plan with a graph file's rings and trees.
fn by_graph<'a>(scheme: Scheme<'a>, file: &Path) -> Result<Scheme<'a>, Failure> {
    let remedy = "--graph takes what NCCL_GRAPH_DUMP_FILE or --format graph wrote for this machine";
    let wrong = |error: &dyn Display| {
        Failure::usage(format!("--graph {}: {error}", crate::file::shown(file)), remedy)
    };
    let bytes = crate::file::read(file).map_err(|error| wrong(&error))?;
    match Kind::of(&bytes) {
        // XML of another kind than those that are known is told by its first element.
        Kind::Graph => {}
        Kind::Topology if bytes.starts_with(b"<") && !is_system(&bytes) => {}
        other => return Err(other.refusal("--graph", file, Kind::Graph.name())),
    }
    if scheme.kinds.len() > 1 {
        let remedy = "leave --lost out, or lose it on all nodes";
        return Err(Failure::usage(
            "--graph: a graph file is of one node, and nodes differ",
            remedy,
        ));
    }
    let graphs = GraphFile::read(&bytes).map_err(|error| wrong(&error))?;
    scheme.by_graph(&graphs).map_err(|error| wrong(&error))
}

fn is_system(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains("<system")
}

/// What NCCL reads; what it cannot say is told beside it.
fn graph(scheme: &Scheme<'_>) -> Result<String, Failure> {
    let file = match scheme.kinds.len() {
        1 => GraphFile::of(&scheme.rings, &scheme.node),
        kinds => Err(Unwritable::Kinds { kinds }),
    };
    let file = file.map_err(|error| {
        Failure::usage(format!("--format graph: {error}"), "--format json has all of it")
    })?;
    if !matches!(scheme.rings.swap, Swap::None | Swap::Pairs) {
        // Nobody reads it: the file itself is whole.
        let _ = writeln!(
            io::stderr(),
            "crosstie: a graph file is of one node: NCCL swaps rails in pairs on {} nodes, an odd number, and crosses rails at the last",
            scheme.nodes
        );
    }
    Ok(file.to_string())
}

/// The times of a tune file.
fn table(file: &Path) -> Result<Tune, Failure> {
    read_table(file).map_err(|what| {
        Failure::usage(
            format!("--tune {}: {what}", crate::file::shown(file)),
            "give a file that `crosstie tune --out` wrote",
        )
    })
}

fn machine(file: Option<&Path>) -> Result<Topology, Failure> {
    const REMEDY: &str =
        "--topo takes an NCCL topology file, such as those of topology/, or a captured machine";
    let machine =
        file.map_or_else(Machine::here, |file| Machine::of_option("--topo", file, REMEDY))?;
    let topology = machine.topology;
    if topology.gpus().is_empty() && topology.ports().is_empty() {
        let remedy = "--topo FILE plans for a machine of a file: topology/dgx-h100.xml for one";
        return Err(Failure::usage("the machine has no GPU and no NIC to plan for", remedy));
    }
    // A plan names devices by their numbers.
    if let Some(twice) = lint(&topology).iter().find(|it| it.rule == Rule::DuplicateNumber) {
        return Err(Failure::usage(&twice.evidence, &twice.remedy));
    }
    Ok(topology)
}

/// The search's refusal, with the names of what it is about.
fn refused(error: Refused, kinds: &[Node<'_>]) -> Failure {
    let lint = "`crosstie topo lint FILE` tells what is wrong with a file";
    match error {
        Refused::Search(SearchError::Apart { kind }) if (kind as usize) < kinds.len() => {
            let node = &kinds[kind as usize];
            let (pair, topology) = (apart(node), node.topology);
            let name = |id| topology.label(id).to_string();
            let who = pair
                .map_or("some ranks".to_owned(), |(a, b)| format!("{} and {}", name(a), name(b)));
            let remedy =
                format!("describe the links between them, or leave one out with --gpus; {lint}");
            Failure::usage(format!("no link leads from {who} to each other"), remedy)
        }
        Refused::Search(SearchError::NoNic { .. }) => Failure::usage(
            "the GPUs reach no NIC of 1 MB/s or more, so nothing joins the nodes",
            format!(
                "describe the machine's NICs and their speeds, or plan it alone: --nodes 1; {lint}"
            ),
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
