//! Every operation × type × reduction × ranks × size × in or out of place × transport × kind of
//! buffers gives the bytes that the definition demands: a pairwise sample always, all of it on demand.
//!
//! `cargo test --release -p crosstie --test matrix -- --ignored` runs all but the largest size, which
//! is sampled. A sample's seed is printed; `MATRIX_SEED=7` chooses it.

#![cfg(test)]

mod messages;
mod ragged;

use std::sync::atomic::{AtomicU32, Ordering};

use crosstie::{
    Algorithm, Buffer, Buffers, Collective, Communicator, DataType, Error, Factor, Pxn, ReduceOp,
    ReductionOrder, Registered, Settings, Threads, Transport,
};
use crosstie_ir::Rank;
use crosstie_ir::exact::{self, Exact};
use crosstie_testkit::pairwise::Combinations;

const WIRES: [Wires; 5] =
    [Wires::Loopback, Wires::SharedMemory, Wires::Tcp, Wires::Mixed, Wires::Relayed];
const RANKS: [u32; 5] = [1, 2, 3, 5, 8];
/// Those that move bytes; the root changes from call to call.
const COLLECTIVES: [Collective; 9] = [
    Collective::AllReduce,
    Collective::AllGather,
    Collective::ReduceScatter,
    Collective::AllToAll,
    Collective::Broadcast { root: Rank(0) },
    Collective::Reduce { root: Rank(0) },
    Collective::Gather { root: Rank(0) },
    Collective::Scatter { root: Rank(0) },
    Collective::SendRecv,
];
const TYPES: [DataType; DataType::ALL.len()] = DataType::ALL;
/// `None` where nothing is reduced.
const OPS: [Option<ReduceOp>; 7] = [
    None,
    Some(ReduceOp::Sum),
    Some(ReduceOp::Product),
    Some(ReduceOp::Max),
    Some(ReduceOp::Min),
    Some(ReduceOp::Average),
    Some(ReduceOp::PreMulSum(Factor::TWO)),
];
const COUNTS: [Count; 4] =
    [Count::Elements(0), Count::Elements(1), Count::Elements(1023), Count::Large];
const IN_PLACE: [bool; 2] = [false, true];
const KINDS: [Kind; 3] = [Kind::Private, Kind::Shared, Kind::Registered];
/// Whether blocks differ in length: all_gather_v, reduce_scatter_v, all_to_all_v, messages.
const RAGGED: [bool; 2] = [false, true];

/// How many values each axis has, in the order in which [`Case::new`] reads them.
const AXES: [usize; 9] = [
    WIRES.len(),
    RANKS.len(),
    COLLECTIVES.len(),
    TYPES.len(),
    OPS.len(),
    COUNTS.len(),
    IN_PLACE.len(),
    KINDS.len(),
    RAGGED.len(),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wires {
    Loopback,
    SharedMemory,
    Tcp,
    /// Two nodes: shared memory inside, TCP between.
    Mixed,
    /// The same, and messages go by way of the rank on their receiver's rail.
    Relayed,
}

/// Of the whole buffer (all_reduce, broadcast, reduce) or of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Elements(usize),
    /// As many as make a buffer of 4 MiB.
    Large,
}

/// Where the buffers lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// In any memory of the rank.
    Private,
    /// In memory that the node's ranks share: of `comm.alloc`.
    Shared,
    /// In memory of the rank that was made to be shared: of `comm.register`.
    Registered,
}

const LARGE_BYTES: usize = 4 << 20;

#[derive(Debug, Clone, Copy)]
struct Case {
    wires: Wires,
    ranks: u32,
    collective: Collective,
    data_type: DataType,
    op: Option<ReduceOp>,
    count: Count,
    in_place: bool,
    kind: Kind,
    ragged: bool,
}

