//! Owns the speeds of this machine that a ceiling is predicted from: how fast the ranks read and write memory,
//! one alone and all at once, how soon one core hears of another, and how fast TCP over loopback is.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crosstie::{Communicator, ReduceOp};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use super::buffer::Buffer;
use crate::exit::Failure;

/// What was measured, once, before the first row; rank 0's is complete.
#[derive(Debug, Clone, Default)]
pub struct Speeds {
    /// Of one rank, while the others wait.
    pub one: Memory,
    /// Of all ranks together.
    pub all: Memory,
    /// Microseconds until a core sees what another has written, or, where ranks share cores, until
    /// each rank had its turn.
    pub hop_us: f64,
    /// Over loopback, where the world uses TCP on this one host.
    pub tcp: Option<Tcp>,
}

/// Bytes per second.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// That are read.
    pub read: Curve,
    /// That are written.
    pub written: Curve,
}

/// TCP over loopback.
#[derive(Debug, Clone, Copy)]
pub struct Tcp {
    /// Bytes per second of as many streams at once as there are cores, so that none is idle.
    pub bytes_per_s: f64,
    /// Half a round trip of one byte.
    pub hop_us: f64,
}

/// A speed by the size of the buffers, which decides in which cache they lie.
#[derive(Debug, Clone, Default)]
pub struct Curve(Vec<(f64, f64)>);

impl Curve {
    /// The speed at a size: of the nearest sizes that were measured, in proportion to the distance
    /// on a logarithmic scale.
    pub fn at(&self, bytes: usize) -> f64 {
        let size = bytes.max(1) as f64;
        let above = self.0.iter().position(|(measured, _)| *measured >= size);
        match above {
            Some(0) => self.0[0].1,
            None => self.0.last().map_or(f64::INFINITY, |(_, speed)| *speed),
            Some(index) => {
                let ((low, from), (high, to)) = (self.0[index - 1], self.0[index]);
                let share = (size / low).ln() / (high / low).ln();
                from + (to - from) * share
            }
        }
    }
}

/// For one speed: some passes at least; the best of them counts, for what disturbs only slows.
const PASS_TIME: Duration = Duration::from_millis(3);
/// The smallest buffer whose speed is measured, and the step to the next.
const SMALLEST: usize = 16 << 10;
const STEP: usize = 16;

/// Measures on the ranks' own buffers, whose first `largest` bytes will be used; all ranks call it.
pub fn measure(
    comm: &mut Communicator,
    send: &mut Buffer,
    receive: &mut Buffer,
    largest: usize,
) -> Result<Speeds, Failure> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let crowded = comm.size() as usize > cores;
    let mut speeds = Speeds::default();
    let sizes = std::iter::successors(Some(SMALLEST), |size| Some(size * STEP));
    let mut sizes: Vec<usize> = sizes.take_while(|&size| size < largest).collect();
    sizes.push(largest);
    for size in sizes.into_iter().filter(|&size| size > 0) {
        let (from, to) = (send.first(size), receive.first(size));
        let one = if comm.rank() == 0 { memory(from, to) } else { [0.0; 2] };
        comm.all_reduce_in_place(&mut [0_i64], ReduceOp::Sum)?; // all begin together
        let mut all = memory(from, to);
        comm.all_reduce_in_place(&mut all, ReduceOp::Sum)?;
        // A rank's best pass had a core for itself.
        let share = (cores as f64 / f64::from(comm.size())).min(1.0);
        for (memory, [read, written]) in
            [(&mut speeds.one, one), (&mut speeds.all, all.map(|speed| speed * share))]
        {
            memory.read.0.push((size as f64, read));
            memory.written.0.push((size as f64, written));
        }
    }
    if comm.rank() == 0 {
        let turns = comm.size().div_ceil(cores as u32).saturating_sub(1);
        speeds.hop_us = match crowded {
            true => f64::from(turns) * handoff_us(Place::OneCore(sched_getcpu())),
            false => handoff_us(Place::TwoCores),
        };
        if comm.counters().iter().any(|counters| counters.transport == "tcp") {
            speeds.tcp = tcp(cores.min(comm.size() as usize)).ok();
        }
    }
    comm.all_reduce_in_place(&mut [0_i64], ReduceOp::Sum)?; // the others wait until it is done
    Ok(speeds)
}

/// Bytes per second that this thread reads and writes.
fn memory(from: &[u8], to: &mut [u8]) -> [f64; 2] {
    let read = best_speed(from.len(), || {
        let (words, _) = std::hint::black_box(from).as_chunks::<8>();
        let sum =
            words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
        std::hint::black_box(sum);
    });
    let written = best_speed(to.len(), || std::hint::black_box(&mut *to).fill(1));
    [read, written]
}

/// Of some passes over so many bytes.
fn best_speed(bytes: usize, mut pass: impl FnMut()) -> f64 {
    pass(); // pages and caches are as the next time
    let (began, mut best) = (Instant::now(), f64::INFINITY);
    while began.elapsed() < PASS_TIME {
        let began = Instant::now();
        pass();
        best = best.min(began.elapsed().as_secs_f64());
    }
    bytes as f64 / best.max(1e-9)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Both threads on this core.
    OneCore(usize),
    TwoCores,
}

