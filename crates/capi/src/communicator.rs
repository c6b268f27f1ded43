//! Owns what `ncclComm_t` stands for: a communicator with its states, from connecting to left, and
//! what is under way on it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, TryLockError};

use crosstie::{AbortHandle, Cancel, Cause, Communicator, DataType, Error, Failure, ReduceOp};

use crate::config::Config;
use crate::errors::{Answer, Code, Refusal, Told, lock};
use crate::handles::{Found, Handle, Handles};
use crate::pointer::Span;
use crate::types::{self, OWN_REDUCTIONS, Place};
use crate::worker::Worker;

/// All that are alive.
pub static COMMUNICATORS: Handles<Comm> = Handles::new("communicator");

thread_local! {
    static FOUND: RefCell<Option<Found<Comm>>> = const { RefCell::new(None) };
}

/// The communicator that `handle` stands for, for calls that are to be quick.
pub fn find(handle: Handle) -> Answer<Arc<Comm>> {
    let found = FOUND.try_with(|found| COMMUNICATORS.find_again(handle, &mut found.borrow_mut()));
    // A thread that is ending remembers none.
    found.unwrap_or_else(|_| COMMUNICATORS.find(handle))
}

/// A communicator of the program; on cache lines of its own, for the ranks of one process are often
/// made one after the other, and each call locks its own.
#[repr(align(128))]
pub struct Comm {
    pub config: Config,
    /// The process that made it; forked children have it, too, but it is not theirs.
    pub process: u32,
    /// The number of the device that it was made for.
    pub device: c_int,
    pub worker: Worker,
    place: OnceLock<Place>,
    /// Locked while a call runs.
    seat: Mutex<Seat>,
    abort: OnceLock<AbortHandle>,
    /// Ends its connecting, and that of communicators that are made of it.
    pub cancel: Cancel,
    /// Whether the program gave it up while it was connecting.
    abandoned: AtomicBool,
    under_way: Mutex<usize>,
    idle: Condvar,
    /// Why something failed that nobody waited for.
    async_error: Mutex<Option<Unawaited>>,
    last: Mutex<Option<Told>>,
    /// Whether a call has failed with the communicator.
    is_told: AtomicBool,
    /// Whether the program revoked it.
    revoked: AtomicBool,
    /// Whether another was made of its ranks that are left.
    shrunk: AtomicBool,
    reductions: Mutex<BTreeMap<c_int, OwnReduction>>,
}

enum Seat {
    Connecting,
    Joined(Box<Communicator>),
    Left,
    Failed(Refusal),
}

/// Why something failed that nobody waited for.
struct Unawaited {
    code: Code,
    /// Whether there is no communicator because of it; else calls go on.
    lasts: bool,
    was_told: bool,
}

/// Something that a communicator has been asked for, until it is over.
pub struct UnderWay(Arc<Comm>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *lock(&self.0.under_way) -= 1;
        self.0.idle.notify_all();
    }
}

/// A reduction that a program made: of one type only, with a factor that is read when it is needed.
#[derive(Clone, Copy)]
pub struct OwnReduction {
    pub data_type: DataType,
    pub factor: Scalar,
}

/// The number of the next one.
static NEXT_REDUCTION: AtomicI32 = AtomicI32::new(OWN_REDUCTIONS);

/// Where a factor is.
#[derive(Debug, Clone, Copy)]
pub enum Scalar {
    Known(ReduceOp),
    /// In memory, to be read by each call as it runs.
    At(Span),
}

impl Comm {
    /// One that is about to connect; `place` where it is known beforehand.
    pub fn new(config: Config, place: Option<Place>, device: c_int) -> Arc<Self> {
        Arc::new(Self {
            config,
            process: std::process::id(),
            device,
            worker: Worker::default(),
            place: place.map_or_else(OnceLock::new, OnceLock::from),
            seat: Mutex::new(Seat::Connecting),
            abort: OnceLock::new(),
            cancel: Cancel::default(),
            abandoned: AtomicBool::new(false),
            under_way: Mutex::new(0),
            idle: Condvar::new(),
            async_error: Mutex::new(None),
            last: Mutex::new(None),
            is_told: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            shrunk: AtomicBool::new(false),
            reductions: Mutex::new(BTreeMap::new()),
        })
    }

    /// Its rank and size, once they are known.
    pub fn place(&self) -> Answer<Place> {
        self.place.get().copied().ok_or_else(|| {
            Refusal::argument("the communicator is not ready: what makes it is still in progress")
        })
    }

