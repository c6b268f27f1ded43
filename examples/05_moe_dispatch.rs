//! Sends tokens to the experts that a router chose for them and brings the answers home: dispatch and
//! combine of a mixture-of-experts layer, where every rank has another number of tokens for every other.
//!
//! Alone, it is a world of four threads on two emulated nodes:
//!
//!     cargo run --release -p crosstie-examples --example 05_moe_dispatch
//!
//! Under a launcher, every process is a rank, on one host or many:
//!
//!     cargo build --release -p crosstie-examples --examples
//!     crosstie run -n 4 -- target/release/examples/05_moe_dispatch
//!     mpirun -n 4 target/release/examples/05_moe_dispatch

mod common;

use std::process::ExitCode;

use crosstie::{Communicator, Error, Threads};

const EXPERTS_PER_RANK: usize = 2;
/// Tokens of each rank.
const TOKENS: usize = 512;
/// Numbers that make up one token.
const WIDTH: usize = 64;
/// Experts that each token goes to.
const CHOICES: usize = 2;
/// Of 100 tokens, how many choose expert 0 first: real routers are skewed, too.
const HOT_PERCENT: usize = 60;

fn main() -> ExitCode {
    common::main(Threads::new(4).nodes(2), layer)
}

/// What each rank does. All ranks make the same calls in the same order.
fn layer(mut comm: Communicator) -> Result<(), Error> {
    let (rank, ranks) = (comm.rank() as usize, comm.size() as usize);
    let tokens: Vec<f32> = (0..TOKENS * WIDTH).map(|i| token(rank, i)).collect();
    let routes = Routes::new(rank, ranks * EXPERTS_PER_RANK);

    // How many tokens each expert will get from each rank is known to nobody in advance.
    let mut arriving = vec![0; ranks * EXPERTS_PER_RANK];
    comm.all_to_all(&routes.per_expert, &mut arriving)?;

    // Dispatch: ordered by expert, and so by rank.
    let (sends, receives) = (elements_per_rank(&routes.per_expert), elements_per_rank(&arriving));
    let mut dispatched = vec![0.0; receives.iter().sum()];
    comm.all_to_all_v(&routes.gather(&tokens), &sends, &mut dispatched, &receives)?;

    run_experts(rank, &arriving, &mut dispatched);

    // Combine: the same exchange, the other way.
    let mut answers = vec![0.0; sends.iter().sum()];
    comm.all_to_all_v(&dispatched, &receives, &mut answers, &sends)?;
    let combined = routes.combine(&answers);

    check(rank, &routes, &combined);
    report(&mut comm, &arriving)?;
    // Leaving in order tells the peers that nothing went wrong. Dropping `comm` does so, too.
    comm.leave()
}

/// Where a rank's tokens go.
struct Routes {
    /// For each token, its experts and their weights.
    choices: Vec<[(usize, f32); CHOICES]>,
    /// Pairs of token and choice, in the order in which they travel: by expert.
    order: Vec<(usize, usize)>,
    /// Tokens for each expert.
    per_expert: Vec<i64>,
}

impl Routes {
    fn new(rank: usize, experts: usize) -> Self {
        let choices: Vec<_> = (0..TOKENS).map(|token| route(rank, token, experts)).collect();
        let mut order: Vec<(usize, usize)> =
            (0..TOKENS).flat_map(|token| (0..CHOICES).map(move |choice| (token, choice))).collect();
        order.sort_by_key(|&(token, choice)| choices[token][choice].0);
        let mut per_expert = vec![0; experts];
        for (expert, _) in choices.iter().flatten() {
            per_expert[*expert] += 1;
        }
        Self { choices, order, per_expert }
    }

    /// The tokens in the order in which they travel, each once for every choice.
    fn gather(&self, tokens: &[f32]) -> Vec<f32> {
        let row = |&(token, _): &(usize, usize)| &tokens[token * WIDTH..(token + 1) * WIDTH];
        self.order.iter().flat_map(row).copied().collect()
    }

    /// Each token's answers, added up by their weights, in the tokens' own order.
    fn combine(&self, answers: &[f32]) -> Vec<f32> {
        let mut combined = vec![0.0; TOKENS * WIDTH];
        for (&(token, choice), answer) in self.order.iter().zip(answers.chunks(WIDTH)) {
            let weight = self.choices[token][choice].1;
            for (sum, value) in combined[token * WIDTH..].iter_mut().zip(answer) {
                *sum += weight * value;
            }
        }
        combined
    }
}

/// Stands in for the router's network: two different experts, the first of them often expert 0, with
/// weights that add up to 1.
fn route(rank: usize, token: usize, experts: usize) -> [(usize, f32); CHOICES] {
    let draw = |salt: usize| {
        let word = ((rank * TOKENS + token) * 2 + salt + 1) as u64;
        let word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as usize
    };
    let first = if draw(0) % 100 < HOT_PERCENT { 0 } else { draw(0) / 100 % experts };
    let second = (first + 1 + draw(1) % (experts - 1)) % experts;
    // Quarters, so that the sums below are exact in any order.
    let weight = 0.25 * (2 + draw(1) % 2) as f32;
    [(first, weight), (second, 1.0 - weight)]
}

/// Elements that travel between this rank and each other one, from tokens by expert.
fn elements_per_rank(per_expert: &[i64]) -> Vec<usize> {
    let tokens = |experts: &[i64]| experts.iter().sum::<i64>() as usize;
    per_expert.chunks(EXPERTS_PER_RANK).map(|experts| tokens(experts) * WIDTH).collect()
}

/// Runs this rank's experts on what has arrived: from each rank in turn, the tokens for each expert.
fn run_experts(rank: usize, arriving: &[i64], tokens: &mut [f32]) {
    let mut rest = tokens;
    for (index, &count) in arriving.iter().enumerate() {
        let (own, tail) = rest.split_at_mut(count as usize * WIDTH);
        let expert = rank * EXPERTS_PER_RANK + index % EXPERTS_PER_RANK;
        own.iter_mut().for_each(|value| *value = answer_of(expert, *value));
        rest = tail;
    }
}

/// Stands in for an expert's network.
fn answer_of(expert: usize, value: f32) -> f32 {
    2.0 * value + expert as f32
}

/// Element `i` of `rank`'s tokens: small integers, whose floats are exact.
fn token(rank: usize, i: usize) -> f32 {
    (rank * 1000 + i % 997) as f32
}

/// Every token came home with the answers of its own experts.
fn check(rank: usize, routes: &Routes, combined: &[f32]) {
    for (i, &value) in combined.iter().enumerate() {
        let choices = routes.choices[i / WIDTH].iter();
        let expected: f32 =
            choices.map(|&(expert, weight)| weight * answer_of(expert, token(rank, i))).sum();
        assert_eq!(value, expected, "rank {rank}: element {} of token {}", i % WIDTH, i / WIDTH);
    }
}

/// Tells how uneven it was.
fn report(comm: &mut Communicator, arriving: &[i64]) -> Result<(), Error> {
    let mut loads = vec![0; comm.size() as usize];
    comm.all_gather(&[arriving.iter().sum::<i64>()], &mut loads)?;
    if comm.rank() == 0 {
        let (experts, nodes) = (comm.size() as usize * EXPERTS_PER_RANK, comm.nodes());
        println!("{} ranks on {nodes} node(s), {experts} experts", comm.size());
        println!("tokens that each rank's experts worked on: {loads:?}");
        println!("every rank's {TOKENS} tokens came home, each with {CHOICES} answers");
    }
    Ok(())
}
