//! An abort from another thread ends whatever is under way, on all ranks, and nothing after it begins.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crosstie::{AbortHandle, Cause, Communicator, Error, ReduceOp, Settings, Threads, Transport};

const WIRES: [Transport; 3] = [Transport::Loopback, Transport::SharedMemory, Transport::Tcp];

/// What a rank's aborted calls came to: of the one under way, and of the next.
type Ends = (Result<(), Error>, Result<(), Error>);

/// Runs `waits`, a call that never ends by itself, on all ranks of a world but the last, which makes no call
/// until rank 0 has been aborted from outside its thread.
fn aborted(transport: Transport, waits: impl Fn(&mut Communicator) -> Result<(), Error> + Sync) {
    let under_way = Barrier::new(3);
    let settings = Settings::default().transport(transport);
    let started = Instant::now();
    let ends = Threads::new(3).settings(settings).run_each(|mut comm| -> Result<Ends, Error> {
        let handle = comm.abort_handle();
        under_way.wait();
        if comm.rank() == 2 {
            // A rank that is elsewhere when the others are aborted.
            std::thread::sleep(Duration::from_millis(500));
            return Ok((comm.barrier(), comm.barrier()));
        }
        let aborts = (comm.rank() == 0).then_some(handle);
        std::thread::scope(|threads| {
            if let Some(handle) = aborts {
                threads.spawn(move || {
                    std::thread::sleep(Duration::from_millis(100));
                    handle.abort("the operator has\nhad enough");
                    handle.abort("twice");
                });
            }
            Ok((waits(&mut comm), comm.barrier()))
        })
    });
    for (rank, ends) in ends.into_iter().enumerate() {
        let (first, next) = ends.unwrap();
        let error = first.unwrap_err();
        match &error {
            Error::Failed(failure) => {
                assert_eq!((failure.culprit, failure.cause), (Some(0), Cause::Aborted));
                assert_eq!(failure.detail, "the operator has had enough", "{transport:?} {rank}");
                assert_eq!(error.exit_code(), if rank == 0 { 2 } else { 3 }, "{error:?}");
            }
            Error::AlreadyFailed { first } => assert_eq!(first.culprit, Some(0), "{first}"),
            _ => panic!("{transport:?}, rank {rank}: {error:?}"),
        }
        assert!(matches!(next, Err(Error::AlreadyFailed { .. })), "{next:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn an_abort_ends_a_blocking_call() {
    for transport in WIRES {
        aborted(transport, |comm| comm.all_reduce_in_place(&mut [1.0_f32; 5], ReduceOp::Sum));
    }
}

#[test]
fn an_abort_ends_a_blocking_call_of_messages() {
    for transport in WIRES {
        aborted(transport, |comm| comm.recv(&mut [0_u8; 5], 2));
    }
}

#[test]
fn an_abort_ends_a_scope_and_every_work_in_it() {
    for transport in WIRES {
        aborted(transport, |comm| {
            let (mut first, mut second) = ([1_u64; 100], vec![2_u64; 70_000]);
            let mut waited = None;
            let all = comm.scope(|s| {
                let work = s.all_reduce_in_place(&mut first, ReduceOp::Sum)?;
                let _ = s.all_reduce_in_place(&mut second, ReduceOp::Sum)?;
                waited = Some(work.wait().map(|_| ()));
                Ok(())
            });
            assert!(all.is_err(), "the scope says so too");
            waited.unwrap()
        });
    }
}

#[test]
fn an_abort_ends_owned_calls_in_whatever_thread_waits() {
    for transport in WIRES {
        aborted(transport, |comm| {
            let first = comm.owned().all_reduce_in_place(vec![1_u64; 100], ReduceOp::Sum)?;
            let second = comm.owned().broadcast(vec![1_u64; 70_000], 2)?;
            let second = std::thread::spawn(move || second.wait().map(|_| ()));
            let first = first.wait().map(|_| ());
            assert!(second.join().unwrap().is_err());
            first
        });
    }
}

#[test]
fn what_is_aborted_before_its_first_call_makes_none() {
    for transport in WIRES {
        let settings = Settings::default().transport(transport);
        let ends = Threads::new(2).settings(settings).run_each(|mut comm| {
            if comm.rank() == 1 {
                comm.abort_handle().abort("no data");
                comm.abort_handle().abort("still none");
            }
            comm.barrier()
        });
        for (rank, end) in ends.into_iter().enumerate() {
            let error = end.unwrap_err();
            let text = error.report();
            assert!(text.contains("rank 1") && text.contains("gave up"), "rank {rank}: {text}");
            assert!(!text.contains("still none"), "only the first abort counts: {text}");
        }
    }
}

#[test]
fn a_handle_outlives_its_communicator_and_does_nothing_then() {
    let handles: Vec<AbortHandle> = Threads::new(2)
        .run(|mut comm| {
            comm.barrier()?;
            let handle = comm.abort_handle();
            comm.leave()?;
            Ok(handle)
        })
        .unwrap();
    handles.iter().for_each(|handle| handle.abort("too late"));
    handles[0].clone().abort("too late again");
}

/// Each rank is aborted by itself: nothing of a world alone waits for others.
#[test]
fn a_rank_alone_can_be_aborted() {
    Threads::new(1)
        .run(|mut comm| {
            comm.barrier()?;
            comm.abort_handle().abort("enough");
            let error = comm.barrier().unwrap_err();
            assert!(matches!(error, Error::AlreadyFailed { .. }), "{error:?}");
            assert!(
                error.to_string().contains("(reported by rank 0 before its call #2"),
                "{error}"
            );
            Ok(())
        })
        .unwrap();
}
