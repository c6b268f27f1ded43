//! Sends tokens to experts and their answers home again: the exchange inside a
//! mixture-of-experts layer, with one expert on each rank.
//!
//! Alone, it is a world of four threads on two emulated nodes:
//!
//!     cargo run --release -p crosstie-examples --example 02_all_to_all
//!
//! Under a launcher, every process is a rank, on one host or many:
//!
//!     cargo build --release -p crosstie-examples --examples
//!     crosstie run -n 4 -- target/release/examples/02_all_to_all
//!     mpirun -n 4 target/release/examples/02_all_to_all

mod common;

use std::process::ExitCode;

use crosstie::{Communicator, Error, Threads};

/// Tokens that each rank sends to each expert.
const TOKENS: usize = 64;
/// Numbers that make up one token.
const WIDTH: usize = 32;
/// Elements that travel from one rank to one other.
const PART: usize = TOKENS * WIDTH;

fn main() -> ExitCode {
    common::main(Threads::new(4).nodes(2), layer)
}

/// What each rank does. All ranks make the same calls in the same order.
fn layer(mut comm: Communicator) -> Result<(), Error> {
    let (rank, ranks) = (comm.rank() as usize, comm.size() as usize);

    // Part r of the buffer holds this rank's tokens for rank r's expert.
    let tokens: Vec<f32> = (0..ranks * PART).map(|i| token(rank, i)).collect();

    // Dispatch: part r goes to rank r; part s of `arrived` comes from rank s.
    let mut arrived = vec![0.0; ranks * PART];
    comm.all_to_all(&tokens, &mut arrived)?;

    expert(rank, &mut arrived);

    // Combine: the same exchange, the other way, this time in one buffer. Part r now holds the
    // answers of rank r's expert to the tokens that were in part r.
    let mut answers = arrived;
    comm.all_to_all_in_place(&mut answers)?;

    for (i, &answer) in answers.iter().enumerate() {
        let expected = answer_of(i / PART, token(rank, i));
        assert_eq!(answer, expected, "rank {rank}: answer {i}");
    }
    if rank == 0 {
        let sent = ranks * TOKENS;
        println!("{ranks} ranks on {} node(s): each sent {sent} tokens", comm.nodes());
        println!("to {ranks} experts, and every answer came home");
    }
    // Leaving in order tells the peers that nothing went wrong. Dropping `comm` does so, too.
    comm.leave()
}

/// Element `i` of what rank `rank` sends: small integers, whose floats are exact.
fn token(rank: usize, i: usize) -> f32 {
    (rank * 1000 + i % 997) as f32
}

/// Stands in for the expert's network.
fn expert(rank: usize, tokens: &mut [f32]) {
    for value in tokens {
        *value = answer_of(rank, *value);
    }
}

fn answer_of(expert: usize, value: f32) -> f32 {
    2.0 * value + expert as f32
}