const BATCHES: u32 = 40;
const HANDOFFS: u32 = 100;
const SPINS_BEFORE_YIELD: u32 = 2000;

/// Two threads pass a number to and fro: microseconds from one to the other, in the best of some
/// batches. On one core this is what it takes to switch between them.
fn handoff_us(place: Place) -> f64 {
    let number = AtomicU32::new(0);
    let pass = |batch: u32, turn: u32| {
        let (first, end) = (batch * HANDOFFS, (batch + 1) * HANDOFFS);
        for step in (first + turn..end).step_by(2) {
            let mut spins = 0;
            while number.load(Ordering::Acquire) != step {
                spins += 1;
                if place != Place::TwoCores || spins > SPINS_BEFORE_YIELD {
                    thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
            number.store(step + 1, Ordering::Release);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            bind(place);
            (0..BATCHES).for_each(|batch| pass(batch, 1));
        });
        let timed = scope.spawn(|| {
            bind(place);
            let time = |batch| {
                let began = Instant::now();
                pass(batch, 0);
                began.elapsed().as_secs_f64() * 1e6 / f64::from(HANDOFFS)
            };
            (0..BATCHES).map(time).fold(f64::INFINITY, f64::min)
        });
        timed.join().unwrap_or(0.0)
    })
}

/// Frees this thread of the binding that a launcher gave its process, or binds it to one core. Where
/// that is refused the measurement is a bit off, no more.
fn bind(place: Place) {
    let mut cpus = CpuSet::new();
    match place {
        Place::TwoCores => (0..CpuSet::MAX_CPU).for_each(|cpu| cpus.set(cpu)),
        Place::OneCore(cpu) => cpus.set(cpu),
    }
    let _ = sched_setaffinity(None, &cpus);
}

const STREAM_TIME: Duration = Duration::from_millis(40);
/// The best of such windows counts.
const STREAM_WINDOW: Duration = Duration::from_millis(5);
const STREAM_CHUNK: usize = 128 << 10;
const ROUND_TRIPS: u32 = 200;

fn tcp(streams: usize) -> io::Result<Tcp> {
    let (near, far) = pair()?;
    let hop_us = round_trip_us(near, far)? / 2.0;
    let pairs: Vec<_> = (0..streams.max(1)).map(|_| pair()).collect::<Result<_, _>>()?;
    let bytes_per_s = thread::scope(|scope| {
        let start = |(near, far)| {
            scope.spawn(move || send_for_a_while(near));
            scope.spawn(move || receive_all(far))
        };
        let streams: Vec<_> = pairs.into_iter().map(start).collect();
        streams.into_iter().map(|stream| stream.join().unwrap_or(0.0)).sum()
    });
    Ok(Tcp { bytes_per_s, hop_us })
}

fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// The best of some round trips of one byte, between threads that do not sleep.
fn round_trip_us(mut near: TcpStream, mut far: TcpStream) -> io::Result<f64> {
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    thread::scope(|scope| {
        scope.spawn(move || {
            (0..ROUND_TRIPS).try_for_each(|_| take(&mut far).and_then(|()| far.write_all(&[0])))
        });
        let mut best = f64::INFINITY;
        for _ in 0..ROUND_TRIPS {
            let began = Instant::now();
            near.write_all(&[0])?;
            take(&mut near)?;
            best = best.min(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(best)
    })
}

/// Takes one byte, as soon as it is there.
fn take(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        match stream.read(&mut [0]) {
            Ok(1..) => return Ok(()),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
}

fn send_for_a_while(mut stream: TcpStream) {
    let chunk = vec![0; STREAM_CHUNK];
    let began = Instant::now();
    while began.elapsed() < STREAM_TIME && stream.write_all(&chunk).is_ok() {}
}

/// Bytes per second until the end, in the best window.
fn receive_all(mut stream: TcpStream) -> f64 {
    let mut chunk = vec![0; STREAM_CHUNK];
    let (mut began, mut received, mut best) = (Instant::now(), 0, 0.0_f64);
    while let Ok(bytes @ 1..) = stream.read(&mut chunk) {
        received += bytes;
        let elapsed = began.elapsed();
        if elapsed >= STREAM_WINDOW {
            best = best.max(received as f64 / elapsed.as_secs_f64());
            (began, received) = (Instant::now(), 0);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_between_two_sizes_lies_between_theirs() {
        let curve = Curve(vec![(1024.0, 8.0), (65536.0, 2.0)]);
        assert_eq!((curve.at(0), curve.at(1024), curve.at(65536)), (8.0, 8.0, 2.0));
        assert_eq!(curve.at(1 << 30), 2.0);
        assert!((curve.at(8192) - 5.0).abs() < 1e-9, "halfway, on a logarithmic scale");
    }

    #[test]
    fn what_is_measured_is_possible() {
        let tcp = tcp(1).unwrap();
        assert!(tcp.bytes_per_s > 1e6 && tcp.hop_us > 0.5, "{tcp:?}");
        for place in [Place::OneCore(sched_getcpu()), Place::TwoCores] {
            let us = handoff_us(place);
            assert!(us > 0.0 && us < 1e5, "{us}");
        }
    }
}
