//! Owns the functions that C programs call: each a few lines over safe code, and each twice, as
//! `nccl…` and `pnccl…`, so that a profiler can put its own in place of the first.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crosstie::Collective;
use crosstie_ir::Rank;

use crate::call::{Call, Message, Terms};
use crate::communicator::{self, COMMUNICATORS, Comm, OwnReduction, Scalar};
use crate::config::Given;
use crate::errors::{Answer, Code, Refusal, answer, caught, last, words};
use crate::group::{self, Item};
use crate::handles::Handle;
use crate::memory::{self, REGISTERED, WINDOWS};
use crate::pointer::{In, Memory, Out};
use crate::types::{Place, UniqueIdBytes, data_type, pre_multiplied};
use crate::{init, offspring};

/// Makes both of each function; what a body refuses becomes its result code and the last error.
macro_rules! functions {
    ($(fn $name:ident, $twin:ident($($given:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        // SAFETY: no other library that a process may load with this one has the name, but NCCL, in
        // whose place it stands.
        #[unsafe(no_mangle)]
        extern "C" fn $name($($given: $type),*) -> Code {
            answer(stringify!($name), || $body)
        }

        // SAFETY: as above.
        #[unsafe(no_mangle)]
        extern "C" fn $twin($($given: $type),*) -> Code {
            answer(stringify!($twin), || $body)
        }
    )*};
}

/// Streams order nothing on host memory: they are not looked at.
type Stream = *const c_void;

const DONE: Answer<Code> = Ok(Code::Success);

// About the library.
functions! {
    fn ncclGetVersion, pncclGetVersion(version: Out<c_int>) {
        version.put("version", VERSION)?;
        DONE
    }
    fn ncclGetUniqueId, pncclGetUniqueId(id: Out<UniqueIdBytes>) {
        id.check("uniqueId")?;
        id.put("uniqueId", UniqueIdBytes(init::unique_id()?))?;
        DONE
    }
    fn ncclMemAlloc, pncclMemAlloc(place: Out<usize>, bytes: usize) {
        memory::alloc(&place, bytes)?;
        DONE
    }
    fn ncclMemFree, pncclMemFree(memory: Memory) {
        memory::free(memory)?;
        DONE
    }
}

/// NCCL's version whose declarations these are.
const VERSION: c_int = 23007;

// How communicators begin.
functions! {
    fn ncclCommInitRank, pncclCommInitRank(
        comm: Out<Handle>, size: c_int, id: UniqueIdBytes, rank: c_int,
    ) {
        group::checked(|| init::rank(&comm, size, &id.0, rank, &Given::NONE))
    }
    fn ncclCommInitRankConfig, pncclCommInitRankConfig(
        comm: Out<Handle>, size: c_int, id: UniqueIdBytes, rank: c_int, config: Given,
    ) {
        group::checked(|| init::rank(&comm, size, &id.0, rank, &config))
    }
    fn ncclCommInitRankScalable, pncclCommInitRankScalable(
        comm: Out<Handle>, size: c_int, rank: c_int, count: c_int, ids: In<UniqueIdBytes>,
        config: Given,
    ) {
        group::checked(|| init::scalable(&comm, size, rank, &ids, count, &config))
    }
    fn ncclCommInitAll, pncclCommInitAll(comms: Out<Handle>, count: c_int, devices: In<c_int>) {
        group::checked(|| init::all(&comms, count, &devices))
    }
    fn ncclCommSplit, pncclCommSplit(
        comm: Handle, color: c_int, key: c_int, made: Out<Handle>, config: Given,
    ) {
        group::checked(|| offspring::split(comm, color, key, &made, &config))
    }
    fn ncclCommShrink, pncclCommShrink(
        comm: Handle, excluded: In<c_int>, count: c_int, made: Out<Handle>, config: Given,
        flags: c_int,
    ) {
        group::checked(|| offspring::shrink(comm, (&excluded, count), &made, &config, flags))
    }
    fn ncclCommGetUniqueId, pncclCommGetUniqueId(comm: Handle, _id: Out<UniqueIdBytes>) {
        COMMUNICATORS.find(comm)?;
        Err(Refusal::missing("growing a communicator"))
    }
    fn ncclCommGrow, pncclCommGrow(
        _comm: Handle, _size: c_int, _id: In<UniqueIdBytes>, _rank: c_int, _made: Out<Handle>,
        _config: Given,
    ) {
        Err(Refusal::missing("growing a communicator"))
    }
}

// How they end.
functions! {
    fn ncclCommFinalize, pncclCommFinalize(comm: Handle) {
        if comm.is_null() {
            return DONE;
        }
        group::checked(|| group::ask(COMMUNICATORS.find(comm)?, Item::Finalize))
    }
    fn ncclCommDestroy, pncclCommDestroy(comm: Handle) {
        if comm.is_null() {
            return DONE;
        }
        refuse_in_group(comm)?;
        memory::forget_all(comm);
        COMMUNICATORS.remove(comm)?.destroy()?;
        DONE
    }
    fn ncclCommAbort, pncclCommAbort(comm: Handle) {
        if comm.is_null() {
            return DONE;
        }
        memory::forget_all(comm);
        COMMUNICATORS.remove(comm)?.abort();
        DONE
    }
    fn ncclCommRevoke, pncclCommRevoke(comm: Handle, flags: c_int) {
        let comm = COMMUNICATORS.find(comm)?;
        if flags != 0 {
            return Err(Refusal::argument(format!("{flags} are no flags of ncclCommRevoke")));
        }
        comm.place()?;
        comm.revoke();
        DONE
    }
}

/// What a group has asked for must not lose its communicator.
fn refuse_in_group(comm: Handle) -> Answer {
    match group::holds(&COMMUNICATORS.find(comm)?) {
        true => Err(Refusal::usage("the group that is open has calls on this communicator")),
        false => Ok(()),
    }
}

// What they tell of themselves.
functions! {
    fn ncclCommCount, pncclCommCount(comm: Handle, count: Out<c_int>) {
        let size = COMMUNICATORS.find(comm)?.place()?.size;
        count.put("count", number(size))?;
        DONE
    }
    fn ncclCommCuDevice, pncclCommCuDevice(comm: Handle, device: Out<c_int>) {
        device.put("device", COMMUNICATORS.find(comm)?.device)?;
        DONE
    }
    fn ncclCommUserRank, pncclCommUserRank(comm: Handle, rank: Out<c_int>) {
        let own = COMMUNICATORS.find(comm)?.place()?.rank;
        rank.put("rank", number(own))?;
        DONE
    }
    fn ncclCommGetAsyncError, pncclCommGetAsyncError(comm: Handle, result: Out<Code>) {
        let comm = COMMUNICATORS.find(comm)?;
        result.check("asyncError")?;
        result.put("asyncError", comm.async_error())?;
        DONE
    }
    fn ncclCommMemStats, pncclCommMemStats(comm: Handle, stat: c_int, value: Out<u64>) {
        COMMUNICATORS.find(comm)?;
        if !(0..=LAST_STAT).contains(&stat) {
            return Err(Refusal::argument(format!("{stat} is no ncclCommMemStat_t")));
        }
        // All four count bytes of GPU memory, or whether some is suspended.
        value.put("value", 0)?;
        DONE
    }
    fn ncclCommSuspend, pncclCommSuspend(comm: Handle, _flags: c_int) {
        COMMUNICATORS.find(comm)?;
        Err(Refusal::missing("suspending a communicator, which has no GPU memory to give back,"))
    }
    fn ncclCommResume, pncclCommResume(comm: Handle) {
        COMMUNICATORS.find(comm)?;
        Err(Refusal::missing("resuming a communicator"))
    }
}

const LAST_STAT: c_int = 3;

/// Ranks came from such numbers, so they fit.
fn number(rank: u32) -> c_int {
    c_int::try_from(rank).unwrap_or(c_int::MAX)
}

/// Asks for a collective.
fn collective(
    comm: Handle,
    terms: impl FnOnce(&Comm) -> Answer<Terms>,
    (send, recv): (Memory, Memory),
) -> Answer<Code> {
    let ask = || {
        let comm = communicator::find(comm)?;
        let terms = terms(&comm)?;
        let call = terms.on(send, recv, comm.place()?)?;
        group::call(comm, call)
    };
    group::checked(ask)
}

/// A collective that reduces.
fn reducing(
    collective: Collective,
    count: usize,
    (given, op): (c_int, c_int),
) -> impl FnOnce(&Comm) -> Answer<Terms> {
    move |comm| {
        let data_type = data_type(given)?;
        let op = Some(comm.reduction(op, data_type)?);
        Ok(Terms { collective, op, data_type, count })
    }
}

/// One that moves elements as they are.
fn moving(
    collective: Collective,
    count: usize,
    given: c_int,
) -> impl FnOnce(&Comm) -> Answer<Terms> {
    move |_| Ok(Terms { collective, op: None, data_type: data_type(given)?, count })
}

/// The same with a root, which is checked first.
fn rooted<F: FnOnce(&Comm) -> Answer<Terms>>(
    root: c_int,
    terms: impl FnOnce(Rank) -> F,
) -> impl FnOnce(&Comm) -> Answer<Terms> {
    move |comm| terms(Rank(member("root", root, comm.place()?)?))(comm)
}

/// A rank that there is.
fn member(what: &str, rank: c_int, place: Place) -> Answer<u32> {
    let known = u32::try_from(rank).ok().filter(|&rank| rank < place.size);
    known.ok_or_else(|| {
        Refusal::argument(format!("{what} {rank} is no rank of {}: they begin at 0", place.size))
    })
}

// Collectives.
functions! {
    fn ncclAllReduce, pncclAllReduce(
        send: Memory, recv: Memory, count: usize, kind: c_int, op: c_int, comm: Handle,
        _stream: Stream,
    ) {
        collective(comm, reducing(Collective::AllReduce, count, (kind, op)), (send, recv))
    }
    fn ncclReduceScatter, pncclReduceScatter(
        send: Memory, recv: Memory, count: usize, kind: c_int, op: c_int, comm: Handle,
        _stream: Stream,
    ) {
        collective(comm, reducing(Collective::ReduceScatter, count, (kind, op)), (send, recv))
    }
    fn ncclReduce, pncclReduce(
        send: Memory, recv: Memory, count: usize, kind: c_int, op: c_int, root: c_int,
        comm: Handle, _stream: Stream,
    ) {
        let terms = |root| reducing(Collective::Reduce { root }, count, (kind, op));
        collective(comm, rooted(root, terms), (send, recv))
    }
    fn ncclBroadcast, pncclBroadcast(
        send: Memory, recv: Memory, count: usize, kind: c_int, root: c_int, comm: Handle,
        _stream: Stream,
    ) {
        let terms = |root| moving(Collective::Broadcast { root }, count, kind);
        collective(comm, rooted(root, terms), (send, recv))
    }
    fn ncclBcast, pncclBcast(
        buffer: Memory, count: usize, kind: c_int, root: c_int, comm: Handle, _stream: Stream,
    ) {
        let terms = |root| moving(Collective::Broadcast { root }, count, kind);
        collective(comm, rooted(root, terms), (buffer, buffer))
    }
    fn ncclAllGather, pncclAllGather(
        send: Memory, recv: Memory, count: usize, kind: c_int, comm: Handle, _stream: Stream,
    ) {
        collective(comm, moving(Collective::AllGather, count, kind), (send, recv))
    }
    fn ncclAlltoAll, pncclAlltoAll(
        send: Memory, recv: Memory, count: usize, kind: c_int, comm: Handle, _stream: Stream,
    ) {
        collective(comm, moving(Collective::AllToAll, count, kind), (send, recv))
    }
    fn ncclGather, pncclGather(
        send: Memory, recv: Memory, count: usize, kind: c_int, root: c_int, comm: Handle,
        _stream: Stream,
    ) {
        let terms = |root| moving(Collective::Gather { root }, count, kind);
        collective(comm, rooted(root, terms), (send, recv))
    }
    fn ncclScatter, pncclScatter(
        send: Memory, recv: Memory, count: usize, kind: c_int, root: c_int, comm: Handle,
        _stream: Stream,
    ) {
        let terms = |root| moving(Collective::Scatter { root }, count, kind);
        collective(comm, rooted(root, terms), (send, recv))
    }
}

/// Asks for a send or a receive.
fn message(
    sends: bool,
    (memory, count, kind): (Memory, usize, c_int),
    peer: c_int,
    comm: Handle,
) -> Answer<Code> {
    let ask = || {
        let comm = communicator::find(comm)?;
        let data_type = data_type(kind)?;
        let peer = member("peer", peer, comm.place()?)?;
        let name = if sends { "sendbuff" } else { "recvbuff" };
        let memory = memory.span(name, count, data_type.size())?;
        group::call(comm, Call::Message(Message { sends, memory, data_type, peer }))
    };
    group::checked(ask)
}

// Messages, and groups.
functions! {
    fn ncclSend, pncclSend(
        send: Memory, count: usize, kind: c_int, peer: c_int, comm: Handle, _stream: Stream,
    ) {
        message(true, (send, count, kind), peer, comm)
    }
    fn ncclRecv, pncclRecv(
        recv: Memory, count: usize, kind: c_int, peer: c_int, comm: Handle, _stream: Stream,
    ) {
        message(false, (recv, count, kind), peer, comm)
    }
    fn ncclGroupStart, pncclGroupStart() {
        group::start()?;
        DONE
    }
    fn ncclGroupEnd, pncclGroupEnd() {
        group::end()
    }
    fn ncclGroupSimulateEnd, pncclGroupSimulateEnd(_info: Memory) {
        group::give_up()?;
        Err(Refusal::missing("to tell how long a group would take (it was not carried out)"))
    }
}

// Reductions that a program makes.
functions! {
    fn ncclRedOpCreatePreMulSum, pncclRedOpCreatePreMulSum(
        op: Out<c_int>, scalar: Memory, kind: c_int, residence: c_int, comm: Handle,
    ) {
        let comm = COMMUNICATORS.find(comm)?;
        op.check("op")?;
        let data_type = data_type(kind)?;
        let place = scalar.span("scalar", 1, data_type.size())?;
        let factor = match residence {
            SCALAR_DEVICE => Scalar::At(place),
            SCALAR_HOST => Scalar::Known(pre_multiplied(place.bytes(), data_type)?),
            other => {
                return Err(Refusal::argument(format!("{other} is no ncclScalarResidence_t")));
            }
        };
        op.put("op", comm.keep_reduction(OwnReduction { data_type, factor })?)?;
        DONE
    }
    fn ncclRedOpDestroy, pncclRedOpDestroy(op: c_int, comm: Handle) {
        COMMUNICATORS.find(comm)?.drop_reduction(op)?;
        DONE
    }
}

/// Read as a call runs that needs it, of memory that here is the host's.
const SCALAR_DEVICE: c_int = 0;
/// Read at once.
const SCALAR_HOST: c_int = 1;

// Memory that a communicator is told of, and one-sided messages.
functions! {
    fn ncclCommRegister, pncclCommRegister(
        comm: Handle, memory: Memory, bytes: usize, handle: Out<Handle>,
    ) {
        memory::tell(&REGISTERED, comm, memory, bytes, &handle)?;
        DONE
    }
    fn ncclCommDeregister, pncclCommDeregister(comm: Handle, handle: Handle) {
        memory::forget(&REGISTERED, comm, handle)?;
        DONE
    }
    fn ncclCommWindowRegister, pncclCommWindowRegister(
        comm: Handle, memory: Memory, bytes: usize, window: Out<Handle>, flags: c_int,
    ) {
        memory::check_window(memory, flags)?;
        memory::tell(&WINDOWS, comm, memory, bytes, &window)?;
        DONE
    }
    fn ncclCommWindowDeregister, pncclCommWindowDeregister(comm: Handle, window: Handle) {
        memory::forget(&WINDOWS, comm, window)?;
        DONE
    }
    fn ncclWinGetUserPtr, pncclWinGetUserPtr(comm: Handle, window: Handle, place: Out<usize>) {
        memory::address(comm, window, &place)?;
        DONE
    }
    fn ncclPutSignal, pncclPutSignal(
        _local: Memory, _count: usize, _kind: c_int, _peer: c_int, _window: Handle,
        _offset: usize, _signal: c_int, _context: c_int, _flags: c_uint, comm: Handle,
        _stream: Stream,
    ) {
        COMMUNICATORS.find(comm)?;
        Err(Refusal::missing("a put"))
    }
    fn ncclSignal, pncclSignal(
        _peer: c_int, _signal: c_int, _context: c_int, _flags: c_uint, comm: Handle,
        _stream: Stream,
    ) {
        COMMUNICATORS.find(comm)?;
        Err(Refusal::missing("a signal"))
    }
    fn ncclWaitSignal, pncclWaitSignal(
        _count: c_int, _signals: Memory, comm: Handle, _stream: Stream,
    ) {
        COMMUNICATORS.find(comm)?;
        Err(Refusal::missing("to wait for a signal"))
    }
}

/// The words for a result code; they stay for ever.
// SAFETY: as in the macro.
#[unsafe(no_mangle)]
extern "C" fn ncclGetErrorString(code: c_uint) -> *const c_char {
    words(code).as_ptr()
}

// SAFETY: as in the macro.
#[unsafe(no_mangle)]
extern "C" fn pncclGetErrorString(code: c_uint) -> *const c_char {
    words(code).as_ptr()
}

/// Why the last call of this thread, or of the communicator's, was refused.
fn last_error(comm: Handle) -> *const c_char {
    let told = || COMMUNICATORS.find(comm).ok().and_then(|comm| comm.last());
    caught(|| Ok(last(told()))).unwrap_or_else(|_| c"the last error cannot be told".as_ptr())
}

// SAFETY: as in the macro.
#[unsafe(no_mangle)]
extern "C" fn ncclGetLastError(comm: Handle) -> *const c_char {
    last_error(comm)
}

// SAFETY: as in the macro.
#[unsafe(no_mangle)]
extern "C" fn pncclGetLastError(comm: Handle) -> *const c_char {
    last_error(comm)
}

/// NCCL reads the level of its log again; this library has no log of its own to set.
// SAFETY: as in the macro.
#[unsafe(no_mangle)]
extern "C" fn ncclResetDebugInit() {}

// SAFETY: as in the macro.
#[unsafe(no_mangle)]
extern "C" fn pncclResetDebugInit() {}

/// NCCL's parameters by their names; this library's are `crosstie config`'s.
const PARAMETERS: &str = "to read NCCL's parameters (`crosstie config` shows what can be set here)";

// NCCL's parameters.
functions! {
    fn ncclParamBind, pncclParamBind(_parameter: Memory, _key: Memory) {
        Err(Refusal::missing(PARAMETERS))
    }
    fn ncclParamGet, pncclParamGet(
        _parameter: Memory, _value: Memory, _most: c_int, _bytes: Memory,
    ) {
        Err(Refusal::missing(PARAMETERS))
    }
    fn ncclParamGetParameter, pncclParamGetParameter(
        _key: Memory, _value: Memory, _bytes: Memory,
    ) {
        Err(Refusal::missing(PARAMETERS))
    }
    fn ncclParamGetAllParameterKeys, pncclParamGetAllParameterKeys(
        _keys: Memory, _count: Memory,
    ) {
        Err(Refusal::missing(PARAMETERS))
    }
}

macro_rules! parameters {
    ($($name:ident, $twin:ident;)*) => {
        functions! {$(
            fn $name, $twin(_parameter: Memory, _value: Memory) {
                Err(Refusal::missing(PARAMETERS))
            }
        )*}
    };
}

parameters! {
    ncclParamGetI8, pncclParamGetI8;
    ncclParamGetI16, pncclParamGetI16;
    ncclParamGetI32, pncclParamGetI32;
    ncclParamGetI64, pncclParamGetI64;
    ncclParamGetU8, pncclParamGetU8;
    ncclParamGetU16, pncclParamGetU16;
    ncclParamGetU32, pncclParamGetU32;
    ncclParamGetU64, pncclParamGetU64;
    ncclParamGetStr, pncclParamGetStr;
}

/// There are no parameters to be shown.
// SAFETY: as in the macro.
#[unsafe(no_mangle)]
extern "C" fn ncclParamDumpAll() {}

// SAFETY: as in the macro.
#[unsafe(no_mangle)]
extern "C" fn pncclParamDumpAll() {}
