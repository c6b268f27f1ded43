//! Owns the operations that were submitted and are not over, and who drives them: whoever waits, else
//! the background thread.
//!
//! # The protocol
//! 1. Operations wait in the queue, in order. The one that has begun lies at the helm; it is
//!    touched by whoever holds the helm's lock, and by nobody else.
//! 2. An operation is over when nobody will touch its memory any more. Only then its
//!    [`Completion`] says so, and holds its memory and its result.
//! 3. Who waits for an operation counts itself in `waiting` and rings a driver that sleeps at the
//!    doorbell. It takes the helm if that is free, and drives until its own operation is over; else
//!    it sleeps on `turn`.
//! 4. The background thread gives the helm up as soon as it sees `waiting` above zero. It takes it
//!    only while nobody waits.
//! 5. Whoever gives the helm up, and whoever ends an operation, takes the queue's lock afterwards and
//!    rings `turn`. Sleepers look at the helm and at their completion under that lock, so no turn is lost.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use crosstie_ir::ChunkMap;
use crosstie_transport::{Doorbell, Driver, TransportError};

use crate::buffers::Area;
use crate::duty::Duty;
use crate::machine::{Clock, Driven, Machine, Seat};
use crate::memory::Owned;
use crate::retirement::{Retirement, Terms};
use crate::wide::Wide;
use crate::{ExecError, Program, Reducer, Watch};

/// What to run later, on buffers that are given beside it.
pub struct Submission {
    /// The plan, resolved.
    pub program: Arc<Program>,
    /// Where its chunks lie.
    pub map: ChunkMap,
    /// How two elements become one, where the plan reduces.
    pub reducer: Option<Reducer>,
    /// How long the operation may stand still once it has begun.
    pub limit: Duration,
    /// What tells the call from others, as in [`crate::Call`].
    pub tag: u32,
    /// Who follows it.
    pub watch: Box<dyn Watch + Send>,
}

/// An operation that was submitted and is not over.
pub(crate) struct Operation {
    what: Submission,
    input: Area,
    output: Area,
    wide: Option<Wide>,
    clock: Clock,
    /// `None` where a scope holds the borrow of the memory.
    memory: Option<Owned>,
    done: Arc<Completion>,
}

/// The end of an operation, for those who wait for it.
#[derive(Default)]
pub(crate) struct Completion {
    over: AtomicBool,
    end: Mutex<End>,
}

#[derive(Default)]
struct End {
    result: Option<Result<(), ExecError>>,
    memory: Option<Owned>,
    waker: Option<Waker>,
}

impl Completion {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Whether it is over; else `waker` is woken when it is.
    pub fn poll(&self, waker: &Waker) -> bool {
        let mut end = lock(&self.end);
        // Under the lock, which whoever ends the operation takes before it looks for a waker.
        if !self.is_over() {
            end.waker = Some(waker.clone());
        }
        self.is_over()
    }

    /// Result and memory, once.
    pub fn take(&self) -> (Option<Result<(), ExecError>>, Option<Owned>) {
        let mut end = lock(&self.end);
        (end.result.take(), end.memory.take())
    }
}

/// What a rank's engine, its operations and its background thread share.
pub(crate) struct Core {
    pub doorbell: Arc<Doorbell>,
    pub(crate) helm: Mutex<Helm>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) turn: Condvar,
    /// Operations submitted and not over. Only the application's thread that holds the engine adds.
    pending: AtomicUsize,
    /// Threads of the application that want the helm, be it to drive or to look at the machine.
    pub(crate) waiting: AtomicUsize,
    /// Those of them that only look.
    visiting: AtomicUsize,
    leaked_bytes: AtomicU64,
    /// Whether this rank works for others of its node: see `duty`.
    pub serves: bool,
    pub(crate) duty: Duty,
}

/// What only the driver touches.
pub(crate) struct Helm {
    pub machine: Machine,
    current: Option<Operation>,
    /// Of operations that are over: woken once the helm is free, for a waker may run its task at once,
    /// and that may want the helm.
    wakers: Vec<Waker>,
}

