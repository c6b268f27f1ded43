//! Ranks whose calls differ are told so, soon, and none takes wrong data for a result, though every
//! message has the length that its receiver expects.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crosstie::{Communicator, Error, ReduceOp, Settings, Threads, Transport};

const WIRES: [Transport; 3] = [Transport::Loopback, Transport::SharedMemory, Transport::Tcp];
/// Within what a rank hears of it.
const PROMPT: Duration = Duration::from_secs(5);
const ODD: u32 = 1;

fn world(ranks: u32, transport: Transport) -> Threads {
    Threads::new(ranks).settings(Settings::default().transport(transport))
}

/// Runs `usual` on all ranks but rank 1, which runs `odd`: every one fails with CT-063.
fn refused(
    what: &str,
    usual: impl Fn(&mut Communicator) -> Result<(), Error> + Sync,
    odd: impl Fn(&mut Communicator) -> Result<(), Error> + Sync,
) {
    for (transport, ranks) in WIRES.into_iter().flat_map(|wire| [(wire, 2), (wire, 4)]) {
        let results = world(ranks, transport).run_each(|mut comm| {
            sum(&mut comm, 10)?;
            let began = Instant::now();
            let ended = if comm.rank() == ODD { odd(&mut comm) } else { usual(&mut comm) };
            assert!(began.elapsed() < PROMPT, "{what}, {transport:?}: {:?}", began.elapsed());
            ended
        });
        for (rank, result) in results.into_iter().enumerate() {
            let error =
                result.expect_err(&format!("{what}, {transport:?}: rank {rank} of {ranks}"));
            assert_eq!(error.code().to_string(), "CT-063", "{what}: {}", error.report());
            names_both_calls(&error, ranks);
        }
    }
}

/// The error says in full what the odd rank called, what the others did, and where.
fn names_both_calls(error: &Error, ranks: u32) {
    let text = error.report();
    let Error::Failed(failure) = error else { panic!("{text}") };
    let conflict = failure.conflict.as_ref().unwrap_or_else(|| panic!("{text}"));
    let (usual, odd) = (&conflict.usual, &conflict.odd);
    // A rank that has yet to make the call is no witness.
    assert_eq!((odd.0, failure.culprit), (ODD, Some(ODD)), "{text}");
    assert_ne!(usual.0, ODD, "{text}");
    assert_ne!(usual.1.site, odd.1.site, "{text}");
    for (_, call) in [usual, odd] {
        assert!(call.site.contains("calls_that_differ.rs:"), "{text}");
        assert!(call.sequence == odd.1.sequence && text.contains(&call.to_string()), "{text}");
    }
    assert_eq!(failure.statements.len(), ranks as usize, "{text}");
}

#[track_caller]
fn sum(comm: &mut Communicator, count: usize) -> Result<(), Error> {
    reduce::<f32>(comm, count, ReduceOp::Sum)
}

#[track_caller]
fn reduce<T: crosstie::Element>(
    comm: &mut Communicator,
    count: usize,
    op: ReduceOp,
) -> Result<(), Error> {
    comm.all_reduce_in_place(&mut vec![T::zeroed(); count], op)
}

/// The windows of both are alike: whole messages of the longest length.
#[test]
fn counts_of_one_window_and_of_two() {
    let window = |comm: &Communicator| 32_768 * comm.size() as usize;
    refused("counts", |comm| sum(comm, window(comm)), |comm| sum(comm, 2 * window(comm)));
}

#[test]
fn reduce_operations() {
    for count in [3, 5000, 200_000] {
        refused(
            "reductions",
            |comm| reduce::<f32>(comm, count, ReduceOp::Sum),
            |comm| reduce::<f32>(comm, count, ReduceOp::Max),
        );
    }
}

#[test]
fn types_of_equal_size() {
    for count in [3, 5000, 200_000] {
        refused(
            "types",
            |comm| reduce::<f32>(comm, count, ReduceOp::Sum),
            |comm| reduce::<i32>(comm, count, ReduceOp::Sum),
        );
    }
}

#[test]
fn operations_whose_messages_are_alike() {
    for part in [1, 1000, 50_000] {
        refused(
            "operations",
            |comm| comm.all_gather_in_place(&mut vec![0_u8; part * comm.size() as usize]),
            |comm| comm.all_to_all_in_place(&mut vec![0_u8; part * comm.size() as usize]),
        );
        refused(
            "operations",
            |comm| comm.all_gather_in_place(&mut vec![0_u8; part * comm.size() as usize]),
            |comm| {
                let mut parts = vec![0_u8; part * comm.size() as usize];
                comm.reduce_scatter_in_place(&mut parts, ReduceOp::Max)
            },
        );
    }
}

/// Two roots of one broadcast may have no message for each other, and find out in the next call.
#[test]
fn roots_that_send() {
    for count in [3, 50_000] {
        refused(
            "roots of a broadcast",
            |comm| comm.broadcast(&mut vec![1_u8; count], 0).and_then(|()| sum(comm, 5)),
            |comm| comm.broadcast(&mut vec![2_u8; count], 1).and_then(|()| sum(comm, 5)),
        );
    }
}

