//! Worlds of threads over loopback: what the engine computes is what the collective means.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{LIMIT, LIMITS, whole_plan, world};
use crosstie_exec::{Buffers, Call, ExecError, Reducer, WaitingFor};
use crosstie_ir::{ChunkMap, Collective, DataType, Layout, Plan, Rank, ReduceOp, Space, replay};
use crosstie_planner::Algorithm;
use crosstie_planner::msccl::Program;
use crosstie_testkit::msccl;

fn slice(collective: Collective, ranks: u32, rank: u32) -> Plan {
    whole_plan(collective, Algorithm::Ring, true, ranks).slice(Rank(rank))
}

fn sum_map(count: u64, ranks: u32) -> ChunkMap {
    let window = u64::from(ranks) * LIMITS.slot_bytes as u64 / 4;
    ChunkMap::new(Layout::Split { chunks: ranks }, 4, count, window)
}

#[test]
fn all_reduce_in_place_sums_over_many_windows() {
    for ranks in [1, 2, 3, 5, 8] {
        let count = 10_007;
        world(ranks, |rank, mut engine| {
            let program = engine.resolve(slice(Collective::AllReduce, ranks, rank)).unwrap();
            for round in 0..3 {
                let input = |r: u32, i: usize| (r as i32 + 1) * (i as i32 % 97) + round;
                let mut values: Vec<i32> = (0..count).map(|i| input(rank, i)).collect();
                let buffer = bytes_of(&mut values);
                let call = Call {
                    program: &program,
                    map: sum_map(count as u64, ranks),
                    reducer: Reducer::select(DataType::I32, ReduceOp::Sum, 2).ok(),
                    buffers: Buffers::InPlace(buffer),
                    limit: LIMIT,
                    tag: 1,
                };
                engine.run(call, &|| false).unwrap();
                let sum = |i| (0..ranks).map(|r| input(r, i)).sum::<i32>();
                assert!(values.iter().enumerate().all(|(i, &v)| v == sum(i)), "{ranks} ranks");
            }
        });
    }
}

