//! In the round order of an exchange no NIC hears from two, all rails are in use at once, none is crossed, and
//! what a node has for one receiver can leave together.

use core::num::NonZero;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crosstie_ir::{ChannelId, ChunkMap, Collective, Layout, Plan, Rank};
use crosstie_planner::search::Node;
use crosstie_planner::{
    Algorithm, Nodes, PlanRequest, Rails, Relayed, Ways, ideal, messages, plan, plan_world,
};
use crosstie_topo::{Topology, fabric::Fabric};

/// Messages that may leave as one.
const TOGETHER: u8 = 8;
const MOST_NODES: u32 = 9;
/// Worlds of more ranks bring nothing new, and take long.
const MOST_RANKS: u32 = 160;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology")
}

fn files(extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    paths.sort();
    paths
}

fn machine(path: &Path) -> Topology {
    Topology::read_bytes(&std::fs::read(path).expect("a file")).expect("a topology")
}

fn request(nodes: &Nodes) -> PlanRequest<'_> {
    let (collective, algorithm) = (Collective::AllToAll, Algorithm::Direct);
    PlanRequest { collective, algorithm, nodes, channels: NonZero::<u16>::MIN, in_place: false }
}

/// By rank, whom it sends to and receives from, in the order of posting.
fn peers(plan: &Plan) -> [Vec<Rank>; 2] {
    let instrs = || plan.blocks.iter().flat_map(|block| &block.instrs);
    let end = |conn: crosstie_ir::ConnId| plan.connections[conn.0 as usize];
    [
        instrs().filter_map(|instr| Some(end(instr.send_port()?).dst)).collect(),
        instrs().filter_map(|instr| Some(end(instr.recv_port()?).src)).collect(),
    ]
}

/// What every rank does in each round, as (sender, receiver).
fn rounds(nodes: &Nodes) -> Vec<Vec<(Rank, Rank)>> {
    let of = |rank| peers(&plan(&request(nodes), Rank(rank)));
    let all: Vec<[Vec<Rank>; 2]> = (0..nodes.ranks()).map(of).collect();
    let round = |k: usize| -> Vec<(Rank, Rank)> {
        let sent = (0..).map(Rank).zip(&all).map(|(src, [sends, _])| (src, sends[k])).collect();
        let received: BTreeSet<(Rank, Rank)> =
            (0..).map(Rank).zip(&all).map(|(dst, [_, receives])| (receives[k], dst)).collect();
        assert_eq!(received, BTreeSet::from_iter(Vec::clone(&sent)), "round {k}");
        sent
    };
    (0..nodes.ranks() as usize - 1).map(round).collect()
}

/// The round in which a message is posted, and the rank that sends it.
type Posted = (usize, Option<Rank>);

struct World<'a> {
    nodes: &'a Nodes,
    rails: &'a Rails,
}

impl World<'_> {
    fn node(&self, rank: Rank) -> u32 {
        self.nodes.node_of(rank).expect("a rank")
    }

    /// The NIC by which a rank is reached, as node and rail.
    fn nic(&self, rank: Rank) -> (u32, u32) {
        (self.node(rank), self.rails.rail_of(rank).expect("a rank"))
    }

    /// Whether all ranks of the first node have one way to each rank elsewhere, which crosses no rail.
    fn is_joined(&self) -> bool {
        let all = || (0..self.nodes.ranks()).map(Rank);
        let apart = |dst: &Rank| self.node(*dst) != self.node(Rank(0));
        all().filter(apart).all(|dst| {
            let carrier = self.rails.carrier(Rank(0), dst);
            self.rails.node_of(Rank(0)).iter().all(|&src| {
                let crossing = self.rails.crossing(src, dst, ChannelId(0));
                crossing.is_none() && self.rails.carrier(src, dst) == carrier
            })
        })
    }

    /// Checks one round; whether it goes over the network.
    fn check_round(&self, round: &[(Rank, Rank)], what: &str) -> bool {
        let mut heard: BTreeMap<(u32, u32), (u32, u32)> = BTreeMap::new();
        let apart = |(src, dst): &&(Rank, Rank)| self.node(*src) != self.node(*dst);
        for &(src, dst) in round.iter().filter(apart) {
            assert_eq!(self.rails.crossing(src, dst, ChannelId(0)), None, "{what}");
            let (node, rail) = self.nic(dst);
            let sender = (self.node(src), rail);
            let first = *heard.entry((node, rail)).or_insert(sender);
            assert_eq!(first, sender, "two NICs send to rail {rail} of node {node}: {what}");
        }
        if heard.is_empty() {
            return false;
        }
        let all: BTreeSet<(u32, u32)> =
            (0..self.nodes.ranks()).map(|rank| self.nic(Rank(rank))).collect();
        assert_eq!(heard.into_keys().collect::<BTreeSet<_>>(), all, "a rail idles: {what}");
        true
    }

    /// Checks that what a node has for one receiver goes by one carrier, in rounds that follow each other.
    fn check_together(&self, rounds: &[Vec<(Rank, Rank)>], what: &str) {
        // By node and receiver: the round of each message, and its carrier.
        let mut for_one: BTreeMap<(u32, Rank), Vec<Posted>> = BTreeMap::new();
        for (k, round) in rounds.iter().enumerate() {
            for &(src, dst) in round.iter().filter(|(a, b)| self.node(*a) != self.node(*b)) {
                let carrier = self.rails.carrier(src, dst);
                for_one.entry((self.node(src), dst)).or_default().push((k, carrier));
            }
        }
        for ((node, dst), sent) in for_one {
            let (first, carrier) = sent[0];
            for (&(k, other), place) in sent.iter().zip(0..) {
                assert_eq!((k, other), (first + place, carrier), "{node} to {dst}: {what}");
            }
        }
    }

    /// Wire messages of a call with small blocks.
    fn wire_messages(&self) -> u64 {
        const BLOCK: u64 = 256;
        let ways = Ways {
            nodes: self.nodes,
            rails: self.rails,
            relays: Relayed::Always,
            memory: true,
            most: TOGETHER,
            piece_bytes: 128 << 10,
        };
        let map = ChunkMap::new(Layout::Blocks { stride: BLOCK }, 1, BLOCK, BLOCK);
        ideal(messages(&plan_world(&request(self.nodes)), &map), &ways).wire_messages
    }
}

