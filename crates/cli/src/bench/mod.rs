//! Owns `crosstie bench`: being one rank of a world that someone else started, or starting one.

mod buffer;
mod ceiling;
mod csv;
mod effect;
mod json;
mod local;
mod plot;
pub mod progress;
mod rank;
mod report;
mod sent;
pub mod sizes;
mod speeds;
mod table;
mod task;
mod timing;
mod wires;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use crosstie::{Communicator, Settings, Transport};
use crosstie_launch::{Explicit, Identity, Launcher, identify};

use crate::args::{BenchArgs, TransportArg};
use crate::exit::{Exit, Failure};
use crate::json::print_failure;
use crate::lab_facts::LabFacts;
use crate::launch::{Job, Place, node_name, refuse_empty_nodes};
use progress::Progress;
use report::Report;
pub use report::{Nic, PerCall};

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    refuse_foreign_flags(args)?;
    let environment = crosstie_launch::environment(std::env::vars_os());
    let identity = identify(&Explicit::default(), &environment).map_err(crosstie::Error::from)?;
    let done = match identity.launcher {
        Launcher::Alone => local::run(args),
        _ => as_one_rank(args, &identity),
    };
    // With events the launcher tells, and of other ranks' failures rank 0 tells as well.
    let tells = args.json && !args.events && identity.rank == 0;
    match &done {
        Err(failure) if tells && failure.exit() != Exit::OutputClosed => {
            print_failure(io::stdout(), &failure.summary())?;
        }
        _ => {}
    }
    done
}

/// Runs it in a lab, where each rank has its place, and prints to `out`; `line` is the command line that
/// `args` were read from.
pub fn run_in_lab(
    args: &BenchArgs,
    line: &[OsString],
    (lab, places): (&LabFacts, Vec<Place>),
    mut out: impl Write,
) -> Result<Exit, Failure> {
    let ranks = places.len() as u32;
    let told = [OsString::from("--lab"), lab.to_json()?.into()];
    let line: Vec<OsString> = line.iter().cloned().chain(told).collect();
    effect::warn_of_none(args, args.nodes);
    let job = |program| Ok(Job::at(places, program));
    let done = refuse_too_large(args, ranks)
        .and_then(|()| local::processes(args, &line, job, Box::new(&mut out)));
    match &done {
        Err(failure) if args.json && failure.exit() != Exit::OutputClosed => {
            print_failure(&mut out, &failure.summary())?;
        }
        _ => {}
    }
    done
}

/// Refuses what ranks in a lab of so many nodes, ranks and rails cannot do.
pub fn refuse_outside_of(args: &BenchArgs, [nodes, ranks, there]: [u32; 3]) -> Result<(), Failure> {
    refuse_foreign_flags(args)?;
    if args.transport == TransportArg::Loopback {
        return Err(Failure::usage(
            "--transport loopback joins threads of one process, but a lab starts processes",
            "choose auto or tcp",
        ));
    }
    if args.settings.topo.is_some() {
        return Err(Failure::usage(
            "--topo describes nodes, but a lab has its own",
            "leave --topo out, or start the benchmark without a lab",
        ));
    }
    if args.transport == TransportArg::Shm && nodes > 1 {
        return Err(Failure::usage(
            format!("--transport shm joins ranks of one node, but the lab has {nodes}"),
            "choose --transport auto or tcp, or a lab of one node",
        ));
    }
    if let Some(rails) = args.settings.rails.filter(|&rails| rails > there) {
        return Err(Failure::usage(
            format!("--rails {rails}, but the nodes of the lab have {there} NICs"),
            format!(
                "leave --rails out, or give it to the lab: crosstie lab --rails {rails} -- bench …"
            ),
        ));
    }
    sizes::rows(args, ranks).map(drop)
}

/// Refuses a report whose largest buffers, of so many bytes, do not fit into this host's memory.
pub fn refuse_report_too_large(ranks: u32, bytes: u64) -> Result<(), Failure> {
    buffer::refuse_bytes(ranks, bytes, "give smaller --sizes, or a lab of fewer ranks")
}

/// Refuses sizes that cannot be, or that do not fit into this host's memory.
fn refuse_too_large(args: &BenchArgs, ranks: u32) -> Result<(), Failure> {
    buffer::refuse_more_than_there_is(ranks, &sizes::rows(args, ranks)?)
}

fn refuse_foreign_flags(args: &BenchArgs) -> Result<(), Failure> {
    let refused = args.foreign.refused();
    if refused.is_empty() {
        return Ok(());
    }
    let flags: Vec<&str> = refused.iter().map(|(flag, _)| *flag).collect();
    let mut reasons: Vec<&str> = refused.iter().map(|(_, why)| *why).collect();
    reasons.dedup();
    Err(Failure::usage(
        format!("{}: no such choice here: {}", flags.join(", "), reasons.join("; ")),
        "leave nccl-tests' -g, -t, -c, -m, -G, -a and -z out (--ranks says how many ranks)",
    ))
}

