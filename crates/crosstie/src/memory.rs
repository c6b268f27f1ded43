//! Owns the account of the memory that a communicator allocates, and its limit.

use crosstie_exec::{Buffers, Reducer};
use crosstie_ir::ChunkMap;
use crosstie_transport::tcp::TcpEndpoint;

use crate::programs::Form;
use crate::select::CHANNELS;
use crate::settings::Resolved;
use crate::{Communicator, Error, Settings, Transport};

/// Bytes that the slots of connections to so many ranks may grow to: of this node, and of others.
pub(crate) fn slots(settings: &Resolved, local: usize, remote: usize) -> u64 {
    let shared = settings.limits.slot_memory(local * usize::from(CHANNELS));
    shared.saturating_add(TcpEndpoint::slot_memory_of(remote, CHANNELS, settings.limits))
}

/// Refuses `needed` bytes for `what` beside the `in_use` where that is beyond the limit.
///
/// # Errors
/// [`Error::Memory`].
pub(crate) fn check(
    settings: &Resolved,
    what: &'static str,
    needed: u64,
    in_use: u64,
) -> Result<(), Error> {
    match settings.memory_limit {
        Some(limit) if in_use.saturating_add(needed) > limit => {
            Err(Error::Memory { what, needed, in_use, limit })
        }
        _ => Ok(()),
    }
}

/// Bytes of the f32 in place of narrow floats, where they are rounded once at the end of a call.
fn wide_bytes(reducer: Option<&Reducer>, buffers: &Buffers<'_>) -> u64 {
    let Some(narrow) = reducer.and_then(|reducer| reducer.rounds_to()) else { return 0 };
    let bytes = match buffers {
        Buffers::OutOfPlace { send, recv } => send.len() as u64 + recv.len() as u64,
        Buffers::InPlace(buffer) => 2 * buffer.len() as u64,
        Buffers::Messages { .. } => 0,
    };
    bytes / narrow.size() as u64 * size_of::<f32>() as u64
}

impl Settings {
    /// Bytes that the slots of one rank's connections may grow to, in a world of `ranks` on `nodes` like nodes, by these
    /// settings and the environment: what `CROSSTIE_MEMORY_LIMIT` is held against first. Ways by relays take more.
    ///
    /// ```
    /// use crosstie::Settings;
    ///
    /// let short = Settings::default().slot_bytes(64 << 10);
    /// let long = Settings::default().slot_bytes(1 << 20);
    /// assert!(short.slot_memory(8, 1)? < long.slot_memory(8, 1)?);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] where a value cannot be used.
    pub fn slot_memory(&self, ranks: u32, nodes: u32) -> Result<u64, Error> {
        let environment = crosstie_launch::environment(std::env::vars_os());
        let mut settings = self.clone().resolve(environment)?;
        let by_network = settings.transport == Transport::Tcp || nodes >= ranks;
        settings.fit_slots(by_network);
        let on_node = ranks.div_ceil(nodes.max(1)).max(1);
        let local = if by_network { 1 } else { on_node };
        Ok(slots(&settings, local as usize - 1, ranks.saturating_sub(local) as usize))
    }
}

