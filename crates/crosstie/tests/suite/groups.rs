//! Sends and receives between pairs: every order, several to one peer, to oneself, nested, and at once.

use std::time::Duration;

use crosstie::{
    Buffers, Cause, Collective, Communicator, DataType, Error, Exchanged, Failure, Operation,
    ReduceOp, Settings, Threads, Transport,
};

/// Over what the ranks exchange their messages; slots hold 1 KiB.
const WORLDS: [(&str, Transport, u32); 4] = [
    ("loopback", Transport::Loopback, 1),
    ("shared memory", Transport::SharedMemory, 1),
    ("tcp", Transport::Tcp, 1),
    ("both", Transport::Auto, 2),
];

fn worlds(ranks: u32) -> impl Iterator<Item = (&'static str, Threads)> {
    WORLDS.into_iter().map(move |(name, transport, nodes)| {
        let settings = Settings::default().transport(transport).slot_bytes(1024);
        (name, Threads::new(ranks).nodes(nodes).settings(settings))
    })
}

fn failure(error: &Error) -> &Failure {
    let Error::Failed(failure) = error else { panic!("{error:?}") };
    failure
}

fn message(from: u32, to: u32, number: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| from * 1_000_003 + to * 10_007 + number * 101 + i).collect()
}

/// Lengths below, at and beyond a slot, and none at all.
const LENGTHS: [usize; 5] = [0, 1, 256, 257, 5000];

#[test]
fn everyone_sends_several_messages_to_everyone_in_one_group() {
    for (name, world) in worlds(3) {
        let all = |mut comm: Communicator| {
            let (rank, size) = (comm.rank(), comm.size());
            for _ in 0..3 {
                let mut sends = Vec::new();
                let mut recvs = Vec::new();
                for peer in 0..size {
                    for (number, len) in (0..).zip(LENGTHS) {
                        sends.push((peer, message(rank, peer, number, len)));
                        recvs.push((peer, number, vec![0_u32; len]));
                    }
                }
                comm.group(|g| {
                    // Peers in descending order, which is another one on each rank's peers.
                    g.group(|g| sends.iter().for_each(|(peer, data)| g.send(data, *peer)));
                    for (peer, _, data) in &mut recvs {
                        g.recv(data, *peer);
                    }
                })?;
                for (peer, number, data) in recvs {
                    assert_eq!(data, message(peer, rank, number, data.len()), "{name}");
                }
            }
            Ok(())
        };
        world.run(all).unwrap();
    }
}

#[test]
fn a_group_here_may_be_single_calls_there() {
    for (_, world) in worlds(2) {
        let all = |mut comm: Communicator| {
            if comm.rank() == 0 {
                let data: Vec<Vec<u32>> =
                    (0..).zip(LENGTHS).map(|(n, len)| message(0, 1, n, len)).collect();
                return comm.group(|g| data.iter().for_each(|data| g.send(data, 1)));
            }
            for (number, len) in (0..).zip(LENGTHS) {
                let mut data = vec![0; len];
                comm.recv(&mut data, 0)?;
                assert_eq!(data, message(0, 1, number, len));
            }
            Ok(())
        };
        world.run(all).unwrap();
    }
}

#[test]
fn only_those_who_have_a_message_take_part_and_collectives_go_on() {
    for (_, world) in worlds(4) {
        let all = |mut comm: Communicator| {
            for round in 0..20_u32 {
                let mut got = [0; 300];
                match comm.rank() {
                    0 => comm.send(&[round; 300], 2)?,
                    2 => comm.recv(&mut got, 0)?,
                    _ => {}
                }
                assert!(comm.rank() != 2 || got == [round; 300]);
                let mut last = [round + comm.rank()];
                comm.broadcast(&mut last, 1)?;
                assert_eq!(last, [round + 1]);
            }
            Ok(())
        };
        world.run(all).unwrap();
    }
}

