//! Owns the `crosstie` command: reads the command line, calls what it asks for, and ends with the
//! exit code that says how it went.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod config;
mod doctor;
mod events;
mod exit;
mod explain;
mod fabric;
mod file;
mod json;
mod kind;
mod lab;
mod lab_facts;
mod launch;
mod matrix;
mod operation;
mod picture;
mod plan;
mod run;
mod topo;
mod tune;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use crosstie::Setting;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use events::Event;
use exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(error).into(),
    };
    let events = matches!(&cli.command, Command::Bench(args) if args.events);
    let done = match cli.command {
        Command::Bench(args) => start_log().and_then(|()| bench::run(&args)),
        Command::Run(args) => start_log().and_then(|()| run::run(args)),
        Command::Topo(args) => start_log().and_then(|()| topo::run(&args)),
        Command::Plan(args) => plan::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Completions(args) => completions(args.shell),
        Command::Lab(args) => lab::run(&args),
        Command::LabInside(args) => lab::inside(&args),
        Command::BecomeRank(args) => Err(launch::become_rank(args)),
    };
    done.unwrap_or_else(|failure| tell(&failure, events)).into()
}

/// Answers a command line that says nothing to do: with help, or with what is wrong with it.
fn refuse(error: clap::Error) -> Exit {
    let line: Vec<OsString> = std::env::args_os().collect();
    let error = args::with_tip_for_plans(args::with_tip_for_labs(error, &line), &line);
    if let Some(name) = args::later_command(&error) {
        let message = format!("{name}: not yet in this version");
        return tell(&Failure::usage(message, "`crosstie --help` lists what there is"), false);
    }
    let before = |word: &str| line.iter().take_while(|arg| *arg != "--").any(|arg| arg == word);
    let names_a_file = before("lab") && before("report");
    let asks_for_json = line.iter().any(|arg| arg == "--json") && !names_a_file;
    if error.use_stderr() && asks_for_json {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or("").trim_start_matches("error: ").to_owned();
        // What is wrong is told on standard error, whatever becomes of this.
        let _ = json::print_failure(std::io::stdout(), &Failure::usage(message, "").summary());
    }
    let text = error.to_string();
    if error.use_stderr() && events::printable(&text) != text {
        events::tell(&text);
        return Exit::Usage;
    }
    error.exit()
}

/// Says what went wrong, to the launcher if there is one, else to the user.
fn tell(failure: &Failure, events: bool) -> Exit {
    let exit = failure.exit();
    if events {
        events::send(&Event::Failure {
            text: events::printable(&failure.to_string()),
            summary: failure.summary(),
        });
    } else if exit != Exit::OutputClosed {
        events::tell(&format!("crosstie: {failure}\n"));
    }
    exit
}

/// Prints the script that completes arguments in a shell.
fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "crosstie", &mut script);
    if shell == clap_complete::Shell::Bash {
        let text = String::from_utf8_lossy(&script).into_owned();
        script = args::without_hidden(&text, &Cli::command()).into_bytes();
    }
    let written = io::stdout().write_all(&script);
    written.map_err(|e| Failure::host("write the script", e))?;
    Ok(Exit::Good)
}

/// Warnings go to standard error; `CROSSTIE_LOG` asks for more (`debug`, `crosstie_net=trace`).
fn start_log() -> Result<(), Failure> {
    let environment = crosstie_launch::environment(std::env::vars_os());
    let told = Setting::named("CROSSTIE_LOG").and_then(|log| log.told(&environment).value);
    let text = told.unwrap_or_default();
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        Failure::usage(
            format!("CROSSTIE_LOG={text}: {error}"),
            "write a level (error, warn, info, debug, trace), or several as crosstie_net=debug,warn",
        )
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).without_time().init();
    Ok(())
}
