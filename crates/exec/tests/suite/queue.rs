//! Operations that were submitted: they end in order whoever drives them, and no memory is touched after.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{LIMIT, LIMITS, engines, whole_plan, world};
use crosstie_exec::{
    Buffers, Call, Engine, ExecError, Owned, Program, Reducer, Submission, Ticket,
};
use crosstie_ir::{ChunkMap, Collective, DataType, Layout, Rank, ReduceOp};
use crosstie_planner::Algorithm;

const RANKS: u32 = 4;

fn program(engine: &Engine, ranks: u32, rank: u32) -> Arc<Program> {
    let plan = whole_plan(Collective::AllReduce, Algorithm::Ring, true, ranks);
    Arc::new(engine.resolve(plan.slice(Rank(rank))).unwrap())
}

fn map(count: usize, ranks: u32) -> ChunkMap {
    let window = u64::from(ranks) * LIMITS.slot_bytes as u64 / 4;
    ChunkMap::new(Layout::Split { chunks: ranks }, 4, count as u64, window)
}

fn sum(program: &Arc<Program>, count: usize, ranks: u32, tag: u32, limit: Duration) -> Submission {
    Submission {
        program: Arc::clone(program),
        map: map(count, ranks),
        reducer: Reducer::select(DataType::I32, ReduceOp::Sum, RANKS).ok(),
        limit,
        tag,
        watch: Box::new(|| false),
    }
}

/// Submits a sum of `count` times `value`.
fn submit(
    engine: &Engine,
    program: &Arc<Program>,
    (count, value): (usize, i32),
    tag: u32,
) -> Ticket {
    let memory = Owned::InPlace(Box::new(vec![value; count]));
    engine.submit(sum(program, count, RANKS, tag, LIMIT), memory).unwrap()
}

fn values(ticket: &Ticket) -> Vec<i32> {
    let (result, memory) = ticket.take().unwrap();
    result.unwrap();
    let Some(Owned::InPlace(memory)) = memory else { panic!("the memory did not come back") };
    *memory.into_any().downcast().unwrap()
}