    /// The reduction of that number, for elements of `data_type`.
    pub fn reduction(&self, number: c_int, data_type: DataType) -> Answer<Scalar> {
        if let Some(op) = types::reduction(number) {
            return Ok(Scalar::Known(op));
        }
        let Some(own) = lock(&self.reductions).get(&number).copied() else {
            return Err(Refusal::argument(format!(
                "{number} is no reduction of this communicator: it was made for another, or destroyed"
            )));
        };
        if own.data_type != data_type {
            return Err(Refusal::argument(format!(
                "reduction {number} was made for elements of {}, and these are of {data_type}",
                own.data_type
            )));
        }
        Ok(own.factor)
    }

    /// Keeps a reduction, and gives it a number that no other one of this process has, or had.
    pub fn keep_reduction(&self, own: OwnReduction) -> Answer<c_int> {
        let next = |number: c_int| number.checked_add(1);
        let number = NEXT_REDUCTION.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let number =
            number.map_err(|_| Refusal::usage("this process has made all reductions it can"))?;
        lock(&self.reductions).insert(number, own);
        Ok(number)
    }

    pub fn drop_reduction(&self, number: c_int) -> Answer {
        let kept = lock(&self.reductions).remove(&number);
        kept.map(drop).ok_or_else(|| {
            Refusal::argument(format!("{number} is no reduction that this communicator made"))
        })
    }

    /// Gives it its connections; drops them where the program has given it up.
    pub fn join(&self, communicator: Communicator) {
        let mut seat = lock(&self.seat);
        if self.abandoned.load(Ordering::Acquire) {
            return;
        }
        let place = Place { rank: communicator.rank(), size: communicator.size() };
        let _ = self.place.set(place);
        let _ = self.abort.set(communicator.abort_handle());
        *seat = Seat::Joined(Box::new(communicator));
        crate::exit::prepare();
    }

    /// It will never connect.
    pub fn fail(&self, refusal: &Refusal) {
        *lock(&self.seat) = Seat::Failed(refusal.clone());
        self.keep(refusal, true);
        self.worker.end();
    }

    /// Keeps why something failed that nobody waits for.
    pub fn note(&self, refusal: &Refusal) {
        self.keep(refusal, false);
    }

    fn keep(&self, refusal: &Refusal, lasts: bool) {
        let code = refusal.code;
        let mut kept = lock(&self.async_error);
        let kept = kept.get_or_insert(Unawaited { code, lasts, was_told: false });
        kept.lasts |= lasts;
        self.tell(refusal);
    }

    /// What was refused is told until the next call; what the program has not asked for yet, longer.
    pub fn forget_refusal(&self) {
        lock(&self.async_error).take_if(|kept| kept.was_told && !kept.lasts);
    }

    fn tell(&self, refusal: &Refusal) {
        *lock(&self.last) = Some(Told::now(&refusal.text));
    }

    /// What it was told last.
    pub fn last(&self) -> Option<Told> {
        lock(&self.last).clone()
    }

    /// Runs `call` on it, where it is connected.
    pub fn with<T>(&self, call: impl FnOnce(&mut Communicator) -> Result<T, Error>) -> Answer<T> {
        let mut seat = lock(&self.seat);
        let result = match &mut *seat {
            Seat::Joined(communicator) => call(communicator).map_err(|error| {
                self.is_told.fetch_or(error.failure().is_some(), Ordering::Relaxed);
                Refusal::from(error)
            }),
            Seat::Connecting => {
                Err(Refusal::argument("the communicator is not ready: it has not connected yet"))
            }
            Seat::Left => Err(Refusal::usage("the communicator was finalized or aborted before")),
            Seat::Failed(why) => Err(why.clone()),
        };
        result.inspect_err(|refusal| self.tell(refusal))
    }

