//! Owns the part of the suite on flow: depth, independence of connections, speeds that differ, and
//! the end of an endpoint.

use super::{LIMITS, Subject};
use crate::world::{Incoming, Outgoing, Path, World, message};
use crosstie_transport::Region;
use crosstie_transport::seam::Grant;

const THERE: Path = Path { src: 0, dst: 1, channel: 0 };

/// Far more rounds than a step takes, with faults or without.
const MANY_ROUNDS: usize = 300;

/// Sends messages 0, 1, … until one finds no room, and returns its number with it.
fn fill(world: &mut World, path: Path, len: usize) -> (u64, Outgoing) {
    for number in 0..=4 * u64::from(LIMITS.slots) {
        let mut outgoing = world.outgoing(path, &message(path, number, len));
        let sent = (0..MANY_ROUNDS).any(|_| {
            world.progress();
            outgoing.step(world).expect("the peer is alive")
        });
        if !sent {
            return (number, outgoing);
        }
    }
    panic!("the room for messages of {len} bytes never ends");
}

/// A sender gets rid of `slots` messages that nobody receives, short or long, and of a bounded
/// number at most: what plans are verified for.
pub fn a_connection_holds_as_many_messages_as_it_has_slots(subject: &Subject) {
    for len in [0, 8, 4096, 4097, 200_000] {
        let mut world = subject.world(2, 1, LIMITS);
        let (held, mut last) = fill(&mut world, THERE, len);
        let slots = u64::from(LIMITS.slots);
        assert!(held >= slots, "{held} messages of {len} bytes fit, {slots} must");
        let mut receiver = Sequence::new(THERE, len, held + 1);
        let mut sent = false;
        world.until("the messages held", |world| {
            sent = sent || last.step(world).expect("the peer is alive");
            (receiver.receive(world) && sent).then_some(())
        });
    }
}

/// Three connections over one wire: the middle one is filled and never received, and the others
/// carry messages of every kind.
pub fn connections_of_one_wire_do_not_wait_for_one_that_is_never_received(subject: &Subject) {
    for stuck_len in [100, 200_000] {
        let mut world = subject.world(2, 3, LIMITS);
        fill(&mut world, Path { channel: 1, ..THERE }, stuck_len);
        for channel in [0, 2] {
            let path = Path { channel, ..THERE };
            for len in [0, 8, 4097, LIMITS.slot_bytes] {
                let mut sender = Sequence::new(path, len, 10);
                let mut receiver = Sequence::new(path, len, 10);
                world.until("the other connections", |world| {
                    let sent = sender.send(world);
                    (receiver.receive(world) && sent).then_some(())
                });
            }
        }
    }
}

/// The receiver waits each time, the sender dawdles.
pub fn a_sender_slower_than_its_receiver_loses_nothing(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    for number in 0..40 {
        let len = [8, 4096, 9000, 140_000][number as usize % 4];
        let mut incoming = world.incoming(THERE, len, number % 2 == 0);
        for _ in 0..20 {
            let early = incoming.step(&mut world).expect("the peer is alive");
            assert_eq!(early, None, "nothing was sent yet");
            world.progress();
        }
        let expected = message(THERE, number, len);
        let mut outgoing = world.outgoing(THERE, &expected);
        let mut sent = false;
        let mut got = None;
        world.until("one message", |world| {
            sent = sent || outgoing.step(world).expect("the peer is alive");
            if got.is_none() {
                got = incoming.step(world).expect("the peer is alive");
            }
            (sent && got.is_some()).then_some(())
        });
        assert!(got == Some(expected), "message {number} arrives as it was sent");
    }
}

/// The sender runs ahead as far as it can, the receiver dawdles.
pub fn a_receiver_slower_than_its_sender_loses_nothing(subject: &Subject) {
    for len in [8, 4096, 9000, 140_000] {
        let mut world = subject.world(2, 1, LIMITS);
        let mut sender = Sequence::new(THERE, len, 20);
        let mut receiver = Sequence::new(THERE, len, 20);
        world.until("all messages", |world| {
            for _ in 0..20 {
                sender.send(world);
                world.progress();
            }
            (receiver.receive(world) && sender.send(world)).then_some(())
        });
    }
}

