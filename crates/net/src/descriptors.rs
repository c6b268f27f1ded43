//! Owns how many descriptors a rank needs, and that its process may open so many.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::NetError;

/// Those of rank 0 without peers. This and the two that follow: the least `ulimit -n` with which worlds of 4, 8 and
/// 12 ranks ran, on shared memory (30, 54, 78) and over TCP (34 and 46 for the last two).
const OWN: u64 = 13;
/// For each peer of its node, while they meet.
const OF_A_NEIGHBOUR: u64 = 6;
/// For each peer elsewhere.
const OF_ANOTHER: u64 = 3;
/// What a program has open beside.
const PROGRAM: u64 = 32;

/// How many descriptors a rank may have open at once: rank 0 has the most, for all ranks meet there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// With fewer its world cannot form.
    pub least: u64,
    /// With so many its program has some, too.
    pub good: u64,
}

impl Descriptors {
    /// Those of a process that is all of `ranks`: it has both ends of everything. 79, 231, 950 and 3238 were the least
    /// for 4, 8, 16 and 32 ranks on shared memory, with six that the program had.
    pub fn of_all(ranks: u64) -> Self {
        let least = 3 * ranks * ranks + 9 * ranks + OWN;
        Self { least, good: least + PROGRAM }
    }

    /// Those of a rank of `ranks`, of whom `here` are on its host, itself among them.
    pub fn of_rank(ranks: u64, here: u64) -> Self {
        let (near, far) = (here.saturating_sub(1), ranks.saturating_sub(here));
        let least = OWN + OF_A_NEIGHBOUR * near + OF_ANOTHER * far;
        Self { least, good: least + PROGRAM }
    }
}

/// Sees to it that the process may open what the ranks in it need, as long as this lives: raises its soft limit, as far
/// as the hard one allows, and never lowers it again. Many systems start programs with 1024, which 170 ranks on a
/// host exceed.
#[derive(Debug)]
pub struct Reserved(u64);

/// What all that are alive need.
static RESERVED: AtomicU64 = AtomicU64::new(0);

impl Reserved {
    /// For a rank of `ranks`, all of whom may be on this host.
    pub fn for_rank_of(ranks: u32) -> Self {
        let ranks = u64::from(ranks);
        let own = Descriptors::of_rank(ranks, ranks).least;
        let all = RESERVED.fetch_add(own, Ordering::Relaxed) + own + PROGRAM;
        raise(all);
        Self(own)
    }

    /// Sees to it for all of `ranks` at once, beside what the process has open.
    ///
    /// # Errors
    /// [`NetError::Descriptors`] where it may not open so many.
    pub fn check_for_all_of(ranks: u32) -> Result<(), NetError> {
        let least = Descriptors::of_all(u64::from(ranks)).least;
        let open = std::fs::read_dir("/proc/self/fd").map_or(PROGRAM, |open| open.count() as u64);
        let needed = least + open;
        raise(needed);
        match getrlimit(Resource::Nofile).current {
            Some(limit) if limit < needed => Err(NetError::Descriptors { ranks, needed, limit }),
            _ => Ok(()),
        }
    }

    /// How many the process may open.
    pub fn limit() -> Option<u64> {
        getrlimit(Resource::Nofile).current
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        RESERVED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

fn raise(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raised(limit.current, limit.maximum, wanted) else { return };
    // Where it cannot be raised, it stays as it is: whether it suffices is seen when a descriptor is missing.
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => tracing::debug!(raised, wanted, "the limit of open files is raised"),
        Err(error) => tracing::debug!(%error, wanted, "the limit of open files stays"),
    }
}

/// The soft limit to set, where the present one is too low and can be raised; no limit is none.
fn raised(soft: Option<u64>, hard: Option<u64>, wanted: u64) -> Option<u64> {
    let soft = soft.filter(|&soft| soft < wanted)?;
    let raised = hard.map_or(wanted, |hard| wanted.min(hard));
    (raised > soft).then_some(raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_as_far_as_needed_and_allowed_and_never_lowered() {
        assert_eq!(raised(Some(1024), Some(4096), 2000), Some(2000));
        assert_eq!(raised(Some(1024), Some(4096), 9000), Some(4096));
        assert_eq!(raised(Some(1024), None, 9000), Some(9000));
        assert_eq!(raised(Some(4096), Some(4096), 9000), None);
        assert_eq!(raised(Some(1024), Some(4096), 1024), None);
        assert_eq!(raised(None, None, 9000), None);
    }

    #[test]
    fn neighbours_need_more_descriptors_than_ranks_elsewhere() {
        assert_eq!(Descriptors::of_rank(16, 8), Descriptors { least: 79, good: 111 });
        assert_eq!(Descriptors::of_rank(1, 1).least, OWN);
    }
}
