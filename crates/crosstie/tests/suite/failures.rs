//! What goes wrong between ranks has the same name on each of them, soon, and leaves nobody waiting.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crosstie::{Communicator, Error, Failure, ReduceOp, Settings, Threads, Transport};

const WIRES: [Transport; 3] = [Transport::Loopback, Transport::SharedMemory, Transport::Tcp];
/// Within what a failure is named to all who still take part.
const PROMPT: Duration = Duration::from_secs(1);

fn world(ranks: u32, transport: Transport) -> Threads {
    Threads::new(ranks).settings(Settings::default().transport(transport))
}

fn sum(comm: &mut Communicator, count: usize) -> Result<(), Error> {
    let mut buffer = vec![1.0_f32; count];
    comm.all_reduce_in_place(&mut buffer, ReduceOp::Sum)?;
    assert!(buffer.iter().all(|&x| x == comm.size() as f32));
    Ok(())
}

fn failure(error: &Error) -> &Failure {
    match error {
        Error::Failed(failure) => failure,
        other => panic!("{}", other.report()),
    }
}

#[test]
fn a_rank_that_makes_fewer_calls_is_named_to_all_others_with_its_last() {
    for (transport, early) in WIRES.into_iter().zip([0, 3, 0]) {
        let results = world(4, transport).run_each(|mut comm| {
            (0..3).try_for_each(|_| sum(&mut comm, 5000))?;
            let began = Instant::now();
            let fourth = if comm.rank() == early { Ok(()) } else { sum(&mut comm, 5000) };
            drop(comm);
            assert!(began.elapsed() < PROMPT, "{transport:?}: {:?}", began.elapsed());
            fourth
        });
        for (rank, result) in (0..).zip(results) {
            let Err(error) = result else {
                assert_eq!(rank, early);
                continue;
            };
            let text = error.report();
            assert_eq!(error.code().to_string(), "CT-066", "{text}");
            assert_eq!(
                (failure(&error).culprit, failure(&error).left_after),
                (Some(early), Some(3))
            );
            // A peer's, for all that this rank can tell: only the peer's own output says why it left.
            assert!(text.contains("to blame: a peer (rank ") && error.exit_code() == 3, "{text}");
            let named = format!("rank {early} on host ");
            assert!(text.contains(&named) && text.contains("after its call #3"), "{text}");
        }
    }
}

#[test]
fn a_rank_that_panics_is_named_to_all_others() {
    for transport in WIRES {
        let errors = Mutex::new(Vec::new());
        let ended = catch_unwind(AssertUnwindSafe(|| {
            world(4, transport).run(|mut comm| {
                let first = sum(&mut comm, 100);
                if comm.rank() == 2 {
                    // Without the hook: on a busy machine it writes its backtrace for longer than `PROMPT`, and
                    // only then the communicator is dropped.
                    resume_unwind(Box::new("as the test has it"));
                }
                // A slow rank may hear of the panic before its own first call is over.
                let began = Instant::now();
                let error = first.and_then(|()| sum(&mut comm, 100)).unwrap_err();
                assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
                errors.lock().unwrap().push(error);
                Ok(())
            })
        }));
        assert!(ended.is_err(), "the panic is passed on");
        let errors = errors.into_inner().unwrap();
        assert_eq!(errors.len(), 3);
        for error in errors {
            assert_eq!(failure(&error).culprit, Some(2), "{}", error.report());
            assert_eq!(error.code().to_string(), "CT-064", "{}", error.report());
            assert!(error.report().contains("panicked"), "{}", error.report());
            assert_eq!(error.exit_code(), 3, "{}", error.report());
        }
    }
}

