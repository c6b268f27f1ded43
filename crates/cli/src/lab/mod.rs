//! Owns `crosstie lab`: a command of ours, run by ranks on the nodes of an emulated cluster.
//!
//! The command starts itself again as the first process of new namespaces. That one, by the same
//! arguments, builds the cluster and then does what the inner command says.

mod cables;
mod report;
mod traffic;
mod world;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process;
use std::sync::Arc;

use clap::Parser;
use crosstie_lab::{Cluster, Description, Ended, become_init, confine, require_tools};

use crate::args::{Cli, Command, LabArgs, LabCommand, LabInsideArgs, RunArgs};
use crate::exit::{Exit, Failure};
use crate::lab_facts::LabFacts;
use crate::{bench, run};
use cables::Cables;
use world::World;

/// Runs the command.
pub fn run(args: &LabArgs) -> Result<Exit, Failure> {
    // What cannot be is refused before anything is built.
    let cluster = args.description()?;
    cluster.check()?;
    if args.print_fabric {
        return print_fabric(&cluster);
    }
    let cables = Cables::of(&args.down, &args.up);
    cables.check(&cluster)?;
    match &args.own {
        Some(LabCommand::Report(args)) => {
            let largest = args.sizes.iter().max().copied().unwrap_or(0);
            let bytes = largest.saturating_mul(cluster.ranks().into());
            bench::refuse_report_too_large(cluster.ranks(), bytes)?;
            report::refuse_bending(&crosstie_launch::environment(std::env::vars_os()))?;
        }
        None => refuse_what_does_not_fit(&inner(&args.command)?, &cluster)?,
    }
    require_tools()?;
    world::tell_of_what_is_withheld();
    let this = std::env::current_exe().map_err(|e| Failure::host("find this program", e))?;
    let ended = confine(
        process::Command::new(this)
            .args(["lab-inside", &process::id().to_string(), "--"])
            .args(std::env::args_os().skip(1)),
    )?;
    Ok(match ended {
        Ended::Code(code) => Exit::Program(code),
        Ended::Interrupted(number) => Exit::Signal(number),
        Ended::Killed(number) => {
            let name = signal_hook::low_level::signal_name(number.into()).unwrap_or("unknown");
            let _ =
                writeln!(io::stderr(), "crosstie: the lab was killed by signal {number} ({name})");
            Exit::Signal(number)
        }
    })
}

/// Prints the file of which `--fabric` makes the same cluster.
fn print_fabric(cluster: &Description) -> Result<Exit, Failure> {
    let remedy = "see `crosstie lab --help`";
    let text = cluster.to_fabric()?.to_toml().map_err(|e| Failure::usage(e, remedy))?;
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map(|()| Exit::Good).map_err(|e| Failure::host("print the fabric", e))
}

/// The same command inside, as the first process of the lab's namespaces.
pub fn inside(args: &LabInsideArgs) -> Result<Exit, Failure> {
    become_init(args.parent)?;
    let Command::Lab(args) = parse(&args.line)? else { return Err(not_by_hand()) };
    let cluster = Cluster::set_up(args.description()?)?;
    if let Some(LabCommand::Report(args)) = &args.own {
        return report::run(args, &cluster);
    }
    let cluster = Arc::new(cluster);
    let before = cluster.counters()?;
    let changes = Cables::of(&args.down, &args.up).start(&cluster)?;
    let exit = command(&args, &cluster)?;
    changes.tell_of_those_to_come();
    if args.counters {
        let carried = cluster.counters()?.since(&before);
        let written = traffic::print(io::stderr(), cluster.description(), &carried);
        written.map_err(|e| Failure::host("print the counters", e))?;
    }
    Ok(exit)
}

/// What the inner command says, by the ranks of that world.
fn command(args: &LabArgs, cluster: &Cluster) -> Result<Exit, Failure> {
    let places = World::new(cluster, 0).places()?;
    match inner(&args.command)? {
        Command::Bench(bench) => {
            let lab = LabFacts::of(cluster.description());
            bench::run_in_lab(&bench, &args.command, (&lab, places), io::stdout())
        }
        Command::Run(run) => run::run_in_lab(run, places),
        _ => Err(not_by_hand()),
    }
}

/// The command that a lab's ranks are to run.
fn inner(line: &[OsString]) -> Result<Command, Failure> {
    match parse(line)? {
        command @ (Command::Bench(_) | Command::Run(_)) => Ok(command),
        _ => {
            let name = crate::file::shown(line.first().map_or(OsStr::new(""), |name| name));
            Err(Failure::usage(
                format!("a lab runs bench or run, not {name}"),
                "for another program: `crosstie lab -- run -- PROGRAM`",
            ))
        }
    }
}

fn parse(line: &[OsString]) -> Result<Command, Failure> {
    let line = [OsString::from("crosstie")].into_iter().chain(line.iter().cloned());
    // What is wrong with it, or its help, is printed, and that is the end.
    Ok(Cli::try_parse_from(line).unwrap_or_else(|error| error.exit()).command)
}

fn not_by_hand() -> Failure {
    Failure::usage("this hidden command is a step of `crosstie lab`", "see `crosstie lab --help`")
}

/// The inner command may repeat what the lab says of ranks and nodes, not contradict it.
fn refuse_what_does_not_fit(command: &Command, lab: &Description) -> Result<(), Failure> {
    let (ranks, nodes) = match command {
        Command::Bench(bench) => {
            bench::refuse_outside_of(bench, [lab.nodes, lab.ranks(), lab.rails])?;
            (bench.ranks, bench.nodes)
        }
        Command::Run(RunArgs { topo: Some(_), .. }) => {
            return Err(Failure::usage(
                "--topo describes nodes, but a lab has its own",
                "leave --topo out, or run the program without a lab",
            ));
        }
        Command::Run(RunArgs { ranks, nodes, .. }) => (*ranks, *nodes),
        _ => (None, None),
    };
    let differs = |flag: &str, told: Option<u32>, there: u32, what: &str| match told {
        Some(told) if told != there => Err(Failure::usage(
            format!("{flag} {told}, but the lab has {there} {what}"),
            format!("leave {flag} out: the lab's own --nodes and --ranks-per-node say how many"),
        )),
        _ => Ok(()),
    };
    let flag = if matches!(command, Command::Bench(_)) { "--ranks" } else { "-n" };
    differs(flag, ranks, lab.ranks(), "ranks")?;
    differs("--nodes", nodes, lab.nodes, "nodes")
}
