//! Owns the communicator: the collectives that a program calls.

use std::time::Duration;

use crosstie_bootstrap::{Cause, Monitor, Report, Verdict, World};
use crosstie_exec::{Buffers, Call, Engine, ExecError, Program, Reducer};
use crosstie_ir::{Collective, DataType, ReduceOp};
use crosstie_planner::{Algorithm, Nodes};
use crosstie_transport::TransportError;

use crate::error::Failure;
use crate::{Element, Error, Settings, select, tag};

/// A group of ranks that carry out collectives together.
///
/// Every rank makes the same calls in the same order. Calls block; dropping the communicator
/// leaves the group in order, which harms nobody who is slower.
pub struct Communicator {
    pub(crate) world: World,
    pub(crate) nodes: Nodes,
    pub(crate) engine: Engine,
    /// `None` once left, and in a world of one rank.
    pub(crate) monitor: Option<Monitor>,
    pub(crate) timeout: Duration,
    /// Bytes of the longest message; the same on all ranks.
    pub(crate) slot_bytes: usize,
    /// Buffers up to this size go directly; the same on all ranks.
    pub(crate) direct_bytes: u64,
    pub(crate) programs: Programs,
    pub(crate) sequence: u64,
    pub(crate) failed: Option<String>,
}

/// The plans resolved so far, found by index: one for each collective and algorithm, out of place
/// and in place.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    by_index: [Option<Program>; Collective::ALL.len() * Algorithm::ALL.len() * 2],
}

impl Programs {
    fn slot(&mut self, Form { collective, algorithm, in_place }: Form) -> &mut Option<Program> {
        let form = collective as usize * Algorithm::ALL.len() + algorithm as usize;
        &mut self.by_index[form * 2 + usize::from(in_place)]
    }
}

/// What tells one plan of a communicator from another.
#[derive(Debug, Clone, Copy)]
struct Form {
    collective: Collective,
    algorithm: Algorithm,
    in_place: bool,
}

/// What has travelled over one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportCounters {
    /// `shm`, `tcp` or `loopback`.
    pub transport: &'static str,
    /// Messages sent by this rank.
    pub messages: u64,
    /// What they travelled as, on the wire.
    pub wire_messages: u64,
    /// Payload bytes sent by this rank.
    pub bytes: u64,
}

impl Communicator {
    /// Settings to start from; see [`Settings::connect`].
    pub fn builder() -> Settings {
        Settings::default()
    }

    /// Joins the world that the environment describes: `CROSSTIE_*`, Open MPI's, MPICH's, Slurm's
    /// or torchrun's variables.
    ///
    /// # Errors
    /// As [`Settings::connect`].
    pub fn from_env() -> Result<Self, Error> {
        Settings::default().connect()
    }

    /// This rank's number, from 0.
    pub fn rank(&self) -> u32 {
        self.world.rank
    }

    /// How many ranks there are.
    pub fn size(&self) -> u32 {
        self.world.size
    }

    /// How many nodes the ranks are on.
    pub fn nodes(&self) -> u32 {
        self.nodes.count()
    }

    /// The host that `rank` runs on.
    pub fn host(&self, rank: u32) -> &str {
        self.world.host(rank)
    }

    /// How long each stage of setting up took, in order.
    pub fn phases(&self) -> &[(&'static str, Duration)] {
        &self.world.phases
    }

    /// What this rank has sent, by transport.
    pub fn counters(&self) -> Vec<TransportCounters> {
        let counters = self.engine.counters().into_iter();
        counters
            .map(|(transport, c)| TransportCounters {
                transport,
                messages: c.messages,
                wire_messages: c.wire_messages,
                bytes: c.bytes,
            })
            .collect()
    }

    /// Reduces `send` of all ranks, element by element; every rank gets the result in `recv`.
    ///
    /// Both have the same length, on all ranks.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths differ; [`Error::Failed`].
    pub fn all_reduce<T: Element>(
        &mut self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        self.call(Collective::AllReduce, T::TYPE, Some(op), out_of_place(send, recv))
    }

    /// As [`all_reduce`](Self::all_reduce), in one buffer.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn all_reduce_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        self.call(Collective::AllReduce, T::TYPE, Some(op), in_place(buffer))
    }

    /// Reduces `send` of all ranks; rank r gets part r of the result in `recv`.
    ///
    /// `send` holds `size()` parts of `recv.len()` elements.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`].
    pub fn reduce_scatter<T: Element>(
        &mut self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        self.call(Collective::ReduceScatter, T::TYPE, Some(op), out_of_place(send, recv))
    }

