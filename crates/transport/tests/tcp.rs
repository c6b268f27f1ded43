//! TCP against the suite of all transports, and against what only a network does.
#![cfg(not(loom))]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crosstie_net::{Inbox, ListenOptions, Listener, Secret, Target};
use crosstie_testkit::conformance;
use crosstie_testkit::conformance::{LIMITS, Subject};
use crosstie_testkit::random::Random;
use crosstie_testkit::world::{Path, World, message};
use crosstie_transport::seam::{Endpoint, Grant, Limits};
use crosstie_transport::tcp::{TcpEndpoint, TcpOptions, TcpPeer};
use crosstie_transport::{Region, TransportError};

const BARE: Subject = Subject { connect: over_loopback, faults: None };

conformance!(bare, BARE);
conformance!(behind_delays, Subject { faults: Some(1), ..BARE });
conformance!(with_numbers_that_wrap, Subject { connect: where_numbers_wrap, ..BARE });
conformance!(over_short_writes, Subject { connect: over_tiny_buffers, ..BARE });

fn over_loopback(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    endpoints(ranks, channels, limits, 0, &|_| {})
}

/// Every number passes its end soon after the start.
fn where_numbers_wrap(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    endpoints(ranks, channels, limits, u32::MAX - 2, &|_| {})
}

/// Every write of more than a few kilobytes is cut short. (The receive buffer is left alone: with
/// less than a segment of it, the kernel's timers, not this transport, set the pace.)
fn over_tiny_buffers(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    endpoints(ranks, channels, limits, 0, &|stream| {
        rustix::net::sockopt::set_socket_send_buffer_size(stream, 4096).expect("SO_SNDBUF");
    })
}

fn endpoints(
    ranks: u32,
    channels: u16,
    limits: Limits,
    passed: u32,
    prepare: &dyn Fn(&TcpStream),
) -> Vec<Box<dyn Endpoint>> {
    let mut streams: Vec<Vec<(u32, TcpStream)>> = (0..ranks).map(|_| Vec::new()).collect();
    for low in 0..ranks {
        for high in low + 1..ranks {
            let (a, b) = pair();
            prepare(&a);
            prepare(&b);
            streams[low as usize].push((high, a));
            streams[high as usize].push((low, b));
        }
    }
    let connect = |(rank, streams)| -> Box<dyn Endpoint> {
        let mut end = TcpEndpoint::from_streams(rank, streams, channels, limits).expect("sockets");
        end.number_from(passed);
        Box::new(end)
    };
    (0..).zip(streams).map(connect).collect()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let a = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    (a, listener.accept().expect("its other end").0)
}

/// A process's listener, and its subscription as `rank`.
fn listening(rank: u32, secret: &Secret) -> (Arc<Listener>, Inbox) {
    let listener = Arc::new(Listener::open(&ListenOptions::default()).expect("a port"));
    let inbox = listener.subscribe(secret, Target::Rank(rank)).expect("nobody else is this rank");
    (listener, inbox)
}

fn options(
    rank: u32,
    secret: &Secret,
    addresses: &[Vec<SocketAddr>],
    limit: Duration,
) -> TcpOptions {
    let ranks = (0..).zip(addresses);
    let peers = ranks.filter(|&(other, _)| other != rank);
    TcpOptions {
        rank,
        peers: peers.map(|(other, a)| TcpPeer::direct(rank, other, a.clone())).collect(),
        secret: secret.clone(),
        channels: 1,
        limits: LIMITS,
        source: None,
        deadline: Instant::now() + limit,
        patience: limit,
    }
}

fn connect(options: &TcpOptions, inbox: &Inbox) -> Result<TcpEndpoint, TransportError> {
    TcpEndpoint::connect(options, inbox, &|| false)
}