#[derive(Default)]
pub(crate) struct Queue {
    operations: VecDeque<Operation>,
    /// The one that was submitted last.
    last: Option<Arc<Completion>>,
    background: Option<JoinHandle<()>>,
    /// The background thread is to end.
    stopping: bool,
    /// It is to end when the others of the node have left, too.
    retirement: Option<Retirement>,
}

impl Queue {
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }
}

impl Core {
    pub fn new(machine: Machine, doorbell: Arc<Doorbell>) -> Self {
        Self {
            serves: machine.serves(),
            duty: Duty::default(),
            doorbell,
            helm: Mutex::new(Helm { machine, current: None, wakers: Vec::new() }),
            queue: Mutex::default(),
            turn: Condvar::new(),
            pending: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            visiting: AtomicUsize::new(0),
            leaked_bytes: AtomicU64::new(0),
        }
    }

    /// The helm, for a blocking call; what was submitted before is over when it returns.
    #[inline]
    pub fn helm(&self) -> MutexGuard<'_, Helm> {
        if self.pending.load(Ordering::Acquire) > 0 {
            self.settle();
        }
        if self.serves {
            return self.helm_from_duty();
        }
        lock(&self.helm)
    }

    /// The helm, which the background thread gives up when it sees that it is wanted.
    fn helm_from_duty(&self) -> MutexGuard<'_, Helm> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let helm = lock(&self.helm);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        helm
    }

    /// The application is between calls from now on.
    #[inline]
    pub fn leave(&self) {
        if self.serves { self.leave_to_duty() } else { self.doorbell.leave() }
    }

    /// Whether something that was submitted is not over.
    pub fn has_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire) > 0
    }

    /// Looks at the machine, between two rounds of whoever drives it.
    pub fn visit<R>(&self, look: impl FnOnce(&mut Machine) -> R) -> R {
        self.visiting.fetch_add(1, Ordering::SeqCst);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.doorbell.published();
        let mut helm = lock(&self.helm);
        self.visiting.fetch_sub(1, Ordering::SeqCst);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let seen = look(&mut helm.machine);
        drop(helm);
        self.next_turn();
        seen
    }

    /// Wakes those who sleep until the helm is free or an operation is over: rule 5.
    pub(crate) fn next_turn(&self) {
        drop(lock(&self.queue));
        self.turn.notify_all();
    }

    /// Queues an operation. Its memory is `memory`, or is held by whoever waits for its end.
    pub fn submit(
        self: &Arc<Self>,
        what: Submission,
        (input, output): (Area, Area),
        memory: Option<Owned>,
    ) -> Result<Arc<Completion>, ExecError> {
        let done = Arc::<Completion>::default();
        let wide = Wide::of(what.reducer, &what.map, (&input, &output))?;
        let mut queue = lock(&self.queue);
        self.start_background(&mut queue).map_err(ExecError::transport)?;
        let clock = Clock::new(what.limit);
        let operation =
            Operation { what, input, output, wide, clock, memory, done: Arc::clone(&done) };
        queue.operations.push_back(operation);
        queue.last = Some(Arc::clone(&done));
        self.pending.fetch_add(1, Ordering::Release);
        self.turn.notify_all();
        if self.serves {
            // The background thread may be waiting at the doorbell.
            self.doorbell.ring();
        }
        Ok(done)
    }

    /// Starts the background thread of a rank that works for others, which has work from the beginning.
    pub fn go_on_duty(self: &Arc<Self>) -> Result<(), TransportError> {
        if self.serves { self.start_background(&mut lock(&self.queue)) } else { Ok(()) }
    }

    fn start_background(self: &Arc<Self>, queue: &mut Queue) -> Result<(), TransportError> {
        if queue.background.is_some() {
            return Ok(());
        }
        let core = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("crosstie-engine".to_owned())
            .spawn(move || core.background())
            .map_err(|source| TransportError::System {
                call: "starting the background thread".to_owned(),
                source,
            });
        queue.background = Some(thread?);
        Ok(())
    }

    /// Waits until everything submitted so far is over.
    #[cold]
    pub fn settle(&self) {
        let last = lock(&self.queue).last.clone();
        if let Some(last) = last {
            self.wait(&last);
        }
    }

    /// Waits until an operation is over, and drives it there if nobody else does.
    pub fn wait(&self, done: &Completion) {
        if done.is_over() {
            return;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // A background thread that sleeps at the doorbell gives way; it looks at `waiting` after it
        // has said that it sleeps.
        self.doorbell.published();
        let gives_way = || done.is_over() || self.visiting.load(Ordering::Relaxed) > 0;
        while !done.is_over() {
            match self.try_helm() {
                Some(helm) => self.drive(helm, Driver::Application, &gives_way),
                None => self.sleep_until_turn(done),
            }
            if self.visiting.load(Ordering::Relaxed) > 0 {
                std::thread::yield_now();
            }
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        // What is left is the background thread's.
        if self.pending.load(Ordering::Acquire) > 0 {
            self.next_turn();
        }
    }

    pub(crate) fn try_helm(&self) -> Option<MutexGuard<'_, Helm>> {
        match self.helm.try_lock() {
            Ok(helm) => Some(helm),
            Err(TryLockError::Poisoned(helm)) => Some(helm.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn sleep_until_turn(&self, done: &Completion) {
        let queue = lock(&self.queue);
        if self.try_helm().is_none() && !done.is_over() {
            drop(self.turn.wait(queue));
        }
    }

    /// Advances the operation at the head of the queue as far as it goes without waiting, if nobody
    /// else drives; whether any operation is left.
    pub fn progress(&self) -> bool {
        if let Some(helm) = self.try_helm() {
            self.drive(helm, Driver::Application, &|| true);
        }
        self.pending.load(Ordering::Acquire) > 0
    }

    /// Drives operations, in order, until none is left, a task is to be woken or `gives_way` says so.
    fn drive(&self, mut helm: MutexGuard<'_, Helm>, driver: Driver, gives_way: &dyn Fn() -> bool) {
        let seat = Seat { driver, doorbell: &self.doorbell, gives_way };
        if !self.doorbell.take(driver) {
            // No other process may write the owner word; one that does has broken the engine.
            helm.machine.poisoned = true;
        }
        while let Some(operation) = self.next(&mut helm) {
            if let Some(operation) = self.advance(&mut helm, operation, &seat) {
                helm.current = Some(operation);
                break;
            }
            if gives_way() || !helm.wakers.is_empty() {
                break;
            }
        }
        self.leave();
        let wakers = std::mem::take(&mut helm.wakers);
        drop(helm);
        self.next_turn();
        wake(wakers);
    }

    /// The operation to drive: the one that has begun, else the next one.
    fn next(&self, helm: &mut Helm) -> Option<Operation> {
        if let Some(operation) = helm.current.take() {
            return Some(operation);
        }
        let operation = lock(&self.queue).operations.pop_front()?;
        if !helm.machine.poisoned {
            helm.machine.begin(&operation.what.program, operation.what.tag);
            operation.what.watch.began();
        }
        Some(operation)
    }

    /// Drives one operation; gives it back if it is not over.
    fn advance(
        &self,
        helm: &mut Helm,
        mut operation: Operation,
        seat: &Seat<'_>,
    ) -> Option<Operation> {
        let machine = &mut helm.machine;
        if machine.poisoned {
            helm.wakers.extend(self.end(operation, Err(ExecError::Poisoned)));
            return None;
        }
        let Operation { what, input, output, wide, clock, .. } = &mut operation;
        let areas = wide.as_ref().map_or((&*input, &*output), Wide::areas);
        let run = machine.bind(&what.program, &what.map, areas, what.reducer, what.tag);
        let drive = || machine.drive(&run, clock, &*what.watch, seat);
        let result = match catch_unwind(AssertUnwindSafe(drive)) {
            Ok(Ok(Driven::GaveWay)) => return Some(operation),
            Ok(Ok(Driven::Complete)) => wide.as_ref().map_or(Ok(()), Wide::round),
            Ok(Err(error)) => {
                // A peer that still reads what it was lent must not see it become somebody else's.
                if machine.is_borrowed() {
                    self.leak(&mut operation);
                }
                Err(error)
            }
            Err(_) => {
                // Nobody knows how far it came, so nobody vouches for what may still reach the memory.
                self.leak(&mut operation);
                Err(ExecError::Panicked)
            }
        };
        helm.wakers.extend(self.end(operation, result));
        None
    }

    #[cold]
    fn leak(&self, operation: &mut Operation) {
        operation.wide.take().into_iter().for_each(Wide::leak);
        if let Some(memory) = operation.memory.take() {
            self.leaked_bytes.fetch_add(memory.bytes() as u64, Ordering::Relaxed);
            memory.leak();
        }
    }

    /// Ends an operation that nobody touches any more: its owner learns it, by this waker if it polls.
    fn end(&self, operation: Operation, result: Result<(), ExecError>) -> Option<Waker> {
        let Operation { what, memory, done, .. } = operation;
        what.watch.ended(&result);
        let mut end = lock(&done.end);
        end.result = Some(result);
        end.memory = memory;
        done.over.store(true, Ordering::Release);
        let waker = end.waker.take();
        drop(end);
        self.pending.fetch_sub(1, Ordering::Release);
        self.next_turn();
        waker
    }

    /// The background thread: drives while there is work and nobody waits.
    fn background(&self) {
        let is_wanted = || self.waiting.load(Ordering::SeqCst) > 0;
        loop {
            let mut queue = lock(&self.queue);
            loop {
                if queue.stopping {
                    let retirement = queue.retirement.take();
                    drop(queue);
                    return retirement.into_iter().for_each(|retirement| self.retire(retirement));
                }
                let has_work = self.pending.load(Ordering::Acquire) > 0;
                if has_work && !is_wanted() && self.try_helm().is_some() {
                    break;
                }
                if self.serves {
                    drop(queue);
                    self.serve();
                    queue = lock(&self.queue);
                } else {
                    queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            }
            drop(queue);
            if let Some(helm) = self.try_helm() {
                self.drive(helm, Driver::Background, &is_wanted);
            }
        }
    }

    /// Whether others of the node still need this rank.
    pub fn works_on(&self) -> bool {
        self.serves && {
            let helm = self.helm();
            !helm.machine.poisoned && !helm.machine.is_relieved()
        }
    }

    /// Ends the background thread and refuses all that is left; no connection is touched again, unless
    /// others still need this rank: then that thread works for them on these terms.
    pub fn stop(&self, terms: Option<Terms>) {
        let works_on = self.works_on();
        let (background, terms) = {
            let mut queue = lock(&self.queue);
            queue.stopping = true;
            if works_on {
                queue.retirement = Some(Retirement::begin(terms));
                (queue.background.take(), None)
            } else {
                (queue.background.take(), terms)
            }
        };
        self.turn.notify_all();
        if works_on {
            // The thread goes on for others, and ends by itself.
            self.doorbell.ring();
            return;
        }
        terms.into_iter().for_each(|terms| terms.oversight.over());
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.doorbell.ring();
        if let Some(thread) = background {
            // Its panics are caught where they could happen.
            let _ = thread.join();
        }
        let mut helm = lock(&self.helm);
        helm.machine.poisoned = true;
        let mut wakers = std::mem::take(&mut helm.wakers);
        while let Some(operation) = self.next(&mut helm) {
            wakers.extend(self.end(operation, Err(ExecError::Poisoned)));
        }
        helm.machine.endpoints.clear();
        drop(helm);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        wake(wakers);
    }

    /// Bytes of memory that operations keep for ever, because something may still reach it.
    pub fn leaked_bytes(&self) -> u64 {
        self.leaked_bytes.load(Ordering::Relaxed)
    }
}

/// Wakes tasks. A waker is the application's code: a panic in it ends neither this thread nor the wait of
/// another.
fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        // The panic has been reported by its hook.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// Nothing that holds one of these locks leaves its data halfway through a change: the machine says
/// itself whether it was left in the middle of an operation.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
