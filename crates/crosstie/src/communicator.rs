//! Owns the communicator: what it is made of, what it tells of itself, and how it is left.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crosstie_bootstrap::World;
use crosstie_exec::{Engine, Oversight};
use crosstie_ir::Rank;
use crosstie_net::{Listener, Reserved};
use crosstie_planner::{Nodes, Selection};
use crosstie_transport::Heap;
use crosstie_verbs::wires::Over;

use crate::programs::Programs;
use crate::settings::Resolved;
use crate::standing::{OnDuty, Standing};
use crate::{
    Algorithm, Collective, DataType, Error, InputsFingerprint, Machine, NoPlan, Pxn, Scheme,
    Settings, VerbsNeeds, WorldTopology,
};

/// A group of ranks that carry out collectives together.
///
/// Every rank makes the same calls in the same order. Calls block; dropping the communicator
/// leaves the group in order, which harms nobody who is slower.
pub struct Communicator {
    pub(crate) world: World,
    pub(crate) nodes: Nodes,
    /// What machines the nodes are; the same on all ranks.
    pub(crate) topology: Option<WorldTopology>,
    /// What plans are made from; the same on all ranks.
    pub(crate) inputs: InputsFingerprint,
    pub(crate) engine: Engine,
    pub(crate) heap: Heap,
    pub(crate) standing: Arc<Standing>,
    /// What it was made with, for the communicators that are made of it.
    pub(crate) settings: Resolved,
    pub(crate) listener: Arc<Listener>,
    pub(crate) timeout: Duration,
    /// Bytes of the longest message; the same on all ranks.
    pub(crate) slot_bytes: usize,
    /// How algorithms are chosen; the same on all ranks.
    pub(crate) selection: Selection,
    pub(crate) programs: Programs,
    pub(crate) sequence: u64,
    /// How often it was shrunk.
    pub(crate) shrinks: u64,
    /// Bytes of the slots of all connections.
    pub(crate) slot_memory: u64,
    pub(crate) _descriptors: Reserved, // For as long as it lives.
    /// Over what each of its wires leads.
    pub(crate) over: Vec<Over>,
    /// The ports of RDMA devices that they leave from, where some do.
    pub(crate) ports: Vec<(String, u8)>,
    /// What they take of an RDMA device, where some lead over one.
    pub(crate) verbs_needs: Option<VerbsNeeds>,
    pub(crate) has_left: bool,
    /// Its calls have an order, so threads hand it on, and do not share it.
    pub(crate) unshared: PhantomData<Cell<()>>,
}