impl Communicator {
    /// Bytes that it has allocated, or may at any time without asking: slots, scratch memory, buffers.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.slot_memory + self.engine.scratch_bytes() + self.heap.in_use() as u64
    }

    /// Refuses a call whose scratch memory would be beyond the limit. Its plan has been prepared.
    #[cold]
    pub(crate) fn check_scratch(
        &mut self,
        form: Form,
        map: &ChunkMap,
        reducer: Option<&Reducer>,
        buffers: &Buffers<'_>,
    ) -> Result<(), Error> {
        let Some(program) = self.programs.slot(form).clone() else { return Ok(()) };
        let needed = self.engine.workspace_bytes(&program, map, reducer);
        let more = needed.saturating_sub(self.engine.scratch_bytes());
        let more = more.saturating_add(wide_bytes(reducer, buffers));
        check(&self.settings, "scratch memory of the call", more, self.memory_bytes())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Protocol, ReduceOp, Settings, Threads, Transport};

    /// (needed, in use, limit)
    fn numbers(error: &Error) -> (u64, u64, u64) {
        let Error::Memory { needed, in_use, limit, .. } = *error else { panic!("{error:?}") };
        assert_eq!((error.code().to_string(), error.exit_code()), ("CT-005".to_owned(), 2));
        (needed, in_use, limit)
    }

    #[test]
    fn slots_beyond_the_limit_are_refused_before_they_are_made_and_the_others_hear_of_it() {
        for transport in [Transport::SharedMemory, Transport::Tcp, Transport::Loopback] {
            let settings = Settings::default().transport(transport).slot_bytes(64 << 10);
            let slots = Threads::new(3).settings(settings.clone()).run(|mut comm| {
                comm.barrier()?;
                Ok(comm.metrics().slot_bytes)
            });
            let slots = slots.unwrap();
            let just = settings.clone().memory_limit(slots[0]);
            assert_eq!(
                Threads::new(3).settings(just).run(|comm| Ok(comm.metrics().slot_bytes)).unwrap(),
                slots
            );
            let short = settings.memory_limit(slots[0] - 1);
            for result in Threads::new(3).settings(short).run_each(|_| Ok(())) {
                assert_eq!(numbers(&result.unwrap_err()), (slots[0], 0, slots[0] - 1));
            }
        }
    }

    #[test]
    fn memory_for_slots_is_told_before_as_it_is_after() {
        for (transport, nodes) in
            [(Transport::SharedMemory, 1), (Transport::Tcp, 1), (Transport::Auto, 2)]
        {
            let settings = Settings::default().transport(transport);
            let told = settings.slot_memory(4, nodes).unwrap();
            let threads = Threads::new(4).nodes(nodes).settings(settings);
            let slots = threads.run(|comm| Ok(comm.metrics().slot_bytes)).unwrap();
            assert_eq!(slots, [told; 4], "{transport:?}");
        }
    }

    #[test]
    fn buffers_and_scratch_beyond_the_limit_are_refused_and_nothing_has_happened() {
        const LIMIT: u64 = 16 << 20;
        let settings = Settings::default().slot_bytes(4096).memory_limit(LIMIT);
        let all = Threads::new(2).settings(settings).run(|mut comm| {
            let slots = comm.metrics().slot_bytes;
            let kept = comm.alloc::<u8>(1 << 20)?;
            let error = comm.alloc::<f64>(2 << 20).unwrap_err();
            assert_eq!(numbers(&error), (LIMIT, slots + (1 << 20), LIMIT));
            drop(kept);
            // All but so much that no scratch memory is left.
            let rest = comm.alloc::<u8>((LIMIT - slots) as usize / 4096 * 4096)?;
            let mut buffer = vec![comm.rank() as u8; 2 << 20];
            let error = comm.all_to_all_in_place(&mut buffer).unwrap_err();
            let (needed, in_use, _) = numbers(&error);
            let metrics = comm.metrics();
            assert_eq!((in_use, metrics.memory_limit), (metrics.memory_bytes, Some(LIMIT)));
            assert_eq!(metrics.scratch_bytes, 0);
            drop(rest);
            comm.all_to_all_in_place(&mut buffer)?;
            assert!(
                buffer[..1 << 20].iter().all(|&x| x == 0)
                    && buffer[1 << 20..].iter().all(|&x| x == 1)
            );
            let metrics = comm.metrics();
            assert_eq!(metrics.scratch_bytes, needed);
            assert_eq!(metrics.memory_bytes, metrics.slot_bytes + needed);
            Ok(())
        });
        all.unwrap();
    }

    #[test]
    fn every_protocol_gives_the_same_bits() {
        let run = |protocol| {
            let settings =
                Settings::default().transport(Transport::SharedMemory).protocol(protocol);
            Threads::new(3).settings(settings).run(|mut comm| {
                let mut sums = Vec::new();
                for count in [1, 7, 1000, 100_003] {
                    let (mut mine, mut sum) = (comm.alloc(count)?, comm.alloc(count)?);
                    (0..)
                        .zip(mine.iter_mut())
                        .for_each(|(i, x)| *x = (i * (comm.rank() + 3)) as f32 / 7.0);
                    comm.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
                    sums.extend(sum.iter().map(|x| x.to_bits()));
                }
                Ok(sums)
            })
        };
        let results = Protocol::ALL.map(|protocol| run(protocol).unwrap());
        assert_eq!(results[0], results[1]);
        assert_eq!(results[0], results[2]);
    }
}
