//! Owns the speeds of this machine that a ceiling is predicted from: how fast the ranks read and write memory,
//! one alone and all at once, how soon one core hears of another, and how fast TCP over loopback is.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crosstie::{Communicator, ReduceOp};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use serde::Serialize;

use super::buffer::Buffer;
use crate::exit::Failure;

/// What was measured, once, before the first row; rank 0's is complete.
#[derive(Debug, Clone, Default, Serialize)]
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
    /// What no second probe confirmed, in words: nothing can be judged by a ceiling that comes of it.
    pub unsteady: Option<String>,
}

/// Bytes per second, by the size of the buffer in bytes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Memory {
    /// That are read.
    pub read: Curve,
    /// That are written.
    pub written: Curve,
}

/// TCP over loopback.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Tcp {
    /// Bytes per second of as many streams at once as there are cores, so that none is idle.
    pub bytes_per_s: f64,
    /// Half a round trip of one byte.
    pub hop_us: f64,
}

/// A speed by the size of the buffers, which decides in which cache they lie.
#[derive(Debug, Clone, Default, Serialize)]
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

/// For one speed: this long, and some passes at least; the best of them counts, for what disturbs only slows.
const PASS_TIME: Duration = Duration::from_millis(3);
const PASSES: u32 = 3;
/// Probes of a hop and of TCP: so many at least, and more until another comes as near to the best.
const PROBES: usize = 3;
const MOST_PROBES: usize = 10;
const AGREEMENT: f64 = 1.5;
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
    let mut probed = [Probed::default(); 3];
    if comm.rank() == 0 {
        let turns = comm.size().div_ceil(cores as u32).saturating_sub(1);
        let turns = if crowded { f64::from(turns) } else { 1.0 };
        probed[0] = probe(|| turns * hop_us(crowded));
        if comm.counters().iter().any(|counters| counters.transport == "tcp") {
            let streams = cores.min(comm.size() as usize);
            probed[1] = probe(|| tcp_hop_us().unwrap_or(0.0));
            probed[2] = probe(|| tcp_seconds_per_byte(streams).unwrap_or(0.0));
        }
    }
    // The others wait until it is done, and learn it.
    let mut told: Vec<f64> = probed.iter().flat_map(|it| [it.least, it.next]).collect();
    comm.all_reduce_in_place(&mut told, ReduceOp::Sum)?;
    let told = |index: usize| Probed { least: told[2 * index], next: told[2 * index + 1] };
    Ok(speeds.with(told(0), told(1), told(2)))
}

/// The two smallest values of some probes; 0 where nothing was probed.
#[derive(Debug, Clone, Copy, Default)]
struct Probed {
    least: f64,
    next: f64,
}

impl Probed {
    fn is_confirmed(self) -> bool {
        self.next <= self.least * AGREEMENT
    }
}

/// What disturbs only adds, so the least counts; once another probe confirms it, it is no accident.
fn probe(mut measure: impl FnMut() -> f64) -> Probed {
    let mut found = Probed { least: f64::INFINITY, next: f64::INFINITY };
    for done in 1..=MOST_PROBES {
        let value = measure();
        match value < found.least {
            true => found = Probed { least: value, next: found.least },
            false => found.next = found.next.min(value),
        }
        if done >= PROBES && found.is_confirmed() {
            break;
        }
    }
    found
}

impl Speeds {
    fn with(mut self, hop: Probed, tcp_hop: Probed, tcp: Probed) -> Self {
        self.hop_us = hop.least;
        self.tcp = (tcp_hop.least > 0.0 && tcp.least > 0.0)
            .then(|| Tcp { bytes_per_s: 1.0 / tcp.least, hop_us: tcp_hop.least });
        let gb_s = |seconds_per_byte: f64| 1e-9 / seconds_per_byte;
        let unsteady = |what: &str, probed: Probed, unit: &str, show: &dyn Fn(f64) -> f64| {
            let words = || {
                let Probed { least, next } = probed;
                format!("{what} {:.2} {unit} once, and else at best {:.2}", show(least), show(next))
            };
            (!probed.is_confirmed()).then(words)
        };
        let found = [
            unsteady("a hop took", hop, "us", &|us| us),
            unsteady("a hop over TCP took", tcp_hop, "us", &|us| us),
            unsteady("TCP carried", tcp, "GB/s", &gb_s),
        ];
        let found: Vec<String> = found.into_iter().flatten().collect();
        self.unsteady = (!found.is_empty()).then(|| found.join("; "));
        self
    }
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
    let (began, mut best, mut passes) = (Instant::now(), f64::INFINITY, 0);
    while passes < PASSES || began.elapsed() < PASS_TIME {
        let began = Instant::now();
        pass();
        best = best.min(began.elapsed().as_secs_f64());
        passes += 1;
    }
    bytes as f64 / best.max(1e-9)
}

/// The cores that two threads are bound to: the same, or two.
type Places = [usize; 2];

