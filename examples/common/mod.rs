//! Owns how an example starts: as a rank of the world that a launcher made, or alone, as a world of
//! threads.

use std::process::ExitCode;

use crosstie::{Communicator, Error, Threads};

/// Runs `rank` as this process's rank when a launcher has started it, else as every rank of the
/// world `alone`. A failure is reported and becomes the exit code.
pub fn main(alone: Threads, rank: impl Fn(Communicator) -> Result<(), Error> + Sync) -> ExitCode {
    match start(alone, rank) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What happened, who is to blame and what to do.
            eprintln!("{}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
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
