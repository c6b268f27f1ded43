//! Owns what `ncclComm_t` stands for: a communicator with its states, from connecting to left, and
//! what is under way on it.

use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, TryLockError};

use crosstie::{AbortHandle, Cause, Communicator, DataType, Error, ReduceOp};

use crate::call::Place;
use crate::config::Config;
use crate::errors::{Answer, Code, Refusal, Told, lock};
use crate::handles::{Found, Handle, Handles};
use crate::pointer::Span;
use crate::types::{self, OWN_REDUCTIONS, pre_multiplied};
use crate::worker::Worker;

/// All that are alive.
pub static COMMUNICATORS: Handles<Comm> = Handles::new("communicator");

thread_local! {
    static FOUND: RefCell<Option<Found<Comm>>> = const { RefCell::new(None) };
}

/// The communicator that `handle` stands for, for calls that are to be quick.
pub fn find(handle: Handle) -> Answer<Arc<Comm>> {
    FOUND.with_borrow_mut(|found| COMMUNICATORS.find_again(handle, found))
}

/// A communicator of the program; on cache lines of its own, for the ranks of one process are often
/// made one after the other, and each call locks its own.
#[repr(align(128))]
pub struct Comm {
    pub config: Config,
    /// The number of the device that it was made for.
    pub device: c_int,
    pub worker: Worker,
    place: OnceLock<Place>,
    /// Locked while a call runs.
    seat: Mutex<Seat>,
    abort: OnceLock<AbortHandle>,
    /// Whether the program gave it up while it was connecting.
    abandoned: AtomicBool,
    under_way: Mutex<usize>,
    idle: Condvar,
    /// Why something failed that nobody waited for.
    async_error: Mutex<Option<Code>>,
    last: Mutex<Option<Told>>,
    /// Whether a call has failed with the communicator.
    is_told: AtomicBool,
    reductions: Mutex<Vec<Option<OwnReduction>>>,
}

enum Seat {
    Connecting,
    Joined(Box<Communicator>),
    Left,
    Failed(Refusal),
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

/// Where a factor is.
#[derive(Clone, Copy)]
pub enum Scalar {
    Known(ReduceOp),
    /// In memory, to be read by each call.
    At(Span),
}

impl Comm {
    /// One that is about to connect; `place` where it is known beforehand.
    pub fn new(config: Config, place: Option<Place>, device: c_int) -> Arc<Self> {
        Arc::new(Self {
            config,
            device,
            worker: Worker::default(),
            place: place.map_or_else(OnceLock::new, OnceLock::from),
            seat: Mutex::new(Seat::Connecting),
            abort: OnceLock::new(),
            abandoned: AtomicBool::new(false),
            under_way: Mutex::new(0),
            idle: Condvar::new(),
            async_error: Mutex::new(None),
            last: Mutex::new(None),
            is_told: AtomicBool::new(false),
            reductions: Mutex::new(Vec::new()),
        })
    }

    /// Its rank and size, once they are known.
    pub fn place(&self) -> Answer<Place> {
        self.place.get().copied().ok_or_else(|| {
            Refusal::argument("the communicator is not ready: what makes it is still in progress")
        })
    }

    /// The reduction of that number, for elements of `data_type`.
    pub fn reduction(&self, number: c_int, data_type: DataType) -> Answer<ReduceOp> {
        if let Some(op) = types::reduction(number) {
            return Ok(op);
        }
        let index = usize::try_from(number.wrapping_sub(OWN_REDUCTIONS)).unwrap_or(usize::MAX);
        let Some(Some(own)) = lock(&self.reductions).get(index).copied() else {
            return Err(Refusal::argument(format!(
                "{number} is no reduction of this communicator"
            )));
        };
        if own.data_type != data_type {
            return Err(Refusal::argument(format!(
                "reduction {number} was made for elements of {}, and these are of {data_type}",
                own.data_type
            )));
        }
        match own.factor {
            Scalar::Known(op) => Ok(op),
            Scalar::At(place) => pre_multiplied(place.bytes(), data_type),
        }
    }

    /// Keeps a reduction, and gives it the first number that is free.
    pub fn keep_reduction(&self, own: OwnReduction) -> c_int {
        let mut reductions = lock(&self.reductions);
        let free = reductions.iter().position(Option::is_none).unwrap_or(reductions.len());
        if free == reductions.len() {
            reductions.push(None);
        }
        reductions[free] = Some(own);
        OWN_REDUCTIONS + c_int::try_from(free).unwrap_or(c_int::MAX - OWN_REDUCTIONS)
    }

    pub fn drop_reduction(&self, number: c_int) -> Answer {
        let index = usize::try_from(number.wrapping_sub(OWN_REDUCTIONS)).unwrap_or(usize::MAX);
        let kept = lock(&self.reductions).get_mut(index).and_then(Option::take);
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
        self.note(refusal);
    }

    /// Keeps why something failed that nobody waits for.
    pub fn note(&self, refusal: &Refusal) {
        lock(&self.async_error).get_or_insert(refusal.code);
        self.tell(refusal);
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
        if let Some(code) = *lock(&self.async_error) {
            return code;
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

    /// Leaves in order, after what is under way.
    pub fn destroy(&self) -> Answer {
        self.settle();
        match self.leave() {
            Some(left) => left,
            None => Ok(()),
        }
    }

    /// The same as a step of its own, once.
    pub fn finalize(&self) -> Answer {
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
            let is_conflict = error.failure().is_some_and(|it| it.cause == Cause::Protocol);
            let is_news = is_conflict && !self.is_told.load(Ordering::Relaxed);
            return Some(if is_news { Err(Refusal::from(error)) } else { Ok(()) });
        }
        Some(communicator.leave().map_err(Refusal::from))
    }

    /// Ends what is under way, and leaves. Where nothing is, to leave is all that there is to do, and
    /// no rank that is slower is harmed.
    pub fn abort(&self) {
        self.abandoned.store(true, Ordering::Release);
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