#[test]
fn sixteen_ranks_connect_and_exchange_in_well_under_a_second() {
    let secret = Secret::generate().expect("random bytes");
    let listening: Vec<_> = (0..16).map(|rank| listening(rank, &secret)).collect();
    let addresses: Vec<_> = listening.iter().map(|(listener, _)| listener.addresses()).collect();
    let started = Instant::now();
    let ends: Vec<TcpEndpoint> = thread::scope(|scope| {
        let connect = |(rank, (_, inbox)): (u32, &(Arc<Listener>, Inbox))| {
            let options = options(rank, &secret, &addresses, Duration::from_secs(10));
            connect(&options, inbox).expect("all are there")
        };
        let threads: Vec<_> =
            (0..).zip(&listening).map(|each| scope.spawn(move || connect(each))).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "16 ranks connected only after {took:?}");
    let mut world = World::new(ends.into_iter().map(|end| Box::new(end) as _).collect());
    for src in 0..16 {
        let path = Path { src, dst: (src + 5) % 16, channel: 0 };
        world.send(path, &message(path, 0, 100));
        assert!(world.receive(path, 100, false) == message(path, 0, 100));
    }
}

#[test]
fn a_rank_that_comes_late_is_waited_for() {
    let secret = Secret::generate().expect("random bytes");
    let (early, inbox) = listening(0, &secret);
    // Rank 1 has its port, but has not yet said which rank it is.
    let late = Arc::new(Listener::open(&ListenOptions::default()).expect("a port"));
    let addresses = [early.addresses(), late.addresses()];
    let limit = Duration::from_secs(10);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            let inbox = late.subscribe(&secret, Target::Rank(1)).expect("nobody else is rank 1");
            connect(&options(1, &secret, &addresses, limit), &inbox).expect("both")
        });
        connect(&options(0, &secret, &addresses, limit), &inbox).expect("both");
    });
}

#[test]
fn a_rank_that_never_comes_is_named_at_the_deadline() {
    let secret = Secret::generate().expect("random bytes");
    let (listener, inbox) = listening(1, &secret);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = vec![nobody.local_addr().expect("its address")];
    let limit = Duration::from_millis(300);
    let lower = [nobody.clone(), listener.addresses()];
    let error = connect(&options(1, &secret, &lower, limit), &inbox).err();
    assert!(matches!(error, Some(TransportError::ConnectDeadline { peer: 0, .. })), "{error:?}");
    let higher = [nobody.clone(), listener.addresses(), nobody];
    let mut options = options(1, &secret, &higher, limit);
    options.peers.retain(|peer| peer.rank == 2);
    let error = connect(&options, &inbox).err();
    assert!(matches!(error, Some(TransportError::Connecting { peer: 2, .. })), "{error:?}");
}

#[test]
fn connecting_ends_soon_after_an_interruption_while_dialling_and_while_waiting() {
    let secret = Secret::generate().expect("random bytes");
    let (listener, inbox) = listening(1, &secret);
    // One peer takes connections and says nothing, one has ended.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addresses = [&mute, &gone].map(|peer| vec![peer.local_addr().expect("its address")]);
    drop(gone);
    let [mute_at, gone_at] = addresses;
    let own = listener.addresses();
    for all in
        [[vec![], own.clone(), mute_at], [vec![], own.clone(), gone_at], [vec![], own, vec![]]]
    {
        let mut options = options(1, &secret, &all, Duration::from_secs(30));
        // The lower rank is waited for where there is nobody to dial.
        options.peers.retain(|peer| (peer.rank == 0) == all[2].is_empty());
        let started = Instant::now();
        let interrupted = || started.elapsed() > Duration::from_millis(100);
        let error = TcpEndpoint::connect(&options, &inbox, &interrupted).err();
        assert!(matches!(error, Some(TransportError::Interrupted { .. })), "{error:?}");
        assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
    }
}

