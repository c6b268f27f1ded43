//! Times against what the links of a node have to carry: by hand, and as a plan's messages load them.

use core::num::NonZero;
use std::collections::BTreeMap;

use crosstie_ir::{Collective, Plan, Rank};
use crosstie_planner::cost::{Shape, Work, predict};
use crosstie_planner::explain::{Scheme, Way};
use crosstie_planner::search::{Node, device};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};
use crosstie_topo::{Hop, PathTree, Topology, VertexId};
use proptest::prelude::*;

const BLOCK: u64 = 256 << 20;

fn machine(name: &str) -> Topology {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    let text = std::fs::read_to_string(folder.join(name)).expect("a file");
    Topology::read(&text).expect("a topology")
}

fn chosen(name: &str, nodes: usize, operation: Collective) -> (Algorithm, u64) {
    let machine = machine(name);
    let scheme = Scheme::of(&[Node::whole(&machine)], &vec![0; nodes], true).expect("a plan");
    let choice = scheme.counts.at(operation, BLOCK).choice;
    (choice.algorithm, choice.time_ns)
}

#[test]
fn what_crosses_processors_shares_the_link_between_them() {
    // 4 GPUs send a block to each of 4 over 10 GB/s, besides what the latency takes.
    let bytes_ns = 16 * BLOCK / 10;
    let (_, alone) = chosen("pcie-8gpu.xml", 1, Collective::AllToAll);
    assert!((bytes_ns..bytes_ns + 1_000_000).contains(&alone), "{alone}");
    let (_, two) = chosen("pcie-8gpu.xml", 2, Collective::AllToAll);
    assert!(two >= bytes_ns, "{two}");
    let (algorithm, ring) = chosen("pcie-8gpu.xml", 1, Collective::AllReduce);
    assert_eq!(algorithm, Algorithm::Ring);
    assert!(ring < 2 * 16 * (BLOCK / 8) / 10, "faster than direct: {ring}");
}

#[test]
fn pairs_that_nvlink_joins_by_another_gpu_load_its_links() {
    // Each GPU sends 7 blocks and passes on 3, over 6 links of 20 GB/s.
    let (_, all_to_all) = chosen("dgx1-v100.xml", 1, Collective::AllToAll);
    assert!(all_to_all >= 10 * BLOCK / 120, "{all_to_all}");
    let (algorithm, _) = chosen("dgx1-v100.xml", 1, Collective::AllReduce);
    assert_eq!(algorithm, Algorithm::Ring);
}

#[test]
fn a_switch_leaves_each_gpu_its_own_links() {
    let bytes_ns = 7 * BLOCK * 10 / 3_708;
    let (_, all_to_all) = chosen("dgx-h100.xml", 1, Collective::AllToAll);
    assert!((bytes_ns..bytes_ns + 100_000).contains(&all_to_all), "{all_to_all}");
}

const MACHINES: [&str; 6] = [
    "pcie-8gpu.xml",
    "dgx1-v100.xml",
    "dgx-a100.xml",
    "hgx-h100-4nic.xml",
    "dgx2-v100.xml",
    "aws-p5.xml",
];

/// What a plan puts on each link of nodes of one kind, by the paths of the topology and the pairs' ways to the network.
struct Watched<'a> {
    scheme: &'a Scheme<'a>,
    /// By local rank: the paths from it.
    trees: Vec<PathTree>,
    /// By port: the same.
    from_ports: BTreeMap<VertexId, PathTree>,
    /// By node and link: chunks.
    loads: BTreeMap<(u32, VertexId, VertexId), (u64, u64)>,
}

impl<'a> Watched<'a> {
    fn new(scheme: &'a Scheme<'a>) -> Self {
        let Node { topology, members, .. } = &scheme.node;
        let joins = |gpu| members.contains(&gpu);
        let tree = |&from: &VertexId| topology.paths_joined_by(from, joins);
        let ports = topology.ports().iter();
        Self {
            scheme,
            trees: members.iter().map(tree).collect(),
            from_ports: ports.map(|port| (*port, tree(port))).collect(),
            loads: BTreeMap::new(),
        }
    }

    fn load(&mut self, node: u32, hops: impl IntoIterator<Item = Hop>) {
        for Hop { from, to, bandwidth, .. } in hops {
            let mb_s = bandwidth.as_bytes_per_s() / 1_000_000;
            self.loads.entry((node, from, to)).or_insert((0, mb_s)).0 += 1;
        }
    }

    fn port(&self, nic: Option<u32>) -> VertexId {
        let topology = self.scheme.node.topology;
        let is = |port: &&VertexId| device(topology, **port) == nic;
        *topology.ports().iter().find(is).expect("a NIC")
    }

