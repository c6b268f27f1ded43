//! Trains a small character model on the two licence texts of this repository, data-parallel: each
//! rank works on its part of every batch, and the ranks average their gradients.
//!
//! Alone, it is a world of four threads:
//!
//!     cargo run --release -p crosstie-examples --example 04_data_parallel
//!
//! Under a launcher, every process is a rank, on one host or many:
//!
//!     cargo build --release -p crosstie-examples --examples
//!     crosstie run -n 4 -- target/release/examples/04_data_parallel
//!     mpirun -n 4 target/release/examples/04_data_parallel
//!
//! `--check` also trains without peers, on the whole of every batch, and demands the same weights
//! within rounding; `--steps 200` trains for a shorter time.

mod char_model;
mod common;

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use char_model::{Model, Random, Text};
use crosstie::{Communicator, Error, ReduceOp, Threads};

const LICENCES: &str = concat!(include_str!("../LICENSE-MIT"), include_str!("../LICENSE-APACHE"));
/// Examples of one step, over all ranks. Four ranks cannot divide it evenly, and need not.
const BATCH: usize = 126;
const LEARNING_RATE: f32 = 0.5;
const MOMENTUM: f32 = 0.9;
const SEED: u64 = 1;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => common::main(Threads::new(4), |comm| train(comm, &options)),
        Err(what) => {
            eprintln!("{what}\nusage: 04_data_parallel [--steps N] [--check]");
            ExitCode::from(2)
        }
    }
}

struct Options {
    steps: usize,
    check: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { steps: 3000, check: false };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--check" => options.check = true,
                "--steps" => {
                    let steps = arguments.next().and_then(|number| number.parse().ok());
                    options.steps = steps.ok_or("--steps takes a number")?;
                }
                other => return Err(format!("{other} is no option")),
            }
        }
        Ok(options)
    }
}

/// What each rank does. All ranks make the same calls in the same order.
fn train(mut comm: Communicator, options: &Options) -> Result<(), Error> {
    let (rank, ranks) = (comm.rank() as usize, comm.size() as usize);
    let text = Text::new(LICENCES);
    // All ranks begin with the same weights, as all draw them from the same seed.
    let mut trainer = Trainer::new(&text, options.steps);
    let started = Instant::now();

    for step in 0..options.steps {
        // This rank's part of the batch; the parts differ in size where `ranks` does not divide.
        let mut sums = trainer.backward(part(rank, ranks));
        comm.all_reduce_in_place(&mut sums, ReduceOp::Sum)?;
        let loss = trainer.update(&sums);
        if rank == 0 && (step % (options.steps / 10).max(1) == 0 || step + 1 == options.steps) {
            println!("step {step:>5}: loss {loss:.3}");
        }
    }

    same_weights_everywhere(&mut comm, &trainer.model)?;
    if rank == 0 {
        let seconds = started.elapsed().as_secs_f64();
        println!("{ranks} ranks trained {} weights in {seconds:.1} s", trainer.weights().len());
        println!("and all have the same, bit for bit. The model writes:\n");
        println!("    {}\n", trainer.model.write(&text, 0, 300, 0.3));
    }
    // Leaving in order tells the peers that nothing went wrong. Dropping `comm` does so, too.
    comm.leave()?;
    if rank == 0 && options.check {
        check_against_one_process(&text, options.steps, trainer.weights());
    }
    Ok(())
}

/// Which examples of each batch are `rank`'s.
fn part(rank: usize, ranks: usize) -> Range<usize> {
    rank * BATCH / ranks..(rank + 1) * BATCH / ranks
}

/// The model in training: gradient descent with momentum, and a rate that falls to nothing.
struct Trainer<'a> {
    text: &'a Text,
    model: Model,
    velocity: Vec<f32>,
    /// Every rank draws the same batches.
    random: Random,
    step: usize,
    steps: usize,
}

impl<'a> Trainer<'a> {
    fn new(text: &'a Text, steps: usize) -> Self {
        let model = Model::new(text.alphabet(), SEED);
        let velocity = vec![0.0; model.parameters.len()];
        Self { text, model, velocity, random: Random(SEED), step: 0, steps }
    }

