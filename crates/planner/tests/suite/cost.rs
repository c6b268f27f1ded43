//! The model's formulas are what plans do, its times grow with the bytes and never overflow, and tune tables say
//! what was measured, or are refused.

use core::num::NonZero;
use std::collections::BTreeMap;

use crosstie_ir::{Collective, Plan};
use crosstie_planner::cost::{
    Bottleneck, Entry, Exchange, Hop, HopClass, Links, Pair, Point, Predicted, Provenance, Shape,
    Tune, TuneError, Work, predict,
};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, Reach, plan_world};
use proptest::prelude::*;

/// More messages between nodes weigh more than any number inside.
const BETWEEN: u64 = 1 << 20;

/// What a plan does, counted.
struct Counted {
    steps: Pair,
    messages: Pair,
    rank: Pair,
    node: Pair,
}

fn counted(plan: &Plan, nodes: &Nodes) -> Counted {
    let apart = |at: usize| {
        let connection = &plan.connections[at];
        nodes.node_of(connection.src) != nodes.node_of(connection.dst)
    };
    let mut sent = vec![[Pair::default(); 2]; plan.ranks as usize];
    let mut leaves = BTreeMap::<u32, Pair>::new();
    let mut enters = leaves.clone();
    let node_of = |rank| nodes.node_of(rank).expect("a rank of the world");
    let add = |pair: &mut Pair, between: bool| match between {
        true => pair.between += 1,
        false => pair.inside += 1,
    };
    for block in &plan.blocks {
        for send in block.instrs.iter().filter_map(|instr| instr.send_port()) {
            let at = send.0 as usize;
            let connection = &plan.connections[at];
            add(&mut sent[connection.src.0 as usize][0], apart(at));
            add(&mut sent[connection.dst.0 as usize][1], apart(at));
            add(leaves.entry(node_of(connection.src)).or_default(), apart(at));
            add(enters.entry(node_of(connection.dst)).or_default(), apart(at));
        }
    }
    let most = |of: &dyn Fn(&Pair) -> u64, pairs: &[Pair]| pairs.iter().map(of).max().unwrap_or(0);
    let busiest = |pairs: &[Pair]| Pair {
        inside: most(&|pair| pair.inside, pairs),
        between: most(&|pair| pair.between, pairs),
    };
    let either: Vec<Pair> = sent.iter().flatten().copied().collect();
    let both: Vec<Pair> = sent
        .iter()
        .map(|[out, back]| Pair {
            inside: out.inside + back.inside,
            between: out.between + back.between,
        })
        .collect();
    let node: Vec<Pair> = leaves.into_values().chain(enters.into_values()).collect();
    Counted {
        steps: longest_chain(plan, apart),
        messages: busiest(&both),
        rank: busiest(&either),
        node: busiest(&node),
    }
}

