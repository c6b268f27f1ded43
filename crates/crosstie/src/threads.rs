//! Owns worlds of threads: ranks that live in one process, for tests, examples and notebooks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use crosstie_launch::emulated_node;
use crosstie_transport::loopback::Fabric;

use crate::select::CHANNELS;
use crate::{Communicator, Error, Meeting, Settings, Transport};

/// A world whose ranks are threads of this process.
#[derive(Debug, Clone)]
pub struct Threads {
    ranks: u32,
    nodes: u32,
    settings: Settings,
}

impl Threads {
    /// A world of `ranks` ranks on one emulated node, over in-process loopback.
    ///
    /// ```
    /// use crosstie::Threads;
    ///
    /// let ranks = Threads::new(2).run(|comm| Ok(comm.rank()))?;
    /// assert_eq!(ranks, [0, 1]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn new(ranks: u32) -> Self {
        let settings = Settings::default().transport(Transport::Loopback);
        Self { ranks, nodes: 1, settings }
    }

    /// The same world with ranks spread over `nodes` emulated nodes, in consecutive blocks whose sizes differ by
    /// at most one, the larger ones first; TCP between them. From 1 to as many as there are ranks: running
    /// refuses anything else.
    ///
    /// ```
    /// use crosstie::Threads;
    ///
    /// Threads::new(4).nodes(2).run(|mut comm| comm.barrier())?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    /// The same world with other settings; rank, size and meeting are filled in.
    ///
    /// ```
    /// use crosstie::{Settings, Threads, Transport};
    ///
    /// let settings = Settings::default().transport(Transport::SharedMemory);
    /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Runs `body` once per rank, each in its own thread, and returns what they returned, by rank.
    ///
    /// ```
    /// use crosstie::{ReduceOp, Threads};
    ///
    /// let sums = Threads::new(3).run(|mut comm| {
    ///     let mut sum = [comm.rank()];
    ///     comm.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
    ///     Ok(sum[0])
    /// })?;
    /// assert_eq!(sums, [3; 3]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of the lowest rank that had one. A rank that panics is named to its peers as one
    /// that gave up; the panic is passed on.
    pub fn run<T, F>(self, body: F) -> Result<Vec<T>, Error>
    where
        T: Send,
        F: Fn(Communicator) -> Result<T, Error> + Sync,
    {
        self.run_each(body).into_iter().collect()
    }

    /// As [`run`](Self::run), but gives every rank's own result; one error alone when not even the
    /// place to meet could be made.
    ///
    /// ```
    /// use crosstie::Threads;
    ///
    /// let results = Threads::new(2).run_each(|mut comm| match comm.rank() {
    ///     0 => comm.barrier(),
    ///     _ => Ok(()), // It leaves, and rank 0 waits in vain.
    /// });
    /// assert!(results[0].is_err() && results[1].is_ok());
    /// ```
    pub fn run_each<T, F>(self, body: F) -> Vec<Result<T, Error>>
    where
        T: Send,
        F: Fn(Communicator) -> Result<T, Error> + Sync,
    {
        if let Err(error) = self.refuse_empty_nodes() {
            return vec![Err(error)];
        }
        let (_meeting, id) = match Meeting::open() {
            Ok(opened) => opened,
            Err(error) => return vec![Err(error)],
        };
        let environment = crosstie_launch::environment(std::env::vars_os());
        let fabric = match self.new_fabric(&environment) {
            Ok(fabric) => fabric,
            Err(error) => return vec![Err(error)],
        };
        let start = |rank: u32| {
            let settings = self
                .settings
                .clone()
                .rank(rank)
                .size(self.ranks)
                .id(id.clone())
                .node(format!("thread-node-{}", emulated_node(rank, self.ranks, self.nodes)))
                .fabric(Arc::clone(&fabric));
            settings.connect().and_then(&body)
        };
        thread::scope(|scope| {
            let ranks: Vec<_> =
                (0..self.ranks).map(|rank| scope.spawn(move || start(rank))).collect();
            ranks
                .into_iter()
                .map(|rank| rank.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn refuse_empty_nodes(&self) -> Result<(), Error> {
        let (nodes, ranks) = (self.nodes, self.ranks);
        if (1..=ranks.max(1)).contains(&nodes) {
            return Ok(());
        }
        let what = format!("{ranks} ranks can be on 1 to {ranks} nodes");
        Err(Error::Setting { name: "Threads::nodes", value: nodes.to_string(), what })
    }

    fn new_fabric(&self, environment: &BTreeMap<String, String>) -> Result<Arc<Fabric>, Error> {
        let limits = self.settings.limits(environment)?;
        let heap_bytes = self.settings.heap_limit(environment)?;
        Ok(Fabric::with_heaps(self.ranks, CHANNELS, limits, heap_bytes)?)
    }
}
