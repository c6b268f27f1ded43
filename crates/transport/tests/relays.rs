//! Connections that go by way of a relay keep every promise of a transport, and share wires.
#![cfg(not(loom))]

use std::net::{TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_testkit::conformance;
use crosstie_testkit::conformance::Subject;
use crosstie_testkit::world::{Path, World, message};
use crosstie_transport::seam::{
    Arrival, Counters, Endpoint, Expect, Grant, Limits, Receiver, SendSpace, Sender,
};
use crosstie_transport::tcp::{Aggregation, Flush, Relays, Stream, TcpEndpoint};
use crosstie_transport::{BoxShape, Doorbell, Region, RelayPeer, TransportError};

const BARE: Subject = Subject { connect: each_behind_a_relay, faults: None };

conformance!(relayed, BARE);
conformance!(relayed_behind_delays, Subject { faults: Some(5), ..BARE });
conformance!(relayed_with_numbers_that_wrap, Subject { connect: where_numbers_wrap, ..BARE });

fn each_behind_a_relay(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    behind_relays(ranks, channels, limits, 0)
}

/// Every number passes its end soon after the start.
fn where_numbers_wrap(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    behind_relays(ranks, channels, limits, u32::MAX - 2)
}

/// Each rank on a node of its own, with a relay through which everything that it sends goes.
fn behind_relays(ranks: u32, channels: u16, limits: Limits, passed: u32) -> Vec<Box<dyn Endpoint>> {
    let mut ends: Vec<(Vec<Stream>, Vec<Stream>)> =
        (0..ranks).map(|_| Default::default()).collect();
    for src in 0..ranks {
        for dst in (0..ranks).filter(|&dst| dst != src) {
            let (out, into) = pair();
            let (outgoing, incoming) = (vec![src], vec![src]);
            let relays = &mut ends[src as usize].1;
            relays.push(Stream { peer: dst, socket: out, outgoing, incoming: vec![] });
            let own = &mut ends[dst as usize].0;
            own.push(Stream { peer: src, socket: into, outgoing: vec![], incoming });
        }
    }
    let connect = |(rank, (own, relayed)): (u32, (Vec<Stream>, Vec<Stream>))| -> Box<dyn Endpoint> {
        let relay = ranks + rank;
        let bells = [(); 2].map(|()| Arc::new(Doorbell::new().expect("an eventfd")));
        let shape = BoxShape { ranks, channels };
        let (to_relay, to_rank) =
            RelayPeer::pair((rank, &bells[0]), (relay, &bells[1]), shape).expect("memory");
        let routes = (0..ranks).filter(|&dst| dst != rank).map(|dst| (dst, relay, 1)).collect();
        let of_rank = Relays { peers: vec![to_relay], routes, ..Relays::default() };
        let of_relay = Relays { peers: vec![to_rank], ..Relays::default() };
        let endpoint = |rank, streams, relays| {
            TcpEndpoint::with_relays(rank, streams, relays, channels, limits).expect("sockets")
        };
        let mut pair =
            Pair { own: endpoint(rank, own, of_rank), relay: endpoint(relay, relayed, of_relay) };
        pair.own.number_from(passed);
        pair.relay.number_from(passed);
        Box::new(pair)
    };
    (0..).zip(ends).map(connect).collect()
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let a = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    (a, listener.accept().expect("its other end").0)
}

/// A rank and its relay, in the place of the rank.
struct Pair {
    own: TcpEndpoint,
    relay: TcpEndpoint,
}

impl Endpoint for Pair {
    fn name(&self) -> &'static str {
        self.own.name()
    }
    fn limits(&self) -> Limits {
        self.own.limits()
    }
    fn sender(&self, peer: u32, channel: u16) -> Option<Sender> {
        self.own.sender(peer, channel)
    }
    fn receiver(&self, peer: u32, channel: u16) -> Option<Receiver> {
        self.own.receiver(peer, channel)
    }
    fn begin_call(&mut self, tag: u32) {
        self.own.begin_call(tag);
    }
    fn begin_send(&mut self, s: Sender, len: usize) -> Result<Option<SendSpace>, TransportError> {
        self.own.begin_send(s, len)
    }
    fn commit(&mut self, sender: Sender) -> Result<(), TransportError> {
        self.own.commit(sender)
    }
    fn send_from(&mut self, sender: Sender, value: Region) -> Result<(), TransportError> {
        self.own.send_from(sender, value)
    }
    fn sent(&mut self, sender: Sender) -> bool {
        self.own.sent(sender)
    }
    fn most_posted(&self) -> usize {
        self.own.most_posted()
    }
    fn post(&mut self, grants: &[Grant]) -> Result<(), TransportError> {
        self.own.post(grants)
    }
    fn poll(&mut self, receiver: Receiver) -> Result<Option<Arrival>, TransportError> {
        self.own.poll(receiver)
    }
    fn release(&mut self, receiver: Receiver) {
        self.own.release(receiver);
    }
    fn progress(&mut self) -> Result<bool, TransportError> {
        Ok(self.own.progress()? | self.relay.progress()? | self.own.progress()?)
    }
    fn flushed(&self) -> bool {
        self.own.flushed() && self.relay.flushed()
    }
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.own.wake_fd()
    }
    fn drained(&mut self) -> Result<bool, TransportError> {
        Ok(self.own.drained()? && self.relay.relieved() && self.relay.drained()?)
    }
    /// What the rank sent, as what its relay sent it.
    fn counters(&self) -> Counters {
        let (own, relay) = (self.own.counters(), self.relay.counters());
        assert!(relay.carried <= own.messages && relay.messages == 0, "{relay:?} of {own:?}");
        Counters { wire_messages: relay.wire_messages, ..own }
    }
    fn slot_memory(&self) -> u64 {
        self.own.slot_memory()
    }
}

