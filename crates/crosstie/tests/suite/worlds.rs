//! Worlds of every shape that ranks may form give the right sums.

use std::thread;
use std::time::{Duration, Instant};

use crosstie::{Communicator, Error, Meeting, ReduceOp, Settings, Threads, Transport};

/// Every collective once, with results that differ by rank.
fn exercise(comm: &mut Communicator) -> Result<(), Error> {
    let (rank, ranks) = (comm.rank() as i32, comm.size() as i32);
    let all: Vec<i32> = (0..ranks).collect();
    let total: i32 = all.iter().sum();
    let mut sums = vec![0; 1000];
    comm.all_reduce(&vec![rank; 1000], &mut sums, ReduceOp::Sum)?;
    assert!(sums.iter().all(|&sum| sum == total));
    let mut gathered = vec![0; ranks as usize];
    comm.all_gather(&[rank], &mut gathered)?;
    assert_eq!(gathered, all);
    let mut own = [0];
    comm.reduce_scatter(&all, &mut own, ReduceOp::Sum)?;
    assert_eq!(own, [rank * ranks]);
    let to_each: Vec<i32> = all.iter().map(|to| rank * 100 + to).collect();
    let mut from_each = vec![0; ranks as usize];
    comm.all_to_all(&to_each, &mut from_each)?;
    assert_eq!(from_each, all.iter().map(|from| from * 100 + rank).collect::<Vec<i32>>());
    Ok(())
}

#[test]
fn a_rank_alone_is_a_world() {
    for transport in [Transport::Auto, Transport::Loopback, Transport::Tcp] {
        let world = Threads::new(1).settings(Settings::default().transport(transport));
        world.run(|mut comm| exercise(&mut comm)).unwrap();
    }
}

#[test]
fn sixteen_ranks_on_one_node_and_on_four() {
    for nodes in [1, 4] {
        let world =
            Threads::new(16).nodes(nodes).settings(Settings::default().transport(Transport::Auto));
        let counts = world.run(|mut comm| exercise(&mut comm).map(|()| comm.nodes())).unwrap();
        assert_eq!(counts, [nodes; 16]);
    }
}

#[test]
fn as_many_nodes_are_emulated_as_were_asked_for_or_none() {
    for (ranks, nodes) in [(4, 3), (8, 5), (8, 7)] {
        let settings = Settings::default().transport(Transport::Auto);
        let world = Threads::new(ranks).nodes(nodes).settings(settings);
        let counts = world.run(|mut comm| exercise(&mut comm).map(|()| comm.nodes())).unwrap();
        assert_eq!(counts, vec![nodes; ranks as usize]);
    }
    for nodes in [0, 3] {
        let error = Threads::new(2).nodes(nodes).run(|_| Ok(())).unwrap_err();
        assert!(
            matches!(error, crosstie::Error::Setting { name: "Threads::nodes", .. }),
            "{error}"
        );
    }
}

#[test]
fn two_worlds_at_once_in_one_process_do_not_mix() {
    thread::scope(|scope| {
        for (ranks, transport) in [(3, Transport::Tcp), (4, Transport::SharedMemory)] {
            scope.spawn(move || {
                let world = Threads::new(ranks).settings(Settings::default().transport(transport));
                let rounds = |mut comm| (0..50).try_for_each(|_| exercise(&mut comm));
                world.run(rounds).unwrap();
            });
        }
    });
}

#[test]
fn nodes_may_be_of_unequal_size_and_interleaved() {
    for names in [["a", "b", "a", "c", "b"], ["a", "a", "a", "a", "b"], ["a", "b", "b", "b", "a"]] {
        let (_meeting, id) = Meeting::open().unwrap();
        thread::scope(|scope| {
            for (rank, name) in (0..).zip(names) {
                let settings = Settings::default().rank(rank).size(5).id(id.clone()).node(name);
                scope.spawn(move || exercise(&mut settings.connect().unwrap()).unwrap());
            }
        });
    }
}

#[test]
fn one_thread_leaves_with_many_ranks_one_after_the_other_without_waiting() {
    let (_meeting, id) = Meeting::open().unwrap();
    let settings = |rank| Settings::default().rank(rank).size(8).id(id.clone());
    let mut ranks = thread::scope(|scope| {
        let connecting = (0..8).map(settings);
        let connecting: Vec<_> =
            connecting.map(|settings| scope.spawn(|| settings.connect())).collect();
        connecting.into_iter().map(|rank| rank.join().unwrap().unwrap()).collect::<Vec<_>>()
    });
    thread::scope(|scope| {
        for comm in &mut ranks {
            scope.spawn(|| comm.barrier().unwrap());
        }
    });
    let began = Instant::now();
    for comm in ranks {
        comm.leave().unwrap();
    }
    // Where each waits for the next, 200 ms each.
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
}

#[test]
fn one_ranks_mistyped_setting_ends_the_waiting_of_all_at_once() {
    let (_meeting, id) = Meeting::open().unwrap();
    let started = Instant::now();
    let error = |rank: u32, id| {
        let settings = Settings::default().rank(rank).size(3).id(id);
        let settings = if rank == 1 { settings.slot_bytes(63) } else { settings };
        settings.connect().map(drop).unwrap_err()
    };
    let errors: Vec<Error> = thread::scope(|scope| {
        let ranks = [0, 1, 2].map(|rank| (rank, id.clone()));
        let ranks = ranks.map(|(rank, id)| scope.spawn(move || error(rank, id)));
        ranks.map(|rank| rank.join().unwrap()).into()
    });
    let codes: Vec<String> = errors.iter().map(|error| error.code().to_string()).collect();
    assert_eq!(codes, ["CT-023", "CT-002", "CT-023"]);
    let text = errors[0].to_string();
    assert!(text.starts_with("rank 1 (host ") && text.contains("CT-002: "), "{text}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
