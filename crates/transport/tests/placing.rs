//! Wires over a device that places payloads, against the suite of all transports and against what only they do.
#![cfg(not(loom))]

use std::net::{TcpListener, TcpStream};

use crosstie_testkit::conformance;
use crosstie_testkit::conformance::{LIMITS, Subject};
use crosstie_testkit::direct::{Direct, DirectPair, Network};
use crosstie_testkit::world::{Path, World, message};
use crosstie_transport::seam::{Endpoint, Grant, Limits};
use crosstie_transport::tcp::{Relays, Stream};
use crosstie_transport::wires::Joint;
use crosstie_transport::wires::mixed::MixedEndpoint;
use crosstie_transport::wires::placing::{PlacingEndpoint, RING_SLOTS, Ring};
use crosstie_transport::{Region, TransportError};

const BARE: Subject = Subject { connect: at_once, faults: None };

conformance!(bare, BARE);
conformance!(behind_delays, Subject { faults: Some(1), ..BARE });
conformance!(with_late_ends, Subject { connect: late, ..BARE });
conformance!(with_late_ends_behind_delays, Subject { connect: late, faults: Some(2) });
conformance!(to_memory_of_the_caller, Subject { connect: late_and_anywhere, ..BARE });
conformance!(to_some_memory_of_the_caller, Subject { connect: late_and_forgetful, ..BARE });
conformance!(with_numbers_that_wrap, Subject { connect: where_numbers_wrap, ..BARE });
conformance!(with_chains_begun_anew, Subject { connect: stuttering, ..BARE });
conformance!(on_three_lanes, Subject { connect: on_three_lanes, ..BARE });
conformance!(on_three_lanes_behind_delays, Subject { connect: on_three_lanes, faults: Some(4) });
conformance!(on_several_devices, Subject { connect: on_several_devices, ..BARE });
conformance!(
    on_several_devices_behind_delays,
    Subject { connect: on_several_devices_and_anywhere, faults: Some(5) }
);
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

/// What is lent, what is waited for, and what was copied aside follow each other.
fn late_and_forgetful(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    boxed(endpoints(&Network::forgetful(6), ranks, channels, limits))
}

/// Of a chain any part may have been there before.
fn stuttering(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    boxed(endpoints(&Network::stuttering(8), ranks, channels, limits))
}

/// What is on one lane arrives long before, or after, what is on another; and payloads are written to memory that is
/// read at once.
fn on_three_lanes(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    boxed(endpoints_of(3, &Network::new(Some(7), true), ranks, channels, limits))
}

/// Each wire is on one, two or three of the three devices of either rank; slots are all that these know.
fn on_several_devices(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    boxed(on_devices(&Network::new(Some(9), false), ranks, channels, limits))
}

/// The same to and from any memory, of which the ends tell each other as they use it.
fn on_several_devices_and_anywhere(
    ranks: u32,
    channels: u16,
    limits: Limits,
) -> Vec<Box<dyn Endpoint>> {
    boxed(on_devices(&Network::new(Some(10), true), ranks, channels, limits))
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
        let (device, relays) = ((vec![device], "direct+tcp"), Relays::default());
        let end = MixedEndpoint::of_both(device, rank, joints, streams, relays, channels, limits);
        Box::new(end.expect("memory")) as Box<dyn Endpoint>
    };
    (0..).zip(devices.into_iter().zip(wires)).map(end).collect()
}

type Ends = Vec<PlacingEndpoint<Direct>>;
type Joints = Vec<Joint<Ring<DirectPair>>>;

/// The devices of a wire, by the sum of its ranks.
const ON: [&[usize]; 4] = [&[0, 1], &[1, 0], &[2], &[2, 0, 1]];

