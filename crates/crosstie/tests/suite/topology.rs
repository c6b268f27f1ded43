//! Worlds whose nodes are machines that were captured elsewhere: what all ranks know of them is one value, and puts ranks
//! on the rails of their NICs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crosstie::{
    Communicator, Detect, Error, InputsFingerprint, Meeting, NoPlan, Pxn, ReduceOp, Settings,
    TopologySource, Transport,
};
use crosstie_probe::Captured;

/// A captured machine's files, which go when the test ends.
struct Files(PathBuf);

impl Files {
    /// Of `crates/probe/tests/trees`, its text changed.
    fn of(name: &str, change: impl FnOnce(String) -> String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probe/tests/trees");
        let text = fs::read_to_string(trees.join(format!("{name}.tree"))).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = format!("crosstie-topology-{}-{number}", std::process::id());
        // Thousands of small files: memory takes them sooner than a disk.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
        let root = place.join(root);
        change(text).parse::<Captured>().unwrap().write_below(&root).unwrap();
        Self(root)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a rank knows of the world's machines.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    topology: Option<String>,
    cluster: Option<String>,
    kinds: usize,
    inputs: InputsFingerprint,
    rails: (u32, &'static str),
    /// The kinds of nodes in the plan, and its fingerprint.
    plan: Result<(usize, InputsFingerprint), NoPlan>,
}

impl Known {
    fn by(comm: &Communicator) -> Self {
        let topology = comm.topology();
        let cluster = topology.map(crosstie::WorldTopology::cluster);
        Self {
            topology: topology.map(ToString::to_string),
            cluster: cluster.map(|cluster| cluster.fingerprint().to_string()),
            kinds: cluster.map_or(0, |cluster| cluster.kinds().len()),
            inputs: comm.inputs(),
            rails: (comm.rails(), comm.rails_origin()),
            plan: comm.plan().map(|plan| (plan.kinds.len(), plan.fingerprint)),
        }
    }
}

/// What each rank of a world knows, and the rail that it is on; rank `r` is on node `nodes[r]`, which is the machine of
/// `machines[nodes[r]]`.
fn world(nodes: &[usize], machines: &[&Files]) -> Vec<(Known, u32)> {
    let (_meeting, id) = Meeting::open().unwrap();
    let join = |rank: usize| {
        let node = nodes[rank];
        let settings = Settings::default()
            .rank(rank as u32)
            .size(nodes.len() as u32)
            .id(id.clone())
            .node(format!("node {node}"))
            .transport(Transport::Tcp)
            .detect(Detect::Captured(machines[node].0.clone()));
        let mut comm = settings.connect()?;
        let mut sum = [comm.rank()];
        comm.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
        assert_eq!(sum[0] as usize, nodes.len() * (nodes.len() - 1) / 2);
        let known = (Known::by(&comm), comm.metrics().nic.rail);
        // A part of it keeps its rails, and knows the same machines.
        let half = comm.split(Some(comm.rank() % 2), 0)?.expect("a color");
        if comm.rails_origin() == "by the nodes' NICs" {
            assert_eq!(half.metrics().nic.rail, known.1);
        }
        comm.leave()?;
        Ok(known)
    };
    let ranks: Vec<Result<_, Error>> = thread::scope(|scope| {
        let ranks: Vec<_> = (0..nodes.len()).map(|rank| scope.spawn(move || join(rank))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    ranks.into_iter().map(Result::unwrap).collect()
}

/// The bytes that each rank sends across rails in an all_to_all with relays.
fn crossing(nodes: &[usize], machines: &[&Files]) -> Vec<u64> {
    let (_meeting, id) = Meeting::open().unwrap();
    let join = |rank: usize| -> Result<u64, Error> {
        let settings = Settings::default().rank(rank as u32).size(nodes.len() as u32);
        let settings = settings.id(id.clone()).node(format!("node {}", nodes[rank]));
        let settings = settings.transport(Transport::Auto).pxn(Pxn::On);
        let captured = Detect::Captured(machines[nodes[rank]].0.clone());
        let mut comm = settings.detect(captured).connect()?;
        let mut from_all = vec![0; nodes.len()];
        comm.all_to_all(&vec![rank as u64; nodes.len()], &mut from_all)?;
        assert!(from_all.iter().copied().eq(0..nodes.len() as u64));
        Ok(comm.metrics().nic.crossing_bytes)
    };
    thread::scope(|scope| {
        let ranks: Vec<_> = (0..nodes.len()).map(|rank| scope.spawn(move || join(rank))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap().unwrap()).collect()
    })
}

#[test]
fn two_unlike_nodes_are_one_cluster_to_all_ranks() {
    let dgx = Files::of("dgx-a100", |text| text);
    let laptop = Files::of("laptop", |text| text);
    let known = world(&[0, 1, 0, 1], &[&dgx, &laptop]);
    assert!(known.iter().all(|(it, _)| *it == known[0].0), "{known:#?}");
    let (first, _) = &known[0];
    assert_eq!(first.kinds, 2);
    let words = "detected: 2 machines of 2 kinds (8 GPUs, 10 NICs in the first)";
    assert_eq!(first.topology.as_deref(), Some(words));
}

#[test]
fn like_nodes_are_one_kind_whatever_their_cards_are_called() {
    let [first, second] = [
        Files::of("dgx-a100", |text| text),
        // Another GUID on every card, and other names of interfaces.
        Files::of("dgx-a100", |text| {
            text.replace("b859:9f03:", "b859:9f77:").replace("enp", "ens")
        }),
    ];
    let known = world(&[0, 0, 1, 1], &[&first, &second]);
    assert!(known.iter().all(|(it, _)| *it == known[0].0), "{known:#?}");
    let (it, _) = &known[0];
    assert_eq!(it.topology.as_deref(), Some("detected: 2 like machines (8 GPUs, 10 NICs each)"));
    assert_eq!(it.kinds, 1);
    // In the other order it is the same cluster.
    let again = world(&[0, 0, 1, 1], &[&second, &first]);
    assert_eq!((&again[0].0.cluster, again[0].0.inputs), (&it.cluster, it.inputs));
}

#[test]
fn ranks_are_on_the_rails_of_their_nodes_nics_of_which_one_may_be_missing() {
    let whole = Files::of("dgx-a100", |text| text);
    let lacks = Files::of("dgx-a100", |text| {
        let at = text.find("/infiniband/mlx5_1/ports/1\n").expect("it has such a card");
        let (before, after) = text.split_at(at);
        before.to_owned() + &after.replacen("state = 4: ACTIVE", "state = 1: DOWN", 1)
    });
    let known = world(&[0, 0, 0, 1, 1, 1], &[&whole, &lacks]);
    let (first, _) = &known[0];
    assert!(known.iter().all(|(it, _)| it == first), "{known:#?}");
    assert_eq!(first.rails, (8, "by the nodes' NICs"), "the two to the storage are on none");
    let rails: Vec<u32> = known.iter().map(|(_, rail)| *rail).collect();
    assert_eq!(rails, [0, 1, 2, 0, 2, 3], "of the second node rail 1 has no NIC");
    assert_eq!(first.plan.map(|(kinds, _)| kinds), Ok(2));
    // With relays the first node crosses no rail, for it has every NIC; the second crosses to rail 1.
    let crossing = crossing(&[0, 0, 0, 1, 1, 1], &[&whole, &lacks]);
    assert_eq!(crossing[..3], [0; 3]);
    assert!(crossing[3..].iter().all(|&bytes| bytes > 0), "{crossing:?}");
}

#[test]
fn machines_with_one_nic_change_nothing() {
    let flat = Files::of("vm-flat", |text| text);
    let known = world(&[0, 0, 1, 1], &[&flat, &flat]);
    assert_eq!(known[0].0.rails, (2, "one for each rank of a node"));
    assert_eq!(known.iter().map(|(_, rail)| *rail).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[test]
fn a_file_is_taken_instead_of_what_is_found_and_must_be_everyones() {
    let file = |name: &str| format!("{}/../../topology/{name}", env!("CARGO_MANIFEST_DIR"));
    let world = |files: [Option<&str>; 2]| -> Vec<Result<Option<TopologySource>, Error>> {
        let (_meeting, id) = Meeting::open().unwrap();
        let join = |rank: usize| {
            let settings = Settings::default().rank(rank as u32).size(2).id(id.clone());
            let settings = settings.node(format!("node {rank}")).transport(Transport::Tcp);
            let settings = match files[rank] {
                Some(name) => settings.topo_file(file(name)),
                None => settings,
            };
            let comm = settings.connect()?;
            let source = comm.topology().map(|topology| topology.source().clone());
            comm.leave()?;
            Ok(source)
        };
        thread::scope(|scope| {
            let ranks: Vec<_> = (0..2).map(|rank| scope.spawn(move || join(rank))).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    };
    let dgx = "dgx-h100.xml";
    for source in world([Some(dgx); 2]) {
        assert_eq!(source.unwrap(), Some(TopologySource::File(file(dgx).into())));
    }
    for error in world([Some(dgx), None]) {
        let text = error.unwrap_err().report();
        assert!(text.contains("dgx-h100.xml") && text.contains("topology = unset"), "{text}");
        assert!(text.contains("rank 0") && text.contains("rank 1"), "{text}");
    }
    for error in world([Some(dgx), Some("dgx-a100.xml")]) {
        let text = error.unwrap_err().report();
        assert!(text.contains("dgx-h100.xml") && text.contains("dgx-a100.xml"), "{text}");
    }
    // A rack of 18 hosts, of which two nodes are two.
    for source in world([Some("nvl72.xml"); 2]) {
        assert_eq!(source.unwrap(), Some(TopologySource::File(file("nvl72.xml").into())));
    }
}

#[test]
fn nodes_that_are_no_part_of_a_rack_are_refused_alike() {
    let file = format!("{}/../../topology/nvl72.xml", env!("CARGO_MANIFEST_DIR"));
    let settings = Settings::default().topo_file(file);
    let refused = crosstie::Threads::new(4).nodes(4).settings(settings).run_each(|_| Ok(()));
    for error in refused {
        let text = error.unwrap_err().report();
        assert!(text.contains("18 hosts, and the ranks are on 4 nodes"), "{text}");
    }
}
