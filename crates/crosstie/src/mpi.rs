//! Owns meeting by way of an MPI communicator that the program has already (feature `mpi`).

use crosstie_launch::{Explicit, LaunchError, identify};
use mpi::topology::{Communicator as MpiCommunicator, SimpleCommunicator};
use mpi::traits::Root;

use crate::{Communicator, Error, Meeting, Settings, UniqueId};

/// Bytes of a unique id as text, with room behind it; zeros where there is none.
const ID_BYTES: usize = 1024;

impl Communicator {
    /// A communicator of the ranks of `mpi`, by the same numbers, with settings from the environment.
    ///
    /// All ranks of `mpi` call it, as any of its collectives: it broadcasts where to meet. Nothing is sent by MPI
    /// afterwards, and MPI may be finalized before or after this communicator ends.
    ///
    /// ```no_run
    /// use crosstie::{Communicator, ReduceOp};
    ///
    /// let universe = mpi::initialize().expect("nobody has initialized MPI before");
    /// let mut comm = Communicator::from_mpi(&universe.world())?;
    /// let mut sum = [1.0_f32];
    /// comm.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Settings::connect_mpi`].
    pub fn from_mpi(mpi: &impl MpiCommunicator) -> Result<Self, Error> {
        Settings::default().connect_mpi(mpi)
    }
}

impl Settings {
    /// As [`Communicator::from_mpi`], with these settings.
    ///
    /// # Errors
    /// [`Error::Launch`] where MPI says that this process is a world of one, and the launcher that it is one of
    /// several: it was linked with another MPI than the one whose `mpirun` started it. [`Error::Meeting`] on all
    /// ranks where the first could not open a meeting; and as [`connect`](Self::connect).
    pub fn connect_mpi(self, mpi: &impl MpiCommunicator) -> Result<Communicator, Error> {
        refuse_singletons()?;
        let (rank, size) = (mpi.rank(), mpi.size());
        let opened = if rank == 0 { Some(Meeting::open()) } else { None };
        let mut text = [0_u8; ID_BYTES];
        if let Some(Ok((_, id))) = &opened {
            let id = id.to_string();
            text.iter_mut().zip(id.as_bytes()).for_each(|(to, from)| *to = *from);
        }
        // Also where there is no id to send: the others would wait for it.
        mpi.process_at_rank(0).broadcast_into(&mut text[..]);
        let _meeting = opened.transpose()?;
        let settings = self.rank(rank.unsigned_abs()).size(size.unsigned_abs());
        settings.id(parse(&text)?).connect()
    }
}

fn parse(text: &[u8]) -> Result<UniqueId, Error> {
    let text = String::from_utf8_lossy(text);
    let id = text.trim_end_matches('\0').parse();
    Ok(id.map_err(|source| LaunchError::Id { source })?)
}

/// A program that was linked with one MPI and started by the `mpirun` of another becomes so many worlds of one, and
/// MPI does not tell.
fn refuse_singletons() -> Result<(), Error> {
    if SimpleCommunicator::world().size() > 1 {
        return Ok(());
    }
    let environment = crosstie_launch::environment(std::env::vars_os());
    match identify(&Explicit::default(), &environment) {
        Ok(who) if who.size > 1 => Err(Error::Launch(LaunchError::Contradiction {
            first: format!("{} says rank {} of {}", who.launcher.name(), who.rank, who.size),
            second: "MPI says that this process is alone".to_owned(),
            remedy: "start it with the mpirun of the MPI library that it was built with",
        })),
        _ => Ok(()),
    }
}
