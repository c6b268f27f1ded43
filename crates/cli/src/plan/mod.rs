//! Owns `crosstie plan`: what the planner makes of a described machine, and the proof of a plan.

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
    }
}
