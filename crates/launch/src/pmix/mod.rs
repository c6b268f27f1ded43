//! Owns the conversation with a launcher that speaks PMIx (Open MPI's, Slurm's with `--mpi=pmix`), by way of its
//! client library, which is found when the program runs.
//!
//! A process talks to its launcher in one session: a second one fails in some releases. It is opened when first
//! needed, and closed when the process exits: a process that opened one and ends without closing it is a crash to
//! Open MPI's mpirun, which then ends the whole job. An MPI library in the same process counts as another user of
//! the same session, by PMIx's own count.
//!
//! None of the calls has a deadline. Who needs one calls from a thread that may be left behind.

mod sys;

use std::ffi::{CStr, CString, c_char};
use std::process;
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use sys::{Calls, Data, Info, Proc, Value};

/// Why the launcher's PMIx cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PmixError {
    /// The client library is not there, or lacks a call.
    #[error("{reason}")]
    Library {
        /// What the dynamic linker says.
        reason: String,
    },
    /// A call failed.
    #[error("{call}: {reason} ({status})")]
    Refused {
        /// The call.
        call: &'static str,
        /// PMIx's status, below 0.
        status: i32,
        /// PMIx's own words for it.
        reason: String,
    },
    /// The launcher said something of another kind than it should.
    #[error("{key} is of type {kind}, not {expected}")]
    Kind {
        /// What was asked for.
        key: String,
        /// Its type, by PMIx's number.
        kind: u16,
        /// What it should be.
        expected: &'static str,
    },
    /// The session belongs to the process that this one was forked from.
    #[error("this process was forked from the one that the launcher started")]
    Forked,
}

/// What a PMIx launcher says of this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PmixJob {
    /// What it calls the job; unique among its own jobs.
    pub namespace: String,
    /// This process's rank in it.
    pub rank: u32,
    /// Number of ranks in it.
    pub size: u32,
    /// Rank and size among those on this host, where it says so.
    pub local: Option<(u32, u32)>,
}

/// What the launcher says of this process's job. Asked once; the answer is kept.
///
/// Without a PMIx launcher this is an error within a millisecond.
///
/// # Errors
/// Any of [`PmixError`].
pub fn job() -> Result<PmixJob, PmixError> {
    Ok(session()?.job.clone())
}

/// Leaves `value` for all ranks of the job if this is its rank 0, and returns what rank 0 left. Every rank of the job
/// must call it; calls of one process are told apart by their order.
///
/// # Errors
/// Any of [`PmixError`].
pub fn exchange(value: Option<&str>) -> Result<String, PmixError> {
    let session = session()?;
    let mut turn = lock(&session.exchanges);
    let key = CString::new(format!("crosstie-id-{turn}")).unwrap_or_default();
    *turn += 1;
    if let Some(value) = value {
        session.put(&key, value)?;
    }
    session.fence()?;
    session.get(0, &key, Wanted::Text)
}

struct Session {
    calls: Calls,
    /// The process that opened it.
    process: u32,
    namespace: CString,
    job: PmixJob,
    /// How many exchanges were begun; held while one goes on.
    exchanges: Mutex<u64>,
}

static SESSION: OnceLock<Result<Session, PmixError>> = OnceLock::new();

fn session() -> Result<&'static Session, PmixError> {
    let session = SESSION.get_or_init(Session::open).as_ref().map_err(PmixError::clone)?;
    if session.process != process::id() {
        return Err(PmixError::Forked);
    }
    Ok(session)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A holder that panicked left a number, whatever else it left.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes leave of the launcher as the process exits.
extern "C" fn leave() {
    let Some(Ok(session)) = SESSION.get() else { return };
    let busy = matches!(session.exchanges.try_lock(), Err(TryLockError::WouldBlock));
    // What the parent began, a forked child must not end; and amid an exchange the call might never return.
    if session.process == process::id() && !busy {
        // SAFETY: the session is open, and nobody uses it after this.
        unsafe { (session.calls.PMIx_Finalize)(ptr::null(), 0) };
    }
}

/// How an answer is to be read.
enum Wanted {
    Number,
    Text,
}

impl Session {
    fn open() -> Result<Session, PmixError> {
        let calls = Calls::open()?;
        let mut own = Proc { nspace: [0; sys::NAMESPACE_BYTES], rank: 0 };
        // SAFETY: `own` is where the library puts who this is; there are no further wishes.
        let status = unsafe { (calls.PMIx_Init)(&raw mut own, ptr::null_mut(), 0) };
        calls.check("PMIx_Init", status)?;
        // SAFETY: `leave` may run at any time after this, from whatever thread exits. Where the list of such
        // functions is full, nobody takes leave, and the launcher says so.
        unsafe { libc::atexit(leave) };
        // SAFETY: the library ended the name with a zero byte; the last byte was zero before.
        let namespace = unsafe { CStr::from_ptr(own.nspace.as_ptr()) }.to_owned();
        let job = PmixJob {
            namespace: namespace.to_string_lossy().into_owned(),
            rank: own.rank,
            size: 0,
            local: None,
        };
        let (process, exchanges) = (process::id(), Mutex::new(0));
        let mut session = Session { calls, process, namespace, job, exchanges };
        session.job.size = session.number(sys::EVERY_RANK, sys::JOB_SIZE)?;
        let local_rank = session.number(own.rank, sys::LOCAL_RANK).ok();
        let local_size = session.number(sys::EVERY_RANK, sys::LOCAL_SIZE).ok();
        session.job.local = local_rank.zip(local_size).filter(|(rank, size)| rank < size);
        Ok(session)
    }

