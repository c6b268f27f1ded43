//! Messages that go by way of a relay arrive, whatever the relays' own programs do meanwhile.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crosstie::{
    Algorithm, Communicator, Error, Flush, Meeting, Pxn, ReduceOp, Settings, Threads, Transport,
};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

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

#[test]
fn receives_that_are_opened_early_take_the_right_messages() {
    for ahead in [1, 3, 7] {
        let (world, settings) = world(6, 2);
        let settings = settings.open_ahead(ahead).slot_bytes(8 << 10);
        let all = world.settings(settings).run(|mut comm| {
            let rank = u64::from(comm.rank());
            for count in [700usize, 40_000] {
                let mut sums: Vec<u64> = (0..count as u64).map(|i| i + rank).collect();
                comm.all_reduce_in_place(&mut sums, ReduceOp::Sum)?;
                assert!(sums.iter().zip(0..).all(|(&sum, i)| sum == 6 * i + 15), "{count}");
                let send: Vec<u64> = (0..6 * count as u64).map(|i| rank << 32 | i).collect();
                let mut recv = vec![0; send.len()];
                comm.all_to_all(&send, &mut recv)?;
                let wanted = |i: usize| {
                    (i / count) as u64 * (1 << 32) + rank * count as u64 + (i % count) as u64
                };
                assert!(recv.iter().enumerate().all(|(i, &x)| x == wanted(i)), "{count}, {ahead}");
                comm.all_gather(&send[..count], &mut recv)?;
                let wanted = |i: usize| (i / count) as u64 * (1 << 32) + (i % count) as u64;
                assert!(recv.iter().enumerate().all(|(i, &x)| x == wanted(i)), "{count}, {ahead}");
            }
            Ok(())
        });
        all.unwrap();
    }
    let too_many = Threads::new(2).settings(Settings::default().open_ahead(8)).run(|_| Ok(()));
    assert!(too_many.unwrap_err().to_string().contains("0 to 7"));
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

/// Longer than any patience of the relay's without work, and than the silence that its monitor keeps from being one.
#[test]
fn a_relay_that_has_left_works_on_as_long_as_it_is_needed() {
    let (world, settings) = world(4, 2);
    let settings = settings.timeout(Duration::from_millis(1600)).silence(SILENCE);
    let all = world.settings(settings).run(|mut comm| {
        for i in 0..4u64 {
            let mut value = [0; 1000];
            match comm.rank() {
                0 => comm.send(&[i; 1000], 3)?,
                3 => comm.recv(&mut value, 0)?,
                _ => break, // Leaves at once.
            }
            assert!(comm.rank() == 0 || value == [i; 1000]);
            thread::sleep(Duration::from_millis(600));
        }
        Ok(())
    });
    all.unwrap();
}

#[test]
fn who_left_without_sending_is_to_blame_and_not_the_relay_that_left_too() {
    let (world, settings) = world(4, 2);
    let all = world.settings(settings).run_each(|mut comm| match comm.rank() {
        3 => comm.recv(&mut [0u8; 1000], 0),
        0 => Ok(()),
        _ => {
            thread::sleep(Duration::from_millis(300));
            Ok(())
        }
    });
    let error = all[3].as_ref().expect_err("rank 0 sends nothing");
    let (failure, text) = (error.failure().unwrap(), error.report());
    assert_eq!((failure.culprit, failure.relay_of), (Some(0), None), "{text}");
    assert_eq!(error.code().to_string(), "CT-066", "{text}");
    assert!(text.contains("rank 0 sends comes by way of rank 1, the relay of rail 1"), "{text}");
}

const SILENCE: Duration = Duration::from_millis(500);

/// A rank as a process of its own, on the first node or the second.
struct Process {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(rank: u32, id: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "rails::a_rank_of_a_world_of_processes",
            "--ignored",
            "--nocapture",
        ]);
        command.env("CROSSTIE_ID", id).env("CROSSTIE_RANK", rank.to_string());
        command.env("CROSSTIE_SIZE", "4").env("CROSSTIE_NODE", format!("{id}-{}", rank / 2));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, orders, lines: BufReader::new(said).lines() }
    }

    fn goes_on(&mut self) {
        self.orders.write_all(b"go on\n").unwrap();
    }

    /// The next thing that it says.
    fn says(&mut self) -> Option<String> {
        let says =
            |line: Result<String, _>| line.ok()?.strip_prefix("rank says: ").map(str::to_owned);
        self.lines.by_ref().find_map(says)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the processes are: 1 and 2 leave at once, 0 sends to 3 by way of 1, and 3 to 0 by way of 2, twice.
#[test]
#[ignore = "a part of other tests, which start it"]
fn a_rank_of_a_world_of_processes() {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(30));
        std::process::abort();
    });
    let settings = Settings::default().transport(Transport::Auto).pxn(Pxn::On).silence(SILENCE);
    let said = match settings.connect().and_then(send_or_receive) {
        Ok(()) => "left".to_owned(),
        Err(Error::Failed(failure)) => {
            let (relay_of, left_after) = (failure.relay_of, failure.left_after);
            let culprit = failure.culprit;
            let code = Error::Failed(failure).code();
            format!("{code} {culprit:?} relay of {relay_of:?} left after {left_after:?}")
        }
        Err(error) => error.report(),
    };
    println!("\nrank says: {said}");
}