    fn send(&mut self, from: Rank, to: Rank) {
        let (scheme, m) = (self.scheme, self.trees.len() as u32);
        let members = &scheme.node.members;
        let [(here, src), (there, dst)] = [from, to].map(|rank| (rank.0 / m, rank.0 % m));
        let seat = |local: u32| members[local as usize];
        let hop = |from: u32, to: u32| self.trees[from as usize].hops(seat(to));
        if here == there {
            return self.load(here, hop(src, dst));
        }
        // The ways are those of the first of several channels.
        if scheme.in_turn > 1 {
            return;
        }
        let [gpu, remote] = [src, dst].map(|local| device(scheme.node.topology, seat(local)));
        let is = |way: &&Way| (Some(way.gpu), Some(way.remote_gpu)) == (gpu, remote);
        let way = *scheme.routes.iter().find(is).expect("a way");
        let sender = way.relay.and_then(|relay| scheme.local_rank(0, relay));
        if let Some(relay) = sender {
            self.load(here, hop(src, relay));
        }
        let (out, back) = (self.port(way.nic), self.port(way.remote_nic));
        self.load(here, self.trees[sender.unwrap_or(src) as usize].hops(out));
        self.load(there, self.from_ports[&back].hops(seat(dst)));
    }

    /// How long the fullest link takes, in ns, where a chunk has so many bytes.
    fn least_ns(mut self, plan: &Plan, chunk: u64) -> u64 {
        for send in
            plan.blocks.iter().flat_map(|block| &block.instrs).filter_map(|it| it.send_port())
        {
            let connection = &plan.connections[send.0 as usize];
            self.send(connection.src, connection.dst);
        }
        let ns = |&(chunks, mb_s): &(u64, u64)| chunks * chunk * 1000 / mb_s.max(1);
        self.loads.values().map(ns).max().unwrap_or(0)
    }
}

/// Whole buffers that take less than the fullest link needs, or, where none but the links of a node is in the way, much
/// more.
fn misfits(scheme: &Scheme<'_>, nodes: u32) -> Vec<String> {
    let m = scheme.node.members.len() as u32;
    let world = Nodes::new((0..nodes * m).map(|rank| rank / m).collect()).expect("ranks");
    let shape = Shape { nodes, ranks_per_node: m };
    // Rings and trees are those that were searched; canonical sums are an estimate.
    let counted = [Algorithm::Direct, Algorithm::Flat, Algorithm::Hierarchical, Algorithm::Pat];
    let all = Collective::ALL.into_iter().flat_map(|it| counted.map(|algorithm| (it, algorithm)));
    let all = all.filter(|(collective, algorithm)| {
        *collective != Collective::Barrier && algorithm.suits(*collective, &world)
    });
    let mut misfits = Vec::new();
    for (collective, algorithm) in all {
        let (nodes, channels) = (&world, NonZero::<u16>::MIN);
        let request = PlanRequest { collective, algorithm, nodes, channels, in_place: false };
        let least = Watched::new(scheme).least_ns(&plan_world(&request), BLOCK);
        let work = Work::of(collective, algorithm, shape);
        let time = |chunk| predict(&work, scheme.counts.links(), chunk * work.parts).time_ns;
        let (found, latency) = (time(BLOCK), time(1));
        // Times are those of the worst root, and of the worse direction over trees.
        let is_exact = nodes.count() == 1 && collective.root().is_none();
        let most =
            if is_exact && algorithm != Algorithm::Pat { least + least / 20 } else { u64::MAX };
        if found < least || found - latency > most {
            let (collective, algorithm) = (collective.name(), algorithm.name());
            misfits.push(format!("{collective} by {algorithm} on {shape:?}: {found} ns, {latency} of them latency; at least {least}"));
        }
    }
    misfits
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn times_are_those_of_the_fullest_link(
        name in prop::sample::select(MACHINES.as_slice()),
        nodes in 1..=3_u32,
        left_out in any::<u16>(),
        pxn in any::<bool>(),
    ) {
        let machine = machine(name);
        let gpus: Vec<u32> = (0..16).filter(|gpu| left_out >> gpu & 1 == 0).collect();
        let node = Node::whole(&machine).with_gpus(&gpus);
        prop_assume!(node.members.len() > 1);
        // GPUs that nothing joins have no plan.
        let Ok(scheme) = Scheme::of(&[node], &vec![0; nodes as usize], pxn) else { return Ok(()) };
        let misfits = misfits(&scheme, nodes);
        prop_assert!(misfits.is_empty(), "{name}, {gpus:?}:\n{}", misfits.join("\n"));
    }
}