/// One greedy run: each message carries the longest chain that it ends.
fn longest_chain(plan: &Plan, apart: impl Fn(usize) -> bool) -> Pair {
    let mut queues = vec![std::collections::VecDeque::new(); plan.connections.len()];
    let mut at = vec![0; plan.blocks.len()];
    let mut depth: Vec<Vec<u64>> = vec![Vec::new(); plan.blocks.len()];
    let mut longest = 0;
    loop {
        let mut moved = false;
        for (number, block) in plan.blocks.iter().enumerate() {
            while let Some(instr) = block.instrs.get(at[number]) {
                let mut chain = depth[number].last().copied().unwrap_or(0);
                if let Some(after) = instr.after_port() {
                    let Some(&done) = depth[after.block.0 as usize].get(after.step as usize) else {
                        break;
                    };
                    chain = chain.max(done);
                }
                if let Some(from) = instr.recv_port() {
                    let Some(arrived) = queues[from.0 as usize].pop_front() else { break };
                    chain = chain.max(arrived);
                }
                if let Some(to) = instr.send_port() {
                    let to = to.0 as usize;
                    let hop = if apart(to) { BETWEEN } else { 1 };
                    queues[to].push_back(chain + hop);
                    longest = longest.max(chain + hop);
                }
                depth[number].push(chain);
                at[number] += 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    Pair { inside: longest % BETWEEN, between: longest / BETWEEN }
}

fn shapes() -> impl Iterator<Item = Shape> {
    (1..=6).flat_map(|nodes| {
        let each = [1, 2, 3, 4, 5, 8].into_iter();
        each.map(move |ranks_per_node| Shape { nodes, ranks_per_node })
    })
}

fn world(shape: Shape) -> Nodes {
    let ranks = shape.ranks() as u32;
    Nodes::new((0..ranks).map(|rank| rank / shape.ranks_per_node).collect()).expect("a rank")
}

fn at_most(a: Pair, b: Pair) -> bool {
    a.inside <= b.inside && a.between <= b.between
}

/// Parts of the longer buffer that a plan's chunks are.
fn parts(collective: Collective, algorithm: Algorithm, ranks: u32) -> u64 {
    let blocks = if collective.is_whole() { 1 } else { ranks };
    algorithm.parts(collective, ranks).max(blocks).into()
}

/// What the formula says otherwise than the plan does.
fn misfit(collective: Collective, algorithm: Algorithm, shape: Shape) -> Option<String> {
    let (nodes, channels) = (world(shape), NonZero::<u16>::MIN);
    let request = PlanRequest { collective, algorithm, nodes: &nodes, channels, in_place: false };
    let (work, found) =
        (Work::of(collective, algorithm, shape), counted(&plan_world(&request), &nodes));
    let formula = (work.steps, work.messages, work.rank, work.node);
    let plan = (found.steps, found.messages, found.rank, found.node);
    let fits = match (algorithm, collective) {
        (_, Collective::Barrier) => {
            (work.rank, work.node) == (Pair::default(), Pair::default())
                && at_most(found.messages, work.messages)
        }
        (Algorithm::Canonical, _) => {
            found.steps.inside + found.steps.between <= work.steps.inside + work.steps.between
        }
        // Where trees cross the borders of nodes depends on the numbers of both.
        (Algorithm::Tree | Algorithm::Pat, _) => {
            let steps = |pair: Pair| pair.inside + pair.between;
            steps(found.steps) <= steps(work.steps)
                && found.steps.between <= work.steps.between
                && at_most(found.messages, work.messages)
                && at_most(found.rank, work.rank)
                && at_most(found.node, work.node)
        }
        _ => plan == formula,
    };
    let right =
        fits && (nodes.ranks() == 1 || work.parts == parts(collective, algorithm, nodes.ranks()));
    let (collective, algorithm) = (collective.name(), algorithm.name());
    (!right).then(|| {
        format!("{collective} by {algorithm} on {shape:?}: {plan:?}, by formula {formula:?}")
    })
}

#[test]
fn formulas_are_what_plans_do() {
    let mut misfits = Vec::new();
    for shape in shapes() {
        let nodes = world(shape);
        for collective in Collective::ALL {
            let all = Algorithm::of(collective).iter().filter(|one| one.suits(collective, &nodes));
            misfits.extend(all.filter_map(|&algorithm| misfit(collective, algorithm, shape)));
        }
    }
    assert!(misfits.is_empty(), "{} misfits:\n{}", misfits.len(), misfits.join("\n"));
}

fn links() -> impl Strategy<Value = Links> {
    prop::sample::select(vec![
        Links::HOST,
        Links::NETWORK,
        Links {
            inside: HopClass::NvLinkHopper.hop(),
            between: HopClass::Rdma.hop(),
            node_mb_s: Some(200_000),
            exchange: Some(Exchange { mb_s: 150_000, wires: 2, together: 8, relayed: 7 }),
            memory_mb_s: None,
            rings_mb_s: Some(370_000),
            trees_mb_s: Some(300_000),
            ..Links::HOST
        },
    ])
}

fn forms() -> Vec<(Collective, Algorithm)> {
    let of = |collective| Algorithm::of(collective).iter().map(move |&one| (collective, one));
    Collective::ALL.into_iter().flat_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn time_grows_with_the_bytes(
        (collective, algorithm) in prop::sample::select(forms()),
        nodes in 1..64_u32,
        ranks_per_node in 1..64_u32,
        bytes in any::<u64>(),
        more in any::<u64>(),
        links in links(),
    ) {
        let work = Work::of(collective, algorithm, Shape { nodes, ranks_per_node });
        let shift = more % 64;
        let bytes = bytes >> shift;
        let time = |bytes| predict(&work, &links, bytes).time_ns;
        prop_assert!(time(bytes) <= time(bytes.saturating_add(more >> shift)));
    }

    #[test]
    fn hostile_texts_are_refused_or_read_but_never_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Tune::from_json(&text);
    }

    #[test]
    fn what_is_written_reads_back_equal(
        times in prop::collection::vec((1..1_000_000_u64, 1..=3_600_000_000_000_u64), 1..20),
        cpu in ".{0,30}",
    ) {
        let mut bytes = 0;
        let points = times.iter().map(|&(step, time_ns)| { bytes += step; Point { bytes, time_ns } }).collect();
        let table = Tune {
            provenance: Provenance { cpu, cores: 2, ..Provenance::default() },
            entries: vec![Entry { points, ..entry(&[(8, 1)]) }],
        };
        prop_assert_eq!(Tune::from_json(table.to_json().as_bytes()), Ok(table));
    }
}

#[test]
fn nothing_overflows_at_the_largest_sizes_and_worlds() {
    for shape in [[1, 65_536], [65_536, 1], [256, 256]] {
        let shape = Shape { nodes: shape[0], ranks_per_node: shape[1] };
        for (collective, algorithm) in forms() {
            let work = Work::of(collective, algorithm, shape);
            for links in [Links::HOST, Links::NETWORK] {
                for bytes in [0, 1, 1 << 60, u64::MAX] {
                    let Predicted { time_ns, .. } = predict(&work, &links, bytes);
                    assert!(time_ns > 0, "{collective:?} {algorithm:?} {shape:?} {bytes}");
                }
            }
        }
    }
}

#[test]
fn what_limits_a_call_is_named() {
    let shape = Shape { nodes: 2, ranks_per_node: 4 };
    let work = Work::of(Collective::AllReduce, Algorithm::Hierarchical, shape);
    let limit = |bytes| predict(&work, &Links::HOST, bytes).bottleneck;
    assert_eq!(limit(8), Bottleneck::Latency(HopClass::Tcp));
    let one_nic = Links { node_mb_s: Some(4_800), memory_mb_s: None, ..Links::HOST };
    assert_eq!(predict(&work, &one_nic, 1 << 30).bottleneck, Bottleneck::Nic(HopClass::Tcp));
    let alone =
        Work::of(Collective::AllReduce, Algorithm::Ring, Shape { nodes: 1, ranks_per_node: 8 });
    assert_eq!(predict(&alone, &Links::HOST, 1 << 30).bottleneck, Bottleneck::Memory);
    let slow = Links { inside: Hop { mb_s: 10, ..Links::HOST.inside }, ..Links::HOST };
    let limit = predict(&alone, &slow, 1 << 30).bottleneck;
    assert_eq!(limit.to_string(), "the bandwidth of shared memory");
}

fn entry(points: &[(u64, u64)]) -> Entry {
    Entry {
        reach: Reach::Memory,
        shape: Shape { nodes: 1, ranks_per_node: 4 },
        collective: Collective::AllReduce,
        algorithm: Algorithm::Ring,
        points: points.iter().map(|&(bytes, time_ns)| Point { bytes, time_ns }).collect(),
    }
}

#[test]
fn interpolation_hits_what_was_measured_and_lies_between_it() {
    let points = [(8, 900), (64, 1700), (4096, 9000), (1 << 20, 777_777)];
    let entry = entry(&points);
    let time = |bytes| entry.time_ns(entry.shape, &Links::HOST, bytes);
    for (bytes, time_ns) in points {
        assert_eq!(time(bytes), time_ns, "{bytes}");
    }
    assert_eq!([time(0), time(7)], [900, 900], "below the smallest its time stands");
    assert_eq!(time(36), 1300, "half way");
    assert!((time(2 << 20)..time(4 << 20)).contains(&(2 * 777_777)), "beyond, as the model grows");
    assert!(time(u64::MAX) > time(1 << 40));
    let more = Shape { nodes: 1, ranks_per_node: 8 };
    assert!(entry.time_ns(more, &Links::HOST, 8) > 900, "more ranks take longer");
}

/// A table with this in place of its only entry's points.
fn text(points: &str) -> String {
    let table = Tune { provenance: Provenance::default(), entries: vec![entry(&[(8, 1)])] };
    table.to_json().replace("[[8,1]]", points)
}

#[test]
fn tables_that_cannot_be_are_refused_with_the_place_and_what_was_expected() {
    assert!(Tune::from_json(text("[[8,1],[9,2]]").as_bytes()).is_ok());
    for (points, expected) in [
        ("[]", "entries[0].points: 0 points; expected 1 to 256"),
        ("[[8,0]]", "entries[0].points[0]: 0 ns; expected a time above zero"),
        ("[[8,3600000000001]]", "entries[0].points[0]: 3600000000001 ns; expected an hour at most"),
        ("[[0,1]]", "entries[0].points[0]: 0 bytes; expected a size above zero"),
        ("[[8,1],[8,2]]", "entries[0].points[1]: 8 bytes after 8; expected points that ascend"),
        ("[[9,1],[8,2]]", "entries[0].points[1]: 8 bytes after 9"),
        ("[[-8,1]]", "expected u64"),
        ("[[8,1.5]]", "expected u64"),
        ("[[8,NaN]]", "at line 12"),
        ("[[8,1e400]]", "at line 12"),
        ("[[8,18446744073709551616]]", "at line 12"),
        ("[[8]]", "expected a tuple of size 2"),
    ] {
        let error = Tune::from_json(text(points).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{points}: {error}");
    }
    let good = text("[[8,1]]");
    for (there, instead, expected) in [
        ("\"ring\"", "\"spiral\"", "entries[0].algorithm: \"spiral\"; expected an algorithm"),
        ("\"all_reduce\"", "\"sum\"", "entries[0].collective: \"sum\""),
        ("\"shm\"", "\"pigeons\"", "entries[0].transport: \"pigeons\"; expected shm"),
        ("\"nodes\":1", "\"nodes\":0", "entries[0].nodes: 0 nodes of 4 ranks"),
        (
            "\"nodes\":1",
            "\"nodes\":2",
            "entries[0].transport: shm on 2 nodes; expected shm+tcp or tcp",
        ),
        ("\"nodes\":1", "\"nodes\":4000000000", "entries[0].nodes"),
        (
            "\"version\": 1",
            "\"version\": 2",
            "version 2; this library reads crosstie.tune of version 1",
        ),
        ("\"points\"", "\"pionts\"", "unknown field"),
    ] {
        let error = Tune::from_json(good.replacen(there, instead, 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{instead}: {error}");
    }
    let twice = Tune {
        provenance: Provenance::default(),
        entries: vec![entry(&[(8, 1)]), entry(&[(8, 1)])],
    };
    let error = Tune::from_json(twice.to_json().as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("entries[1]: the same world"), "{error}");
    let huge = vec![b' '; (1 << 20) + 1];
    assert_eq!(Tune::from_json(&huge), Err(TuneError::TooLong { bytes: (1 << 20) + 1 }));
    let deep = "[".repeat(1 << 19);
    assert!(Tune::from_json(deep.as_bytes()).is_err());
}

#[test]
fn the_built_in_table_is_a_table_with_its_provenance() {
    let table = Tune::built_in();
    let Provenance { cpu, cores, date, version, command } = &table.provenance;
    assert!(*cores > 0 && [cpu, date, version, command].iter().all(|text| !text.is_empty()));
    assert!(!table.entries.is_empty());
    assert_eq!(Tune::from_json(table.to_json().as_bytes()), Ok(table));
}
