//! One job, two ways to divide it: each rank is in a tensor-parallel group, whose ranks hold parts of one layer's weights,
//! and in a data-parallel group, whose ranks hold the same part and see different examples. Both are made by `split`.
//!
//! A step of training is checked whole: activations, which the tensor-parallel group adds up, and gradients, which the
//! data-parallel group averages, must be those of one process that does it all, to the last bit. (All numbers are
//! whole and small, so that sums are exact in any order.)
//!
//!     cargo run --release -p crosstie-examples --example 06_tensor_and_data_parallel
//!     crosstie run -n 4 -- target/release/examples/06_tensor_and_data_parallel

mod common;

use std::ops::{Add, Range};
use std::process::ExitCode;

use crosstie::{Communicator, Error, ReduceOp, Threads};

/// Inputs and outputs of the layer; any number of ranks up to this may share it.
const INPUTS: usize = 48;
const OUTPUTS: usize = 40;
/// Examples that each data-parallel group's rank works on.
const EXAMPLES: usize = 8;

fn main() -> ExitCode {
    common::main(Threads::new(4), rank)
}

fn rank(mut world: Communicator) -> Result<(), Error> {
    let (rank, size) = (world.rank(), world.size());
    // Neighbours share a layer, as GPUs of a node do; an odd world has no halves, so it shares by all.
    let width = if size.is_multiple_of(2) { 2 } else { size };
    let (Some(mut tensor), Some(mut data)) =
        (world.split(Some(rank / width), 0)?, world.split(Some(rank % width), 0)?)
    else {
        return Ok(()); // Every rank gave a color, so every rank is in both.
    };
    assert_eq!((tensor.size(), data.size()), (width, size / width));

    let inputs = inputs_of(tensor.rank(), width);
    let batch = data.rank() as usize * EXAMPLES..(data.rank() as usize + 1) * EXAMPLES;
    let mut activations = forward(inputs.clone(), batch.clone());
    tensor.all_reduce_in_place(&mut activations, ReduceOp::Sum)?;
    check("activations", &activations, &forward(0..INPUTS, batch.clone()));

    let mut gradient = backward(inputs.clone(), batch, &activations);
    data.all_reduce_in_place(&mut gradient, ReduceOp::Sum)?;
    let everything = 0..EXAMPLES * data.size() as usize;
    let whole = forward(0..INPUTS, everything.clone());
    check("gradients", &gradient, &backward(inputs, everything, &whole));

    // The layer's whole gradient, for a checkpoint: parts are as long as each rank's share of the inputs.
    let counts: Vec<usize> =
        (0..width).map(|part| inputs_of(part, width).len() * OUTPUTS).collect();
    let mut checkpoint = vec![0.0; INPUTS * OUTPUTS];
    tensor.all_gather_v(&gradient, &mut checkpoint, &counts)?;
    check(
        "checkpoint",
        &checkpoint,
        &backward(0..INPUTS, 0..EXAMPLES * data.size() as usize, &whole),
    );

    tensor.leave()?;
    data.leave()?;
    if rank == 0 {
        println!(
            "{size} ranks, {width} to a layer and {} copies of it: all as one process computes it",
            size / width
        );
    }
    world.leave()
}

/// The inputs whose weights rank `part` of a tensor-parallel group of `width` holds.
fn inputs_of(part: u32, width: u32) -> Range<usize> {
    let bound = |part: u32| part as usize * INPUTS / width as usize;
    bound(part)..bound(part + 1)
}

fn weight(input: usize, output: usize) -> f32 {
    ((input * 7 + output * 3) % 5) as f32 - 2.0
}

fn value(example: usize, input: usize) -> f32 {
    ((example * 5 + input * 11) % 7) as f32 - 3.0
}

/// What these inputs contribute to each output of each example of the batch.
fn forward(inputs: Range<usize>, batch: Range<usize>) -> Vec<f32> {
    let output = |example: usize, output: usize| {
        inputs
            .clone()
            .map(|input| value(example, input) * weight(input, output))
            .fold(0.0, f32::add)
    };
    batch
        .flat_map(|example| (0..OUTPUTS).map(move |at| (example, at)))
        .map(|(e, o)| output(e, o))
        .collect()
}

/// The gradient of these inputs' weights for half the squared activations, over the examples of the batch.
fn backward(inputs: Range<usize>, batch: Range<usize>, activations: &[f32]) -> Vec<f32> {
    let mut gradient = vec![0.0; inputs.len() * OUTPUTS];
    for (row, input) in gradient.chunks_exact_mut(OUTPUTS).zip(inputs) {
        for (example, of_example) in batch.clone().zip(activations.chunks_exact(OUTPUTS)) {
            for (sum, activation) in row.iter_mut().zip(of_example) {
                *sum += value(example, input) * activation;
            }
        }
    }
    gradient
}

/// Every bit, not every bit but the last.
fn check(what: &str, have: &[f32], want: &[f32]) {
    let same = have.len() == want.len()
        && have.iter().zip(want).all(|(have, want)| have.to_bits() == want.to_bits());
    assert!(same, "{what} differ from those of one process");
}
