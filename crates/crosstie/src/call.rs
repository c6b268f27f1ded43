//! Owns the call of any collective on bytes: the checks of its arguments, and its run.

use std::panic::Location;
use std::time::Duration;

use crosstie_bootstrap::CallMark;
use crosstie_exec::{Buffers, Call, Reducer};
use crosstie_ir::{Collective, DataType, Rank, ReduceOp};

use crate::programs::Form;
use crate::verdict::Watched;
use crate::{Communicator, Error, select, tag};

impl Communicator {
    /// Any collective, on bytes: what the typed forms above come to.
    ///
    /// `op` is needed where the collective reduces, and ignored elsewhere.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit; [`Error::Failed`] when a peer failed or
    /// the deadline passed; [`Error::AlreadyFailed`] on every call after that.
    #[track_caller]
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
        self.check_root(collective)?;
        let count = elements(collective, data_type, &buffers, self.world.rank, ranks)?;
        let reducer = reducer(collective, data_type, op, ranks)?;
        self.sequence += 1;
        let bytes = count * data_type.size() as u64;
        let form = Form {
            collective,
            algorithm: self.selection.algorithm(collective, &self.nodes, bytes),
            in_place: buffers.in_place(),
        };
        let parts = form.algorithm.parts(collective, ranks);
        let map = select::chunk_map(collective, data_type, count, parts, self.slot_bytes);
        self.prepare(form)?;
        let Some(program) = self.programs.slot(form).as_ref() else {
            return Ok(());
        };
        let (sequence, kind) =
            (self.sequence, tag::kind(collective, form.algorithm, data_type, op));
        let tag = tag::of_call(sequence, kind, count);
        let monitor = self.monitor.as_ref();
        // The monitor has the clocks, which know more than how long this rank has waited.
        let limit = if monitor.is_some() { Duration::MAX } else { self.timeout };
        let call = Call { program, map, reducer, buffers, limit, tag };
        if let Some(monitor) = monitor {
            let site = Location::caller();
            monitor.call_started(CallMark { sequence, tag, kind, count, site });
        }
        match self.engine.run(call, &Watched { monitor, sequence }) {
            Ok(()) => {
                if let Some(monitor) = monitor {
                    monitor.call_finished(sequence);
                }
                Ok(())
            }
            Err(error) => Err(self.fail(collective, error)),
        }
    }
}

impl Communicator {
    fn check_root(&self, collective: Collective) -> Result<(), Error> {
        match collective.root() {
            Some(root) if root.0 >= self.world.size => Err(Error::Argument {
                operation: collective.name(),
                what: format!("root {root} is none of the {} ranks, 0 on", self.world.size),
            }),
            _ => Ok(()),
        }
    }
}

/// Equal parts of each side of a call on `rank`; none where it has no such side.
fn parts(collective: Collective, rank: u32, ranks: u32) -> [usize; 2] {
    let rank = Rank(rank);
    [collective.input_chunks(rank, ranks, 1), collective.output_chunks(rank, ranks, 1)]
        .map(|parts| parts as usize)
}

/// What the operation's size counts: elements of the buffer where it is whole, else of one part.
fn elements(
    collective: Collective,
    data_type: DataType,
    buffers: &Buffers<'_>,
    rank: u32,
    ranks: u32,
) -> Result<u64, Error> {
    let operation = collective.name();
    let wrong = |what: String| Error::Argument { operation, what };
    let [input, output] = parts(collective, rank, ranks);
    let (longer, whole) = match buffers {
        Buffers::OutOfPlace { send, .. } if input >= output => (input, send.len()),
        Buffers::OutOfPlace { recv, .. } => (output, recv.len()),
        Buffers::InPlace(buffer) => (input.max(output), buffer.len()),
        Buffers::Messages { .. } => return Err(wrong("takes no separate messages".to_owned())),
    };
    let size = data_type.size();
    if !whole.is_multiple_of(longer * size) {
        return Err(wrong(format!(
            "a buffer of {whole} bytes does not hold {longer} equal part(s) of {data_type} \
             ({size} bytes each element); make it a multiple of {} bytes",
            longer * size
        )));
    }
    let part = whole / longer;
    if let Buffers::OutOfPlace { send, recv } = buffers {
        let expected = (input * part, output * part);
        if (send.len(), recv.len()) != expected {
            return Err(wrong(format!(
                "send has {} bytes and recv {}; rank {rank} of {ranks} needs {} and {}",
                send.len(),
                recv.len(),
                expected.0,
                expected.1
            )));
        }
    }
    Ok((part / size) as u64)
}

fn reducer(
    collective: Collective,
    data_type: DataType,
    op: Option<ReduceOp>,
    ranks: u32,
) -> Result<Option<Reducer>, Error> {
    if collective == Collective::Barrier {
        // It reduces no bytes, but its plans reduce.
        return Ok(Reducer::select(DataType::U8, ReduceOp::Sum, ranks).ok());
    }
    if !collective.reduces() {
        return Ok(None);
    }
    let wrong = |what: String| Error::Argument { operation: collective.name(), what };
    let op = op.ok_or_else(|| wrong("needs a reduce operation".to_owned()))?;
    Reducer::select(data_type, op, ranks).map(Some).map_err(|e| wrong(e.to_string()))
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
