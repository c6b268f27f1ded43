//! Owns how an example starts: as a rank of the world that a launcher made, or alone, as a world of
//! threads.

use std::process::{ExitCode, Termination};

use crosstie::{Communicator, Error, Outcome, Threads};

/// Runs `rank` as this process's rank when a launcher has started it, else as every rank of the
/// world `alone`. A failure is reported and becomes the exit code.
pub fn main(alone: Threads, rank: impl Fn(Communicator) -> Result<(), Error> + Sync) -> ExitCode {
    // Prints what happened, who is to blame and what to do. A `main` that does nothing else returns the
    // outcome itself.
    Outcome::from(start(alone, rank)).report()
}

fn start(
    alone: Threads,
    rank: impl Fn(Communicator) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    // Rank, size and meeting place come from the launcher's environment. Without a launcher we
    // are a world of one; several threads make a better show.
    let comm = Communicator::from_env()?;
    if comm.size() > 1 {
        return rank(comm);
    }
    println!("no launcher: the ranks are threads of this process");
    alone.run(rank)?;
    Ok(())
}