fn send_or_receive(mut comm: Communicator) -> Result<(), Error> {
    let mut value = [0u8; 1000];
    for _ in 0..2 {
        match comm.rank() {
            0 => {
                std::io::stdin().read_line(&mut String::new()).unwrap();
                comm.send(&[7u8; 1000], 3)?;
                comm.recv(&mut value, 3)?;
            }
            3 => {
                comm.recv(&mut value, 0)?;
                comm.send(&[7u8; 1000], 0)?;
            }
            _ => break,
        }
        println!("\nrank says: done");
    }
    comm.leave()
}

/// The process of rank 1 gets the signal when its program has left and the first message has come by it.
fn relay_that_has_left(signal: Option<Signal>) -> Vec<Option<String>> {
    let (_meeting, id) = Meeting::open().unwrap();
    let mut ranks: Vec<Process> =
        (0..4).map(|rank| Process::start(rank, &id.to_string())).collect();
    for relay in [1, 2] {
        assert_eq!(ranks[relay].says().as_deref(), Some("left"));
    }
    ranks[0].goes_on();
    for end in [0, 3] {
        assert_eq!(ranks[end].says().as_deref(), Some("done"));
    }
    let began = Instant::now();
    if let Some(signal) = signal {
        kill_process(Pid::from_child(&ranks[1].child), signal).unwrap();
    } else {
        ranks[0].goes_on();
    }
    // Rank 3 waits; rank 0 learns of it in its next call.
    let mut said = vec![ranks[3].says()];
    if signal.is_some() {
        ranks[0].goes_on();
    }
    said.push(ranks[0].says());
    // The other relay has nobody to wait for any more: its process ends.
    assert_eq!(ranks[2].says(), None);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    said
}

#[test]
fn a_relay_that_has_left_and_dies_is_named_as_any_that_dies() {
    let said = relay_that_has_left(Some(Signal::KILL));
    let named = "CT-060 Some(1) relay of Some(1) left after None";
    assert!(said.iter().all(|said| said.as_deref() == Some(named)), "{said:?}");
}

#[test]
fn a_relay_that_has_left_and_is_stopped_is_named_as_any_that_is_silent() {
    let said = relay_that_has_left(Some(Signal::STOP));
    let named = "CT-061 Some(1) relay of Some(1) left after None";
    assert!(said.iter().all(|said| said.as_deref() == Some(named)), "{said:?}");
}

