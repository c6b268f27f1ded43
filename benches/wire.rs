//! One wire between two ranks: a stream of messages one way, and short ones to and fro.
//!
//! Ranks are processes; `benches/verbs` starts them where there are verbs devices, beside what is compared there.
//!
//! ```sh
//! cargo build --release -p crosstie-benches --bin wire
//! target/release/crosstie run -n 2 -- target/release/wire [STREAM_BYTES STREAM_CALLS GROUP ROUND_TRIPS]
//! ```
//!
//! Rank 0 prints one JSON object. A stream is messages from `comm.alloc`'s memory, so many of them in each group; its
//! time ends when the receiver has answered that it has all. A latency is half a round trip of 8 bytes.

#![expect(clippy::print_stdout, reason = "what it measured is what it is for")]

use std::time::Instant;

use crosstie::{Communicator, Error};

fn main() -> Result<(), Error> {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let given = |index: usize, default: usize| numbers.get(index).copied().unwrap_or(default);
    let mut comm = Communicator::from_env()?;
    let (bytes, calls, in_group) = (given(0, 1 << 20), given(1, 8), given(2, 8).max(1));
    let rate = stream(&mut comm, bytes, calls.max(1), in_group)?;
    let latency = round_trips(&mut comm, given(3, 1000).max(1))?;
    if comm.rank() == 0 {
        println!(
            "{{\"stream_mib_s\": {rate:.2}, \"typical_us\": {:.2}, \"average_us\": {:.2}}}",
            latency.typical, latency.average
        );
    }
    comm.leave()
}

/// MiB/s of so many groups of messages from rank 0 to rank 1, after one that is not counted.
fn stream(
    comm: &mut Communicator,
    bytes: usize,
    calls: usize,
    in_group: usize,
) -> Result<f64, Error> {
    let mut buffer = comm.alloc::<u8>(bytes * in_group)?;
    buffer.fill(comm.rank() as u8 + 1);
    let mut started = Instant::now();
    for call in 0..=calls {
        if call == 1 {
            answer(comm)?;
            started = Instant::now();
        }
        let sends = comm.rank() == 0;
        comm.group(|group| {
            for message in buffer.chunks_exact_mut(bytes) {
                if sends { group.send(message, 1) } else { group.recv(message, 0) }
            }
        })?;
    }
    answer(comm)?;
    let took = started.elapsed().as_secs_f64();
    assert!(buffer.iter().all(|&byte| byte == 1), "the message has arrived");
    Ok((bytes * in_group * calls) as f64 / took / (1 << 20) as f64)
}

/// Rank 0 learns that rank 1 has come here.
fn answer(comm: &mut Communicator) -> Result<(), Error> {
    if comm.rank() == 0 { comm.recv(&mut [0u8; 8], 1) } else { comm.send(&[0u8; 8], 0) }
}

struct Latency {
    /// The median.
    typical: f64,
    average: f64,
}

/// Half of a round trip of 8 bytes, in µs.
fn round_trips(comm: &mut Communicator, count: usize) -> Result<Latency, Error> {
    let (mut there, mut times) = ([7u64], Vec::with_capacity(count));
    let warm_up = count / 10;
    for trip in 0..warm_up + count {
        let started = Instant::now();
        if comm.rank() == 0 {
            comm.send(&there, 1)?;
            comm.recv(&mut there, 1)?;
        } else {
            comm.recv(&mut there, 0)?;
            comm.send(&there, 0)?;
        }
        if trip >= warm_up {
            times.push(started.elapsed().as_secs_f64() * 1e6 / 2.0);
        }
    }
    assert_eq!(there, [7], "the message has come back");
    times.sort_by(f64::total_cmp);
    let average = times.iter().sum::<f64>() / count as f64;
    Ok(Latency { typical: times[count / 2], average })
}
