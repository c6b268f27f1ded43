//! Worlds that play machines of files: what they run is what the planner says of these machines, for the whole world and
//! for communicators of parts of it.

use std::fs;
use std::path::PathBuf;

use crosstie::{
    Algorithm, Communicator, Error, NoPlan, Pxn, ReduceOp, Scheme, Settings, Threads, Transport,
};

fn machine(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../topology").join(file)
}

fn world(file: &str, ranks: u32, nodes: u32) -> Threads {
    let settings = Settings::default().transport(Transport::Auto).pxn(Pxn::On);
    Threads::new(ranks).nodes(nodes).settings(settings.topo_file(machine(file)))
}

/// Every kind of call, with results that are checked; the messages of the all_to_all that this rank relayed. `all` is a
/// communicator of all ranks beside, whose barriers this one's counters do not see.
fn calls(all: &mut Communicator, comm: &mut Communicator) -> Result<u64, Error> {
    let (rank, size) = (u64::from(comm.rank()), u64::from(comm.size()));
    let mut sums: Vec<u64> = (0..5000).map(|i| i + rank).collect();
    comm.all_reduce_in_place(&mut sums, ReduceOp::Sum)?;
    let ranks: u64 = (0..size).sum();
    assert!(sums.iter().zip(0..).all(|(&sum, i)| sum == size * i + ranks), "all_reduce");
    let mut gathered = vec![0; 300 * size as usize];
    comm.all_gather(&vec![rank; 300], &mut gathered)?;
    assert!(gathered.iter().zip(0..).all(|(&from, i)| from == i / 300), "all_gather");
    let (next, last) = (((rank + 1) % size) as u32, ((rank + size - 1) % size) as u32);
    let (goes, mut came) = (vec![rank; 2000], vec![0; 2000]);
    comm.group(|group| {
        group.send(&goes, next);
        group.recv(&mut came, last);
    })?;
    assert!(came.iter().all(|&from| from == u64::from(last)), "send and recv");
    let carried = |comm: &Communicator| -> u64 {
        comm.counters().iter().map(|counters| counters.carried).sum()
    };
    all.barrier()?;
    let before = carried(comm);
    all.barrier()?;
    let send: Vec<u64> = (0..size).flat_map(|to| vec![rank << 32 | to; 100]).collect();
    let mut recv = vec![0; send.len()];
    comm.all_to_all(&send, &mut recv)?;
    assert!(recv.iter().zip(0..).all(|(&got, i)| got == (i / 100) << 32 | rank), "all_to_all");
    all.barrier()?;
    Ok(carried(comm) - before)
}

/// How many pairs of ranks have a relay between them, of two nodes.
fn relayed(plan: &Scheme<'_>) -> u64 {
    let ways = plan.routes.iter().filter(|way| way.relay.is_some()).count() as u64;
    // Of two like nodes one pair stands for both.
    if plan.kinds.len() == 1 { 2 * ways } else { ways }
}

/// What a part of a world of `dgx-h100.xml` does: relays as planned, and what it sends across rails.
fn part(file: &str, sizes: (u32, u32), color: impl Fn(u32) -> Option<u32> + Sync) -> (u64, u64) {
    let (ranks, nodes) = sizes;
    let all = world(file, ranks, nodes).run(|mut all| {
        let comm = all.split(color(all.rank()), 0)?;
        let Some(mut comm) = comm else {
            (0..3).try_for_each(|_| all.barrier())?;
            return Ok(None);
        };
        let carried = calls(&mut all, &mut comm)?;
        let crossing = comm.metrics().nic.crossing_bytes;
        let plan = comm.plan().expect("a plan");
        let ring: Vec<u32> = comm.rings()[0].clone();
        Ok(Some((carried, crossing, relayed(&plan), (plan.fingerprint, ring))))
    });
    let all: Vec<_> = all.unwrap().into_iter().flatten().collect();
    assert!(all.iter().all(|it| it.3 == all[0].3), "one plan for all: {all:?}");
    let (carried, crossing) = all.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    assert_eq!(carried, all[0].2, "as many messages are relayed as there are ways with relays");
    (carried, crossing)
}

