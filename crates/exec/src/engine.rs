//! Owns a rank's engine: the blocking call, which the caller drives in its own thread, and the way into
//! the queue of operations that others drive.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_ir::{ChunkMap, Plan, Rank};
use crosstie_transport::seam::{Counters, Endpoint, WireCounters};
use crosstie_transport::{Doorbell, Driver, TransportError};

use crate::machine::{Clock, Machine, Seat};
use crate::memory::Owned;
use crate::queue::{Core, Submission};
use crate::reduce::Reducer;
use crate::retirement::{Oversight, Terms};
use crate::wide::Wide;
use crate::{Buffers, ExecError, Known, Program, Ticket, WaitPolicy, Watch};

/// Drives one rank's connections.
///
/// Whoever waits, drives: [`run`](Self::run) polls the endpoints in the caller's own thread. Operations
/// that were [submitted](Self::submit) are driven by whoever waits for one of them, and else by a
/// background thread, which is started by the first of them.
pub struct Engine {
    pub(crate) rank: Rank,
    pub(crate) ranks: u32,
    pub(crate) core: Arc<Core>,
    /// Who oversees it after its last call, if it works on for others.
    terms: Option<Terms>,
    /// The process that made it: a forked child has neither its thread nor its place among the ranks.
    process: u32,
}

/// One call of an operation: what to run, on what.
#[derive(Debug)]
pub struct Call<'a> {
    /// The plan, resolved.
    pub program: &'a Program,
    /// Where its chunks lie.
    pub map: ChunkMap,
    /// How two elements become one, where the plan reduces.
    pub reducer: Option<Reducer>,
    /// The caller's memory.
    pub buffers: Buffers<'a>,
    /// How long the call may stand still.
    pub limit: Duration,
    /// What tells the call from others, the same on every rank: a hash, of which 24 bits are used.
    pub tag: u32,
}

impl Engine {
    /// An engine for `rank` of `ranks` over `endpoints`, woken by `doorbell`.
    ///
    /// # Errors
    /// [`TransportError::System`] when an endpoint's descriptor cannot be duplicated.
    pub fn new(
        rank: Rank,
        ranks: u32,
        endpoints: Vec<Box<dyn Endpoint>>,
        doorbell: Arc<Doorbell>,
        wait: WaitPolicy,
    ) -> Result<Self, TransportError> {
        let wake = endpoints
            .iter()
            .filter_map(|e| e.wake_fd())
            .map(|fd| fd.try_clone_to_owned())
            .collect::<io::Result<_>>()
            .map_err(|source| TransportError::System {
                call: "duplicating an endpoint's descriptor".to_owned(),
                source,
            })?;
        let machine = Machine::new(endpoints, wake, wait);
        let core = Arc::new(Core::new(machine, doorbell));
        core.go_on_duty()?;
        Ok(Self { rank, ranks, core, terms: None, process: std::process::id() })
    }

    /// Resolves this rank's slice of a plan against the engine's connections, for calls in place and others.
    ///
    /// # Errors
    /// [`ExecError::NoConnection`].
    pub fn resolve(&self, slice: Plan) -> Result<Program, ExecError> {
        self.core.visit(|machine| {
            let known = Known { in_place: true, ahead: 0, past_relays: None };
            Program::resolve(slice, self.rank, &machine.endpoints, known)
        })
    }

    /// As [`resolve`](Self::resolve), for calls of which more is known.
    ///
    /// # Errors
    /// [`ExecError::NoConnection`].
    pub fn resolve_for(&self, slice: Plan, known: Known) -> Result<Program, ExecError> {
        self.core.visit(|machine| Program::resolve(slice, self.rank, &machine.endpoints, known))
    }

    /// Runs one call to its end, after all that was submitted before.
    ///
    /// After an error the engine never touches a connection again, so that no transport reaches
    /// the caller's memory later; every further call is refused.
    ///
    /// # Errors
    /// Any [`ExecError`].
    pub fn run(&mut self, mut call: Call<'_>, watch: &dyn Watch) -> Result<(), ExecError> {
        let Call { program, ref map, reducer, tag, .. } = call;
        let (input, output) =
            call.buffers.regions(&program.plan, map, (self.rank.0, self.ranks))?;
        let wide = Wide::of(reducer, map, (&input, &output))?;
        let areas = wide.as_ref().map_or((&input, &output), Wide::areas);
        let mut helm = self.core.helm();
        let doorbell = &self.core.doorbell;
        if helm.machine.poisoned || !doorbell.take(Driver::Application) {
            return Err(ExecError::Poisoned);
        }
        let run = helm.machine.bind(program, map, areas, reducer, tag);
        helm.machine.begin(program, tag);
        watch.began();
        let seat = Seat { driver: Driver::Application, doorbell, gives_way: &|| false };
        let result = helm.machine.drive(&run, &mut Clock::new(call.limit), watch, &seat);
        self.core.leave();
        let result = result.and_then(|_| wide.as_ref().map_or(Ok(()), Wide::round));
        if result.is_err() && helm.machine.is_borrowed() {
            wide.into_iter().for_each(Wide::leak);
        }
        drop(helm);
        watch.ended(&result);
        result
    }

