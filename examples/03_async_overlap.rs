//! Overlaps communication with computation: while the backward pass works on one layer, the gradients
//! of the layers after it are being summed over the ranks.
//!
//! Alone, it is a world of two threads:
//!
//!     cargo run --release -p crosstie-examples --example 03_async_overlap
//!
//! Under a launcher, every process is a rank, on one host or many:
//!
//!     cargo build --release -p crosstie-examples --examples
//!     crosstie run -n 2 -- target/release/examples/03_async_overlap
//!     mpirun -n 2 target/release/examples/03_async_overlap
//!
//! What overlap gains is what a rank would else spend waiting. Where the cores that compute also move
//! the bytes, that is little, and with more ranks than cores less than nothing; where a device computes,
//! it is much of the communication. The example measures both and says what it was;
//! CROSSTIE_TRANSPORT=tcp gives it more to hide.

mod common;
mod layers;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crosstie::{Buffer, Communicator, Error, ReduceOp, Threads};
use layers::{BUCKET, LAYERS, Layers, WIDTH, noise};

/// Examples of each rank's batch.
const BATCH: usize = 16;
const STEPS: usize = 20;
/// What the device takes for a layer.
const DEVICE_TIME: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    common::main(Threads::new(2), measure)
}

/// What each rank does. All ranks make the same calls in the same order.
fn measure(mut comm: Communicator) -> Result<(), Error> {
    let rank = comm.rank();
    if rank == 0 {
        let kib = LAYERS * BUCKET * size_of::<f32>() / 1024;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "{} ranks, {kib} KiB of gradients in {LAYERS} buckets, {cores} cores",
            comm.size()
        );
    }

    let layers = Layers::new();
    compare(&mut comm, "computed by these cores", |step| {
        let activations = layers.forward(batch(rank, step));
        let mut errors = activations.outputs().clone(); // as of a loss of half the outputs' square
        let layers = &layers;
        move |layer, bucket| layers.backward(layer, &activations, &mut errors, bucket)
    })?;
    // Stands in for a device: the rank waits for it, and has its cores for other work.
    compare(&mut comm, "computed by a device", |step| {
        move |layer, bucket| {
            thread::sleep(DEVICE_TIME);
            bucket.fill(rank as f32 + (step + layer) as f32);
        }
    })?;
    // Leaving in order tells the peers that nothing went wrong. Dropping `comm` does so, too.
    comm.leave()
}

/// Does the same steps in both ways; `begin` does a step's forward pass and gives its backward pass,
/// which fills the bucket of a layer.
fn compare<B: FnMut(usize, &mut [f32])>(
    comm: &mut Communicator,
    what: &str,
    begin: impl Fn(usize) -> B,
) -> Result<(), Error> {
    // One bucket of gradients for each layer, in memory that the ranks of a host share; a `Vec<f32>`
    // would do as well.
    let (mut plain, mut overlapping) = (buckets(comm)?, buckets(comm)?);
    let (mut plain_times, mut overlapping_times) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        // In turn, so that a machine that slows down slows both.
        plain_times.push(timed(begin(step), |backward| one_by_one(comm, &mut plain, backward))?);
        overlapping_times
            .push(timed(begin(step), |backward| overlapped(comm, &mut overlapping, backward))?);
        for (layer, (a, b)) in plain.iter().zip(&overlapping).enumerate() {
            let same = a.iter().zip(b.iter()).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "step {step}, layer {layer}: both ways average the same gradients");
        }
    }
    if comm.rank() == 0 {
        let (plain, overlapping) = (median_ms(plain_times), median_ms(overlapping_times));
        let times = overlapping / plain;
        println!(
            "{what}: {plain:.2} ms a step, overlapped {overlapping:.2} ms, {times:.2} times as long"
        );
    }
    Ok(())
}

/// The plain way: the whole backward pass, then one bucket after the other.
fn one_by_one(
    comm: &mut Communicator,
    buckets: &mut [Buffer<f32>],
    mut backward: impl FnMut(usize, &mut [f32]),
) -> Result<(), Error> {
    for (layer, bucket) in buckets.iter_mut().enumerate().rev() {
        backward(layer, bucket);
    }
    for bucket in buckets.iter_mut().rev() {
        comm.all_reduce_in_place(bucket, ReduceOp::Average)?;
    }
    Ok(())
}

/// The same, but each bucket is on its way while the next is computed.
fn overlapped(
    comm: &mut Communicator,
    buckets: &mut [Buffer<f32>],
    mut backward: impl FnMut(usize, &mut [f32]),
) -> Result<(), Error> {
    comm.scope(|scope| {
        let mut under_way = Vec::with_capacity(LAYERS);
        for (layer, bucket) in buckets.iter_mut().enumerate().rev() {
            backward(layer, bucket);
            // Returns at once. The bucket is out of reach until the call is over: using it here
            // does not compile.
            under_way.push(scope.all_reduce_in_place(bucket, ReduceOp::Average)?);
        }
        // Gives each bucket back, to be used while the later ones are still on their way.
        under_way.into_iter().try_for_each(|work| work.wait().map(drop))
    })
}

fn buckets(comm: &Communicator) -> Result<Vec<Buffer<f32>>, Error> {
    (0..LAYERS).map(|_| comm.alloc(BUCKET)).collect()
}

fn timed<B>(backward: B, step: impl FnOnce(B) -> Result<(), Error>) -> Result<Duration, Error> {
    let began = Instant::now();
    step(backward)?;
    Ok(began.elapsed())
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Each rank has data of its own.
fn batch(rank: u32, step: usize) -> Vec<f32> {
    let first = (rank as usize * STEPS + step) * BATCH * WIDTH;
    (first..first + BATCH * WIDTH).map(noise).collect()
}
