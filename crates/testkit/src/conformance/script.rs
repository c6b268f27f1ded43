//! Owns the part of the suite that looks for what nobody thought of: random programs, driven by
//! one thread in random order, and by a thread for each rank.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use crosstie_transport::seam::{Endpoint, Limits};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{LIMITS, Subject};
use crate::random::Random;
use crate::world::{Incoming, Outgoing, Path, World, message};

const CASES: u32 = 24;
const CHANNELS: u16 = 3;

/// One message of a random program.
#[derive(Debug, Clone, Copy)]
struct Step {
    path: Path,
    len: usize,
    /// How much longer than the message its receive is.
    slack: usize,
    placed: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![
        3 => 0..=64usize,
        3 => 4000..=4200usize,
        2 => 4097..=20_000usize,
        1 => 131_000..=131_200usize,
        1 => 0..=LIMITS.slot_bytes,
    ];
    let slack = prop_oneof![3 => Just(0usize), 1 => 0..=10_000usize];
    (any::<bool>(), 0..CHANNELS, len, slack, any::<bool>()).prop_map(
        |(there, channel, len, slack, placed)| {
            let (src, dst) = if there { (0, 1) } else { (1, 0) };
            let slack = slack.min(LIMITS.slot_bytes - len);
            Step { path: Path { src, dst, channel }, len, slack, placed }
        },
    )
}

/// Whatever is sent over whichever connections, in whatever order the ends are driven: every
/// message arrives, whole and in its connection's order.
pub fn any_interleaving_delivers_every_message(subject: &Subject) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let program = (proptest::collection::vec(step(), 1..60), any::<u64>());
    TestRunner::new(config)
        .run(&program, |(steps, seed)| {
            play(subject.world(2, CHANNELS, LIMITS), &steps, Random::new(seed));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// The sends and receives of one connection.
struct Lane {
    path: Path,
    to_send: VecDeque<(u64, Step)>,
    to_receive: VecDeque<(u64, Step)>,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
}

impl Lane {
    fn new(path: Path, steps: &[Step]) -> Self {
        let own: VecDeque<_> =
            (0..).zip(steps.iter().copied().filter(|s| s.path == path)).collect();
        Self { path, to_send: own.clone(), to_receive: own, outgoing: None, incoming: None }
    }

    fn is_done(&self) -> bool {
        self.to_send.is_empty() && self.to_receive.is_empty()
    }

    fn send(&mut self, world: &mut World) {
        let Some(&(number, step)) = self.to_send.front() else { return };
        let waiting = self.outgoing.take();
        let mut next = waiting
            .unwrap_or_else(|| world.outgoing(self.path, &message(self.path, number, step.len)));
        if next.step(world).expect("the peer is alive") {
            self.to_send.pop_front();
        } else {
            self.outgoing = Some(next);
        }
    }

    fn receive(&mut self, world: &mut World) {
        let Some(&(number, step)) = self.to_receive.front() else { return };
        let waiting = self.incoming.take();
        let mut next = waiting
            .unwrap_or_else(|| world.incoming(self.path, step.len + step.slack, step.placed));
        match next.step(world).expect("the peer is alive") {
            Some(got) => {
                assert!(got == message(self.path, number, step.len), "message {number} is whole");
                self.to_receive.pop_front();
            }
            None => self.incoming = Some(next),
        }
    }
}

fn play(mut world: World, steps: &[Step], mut random: Random) {
    let ways = [(0, 1), (1, 0)];
    let paths = ways
        .into_iter()
        .flat_map(|(src, dst)| (0..CHANNELS).map(move |channel| Path { src, dst, channel }));
    let mut lanes: Vec<Lane> = paths.map(|path| Lane::new(path, steps)).collect();
    world.until("the program", |world| {
        for _ in 0..4 {
            let lane = random.below(lanes.len() as u64) as usize;
            if random.chance(50) { lanes[lane].send(world) } else { lanes[lane].receive(world) }
        }
        lanes.iter().all(Lane::is_done).then_some(())
    });
}

/// Each rank in a thread of its own sends to every other, many lengths, several times.
pub fn ranks_in_threads_exchange_everything(subject: &Subject) {
    const RANKS: u32 = 4;
    let limits = Limits { slots: 2, slot_bytes: LIMITS.slot_bytes };
    let ends = subject.endpoints(RANKS, 1, limits);
    thread::scope(|scope| {
        for (rank, end) in (0..RANKS).zip(ends) {
            scope.spawn(move || exchange(rank, RANKS, end));
        }
    });
}

fn exchange(rank: u32, ranks: u32, end: Box<dyn Endpoint>) {
    // The other ranks' endpoints live in other threads.
    let mut world = World::of_one(rank, end);
    let len = |number: u64| [8, 4096, 5000, 150_000, 0][number as usize % 5];
    let peers: Vec<u32> = (1..ranks).map(|distance| (rank + distance) % ranks).collect();
    for number in 0..25 {
        let mut outgoing: Vec<Outgoing> = Vec::new();
        let mut incoming: Vec<(Path, Incoming)> = Vec::new();
        for &peer in &peers {
            let to = Path { src: rank, dst: peer, channel: 0 };
            let from = Path { src: peer, dst: rank, channel: 0 };
            incoming.push((from, world.incoming(from, len(number), number % 2 == 0)));
            outgoing.push(world.outgoing(to, &message(to, number, len(number))));
        }
        world.until("one exchange", |world| {
            outgoing.retain_mut(|next| !next.step(world).expect("the peer is alive"));
            incoming.retain_mut(|(path, next)| {
                let got = next.step(world).expect("the peer is alive");
                got.is_none_or(|got| {
                    assert!(got == message(*path, number, len(number)), "{path:?} {number}");
                    false
                })
            });
            thread::yield_now();
            (outgoing.is_empty() && incoming.is_empty()).then_some(())
        });
    }
    let started = Instant::now();
    while !world.end(rank).drained().expect("drained can be asked") {
        assert!(started.elapsed() < Duration::from_secs(5), "hangs: draining");
        world.progress();
        thread::yield_now();
    }
}
