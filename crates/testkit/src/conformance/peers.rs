//! Owns the part of the suite on peers that err or die: a typed error, never a hang.

use crosstie_transport::TransportError;

use super::{LIMITS, Subject};
use crate::world::{Path, World, message};

const THERE: Path = Path { src: 0, dst: 1, channel: 0 };
const BACK: Path = Path { src: 1, dst: 0, channel: 0 };

/// Both ends learn that a message did not fit its receive, with its length and the room.
pub fn a_message_longer_than_its_receive_is_an_error(subject: &Subject) {
    for (len, limit) in [(100, 99), (1, 0), (5000, 100), (5000, 4999), (200_000, 150_000)] {
        for receive_first in [true, false] {
            let mut world = subject.world(2, 1, LIMITS);
            let (mut at_sender, mut at_receiver) = (None, None);
            let mut outgoing = world.outgoing(THERE, &message(THERE, 0, len));
            let mut incoming = world.incoming(THERE, limit, limit % 2 == 1);
            let mut sent = false;
            if receive_first {
                let early = incoming.step(&mut world).expect("nothing is wrong yet");
                assert_eq!(early, None, "nothing was sent yet");
            }
            world.until("both to learn of it", |world| {
                if !sent {
                    match outgoing.step(world) {
                        Ok(done) => sent = done,
                        Err(error) => at_sender = Some(error),
                    }
                } else if at_sender.is_none() {
                    at_sender = world.outgoing(THERE, &[]).step(world).err();
                }
                if at_receiver.is_none() && (sent || receive_first) {
                    at_receiver = incoming.step(world).err();
                }
                (at_receiver.is_some() && at_sender.is_some()).then_some(())
            });
            for error in [at_sender, at_receiver].into_iter().flatten() {
                check_truncated(&error, len as u64, limit as u64);
            }
        }
    }
}

fn check_truncated(error: &TransportError, expected_len: u64, expected_limit: u64) {
    match *error {
        TransportError::Truncated { peer: 0, len, limit, .. } => {
            assert_eq!((len, limit), (expected_len, expected_limit));
        }
        ref other => panic!("{other} instead of a truncated message"),
    }
}

fn check_gone(error: &TransportError, expected: u32) {
    match *error {
        TransportError::PeerGone { peer, .. } => assert_eq!(peer, expected),
        ref other => panic!("{other} instead of a peer that is gone"),
    }
}

/// What rank 0 was doing when rank 1 died.
#[derive(Debug, Clone, Copy)]
enum Doing {
    Nothing,
    WaitingForAMessage { limit: usize },
    ReceivingPartOfAMessage,
    FillingSlots { len: usize },
    WaitingForAGrant,
    WritingToAFullSocket,
}

const DOINGS: [Doing; 8] = [
    Doing::Nothing,
    Doing::WaitingForAMessage { limit: 8 },
    Doing::WaitingForAMessage { limit: 200_000 },
    Doing::ReceivingPartOfAMessage,
    Doing::FillingSlots { len: 8 },
    Doing::FillingSlots { len: 200_000 },
    Doing::WaitingForAGrant,
    Doing::WritingToAFullSocket,
];

/// Wherever the survivor stands when its peer dies, it gets an error that names the peer, its
/// memory comes back, and what it does next fails too.
pub fn a_dead_peer_is_an_error_in_every_state(subject: &Subject) {
    for doing in DOINGS {
        let mut world = subject.world(3, 2, LIMITS);
        until_it_dies(&mut world, doing);
        let mut outgoing = world.outgoing(THERE, &message(THERE, 99, 8));
        let error = world.until("sending to fail", |world| outgoing.step(world).err());
        check_gone(&error, 1);
        let other = Path { channel: 1, ..BACK };
        let mut incoming = world.incoming(other, 8, true);
        let error = world.until("receiving to fail", |world| incoming.step(world).err());
        check_gone(&error, 1);
        let drained = |world: &mut World| world.end(0).drained().ok().filter(|&drained| drained);
        world.until("nothing left to drain", drained);
        let third = Path { src: 2, dst: 0, channel: 0 };
        world.send(third, b"alive");
        assert_eq!(world.receive(third, 5, false), b"alive", "others go on");
    }
}