#[test]
fn every_part_of_a_world_has_relays_as_planned_and_crosses_no_rail() {
    // By node GPUs 0, 2, 4 and 6; GPUs 0 and 4; one.
    let of = |gpus: &'static [u32]| move |rank: u32| gpus.contains(&(rank % 8)).then_some(0);
    assert_eq!(part("dgx-h100.xml", (16, 2), of(&[0, 1, 2, 3, 4, 5, 6, 7])), (2 * 56, 0));
    assert_eq!(part("dgx-h100.xml", (16, 2), of(&[0, 2, 4, 6])), (2 * 12, 0));
    assert_eq!(part("dgx-h100.xml", (16, 2), of(&[0, 4])), (2 * 2, 0));
    assert_eq!(part("dgx-h100.xml", (16, 2), of(&[5])), (0, 0));
}

#[test]
fn parts_with_other_gpus_on_each_node_cross_no_rail_either() {
    // GPUs 0 and 4 of one node, 1 and 5 of the other: nobody's own NIC is on the other's rail.
    let color = |rank: u32| [0, 4, 9, 13].contains(&rank).then_some(0);
    let (_, crossing) = part("dgx-h100.xml", (16, 2), color);
    assert_eq!(crossing, 0);
    // Eight of one node and four of the other.
    let color = |rank: u32| (rank < 12).then_some(0);
    assert_eq!(part("dgx-h100.xml", (16, 2), color).1, 0);
}

#[test]
fn gpus_that_only_pcie_joins_relay_for_nobody() {
    let (carried, crossing) = part("pcie-8gpu.xml", (16, 2), |_| Some(0));
    assert_eq!(carried, 0);
    assert!(crossing > 0, "nobody can carry it to the receiver's rail");
}

#[test]
fn a_ring_goes_as_the_search_found_it() {
    for file in ["dgx1-v100.xml", "dgx-a100.xml", "cpu-4nic.xml"] {
        let ranks = if file == "cpu-4nic.xml" { 8 } else { 16 };
        let settings = Settings::default().transport(Transport::Auto).algorithm(Algorithm::Ring);
        let world = Threads::new(ranks).nodes(2).settings(settings.topo_file(machine(file)));
        let sent = world.run(|mut comm| {
            let mut sums = vec![u64::from(comm.rank()); 1000];
            comm.all_reduce_in_place(&mut sums, ReduceOp::Sum)?;
            let size = u64::from(comm.size());
            assert!(sums.iter().all(|&sum| sum == size * (size - 1) / 2));
            let plan = comm.plan().expect("a plan");
            let each = size as u32 / 2;
            let nodes = plan.rings.rings[0].nodes.iter();
            let order: Vec<u32> = nodes
                .flat_map(|way| way.local_ranks.iter().map(move |local| way.node * each + local))
                .collect();
            assert_eq!(comm.rings()[0], order);
            // What leaves the node leaves it where the ring does.
            let at = order.iter().position(|&rank| rank == comm.rank()).expect("in the ring");
            let next = order[(at + 1) % order.len()];
            Ok((next / each != comm.rank() / each, comm.metrics().nic.bytes > 0))
        });
        let sent = sent.unwrap();
        assert_eq!(sent.iter().filter(|(leaves, _)| *leaves).count(), 2);
        assert!(sent.iter().all(|(leaves, sent)| leaves == sent), "{file}: {sent:?}");
    }
}

#[test]
fn a_machine_without_a_nic_has_no_plan_and_all_ranks_say_so_alike() {
    let text = fs::read_to_string(machine("dgx-h100.xml")).unwrap();
    let left: Vec<&str> = text.lines().filter(|line| !line.contains("<net ")).collect();
    let file = std::env::temp_dir().join(format!("crosstie-no-nic-{}.xml", std::process::id()));
    fs::write(&file, left.join("\n")).unwrap();
    let settings = Settings::default().transport(Transport::Auto).pxn(Pxn::On).topo_file(&file);
    let all = Threads::new(6).nodes(2).settings(settings).run(|mut comm| {
        let mut sum = [comm.rank()];
        comm.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
        Ok((sum[0], comm.plan().err(), comm.rings(), comm.inputs()))
    });
    fs::remove_file(&file).unwrap();
    let all = all.unwrap();
    assert!(all.iter().all(|it| *it == all[0]), "{all:?}");
    assert_eq!((all[0].0, all[0].2.len()), (15, 1));
    assert!(matches!(all[0].1, Some(NoPlan::Search(_))), "{:?}", all[0].1);
    // More ranks than devices are no error either.
    let all = world("cpu-4nic.xml", 10, 2).run(|comm| Ok(comm.plan().err())).unwrap();
    assert_eq!(all, [Some(NoPlan::Shared { node: 0, ranks: 5, devices: 4 }); 10]);
}