    /// Draws the next batch; gives the sum of the gradients of its examples in `part`, in that
    /// order, and at the end of the same buffer the sum of their losses.
    ///
    /// Sums, not means: parts of different sizes then count as they should, and the loss comes
    /// along in the same all_reduce.
    fn backward(&mut self, part: impl Iterator<Item = usize>) -> Vec<f32> {
        let batch: Vec<usize> =
            (0..BATCH).map(|_| self.random.below(self.text.examples())).collect();
        let weights = self.model.parameters.len();
        let mut sums = vec![0.0; weights + 1];
        let examples = part.map(|index| self.text.example(batch[index]));
        sums[weights] = self.model.backward(examples, &mut sums[..weights]);
        sums
    }

    /// Takes a step down the mean gradient of the whole batch, and returns its mean loss.
    fn update(&mut self, sums: &[f32]) -> f32 {
        let rate = LEARNING_RATE * (1.0 - self.step as f32 / self.steps as f32);
        self.step += 1;
        let weights = self.model.parameters.iter_mut().zip(&mut self.velocity);
        for ((weight, velocity), sum) in weights.zip(sums) {
            *velocity = MOMENTUM * *velocity + sum / BATCH as f32;
            *weight -= rate * *velocity;
        }
        sums[sums.len() - 1] / BATCH as f32
    }

    fn weights(&self) -> &[f32] {
        &self.model.parameters
    }
}

/// An all_reduce gives every rank the same bits, so equal weights stay equal: each rank shows a
/// hash of its own.
fn same_weights_everywhere(comm: &mut Communicator, model: &Model) -> Result<(), Error> {
    let mut hashes = vec![0; comm.size() as usize];
    comm.all_gather(&[hash(&model.parameters)], &mut hashes)?;
    assert!(hashes.iter().all(|&other| other == hashes[0]), "the weights differ: {hashes:x?}");
    Ok(())
}

/// FNV-1a of the bits.
fn hash(weights: &[f32]) -> i64 {
    let mix = |hash: u64, weight: &f32| {
        (hash ^ u64::from(weight.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
    };
    weights.iter().fold(0xcbf2_9ce4_8422_2325, mix).cast_signed()
}

/// Trains again without peers, on the whole of every batch, and compares.
///
/// The ranks add the same numbers in another order, so each sum is rounded otherwise, and training
/// lets small differences grow. How much they grow is measured, not guessed: one process that takes
/// each batch backwards differs from itself by rounding alone, and the ranks may differ from it by
/// `SLACK` times as much.
fn check_against_one_process(text: &Text, steps: usize, weights: &[f32]) {
    const SLACK: f32 = 10.0;
    let alone = |backwards: bool| {
        let mut trainer = Trainer::new(text, steps);
        for _ in 0..steps {
            let sums = if backwards {
                trainer.backward((0..BATCH).rev())
            } else {
                trainer.backward(0..BATCH)
            };
            trainer.update(&sums);
        }
        trainer.model.parameters
    };
    assert!(weights.iter().all(|weight| weight.is_finite()), "a weight is no number");
    let reference = alone(false);
    let rounding = largest_difference(&alone(true), &reference);
    let difference = largest_difference(weights, &reference);
    println!("largest relative difference to training in one process: {difference:.1e}");
    println!("of one process to itself, adding in another order:       {rounding:.1e}");
    assert!(difference <= SLACK * rounding, "that is more than rounding explains");
}

/// The largest difference of two weights, relative to the weight or to the root of the mean square
/// of all, whichever is larger: a weight near zero has no relative precision to keep.
fn largest_difference(weights: &[f32], reference: &[f32]) -> f32 {
    let squares: f32 = reference.iter().map(|weight| weight * weight).sum();
    let usual = (squares / reference.len() as f32).sqrt();
    let pairs = weights.iter().zip(reference);
    pairs.map(|(a, b)| (a - b).abs() / b.abs().max(usual)).fold(0.0, f32::max)
}
