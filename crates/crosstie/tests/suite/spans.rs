//! What a program that listens to `tracing` hears of the control path: where time goes before the first
//! call, and what a failure was.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crosstie::{ReduceOp, Threads};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static SEEN: Mutex<BTreeMap<&str, u32>> = Mutex::new(BTreeMap::new());

/// Counts the spans of this library by name.
struct Spans(AtomicU64);

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("crosstie")
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        *SEEN.lock().unwrap().entry(span.metadata().name()).or_default() += 1;
        Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn each_step_of_the_control_path_has_a_span_and_a_call_has_none() {
    tracing::subscriber::set_global_default(Spans(AtomicU64::new(0))).unwrap();
    let results = Threads::new(2).run_each(|mut comm| {
        for _ in 0..100 {
            comm.all_reduce_in_place(&mut [1_u8], ReduceOp::Sum)?;
        }
        drop(comm.split(Some(0), 0)?);
        comm.barrier()?;
        if comm.rank() == 1 {
            return comm.leave();
        }
        assert!(comm.barrier().is_err());
        comm.shrink(&[1])?.barrier()
    });
    results.into_iter().for_each(|result| result.unwrap());
    let seen = SEEN.lock().unwrap();
    let of = |name| seen.get(name).copied().unwrap_or(0);
    // A part connects as a world does, without a meeting; what was shrunk meets first.
    let expected = [
        ("init", 2),
        ("meeting", 3),
        ("connecting", 5),
        ("split", 2),
        ("shrink", 1),
        ("failure", 1),
    ];
    assert_eq!(expected.map(|(name, _)| (name, of(name))), expected, "{seen:?}");
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
}
