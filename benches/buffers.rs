//! Shared buffers beside private ones, in one run: all_reduce and all_to_all, processes on this host.
//!
//! Ranks are processes, which `crosstie run` starts:
//!
//! ```sh
//! cargo bench -p crosstie-benches --bench buffers --no-run     # says where the program is
//! target/release/crosstie run -n 2 -- PROGRAM [FIRST_BYTES LAST_BYTES [FACTOR]]
//! ```
//!
//! A figure is the median over calls of the slowest rank's time, in µs; the kinds of buffers take turns.

use std::time::{Duration, Instant};

use crosstie::{Communicator, Error, ReduceOp};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(30);

/// One call to be measured.
type Operation = fn(&mut Communicator, &[f32], &mut [f32]) -> Result<(), Error>;

const OPERATIONS: [(&str, Operation); 2] = [
    ("all_reduce", |comm, send, recv| comm.all_reduce(send, recv, ReduceOp::Sum)),
    ("all_to_all", |comm, send, recv| comm.all_to_all(send, recv)),
];

fn main() -> Result<(), Error> {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let first = numbers.first().copied().unwrap_or(4 << 10);
    let last = numbers.get(1).copied().unwrap_or(16 << 20);
    let factor = numbers.get(2).copied().unwrap_or(4).max(2);
    let mut comm = Communicator::from_env()?;
    if comm.rank() == 0 {
        println!("{:<12} {:>10} {:>10} {:>10}", "operation", "bytes", "shared", "private");
    }
    for (name, operation) in OPERATIONS {
        let sizes = std::iter::successors(Some(first), |size| Some(size * factor));
        for bytes in sizes.take_while(|&size| size <= last) {
            let [shared, private] = compare(&mut comm, operation, bytes / size_of::<f32>())?;
            if comm.rank() == 0 {
                println!("{name:<12} {bytes:>10} {shared:>10.2} {private:>10.2}");
            }
        }
    }
    Ok(())
}

/// The medians of shared and of private buffers of `count` elements, in µs.
fn compare(comm: &mut Communicator, op: Operation, count: usize) -> Result<[f64; 2], Error> {
    let (mut shared_send, mut shared_recv) = (comm.alloc::<f32>(count)?, comm.alloc(count)?);
    let (mut send, mut recv) = (vec![0.0f32; count], vec![0.0f32; count]);
    shared_send.fill(1.0);
    send.fill(1.0);
    let (mut shared, mut private) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        shared.extend(round(comm, op, &shared_send, &mut shared_recv)?);
        private.extend(round(comm, op, &send, &mut recv)?);
    }
    Ok([median(comm, shared)?, median(comm, private)?])
}

/// The times of single calls, each after a barrier, in µs: as many as fill a round.
fn round(
    comm: &mut Communicator,
    op: Operation,
    send: &[f32],
    recv: &mut [f32],
) -> Result<Vec<f32>, Error> {
    let mut times = Vec::new();
    let mut go_on = [1i32];
    let started = Instant::now();
    while go_on[0] != 0 {
        let start = Instant::now();
        op(comm, send, recv)?;
        times.push(start.elapsed().as_secs_f32() * 1e6);
        // All ranks agree when to stop; that is the barrier, too.
        go_on = [i32::from(started.elapsed() < ROUND)];
        comm.all_reduce_in_place(&mut go_on, ReduceOp::Min)?;
    }
    Ok(times)
}

fn median(comm: &mut Communicator, mut times: Vec<f32>) -> Result<f64, Error> {
    comm.all_reduce_in_place(&mut times, ReduceOp::Max)?;
    times.sort_by(f32::total_cmp);
    Ok(f64::from(times[times.len() / 2]))
}