    fn of_rank(&self, rank: u32) -> Proc {
        Proc { nspace: sys::padded(&self.namespace), rank }
    }

    fn put(&self, key: &CStr, value: &str) -> Result<(), PmixError> {
        let text = CString::new(value).unwrap_or_default();
        let string = text.as_ptr().cast_mut();
        let mut value = Value { kind: sys::STRING, data: Data { largest: [0; 3] } };
        value.data.string = string;
        // SAFETY: key and value last until the call returns; the library copies both and changes neither.
        let status = unsafe { (self.calls.PMIx_Put)(sys::GLOBAL, key.as_ptr(), &raw mut value) };
        self.calls.check("PMIx_Put", status)?;
        // SAFETY: it takes nothing.
        let status = unsafe { (self.calls.PMIx_Commit)() };
        self.calls.check("PMIx_Commit", status)
    }

    /// Waits until all ranks of the job are here, and brings what they left.
    fn fence(&self) -> Result<(), PmixError> {
        let mut value = Value { kind: sys::BOOL, data: Data { largest: [0; 3] } };
        value.data.flag = true;
        let collect = Info { key: sys::padded(sys::COLLECT_DATA), flags: 0, value };
        // SAFETY: no list of processes means all of the job; `collect` lasts until the call returns.
        let status = unsafe { (self.calls.PMIx_Fence)(ptr::null(), 0, &raw const collect, 1) };
        self.calls.check("PMIx_Fence", status)
    }

    fn number(&self, rank: u32, key: &CStr) -> Result<u32, PmixError> {
        let text = self.get(rank, key, Wanted::Number)?;
        // It was made of a number of at most 32 bits.
        Ok(text.parse().unwrap_or_default())
    }

    fn get(&self, rank: u32, key: &CStr, wanted: Wanted) -> Result<String, PmixError> {
        let of = self.of_rank(rank);
        let mut value: *mut Value = ptr::null_mut();
        // SAFETY: all arguments last until the call returns; `value` is where it puts a structure that is ours.
        let status = unsafe {
            (self.calls.PMIx_Get)(&raw const of, key.as_ptr(), ptr::null(), 0, &raw mut value)
        };
        self.calls.check("PMIx_Get", status)?;
        // SAFETY: a call that succeeded left such a structure there, or nothing.
        let Some(told) = (unsafe { value.as_ref() }) else {
            let (call, reason) = ("PMIx_Get", "it returned nothing".to_owned());
            return Err(PmixError::Refused { call, status, reason });
        };
        let text = read(told, key, wanted);
        // SAFETY: the library made both by malloc for its caller to free, and nobody has them any more.
        unsafe {
            if told.kind == sys::STRING {
                libc::free(told.data.string.cast());
            }
            libc::free(value.cast());
        }
        text
    }
}

fn read(told: &Value, key: &CStr, wanted: Wanted) -> Result<String, PmixError> {
    // SAFETY, of each: the type says which member of the union was written.
    match (told.kind, wanted) {
        // SAFETY: as above.
        (sys::UINT16, Wanted::Number) => Ok(unsafe { told.data.uint16 }.to_string()),
        // SAFETY: as above.
        (sys::UINT32, Wanted::Number) => Ok(unsafe { told.data.uint32 }.to_string()),
        // SAFETY: as above; it is a text that ends with a zero byte, or null.
        (sys::STRING, Wanted::Text) => Ok(unsafe { text(told.data.string) }),
        (kind, wanted) => {
            let expected = match wanted {
                Wanted::Number => "a number of 16 or 32 bits",
                Wanted::Text => "a text",
            };
            Err(PmixError::Kind { key: key.to_string_lossy().into_owned(), kind, expected })
        }
    }
}

/// # Safety
/// `text` is null, or ends with a zero byte.
unsafe fn text(text: *const c_char) -> String {
    match text.is_null() {
        true => String::new(),
        // SAFETY: the caller says so.
        false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_pmix_launcher_the_session_is_refused_at_once_and_stays_so() {
        let first = job().unwrap_err();
        assert!(matches!(first, PmixError::Library { .. } | PmixError::Refused { .. }), "{first}");
        assert_eq!(exchange(None).unwrap_err(), first);
    }
}
