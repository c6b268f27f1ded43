//! Owns the call of any operation on bytes: the checks of its arguments, and its run.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crosstie_bootstrap::CallMark;
use crosstie_exec::{Buffers, Call, Program, Reducer, Submission};
use crosstie_ir::{ChunkMap, Collective, DataType, ReduceOp};
use crosstie_planner::{Algorithm, ReductionOrder};

use crate::call_name::CallName;
use crate::counts::{Place, Sizes};
use crate::operation::Operation;
use crate::programs::Form;
use crate::standing::Watched;
use crate::{Communicator, Error, select, tag};

/// A call that has been checked and has its number: what to run it takes.
struct Admitted {
    form: Form,
    map: ChunkMap,
    reducer: Option<Reducer>,
    call: CallName,
    mark: CallMark,
}

impl Communicator {
    /// Any collective, on bytes; [`perform`](Self::perform) for one that needs counts beside.
    ///
    /// `op` is needed where the collective reduces, and ignored elsewhere.
    ///
    /// ```
    /// # use crosstie::{Buffers, Collective, DataType, ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let mut bytes = 21_i32.to_ne_bytes();
    /// let (collective, op) = (Collective::AllReduce, Some(ReduceOp::Sum));
    /// comm.call(collective, DataType::I32, op, Buffers::InPlace(&mut bytes))?;
    /// assert_eq!(i32::from_ne_bytes(bytes), 42);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    #[track_caller]
    pub fn call(
        &mut self,
        collective: Collective,
        data_type: DataType,
        op: Option<ReduceOp>,
        buffers: Buffers<'_>,
    ) -> Result<(), Error> {
        self.perform(Operation { op, ..Operation::new(collective, data_type) }, buffers)
    }

    /// Any operation, on bytes: what the typed forms come to.
    ///
    /// Buffers hold whole elements of the operation's type, in this host's byte order, at any address. A
    /// rank that has no such side, as all but the root of a gather have no receive buffer, gives an
    /// empty one.
    ///
    /// ```
    /// # use crosstie::{Buffers, Collective, DataType, Operation, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let gather = Operation::new(Collective::AllGather, DataType::U8);
    /// let (send, recv) = (&[comm.rank() as u8], &mut [9; 2]);
    /// comm.perform(gather, Buffers::OutOfPlace { send, recv })?;
    /// assert_eq!(*recv, [0, 1]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`] when a peer failed or
    /// the deadline passed; [`Error::AlreadyFailed`] on every call after that.
    #[track_caller]
    pub fn perform(&mut self, operation: Operation<'_>, buffers: Buffers<'_>) -> Result<(), Error> {
        let admitted = self.admit(operation, &buffers, Location::caller())?;
        let limit = self.limit();
        let Admitted { form, map, reducer, call, mark } = admitted;
        let Some(program) = self.programs.slot(form).as_deref() else { return Ok(()) };
        let watched = Watched { standing: &*self.standing, call, mark };
        let run = Call { program, map, reducer, buffers, limit, tag: mark.tag };
        self.engine.run(run, &watched).map_err(|seen| self.standing.fail(call, &seen))
    }

    /// The same call for later, on buffers like these.
    pub(crate) fn submission(
        &mut self,
        operation: Operation<'_>,
        buffers: &Buffers<'_>,
        site: &'static Location<'static>,
    ) -> Result<(Submission, CallName), Error> {
        let Admitted { form, map, reducer, call, mark } = self.admit(operation, buffers, site)?;
        let limit = self.limit();
        let program = self.program(form, call)?;
        let standing = Arc::clone(&self.standing);
        let watch = Box::new(Watched { standing, call, mark });
        Ok((Submission { program, map, reducer, limit, tag: mark.tag, watch }, call))
    }

    /// Whether a call goes past relays, the same on all ranks; `block` is the length of its messages, where
    /// all ranks know it.
    pub(crate) fn goes_past_relays(
        &self,
        collective: Collective,
        algorithm: Algorithm,
        block: Option<u64>,
    ) -> bool {
        let rails = &self.settings.rails;
        let is_long = block.is_some_and(|bytes| rails.goes_past(bytes));
        is_long || rails.has_ways_past() && !select::joins(collective, algorithm)
    }

    /// How long the engine lets a call take by itself.
    pub(crate) fn limit(&self) -> Duration {
        // The monitor has the clocks, which know more than how long this rank has waited.
        if self.standing.monitor.is_some() { Duration::MAX } else { self.timeout }
    }

