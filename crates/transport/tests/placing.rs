//! Wires over a device that places payloads, against the suite of all transports and against what only they do.
#![cfg(not(loom))]

use std::net::{TcpListener, TcpStream};

use crosstie_testkit::conformance;
use crosstie_testkit::conformance::{LIMITS, Subject};
use crosstie_testkit::direct::{Direct, DirectPair, Network};
use crosstie_testkit::world::{Path, World, message};
use crosstie_transport::seam::{Endpoint, Limits};
use crosstie_transport::tcp::{Relays, Stream};
use crosstie_transport::wires::Joint;
use crosstie_transport::wires::mixed::MixedEndpoint;
use crosstie_transport::wires::placing::{PlacingEndpoint, Ring};

const BARE: Subject = Subject { connect: at_once, faults: None };

conformance!(bare, BARE);
conformance!(behind_delays, Subject { faults: Some(1), ..BARE });
conformance!(with_late_ends, Subject { connect: late, ..BARE });
conformance!(with_late_ends_behind_delays, Subject { connect: late, faults: Some(2) });
conformance!(to_memory_of_the_caller, Subject { connect: late_and_anywhere, ..BARE });
conformance!(with_numbers_that_wrap, Subject { connect: where_numbers_wrap, ..BARE });
conformance!(beside_sockets, Subject { connect: beside_sockets, ..BARE });
conformance!(beside_sockets_behind_delays, Subject { connect: beside_sockets, faults: Some(3) });

fn at_once(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    boxed(endpoints(&Network::new(None, false), ranks, channels, limits))
}

/// Chains arrive, and end, at some time.
fn late(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    boxed(endpoints(&Network::new(Some(3), false), ranks, channels, limits))
}

/// Nothing needs to be copied, neither aside nor out of a slot.
fn late_and_anywhere(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    boxed(endpoints(&Network::new(Some(4), true), ranks, channels, limits))
}

fn where_numbers_wrap(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    let mut ends = endpoints(&Network::new(Some(5), true), ranks, channels, limits);
    ends.iter_mut().for_each(|end| end.number_from(u32::MAX - 2));
    boxed(ends)
}

/// Every other pair of ranks has a socket in place of the device's pair; of two ranks the only one has.
fn beside_sockets(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    let network = Network::new(Some(6), false);
    let mut devices: Vec<Direct> = (0..ranks).map(|_| network.device()).collect();
    let mut joints: Vec<Joints> = (0..ranks).map(|_| Vec::new()).collect();
    let mut streams: Vec<Vec<Stream>> = (0..ranks).map(|_| Vec::new()).collect();
    for low in 0..ranks {
        for high in low + 1..ranks {
            if (low + high) % 2 == 1 {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
                let address = listener.local_addr().expect("it is bound");
                let dialled = TcpStream::connect(address).expect("it listens");
                let (accepted, _) = listener.accept().expect("it was dialled");
                streams[low as usize].push(Stream::direct(low, high, dialled));
                streams[high as usize].push(Stream::direct(high, low, accepted));
                continue;
            }
            let (lower, upper) = devices.split_at_mut(high as usize);
            let [at_low, at_high] = network.wire(&mut lower[low as usize], &mut upper[0]);
            joints[low as usize].push(join(low, high, at_low));
            joints[high as usize].push(join(high, low, at_high));
        }
    }
    let wires = joints.into_iter().zip(streams);
    let end = |(rank, (device, (joints, streams)))| {
        let (device, relays) = ((device, "direct+tcp"), Relays::default());
        let end = MixedEndpoint::of_both(device, rank, joints, streams, relays, channels, limits);
        Box::new(end.expect("memory")) as Box<dyn Endpoint>
    };
    (0..).zip(devices.into_iter().zip(wires)).map(end).collect()
}

type Ends = Vec<PlacingEndpoint<Direct>>;
type Joints = Vec<Joint<Ring<DirectPair>>>;

fn join(rank: u32, peer: u32, link: Ring<DirectPair>) -> Joint<Ring<DirectPair>> {
    Joint { peer, link, outgoing: vec![rank], incoming: vec![peer] }
}

fn boxed(ends: Ends) -> Vec<Box<dyn Endpoint>> {
    ends.into_iter().map(|end| Box::new(end) as Box<dyn Endpoint>).collect()
}

fn endpoints(network: &Network, ranks: u32, channels: u16, limits: Limits) -> Ends {
    let mut devices: Vec<Direct> = (0..ranks).map(|_| network.device()).collect();
    let mut joints: Vec<Joints> = (0..ranks).map(|_| Vec::new()).collect();
    for low in 0..ranks {
        for high in low + 1..ranks {
            let (lower, upper) = devices.split_at_mut(high as usize);
            let [at_low, at_high] = network.wire(&mut lower[low as usize], &mut upper[0]);
            joints[low as usize].push(join(low, high, at_low));
            joints[high as usize].push(join(high, low, at_high));
        }
    }
    let end = |(rank, (device, joints))| {
        let end = PlacingEndpoint::new(device, rank, joints, Relays::default(), channels, limits);
        end.expect("memory")
    };
    (0..).zip(devices.into_iter().zip(joints)).map(end).collect()
}

