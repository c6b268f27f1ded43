//! Owns [`AbortHandle`]: ending a communicator's calls from any thread.

use std::fmt;
use std::sync::Arc;

use crate::standing::Standing;
use crate::{Communicator, Error};

/// Ends the calls of a communicator from any thread; from [`Communicator::abort_handle`].
///
/// It can outlive the communicator; then it does nothing.
#[derive(Clone)]
pub struct AbortHandle {
    standing: Arc<Standing>,
}

impl Communicator {
    /// What ends this communicator's calls from any thread.
    ///
    /// ```
    /// # use crosstie::{Error, ReduceOp, Threads};
    /// let ended = Threads::new(2).run_each(|mut comm| {
    ///     if comm.rank() == 1 {
    ///         // Something outside is wrong; nobody shall wait for this rank.
    ///         comm.abort_handle().abort("out of training data");
    ///     }
    ///     comm.all_reduce_in_place(&mut [1.0_f32], ReduceOp::Sum)
    /// });
    /// assert!(ended.iter().all(|end| end.is_err()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { standing: Arc::clone(&self.standing) }
    }
}

impl AbortHandle {
    /// Ends the calls that are under way on this communicator, here and on all other ranks, and refuses
    /// all that come; each of them returns [`Error::Failed`](crate::Error::Failed) or
    /// [`Error::AlreadyFailed`](crate::Error::AlreadyFailed), with this rank to blame and `why` as its
    /// words, in which control characters become spaces. Returns at once; calls end within about two seconds, and then no memory of theirs is
    /// touched any more.
    ///
    /// Only the first failure of a communicator counts, so to abort one that has failed does nothing.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let handle = comm.abort_handle();
    /// let watcher = std::thread::spawn(move || handle.abort("the job is over"));
    /// assert!(comm.recv(&mut [0_u8], 1 - comm.rank()).is_err());
    /// watcher.join().unwrap();
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn abort(&self, why: &str) {
        if !self.standing.is_forked() {
            // It is printed on all ranks, whose terminals take no orders from here.
            let printed = |c: char| if c.is_control() { ' ' } else { c };
            self.standing.abort(&why.chars().map(printed).collect::<String>());
        }
    }

    /// The failure that has ended the communicator's calls, or will end the next, if there is one; also one of which
    /// no call of this rank has heard. Waits for the verdict of a failure, for at most about two seconds.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// let handle = comm.abort_handle();
    /// comm.barrier()?;
    /// assert!(handle.failure().is_none());
    /// comm.barrier()?;
    /// handle.abort("the job is over");
    /// assert!(handle.failure().is_some());
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn failure(&self) -> Option<Error> {
        if self.standing.is_forked() { None } else { self.standing.failed_anywhere() }
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AbortHandle of rank {}", self.standing.rank)
    }
}