impl Case {
    fn new(values: &[usize]) -> Self {
        let &[wires, ranks, collective, data_type, op, count, in_place, kind, ragged] = values
        else {
            panic!("{} values for {} axes", values.len(), AXES.len());
        };
        Self {
            wires: WIRES[wires],
            ranks: RANKS[ranks],
            collective: COLLECTIVES[collective],
            data_type: TYPES[data_type],
            op: OPS[op],
            count: COUNTS[count],
            in_place: IN_PLACE[in_place],
            kind: KINDS[kind],
            ragged: RAGGED[ragged],
        }
    }

    /// A reduction has an operation, and nothing else has one; some collectives have a v-form.
    fn exists(values: &[usize]) -> bool {
        let case = Self::new(values);
        let ragged = match case.collective {
            Collective::AllGather | Collective::ReduceScatter => true,
            Collective::AllToAll | Collective::SendRecv => !case.in_place,
            _ => false,
        };
        if case.in_place && case.collective == Collective::SendRecv {
            return false;
        }
        // Elsewhere registered memory is as any other.
        let in_memory = matches!(case.wires, Wires::SharedMemory | Wires::Mixed | Wires::Relayed);
        case.collective.reduces() == case.op.is_some()
            && (ragged || !case.ragged)
            && (in_memory || case.kind != Kind::Registered)
    }

    fn elements(&self) -> usize {
        let whole = LARGE_BYTES / self.data_type.size();
        match self.count {
            Count::Elements(count) => count,
            Count::Large if self.collective.is_whole() => whole,
            Count::Large => whole / self.ranks as usize,
        }
    }

    fn exact(&self) -> exact::Case {
        // A group of messages moves what all_to_all does.
        let collective = match self.collective {
            Collective::SendRecv => Collective::AllToAll,
            collective => collective,
        };
        exact::Case {
            collective,
            dtype: self.data_type,
            op: self.op.unwrap_or(ReduceOp::Sum), // of no meaning where nothing is reduced
            ranks: self.ranks,
            count: self.elements(),
        }
    }

    fn check(&self, comm: &mut Communicator, memory: &mut Memory, call: u64) -> Result<(), Error> {
        if self.collective == Collective::SendRecv {
            return messages::check(self, comm, memory, call);
        }
        if self.ragged {
            return ragged::check(self, comm, memory, call);
        }
        let rank = comm.rank();
        let collective = self.collective.with_root(Rank(call as u32 % self.ranks));
        let case = exact::Case { collective, ..self.exact() };
        let known = Exact::new(case, call);
        let [send, recv] = memory.of(self.kind);
        let result = if self.in_place {
            let result = case.output_in_place(rank);
            let buffer = &mut recv[..case.in_place_bytes_of(rank)];
            known.spoil(rank, &mut buffer[result.clone()]);
            known.fill_input(rank, &mut buffer[case.input_in_place(rank)]);
            comm.call(collective, self.data_type, self.op, Buffers::InPlace(buffer))?;
            &buffer[result]
        } else {
            let send = &mut send[..case.input_bytes_of(rank)];
            let recv = &mut recv[..case.output_bytes_of(rank)];
            known.spoil(rank, recv);
            known.fill_input(rank, send);
            let buffers = Buffers::OutOfPlace { send, recv };
            comm.call(collective, self.data_type, self.op, buffers)?;
            recv
        };
        assert_eq!(
            known.wrong(rank, result),
            0,
            "rank {rank}: wrong elements of {case:?}, {self:?}"
        );
        Ok(())
    }
}

/// What a rank's calls use, one after the other: to send from and to receive into, of each kind.
struct Memory {
    private: [Vec<u8>; 2],
    shared: [Buffer<u8>; 2],
    registered: [Registered<u8>; 2],
}

impl Memory {
    fn for_all(cases: &[Case], comm: &Communicator) -> Result<Self, Error> {
        let bytes = cases.iter().map(Case::exact).map(|case| {
            case.input_bytes().max(case.output_bytes()) // in place, the larger of the two
        });
        let most = bytes.max().unwrap_or(0);
        Ok(Self {
            private: [vec![0; most], vec![0; most]],
            shared: [comm.alloc(most)?, comm.alloc(most)?],
            registered: [comm.register(vec![0; most])?, comm.register(vec![0; most])?],
        })
    }

