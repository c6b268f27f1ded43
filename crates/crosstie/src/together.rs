//! Owns connecting several ranks of one process at once, for programs that drive them in few threads.

use std::sync::Arc;
use std::thread;

use crosstie_transport::loopback::Fabric;

use crate::select::CHANNELS;
use crate::{Communicator, Error, Meeting, Settings, Transport};

impl Communicator {
    /// Connects several ranks of this process at once, for a thread that holds them all; in the order of
    /// `settings`.
    ///
    /// Where none of them names a meeting (an id, or a root), they are a world by themselves: numbered in
    /// order, they meet here, and may use [`Transport::Loopback`]. Else each is one rank of the world
    /// that it names.
    ///
    /// A thread that holds several ranks must not block in a call of one of them before it has made the
    /// same call on the others: it makes [asynchronous calls](Self::owned) and waits for all of them.
    ///
    /// ```
    /// use crosstie::{Communicator, ReduceOp, Settings};
    ///
    /// let mut ranks = Communicator::connect_all(vec![Settings::default(); 4])?;
    /// let mut works = Vec::new();
    /// for comm in &mut ranks {
    ///     let own = vec![comm.rank()];
    ///     works.push(comm.owned().all_reduce_in_place(own, ReduceOp::Sum)?);
    /// }
    /// for work in works {
    ///     assert_eq!(work.wait()?, [6]);
    /// }
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Settings::connect`], of the first in order that had one.
    pub fn connect_all(settings: Vec<Settings>) -> Result<Vec<Self>, Error> {
        let meets_elsewhere = settings.iter().any(Settings::names_a_meeting);
        let _meeting;
        let settings = if meets_elsewhere {
            settings
        } else {
            let (meeting, id) = Meeting::open()?;
            _meeting = meeting;
            let size = u32::try_from(settings.len()).unwrap_or(u32::MAX);
            let fabric = shared_fabric(&settings, size)?;
            let number = |(rank, settings): (u32, Settings)| {
                let settings = settings.rank(rank).size(size).id(id.clone());
                match &fabric {
                    Some(fabric) => settings.fabric(Arc::clone(fabric)),
                    None => settings,
                }
            };
            (0..).zip(settings).map(number).collect()
        };
        thread::scope(|scope| {
            let connect = |settings: Settings| scope.spawn(move || settings.connect());
            let ranks: Vec<_> = settings.into_iter().map(connect).collect();
            let join = |rank: thread::ScopedJoinHandle<'_, _>| {
                rank.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            // All have to end before the first error is known to be the first.
            let ranks: Vec<Result<Self, Error>> = ranks.into_iter().map(join).collect();
            ranks.into_iter().collect()
        })
    }
}

/// The memory that ranks share which ask for loopback.
fn shared_fabric(settings: &[Settings], size: u32) -> Result<Option<Arc<Fabric>>, Error> {
    let environment = crosstie_launch::environment(std::env::vars_os());
    let Some(first) = settings.iter().find(|s| s.transport == Some(Transport::Loopback)) else {
        return Ok(None);
    };
    let (limits, heap_bytes) = (first.limits(&environment)?, first.heap_limit(&environment)?);
    Ok(Some(Fabric::with_heaps(size, CHANNELS, limits, heap_bytes)?))
}
