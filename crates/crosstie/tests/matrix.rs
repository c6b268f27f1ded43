//! Every operation × type × reduction × ranks × size × in or out of place × transport gives the
//! bytes that the definition demands: a pairwise sample always, all of it on demand.
//!
//! `cargo test -p crosstie --test matrix -- --ignored` runs all but the largest size, which is
//! sampled.

#![cfg(test)]

use std::collections::BTreeSet;

use crosstie::Transport;
use crosstie::{Buffers, Collective, Communicator, DataType, Error, ReduceOp, Settings, Threads};
use crosstie_ir::exact::{self, Exact};

const RANKS: [u32; 5] = [1, 2, 3, 5, 8];
/// Elements: of the buffer (all_reduce) or of one part; the last stands for 4 MiB of buffer.
const COUNTS: [usize; 4] = [0, 1, 1023, LARGE];
const LARGE: usize = usize::MAX;
const LARGE_BYTES: usize = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wires {
    Loopback,
    SharedMemory,
    Tcp,
    /// Two nodes: shared memory inside, TCP between.
    Mixed,
}

const WIRES: [Wires; 4] = [Wires::Loopback, Wires::SharedMemory, Wires::Tcp, Wires::Mixed];

#[derive(Debug, Clone, Copy)]
struct Case {
    wires: Wires,
    ranks: u32,
    collective: Collective,
    data_type: DataType,
    op: Option<ReduceOp>,
    count: usize,
    in_place: bool,
}

impl Case {
    fn elements(&self) -> usize {
        if self.count != LARGE {
            return self.count;
        }
        let whole = LARGE_BYTES / self.data_type.size();
        if self.collective == Collective::AllReduce { whole } else { whole / self.ranks as usize }
    }

    /// The value of each dimension, by number; pairs of them are what a pairwise sample covers.
    fn levels(&self) -> [(usize, usize); 7] {
        let position = |all: &[usize], x: usize| all.iter().position(|&y| y == x).unwrap();
        [
            self.wires as usize,
            RANKS.iter().position(|&r| r == self.ranks).unwrap(),
            self.collective as usize,
            self.data_type as usize,
            self.op.map_or(0, |op| 1 + op as usize),
            position(&COUNTS, self.count),
            usize::from(self.in_place),
        ]
        .into_iter()
        .enumerate()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
    }

    fn pairs(&self) -> Vec<[(usize, usize); 2]> {
        let levels = self.levels();
        let later = |i: usize| levels[i + 1..].iter().map(move |&b| [levels[i], b]);
        (0..levels.len()).flat_map(later).collect()
    }

    fn check(&self, comm: &mut Communicator, iteration: u64) -> Result<(), Error> {
        let rank = comm.rank();
        let case = exact::Case {
            collective: self.collective,
            dtype: self.data_type,
            op: self.op.unwrap_or(ReduceOp::Sum), // of no meaning where nothing is reduced
            ranks: self.ranks,
            count: self.elements(),
        };
        let known = Exact::new(case, iteration);
        let (mut buffer, mut send);
        let result = if self.in_place {
            let result = case.output_in_place(rank);
            buffer = vec![0; case.in_place_bytes()];
            known.spoil(rank, &mut buffer[result.clone()]);
            known.fill_input(rank, &mut buffer[case.input_in_place(rank)]);
            comm.call(self.collective, self.data_type, self.op, Buffers::InPlace(&mut buffer))?;
            &buffer[result]
        } else {
            (send, buffer) = (vec![0; case.input_bytes()], vec![0; case.output_bytes()]);
            known.spoil(rank, &mut buffer);
            known.fill_input(rank, &mut send);
            let buffers = Buffers::OutOfPlace { send: &send, recv: &mut buffer };
            comm.call(self.collective, self.data_type, self.op, buffers)?;
            &buffer[..]
        };
        assert_eq!(known.wrong(rank, result), 0, "rank {rank}: wrong elements of {self:?}");
        Ok(())
    }
}

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for wires in WIRES {
        for ranks in RANKS {
            for collective in Collective::ALL {
                for data_type in DataType::ALL {
                    for op in ops(collective) {
                        for count in COUNTS {
                            for in_place in [false, true] {
                                cases.push(Case {
                                    wires,
                                    ranks,
                                    collective,
                                    data_type,
                                    op,
                                    count,
                                    in_place,
                                });
                            }
                        }
                    }
                }
            }
        }
    }
    cases
}

fn ops(collective: Collective) -> Vec<Option<ReduceOp>> {
    if collective.reduces() { ReduceOp::ALL.map(Some).to_vec() } else { vec![None] }
}

/// Cases that together contain every pair of values that any case contains: greedily, from a
/// spread order, so that no dimension is walked through in step with another.
fn pairwise(cases: Vec<Case>) -> Vec<Case> {
    let mut missing: BTreeSet<_> = cases.iter().flat_map(Case::pairs).collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let gain = |case: &Case| case.pairs().iter().filter(|p| missing.contains(*p)).count();
        let offset = chosen.len() * 7919 % cases.len();
        let spread = (0..cases.len()).step_by(7).map(|i| cases[(i * 31 + offset) % cases.len()]);
        let best = spread.max_by_key(gain).unwrap();
        let best =
            if gain(&best) > 0 { best } else { *cases.iter().max_by_key(|c| gain(c)).unwrap() };
        for pair in best.pairs() {
            missing.remove(&pair);
        }
        chosen.push(best);
    }
    chosen
}

/// Runs the cases, those of one world together.
fn run(cases: &[Case]) {
    for wires in WIRES {
        for ranks in RANKS {
            let here: Vec<Case> =
                cases.iter().filter(|c| c.wires == wires && c.ranks == ranks).copied().collect();
            if here.is_empty() {
                continue;
            }
            world(wires, ranks)
                .run(|mut comm| {
                    here.iter().zip(1..).try_for_each(|(case, round)| case.check(&mut comm, round))
                })
                .unwrap();
        }
    }
}

fn world(wires: Wires, ranks: u32) -> Threads {
    let transport = match wires {
        Wires::Loopback => Transport::Loopback,
        Wires::SharedMemory => Transport::SharedMemory,
        Wires::Tcp => Transport::Tcp,
        Wires::Mixed => Transport::Auto,
    };
    let nodes = if wires == Wires::Mixed { 2.min(ranks) } else { 1 };
    Threads::new(ranks).nodes(nodes).settings(Settings::default().transport(transport))
}

#[test]
fn a_pairwise_sample_of_the_matrix_gives_the_right_bytes() {
    let cases = all_cases();
    let all_pairs: BTreeSet<_> = cases.iter().flat_map(Case::pairs).collect();
    let sample = pairwise(cases);
    let covered: BTreeSet<_> = sample.iter().flat_map(Case::pairs).collect();
    assert_eq!(covered, all_pairs);
    println!("{} cases", sample.len());
    run(&sample);
}

#[test]
#[ignore = "slow: thousands of cases"]
fn the_whole_matrix_gives_the_right_bytes() {
    let (large, small): (Vec<Case>, Vec<Case>) =
        all_cases().into_iter().partition(|case| case.count == LARGE);
    let sample = pairwise(large);
    println!("{} cases and {} of 4 MiB", small.len(), sample.len());
    run(&small);
    run(&sample);
}