/// As many receives as may be are posted in one call before anything is sent, with places and without, and
/// each message lands with its own.
pub fn receives_posted_ahead_take_their_messages_in_order(subject: &Subject) {
    for len in [8, 4096, 4097, 140_000] {
        let mut world = subject.world(2, 1, LIMITS);
        let ahead = world.end(1).most_posted();
        assert!((1..=8).contains(&ahead), "{ahead} receives");
        let mut sender = Sequence::new(THERE, len, 3 * ahead as u64);
        for turn in 0..3 {
            let numbers: Vec<u64> = (0..ahead as u64).map(|n| turn * ahead as u64 + n).collect();
            let places: Vec<Option<Region>> = numbers
                .iter()
                .map(|n| (n % 3 > 0).then(|| Region::leak(vec![0; len].into_boxed_slice())))
                .collect();
            let receiver = world.end(1).receiver(0, 0).expect("the connection exists");
            let grant = |&place: &Option<Region>| Grant { receiver, limit: len, place };
            let grants: Vec<Grant> = places.iter().map(grant).collect();
            world.end(1).post(&grants).expect("the peer is alive");
            (0..20).for_each(|_| world.progress());
            for (number, place) in numbers.into_iter().zip(places) {
                let arrival = world.until("a message", |world| {
                    sender.send(world);
                    world.end(1).poll(receiver).expect("what was sent arrives")
                });
                assert!(arrival.bytes.to_vec() == message(THERE, number, len), "message {number}");
                let own = place.is_some_and(|place| place.as_ptr() == arrival.bytes.as_ptr());
                assert_eq!(arrival.placed, own, "placed means in its own place");
                world.end(1).release(receiver);
            }
        }
    }
}

/// A rank that ends after `drained` has lost nothing: its peer still receives everything.
pub fn an_endpoint_that_drained_may_end(subject: &Subject) {
    for len in [8, 4096, 200_000] {
        let mut world = subject.world(2, 1, LIMITS);
        let count = u64::from(LIMITS.slots);
        let mut sender = Sequence::new(THERE, len, count);
        let mut receiver = Sequence::new(THERE, len, count);
        world.until("the sender to drain", |world| {
            let sent = sender.send(world);
            // A longer message leaves only for a receive that has come.
            if len > 4096 {
                receiver.receive(world);
            }
            (sent && world.end(0).drained().expect("drained can be asked")).then_some(())
        });
        world.kill(0);
        world.until("what was sent before the end", |world| receiver.receive(world).then_some(()));
    }
}

/// Messages 0 to `count` of one length over one path, one after the other.
struct Sequence {
    path: Path,
    len: usize,
    count: u64,
    done: u64,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
}

impl Sequence {
    const fn new(path: Path, len: usize, count: u64) -> Self {
        Self { path, len, count, done: 0, outgoing: None, incoming: None }
    }

    /// Sends a little; whether all are sent.
    fn send(&mut self, world: &mut World) -> bool {
        if self.done < self.count {
            let bytes = || message(self.path, self.done, self.len);
            let waiting = self.outgoing.take();
            let mut next = waiting.unwrap_or_else(|| world.outgoing(self.path, &bytes()));
            if next.step(world).expect("the peer is alive") {
                self.done += 1;
            } else {
                self.outgoing = Some(next);
            }
        }
        self.done == self.count
    }

    /// Receives a little; whether all are received.
    fn receive(&mut self, world: &mut World) -> bool {
        if self.done < self.count {
            let waiting = self.incoming.take();
            let mut next = waiting.unwrap_or_else(|| {
                world.incoming(self.path, self.len, self.done.is_multiple_of(2))
            });
            match next.step(world).expect("what was sent arrives") {
                Some(got) => {
                    assert!(got == message(self.path, self.done, self.len));
                    self.done += 1;
                }
                None => self.incoming = Some(next),
            }
        }
        self.done == self.count
    }
}
