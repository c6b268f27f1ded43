//! Owns how a call ends: its result code, and the text that `ncclGetLastError` gives.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crosstie::{Blame, Cause, Error, Failure};

/// `ncclResult_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    Success = 0,
    SystemError = 2,
    InternalError = 3,
    InvalidArgument = 4,
    InvalidUsage = 5,
    RemoteError = 6,
    InProgress = 7,
    Timeout = 8,
}

/// Why a call did not do what it was asked for.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: Code,
    pub text: String,
}

/// What a call comes to.
pub type Answer<T = ()> = Result<T, Refusal>;

impl Refusal {
    /// A value that no call takes.
    pub fn argument(text: impl Into<String>) -> Self {
        Self { code: Code::InvalidArgument, text: text.into() }
    }

    /// A call that cannot be made, or not now.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: Code::InvalidUsage, text: text.into() }
    }

    /// What NCCL has and this library does not.
    pub fn missing(what: &str) -> Self {
        Self::usage(format!("{what} is not supported by this library yet"))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let mut text = error.report();
        if let Some(Failure { reporter, detail, .. }) = error.failure()
            && !text.contains(detail.as_str())
        {
            text += &format!("\n  in the words of rank {reporter}: {detail}");
        }
        Self { code: code_of(&error), text }
    }
}

/// Ranks that did not come to the meeting in time.
pub const MISSED: u16 = 10;
/// The same; a peer that was not reached, or not connected to, in time.
const LATE_AT_INIT: [u16; 3] = [MISSED, 32, 51];

fn code_of(error: &Error) -> Code {
    match error {
        Error::Argument { .. } => Code::InvalidArgument,
        Error::Memory { .. } => Code::SystemError,
        Error::Failed(failure) | Error::AlreadyFailed { first: failure } => of_failure(failure),
        Error::NotDelivered { .. } => Code::Timeout,
        other if LATE_AT_INIT.contains(&other.code().0) => Code::Timeout,
        other => match other.blame() {
            Blame::Caller => Code::InvalidUsage,
            Blame::Peer | Blame::Network => Code::RemoteError,
            Blame::Host => Code::SystemError,
            _ => Code::InternalError,
        },
    }
}

fn of_failure(failure: &Failure) -> Code {
    if failure.conflict.is_some() {
        return Code::InvalidUsage;
    }
    match failure.cause {
        Cause::Deadline | Cause::Stalled => Code::Timeout,
        // Calls or messages that differ: each rank sees the other's as the wrong one.
        Cause::Deadlock | Cause::Protocol => Code::InvalidUsage,
        Cause::Aborted if failure.culprit == Some(failure.rank) => Code::InvalidUsage,
        _ => Code::RemoteError,
    }
}

/// A text, and when it was told: numbers grow.
#[derive(Debug, Clone, Default)]
pub struct Told {
    at: u64,
    text: String,
}

static CLOCK: AtomicU64 = AtomicU64::new(1);
static PROCESS: Mutex<Told> = Mutex::new(Told { at: 0, text: String::new() });

thread_local! {
    static THREAD: RefCell<Told> = const { RefCell::new(Told { at: 0, text: String::new() }) };
    /// What this thread was shown last: it holds the memory of the text that C reads.
    static SHOWN: RefCell<CString> = RefCell::new(CString::default());
}

impl Told {
    /// `text`, told now.
    pub fn now(text: &str) -> Self {
        Self { at: CLOCK.fetch_add(1, Ordering::Relaxed), text: text.to_owned() }
    }
}

/// Keeps why a call of this thread was refused.
#[cold]
pub fn remember(refusal: &Refusal) {
    let told = Told::now(&refusal.text);
    lock(&PROCESS).clone_from(&told);
    // A thread that is ending has nobody left to ask.
    let _ = THREAD.try_with(|thread| *thread.borrow_mut() = told);
}

/// The later of what this thread and what `communicator` were told last; where neither was told
/// anything, what any thread was. The text stays until this thread asks again.
pub fn last(communicator: Option<Told>) -> *const c_char {
    // A thread that is ending, or the program's first one in a handler of its end, has lost its own.
    let thread = THREAD.try_with(|thread| thread.borrow().clone()).unwrap_or_default();
    let told = communicator.filter(|told| told.at > thread.at).unwrap_or(thread);
    let told = if told.at == 0 { lock(&PROCESS).clone() } else { told };
    let text = CString::new(told.text.replace('\0', " ")).unwrap_or_default();
    let place = SHOWN.try_with(|shown| {
        let mut shown = shown.borrow_mut();
        shown.clone_from(&text);
        shown.as_ptr()
    });
    // Such a thread asks once or twice, so what it was shown may stay for ever.
    place.unwrap_or_else(|_| text.into_raw())
}

/// Locks what is changed in one step only, so that a panic elsewhere leaves it whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the body of a C function: no panic leaves it, and a refusal leaves its text.
pub fn answer(function: &str, body: impl FnOnce() -> Answer<Code>) -> Code {
    let refusal = match caught(body) {
        Ok(code) => return code,
        Err(refusal) => refusal,
    };
    remember(&Refusal { text: format!("{function}: {}", refusal.text), ..refusal });
    refusal.code
}

/// Runs `body`, of whose panic a refusal is made.
pub fn caught<T>(body: impl FnOnce() -> Answer<T>) -> Answer<T> {
    // Whatever it was changing is either behind a mutex that is taken over whole, or lost with it.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(of_panic(&*panic)))
}

#[cold]
fn of_panic(panic: &(dyn Any + Send)) -> Refusal {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words");
    let text = format!("a panic inside the library ({words}); please report this");
    Refusal { code: Code::InternalError, text }
}

/// The words for a result code, as `ncclGetErrorString` gives them.
pub const fn words(code: u32) -> &'static std::ffi::CStr {
    match code {
        0 => c"success",
        1 => c"a call of CUDA failed",
        2 => c"a call of the operating system failed",
        3 => c"a fault inside the library",
        4 => c"a value that the function does not take",
        5 => c"the function cannot be used this way",
        6 => c"another process failed, or the network to it",
        7 => c"not complete yet",
        8 => c"a deadline passed",
        _ => c"no result code of this library",
    }
}