#[test]
fn a_rank_that_sleeps_through_the_deadline_is_named() {
    for transport in WIRES {
        let settings = Settings::default().transport(transport).timeout(Duration::from_millis(300));
        let results = Threads::new(4).settings(settings).run_each(|mut comm| {
            if comm.rank() == 2 {
                thread::sleep(PROMPT);
            }
            sum(&mut comm, 100)
        });
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(error.code().to_string(), "CT-062", "{}", error.report());
            let failure = failure(&error);
            assert_eq!(failure.culprit, Some(2), "{}", error.report());
            // Where the others wait, and for whom.
            assert_eq!(failure.statements.len(), 4, "{}", error.report());
            let dump = failure.dump();
            assert!(dump.contains("rank 2: in no call; it has made none"), "{dump}");
            assert!(dump.contains("waits for a message from rank "), "{dump}");
            assert!(dump.contains("failures.rs:") && error.report().contains(&dump), "{dump}");
            assert!(failure.dump_json().starts_with(r#"{"culprit":2,"#));
        }
    }
}

/// The culprit leaves as soon as it has the verdict, which must not look as if it had left before.
#[test]
fn different_counts_are_the_mistake_of_the_odd_rank_on_every_rank_every_time() {
    for (transport, _) in WIRES.into_iter().cycle().zip(0..24) {
        let results = world(4, transport).run_each(|mut comm| {
            let count = if comm.rank() == 1 { 300 } else { 200 };
            sum(&mut comm, count)
        });
        for (rank, result) in results.into_iter().enumerate() {
            let error = result.unwrap_err();
            assert_eq!(error.code().to_string(), "CT-063", "{transport:?}: {}", error.report());
            let (code, blamed) = match rank {
                1 => (2, "to blame: the caller (this rank's program)"),
                _ => (3, "to blame: a peer (rank 1 on host "),
            };
            assert!(error.exit_code() == code && error.report().contains(blamed), "{error:?}");
        }
    }
}

#[test]
fn calls_after_a_failure_are_refused_with_its_name() {
    let settings = Settings::default().timeout(Duration::from_millis(200));
    let settings = settings.transport(Transport::Loopback);
    let results = Threads::new(2).settings(settings).run_each(|mut comm| {
        if comm.rank() == 1 {
            thread::sleep(Duration::from_millis(800));
            return Ok(());
        }
        let first = sum(&mut comm, 10).unwrap_err().to_string();
        let began = Instant::now();
        let again = sum(&mut comm, 10).unwrap_err();
        assert!(began.elapsed() < Duration::from_millis(50));
        assert!(again.to_string().contains(&first), "{again}");
        Err(again)
    });
    let again = results.into_iter().next().unwrap().unwrap_err();
    assert_eq!(again.code().to_string(), "CT-065");
}

#[test]
fn wrong_lengths_are_refused_before_anything_is_sent_and_harm_nothing() {
    let checks = |mut comm: Communicator| {
        let mut three = [0_i32; 3];
        let errors = [
            comm.all_reduce(&[1, 2], &mut three, ReduceOp::Sum),
            comm.reduce_scatter(&[1, 2, 3], &mut three, ReduceOp::Sum),
            comm.reduce_scatter_in_place(&mut three, ReduceOp::Sum),
            comm.all_gather(&[1, 2], &mut three),
            comm.all_gather_in_place(&mut three),
            comm.all_to_all(&[1, 2], &mut three),
            comm.all_to_all_in_place(&mut three),
        ];
        for error in errors {
            assert_eq!(error.unwrap_err().code().to_string(), "CT-001");
        }
        sum(&mut comm, 10)
    };
    world(2, Transport::Loopback).run(checks).unwrap();
}

#[test]
fn a_rank_that_leaves_while_slower_ones_still_receive_loses_nothing() {
    const PART: usize = 4 << 20;
    for _ in 0..3 {
        let left = world(4, Transport::Tcp).run_each(|mut comm| {
            let mine = vec![comm.rank() as u8 + 1; PART];
            let mut all = vec![0; 4 * PART];
            comm.all_gather(&mine, &mut all)?;
            comm.leave()?;
            let wrong = (0..).zip(&all).position(|(i, &byte)| byte as usize != i / PART + 1);
            assert_eq!(wrong, None);
            Ok(())
        });
        left.into_iter().for_each(Result::unwrap);
    }
}
