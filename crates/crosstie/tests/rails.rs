//! Messages that go by way of a relay arrive, whatever the relays' own programs do meanwhile.

#![cfg(test)]

use std::thread;
use std::time::{Duration, Instant};

use crosstie::{
    Algorithm, Communicator, Error, Flush, Meeting, Pxn, ReduceOp, Settings, Threads, Transport,
};

/// Bytes of other ranks that this one has sent on.
fn carried_bytes(comm: &Communicator) -> u64 {
    comm.counters().iter().map(|counters| counters.carried_bytes).sum()
}

fn world(ranks: u32, nodes: u32) -> (Threads, Settings) {
    let settings = Settings::default().transport(Transport::Auto).pxn(Pxn::On);
    (Threads::new(ranks).nodes(nodes), settings)
}

#[test]
fn all_to_all_of_any_size_gives_the_right_blocks_on_any_nodes() {
    for (ranks, nodes) in [(4, 2), (8, 2), (7, 3), (5, 2)] {
        let (world, settings) = world(ranks, nodes);
        let all = world.settings(settings).run(|mut comm| {
            let (rank, size) = (u64::from(comm.rank()), comm.size() as usize);
            for count in [1, 100, 5000, 100_000] {
                let block =
                    |from: u64, to: u64| (0..count as u64).map(move |i| from << 40 | to << 32 | i);
                let send: Vec<u64> = (0..size as u64).flat_map(|to| block(rank, to)).collect();
                let mut recv = vec![0; send.len()];
                comm.all_to_all(&send, &mut recv)?;
                let right: Vec<u64> = (0..size as u64).flat_map(|from| block(from, rank)).collect();
                assert!(recv == right, "{count} elements on rank {rank} of {size}");
            }
            Ok(carried_bytes(&comm))
        });
        let carried: u64 = all.unwrap().iter().sum();
        assert!(carried > 100_000 * 8, "{carried} bytes went past relays, on {ranks} ranks");
    }
}

#[test]
fn long_blocks_go_past_relays_and_short_ones_do_not_where_that_is_chosen_by_length() {
    let (world, settings) = world(8, 2);
    let settings = settings.pxn(Pxn::Auto).relay_below(4096);
    let all = world.settings(settings).run(|mut comm| {
        let mut before = 0;
        for (count, goes_past) in [(100, false), (5000, true), (1000, false), (4096, true)] {
            let send: Vec<u8> = (0..8 * count).map(|i| (i / count + i) as u8).collect();
            let mut recv = vec![0; send.len()];
            comm.all_to_all(&send, &mut recv)?;
            let mine = &send[comm.rank() as usize * count..][..count];
            assert!(recv.chunks(count).all(|block| block == mine), "{count} bytes");
            comm.barrier()?;
            let now = carried_bytes(&comm);
            assert_eq!(now - before < 3 * count as u64, goes_past, "{count}: {before} to {now}");
            before = now;
            comm.barrier()?;
        }
        Ok(())
    });
    all.unwrap();
}

#[test]
fn reductions_over_relays_are_right() {
    let (world, settings) = world(8, 2);
    // The algorithm that is chosen otherwise sends nothing by way of relays here.
    let settings = settings.algorithm(Algorithm::Direct);
    let all = world.settings(settings).run(|mut comm| {
        for count in [1usize, 1000, 100_000] {
            let mut buffer: Vec<u64> =
                (0..count as u64).map(|i| i + u64::from(comm.rank())).collect();
            comm.all_reduce_in_place(&mut buffer, ReduceOp::Sum)?;
            assert!(buffer.iter().zip(0..).all(|(&sum, i)| sum == 8 * i + 28), "{count} elements");
        }
        Ok(carried_bytes(&comm))
    });
    assert!(all.unwrap().iter().sum::<u64>() > 0, "nothing was relayed");
}

/// Rank 1 relays what rank 0 sends to rank 3.
#[test]
fn a_relay_whose_program_sleeps_or_has_left_sends_on_all_the_same() {
    let (world, settings) = world(4, 2);
    let all = world.settings(settings).run(|mut comm| {
        let mut value = vec![0u64; 100_000];
        let (mut slowest, began) = (Duration::ZERO, Instant::now());
        match comm.rank() {
            0 => {
                for i in 0..50u64 {
                    let value = vec![i; 100_000];
                    comm.group(|g| g.send(&value, 3))?;
                }
            }
            3 => {
                for i in 0..50u64 {
                    let called = Instant::now();
                    comm.group(|g| g.recv(&mut value, 0))?;
                    slowest = slowest.max(called.elapsed());
                    assert!(value.iter().all(|&x| x == i));
                }
            }
            1 => {} // Leaves at once.
            _ => thread::sleep(Duration::from_millis(100)),
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        Ok(slowest)
    });
    all.unwrap();
}

#[test]
fn messages_of_all_ranks_of_a_node_leave_together() {
    let (world, settings) = world(8, 2);
    let calls = 20;
    let all = world.settings(settings.flush(Flush::Full)).run(|mut comm| {
        let send = vec![comm.rank(); 8 * 64];
        let mut recv = vec![0; send.len()];
        for _ in 0..calls {
            comm.all_to_all(&send, &mut recv)?;
        }
        comm.barrier()?;
        let tcp = comm.counters().into_iter().find(|c| c.transport == "tcp");
        println!("{tcp:?}");
        Ok(tcp.map_or((0, 0), |tcp| (tcp.messages, tcp.wire_messages)))
    });
    let all = all.unwrap();
    let (messages, wire) = all.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    // The barrier's are few, and go alone.
    assert!(messages >= 32 * calls && wire <= 8 * calls + 40, "{wire} wire messages of {messages}");
}

#[test]
fn rails_that_ranks_disagree_on_are_an_error_that_names_the_setting() {
    let (world, settings) = world(2, 2);
    let errors = world.settings(settings.rails(0)).run_each(|_| Ok(()));
    for error in errors {
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Setting { name: "CROSSTIE_RAILS", .. }), "{error}");
    }
}

fn described(name: &str) -> String {
    format!("{}/../../topology/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn ranks_with_different_topology_files_are_refused_and_named() {
    let (_meeting, id) = Meeting::open().unwrap();
    let files = ["dgx-h100.xml", "dgx-h100.xml", "dgx-a100.xml"];
    let join = |(rank, file): (u32, &str)| {
        let settings = Settings::default().rank(rank).size(3).id(id.clone());
        settings.topo_file(described(file)).connect().map(drop).unwrap_err()
    };
    let errors: Vec<Error> = thread::scope(|scope| {
        let ranks: Vec<_> = (0..).zip(files).map(|it| scope.spawn(move || join(it))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    for error in errors {
        let text = error.report();
        assert!(text.contains("topology = ") && text.contains("rank 2"), "{text}");
    }
}

#[test]
fn a_part_of_a_nodes_ranks_stays_on_the_rails_that_it_was_on() {
    let (world, settings) = world(16, 2);
    let all = world.settings(settings.topo_file(described("hgx-h100-4nic.xml"))).run(|mut comm| {
        let rail = comm.metrics().nic.rail;
        assert_eq!((rail, comm.rails()), (comm.rank() % 8 / 2, 4));
        let mut half =
            comm.split(Some(comm.rank() % 2), -i64::from(comm.rank()))?.expect("a color");
        assert_eq!((half.metrics().nic.rail, half.rails()), (rail, 4));
        let color = (half.rank() % 3 == 0).then_some(0);
        let few = half.split(color, 0)?;
        assert!(few.is_none_or(|few| few.metrics().nic.rail == rail));
        Ok(())
    });
    all.unwrap();
}
