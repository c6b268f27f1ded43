//! Averages gradients over all ranks: the step that data-parallel training repeats.
//!
//! Alone, it is a world of four threads:
//!
//!     cargo run --release -p crosstie-examples --example 01_all_reduce
//!
//! Under a launcher, every process is a rank, on one host or many:
//!
//!     cargo build --release -p crosstie-examples --examples
//!     crosstie run -n 4 -- target/release/examples/01_all_reduce
//!     mpirun -n 4 target/release/examples/01_all_reduce

mod common;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crosstie::{Communicator, Error, ReduceOp, Threads};

/// Parameters of the pretended model: 4 MiB of f32.
const PARAMETERS: usize = 1 << 20;
const STEPS: usize = 10;

fn main() -> ExitCode {
    common::main(Threads::new(4), train)
}

/// What each rank does. All ranks make the same calls in the same order.
fn train(mut comm: Communicator) -> Result<(), Error> {
    let (rank, size) = (comm.rank(), comm.size());
    let mut gradients = vec![0.0f32; PARAMETERS];
    let mut spent = Duration::ZERO;

    for step in 0..STEPS {
        backward(&mut gradients, rank, step);

        // The sum over all ranks replaces each rank's own gradients. `all_reduce` does the same
        // from one buffer into another.
        let started = Instant::now();
        comm.all_reduce_in_place(&mut gradients, ReduceOp::Sum)?;
        spent += started.elapsed();

        for gradient in &mut gradients {
            *gradient /= size as f32;
        }
        check(&gradients, size, step);
    }

    if rank == 0 {
        let mean_ms = spent.as_secs_f64() * 1e3 / STEPS as f64;
        println!("{size} ranks averaged {PARAMETERS} gradients {STEPS} times");
        println!("an all_reduce took {mean_ms:.2} ms, the wait for slower ranks included");
        for sent in comm.counters() {
            println!("rank 0 sent {} bytes over {}", sent.bytes, sent.transport);
        }
    }
    // Leaving in order tells the peers that nothing went wrong. Dropping `comm` does so, too.
    comm.leave()
}

/// Stands in for a backward pass: every rank has gradients of its own, from its own data.
fn backward(gradients: &mut [f32], rank: u32, step: usize) {
    for (i, gradient) in gradients.iter_mut().enumerate() {
        *gradient = (rank as usize + step + i % 7) as f32;
    }
}

/// The mean over ranks 0, 1, …, n − 1 of (rank + step + i mod 7), known without communicating.
/// The sums are small integers, so their floats are exact in any order.
fn check(gradients: &[f32], size: u32, step: usize) {
    let ranks = size as usize;
    let sum_of_ranks = ranks * (ranks - 1) / 2;
    for (i, &gradient) in gradients.iter().enumerate() {
        let sum = sum_of_ranks + ranks * (step + i % 7);
        assert_eq!(gradient, sum as f32 / size as f32, "gradient {i} of step {step}");
    }
}