fn until(what: impl Fn() -> bool) {
    let started = Instant::now();
    while !what() {
        assert!(started.elapsed() < LIMIT, "a wake-up was lost");
        thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn operations_end_though_nobody_waits_for_them() {
    world(RANKS, |rank, engine| {
        let program = program(&engine, RANKS, rank);
        let tickets = [1, 2, 3].map(|n| submit(&engine, &program, (5000, n), n as u32));
        until(|| tickets.iter().all(Ticket::is_over));
        for (ticket, n) in tickets.iter().zip(1..) {
            assert!(values(ticket).iter().all(|&x| x == n * RANKS as i32));
        }
    });
}

#[test]
fn one_thread_drives_several_ranks() {
    let engines = engines(RANKS);
    let programs: Vec<_> = (0..).zip(&engines).map(|(r, e)| program(e, RANKS, r)).collect();
    for round in 0..50 {
        let ranks = engines.iter().zip(&programs);
        let tickets: Vec<_> = ranks.map(|(e, p)| submit(e, p, (3000, round), 7)).collect();
        if round % 2 == 0 {
            while engines.iter().fold(false, |left, engine| engine.progress() | left) {}
        }
        for ticket in &tickets {
            ticket.wait();
            assert!(values(ticket).iter().all(|&x| x == round * RANKS as i32));
        }
    }
}

#[test]
fn a_blocking_call_comes_after_what_was_submitted() {
    world(RANKS, |rank, mut engine| {
        let program = program(&engine, RANKS, rank);
        for round in 0..100 {
            let first = submit(&engine, &program, (1000, round), 1);
            let mut mine = vec![1i32; 100];
            let call = Call {
                program: &program,
                map: map(100, RANKS),
                reducer: Reducer::select(DataType::I32, ReduceOp::Sum, RANKS).ok(),
                buffers: Buffers::InPlace(bytemuck::cast_slice_mut(&mut mine)),
                limit: LIMIT,
                tag: 2,
            };
            engine.run(call, &|| false).unwrap();
            assert!(first.is_over() && mine.iter().all(|&x| x == RANKS as i32));
        }
    });
}

#[test]
fn threads_wait_for_different_operations_of_one_engine() {
    world(RANKS, |rank, engine| {
        let program = program(&engine, RANKS, rank);
        for round in 0..20 {
            let tickets = [1, 2, 3, 4].map(|n| submit(&engine, &program, (2000, n), n as u32));
            thread::scope(|scope| {
                for (ticket, n) in tickets.iter().zip(1..) {
                    scope.spawn(move || {
                        if n != round % 5 {
                            ticket.wait();
                        }
                        until(|| ticket.is_over());
                        assert!(values(ticket).iter().all(|&x| x == n * RANKS as i32));
                    });
                }
            });
        }
    });
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_waker_is_woken_once_the_result_is_there() {
    world(RANKS, |rank, engine| {
        let program = program(&engine, RANKS, rank);
        for round in 0..50 {
            let ticket = submit(&engine, &program, (500, round), 1);
            let flag = Arc::new(Flag(AtomicBool::new(false)));
            if !ticket.poll(&Waker::from(Arc::clone(&flag))) {
                until(|| flag.0.load(Ordering::Acquire));
            }
            assert!(values(&ticket).iter().all(|&x| x == round * RANKS as i32));
        }
    });
}

#[test]
fn a_dropped_ticket_leaves_its_operation_to_the_others() {
    world(RANKS, |rank, engine| {
        let program = program(&engine, RANKS, rank);
        let ticket = submit(&engine, &program, (4000, 1), 1);
        if rank == 0 {
            drop(ticket);
        } else {
            ticket.wait();
            assert!(values(&ticket).iter().all(|&x| x == RANKS as i32));
        }
        engine.settle();
    });
}

#[test]
fn a_scope_ends_after_its_operations_though_handles_are_forgotten_or_it_panics() {
    world(RANKS, |rank, engine| {
        let program = program(&engine, RANKS, rank);
        for panics in [false, true] {
            let mut mine = vec![rank as i32; 50_000];
            let ended = catch_unwind(AssertUnwindSafe(|| {
                engine.scopes().scope(|scope| {
                    let what = sum(&program, 50_000, RANKS, 1, LIMIT);
                    let buffers = Buffers::InPlace(bytemuck::cast_slice_mut(&mut mine));
                    let ticket = scope.submit(what, buffers).unwrap();
                    #[expect(clippy::mem_forget, reason = "that is what the test is about")]
                    std::mem::forget(ticket);
                    assert!(!panics, "as the test has it");
                });
            }));
            assert_eq!(ended.is_err(), panics);
            assert!(mine.iter().all(|&x| x == 6), "rank {rank}: the scope ended too early");
        }
    });
}

#[test]
fn a_failure_ends_what_comes_after_it_and_gives_the_memory_back() {
    let over = AtomicBool::new(false);
    world(2, |rank, engine| {
        if rank == 1 {
            return until(|| over.load(Ordering::Acquire));
        }
        let program = program(&engine, 2, rank);
        let limit = Duration::from_millis(50);
        let submit = |_| {
            let memory = Owned::InPlace(Box::new(vec![7i32; 100]));
            engine.submit(sum(&program, 100, 2, 1, limit), memory).unwrap()
        };
        let tickets = [0, 1, 2].map(submit);
        let ends = tickets.map(|ticket| {
            ticket.wait();
            ticket.take().unwrap()
        });
        over.store(true, Ordering::Release);
        let late = submit(3);
        late.wait();
        assert!(matches!(late.take(), Some((Err(ExecError::Poisoned), Some(_)))));
        assert!(matches!(ends[0].0, Err(ExecError::Deadline { .. })), "{ends:?}");
        for end in &ends[1..] {
            assert!(matches!(end, (Err(ExecError::Poisoned), Some(_))), "{end:?}");
        }
        assert_eq!(engine.leaked_bytes(), 0);
    });
}

#[test]
fn an_engine_that_is_dropped_ends_what_nobody_finished() {
    let engines = engines(2);
    let program = program(&engines[0], 2, 0);
    let memory = Owned::InPlace(Box::new(vec![7i32; 100]));
    let ticket = engines[0].submit(sum(&program, 100, 2, 1, LIMIT), memory).unwrap();
    let started = Instant::now();
    drop(engines);
    ticket.wait();
    assert!(started.elapsed() < LIMIT / 4);
    assert!(matches!(ticket.take(), Some((Err(ExecError::Poisoned), Some(_)))));
}
