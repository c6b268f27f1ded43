//! Owns the communicators that are made of another one: split by color, and shrunk to the ranks that are
//! left.

use std::sync::Arc;
use std::time::Instant;

use crosstie_bootstrap::{GivenUp, World};

use crate::settings::{Resolved, SharedFabric};
use crate::{Communicator, Error, init};

impl Communicator {
    /// Makes a communicator of the ranks that give the same `color`, numbered by `key` and, among equal
    /// keys, by their rank here. A rank without a color gets none, but calls it too.
    ///
    /// All ranks call it, as any collective. The new communicator has connections, a monitor and
    /// settings of its own, those of this one: neither cares what becomes of the other.
    ///
    /// ```
    /// # use crosstie::{ReduceOp, Threads};
    /// # Threads::new(4).run(|mut comm| {
    /// // Pairs: ranks 0 and 1, ranks 2 and 3.
    /// let pair = comm.split(Some(comm.rank() / 2), 0)?;
    /// let mut sum = [comm.rank()];
    /// if let Some(mut pair) = pair {
    ///     pair.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
    /// }
    /// assert_eq!(sum, [if comm.rank() < 2 { 1 } else { 5 }]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As a call's; and as [`Settings::connect`](crate::Settings::connect), while the new one connects.
    #[track_caller]
    pub fn split(&mut self, color: Option<u32>, key: i64) -> Result<Option<Self>, Error> {
        let _span = tracing::info_span!("split", rank = self.rank(), ?color, key).entered();
        let own = [color.map_or(NO_COLOR, i64::from), key];
        let mut all = vec![0; own.len() * self.size() as usize];
        self.all_gather(&own, &mut all)?;
        let Some(color) = color else { return Ok(None) };
        let of_color = all.chunks_exact(own.len()).zip(0..);
        let of_color = of_color.filter(|(theirs, _)| theirs[0] == i64::from(color));
        let mut members: Vec<(i64, u32)> =
            of_color.map(|(theirs, rank)| (theirs[1], rank)).collect();
        members.sort_unstable();
        let ranks: Vec<u32> = members.into_iter().map(|(_, rank)| rank).collect();
        let world = self.world.part(&ranks, &format!("split {} color {color}", self.sequence));
        let Some(world) = world else { return Ok(None) };
        let deadline = Instant::now() + self.settings.init_timeout;
        let settings = self.settings_for(&world, &ranks)?;
        init::join(settings, world, Arc::clone(&self.listener), deadline).map(Some)
    }

    /// Makes a communicator of all ranks but `excluded`, in the same order; also after a failure, for
    /// which it is meant: the ranks that are left go on without those that are gone.
    ///
    /// The ranks that are left all call it, with the same list; those excluded do not. They meet anew,
    /// within [`Settings::init_timeout`](crate::Settings::init_timeout), and go on with the settings of
    /// this communicator. Calls under way on this one end first. `crosstie run` ends all ranks when one fails,
    /// unless it was started with `--keep-going`.
    ///
    /// ```
    /// # use crosstie::{Error, ReduceOp, Settings, Threads};
    /// # let sums = Threads::new(3).run_each(|mut comm| {
    /// if comm.rank() == 1 {
    ///     return Ok(0); // It leaves, though the others make another call.
    /// }
    /// let mut sum = [1];
    /// let failed = comm.all_reduce_in_place(&mut sum, ReduceOp::Sum);
    /// let Err(Error::Failed(failure)) = failed else { panic!("rank 1 is not there") };
    /// let gone: Vec<u32> = failure.culprit.into_iter().collect();
    /// let mut rest = comm.shrink(&gone)?;
    /// sum = [1];
    /// rest.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
    /// # Ok(sum[0])
    /// # });
    /// # assert_eq!(sums.into_iter().collect::<Result<Vec<_>, _>>()?, [2, 0, 2]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when `excluded` names this rank, one that there is not, or one twice; [`Error::Meeting`]
    /// when ranks that are not excluded did not come, or came with another list, with their numbers on this communicator;
    /// [`Error::Forked`]; and as [`Settings::connect`](crate::Settings::connect).
    pub fn shrink(&mut self, excluded: &[u32]) -> Result<Self, Error> {
        let (rank, size) = (self.rank(), self.size());
        let _span = tracing::info_span!("shrink", rank, ?excluded).entered();
        if self.standing.is_forked() {
            return Err(Error::Forked { rank });
        }
        let wrong = |what: String| Err(Error::Argument { operation: "shrink", what });
        if let Some(&none) = excluded.iter().find(|&&excluded| excluded >= size) {
            return wrong(format!("there is no rank {none} among {size} to exclude"));
        }
        if let Some(at) = (1..excluded.len()).find(|&at| excluded[..at].contains(&excluded[at])) {
            return wrong(format!("rank {} is to be excluded twice", excluded[at]));
        }
        if excluded.contains(&rank) {
            return wrong(format!("rank {rank} excludes itself; only ranks that stay call it"));
        }
        self.engine.settle();
        self.shrinks += 1;
        let ranks: Vec<u32> = (0..size).filter(|rank| !excluded.contains(rank)).collect();
        let purpose = format!("shrink {}", self.shrinks);
        let deadline = Instant::now() + self.settings.init_timeout;
        let (world, listener) = (&self.world, &self.listener);
        let world = {
            let _span = tracing::info_span!("meeting", ?ranks).entered();
            let cancel = &self.settings.terms.cancel;
            let given_up = || cancel.why();
            let until = (deadline, &given_up as GivenUp<'_>);
            crosstie_bootstrap::meet_again(world, &ranks, &purpose, listener, until)
                .map_err(|error| init::or_cancelled(cancel, error.into()))?
        };
        let settings = self.settings_for(&world, &ranks)?;
        init::join(settings, world, Arc::clone(&self.listener), deadline)
    }

    /// This communicator's settings for one that is made of these of its ranks.
    fn settings_for(&self, world: &World, ranks: &[u32]) -> Result<Resolved, Error> {
        let mut settings = self.settings.clone();
        settings.rails.keep(&self.nodes, ranks)?;
        if let Some(SharedFabric(fabric)) = &settings.fabric {
            let child = fabric.child(world.secret.world_id().0, world.size)?;
            settings.fabric = Some(SharedFabric(child));
        }
        Ok(settings)
    }
}

/// Stands for no color beside those that are 32 bits wide.
const NO_COLOR: i64 = -1;