#[test]
fn asynchronous_sends_and_receives_give_their_buffers_back() {
    Threads::new(2)
        .run(|mut comm| {
            let (rank, other) = (comm.rank(), 1 - comm.rank());
            let own = message(rank, other, 0, 3000);
            let exchange = comm.owned().send_recv(own.clone(), other, vec![0; 3000], other)?;
            let (sent, received) = exchange.wait()?;
            assert_eq!((sent, received), (own, message(other, rank, 0, 3000)));
            if rank == 0 {
                assert_eq!(comm.owned().send(vec![7.5; 9], 1)?.wait()?, [7.5; 9]);
            } else {
                assert_eq!(comm.owned().recv(vec![0.0; 9], 0)?.wait()?, [7.5; 9]);
            }
            let (send, mut recv) = ([rank; 4], [9; 4]);
            comm.scope(|s| {
                let _ = s.group(|g| {
                    g.recv(&mut recv, other);
                    g.send(&send, other);
                })?;
                Ok(())
            })?;
            assert_eq!(recv, [other; 4]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn messages_that_cannot_be_are_refused_before_any_is_sent() {
    Threads::new(2)
        .run(|mut comm| {
            let rank = comm.rank();
            let refused = |result: Result<(), Error>, words: &str| {
                let error = result.unwrap_err();
                assert_eq!(error.code().to_string(), "CT-001");
                assert!(error.to_string().contains(words), "{error}");
            };
            refused(comm.send(&[1], 2), "peer 2 is no rank: there are ranks 0 to 1");
            refused(comm.group(|g| g.send(&[1], 9)), "peer 9");
            refused(comm.send(&[1_u8], rank), "itself messages of [1] bytes, and receives []");
            let (one, mut two) = ([1_u8], [0_u8; 2]);
            let to_self = comm.group(|g| {
                g.send(&one, rank);
                g.recv(&mut two, rank);
            });
            refused(to_self, "[1] bytes, and receives [2]");
            comm.group(|_| ())?;
            comm.barrier()
        })
        .unwrap();
}

/// What a rank sends to itself is cut as what it receives, whatever else it sends.
#[test]
fn a_long_message_to_oneself_may_stand_beside_several_to_another() {
    for (name, world) in worlds(2) {
        let all = |mut comm: Communicator| {
            let (rank, other) = (comm.rank(), 1 - comm.rank());
            let own = message(rank, rank, 0, 5000);
            let others: Vec<Vec<u32>> = (0..3).map(|n| message(rank, other, n, 1500)).collect();
            let (mut mine, mut theirs) = (vec![0; 5000], vec![vec![0; 1500]; 3]);
            comm.group(|g| {
                others.iter().for_each(|data| g.send(data, other));
                g.send(&own, rank);
                theirs.iter_mut().for_each(|data| g.recv(data, other));
                g.recv(&mut mine, rank);
            })?;
            assert_eq!(mine, own, "{name}");
            for (number, data) in (0..).zip(theirs) {
                assert_eq!(data, message(other, rank, number, 1500), "{name}");
            }
            Ok(())
        };
        world.run(all).unwrap();
    }
}

/// Neither rank reads before it writes: each message is far beyond what the slots hold.
#[test]
fn long_messages_pass_each_other_from_shared_and_private_memory() {
    const COUNT: usize = 700_001;
    for (name, world) in worlds(4) {
        let all = |mut comm: Communicator| {
            let (rank, size) = (comm.rank(), comm.size());
            let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
            let own = message(rank, right, 0, COUNT);
            let (mut shared, mut got_shared) = (comm.alloc(COUNT)?, comm.alloc(COUNT)?);
            let mut got = vec![0; COUNT];
            shared.copy_from_slice(&own);
            let expected = message(left, right.wrapping_sub(1) % size, 0, COUNT);
            let expected = if rank == 0 { message(left, 0, 0, COUNT) } else { expected };
            comm.send_recv(&own, right, &mut got, left)?;
            comm.send_recv(&shared, right, &mut got_shared, left)?;
            assert!(got == expected && *got_shared == *expected, "{name}");
            got.fill(0);
            // Shared here, private there.
            if rank % 2 == 0 {
                comm.send_recv(&shared, right, &mut got, left)?;
            } else {
                comm.send_recv(&own, right, &mut got, left)?;
            }
            assert!(got == expected, "{name}");
            assert!(*shared == *own, "{name}: what is sent stays as it is");
            Ok(())
        };
        world.run(all).unwrap();
    }
}

#[test]
fn groups_collectives_and_asynchronous_calls_run_in_the_order_in_which_they_were_made() {
    for (name, world) in worlds(3) {
        let all = |mut comm: Communicator| {
            let (rank, size) = (comm.rank(), comm.size());
            let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
            for round in 0..20_u32 {
                let own = vec![round * 3 + rank; 700];
                let passed = comm.owned().send_recv(own.clone(), right, vec![0; 700], left)?;
                let sum = comm.owned().all_reduce_in_place(own.clone(), ReduceOp::Sum)?;
                let mut again = vec![0; 700];
                comm.send_recv(&own, left, &mut again, right)?;
                assert_eq!(again, vec![round * 3 + right; 700], "{name}");
                let (_, received) = passed.wait()?;
                assert_eq!(received, vec![round * 3 + left; 700], "{name}");
                assert_eq!(sum.wait()?, vec![round * 9 + 3; 700], "{name}");
            }
            Ok(())
        };
        world.run(all).unwrap();
    }
}

#[test]
fn a_scope_gives_back_what_was_received() {
    for (name, world) in worlds(2) {
        let all = |mut comm: Communicator| {
            let (rank, other) = (comm.rank(), 1 - comm.rank());
            let (one, two) = (message(rank, other, 1, 2000), message(rank, other, 2, 3));
            let (mut first, mut second, mut third) = (vec![0; 2000], vec![0; 3], [0; 3]);
            comm.scope(|s| {
                let exchange = s.send_recv(&one, other, &mut first, other)?;
                let (sent, received) = if rank == 0 {
                    (s.send(&two, other)?, s.recv(&mut second, other)?)
                } else {
                    let received = s.recv(&mut second, other)?;
                    (s.send(&two, other)?, received)
                };
                let both = s.group(|g| {
                    g.send(&two, other);
                    g.recv(&mut third, other);
                })?;
                assert_eq!(exchange.wait()?, message(other, rank, 1, 2000), "{name}");
                assert_eq!(received.wait()?, message(other, rank, 2, 3), "{name}");
                assert!(sent.wait()?.is_empty() && both.wait()?.is_empty(), "{name}");
                Ok(())
            })?;
            assert_eq!(third[..], message(other, rank, 2, 3), "{name}");
            Ok(())
        };
        world.run(all).unwrap();
    }
}

#[test]
fn a_group_of_buffers_that_move_gives_all_of_them_back_in_order() {
    for (name, world) in worlds(3) {
        let all = |mut comm: Communicator| {
            let (rank, size) = (comm.rank(), comm.size());
            let numbered = || (0..size).flat_map(|peer| (0..).zip(LENGTHS).map(move |m| (peer, m)));
            let sends: Vec<(Vec<u32>, u32)> =
                numbered().map(|(peer, (n, len))| (message(rank, peer, n, len), peer)).collect();
            let mut recvs: Vec<(Box<[u32]>, u32)> =
                numbered().map(|(peer, (_, len))| (vec![0; len].into(), peer)).collect();
            recvs.reverse();
            // Those of one rank come in the order in which they were sent, so as long as they were sent.
            let refused = comm.owned().group(sends.clone(), recvs);
            assert!(refused.is_err(), "{name}: own messages do not fit");
            let recvs = numbered().map(|(peer, (_, len))| (vec![0; len].into(), peer)).collect();
            let given: Vec<Vec<u32>> = sends.iter().map(|(data, _)| data.clone()).collect();
            let work = comm.owned().group::<_, Box<[u32]>>(sends, recvs)?;
            let none = comm.owned().group::<Vec<u8>, Vec<u8>>(Vec::new(), Vec::new())?;
            let Exchanged { sent, received } = work.wait()?;
            assert_eq!(sent, given, "{name}");
            for ((peer, (n, len)), data) in numbered().zip(received) {
                assert_eq!(*data, message(peer, rank, n, len), "{name}");
            }
            assert!(none.wait()?.received.is_empty());
            comm.barrier()
        };
        world.run(all).unwrap();
    }
}

#[test]
fn messages_are_no_collective_on_bytes() {
    let refused = Threads::new(2).run(|mut comm| {
        let operation = Operation::new(Collective::SendRecv, DataType::U8);
        let error = comm.perform(operation, Buffers::InPlace(&mut [0; 4])).unwrap_err();
        let sum = Operation::new(Collective::AllReduce, DataType::U8).reducing(ReduceOp::Sum);
        let messages = Buffers::Messages { sends: Default::default(), recvs: Default::default() };
        let other = comm.perform(sum, messages).unwrap_err();
        comm.barrier()?;
        Ok([error, other].map(|error| (error.code().to_string(), error.to_string())))
    });
    for (code, text) in refused.unwrap().concat() {
        assert_eq!(code, "CT-001", "{text}");
    }
}

/// The sender is done before anybody looks at the message; it hears of it by its next call.
#[test]
fn a_message_of_another_length_or_type_is_named_on_both_sides() {
    let lengths = [
        (5, 4, "sent a message of 5 bytes where one of 4 is received"),
        (4096, 8192, "sent a message of 1024 bytes or more where one of 8192 is received"),
        (8192, 4096, "of 1024 bytes or more where one of 4096 is received"),
        (0, 3000, "of 0 bytes where one of 3000 is received"),
    ];
    for (name, transport, nodes) in WORLDS {
        for (sent, received, words) in lengths {
            let settings = Settings::default().transport(transport).slot_bytes(1024);
            let world = Threads::new(3).nodes(nodes).settings(settings);
            let results = world.run_each(|mut comm| match comm.rank() {
                0 => comm.send(&vec![0_u8; sent], 2).and_then(|()| comm.barrier()),
                2 => comm.recv(&mut vec![0_u8; received], 0),
                _ => comm.barrier(),
            });
            for result in results {
                let error = result.unwrap_err();
                let failure = failure(&error);
                assert_eq!((failure.culprit, failure.cause), (Some(0), Cause::Protocol), "{name}");
                let text = error.report();
                // The sender may be told first, in the call that it makes next.
                if failure.reported_before {
                    assert!(text.contains(words), "{name}: {text}");
                    assert!(text.contains("; this was ") && text.contains("groups.rs:"), "{text}");
                    assert!(text.contains("before its first call"), "{text}");
                    assert!(text.contains("sent another message"), "{text}");
                } else {
                    let told = format!("has {sent} bytes, but the receive has room for {received}");
                    assert!(text.contains(&told), "{name}: {text}");
                }
            }
        }
    }
    let results = Threads::new(2).run_each(|mut comm| match comm.rank() {
        0 => comm.send(&[1.5_f32], 1).and_then(|()| comm.barrier()),
        _ => comm.recv(&mut [0_i32], 0),
    });
    for result in results {
        let text = result.unwrap_err().report();
        assert!(text.contains("4 bytes where one of 4 is received: length, type"), "{text}");
    }
}

#[test]
fn a_wrong_message_is_wrong_though_its_sender_has_left() {
    let results = Threads::new(2).run_each(|mut comm| match comm.rank() {
        0 => comm.send(&[1_u8; 5], 1).and_then(|()| comm.leave()),
        _ => {
            std::thread::sleep(Duration::from_millis(300));
            comm.recv(&mut [0_u8; 4], 0)
        }
    });
    let error = results.into_iter().nth(1).unwrap().unwrap_err();
    let failure = failure(&error);
    assert_eq!((failure.culprit, failure.cause), (Some(0), Cause::Protocol), "{error:?}");
}

#[test]
fn a_message_where_the_peer_makes_a_collective_is_an_error_on_both_sides() {
    for (name, world) in worlds(2) {
        let results = world.run_each(|mut comm| match comm.rank() {
            0 => comm.send(&[1_u8; 8], 1).and_then(|()| comm.barrier()),
            _ => comm.all_reduce_in_place(&mut [1_u8; 8], ReduceOp::Sum),
        });
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(failure(&error).cause, Cause::Protocol, "{name}: {error:?}");
        }
    }
}

/// A rank that takes no part has made fewer collectives, and is not to blame.
#[test]
fn a_message_that_nobody_sends_ends_at_the_deadline_with_its_peer_named() {
    let settings = Settings::default().timeout(Duration::from_secs(1));
    let results = Threads::new(4).settings(settings).run_each(|mut comm| {
        comm.barrier()?;
        if comm.rank() != 0 {
            // Its messages go from the root to each rank, so none needs rank 0.
            comm.scatter(Some(&[0_u8; 4]), &mut [0], 2)?;
        }
        match comm.rank() {
            2 => comm.recv(&mut [0_u8; 4], 3),
            _ => {
                std::thread::sleep(Duration::from_millis(2500));
                Ok(())
            }
        }
    });
    let error = results.into_iter().nth(2).unwrap().unwrap_err();
    let failure = failure(&error);
    assert_eq!((failure.culprit, failure.cause), (Some(3), Cause::Deadline), "{error:?}");
    assert_eq!((failure.operation, failure.sequence), (Some(Collective::SendRecv), 3));
    let text = error.report();
    for part in [
        "CT-062",
        "nothing has moved for 1.000 s",
        "waits for a message from rank 3",
        "stood at: recv before call #3",
        "reported by rank 2 before its call #3",
    ] {
        assert!(text.contains(part), "no {part}: {text}");
    }
}

/// The deadline is for what does not move.
#[test]
fn a_group_that_moves_may_take_longer_than_the_deadline() {
    for (name, transport, nodes) in WORLDS {
        let settings = Settings::default().transport(transport).slot_bytes(1024);
        let settings = settings.timeout(Duration::from_secs(1));
        let result = Threads::new(2).nodes(nodes).settings(settings).run(|mut comm| {
            let data = vec![7_u8; 1 << 20];
            if comm.rank() == 0 {
                return comm.group(|g| (0..4).for_each(|_| g.send(&data, 1)));
            }
            for _ in 0..4 {
                std::thread::sleep(Duration::from_millis(300));
                let mut got = vec![0; 1 << 20];
                comm.recv(&mut got, 0)?;
                assert!(got == data);
            }
            Ok(())
        });
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

#[test]
fn what_was_sent_arrives_though_its_sender_has_left_and_no_more_is_waited_for() {
    for (name, world) in worlds(2) {
        let results = world.run_each(|mut comm| {
            if comm.rank() == 0 {
                comm.barrier()?;
                comm.send(&[1_u8, 2, 3], 1)?;
                return comm.leave();
            }
            comm.barrier()?;
            std::thread::sleep(Duration::from_millis(300));
            let mut got = [0_u8; 3];
            comm.recv(&mut got, 0)?;
            assert_eq!(got, [1, 2, 3], "{name}");
            comm.recv(&mut got, 0)
        });
        let [left, waited] = results.try_into().unwrap();
        assert!(left.is_ok(), "{name}: {left:?}");
        let error: Error = waited.unwrap_err();
        let failure = failure(&error);
        assert_eq!((failure.culprit, failure.cause), (Some(0), Cause::Left), "{name}: {error:?}");
    }
}

#[test]
fn a_death_ends_a_group_that_waits_for_another_rank() {
    for (name, world) in worlds(3) {
        let results = world.run_each(|mut comm| match comm.rank() {
            0 => comm.recv(&mut [0_u8; 4], 1),
            1 => {
                std::thread::sleep(Duration::from_millis(200));
                comm.abort_handle().abort("nothing to send");
                Ok(())
            }
            _ => comm.send(&vec![0_u8; 1 << 20], 0),
        });
        for (rank, result) in results.into_iter().enumerate().filter(|(rank, _)| *rank != 1) {
            let error = result.unwrap_err();
            assert_eq!(failure(&error).culprit, Some(1), "{name}, rank {rank}: {error:?}");
        }
    }
}

/// Every rank receives before it sends; or sends more than is buffered before it receives.
#[test]
fn ranks_that_wait_for_each_other_are_told_so_with_the_places() {
    let calls = ["recv from rank ", "send to rank "];
    // Whichever of the two clocks is the shorter one, the truth is the same.
    let soon = Settings::default().stall(Duration::from_millis(500));
    let late = Settings::default().timeout(Duration::from_secs(2));
    let cases = [(false, soon.clone()), (true, soon), (false, late)];
    for (sends, settings) in cases {
        let call = calls[usize::from(sends)];
        let results = Threads::new(4).settings(settings).run_each(|mut comm| {
            let (rank, size) = (comm.rank(), comm.size());
            let (next, before) = ((rank + 1) % size, (rank + size - 1) % size);
            let mut buffer = vec![0_u8; 64 << 20];
            if sends { comm.send(&buffer, next) } else { comm.recv(&mut buffer, before) }
        });
        for result in results {
            let error = result.unwrap_err();
            let text = error.report();
            assert_eq!(failure(&error).cause, Cause::Deadlock, "{text}");
            let circle =
                if sends { "0 → 1 → 2 → 3 → 0" } else { "0 → 3 → 2 → 1 → 0" };
            assert!(text.contains("CT-072") && text.contains(circle), "{text}");
            assert!(
                text.contains(call) && text.contains("of 67108864 uint8, called at "),
                "{text}"
            );
            assert!(failure(&error).statements.values().all(|its| its.in_messages), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}

#[test]
fn messages_to_oneself_must_agree_in_type_and_not_in_bytes_alone() {
    let results = Threads::new(1).run_each(|mut comm| {
        let (floats, mut whole) = ([1.5_f32, 2.5], [0_i32; 2]);
        let borrowed = comm.group(|g| {
            g.send(&floats, 0);
            g.recv(&mut whole, 0);
        });
        assert_eq!(whole, [0; 2], "nothing was received");
        let owned = comm.owned().group(vec![(vec![1.5_f32], 0)], vec![(vec![0_i32], 0)]);
        Ok([borrowed, owned.map(drop)].map(|result| result.unwrap_err().to_string()))
    });
    for said in results.into_iter().flatten().flatten() {
        assert!(said.contains("of float, and receives it as one of int32"), "{said}");
    }
}