/// Three devices for each rank: rank r has those from 3 r on.
fn on_devices(network: &Network, ranks: u32, channels: u16, limits: Limits) -> Ends {
    let mut devices: Vec<Vec<Direct>> =
        (0..ranks).map(|_| (0..3).map(|_| network.device()).collect()).collect();
    let mut joints: Vec<Joints> = (0..ranks).map(|_| Vec::new()).collect();
    for low in 0..ranks {
        for high in low + 1..ranks {
            let (lower, upper) = devices.split_at_mut(high as usize);
            let on = ON[(low + high + 3) as usize % ON.len()];
            let [at_low, at_high] = network.wire_on(on, &mut lower[low as usize], &mut upper[0]);
            joints[low as usize].push(join(low, high, at_low));
            joints[high as usize].push(join(high, low, at_high));
        }
    }
    let end = |(rank, (devices, joints))| {
        let end = PlacingEndpoint::new(devices, rank, joints, Relays::default(), channels, limits);
        end.expect("memory")
    };
    (0..).zip(devices.into_iter().zip(joints)).map(end).collect()
}

fn join(rank: u32, peer: u32, link: Ring<DirectPair>) -> Joint<Ring<DirectPair>> {
    Joint { peer, link, outgoing: vec![rank], incoming: vec![peer] }
}

fn boxed(ends: Ends) -> Vec<Box<dyn Endpoint>> {
    ends.into_iter().map(|end| Box::new(end) as Box<dyn Endpoint>).collect()
}

fn endpoints(network: &Network, ranks: u32, channels: u16, limits: Limits) -> Ends {
    endpoints_of(1, network, ranks, channels, limits)
}

