//! Random programs of messages, in random clusters, played in random order: whatever comes of the slots, the
//! relays and the waiting for each other, it is what an ample world without any of them gives.
#![cfg(test)]
#![cfg(not(loom))]

/// Does something with the world that has a path.
macro_rules! on {
    ($cluster:expr, $path:expr, |$world:ident| $what:expr) => {
        if $cluster.is_inside($path) {
            let $world = &mut $cluster.inside;
            $what
        } else {
            let $world = &mut $cluster.between;
            $what
        }
    };
}

mod cluster;
mod program;

use std::num::NonZero;
use std::time::{Duration, Instant};

use crosstie_testkit::world::{Path, message};
use crosstie_transport::seam::{Counters, Expect, Limits};
use crosstie_transport::tcp::{Aggregation, Flush, Held};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use cluster::{Cluster, Over, Shape, Ways};
use program::{Allowed, Draw, Gone, Lane, Play};

/// Cases of each test, for a few seconds; `PROPTEST_CASES` has it look further.
fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(cases);
    let failure_persistence: Option<Box<dyn proptest::test_runner::FailurePersistence>> =
        Some(Box::new(FileFailurePersistence::WithSource("regressions")));
    ProptestConfig { cases, failure_persistence, max_shrink_time: 60_000, ..Default::default() }
}

fn limits() -> impl Strategy<Value = Limits> {
    let slot_bytes =
        prop_oneof![Just(8usize), Just(4096usize), Just(5000usize), Just(300 * 1024usize),];
    (1..=4u32, slot_bytes).prop_map(|(slots, slot_bytes)| Limits { slots, slot_bytes })
}

fn aggregation() -> impl Strategy<Value = Aggregation> {
    let flush = prop_oneof![
        Just(Flush::Auto),
        Just(Flush::Full),
        (0..2_000_000u64).prop_map(|ns| Flush::After(Duration::from_nanos(ns))),
    ];
    (1..=8u8, flush).prop_map(|(most, flush)| Aggregation { most, flush })
}