    /// Queues an operation on memory that moves into it.
    ///
    /// # Errors
    /// [`ExecError::Binding`]; [`ExecError::Transport`] when the background thread cannot start.
    pub fn submit(&self, what: Submission, mut memory: Owned) -> Result<Ticket, ExecError> {
        let place = (self.rank.0, self.ranks);
        let regions = memory.borrow().regions(&what.program.plan, &what.map, place)?;
        let done = self.core.submit(what, regions, Some(memory))?;
        Ok(Ticket::new(&self.core, done))
    }

    /// Advances what was submitted without waiting; whether any of it is left.
    ///
    /// Nobody needs to call it, for the background thread does; but a thread that polls many
    /// engines in turn wakes none.
    pub fn progress(&self) -> bool {
        self.core.progress()
    }

    /// Waits until all that was submitted is over.
    pub fn settle(&self) {
        self.core.settle();
    }

    /// What each endpoint has moved, by the transport's name, or by those of its media.
    pub fn counters(&self) -> Vec<(&'static str, Counters)> {
        let endpoints = |machine: &mut Machine| {
            machine.endpoints.iter().flat_map(|e| e.counters_by_medium()).collect()
        };
        self.core.visit(endpoints)
    }

    /// The wires on which this rank sends, and what has left on each.
    pub fn wires(&self) -> Vec<WireCounters> {
        self.core.visit(|machine| machine.endpoints.iter().flat_map(|e| e.wires()).collect())
    }

    /// Bytes of scratch memory: as much as any operation needed so far.
    pub fn scratch_bytes(&self) -> u64 {
        self.core.visit(|machine| machine.scratch.bytes() as u64)
    }

    /// Bytes of scratch memory that a call of `program` needs.
    pub fn workspace_bytes(
        &self,
        program: &Program,
        map: &ChunkMap,
        reducer: Option<&Reducer>,
    ) -> u64 {
        let (scratch, bounce) = self.core.visit(|machine| machine.workspace(program, map, reducer));
        scratch as u64 + bounce as u64
    }

    /// Has values of `bytes` and more lent where they can be; `usize::MAX`: none.
    pub fn lend_from(&self, bytes: usize) {
        self.core.visit(|machine| {
            machine.endpoints.iter_mut().for_each(|endpoint| endpoint.lend_from(bytes));
        });
    }

    /// Bytes of memory that operations keep for ever, because something may still reach it.
    pub fn leaked_bytes(&self) -> u64 {
        self.core.leaked_bytes()
    }

    /// Where others of the node still need this rank, has the engine, once dropped, work for them until they
    /// have left, `oversight` tells of a failure or it has sent nothing on for `patience`; says whether it will.
    /// Otherwise, or not called, it works for them a second longer at most.
    pub fn work_on(&mut self, oversight: Box<dyn Oversight>, patience: Duration) -> bool {
        let works_on = self.core.works_on();
        if works_on {
            self.terms = Some(Terms { oversight, patience });
        }
        works_on
    }

    /// Waits until everything submitted is over and everything sent has left this process, so that
    /// it may end; `false` when `limit` passed first. A poisoned engine has nothing to save.
    ///
    /// # Errors
    /// [`TransportError`] of an endpoint.
    pub fn drain(&mut self, limit: Duration) -> Result<bool, TransportError> {
        let mut helm = self.core.helm();
        let (started, mut drained) = (Instant::now(), None);
        while !helm.machine.poisoned {
            let mut is_drained = true;
            for endpoint in &mut helm.machine.endpoints {
                endpoint.progress()?;
                is_drained &= endpoint.drained()?;
            }
            if is_drained {
                // Those that this rank works for mostly leave at about the same time.
                let since = drained.get_or_insert_with(Instant::now);
                if helm.machine.is_relieved() || since.elapsed() > COMPANY {
                    break;
                }
            } else if started.elapsed() > limit {
                return Ok(false);
            }
            std::thread::sleep(DRAIN_PAUSE);
        }
        Ok(true)
    }
}

impl Drop for Engine {
    /// Refuses what was submitted and is not over, and closes the connections. The copy in a forked child closes none:
    /// sockets and devices' objects are its parent's, which goes on with them.
    fn drop(&mut self) {
        if self.process == std::process::id() {
            self.core.stop(self.terms.take());
        } else {
            let _never_dropped = ManuallyDrop::new(Arc::clone(&self.core));
        }
    }
}

/// Between two looks at whether the network took the last bytes.
const DRAIN_PAUSE: Duration = Duration::from_micros(200);

/// How long a rank that has nothing more to do itself waits for those that it works for.
const COMPANY: Duration = Duration::from_millis(20);
