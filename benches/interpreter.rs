//! What the interpreter of plans costs: a call that moves next to nothing, and each further instruction.
//!
//! `cargo bench -p crosstie-benches --bench interpreter [-- FILTER]`. Worlds are threads over loopback,
//! on as many cores. In `instructions`, a buffer goes in pieces of 64 bytes, each an instruction of
//! its own on a rank that is alone, each a message between two; throughput counts these.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crosstie::{Communicator, Error, ReduceOp, Settings, Threads, Transport};

/// The smallest that settings allow.
const SLOT_BYTES: usize = 64;
const PIECES: usize = 1024;

/// A call that is measured, of which each rank has its own.
type Call = fn(&mut Communicator, &mut [Vec<u8>; 2]) -> Result<(), Error>;

fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("call");
    group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(200));
    for ranks in [1, 2] {
        let world = World::start(ranks, 8, all_reduce);
        group.bench_function(format!("all_reduce of 8 bytes, {ranks} rank(s)"), |b| {
            b.iter_custom(|calls| world.time(calls));
        });
        world.end();
    }
    group.finish();
}

fn instructions(c: &mut Criterion) {
    let mut group = c.benchmark_group("instructions");
    group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(200));
    group.throughput(Throughput::Elements(PIECES as u64));
    let cases: [(&str, u32, Call); 2] =
        [("copies, alone", 1, all_reduce), ("exchanges, 2 ranks", 2, all_to_all)];
    for (name, ranks, call) in cases {
        // Each rank keeps one part of an all_to_all, and sends the others.
        let world = World::start(ranks, ranks as usize * PIECES * SLOT_BYTES, call);
        group.bench_function(name, |b| b.iter_custom(|calls| world.time(calls)));
        world.end();
    }
    group.finish();
}

fn all_reduce(comm: &mut Communicator, [send, recv]: &mut [Vec<u8>; 2]) -> Result<(), Error> {
    comm.all_reduce(send, recv, ReduceOp::Sum)
}

fn all_to_all(comm: &mut Communicator, [send, recv]: &mut [Vec<u8>; 2]) -> Result<(), Error> {
    comm.all_to_all(send, recv)
}

/// Ranks in threads of their own, which make as many calls as rank 0 is asked for.
struct World {
    wanted: Sender<i64>,
    times: Receiver<Duration>,
    ranks: JoinHandle<Result<(), Error>>,
}

impl World {
    fn start(ranks: u32, bytes: usize, call: Call) -> Self {
        let (wanted, asked) = mpsc::channel();
        let (tells, times) = mpsc::channel();
        let ends = Mutex::new(Some((asked, tells)));
        let settings = Settings::default().transport(Transport::Loopback).slot_bytes(SLOT_BYTES);
        let body = move |comm: Communicator| {
            let ends =
                if comm.rank() == 0 { ends.lock().ok().and_then(|mut e| e.take()) } else { None };
            serve(comm, ends, bytes, call)
        };
        let world = Threads::new(ranks).settings(settings);
        let ranks = thread::spawn(move || world.run(body).map(drop));
        Self { wanted, times, ranks }
    }

    /// What so many calls take on rank 0; nothing, when a rank has failed (see [`end`](Self::end)).
    fn time(&self, calls: u64) -> Duration {
        let sent = self.wanted.send(calls as i64);
        sent.ok().and_then(|()| self.times.recv().ok()).unwrap_or_default()
    }

    fn end(self) {
        drop(self.wanted);
        let ended = self.ranks.join().expect("no rank panics");
        ended.expect("threads over loopback lose no rank");
    }
}

/// One rank: learns from rank 0 how many calls are wanted, makes them, and ends when none are.
fn serve(
    mut comm: Communicator,
    ends: Option<(Receiver<i64>, Sender<Duration>)>,
    bytes: usize,
    call: Call,
) -> Result<(), Error> {
    let mut buffers = [vec![1; bytes], vec![0; bytes]];
    loop {
        let mut calls = [0];
        if let Some((asked, _)) = &ends {
            calls = [asked.recv().unwrap_or(0)];
        }
        comm.all_reduce_in_place(&mut calls, ReduceOp::Max)?;
        if calls[0] == 0 {
            return comm.leave();
        }
        let began = Instant::now();
        for _ in 0..calls[0] {
            call(&mut comm, &mut buffers)?;
        }
        if let Some((_, tells)) = &ends {
            let _ = tells.send(began.elapsed()); // nobody waits any more once a bench has panicked
        }
    }
}

criterion_group!(benches, calls, instructions);
criterion_main!(benches);