    fn of(&mut self, kind: Kind) -> [&mut [u8]; 2] {
        match kind {
            Kind::Private => self.private.each_mut().map(|buffer| &mut buffer[..]),
            Kind::Shared => self.shared.each_mut().map(|buffer| &mut buffer[..]),
            Kind::Registered => self.registered.each_mut().map(|buffer| &mut buffer[..]),
        }
    }
}

/// Runs the cases, those of one world together: a world takes long to set up, a call does not.
fn run(cases: &[Case], settings: &Settings) {
    for wires in WIRES {
        for ranks in RANKS {
            let here: Vec<Case> =
                cases.iter().filter(|c| c.wires == wires && c.ranks == ranks).copied().collect();
            if here.is_empty() {
                continue;
            }
            let arrived = AtomicU32::new(0);
            let body = |mut comm: Communicator| {
                let mut memory = Memory::for_all(&here, &comm)?;
                for (case, call) in here.iter().zip(1..) {
                    case.check(&mut comm, &mut memory, call)?;
                }
                arrived.fetch_add(1, Ordering::Relaxed);
                comm.barrier()?;
                assert_eq!(
                    arrived.load(Ordering::Relaxed),
                    ranks,
                    "a barrier holds until all came"
                );
                Ok(())
            };
            world(wires, ranks, settings.clone()).run(body).unwrap();
        }
    }
}

fn world(wires: Wires, ranks: u32, settings: Settings) -> Threads {
    let transport = match wires {
        Wires::Loopback => Transport::Loopback,
        Wires::SharedMemory => Transport::SharedMemory,
        Wires::Tcp => Transport::Tcp,
        Wires::Mixed | Wires::Relayed => Transport::Auto,
    };
    let in_nodes = matches!(wires, Wires::Mixed | Wires::Relayed);
    let nodes = if in_nodes { 2.min(ranks) } else { 1 };
    let pxn = if wires == Wires::Relayed { Pxn::On } else { Pxn::Off };
    Threads::new(ranks).nodes(nodes).settings(settings.transport(transport).pxn(pxn))
}

/// A pairwise sample of the cases that exist and that `wanted` wants.
fn sample(wanted: impl Fn(&Case) -> bool) -> Vec<Case> {
    let seed = std::env::var("MATRIX_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let exists = |values: &[usize]| Case::exists(values) && wanted(&Case::new(values));
    let sample = Combinations::new(&AXES, &exists).pairwise(seed);
    println!("{} cases of seed {seed}", sample.len());
    sample.iter().map(|values| Case::new(values)).collect()
}

#[test]
fn a_pairwise_sample_of_the_matrix_gives_the_right_bytes() {
    run(&sample(|_| true), &Settings::default());
}

#[test]
#[ignore = "slow: thousands of cases"]
fn the_whole_matrix_gives_the_right_bytes() {
    let small = |values: &[usize]| Case::exists(values) && Case::new(values).count != Count::Large;
    let small = Combinations::new(&AXES, &small);
    let cases: Vec<Case> = small.all().map(|values| Case::new(&values)).collect();
    println!("{} cases", cases.len());
    run(&cases, &Settings::default());
}

#[test]
#[ignore = "slow: buffers of 4 MiB"]
fn a_pairwise_sample_of_large_buffers_gives_the_right_bytes() {
    run(&sample(|case| case.count == Count::Large), &Settings::default());
}

#[test]
#[ignore = "slow: worlds for each algorithm"]
fn every_algorithm_gives_the_right_bytes_wherever_it_suits() {
    let cases = sample(|case| case.count != Count::Large);
    for algorithm in Algorithm::ALL {
        println!("{}", algorithm.name());
        run(&cases, &Settings::default().algorithm(algorithm));
    }
    run(&cases, &Settings::default().reduction_order(ReductionOrder::Canonical));
}