fn over() -> impl Strategy<Value = Over> {
    prop_oneof![
        any::<bool>().prop_map(|short| Over::Sockets { short }),
        any::<(u64, bool)>().prop_map(|(seed, known)| Over::Devices { seed, known }),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let nodes = proptest::collection::vec(1..=4u32, 1..=3);
    let ways = prop_oneof![
        1 => Just(Ways::Direct),
        3 => Just(Ways::Relayed),
        2 => Just(Ways::Both),
    ];
    let rails = (1..=4u32).prop_map(|rails| NonZero::new(rails).unwrap_or(NonZero::<u32>::MIN));
    (
        nodes,
        rails,
        ways,
        1..=2u16,
        limits(),
        aggregation(),
        (over(), prop_oneof![Just(0u32), Just(u32::MAX - 2)]),
    )
        .prop_map(|(nodes, rails, ways, channels, limits, aggregation, (over, passed))| {
            Shape { nodes, rails, ways, channels, limits, aggregation, over, passed }
        })
}

fn draw() -> impl Strategy<Value = Draw> {
    let len = prop_oneof![
        1 => Just(0usize),
        4 => 0..=64usize,
        3 => 4000..=4200usize,
        2 => 4097..=20_000usize,
        1 => 131_000..=131_200usize,
        1 => 0..=300 * 1024usize,
    ];
    let slack = prop_oneof![3 => Just(0usize), 1 => 0..=10_000usize];
    let expect = prop_oneof![Just(Expect::Nothing), Just(Expect::Perhaps), Just(Expect::All)];
    let way = (0..12u32, 0..12u32, 0..2u16, any::<bool>());
    let how = (any::<bool>(), proptest::bool::weighted(0.1), 1..=4u32, expect);
    (way, len, slack, how).prop_map(
        |((src, dst, channel, past), len, slack, (placed, withheld, call, expect))| Draw {
            src,
            dst,
            channel,
            past,
            len,
            slack,
            placed,
            withheld,
            call,
            expect,
        },
    )
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    proptest::collection::vec(draw(), 1..120)
}

/// What every connection received, played to the end in an ample world.
fn in_an_ample_world(shape: &Shape, draws: &[Draw]) -> Vec<Vec<(Vec<u8>, u32)>> {
    let direct: Vec<Draw> = draws.iter().map(|draw| Draw { withheld: false, ..*draw }).collect();
    let mut play = Play::new(Cluster::new(&shape.ample()), &direct, 1);
    play.play("an ample world", Allowed::ALL);
    play.lanes.into_iter().map(|lane| lane.received).collect()
}

/// The counters of all ranks together say what was sent, and by which way.
fn check_counters(play: &mut Play) {
    let (sums, counters) = (play.sums(), play.counters());
    let total = |of: fn(&Counters) -> u64| counters.iter().map(of).sum();
    let counted = [
        total(|c| c.messages),
        total(|c| c.bytes),
        total(|c| c.carried),
        total(|c| c.carried_bytes),
    ];
    assert_eq!(counted, sums, "messages, bytes, and those that were carried: {counters:?}");
    let closed: u64 = total(|c| {
        let f = c.flushes;
        f.full + f.complete + f.alone + f.aged + f.pressed
    });
    let wire_messages: u64 = total(|c| c.wire_messages);
    assert!(closed <= wire_messages, "{closed} groups were closed, {wire_messages} left");
}

proptest! {
    #![proptest_config(config(60))]

    /// Every message arrives whole, in order, with its call's tag; a receive that is not posted, and a rank
    /// that does nothing, hold up nobody else; in the end nothing is held, and every credit is back.
    #[test]
    fn any_program_ends_as_in_an_ample_world(
        shape in shape(),
        draws in draws(),
        stop in proptest::option::of((0..12u32, 0..2000u32)),
        seed: u64,
    ) {
        let mut play = Play::new(Cluster::new(&shape), &draws, seed);
        if let Some((rank, after)) = stop {
            play.steps(Allowed { withheld: false, stopped: None }, after);
            let stopped = Some(rank % shape.ranks());
            play.play("one rank is stopped", Allowed { withheld: false, stopped });
        }
        play.play("receives are withheld", Allowed { withheld: false, stopped: None });
        play.play("the rest", Allowed::ALL);
        play.check();
        play.settle("all was received", |_, held| *held == Held::default());
        check_counters(&mut play);
        if shape.ways != Ways::Both {
            let received: Vec<_> = play.lanes.iter().map(|lane| lane.received.clone()).collect();
            prop_assert!(received == in_an_ample_world(&shape, &draws), "not as in an ample world");
        }
        for len in [8, 4096, 5000] {
            play.fill_and_empty(len);
        }
        play.settle("all was received again", |_, held| *held == Held::default());
    }

    /// The connections that end at a rank which goes away fail and name it, in whatever state they are; all
    /// others go on, and its relays have every slot back.
    #[test]
    fn a_rank_that_goes_away_ends_exactly_its_connections(
        shape in shape(),
        draws in draws(),
        (rank, after) in (0..12u32, 0..3000u32),
        seed: u64,
    ) {
        let draws: Vec<Draw> = draws.iter().map(|draw| Draw { withheld: false, ..*draw }).collect();
        let mut play = Play::new(Cluster::new(&shape), &draws, seed);
        let dead = rank % shape.ranks();
        play.steps(Allowed::ALL, after);
        play.cluster.kill(dead);
        play.until("what is left of the program", Allowed::ALL, |play| {
            play.lanes.iter().all(|lane| is_over(&play.cluster, lane, dead))
        });
        play.check();
        for lane in &play.lanes {
            let ends_there = concerns(&play.cluster, lane, dead);
            for outcome in [lane.sending(), lane.receiving()] {
                let Some(Err(gone)) = outcome else { continue };
                prop_assert!(ends_there, "{:?} ended, which does not end at {dead}", lane.path);
                prop_assert_eq!(gone, Gone { peer: dead });
            }
        }
        let relays = play.cluster.relays(dead);
        let node: Vec<u32> = (0..shape.ranks()).filter(|&other| play.cluster.are_neighbours(other, dead)).collect();
        play.settle("slots come back", |rank, held| {
            held.slots == 0 && held.carried == 0 || relays && node.contains(&rank)
        });
    }
}

/// Rule F4 of the protocol: it blocks its own wire, and its share of the box.
#[test]
fn a_receiver_that_stops_reading_leaves_slots_for_the_others() {
    let shape = Shape {
        nodes: vec![2, 2],
        rails: NonZero::<u32>::MIN,
        ways: Ways::Relayed,
        channels: 1,
        limits: Limits { slots: 2, slot_bytes: 16 << 20 },
        aggregation: Aggregation::default(),
        over: Over::Sockets { short: true },
        passed: 0,
    };
    let mut cluster = Cluster::new(&shape);
    let [stopped, other] = [2, 3].map(|dst| Path { src: 1, dst, channel: 0 });
    let long = message(stopped, 0, shape.limits.slot_bytes);
    let mut incoming = cluster.between.incoming(stopped, long.len(), true);
    let early = incoming.step(&mut cluster.between).expect("the peer is alive");
    assert_eq!(early, None, "nothing was sent yet");
    cluster.progress(2);
    let mut outgoing = cluster.between.outgoing(stopped, &long);
    for _ in 0..500 {
        assert!(
            !outgoing.step(&mut cluster.between).expect("the peer is alive"),
            "it fits the socket"
        );
        [0, 1].into_iter().for_each(|rank| cluster.progress(rank));
    }
    assert!(cluster.between.end(1).held().slots > 1, "the socket takes no more");
    let expected = message(other, 0, 300_000);
    let mut outgoing = cluster.between.outgoing(other, &expected);
    let mut incoming = cluster.between.incoming(other, expected.len(), false);
    let started = Instant::now();
    let (mut sent, mut got) = (false, None);
    while got.is_none() {
        assert!(started.elapsed() < Duration::from_secs(5), "hangs behind a receiver that stopped");
        sent = sent || outgoing.step(&mut cluster.between).expect("the peer is alive");
        got = incoming.step(&mut cluster.between).expect("the peer is alive");
        [0, 1, 3].into_iter().for_each(|rank| cluster.progress(rank));
    }
    assert!(got == Some(expected));
}

fn concerns(cluster: &Cluster, lane: &Lane, rank: u32) -> bool {
    [lane.path.src, lane.path.dst, cluster.carrier(lane.path)].contains(&rank)
}

/// Whether a connection has come as far as it can without `dead`.
fn is_over(cluster: &Cluster, lane: &Lane, dead: u32) -> bool {
    let (path, carrier) = (lane.path, cluster.carrier(lane.path));
    let sent = path.src == dead || lane.sending().is_some();
    let received = path.dst == dead || lane.receiving().is_some();
    // A source learns that its relay is gone from the node's memory, not from the network; and a receiver
    // does not learn from a living relay that its source is gone. Both hear it from the monitor.
    let deaf_source = carrier == dead && path.src != dead;
    let deaf_receiver = path.src == dead && carrier != dead;
    (sent || deaf_source) && (received || deaf_receiver)
}