impl Communicator {
    /// Settings to start from; see [`Settings::connect`].
    ///
    /// ```
    /// use crosstie::Communicator;
    ///
    /// let comm = Communicator::builder().rank(0).size(1).connect()?;
    /// assert_eq!(comm.size(), 1);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn builder() -> Settings {
        Settings::default()
    }

    /// Joins the world that the environment describes: `CROSSTIE_*`, Open MPI's, MPICH's, Slurm's
    /// or torchrun's variables.
    ///
    /// ```
    /// use crosstie::Communicator;
    ///
    /// // Nobody has started this process as one of several ranks: it is a world alone.
    /// let comm = Communicator::from_env()?;
    /// assert_eq!((comm.rank(), comm.size()), (0, 1));
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Settings::connect`].
    pub fn from_env() -> Result<Self, Error> {
        Settings::default().connect()
    }

    /// This rank's number, from 0.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let ranks = Threads::new(3).run(|comm| Ok(comm.rank()))?;
    /// assert_eq!(ranks, [0, 1, 2]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn rank(&self) -> u32 {
        self.world.rank
    }

    /// How many ranks there are.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let sizes = Threads::new(3).run(|comm| Ok(comm.size()))?;
    /// assert_eq!(sizes, [3; 3]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn size(&self) -> u32 {
        self.world.size
    }

    /// How many nodes the ranks are on.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let nodes = Threads::new(4).nodes(2).run(|comm| Ok(comm.nodes()))?;
    /// assert_eq!(nodes, [2; 4]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn nodes(&self) -> u32 {
        self.nodes.count()
    }

    /// How many rails, or NICs, each node has; see [`Settings::rails`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let rails = Threads::new(4).nodes(2).run(|comm| Ok(comm.rails()))?;
    /// assert_eq!(rails, [2; 4], "one for each rank of a node");
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn rails(&self) -> u32 {
        self.settings.rails.of(&self.nodes).count()
    }

    /// How it is known how many rails there are and who is on which, in words: `by the nodes' NICs`.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let origins = Threads::new(2).nodes(2).run(|comm| Ok(comm.rails_origin()))?;
    /// assert_eq!(origins, ["one for each rank of a node"; 2]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn rails_origin(&self) -> &'static str {
        self.settings.rails.origin()
    }

    /// The machines that the nodes are: as a file says, or as one rank of each has found; `None` where that is not known
    /// of all.
    ///
    /// ```
    /// # use crosstie::{Settings, Threads};
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/dgx-h100.xml");
    /// let settings = Settings::default().topo_file(file);
    /// let kinds = Threads::new(4).nodes(2).settings(settings).run(|comm| {
    ///     Ok(comm.topology().map(|topology| topology.cluster().kinds().len()))
    /// })?;
    /// assert_eq!(kinds, [Some(1); 4], "two nodes that are one kind of machine");
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn topology(&self) -> Option<&WorldTopology> {
        self.topology.as_ref()
    }

    /// Names everything that this communicator's plans are made from: ranks to nodes, the settings that all share, and the
    /// nodes' machines. Equal on all its ranks.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let inputs = Threads::new(2).run(|comm| Ok(comm.inputs()))?;
    /// assert_eq!(inputs[0], inputs[1]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn inputs(&self) -> InputsFingerprint {
        self.inputs
    }

    /// The plan of its rings and routes, explained as `crosstie plan` does it, where it is known which devices ranks
    /// play: rings take the order of channel 0's here, PXN the routes. Elsewhere rings go node by node in the order of
    /// ranks, and this says why. The same on all ranks; to make it takes some milliseconds, more on large machines.
    ///
    /// Its fingerprint is that of `crosstie plan` for the same machines, devices, nodes and PXN. The algorithms and
    /// their times are those of this world's own transports, not of the links that a described machine has.
    ///
    /// ```
    /// # use crosstie::{NoPlan, Settings, Threads};
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/dgx-h100.xml");
    /// let settings = Settings::default().topo_file(file);
    /// let rings = Threads::new(16).nodes(2).settings(settings).run(|comm| {
    ///     Ok(comm.plan().map(|plan| plan.rings.rings.len()))
    /// })?;
    /// assert_eq!(rings, [Ok(8); 16]);
    /// let unknown = Threads::new(2).run(|comm| Ok(comm.plan().err()))?;
    /// assert_eq!(unknown, [Some(NoPlan::NoDevices); 2]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where no devices are known, or the planner finds no rings on them.
    pub fn plan(&self) -> Result<Scheme<'_>, NoPlan> {
        let tune_file = self.settings.tune_file.as_ref().map(|file| file.display().to_string());
        let (seats, chosen) = (self.settings.rails.seats()?, (self.selection.clone(), tune_file));
        seats.scheme(&self.nodes, self.pxn() != Pxn::Off, chosen)
    }

    /// By channel, the ranks in the order of its ring: those of [`plan`](Self::plan), or the one ring that goes node by
    /// node.
    pub fn rings(&self) -> Vec<Vec<u32>> {
        let numbers = |ring: &[Rank]| ring.iter().map(|&Rank(rank)| rank).collect();
        match self.nodes.rings().len() {
            0 => vec![numbers(self.nodes.ring())],
            _ => self.nodes.rings().map(numbers).collect(),
        }
    }

    /// The machine that each node is, where a file described it; see [`Settings::topo_file`].
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let machines = Threads::new(2).run(|comm| Ok(comm.machine().is_some()))?;
    /// assert_eq!(machines, [false; 2]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn machine(&self) -> Option<&Machine> {
        self.settings.rails.machine.as_deref()
    }

    /// Whether messages between nodes go by way of relays, as it was set; see [`Settings::pxn`]. Off where ranks of a
    /// node share no memory.
    ///
    /// ```
    /// # use crosstie::{Pxn, Threads};
    /// let ways = Threads::new(2).run(|comm| Ok(comm.pxn()))?;
    /// assert_eq!(ways, [Pxn::Off; 2]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn pxn(&self) -> Pxn {
        if self.settings.has_relays() { self.settings.rails.pxn } else { Pxn::Off }
    }

    /// With [`Pxn::Auto`], from how many bytes on messages go past relays, wherever there is a way past them: as
    /// [`Settings::relay_below`](crate::Settings::relay_below) says, else by the planner's cost model. `None` where none do.
    ///
    /// ```
    /// # use crosstie::{Pxn, Settings, Threads, Transport};
    /// let settings = Settings::default().transport(Transport::Auto).pxn(Pxn::Auto);
    /// let below = Threads::new(8).nodes(2).settings(settings).run(|comm| Ok(comm.relay_below()))?;
    /// assert!(below[0].is_some_and(|bytes| bytes > 1024));
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn relay_below(&self) -> Option<u64> {
        let rails = &self.settings.rails;
        (self.settings.has_relays() && rails.has_ways_past()).then_some(rails.relay_below)
    }

    /// The algorithm that a call takes whose blocks are of one length; `count` is in elements: of the buffer where
    /// it is whole, as in all_reduce, else of one rank's block.
    ///
    /// ```
    /// # use crosstie::{Algorithm, Collective, DataType, Settings, Threads};
    /// let settings = Settings::default().algorithm(Algorithm::Ring);
    /// let taken = |count| move |comm: crosstie::Communicator| {
    ///     Ok(comm.algorithm(Collective::AllReduce, DataType::F32, count))
    /// };
    /// assert_eq!(Threads::new(4).settings(settings).run(taken(1 << 20))?, [Algorithm::Ring; 4]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn algorithm(&self, collective: Collective, data_type: DataType, count: u64) -> Algorithm {
        let bytes = count.saturating_mul(data_type.size() as u64);
        self.selection.algorithm(collective, bytes)
    }

    /// Whether messages between nodes may go by way of relays: whether PXN is not off, and there is memory
    /// that ranks of a node share.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// let relays = Threads::new(2).run(|comm| Ok(comm.has_relays()))?;
    /// assert_eq!(relays, [false; 2]);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn has_relays(&self) -> bool {
        self.settings.has_relays()
    }

    /// The host that `rank` runs on.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|comm| {
    /// assert_eq!(comm.host(0), comm.host(1), "both are threads of one process");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn host(&self, rank: u32) -> &str {
        self.world.host(rank)
    }

    /// How long each stage of setting up took, in order.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|comm| {
    /// for (stage, time) in comm.phases() {
    ///     println!("{stage} {time:?}");
    /// }
    /// assert!(comm.phases().iter().any(|(stage, _)| *stage == "connect"));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn phases(&self) -> &[(&'static str, Duration)] {
        &self.world.phases
    }

    /// Leaves in order: what was sent is delivered, the peers are told, nothing is left behind.
    ///
    /// Dropping the communicator does the same, but cannot tell of an error.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// comm.barrier()?;
    /// comm.leave()?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotDelivered`], [`Error::Transport`] when what was sent could not be delivered; [`Error::Failed`] when
    /// the last calls were not alike on all ranks, and no rank has noticed: as where each of two broadcasts, and is
    /// the root; [`Error::Forked`] in a forked child, whose copy says no farewell.
    pub fn leave(mut self) -> Result<(), Error> {
        if self.standing.is_forked() {
            return Err(Error::Forked { rank: self.world.rank });
        }
        self.leave_in_order()
    }

    /// Tells the others that no call of this rank will come, for its program has panicked.
    fn give_up(&mut self) {
        self.standing.abort("the thread that held the communicator panicked");
        self.engine.settle();
        self.standing.leave(self.sequence);
    }

    fn leave_in_order(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.has_left, true) {
            return Ok(());
        }
        let limit = DRAIN_LIMIT.min(self.timeout);
        let drained = self.engine.drain(limit);
        let duty = OnDuty { standing: Arc::clone(&self.standing), last: self.sequence };
        let works_on = drained.is_ok() && !duty.has_failed();
        let differs = if works_on && self.engine.work_on(Box::new(duty), self.timeout) {
            self.standing.retire(self.sequence);
            Ok(())
        } else {
            self.standing.leave_comparing(self.sequence)
        };
        if drained? { differs } else { Err(Error::NotDelivered { waited: limit }) }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        // The copy of a communicator in a forked child is nobody's farewell.
        if self.standing.is_forked() {
            return;
        }
        if std::thread::panicking() && !self.has_left {
            return self.give_up();
        }
        if let Err(error) = self.leave_in_order() {
            tracing::warn!("rank {} could not leave in order: {error}", self.world.rank);
        }
    }
}

impl std::fmt::Debug for Communicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Communicator")
            .field("rank", &self.world.rank)
            .field("size", &self.world.size)
            .field("sequence", &self.sequence)
            .field("has_failed", &self.standing.has_failed())
            .finish_non_exhaustive()
    }
}

/// How long leaving waits for slow peers to take what was sent to them.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
