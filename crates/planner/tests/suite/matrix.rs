//! Every plan that worlds of the described machines ask for is proved: each file of `topology/`, on one to
//! four nodes, with each algorithm that suits, out of place and in place.
//!
//! A plan depends on which ranks share a node, and on nothing else of a machine, but for rings in the orders
//! that the search finds. So equal requests of several files are proved once.

use core::cmp::Reverse;
use core::num::NonZero;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crosstie_ir::{Collective, ConnId, Connection, Options, Plan, Rank, open_early, verify};
use crosstie_planner::search::{Node, Ring, Stretch, rings};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};
use crosstie_topo::Topology;

const MOST_NODES: u32 = 4;
/// Slots that connections have.
const SLOTS: u32 = 8;
/// Receives that may be opened ahead.
const AHEAD: usize = 7;
/// What is proved in `cargo test`: larger worlds take minutes in debug builds.
const QUICK_RANKS: u32 = 32;

/// What is proved beyond that in release builds: up to four racks of 72, all that there are.
const LARGE_RANKS: u32 = 288;
/// Orders of rings that are proved of a larger world.
const MOST_ORDERS: usize = 2;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology");
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "xml")).collect()
}

fn machine(path: &Path) -> Topology {
    Topology::read_bytes(&std::fs::read(path).expect("a file")).expect("a topology")
}

/// A world: ranks on each node, nodes, and the orders of rings by channel, where a search found them.
type World = (u32, u32, Vec<Vec<Rank>>);

/// By world how many files have it.
fn worlds(beyond: u32, most_ranks: u32) -> BTreeMap<World, u32> {
    let mut worlds = BTreeMap::new();
    for path in files() {
        let machine = machine(&path);
        let each = Node::whole(&machine).members.len() as u32;
        for nodes in
            (1..=MOST_NODES).filter(|nodes| (beyond + 1..=most_ranks).contains(&(nodes * each)))
        {
            for orders in [Vec::new(), orders(&machine, nodes, each)] {
                *worlds.entry((each, nodes, orders)).or_insert(0) += 1;
            }
        }
    }
    worlds
}

/// The rings that the search finds, as orders of ranks that differ.
fn orders(machine: &Topology, nodes: u32, each: u32) -> Vec<Vec<Rank>> {
    let found = rings(&[Node::whole(machine)], &vec![0; nodes as usize]).expect("rings");
    let order = |ring: &Ring| {
        let ranks = |at: &Stretch| {
            let node = at.node;
            at.local_ranks.clone().into_iter().map(move |local| Rank(node * each + local))
        };
        ring.nodes.iter().flat_map(ranks).collect()
    };
    let mut orders: Vec<Vec<Rank>> = Vec::new();
    for order in found.rings.iter().map(order) {
        if !orders.contains(&order) {
            orders.push(order);
        }
    }
    orders.truncate(if nodes * each > QUICK_RANKS { MOST_ORDERS } else { orders.len() });
    orders
}

/// Each collective, rooted ones around the first and the last rank, with each algorithm that suits.
fn forms(nodes: &Nodes) -> Vec<(Collective, Algorithm)> {
    let roots = BTreeSet::from([Rank(0), Rank(nodes.ranks() - 1)]);
    let rooted = |collective: Collective| {
        let count = if collective.root().is_some() { roots.len() } else { 1 };
        roots.iter().take(count).map(move |&root| collective.with_root(root)).collect::<Vec<_>>()
    };
    let suited = |collective: Collective| {
        let all = Algorithm::of(collective).iter();
        let suited = all.filter(|algorithm| algorithm.suits(collective, nodes));
        suited.map(|&algorithm| (collective, algorithm)).collect::<Vec<_>>()
    };
    Collective::ALL.into_iter().flat_map(rooted).flat_map(suited).collect()
}

