//! Owns the part of the suite on what arrives: the right bytes, in order, tagged and counted.

use super::{LIMITS, Subject};
use crate::world::{Path, message};

const THERE: Path = Path { src: 0, dst: 1, channel: 0 };
const BACK: Path = Path { src: 1, dst: 0, channel: 0 };

/// Messages sent one after the other arrive one after the other, both ways at once.
pub fn messages_of_a_connection_arrive_in_order(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    for round in 0..50 {
        for number in 0..3 {
            world.send(THERE, &message(THERE, round * 3 + number, 24));
            world.send(BACK, &message(BACK, round * 3 + number, 1000));
        }
        for number in 0..3 {
            let placed = number == 1;
            let there = world.receive(THERE, 24, placed);
            assert_eq!(there, message(THERE, round * 3 + number, 24));
            let back = world.receive(BACK, 1000, placed);
            assert_eq!(back, message(BACK, round * 3 + number, 1000));
        }
    }
}

/// Lengths at which transports change their ways, one less and one more.
fn lengths() -> Vec<usize> {
    let limits = [0, 1, 8, 48, 64, 4096, 64 * 1024, 128 * 1024, 256 * 1024, LIMITS.slot_bytes];
    let around = |&limit: &usize| [limit.saturating_sub(1), limit, limit + 1];
    let mut lengths: Vec<usize> = limits.iter().flat_map(around).collect();
    lengths.retain(|&len| len <= LIMITS.slot_bytes);
    lengths.dedup();
    lengths
}

/// A message of each length arrives: placed and from a slot, before and after its receive.
pub fn every_length_around_a_limit_arrives(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    let mut number = 0;
    for len in lengths() {
        for (placed, receive_first) in [(false, false), (false, true), (true, false), (true, true)]
        {
            number += 1;
            let expected = message(THERE, number, len);
            let mut outgoing = world.outgoing(THERE, &expected);
            let mut incoming = world.incoming(THERE, len, placed);
            if receive_first {
                let early = incoming.step(&mut world).expect("the peer is alive");
                assert_eq!(early, None, "nothing was sent yet");
                world.progress();
            }
            let mut sent = false;
            let got = world.until("one message", |world| {
                sent = sent || outgoing.step(world).expect("the peer is alive");
                if sent || receive_first {
                    incoming.step(world).expect("the peer is alive")
                } else {
                    None
                }
            });
            assert!(got == expected, "a message of {len} bytes arrives as it was sent");
            world.until("the sender's memory", |world| {
                sent = sent || outgoing.step(world).expect("the peer is alive");
                sent.then_some(())
            });
        }
    }
}

/// Messages that wait for their receives while their sender goes on to another call keep their tags:
/// in header lines, slots, standing slots, set aside for a grant, in one piece and in several.
pub fn every_message_carries_the_tag_of_the_call_it_was_begun_in(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    for len in [0, 8, 48, 49, 4096, 4097, 100_000, 200_000, LIMITS.slot_bytes] {
        for placed in [false, true] {
            world.end(0).begin_call(0x00a1_b2c3);
            world.end(1).begin_call(0x0000_0001);
            (0..2).for_each(|number| world.send(THERE, &message(THERE, number, len)));
            world.end(0).begin_call(0xff12_3456);
            (2..4).for_each(|number| world.send(THERE, &message(THERE, number, len)));
            for number in 0..4 {
                let mut incoming = world.incoming(THERE, len, placed);
                let got = world
                    .until("a receive", |world| incoming.step(world).expect("the peer is alive"));
                assert!(got == message(THERE, number, len));
                let tag = if number < 2 { 0x00a1_b2c3 } else { 0x0012_3456 };
                assert_eq!(incoming.tag, Some(tag), "message {number} of {len} bytes");
            }
        }
    }
}

/// What is sent is counted once, whatever it travelled as.
pub fn counters_count_every_message_and_byte(subject: &Subject) {
    let mut world = subject.world(2, 2, LIMITS);
    let lengths = [0, 8, 5000, 200_000];
    for (number, len) in (0..).zip(lengths) {
        world.send(THERE, &message(THERE, number, len));
        assert_eq!(world.receive(THERE, len, true).len(), len);
    }
    let sent = world.end(0).counters();
    assert_eq!(sent.messages, 4);
    assert_eq!(sent.bytes, lengths.iter().sum::<usize>() as u64);
    assert!(sent.wire_messages >= 1, "messages travel in wire messages");
    assert_eq!(world.end(1).counters().messages, 0, "receiving is not sending");
}
