//! Owns the call of any collective on bytes: the checks of its arguments, and its run.

use crosstie_bootstrap::Monitor;
use crosstie_exec::{Buffers, Call, Reducer};
use crosstie_ir::{Collective, DataType, ReduceOp};

use crate::programs::Form;
use crate::{Communicator, Error, select, tag};

impl Communicator {
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
        let reducer = reducer(collective, data_type, op, ranks)?;
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
    ranks: u32,
) -> Result<Option<Reducer>, Error> {
    if !collective.reduces() {
        return Ok(None);
    }
    let wrong = |what: String| Error::Argument { operation: collective.name(), what };
    let op = op.ok_or_else(|| wrong("needs a reduce operation".to_owned()))?;
    let reducer = Reducer::select(data_type, op, ranks).map_err(|e| wrong(e.to_string()))?;
    if !reducer.plain_copy() {
        return Err(wrong(format!("cannot {op} in this version; use sum, and scale yourself")));
    }
    Ok(Some(reducer))
}
