//! Owns `crosstie doctor`: what of this host would stand in the way of ranks, and what to do about it.

mod clocks;
mod finding;
mod gpus;
mod launcher;
mod library;
mod limits;
mod memory;
mod network;
mod report;
mod state;
#[cfg(test)]
mod tests;
mod verbs;

use std::io::{self, IsTerminal, Write};

use crate::args::DoctorArgs;
use crate::exit::{Exit, Failure};
use finding::{Finding, Verdict};
use state::State;

/// Runs the command: exit code 4 where something would fail.
pub fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let state = State::here(args)?;
    let findings = findings(&state);
    let told = match args.json {
        true => format!("{}\n", report::json(&state, &findings)),
        false => {
            let color = crate::args::color(args.color, io::stdout().is_terminal());
            report::text(&state, &findings, color)
        }
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(told.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Failure::host("write the findings", e))?;
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::WouldFail);
    Ok(if bad { Exit::Environment } else { Exit::Good })
}

/// What there is to say of a host, by group.
fn findings(state: &State) -> Vec<Finding> {
    let mut found = Vec::new();
    for check in [
        limits::check,
        memory::check,
        network::check,
        verbs::check,
        gpus::check,
        clocks::check,
        launcher::check,
    ] {
        check(state, &mut found);
    }
    // Names of devices, interfaces and variables may hold anything.
    let shown = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        crosstie_topo::shown(&words.join(" "))
    };
    for finding in &mut found {
        finding.found = shown(&finding.found);
        finding.remedy = finding.remedy.as_deref().map(shown);
    }
    found
}