/// One probe of a hop: between the fastest of some pairs of cores, or where ranks share cores, between two
/// threads of one core.
fn hop_us(crowded: bool) -> f64 {
    let cores = own_cores();
    let (first, last) = (cores[0], cores.len() - 1);
    if crowded || last == 0 {
        return handoff_us([first; 2]);
    }
    // Near and far, for who shares a cache with whom is not known here.
    let others: BTreeSet<usize> = [1, last.div_ceil(2), last].into();
    let hops = others.into_iter().map(|other| handoff_us([first, cores[other]]));
    hops.fold(f64::INFINITY, f64::min)
}

/// The cores that this process may use, but for the binding that a launcher gave it; at least one.
fn own_cores() -> Vec<usize> {
    let asked = thread::spawn(|| {
        bind(None);
        sched_getaffinity(None)
    });
    let cores = asked.join().ok().and_then(Result::ok);
    let cores: Vec<usize> =
        cores.iter().flat_map(|set| (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu))).collect();
    if cores.is_empty() { vec![sched_getcpu()] } else { cores }
}

const BATCHES: u32 = 20;
const HANDOFFS: u32 = 100;
const SPINS_BEFORE_YIELD: u32 = 2000;

/// Two threads pass a number to and fro: microseconds from one to the other, in the best of some
/// batches. On one core this is what it takes to switch between them.
fn handoff_us(places: Places) -> f64 {
    let apart = places[0] != places[1];
    let number = AtomicU32::new(0);
    let pass = |batch: u32, turn: u32| {
        let (first, end) = (batch * HANDOFFS, (batch + 1) * HANDOFFS);
        for step in (first + turn..end).step_by(2) {
            let mut spins = 0;
            while number.load(Ordering::Acquire) != step {
                spins += 1;
                if !apart || spins > SPINS_BEFORE_YIELD {
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
            bind(Some(places[1]));
            (0..BATCHES).for_each(|batch| pass(batch, 1));
        });
        let timed = scope.spawn(|| {
            bind(Some(places[0]));
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

/// Binds this thread to one core, or frees it of the binding that a launcher gave its process. Where
/// that is refused the measurement is a bit off, no more.
fn bind(core: Option<usize>) {
    let mut cpus = CpuSet::new();
    match core {
        None => (0..CpuSet::MAX_CPU).for_each(|cpu| cpus.set(cpu)),
        Some(core) => cpus.set(core),
    }
    let _ = sched_setaffinity(None, &cpus);
}

const STREAM_TIME: Duration = Duration::from_millis(40);
/// The best of such windows counts.
const STREAM_WINDOW: Duration = Duration::from_millis(5);
const STREAM_CHUNK: usize = 128 << 10;
const ROUND_TRIPS: u32 = 200;

fn tcp_hop_us() -> io::Result<f64> {
    let (near, far) = pair()?;
    Ok(round_trip_us(near, far)? / 2.0)
}

/// Of all streams together in their best window: the best ones of each need not be at the same time.
fn tcp_seconds_per_byte(streams: usize) -> io::Result<f64> {
    let pairs: Vec<_> = (0..streams.max(1)).map(|_| pair()).collect::<Result<_, _>>()?;
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        let began = Instant::now();
        for (near, far) in pairs {
            scope.spawn(move || send_for_a_while(near));
            scope.spawn(|| receive_all(far, &received));
        }
        let (mut since, mut before, mut best) = (began, 0, f64::INFINITY);
        while began.elapsed() < STREAM_TIME {
            thread::sleep(STREAM_WINDOW);
            let (now, bytes) = (Instant::now(), received.load(Ordering::Relaxed));
            if bytes > before {
                best = best.min((now - since).as_secs_f64() / (bytes - before) as f64);
            }
            (since, before) = (now, bytes);
        }
        Ok(best)
    })
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

fn receive_all(mut stream: TcpStream, received: &AtomicU64) {
    let mut chunk = vec![0; STREAM_CHUNK];
    while let Ok(bytes @ 1..) = stream.read(&mut chunk) {
        received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
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
        let (per_byte, hop_us) = (tcp_seconds_per_byte(1).unwrap(), tcp_hop_us().unwrap());
        assert!(per_byte < 1e-6 && hop_us > 0.5, "{per_byte} {hop_us}");
        for crowded in [true, false] {
            let us = hop_us_of(crowded);
            assert!(us > 0.0 && us < 1e5, "{us}");
        }
    }

    fn hop_us_of(crowded: bool) -> f64 {
        super::hop_us(crowded)
    }

    #[test]
    fn the_least_of_some_probes_counts_and_one_that_nothing_confirms_is_told() {
        let of = |values: &[f64]| {
            let mut values = values.iter().copied().cycle();
            probe(|| values.next().unwrap())
        };
        let steady = of(&[80.0, 0.2, 50.0, 0.25, 7.0]);
        assert_eq!((steady.least, steady.next), (0.2, 0.25));
        assert!(
            Speeds::default().with(steady, Probed::default(), Probed::default()).unsteady.is_none()
        );
        let once = of(&[80.0, 0.01, 50.0, 51.0, 52.0, 53.0, 54.0, 55.0, 56.0, 57.0]);
        let words = Speeds::default().with(once, Probed::default(), Probed::default()).unsteady;
        assert_eq!(words.as_deref(), Some("a hop took 0.01 us once, and else at best 50.00"));
    }
}