fn endpoints_of(
    lanes: usize,
    network: &Network,
    ranks: u32,
    channels: u16,
    limits: Limits,
) -> Ends {
    let mut devices: Vec<Direct> = (0..ranks).map(|_| network.device()).collect();
    let mut joints: Vec<Joints> = (0..ranks).map(|_| Vec::new()).collect();
    for low in 0..ranks {
        for high in low + 1..ranks {
            let (lower, upper) = devices.split_at_mut(high as usize);
            let [at_low, at_high] = network.wire_of(lanes, &mut lower[low as usize], &mut upper[0]);
            joints[low as usize].push(join(low, high, at_low));
            joints[high as usize].push(join(high, low, at_high));
        }
    }
    let end = |(rank, (device, joints))| {
        let end =
            PlacingEndpoint::new(vec![device], rank, joints, Relays::default(), channels, limits);
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

/// Each chain is a call to the device and a completion at either end. The device's own test of latency posts one write
/// for each message, and so do we; what the ends say beside that comes with few of them.
#[test]
fn short_messages_to_and_fro_cost_little_more_than_a_chain_each() {
    let network = Network::new(None, false);
    let mut world = World::new(boxed(endpoints(&network, 2, 1, LIMITS)));
    (0..4).for_each(|_| world.progress());
    let before = network.posted(0);
    let count = 8 * RING_SLOTS as u64;
    for number in 0..count {
        for path in [PATH, Path { src: 1, dst: 0, channel: 0 }] {
            world.send(path, &message(path, number, 8));
            assert!(world.receive(path, 8, false) == message(path, number, 8));
        }
    }
    let after = network.posted(0);
    let (chains, writes) = (after.chains - before.chains, after.writes - before.writes);
    let offers = count.div_ceil(u64::from(LIMITS.slots));
    let emptied = count.div_ceil(RING_SLOTS as u64 / 2);
    assert!(chains <= count + offers + emptied, "{chains} chains for {count} messages");
    assert_eq!(writes, chains, "a message of 8 bytes lies in its head");
    let (renewals, heads) = (after.renewals - before.renewals, count + offers + emptied);
    assert!(renewals <= heads.div_ceil(16), "{renewals} calls for receives of {heads} heads");
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

/// Two ranks whose wire is on two of the three devices of either.
#[test]
fn a_wire_on_two_devices_sends_as_much_by_either_once_the_peer_knows_the_keys_of_both() {
    const LEN: usize = 256 << 10;
    let (network, limits) = (Network::new(None, true), Limits { slots: 2, slot_bytes: LEN });
    let mut ends = on_devices(&network, 2, 1, limits);
    let second = ends.pop().expect("two ranks");
    let mut world = World::new(boxed(vec![ends.pop().expect("two ranks"), second]));
    (0..4).for_each(|_| world.progress());
    let before = [0, 1, 2].map(|device| network.posted(device).writes);
    for number in 0..16 {
        world.send(PATH, &message(PATH, number, LEN));
        assert!(world.receive(PATH, LEN, true) == message(PATH, number, LEN));
    }
    let after = [0, 1, 2].map(|device| network.posted(device).writes);
    let [first, other, third] = [0, 1, 2].map(|device| after[device] - before[device]);
    // Of 32 pieces each has half, and the end of a chain; all heads go on the first.
    assert_eq!(third, 0, "the wire is not on it");
    assert!((30..=32).contains(&other), "{other} writes on the other device");
    assert!((48..=66).contains(&first), "{first} writes on the first device");
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

/// Who has armed, and then looked once more, may sleep.
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
        while world.end(1).progress().expect("no failure") {}
        world.end(1).arm().expect("no failure");
        assert!(!world.end(1).progress().expect("no failure"), "all has been seen");
        assert!(!is_rung(&mut world), "nothing has come");
        world.send(path, &message(path, number, 100));
        world.end(0).progress().expect("no failure");
        assert!(is_rung(&mut world), "a message has come");
        assert!(world.receive(path, 100, false) == message(path, number, 100));
    }
}

const PATH: Path = Path { src: 0, dst: 1, channel: 0 };

/// How many messages of `len` bytes rank 0 can begin and hand over, and whether the receiver takes each.
fn sent_at_once(world: &mut World, len: usize, most: u64, receives: bool) -> u64 {
    for number in 0..most {
        let mut outgoing = world.outgoing(PATH, &message(PATH, number, len));
        // Long enough for all that the peer says.
        let is_sent = (0..20).any(|_| {
            world.progress();
            outgoing.step(world).expect("the peer is alive")
        });
        if !is_sent {
            return number;
        }
        if receives {
            assert!(world.receive(PATH, len, false) == message(PATH, number, len));
        }
    }
    most
}

/// Unacknowledged data is kept: a slot is used again when its chain has ended and its twin at the peer is empty, and
/// not after one of the two.
#[test]
fn a_standing_slot_is_kept_until_its_chain_has_ended_and_the_peer_has_emptied_it() {
    let slots = u64::from(LIMITS.slots * 2).next_power_of_two();
    for (withheld, receives) in [(true, true), (false, false), (true, false)] {
        let network = Network::new(None, false);
        let mut world = World::new(boxed(endpoints(&network, 2, 1, LIMITS)));
        (0..4).for_each(|_| world.progress());
        network.withhold_ends(withheld);
        let sent = sent_at_once(&mut world, 100, 3 * slots, receives);
        assert_eq!(sent, slots, "ends withheld: {withheld}, received: {receives}");
    }
    let network = Network::new(None, false);
    let mut world = World::new(boxed(endpoints(&network, 2, 1, LIMITS)));
    assert_eq!(sent_at_once(&mut world, 100, 3 * slots, true), 3 * slots, "both have happened");
}

/// That the peer has taken a message is not enough: it may have to be repeated to a peer that lost what told of it.
#[test]
fn memory_of_a_long_message_is_kept_until_its_last_chain_has_ended() {
    let len = LIMITS.slot_bytes;
    for anywhere in [true, false] {
        let network = Network::new(None, anywhere);
        let mut world = World::new(boxed(endpoints(&network, 2, 1, LIMITS)));
        (0..4).for_each(|_| world.progress());
        network.withhold_ends(true);
        let slots = u64::from(LIMITS.slots);
        if !anywhere {
            // Copied aside into as many slots as there are.
            assert_eq!(sent_at_once(&mut world, len, 3 * slots, true), slots);
            continue;
        }
        let mut outgoing = world.outgoing(PATH, &message(PATH, 0, len));
        let mut incoming = world.incoming(PATH, len, true);
        assert!(outgoing.step(&mut world).expect("the peer is alive"), "it is lent");
        let mut got = None;
        for _ in 0..50 {
            got = got.or(incoming.step(&mut world).expect("the peer is alive"));
            world.progress();
            assert_eq!(world.end(0).borrower(), Some(1), "its chains have not ended");
        }
        assert!(got == Some(message(PATH, 0, len)), "the message is here all the same");
        network.withhold_ends(false);
        world.progress();
        assert_eq!(world.end(0).borrower(), None);
    }
}

/// A peer that holds a grant could write for as long as the device takes its writes, and the caller has its memory back.
#[test]
fn memory_of_a_call_that_has_failed_is_not_written_by_a_peer_that_was_named_it() {
    let len = LIMITS.slot_bytes;
    let network = Network::new(None, true);
    let mut world = World::new(boxed(endpoints(&network, 2, 1, LIMITS)));
    let place = Region::leak(vec![7; len].into());
    let receiver = world.end(1).receiver(PATH.src, PATH.channel).expect("the path exists");
    let grant = Grant { receiver, limit: len, place: Some(place) };
    world.end(1).post(&[grant]).expect("the peer is alive");
    (0..4).for_each(|_| world.progress());
    world.end(1).withdraw();
    let mut outgoing = world.outgoing(PATH, &message(PATH, 0, len));
    assert!(outgoing.step(&mut world).expect("nobody has told of a failure"), "it has a grant");
    for _ in 0..50 {
        world.progress();
        assert!(place.to_vec().iter().all(|&byte| byte == 7), "the caller's memory is its own");
    }
    world.kill(1);
    let mut next = world.outgoing(PATH, &message(PATH, 1, len));
    let error = world.until("the peer's end", |world| next.step(world).err());
    assert!(matches!(error, TransportError::PeerGone { peer: 1, .. }), "{error}");
}

/// A sender does not wait for the network's word between two messages, or the wire would be idle meanwhile.
#[test]
fn messages_that_are_lent_follow_each_other_before_the_first_has_ended() {
    let network = Network::new(None, true);
    let mut world = World::new(boxed(endpoints(&network, 2, 1, LIMITS)));
    (0..4).for_each(|_| world.progress());
    network.withhold_ends(true);
    let (len, slots) = (LIMITS.slot_bytes, u64::from(LIMITS.slots));
    assert!(slots > 1, "there is room for several");
    assert_eq!(sent_at_once(&mut world, len, 3 * slots, true), slots);
}

/// A head lies in its own ring as long as its chain has not ended, though the peer has emptied the slot.
#[test]
fn a_head_is_kept_until_its_chain_has_ended() {
    let (network, limits) = (Network::new(None, true), Limits { slots: 1, slot_bytes: 16 << 20 });
    let mut world = World::new(boxed(endpoints(&network, 2, 1, limits)));
    let expected = message(PATH, 0, limits.slot_bytes);
    (0..4).for_each(|_| world.progress());
    let before = network.posted(0).chains;
    network.withhold_ends(true);
    let mut incoming = world.incoming(PATH, expected.len(), true);
    let mut outgoing = world.outgoing(PATH, &expected);
    assert!(outgoing.step(&mut world).expect("the peer is alive"), "it is lent");
    for _ in 0..200 {
        assert_eq!(incoming.step(&mut world).expect("the peer is alive"), None);
        world.progress();
    }
    let under_way = network.posted(0).chains - before;
    assert_eq!(under_way, RING_SLOTS as u64, "chains that have not ended");
    network.withhold_ends(false);
    let got =
        world.until("a long message", |world| incoming.step(world).expect("the peer is alive"));
    assert!(got == expected, "a message of {} bytes", expected.len());
}

/// What a peer says of a ring is held against what this end knows.
#[test]
fn a_peer_that_breaks_the_rules_of_rings_is_named() {
    let says = |emptied| {
        let mut head = [0; 16];
        head[6] = emptied;
        head
    };
    for (slot, head, what) in [(5, says(0), "slot 5"), (0, says(9), "9 heads emptied of 1 sent")] {
        let network = Network::new(None, false);
        let mut device = network.device();
        let (link, mut stranger) = network.wire_to_stranger(1, &mut device);
        let joint = Joint { peer: 1, link, outgoing: vec![0], incoming: vec![1] };
        let joints = vec![joint];
        let end = PlacingEndpoint::new(vec![device], 0, joints, Relays::default(), 1, LIMITS);
        let mut end = end.expect("memory");
        let receiver = end.receiver(1, 0).expect("the peer is there");
        assert!(end.poll(receiver).expect("the peer is alive").is_none());
        stranger.say(slot, &head);
        end.progress().expect("it concerns one wire");
        match end.poll(receiver) {
            Err(TransportError::PeerMisbehaved { peer: 1, what: said }) => {
                assert!(said.contains(what), "{said}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// A head of `records`, and the short payloads behind them.
fn head(kind: u8, records: &[Vec<u8>], payloads: &[&[u8]]) -> Vec<u8> {
    let bytes: usize = payloads.iter().map(|payload| payload.len()).sum();
    let mut head = vec![0x43, 0x78, kind, records.len() as u8, 0, 0, 0, 0];
    head.extend_from_slice(&(bytes as u32).to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    records.iter().for_each(|record| head.extend_from_slice(record));
    payloads.iter().for_each(|payload| head.extend_from_slice(payload));
    head
}

const EAGER: u8 = 3;
const LAST: u8 = 1;

/// The record of a piece on the first connection.
fn member(seq: u32, offset: u64, len: usize, flags: u8) -> Vec<u8> {
    let mut record = 0u32.to_le_bytes().to_vec();
    record.extend_from_slice(&seq.to_le_bytes());
    record.extend_from_slice(&offset.to_le_bytes());
    record.extend_from_slice(&(len as u32).to_le_bytes());
    record.extend_from_slice(&[flags, 0, 0, 0]);
    record
}

/// Of an end with a stranger for a peer: the messages that came of those that it waits for, and what it says of the rest.
fn told_by_a_stranger(heads: &[&[u8]], limits: &[usize]) -> (Vec<Vec<u8>>, u64, Option<String>) {
    let network = Network::new(None, true);
    let mut device = network.device();
    let (link, mut stranger) = network.wire_to_stranger(1, &mut device);
    let joints = vec![Joint { peer: 1, link, outgoing: vec![0], incoming: vec![1] }];
    let end = PlacingEndpoint::new(vec![device], 0, joints, Relays::default(), 1, LIMITS);
    let mut end = end.expect("memory");
    let receiver = end.receiver(1, 0).expect("the peer is there");
    let grant = |&limit: &usize| {
        let place = Some(Region::leak(vec![0; limit].into()));
        Grant { receiver, limit, place }
    };
    end.post(&limits.iter().map(grant).collect::<Vec<_>>()).expect("the peer is alive");
    end.progress().expect("it concerns one wire");
    let (mut got, mut error) = (Vec::new(), None);
    for (slot, head) in (0..).zip(heads) {
        stranger.say(slot, head);
        end.progress().expect("it concerns one wire");
        match end.poll(receiver) {
            Ok(Some(arrival)) => {
                got.push(arrival.bytes.to_vec());
                end.release(receiver);
            }
            Ok(None) => {}
            Err(broken) => error = Some(broken.to_string()),
        }
    }
    (got, end.counters().repeats, error)
}

/// Who sends the rest of a wire on another pair does not know how much of it the peer has: at every point any number of
/// heads before it may come once more.
#[test]
fn heads_that_come_once_more_change_nothing_at_any_point() {
    let (first, long, second) = ([1_u8; 8], [2_u8; 150], [3_u8; 40]);
    let pieces = [(0, 60, 0), (60, 60, 0), (120, 30, LAST)].map(|(offset, len, flags)| {
        head(1, &[member(1, offset, len, flags)], &[&long[offset as usize..][..len]])
    });
    let [one, two, three] = pieces;
    let heads = [
        head(1, &[member(0, 0, 8, EAGER)], &[&first]),
        // Where standing slots are, and that nothing of them was emptied.
        head(5, &[vec![0; 16]], &[]),
        one,
        two,
        three,
        head(1, &[member(2, 0, 40, EAGER)], &[&second]),
    ];
    let limits = [8, LIMITS.slot_bytes, 40];
    let expected = [first.to_vec(), long.to_vec(), second.to_vec()];
    for end in 1..=heads.len() {
        for start in 0..end {
            let again = heads[..end].iter().chain(&heads[start..end]).chain(&heads[end..]);
            let said: Vec<&[u8]> = again.map(Vec::as_slice).collect();
            let (got, repeats, error) = told_by_a_stranger(&said, &limits);
            assert_eq!((got.as_slice(), error), (expected.as_slice(), None), "{start}..{end}");
            let homes = usize::from((start..end).contains(&1));
            assert_eq!(repeats, (end - start - homes) as u64, "{start}..{end}");
        }
    }
}

/// A repeat is of what was here; anything else out of turn breaks the rules.
#[test]
fn what_skips_a_number_or_an_offset_is_no_repeat() {
    let bytes = [5_u8; 64];
    let eager = |seq| head(1, &[member(seq, 0, 8, EAGER)], &[&bytes[..8]]);
    let piece = |offset, len, flags| head(1, &[member(1, offset, len, flags)], &[&bytes[..len]]);
    for (wrong, what) in [
        (eager(2), "message 2 on connection 0 instead of 1"),
        (piece(41, 8, 0), "offset 41 in message 1 on connection 0 instead of 40"),
        (piece(30, 20, 0), "offset 30 in message 1 on connection 0 instead of 40"),
        (piece(0, 40, LAST), "offset 0 in message 1 on connection 0 instead of 40"),
        (eager(u32::MAX / 2 + 2), "instead of 1"),
    ] {
        let heads = [eager(0), piece(0, 40, 0), wrong];
        let said: Vec<&[u8]> = heads.iter().map(Vec::as_slice).collect();
        let (got, _, error) = told_by_a_stranger(&said, &[8, LIMITS.slot_bytes]);
        assert_eq!(got.len(), 1, "{what}");
        assert!(error.as_ref().is_some_and(|said| said.contains(what)), "{what}: {error:?}");
    }
}

/// Heads whose payloads never come on another lane are kept, but no more than there are slots.
#[test]
fn a_peer_that_tells_of_more_heads_than_there_are_slots_is_named() {
    let network = Network::new(None, false);
    let mut device = network.device();
    let (link, mut stranger) = network.wire_to_stranger(2, &mut device);
    let joints = vec![Joint { peer: 1, link, outgoing: vec![0], incoming: vec![1] }];
    let mut end =
        PlacingEndpoint::new(vec![device], 0, joints, Relays::default(), 1, LIMITS).unwrap();
    let receiver = end.receiver(1, 0).unwrap();
    let on_second_lane = 1 << 17;
    for slot in 0..RING_SLOTS as u32 {
        stranger.say(slot | on_second_lane, &[0; 16]);
        end.progress().unwrap();
    }
    assert!(end.poll(receiver).unwrap().is_none(), "as many as there are slots");
    stranger.say(on_second_lane, &[0; 16]);
    end.progress().unwrap();
    let error = end.poll(receiver).unwrap_err();
    assert!(matches!(error, TransportError::PeerMisbehaved { peer: 1, .. }), "{error}");
}