/// Keeps a rank that makes no call where its peer can wait for it.
fn stay(over: &AtomicBool) {
    let started = Instant::now();
    while !over.load(Ordering::Acquire) && started.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_peer_that_never_calls_is_named_at_the_deadline() {
    let limit = Duration::from_millis(100);
    let over = AtomicBool::new(false);
    let errors = world(2, |rank, mut engine| {
        if rank == 1 {
            stay(&over);
            return None;
        }
        let program = engine.resolve(slice(Collective::AllReduce, 2, rank)).unwrap();
        let mut attempt = || {
            let mut values = vec![0i32; 8];
            let call = Call {
                program: &program,
                map: sum_map(8, 2),
                reducer: Reducer::select(DataType::I32, ReduceOp::Sum, 2).ok(),
                buffers: Buffers::InPlace(bytes_of(&mut values)),
                limit,
                tag: 1,
            };
            engine.run(call, &|| false).unwrap_err()
        };
        let started = Instant::now();
        let error = attempt();
        assert!(started.elapsed() >= limit && started.elapsed() < LIMIT);
        assert!(matches!(attempt(), ExecError::Poisoned));
        over.store(true, Ordering::Release);
        Some(error)
    });
    let Some(ExecError::Deadline { waiting, .. }) = &errors[0] else { panic!("{errors:?}") };
    assert_eq!(waiting[0].on, WaitingFor::Message { peer: 1, channel: 0, slot: 0 });
    assert_eq!(errors[0].as_ref().unwrap().peer(), Some(1));
}

#[test]
fn an_interrupt_ends_a_sleeping_call() {
    let over = AtomicBool::new(false);
    let errors = world(2, |rank, mut engine| {
        if rank == 1 {
            stay(&over);
            return None;
        }
        let program = engine.resolve(slice(Collective::AllGather, 2, rank)).unwrap();
        let mut values = vec![0u8; 2];
        let map = ChunkMap::new(Layout::Blocks { stride: 1 }, 1, 1, 1);
        let call = Call {
            program: &program,
            map,
            reducer: None,
            buffers: Buffers::InPlace(&mut values),
            limit: LIMIT,
            tag: 1,
        };
        let started = Instant::now();
        let interrupted = || started.elapsed() > Duration::from_millis(20);
        let error = engine.run(call, &interrupted).err();
        over.store(true, Ordering::Release);
        error
    });
    assert!(matches!(errors[0], Some(ExecError::Interrupted { .. })), "{errors:?}");
}

/// Runs all_reduce on two ranks over messages of equal lengths, rank r with the count, operation and
/// tag that `calls` gives for it.
fn differing(calls: [(usize, ReduceOp, u32); 2]) -> Vec<Result<(), ExecError>> {
    world(2, |rank, mut engine| {
        let (count, op, tag) = calls[rank as usize];
        let program = engine.resolve(slice(Collective::AllReduce, 2, rank)).unwrap();
        let mut values = vec![rank as i32 + 1; count];
        let call = Call {
            program: &program,
            map: sum_map(count as u64, 2),
            reducer: Reducer::select(DataType::I32, op, 2).ok(),
            buffers: Buffers::InPlace(bytes_of(&mut values)),
            limit: LIMIT,
            tag,
        };
        // The other rank may leave first, but what it sent is still there.
        engine.run(call, &|| false)
    })
}

#[test]
fn a_message_of_another_call_is_refused_though_its_length_is_right() {
    let window = LIMITS.slot_bytes / 4 * 2;
    let cases = [
        [(window, ReduceOp::Sum, 7), (2 * window, ReduceOp::Sum, 8)],
        [(window, ReduceOp::Sum, 7), (window, ReduceOp::Max, 8)],
    ];
    for calls in cases {
        let results = differing(calls);
        for (rank, result) in results.into_iter().enumerate() {
            let (own, other) = (calls[rank].2, calls[1 - rank].2);
            let error = result.unwrap_err();
            let ExecError::CallMismatch { peer, received, own: mine } = error else {
                panic!("{error}")
            };
            assert_eq!((peer, received, mine), (1 - rank as u32, other, own));
            assert_eq!(error.peer(), Some(peer));
        }
    }
}

#[test]
fn only_24_bits_of_a_tag_are_compared() {
    let results = differing([(64, ReduceOp::Sum, 0x0100_0007), (64, ReduceOp::Sum, 0x0200_0007)]);
    results.into_iter().for_each(Result::unwrap);
}

fn bytes_of(values: &mut [i32]) -> &mut [u8] {
    bytemuck::cast_slice_mut(values)
}

/// Elements of a program's chunk.
const CHUNK: u64 = 40;

fn program_map(plan: &Plan, chunks: u32) -> ChunkMap {
    let (count, size) = (CHUNK * u64::from(chunks), DataType::I32.size());
    assert!(CHUNK as usize * size <= LIMITS.slot_bytes);
    if plan.collective.is_whole() {
        return ChunkMap::new(Layout::Split { chunks: plan.parts }, size, count, count / 2);
    }
    let block = count / u64::from(plan.ranks);
    ChunkMap::new(Layout::Blocks { stride: block }, size, block, block)
}

#[test]
fn programs_for_msccl_run_as_they_replay() {
    for (chunks, text) in [
        (4, msccl::ring_all_reduce(4)),
        (9, msccl::pairs_all_reduce(3, 3)),
        (6, msccl::ring_all_gather(3, 2)),
        (12, msccl::direct_all_to_all(4, 3)),
    ] {
        let plan = Program::read(&text).unwrap().plan;
        let map = program_map(&plan, chunks);
        let bytes = |rank| map.buffer_bytes(Space::Input, plan.input_chunks(Rank(rank)));
        let input =
            |rank: u32| (0..bytes(rank)).map(|at| (at * 7 + u64::from(rank)) as u8).collect();
        let inputs: Vec<Vec<u8>> = (0..plan.ranks).map(input).collect();
        let expected =
            replay(&plan, &map, DataType::I32, ReduceOp::Sum, inputs.clone(), false).unwrap();
        let got = world(plan.ranks, |rank, mut engine| {
            let program = engine.resolve(plan.slice(Rank(rank))).unwrap();
            let (send, mut recv) = (&inputs[rank as usize], vec![0; expected[rank as usize].len()]);
            let reducer = Reducer::select(DataType::I32, ReduceOp::Sum, plan.ranks).ok();
            let reducer = reducer.filter(|_| plan.collective.reduces());
            let buffers = Buffers::OutOfPlace { send, recv: &mut recv };
            let call = Call {
                program: &program,
                map: map.clone(),
                reducer,
                buffers,
                limit: LIMIT,
                tag: 1,
            };
            engine.run(call, &|| false).unwrap();
            recv
        });
        assert_eq!(got, expected, "{}", plan.collective.name());
    }
}