fn until_it_dies(world: &mut World, doing: Doing) {
    match doing {
        Doing::Nothing => world.kill(1),
        Doing::WaitingForAMessage { limit } => {
            let mut incoming = world.incoming(BACK, limit, true);
            rounds(world, |world| incoming.step(world).map(|got| assert_eq!(got, None)));
            world.kill(1);
            let error = world.until("the receive to fail", |world| incoming.step(world).err());
            check_gone(&error, 1);
        }
        Doing::ReceivingPartOfAMessage => {
            // The first message is taken, the second is cut off somewhere, or not begun.
            let mut outgoing = world.outgoing(BACK, &message(BACK, 0, LIMITS.slot_bytes));
            let mut incoming = world.incoming(BACK, LIMITS.slot_bytes, false);
            let posted = incoming.step(world).expect("the peer is alive");
            assert_eq!(posted, None, "nothing was sent yet");
            world.until("some bytes to leave", |world| {
                let handed = outgoing.step(world).expect("the peer is alive");
                world.end(1).progress().expect("progress fails for no single peer");
                (handed || world.end(1).counters().bytes > 0).then_some(())
            });
            world.kill(1);
            let outcome =
                world.until("the message or an error", |world| incoming.step(world).transpose());
            match outcome {
                Ok(got) => assert!(got == message(BACK, 0, LIMITS.slot_bytes)),
                Err(error) => check_gone(&error, 1),
            }
        }
        Doing::FillingSlots { len } => {
            let mut outgoing = world.outgoing(THERE, &message(THERE, 0, len));
            rounds(world, |world| {
                if outgoing.step(world)? {
                    outgoing = world.outgoing(THERE, &message(THERE, 0, len));
                }
                Ok(())
            });
            world.kill(1);
        }
        Doing::WaitingForAGrant => {
            let mut outgoing = world.outgoing(THERE, &message(THERE, 0, 200_000));
            let handed = outgoing.step(world).expect("the peer is alive");
            world.kill(1);
            if !handed {
                world.until("its memory back", |world| {
                    outgoing.step(world).map_or(true, |d| d).then_some(())
                });
            }
        }
        Doing::WritingToAFullSocket => {
            let mut outgoing = world.outgoing(THERE, &message(THERE, 0, LIMITS.slot_bytes));
            let mut incoming = world.incoming(THERE, LIMITS.slot_bytes, true);
            for _ in 0..100 {
                let early = incoming.step(world).expect("the peer is alive");
                assert_eq!(early, None, "nothing was sent yet");
                world.end(1).progress().expect("progress fails for no single peer");
            }
            for _ in 0..100 {
                outgoing.step(world).expect("the peer is alive");
                world.end(0).progress().expect("progress fails for no single peer");
            }
            world.kill(1);
            world.until("its memory back", |world| {
                outgoing.step(world).map_or(true, |d| d).then_some(())
            });
        }
    }
}

fn rounds(world: &mut World, mut step: impl FnMut(&mut World) -> Result<(), TransportError>) {
    for _ in 0..100 {
        step(world).expect("the peer is alive");
        world.progress();
    }
}

/// Messages that were complete before their sender died are received; then comes the error.
pub fn what_a_dead_peer_had_sent_still_arrives(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    for number in 0..3 {
        world.send(BACK, &message(BACK, number, 100));
    }
    world.until("them to leave", |world| {
        world.end(1).drained().expect("drained can be asked").then_some(())
    });
    world.kill(1);
    for number in 0..3 {
        assert!(world.receive(BACK, 100, number == 1) == message(BACK, number, 100));
    }
    let mut incoming = world.incoming(BACK, 100, false);
    let error = world.until("the receive to fail", |world| incoming.step(world).err());
    check_gone(&error, 1);
}