/// Takes part in a world that someone else has started.
fn as_one_rank(args: &BenchArgs, identity: &Identity) -> Result<Exit, Failure> {
    refuse_other_world(args, identity)?;
    let mut settings = settings(args);
    if let Some(nodes) = args.nodes.filter(|_| identity.node.is_none()) {
        settings = settings.node(node_name(identity.rank, identity.size, nodes));
    }
    // What cannot be is refused before anyone waits for anyone.
    let rows = sizes::rows(args, identity.size)?;
    let here = identity.local.map_or(1, |(_, ranks)| ranks);
    buffer::refuse_more_than_there_is(here, &rows)?;
    if identity.rank == 0 && !args.events {
        effect::warn_of_none(args, args.nodes);
    }
    let comm = settings.connect()?;
    refuse_other_nodes(args, &comm, identity)?;
    // Open MPI gives its processes a terminal even where its own output is a pipe.
    let watched = identity.launcher == Launcher::Crosstie;
    let mut report = report(args, watched);
    // Events go to this very command, which starts all ranks on its own host.
    let here = if args.events { identity.size } else { here };
    rank::run(args, comm, here, Some(report.as_mut()))
}

/// `--ranks` and `--nodes` may repeat what the launcher says, not contradict it.
fn refuse_other_world(args: &BenchArgs, identity: &Identity) -> Result<(), Failure> {
    let (size, launcher) = (identity.size, identity.launcher.name());
    if let Some(ranks) = args.ranks.filter(|&ranks| ranks != size) {
        return Err(Failure::usage(
            format!("--ranks {ranks}, but {launcher} started {size} ranks"),
            "leave --ranks out: under a launcher, it alone says how many there are",
        ));
    }
    if args.transport == TransportArg::Loopback {
        return Err(Failure::usage(
            format!(
                "--transport loopback joins threads of one process, but {launcher} starts processes"
            ),
            "choose auto, shm or tcp, or start the benchmark without a launcher",
        ));
    }
    refuse_impossible_nodes(args, size)
}

/// Where ranks are told their nodes, `--nodes` may say no other number.
fn refuse_other_nodes(
    args: &BenchArgs,
    comm: &Communicator,
    identity: &Identity,
) -> Result<(), Failure> {
    let (there, launcher) = (comm.nodes(), identity.launcher.name());
    match args.nodes {
        Some(nodes) if nodes != there => Err(Failure::usage(
            format!("--nodes {nodes}, but the ranks are told to be on {there} (CROSSTIE_NODE)"),
            format!(
                "leave --nodes out, or give it to what starts the ranks: `crosstie run --nodes {nodes}` where it \
                 is {launcher}"
            ),
        )),
        _ => Ok(()),
    }
}

fn refuse_impossible_nodes(args: &BenchArgs, ranks: u32) -> Result<(), Failure> {
    refuse_empty_nodes(args.nodes.unwrap_or(1), ranks)?;
    match args.nodes {
        Some(nodes) if nodes > 1 && args.transport == TransportArg::Shm => Err(Failure::usage(
            format!(
                "--transport shm joins ranks of one node, but --nodes {nodes} emulates {nodes}"
            ),
            "choose --transport auto or tcp, or leave --nodes out",
        )),
        _ => Ok(()),
    }
}

/// What the flags say about the communicator; the rest is the library's to find.
fn settings(args: &BenchArgs) -> Settings {
    let settings = args.settings.applied_to(Communicator::builder());
    match args.transport {
        TransportArg::Auto => settings,
        TransportArg::Shm => settings.transport(Transport::SharedMemory),
        TransportArg::Tcp => settings.transport(Transport::Tcp),
        TransportArg::Verbs => settings.transport(Transport::Verbs),
        TransportArg::Loopback => settings.transport(Transport::Loopback),
    }
}

/// Where this rank would tell its findings, were it rank 0; `watched` if a terminal means a person.
fn report(args: &BenchArgs, watched: bool) -> Box<dyn Report + Send> {
    let progress = match args.events {
        true => Progress::Events { done: 0, of: 0 },
        false if watched && io::stderr().is_terminal() => Progress::bar(),
        false => Progress::Silent,
    };
    let color = crate::args::color(args.color, watched && io::stdout().is_terminal());
    let report: Box<dyn Report + Send> = match (args.json, args.csv) {
        (true, _) => Box::new(json::Json::new(io::stdout(), progress)),
        (_, true) => Box::new(csv::Csv::new(io::stdout(), progress)),
        _ => Box::new(table::Table::new(io::stdout(), progress, color)),
    };
    match &args.plot {
        Some(path) => Box::new(plot::Plotted::new(report, path.clone())),
        None => report,
    }
}
