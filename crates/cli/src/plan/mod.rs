//! Owns `crosstie plan`: what the planner makes of a described machine, how two plans differ, and the proof of one.

mod cluster;
mod compare;
mod difference;
mod lost;
mod schema;
mod search;
mod svg;
mod verify;

use crate::args::{PlanArgs, PlanCommand};
use crate::exit::{Exit, Failure};

/// Runs the command.
pub fn run(args: &PlanArgs) -> Result<Exit, Failure> {
    match &args.command {
        None => search::run(&args.search),
        Some(PlanCommand::Verify(args)) => verify::run(args),
        Some(PlanCommand::Diff(args)) => compare::run(args),
    }
}