/// Checks an exchange among `count` nodes that are each `machine`; its rails. `None` where somebody on a node
/// is not joined to who sends on a rail, so that messages cross rails or leave apart.
fn check(machine: &Topology, count: u32, what: &str) -> Option<(Nodes, Rails)> {
    let kinds = [Node::whole(machine)];
    let each = kinds[0].members.len() as u32;
    let nodes = Nodes::new((0..count * each).map(|rank| rank / each).collect()).expect("ranks");
    let rails = Rails::of_machines(&nodes, &kinds, &vec![0; count as usize]).expect("rails");
    let world = World { nodes: &nodes, rails: &rails };
    let rounds = rounds(&nodes);
    if !world.is_joined() {
        return None;
    }
    let over_network = rounds.iter().filter(|round| world.check_round(round, what)).count() as u32;
    assert_eq!(over_network, (count - 1) * each, "{what}");
    world.check_together(&rounds, what);
    let groups = u64::from(each.div_ceil(TOGETHER.into()));
    assert_eq!(world.wire_messages(), u64::from(nodes.ranks() * (count - 1)) * groups, "{what}");
    Some((nodes, rails))
}

#[test]
fn rounds_suit_the_rails_of_every_fabric() {
    for path in files("toml") {
        let text = std::fs::read_to_string(&path).expect("a file");
        let fabric = Fabric::read(&text).expect("a fabric");
        let wiring = fabric.wiring().expect("wiring");
        let file = fabric.nodes[0].topology.as_ref().expect("a machine");
        let machine = machine(&folder().join(file));
        for count in 2..=MOST_NODES.min(fabric.nodes[0].count) {
            let what = format!("{count} nodes of {}", fabric.name);
            let (nodes, rails) = check(&machine, count, &what).expect("NVLink joins all GPUs");
            assert_eq!(rails.count(), fabric.nodes[0].ports, "{what}");
            // A node's NIC on a rail is its port of that number: cables keep to rails where there are any.
            for (rail, node) in
                (0..rails.count()).flat_map(|r| (0..nodes.count()).map(move |n| (r, n)))
            {
                let cabled = wiring.rail(node, rail);
                assert!(cabled.is_none_or(|cabled| cabled == rail), "{what}");
            }
        }
    }
}

#[test]
fn rounds_suit_the_rails_of_every_machine_whose_gpus_are_joined_shared_nics_too() {
    let mut not_joined = BTreeSet::new();
    for path in files("xml") {
        let machine = machine(&path);
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let each = Node::whole(&machine).members.len() as u32;
        for count in (2..=MOST_NODES).take_while(|count| count * each <= MOST_RANKS) {
            if check(&machine, count, &format!("{count} nodes of {name}")).is_none() {
                not_joined.insert(name.clone());
            }
        }
    }
    // A hybrid cube mesh, hosts of a rack that each have their NICs, and no NVLink at all.
    assert_eq!(not_joined.into_iter().collect::<Vec<_>>(), ["dgx1-v100", "nvl72", "pcie-8gpu"]);
}