    /// As [`reduce_scatter`](Self::reduce_scatter), in one buffer of `size()` parts: rank r's
    /// result is left in part r, and the other parts hold nothing of use.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    pub fn reduce_scatter_in_place<T: Element>(
        &mut self,
        buffer: &mut [T],
        op: ReduceOp,
    ) -> Result<(), Error> {
        self.call(Collective::ReduceScatter, T::TYPE, Some(op), in_place(buffer))
    }

    /// Puts `send` of all ranks one after the other, in rank order, into `recv` of every rank.
    ///
    /// `recv` holds `size()` parts of `send.len()` elements.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`].
    pub fn all_gather<T: Element>(&mut self, send: &[T], recv: &mut [T]) -> Result<(), Error> {
        self.call(Collective::AllGather, T::TYPE, None, out_of_place(send, recv))
    }

    /// As [`all_gather`](Self::all_gather), in one buffer of `size()` parts, of which rank r has
    /// filled part r.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    pub fn all_gather_in_place<T: Element>(&mut self, buffer: &mut [T]) -> Result<(), Error> {
        self.call(Collective::AllGather, T::TYPE, None, in_place(buffer))
    }

    /// Sends part r of `send` to rank r; part s of `recv` comes from rank s.
    ///
    /// Both hold `size()` parts of equal length, on all ranks.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`].
    pub fn all_to_all<T: Element>(&mut self, send: &[T], recv: &mut [T]) -> Result<(), Error> {
        self.call(Collective::AllToAll, T::TYPE, None, out_of_place(send, recv))
    }

    /// As [`all_to_all`](Self::all_to_all), in one buffer.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is no multiple of `size()`; [`Error::Failed`].
    pub fn all_to_all_in_place<T: Element>(&mut self, buffer: &mut [T]) -> Result<(), Error> {
        self.call(Collective::AllToAll, T::TYPE, None, in_place(buffer))
    }

    /// Any collective, on bytes: what the typed forms above come to.
    ///
    /// `op` is needed where the collective reduces, and ignored elsewhere.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`] when a peer failed or
    /// the deadline passed; [`Error::AlreadyFailed`] on every call after that.
    pub fn call(
        &mut self,
        collective: Collective,
        data_type: DataType,
        op: Option<ReduceOp>,
        buffers: Buffers<'_>,
    ) -> Result<(), Error> {
        if let Some(first) = &self.failed {
            return Err(Error::AlreadyFailed { first: first.clone() });
        }
        let ranks = self.world.size;
        let count = elements(collective, data_type, &buffers, ranks)?;
        let reducer = reducer(collective, data_type, op)?;
        self.sequence += 1;
        let form = Form {
            collective,
            algorithm: select::algorithm(collective, buffers.len() as u64, self.direct_bytes),
            in_place: buffers.in_place(),
        };
        let map = select::chunk_map(collective, data_type, count, ranks, self.slot_bytes);
        self.prepare(form)?;
        let Some(program) = self.programs.slot(form).as_ref() else {
            return Ok(());
        };
        let tag = tag::of_call(self.sequence, collective, form.algorithm, data_type, op, count);
        let call = Call { program, map, reducer, buffers, limit: self.timeout, tag };
        let monitor = self.monitor.as_ref();
        if let Some(monitor) = monitor {
            monitor.call_started(self.sequence);
        }
        let interrupted = || monitor.is_some_and(Monitor::failed);
        match self.engine.run(call, &interrupted) {
            Ok(()) => {
                if let Some(monitor) = monitor {
                    monitor.call_finished(self.sequence);
                }
                Ok(())
            }
            Err(error) => Err(self.fail(collective, error)),
        }
    }

    /// Plans and resolves the operation the first time it is called.
    fn prepare(&mut self, form: Form) -> Result<(), Error> {
        if self.programs.slot(form).is_some() {
            return Ok(());
        }
        let Form { collective, algorithm, in_place } = form;
        let plan = select::plan(collective, algorithm, in_place, &self.nodes, self.world.rank);
        let program = self.engine.resolve(plan).map_err(|e| self.fail(collective, e))?;
        *self.programs.slot(form) = Some(program);
        Ok(())
    }

    /// Turns what this rank saw into the verdict that all ranks share.
    #[cold]
    fn fail(&mut self, operation: Collective, seen: ExecError) -> Error {
        let local = seen.to_string();
        let cause = match &seen {
            ExecError::Deadline { .. } => Cause::Deadline,
            ExecError::CallMismatch { .. } | ExecError::LengthMismatch { .. } => Cause::Protocol,
            ExecError::Transport { source, .. }
                if matches!(**source, TransportError::PeerGone { .. }) =>
            {
                Cause::Died
            }
            _ => Cause::Protocol,
        };
        let report =
            Report { culprit: seen.peer(), cause, detail: local.clone(), sequence: self.sequence };
        let verdict = match &self.monitor {
            Some(monitor) => {
                if !matches!(seen, ExecError::Interrupted { .. }) {
                    monitor.report(report);
                }
                monitor.verdict(VERDICT_LIMIT)
            }
            None => Verdict::provisional(report, self.world.rank, String::new()),
        };
        let (rank, operation) = (self.world.rank, Some(operation));
        let failure = Failure::new(verdict, rank, operation, self.sequence, local);
        self.failed = Some(failure.to_string());
        Error::Failed(Box::new(failure))
    }

    /// Leaves in order: what was sent is delivered, the peers are told, nothing is left behind.
    ///
    /// Dropping the communicator does the same, but cannot tell of an error.
    ///
    /// # Errors
    /// [`Error::NotDelivered`], [`Error::Transport`] when what was sent could not be delivered.
    pub fn leave(mut self) -> Result<(), Error> {
        self.leave_in_order()
    }

    /// Tells the others that no call of this rank will come, for its program has panicked.
    fn give_up(&mut self) {
        let Some(monitor) = self.monitor.take() else { return };
        let (culprit, cause) = (Some(self.world.rank), Cause::Aborted);
        let detail = "the thread that held the communicator panicked".to_owned();
        monitor.report(Report { culprit, cause, detail, sequence: self.sequence });
        monitor.leave(self.sequence);
    }

    fn leave_in_order(&mut self) -> Result<(), Error> {
        let Some(monitor) = self.monitor.take() else { return Ok(()) };
        let limit = DRAIN_LIMIT.min(self.timeout);
        let drained = self.engine.drain(limit);
        monitor.leave(self.sequence);
        if drained? { Ok(()) } else { Err(Error::NotDelivered { waited: limit }) }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        if std::thread::panicking() {
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
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

fn out_of_place<'a, T: Element>(send: &'a [T], recv: &'a mut [T]) -> Buffers<'a> {
    Buffers::OutOfPlace { send: bytemuck::cast_slice(send), recv: bytemuck::cast_slice_mut(recv) }
}

fn in_place<T: Element>(buffer: &mut [T]) -> Buffers<'_> {
    Buffers::InPlace(bytemuck::cast_slice_mut(buffer))
}

/// What the operation's size counts: elements of the buffer (all_reduce) or of one part.
fn elements(
    collective: Collective,
    data_type: DataType,
    buffers: &Buffers<'_>,
    ranks: u32,
) -> Result<u64, Error> {
    let operation = collective.name();
    let wrong = |what: String| Error::Argument { operation, what };
    let whole = buffers.len();
    let parts = if collective == Collective::AllReduce { 1 } else { ranks as usize };
    if !whole.is_multiple_of(parts * data_type.size()) {
        return Err(wrong(format!(
            "a buffer of {whole} bytes does not hold {parts} equal part(s) of {data_type} \
             ({} bytes each element); make it a multiple of {} bytes",
            data_type.size(),
            parts * data_type.size()
        )));
    }
    if let Buffers::OutOfPlace { send, recv } = buffers {
        let part = whole / parts;
        let expected = match collective {
            Collective::AllGather => (part, whole),
            Collective::ReduceScatter => (whole, part),
            _ => (whole, whole),
        };
        if (send.len(), recv.len()) != expected {
            return Err(wrong(format!(
                "send has {} bytes and recv {}; with {ranks} rank(s) they must be {} and {}",
                send.len(),
                recv.len(),
                expected.0,
                expected.1
            )));
        }
    }
    Ok((whole / parts / data_type.size()) as u64)
}

fn reducer(
    collective: Collective,
    data_type: DataType,
    op: Option<ReduceOp>,
) -> Result<Option<Reducer>, Error> {
    if !collective.reduces() {
        return Ok(None);
    }
    let wrong = |what: String| Error::Argument { operation: collective.name(), what };
    let op = op.ok_or_else(|| wrong("needs a reduce operation".to_owned()))?;
    Reducer::select(data_type, op)
        .map(Some)
        .ok_or_else(|| wrong(format!("cannot {op} elements of type {data_type}")))
}

/// How long a rank waits for the verdict before it judges alone (design: two seconds).
pub(crate) const VERDICT_LIMIT: Duration = Duration::from_secs(2);

/// How long leaving waits for slow peers to take what was sent to them.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