const LIMITS: Limits = Limits { slots: 4, slot_bytes: 128 * 1024 };

/// Ranks 0 to 2 share the wire of rank 0 to rank 3, which is alone on its node.
fn three_on_one_wire(aggregation: Aggregation) -> World {
    let (near, far) = pair();
    let bells: Vec<_> = (0..3).map(|_| Arc::new(Doorbell::new().expect("an eventfd"))).collect();
    let shape = BoxShape { ranks: 4, channels: 1 };
    let mut of_relay = Relays { aggregation, ..Relays::default() };
    let mut sources = Vec::new();
    for rank in [1, 2] {
        let bell = |rank: u32| (rank, &bells[rank as usize]);
        let (to_relay, to_rank) = RelayPeer::pair(bell(rank), bell(0), shape).expect("memory");
        of_relay.peers.push(to_rank);
        let relays = Relays { peers: vec![to_relay], routes: vec![(3, 0, 3)], ..Relays::default() };
        sources.push((rank, vec![], relays));
    }
    let all = vec![0, 1, 2];
    let shared = Stream { peer: 3, socket: near, outgoing: all.clone(), incoming: vec![3] };
    let receiving = Stream { peer: 0, socket: far, outgoing: vec![3], incoming: all };
    let mut ranks = vec![(0, vec![shared], of_relay)];
    ranks.extend(sources);
    ranks.push((3, vec![receiving], Relays::default()));
    let connect = |(rank, streams, relays)| -> Box<dyn Endpoint> {
        Box::new(TcpEndpoint::with_relays(rank, streams, relays, 1, LIMITS).expect("sockets"))
    };
    World::new(ranks.into_iter().map(connect).collect())
}

fn to_3(src: u32) -> Path {
    Path { src, dst: 3, channel: 0 }
}

fn receive_all(world: &mut World, number: u64) {
    for src in 0..3 {
        assert!(world.receive(to_3(src), 1000, false) == message(to_3(src), number, 1000));
    }
}

#[test]
fn messages_that_were_named_wait_for_each_other_and_leave_as_one() {
    let flush = Flush::After(Duration::from_secs(60));
    let mut world = three_on_one_wire(Aggregation { most: 8, flush });
    for number in 0..3 {
        for src in [1, 2] {
            world.end(src).begin_call(7 + number);
            world.end(src).expect(Expect::All);
            world.send(to_3(src), &message(to_3(src), u64::from(number), 1000));
        }
        (0..10).for_each(|_| world.progress());
        assert_eq!(world.end(0).counters().wire_messages, u64::from(number));
        assert!(world.end(0).due().is_some(), "nobody may sleep over what is held");
        assert!(world.end(0).flushed(), "what others are ahead with does not keep this rank");
        world.end(0).begin_call(7 + number);
        world.end(0).expect(Expect::All);
        world.send(to_3(0), &message(to_3(0), u64::from(number), 1000));
        receive_all(&mut world, u64::from(number));
        assert!(world.end(0).due().is_none());
    }
    let counters = world.end(0).counters();
    assert_eq!((counters.wire_messages, counters.messages, counters.carried), (3, 3, 6));
    assert_eq!((counters.bytes, counters.carried_bytes), (3000, 6000));
    assert_eq!(counters.flushes.complete, 3);
}