/// What is to be reached over ibverbs: a group of 8 is one chain of 8 payloads and a head, and ends once. Short
/// payloads go with the head.
#[test]
fn a_group_of_eight_is_nine_writes_of_one_call() {
    for (len, expected) in [(8, 1), (64, 1), (65, 9), (16_000, 9)] {
        let network = Network::new(None, true);
        let mut world = World::new(boxed(endpoints(&network, 2, 8, LIMITS)));
        let paths: Vec<Path> = (0..8).map(|channel| Path { src: 0, dst: 1, channel }).collect();
        let mut incoming: Vec<_> =
            paths.iter().map(|&path| world.incoming(path, len, true)).collect();
        for receive in &mut incoming {
            assert_eq!(receive.step(&mut world).expect("the peer is alive"), None);
        }
        (0..4).for_each(|_| world.progress());
        let before = network.posted(0);
        for &path in &paths {
            let mut outgoing = world.outgoing(path, &message(path, 0, len));
            outgoing.step(&mut world).expect("the peer is alive");
        }
        world.end(0).progress().expect("no failure");
        let after = network.posted(0);
        let (writes, chains) = (after.writes - before.writes, after.chains - before.chains);
        assert_eq!(
            (writes, chains),
            (expected, 1),
            "writes and calls for 8 messages of {len} bytes"
        );
        world.end(1).progress().expect("no failure");
        for (mut receive, &path) in incoming.into_iter().zip(&paths) {
            let got = receive.step(&mut world).expect("the peer is alive");
            assert!(got == Some(message(path, 0, len)), "a message of {len} bytes on {path:?}");
        }
    }
}

/// A long message fills the ring many times over, while nothing else goes the other way: its receiver says what it has
/// emptied once for half a ring.
#[test]
fn a_stream_one_way_costs_few_heads_the_other_way() {
    let (network, limits) = (Network::new(None, true), Limits { slots: 1, slot_bytes: 16 << 20 });
    let mut world = World::new(boxed(endpoints(&network, 2, 1, limits)));
    let path = Path { src: 0, dst: 1, channel: 0 };
    (0..4).for_each(|_| world.progress());
    let before = [0, 1].map(|device| network.posted(device).chains);
    let expected = message(path, 0, limits.slot_bytes);
    let mut incoming = world.incoming(path, expected.len(), true);
    let mut outgoing = world.outgoing(path, &expected);
    let mut sent = false;
    let got = world.until("a long message", |world| {
        sent = sent || outgoing.step(world).expect("the peer is alive");
        incoming.step(world).expect("the peer is alive")
    });
    assert!(got == expected, "a message of {} bytes", expected.len());
    let after = [0, 1].map(|device| network.posted(device).chains);
    let [pieces, back] = [0, 1].map(|device| after[device] - before[device]);
    assert_eq!(pieces, 128, "chains for as many pieces");
    assert!((2..=6).contains(&back), "{back} chains back for {pieces}");
}

/// Long messages fill both rings of a wire at once; what each end has emptied still reaches the other.
#[test]
fn rings_that_are_full_both_ways_are_emptied() {
    for seed in 0..8 {
        let limits = Limits { slots: 1, slot_bytes: 12 << 20 };
        let network = Network::new(Some(seed), true);
        let mut world = World::new(boxed(endpoints(&network, 2, 1, limits)));
        let paths = [(0, 1), (1, 0)].map(|(src, dst)| Path { src, dst, channel: 0 });
        let expected = paths.map(|path| message(path, 0, limits.slot_bytes));
        let mut incoming = paths.map(|path| world.incoming(path, limits.slot_bytes, true));
        let mut outgoing = [0, 1].map(|i| world.outgoing(paths[i], &expected[i]));
        let (mut sent, mut got) = ([false; 2], [None, None]);
        world.until("both messages", |world| {
            for i in 0..2 {
                sent[i] = sent[i] || outgoing[i].step(world).expect("the peer is alive");
                if got[i].is_none() {
                    got[i] = incoming[i].step(world).expect("the peer is alive");
                }
            }
            got.iter().all(Option::is_some).then_some(())
        });
        assert!(got == expected.map(Some), "with seed {seed}");
    }
}

/// An engine looks 16 times before it sleeps.
#[test]
fn a_sleeper_is_woken_by_what_arrives() {
    let network = Network::new(None, false);
    let mut world = World::new(boxed(endpoints(&network, 2, 1, LIMITS)));
    let path = Path { src: 0, dst: 1, channel: 0 };
    let is_rung = |world: &mut World| {
        let fd = world.end(1).wake_fd().expect("there is one");
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&timeout)).expect("poll") > 0
    };
    for number in 0..3 {
        let mut idle = 0;
        while idle < 16 {
            let moved = world.end(1).progress().expect("no failure");
            idle = if moved { 0 } else { idle + 1 };
        }
        assert!(!is_rung(&mut world), "nothing has come");
        world.send(path, &message(path, number, 100));
        world.end(0).progress().expect("no failure");
        assert!(is_rung(&mut world), "a message has come");
        assert!(world.receive(path, 100, false) == message(path, number, 100));
    }
}
