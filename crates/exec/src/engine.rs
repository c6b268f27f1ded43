//! Owns a rank's engine: it drives the endpoints and the blocks of one operation at a time, in
//! the thread that waits for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_ir::{ChunkMap, Plan, Rank};
use crosstie_transport::seam::{Counters, Endpoint, TAG_MASK};
use crosstie_transport::{Doorbell, Driver, TransportError};

use crate::buffers::Scratch;
use crate::interpreter::{Advance, BlockState, Run};
use crate::reduce::Reducer;
use crate::wait::{Paused, Waiter};
use crate::{Buffers, ExecError, Program, WaitPolicy, Waiting};

/// How long a sleeper goes without looking around by itself: every event that matters rings, so
/// this only bounds the cost of a lost wake-up that nobody foresaw.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// Drives one rank's connections.
///
/// Whoever waits, drives: [`run`](Self::run) polls the endpoints in the caller's own thread.
pub struct Engine {
    rank: Rank,
    ranks: u32,
    work: Work,
    scratch: Scratch,
    doorbell: Arc<Doorbell>,
    /// Descriptors of endpoints whose peers do not ring the doorbell.
    wake: Vec<OwnedFd>,
    waiter: Waiter,
    poisoned: bool,
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
    /// How long the call may take.
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
        let work = Work { endpoints, states: Vec::new(), active: Vec::new() };
        let scratch = Scratch::default();
        Ok(Self {
            rank,
            ranks,
            work,
            scratch,
            doorbell,
            wake,
            waiter: Waiter::new(wait),
            poisoned: false,
        })
    }

    /// Resolves this rank's slice of a plan against the engine's connections.
    ///
    /// # Errors
    /// [`ExecError::NoConnection`].
    pub fn resolve(&self, slice: Plan) -> Result<Program, ExecError> {
        Program::resolve(slice, self.rank, &self.work.endpoints)
    }

    /// Runs one call to its end.
    ///
    /// `interrupted` is looked at whenever nothing moves; the doorbell's ring makes a sleeper look.
    /// After an error the engine never touches a connection again, so that no transport reaches
    /// the caller's memory later; every further call is refused.
    ///
    /// # Errors
    /// Any [`ExecError`].
    pub fn run(
        &mut self,
        mut call: Call<'_>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ExecError> {
        let plan = &call.program.plan;
        let (input, output) = call.buffers.regions(plan.collective, self.rank.0, self.ranks)?;
        if self.poisoned || !self.doorbell.take(Driver::Application) {
            return Err(ExecError::Poisoned);
        }
        let run = Run {
            program: call.program,
            map: call.map,
            windows: call.map.windows(),
            input,
            output,
            scratch: self.scratch.at_least(call.map.scratch_bytes(plan.scratch_chunks) as usize),
            reducer: call.reducer,
            slot_bytes: self.slot_bytes(),
            tag: call.tag & TAG_MASK,
        };
        self.work.begin(plan.blocks.len(), run.tag);
        // Also where the call ends in a panic: a transport may still know the caller's memory.
        self.poisoned = true;
        let result = self.drive(&run, call.limit, interrupted);
        self.doorbell.leave();
        self.poisoned = result.is_err();
        if self.poisoned {
            self.work.endpoints.iter_mut().for_each(|endpoint| endpoint.withdraw());
        }
        result
    }

    fn drive(
        &mut self,
        run: &Run<'_>,
        limit: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ExecError> {
        let mut busy: u32 = 0;
        let mut started = None;
        loop {
            if self.work.progress(run)? {
                self.waiter.moved();
                busy += 1;
            }
            if self.work.is_done() {
                return Ok(());
            }
            if busy == BUSY_ROUNDS {
                busy = 0;
                self.left(&mut started, limit, run)?;
            }
            let paused = self.waiter.pause();
            if paused == Paused::Spun {
                continue;
            }
            if interrupted() {
                return Err(ExecError::Interrupted { waiting: self.work.waiting(run) });
            }
            if paused == Paused::Yielded {
                continue;
            }
            // No clock is read before all spins and yields failed: a short call needs none.
            let left = self.left(&mut started, limit, run)?;
            self.sleep(run, left.min(LONGEST_SLEEP), interrupted)?;
        }
    }

    /// What is left of `limit`, counted from the first time it was asked for.
    fn left(
        &self,
        started: &mut Option<Instant>,
        limit: Duration,
        run: &Run<'_>,
    ) -> Result<Duration, ExecError> {
        let started = *started.get_or_insert_with(Instant::now);
        let left = limit.checked_sub(started.elapsed());
        left.ok_or_else(|| ExecError::Deadline { limit, waiting: self.work.waiting(run) })
    }

    /// Sleeps until something may have happened, unless the look after falling asleep finds work.
    fn sleep(
        &mut self,
        run: &Run<'_>,
        timeout: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ExecError> {
        self.doorbell.fall_asleep();
        let found = self.work.progress(run);
        let waited = match found {
            Ok(moved) if moved || self.work.is_done() || interrupted() => Ok(()),
            Ok(_) => {
                let fds: Vec<BorrowedFd<'_>> = self.wake.iter().map(AsFd::as_fd).collect();
                self.doorbell.wait(&fds, timeout)
            }
            Err(_) => Ok(()),
        };
        let taken = self.doorbell.take(Driver::Application);
        found?;
        waited.map_err(ExecError::transport)?;
        if taken { Ok(()) } else { Err(ExecError::Poisoned) }
    }

    /// Bytes of the longest message that every connection carries.
    pub fn slot_bytes(&self) -> usize {
        self.work.endpoints.iter().map(|e| e.limits().slot_bytes).min().unwrap_or(usize::MAX)
    }

    /// What each endpoint has moved, by the transport's name.
    pub fn counters(&self) -> Vec<(&'static str, Counters)> {
        self.work.endpoints.iter().map(|e| (e.name(), e.counters())).collect()
    }

    /// Waits until everything sent has left this process, so that it may end; `false` when
    /// `limit` passed first. A poisoned engine has nothing to save.
    ///
    /// # Errors
    /// [`TransportError`] of an endpoint.
    pub fn drain(&mut self, limit: Duration) -> Result<bool, TransportError> {
        let started = Instant::now();
        while !self.poisoned {
            let mut drained = true;
            for endpoint in &mut self.work.endpoints {
                endpoint.progress()?;
                drained &= endpoint.drained()?;
            }
            if drained {
                break;
            }
            if started.elapsed() > limit {
                return Ok(false);
            }
            std::thread::sleep(DRAIN_PAUSE);
        }
        Ok(true)
    }
}

/// So many rounds that moved something pass between two looks at the clock of a busy call.
const BUSY_ROUNDS: u32 = 1024;

/// Between two looks at whether the network took the last bytes.
const DRAIN_PAUSE: Duration = Duration::from_micros(200);

/// The endpoints, and where the blocks of the present operation stand.
struct Work {
    endpoints: Vec<Box<dyn Endpoint>>,
    states: Vec<BlockState>,
    /// Blocks that are not finished, in the plan's order: the order of posting.
    active: Vec<u32>,
}

impl Work {
    fn begin(&mut self, blocks: usize, tag: u32) {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.begin_call(tag));
        self.states.clear();
        self.states.resize(blocks, BlockState::START);
        self.active.clear();
        self.active.extend(0..blocks as u32);
    }

    /// Whether the operation is over here: no block has more to do, no message of this rank
    /// waits for a further round that may come only with the next operation, and what it lent is back.
    fn is_done(&mut self) -> bool {
        let over =
            |endpoint: &mut Box<dyn Endpoint>| endpoint.flushed() && endpoint.borrower().is_none();
        self.active.is_empty() && self.endpoints.iter_mut().all(over)
    }

    /// Advances every active block once and moves bytes; whether anything moved.
    fn progress(&mut self, run: &Run<'_>) -> Result<bool, ExecError> {
        let mut moved = false;
        let mut kept = 0;
        for i in 0..self.active.len() {
            let block = self.active[i];
            match run.advance(&mut self.endpoints, &mut self.states, block as usize) {
                Ok(Advance::Finished) => {
                    moved = true;
                    continue;
                }
                Ok(Advance::Moved) => moved = true,
                Ok(Advance::Blocked) => {}
                Err(error) => return Err(self.located(run, error)),
            }
            self.active[kept] = block;
            kept += 1;
        }
        self.active.truncate(kept);
        for i in 0..self.endpoints.len() {
            match self.endpoints[i].progress() {
                Ok(any) => moved |= any,
                Err(source) => return Err(self.located(run, ExecError::transport(source))),
            }
        }
        Ok(moved)
    }

    #[cold]
    fn located(&self, run: &Run<'_>, error: ExecError) -> ExecError {
        match error {
            // The peer failed first: what ended its operation is what all ranks will hear.
            ExecError::Transport { source, .. }
                if matches!(*source, TransportError::Withdrawn { .. }) =>
            {
                ExecError::Interrupted { waiting: self.waiting(run) }
            }
            ExecError::Transport { source, .. } => {
                ExecError::Transport { source, waiting: self.waiting(run) }
            }
            other => other,
        }
    }

    #[cold]
    fn waiting(&self, run: &Run<'_>) -> Vec<Waiting> {
        self.active.iter().filter_map(|&b| run.waiting(&self.states, b as usize)).collect()
    }
}