#[test]
fn the_last_message_of_an_operation_does_not_wait_for_those_who_are_ahead() {
    let flush = Flush::After(Duration::from_millis(20));
    let mut world = three_on_one_wire(Aggregation { most: 8, flush });
    let send = |world: &mut World, src: u32, tag: u32, number: u64| {
        world.end(src).begin_call(tag);
        world.end(src).expect(Expect::All);
        world.send(to_3(src), &message(to_3(src), number, 1000));
    };
    send(&mut world, 1, 7, 0);
    send(&mut world, 2, 7, 0);
    world.until("what is late leaves", |world| {
        (world.end(0).counters().flushes.aged == 1).then_some(())
    });
    // Rank 1 is ahead by one call; rank 0 ends the first one.
    send(&mut world, 1, 8, 1);
    send(&mut world, 0, 7, 0);
    (0..10).for_each(|_| world.progress());
    assert_eq!(world.end(0).counters().flushes.complete, 1);
    receive_all(&mut world, 0);
}

/// Until its bound has passed, and one round more (invariant I11 of the protocol).
#[test]
fn what_is_held_leaves_in_the_round_after_its_bound() {
    for bound in [0, 50, 2000].map(Duration::from_micros) {
        let mut world = three_on_one_wire(Aggregation { most: 8, flush: Flush::After(bound) });
        for number in 0..5 {
            // Each of a call of its own, or the third would be the last that is expected.
            world.end(1).begin_call(number as u32);
            world.send(to_3(1), &message(to_3(1), number, 1000));
            world.end(1).progress().expect("progress fails for no single peer");
            world.until("the message leaves", |world| {
                let due = world.end(0).due();
                assert!(due.is_none_or(|due| due <= bound), "{due:?} of {bound:?}");
                world.end(0).progress().expect("progress fails for no single peer");
                let has_left = world.end(0).counters().wire_messages > number;
                assert!(has_left || due != Some(Duration::ZERO), "a round passed since it was due");
                has_left.then_some(())
            });
            assert!(world.receive(to_3(1), 1000, false) == message(to_3(1), number, 1000));
        }
        assert_eq!(world.end(0).counters().flushes.aged, 5);
    }
}

#[test]
fn what_a_full_group_leaves_behind_does_not_begin_to_wait_anew() {
    let bound = Duration::from_secs(60);
    let mut world = three_on_one_wire(Aggregation { most: 2, flush: Flush::After(bound) });
    let send = |world: &mut World, src: u32, tag: u32| {
        world.end(src).begin_call(tag);
        world.send(to_3(src), &message(to_3(src), 0, 1000));
        world.end(src).progress().expect("progress fails for no single peer");
    };
    // Rank 2 is ahead by one call; the others' messages are before its in the order of the wire.
    send(&mut world, 2, 8);
    world.until("it waits", |world| world.end(0).due().map(|_| ()));
    let (since, waited) = (Instant::now(), Duration::from_millis(5));
    while since.elapsed() < waited {}
    send(&mut world, 1, 7);
    send(&mut world, 0, 7);
    assert_eq!(world.end(0).counters().flushes.full, 1);
    let due = world.end(0).due().expect("rank 2's message is left behind");
    assert!(due <= bound - waited, "{due:?} of {bound:?}");
}

#[test]
fn where_nothing_is_put_together_each_message_leaves_alone_and_at_once() {
    let mut world = three_on_one_wire(Aggregation { most: 1, flush: Flush::Full });
    for src in 0..3 {
        world.end(src).expect(Expect::All);
        world.send(to_3(src), &message(to_3(src), 0, 1000));
    }
    receive_all(&mut world, 0);
    assert_eq!(world.end(0).counters().wire_messages, 3);
}

#[test]
fn a_source_that_hears_of_nothing_more_lets_its_relay_go() {
    let mut world = three_on_one_wire(Aggregation::default());
    assert!(!world.end(0).relieved());
    world.send(to_3(1), &message(to_3(1), 0, 1000));
    world.until("rank 1 leaves", |world| world.end(1).drained().expect("no error").then_some(()));
    assert!(!world.end(0).relieved(), "rank 2 is still there");
    world.kill(2);
    world.until("rank 2 is gone", |world| world.end(0).relieved().then_some(()));
    assert!(world.receive(to_3(1), 1000, false) == message(to_3(1), 0, 1000));
}