/// Proves a form's plans, out of place and in place, under the strongest classes: what is in memory that both reach is
/// lent, and over the network receives are opened as early as may be.
fn prove(request: &PlanRequest<'_>) -> Result<(), crosstie_ir::Reject> {
    let (nodes, options) = (request.nodes, Options::copy(SLOTS).lending());
    let plan = |in_place| plan_world(&PlanRequest { in_place, ..*request });
    let apart = plan(false);
    let report = verify(&apart, &options)?;
    let within = plan(true);
    // One proof is of both, where the plans are one.
    if apart != within || !report.in_place_safe {
        verify(&within, &options.in_place())?;
    }
    if nodes.count() > 1 {
        early(&apart, nodes, &options)?;
        early(&within, nodes, &options.in_place())?;
    }
    Ok(())
}

/// Proves a plan whose receives over the network are opened early.
fn early(plan: &Plan, nodes: &Nodes, options: &Options) -> Result<(), crosstie_ir::Reject> {
    let apart = |ConnId(conn): ConnId| {
        let Connection { src, dst, .. } = plan.connections[conn as usize];
        nodes.node_of(src) != nodes.node_of(dst)
    };
    verify(&open_early(plan, AHEAD, options.in_place, &apart), options).map(drop)
}

/// Plans to prove: the world's nodes, how many channels, the form, and how many files ask for them.
struct Case {
    nodes: Arc<Nodes>,
    channels: NonZero<u16>,
    form: (Collective, Algorithm),
    files: u32,
}

impl Case {
    /// Those of all worlds of so many ranks, the largest first: what is left for last is short.
    fn all(beyond: u32, most_ranks: u32) -> Vec<Self> {
        let mut cases = Vec::new();
        for ((each, count, orders), files) in worlds(beyond, most_ranks) {
            let nodes = (0..each * count).map(|rank| rank / each).collect();
            let nodes = Nodes::new(nodes).expect("ranks");
            let nodes = Arc::new(nodes.with_rings(&orders).expect("rings pass each rank once"));
            let channels = NonZero::new(orders.len() as u16).unwrap_or(NonZero::<u16>::MIN);
            // Of the other algorithms, plans are those of the world without rings of its own.
            let suits =
                |form: &(Collective, Algorithm)| orders.is_empty() || form.1 == Algorithm::Ring;
            for form in forms(&nodes).into_iter().filter(suits) {
                cases.push(Self { nodes: Arc::clone(&nodes), channels, form, files });
            }
        }
        cases.sort_by_key(|case| Reverse(case.nodes.ranks()));
        cases
    }

    fn prove(&self) -> Result<(), String> {
        let Self { nodes, channels, form: (collective, algorithm), .. } = self;
        let (collective, algorithm, channels) = (*collective, *algorithm, *channels);
        let request = PlanRequest { collective, algorithm, nodes, channels, in_place: false };
        let (ranks, count) = (nodes.ranks(), nodes.count());
        prove(&request).map_err(|reject| {
            format!("{ranks} ranks on {count} nodes, {collective:?}, {algorithm:?}: {reject}")
        })
    }
}

/// Proves every plan of worlds of at most so many ranks, and of more than `beyond`, by as many threads as there are
/// processors; what was proved, in words.
fn prove_all(beyond: u32, most_ranks: u32) -> Result<String, String> {
    let began = Instant::now();
    let (cases, next) = (Case::all(beyond, most_ranks), AtomicUsize::new(0));
    let prove = || -> Result<(), String> {
        let next = || cases.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(next).try_for_each(Case::prove)
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(prove)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that proves"))
    })?;
    // Each out of place and in place.
    let (asked, plans) = (2 * cases.iter().map(|case| case.files).sum::<u32>(), 2 * cases.len());
    let (files, took) = (files().len(), began.elapsed().as_secs_f64());
    Ok(format!("{files} files: {asked} cases, {plans} distinct plans proved in {took:.1} s"))
}

#[test]
fn every_plan_of_small_worlds_is_proved() {
    println!("{}", prove_all(0, QUICK_RANKS).expect("right plans"));
}

#[test]
#[ignore = "slow: worlds of up to 288 ranks"]
fn every_plan_of_large_worlds_is_proved() {
    println!("{}", prove_all(QUICK_RANKS, LARGE_RANKS).expect("right plans"));
}
