//! Owns `crosstie plan`: what the planner makes of a described machine, how two plans differ, and the proof of one.

mod cluster;
mod compare;
mod difference;
mod lost;
mod schema;
mod search;
mod svg;
mod verbs;
mod verify;

use crate::args::{PlanArgs, PlanCommand, PlanFormat};
use crate::exit::{Exit, Failure};
pub use verbs::needs_object;

/// Runs the command. Where JSON is asked for, why there is no answer is told so too.
pub fn run(args: &PlanArgs) -> Result<Exit, Failure> {
    let (done, json) = match &args.command {
        None => {
            let args = &args.search;
            (search::run(args), args.json || args.format == PlanFormat::Json)
        }
        Some(PlanCommand::Verify(args)) => (verify::run(args), args.json),
        Some(PlanCommand::Diff(args)) => (compare::run(args), args.json),
    };
    match &done {
        Err(failure) if json && failure.exit() != Exit::OutputClosed => {
            crate::json::print_failure(std::io::stdout(), &failure.summary())?;
        }
        _ => {}
    }
    done
}