/// No other call comes after it: they find out as they leave.
#[test]
fn roots_that_send_last() {
    for transport in WIRES {
        let all_have_called = Barrier::new(2);
        let results = world(2, transport).run_each(|mut comm| {
            let root = comm.rank();
            comm.broadcast(&mut [1_u8; 3], root)?;
            all_have_called.wait();
            comm.leave()
        });
        for (rank, result) in (0..).zip(results) {
            let error = result.expect_err("both are roots");
            let text = error.report();
            assert_eq!(error.code().to_string(), "CT-063", "{text}");
            assert!(text.contains(&format!("rank {rank} made broadcast #1")), "{text}");
            assert!(text.contains("root 0") && text.contains("root 1"), "{text}");
        }
    }
}

/// They wait for each other and have no message, so the monitors compare the calls after a second.
#[test]
fn roots_that_receive() {
    refused(
        "roots of a reduce",
        |comm| to_root(comm, 3, 0).and_then(|()| sum(comm, 5)),
        |comm| to_root(comm, 3, 1).and_then(|()| sum(comm, 5)),
    );
}

/// The others have done their part by then, and left.
#[test]
fn roots_that_wait_for_ranks_that_have_left() {
    for transport in WIRES {
        let results = world(4, transport).run_each(|mut comm| {
            let root = u32::from(comm.rank() == ODD);
            to_root(&mut comm, 3, root)
        });
        for (rank, result) in (0..).zip(results) {
            if rank == ODD || rank == 0 {
                let error = result.expect_err("nobody sends to this rank all that it waits for");
                assert_eq!(error.code().to_string(), "CT-063", "{}", error.report());
            }
        }
    }
}

#[track_caller]
fn to_root(comm: &mut Communicator, count: usize, root: u32) -> Result<(), Error> {
    let mut sum = vec![0_u32; count];
    let recv = (comm.rank() == root).then_some(&mut sum[..]);
    comm.reduce(&vec![1_u32; count], recv, ReduceOp::Sum, root)
}

#[test]
fn a_barrier_and_a_call_with_data() {
    refused("a barrier", |comm| comm.barrier(), |comm| sum(comm, 1));
}

#[test]
fn the_order_of_two_calls() {
    refused(
        "order",
        |comm| {
            reduce::<f32>(comm, 64, ReduceOp::Sum)
                .and_then(|()| reduce::<i32>(comm, 64, ReduceOp::Sum))
        },
        |comm| {
            reduce::<i32>(comm, 64, ReduceOp::Sum)
                .and_then(|()| reduce::<f32>(comm, 64, ReduceOp::Sum))
        },
    );
}

#[test]
fn in_place_or_not_is_each_ranks_own_affair() {
    for (transport, count) in WIRES.into_iter().flat_map(|wire| [(wire, 5), (wire, 100_000)]) {
        let calls = |mut comm: Communicator| {
            let mut out = vec![0.0; count];
            if comm.rank() == ODD {
                out.fill(2.0);
                comm.all_reduce_in_place(&mut out, ReduceOp::Sum)?;
            } else {
                comm.all_reduce(&vec![2.0_f32; count], &mut out, ReduceOp::Sum)?;
            }
            assert!(out.iter().all(|&x| x == 6.0));
            Ok(())
        };
        world(3, transport).run(calls).unwrap();
    }
}

/// The others have what they called for, unless the failure reaches one that is still in its last
/// call: a failure ends all that is under way.
#[test]
fn one_call_more_on_one_rank_is_named_to_it() {
    for transport in WIRES {
        let results = world(3, transport).run_each(|mut comm| {
            sum(&mut comm, 5000)?;
            let began = Instant::now();
            let more = if comm.rank() == ODD { sum(&mut comm, 5000) } else { Ok(()) };
            assert!(began.elapsed() < PROMPT, "{transport:?}: {:?}", began.elapsed());
            more
        });
        for (rank, result) in (0..).zip(results) {
            if rank == ODD || result.is_err() {
                let error = result.expect_err("nobody made the last call but this rank");
                assert_eq!(error.code().to_string(), "CT-066", "{transport:?}: {}", error.report());
            }
        }
    }
}

#[test]
fn one_call_more_before_others_that_follow() {
    refused(
        "one call more",
        |comm| comm.all_gather_in_place(&mut [0_u8; 12]),
        |comm| sum(comm, 3).and_then(|()| comm.all_gather_in_place(&mut [0_u8; 12])),
    );
}

/// Only a pair of ranks knows its own counts.
#[test]
fn counts_of_a_pair_of_ranks_that_differ_are_named() {
    let results = world(4, Transport::SharedMemory).run_each(|mut comm| {
        let counts = [3; 4];
        let expected = if comm.rank() == 1 { [5, 3, 3, 3] } else { counts };
        let mut recv = vec![0.0_f32; expected.iter().sum()];
        comm.all_to_all_v(&[1.0_f32; 12], &counts, &mut recv, &expected)
    });
    let text = results[1].as_ref().expect_err("what rank 0 sends is too short").report();
    let words = "rank 0 sent 12 bytes to this rank, which by its receive counts expects 20 of it";
    assert!(text.contains(words) && text.contains("all_to_all_v #1 of float, called at"), "{text}");
}