    /// Has something under way on it.
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        *lock(&self.under_way) += 1;
        UnderWay(Arc::clone(self))
    }

    /// Waits until nothing is under way.
    fn settle(&self) {
        let busy = lock(&self.under_way);
        let idle = self.idle.wait_while(busy, |under_way| *under_way > 0);
        drop(idle.unwrap_or_else(PoisonError::into_inner));
    }

    /// How it stands, whoever asks.
    pub fn async_error(&self) -> Code {
        if *lock(&self.under_way) > 0 {
            return Code::InProgress;
        }
        // What was revoked has not failed, though calls that were under way have.
        if self.revoked.load(Ordering::Acquire) {
            return Code::Success;
        }
        if let Some(kept) = &mut *lock(&self.async_error) {
            kept.was_told = true;
            return kept.code;
        }
        // What it failed of is over and done with.
        if self.shrunk.load(Ordering::Acquire) {
            return Code::Success;
        }
        if self.is_connecting() {
            return Code::InProgress;
        }
        if self.abandoned.load(Ordering::Acquire) {
            return Code::Success;
        }
        match self.abort.get().and_then(AbortHandle::failure) {
            Some(error) => {
                let refusal = Refusal::from(error);
                self.tell(&refusal);
                refusal.code
            }
            None => Code::Success,
        }
    }

    /// The ranks that are left go on with another: who asks how that stands asks this one, too.
    pub fn has_shrunk(&self) {
        self.shrunk.store(true, Ordering::Release);
        lock(&self.async_error).take_if(|kept| !kept.lasts);
    }

    /// Whether the group that is to connect it is still open.
    fn is_connecting(&self) -> bool {
        self.seat.try_lock().is_ok_and(|seat| matches!(*seat, Seat::Connecting))
    }

    /// Ends what is under way, and refuses calls to come; that is no failure.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.interrupt("its program called ncclCommRevoke");
    }

    /// Leaves in order, after what is under way.
    pub fn destroy(&self) -> Answer {
        if self.is_inherited() {
            return Ok(());
        }
        self.settle();
        match self.leave() {
            Some(left) => left,
            None => Ok(()),
        }
    }

    /// Whether this is the copy in a forked child: what it does must reach neither its parent nor other ranks, and
    /// threads of the parent that held locks are not there to give them back.
    fn is_inherited(&self) -> bool {
        self.process != std::process::id()
    }

    /// The same as a step of its own, once.
    pub fn finalize(&self) -> Answer {
        if self.is_inherited() {
            return Err(Refusal::argument(
                "the communicator was made before this process was forked: its parent finalizes it",
            ));
        }
        self.leave().unwrap_or_else(|| {
            Err(Refusal::argument("the communicator was finalized before, or never connected"))
        })
    }

    /// Nothing where it has left before. A communicator that has failed has nothing left to lose; but that the calls
    /// of its ranks differed, all are told.
    fn leave(&self) -> Option<Answer> {
        let seat = std::mem::replace(&mut *lock(&self.seat), Seat::Left);
        let Seat::Joined(communicator) = seat else { return None };
        if let Some(error) = self.abort.get().and_then(AbortHandle::failure) {
            drop(communicator);
            let is_conflict = error.failure().is_some_and(concerns);
            let is_news = is_conflict && !self.is_told.load(Ordering::Relaxed);
            return Some(if is_news { Err(Refusal::from(error)) } else { Ok(()) });
        }
        Some(communicator.leave().map_err(Refusal::from))
    }

    /// Ends what is under way, and leaves. Where nothing is, to leave is all that there is to do, and
    /// no rank that is slower is harmed.
    pub fn abort(&self) {
        if self.is_inherited() {
            return;
        }
        self.abandoned.store(true, Ordering::Release);
        self.cancel.cancel("its program called ncclCommAbort");
        let idle = *lock(&self.under_way) == 0;
        let is_free = match self.seat.try_lock() {
            Ok(seat) if matches!(*seat, Seat::Connecting) => return,
            Ok(_) => true,
            Err(TryLockError::Poisoned(_)) => true,
            Err(TryLockError::WouldBlock) => false,
        };
        if !(idle && is_free) {
            self.interrupt("its program called ncclCommAbort");
            self.settle();
        }
        // Nobody is left who could be told of a fault.
        let _ = self.leave();
    }

    /// Leaves in order where nothing is under way.
    pub fn leave_if_idle(&self) {
        let is_free = !matches!(self.seat.try_lock(), Err(TryLockError::WouldBlock));
        if is_free && *lock(&self.under_way) == 0 {
            let _ = self.leave();
        }
    }

    /// Ends calls that are under way, here and on all ranks, and refuses those to come.
    pub fn interrupt(&self, why: &str) {
        if let Some(abort) = self.abort.get() {
            abort.abort(why);
        }
    }
}

/// Whether the calls of this rank were among those that differed: of messages they are those of the two ends.
fn concerns(failure: &Failure) -> bool {
    let is_an_end = failure.culprit == Some(failure.rank) || failure.reporter == failure.rank;
    failure.cause == Cause::Protocol && (!failure.reported_before || is_an_end)
}