#[test]
fn relays_that_have_left_end_with_their_last_duty() {
    let said = relay_that_has_left(None);
    assert!(said.iter().all(|said| said.as_deref() == Some("done")), "{said:?}");
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

/// Rank 1, which relays what rank 0 sends to rank 3, has been idle, makes one call, and is idle again: its
/// background thread waited at the bell all the while, and peers ring nobody who has just left.
#[test]
fn a_call_amid_an_idle_time_does_not_make_a_relay_deaf() {
    let (world, settings) = world(4, 2);
    let all = world.settings(settings).run(|mut comm| {
        let idle = Duration::from_millis(30);
        let (mine, mut got) = ([comm.rank()], [0u32]);
        let began = Instant::now();
        match comm.rank() {
            0 => {
                comm.recv(&mut got, 1)?;
                thread::sleep(idle);
                comm.send(&mine, 3)?;
            }
            1 => {
                thread::sleep(idle);
                comm.send(&mine, 0)?;
                // The bell's own limit is a second.
                thread::sleep(Duration::from_millis(900));
            }
            3 => {
                comm.recv(&mut got, 0)?;
                let took = began.elapsed();
                assert!(took < Duration::from_millis(600), "{took:?}: the relay slept");
            }
            _ => {}
        }
        comm.barrier()
    });
    all.unwrap();
}

/// Of 7 ranks on each of two nodes, each exchanges with all 7 of the other, beside an eighth that takes part
/// in it or, having posted a receive, sleeps: the median call of the slowest rank.
fn median_beside(sleeper: bool) -> Duration {
    const CALLS: usize = 60;
    let (world, settings) = world(16, 2);
    let all = world.settings(settings).run(move |mut comm| {
        let rank = comm.rank();
        let (node, local) = (rank / 8, rank % 8);
        comm.barrier()?;
        if sleeper && local == 7 {
            let (mine, mut theirs) = ([rank], [0u32]);
            comm.scope(|s| {
                let posted = (node == 0).then(|| s.recv(&mut theirs, rank + 8)).transpose()?;
                thread::sleep(Duration::from_millis(100));
                match posted {
                    Some(received) => received.wait().map(drop),
                    None => s.send(&mine, rank - 8)?.wait().map(drop),
                }
            })?;
            return Ok(Duration::ZERO);
        }
        let peers = 8 * (1 - node)..8 * (1 - node) + if sleeper { 7 } else { 8 };
        let (mine, mut theirs) = ([rank as u64; 128], vec![[0u64; 128]; peers.len()]);
        let mut calls = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let called = Instant::now();
            comm.group(|g| {
                peers.clone().for_each(|peer| g.send(&mine, peer));
                peers.clone().zip(&mut theirs).for_each(|(peer, place)| g.recv(place, peer));
            })?;
            calls.push(called.elapsed());
        }
        assert!(peers.zip(theirs).all(|(peer, got)| got == [u64::from(peer); 128]));
        calls.sort_unstable();
        Ok(calls[CALLS / 2])
    });
    all.unwrap().into_iter().max().unwrap_or_default()
}

/// Messages wait for a sleeper 20 µs at most; here 5 ms are allowed, for machines that have other work. Waiting
/// for it to wake would be 100.
#[test]
fn a_rank_that_posted_and_sleeps_does_not_hold_its_neighbours_messages_back() {
    let (awake, beside) = (median_beside(false), median_beside(true));
    println!("median call of 8 ranks: {awake:.1?}; of 7 beside a sleeper: {beside:.1?}");
    assert!(
        beside < awake + Duration::from_millis(5),
        "{beside:?} beside a sleeper, else {awake:?}"
    );
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

/// The median time of a group of messages to the other node, each round of which follows a barrier of another
/// communicator: who relays mostly waits in that one.
fn median_beside_barriers() -> Duration {
    const ROUNDS: usize = 300;
    let (world, settings) = world(4, 2);
    let all = world.settings(settings).run(|mut world| {
        let mut split = || world.split(Some(0), 0).map(|part| part.expect("a color was given"));
        let (mut messages, mut barriers) = (split()?, split()?);
        let rank = messages.rank();
        let (mine, mut theirs) = ([rank; 16], [[0u32; 16]; 2]);
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            barriers.barrier()?;
            let called = Instant::now();
            messages.group(|g| match rank {
                0 | 1 => (2..4).for_each(|peer| g.send(&mine, peer)),
                _ => (0..2).zip(&mut theirs).for_each(|(peer, place)| g.recv(place, peer)),
            })?;
            rounds.push(called.elapsed());
        }
        rounds.sort_unstable();
        Ok(rounds[ROUNDS / 2])
    });
    all.unwrap().into_iter().max().unwrap_or_default()
}

/// It looks for their work seldom while there is none, which is every 2 ms, and soon again where there was some.
#[test]
fn a_relay_that_is_busy_with_another_communicator_looks_soon_again_where_there_was_work() {
    // Beside other work a world may be slow for no fault of relays; were they late, each would be, by 2 ms.
    let mut medians = Vec::new();
    let soon = (0..20).any(|_| {
        medians.push(median_beside_barriers());
        medians.last().is_some_and(|median| *median < Duration::from_millis(1))
    });
    println!("medians of worlds: {medians:.1?}");
    assert!(soon, "{medians:?}");
}
