//! Sends and receives between pairs: every order, several to one peer, to oneself, nested, and at once.
#![cfg(test)]

use std::time::Duration;

use crosstie::{Communicator, Error, Settings, Threads, Transport};

const WIRES: [Transport; 3] = [Transport::Loopback, Transport::SharedMemory, Transport::Tcp];

fn world(ranks: u32, transport: Transport) -> Threads {
    Threads::new(ranks).settings(Settings::default().transport(transport).slot_bytes(1024))
}

fn message(from: u32, to: u32, number: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| from * 1_000_003 + to * 10_007 + number * 101 + i).collect()
}

/// Lengths below, at and beyond a slot, and none at all.
const LENGTHS: [usize; 5] = [0, 1, 256, 257, 5000];

#[test]
fn everyone_sends_several_messages_to_everyone_in_one_group() {
    for transport in WIRES {
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
                    assert_eq!(data, message(peer, rank, number, data.len()), "{transport:?}");
                }
            }
            Ok(())
        };
        world(3, transport).run(all).unwrap();
    }
}

#[test]
fn a_group_here_may_be_single_calls_there() {
    for transport in WIRES {
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
        world(2, transport).run(all).unwrap();
    }
}

#[test]
fn only_those_who_have_a_message_take_part_and_collectives_go_on() {
    for transport in WIRES {
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
        world(4, transport).run(all).unwrap();
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
            refused(comm.send(&[1], 2), "rank 2 is none of the 2 ranks");
            refused(comm.group(|g| g.send(&[1], 9)), "rank 9");
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

#[test]
fn a_message_that_nobody_sends_and_one_of_another_length_are_errors() {
    let settings = Settings::default().timeout(Duration::from_millis(300));
    let results = Threads::new(2).settings(settings.clone()).run_each(|mut comm| {
        if comm.rank() == 1 {
            std::thread::sleep(Duration::from_millis(1500));
            return Ok(());
        }
        comm.recv(&mut [0_u8; 4], 1)
    });
    let error = results.into_iter().next().unwrap().unwrap_err();
    assert_eq!(error.code().to_string(), "CT-062", "{error:?}");
    let results = Threads::new(2).settings(settings).run_each(|mut comm| match comm.rank() {
        0 => comm.send(&[0_u8; 5], 1).and_then(|()| comm.barrier()),
        _ => comm.recv(&mut [0_u8; 4], 0),
    });
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.code().to_string(), "CT-063", "{error:?}");
    }
}