/// Random bytes, and the beginnings of what a peer may rightly send.
#[test]
fn a_peer_that_breaks_the_protocol_is_named_and_breaks_nothing() {
    let mut random = Random::new(7);
    for case in 0..200 {
        let (own, mut peer) = pair();
        let streams = vec![(1, own)];
        let mut end = TcpEndpoint::from_streams(0, streams, 2, LIMITS).expect("sockets");
        let receiver = end.receiver(1, 0).expect("the connection exists");
        end.post(&[Grant { receiver, limit: 10_000, place: None }]).expect("a receive");
        let mut bytes: Vec<u8> = (0..random.below(200)).map(|_| random.bits() as u8).collect();
        if case % 2 == 0 {
            // A right header of every kind and count, so that what follows is looked at.
            let header = [0x43, 0x78, 1 + case / 2 % 4, 1 + case / 8 % 8, 0, 0, 0, 0];
            bytes.splice(0..0, header);
        }
        peer.write_all(&bytes).expect("a small write");
        drop(peer);
        let started = Instant::now();
        let error = loop {
            end.progress().expect("progress fails for no single peer");
            match end.poll(receiver) {
                Ok(None) => assert!(started.elapsed() < Duration::from_secs(5), "hangs"),
                Ok(Some(_)) => break None,
                Err(error) => break Some(error),
            }
        };
        assert!(
            matches!(
                error,
                Some(
                    TransportError::PeerMisbehaved { peer: 1, .. }
                        | TransportError::PeerGone { peer: 1, .. }
                )
            ),
            "{error:?}"
        );
    }
}

#[test]
fn receives_posted_in_one_call_are_granted_in_one_wire_message() {
    let (own, mut peer) = pair();
    let mut end = TcpEndpoint::from_streams(0, vec![(1, own)], 2, LIMITS).expect("sockets");
    let receivers = [0, 1].map(|channel| end.receiver(1, channel).expect("the connection exists"));
    let place = || Some(Region::leak(vec![0; 10_000].into_boxed_slice()));
    let grant = |i: usize| Grant { receiver: receivers[i % 2], limit: 10_000, place: place() };
    let grants: Vec<Grant> = (0..8).map(grant).collect();
    end.post(&grants).expect("receives");
    end.progress().expect("no failure");
    let mut bytes = [0; 16 + 8 * 32];
    peer.read_exact(&mut bytes).expect("the grants");
    assert_eq!((bytes[2], bytes[3]), (2, 8), "a wire message of 8 grants");
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    let named: Vec<(u32, u32)> =
        (0..8).map(|i| (word(16 + 32 * i), word(16 + 32 * i + 4))).collect();
    assert_eq!(named, [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]);
}

/// What this rank learns of its peer's end must not tempt it to wait for ever in `wake_fd`.
#[test]
fn a_sleeper_is_woken_for_messages_and_for_a_message_that_nobody_granted() {
    let mut world = World::new(over_loopback(2, 1, LIMITS));
    let path = Path { src: 0, dst: 1, channel: 0 };
    let asleep = |world: &mut World, rank: u32| {
        let fd = world.end(rank).wake_fd().expect("tcp has one");
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&timeout)).expect("poll") == 0
    };
    while world.end(0).progress().expect("progress") {}
    assert!(asleep(&mut world, 0), "nothing to do");
    let mut outgoing = world.outgoing(path, &message(path, 0, 200_000));
    // Sleeps whenever nothing moves, as an engine does, and must get its memory back all the same.
    let started = Instant::now();
    while !outgoing.step(&mut world).expect("the peer is alive") {
        let moved = world.end(0).progress().expect("progress");
        let may_sleep = !moved && asleep(&mut world, 0);
        assert!(!may_sleep || started.elapsed() < Duration::from_millis(500), "sleeps for ever");
        assert!(started.elapsed() < Duration::from_secs(5), "hangs");
    }
    assert!(!asleep(&mut world, 1) || !world.end(0).flushed(), "the notice wakes the receiver");
    assert!(world.receive(path, 200_000, true) == message(path, 0, 200_000));
    assert!(world.end(0).flushed(), "the message has left");
}
