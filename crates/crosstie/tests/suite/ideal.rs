//! What calls put on the network is what they ideally put there.

use crosstie::{
    Buffers, Collective, Communicator, DataType, Error, Flush, Pxn, ReduceOp, Settings, Threads,
    Transport,
};

/// Of one rank or of all: messages, wire messages, bytes, bytes from rail to rail, and wire messages that left
/// before all that was expected was there.
type Counts = [i64; 5];

fn counted(comm: &mut Communicator) -> Result<Counts, Error> {
    // Relays have then sent on all that came before, and do not yet send what comes after. On nodes of equal
    // size this call needs none itself, so that it has sent all of its own when it returns.
    comm.all_reduce_in_place(&mut [0i64], ReduceOp::Sum)?;
    let metrics = comm.metrics();
    comm.all_reduce_in_place(&mut [0i64], ReduceOp::Sum)?;
    let tcp = metrics.transports.iter().find(|counters| counters.transport == "tcp");
    let tcp = tcp.expect("several nodes");
    let early = tcp.flushes.aged + tcp.flushes.pressed;
    let sent = [tcp.messages, tcp.wire_messages, tcp.bytes, metrics.nic.crossing_bytes, early];
    Ok(sent.map(|n| n as i64))
}

fn minus(now: Counts, before: Counts) -> Counts {
    std::array::from_fn(|i| now[i] - before[i])
}

/// What a call of `collective` puts on the network, and what it does ideally; `count` as in
/// [`Communicator::ideal`]. One call alone, for messages of several may leave together.
fn run(
    settings: Settings,
    (nodes, each): (u32, u32),
    collective: Collective,
    count: usize,
) -> (Counts, Counts, i64) {
    let world = Threads::new(nodes * each).nodes(nodes).settings(settings);
    let all = world.run(|mut comm| {
        let blocks = |all| if all { count * comm.size() as usize } else { count };
        let (sends_all, receives_all) = match collective {
            Collective::AllToAll => (true, true),
            Collective::AllGather => (false, true),
            Collective::ReduceScatter => (true, false),
            _ => (false, false),
        };
        let send = vec![1; blocks(sends_all)];
        let mut recv = vec![0; blocks(receives_all)];
        let before = counted(&mut comm)?;
        let counting = minus(counted(&mut comm)?, before);
        let before = counted(&mut comm)?;
        let buffers = Buffers::OutOfPlace { send: &send, recv: &mut recv };
        comm.call(collective, DataType::U8, Some(ReduceOp::Sum), buffers)?;
        let sent = minus(minus(counted(&mut comm)?, before), counting);
        let ideal = comm.ideal(collective, DataType::U8, count as u64);
        let of_rails: u64 = ideal.rail_bytes.iter().sum();
        assert_eq!(of_rails, ideal.bytes);
        let ideal = [ideal.messages, ideal.wire_messages, ideal.bytes, ideal.crossing_bytes, 0];
        Ok((sent, ideal.map(|n| n as i64), counting[1]))
    });
    let all = all.unwrap();
    let sum = |sum: Counts, one: &(Counts, Counts, i64)| std::array::from_fn(|i| sum[i] + one.0[i]);
    let counting = all.iter().map(|one| one.2).sum();
    (all.iter().fold([0; 5], sum), all[0].1, counting)
}

fn settings(pxn: Pxn) -> Settings {
    Settings::default().transport(Transport::Auto).pxn(pxn).flush(Flush::Full)
}

#[test]
fn every_collective_sends_as_many_messages_and_bytes_as_its_plan_says_by_any_way() {
    use Collective::{AllGather, AllReduce, AllToAll, ReduceScatter};
    for pxn in Pxn::ALL {
        for collective in [AllToAll, AllReduce, AllGather, ReduceScatter] {
            for count in [64, 300_000] {
                let (sent, ideal, counting) = run(settings(pxn), (2, 2), collective, count);
                let [messages, _, bytes, crossing, _] = ideal;
                let what = format!("{collective:?} of {count}, pxn {}", pxn.name());
                assert_eq!([sent[0], sent[2], sent[3]], [messages, bytes, crossing], "{what}");
                // What is sent to count may leave with what is counted, and was taken off alone.
                assert!(sent[1] + counting >= ideal[1], "{what}: {sent:?}, {ideal:?}");
            }
        }
    }
}

#[test]
fn messages_leave_with_as_many_others_as_can_be_where_they_wait_for_all() {
    for (shape, most, wire_messages) in
        [((2, 4), 8, 8), ((2, 4), 1, 32), ((3, 3), 8, 18), ((2, 4), 2, 16)]
    {
        let settings = settings(Pxn::On).aggregate(most);
        let (sent, ideal, _) = run(settings, shape, Collective::AllToAll, 1024);
        assert_eq!(ideal[1], wire_messages);
        // On a machine with other work a wire waits in vain for a rank that has no core.
        let [_, left, _, crossing, early] = sent;
        assert!(
            (wire_messages..=wire_messages + early).contains(&left),
            "{shape:?}, {most}: {left} and {early}"
        );
        assert_eq!(crossing, 0);
    }
}

#[test]
fn a_node_needs_one_wire_for_each_receiver_with_relays_and_one_for_each_pair_without() {
    for (pxn, wires) in [(Pxn::Off, 32), (Pxn::On, 8), (Pxn::Auto, 32)] {
        let world = Threads::new(8).nodes(2).settings(settings(pxn));
        let all = world.run(|comm| Ok((comm.metrics().nic.wires.len() as u64, comm.ideal_wires())));
        let all = all.unwrap();
        assert_eq!(all.iter().map(|(wires, _)| wires).sum::<u64>(), wires, "{}", pxn.name());
        assert!(all.iter().all(|(_, ideal)| *ideal == wires), "{}: {all:?}", pxn.name());
    }
}

/// An all_reduce over a ring crosses from node to node between two ranks, and a barrier over a tree likewise: a
/// relay would but delay such messages.
#[test]
fn messages_that_none_can_leave_with_go_by_no_relay_where_that_is_left_to_the_library() {
    let relayed = |settings: Settings| {
        let all = Threads::new(6).nodes(2).settings(settings).run(|mut comm| {
            comm.barrier()?;
            comm.all_reduce_in_place(&mut [1i64; 64], ReduceOp::Sum)?;
            comm.barrier()?;
            Ok(comm.counters().iter().map(|counters| counters.carried).sum::<u64>())
        });
        all.unwrap().iter().sum::<u64>()
    };
    let ring = |pxn| settings(pxn).algorithm(crosstie::Algorithm::Ring);
    assert_eq!(relayed(ring(Pxn::Auto)), 0);
    assert!(relayed(ring(Pxn::On)) > 0);
    assert!(
        relayed(ring(Pxn::Auto).relay_below(u64::MAX)) > 0,
        "as where rails are joined by little"
    );
}
