//! What a failure says, and what a program can do about it.
//!
//! # What it says
//!
//! Every [`Error`](crate::Error) has a code (`CT-060`), of which `crosstie explain CT-060` tells more; it says who has to
//! act ([`Blame`](crate::Blame)) and what to do. [`report`](crate::Error::report) is the whole story in a few lines:
//!
//! ```
//! use crosstie::{Blame, Error, Threads};
//!
//! let error: Error = Threads::new(2).run(|mut comm| comm.send(&[1], 9)).unwrap_err();
//! assert_eq!((error.code().to_string().as_str(), error.blame()), ("CT-001", Blame::Caller));
//! eprintln!("{}", error.report());
//! ```
//!
//! # One verdict
//!
//! When a rank dies, gives up, is late or calls something else, the communicator has failed, on all ranks, with the same
//! [`Failure`](crate::Failure): which rank, on which host, why, in which call. Two clocks run for a call: how long it waits
//! for ranks that have not made it ([`Settings::timeout`](crate::Settings::timeout), 30 minutes: they may be busy), and how
//! long nothing may move once all have (`CROSSTIE_STALL`, 30 seconds). A death needs no clock.
//!
//! # Going on with those that are left
//!
//! ```
//! use crosstie::{Error, ReduceOp, Threads};
//!
//! let sums = Threads::new(3).run_each(|mut comm| {
//!     if comm.rank() == 1 {
//!         return Ok(0); // It is gone.
//!     }
//!     let mut sum = [1];
//!     let Err(error) = comm.all_reduce_in_place(&mut sum, ReduceOp::Sum) else { return Ok(0) };
//!     let gone: Vec<u32> = error.failure().and_then(|it| it.culprit).into_iter().collect();
//!     let mut rest = comm.shrink(&gone)?;
//!     sum = [1];
//!     rest.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
//!     Ok(sum[0])
//! });
//! assert_eq!(sums.into_iter().collect::<Result<Vec<_>, Error>>()?, [2, 0, 2]);
//! # Ok::<(), Error>(())
//! ```
//!
//! Under `crosstie run` this needs `--keep-going`; MPI's launchers end a job at its first death unless told otherwise.
//!
//! # Giving up
//!
//! [`AbortHandle::abort`](crate::AbortHandle::abort) ends the calls of all ranks from any thread, and says why.
//!
//! # Exit codes
//!
//! An [`Outcome`](crate::Outcome) that `main` returns ends the process with 2 for a mistake of this rank's program, 3 for a
//! peer, the network or a deadline, 4 for this host: of many ranks that end at once, those with 2 and 4 are the causes.