    /// Checks a call, gives it its number, and sees to its plan.
    fn admit(
        &mut self,
        operation: Operation<'_>,
        buffers: &Buffers<'_>,
        site: &'static Location<'static>,
    ) -> Result<Admitted, Error> {
        self.standing.check()?;
        let (rank, ranks) = (self.world.rank, self.world.size);
        let Operation { collective, data_type, .. } = operation;
        let sizes = Sizes::of(&operation, buffers, Place { rank, ranks })?;
        let Sizes { count, bytes, table, digest } = sizes;
        let reducer = self.reducer(&operation)?;
        let rounds_once = reducer.is_some_and(|reducer| reducer.rounds_to().is_some());
        let algorithm = match self.selection.algorithm(collective, bytes) {
            chosen if !operation.is_ragged() => chosen,
            chosen => select::for_ragged(collective, chosen),
        };
        let sequence = self.sequence + 1;
        let in_place = buffers.in_place() && !rounds_once;
        let block = (!operation.is_ragged())
            .then(|| select::message_bytes(collective, data_type, count, ranks));
        let past_relays = self.goes_past_relays(collective, algorithm, block);
        let form = Form { collective, algorithm, in_place, past_relays };
        let computed = if rounds_once { DataType::F32 } else { data_type };
        let map = match table {
            Some(table) => select::ragged_map(table, computed, self.slot_bytes),
            None => {
                let parts = algorithm.parts(collective, ranks);
                select::chunk_map(collective, computed, count, parts, self.slot_bytes)
            }
        };
        let call = CallName { collective, name: operation.name(), sequence, site: None };
        self.standing.check_call(call)?;
        self.prepare(form, call)?;
        if self.settings.memory_limit.is_some() {
            self.check_scratch(form, &map, reducer.as_ref(), buffers)?;
        }
        self.sequence = sequence;
        let kind = tag::kind(&operation, algorithm);
        let tag = tag::of_call(sequence, kind, count ^ digest);
        let kind = self.settings.kind_from(kind);
        let mark = CallMark { sequence, tag, kind, count, site };
        Ok(Admitted { form, map, reducer, call, mark })
    }

    fn reducer(&self, operation: &Operation<'_>) -> Result<Option<Reducer>, Error> {
        let Operation { collective, data_type, op, .. } = *operation;
        let ranks = self.world.size;
        if collective == Collective::Barrier {
            // It reduces no bytes, but its plans reduce.
            return Ok(Reducer::select(DataType::U8, ReduceOp::Sum, ranks).ok());
        }
        if !collective.reduces() {
            return Ok(None);
        }
        let wrong = |what: String| Error::Argument { operation: operation.name(), what };
        let op = op.ok_or_else(|| wrong("needs a reduce operation".to_owned()))?;
        let select = match self.selection.order() {
            // One rank alone has nothing to round between.
            ReductionOrder::Canonical if ranks > 1 => Reducer::rounding_once,
            _ => Reducer::select,
        };
        select(data_type, op, ranks).map(Some).map_err(|e| wrong(e.to_string()))
    }

    /// A plan that has been prepared.
    fn program(&mut self, form: Form, call: CallName) -> Result<Arc<Program>, Error> {
        self.prepare(form, call)?;
        let lost = || Error::Argument {
            operation: call.name,
            what: "its plan was prepared, and is not there; please report this".to_owned(),
        };
        self.programs.slot(form).clone().ok_or_else(lost)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, ReduceOp, Settings, Threads, Transport};

    /// Calls are numbered with 64 bits, of which tags and messages of the monitors must lose none.
    #[test]
    fn calls_beyond_every_smaller_number_still_match_and_are_named() {
        for transport in [Transport::Loopback, Transport::SharedMemory, Transport::Tcp] {
            let settings = Settings::default().transport(transport);
            let results = Threads::new(3).settings(settings).run_each(|mut comm| {
                comm.sequence = u64::from(u32::MAX) - 20;
                for _ in 0..40 {
                    let mut sum = [comm.rank()];
                    comm.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
                    assert_eq!(sum, [3]);
                }
                let count = if comm.rank() == 1 { 2 } else { 1 };
                comm.all_reduce_in_place(&mut [0_u8; 2][..count], ReduceOp::Sum)
            });
            for result in results {
                let error = result.unwrap_err();
                let Error::Failed(failure) = &error else { panic!("{}", error.report()) };
                let conflict = failure.conflict.as_ref().expect("two calls differ");
                assert_eq!(conflict.odd.1.sequence, u64::from(u32::MAX) + 21);
                assert_eq!(conflict.odd.0, 1, "{}", error.report());
            }
        }
    }
}
